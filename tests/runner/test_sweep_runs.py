"""`gdcli sweep`: fleets against single runs, seeds and products, failures, surfaces with the paths of runs."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gdcli.report import plots
from gdcli.runner import batch
from tests.conftest import Answer, only_folder
from tests.runner.many_runs import NORMED, OTHER, contents, require_bits_of_run

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # a test process may have threads

LINE = """
data: {x: [1, 2, 3], y: [2, 4, 6]}
model: {type: linear}
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 5
"""

NET = ("backprop_2x2", "epochs=20", "print.style=tensor")


@pytest.fixture(autouse=True)
def _specs(gdcli) -> None:
    Path("line.yaml").write_text(LINE)
    Path("normed.yaml").write_text(NORMED)


def table_of(output: str) -> pd.DataFrame:
    return pd.read_csv(only_folder(Path(output)) / "results.csv")


def summary_of(output: str) -> dict[str, Any]:
    return json.loads((only_folder(Path(output)) / "summary.json").read_text())


# --- the same bits ----------------------------------------------------------------------------------------------------

PRODUCTS = {
    "tiny": (*NET, "model.init={}", "-p", "lr=linspace(0.1,2,7)", "-p", "seed=1,2"),
    "rules": (*NET, "optimizer={name: adam, lr: 0.1}", "-p", "optimizer.lr=0.01,0.1,1", "-p", "optimizer.eps=1e-8,0.1"),
    "mlp": ("mlp", "epochs=1", "model.layers=[64,5,10]", "batch.size=256", "-p", "lr=0.01,0.02,0.03", "--seeds", "2"),
    "objective": ("himmelblau", "epochs=20", "-p", "lr=geomspace(1e-4,1e-2,11)"),
    "structures": (*NET, "-p", "model.activation=sigmoid,tanh,relu", "model.init={}", "-p", "lr=0.1,0.5,1"),
    "beyond folders": (*NET, "-p", "lr=linspace(0.1,1,101)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRODUCTS)
def test_bytes_do_not_depend_on_processes_or_chunks(gdcli, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = ("sweep", *PRODUCTS[name], "--no-plot")
    assert gdcli(*sweep, "-o", "whole").code == 0
    assert gdcli(*sweep, "--jobs", "3", "-o", "jobs").code == 0
    monkeypatch.setattr("gdcli.runner.shards.chunk_of", lambda loaded: 2)
    assert gdcli(*sweep, "-o", "chunks").code == 0
    whole = contents(Path("whole"))
    assert contents(Path("jobs")) == whole
    assert contents(Path("chunks")) == whole
    folders = {path.split("/")[0] for path in whole if "/" in path}
    assert len(folders) == (0 if name == "beyond folders" else whole["results.csv"].count(b"\n") - 1)


def test_a_run_s_bits_do_not_depend_on_its_place(gdcli) -> None:
    assert gdcli("sweep", *NET, "-p", "lr=0.3,0.1,0.7,0.2", "--no-plot", "-o", "a").code == 0
    assert gdcli("sweep", *NET, "-p", "lr=linspace(0.9,0.1,9)", "--no-plot", "-o", "b").code == 0
    assert gdcli("sweep", *NET, "-p", "lr=0.7", "--no-plot", "-o", "c").code == 0
    losses = [table_of(output).set_index("lr")["final_loss"] for output in "abc"]
    assert losses[0][0.7] == losses[1][0.7] == losses[2][0.7]
    assert losses[0][0.2] == losses[1][0.2]
    steps = [next(only_folder(Path(output)).glob("*-lr=0.7/steps.csv")).read_bytes() for output in "abc"]
    assert steps[0] == steps[1] == steps[2]


@pytest.mark.slow
def test_fleets_of_the_2_2_2_net_have_the_files_of_single_runs(gdcli) -> None:
    require_bits_of_run()
    sweep = ("sweep", *PRODUCTS["tiny"], "--no-plot")
    assert gdcli(*sweep, "record.gradients=values", "-o", "fleet").code == 0
    assert gdcli(*sweep, "record.gradients=values", "--fleet", "off", "-o", "off").code == 0
    assert contents(Path("fleet")) == contents(Path("off"))
    assert gdcli(*sweep, "-o", "norms").code == 0
    assert gdcli(*sweep, "record.gradients=norms", "--fleet", "off", "-o", "off-norms").code == 0
    norms, alone = contents(Path("norms")), contents(Path("off-norms"))
    assert set(norms) == set(alone)
    of_norms = {name for name in norms if name.endswith(("/steps.csv", "/gradients.csv"))}
    assert len(of_norms) == 2 * 14
    for name in of_norms:
        check_but_norms(norms[name], alone[name])
    other = [name for name in norms if name not in of_norms and name != "config.yaml"]  # auto, and norms asked for
    assert {name: norms[name] for name in other} == {name: alone[name] for name in other}


def check_but_norms(ours: bytes, alone: bytes) -> None:
    """Two tables have the same bits, but for norms, whose sums are taken in another order."""
    table, expected = (pd.read_csv(io.BytesIO(text)) for text in (ours, alone))
    assert list(table) == list(expected)
    exact = [name for name in table if name in ("step", "epoch", "batch", "loss", "lr")]
    pd.testing.assert_frame_equal(table[exact], expected[exact], check_exact=True)
    np.testing.assert_allclose(table, expected, rtol=1e-6)


def test_a_sub_folder_is_that_of_the_run(gdcli) -> None:
    require_bits_of_run()
    assert gdcli("sweep", *NET, "-p", "lr=0.1,0.5,1", "--no-plot", "-o", "s").code == 0
    for number, lr in enumerate(("0.1", "0.5", "1"), 1):
        assert gdcli("run", *NET, f"lr={lr}", "--no-plot", "-o", lr).code == 0
        assert gdcli("run", *NET, f"lr={lr}", "record.gradients=norms", "--no-plot", "-o", f"norms-{lr}").code == 0
        alone, ours = only_folder(Path(lr)), only_folder(Path("s")) / f"{number}-lr={lr}"
        assert {path.name for path in ours.iterdir()} == {path.name for path in alone.iterdir()} - {"request.json"}
        for file in ("log.txt", "summary.json", "spec.yaml"):
            assert (ours / file).read_bytes() == (alone / file).read_bytes(), file
        check_but_norms((ours / "steps.csv").read_bytes(), (alone / "steps.csv").read_bytes())
        norms = only_folder(Path(f"norms-{lr}")) / "gradients.csv"
        check_but_norms((ours / "gradients.csv").read_bytes(), norms.read_bytes())


def test_a_fleet_records_norms_unless_values_are_asked_for(gdcli) -> None:
    assert gdcli("run", *NET, "--no-plot", "-o", "run").code == 0
    assert gdcli("sweep", *NET, "-p", "lr=0.5", "--no-plot", "-o", "norms").code == 0
    assert gdcli("sweep", *NET, "-p", "lr=0.5", "record.gradients=values", "--no-plot", "-o", "values").code == 0
    assert gdcli("sweep", *NET, "-p", "lr=0.5", "record.gradients=none", "--no-plot", "-o", "none").code == 0
    values = pd.read_csv(only_folder(Path("run")) / "gradients.csv")
    norms = pd.read_csv(only_folder(Path("norms")) / "1-lr=0.5" / "gradients.csv")
    names = ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]
    assert list(norms) == ["step", *names]
    for name in names:
        columns = [column for column in values if column.startswith(name)]
        np.testing.assert_allclose(norms[name], np.linalg.norm(values[columns], axis=1), rtol=1e-6)
    kept = pd.read_csv(only_folder(Path("values")) / "1-lr=0.5" / "gradients.csv")
    assert list(kept) == list(values)
    np.testing.assert_allclose(kept, values, rtol=1e-5)
    assert not (only_folder(Path("none")) / "1-lr=0.5" / "gradients.csv").exists()


@pytest.mark.slow
def test_fleets_agree_with_single_runs_to_rounding(gdcli) -> None:
    for name in ("rules", "mlp", "objective", "structures"):
        sweep = ("sweep", *PRODUCTS[name], "--no-plot", "--max-runs", "50")
        assert gdcli(*sweep, "-o", f"{name}-fleet").code == 0
        assert gdcli(*sweep, "--fleet", "off", "-o", f"{name}-off").code == 0
        fleet, off = table_of(f"{name}-fleet"), table_of(f"{name}-off")
        np.testing.assert_allclose(fleet["final_loss"], off["final_loss"], rtol=1e-4)
        exact = [column for column in fleet if "loss" not in column and "accuracy" not in column]
        pd.testing.assert_frame_equal(fleet[exact], off[exact])


def test_verify_trains_some_again_alone(gdcli) -> None:
    answer = gdcli("sweep", "mlp", "epochs=1", "model.layers=[64,5,10]", "-p", "lr=0.01,0.02,0.03", "--verify", "2")
    assert answer.code == 0, answer.err
    (told,) = [line for line in answer.err.splitlines() if line.startswith("verified")]
    assert told == "verified 2 runs alone: bit-identical" or (
        told.startswith("verified 2 runs alone: largest relative difference ")
        and float(told.split()[-3].rstrip(",")) <= 1e-4
    )


def test_verify_tells_of_a_run_that_is_another_alone(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    carried = batch.run_single

    def other(*given: Any) -> Any:
        result = carried(*given)
        for parameter in result.parameters:
            parameter.values[...] += 1e-2
        return result

    monkeypatch.setattr(batch, "run_single", other)
    answer = gdcli("sweep", *NET, "-p", "lr=0.1,0.5", "--verify", "1000", "--no-plot")
    assert answer.code == 1
    assert "verified 2 runs alone: largest relative difference 0.0" in answer.err


# --- what is swept ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_zip_a_product_and_seeds(gdcli) -> None:
    sweep = ("sweep", "line.yaml", "-p", "zip(lr=0.01,0.02,epochs=3,4)", "-p", "momentum=0,0.5", "--seeds", "2")
    dry = gdcli(*sweep, "--dry-run", "--seed", "5")
    assert len(dry.out.splitlines()) == 2 * 2 * 2
    assert not Path("runs").exists()
    assert gdcli(*sweep, "--seed", "5", "--no-plot").code == 0
    table = table_of("runs")
    assert table[["lr", "epochs", "momentum", "seed"]].to_numpy().tolist() == [
        [lr, epochs, momentum, seed]
        for lr, epochs in ((0.01, 3), (0.02, 4))
        for momentum in (0, 0.5)
        for seed in (5, 6)
    ]
    assert table["steps"].tolist() == table["epochs"].tolist()
    assert table["weights"].tolist() == table["weights"].tolist()[:2] * 4
    for _, row in table.iterrows():
        words = [f"lr={row['lr']}", f"epochs={row['epochs']:.0f}", f"momentum={row['momentum']}"]
        output = f"{row['run']}"
        one = gdcli("run", "line.yaml", *words, "--seed", f"{row['seed']:.0f}", "--json", "--no-plot", "-o", output)
        assert one.json["final_loss"] == pytest.approx(row["final_loss"], rel=1e-4)


def test_json_holds_the_rows_of_the_table(gdcli) -> None:
    answer = gdcli("sweep", "line.yaml", "-p", "lr=0.01,1e3", "epochs=60", "--json", "--no-plot")
    assert answer.code == 0
    table = table_of("runs")
    assert Path(answer.json["folder"]) == only_folder(Path("runs"))
    for row, (_, expected) in zip(answer.json["runs"], table.iterrows(), strict=True):
        assert list(row) == list(table)
        for name, value in row.items():
            assert value == expected[name] or (value is None and np.isnan(expected[name]))


def test_the_spec_s_own_sweep_block(gdcli) -> None:
    block = "sweep: {parameters: {lr: {min: 1e-4, max: 1e-2, distribution: log_grid, count: 3}}}\n"
    Path("own.yaml").write_text(LINE + block)
    assert gdcli("sweep", "own.yaml", "--no-plot").code == 0
    assert table_of("runs")["lr"].tolist() == [1e-4, 1e-3, 1e-2]


@pytest.mark.slow
def test_more_runs_than_the_limit_with_the_option_that_raises_it(gdcli) -> None:
    sweep = ("sweep", "line.yaml", "-p", "lr=linspace(0.001,0.002,10001)", "epochs=1", "--no-plot")
    refused = gdcli(*sweep)
    assert (refused.code, refused.err) == (2, "10,001 runs are more than 10,000. --max-runs raises it\n")
    assert not Path("runs").exists()
    assert gdcli(*sweep, "--max-runs", "10001").code == 0
    table = table_of("runs")
    assert len(table) == 10001
    assert table["run"].tolist() == list(range(1, 10002))
    assert not [path for path in only_folder(Path("runs")).iterdir() if path.is_dir()]


# --- runs that fail ---------------------------------------------------------------------------------------------------


def check_one_failed(answer: Answer, output: str) -> None:
    assert answer.code == 1
    (told,) = [line for line in answer.err.splitlines() if "failed:" in line]
    assert told.startswith("batch.size=1: failed: ")
    assert "model.layers[1]: BatchNorm1d takes no batch of one row" in told
    assert "Expected more than 1 value" in told
    assert "1 of 3 runs failed" in answer.err.splitlines()
    assert "Traceback" not in answer.err
    table = table_of(output)
    assert table["batch.size"].tolist() == [4, 1, 2]
    assert table["status"].tolist() == ["finished", "failed", "finished"]
    assert np.isnan(table["final_loss"][1])
    summary = summary_of(output)
    assert (summary["finished"], summary["failed"]) == (2, 1)


@pytest.mark.parametrize("how", [(), ("--jobs", "2")], ids=["here", "jobs"])
def test_a_run_that_raises_does_not_stop_the_others(gdcli, how: tuple[str, ...]) -> None:
    check_one_failed(gdcli("sweep", "normed.yaml", "-p", "batch.size=4,1,2", *how, "--no-plot", "-o", "s"), "s")
    for number, size in ((1, 4), (3, 2)):
        assert gdcli("run", "normed.yaml", f"batch.size={size}", "--no-plot", "-o", str(size)).code == 0
        alone, ours = only_folder(Path(str(size))), only_folder(Path("s")) / f"{number}-batch.size={size}"
        for path in alone.iterdir():
            if path.name not in OTHER:
                assert (ours / path.name).read_bytes() == path.read_bytes(), path.name


def test_one_of_a_fleet_that_raises(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    from gdcli.runner import shards

    assert gdcli("sweep", *NET, "-p", "lr=0.1,0.5,1", "--no-plot", "-o", "good").code == 0
    built = shards.build_fleet

    def without_half(members: Any) -> Any:
        if any(loaded.spec.optimizer.arguments["lr"] == 0.5 for loaded in members):
            raise RuntimeError("half")
        return built(members)

    monkeypatch.setattr(shards, "build_fleet", without_half)
    answer = gdcli("sweep", *NET, "-p", "lr=0.1,0.5,1", "--no-plot", "-o", "bad")
    assert answer.code == 1
    assert "lr=0.5: failed: RuntimeError: half" in answer.err.splitlines()
    good, bad = contents(Path("good")), contents(Path("bad"))
    kept = [name for name in good if name.startswith(("1-", "3-"))]
    assert {name: bad[name] for name in kept} == {name: good[name] for name in kept}
    good_rows, bad_rows = (text["results.csv"].splitlines() for text in (good, bad))
    assert [good_rows[k] for k in (0, 1, 3)] == [bad_rows[k] for k in (0, 1, 3)]
    assert bad_rows[2].startswith(b"2,0.5,failed,")


@pytest.mark.parametrize("fleet", ["auto", "off"])
@pytest.mark.parametrize("command", [("sweep", "-p", "lr=0.1,0.7,1"), ("compare", "--optimizers", "sgd:lr=0.7,adam")])
def test_what_failed_is_run_again_when_asked_and_nothing_else(
    gdcli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], fleet: str
) -> None:
    """A machine's fault, such as memory, may be over: then the record is as if it had never been."""
    from gdcli.runner import provenance, shards

    words = (*command[:1], *NET, *command[1:], "--fleet", fleet, "--no-plot", "-o")
    assert gdcli(*words, "good").code == 0
    trained: list[float] = []
    mended = False

    def checked(build: Any) -> Any:
        def once(given: Any) -> Any:
            members = given if isinstance(given, list | tuple) else [given]
            rates = [loaded.spec.optimizer.arguments["lr"] for loaded in members]
            trained.extend(rates)
            if 0.7 in rates and not mended:
                raise RuntimeError("no memory")
            return build(given)

        return once

    monkeypatch.setattr(shards, "build_fleet", checked(shards.build_fleet))
    monkeypatch.setattr(provenance, "prepared", checked(provenance.prepared))
    monkeypatch.setattr(
        "gdcli.commands.batch.matches_single", lambda shard: True
    )  # it builds a run that it does not train
    assert gdcli(*words, "bad").code == 1
    assert summary_of("bad")["status"] == "failed"
    record = only_folder(Path("bad"))
    answer = gdcli("resume", str(record))
    assert answer.code == 1
    assert "nothing is left to do: failed, --retry-failed runs again what failed" in answer.err
    mended = True
    trained.clear()
    answer = gdcli("resume", str(record), "--retry-failed")
    assert answer.code == 0, answer.err
    assert set(trained) <= {0.5, 0.7}  # 0.5 is the spec's own, which is built to be checked
    assert contents(Path("bad")) == contents(Path("good"))
    assert not (record / ".results").exists()
    assert "nothing is left to do: finished." in gdcli("resume", str(record), "--retry-failed").err


