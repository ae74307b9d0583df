"""The loop: its blocks, its ends, its columns, against plain torch loops."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from plain_torch import DTYPES, Spec, Trained, batches, built, chained, loaded, loop, mlp, same_bits, train, trained
from torch import Tensor, nn

from gdcli.engine import loop as module
from gdcli.engine.device import resolve_device
from gdcli.engine.loop import Interrupt
from gdcli.records import Outcome, StepBlock

COLUMNS = ("gradients", "parameters", "loss_after", "full_loss", "output")
draw = np.random.default_rng(12)
X, Y = draw.normal(size=(11, 3)).round(3).tolist(), draw.normal(size=(11, 2)).round(3).tolist()


def spec_of(**more: Any) -> Spec:
    return {
        "data": {"x": X, "y": Y},
        "model": {"type": "mlp", "layers": [3, 4, 2], "activation": "tanh"},
        "loss": "mse",
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch": {"mode": "mini-batch", "size": 4},
        "epochs": 12,
        **more,
    }


def plain_of(spec: Spec, epochs: int, layers: list[nn.Linear] | None = None) -> tuple[Any, Any, Any]:
    """The same as `spec_of` with full batches and sgd, as (result of the loop, forward, x and y)."""
    dtype = DTYPES[spec.get("dtype", "float32")]
    layers = layers or mlp([3, 4, 2], dtype)
    parameters = [p for layer in layers for p in layer.parameters()]
    x, y = torch.tensor(X, dtype=dtype), torch.tensor(Y, dtype=dtype)
    forward = chained(layers, [torch.tanh, None])
    optimizer = torch.optim.SGD(parameters, lr=spec["optimizer"]["lr"], foreach=False)
    return loop(parameters, forward, nn.MSELoss(), optimizer, batches(x, y, 11, epochs)), forward, (x, y)


FULL: Spec = spec_of(batch="full", optimizer={"name": "sgd", "lr": 0.1})


def loss_with(weights: list[Tensor], x: Tensor, y: Tensor) -> float:
    w1, b1, w2, b2 = weights
    return float(F.mse_loss(F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2), y))


def flat(parameters: Any) -> Tensor:
    return torch.cat([torch.from_numpy(p.values).flatten() for p in parameters])


# --- blocks -----------------------------------------------------------------------------------------------------------


def joined(run: Trained) -> dict[str, Any]:
    """Every column that the blocks have, joined; arrays of rows of different lengths as a list."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(StepBlock):
        if field.name in ("ends", "diverged"):  # one for a block
            continue
        parts = [getattr(block, field.name) for block in run.blocks]
        if field.name == "output":
            found[field.name] = [array.tolist() for part in parts for array in part]
        elif field.name == "sample":
            found[field.name] = (
                [[np.concatenate(side).tolist() for side in zip(*parts, strict=True)]] if parts[0] else []
            )
        elif all(part is not None for part in parts):
            found[field.name] = np.concatenate(parts)
        else:
            assert all(part is None for part in parts), field.name
    return found


ENDS: dict[str, dict[str, Any]] = {
    "all epochs": {},
    "one row a batch": {"batch": {"mode": "stochastic", "shuffle": True}, "epochs": 4},
    "stopped": {"stop": {"max_steps": 17}},
    "stopped by the loss": {"stop": {"loss": 0.9}, "epochs": 400},
    "norms": {"record": {"gradients": "norms"}},
    "diverged": {"optimizer": {"name": "sgd", "lr": 30.0, "momentum": 0.5}, "epochs": 400},
    "diverged adam": {"optimizer": {"name": "adam", "lr": 1e25}, "epochs": 400},
}


