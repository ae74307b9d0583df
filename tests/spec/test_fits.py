"""Data, model and loss that do not fit are told with what would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

X = [[1, 2], [3, 4], [5, 6], [7, 8], [0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [1, 1]]


def written(model: Any, y: list[Any], loss: str = "mse", **data: Any) -> str:
    spec = {"data": {"x": X, "y": y, **data}, "model": model, "loss": loss, "optimizer": {"name": "sgd", "lr": 0.1}}
    Path("s.yaml").write_text(json.dumps(spec))
    return "s.yaml"


@pytest.mark.parametrize("seed", range(6))
def test_a_label_of_a_held_out_row_needs_an_output_too(gdcli, seed: int) -> None:
    """Wherever the split puts the only row of class 2, it is told at its place."""
    labels = [0, 1] * 4 + [0, 2]
    spec = written({"type": "linear", "out_features": 2}, labels, "cross_entropy", validation=0.3, seed=seed)
    answer = gdcli("run", spec, "--no-plot")
    assert answer.code == 2
    assert "data.y[9]: class 2 does not exist: the model has 2 outputs, from 0. out_features: 3 fits" in answer.err


@pytest.mark.parametrize("seed", range(4))
def test_a_held_out_target_of_bce_lies_between_0_and_1_too(gdcli, seed: int) -> None:
    targets = [[0], [1]] * 4 + [[0], [2]]
    answer = gdcli("validate", written("linear", targets, "bce_with_logits", validation=0.3, seed=seed))
    assert answer.code == 2
    assert "bce_with_logits takes targets from 0 to 1 (got 2.0)" in answer.err


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            {"type": "linear", "out_features": 3},
            "the data have 1 targets. out_features: 1 fits",
        ),
        (
            {"type": "linear", "in_features": 3},
            "the data have 2. Set it to 2, or leave it out",
        ),
        ({"type": "mlp", "layers": [2, 5, 3]}, "the data have 1 targets. layers: [2, 5, 1] fits"),
        ({"type": "mlp", "layers": [3, 5, 1]}, "the data have 2. Set it to 2"),
    ],
    ids=str,
)
def test_a_width_is_told_with_the_one_that_fits(gdcli, model: Any, told: str) -> None:
    answer = gdcli("validate", written(model, [[0]] * 10))
    assert answer.code == 2
    assert told in answer.err


def test_what_is_said_to_fit_does(gdcli) -> None:
    for model in ({"type": "linear", "out_features": 1}, {"type": "mlp", "layers": [2, 5, 1]}):
        assert gdcli("validate", written(model, [[0]] * 10)).code == 0
