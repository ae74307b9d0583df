"""Each run of a fleet ends by itself, where and as `run` ends it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from many import (
    CLOSE,
    COLUMNS,
    Together,
    alone,
    assert_as_run,
    ending,
    flat,
    gap,
    joined,
    mlp,
    net,
    rates,
    rows,
    same,
    together,
    varied,
)
from plain_torch import DTYPES

from gdcli.engine import loop as fleets
from gdcli.engine.loop import Interrupt, Loop
from gdcli.engine.problem import build_fleet
from gdcli.records import Block, Outcomes

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
COMPARED = (*COLUMNS, "gradient_norm", "step")
GROWING = [0.1, 1e3, 5.0, 1e12, 40.0, 0.2, 1e30]


def free(**more: Any) -> Any:
    """The documents' net without activations: it diverges where the learning rate is large."""
    spec = net(epochs=60, **more)
    spec["model"].update(activation="none", output_activation="none")
    return spec


def assert_ends_as_run(runs: Any, dtype: str) -> Together:
    """To the bit: parameters, message and all."""
    fleet = together(runs, COLUMNS)
    for k, run in enumerate(runs):
        assert_as_run(fleet, k, alone(run, COLUMNS), COMPARED, dtype)
    return fleet


# --- divergence -------------------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_runs_diverge_at_their_own_steps_in_any_block(block: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "MAX_BLOCK_STEPS", block)
    runs = varied(free(dtype=dtype), [{"optimizer.lr": lr} for lr in GROWING])
    fleet = assert_ends_as_run(runs, dtype)
    ends = {int(fleet.outcome.steps[k]) for k, status in enumerate(fleet.outcome.status) if status == "diverged"}
    assert len(ends) >= 3  # else the test would say little
    assert "finished" in fleet.outcome.status
    for k, status in enumerate(fleet.outcome.status):
        if status == "diverged":
            assert np.isfinite(fleet.parameters(k)).all()
            row = fleet.column("loss", k)[-1], fleet.column("gradient_norm", k)[-1]
            assert not np.isfinite(row).all()


@every_dtype
@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_the_falling_steps_of_asgd_end_where_a_single_run_s_do_once_they_are_no_numbers(
    epochs: int, dtype: str
) -> None:
    """(1 + κγt)^α overflows for a large α and is 0 for a negative one, a step before its quotient is used."""
    spec = net(epochs=epochs, optimizer={"name": "asgd", "lr": 0.1, "lambd": 0.5, "alpha": 0.75}, dtype=dtype)
    runs = varied(spec, [{"optimizer.alpha": alpha} for alpha in (0.75, 1e19, -1e19)])
    fleet = together(runs, COLUMNS)
    for k, run in enumerate(runs):
        single = alone(run, COLUMNS)
        assert fleet.ending(k) == ending(single.outcome)
        np.testing.assert_allclose(fleet.parameters(k), flat(single.outcome.parameters), rtol=CLOSE[dtype])  # NaN alike
    assert fleet.outcome.status == ("finished", "diverged", "diverged")


@pytest.mark.parametrize("rule", ["sgd", "adam", "asgd"])
def test_a_run_that_diverges_leaves_the_others_and_their_state_as_they_were(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "MAX_BLOCK_STEPS", 7)
    momentum = {"momentum": 0.9} if rule == "sgd" else {}
    spec = free(optimizer={"name": rule, "lr": 0.01, **momentum})
    bad = 1e38 if rule == "adam" else 1e3
    runs = varied(spec, [{"optimizer.lr": lr} for lr in (0.01, bad, 0.02)])
    with_bad, without = together(runs), together([runs[0], runs[2]])
    assert with_bad.outcome.status == ("finished", "diverged", "finished")
    for ours, theirs in ((0, 0), (2, 1)):
        assert same(with_bad.parameters(ours), without.parameters(theirs))


@every_dtype
@pytest.mark.parametrize("keep", ["values", "norms", "none"])
@pytest.mark.parametrize("layers", [[3, 2], [40, 3]], ids=str)
def test_what_is_kept_does_not_change_where_a_run_ends(
    layers: list[int], keep: Any, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "MAX_BLOCK_STEPS", 5)
    spec = mlp(layers, 11, activation="none", epochs=40, batch={"mode": "mini-batch", "size": 4}, dtype=dtype)
    if keep != "values":
        spec["record"] = {"gradients": keep}
    runs = varied(spec, [{"optimizer.lr": lr} for lr in (0.05, 1e3, 30.0, 1e6)])
    fleet = together(runs, keep=keep)
    assert fleet.outcome.status.count("diverged") == 3
    for k, run in enumerate(runs):
        single = alone(run).outcome
        assert fleet.ending(k)[0] == single.status
        assert fleet.ending(k)[2:] == (single.steps, single.epochs)
        assert gap(fleet.parameters(k), flat(single.parameters)) <= 10 * CLOSE[dtype]
        assert f"diverged at step {single.steps} " in fleet.outcome.message[k] or single.status == "finished"