@pytest.mark.parametrize("end", ENDS)
def test_blocks_hold_every_step_once_and_the_same_whatever_their_size(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [c for c in COLUMNS if end != "norms" or c != "gradients"]
    columns += ["sample"] if end == "one row a batch" else []
    runs = {}
    for size in (1, 3, 1000):
        monkeypatch.setattr(module, "MAX_BLOCK_STEPS", size)
        runs[size] = trained(spec_of(**ENDS[end]), columns)
        assert all(len(block.step) <= size for block in runs[size].blocks)
    expected = joined(runs[1000])
    assert expected["step"].tolist() == list(range(1, runs[1000].outcome.steps + 1))
    assert len(expected["output"]) == len(expected["step"])
    assert ("diverged" in end) == (runs[1000].outcome.status == "diverged")
    assert ("stopped" in end) == (runs[1000].outcome.status == "stopped")
    for size in (1, 3):
        found = joined(runs[size])
        assert found.keys() == expected.keys()
        for name, column in expected.items():
            if isinstance(column, list):
                assert str(found[name]) == str(column), name  # as text, since NaN differs from itself
            else:
                np.testing.assert_array_equal(found[name], column, err_msg=name)
        ours, theirs = runs[size].outcome, runs[1000].outcome
        assert same_bits(flat(ours.parameters), flat(theirs.parameters))
        assert (ours.status, ours.message, ours.steps, ours.epochs) == (
            theirs.status,
            theirs.message,
            theirs.steps,
            theirs.epochs,
        )
        assert ours.loss == theirs.loss or math.isnan(ours.loss) == math.isnan(theirs.loss) is True
        if "diverged" not in end:
            assert (ours.best_loss, ours.best_step) == (theirs.best_loss, theirs.best_step)


def test_the_best_loss_of_a_run_that_diverges_is_of_its_finite_steps() -> None:
    run = trained({**FULL, "optimizer": {"name": "sgd", "lr": 30.0, "momentum": 0.5}, "epochs": 400})
    assert run.outcome.status == "diverged"
    losses = run.column("loss")[:-1].tolist()
    assert run.outcome.best_loss == min(losses)
    assert run.outcome.best_step == losses.index(min(losses))  # the loss of step k is that of the weights after k - 1


def test_steps_epochs_and_batches_count_from_one() -> None:
    run = trained(spec_of(epochs=3))  # 11 rows by 4: 4, 4, 3
    assert run.column("step").tolist() == list(range(1, 10))
    assert run.column("epoch").tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert run.column("batch").tolist() == [1, 2, 3] * 3
    assert run.column("last").tolist() == [False, False, True] * 3
    assert run.column("lr").tolist() == [0.01] * 9
    assert (run.outcome.steps, run.outcome.epochs, run.outcome.status) == (9, 3, "finished")


def test_drop_last_leaves_out_the_rest_of_the_rows() -> None:
    run = trained(spec_of(epochs=2, batch={"mode": "mini-batch", "size": 4, "drop_last": True}), ["output"])
    assert [len(o) for o in run.blocks[0].output or ()] == [4, 4, 4, 4]
    assert run.column("last").tolist() == [False, True] * 2


@pytest.mark.parametrize("batch", ["stochastic", {"size": 1}, {"mode": "stochastic", "shuffle": False}], ids=str)
def test_batches_of_less_than_all_rows_are_shuffled_unless_the_spec_says_otherwise(batch: Any) -> None:
    x = [[float(k)] for k in range(9)]
    spec = spec_of(data={"x": x, "y": x}, model="linear", batch=batch, epochs=2)
    spec["optimizer"]["lr"] = 0.0
    order = np.concatenate([block.sample[0] for block in trained(spec, ["sample"]).blocks if block.sample])[:, 0]
    first, second = order[:9].tolist(), order[9:].tolist()
    assert sorted(first) == sorted(second) == list(range(9))
    assert (first != list(range(9)) and first != second) == ("shuffle" not in batch)


# --- columns ----------------------------------------------------------------------------------------------------------


def test_the_columns_are_what_a_plain_loop_sees() -> None:
    plain, _, (x, y) = plain_of(FULL, 12)
    run = trained(FULL, COLUMNS)
    assert run.column("loss").tolist() == plain.losses
    after = [loss_with(weights, x, y) for weights in plain.weights]
    assert run.column("loss_after").tolist() == after
    assert run.column("full_loss").tolist() == after
    assert run.outcome.loss == after[-1]
    assert run.outcome.best_loss == min([*plain.losses, *after])
    outputs = [o for block in run.blocks for o in block.output or ()]
    for k, (w1, b1, w2, b2) in enumerate(plain.weights[:-1], 1):  # before the update of step k + 1
        assert same_bits(torch.from_numpy(outputs[k]), F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2))
    theirs = torch.stack(plain.gradients).double().norm(dim=1)
    np.testing.assert_allclose(run.column("gradient_norm"), theirs, rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_recorded_norms_are_the_norms_of_each_parameters_gradient(dtype: str) -> None:
    spec = spec_of(dtype=dtype)
    norms, values = trained({**spec, "record": {"gradients": "norms"}}), trained(spec)
    assert norms.blocks[0].gradients is None
    sizes = [parameter.values.size for parameter in norms.outcome.parameters]
    parts = torch.from_numpy(values.column("gradients")).split(sizes, dim=1)
    expected = torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], 1)
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(norms.column("norms"), expected.double(), rtol=tolerance)
    np.testing.assert_allclose(norms.column("gradient_norm"), values.column("gradient_norm"), rtol=tolerance)
    assert norms.column("loss").tolist() == values.column("loss").tolist()
    assert same_bits(flat(norms.outcome.parameters), flat(values.outcome.parameters))


