"""The JSON Schema: valid itself, takes what the parser takes, refuses nothing more than it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gdcli.errors import SpecError
from gdcli.spec.bundled import folder, names
from gdcli.spec.document import read
from gdcli.spec.json_schema import json_schema
from gdcli.spec.load import load
from gdcli.spec.schema import parse
from gdcli.spec.sections import KEYS
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS

VALIDATOR = Draft202012Validator(json_schema())


def bundled(name: str) -> dict[str, Any]:
    document: dict[str, Any] = read((folder() / f"{name}.yaml").read_bytes(), name).plain()
    return document


def parsed(document: dict[str, Any]) -> bool:
    """Say whether the parser takes a document; a JSON text is YAML too."""
    try:
        load(parse(read(json.dumps(document), "spec"), "spec"), Path(folder()))
    except SpecError:
        return False
    return True


def test_is_a_schema_with_every_key_and_ingredient() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert set(schema["properties"]) == set(KEYS)
    for kind, table in {"generate": GENERATORS, "model": MODELS, "loss": LOSSES, "optimizer": OPTIMIZERS}.items():
        for name in table:
            assert schema["$defs"][f"{kind}.{name}"]["description"]
    assert all(value.get("description") for value in schema["properties"].values())


def test_what_a_key_is_is_told_of_that_key() -> None:
    definitions = json_schema()["$defs"]
    told = {}
    for kind in definitions["init"]["anyOf"]:
        for name, schema in kind.get("properties", {}).items():
            told[name] = schema["description"]
    assert told == {"normal": "Mean and standard deviation.", "uniform": "Low and high end."}
    _, *layers = definitions["layer"]["anyOf"]
    for layer in layers:
        assert layer["properties"]["name"]["description"] == "The layer's own name; its place, from 0, when absent."


def test_every_reference_leads_somewhere_and_no_bound_has_a_name_of_pydantic() -> None:
    schema = json_schema()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                assert value["$ref"].removeprefix("#/$defs/") in schema["$defs"]
            assert not {"ge", "gt", "le", "lt"} & set(value)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    walk(schema)


@pytest.mark.parametrize("name", names())
def test_takes_every_bundled_spec(name: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(bundled(name))] == []


# A bundled spec, the path of a key, its new value (ABSENT: the key goes).
ABSENT = object()
REFUSED: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("nn_linear", ("epoch",), 3),
    ("nn_linear", ("epochs",), -1),
    ("nn_linear", ("epochs",), 1.5),
    ("nn_linear", ("epochs",), "ten"),
    ("nn_linear", ("epochs",), None),
    ("nn_linear", ("name",), "a b"),
    ("nn_linear", ("seed",), -1),
    ("nn_linear", ("seed",), 2**63),
    ("nn_linear", ("threads",), 0),
    ("nn_linear", ("threads",), "many"),
    ("nn_linear", ("world_size",), 0),
    ("nn_linear", ("world_size",), "all"),
    ("nn_linear", ("device",), "gpu"),
    ("nn_linear", ("dtype",), "float16"),
    ("nn_linear", ("engine",), True),
    ("nn_linear", ("optimizer",), "sdg"),
    ("nn_linear", ("optimizer",), ABSENT),
    ("nn_linear", ("optimizer", "lr"), -0.1),
    ("nn_linear", ("optimizer", "lr"), "fast"),
    ("nn_linear", ("optimizer", "betas"), [0.9, 0.999]),
    ("nn_linear", ("optimizer", "groups"), {"weight": {"beta": 1}}),
    ("nn_linear", ("optimizer", "groups"), {"weight": 1}),
    ("adam_2x2", ("optimizer", "betas"), [0.9]),
    ("adam_2x2", ("optimizer", "betas"), [0.9, 1]),
    ("nn_linear", ("loss",), "mean"),
    ("nn_linear", ("loss",), {"name": "mse", "beta": 1}),
    ("nn_linear", ("loss",), {"name": "huber", "delta": 0}),
    ("nn_linear", ("loss",), {}),
    ("nn_linear", ("loss",), ABSENT),
    ("nn_linear", ("model",), ABSENT),
    ("nn_linear", ("model",), "mlp"),
    ("nn_linear", ("model", "type"), "line"),
    ("nn_linear", ("model", "layers"), [2, 1]),
    ("nn_linear", ("model", "bias"), 1),
    ("nn_linear", ("model", "init"), {"weight": "zeroes"}),
    ("nn_linear", ("model", "init"), {"weight": {"normal": [0]}}),
    ("nn_linear", ("model", "init"), {"weight": {"gamma": [0, 1]}}),
    ("nn_linear", ("model", "freeze"), [1]),
    ("mlp", ("model", "layers"), [64]),
    ("mlp", ("model", "layers", 1), 0),
    ("mlp", ("model", "activation"), "rellu"),
    ("linear_regression_nn", ("model", "layers", 0, "layer"), "Lambda"),
    ("nn_linear", ("data",), ABSENT),
    ("nn_linear", ("data", "y"), ABSENT),
    ("nn_linear", ("data", "x", 0, 0), "one"),
    ("nn_linear", ("data", "file"), "rows.csv"),
    ("nn_linear", ("data", "standardize"), 1),
    ("mlp", ("data", "validation"), 1.5),
    ("mlp", ("data", "dataset"), "mnist"),
    ("gd_variants", ("data", "generate", "kind"), "line"),
    ("gd_variants", ("data", "generate", "kind"), []),
    ("gd_variants", ("data", "generate", "weights"), ABSENT),
    ("gd_variants", ("data", "generate", "n"), 0),
    ("gd_variants", ("data", "generate", "x"), {"uniform": [0]}),
    ("house_price", ("data", "target"), ABSENT),
    ("nn_linear", ("batch",), "mini"),
    ("nn_linear", ("batch",), {"mode": "mini-batch", "size": 0}),
    ("nn_linear", ("batch",), {"mode": "mini-batch", "rows": 2}),
    ("nn_linear", ("stop",), {"patience": 0}),
    ("nn_linear", ("stop",), None),
    ("nn_linear", ("print", "style"), "sweep"),
    ("linear_manual", ("print", "predict"), "4"),
    ("nn_linear", ("record",), {"every": 0}),
    ("linear_sweep", ("sweep",), {}),
    ("optimizers_2x2", ("compare", "optimizer"), {}),
    ("optimizers_2x2", ("compare", "seeds"), 0),
    ("optimizers_2x2", ("compare", "closed_form"), 1),
    ("optimizers_2x2", ("compare", "target"), "low"),
    ("optimizers_2x2", ("compare", "tune"), 1),
    ("optimizers_2x2", ("compare", "tune_range"), [0.1]),
    ("optimizers_2x2", ("compare", "tune_range"), [0, 0.1]),
    ("gd_variants", ("data", "seed"), -1),
    ("nn_linear", ("data", "seed"), "one"),
    ("himmelblau", ("loss",), "mse"),
    ("himmelblau", ("batch",), "stochastic"),
    ("himmelblau", ("model", "start"), {}),
    ("himmelblau", ("model", "expression"), 1),
]


def changed(document: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    node: Any = document
    for step in path[:-1]:
        node = node[step]
    if value is ABSENT:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return document


@pytest.mark.parametrize(("name", "path", "value"), REFUSED)
def test_refuses_what_the_parser_refuses(name: str, path: tuple[str | int, ...], value: Any) -> None:
    document = changed(bundled(name), path, value)
    assert not VALIDATOR.is_valid(document)
    assert not parsed(document)


TAKEN: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("nn_linear", ("name",), ABSENT),
    ("nn_linear", ("epochs",), 1e3),
    ("nn_linear", ("optimizer",), "rprop"),
    ("nn_linear", ("optimizer", "groups"), {"we*": {"lr": 1, "momentum": 0.5}}),
    ("nn_linear", ("loss",), {"name": "huber", "delta": 2}),
    ("nn_linear", ("model",), "linear"),
    ("nn_linear", ("model", "freeze"), "bias"),
    ("nn_linear", ("model", "init"), {"*": {"uniform": [-1, 1]}, "weight": [[1, 2]], "bias": "ones"}),
    ("nn_linear", ("batch",), {"mode": "mini-batch", "size": 2, "shuffle": None}),
    ("nn_linear", ("threads",), 4),
    ("nn_linear", ("world_size",), 4),
    ("nn_linear", ("device",), "cuda:1"),
    ("nn_linear", ("sweep",), None),
    ("linear_manual", ("print", "predict"), [4]),
    ("linear_regression_nn", ("model", "init"), ABSENT),
    ("himmelblau", ("batch",), {"mode": "full"}),
    ("optimizers_2x2", ("compare",), {"seeds": 1e2, "closed_form": True, "target": 0.5, "tune": 9}),
    ("optimizers_2x2", ("compare", "tune_range"), [1e-4, 1]),
    ("gd_variants", ("data", "seed"), 2**63 - 1),
    ("nn_linear", ("data", "seed"), None),
]


@pytest.mark.parametrize(("name", "path", "value"), TAKEN)
def test_takes_what_the_parser_takes(name: str, path: tuple[str | int, ...], value: Any) -> None:
    document = changed(bundled(name), path, value)
    assert parsed(document)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


VALUES = st.sampled_from(
    [ABSENT, None, True, 0, 1, -1, 0.5, 1e3, "", "sgd", "auto", [], [1], [[1, 2]], {}, {"name": "mse"}]
)
SPECS = st.sampled_from(
    ["nn_linear", "backprop_2x2", "linear_manual", "loss_bce", "chain_rule", "linear_regression_nn", "optimizers_2x2"]
)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value but init, which in a sequential model only the engine checks."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [(key, inner) for key, inner in below if key != "init"]
    found = [(*path, key) for key, _ in below]
    return found + [deeper for key, inner in below for deeper in paths(inner, (*path, key))]


@given(SPECS, st.integers(0, 1000), VALUES)
def test_refuses_nothing_that_the_parser_takes(name: str, place: int, value: Any) -> None:
    document = bundled(name)
    found = paths(document)
    document = changed(document, found[place % len(found)], value)
    if parsed(document):
        assert [error.message for error in VALIDATOR.iter_errors(document)] == []