@pytest.mark.parametrize("devices", ["cpu,cuda:99", "cuda:99,cpu"])
def test_one_device_that_is_not_there(gdcli, devices: str) -> None:
    answer = gdcli("sweep", *NET, "-p", f"device={devices}", "--no-plot")
    assert answer.code == 1
    assert sum("device=cuda:99: failed: " in line for line in answer.err.splitlines()) == 1
    assert sorted(table_of("runs")["status"]) == ["failed", "finished"]


@pytest.mark.parametrize(
    "words", [("sweep", "mlp", "-p", "lr=0.1,0.2"), ("sweep", "backprop_2x2", "-p", "lr=0.1"), ("compare",)]
)
def test_a_device_that_is_not_there(gdcli, words: tuple[str, ...]) -> None:
    answer = gdcli(*words, "--device", "cuda:99")
    assert (answer.code, answer.out) == (2, "")
    assert "this machine has no device cuda:99" in answer.err
    assert not Path("runs").exists()


def test_fail_fast_stops_at_the_first_failure(gdcli) -> None:
    answer = gdcli("sweep", "normed.yaml", "-p", "batch.size=4,1,2,8", "--fail-fast", "--no-plot")
    assert answer.code == 1
    assert table_of("runs")["status"].tolist() == ["finished", "failed"]


