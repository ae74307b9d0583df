"""`batch.accumulate`: a step of several passes is that of one batch of all their rows, within rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gdcli.engine.loop import Loop
from gdcli.engine.problem import build_fleet
from gdcli.errors import SpecError
from gdcli.records import Outcomes
from tests.engine.plain_torch import batches, loaded, mlp, trained

RNG = np.random.default_rng(7)
X = RNG.normal(size=(45, 3)).round(3).tolist()
VALUES = RNG.normal(size=(45, 2)).round(3).tolist()
CLASSES = RNG.integers(0, 3, 45).tolist()


def spec(batch: Any, loss: Any = "mse", **more: Any) -> dict[str, Any]:
    classes = (loss if isinstance(loss, str) else loss["name"]) in ("cross_entropy", "nll")
    outputs = 3 if classes else 2
    return {
        "data": {"x": X, "y": CLASSES if classes else VALUES},
        "model": {"type": "mlp", "layers": [3, 4, outputs], "activation": "tanh"},
        "loss": loss,
        "optimizer": {"name": "adam", "lr": 0.05},
        "epochs": 5,
        "batch": batch,
        "dtype": "float64",
        **more,
    }


LOSSES = ["mse", "sse", "half_mse", "mae", "huber", "cross_entropy"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("engine", ["auto", "autograd"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_four_batches_of_eight_are_one_of_thirty_two(loss: str, engine: str, shuffle: bool) -> None:
    """45 rows: the second step of an epoch has a batch of 8 and one of 5, which count by their rows."""
    pieces = trained(spec({"size": 8, "accumulate": 4, "shuffle": shuffle}, loss, engine=engine))
    whole = trained(spec({"size": 32, "shuffle": shuffle}, loss, engine=engine))
    assert len(pieces.column("loss")) == 10
    np.testing.assert_allclose(pieces.column("loss"), whole.column("loss"), rtol=1e-12)
    np.testing.assert_allclose(pieces.column("gradients"), whole.column("gradients"), rtol=1e-9, atol=1e-12)
    assert pieces.outcome.loss == pytest.approx(whole.outcome.loss, rel=1e-12)
    assert pieces.outcome.metrics == pytest.approx(whole.outcome.metrics, rel=1e-12)


def test_it_has_the_bits_of_a_plain_loop_that_adds_up_gradients() -> None:
    """Powers of two: torch's `(loss / 4).backward()` scales exactly."""
    x, y = torch.tensor(X[:32], dtype=torch.float64), torch.tensor(VALUES[:32], dtype=torch.float64)
    layers = mlp([3, 4, 2], torch.float64)
    optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=0.05)
    losses = []
    for k, (xs, ys) in enumerate(batches(x, y, 8, 5)):
        if k % 4 == 0:
            optimizer.zero_grad()
            losses.append(0.0)
        loss = torch.nn.functional.mse_loss(layers[1](torch.tanh(layers[0](xs))), ys)
        (loss / 4).backward()
        losses[-1] += loss.item() / 4
        if k % 4 == 3:
            optimizer.step()
    ours = trained(spec({"size": 8, "accumulate": 4, "shuffle": False}, data={"x": X[:32], "y": VALUES[:32]}))
    theirs = torch.cat([p.detach().flatten() for layer in layers for p in layer.parameters()])
    assert torch.equal(torch.cat([w.flatten() for w in ours.weights.values()]), theirs)
    np.testing.assert_allclose(ours.column("loss"), losses, rtol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch", ["stochastic", "mini-batch"])
@pytest.mark.parametrize("layers", [[3, 4], [3, 9]])  # written out, and by torch's products
def test_fleets_accumulate_as_single_runs_do(loss: str, batch: str, layers: list[int]) -> None:
    cut = {"mode": batch, "accumulate": 3} | ({"size": 4} if batch == "mini-batch" else {})
    outputs = 3 if loss == "cross_entropy" else 2
    shape = {"type": "mlp", "layers": [*layers, outputs], "activation": "tanh"}
    members = [loaded(spec(cut, loss, model=shape, seed=seed, epochs=2)) for seed in range(3)]

    def of(runs: list[Any]) -> Outcomes:
        *_, outcome = Loop(build_fleet(runs), ["output", "full_loss"]).events()
        assert isinstance(outcome, Outcomes)
        return outcome

    together = of(members)
    for k, member in enumerate(members):
        alone = trained(spec(cut, loss, model=shape, seed=k, epochs=2)).outcome
        assert together.loss[k] == pytest.approx(alone.loss, rel=1e-12)
        fleet_of_one = of([member])
        assert np.array_equal(fleet_of_one.values[0], together.values[k])  # wherever it lies in a fleet
        assert fleet_of_one.loss[0] == together.loss[k]


def test_the_loss_of_an_epoch_is_that_of_larger_batches() -> None:
    pieces = trained(spec({"mode": "stochastic", "accumulate": 5, "shuffle": False}), ["full_loss", "output"])
    whole = trained(spec({"size": 5, "shuffle": False}), ["full_loss", "output"])
    np.testing.assert_allclose(pieces.column("full_loss"), whole.column("full_loss"), rtol=1e-12)
    outputs = [[output for block in run.blocks for output in block.output] for run in (pieces, whole)]
    assert [o.shape for o in outputs[0]] == [o.shape for o in outputs[1]]
    np.testing.assert_allclose(outputs[0][-1], outputs[1][-1], rtol=1e-10)


def test_a_pass_of_classes_that_do_not_count_adds_nothing() -> None:
    """Its own mean is 0 / 0; that of all rows of the step is a number."""
    data = {"x": X[:8], "y": [0, 0, 0, 0, 1, 2, 0, 1]}
    loss = {"name": "cross_entropy", "class_weights": [0, 1, 2]}
    given = {"data": data, "model": {"type": "mlp", "layers": [3, 4, 3], "activation": "tanh"}}
    pieces = trained(spec({"size": 4, "accumulate": 2, "shuffle": False}, loss, **given))
    whole = trained(spec({"size": 8, "shuffle": False}, loss, **given))
    assert np.isfinite(whole.column("loss")).all()
    np.testing.assert_allclose(pieces.column("loss"), whole.column("loss"), rtol=1e-12)
    np.testing.assert_allclose(pieces.column("gradients"), whole.column("gradients"), rtol=1e-9, atol=1e-12)
    assert pieces.outcome.loss == pytest.approx(whole.outcome.loss, rel=1e-12)
    members = [loaded(spec({"size": 4, "accumulate": 2, "shuffle": False}, loss, **given, seed=k)) for k in (0, 1)]
    *_, together = Loop(build_fleet(members)).events()
    assert isinstance(together, Outcomes)
    assert together.loss[0] == pytest.approx(whole.outcome.loss, rel=1e-12)


def test_drop_last_leaves_the_last_smaller_step_out() -> None:
    run = trained(spec({"size": 8, "accumulate": 4, "drop_last": True}))
    assert run.column("epoch").tolist() == [1, 2, 3, 4, 5]


def test_batch_norm_sees_each_batch_by_itself() -> None:
    layers = [
        {"layer": "BatchNorm1d", "num_features": 3},
        {"layer": "Linear", "in_features": 3, "out_features": 2},
    ]
    model = {"type": "sequential", "layers": layers}
    x, y = torch.tensor(X[:32], dtype=torch.float64), torch.tensor(VALUES[:32], dtype=torch.float64)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    torch.set_default_dtype(torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for k, (xs, ys) in enumerate(batches(x, y, 8, 2)):
        (torch.nn.functional.mse_loss(net(xs), ys) / 2).backward()
        if k % 2:
            optimizer.step()
            optimizer.zero_grad()
    batch = {"size": 8, "accumulate": 2, "shuffle": False}
    sgd = {"name": "sgd", "lr": 0.05}
    ours = trained(spec(batch, model=model, data={"x": X[:32], "y": VALUES[:32]}, epochs=2, optimizer=sgd))
    for name, value in net.named_parameters():
        torch.testing.assert_close(ours.weights[name], value.detach(), rtol=1e-12, atol=1e-14)


def test_where_it_does_nothing_it_is_refused() -> None:
    with pytest.raises(SpecError, match=r"batch\.accumulate: has no effect: it is for modes mini-batch and stochastic"):
        loaded(spec({"mode": "full", "accumulate": 2}))


def test_a_batch_norm_takes_no_last_pass_of_one_row() -> None:
    model = {"type": "sequential", "layers": [{"layer": "BatchNorm1d", "num_features": 3}, "Flatten",
             {"layer": "Linear", "in_features": 3, "out_features": 2}]}  # fmt: skip
    with pytest.raises(SpecError, match="takes no batch of one row"):
        trained(spec({"size": 4, "accumulate": 3}, model=model, data={"x": X[:17], "y": VALUES[:17]}))
