"""Evaluation by parts has the bits of torch on all rows, in bounded pieces; nothing is evaluated twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_torch import Spec, batches, built, chained, loaded, loop, mlp, same_bits, trained
from torch import Tensor, nn

from gdcli.engine.evaluation import MOST_ROWS, Evaluation, forward_by_parts
from gdcli.engine.kernels.single import Single
from gdcli.engine.loop import Loop
from gdcli.engine.problem import build_fleet

ROWS = 9_001


@pytest.fixture
def file(tmp_path: Path) -> Path:
    draw = np.random.default_rng(3)
    np.savez(tmp_path / "rows.npz", x=draw.normal(size=(ROWS, 64)), y=draw.integers(0, 3, ROWS))
    return tmp_path / "rows.npz"


def spec_of(file: Path, model: Any, **more: Any) -> Spec:
    shape = more.pop("shape", None)
    return {
        "data": {"file": str(file), "features": ["x"], "target": "y", **({"shape": shape} if shape else {})},
        "model": model,
        "loss": "cross_entropy",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "batch": {"mode": "mini-batch", "size": 1000},
        "epochs": 2,
        "threads": 1,
        **more,
    }


MLP = {"type": "mlp", "layers": [64, 20, 3], "activation": "tanh"}
CONVOLUTIONS = {
    "type": "sequential",
    "layers": [
        {"layer": "Conv2d", "out_channels": 4, "kernel_size": 3}, "BatchNorm2d", "Tanh", "Flatten",
        {"layer": "Linear", "out_features": 3},
    ],
}  # fmt: skip


def pieces(module: nn.Module) -> list[tuple[bool, int]]:
    """What a module is called with from now on: whether it trains, and how many rows."""
    seen: list[tuple[bool, int]] = []
    module.register_forward_pre_hook(lambda part, inputs: seen.append((part.training, len(inputs[0]))))
    return seen


def test_an_evaluation_by_hand_has_the_bits_of_torch_on_all_rows(file: Path) -> None:
    problem = built(spec_of(file, MLP))
    layers = mlp([64, 20, 3], torch.float32)
    with torch.no_grad():
        whole = chained(layers, [torch.tanh, None])(problem.batches.x)
    assert same_bits(forward_by_parts(problem, problem.batches.whole().x), whole)


def test_an_evaluation_of_convolutions_has_the_bits_of_all_rows_in_bounded_pieces(file: Path) -> None:
    problem = built(spec_of(file, CONVOLUTIONS, shape=[1, 8, 8]))
    assert problem.module is not None
    with torch.no_grad():
        whole = problem.module.eval()(problem.batches.x)
    problem.module.train()
    seen = pieces(problem.module)
    assert same_bits(forward_by_parts(problem, problem.batches.whole().x), whole)
    assert [training for training, _ in seen] == [False] * len(seen)
    assert max(rows for _, rows in seen) <= MOST_ROWS
    assert sum(rows for _, rows in seen) == ROWS


def test_rows_that_depend_on_each_other_stay_together(file: Path) -> None:
    over_rows = [{"layer": "Linear", "out_features": 3}, {"layer": "Softmax", "dim": 0}]
    problem = built(spec_of(file, {"type": "sequential", "layers": over_rows}))
    sums = forward_by_parts(problem, problem.batches.whole().x).sum(0)
    torch.testing.assert_close(sums, torch.ones(3))  # over all rows: over a part of them it would be 1 for each part


def test_an_evaluation_is_no_finer_than_a_step(file: Path) -> None:
    problem = built(spec_of(file, CONVOLUTIONS, shape=[1, 8, 8], batch="full"))
    assert problem.module is not None
    seen = pieces(problem.module)
    forward_by_parts(problem, problem.batches.whole().x)
    assert seen == [(False, ROWS)]


@pytest.mark.parametrize(
    ("kernel", "layers", "loss", "generate"),
    [
        ("elementwise", [2, 3, 1], "mse", {"kind": "linear", "weights": [1, 2], "n": ROWS}),
        ("batched", [40, 3, 3], "cross_entropy", {"kind": "blobs", "features": 40, "classes": 3, "n": ROWS}),
    ],
)
def test_a_fleet_evaluates_by_parts_with_the_same_bits(kernel: str, layers: Any, loss: str, generate: Any) -> None:
    spec = {
        "data": {"generate": generate},
        "model": {"type": "mlp", "layers": layers, "activation": "tanh"},
        "loss": loss,
        "optimizer": {"name": "sgd", "lr": 0.1},
        "batch": {"mode": "mini-batch", "size": 1000},
        "threads": 1,
    }
    problem = build_fleet([loaded({**spec, "seed": seed}) for seed in (0, 1, 2)])
    assert problem.kernel_name == kernel
    x = problem.batches.whole().x
    whole = problem.kernel.forward(x).clone()
    assert same_bits(forward_by_parts(problem, x), whole)


def test_every_epoch_is_evaluated_once_and_the_end_is_that_of_the_last(file: Path) -> None:
    problem = built(spec_of(file, CONVOLUTIONS, shape=[1, 8, 8], epochs=3))
    assert problem.module is not None
    seen = pieces(problem.module)
    *blocks, outcomes = Loop(problem, {"full_loss", "epochs"}).events()
    assert sum(rows for training, rows in seen if not training) == 3 * ROWS
    with torch.no_grad():
        output = problem.module.eval()(problem.batches.x)
    y = problem.batches.y
    assert outcomes.loss[0] == float(nn.functional.cross_entropy(output, y)) == blocks[-1].full_loss[-1, 0]
    assert outcomes.metrics["accuracy"][0] == float((output.argmax(1) == y).double().mean())


def test_a_run_that_stops_early_ends_with_the_loss_of_its_weights(file: Path) -> None:
    run = trained(spec_of(file, MLP, epochs=5, stop={"max_steps": 4}), {"full_loss"})
    w1, b1, w2, b2 = run.weights.values()
    x, y = run.built.batches.x, run.built.batches.y
    output = nn.functional.linear(torch.tanh(nn.functional.linear(x, w1, b1)), w2, b2)
    assert run.outcome.loss == float(nn.functional.cross_entropy(output, y))


# --- steps ------------------------------------------------------------------------------------------------------------


def test_the_rows_of_a_step_are_gathered_again_as_they_were(file: Path) -> None:
    for model, shape in ((MLP, None), (CONVOLUTIONS, [1, 8, 8])):
        batches_of_it = built(spec_of(file, model, shape=shape)).batches
        for rows in [*batches_of_it.epoch()][-2:]:
            again = batches_of_it.again(rows.index)
            assert torch.equal(again.x, batches_of_it.x[rows.index])
            assert torch.equal(again.y, batches_of_it.y[rows.index])


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_shuffled_run_that_diverges_keeps_the_weights_of_the_plain_loop_before_that_step(
    file: Path, shuffle: bool
) -> None:
    batch = {"mode": "mini-batch", "size": 1000, "shuffle": shuffle}
    model = {"type": "mlp", "layers": [64, 4, 3], "activation": "relu"}
    spec = spec_of(file, model, optimizer={"name": "sgd", "lr": 1e7}, batch=batch, epochs=20)
    run = trained(spec)
    assert run.outcome.status == "diverged"
    bad = run.outcome.steps
    assert bad > 2
    layers = mlp([64, 4, 3], torch.float32)
    parameters = [p for layer in layers for p in layer.parameters()]
    rows = batches(run.built.batches.x, run.built.batches.y, 1000, 20, shuffle=shuffle)
    forward = chained(layers, [torch.relu, None])
    optimizer = torch.optim.SGD(parameters, lr=1e7, foreach=False)
    plain = loop(parameters, forward, nn.CrossEntropyLoss(), optimizer, [next(rows) for _ in range(bad - 1)])
    assert all(map(same_bits, run.weights.values(), plain.weights[-1]))


def test_time_of_evaluations_is_no_time_of_steps(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that a step moves by 1 and an evaluation by 100."""
    clock = [0.0]

    def moved(call: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def instead(*given: Any) -> Any:
            clock[0] += seconds
            return call(*given)

        return instead

    problem = built(spec_of(file, MLP))
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(Single, "step", moved(Single.step, 1.0))
    monkeypatch.setattr(Evaluation, "__call__", moved(Evaluation.__call__, 100.0))
    training = Loop(problem, {"full_loss", "epochs"})
    list(training.events())
    assert clock[0] >= 220
    assert training.stepping == training.t == 20


def test_cross_entropy_by_hand_has_the_bits_of_torchs_loss_and_gradient() -> None:
    from gdcli.zoo.losses import LOSSES

    draw = torch.Generator().manual_seed(5)
    for rows, classes in ((1, 2), (7, 3), (64, 10), (257, 33)):
        for dtype in (torch.float32, torch.float64):
            output = (10 * torch.randn(rows, classes, generator=draw, dtype=dtype)).requires_grad_()
            classes_of_rows: Tensor = torch.randint(0, classes, (rows,), generator=draw)
            plain = nn.CrossEntropyLoss()(output, classes_of_rows)
            plain.backward()
            once = LOSSES["cross_entropy"]().once
            assert once is not None
            assert output.grad is not None
            loss, slope = once(output.detach(), classes_of_rows)
            assert same_bits(loss, plain.detach())
            assert same_bits(slope, output.grad)