@pytest.mark.parametrize("expression", ["x", "+x", "+(+x)"])
def test_losses_of_an_objective_that_is_a_variable_itself_stay_as_they_were(expression: str) -> None:
    """x - 0.25 a step: exact in binary."""
    model = {"type": "objective", "expression": expression, "start": {"x": 1.0}}
    run = trained({"model": model, "optimizer": {"name": "sgd", "lr": 0.25}, "epochs": 4})
    assert run.column("loss").tolist() == [1.0, 0.75, 0.5, 0.25]
    assert run.outcome.loss == 0.0


def test_epochs_0_gives_one_row_step_0_and_changes_nothing() -> None:
    spec = spec_of(epochs=0, print={"style": "loss"})
    del spec["optimizer"]
    run = trained(spec, ["gradients", "parameters", "output"])
    plain, _, _ = plain_of(FULL, 1)
    assert [run.column(c).tolist() for c in ("step", "epoch", "batch", "last")] == [[0], [0], [0], [True]]
    assert run.column("loss").tolist() == plain.losses  # of all rows, whatever the batch
    assert same_bits(torch.from_numpy(run.column("gradients")[0]), plain.gradients[0])
    start = torch.cat([p.detach().flatten() for layer in mlp([3, 4, 2], torch.float32) for p in layer.parameters()])
    assert same_bits(flat(run.outcome.parameters), start)
    assert same_bits(torch.from_numpy(run.column("parameters")[0]), start)
    assert (run.outcome.status, run.outcome.steps, run.outcome.epochs) == ("finished", 0, 0)
    assert run.outcome.loss == plain.losses[0]


# --- divergence -------------------------------------------------------------------------------------------------------


LINE = {"x": [[1.0, -2.0], [3.0, 0.5], [-1.5, 2.0], [2.5, 1.0], [0.5, -3.0]], "y": [[1.0], [-2.0], [0.5], [3.0], [1.5]]}


