"""A run's bits do not depend on how many runs are trained with it, on its place among them, nor on the chunks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from many import CLOSE, COLUMNS, OF_CLASSES, assert_invariant, differing, gap, mlp, net, rates, rows, together, varied
from plain_torch import DTYPES

from gdcli.engine import loop as module
from gdcli.zoo.losses import LOSSES

EVALUATED = ("gradients", "parameters", "full_loss")
MIXED = {"mode": "mini-batch", "size": 5}
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def choices(count: int) -> list[list[int]]:
    """Which runs to train apart from all: one, a few, in other places, some twice, all but one."""
    last = count - 1
    return [[0], [last], [last, 0], [*range(last, max(last - 7, -1), -1)], [*range(1, count), 0, 1]]


# --- the sizes of the promise -----------------------------------------------------------------------------------------


@every_dtype
def test_fleets_of_1_7_100_and_1000_of_the_documents_net(dtype: str) -> None:
    runs = varied(net(dtype=dtype), rates(1000, 0.001, 2.0))
    whole = together(runs, EVALUATED)
    assert whole.fleet.kernel_name == "elementwise"
    apart: list[list[int]] = [[0], [517], [999], [*range(993, 1000)], [*range(450, 550)], [*range(99, -1, -1)]]
    for chosen in apart:
        part = together([runs[i] for i in chosen], EVALUATED)
        for j in {0, len(chosen) // 2, len(chosen) - 1}:
            assert differing(part, j, whole, chosen[j], (*EVALUATED, "gradient_norm")) == [], (len(chosen), j)


@every_dtype
def test_fleets_of_1_7_and_100_of_a_larger_net(dtype: str) -> None:
    runs = varied(mlp([13, 7, 5, 1], 23, batch=MIXED, dtype=dtype), rates(100, seeds=3))
    whole = together(runs, EVALUATED)
    assert whole.fleet.kernel_name == "batched"
    for chosen in ([0], [99], [*range(93, 100)], [*range(60, 40, -1)]):
        part = together([runs[i] for i in chosen], EVALUATED)
        for j, i in enumerate(chosen):
            assert differing(part, j, whole, i, (*EVALUATED, "gradient_norm")) == [], (len(chosen), j)


@pytest.mark.parametrize("layers", [[2, 2, 2], [13, 7, 5, 1]], ids=str)
def test_blocks_of_any_size_have_the_same_bits(layers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    runs = varied(mlp(layers, 13, batch={"mode": "mini-batch", "size": 4}, epochs=3), rates(9, seeds=2))
    whole = together(runs, COLUMNS)
    for size in (1, 3):
        monkeypatch.setattr(module, "MAX_BLOCK_STEPS", size)
        small = together(runs, COLUMNS)
        assert max(len(block.step) for block in small.blocks) == size
        for run in range(9):
            assert differing(small, run, whole, run, (*COLUMNS, "gradient_norm")) == []


# --- every kernel, awkward sizes --------------------------------------------------------------------------------------

TINY: dict[str, Any] = {
    "one row": {},
    "several rows": {"data": rows(7, 2, 2)},
    "mini-batches, the last of one row": {"data": rows(13, 2, 2), "batch": {"mode": "mini-batch", "size": 4}},
    "row by row": {"data": rows(3, 2, 2), "batch": "stochastic"},
}


@every_dtype
@pytest.mark.parametrize("case", TINY)
def test_written_out(case: str, dtype: str) -> None:
    spec = net(epochs=3, dtype=dtype, **TINY[case])
    whole = assert_invariant(varied(spec, rates(70, seeds=3)), choices(70), EVALUATED)
    assert whole.fleet.kernel_name == "elementwise"


@every_dtype
@pytest.mark.parametrize("loss", sorted(set(LOSSES) - set(OF_CLASSES)))
def test_every_loss_of_elements_written_out_whether_runs_share_their_data_or_not(loss: str, dtype: str) -> None:
    """A fleet of one has its rows once for all, a fleet of several data a column of rows for each run."""
    changes = [{"optimizer.lr": 0.02 * (1 + k % 3), "data": rows(3, 3, 2, loss, seed=k % 4)} for k in range(9)]
    spec = mlp([3, 2], 3, loss, dtype=dtype)
    spec["model"].pop("output_activation", None)
    if loss == "bce":
        spec["model"]["output_activation"] = "sigmoid"
    whole = assert_invariant(varied(spec, changes), choices(9), EVALUATED)
    assert whole.fleet.kernel_name == "elementwise"


@every_dtype
@pytest.mark.parametrize("batch", ["full", MIXED], ids=["97 rows", "5 rows"])
@pytest.mark.parametrize("layers", [[13, 7, 5, 1], [64, 64, 10], [5, 17, 16, 3]], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "silu", "none", "softmax"])
def test_batched(layers: list[int], batch: Any, activation: str, dtype: str) -> None:
    spec = mlp(layers, 97, activation=activation, batch=batch, epochs=2 if batch == "full" else 1, dtype=dtype)
    whole = assert_invariant(varied(spec, rates(9, seeds=2)), choices(9), EVALUATED)
    assert whole.fleet.kernel_name == "batched"


@every_dtype
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_batched_whether_runs_share_their_data_or_not(loss: str, dtype: str) -> None:
    def data(seed: int) -> Any:
        return {**rows(23, 13, 5, loss, seed), "validation": 0.2}

    changes = [{"optimizer.lr": 0.02 * (1 + k % 3), "data": data(k % 4), "seed": k % 2} for k in range(9)]
    spec = mlp([13, 7, 5], 23, loss, "silu", batch=MIXED, dtype=dtype)
    whole = assert_invariant(varied(spec, changes), choices(9), EVALUATED)
    assert whole.fleet.kernel_name == "batched"
    assert "validation_loss" in whole.outcome.metrics


def test_cross_entropy_with_rows_of_probabilities() -> None:
    spec = mlp([2, 2, 2], 6, "mse")
    runs = varied({**spec, "loss": "cross_entropy"}, rates(9))
    assert assert_invariant(runs, choices(9), EVALUATED).fleet.kernel_name == "batched"


PARTS: dict[str, Any] = {
    "no bias": {"model.bias": False},
    "shared bias": {"model.init": {"linear1.bias": [0.1], "linear2.bias": [0.2]}},
    "frozen weight": {"model.freeze": ["linear1.weight"]},
    "frozen first layer": {"model.freeze": ["linear1.*"]},
    "frozen last layer": {"model.freeze": ["linear2.*"]},
    "all frozen": {"model.freeze": ["*"]},
    "groups": {"optimizer.groups": {"linear1.*": {"lr": 0.02}, "*.bias": {"lr": 0.3, "weight_decay": 0.1}}},
}


@every_dtype
@pytest.mark.parametrize("layers", [[2, 2, 2], [13, 7, 5]], ids=str)
@pytest.mark.parametrize("part", PARTS)
def test_parts_of_a_model(part: str, layers: list[int], dtype: str) -> None:
    changes = [{**PARTS[part], **change} for change in rates(9, seeds=3)]
    runs = varied(mlp(layers, 11, batch=MIXED, dtype=dtype), changes)
    for keep in ("values", "norms", "none"):
        assert_invariant(runs, choices(9), keep=keep)


@every_dtype
@pytest.mark.parametrize("expression", ["(1-x)**2 + 10*(y-x**2)**2", "exp(-x*y)/3 + sin(x)**2 + log(1+y**2)", "x+0*y"])
def test_objectives(expression: str, dtype: str) -> None:
    spec = {
        "model": {"type": "objective", "expression": expression, "start": {"x": 0.3, "y": 0.7}},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "epochs": 20,
        "dtype": dtype,
    }
    changes = [{"optimizer.lr": 0.001 * k, "model.start": {"x": 0.1 * k - 2, "y": 0.7 - 0.02 * k}} for k in range(70)]
    whole = assert_invariant(varied(spec, changes), choices(70), ("gradients", "parameters"))
    assert whole.fleet.kernel_name == "objective"


# --- any model --------------------------------------------------------------------------------------------------------


@st.composite
def specs(draw: st.DrawFn) -> Any:
    layers = draw(st.lists(st.integers(1, 12), min_size=2, max_size=4))
    count = draw(st.integers(1, 20))
    loss = draw(st.sampled_from(sorted(LOSSES)))
    if loss in OF_CLASSES and layers[-1] == 1:
        layers[-1] = 2
    activation = draw(st.sampled_from(["relu", "tanh", "sigmoid", "gelu", "softplus", "mish", "none", "log_softmax"]))
    batch = {"mode": "mini-batch", "size": draw(st.integers(1, count)), "shuffle": draw(st.booleans())}
    dtype = draw(st.sampled_from(sorted(DTYPES)))
    return mlp(layers, count, loss, activation, batch=batch, dtype=dtype)


@pytest.mark.slow
@settings(max_examples=30)
@given(specs(), st.integers(2, 20), st.integers(1, 3), st.data())
def test_any_chain_in_any_company(spec: Any, count: int, seeds: int, data: st.DataObject) -> None:
    runs = varied(spec, rates(count, seeds=seeds))
    positions = st.lists(st.integers(0, count - 1), min_size=1, max_size=12)
    assert_invariant(runs, [data.draw(positions) for _ in range(2)], EVALUATED)


# --- another device ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_dtype
@pytest.mark.parametrize("layers", [[2, 2, 2], [13, 7, 5, 1]], ids=str)
def test_on_cuda_a_run_is_the_same_in_any_company_to_rounding(layers: list[int], dtype: str) -> None:
    """Its libraries choose how to multiply by the number of matrices: bits are promised for the CPU."""
    runs = varied(mlp(layers, 23, batch=MIXED, dtype=dtype, device="cuda"), rates(100, seeds=3))
    whole = together(runs, EVALUATED)
    assert whole.fleet.theta.values.is_cuda
    for chosen in choices(100):
        part = together([runs[i] for i in chosen], EVALUATED)
        for j, i in enumerate(chosen):
            assert gap(part.parameters(j), whole.parameters(i)) <= CLOSE[dtype]