def test_a_gradient_that_is_not_finite_ends_the_run_though_the_loss_is() -> None:
    spec = {
        "model": {"type": "objective", "expression": "sqrt(x) + (y - 1)**2", "start": {"x": 0.0, "y": 3.0}},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "epochs": 5,
    }
    runs = varied(spec, [{"model.start": {"x": x, "y": 3.0}} for x in (1.0, 0.0, 4.0)])
    for keep in ("values", "norms", "none"):
        fleet = together(runs, keep=keep)
        assert fleet.outcome.status == ("finished", "diverged", "finished")
        assert fleet.outcome.steps.tolist() == [5, 1, 5]
        assert fleet.parameters(1).tolist() == [0.0, 3.0]
        assert np.isnan(fleet.outcome.loss[1])  # that of its last step, 4, is not one to rank by
        assert fleet.ending(1)[1] == alone(runs[1]).outcome.message or keep != "values"


# --- stop -------------------------------------------------------------------------------------------------------------


STOPS: dict[str, Any] = {
    "loss": {"loss": 0.02},
    "gradient_norm": {"gradient_norm": 0.02},
    "patience": {"patience": 2},
    "max_steps": {"max_steps": 17},
    "all": {"loss": 0.001, "gradient_norm": 0.01, "patience": 3, "max_steps": 55},
}


@every_dtype
@pytest.mark.parametrize("block", [7, 1000])
@pytest.mark.parametrize("stop", STOPS)
def test_each_run_stops_where_run_does(stop: str, block: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "MAX_BLOCK_STEPS", block)
    spec = free(stop=STOPS[stop], dtype=dtype)
    spec["optimizer"] = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    runs = varied(spec, [{"optimizer.lr": lr} for lr in (0.01, 0.1, 0.3, 0.8, 1e20)])
    fleet = assert_ends_as_run(runs, dtype)
    assert "stopped" in fleet.outcome.status
    if stop != "max_steps":
        assert len(set(fleet.outcome.steps.tolist())) >= 3
    for k in range(len(runs)):
        assert same(fleet.parameters(k), fleet.column("parameters", k)[-1]) or fleet.outcome.status[k] == "diverged"


@pytest.mark.parametrize("layers", [[3, 2, 2], [9, 8, 3]], ids=str)
@pytest.mark.parametrize("stop", [{"patience": 1}, {"gradient_norm": 0.12}, {"loss": 0.095}], ids=str)
def test_stops_with_mini_batches_and_validation_rows(stop: Any, layers: list[int]) -> None:
    spec = mlp(layers, 19, batch={"mode": "mini-batch", "size": 4}, epochs=60, stop=stop, dtype="float64")
    spec["data"]["validation"] = 0.3
    spec["optimizer"] = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    runs = varied(spec, [*rates(5, 0.002, 0.1, seeds=2), {"data": {**rows(19, layers[0], layers[-1], seed=5),
                                                                   "validation": 0.3}}])  # fmt: skip
    fleet = together(runs)
    assert "stopped" in fleet.outcome.status
    assert len(set(fleet.outcome.steps.tolist())) >= 2
    for k, run in enumerate(runs):
        single = alone(run).outcome
        assert fleet.ending(k) == ending(single)
        assert gap(fleet.parameters(k), flat(single.parameters)) <= CLOSE["float64"]
        for name in ("loss", "best_loss"):
            assert getattr(fleet.outcome, name)[k] == pytest.approx(getattr(single, name), rel=1e-11)
        assert fleet.outcome.best_step[k] == single.best_step
        assert {name: column[k] for name, column in fleet.outcome.metrics.items()} == pytest.approx(single.metrics)


def test_a_block_has_the_steps_that_a_run_made_and_none_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "MAX_BLOCK_STEPS", 5)
    runs = varied(free(), [{"optimizer.lr": lr} for lr in GROWING])
    fleet = together(runs)
    for k, steps in enumerate(fleet.outcome.steps.tolist()):
        assert fleet.column("step", k).tolist() == list(range(1, steps + 1))
        assert [len(part.step) for part in fleet.parts(k)] == [5] * (steps // 5) + [steps % 5] * (steps % 5 > 0)


# --- interrupt --------------------------------------------------------------------------------------------------------


def test_an_interrupt_stops_all_open_runs_after_the_step_they_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "MAX_BLOCK_STEPS", 5)
    runs = varied(free(), [{"optimizer.lr": lr} for lr in (0.1, 1e12, 0.2)])  # the second diverges in the first block
    interrupt = Interrupt()
    fleet = build_fleet(runs)
    events = Loop(fleet, ["parameters"], "none", interrupt).events()
    next(events)
    interrupt.requested = True
    block, outcome = events
    assert isinstance(block, Block)
    assert isinstance(outcome, Outcomes)
    assert block.step.tolist() == [6]
    assert outcome.status == ("interrupted", "diverged", "interrupted")
    assert outcome.message[0] == "interrupted after step 6"
    assert [outcome.steps[k] for k in (0, 2)] == [6, 6]
    for k in (0, 2):
        at_six = joined(alone(runs[k], ["parameters"]).blocks, "parameters")[5]
        assert gap(flat(fleet.theta.as_parameters(outcome.values[k])), at_six) <= CLOSE["float32"]
