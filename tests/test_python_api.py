"""`import gdcli`: runs, sweeps, comparisons and records as arrays, with the numbers of torch and the command line."""

from __future__ import annotations

import builtins
import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gdcli
from gdcli.spec import bundled
from gdcli.storage.files import json_text
from tests.conftest import only_folder

X, Y = torch.tensor([[0.05, 0.10]]), torch.tensor([[0.01, 0.99]])
START = {
    "linear1.weight": [[0.15, 0.20], [0.25, 0.30]], "linear1.bias": [0.35],
    "linear2.weight": [[0.40, 0.45], [0.50, 0.55]], "linear2.bias": [0.60],
}  # fmt: skip
RECORDED = ["backprop_2x2", "adam_2x2", "linear_manual", "linear_regression", "rosenbrock", "mlp_digits", "loss_mse"]

pytestmark = pytest.mark.filterwarnings("ignore:on this processor:UserWarning")  # fleets agree to rounding there


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained_by_torch(steps: int, lr: float) -> tuple[list[float], list[torch.Tensor], torch.Tensor]:
    """A 2-2-2 network of sigmoids with half the sum of squares, each layer's bias shared: as document 4 has it."""
    w1, b1, w2, b2 = parameters = [torch.tensor(value, requires_grad=True) for value in START.values()]
    optimizer = torch.optim.SGD(parameters, lr=lr)
    losses, gradients = [], []

    def forward() -> torch.Tensor:
        return torch.sigmoid(torch.sigmoid(X @ w1.T + b1) @ w2.T + b2)

    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((forward() - Y) ** 2).sum() / 2
        loss.backward()
        losses.append(loss.item())
        gradients.append(w2.grad.clone())
        optimizer.step()
    return losses, gradients, forward().detach()


def test_losses_gradients_and_prediction_are_those_of_a_torch_script() -> None:
    losses, gradients, output = trained_by_torch(20, lr=0.5)
    run = gdcli.run("backprop_2x2", lr=0.5, epochs=20)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-6)
    np.testing.assert_allclose(run.gradients["linear2.weight"], torch.stack(gradients), rtol=1e-5)
    np.testing.assert_allclose(run.predict(X.tolist()), output, rtol=1e-6)
    assert run.losses.dtype == np.float64


