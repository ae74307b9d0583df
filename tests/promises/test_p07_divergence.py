"""P7: a run ends at the first step whose loss or gradient is not finite, and says what may help.

That step is found here by loops of plain torch, and the bounds of lr from eigenvalues that numpy works out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gdcli.storage import arrays as sealed
from tests.conftest import Answer, only_folder
from tests.promises.crashing import blocks

Value = Callable[[Sequence[Tensor]], Tensor]

X = [[0.5, -1.0], [1.5, 2.0], [-0.5, 0.25], [2.0, 1.0], [0.0, -2.0], [1.0, 0.5]]
Y = [[1.0], [-2.0], [0.5], [3.0], [0.0], [1.5]]


# --- the first bad step, by plain torch -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    """A problem in torch's own words: its parameters, and the loss of each step's rows in turn, for ever."""

    parameters: list[Tensor]
    losses: Iterator[Callable[[], Tensor]]

    def first_bad(self, optimizer: torch.optim.Optimizer, at_most: int) -> tuple[int, list[list[Tensor]]]:
        """Return the first step, from 1, whose loss or gradient is not finite, and the parameters before each step."""
        states = []
        for step, loss in enumerate(islice(self.losses, at_most), 1):
            states.append([p.detach().clone() for p in self.parameters])
            optimizer.zero_grad()
            value = loss()
            value.backward()
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            if not all(tensor.isfinite().all() for tensor in (value, *gradients)):
                return step, states
            optimizer.step()
        raise AssertionError("it does not diverge")


def network(dtype: torch.dtype, sizes: Sequence[int], rows: int = len(X)) -> Plain:
    torch.manual_seed(0)
    layers = [nn.Linear(i, o, dtype=dtype) for i, o in pairwise(sizes)]
    parts = [part for layer in layers for part in (layer, nn.Tanh())][:-1]
    net, x, y = nn.Sequential(*parts), torch.tensor(X, dtype=dtype), torch.tensor(Y, dtype=dtype)

    def losses() -> Iterator[Callable[[], Tensor]]:
        while True:
            for k in range(0, len(X), rows):
                yield lambda k=k: nn.functional.mse_loss(net(x[k : k + rows]), y[k : k + rows])  # type: ignore[misc]

    return Plain(list(net.parameters()), losses())


def function(dtype: torch.dtype, start: Sequence[float], value: Value) -> Plain:
    variables = [torch.tensor(number, dtype=dtype, requires_grad=True) for number in start]

    def losses() -> Iterator[Callable[[], Tensor]]:
        while True:
            yield lambda: value(variables)

    return Plain(variables, losses())


def data(**keys: Any) -> dict[str, Any]:
    return {"data": {"x": X, "y": Y}, "loss": "mse", **keys}


def objective(expression: str, **start: float) -> dict[str, Any]:
    return {"model": {"type": "objective", "expression": expression, "start": start}}


MLP = {"type": "mlp", "layers": [2, 5, 1], "activation": "tanh"}

PROBLEMS: dict[str, tuple[dict[str, Any], Callable[[torch.dtype], Plain]]] = {
    "linear": (data(model="linear"), lambda dtype: network(dtype, (2, 1))),
    "stochastic": (
        data(model="linear", batch={"mode": "stochastic", "shuffle": False}),
        lambda dtype: network(dtype, (2, 1), rows=1),
    ),
    "mini-batch": (
        data(model="linear", batch={"mode": "mini-batch", "size": 4, "shuffle": False}),
        lambda dtype: network(dtype, (2, 1), rows=4),
    ),
    "mlp": (data(model=MLP), lambda dtype: network(dtype, (2, 5, 1))),
    "torch's layers": (
        data(model={"type": "sequential", "layers": [{"layer": "Linear", "in_features": 2, "out_features": 1}]}),
        lambda dtype: network(dtype, (2, 1)),
    ),
    "valley": (
        objective("(1 - x)**2 + 100*(y - x**2)**2", x=-1.2, y=1.0),
        lambda dtype: function(dtype, (-1.2, 1.0), lambda v: (1 - v[0]) ** 2 + 100 * (v[1] - v[0] ** 2) ** 2),
    ),
    "log of a negative": (objective("log(x)", x=0.5), lambda dtype: function(dtype, (0.5,), lambda v: torch.log(v[0]))),
    "exp overflows": (
        objective("exp(x) + exp(-2*x)", x=3.0),
        lambda dtype: function(dtype, (3.0,), lambda v: torch.exp(v[0]) + torch.exp(-2 * v[0])),
    ),
    "falls for ever": (
        objective("x - y**4", x=1.0, y=1.0),
        lambda dtype: function(dtype, (1.0, 1.0), lambda v: v[0] - v[1] ** 4),
    ),
}


def written(spec: dict[str, Any], **keys: Any) -> str:
    """Write a spec, JSON being YAML, and return its name."""
    Path("spec.yaml").write_text(json.dumps({**spec, "epochs": 5000, **keys}))
    return "spec.yaml"


def sgd(lr: float, **more: float) -> dict[str, Any]:
    return {"optimizer": {"name": "sgd", "lr": lr, **more}}


FILES = {
    "spec.yaml", "config.yaml", "log.txt", "steps.csv", "gradients.csv", "epochs.csv", "loss.png", "summary.json",
    "timing.json", "environment.json", "request.json", "model.safetensors",
}  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def is_finite(row: dict[str, str]) -> bool:
    return all(np.isfinite(float(value)) for value in row.values())


def assert_diverged(answer: Answer, output: Path, step: int) -> dict[str, Any]:
    """The record has every file and every row up to this step, all but the last finite; return its summary."""
    assert answer.code == 1, answer.err
    assert "Traceback" not in answer.err
    folder = only_folder(output)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("diverged", step)
    assert answer.err.startswith(f"diverged at step {step} (epoch ")
    assert answer.err.splitlines()[0] == summary["message"]
    steps, gradients = rows_of(folder / "steps.csv"), rows_of(folder / "gradients.csv")
    assert [int(row["step"]) for row in steps] == [int(row["step"]) for row in gradients] == [*range(1, step + 1)]
    *good, bad = [a | b for a, b in zip(steps, gradients, strict=True)]
    assert all(map(is_finite, good))
    assert not is_finite(bad)
    return summary


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lr", [10.0, 1e3, 1e6], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_first_step_that_is_not_finite_is_the_last(gdcli, name: str, lr: float, dtype: str) -> None:
    spec, plain = PROBLEMS[name]
    problem = plain(getattr(torch, dtype))
    step, states = problem.first_bad(torch.optim.SGD(problem.parameters, lr=lr), 5000)
    answer = gdcli("run", written(spec, **sgd(lr), dtype=dtype))
    summary = assert_diverged(answer, Path("runs"), step)
    assert {path.name for path in only_folder(Path("runs")).iterdir()} == FILES
    found = [np.array(value, dtype) for value in summary["parameters"].values()]
    assert [each.tobytes() for each in found] == [p.numpy().tobytes() for p in states[-1]], "not those before the step"


SOURCES: dict[str, tuple[dict[str, Any], int, str]] = {
    # loss 0, gradient 0/0: sqrt's derivative at 0 is infinite, times that of x**2, 0
    "nan gradient, finite loss": (objective("sqrt(x**2)", x=1.0) | sgd(1.0), 2, "the loss is 0 and the gradient of x"),
    # x goes from 1 to 0 by lr 2 times the derivative 1/2
    "infinite gradient, finite loss": (objective("sqrt(x)", x=1.0) | sgd(2.0), 2, "the loss is 0 and the gradient of"),
    # the loss is the error's square: in float32 it is beyond 3e38 where the error is beyond 2e19
    "infinite loss, finite gradient": (
        {"data": {"x": [1], "y": [0]}, "loss": "mse", "model": {"type": "linear", "bias": False, "init": {"weight": 1}}}
        | sgd(5e5 + 0.5),  # each step is a factor of -1e6: 1, 1e6, 1e12, 1e18, 1e24
        5,
        "the loss is inf, the largest gradient is that of weight (norm 2e+24)",
    ),
    "nan at the start": (objective("log(x)", x=-1.0) | sgd(0.1), 1, "the loss is nan, the largest gradient is that of"),
    "infinity at the start": (objective("exp(x)", x=1e4) | sgd(0.1), 1, "the loss is inf and the gradient of x is not"),
    "data beyond float32": (
        {"data": {"x": [1e39, 1], "y": [1, 2]}, "loss": "mse", "model": "linear"} | sgd(0.1),
        1,
        "the gradient of weight",
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_each_way_not_to_be_finite(gdcli, name: str) -> None:
    spec, step, what = SOURCES[name]
    summary = assert_diverged(gdcli("run", written(spec)), Path("runs"), step)
    assert what in summary["message"]


def test_a_run_that_diverged_has_no_final_loss(gdcli) -> None:
    """Else a list sorted by the loss would have it first: here it is 0."""
    spec, _, _ = SOURCES["nan gradient, finite loss"]
    gdcli("run", written(spec), "--no-plot")
    assert json.loads((only_folder(Path("runs")) / "summary.json").read_text())["final_loss"] is None


STEEP = {
    "model": {
        "type": "objective", "expression": "a*x + a*y", "start": {"x": 1.0, "y": 1.0}, "constants": {"a": 1.0e20},
    },
    "optimizer": {"name": "sgd", "lr": 1e-22},
}  # fmt: skip
"""Its gradient is (1e20, 1e20) everywhere: finite in float32, where the sum of its squares is not."""


def assert_steep(summary: dict[str, Any], lr: float) -> None:
    """After five steps x = y = 1 - 5 lr a, and the loss is a (x + y)."""
    assert (summary["status"], summary["steps"]) == ("finished", 5), summary
    assert summary["final_loss"] == pytest.approx(1e20 * 2 * (1 - 5 * lr * 1e20), rel=1e-6)


@pytest.mark.parametrize("kept", ["values", "norms", "none"])
def test_a_norm_that_overflows_is_no_divergence_whatever_is_recorded(gdcli, kept: str) -> None:
    assert gdcli("run", written(STEEP, epochs=5, record={"gradients": kept}), "--no-plot", "-q").code == 0
    folder = only_folder(Path("runs"))
    assert_steep(json.loads((folder / "summary.json").read_text()), 1e-22)
    norms = [float(line.split(",")[5]) for line in (folder / "steps.csv").read_text().splitlines()[1:]]
    assert norms == pytest.approx([2**0.5 * 1e20] * 5, rel=1e-6)


@pytest.mark.parametrize("fleet", ["auto", "off"])
@pytest.mark.parametrize("kept", ["values", "norms", "none"])
def test_a_norm_that_overflows_is_no_divergence_however_many_run(gdcli, kept: str, fleet: str) -> None:
    spec = written(STEEP, epochs=5, record={"gradients": kept})
    assert gdcli("sweep", spec, "--param", "lr=1e-22,2e-22", "--fleet", fleet, "--no-plot", "-q").code == 0
    for lr, path in zip((1e-22, 2e-22), sorted(Path("runs").glob("*/*/*/summary.json")), strict=True):
        assert_steep(json.loads(path.read_text()), lr)


def test_a_norm_that_overflows_is_no_divergence_in_runs_without_folders(gdcli) -> None:
    """Beyond a hundred runs no gradient is kept, and the rule is the same."""
    grid = ",".join(f"{k}e-24" for k in range(1, 121))
    answer = gdcli("sweep", written(STEEP, epochs=5), "--param", f"lr={grid}", "--no-plot", "--json")
    rows = sorted(answer.json["runs"], key=lambda row: row["run"])
    assert {row["status"] for row in rows} == {"finished"}
    expected = [1e20 * 2 * (1 - 5 * k * 1e-24 * 1e20) for k in range(1, 121)]
    assert [row["final_loss"] for row in rows] == pytest.approx(expected, rel=1e-6)


def test_a_block_of_a_net_whose_norms_overflow_has_the_plain_gradients_norms(gdcli) -> None:
    """Entries of 1e21 are finite in float32, the sum of their squares is not: the norm is that of the values."""
    spec = {
        "data": {"x": [[1e3, 1e3]] * 3, "y": [2, 4, 6]},
        "model": {"type": "linear", "bias": False, "init": {"weight": 0}},
        "loss": "mse",
        **sgd(1e-4),
    }
    for kept in ("values", "norms"):
        gdcli("run", written(spec, record={"gradients": kept}), "--no-plot", "-o", kept)
    values, norms = (only_folder(Path(kept)) for kept in ("values", "norms"))
    ends = [json.loads((folder / "summary.json").read_text())["steps"] for folder in (values, norms)]
    assert ends[0] == ends[1]
    columns = [(folder / "steps.csv").read_text().splitlines()[1:] for folder in (values, norms)]
    assert [line.split(",")[:4] for line in columns[0]] == [line.split(",")[:4] for line in columns[1]]
    found = [[float(line.split(",")[5]) for line in lines] for lines in columns]
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_no_update_is_lr_s_fault_before_the_first(gdcli) -> None:
    spec = objective("log(x)", x=-1.0)
    for number, (more, step) in enumerate(((sgd(0.1), 1), ({"epochs": 0, "print": {"style": "loss"}}, 0))):
        answer = gdcli("run", written(spec, **more), "--no-plot", "-o", str(number))
        told = answer.err.splitlines()[0]
        assert told.startswith(f"diverged at step {step} (epoch {step}): the loss is nan")
        assert told.endswith("No update came before it, so lr is not the cause: look at the start values")


def test_data_that_do_not_fit_are_named(gdcli) -> None:
    spec, _, _ = SOURCES["data beyond float32"]
    told = gdcli("run", written(spec), "--no-plot").err.splitlines()[0]
    assert told.endswith("The data are not finite in float32: dtype=float64 or smaller units may help")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "mlp", "valley"])
def test_the_last_good_checkpoint_is_kept(gdcli, name: str) -> None:
    """It holds the parameters of plain torch after its steps."""
    spec, plain = PROBLEMS[name]
    problem = plain(torch.float64)
    step, states = problem.first_bad(torch.optim.SGD(problem.parameters, lr=10), 5000)
    with blocks(2):
        answer = gdcli("run", written(spec, **sgd(10), dtype="float64", checkpoint={"every_seconds": 0}))
    assert_diverged(answer, Path("runs"), step)
    data, arrays = sealed.unseal((only_folder(Path("runs")) / "checkpoint.safetensors").read_bytes())
    done = data["state"]["steps"]
    assert step - 3 <= done < step
    kept = set(arrays["theta"].ravel().tolist()) - {0.0}  # the gaps between parameters
    assert kept == {number for p in states[done] for number in p.flatten().tolist()}
    assert all(map(np.isfinite, kept))


# --- many -------------------------------------------------------------------------------------------------------------

LRS = (10, 0.01, 1e3, 0.02, 1e6)


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--fleet", "off"), ("--jobs", "2")], ids=" ".join)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_a_sweep_they_are_results_and_the_best_is_another(gdcli, how: tuple[str, ...]) -> None:
    spec, plain = PROBLEMS["linear"]
    lrs = ",".join(map(str, LRS))
    name = written(spec, **sgd(0.1), dtype="float64")
    answer = gdcli("sweep", name, "-p", f"lr={lrs}", *how, "--no-plot")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("runs"))
    rows = rows_of(folder / "results.csv")
    for row, lr in zip(rows, LRS, strict=True):
        if lr < 1:
            assert row["status"] == "finished"
            continue
        problem = plain(torch.float64)
        step, _ = problem.first_bad(torch.optim.SGD(problem.parameters, lr=lr), 5000)
        assert (row["status"], row["steps"], row["final_loss"]) == ("diverged", str(step), "")
        (run,) = folder.glob(f"{row['run']}-*")
        assert [is_finite(line) for line in rows_of(run / "steps.csv")] == [True] * (step - 1) + [False]
    losses = {row["lr"]: float(row["final_loss"]) for row in rows if row["final_loss"]}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best"] == f"lr={min(losses, key=lambda lr: losses[lr])}"
    assert summary["best_loss"] == min(losses.values())
    assert (summary["finished"], summary["diverged"]) == (2, 3)


@pytest.mark.slow
def test_of_many_the_diverged_come_last(gdcli) -> None:
    """More runs than are shown: those with a loss first, lowest before highest, then the diverged ones."""
    spec, _ = PROBLEMS["linear"]
    answer = gdcli("sweep", written(spec, **sgd(0.1)), "epochs=400", "-p", "lr=linspace(0.01,1.2,60)", "--no-plot")
    assert answer.code == 0
    rows = [line.split() for line in answer.out.splitlines()[1:-1]]
    statuses = [next(word for word in row if word in ("finished", "diverged")) for row in rows]
    assert statuses == sorted(statuses, key=["finished", "diverged"].index)
    assert set(statuses) == {"finished", "diverged"}
    losses = [float(row[1]) for row, status in zip(rows, statuses, strict=True) if status == "finished"]
    assert losses == sorted(losses)


def test_in_a_comparison_they_are_results_and_tuning_takes_none(gdcli) -> None:
    spec, _ = PROBLEMS["linear"]
    name = written(spec, **sgd(0.1), epochs=200)
    answer = gdcli("compare", name, "--optimizers", "bad=sgd:lr=1e3,good=sgd:lr=0.1", "--no-plot", "-o", "plain")
    assert answer.code == 0, answer.err
    found = rows_of(only_folder(Path("plain")) / "results.csv")
    assert [(row["label"], row["status"], row["final_loss"] == "") for row in found] == [
        ("bad", "diverged", True),
        ("good", "finished", False),
    ]
    answer = gdcli("compare", name, "--optimizers", "sgd", "--tune", "5", "--tune-range", "0.01,1e6", "--no-plot")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("runs"))
    tried = {float(row["lr"]): row["status"] for row in rows_of(folder / "tuning.csv")}
    assert {"finished", "diverged"} == set(tried.values())
    (tuned,) = rows_of(folder / "results.csv")
    assert tried[float(tuned["lr"])] == tuned["status"] == "finished"


# --- the hint ---------------------------------------------------------------------------------------------------------

FACTOR = {"mse": 2 / len(X), "half_mse": 1 / len(X), "sse": 2.0, "half_sse": 1.0}
"""Of Σ(o − t)² / 2, for one output."""


def largest(x: np.ndarray[Any, Any]) -> float:
    return float(np.linalg.svd(x, compute_uv=False)[0] ** 2)


ONES = np.column_stack([X, np.ones(len(X))])


def shared_bias() -> float:
    """The largest eigenvalue of Σ(o − t)²/2 over two outputs with one bias, its Hessian written out scalar by scalar.

    Parameters: the rows of the weight [2, 2], then the bias; output k has the derivatives [x at row k, 1].
    """
    x = np.array(X)
    jacobians = [np.column_stack([x, 0 * x, np.ones(len(x))]), np.column_stack([0 * x, x, np.ones(len(x))])]
    return float(np.linalg.eigvalsh(sum(j.T @ j for j in jacobians))[-1])


def linear(**keys: Any) -> dict[str, Any]:
    return {"type": "linear", "init": {"weight": 0, "bias": 0}, **keys}


TWO = {"data": {"x": X, "y": [[y[0], 2 - y[0]] for y in Y]}}

QUADRATICS: dict[str, tuple[dict[str, Any], float]] = {
    **{loss: (data(model=linear()) | {"loss": loss}, factor * largest(ONES)) for loss, factor in FACTOR.items()},
    "no bias": (data(model={"type": "linear", "bias": False}), FACTOR["mse"] * largest(np.array(X))),
    "frozen weight": (data(model=linear(freeze=["weight"])), FACTOR["mse"] * len(X)),
    "frozen bias": (data(model=linear(freeze=["b*"])), FACTOR["mse"] * largest(np.array(X))),
    "two outputs": (data(model=linear()) | TWO, FACTOR["mse"] / 2 * largest(ONES)),
    "shared bias": (data(model=linear(init={"*": 0, "bias": [0]})) | TWO, FACTOR["mse"] / 2 * shared_bias()),
    "an mlp of one layer": (data(model={"type": "mlp", "layers": [2, 1]}), FACTOR["mse"] * largest(ONES)),
    "torch's layer": (PROBLEMS["torch's layers"][0], FACTOR["mse"] * largest(ONES)),
    "a batch of all": (
        data(model=linear(), batch={"mode": "mini-batch", "size": 6}),
        FACTOR["mse"] * largest(ONES),
    ),
    # Hessians by hand: diag(0.2, 4), and [[2, 1], [1, 2]] with the eigenvalues 1 and 3
    "bowl": (objective("0.1*x1**2 + 2*x2**2", x1=-5.0, x2=-2.0), 4.0),
    "turned bowl": (objective("x**2 + x*y + y**2 - 3*x", x=-5.0, y=-2.0), 3.0),
    "frozen axis": (
        {"model": objective("x**2 + x*y + y**2 - 3*x", x=-5.0, y=-2.0)["model"] | {"freeze": ["y"]}},
        2.0,
    ),
    "constants": ({"model": objective("a*x**2", x=1.0)["model"] | {"constants": {"a": 8}}}, 16.0),
}


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("name", QUADRATICS)
def test_below_the_bound_it_converges_and_above_it_diverges_with_the_number(gdcli, name: str, momentum: float) -> None:
    spec, curvature = QUADRATICS[name]
    bound = 2 * (1 + momentum) / curvature
    keys = {"epochs": 5000, "record": {"gradients": "none"}}
    for number, factor in enumerate((0.99, 1.01)):
        written(spec, **sgd(factor * bound, momentum=momentum), **keys)
        answer = gdcli("run", "spec.yaml", "--no-plot", "-q", "-o", str(number))
        summary = json.loads((only_folder(Path(str(number))) / "summary.json").read_text())
        if factor < 1:
            assert (answer.code, summary["status"]) == (0, "finished"), summary
            first = float(rows_of(only_folder(Path(str(number))) / "steps.csv")[0]["loss"])
            assert summary["final_loss"] < first
        else:
            assert (answer.code, summary["status"]) == (1, "diverged"), summary
            assert_told(summary["message"], factor * bound, bound, momentum)


def assert_told(message: str, lr: float, bound: float, momentum: float = 0) -> None:
    """The message names lr, the formula, and the bound to three digits."""
    of = f" with momentum {momentum:g}" if momentum else ""
    formula = f"2(1 + {momentum:g})/λmax" if momentum else "2/λmax"
    before, _, hint = message.partition(". lr ")
    told, _, rest = hint.partition(f" is above {formula} = ")
    assert before.startswith("diverged at step ")
    assert float(told) == pytest.approx(lr, rel=1e-9)
    number, _, rest = rest.partition(", ")
    assert float(number) == pytest.approx(bound, rel=6e-3)
    assert rest == f"the bound of gradient descent{of} on this quadratic loss. Try a smaller lr"


NO_BOUND: dict[str, dict[str, Any]] = {
    "mini-batch": data(model=linear(), batch={"mode": "mini-batch", "size": 2}) | sgd(10),
    "stochastic": data(model=linear(), batch="stochastic") | sgd(10),
    "dampening": data(model=linear()) | sgd(10, momentum=0.5, dampening=0.5),
    "nesterov": data(model=linear()) | sgd(10, momentum=0.5, nesterov=True),
    "weight decay": data(model=linear()) | sgd(10, weight_decay=0.1),
    "groups": data(model=linear()) | {"optimizer": {"name": "sgd", "lr": 10, "groups": {"bias": {"lr": 20}}}},
    "schedule": data(model=linear()) | sgd(10) | {"scheduler": {"name": "step", "step_size": 1000}},
    "another optimizer": data(model=linear()) | {"optimizer": {"name": "asgd", "lr": 10}},
    "hidden layer": data(model=MLP) | sgd(10),
    "squared sigmoid": data(model=linear()) | {"loss": "huber", "data": {"x": X, "y": Y}} | sgd(1e38),
    "valley": PROBLEMS["valley"][0] | sgd(10),
    "a square from one side": objective("maximum(x, 0)**2 + maximum(-x, 0)**3", x=1.0) | sgd(10),
}


@pytest.mark.parametrize("name", NO_BOUND)
def test_no_bound_is_told_where_there_is_none(gdcli, name: str) -> None:
    answer = gdcli("run", written(NO_BOUND[name], epochs=20_000), "--no-plot", "-q")
    assert answer.code == 1, answer.err
    (told,) = answer.err.splitlines()
    assert told.startswith("diverged at step ")
    assert told.endswith(". Try a smaller lr")
    assert "bound" not in told


def test_a_quadratic_without_a_minimum_is_told(gdcli) -> None:
    """x² − y² falls along y whatever lr is; its Hessian is diag(2, −2)."""
    told = gdcli("run", written(objective("x**2 - y**2", x=1.0, y=1.0) | sgd(0.1)), "--no-plot", "-q").err
    assert told.endswith(". This quadratic loss has no minimum: the lowest eigenvalue of its Hessian is -2\n")


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["values", "norms", "none"])
def test_a_fleet_tells_what_run_tells(gdcli, kept: str) -> None:
    spec, curvature = QUADRATICS["mse"]
    name = written(spec, **sgd(0.1), record={"gradients": kept})
    lrs = (5, 10, 20)
    assert gdcli("sweep", name, "-p", f"lr={','.join(map(str, lrs))}", "--no-plot", "-o", "sweep").code == 0
    for number, lr in enumerate(lrs, 1):
        gdcli("run", name, f"lr={lr}", "--no-plot", "-o", str(lr))
        folders = only_folder(Path("sweep")) / f"{number}-lr={lr}", only_folder(Path(str(lr)))
        ours, alone = (json.loads((folder / "summary.json").read_text())["message"] for folder in folders)
        assert_told(ours, lr, 2 / curvature)
        if kept == "values":  # norms alone may overflow, and without them no gradient can be named
            assert ours == alone
