"""Training by the engine has the bits of the plain torch loop: weights, gradients and losses, for every update rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_torch import (
    DTYPES,
    TORCHS_ACTIVATIONS,
    Plain,
    Spec,
    Trained,
    batches,
    built,
    chained,
    loop,
    mlp,
    same_bits,
    trained,
)
from torch import Tensor, nn

from gdcli.engine.batches import as_tensors
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.table import Table

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {"lr": 0.5}),
    ("sgd", {"lr": 0.1, "momentum": 0.9}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    ("sgd", {"lr": 0.3, "momentum": 0.5, "dampening": 0.5, "weight_decay": 0.01}),
    ("sgd", {"lr": 1e-3, "momentum": 0.1, "maximize": True}),
    ("adagrad", {"lr": 0.1}),
    ("adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.01, "initial_accumulator_value": 0.1}),
    ("rmsprop", {"lr": 0.01}),
    ("rmsprop", {"lr": 0.01, "momentum": 0.5, "alpha": 0.9}),
    ("rmsprop", {"lr": 0.003, "centered": True, "momentum": 0.5, "weight_decay": 0.01, "eps": 1e-4}),
    ("adam", {"lr": 0.01}),
    ("adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.01, "betas": [0.8, 0.9]}),
    ("adam", {"lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("adamw", {"lr": 0.01}),
    ("adamw", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.3}),
    ("adadelta", {}),
    ("adadelta", {"lr": 2.0, "rho": 0.5, "weight_decay": 0.01}),
    ("adamax", {}),
    ("adamax", {"lr": 0.01, "betas": [0.5, 0.9], "weight_decay": 0.01}),
    ("nadam", {}),
    ("nadam", {"lr": 0.01, "momentum_decay": 0.1, "weight_decay": 0.01, "decoupled_weight_decay": True}),
    ("radam", {"lr": 0.01}),
    ("radam", {"lr": 0.01, "weight_decay": 0.01, "betas": [0.5, 0.9], "decoupled_weight_decay": True}),
    ("rprop", {"lr": 0.01}),
    ("rprop", {"lr": 0.01, "etas": [0.3, 1.5], "step_sizes": [1e-4, 0.5]}),
    ("asgd", {"lr": 0.1}),
    ("asgd", {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "t0": 50, "weight_decay": 0.01}),
]
ENGINES = ("by_hand", "autograd")
ACTIVATION = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "none": None}


def _ids(value: object) -> str | None:
    return " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None


every_rule = pytest.mark.parametrize(("rule", "settings"), SETTINGS, ids=_ids)


def optimizer_of(rule: str, settings: dict[str, Any], parameters: Any) -> torch.optim.Optimizer:
    """torch's class of the name, with ``foreach=False``: one tensor at a time, as the documents of torch write it."""
    by_lower_name = {name.lower(): name for name in dir(torch.optim)}
    found: torch.optim.Optimizer = getattr(torch.optim, by_lower_name[rule])(parameters, foreach=False, **settings)
    return found


def assert_same(run: Trained, plain: Plain, names: list[str]) -> None:
    assert run.outcome.status == "finished"
    assert [p.name for p in run.outcome.parameters] == names
    assert torch.tensor(plain.losses).isfinite().all()  # else the comparison would say little
    assert run.column("loss").tolist() == plain.losses
    assert same_bits(torch.from_numpy(run.column("gradients")), torch.stack(plain.gradients))
    for name, theirs in zip(names, plain.weights[-1], strict=True):
        assert same_bits(run.weights[name], theirs), name


def names_of(layers: int) -> list[str]:
    return [f"linear{k}.{part}" for k in range(1, layers + 1) for part in ("weight", "bias")]


def test_every_rule_is_here() -> None:
    assert {rule for rule, _ in SETTINGS} == set(OPTIMIZERS)


# --- the 2-2-2 net of the documents -----------------------------------------------------------------------------------


NET = {
    "linear1.weight": [[0.15, 0.20], [0.25, 0.30]],
    "linear1.bias": [0.35],
    "linear2.weight": [[0.40, 0.45], [0.50, 0.55]],
    "linear2.bias": [0.60],
}


