"""`gdcli verify`: a record done again has the same bytes; one changed number is named with its step and parameter."""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from gdcli.cli import main
from tests.promises.crashing import Ended, call, emptied, record_in, start
from tests.timing import wait_for
from tests.trials import mostly_slow

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SPECS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(EXPERIMENTS.glob("*.yaml"))}
RUN = [name for name in SPECS if name != "linear_sweep"]  # which has no optimizer, it is for `sweep`

MANY: dict[str, tuple[str, ...]] = {
    "a sweep of keys": ("sweep", "backprop_2x2", "-p", "lr=0.1,0.5,1", "-p", "seed=1,2", "model.init={}", "epochs=12"),
    "one by one": ("sweep", "backprop_2x2", "-p", "lr=0.1,0.5", "--fleet", "off", "epochs=12"),
    "jobs": ("sweep", "backprop_2x2", "-p", "lr=0.1,0.5,1", "epochs=12", "--jobs", "2"),
    "beyond folders": ("sweep", "himmelblau", "-p", "lr=geomspace(1e-4,1e-2,101)", "epochs=5"),
    "vanishing_gradient": ("sweep", "vanishing_gradient", "epochs=2"),
    "a curve": ("sweep", "linear_sweep"),
    "a surface": ("sweep", "rosenbrock", "-p", "x=-1:1:0.5", "-p", "y=-1:1:0.5"),
    "optimizers": ("compare", "epochs=20"),
    "batches": ("compare", "gd_variants", "epochs=3"),
    "averages": ("compare", "momentum_average", "epochs=20"),
    "paths": ("compare", "rosenbrock_optimizers", "epochs=50"),
    "tuned": (
        "compare", "mlp_digits", "epochs=1", "--tune", "2", "--seeds", "2", "--target", "2", "model.layers=[64,4,10]",
    ),
    "one diverges": ("sweep", "linear_regression", "-p", "lr=0.1,1e6", "epochs=2"),
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # a test process may have threads


@pytest.fixture(scope="module", autouse=True)
def _warm() -> Iterator[None]:
    """This process has then imported whatever its children need."""
    with emptied() as folder:
        assert main(["run", "softmax_regression", "epochs=1", "-q", "--no-plot", "-o", str(folder)]) == 0
        assert main(["compare", "epochs=1", "-q", "--no-plot", "-o", str(folder)]) == 0
        yield


def recorded(folder: Path, *command: str, codes: tuple[int, ...] = (0,)) -> Path:
    """Make a record, and return it."""
    folder.mkdir(exist_ok=True)
    ended = call(folder, *command, "--no-plot")
    assert ended.code in codes, ended
    record = record_in(folder)
    assert record is not None
    return record


def assert_identical(ended: Ended) -> None:
    assert (ended.code, ended.out, ended.err) == (0, "bit-identical\n", "")


def assert_differs(ended: Ended, *lines: str) -> None:
    """Exit 1; these lines come first, and no difference of the machine is told."""
    assert (ended.code, ended.err) == (1, ""), ended
    found = ended.out.splitlines()
    assert found[: len(lines)] == [*lines]
    assert found[-1] == "the machine: the same versions and processor"


@pytest.mark.slow
def test_every_bundled_spec(place: Path) -> None:
    for name in RUN:
        epochs = SPECS[name].get("epochs", 1)
        folder = place / name
        before = tree(recorded(folder, "run", name, *(("epochs=2",) if epochs > 2 else ())))
        ended = call(folder, "verify", "last")
        assert (ended.code, ended.out, ended.err) == (0, "bit-identical\n", ""), (name, ended)
        assert tree(record_of(folder)) == before, name


def record_of(folder: Path) -> Path:
    record = record_in(folder)
    assert record is not None
    return record


def tree(record: Path) -> dict[str, bytes]:
    return {str(path.relative_to(record)): path.read_bytes() for path in record.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", mostly_slow(MANY, 4))
def test_many_runs(place: Path, name: str) -> None:
    record = recorded(place, *MANY[name])
    before = tree(record)
    assert_identical(call(place, "verify", "last"))
    assert tree(record) == before
    assert [path.name for path in place.glob("runs/*")] == [record.parent.name]


@pytest.mark.slow
def test_a_run_that_diverged_and_one_that_torch_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(place / "diverged", "run", "linear_regression", "lr=1e6", codes=(1,))
    assert_identical(call(place / "diverged", "verify", "last"))
    trained: list[int] = []  # of each process, which are forks of this one

    def forward(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        trained.extend([1] * x.requires_grad)
        if len(trained) == 3:
            raise RuntimeError("no more")
        return x

    monkeypatch.setattr(torch.nn.Tanh, "forward", forward)
    (place / "refused").mkdir()
    refused = ONE_ROW.replace("{layer: BatchNorm1d, num_features: 3}", "Tanh\n    - {layer: Dropout, p: 0.1}")
    (place / "refused" / "refused.yaml").write_text(refused)
    recorded(place / "refused", "run", "refused.yaml", codes=(1,))
    assert_identical(call(place / "refused", "verify", "last"))


ONE_ROW = """
data: {generate: {kind: linear, n: 5, weights: [3, 1], bias: 4, x: {uniform: [0, 2]}}}
model:
  type: sequential
  layers:
    - {layer: Linear, in_features: 2, out_features: 3}
    - {layer: BatchNorm1d, num_features: 3}
    - {layer: Linear, in_features: 3, out_features: 1}
loss: mse
optimizer: {name: sgd, lr: 0.01}
batch: {mode: mini-batch, size: 4}
epochs: 3
"""
"""The last batch of an epoch has one row, of which there is no variance."""


def test_warnings_and_failures_are_told_once_by_the_run(place: Path) -> None:
    """A record is run again silently: standard error is for what verify itself has to say."""
    (place / "refused").mkdir()
    (place / "refused" / "one_row.yaml").write_text(ONE_ROW)
    recorded(place / "refused", "sweep", "one_row.yaml", "-p", "lr=0.01,0.1", codes=(1,))
    assert_identical(call(place / "refused", "verify", "last"))
    recorded(place / "warned", "run", "linear_regression", "batch={mode: mini-batch, size: 5000}", "epochs=1")
    assert_identical(call(place / "warned", "verify", "last"))


def test_overrides_are_in_the_record_once(place: Path) -> None:
    """A data file relative to where the run was made, and a verify from elsewhere."""
    place.joinpath("here").mkdir()
    place.joinpath("there").mkdir()
    place.joinpath("here", "sales.csv").write_bytes((EXPERIMENTS / "house_price.csv").read_bytes())
    place.joinpath("here", "house.yaml").write_bytes((EXPERIMENTS / "house_price.yaml").read_bytes())
    words = ("data.file=sales.csv", "optimizer=adam", "lr=0.01", "epochs=2")
    record = recorded(place / "here", "run", "house.yaml", *words)
    assert_identical(call(place / "there", "verify", str(record)))


def test_the_runs_on_a_surface_may_be_gone(place: Path) -> None:
    """--trajectory is for the picture, which is not done again."""
    recorded(place / "path", "run", "rosenbrock", "epochs=5")
    path = record_of(place / "path").rename(place / "gone")
    folder = place / "surface"
    recorded(folder, "sweep", "rosenbrock", "-p", "x=-1:1:1", "-p", "y=-1:1:1", "--trajectory", str(path))
    path.rename(place / "moved")
    assert_identical(call(folder, "verify", "last"))


# --- one number changed -----------------------------------------------------------------------------------------------


def changed(path: Path, row: int, column: str) -> tuple[str, str]:
    """Change the last digit of a number of a table, in place; return it as it is now and as it was."""
    rows = list(csv.reader(io.StringIO(path.read_text())))
    k = rows[0].index(column)
    before = rows[row][k]
    digits = [at for at, letter in enumerate(before.partition("e")[0]) if letter.isdigit()]
    at = digits[-1]
    rows[row][k] = before[:at] + ("1" if before[at] != "1" else "2") + before[at + 1 :]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue())
    return rows[row][k], before


@pytest.mark.slow
@pytest.mark.parametrize("column", ["linear1.weight[0,1]", "linear2.bias[0]"])
@pytest.mark.parametrize("step", [1, 7, 12])
def test_one_number_of_the_gradients(place: Path, step: int, column: str) -> None:
    record = recorded(place, "run", "adam_2x2", "epochs=12")
    now, before = changed(record / "gradients.csv", step, column)
    line = f"gradients.csv: step {step}, {column}: recorded {now}, now {before}"
    ended = call(place, "verify", "last")
    assert_differs(ended, line)
    assert len(ended.out.splitlines()) == 2
    told = json.loads(call(place, "verify", "last", "--json").out)
    assert told["identical"] is False
    assert told["differences"] == [
        {"run": "", "file": "gradients.csv", "where": f"step {step}, {column}", "recorded": now, "again": before}
    ]


def test_the_earliest_step_comes_first(place: Path) -> None:
    record = recorded(place, "run", "adam_2x2", "epochs=12")
    loss = changed(record / "steps.csv", 9, "loss")
    gradient = changed(record / "gradients.csv", 4, "linear2.weight[1,1]")
    assert_differs(
        call(place, "verify", "last"),
        f"gradients.csv: step 4, linear2.weight[1,1]: recorded {gradient[0]}, now {gradient[1]}",
        f"steps.csv: step 9, loss: recorded {loss[0]}, now {loss[1]}",
    )


def test_a_norm_of_a_larger_model(place: Path) -> None:
    record = recorded(place, "run", "mlp", "epochs=1", "model.layers=[64,20,10]")
    now, before = changed(record / "gradients.csv", 5, "linear2.weight")
    line = f"gradients.csv: step 5, linear2.weight: recorded {now}, now {before}"
    assert_differs(call(place, "verify", "last"), line)


def test_a_line_of_the_log_and_of_the_summary(place: Path) -> None:
    record = recorded(place, "run", "adam_2x2", "epochs=3")
    log, summary = record / "log.txt", record / "summary.json"
    lines, best = log.read_text().splitlines(), json.loads(summary.read_text())["best_step"]
    log.write_text(log.read_text().replace(lines[1], lines[1].replace("tensor(0.", "tensor(1.")))
    summary.write_text(summary.read_text().replace(f'"best_step": {best},', f'"best_step": {best + 1},'))
    assert_differs(
        call(place, "verify", "last"),
        f"log.txt: line 2: recorded {lines[1].replace('tensor(0.', 'tensor(1.')}, now {lines[1]}",
        f'summary.json: line 6: recorded "best_step": {best + 1},, now "best_step": {best},',
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a sweep of keys", "tuned"])
def test_a_number_of_many_runs(place: Path, kind: str) -> None:
    record = recorded(place, *MANY[kind])
    (first, *_) = sorted(path for path in record.iterdir() if path.is_dir())
    loss = changed(record / "results.csv", 2, "final_loss")
    step = changed(first / "steps.csv", 3, "loss")
    more = ()
    if kind == "tuned":
        tuning = changed(record / "tuning.csv", 3, "final_loss")
        more = (f"tuning.csv: run 3, final_loss: recorded {tuning[0]}, now {tuning[1]}",)
    assert_differs(
        call(place, "verify", "last"),
        f"{first.name}: steps.csv: step 3, loss: recorded {step[0]}, now {step[1]}",
        f"results.csv: run 2, final_loss: recorded {loss[0]}, now {loss[1]}",
        *more,
    )


def test_a_point_of_a_curve(place: Path) -> None:
    record = recorded(place, "sweep", "linear_sweep")
    now, before = changed(record / "results.csv", 6, "loss")
    assert_differs(call(place, "verify", "last"), f"results.csv: w 0.5, loss: recorded {now}, now {before}")


EDITS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a file is gone": (
        "gradients.csv",
        Path.unlink,
        "gradients.csv: the file: recorded missing, now there",
    ),
    "rows are gone": (
        "steps.csv",
        lambda path: path.write_text("".join(path.read_text().splitlines(keepends=True)[:5])),
        "steps.csv: step 5, step: recorded (nothing), now 5",
    ),
    "a quotation mark that never ends": (
        "gradients.csv",
        lambda path: path.write_text(path.read_text().replace("\n2,", '\n2,"', 1) + "0" * 200_000),
        "gradients.csv: line 3: recorded 2,",
    ),
    "a byte that is no text": (
        "log.txt",
        lambda path: path.write_bytes(b"\xff" + path.read_bytes()[1:]),
        "log.txt: line 1: recorded ",
    ),
    "an escape": (
        "log.txt",
        lambda path: path.write_bytes(b"\x1b[2J" + path.read_bytes()),
        "log.txt: line 1: recorded ",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_other_edits(place: Path, edit: str) -> None:
    name, change, line = EDITS[edit]
    record = recorded(place, "run", "adam_2x2", "epochs=12")
    change(record / name)
    ended = call(place, "verify", "last")
    assert (ended.code, ended.err) == (1, ""), ended
    first, machine = ended.out.splitlines()
    assert first.startswith(line)
    assert len(first) < 1000
    assert "\x1b" not in ended.out
    assert machine.startswith("the machine: ")


# --- what cannot be compared as a whole -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_that_its_time_ended_is_compared_to_its_last_step(place: Path) -> None:
    record = recorded(place, "run", "linear_regression", "epochs=1000000", "stop.max_seconds=0.3", "--no-limits")
    summary = json.loads((record / "summary.json").read_text())
    assert summary["message"] == f"max_seconds reached at step {summary['steps']}"
    assert_identical(call(place, "verify", "last"))
    last = summary["steps"]
    now, before = changed(record / "gradients.csv", last, "bias[0]")
    assert_differs(call(place, "verify", "last"), f"gradients.csv: step {last}, bias[0]: recorded {now}, now {before}")


def test_many_runs_that_their_time_ended_are_refused(place: Path) -> None:
    sweep = ("sweep", "linear_regression", "-p", "lr=0.1,0.2", "epochs=1000000", "stop.max_seconds=0.05")
    record = recorded(place, *sweep, "record.gradients=none")
    ended = call(place, "verify", "last")
    what = "stop.max_seconds ended 2 of its runs (1-lr=0.1), after another step each time: nothing to compare"
    assert (ended.code, ended.out, ended.err) == (2, "", f"{record.relative_to(place)}: {what}\n")


LONG = ("run", "linear_regression", "epochs=1000000", "--no-limits", "checkpoint.every_seconds=0")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_record_that_has_not_ended(place: Path, number: int) -> None:
    child = start(place, *LONG, "--no-plot")
    wait_for(lambda: list(place.glob("runs/*/*/checkpoint.json")), child.is_over)
    child.kill(number=number)
    ended = call(place, "verify", "last")
    record = record_of(place).relative_to(place)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"{record} has not ended: gdcli resume goes on with it\n"


@pytest.mark.slow
def test_ctrl_c_says_nothing_of_the_record(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(place))  # where it is done again
    recorded(place, *LONG, "stop.max_steps=20000", "record.gradients=none", "checkpoint.every_seconds=30")
    child = start(place, "verify", "last")
    assert wait_for(lambda: list(place.glob("gdcli-verify-*/*/*/steps.csv")), child.is_over)
    ended = child.kill(number=signal.SIGINT)
    assert (ended.code, ended.out) == (130, "")
    assert "Traceback" not in ended.err


def test_what_differs_in_the_environment_is_named(place: Path) -> None:
    import torch

    record = recorded(place, "run", "adam_2x2", "epochs=12")
    environment = json.loads((record / "environment.json").read_text())
    environment["versions"]["torch"] = "2.12.0"
    environment["cpu_capability"] = "NONE"
    (record / "environment.json").write_text(json.dumps(environment))
    assert_identical(call(place, "verify", "last"))  # the bytes are the same all the same
    changed(record / "gradients.csv", 2, "linear1.bias[0]")
    ended = call(place, "verify", "last")
    capability = torch.backends.cpu.get_cpu_capability()
    machine = f"the machine: torch 2.12.0, here {torch.__version__}; cpu_capability NONE, here {capability}"
    assert (ended.code, ended.out.splitlines()[-1]) == (1, machine)
    told = json.loads(call(place, "verify", "last", "--json").out)
    assert told["machine"] == machine.removeprefix("the machine: ").split("; ")


def test_no_record(place: Path) -> None:
    recorded(place, "sweep", "backprop_2x2", "-p", "lr=0.1,0.5")
    (first, *_) = sorted(path for path in record_of(place).iterdir() if path.is_dir())
    one_of_many = call(place, "verify", str(first))
    assert (one_of_many.code, one_of_many.out) == (2, "")
    assert "is one of many runs: name the record of all" in one_of_many.err
    nothing = call(place, "verify", "nowhere")
    assert (nothing.code, nothing.out) == (2, "")
