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
WARM: list[dict[str, Any]] = [
    {"total_iters": 3},
    {"total_iters": 4, "start_factor": 0.01, "then": {"name": "cosine_annealing", "T_max": 9}},
    {"total_iters": 4, "then": {"name": "step", "step_size": 3, "gamma": 0.5}},
    {"total_iters": 2, "then": {"name": "exponential", "gamma": 0.9}},
    {"total_iters": 1, "then": {"name": "polynomial", "total_iters": 7}},
]
ONE_CYCLE: list[dict[str, Any]] = [
    {},
    {"anneal_strategy": "linear", "pct_start": 0.5},
    {"three_phase": True, "div_factor": 10.0, "final_div_factor": 100.0},
    {"three_phase": True, "anneal_strategy": "linear", "pct_start": 0.25},
]
PLATEAUS: list[dict[str, Any]] = [
    {"patience": 2, "factor": 0.5},
    {"patience": 0, "threshold": 0.3},
    {"patience": 1, "threshold": 0.05, "threshold_mode": "abs", "cooldown": 2, "factor": 0.7, "min_lr": 0.01},
    {"patience": 0, "threshold": 0.9, "eps": 0.1},
]
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
    assert set(CASES) | {"warmup", "one_cycle", "reduce_on_plateau"} == set(SCHEDULERS)


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


# --- warm-up, one cycle, plateau --------------------------------------------------------------------------------------