def net(shared: bool) -> dict[str, Any]:
    return {name: value * (1 if shared or len(value) > 1 else 2) for name, value in NET.items()}


@pytest.mark.parametrize("shared", [True, False], ids=["shared bias", "own bias"])
@every_rule
def test_200_steps_of_the_documents_net(rule: str, settings: dict[str, Any], shared: bool) -> None:
    dtype = ("float32", "float64")[(SETTINGS.index((rule, settings)) + shared) % 2]
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    for k, layer in enumerate(layers, 1):
        for part in ("weight", "bias"):
            values = torch.tensor(net(shared)[f"linear{k}.{part}"], dtype=DTYPES[dtype])
            setattr(layer, part, nn.Parameter(values))
    parameters = [p for layer in layers for p in layer.parameters()]
    x, y = torch.tensor([[0.05, 0.10]], dtype=DTYPES[dtype]), torch.tensor([[0.01, 0.99]], dtype=DTYPES[dtype])
    plain = loop(
        parameters,
        chained(layers, [torch.sigmoid, torch.sigmoid]),
        lambda o, t: torch.sum((o - t) ** 2) / 2,
        optimizer_of(rule, settings, parameters),
        [(x, y)] * 200,
    )
    spec = {
        "data": {"x": [[0.05, 0.10]], "y": [[0.01, 0.99]]},
        "model": {
            "type": "mlp",
            "layers": [2, 2, 2],
            "activation": "sigmoid",
            "output_activation": "sigmoid",
            "init": net(shared),
        },
        "loss": "half_sse",
        "optimizer": {"name": rule, **settings},
        "epochs": 200,
        "dtype": dtype,
    }
    for engine in ENGINES:
        run = trained({**spec, "engine": engine}, ["gradients"])
        assert run.built.kernel_name == engine
        assert_same(run, plain, names_of(2))


# --- three layers, mini-batches ---------------------------------------------------------------------------------------


def table(rows: int, inputs: int, outputs: int) -> tuple[list[list[float]], list[list[float]]]:
    draw = np.random.default_rng(3)
    return draw.normal(size=(rows, inputs)).tolist(), draw.normal(size=(rows, outputs)).tolist()


X, Y = table(13, 5, 3)  # 13 rows: the last batch of 4 has one row, the last of 10 three
SIZES = [5, 7, 6, 3]
EPOCHS = {1: 16, 4: 50, 10: 100}  # 208, 200 and 200 steps


def mini_batch_spec(size: int, shuffle: bool, activation: str, dtype: str, **more: Any) -> Spec:
    return {
        "data": {"x": X, "y": Y},
        "model": {"type": "mlp", "layers": SIZES, "activation": activation},
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.05},
        "batch": {"mode": "mini-batch", "size": size, "shuffle": shuffle},
        "epochs": EPOCHS[size],
        "seed": 11,
        "dtype": dtype,
        **more,
    }


def mini_batches(size: int, shuffle: bool, dtype: str) -> Any:
    x, y = torch.tensor(X, dtype=DTYPES[dtype]), torch.tensor(Y, dtype=DTYPES[dtype])
    return batches(x, y, size, EPOCHS[size], shuffle=shuffle, seed=11)


