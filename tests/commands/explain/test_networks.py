"""Every derivative of ten random nets against the engine and autograd, and every printed line by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gdcli.commands.explain import explain, quantities
from gdcli.commands.explain.expression import text, worked_factors
from gdcli.commands.explain.point import point_of
from gdcli.commands.explain.worked import Network, subject_of
from gdcli.engine.problem import build
from gdcli.spec.load import Loaded
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import LOSSES
from tests.commands.explain.helpers import evaluated, loaded_of

# layers, activation, output activation, loss, rows: each activation and each loss occurs
NETS: list[tuple[list[int], str, str, str, int]] = [
    ([2, 2, 2], "sigmoid", "sigmoid", "half_sse", 1),
    ([3, 2], "relu", "none", "mse", 4),
    ([2, 3, 3, 2], "tanh", "none", "half_mse", 3),
    ([2, 3, 2, 3, 3], "leaky_relu", "softmax", "cross_entropy", 2),
    ([3, 4, 3], "silu", "none", "cross_entropy", 5),
    ([2, 3, 4], "gelu", "log_softmax", "nll", 3),
    ([2, 3, 3], "mish", "log_softmax", "kl_div", 2),
    ([2, 4, 2], "softplus", "hardsigmoid", "bce", 2),
    ([2, 3, 2], "elu", "tanhshrink", "bce_with_logits", 3),
    ([3, 2, 2], "selu", "softsign", "smooth_l1", 2),
    ([3, 2, 2], "celu", "hardtanh", "huber", 1),
    ([2, 2, 1], "hardswish", "relu6", "mae", 5),
    ([2, 3, 2], "softmax", "logsigmoid", "sse", 2),
    ([2, 2, 2, 2], "log_softmax", "hardswish", "mse", 1),
    ([2, 2, 2], "sign_ste", "none", "sse", 2),
    ([2, 5, 1], "hardtanh", "sigmoid", "bce", 4),
    ([2, 2], "relu", "sigmoid", "bce", 1),
    ([2, 2, 3], "none", "none", "mse", 2),
    ([2, 2, 2], "none", "sigmoid", "half_sse", 2),
]
_CLASSES = ("cross_entropy", "nll")
_PROBABILITIES = ("bce", "bce_with_logits", "kl_div")


def net(number: int, **more: Any) -> Loaded:
    layers, activation, output, loss, rows = NETS[number]
    random = np.random.default_rng(number)
    y: Any = random.normal(0, 1.5, (rows, layers[-1])).tolist()
    if loss in _CLASSES:
        y = random.integers(0, layers[-1], rows).tolist()
    elif loss in _PROBABILITIES:
        y = random.uniform(0, 1, (rows, layers[-1])).tolist()
    return loaded_of(
        {
            "data": {"x": random.normal(0, 1, (rows, layers[0])).tolist(), "y": y},
            "model": {
                "type": "mlp", "layers": layers, "activation": activation, "output_activation": output,
                "bias": number not in (2, 10),
                "init": {"*": {"normal": [0, 0.8]}, **({"linear1.bias": [0.3]} if number % 2 else {})},
            },
            "loss": loss, "optimizer": {"name": "sgd", "lr": 0.1}, "dtype": "float64", "seed": number, **more,
        }
    )  # fmt: skip


def gradients(loaded: Loaded) -> dict[str, list[float]]:
    built = build(loaded)
    built.kernel.step(built.batches.x, built.batches.y)
    views = {slot.name: built.theta.gradient_view(slot) for slot in built.theta.trained}
    return {name: view.flatten().tolist() for name, view in views.items() if view is not None}


@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
@pytest.mark.parametrize("number", range(len(NETS)))
def test_every_derivative_is_that_of_the_engine(number: int, engine: str) -> None:
    loaded = net(number, engine=engine)
    subject = subject_of(loaded, point_of(loaded, 1))
    assert isinstance(subject, Network)
    found = gradients(loaded)
    noise = 1e-14 * max(abs(value) for values in found.values() for value in values)  # of sums whose terms cancel
    for name, expected in found.items():
        explained = [one.gradient().value for one in subject.scalars() if one.parameter == name]
        assert explained == pytest.approx(expected, rel=1e-12, abs=noise), name


def test_the_nets_have_every_activation_and_every_loss() -> None:
    used = {name for _, inner, outer, _, _ in NETS for name in (inner, outer)}
    assert used == set(ACTIVATIONS)
    assert {loss for *_, loss, _ in NETS} == set(LOSSES)


@pytest.mark.parametrize("number", range(len(NETS)))
def test_each_printed_line_worked_out_by_python_gives_the_printed_value(number: int) -> None:
    for one in explain(net(number)).quantities():
        assert evaluated(text(one.worked, numbers=True)) == one.value, one.name
        assert evaluated(text(one.formula, numbers=True)) == pytest.approx(one.value, rel=1e-14, abs=1e-300), one.name
        if one.chain is not None:
            factors = worked_factors(one.chain)
            assert evaluated(text(factors, numbers=True)) == pytest.approx(one.value, rel=1e-13, abs=1e-17), one.name


@pytest.mark.parametrize("number", range(len(NETS)))
def test_the_loss_is_that_of_the_engine(number: int) -> None:
    loaded = net(number)
    built = build(loaded)
    loss = built.kernel.losses([built.kernel.step(built.batches.x, built.batches.y)[0]])[:, 0]
    (explained,) = quantities(loaded, ["loss"])
    assert explained.value == pytest.approx(float(loss), rel=1e-12)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_loss_alone_has_torchs_derivatives(loss: str) -> None:
    import torch

    x = [[0.7, 0.2], [0.9, 0.35]]
    y: Any = [1, 0] if loss in _CLASSES else [[1.0, 0.0], [0.25, 0.5]]
    loaded = loaded_of({"data": {"x": x, "y": y}, "model": "identity", "loss": loss, "epochs": 0,
                        "print": {"style": "loss"}, "dtype": "float64"})  # fmt: skip
    o = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    target = torch.tensor(y) if loss in _CLASSES else torch.tensor(y, dtype=torch.float64)
    value = LOSSES[loss]().value(o, target)
    value.backward()
    names = ["loss", "do1[1]", "do2[1]", "do1[2]", "do2[2]"]
    explained = [one.value for one in quantities(loaded, names)]
    assert o.grad is not None
    assert explained == pytest.approx([value.item(), *o.grad.flatten().tolist()], rel=1e-13)


def test_a_large_net_is_refused_whole_and_explained_by_name() -> None:
    from gdcli.errors import SpecError

    data = {"x": np.eye(20).tolist(), "y": [0, 1] * 10}
    loaded = loaded_of({"data": data, "model": {"type": "mlp", "layers": [20, 30, 2]}, "loss": "cross_entropy",
                        "optimizer": "sgd", "dtype": "float64"})  # fmt: skip
    with pytest.raises(SpecError, match="--only"):
        explain(loaded)
    (derivative,) = quantities(loaded, ["dw1"])
    assert derivative.value == pytest.approx(gradients(loaded)["linear1.weight"][0], rel=1e-12)
    with pytest.raises(SpecError, match="there is no 'dw9999'"):
        quantities(loaded, ["dw9999"])
    with pytest.raises(SpecError, match=r"Each row has its own: 'o1\[1\]'"):
        quantities(loaded, ["o1"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("h1_1[3]", "Did you mean 'h1_1[5]'? The batch has the rows 5, 6, 7, 8"),
        ("h2_1[56]", "Did you mean 'h2_1[5]'? The batch has the rows 5, 6, 7, 8"),
        ("h1[6]", "Did you mean 'h1_1[5]'? The batch has the rows 5, 6, 7, 8"),
        ("dh2", "Each row has its own: 'dh1_2[5]'"),
        ("net_h1", "Each row has its own: 'net_h1_1[5]'"),
        ("h1_9", "Did you mean 'h1_3[5]'?"),
        ("b1[5]", "Did you mean 'b1'?"),
    ],
)
def test_a_row_is_that_of_the_data_and_another_is_told_by_the_same_name(name: str, hint: str) -> None:
    """The second batch of four, in the order of the data, has rows 5 to 8."""
    from gdcli.errors import SpecError

    x = np.random.default_rng(1).normal(size=(12, 2)).round(2)
    batch = {"mode": "mini-batch", "size": 4, "shuffle": False}
    loaded = loaded_of({
        "data": {"x": x.tolist(), "y": [1] * 12}, "loss": "mse", "optimizer": {"name": "sgd", "lr": 0}, "batch": batch,
        "model": {"type": "mlp", "layers": [2, 3, 2, 1], "activation": "tanh", "init": {"*": 1}}, "dtype": "float64",
    })  # fmt: skip
    (found,) = quantities(loaded, ["h1_2[6]"], step=2)
    assert found.value == pytest.approx(np.tanh(x[5].sum() + 1), rel=1e-14)
    with pytest.raises(SpecError) as caught:
        quantities(loaded, [name], step=2)
    assert str(caught.value) == f"--only: there is no '{name}' here. {hint}"


def test_a_later_step_has_the_engines_rows_parameters_and_gradient() -> None:
    from itertools import chain, islice

    random = np.random.default_rng(0)
    loaded = loaded_of({
        "data": {"x": random.normal(0, 1, (10, 2)).tolist(), "y": random.normal(0, 1, (10, 1)).tolist()},
        "model": {"type": "mlp", "layers": [2, 3, 1], "activation": "tanh", "freeze": ["linear2.bias"]},
        "loss": "mse", "optimizer": {"name": "adam", "lr": 0.1, "groups": {"linear1.*": {"lr": 0.2}}},
        "batch": {"mode": "mini-batch", "size": 3}, "epochs": 3, "dtype": "float64",
    })  # fmt: skip
    built = build(loaded)
    for t, rows in enumerate(islice(chain.from_iterable(built.batches.epoch() for _ in range(3)), 6), 1):
        built.kernel.step(rows.x, rows.y)
        before = {slot.name: built.theta.view(slot).flatten().tolist() for slot in built.theta.slots}
        for update in built.updates:
            update.bound.update(update.lr, t)
    point = point_of(loaded, 6)
    assert list(point.rows) == rows.index.tolist()
    assert np.ravel(point.parameters["linear1.weight"]).tolist() == before["linear1.weight"]
    found = {one.key: one.value for one in explain(loaded, 6).quantities()}
    after = [value for slot in built.theta.trained for value in built.theta.view(slot).flatten().tolist()]
    names = ["w1", "w2", "w3", "w4", "w5", "w6", "b1", "b2", "b3", "w7", "w8", "w9"]
    assert [found[f"new_{name}"] for name in names] == pytest.approx(after, rel=1e-12)
    assert "new_b4" not in found


def test_torchs_own_layers_are_refused() -> None:
    from gdcli.errors import SpecError
    from tests.commands.explain.helpers import bundled_of

    with pytest.raises(SpecError, match="sequential"):
        explain(bundled_of("linear_regression_nn"))
