"""P7 for settings that no number of the parameters can hold, losses that torch refuses to work out, and last updates.

A run says 'diverged' at a step that follows from its equation, alone, in a fleet, one after the other and compared.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import Answer, only_folder

LINE: dict[str, Any] = {
    "data": {"x": [1, 2, 3], "y": [2, 4, 7]},
    "model": {"type": "linear", "init": {"weight": 0.5, "bias": 0.1}},
    "loss": "mse",
    "epochs": 6,
}
ROOT: dict[str, Any] = {"model": {"type": "objective", "expression": "sqrt(x)", "start": {"x": 1.0}}}


def line(**optimizer: Any) -> dict[str, Any]:
    return {**LINE, "optimizer": optimizer}


def scheduled(**scheduler: Any) -> dict[str, Any]:
    return {**line(name="sgd", lr=0.01), "scheduler": scheduler}


SPECS: dict[str, tuple[dict[str, Any], int]] = {
    # the first update overflows, the second step's loss tells it
    "lr beyond float32": (line(name="sgd", lr=1e39), 2),
    "lr beyond float32, adam": (line(name="adam", lr=1e308), 2),
    "lr beyond float32, momentum": (line(name="sgd", lr=1e39, momentum=0.9), 2),
    "decay beyond float32": (line(name="sgd", lr=0.1, weight_decay=1e39), 2),
    "decay beyond float32, adamw": (line(name="adamw", lr=0.1, weight_decay=1e39), 2),
    # asgd's lr γ/(1 + λγt)^α: 1.1^10⁶ overflows, 1.1^-10⁶ is 0 and γ/0 no number; it is that of the next step
    "asgd, α large": (line(name="asgd", lr=1.0, lambd=0.1, alpha=1e6), 2),
    "asgd, α large and negative": (line(name="asgd", lr=1.0, lambd=0.1, alpha=-1e6), 2),
    # v ← 2v − g² is below 0 from its first step on
    "rmsprop, α above 1": (line(name="rmsprop", lr=0.01, alpha=2.0), 2),
    # (1 − 5/5)^-1 in the sixth epoch, whose update is the last
    "polynomial, power -1": (scheduled(name="polynomial", power=-1.0), 6),
    "milestones twice": (scheduled(name="multi_step", milestones=[2, 2], gamma=1e200), 4),
    "exponential": (scheduled(name="exponential", gamma=1e308), 3),
    "nothing is trained": (
        {
            "data": {"x": [1e30], "y": [1e30]},
            "model": {"type": "linear", "freeze": ["*"], "init": {"weight": 1e30}},
            "loss": "mse",
            "optimizer": "sgd",
            "epochs": 3,
        },
        1,
    ),
    "no parameters": ({"data": {"x": [1e30], "y": [0]}, "model": "identity", "loss": "mse", "optimizer": "sgd"}, 1),
}


def written(spec: dict[str, Any]) -> str:
    Path("spec.yaml").write_text(json.dumps(spec))  # JSON is YAML
    return "spec.yaml"


def summary_of(answer: Answer) -> dict[str, Any]:
    assert answer.code == 1
    assert "Traceback" not in answer.err
    assert answer.err.splitlines()[-1].startswith("diverged ")
    found: dict[str, Any] = json.loads((only_folder(Path("runs")) / "summary.json").read_text())
    assert (found["status"], found["final_loss"]) == ("diverged", None)
    return found


@pytest.mark.parametrize("name", SPECS)
def test_a_run_of_absurd_settings_diverges_at_its_step(gdcli, name: str) -> None:
    spec, step = SPECS[name]
    assert summary_of(gdcli("run", written(spec), "--no-plot", "-q"))["steps"] == step


def results() -> list[dict[str, str]]:
    return list(csv.DictReader((only_folder(Path("runs")) / "results.csv").read_text().splitlines()))


MANY = {
    "a fleet": ("sweep", "--param", "seed=0,1"),
    "one after the other": ("sweep", "--param", "seed=0,1", "--fleet", "off"),
    "a comparison": ("compare", "--batches", "full", "--seeds", "2"),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("how", MANY)
def test_many_of_absurd_settings_diverge_with_the_same_word_and_step(gdcli, how: str, name: str) -> None:
    spec, step = SPECS[name]
    command, *options = MANY[how]
    answer = gdcli(command, written(spec), *options, "--no-plot", "-q")
    assert answer.code == 0, answer.err
    rows = results()
    assert [(row["status"], row["steps"]) for row in rows] == [("diverged", str(step))] * 2


@pytest.mark.parametrize("fleet", ["auto", "off"])
def test_a_bad_number_among_good_ones_spoils_its_own_run_alone(gdcli, fleet: str) -> None:
    spec = line(name="sgd", lr=0.1)
    grid = ("--param", "lr=0.01,1e39,0.02")
    answer = gdcli("sweep", written(spec), *grid, "--fleet", fleet, "--no-plot", "-q")
    rows = results()
    assert answer.code == 0
    assert [row["status"] for row in rows] == ["finished", "diverged", "finished"]


# --- losses that torch refuses ----------------------------------------------------------------------------------------


STEEP = {
    "data": {"x": [[100.0, -50.0], [-80.0, 120.0], [60.0, 10.0]], "y": [[1], [0], [1]]},
    "model": {"type": "mlp", "layers": [2, 4, 1], "activation": "softplus", "output_activation": "sigmoid"},
    "loss": "bce",
    "optimizer": {"name": "rmsprop", "lr": 1e37},
    "epochs": 40,
}


def first_bad_step() -> int:
    """The first step whose output is no number, by a loop of plain torch."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 4), nn.Softplus(), nn.Linear(4, 1), nn.Sigmoid())
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e37, foreach=False)
    x, y = torch.tensor(STEEP["data"]["x"]), torch.tensor(STEEP["data"]["y"], dtype=torch.float32)  # type: ignore[index]
    for step in range(1, 41):
        optimizer.zero_grad()
        output = net(x)
        if not output.isfinite().all():
            return step
        nn.functional.binary_cross_entropy(output, y).backward()
        if not all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters()):
            return step
        optimizer.step()
    raise AssertionError("it does not diverge")