def line_spec(rule: str, lr: float, dtype: str, size: int, **more: Any) -> Spec:
    return {
        "data": LINE,
        "model": "linear",
        "loss": "mse",
        "optimizer": {"name": rule, "lr": lr, "momentum": 0.25} if rule == "sgd" else {"name": rule, "lr": lr},
        "batch": {"mode": "mini-batch", "size": size, "shuffle": False},
        "epochs": 3000,
        "dtype": dtype,
        **more,
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [5, 2])
@pytest.mark.parametrize("lr", [10.0, 1e3, 1e6])
def test_divergence_stops_at_the_first_step_that_is_not_finite_and_keeps_the_weights_before(
    lr: float, size: int, dtype: str
) -> None:
    x, y = (torch.tensor(LINE[key], dtype=DTYPES[dtype]) for key in ("x", "y"))
    torch.manual_seed(0)
    layer = nn.Linear(2, 1, dtype=DTYPES[dtype])
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr, momentum=0.25, foreach=False)
    losses, gradients = [], []
    for bx, by in batches(x, y, size, 3000):
        optimizer.zero_grad()
        loss = F.mse_loss(layer(bx), by)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]))
        if not (math.isfinite(losses[-1]) and gradients[-1].isfinite().all()):
            break
        optimizer.step()
    count = len(losses)
    assert 2 < count < 3000
    run = trained(line_spec("sgd", lr, dtype, size))
    outcome = run.outcome
    assert (outcome.status, outcome.steps) == ("diverged", count)
    assert run.column("loss").tolist() == pytest.approx(losses, rel=0, nan_ok=True)
    assert torch.equal(
        torch.from_numpy(run.column("gradients")).nan_to_num(7.0), torch.stack(gradients).nan_to_num(7.0)
    )
    assert f"step {count} " in outcome.message
    kept = torch.cat([p.detach().flatten() for p in layer.parameters()])
    assert kept.isfinite().all()
    assert same_bits(flat(outcome.parameters), kept)
    assert outcome.epochs == (count - 1) // -(-len(x) // size)
    assert not math.isfinite(outcome.loss)
    bad = [name for name, g in (("weight", gradients[-1][:2]), ("bias", gradients[-1][2:])) if not g.isfinite().all()]
    assert all(name in outcome.message for name in bad)