@pytest.mark.parametrize("name", RECORDED)
def test_the_numbers_are_those_of_the_command_to_the_bit(gdcli: Any, name: str) -> None:
    import gdcli as package

    epochs = {} if name == "loss_mse" else {"epochs": 3}  # it is evaluated once, and has no optimizer
    assert gdcli("run", name, *(f"{key}={value}" for key, value in epochs.items()), "--no-plot").code == 0
    record = only_folder(Path("runs"))
    with (record / "steps.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    run = package.run(name, epochs)
    assert run.losses.tolist() == [float(row["loss"]) for row in rows]
    for column in run.steps.dtype.names or ():
        expected = np.array([float(row[column] or "nan") for row in rows])
        np.testing.assert_array_equal(run.steps[column], expected, err_msg=column)
    summary = json.loads((record / "summary.json").read_text())
    assert json.loads(json_text(run.summary)) == {key: summary[key] for key in summary if key != "sha256"}  # of files
    assert run.folder is None

    back = package.load("last")
    assert back.folder == record
    assert back.steps.tobytes() == run.steps.tobytes()
    assert (back.name, back.status, back.message, back.metrics) == (run.name, run.status, run.message, run.metrics)
    assert back.gradients.keys() == run.gradients.keys()
    for parameter, values in run.gradients.items():
        assert back.gradients[parameter].tobytes() == values.tobytes(), parameter
    assert back.parameters.keys() == run.parameters.keys()
    for parameter, values in run.parameters.items():
        assert back.parameters[parameter].tobytes() == values.tobytes(), parameter


def test_nothing_is_written_unless_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    gdcli.run("backprop_2x2")
    gdcli.sweep("backprop_2x2", {"lr": [0.1, 0.5]})
    gdcli.sweep("linear_sweep", {"w": "0:4:1"})
    gdcli.compare("backprop_2x2", optimizers=["sgd", "adam"])
    assert list(Path().iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_record_has_the_bytes_of_the_command_s(gdcli: Any) -> None:
    import gdcli as package

    run = package.run("backprop_2x2", {"optimizer.lr": 0.1}, epochs=5, output="python")
    assert run.folder == only_folder(Path("python"))
    assert gdcli("run", "backprop_2x2", "optimizer.lr=0.1", "epochs=5").code == 0
    command = only_folder(Path("runs"))
    times = ("timing.json", "environment.json")
    ours = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.name not in times}
    assert ours == {path.name: path.read_bytes() for path in command.iterdir() if path.name not in times}
    assert gdcli("verify", "last", "-o", "python").out == "bit-identical\n"


def test_a_dict_is_a_spec_and_its_problems_name_it() -> None:
    spec = {
        "data": {"x": np.array([[1.0], [2.0]]), "y": (2, 4)}, "model": "linear", "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.01}, "epochs": 2,
    }  # fmt: skip
    assert gdcli.run(spec).losses.shape == (2,)
    assert gdcli.run(spec, optimizer="adam", batch={"mode": "mini-batch", "size": 1}).losses.shape == (4,)
    with pytest.raises(gdcli.SpecError) as caught:
        gdcli.run({**spec, "loss": "msee", "optimiser": "sgd"})
    assert {problem.path for problem in caught.value.problems} == {"loss", "optimiser"}
    assert {problem.place.file for problem in caught.value.problems} == {"<dict>"}
    assert "Did you mean 'mse'?" in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: gdcli.run("backprop_2x2", lrr=1), "unknown key 'lrr'"),
        (lambda: gdcli.run("nosuch"), "no bundled spec of that name"),
        (lambda: gdcli.run({"model": object()}), "a spec holds numbers, texts, lists and dicts (got object)"),
        (lambda: gdcli.run("linear_sweep"), "is required to train"),
        (lambda: gdcli.load("last"), "no record"),
        (lambda: gdcli.run("rosenbrock", epochs=1).predict([1.0]), "an objective has no inputs"),
        (lambda: gdcli.run("backprop_2x2").predict([[1.0, 2.0, 3.0]]), "predict takes rows of shape (2,) (got (3,))"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_spec_error(wrong: Any, text: str) -> None:
    with pytest.raises(gdcli.SpecError) as caught:
        wrong()
    assert text in str(caught.value)


def test_a_run_that_diverges_is_returned() -> None:
    run = gdcli.run("linear_regression", lr=1e6, epochs=50)
    assert run.status == "diverged"
    assert "step" in run.message
    assert len(run.losses) == len(run.steps) > 0


def test_a_warning_is_one_of_python() -> None:
    with pytest.warns(UserWarning, match="5000 rows a step") as caught:
        gdcli.run("linear_regression", batch={"mode": "mini-batch", "size": 5000}, epochs=1)
    assert caught[0].filename == __file__  # where it can be mended


def test_torch_is_left_as_it_was() -> None:
    torch.manual_seed(7)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    gdcli.run("mlp_digits", epochs=1)
    gdcli.sweep("backprop_2x2", {"lr": [0.1, 0.5]})
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sweep_has_the_rows_of_the_command(gdcli: Any) -> None:
    import gdcli as package

    found = package.sweep("backprop_2x2", {"lr": [0.1, 0.5], "optimizer": ["sgd", "adam"]}, epochs=3)
    answer = gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.5", "-p", "optimizer=sgd,adam", "epochs=3", "--json")
    assert found.rows == answer.json["runs"]
    assert [result.loss for result in found.results] == [row["final_loss"] for row in found.rows]
    assert found.to_pandas()["optimizer.lr" if "optimizer.lr" in found.rows[0] else "lr"].tolist() == [
        0.1,
        0.1,
        0.5,
        0.5,
    ]
    kept = package.sweep("backprop_2x2", {"lr": [0.1]}, output="kept")
    assert kept.folder == only_folder(Path("kept"))


def test_a_grid_of_the_loss(gdcli: Any) -> None:
    import gdcli as package

    found = package.sweep("linear_sweep", {"w": "0:4.1:0.1"})
    answer = gdcli("sweep", "linear_sweep", "-p", "w=0:4.1:0.1", "--json")
    assert [row["loss"] for row in found.rows] == answer.json["loss"]


def test_a_comparison_has_the_table_of_the_command(gdcli: Any) -> None:
    import gdcli as package

    found = package.compare(optimizers=["sgd", "adam"], seeds=3, epochs=20)
    answer = gdcli("compare", "--optimizers", "sgd,adam", "--seeds", "3", "epochs=20")
    assert found.table == str(found) == answer.out
    assert [row["label"] for row in found.rows] == ["sgd", "adam"]
    assert len(found.results) == 6
    assert len(found.to_pandas()) == 2


@pytest.mark.slow
def test_a_record_of_many_steps_is_read_back() -> None:
    run = gdcli.run("linear_manual", epochs=2000, output="runs", plot=False)  # several blocks
    back = gdcli.load(run.folder or "")
    assert len(back.losses) > 4096
    assert back.steps.tobytes() == run.steps.tobytes()
    assert back.gradients["weight"].tobytes() == run.gradients["weight"].tobytes()
    assert back.predict([4.0]).tobytes() == run.predict([4.0]).tobytes()


def test_what_is_read_back_has_all_metrics_and_is_equal_to_itself_alone() -> None:
    run = gdcli.run("iris", epochs=2, output="runs", plot=False)
    back = gdcli.load("last")
    assert back.metrics == run.metrics
    assert len(run.metrics["confusion"]) == 3
    assert back != run
    assert run in {run: "kept"}


def test_only_runs_are_read_back() -> None:
    gdcli.sweep("backprop_2x2", {"lr": [0.1, 0.5]}, output="runs", plot=False)
    with pytest.raises(gdcli.SpecError, match=r"is a record of sweep, not of one run\. Name one of its"):
        gdcli.load("last")
    gdcli.sweep("linear_sweep", {"w": "0:2:1"}, output="runs", plot=False)
    with pytest.raises(gdcli.SpecError, match=r"is a record of grid, not of one run\. It has no runs"):
        gdcli.load("last")


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_run_has_its_gradients_where_torch_is_told_to_have_none(off: Any) -> None:
    expected = gdcli.run("backprop_2x2", engine="autograd").gradients["linear1.weight"].tolist()
    with off():
        assert gdcli.run("backprop_2x2", engine="autograd").gradients["linear1.weight"].tolist() == expected
        assert not torch.is_grad_enabled()


def test_only_every_so_many_gradients_are_kept() -> None:
    run = gdcli.run("backprop_2x2", {"record.every": 3}, epochs=7, output="runs", plot=False)
    assert run.gradients["linear1.bias"].shape == (3, 1)
    assert gdcli.load("last").gradients["linear1.bias"].tobytes() == run.gradients["linear1.bias"].tobytes()
    assert gdcli.run("backprop_2x2", {"record.gradients": "norms"}).gradients == {}


def test_without_pandas_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run, real = gdcli.run("backprop_2x2"), builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **named)

    assert run.to_pandas()["loss"].tolist() == run.losses.tolist()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(gdcli.MachineError, match="pip install pandas"):
        run.to_pandas()