@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
def test_bce_of_nan_diverges_where_plain_torch_meets_it(gdcli, engine: str) -> None:
    spec = written({**STEEP, "engine": engine})
    assert summary_of(gdcli("run", spec, "--no-plot", "-q"))["steps"] == first_bad_step()


@pytest.mark.parametrize("how", MANY)
def test_bce_of_nan_is_a_result_among_many(gdcli, how: str) -> None:
    command, *options = MANY[how]
    assert gdcli(command, written(STEEP), *options, "--no-plot", "-q").code == 0
    rows = results()
    assert [row["status"] for row in rows] == ["diverged"] * 2
    assert rows[0]["steps"] == str(first_bad_step())


# --- the last update --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fleet", ["run", "auto", "off"])
def test_a_final_loss_that_is_not_finite_is_diverged(gdcli, fleet: str) -> None:
    """√x from 1 with lr 0.4: x falls by 0.2/√x, and is below 0 after its fourth step."""
    x, steps = 1.0, 0
    while x >= 0:
        x, steps = x - 0.4 / (2 * math.sqrt(x)), steps + 1
    spec = written({**ROOT, "optimizer": {"name": "sgd", "lr": 0.4}, "epochs": steps})
    if fleet == "run":
        found = summary_of(gdcli("run", spec, "--no-plot", "-q"))
        assert found["steps"] == steps
        assert found["message"].startswith(f"diverged after step {steps} (epoch {steps}), its last: the loss is nan.")
        return
    assert gdcli("sweep", spec, "--param", "seed=0,1", "--fleet", fleet, "--no-plot", "-q").code == 0
    rows = results()
    assert [(row["status"], row["final_loss"]) for row in rows] == [("diverged", "")] * 2


def test_verify_of_runs_without_parameters_compares_nothing(gdcli) -> None:
    spec = written({"data": {"x": [1, 2], "y": [0, 1]}, "model": "identity", "loss": "mse", "optimizer": "sgd"})
    answer = gdcli("sweep", spec, "--param", "seed=0,1", "--verify", "2", "--no-plot", "-q")
    assert answer.code == 0
    assert "verified 2 runs alone: bit-identical" in answer.err
