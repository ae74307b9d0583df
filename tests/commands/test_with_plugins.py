"""`--plugin` in every command: run, swept, compared, resumed, verified; errors by its lines; loaded where named."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gdcli as package
from gdcli.runner.executors import worker
from gdcli.storage import request as requests
from gdcli.zoo.plugins import Plugin
from tests import own_plugins
from tests.conftest import only_folder
from tests.promises import crashing

PLUGIN = ("--plugin", "mine.py")
QUIET = ("--no-plot", "-q")


@pytest.fixture(autouse=True)
def here(gdcli: Any) -> None:
    Path("mine.py").write_text(own_plugins.ONE_OF_EACH)
    Path("own.yaml").write_text(own_plugins.SPEC)


@pytest.fixture
def made(gdcli: Any) -> Path:
    """The record of a run; the plugin is forgotten again, as in another process."""
    assert gdcli("run", "own.yaml", *PLUGIN, *QUIET).code == 0
    own_plugins.forget()
    return only_folder(Path("runs"))


def losses_of(*folders: Path) -> list[float]:
    return [json.loads((folder / "summary.json").read_text())["final_loss"] for folder in folders]


# --- what it adds, in the commands about specs ------------------------------------------------------------------------


def test_without_the_option_every_unknown_name_is_told_how(gdcli: Any) -> None:
    answer = gdcli("validate", "own.yaml")
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "own.yaml:2:25: data.generate.kind: unknown generator",
        "own.yaml:3:15: model.type: unknown model",
        "own.yaml:4:14: loss.name: unknown loss",
        "own.yaml:5:19: optimizer.name: unknown optimizer",
        "own.yaml:6:11: metrics[0]: unknown metric",
    ]
    assert all(line.endswith("One of your own: --plugin FILE.py") for line in lines)
    mlp = "model={type: mlp, layers: [1, 2, 1], activation: square}"
    assert "activation (got 'square')" in gdcli("validate", "own.yaml", mlp).err


def test_keys_are_validated_by_the_signature_at_their_place(gdcli: Any) -> None:
    text = Path("own.yaml").read_text().replace("width: 3", "width: few").replace("scale: 0.5", "sclae: 0.5")
    Path("bad.yaml").write_text(text)
    answer = gdcli("validate", "bad.yaml", "--plugin", "mine.py")
    assert answer.code == 2
    assert answer.err == (
        "bad.yaml:3:28: model.width: must be an integer (got 'few')\n"
        "bad.yaml:4:23: loss.sclae: unknown key. Did you mean 'scale'?\n"
    )
    assert gdcli("validate", "own.yaml", *PLUGIN).out == "own.yaml: valid\n"


def test_summary_of_a_module(gdcli: Any) -> None:
    """1·1 + 1, 1·3 + 3 and 3·1 + 1 parameters."""
    answer = gdcli("validate", "own.yaml", "--summary", *PLUGIN)
    assert answer.out.splitlines()[-1] == "12 parameters, all of them trained"
    assert "Wide" in answer.out


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("model", "Wide"), ["Two layers with a skip", "width     integer, at least 1  4", "dropout   number"]),
        (("loss", "quartic"), ["Mean of the fourth power", "scale     number, at least 0  1"]),
        (("optimizer", "Lion"), ["The sign of an average", "betas     [number, number]  [0.9, 0.99]"]),
        (("activation", "square"), ["a = z squared"]),
        (("data", "staircase"), ["y is the whole part of x", "n         integer, at least 1  24"]),
        (("metric", "largest_error"), ["The largest absolute error"]),
    ],
)
def test_it_is_in_the_catalog(words: tuple[str, str], shown: list[str], gdcli: Any) -> None:
    answer = gdcli("catalog", *words, *PLUGIN)
    assert answer.code == 0
    assert all(text in answer.out for text in shown), answer.out
    assert words[1] in gdcli("catalog", words[0], *PLUGIN).out.split()
    own_plugins.forget()
    assert gdcli("catalog", *words).code == 2


def test_it_is_in_the_json_schema(gdcli: Any) -> None:
    import jsonschema
    import yaml

    schema = gdcli("schema", *PLUGIN).json
    checker = jsonschema.Draft202012Validator(schema)
    spec = yaml.safe_load(own_plugins.SPEC)
    checker.validate(spec)
    for changed in ({"width": 0}, {"widht": 3}, {"type": "Wied"}):
        assert not checker.is_valid({**spec, "model": {**spec["model"], **changed}})
    assert not checker.is_valid({**spec, "metrics": ["largest"]})
    own_plugins.forget()
    assert not jsonschema.Draft202012Validator(gdcli("schema").json).is_valid(spec)


def test_its_gradients_are_checked(gdcli: Any) -> None:
    mlp = "model={type: mlp, layers: [1, 3, 1], activation: square}"
    for changes in ((), (mlp, "model.init=null"), (mlp, "loss=mse")):
        answer = gdcli("check", "own.yaml", *changes, *PLUGIN)
        assert answer.code == 0, answer.err
        assert "passed" in answer.out


def test_explain_says_that_it_is_not_written_out(gdcli: Any) -> None:
    answer = gdcli("explain", "own.yaml", *PLUGIN)
    assert (answer.code, answer.out) == (2, "")
    assert "own.yaml:3:8: model: the plugin's module Wide cannot be written out by hand" in answer.err
    mlp = "model={type: mlp, layers: [1, 2, 1], activation: square}"
    answer = gdcli("explain", "own.yaml", mlp, *PLUGIN)
    assert (answer.code, answer.out) == (2, "")
    for each in ("optimizer Lion", "loss quartic", "activation square"):
        assert f"the {each} is not written out" in answer.err


# --- run, sweep, compare ----------------------------------------------------------------------------------------------


def test_a_run_of_it_has_its_metric_and_its_record_names_it(made: Path) -> None:
    summary = json.loads((made / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert {"largest_error", "validation_largest_error"} <= set(summary["metrics"])
    digest = hashlib.sha256(Path("mine.py").read_bytes()).hexdigest()
    assert json.loads((made / "request.json").read_text())["plugins"] == [{"name": "mine.py", "sha256": digest}]
    (named,) = json.loads((made / "environment.json").read_text())["plugins"]
    assert named == {"source": str(Path("mine.py").absolute()), "sha256": digest}
    assert (made / "epochs.csv").read_text().splitlines()[0].count("largest_error") == 2


def test_a_record_without_plugins_says_nothing_of_them(gdcli: Any) -> None:
    assert gdcli("run", "linear_manual", *QUIET).code == 0
    for name in ("request.json", "environment.json"):
        assert "plugins" not in json.loads((only_folder(Path("runs")) / name).read_text())


def test_cross_entropy_is_the_focal_loss_of_gamma_0_also_in_its_predictions(gdcli: Any) -> None:
    spec = "data: {generate: {kind: blobs, n: 30, classes: 3}}\nmodel: linear\noptimizer: sgd\nepochs: 8\n"
    Path("a.yaml").write_text(spec + "loss: cross_entropy\n")
    Path("b.yaml").write_text(spec + "loss: {name: focal, gamma: 0}\n")
    Path("rows.csv").write_text("x[0],x[1]\n0.5,1\n-3,2\n")
    told = []
    for name in ("a", "b"):
        assert gdcli("run", f"{name}.yaml", *PLUGIN, *QUIET, "-o", name, "dtype=float64").code == 0
        record = only_folder(Path(name))
        summary = json.loads((record / "summary.json").read_text())
        answer = gdcli("predict", str(record), "rows.csv", *PLUGIN)
        numbers = np.array([line.split(",") for line in answer.out.splitlines()[1:]], np.float64)
        told.append((summary["final_loss"], summary["metrics"]["accuracy"], answer.out.splitlines()[0], numbers))
    assert told[0][0] == pytest.approx(told[1][0], rel=1e-12)
    assert told[0][1:3] == told[1][1:3]
    np.testing.assert_allclose(told[0][3], told[1][3], rtol=1e-10)


def test_sweeps_in_this_process_in_others_and_alone_have_the_same_losses(gdcli: Any) -> None:
    axes = ("--param", "scale=0.5,1", "--param", "optimizer=Lion,sgd")
    for name, more in (("one", ()), ("two", ("--jobs", "2")), ("alone", ("--fleet", "off"))):
        answer = gdcli("sweep", "own.yaml", *axes, *PLUGIN, *QUIET, "-o", name, *more)
        assert answer.code == 0, answer.err
    tables = [(only_folder(Path(name)) / "results.csv").read_text() for name in ("one", "two", "alone")]
    assert tables[0] == tables[1] == tables[2]
    single = gdcli("run", "own.yaml", "scale=1", "optimizer=sgd", *PLUGIN, *QUIET, "-o", "single")
    assert single.code == 0
    expected = losses_of(only_folder(Path("single")))
    assert losses_of(*sorted(only_folder(Path("one")).glob("4-*"))) == expected


@pytest.mark.slow
def test_a_cluster_of_this_machine_loads_it_by_its_path(gdcli: Any) -> None:
    answer = gdcli("sweep", "own.yaml", "--param", "scale=0.5,1", *PLUGIN, *QUIET, "-o", "here")
    assert answer.code == 0
    answer = gdcli(
        "sweep", "own.yaml", "--param", "scale=0.5,1", *PLUGIN, *QUIET, "-o", "there", "--cluster", "local:1"
    )
    assert answer.code == 0, answer.err
    here, there = ((only_folder(Path(name)) / "results.csv").read_text() for name in ("here", "there"))
    assert here == there


def test_a_worker_without_the_plugin_or_with_another_says_so() -> None:
    known = Plugin("mine.py", "0" * 64, str(Path("mine.py").absolute()))
    with pytest.raises(package.MachineError, match=r"the plugin mine\.py is another one where the worker is"):
        worker._load([known])
    gone = Plugin("own.py", "0" * 64, "/nowhere/own.py")
    with pytest.raises(package.MachineError, match=r"the plugin own.py is not installed where the worker is"):
        worker._load([gone])


def test_parameters_of_its_module_are_swept_without_training(gdcli: Any) -> None:
    plain = ("dropout=0", "--json", "--no-plot")
    answer = gdcli("sweep", "own.yaml", "--param", "skip.bias[0]=-1:2:1", *PLUGIN, *plain)
    assert answer.code == 0, answer.err
    once = {"print.style": "loss", "epochs": 0, "dropout": 0, "model.init": {"skip.bias": 1.0}}
    run = package.run("own.yaml", once, plugins="mine.py")
    assert answer.json["loss"][2] == pytest.approx(run.losses[0], rel=1e-6)


def test_weights_of_an_own_loss_and_activation_are_swept_too(gdcli: Any) -> None:
    """Of o = (w x)² and the loss mean (o − y)⁴ by numpy."""
    Path("one.yaml").write_text(
        "data: {x: [1, 2], y: [2, 4]}\nloss: quartic\ndtype: float64\nmodel: {type: mlp, layers: [1, 1], bias: false, "
        "output_activation: square}\noptimizer: sgd\n"
    )
    answer = gdcli("sweep", "one.yaml", "--param", "linear1.weight[0,0]=0:3:1", *PLUGIN, "--json", "--no-plot")
    expected = [float(np.mean([((w * 1) ** 2 - 2) ** 4, ((w * 2) ** 2 - 4) ** 4])) for w in (0, 1, 2)]
    assert answer.json["loss"] == pytest.approx(expected, rel=1e-14)


def test_a_comparison_with_an_own_optimizer(gdcli: Any) -> None:
    answer = gdcli("compare", "own.yaml", "--optimizers", "Lion,adam", "--seeds", "2", "--tune", "3", *PLUGIN, *QUIET)
    assert answer.code == 0, answer.err
    assert {"Lion", "adam"} <= set(answer.out.split())
    own_plugins.forget()
    answer = gdcli("compare", "own.yaml", "--optimizers", "Loin")
    assert "--optimizers: unknown optimizer 'Loin'" not in answer.out
    assert "One of your own: --plugin FILE.py" in answer.err


# --- records ----------------------------------------------------------------------------------------------------------

AGAIN = (
    ("verify", "last"), ("predict", "last", "rows.csv"), ("evaluate", "last", "rows.csv"),
    ("export", "last", "--format", "state_dict", "-o", "model.pt"), ("show", "last", "--style", "tensor"),
    ("plot", "last", "--kind", "fit", "-o", "fit.png"),
)  # fmt: skip
"""Commands that need the plugin of a record."""


@pytest.fixture
def rows() -> None:
    Path("rows.csv").write_text("x,y\n0.5,0\n1.5,1\n2.5,2\n")


@pytest.mark.parametrize("command", AGAIN)
def test_a_record_of_it_is_used_where_it_is_named(command: tuple[str, ...], made: Path, rows: None, gdcli: Any) -> None:
    answer = gdcli(*command, *PLUGIN)
    assert answer.code == 0, answer.err
    if command[0] == "verify":
        assert answer.out == "bit-identical\n"


@pytest.mark.parametrize("command", AGAIN)
def test_a_record_of_it_asks_for_it(command: tuple[str, ...], made: Path, rows: None, gdcli: Any) -> None:
    answer = gdcli(*command)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        f"{made}: it was made with the plugin mine.py, and no record loads one by itself. "
        "Name it on the command line: --plugin mine.py\n"
    )


@pytest.mark.parametrize("command", AGAIN)
def test_another_source_is_refused(command: tuple[str, ...], made: Path, rows: None, gdcli: Any) -> None:
    with Path("mine.py").open("a") as stream:
        stream.write("# more\n")
    answer = gdcli(*command, *PLUGIN)
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith(f"{made}: the plugin mine.py has changed after the record was begun: its sha256 was ")


def test_the_same_source_under_another_name_serves(made: Path, gdcli: Any) -> None:
    shutil.move("mine.py", "moved.py")
    assert gdcli("verify", "last", "--plugin", "moved.py").out == "bit-identical\n"


def test_a_run_of_a_sweep_asks_for_it_too(rows: None, gdcli: Any) -> None:
    assert gdcli("sweep", "own.yaml", "--param", "scale=0.5,1", *PLUGIN, *QUIET).code == 0
    own_plugins.forget()
    (run,) = only_folder(Path("runs")).glob("1-*")
    assert gdcli("predict", str(run), "rows.csv").code == 2
    assert gdcli("verify", "last").code == 2
    assert gdcli("predict", str(run), "rows.csv", *PLUGIN).code == 0
    assert gdcli("verify", "last", *PLUGIN).out == "bit-identical\n"


def test_commands_that_only_read_need_none(made: Path, gdcli: Any) -> None:
    for command in (("ls",), ("show", "last"), ("diff", "last", "last"), ("export", "last"), ("show", "last", "--log")):
        answer = gdcli(*command)
        assert answer.code == 0, answer.err


def test_needed_knows_a_plugin_that_has_changed(made: Path, gdcli: Any) -> None:
    assert "not needed" in gdcli("run", "own.yaml", *PLUGIN, "--no-plot", "--needed").err
    with Path("mine.py").open("a") as stream:
        stream.write("# more\n")
    assert "not needed" not in gdcli("run", "own.yaml", *PLUGIN, "--no-plot", "--needed").err
    assert len(list(Path("runs/own").iterdir())) == 2


@pytest.mark.slow
def test_a_killed_run_of_it_resumes_to_the_same_bytes(gdcli: Any, tmp_path: Path) -> None:
    """Dropout, a buffer, an optimizer that keeps a tensor and a number."""
    command = ("run", "own.yaml", "epochs=120", "checkpoint.every_seconds=0", *PLUGIN, *QUIET)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        for name in ("own.yaml", "mine.py"):
            shutil.copy(name, folder / name)
    with crashing.blocks(20):
        assert crashing.call(whole, *command).code == 0
        assert crashing.call(killed, *command, within=crashing.ending_after_checkpoints(2)).code == 9
        text = (killed / "mine.py").read_text()
        assert crashing.call(killed, "resume", "last", "-q").code == 2
        (killed / "mine.py").write_text(text + "# more\n")
        assert crashing.call(killed, "resume", "last", "-q", *PLUGIN).code == 3
        assert crashing.call(killed, "resume", "last", "-q", "--force", *PLUGIN).code == 0
    records = [only_folder(folder / "runs") for folder in (whole, killed)]
    for name in ("summary.json", "steps.csv", "gradients.csv", "epochs.csv", "log.txt", "model.safetensors"):
        assert (records[0] / name).read_bytes() == (records[1] / name).read_bytes(), name


# --- what it raises ---------------------------------------------------------------------------------------------------

BROKEN = """\
import torch
import gdcli