@pytest.mark.parametrize("size", EPOCHS)
@every_rule
def test_200_steps_of_mini_batches(rule: str, settings: dict[str, Any], size: int) -> None:
    which = SETTINGS.index((rule, settings)) + list(EPOCHS).index(size)  # each rule meets both of each
    dtype, shuffle = ("float32", "float64")[which % 2], which // 2 % 2 == 0
    activation = ("relu", "tanh")[which // 3 % 2]
    layers = mlp(SIZES, DTYPES[dtype], seed=11)
    parameters = [p for layer in layers for p in layer.parameters()]
    forward = chained(layers, [ACTIVATION[activation]] * 2 + [None])
    optimizer = optimizer_of(rule, settings, parameters)
    plain = loop(parameters, forward, nn.MSELoss(), optimizer, mini_batches(size, shuffle, dtype))
    assert len(plain.losses) >= 200
    spec = mini_batch_spec(size, shuffle, activation, dtype, optimizer={"name": rule, **settings})
    for engine in ENGINES if size == 4 else ENGINES[:1]:
        assert_same(trained({**spec, "engine": engine}, ["gradients"]), plain, names_of(3))


# --- every width ------------------------------------------------------------------------------------------------------


def assert_bits_of_a_plain_loop(sizes: list[int], size: int, rows: int, activation: str, dtype: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(rows, sizes[0])), draw.normal(size=(rows, sizes[-1]))
    layers = mlp(sizes, DTYPES[dtype], seed)
    parameters = [p for layer in layers for p in layer.parameters()]
    forward = chained(layers, [TORCHS_ACTIVATIONS[activation]] * (len(layers) - 1) + [None])
    steps = batches(torch.tensor(x, dtype=DTYPES[dtype]), torch.tensor(y, dtype=DTYPES[dtype]), size, 3)
    plain = loop(parameters, forward, nn.MSELoss(), optimizer_of("sgd", {"lr": 0.05}, parameters), steps)
    spec = {
        "data": {"x": x.tolist(), "y": y.tolist()},
        "model": {"type": "mlp", "layers": sizes, **({"activation": activation} if len(sizes) > 2 else {})},
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.05},
        "batch": {"mode": "mini-batch", "size": size, "shuffle": False},
        "epochs": 3,
        "seed": seed,
        "dtype": dtype,
        "engine": "by_hand",
    }
    run = trained(spec, ["gradients"])
    assert run.column("loss").tolist() == plain.losses
    assert same_bits(torch.from_numpy(run.column("gradients")), torch.stack(plain.gradients))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wide", range(1, 41))
def test_a_layer_of_one_unit_before_one_of_any_width(wide: int, dtype: str) -> None:
    """Autograd multiplies the transposed operands where a layer's input is a single number."""
    assert_bits_of_a_plain_loop([2, 1, wide, 3], 1, 2, "tanh", dtype, seed=wide)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [name for name in TORCHS_ACTIVATIONS if name not in ("sign_ste", "log_softmax")])
def test_wide_layers_which_write_over_those_of_the_batch_before(activation: str, dtype: str) -> None:
    """64 x 256 values of a layer and more have memory of their own; those of the last batch, 36 rows, have none.

    Gradient descent diverges after a log softmax.
    """
    assert_bits_of_a_plain_loop([6, 256, 300, 3], 64, 100, activation, dtype, seed=1)


def test_rows_in_another_dtype_are_those_that_torch_rounds_and_begin_where_memory_of_their_own_does() -> None:
    x = np.random.default_rng(0).normal(size=(3000, 401))
    x[0, :3] = 1e300, np.nan, -0.0
    rows = Table(x, np.zeros((len(x), 1)), ("x",), ("y",))
    ((found, _),) = as_tensors([rows], "mse", torch.float32, torch.device("cpu"), (401,))
    assert found.data_ptr() % 64 == 0
    assert found.is_contiguous()
    assert same_bits(found, torch.from_numpy(x).to(torch.float32))