def test_a_gradient_that_is_not_finite_ends_the_run_though_the_loss_is() -> None:
    """The root of 0: its value is 0, its slope infinite. The message names the parameter."""
    model = {"type": "objective", "expression": "sqrt(x) + (y - 1)**2", "start": {"x": 0.0, "y": 3.0}}
    run = trained({"model": model, "optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 5})
    assert (run.outcome.status, run.outcome.steps) == ("diverged", 1)
    assert run.column("loss").tolist() == [4.0]
    assert run.column("gradients").tolist() == [[math.inf, 4.0]]
    assert flat(run.outcome.parameters).tolist() == [0.0, 3.0]
    assert "gradient of x is not finite" in run.outcome.message


@pytest.mark.slow
def test_norms_and_values_diverge_at_the_same_step() -> None:
    """In float32 a square overflows from 1.8e19 on, the gradient itself from 3.4e38 on."""
    ends = {}
    for keep in ("values", "norms", "none"):
        outcome = trained(line_spec("sgd", 10.0, "float32", 5, record={"gradients": keep}, loss="mae")).outcome
        assert outcome.status == "finished"
        model = {"type": "objective", "expression": "a*x**2", "start": {"x": 1.0}, "constants": {"a": 1e15}}
        spec = {"model": model, "optimizer": {"name": "sgd", "lr": 1e-13}, "epochs": 60, "record": {"gradients": keep}}
        ends[keep] = trained(spec).outcome
        assert ends[keep].status == "diverged"
    assert len({(outcome.steps, outcome.message.split(":")[0]) for outcome in ends.values()}) == 1
    assert len({flat(outcome.parameters).item() for outcome in ends.values()}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_with_dropout_that_diverges_ends_with_the_plain_loops_weights(dtype: str) -> None:
    """The steps before are repeated: with the same random numbers and running means, or they would end elsewhere."""
    kinds = DTYPES[dtype]
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Linear(3, 16, dtype=kinds), nn.BatchNorm1d(16, dtype=kinds), nn.Dropout(0.5), nn.Linear(16, 2, dtype=kinds)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=50.0, momentum=0.9, foreach=False)
    x, y = torch.tensor(X, dtype=kinds), torch.tensor(Y, dtype=kinds)
    losses, before = [], {}
    for _ in range(3000):
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        losses.append(loss.item())
        if not (loss.isfinite() and all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)):
            break
        optimizer.step()
    before = dict(net.named_parameters())
    assert 3 < len(losses) < 3000
    layers = [
        {"layer": "Linear", "in_features": 3, "out_features": 16},
        {"layer": "BatchNorm1d", "num_features": 16},
        "Dropout",
        {"layer": "Linear", "in_features": 16, "out_features": 2},
    ]
    run = trained(
        {
            "data": {"x": X, "y": Y},
            "model": {"type": "sequential", "layers": layers},
            "loss": "mse",
            "optimizer": {"name": "sgd", "lr": 50.0, "momentum": 0.9},
            "epochs": 3000,
            "seed": 3,
            "dtype": dtype,
        }
    )
    assert (run.outcome.status, run.outcome.steps) == ("diverged", len(losses))
    assert run.column("loss").tolist() == pytest.approx(losses, rel=0, nan_ok=True)
    for name, weights in run.weights.items():
        assert same_bits(weights, before[name].detach()), name


# --- stop -------------------------------------------------------------------------------------------------------------


def test_stop_loss_ends_after_the_first_epoch_whose_loss_is_low_enough() -> None:
    plain, _, (x, y) = plain_of(FULL, 40)
    after = [loss_with(weights, x, y) for weights in plain.weights]
    run = trained({**FULL, "epochs": 40, "stop": {"loss": after[24]}})
    expected = next(k for k, loss in enumerate(after) if loss <= after[24])
    assert (run.outcome.status, run.outcome.steps) == ("stopped", expected + 1)
    assert run.outcome.loss == after[expected]
    assert same_bits(flat(run.outcome.parameters), torch.cat([p.flatten() for p in plain.weights[expected]]))


def test_stop_gradient_norm_with_full_batches_ends_at_the_first_gradient_that_is_small_enough() -> None:
    plain, _, _ = plain_of(FULL, 40)
    norms = [float(torch.linalg.vector_norm(g)) for g in plain.gradients]
    bound = norms[20] * (1 + 1e-6)  # a norm's last bits depend on the processor
    expected = next(k for k, norm in enumerate(norms) if norm <= bound)
    run = trained({**FULL, "epochs": 40, "stop": {"gradient_norm": bound}})
    assert (run.outcome.status, run.outcome.steps) == ("stopped", expected + 1)


def test_stop_gradient_norm_with_mini_batches_is_of_the_whole_set_and_leaves_the_run_as_it_was() -> None:
    spec = spec_of(epochs=30)
    free = trained(spec, ["parameters"])
    x, y = torch.tensor(X), torch.tensor(Y)
    layers, norms = mlp([3, 4, 2], torch.float32), []
    parameters = [p for layer in layers for p in layer.parameters()]
    for state in free.column("parameters")[2::3]:  # after each epoch of three steps
        torch.nn.utils.vector_to_parameters(torch.from_numpy(state), parameters)
        gradients = torch.autograd.grad(F.mse_loss(chained(layers, [torch.tanh, None])(x), y), parameters)
        norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
    bound = norms[19] * (1 + 1e-6)
    expected = next(k for k, norm in enumerate(norms) if norm <= bound)
    run = trained({**spec, "stop": {"gradient_norm": bound}}, ["parameters"])
    assert (run.outcome.status, run.outcome.epochs) == ("stopped", expected + 1)
    assert run.outcome.steps == 3 * (expected + 1)
    np.testing.assert_array_equal(run.column("parameters"), free.column("parameters")[: run.outcome.steps])


def test_a_stop_that_is_not_reached_leaves_a_model_with_dropout_as_it_was() -> None:
    layers = [{"layer": "Linear", "in_features": 3, "out_features": 2}, "Dropout"]
    spec = spec_of(model={"type": "sequential", "layers": layers})
    free, watched = trained(spec), trained({**spec, "stop": {"gradient_norm": 0.0}})
    assert watched.outcome.status == "finished"
    assert watched.column("loss").tolist() == free.column("loss").tolist()


@pytest.mark.parametrize("steps", [1, 7, 36, 1000])
def test_max_steps_counts_steps(steps: int) -> None:
    free = trained(spec_of(), ["parameters"])  # 36 steps
    run = trained(spec_of(stop={"max_steps": steps}))
    assert run.outcome.steps == min(steps, 36)
    assert run.outcome.status == ("stopped" if steps <= 36 else "finished")
    assert run.outcome.epochs == min(steps, 36) // 3
    assert flat(run.outcome.parameters).tolist() == free.column("parameters")[min(steps, 36) - 1].tolist()


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("validation", [None, 0.3])
def test_patience_counts_epochs_without_a_better_loss(patience: int, validation: float | None) -> None:
    spec = {**FULL, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.97}, "epochs": 200}
    spec["data"] = {"x": X, "y": Y} if validation is None else {"x": X, "y": Y, "validation": validation}
    free = trained(spec, ["parameters"])
    held_out = free.built.validation
    x, y = held_out[:2] if held_out else (free.built.batches.x, free.built.batches.y)
    assert len(x) == (11 if validation is None else 3)
    shapes = [slot.shape for slot in free.built.theta.slots]
    best, stale, at, expected = math.inf, 0, 0, 0
    for state in free.column("parameters"):
        expected += 1
        parts = torch.from_numpy(state).split([math.prod(shape) for shape in shapes])
        now = loss_with([part.view(shape) for part, shape in zip(parts, shapes, strict=True)], x, y)
        best, stale, at = (now, 0, expected) if now < best else (best, stale + 1, at)
        if stale == patience:
            break
    assert expected < 200
    run = trained({**spec, "stop": {"patience": patience}})
    assert (run.outcome.status, run.outcome.steps) == ("stopped", expected)
    watched = "loss" if validation is None else "validation loss"
    why = f"no better {watched} in {patience} epochs, at epoch {expected}: {best:.6g} at epoch {at}"
    assert run.outcome.message == why
    kept = [run.outcome.metrics.get(name) for name in ("best_validation_loss", "best_validation_epoch")]
    assert kept == ([None, None] if validation is None else [pytest.approx(best), at])


