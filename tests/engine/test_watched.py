"""`watch`: the gradients at inputs and intermediate values are those of torch.autograd, whichever kernel finds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine.gradient_log import keep_of
from gdcli.engine.loop import Loop
from gdcli.engine.problem import TrainingProblem, build
from gdcli.errors import SpecError
from gdcli.records import Block, Outcomes
from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.schema import parse

ACTIVATIONS = {
    "none": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
    "softmax": lambda z: torch.softmax(z, -1), "softplus": torch.nn.functional.softplus,
}  # fmt: skip
LOSSES = {
    "mse": torch.nn.functional.mse_loss, "smooth_l1": torch.nn.functional.smooth_l1_loss,
    "sse": lambda o, t: ((o - t) ** 2).sum(), "half_sse": lambda o, t: ((o - t) ** 2).sum() / 2,
}  # fmt: skip


def loaded_of(spec: dict[str, Any]) -> Loaded:
    import json

    return load(parse(read(json.dumps(spec), "f"), "watched"), Path())


def blocks_of(built: TrainingProblem) -> list[Block]:
    events = Loop(built, (), keep_of(built)).events()
    return [event for event in events if not isinstance(event, Outcomes)]


def watched_of(loaded: Loaded) -> tuple[tuple[str, ...], NDArray[Any]]:
    built = build(loaded)
    assert built.watched is not None
    rows = np.concatenate([block.watched[:, 0] for block in blocks_of(built) if block.watched is not None])
    return built.watched.names, rows


class RandomNet:
    """A net of random sizes, its data, and its passes by torch alone."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        depth = int(rng.integers(1, 4))
        self.layers = [int(n) for n in rng.integers(1, 5, depth + 1)]
        self.rows = int(rng.integers(1, 5))
        self.activation = str(rng.choice([name for name in ACTIVATIONS if name != "none"])) if depth > 1 else "relu"
        self.output = str(rng.choice(list(ACTIVATIONS)))
        self.loss = str(rng.choice(list(LOSSES)))
        self.x, self.y = rng.normal(size=(self.rows, self.layers[0])), rng.normal(size=(self.rows, self.layers[-1]))
        self.weights = [
            (rng.normal(size=(after, before)), rng.normal(size=after))
            for before, after in zip(self.layers, self.layers[1:], strict=False)
        ]

    @property
    def heads(self) -> list[str]:
        """The names of the layers' outputs, the input first."""
        hidden = len(self.layers) - 2
        return ["x", *(["h"] if hidden == 1 else [f"h{k + 1}" for k in range(hidden)]), "o"]

    def names(self) -> list[str]:
        found = list(self.heads)
        for head, name in zip(self.heads[1:], self.activations, strict=True):
            found += [f"net_{head}"] if name != "none" else []
        return found + [f"linear{k}.output" for k in range(1, len(self.layers))]

    @property
    def activations(self) -> list[str]:
        return [self.activation] * (len(self.layers) - 2) + [self.output]

    def spec(self, **changes: Any) -> dict[str, Any]:
        init = {}
        for k, (weight, bias) in enumerate(self.weights, 1):
            init |= {f"linear{k}.weight": weight.tolist(), f"linear{k}.bias": bias.tolist()}
        model = {"type": "mlp", "layers": self.layers, "output_activation": self.output, "init": init}
        if len(self.layers) > 2:
            model["activation"] = self.activation
        return {
            "data": {"x": self.x.tolist(), "y": self.y.tolist()}, "model": model, "loss": self.loss,
            "optimizer": {"name": "sgd", "lr": 0.01}, "dtype": "float64", "watch": self.names(), **changes,
        }  # fmt: skip

    def by_torch(self, part: slice = slice(None)) -> dict[str, NDArray[Any]]:
        """Return the gradients of the first step's loss at every value of its rows, by torch.autograd."""
        a = torch.tensor(self.x[part]).requires_grad_()
        values: dict[str, Tensor] = {"x": a}
        for k, (head, (weight, bias), name) in enumerate(
            zip(self.heads[1:], self.weights, self.activations, strict=True), 1
        ):
            z = a @ torch.tensor(weight).T + torch.tensor(bias)
            a = ACTIVATIONS[name](z)
            values |= {f"net_{head}": z, f"linear{k}.output": z, head: a}
        loss = LOSSES[self.loss](a, torch.tensor(self.y[part]))
        found = torch.autograd.grad(loss, list(values.values()))
        return {name: gradient.numpy() for name, gradient in zip(values, found, strict=True)}