def lrs_of(optimizer: torch.optim.Optimizer, schedule: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def an_optimizer(lr: float = 0.37) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def warmed(settings: dict[str, Any], lr: float = 0.37) -> list[float]:
    """Torch's LinearLR, then the other one, by SequentialLR."""
    optimizer, settings = an_optimizer(lr), dict(settings)
    then = dict(settings.pop("then", None) or {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = lr_scheduler.LinearLR(optimizer, settings.get("start_factor", 1 / 3), 1.0, settings["total_iters"])
        if not then:
            return lrs_of(optimizer, first, EPOCHS)
        after = CASES[then.pop("name")][0](optimizer, **then)
        both = lr_scheduler.SequentialLR(optimizer, [first, after], [settings["total_iters"]])
        return lrs_of(optimizer, both, EPOCHS)


@pytest.mark.parametrize("settings", WARM)
def test_a_warm_up_and_what_follows_are_torchs_to_the_bit(settings: dict[str, Any]) -> None:
    assert trained(spec({"name": "warmup", **settings})).column("lr").tolist() == warmed(settings)


def test_after_a_warm_up_a_cosine_to_another_end_is_torchs_within_rounding() -> None:
    """Torch begins it with its closed form, η + (γ − η), which may round."""
    settings = {"total_iters": 3, "then": {"name": "cosine_annealing", "T_max": 8, "eta_min": 0.01}}
    np.testing.assert_allclose(trained(spec({"name": "warmup", **settings})).column("lr"), warmed(settings), rtol=1e-14)


@pytest.mark.parametrize("settings", ONE_CYCLE)
@pytest.mark.parametrize("batch", [{}, {"size": 2, "shuffle": False}])
def test_one_cycle_changes_the_learning_rate_every_step_as_torch_does(
    settings: dict[str, Any], batch: dict[str, Any]
) -> None:
    steps = EPOCHS * (2 if batch else 1)
    optimizer = an_optimizer()
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.37, total_steps=steps, cycle_momentum=False, **settings)
    run = trained(spec({"name": "one_cycle", **settings}, **({"batch": batch} if batch else {})))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run.column("lr").tolist() == [*lrs_of(optimizer, schedule, steps - 1), optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_one_cycle_of_few_steps_has_learning_rates(epochs: int) -> None:
    for pct_start in (0.0, 0.5, 1.0):
        run = trained(spec({"name": "one_cycle", "pct_start": pct_start}, epochs=epochs))
        assert np.isfinite(run.column("lr")).all()


@pytest.mark.parametrize("name", ["one_cycle", "warmup"])
def test_a_fleets_runs_have_theirs_of_these_too(name: str) -> None:
    settings = {"then": {"name": "exponential", "gamma": 0.8}} if name == "warmup" else {}
    lrs = [0.05, 0.37, 0.011]
    fleet = build_fleet([built(spec({"name": name, **settings}, lr)).loaded for lr in lrs])
    *blocks, outcome = Loop(fleet).events()
    assert isinstance(outcome, Outcomes)
    for run, lr in enumerate(lrs):
        found = np.concatenate([block.of_run(run).lr for block in blocks if isinstance(block, Block)])
        alone = trained(spec({"name": name, **settings}, lr))
        assert found.tolist() == alone.column("lr").tolist()
        assert outcome.loss[run] == pytest.approx(alone.outcome.loss, rel=1e-11, abs=1e-30)


NOISY = {"x": [[1.0], [2.0], [3.0], [-1.0]], "y": [2.0, 4.5, 5.0, 1.0]}


@pytest.mark.parametrize("settings", PLATEAUS)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_plateau_follows_the_training_loss_as_torch_does(
    settings: dict[str, Any], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the whole set after each epoch is told to torch's: the learning rates are its own, to the bit."""
    from gdcli.engine import loop as module

    monkeypatch.setattr(module, "MAX_BLOCK_STEPS", size)
    run = trained(
        spec({"name": "reduce_on_plateau", **settings}, lr=0.2, data=NOISY, batch={"size": 1}, epochs=30), ["full_loss"]
    )
    optimizer = an_optimizer(0.2)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    theirs = []
    for loss in run.column("full_loss")[3::4]:
        theirs += [float(optimizer.param_groups[0]["lr"])] * 4
        schedule.step(loss)
    assert run.column("lr").tolist() == theirs
    assert "eps" in settings or len(set(theirs)) > 2


def test_a_plateau_follows_the_validation_loss_where_there_is_one() -> None:
    """On rows that are held out the loss rises from the first epoch on; that of the training rows falls throughout."""
    data = {"x": [[1.0], [2.0], [3.0], [4.0]], "y": [1.0, -2.0, 3.0, -4.0], "validation": 0.5}
    slow = {"name": "sgd", "lr": 1e-4}
    plateau = {"name": "reduce_on_plateau", "patience": 0, "factor": 0.5}
    run = trained(spec(plateau, data=data, optimizer=slow, epochs=8), ["full_loss"])
    optimizer = an_optimizer(1e-4)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    held_out = run.built.loaded.validation
    assert held_out is not None
    (blocks,) = [trained(spec(plateau, data=data, optimizer=slow, epochs=8), ["parameters"])]
    theirs = []
    for bias, weight in blocks.column("parameters")[:, ::-1]:
        theirs.append(float(optimizer.param_groups[0]["lr"]))
        schedule.step(float(np.mean((held_out.x * weight + bias - held_out.y) ** 2)))
    assert run.column("lr").tolist() == theirs


def test_a_plateau_may_come_after_a_warm_up() -> None:
    then = {"name": "reduce_on_plateau", "patience": 0, "threshold": 0.9, "factor": 0.5}
    run = trained(spec({"name": "warmup", "total_iters": 4, "then": then}))
    rise = warmed({"total_iters": 4})[:4]
    assert run.column("lr").tolist()[:4] == rise
    assert run.column("lr")[4] == 0.37
    assert run.column("lr")[-1] < 0.01


def test_groups_follow_their_own_plateaus() -> None:
    own = {"groups": {"bias": {"name": "reduce_on_plateau", "patience": 0, "threshold": 0.9, "factor": 0.5}}}
    run = trained(spec(own, optimizer={"name": "sgd", "lr": 0.05}))
    assert set(run.column("lr").tolist()) == {0.05}  # steps.csv has that of the first group, the weight
    assert run.outcome.status == "finished"


def test_runs_that_follow_a_plateau_train_one_by_one() -> None:
    from gdcli.engine.grouping import why_alone

    then = {"name": "warmup", "then": {"name": "reduce_on_plateau", "patience": 3}}
    for scheduler in ("reduce_on_plateau", then, {"groups": {"bias": "reduce_on_plateau"}}):
        assert why_alone(built(spec(scheduler)).loaded) == "reduce_on_plateau follows each run's own loss"
    assert not why_alone(built(spec("one_cycle")).loaded)


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        ({"name": "warmup", "then": "one_cycle"}, "then takes a schedule without a warm-up of its own"),
        ({"name": "warmup", "then": {"name": "cosine"}}, r"scheduler\.then\.name: unknown scheduler \(got 'cosine'\)"),
        ({"name": "warmup", "then": {"name": "step"}}, r"scheduler\.then\.step_size: is required"),
        ({"name": "warmup", "then": 3}, r"scheduler\.then: must be the name of a scheduler"),
        ({"name": "reduce_on_plateau", "factor": 1.0}, r"scheduler\.factor: must be less than 1"),
        ({"name": "one_cycle", "max_lr": 1}, r"scheduler\.max_lr: unknown key"),
    ],
)
def test_what_is_wrong_with_them_is_told(scheduler: Any, told: str) -> None:
    from gdcli.errors import SpecError

    with pytest.raises(SpecError, match=told):
        built(spec(scheduler))
