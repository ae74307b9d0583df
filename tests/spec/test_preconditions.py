"""What a loss asks of outputs and targets: undefined is a problem, unusual a warning, and both name what fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name

X = [[0.5, -1.0], [1.5, 2.0], [-0.5, 0.25], [2.0, 1.0]]
HALVES, CLASSES = [[0], [1], [1], [0]], [0, 1, 1, 0]


def written(loss: str, model: Any, y: Any, **more: Any) -> str:
    spec = {"data": {"x": X, "y": y}, "model": model, "loss": loss, "optimizer": {"name": "sgd", "lr": 0.1}, **more}
    Path("s.yaml").write_text(json.dumps(spec))
    return "s.yaml"


def mlp(activation: str, outputs: int) -> dict[str, Any]:
    return {"type": "mlp", "layers": [2, 3, outputs], "activation": "tanh", "output_activation": activation}


def layers(outputs: int, *last: str) -> dict[str, Any]:
    return {"type": "sequential", "layers": [{"layer": "Linear", "in_features": 2, "out_features": outputs}, *last]}


def linear(outputs: int) -> dict[str, Any]:
    return {"type": "linear", "out_features": outputs}


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (mlp("none", 1), "output_activation: sigmoid, or take the loss bce_with_logits"),
        (mlp("tanh", 1), "output_activation: sigmoid"),
        (mlp("relu", 1), "output_activation: sigmoid"),
        (linear(1), "bce_with_logits"),
        (layers(1), "a last layer Sigmoid"),
        (layers(1, "Tanh"), "a last layer Sigmoid"),
        (layers(1, "Tanh", "Flatten"), "a last layer Sigmoid"),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["validate", "run", "check"])
def test_bce_of_outputs_beyond_0_and_1_is_a_problem(gdcli, command: str, model: Any, hint: str) -> None:
    answer = gdcli(command, written("bce", model, HALVES))
    assert (answer.code, answer.out) == (2, "")
    assert "loss: bce takes outputs from 0 to 1" in answer.err
    assert hint in answer.err


@pytest.mark.parametrize("axis", ["none,sigmoid", "sigmoid,none"])
def test_a_sweep_over_it_is_refused_whatever_the_order(gdcli, axis: str) -> None:
    spec = written("bce", mlp("sigmoid", 1), HALVES)
    answer = gdcli("sweep", spec, "--param", f"model.output_activation={axis}")
    assert answer.code == 2
    assert "bce takes outputs from 0 to 1" in answer.err


@pytest.mark.parametrize(
    "model", [mlp("sigmoid", 1), mlp("hardsigmoid", 1), layers(1, "Sigmoid"), layers(1, "Hardsigmoid")]
)
def test_bce_of_probabilities_is_valid_without_a_warning(gdcli, model: Any) -> None:
    answer = gdcli("validate", written("bce", model, HALVES))
    assert (answer.code, answer.err) == (0, "")


WARNED = {
    "cross_entropy of probabilities": ("cross_entropy", mlp("softmax", 2), CLASSES, "nll with log_softmax"),
    "cross_entropy of a last layer": ("cross_entropy", layers(2, "Softmax"), CLASSES, "nll with log_softmax"),
    "cross_entropy of sigmoids": ("cross_entropy", mlp("sigmoid", 2), CLASSES, "nll with log_softmax"),
    "bce_with_logits of a probability": ("bce_with_logits", mlp("sigmoid", 1), HALVES, "take bce"),
    "nll of scores": ("nll", linear(2), CLASSES, "cross_entropy"),
    "nll of probabilities": ("nll", mlp("softmax", 2), CLASSES, "output_activation: log_softmax"),
    "kl_div of scores": ("kl_div", linear(2), [[0.5, 0.5], [1, 0], [0, 1], [0.2, 0.8]], "log_softmax"),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_is_defined_but_hardly_meant_is_a_warning_and_trains(gdcli, name: str) -> None:
    loss, model, y, hint = WARNED[name]
    spec = written(loss, model, y)
    for command in (["validate", spec], ["run", spec, "--no-plot"], ["sweep", spec, "-p", "lr=0.1,0.2", "--no-plot"]):
        answer = gdcli(*command)
        assert answer.code == 0, answer.err
        (line,) = [line for line in answer.err.splitlines() if line.startswith("warning: s.yaml:1:")]
        assert f": loss: {loss} takes " in line
        assert hint in line


@pytest.mark.parametrize(
    ("loss", "model", "y"),
    [
        ("cross_entropy", mlp("none", 2), CLASSES),
        ("cross_entropy", mlp("log_softmax", 2), CLASSES),  # its softmax of those is the same
        ("nll", mlp("log_softmax", 2), CLASSES),
        ("nll", layers(2, "LogSoftmax"), CLASSES),
        ("bce_with_logits", linear(1), HALVES),
    ],
)
def test_what_is_meant_has_no_warning(gdcli, loss: str, model: Any, y: Any) -> None:
    assert gdcli("validate", written(loss, model, y)).err == ""


def test_a_softmax_twice_is_another_loss() -> None:
    """Why it is told: of scores (2, 0) the loss of class 0 is 0.127, and of their softmax 0.383."""
    scores, label = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    assert F.cross_entropy(scores, label).item() == pytest.approx(0.1269, abs=1e-4)
    assert F.cross_entropy(F.softmax(scores, -1), label).item() == pytest.approx(0.3832, abs=1e-4)


def test_labels_that_leave_a_class_empty_are_told_where_a_file_has_them(gdcli) -> None:
    Path("d.csv").write_text("a,b,k\n1,2,1\n3,4,2\n5,6,3\n7,8,1\n")
    Path("f.yaml").write_text("{data: {file: d.csv, target: k}, model: linear, loss: cross_entropy, optimizer: sgd}")
    answer = gdcli("run", "f.yaml", "--no-plot", "-q")
    assert answer.code == 0
    assert "data.target: the labels 1, 2, 3 of 'k' are the classes 0 to 2, in this order" in answer.err
    answer = gdcli("run", "f.yaml", "--no-plot", "-q", "model.out_features=4")
    assert "data.target: class 0 has no row: labels up to 3 make 4 classes. Number the classes from 0" in answer.err


def test_json_has_problems_and_warnings(gdcli) -> None:
    found = gdcli("validate", written("cross_entropy", mlp("softmax", 2), CLASSES), "--json").json
    assert (found["valid"], found["problems"], len(found["warnings"])) == (True, [], 1)
    found = gdcli("validate", written("bce", mlp("none", 1), HALVES), "--json").json
    assert (found["valid"], len(found["problems"]), found["warnings"]) == (False, 1, [])