def as_row(found: dict[str, NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    return np.concatenate([found[name].reshape(-1) for name in names])


@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
@pytest.mark.parametrize("seed", range(10))
def test_the_gradients_at_all_values_of_a_random_net_are_autograds(seed: int, engine: str) -> None:
    net = RandomNet(seed)
    names, rows = watched_of(loaded_of(net.spec(engine=engine)))
    expected = as_row(net.by_torch(), net.names())
    assert len(names) == len(expected)
    np.testing.assert_allclose(rows[0], expected, rtol=1e-12, atol=1e-12)
    assert np.abs(expected).max() > 1e-6  # not all of them are 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(10))
def test_both_engines_have_the_same_bits_and_watching_changes_no_weight(seed: int, dtype: str) -> None:
    net = RandomNet(seed)
    found = []
    for changes in ({"engine": "by_hand"}, {"engine": "autograd"}):
        built = build(loaded_of(net.spec(dtype=dtype, epochs=4, **changes)))
        seen = np.concatenate([block.watched for block in blocks_of(built) if block.watched is not None])
        found.append((seen.tobytes(), built.theta.values.numpy().tobytes()))
    assert found[0] == found[1]
    spec = net.spec(dtype=dtype, epochs=4)
    del spec["watch"]
    plain = build(loaded_of(spec))
    assert all(block.watched is None for block in blocks_of(plain))
    assert plain.theta.values.numpy().tobytes() == found[0][1]


def test_single_neurons_are_the_columns_of_their_layer() -> None:
    net = RandomNet(3)
    assert len(net.layers) > 3  # several hidden layers
    whole = net.by_torch()
    names, rows = watched_of(loaded_of(net.spec(watch=["h2_1", "net_h1_1", "x1", "o1"])))
    expected = np.concatenate([whole[name][:, 0] for name in ("h2", "net_h1", "x", "o")])
    np.testing.assert_allclose(rows[0], expected, rtol=1e-12, atol=1e-14)
    assert names[0] == ("h2_1[0]" if net.rows > 1 else "h2_1")


@pytest.mark.parametrize("freeze", [["linear1.*"], ["*"]])
def test_values_below_frozen_layers_have_their_gradients_too(freeze: list[str]) -> None:
    net = RandomNet(3)
    spec = net.spec()
    spec["model"]["freeze"] = freeze
    for engine in ("by_hand", "autograd"):
        _, rows = watched_of(loaded_of({**spec, "engine": engine}))
        np.testing.assert_allclose(rows[0], as_row(net.by_torch(), net.names()), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
def test_of_a_smaller_last_batch_the_rows_that_it_has_not_are_nan(engine: str) -> None:
    net = next(net for net in map(RandomNet, range(40)) if net.rows == 3)
    batch = {"size": 2, "shuffle": False}
    spec = net.spec(engine=engine, batch=batch, watch=["x"], optimizer={"name": "sgd", "lr": 0.0})
    _, rows = watched_of(loaded_of(spec))
    rows = rows.reshape(2, 2, -1)  # steps, rows of a step, features
    np.testing.assert_allclose(rows[0], net.by_torch(slice(0, 2))["x"], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(rows[1, 0], net.by_torch(slice(2, 3))["x"][0], rtol=1e-12, atol=1e-14)
    assert np.isnan(rows[1, 1]).all()


def test_a_step_in_passes_has_the_gradients_of_one_batch_of_their_rows() -> None:
    net = next(net for net in map(RandomNet, range(80)) if net.rows == 4 and net.loss == "mse")
    spec = net.spec(batch={"size": 3, "accumulate": 2, "shuffle": False})
    for engine in ("by_hand", "autograd"):
        _, rows = watched_of(loaded_of({**spec, "engine": engine}))
        np.testing.assert_allclose(rows[0], as_row(net.by_torch(), net.names()), rtol=1e-12, atol=1e-14)


# --- torch's layers ---------------------------------------------------------------------------------------------------

LAYERS = [
    {"layer": "Conv2d", "name": "conv", "out_channels": 2, "kernel_size": 3}, "ReLU",
    {"residual": [{"layer": "Conv2d", "out_channels": 2, "kernel_size": 1}]}, "Flatten",
    {"layer": "Linear", "name": "linear1", "out_features": 4}, "ReLU",
    {"layer": "Linear", "out_features": 3},
]  # fmt: skip


def digits_like(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 16)), rng.integers(0, 3, 4)
    y[:3] = range(3)
    data = {"x": x.tolist(), "y": y.tolist(), "shape": [1, 4, 4]}
    return {
        "data": data, "model": {"type": "sequential", "layers": LAYERS}, "loss": "cross_entropy", "dtype": "float64",
        "optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 2, **changes,
    }  # fmt: skip


def test_layers_of_a_sequential_model_are_watched_by_name() -> None:
    watch = ["x", "conv.output", "1", "2.0.output", "2", "linear1.output", "5"]
    built = build(loaded_of(digits_like(watch=watch)))
    assert built.module is not None
    plain = build(loaded_of(digits_like()))  # the same seed, the same weights
    assert plain.module is not None
    module, values = plain.module, {}
    x = plain.batches.x.clone().requires_grad_()
    conv, _, residual, flatten, linear, _, last = module.children()
    values["x"], values["conv"] = x, conv(x)
    values["1"] = torch.relu(values["conv"])
    values["2.0"] = residual[0](values["1"])  # type: ignore[index]
    values["2"] = values["1"] + values["2.0"]
    values["linear1"] = linear(flatten(values["2"]))
    values["5"] = torch.relu(values["linear1"])
    loss = torch.nn.functional.cross_entropy(last(values["5"]), plain.batches.y)
    expected = torch.cat([each.reshape(-1) for each in torch.autograd.grad(loss, list(values.values()))])
    assert built.watched is not None
    first = blocks_of(built)[0]
    assert first.watched is not None
    np.testing.assert_allclose(first.watched[0, 0], expected.numpy(), rtol=1e-12, atol=1e-14)
    assert built.watched.names[0] == "x[0,0,0,0]"
    blocks_of(plain)
    assert built.theta.values.numpy().tobytes() == plain.theta.values.numpy().tobytes()


@pytest.mark.slow
def test_above_a_frozen_embedding_the_gradients_are_those_above_a_trained_one() -> None:
    layers = [{"layer": "Embedding", "name": "table", "num_embeddings": 3, "embedding_dim": 2}, "Flatten",
              {"layer": "Linear", "out_features": 2}]  # fmt: skip
    spec = digits_like(watch=["table"], data={"x": [[0, 1], [2, 1], [1, 0]], "y": [0, 1, 1]}, epochs=1)
    found = []
    for freeze in ([], ["table.*"], ["*"]):
        model = {"type": "sequential", "layers": layers, "freeze": freeze}
        _, rows = watched_of(loaded_of({**spec, "model": model}))
        found.append(rows[0])
    np.testing.assert_array_equal(found[1:], found[:1] * 2)
    assert np.abs(found[0]).min() > 0


@pytest.mark.parametrize(
    ("watch", "told"),
    [
        (["linear"], "Did you mean 'linear1'?"),
        (["linear1.weight"], "there is no value of this name"),
        (["x", "conv", "1", "2", "2.0", "3", "h"], "watch[6]"),
    ],
)
def test_a_name_that_no_layer_has_is_told_with_the_nearest(watch: list[str], told: str) -> None:
    with pytest.raises(SpecError) as error:
        loaded_of(digits_like(watch=watch))
    assert told in str(error.value)


def test_more_than_a_thousand_columns_of_a_layer_are_refused_once_it_is_built() -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(40, 16)).tolist(), "y": rng.integers(0, 3, 40).tolist(), "shape": [1, 4, 4]}
    loaded = loaded_of(digits_like(data=data, watch=["conv"]))
    watched = build(loaded).watched
    assert watched is not None
    assert len(watched.names) == 320
    with pytest.raises(SpecError, match="32 numbers of each of 40 rows would be 1,280 columns"):
        build(loaded_of(digits_like(data=data, watch=["x", "conv", "1"])))


# --- a plugin's module ------------------------------------------------------------------------------------------------

PLUGIN = """
import torch
from torch import nn
import gdcli


@gdcli.model
class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.act = nn.Linear(inputs, 3), nn.ReLU(inplace=True)
        self.last, self.idle, self.unused = nn.Linear(3, outputs), nn.Linear(2, 2), nn.Linear(inputs, 1)

        if NAMED_X:
            self.x = nn.Parameter(torch.ones(1))

    def forward(self, x):
        self.unused(x)
        return self.last(self.act(self.act(self.first(x)) if TWICE else self.first(x)))
"""


@pytest.fixture
def plugged(tmp_path: Path, without_plugins: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    from gdcli.zoo import plugins

    monkeypatch.chdir(tmp_path)

    def loaded(watch: list[str], *, twice: bool = False, named_x: bool = False, **changes: Any) -> Loaded:
        Path("net.py").write_text(PLUGIN.replace("TWICE", str(twice)).replace("NAMED_X", str(named_x)))
        plugins.load(["net.py"])
        rng = np.random.default_rng(0)
        data = {"x": rng.normal(size=(3, 2)).tolist(), "y": rng.normal(size=(3, 1)).tolist()}
        return loaded_of({
            "data": data, "model": {"type": "Net"}, "loss": "mse", "optimizer": "sgd", "dtype": "float64",
            "watch": watch, **changes,
        })  # fmt: skip

    return loaded


def test_parts_of_a_plugins_module_are_watched_before_a_layer_that_works_in_place(plugged: Any) -> None:
    built = build(plugged(["x", "first.output", "act"]))
    assert built.module is not None
    first, last = built.module.first, built.module.last
    x = built.batches.x.clone().requires_grad_()
    z = torch.nn.functional.linear(x, first.weight.detach(), first.bias.detach())
    a = torch.relu(z)
    output = torch.nn.functional.linear(a, last.weight.detach(), last.bias.detach())
    expected = torch.autograd.grad(torch.nn.functional.mse_loss(output, built.batches.y), [x, z, a])
    (block,) = blocks_of(built)
    assert block.watched is not None
    np.testing.assert_allclose(
        block.watched[0, 0], torch.cat([each.reshape(-1) for each in expected]), rtol=1e-12, atol=1e-15
    )


def test_a_value_that_the_loss_does_not_depend_on_has_0_for_the_rows_of_a_step(plugged: Any) -> None:
    _, rows = watched_of(plugged(["unused"], batch={"size": 2}))
    np.testing.assert_array_equal(rows, [[0, 0], [0, np.nan]])


def test_a_parameter_with_the_name_of_the_inputs_is_told(plugged: Any) -> None:
    with pytest.raises(SpecError, match="a parameter of the module has this name too"):
        build(plugged(["x"], named_x=True))


@pytest.mark.parametrize(
    ("watch", "twice", "told"),
    [
        ("firs", False, "the module has no part of this name (got 'firs'). Known: x, first.output"),
        ("idle", False, "the part 'idle' works in no step"),
        ("act", True, "the part 'act' works 2 times in a step"),
    ],
)
def test_a_part_that_cannot_be_watched_is_told(plugged: Any, watch: str, twice: bool, told: str) -> None:
    loaded = plugged([watch], twice=twice)
    with pytest.raises(SpecError) as error:
        build(loaded)
    assert told in str(error.value)
