"""Learning rates of every epoch against torch.optim.lr_scheduler, to the bit, for one run and for a fleet."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from gdcli.engine.loop import Loop
from gdcli.engine.problem import build_fleet
from gdcli.records import Block, Outcome, Outcomes
from gdcli.zoo.schedulers import SCHEDULERS
from tests.engine.plain_torch import built, trained

CASES: dict[str, tuple[type, list[dict[str, Any]]]] = {
    "step": (lr_scheduler.StepLR, [{"step_size": 3}, {"step_size": 1, "gamma": 0.5}]),
    "multi_step": (lr_scheduler.MultiStepLR, [{"milestones": [2, 5, 5, 19], "gamma": 0.3}]),
    "constant": (lr_scheduler.ConstantLR, [{}, {"factor": 0.7, "total_iters": 9}]),
    "linear": (lr_scheduler.LinearLR, [{}, {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 6}]),
    "exponential": (lr_scheduler.ExponentialLR, [{"gamma": 0.9}]),
    "polynomial": (lr_scheduler.PolynomialLR, [{}, {"total_iters": 7, "power": 2.0}]),
    "cosine_annealing": (lr_scheduler.CosineAnnealingLR, [{"T_max": 5}, {"T_max": 30, "eta_min": 0.01}]),
    "cosine_annealing_warm_restarts": (
        lr_scheduler.CosineAnnealingWarmRestarts,
        [{"T_0": 4}, {"T_0": 3, "T_mult": 2, "eta_min": 0.01}],
    ),
}
EACH = [(name, settings) for name, (_, cases) in CASES.items() for settings in cases]
EPOCHS = 20


def of_torch(name: str, settings: dict[str, Any], lr: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its constructor
        schedule = CASES[name][0](optimizer, **settings)
    for _ in range(EPOCHS):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def spec(scheduler: Any, lr: float = 0.37, **more: Any) -> dict[str, Any]:
    return {
        "data": {"x": [[1.0], [2.0], [3.0]], "y": [2.0, 4.0, 6.0]},
        "model": {"type": "linear", "init": {"weight": 1, "bias": 0}},
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": lr, "momentum": 0.1},
        "scheduler": scheduler,
        "epochs": EPOCHS,
        "dtype": "float64",
        **more,
    }


def test_every_scheduler_is_compared() -> None:
    assert set(CASES) == set(SCHEDULERS)


@pytest.mark.parametrize(("name", "settings"), EACH)
def test_an_epochs_learning_rate_is_torchs_to_the_bit(name: str, settings: dict[str, Any]) -> None:
    run = trained(spec({"name": name, **settings}))
    assert run.column("lr").tolist() == of_torch(name, settings, 0.37)


@pytest.mark.parametrize(("name", "settings"), EACH)
def test_a_fleets_runs_have_theirs(name: str, settings: dict[str, Any]) -> None:
    lrs = [0.05, 0.37, 0.011]
    fleet = build_fleet([built(spec({"name": name, **settings}, lr)).loaded for lr in lrs])
    *blocks, outcome = Loop(fleet).events()
    assert isinstance(outcome, Outcomes)
    for run, lr in enumerate(lrs):
        found = np.concatenate([block.of_run(run).lr for block in blocks if isinstance(block, Block)])
        assert found.tolist() == of_torch(name, settings, lr)
        alone = trained(spec({"name": name, **settings}, lr)).outcome
        assert isinstance(alone, Outcome)
        assert outcome.loss[run] == pytest.approx(alone.loss, rel=1e-12, abs=1e-30)


def test_mini_batches_change_their_learning_rate_between_epochs_only() -> None:
    batch = {"mode": "mini-batch", "size": 2, "shuffle": False}
    run = trained(spec({"name": "exponential", "gamma": 0.5}, batch=batch, epochs=3))
    assert run.column("lr").tolist() == [0.37, 0.37, 0.185, 0.185, 0.0925, 0.0925]


def test_a_group_of_parameters_has_a_schedule_of_its_own() -> None:
    """Against torch's parameter groups, with a lambda for each: the bias decays, the weight does not."""
    x, y = torch.tensor([[1.0], [2.0], [3.0]]).double(), torch.tensor([[2.0], [4.0], [6.0]]).double()
    layer = torch.nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(1), layer.bias.fill_(0)
    groups = [{"params": [layer.weight]}, {"params": [layer.bias]}]
    optimizer = torch.optim.SGD(groups, lr=0.05)
    schedule = lr_scheduler.LambdaLR(optimizer, [lambda e: 1.0, lambda e: 0.5**e])
    losses = []
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(layer(x), y)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        schedule.step()
    own = {"groups": {"bias": {"name": "exponential", "gamma": 0.5}}}
    run = trained(spec(own, optimizer={"name": "sgd", "lr": 0.05}))
    np.testing.assert_allclose(run.column("loss"), losses, rtol=1e-13)


def test_a_run_that_diverges_keeps_the_parameters_of_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block is repeated up to the bad step with the learning rates that it had."""
    from gdcli.engine import loop as module

    growing = spec({"name": "exponential", "gamma": 3.0}, epochs=200)
    found = []
    for size in (1, 1000):
        monkeypatch.setattr(module, "MAX_BLOCK_STEPS", size)
        outcome = trained(growing).outcome
        assert outcome.status == "diverged"
        found.append([p.values.tolist() for p in outcome.parameters])
    assert found[0] == found[1]
