"""A run of a fleet against `gdcli run` on the same spec: the bits of the 2-2-2 net with one sample, else closeness."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from many import (
    BITS_OF_RUN,
    CLOSE,
    COLUMNS,
    NET,
    OF_CLASSES,
    Together,
    alone,
    assert_as_run,
    flat,
    gap,
    joined,
    mlp,
    net,
    rates,
    rows,
    together,
    varied,
)
from plain_torch import DTYPES, chained, loop, same_bits
from torch import Tensor, nn

from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.optimizers import OPTIMIZERS

ELEMENTWISE = sorted(set(ACTIVATIONS) - {"softmax", "log_softmax"})
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
ALL = (*COLUMNS, "gradient_norm", "step", "epoch", "batch", "last", "lr")


def assert_runs_of_net(runs: Any, dtype: str) -> Together:
    fleet = together(runs, COLUMNS)
    assert fleet.fleet.kernel_name == "elementwise"
    for k, run in enumerate(runs):
        assert_as_run(fleet, k, alone(run, COLUMNS), ALL, dtype)
    return fleet


# --- the 2-2-2 net with one sample ------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_every_activation_of_elements(activation: str, dtype: str) -> None:
    """Seeds draw other start values than the documents', on both sides of zero."""
    spec = net(dtype=dtype)
    spec["model"] = {**spec["model"], "activation": activation, "output_activation": activation}
    documents = varied(spec, rates(2, 0.05, 0.5))
    del spec["model"]["init"]
    assert_runs_of_net(documents, dtype)
    assert_runs_of_net(varied(spec, rates(5, 0.05, 0.5, seeds=5)), dtype)


@every_dtype
@pytest.mark.parametrize("loss", sorted(set(LOSSES) - set(OF_CLASSES)))
def test_every_loss_of_elements(loss: str, dtype: str) -> None:
    assert_runs_of_net(varied(net(loss=loss, dtype=dtype), rates(4, 0.01, 0.3)), dtype)


@every_dtype
@pytest.mark.parametrize("bias", ["shared", "own", "none"])
def test_every_bias_and_data_of_each_runs_own(bias: str, dtype: str) -> None:
    spec = net(dtype=dtype)
    if bias == "none":
        spec["model"].update(bias=False, init={name: value for name, value in NET.items() if "bias" not in name})
    elif bias == "own":
        spec["model"]["init"] = {name: value * (2 if "bias" in name else 1) for name, value in NET.items()}
    changes = [{"optimizer.lr": 0.1 * (k + 1), "data": rows(1, 2, 2, seed=k)} for k in range(4)]
    assert_runs_of_net(varied(spec, changes), dtype)


@every_dtype
@pytest.mark.parametrize("part", [{"freeze": ["linear1.weight"]}, {"freeze": ["linear1.*"]}, {"freeze": ["*.bias"]}])
def test_frozen_parameters(part: Any, dtype: str) -> None:
    spec = net(dtype=dtype)
    spec["model"].update(part)
    assert_runs_of_net(varied(spec, rates(3, 0.1, 0.5)), dtype)


# --- every update rule, every hyper-parameter -------------------------------------------------------------------------