calls = 0


@gdcli.loss
def failing(output, target, *, after: int = 0):
    global calls
    calls += 1
    if calls > after:
        inner(output)
    return (output - target).abs().mean()


def inner(output):
    raise AttributeError("no luck\\nat all")


@gdcli.activation
def broken(z):
    return z / (1 // 0)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        raise OSError("in the backward pass")


@gdcli.model
class Late(torch.nn.Module):
    def __init__(self, inputs, outputs, *, backward: bool = False):
        super().__init__()
        self.linear, self.passes, self.backward = torch.nn.Linear(inputs, outputs), 0, backward

    def forward(self, x):
        self.passes += self.training
        if self.passes > 2:
            raise KeyError("late")
        return Doubled.apply(self.linear(x)) if self.backward else self.linear(x)


@gdcli.metric
def odd(output, target):
    return output.no_such_name


@gdcli.data
def none(rng):
    raise SystemExit(0)


class Own(BaseException):
    pass


@gdcli.loss
def ended(output, target):
    raise Own("hey")
"""
PLAIN = "data: {x: [1, 2], y: [2, 4]}\nmodel: linear\nloss: mse\noptimizer: {name: sgd, lr: 0.01}\nepochs: 4\n"
RAISING = [
    (("loss=failing",), "broken.py:17: inner: AttributeError: no luck"),
    (("loss=failing", "after=5"), "broken.py:17: inner: AttributeError: no luck, at step "),
    (("model={type: mlp, layers: [1, 1, 1], activation: broken}",), "broken.py:22: broken: ZeroDivisionError: "),
    (("model=Late",), "broken.py:44: Late.forward: KeyError: 'late', at step 3. The record is runs"),
    (("model={type: Late, backward: true}",), "broken.py:32: Doubled.backward: OSError: in the backward pass"),
    (("metrics=[odd]",), "broken.py:50: odd: AttributeError: 'Tensor' object has no attribute 'no_such_name'"),
    (("data={generate: {kind: none}}",), "broken.py:55: none: SystemExit: 0"),
    (("loss=ended",), "broken.py:64: ended: Own: hey, at step 1. The record is runs"),
]  # fmt: skip


@pytest.fixture
def broken() -> None:
    Path("broken.py").write_text(BROKEN)
    Path("plain.yaml").write_text(PLAIN)


@pytest.mark.parametrize(("changes", "told"), RAISING)
def test_what_it_raises_is_told_by_its_own_line(changes: tuple[str, ...], told: str, broken: None, gdcli: Any) -> None:
    answer = gdcli("run", "plain.yaml", *changes, "--plugin", "broken.py", *QUIET)
    assert answer.code == 1
    assert answer.err.startswith(told)
    assert answer.err.count("\n") == 1
    for path in Path("runs").glob("*/*/summary.json"):
        summary = json.loads(path.read_text())
        assert summary["status"] == "failed"
        assert answer.err.startswith(summary["message"])


def test_it_does_not_take_a_sweep_down(broken: None, gdcli: Any) -> None:
    answer = gdcli("sweep", "plain.yaml", "--param", "model=linear,Late", "--plugin", "broken.py", "--no-plot")
    assert answer.code == 1
    assert "1 of 2 runs failed" in answer.err
    assert "broken.py:44: Late.forward: KeyError: 'late'" in answer.err
    found = [json.loads(path.read_text())["status"] for path in sorted(Path("runs").glob("*/*/*/summary.json"))]
    assert found == ["finished", "failed"]


def test_check_and_plot_tell_it_too(broken: None, gdcli: Any) -> None:
    for command in (("check",), ("plot", "-o", "curves.png"), ("validate",)):
        answer = gdcli(command[0], "plain.yaml", "data={generate: {kind: none}}", "--plugin", "broken.py", *command[1:])
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("broken.py:55: none: SystemExit: 0")


# --- loaded only where a command line names it ------------------------------------------------------------------------

MARKER = "import pathlib\npathlib.Path('ran').touch()\nimport gdcli\n@gdcli.metric\ndef odd(output, target): return 1\n"


@pytest.mark.slow
def test_neither_a_spec_nor_a_record_loads_one(made: Path, rows: None, gdcli: Any) -> None:
    Path("mine.py").write_text(MARKER)
    digest, asked = hashlib.sha256(MARKER.encode()).hexdigest(), requests.read(made)
    for name in ("mine.py", str(Path("mine.py").absolute()), "mine"):
        plugin = requests.RecordedPlugin(name=name, sha256=digest)
        changed = asked.model_copy(update={"plugins": (plugin,), "sha256": ""})
        signed = changed.model_copy(update={"sha256": requests._sha256(changed)})
        (made / "request.json").write_text(requests._json(signed))
        assert requests.read(made).plugins == (plugin,)
        for command in (*AGAIN, ("resume", "last"), ("ls",), ("show", "last"), ("plot", "last", "-o", "p.png")):
            gdcli(*command)
    for key in ("plugin", "plugins"):
        Path("spec.yaml").write_text(PLAIN + f"{key}: [mine.py]\n")
        for command in ("run", "validate", "sweep", "compare", "check", "explain"):
            answer = gdcli(command, "spec.yaml")
            assert answer.code == 2
            assert "unknown key" in answer.err
        assert gdcli("run", "linear_manual", f"{key}=mine.py").code == 2
    assert not Path("ran").exists()
    assert gdcli("catalog", "metric", *PLUGIN).code == 0
    assert Path("ran").exists()


# --- from Python ------------------------------------------------------------------------------------------------------


def test_python_has_the_numbers_of_the_command(made: Path) -> None:
    run = package.run("own.yaml", plugins=["mine.py"])
    assert run.summary["final_loss"] == losses_of(made)[0]
    swept = package.sweep("own.yaml", {"scale": [0.5, 1.0]}, plugins=["mine.py"])
    assert swept.rows[0]["final_loss"] == run.summary["final_loss"]
    compared = package.compare("own.yaml", optimizers=["Lion"], plugins="mine.py")
    assert compared.rows[0]["final_loss"]["mean"] == run.summary["final_loss"]
    record = package.load(made, plugins=Path("mine.py"))
    x = np.linspace(0, 3, 7)
    assert np.array_equal(record.predict(x), run.predict(x))
    assert type(record.model).__name__ == "Wide"


def test_python_tells_what_is_missing_and_what_is_raised(made: Path, broken: None) -> None:
    with pytest.raises(package.SpecError, match="--plugin FILE"):
        package.run("own.yaml")
    with pytest.raises(package.SpecError, match=r"it was made with the plugin mine\.py"):
        package.load(made).predict([1.0])
    with pytest.raises(package.PluginError, match=r"broken\.py:44: Late\.forward: KeyError"):
        package.run("plain.yaml", plugins="broken.py", model="Late")
    with pytest.raises(package.SpecError, match="plugins: this is no path"):
        package.run("plain.yaml", plugins=[3])  # type: ignore[list-item]


def test_python_may_register_without_a_file(gdcli: Any) -> None:
    @package.loss
    def cubic(output: Any, target: Any) -> Any:
        """Mean of |e|³."""
        return (output - target).abs().pow(3).mean()

    spec = {"data": {"x": [1, 2], "y": [2, 5]}, "model": {"type": "linear", "init": {"*": 0}}, "loss": "cubic"}
    run = package.run({**spec, "optimizer": "sgd", "dtype": "float64"})
    assert run.losses.tolist() == [(8 + 125) / 2]


@pytest.mark.parametrize("raised", ['RuntimeError("DefaultCPUAllocator: can\'t allocate memory")', "MemoryError"])
def test_a_step_without_enough_memory_is_a_lack_of_the_machine(raised: str, gdcli: Any) -> None:
    text = f"import gdcli\n@gdcli.loss\ndef large(output, target):\n    raise {raised}\n"
    Path("large.py").write_text(text)
    Path("plain.yaml").write_text(PLAIN)
    answer = gdcli("run", "plain.yaml", "loss=large", "--plugin", "large.py", *QUIET)
    assert (answer.code, answer.err.count("\n")) == (3, 1)
    assert answer.err.startswith("there is not enough memory for step 1. The record is runs")
    assert json.loads((only_folder(Path("runs")) / "summary.json").read_text())["status"] == "failed"
    answer = gdcli("sweep", "plain.yaml", "--param", "loss=mse,large", "--plugin", "large.py", "--no-plot")
    assert answer.code == 1
    assert "1 of 2 runs failed" in answer.err