def test_diverged_runs_are_results(gdcli) -> None:
    answer = gdcli("sweep", "line.yaml", "-p", "lr=1e6,0.01,1e3,0.02", "epochs=60", "--no-plot")
    assert answer.code == 0
    assert "failed" not in answer.err
    table, summary = table_of("runs"), summary_of("runs")
    assert table["status"].tolist() == ["diverged", "finished", "diverged", "finished"]
    assert table["final_loss"].isna().tolist() == [True, False, True, False]
    assert summary["best_loss"] == table["final_loss"].min()
    assert (summary["finished"], summary["diverged"]) == (2, 2)


def test_only_diverged_runs(gdcli) -> None:
    answer = gdcli("sweep", "line.yaml", "-p", "lr=1e6,1e3", "epochs=60")
    assert answer.code == 0
    assert summary_of("runs")["best_loss"] is None


def test_ctrl_c_between_the_runs_of_one_process(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    added = batch.ResultRows.add

    def interrupted(self: batch.ResultRows, result: Any) -> None:
        added(self, result)
        if result.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(batch.ResultRows, "add", interrupted)
    answer = gdcli("sweep", "line.yaml", "-p", "lr=0.01,0.02,0.03,0.04", "--fleet", "off")
    assert answer.code == 130
    assert table_of("runs")["status"].tolist() == ["finished", "finished"]
    assert len(answer.out.splitlines()) == 1 + 2
    assert summary_of("runs")["status"] == "interrupted"


@pytest.mark.slow
def test_each_of_a_thousand_seeds_is_another_start(gdcli) -> None:
    assert gdcli("sweep", "line.yaml", "-p", "lr=0.01", "--seeds", "1000", "epochs=1", "--no-plot").code == 0
    table = table_of("runs")
    assert table["weights"].nunique() == 1000
    assert table["data"].nunique() == 1


# --- the paths of runs on a surface -----------------------------------------------------------------------------------

SURFACE = ("sweep", "rosenbrock", "-p", "x=-2:2:0.5", "-p", "y=-1:3:0.5")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[plots.Trail]:
    """The trails that go to the picture."""
    found: list[plots.Trail] = []
    surface = plots.surface

    def spy(*arguments: Any, trails: Any, **settings: Any) -> bytes:
        found.extend(trails)
        return surface(*arguments, trails=trails, **settings)

    monkeypatch.setattr(plots, "surface", spy)
    return found


@pytest.mark.slow
def test_the_path_of_a_record_and_of_a_spec(gdcli, drawn: list[plots.Trail]) -> None:
    assert gdcli("run", "rosenbrock", "epochs=30", "lr=1e-4", "--no-plot", "-o", "r").code == 0
    record = only_folder(Path("r"))
    assert gdcli(*SURFACE, "--trajectory", str(record), "--trajectory", "rosenbrock", "-o", "s").code == 0
    assert (only_folder(Path("s")) / "sweep.png").is_file()
    of_record, of_spec = drawn
    end = json.loads((record / "summary.json").read_text())
    assert of_record.points.shape == (end["steps"] + 1, 2)
    assert of_record.points[-1].tolist() == [end["parameters"]["x"], end["parameters"]["y"]]
    assert of_record.points[0].tolist() == of_spec.points[0].tolist()
    x, y = of_record.points[:-1].T
    loss = (1 - x) ** 2 + 100 * (y - x**2) ** 2
    np.testing.assert_allclose(pd.read_csv(record / "steps.csv")["loss"], loss, rtol=1e-5)


@pytest.mark.slow
def test_the_axes_decide_the_order_of_a_path(gdcli, drawn: list[plots.Trail]) -> None:
    turned = ("sweep", "rosenbrock", "-p", "y=-1:3:0.5", "-p", "x=-2:2:0.5", "--trajectory", "rosenbrock")
    assert gdcli(*turned, "-o", "turned").code == 0
    assert gdcli(*SURFACE, "--trajectory", "rosenbrock", "-o", "straight").code == 0
    np.testing.assert_array_equal(drawn[0].points, drawn[1].points[:, ::-1])


@pytest.mark.slow
def test_the_paths_of_a_comparison(gdcli, drawn: list[plots.Trail]) -> None:
    compared = gdcli("compare", "rosenbrock", "--optimizers", "sgd:lr=1e-4,adam:lr=0.1", "epochs=5", "-o", "c")
    assert compared.code == 0, compared.err
    assert gdcli(*SURFACE, "--trajectory", str(only_folder(Path("c"))), "-o", "s").code == 0
    assert [trail.label for trail in drawn] == ["sgd", "adam"]


PLANE = """
data: {x: [[1, 0], [0, 2], [3, 1]], y: [5, 3, 4]}
model: {type: linear, init: {weight: [[1, -1]], bias: 0.5}}
loss: mse
optimizer: {name: sgd, lr: 0.05}
epochs: 20
dtype: float64
"""


@pytest.mark.parametrize("frozen", [False, True])
def test_a_surface_that_a_path_leaves_says_how_far(gdcli, drawn: list[plots.Trail], frozen: bool) -> None:
    """Its other parameter is at its start value: the loss there, at the path's end, is worked out by numpy."""
    Path("plane.yaml").write_text(PLANE)
    rest = ["model.freeze=[bias]"] if frozen else []
    run = gdcli("run", "plane.yaml", *rest, "--json", "--no-plot", "-o", "r")
    (w,) = run.json["parameters"]["weight"]
    record = run.json["folder"]
    surface = ("sweep", "plane.yaml", "-p", "weight[0,0]=0:4:1", "-p", "weight[0,1]=-2:2:1", "--trajectory", record)
    answer = gdcli(*surface, "-o", "s")
    assert drawn[0].points[-1].tolist() == w
    output = np.array([[1, 0], [0, 2], [3, 1]]) @ w + 0.5
    gap = np.mean((output - [5, 3, 4]) ** 2) - run.json["final_loss"]
    told = f"parameters not on the axes stay at their start values: surface − true loss {gap:.3g} at the end\n"
    assert (answer.code, told.replace("-", "−") in answer.err.replace("-", "−")) == (0, not frozen)
    assert gdcli(*surface, "-q", "--no-plot", "-o", "s").err == ""


@pytest.mark.parametrize("spec", ["backprop_2x2", "loss_mse", "himmelblau"])
def test_a_path_of_another_model(gdcli, spec: str) -> None:
    expected = {"himmelblau": 0}.get(spec, 2)  # himmelblau has x and y too
    answer = gdcli(*SURFACE, "--trajectory", spec)
    assert answer.code == expected
    if expected:
        assert answer.err == f"--trajectory {spec}: the model has no parameter x. Try 'gdcli sweep --help'.\n"
        assert not Path("runs").exists()


# --- what cannot be ---------------------------------------------------------------------------------------------------

REFUSED = [
    (["-p", "lr=range(0,1,0)"], "--param lr: the step of a range must not be 0"),
    (["-p", "zip(lr=0.1,0.2,epochs=1,2,3)"], "--param zip: the grids of a zip must have one length; lr has 2"),
    (["-p", "lr=linspace(0,1,1000000000)"], "1,000,000,000 runs are more than 10,000. --max-runs raises it"),
    (["-p", "lr=0.1", "--seeds", "1000000000"], "1,000,000,000 runs are more than 10,000. --max-runs raises it"),
    (["-p", "lr=0.1,0.2", "-p", "lr=0.3"], "--param lr is given twice"),
    (["-p", "w=0,1", "--seeds", "2"], "--seeds is for runs"),
    (["-p", "seed=0,1", "--seeds", "2"], "--seeds and an axis over the seed exclude each other"),
    (["-p", "w=0,1", "--trajectory", "line.yaml"], "--trajectory draws on a surface: give two --param of the model"),
    (["-p", "lr=0.1,1", "--trajectory", "line.yaml"], "--trajectory draws on a surface: give two --param of the model"),
    (["-p", "w=0,1", "-p", "b=0,1", "--trajectory", "nowhere"], "there is no file 'nowhere'"),
    (["-p", "w=0,1", "-p", "b=0,1", "--trajectory", "."], "--trajectory /"),  # the whole path: no config.yaml in it
    (["-p", "compare.seeds=1,2"], "--param compare.seeds: a single run does not read the key"),
    (["-p", "lr=0.1", "--max-runs", "0"], "Invalid value for '--max-runs'"),
    (["-p", "lr=0.1", "--jobs", "0"], "Invalid value for '--jobs'"),
    (["-p", "lr=0.1", "--fleet", "on"], "Invalid value for '--fleet'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_a_sweep_that_cannot_be(gdcli, words: list[str], expected: str) -> None:
    before = set(Path.cwd().iterdir())
    answer = gdcli("sweep", "line.yaml", *words)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith(expected)
    assert set(Path.cwd().iterdir()) == before


def test_signs_learn_the_exclusive_or(gdcli) -> None:
    assert gdcli("run", "sign_ste", "--no-plot", "-q", "-o", "signs").code == 0
    found = json.loads((only_folder(Path("signs")) / "summary.json").read_text())
    assert found["final_loss"] < 1e-3


@pytest.mark.slow
def test_a_deep_sigmoid_has_next_to_no_gradient_in_front_and_learns_only_with_a_larger_rate_there(gdcli) -> None:
    """Four layers lie between the first and the last, each with a factor of at most 1/4 from the sigmoid, 1 from ReLU.

    The front layers have the larger rate from epoch 100 on.
    """
    assert gdcli("sweep", "vanishing_gradient", "--no-plot", "-q", "-o", "deep").code == 0
    folder = only_folder(Path("deep"))
    sigmoid, relu = (pd.read_csv(path) for path in sorted(folder.glob("*/gradients.csv")))
    ratios = [(run["linear1.weight"] / run["linear5.weight"])[:500].median() for run in (sigmoid, relu)]
    assert ratios[0] < 1e-2
    assert ratios[1] > 0.1
    found = pd.read_csv(folder / "results.csv")
    assert found["status"].tolist() == ["stopped", "stopped"]
    assert (found["accuracy"] > 0.99).all()
    assert found["epochs"][1] < 100 < found["epochs"][0]
    steps = pd.read_csv(next(folder.glob("1-*/steps.csv")))
    assert abs(steps["loss"][900:1000].mean() - np.log(2)) < 0.05