BETAS = {"betas": [[0.9, 0.999], [0.5, 0.9], [0.8, 0.99]]}
EPS = {"eps": [1e-8, 1e-4, 1e-6]}
DECAY = {"weight_decay": [0.01, 0.1, 0.001]}
RULES: list[tuple[str, dict[str, bool], dict[str, list[Any]]]] = [
    ("sgd", {}, {"momentum": [0.9, 0.5, 0.1], "dampening": [0.0, 0.5, 0.9], **DECAY}),
    ("sgd", {"nesterov": True}, {"momentum": [0.9, 0.5, 0.1], **DECAY}),
    ("sgd", {"maximize": True}, {}),
    ("adagrad", {}, {"lr_decay": [0.0, 0.01, 0.1], "initial_accumulator_value": [0.0, 0.1, 1.0], **EPS, **DECAY}),
    ("rmsprop", {}, {"alpha": [0.99, 0.9, 0.5], **EPS, **DECAY}),
    ("rmsprop", {"centered": True}, {"alpha": [0.99, 0.9, 0.5], "momentum": [0.5, 0.9, 0.1], **EPS, **DECAY}),
    ("adam", {}, {**BETAS, **EPS, **DECAY}),
    ("adam", {"amsgrad": True, "decoupled_weight_decay": True, "maximize": True}, {**BETAS, **EPS, **DECAY}),
    ("adamw", {}, {**BETAS, **EPS, **DECAY}),
    ("adadelta", {}, {"rho": [0.9, 0.5, 0.0], **EPS, **DECAY}),
    ("adamax", {}, {**BETAS, **EPS, **DECAY}),
    ("nadam", {}, {**BETAS, **EPS, **DECAY, "momentum_decay": [4e-3, 0.1, 0.0]}),
    ("radam", {"decoupled_weight_decay": True}, {**BETAS, **EPS, **DECAY}),
    ("rprop", {}, {"etas": [[0.5, 1.2], [0.3, 1.5], [0.9, 1.1]], "step_sizes": [[1e-6, 50], [1e-4, 0.5], [1e-3, 1]]}),
    ("asgd", {}, {"lambd": [1e-4, 0.01, 1e-9], "alpha": [0.75, 0.5, 1.0], "t0": [1e6, 5, 20], **DECAY}),
]
LR = [0.01, 0.05, 0.002]
every_rule = pytest.mark.parametrize(
    ("rule", "switches", "settings"), RULES, ids=[" ".join([rule, *switches]) for rule, switches, _ in RULES]
)