@pytest.mark.slow
@given(
    sizes=st.lists(st.one_of(st.just(1), st.integers(1, 40)), min_size=2, max_size=4),
    size=st.integers(1, 4),
    rows=st.integers(1, 9),
    activation=st.sampled_from([name for name in TORCHS_ACTIVATIONS if name != "sign_ste"]),
    dtype=st.sampled_from([*DTYPES]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_width_batch_and_activation(
    sizes: list[int], size: int, rows: int, activation: str, dtype: str, seed: int
) -> None:
    assert_bits_of_a_plain_loop(sizes, size, rows, activation, dtype, seed)


# --- groups, freeze ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["sgd", "adam", "rmsprop", "asgd"])
def test_groups_are_torchs_parameter_groups(rule: str, dtype: str) -> None:
    layers = mlp(SIZES, DTYPES[dtype], seed=11)
    first, second, third = layers
    parameters = [p for layer in layers for p in layer.parameters()]
    groups = [
        {"params": first.parameters(), "lr": 0.001},
        {"params": [second.weight, third.weight]},
        {"params": [second.bias, third.bias], "lr": 0.02, "weight_decay": 0.1},
    ]
    optimizer = optimizer_of(rule, {"lr": 0.01}, groups)
    forward = chained(layers, [torch.tanh, torch.tanh, None])
    plain = loop(parameters, forward, nn.MSELoss(), optimizer, mini_batches(10, True, dtype))
    patterns = {"*.bias": {"lr": 0.02, "weight_decay": 0.1}, "linear1.*": {"lr": 0.001}}  # the last that matches
    rule_with_groups = {"name": rule, "lr": 0.01, "groups": patterns}
    for engine in ENGINES:
        spec = mini_batch_spec(10, True, "tanh", dtype, engine=engine, optimizer=rule_with_groups)
        assert_same(trained(spec, ["gradients"]), plain, names_of(3))


@pytest.mark.parametrize(
    "frozen",
    [["linear1.weight"], ["linear1.*"], ["*.bias"], ["linear2.*"], ["linear3.*", "linear1.bias"], ["linear[12].*"]],
    ids=" ".join,
)
def test_freeze_is_requires_grad_false(frozen: list[str]) -> None:
    layers = mlp(SIZES, torch.float32, seed=11)
    parameters = [p for layer in layers for p in layer.parameters()]
    of = {  # the patterns by hand
        "linear1.weight": [0], "linear1.*": [0, 1], "*.bias": [1, 3, 5], "linear2.*": [2, 3], "linear3.*": [4, 5],
        "linear1.bias": [1], "linear[12].*": [0, 1, 2, 3],
    }  # fmt: skip
    for pattern in frozen:
        for k in of[pattern]:
            parameters[k].requires_grad_(False)
    optimizer = optimizer_of("adam", {"lr": 0.01}, [p for p in parameters if p.requires_grad])
    forward = chained(layers, [torch.relu, torch.relu, None])
    plain = loop(parameters, forward, nn.MSELoss(), optimizer, mini_batches(10, False, "float32"))
    for engine in ENGINES:
        adam = {"name": "adam", "lr": 0.01}
        spec = mini_batch_spec(10, False, "relu", "float32", engine=engine, optimizer=adam)
        spec["model"]["freeze"] = frozen
        run = trained(spec, ["gradients"])
        assert_same(run, plain, names_of(3))
        assert [p.trained for p in run.outcome.parameters] == [p.requires_grad for p in parameters]


def test_the_column_of_parameters_has_every_step_in_the_models_order_with_the_frozen() -> None:
    layers = mlp(SIZES, torch.float64, seed=11)
    parameters = [p for layer in layers for p in layer.parameters()]
    parameters[0].requires_grad_(False)
    optimizer = optimizer_of("sgd", {"lr": 0.05}, parameters)
    forward = chained(layers, [torch.relu, torch.relu, None])
    plain = loop(parameters, forward, nn.MSELoss(), optimizer, mini_batches(10, True, "float64"))
    spec = mini_batch_spec(10, True, "relu", "float64")
    spec["model"]["freeze"] = ["linear1.weight"]
    run = trained(spec, ["parameters"])
    theirs = torch.stack([torch.cat([p.flatten() for p in step]) for step in plain.weights])
    assert same_bits(torch.from_numpy(run.column("parameters")), theirs)


# --- the start --------------------------------------------------------------------------------------------------------


def evaluated(spec: Spec) -> Spec:
    return {"epochs": 0, "print": {"style": "loss"}, "loss": "mse", **spec}


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [[5, 3], [5, 9, 4, 3]], ids=str)
def test_initial_weights_are_a_bare_scripts(sizes: list[int], bias: bool, dtype: str, seed: int) -> None:
    model: Spec = {"type": "mlp", "layers": sizes, "bias": bias}
    if len(sizes) == 2:
        model = {"type": "linear", "bias": bias}
    start = trained(evaluated({"data": {"x": X, "y": Y}, "model": model, "dtype": dtype, "seed": seed})).start
    theirs = [p for layer in mlp(sizes, DTYPES[dtype], seed, bias) for p in layer.parameters()]
    assert len(start.parameters) == len(theirs)
    assert start.dtype == dtype
    for ours, their in zip(start.parameters, theirs, strict=True):
        assert same_bits(torch.from_numpy(ours.values), their.detach())


def bare_sequential(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(5, 8, dtype=dtype),
        nn.BatchNorm1d(8, dtype=dtype),
        nn.PReLU(dtype=dtype),
        nn.Dropout(0.25),
        nn.Linear(8, 3, dtype=dtype),
    )


SEQUENTIAL = [
    {"layer": "Linear", "in_features": 5, "out_features": 8},
    {"layer": "BatchNorm1d", "num_features": 8},
    "PReLU",
    {"layer": "Dropout", "p": 0.25},
    {"layer": "Linear", "in_features": 8, "out_features": 3},
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sequential_model_with_dropout_is_a_bare_script(dtype: str) -> None:
    """Start, losses, gradients and weights, so also the random numbers of dropout."""
    rows = 12  # BatchNorm1d needs more than one row a batch
    x, y = torch.tensor(X[:rows], dtype=DTYPES[dtype]), torch.tensor(Y[:rows], dtype=DTYPES[dtype])
    module = bare_sequential(DTYPES[dtype])
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    parameters = list(module.parameters())
    optimizer = optimizer_of("adam", {"lr": 0.01}, parameters)
    plain = loop(parameters, module, nn.MSELoss(), optimizer, batches(x, y, 4, 35))
    spec = {
        "data": {"x": X[:rows], "y": Y[:rows]},
        "model": {"type": "sequential", "layers": SEQUENTIAL},
        "loss": "mse",
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch": {"mode": "mini-batch", "size": 4, "shuffle": False},
        "epochs": 35,
        "seed": 5,
        "dtype": dtype,
    }
    run = trained(spec, ["gradients"])
    assert {p.name for p in run.start.parameters} == set(start)
    assert all(same_bits(torch.from_numpy(p.values), start[p.name]) for p in run.start.parameters)
    assert_same(run, plain, list(start))


@pytest.mark.parametrize("dtype", DTYPES)
def test_init_by_name_and_distribution_draws_after_the_layers_in_its_order(dtype: str) -> None:
    layers = mlp([5, 4, 3], DTYPES[dtype], seed=9)
    with torch.no_grad():
        nn.init.normal_(layers[1].weight, 1.0, 0.5)
        nn.init.xavier_uniform_(layers[0].weight)
        nn.init.uniform_(layers[0].bias, -0.1, 0.1)
        nn.init.uniform_(layers[1].bias, -0.1, 0.1)
    init = {
        "linear2.weight": {"normal": [1.0, 0.5]},
        "linear1.weight": "xavier_uniform",
        "*.bias": {"uniform": [-0.1, 0.1]},
    }
    model = {"type": "mlp", "layers": [5, 4, 3], "init": init}
    made = built(evaluated({"data": {"x": X, "y": Y}, "model": model, "dtype": dtype, "seed": 9}))
    theirs = [p.detach() for layer in layers for p in layer.parameters()]
    for slot, their in zip(made.theta.slots, theirs, strict=True):
        assert same_bits(made.theta.view(slot), their)


# --- objectives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rule", "settings"), [("sgd", {"lr": 1e-3}), ("adam", {"lr": 0.05}), ("rprop", {})])
def test_an_objective_is_the_same_expression_in_python(rule: str, settings: dict[str, Any], dtype: str) -> None:
    x, y = (torch.tensor(v, dtype=DTYPES[dtype], requires_grad=True) for v in (-1.2, 1.0))

    def value(_: Tensor) -> Tensor:
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2 + torch.exp(-x * y) / 3

    optimizer = optimizer_of(rule, settings, [x, y])
    nothing = torch.zeros(0)
    plain = loop([x, y], value, lambda o, t: o, optimizer, [(nothing, nothing)] * 200)
    expression = "(1 - x)**2 + 100*(y - x**2)**2 + exp(-x*y)/3"
    spec = {
        "model": {"type": "objective", "expression": expression, "start": {"x": -1.2, "y": 1.0}},
        "optimizer": {"name": rule, **settings},
        "epochs": 200,
        "dtype": dtype,
    }
    assert_same(trained(spec, ["gradients"]), plain, ["x", "y"])