def test_patience_that_sees_no_finite_loss_says_so() -> None:
    """The square of 1e30 is no float32: the losses of the validation rows are infinite, those of training are not."""
    data = {"x": X, "y": Y, "validation": 0.3}
    held_out = trained({**FULL, "data": data}).built.loaded.validation
    rows = [
        [1e30] * len(y) if any(np.array_equal(x, each) for each in held_out.x) else y for x, y in zip(X, Y, strict=True)
    ]
    run = trained({**FULL, "epochs": 9, "data": data | {"y": rows}, "stop": {"patience": 2}})
    why = "no better validation loss in 2 epochs, at epoch 2: none was finite"
    assert (run.outcome.status, run.outcome.message) == ("stopped", why)


def test_max_seconds_ends_a_long_run() -> None:
    run = trained({**FULL, "epochs": 10**6, "stop": {"max_seconds": 0.05}})
    assert run.outcome.status == "stopped"
    assert 1 <= run.outcome.steps < 10**6
    assert run.column("step").tolist() == list(range(1, run.outcome.steps + 1))


def test_an_interrupt_stops_after_the_step_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BLOCK_STEPS", 5)
    free = trained(spec_of(), ["parameters"])
    interrupt = Interrupt()
    events = train(built(spec_of()), ["parameters"], interrupt)
    next(events)  # the start
    first = next(events)
    assert isinstance(first, StepBlock)
    assert first.step.tolist() == [1, 2, 3, 4, 5]
    interrupt.requested = True
    block, outcome = events
    assert isinstance(block, StepBlock)
    assert isinstance(outcome, Outcome)
    assert block.step.tolist() == [6]
    assert (outcome.status, outcome.steps, outcome.epochs) == ("interrupted", 6, 2)
    assert flat(outcome.parameters).tolist() == free.column("parameters")[5].tolist()


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_of_classes_on_training_and_validation_rows() -> None:
    rows = np.random.default_rng(1).normal(size=(20, 3)).round(3)
    classes = (rows[:, 0] + 0.3 * rows[:, 1] > 0).astype(int) + (rows[:, 2] > 1)
    spec = spec_of(
        data={"x": rows.tolist(), "y": classes.tolist(), "validation": 0.25},
        model={"type": "mlp", "layers": [3, 8, 3], "activation": "tanh"},
        loss="cross_entropy",
    )
    run = trained(spec)
    made, metrics = run.built, run.outcome.metrics
    assert made.validation is not None
    (vx, vy), (tx, ty) = made.validation[:2], (made.batches.x, made.batches.y)
    assert (len(tx), len(vx)) == (15, 5)
    everything = sorted(torch.cat([tx, vx]).tolist())
    assert everything == sorted(torch.tensor(rows, dtype=torch.float32).tolist())
    w1, b1, w2, b2 = run.weights.values()

    def predicted(x: Tensor) -> Tensor:
        return F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2)

    assert metrics["accuracy"] == pytest.approx(float((predicted(tx).argmax(1) == ty).double().mean()))
    assert metrics["validation_accuracy"] == pytest.approx(float((predicted(vx).argmax(1) == vy).double().mean()))
    assert metrics["validation_loss"] == float(F.cross_entropy(predicted(vx), vy))
    assert run.outcome.loss == float(F.cross_entropy(predicted(tx), ty))