def settings_of(rule: str, switches: dict[str, bool], settings: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """One run with all first values, two for each setting that differs there alone, one that differs in all."""
    columns = {"lr": LR, **settings}
    first = {name: values[0] for name, values in columns.items()}
    found = [first, *({**first, name: value} for name, values in columns.items() for value in values[1:])]
    found.append({name: values[-1] for name, values in columns.items()})
    return [{"name": rule, **switches, **each} for each in found]


def test_every_rule_and_every_hyper_parameter_varies() -> None:
    varies: dict[str, set[str]] = {rule: {"lr"} for rule in OPTIMIZERS}
    for rule, _, settings in RULES:
        varies[rule] |= set(settings)
    for rule, make in OPTIMIZERS.items():
        parameters = inspect.signature(make).parameters.values()
        assert varies[rule] == {p.name for p in parameters if not isinstance(p.default, bool)}, rule


@every_dtype
@every_rule
def test_every_rule_on_the_net(rule: str, switches: Any, settings: Any, dtype: str) -> None:
    changes = [{"optimizer": each} for each in settings_of(rule, switches, settings)]
    assert_runs_of_net(varied(net(dtype=dtype, epochs=12), changes), dtype)


@every_dtype
@every_rule
def test_every_rule_on_a_larger_net_with_mini_batches(rule: str, switches: Any, settings: Any, dtype: str) -> None:
    if switches.get("maximize"):
        settings = {**settings, "weight_decay": [0.01]} if settings else {}
    changes = [{"optimizer": each} for each in settings_of(rule, switches, settings)]
    batch = {"mode": "mini-batch", "size": 5}
    runs = varied(mlp([6, 7, 3], 13, batch=batch, epochs=3, dtype=dtype), changes)
    fleet = together(runs)
    assert fleet.fleet.kernel_name == "batched"
    for k, run in enumerate(runs):
        assert gap(fleet.parameters(k), flat(alone(run).outcome.parameters)) <= CLOSE[dtype], changes[k]


@pytest.mark.skipif(not BITS_OF_RUN, reason="this processor's torch multiplies and adds with one rounding")
@every_dtype
@pytest.mark.parametrize(
    ("rule", "torchs", "settings"),
    [
        ("sgd", torch.optim.SGD, {"momentum": [0.9, 0.5], "weight_decay": [0.01, 0.1]}),
        ("adam", torch.optim.Adam, {"betas": [[0.9, 0.999], [0.5, 0.9]], "eps": [1e-8, 1e-4]}),
        ("rmsprop", torch.optim.RMSprop, {"alpha": [0.99, 0.5], "momentum": [0.5, 0.9]}),
    ],
    ids=["sgd", "adam", "rmsprop"],
)
def test_rules_of_torch_optim_in_a_plain_loop(rule: str, torchs: Any, settings: Any, dtype: str) -> None:
    changes = settings_of(rule, {}, settings)
    fleet = together(varied(net(dtype=dtype), [{"optimizer": each} for each in changes]), ["gradients"])
    x, y = (torch.tensor(v, dtype=DTYPES[dtype]) for v in ([[0.05, 0.10]], [[0.01, 0.99]]))
    for k, each in enumerate(changes):
        layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
        for name, value in NET.items():
            layer, part = name.split(".")
            setattr(layers[int(layer[-1]) - 1], part, nn.Parameter(torch.tensor(value, dtype=DTYPES[dtype])))
        parameters = [p for layer in layers for p in layer.parameters()]
        given = {name: value for name, value in each.items() if name != "name"}
        plain = loop(
            parameters, chained(layers, [torch.sigmoid] * 2), _half_sse, torchs(parameters, foreach=False, **given),
            [(x, y)] * 20,
        )  # fmt: skip
        assert fleet.column("loss", k).tolist() == plain.losses
        assert same_bits(torch.from_numpy(fleet.column("gradients", k)), torch.stack(plain.gradients))
        assert same_bits(torch.from_numpy(fleet.parameters(k)), torch.cat([p.flatten() for p in plain.weights[-1]]))


def _half_sse(o: Tensor, t: Tensor) -> Tensor:
    return torch.sum((o - t) ** 2) / 2


# --- other models -----------------------------------------------------------------------------------------------------

MIXED = {"mode": "mini-batch", "size": 5}
MODELS: dict[str, Any] = {
    "2-2-2, several rows": mlp([2, 2, 2], 13),
    "2-2-2, mini-batches, the last of one row": mlp([2, 2, 2], 11, batch=MIXED),
    "linear": mlp([1, 1], 20),
    "13-7-5-1": mlp([13, 7, 5, 1], 23, batch=MIXED),
    "softmax": mlp([8, 9, 4], 23, "cross_entropy", batch=MIXED),
    "log-softmax": mlp([8, 9, 4], 23, "nll", "silu"),
    "bce": mlp([8, 9, 4], 23, "bce", "relu", batch={**MIXED, "drop_last": True}),
    "probabilities": {**mlp([2, 2, 2], 6), "loss": "cross_entropy"},
    "frozen": mlp([8, 9, 4], 23, activation="gelu"),
    "objective": {
        "model": {"type": "objective", "expression": "(1-x)**2 + (y-x**2)**2", "start": {"x": -1.0, "y": 0.5}},
        "optimizer": {"name": "sgd", "lr": 0.01},
    },
}
MODELS["frozen"]["model"].update(freeze=["linear1.bias", "linear2.weight"])
MODELS["bce"]["data"]["validation"] = 0.3
MODELS["softmax"]["data"]["validation"] = 0.3


@every_dtype
@pytest.mark.parametrize("model", MODELS)
def test_after_100_epochs_the_parameters_are_those_of_run_to_rounding(model: str, dtype: str) -> None:
    runs = varied({**MODELS[model], "epochs": 100, "dtype": dtype}, rates(4, 0.005, 0.1, seeds=2))
    fleet = together(runs, ["gradients"])
    for k, run in enumerate(runs):
        single = alone(run, ["gradients"])
        assert gap(fleet.parameters(k), flat(single.outcome.parameters)) <= CLOSE[dtype]
        assert gap(fleet.column("loss", k), single.column("loss")) <= CLOSE[dtype]
        assert fleet.ending(k) == (single.outcome.status, "all 100 epochs", single.outcome.steps, 100)
        assert fleet.outcome.metrics.keys() == single.outcome.metrics.keys()
        for name, values in fleet.outcome.metrics.items():
            assert values[k] == pytest.approx(single.outcome.metrics[name], rel=CLOSE[dtype])


def test_batches_of_which_some_keep_differences_and_some_losses() -> None:
    """200 rows of two outputs are more than a block keeps differences of, the epoch's last 50 are not."""
    runs = varied(mlp([2, 2, 2], 250, batch={"mode": "mini-batch", "size": 200}, epochs=2), rates(3))
    fleet = together(runs, ["parameters"])
    assert fleet.column("loss", 0).shape == (4,)
    assert len(set(fleet.column("loss", 0).tolist())) == 4


@every_dtype
@pytest.mark.parametrize("model", ["2-2-2, mini-batches, the last of one row", "13-7-5-1", "bce"])
def test_every_column_is_that_of_run_to_rounding(model: str, dtype: str) -> None:
    runs = varied({**MODELS[model], "epochs": 4, "dtype": dtype}, rates(4, 0.005, 0.1, seeds=2))
    columns = COLUMNS
    fleet = together(runs, columns)
    for k, run in enumerate(runs):
        single = alone(run, columns)
        for name in ("step", "epoch", "batch", "last", "lr"):
            assert fleet.column(name, k).tolist() == single.column(name).tolist(), name
        for name in (*columns, "loss", "gradient_norm"):
            ours, theirs = fleet.column(name, k), joined(single.blocks, name)
            assert ours.shape == theirs.shape
            assert (ours != ours).tolist() == (theirs != theirs).tolist(), name  # NaN within an epoch
            assert gap(ours[ours == ours], theirs[theirs == theirs]) <= CLOSE[dtype], name


def test_norms_of_each_parameters_gradient_are_those_of_run() -> None:
    for layers in ([2, 2, 2], [13, 7, 5]):
        runs = varied(mlp(layers, 11, record={"gradients": "norms"}), rates(3))
        fleet = together(runs, keep="norms")
        for k, run in enumerate(runs):
            single = alone(run)
            assert gap(fleet.column("norms", k), single.column("norms")) <= CLOSE["float32"]
            assert gap(fleet.column("gradient_norm", k), single.column("gradient_norm")) <= CLOSE["float32"]


@pytest.mark.parametrize("shuffle", [True, False])
def test_samples_are_those_of_run(shuffle: bool) -> None:
    runs = varied(mlp([2, 2, 2], 5, batch={"mode": "stochastic", "shuffle": shuffle}), rates(3))
    fleet = together(runs, ["sample"])
    for k, run in enumerate(runs):
        single = alone(run, ["sample"])
        ours = [part.sample for part in fleet.parts(k)]
        theirs = [block.sample for block in single.blocks]
        assert [[side.tolist() for side in pair] for pair in ours if pair] == [
            [side.tolist() for side in pair] for pair in theirs if pair
        ]


# --- another device ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_dtype
@pytest.mark.parametrize("model", MODELS)
def test_cuda_follows_the_cpu(model: str, dtype: str) -> None:
    changes = rates(4, 0.005, 0.1, seeds=2)
    spec = {**MODELS[model], "epochs": 20, "dtype": dtype}
    cpu = together(varied(spec, changes), ["gradients"])
    cuda = together(varied({**spec, "device": "cuda"}, changes), ["gradients"])
    assert cuda.fleet.theta.values.is_cuda
    tolerance = {"float32": 1e-3, "float64": 1e-10}[dtype]
    for k in range(4):
        assert gap(cuda.parameters(k), cpu.parameters(k)) <= tolerance
        assert gap(cuda.column("loss", k), cpu.column("loss", k)) <= tolerance
