"""`expect`: what it takes, where it stands, and that it changes no folder's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gdcli.errors import SpecError
from gdcli.spec import document, overrides, schema
from gdcli.spec.config import digest, filled_in
from gdcli.spec.expectations import Expectation
from gdcli.spec.json_schema import json_schema
from gdcli.spec.load import Loaded, load

SPEC: dict[str, Any] = {
    "data": {"x": [[1, 2], [3, 4]], "y": [1, 2]},
    "model": {"type": "mlp", "layers": [2, 2, 1]},
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 0.1},
}


def loaded(*words: str, **changes: Any) -> Loaded:
    node = document.read(json.dumps({**SPEC, **changes}).encode(), "t.yaml")
    return load(schema.parse(overrides.apply(node, words), "t"), Path())


@pytest.mark.parametrize(
    ("expected", "value", "holds"),
    [
        ({"at_most": 0.01}, 0.01, True),
        ({"at_most": 0.01}, 0.010000001, False),
        ({"at_least": 0.9}, 0.9, True),
        ({"at_least": 0.9}, 0.8999, False),
        ({"at_least": 0, "at_most": 1}, 1.5, False),
        ({"equals": 0.1498, "within": 1e-4}, 0.1499, True),  # whose difference in float64 is 1.0000000000010001e-4
        ({"equals": 0.1498, "within": 1e-4}, 0.14991, False),
        ({"equals": 3}, 3, True),
        ({"equals": 3, "within": 0}, 3.0000000001, False),
        ({"at_most": 1}, float("nan"), False),
        ({"at_least": 1}, float("inf"), False),
        ({"at_most": 1}, None, False),
    ],
)
def test_a_number_is_as_expected_or_not(expected: dict[str, float], value: float | None, holds: bool) -> None:
    assert Expectation(**expected).holds(value) is holds


def test_names_of_summary_metrics_and_scalars_are_taken() -> None:
    names = ("final_loss", "best_loss", "steps", "epochs", "r2", "linear1.weight[1,0]", "linear2.bias[0]")
    found = loaded(metrics=["r2"], expect={name: {"at_least": 0} for name in names})
    assert tuple(found.spec.expect) == names


def test_rows_held_out_have_their_loss_and_metrics() -> None:
    data = {"x": [[k, 1] for k in range(8)], "y": list(range(8)), "validation": 2, "test": 2}
    names = ["validation_loss", "test_loss", "validation_mae", "test_mae", "mae"]
    assert (
        list(loaded(data=data, metrics=["mae"], expect={name: {"at_most": 1} for name in names}).spec.expect) == names
    )


def test_an_objective_s_variables_are_expected_by_name() -> None:
    node = document.read(
        b"{model: {type: objective, expression: x**2, start: {x: 1}}, optimizer: sgd, expect: {x: {at_most: 1}}}", "t"
    )
    assert list(load(schema.parse(node, "t"), Path()).spec.expect) == ["x"]


def test_it_belongs_to_the_record_s_spec_but_not_to_its_name() -> None:
    plain, expecting = filled_in(loaded().spec), filled_in(loaded(expect={"final_loss": {"at_most": 0.1}}).spec)
    assert expecting == plain | {"expect": {"final_loss": {"at_most": 0.1}}}
    assert digest(expecting) == digest(plain)


def test_an_override_reaches_a_name_with_points() -> None:
    found = loaded("expect.linear1.weight[0,1].equals=0.5", "expect.final_loss={at_most: 2}")
    assert found.spec.expect == {
        "linear1.weight[0,1]": Expectation(equals=0.5),
        "final_loss": Expectation(at_most=2),
    }
    changed = loaded("expect.final_loss.at_most=3", expect={"final_loss": {"at_most": 2}})
    assert changed.spec.expect["final_loss"].at_most == 3


def test_an_override_of_an_unknown_name_is_told_on_the_command_line() -> None:
    with pytest.raises(SpecError, match=r"command line:1:\d+: expect.final_los: .* Did you mean 'final_loss'"):
        loaded("expect.final_los.at_most=0.5")


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ({"final_loss": {"at_most": 0.1}}, True),
        ({"linear1.weight[0,0]": {"equals": 0.1, "within": 1e-4}}, True),
        ({"final_loss": 0.1}, False),
        ({"final_loss": {"at_mos": 0.1}}, False),
        ({"final_loss": {"equals": "abc"}}, False),
        ({"final_loss": {"equals": 1, "within": -1}}, False),
        ([], False),
    ],
)
def test_schema_and_parser_agree(value: Any, valid: bool) -> None:
    assert Draft202012Validator(json_schema()).is_valid({**SPEC, "expect": value}) is valid
    if valid:
        loaded(expect=value)
    else:
        with pytest.raises(SpecError, match="expect"):
            loaded(expect=value)