@pytest.mark.parametrize(("loss", "output"), [("bce", "sigmoid"), ("bce_with_logits", "none")])
def test_accuracy_of_two_classes_is_at_one_half(loss: str, output: str) -> None:
    y = [[float(row[0] > 0)] for row in X]
    model = {"type": "mlp", "layers": [3, 4, 1], "activation": "tanh", "output_activation": output}
    run = trained(spec_of(data={"x": X, "y": y}, model=model, loss=loss))
    w1, b1, w2, b2 = run.weights.values()
    logits = F.linear(torch.tanh(F.linear(torch.tensor(X), w1, b1)), w2, b2)
    hits = sum((z > 0) == (t > 0.5) for (z,), (t,) in zip(logits.tolist(), y, strict=True))
    assert run.outcome.metrics == {"accuracy": pytest.approx(hits / 11)}


def test_evaluation_of_a_model_with_dropout_is_without_dropout() -> None:
    layers = [{"layer": "Linear", "in_features": 3, "out_features": 2}, {"layer": "Dropout", "p": 0.5}]
    run = trained(spec_of(model={"type": "sequential", "layers": layers}))
    weight, bias = run.weights.values()
    expected = float(F.mse_loss(F.linear(torch.tensor(X), weight, bias), torch.tensor(Y)))
    assert run.outcome.loss == expected


# --- another device ---------------------------------------------------------------------------------------------------


def test_auto_is_no_device_that_several_processes_would_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """MPS is one device, for which gloo has no sums."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    spec = loaded(spec_of(device="auto")).spec
    assert (resolve_device(spec).type, resolve_device(spec, local_rank=1).type) == ("mps", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rule", ["sgd", "adam", "rmsprop", "nadam", "asgd"])
@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
def test_cuda_follows_the_cpu(engine: str, rule: str) -> None:
    spec = spec_of(optimizer={"name": rule, "lr": 0.01}, epochs=7, engine=engine, stop={"max_steps": 20})
    cpu, cuda = trained(spec), trained({**spec, "device": "cuda"})
    assert cuda.built.theta.values.is_cuda
    assert cuda.outcome.steps == 20
    np.testing.assert_allclose(cuda.column("loss"), cpu.column("loss"), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(flat(cuda.outcome.parameters), flat(cpu.outcome.parameters), rtol=1e-5, atol=1e-5)