def test_import_costs_nothing_and_tells_its_names() -> None:
    code = "import sys, gdcli; assert 'run' in dir(gdcli); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pydantic", "matplotlib", "numpy", "yaml", "typer"} & set(found)
    assert all(getattr(gdcli, name) is not None for name in gdcli.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        gdcli.nosuch  # noqa: B018


@pytest.mark.parametrize("name", [name for name in bundled.names() if name != "linear_sweep"])  # it has no optimizer
@pytest.mark.filterwarnings("ignore:.*constant in the training rows:UserWarning")  # pixels at the border
def test_every_bundled_spec_runs(name: str) -> None:
    whole = gdcli.run(name, {"stop.max_steps": 3})
    assert len(whole.losses) == len(whole.steps) > 0


# --- what is given ----------------------------------------------------------------------------------------------------

LINE: dict[str, Any] = {
    "data": {"x": [1, 2, 3], "y": [2, 4, 6]}, "model": "linear", "loss": "mse", "optimizer": {"name": "sgd", "lr": 0.01}
}  # fmt: skip
CYCLE: dict[str, Any] = dict(LINE)
CYCLE["data"] = CYCLE


def test_every_value_of_an_axis_arrives_as_it_is() -> None:
    words = ["a,b", "1", "don't", "x: y", "max(a,b)", 'q"q', "😀", "#", "true", "[1]"]
    assert [row["description"] for row in gdcli.sweep(LINE, {"description": words}).rows] == words
    rows = gdcli.sweep(LINE, {"scheduler": [{"name": "step", "step_size": 1, "gamma": 0}, None]}, epochs=2).rows
    once = gdcli.run(LINE).summary["final_loss"]  # the second of two steps has the learning rate 0
    assert rows[0]["final_loss"] == once != rows[1]["final_loss"]
    assert [row["steps"] for row in gdcli.sweep(LINE, {"stop.max_steps": [1, None]}, epochs=2).rows] == [1, 2]


def test_numbers_and_arrays_of_numpy_and_torch_are_numbers() -> None:
    expected = gdcli.run(LINE, lr=0.125).losses.tolist()
    rows = torch.tensor([1.0, 2.0, 3.0]), np.array([2, 4, 6])
    found = gdcli.run({**LINE, "data": dict(zip("xy", rows, strict=True))}, lr=torch.tensor(0.125))
    assert found.losses.tolist() == expected
    seeds: Any = np.int64(2)
    assert len(gdcli.sweep(LINE, {"lr": np.array([0.1, 0.2])}, seeds=seeds).rows) == 4
    ends = np.float64(1e-3), np.float64(1e-2)
    assert gdcli.compare(LINE, optimizers=["sgd"], tune=2, tune_range=ends).rows[0]["label"] == "sgd"
    assert gdcli.run(LINE, description="😀").status == "finished"


WRONG: Any = gdcli  # to call with what the types forbid
REFUSED: dict[str, Any] = {
    "jobs takes an integer from 1": lambda: gdcli.sweep(LINE, {"lr": [1]}, jobs=0),
    "seeds: ": lambda: gdcli.sweep(LINE, {"lr": [1]}, seeds=0),
    "tune: ": lambda: WRONG.compare(LINE, optimizers="sgd", tune=2.5),
    "target: ": lambda: gdcli.compare(LINE, optimizers="sgd", target=float("nan")),
    "x: ": lambda: WRONG.compare(LINE, optimizers="sgd", x="foo"),
    "closed_form: ": lambda: WRONG.compare(LINE, optimizers="sgd", closed_form="yes"),
    "plot: ": lambda: WRONG.run(LINE, plot="no"),
    "a number must be finite": lambda: gdcli.run({**LINE, "data": {"x": [float("nan")], "y": [1]}}),
    "nested deeper": lambda: gdcli.run(CYCLE),
    "lr: an axis takes a list": lambda: gdcli.sweep(LINE, {"lr": 0.1}),
    "axes are a dict": lambda: WRONG.sweep(LINE, [1]),
    "overrides are a dict": lambda: WRONG.run(LINE, ["lr=1"]),
    "spec: this is no path": lambda: WRONG.run(None),
    "output: this is no path": lambda: WRONG.run(LINE, output=3),
    "name: this is no path": lambda: WRONG.load(3),
    "predict takes rows of numbers": lambda: gdcli.run(LINE).predict(["a"]),
    "predict takes rows of numbers, all of": lambda: gdcli.run(LINE).predict(np.array([1j])),
    "predict takes rows of numbers, all": lambda: gdcli.run(LINE).predict([[1], [1, 2]]),
    "predict takes rows of numbers (got one number)": lambda: gdcli.run(LINE).predict(3),
    "got object": lambda: gdcli.run(LINE, lr=object()),
    "got object)": lambda: gdcli.run(LINE, lr=np.array([object()])),
    "got date": lambda: gdcli.run({**LINE, "data": {"x": np.array(["2020-01-01"], "datetime64[D]"), "y": [1]}}),
    "got complex": lambda: gdcli.run({**LINE, "data": {"x": np.array([1j]), "y": [1]}}),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_given_is_a_spec_error(told: str) -> None:
    with pytest.raises(gdcli.SpecError, match=re.escape(told)):
        REFUSED[told]()


def test_a_sweep_prints_its_first_rows() -> None:
    found = gdcli.sweep("linear_sweep", {"w": "0:400:1"})
    lines = str(found).splitlines()
    assert lines[0].split() == ["w", "loss"]
    assert [line.split()[0] for line in lines[1:-1]] == [str(w) for w in range(20)]
    assert lines[-1] == "and 380 more rows"
    assert len(repr(found)) < 100
