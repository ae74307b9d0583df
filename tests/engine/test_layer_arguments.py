"""Layers with arguments drawn at random are refused at their place, or run: nothing that they raise comes through."""

from __future__ import annotations

import inspect
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from gdcli.zoo.torch_layers import LAYERS, RECURRENT
from tests.trials import trials

VALUES: list[Any] = [
    0, 1, 2, 3, 5, -1, -7, 16, 10**6, 10**12, 10**18, 0.5, 1e30, True, False, None, "zeros", "reflect", "mean", "relu",
    "none", "", [], [1], [2, 2], [1, 2, 3], [-1, 2], [[1]], {"a": 1}, [None], ["a"],
]  # fmt: skip
SHAPES = [[8], [4, 2], [2, 2, 2], [1, 2, 2, 2]]


def a_layer(draw: random.Random, depth: int = 0) -> dict[str, Any]:
    if depth < 2 and draw.random() < 0.1:
        return {"residual": [a_layer(draw, depth + 1) for _ in range(draw.randint(1, 2))]}
    name = draw.choice([*LAYERS])
    found: dict[str, Any] = {"layer": name}
    for key, takes in inspect.signature(getattr(torch.nn, name)).parameters.items():
        if takes.kind in (takes.VAR_KEYWORD, takes.VAR_POSITIONAL):
            continue
        if takes.default is takes.empty and key != LAYERS[name].found and draw.random() < 0.9:
            found[key] = draw.choice([1, 2, 3, 4, [2], [1, 1], draw.choice(VALUES)])
        elif draw.random() < 0.15:
            found[key] = draw.choice(VALUES)
    for key in ("hidden_size", "num_layers", "bidirectional", "dropout", "proj_size", "last"):
        if name in RECURRENT and (key == "hidden_size" or draw.random() < 0.2):
            found[key] = draw.choice([1, 2, True, 0.5, draw.choice(VALUES)])
    return found


@pytest.mark.slow
def test_random_arguments_are_refused_at_their_layer_or_run(gdcli) -> None:
    draw, ran = random.Random(5), 0
    for trial in range(trials(40, 5000)):
        labels = draw.random() < 0.3
        end = ["Flatten", {"layer": "Linear", "out_features": 2 if labels else 1}]
        layers = [a_layer(draw) for _ in range(draw.randint(1, 2))]
        spec = {
            "data": {
                "x": [[draw.randrange(4) for _ in range(8)] for _ in range(4)],
                "y": [0, 1, 0, 1] if labels else [1, 2, 3, 4],
                "shape": draw.choice(SHAPES),
            },
            "model": {"type": "sequential", "layers": layers + draw.choice([[], end, end])},
            "loss": "cross_entropy" if labels else "mse",
            "optimizer": {"name": "sgd", "lr": 0.01},
            "batch": {"size": draw.choice([1, 2, 3])},
        }
        Path("s.yaml").write_text(json.dumps(spec))
        answer = gdcli("validate", "s.yaml")
        if answer.code == 0:
            answer, ran = gdcli("run", "s.yaml", "--no-plot", "-q"), ran + 1
            assert answer.code == 0 or "diverged" in answer.err, (trial, layers, answer)
            continue
        assert answer.code == 2, (trial, layers, answer)
        for line in answer.err.splitlines():
            assert line.startswith("s.yaml:1:"), (trial, layers, answer)
            assert "model.layers" in line, (trial, layers, answer)
    assert ran >= trials(4, 500)
