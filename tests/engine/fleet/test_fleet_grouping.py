"""Which runs train together: what may differ between them, what may not, and who trains alone."""

from __future__ import annotations

from typing import Any

import pytest
from many import alone, flat, fleets, gap, mlp, rows, together, varied
from plain_torch import Spec

from gdcli.engine.grouping import chunk_of, why_alone

BATCH = {"mode": "mini-batch", "size": 4}


def base(**more: Any) -> Spec:
    init = {"linear1.bias": 0.1, "linear1.weight": "xavier_uniform"}
    spec = mlp([3, 4, 2], 9, batch=BATCH, **more)
    spec["model"]["init"] = init
    spec["optimizer"] = {"name": "adam", "lr": 0.1, "weight_decay": 0.1, "groups": {"*.weight": {"lr": 0.2}}}
    return spec


MAY_DIFFER: dict[str, Any] = {
    "optimizer.lr": 0.3,
    "optimizer.betas": [0.5, 0.9],
    "optimizer.eps": 1e-3,
    "optimizer.weight_decay": 0.2,
    "optimizer.groups": {"*.weight": {"lr": 0.5}},
    "seed": 7,
    "model.init": {"linear1.bias": 0.2, "linear1.weight": "zeros"},
    "data": rows(9, 3, 2, seed=8),
}


@pytest.mark.parametrize("key", MAY_DIFFER)
def test_numbers_seeds_start_values_and_data_may_differ(key: str) -> None:
    runs = varied(base(), [{}, {key: MAY_DIFFER[key]}])
    assert fleets(runs) == ([[0, 1]], [])
    fleet = together(runs)
    for k, run in enumerate(runs):
        assert gap(fleet.parameters(k), flat(alone(run).outcome.parameters)) <= 1e-4
    assert gap(fleet.parameters(0), fleet.parameters(1)) > 1e-4  # they do differ


MAY_NOT: dict[str, tuple[str, Any]] = {
    "layers": ("model.layers", [3, 5, 2]),
    "activation": ("model.activation", "relu"),
    "bias": ("model", {"type": "mlp", "layers": [3, 4, 2], "activation": "tanh", "bias": False}),
    "loss": ("loss", "mae"),
    "the loss's arguments": ("loss", {"name": "smooth_l1", "beta": 2.0}),
    "batch size": ("batch", {**BATCH, "size": 3}),
    "shuffle": ("batch", {**BATCH, "shuffle": False}),
    "epochs": ("epochs", 3),
    "dtype": ("dtype", "float64"),
    "optimizer": ("optimizer.name", "adamw"),
    "booleans": ("optimizer.amsgrad", True),
    "weight decay or none": ("optimizer.weight_decay", 0),
    "groups": ("optimizer.groups", {"*.bias": {"lr": 0.2}}),
    "no groups": ("optimizer.groups", {}),
    "frozen": ("model.freeze", ["linear1.bias"]),
    "a bias shared by its layer": ("model.init", {"linear1.bias": [0.1], "linear1.weight": "xavier_uniform"}),
    "rows": ("data", rows(8, 3, 2)),
    "validation rows": ("data", {**rows(12, 3, 2), "validation": 0.25}),
    "stop": ("stop", {"max_steps": 3}),
    "record": ("record", {"gradients": "norms"}),
}


def test_runs_with_a_loss_in_their_targets_units_keep_apart_from_those_without() -> None:
    spec = mlp([3, 4, 1], 9)
    runs = varied(spec, [{}, {"data": {**spec["data"], "standardize": ["target"]}}, {"seed": 3}])
    assert fleets(runs) == ([[0, 2], [1]], [])


@pytest.mark.parametrize("what", MAY_NOT)
def test_what_makes_another_structure(what: str) -> None:
    key, value = MAY_NOT[what]
    spec = base()
    changed = {key: value}
    if what == "optimizer":
        changed["optimizer"] = {**spec["optimizer"], "name": value}
        del changed[key]
    runs = varied(spec, [{}, changed, {"seed": 3}])
    assert fleets(runs) == ([[0, 2], [1]], [])


def test_momentum_or_none_makes_another_rule() -> None:
    sgd = {"name": "sgd", "lr": 0.1}
    runs = varied(base(), [{"optimizer": {**sgd, "momentum": mu}} for mu in (0.0, 0.5, 0.9, 0)])
    assert fleets(runs) == ([[0, 3], [1, 2]], [])


def test_a_shared_bias_stays_shared_whatever_the_runs_beside_it() -> None:
    """A list of one number is one bias for the layer; one of a number for each unit is not."""
    changes = [{"model.init": {"linear1.bias": value}} for value in ([0.1, 0.1, 0.1, 0.1], [0.1])]
    runs = varied(base(), changes)
    assert len(fleets(runs)[0]) == 2
    assert [together([run]).parameters(0).size for run in runs] == [3 * 4 + 4 + 4 * 2 + 2, 3 * 4 + 1 + 4 * 2 + 2]


def test_an_objectives_start_may_differ_its_variables_order_may_not() -> None:
    spec = {
        "model": {"type": "objective", "expression": "x**2 + 3*y**2", "start": {"x": 1.0, "y": 2.0}},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "epochs": 4,
    }
    starts = [{"x": 1.0, "y": 2.0}, {"x": -1.0, "y": 3.0}, {"y": 2.0, "x": 1.0}]
    runs = varied(spec, [{"model.start": start} for start in starts])
    assert fleets(runs) == ([[0, 1], [2]], [])
    other = varied(spec, [{"model.expression": "x**2 + 4*y**2"}])
    assert fleets([*runs, *other]) == ([[0, 1], [2], [3]], [])


def sequential(*layers: Any) -> dict[str, Any]:
    linear = {"layer": "Linear", "in_features": 3, "out_features": 2}
    return {"type": "sequential", "layers": [linear, *layers]}


ALONE: dict[str, tuple[dict[str, Any], str]] = {
    "dropout": ({"model": sequential("Dropout"), "optimizer.groups": {}}, "torch's own layers"),
    "batch norm": (
        {"model": sequential({"layer": "BatchNorm1d", "num_features": 2}), "optimizer.groups": {}},
        "torch's own layers",
    ),
    "autograd": ({"engine": "autograd"}, "autograd"),
    "no epochs": ({"epochs": 0, "print": {"style": "loss"}}, "no updates"),
    "a run's own time": ({"stop": {"max_seconds": 5}}, "max_seconds"),
}


@pytest.mark.parametrize("what", ALONE)
def test_who_trains_alone_and_why(what: str) -> None:
    change, reason = ALONE[what]
    runs = varied(base(), [{}, change, change, {"seed": 1}])
    assert fleets(runs) == ([[0, 3]], [1, 2])
    assert reason in why_alone(runs[1])


def test_chunks_are_whole_vectors() -> None:
    small, large = varied(mlp([2, 2, 2], 3), [{}])[0], varied(mlp([64, 64, 10], 3), [{}])[0]
    assert chunk_of(small) % 64 == chunk_of(large) % 64 == 0
    assert chunk_of(small) > chunk_of(large) >= 64
