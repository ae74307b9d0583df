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


def layers(outputs: int, *last: str | dict[str, Any]) -> dict[str, Any]:
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
        (layers(1, "Dropout"), "a last layer Sigmoid"),
        (layers(1, "PReLU"), "a last layer Sigmoid"),
        (layers(1, "Sigmoid", {"layer": "BatchNorm1d", "num_features": 1}), "a last layer Sigmoid"),
        (layers(1, "Sigmoid", {"layer": "LayerNorm", "normalized_shape": 1}), "a last layer Sigmoid"),
        (layers(1, {"layer": "ReLU", "inplace": True}), "a last layer Sigmoid"),
        (layers(1, "Sigmoid", "Dropout"), "Put the dropout before the last linear layer"),
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
    "model",
    [
        mlp("sigmoid", 1),
        mlp("hardsigmoid", 1),
        layers(1, "Sigmoid"),
        layers(1, "Hardsigmoid"),
        layers(1, {"layer": "Hardtanh", "min_val": 0, "max_val": 1}),
        layers(1, "Sigmoid", {"layer": "Dropout", "p": 0}),
    ],
)
def test_bce_of_probabilities_is_valid_without_a_warning(gdcli, model: Any) -> None:
    answer = gdcli("validate", written("bce", model, HALVES))
    assert (answer.code, answer.err) == (0, "")


WARNED = {
    "cross_entropy of probabilities": ("cross_entropy", mlp("softmax", 2), CLASSES, "nll with log_softmax"),
    "cross_entropy of a last layer": ("cross_entropy", layers(2, "Softmax"), CLASSES, "nll with log_softmax"),
    "cross_entropy of sigmoids": ("cross_entropy", mlp("sigmoid", 2), CLASSES, "nll with log_softmax"),
    "bce_with_logits of a probability": ("bce_with_logits", mlp("sigmoid", 1), HALVES, "take bce"),
    "cross_entropy of a dropout": ("cross_entropy", layers(2, "Softmax", "Dropout"), CLASSES, "nll with log_softmax"),
    "nll of a dropout": ("nll", layers(2, "LogSoftmax", "Dropout"), CLASSES, "Put the dropout before the last linear"),
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


def test_bce_of_a_clamp_that_lets_outputs_beyond_0_and_1_names_the_cause_once_the_loss_is_nan(gdcli) -> None:
    clamp = {"layer": "Hardtanh", "min_val": -5, "max_val": 5}
    answer = gdcli("run", written("bce", layers(1, clamp), HALVES), "optimizer.lr=5", "epochs=9", "--no-plot", "-q")
    assert answer.code == 1
    assert answer.err.rstrip().endswith("outputs from 0 to 1 alone: a last layer Sigmoid keeps them there")
    assert "smaller lr" not in answer.err


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


def test_validation_rows_may_lack_a_class_that_has_a_name(gdcli) -> None:
    Path("d.csv").write_text("a,k\n1,cat\n2,dog\n3,cat\n")
    Path("v.csv").write_text("a,k\n4,dog\n")
    data = "{file: d.csv, target: k, validation: v.csv}"
    Path("f.yaml").write_text(f"{{data: {data}, model: linear, loss: cross_entropy, optimizer: sgd}}")
    assert gdcli("validate", "f.yaml").err == ""


@pytest.mark.parametrize(
    ("y", "place", "number"),
    [
        ([[-5, 1], [1, 0], [0, 1], [1, 0]], "data.y[0]", "-5.0"),
        ([[0, 1], [1, 0], [0, 2], [1, 0]], "data.y[2]", "2.0"),
        ([[0], [1], [3], [1]], "data.y[2]", "3.0"),  # a column of labels
    ],
)
def test_cross_entropy_of_rows_that_are_no_probabilities_is_a_problem(gdcli, y: Any, place: str, number: str) -> None:
    answer = gdcli("run", written("cross_entropy", linear(2), y))
    assert answer.code == 2
    assert f"{place}: cross_entropy takes targets from 0 to 1 (got {number})" in answer.err
    assert "class indices are a list of integers" in answer.err


def test_a_negative_probability_leaves_cross_entropy_without_a_minimum() -> None:
    """Why it is refused: L = −Σ t log p of t = (−5, 1) falls for ever as p goes to (0, 1)."""
    losses = [F.cross_entropy(torch.tensor([[-z, z]]), torch.tensor([[-5.0, 1.0]])).item() for z in (1.0, 10.0, 100.0)]
    assert losses == pytest.approx([-10 + 4 * -0.126928, -100, -1000], abs=1e-3)


@pytest.mark.parametrize(("loss", "model"), [("cross_entropy", linear(2)), ("kl_div", mlp("log_softmax", 2))])
def test_probabilities_whose_sum_is_not_1_are_a_warning(gdcli, loss: str, model: Any) -> None:
    spec = written(loss, model, [[0.5, 0.5], [0.333, 0.666], [0.2, 0.9], [1, 0]])  # the second is rounded
    answer = gdcli("run", spec, "--no-plot", "-q")
    assert answer.code == 0
    assert "data.y[2]: the targets of row 3 have the sum 1.1" in answer.err
    assert answer.err.count("warning") == 1


def test_rows_of_a_file_are_told_by_their_number(gdcli) -> None:
    Path("d.csv").write_text("a,p,q\n1,1,0\n3,0.5,0.6\n5,0,1\n")
    data = "data: {file: d.csv, target: [p, q]}"
    Path("f.yaml").write_text(f"{{{data}, model: linear, loss: cross_entropy, optimizer: sgd}}")
    assert "data.target: the targets of row 2 have the sum 1.1" in gdcli("validate", "f.yaml").err


@pytest.mark.parametrize(
    ("loss", "model", "y", "text"),
    [
        ("cross_entropy", {"type": "linear"}, [0, 0, 0, 0], "cross_entropy over one output is 0"),
        ("cross_entropy", layers(1), [0, 0, 0, 0], "cross_entropy over one output is 0"),
        ("nll", mlp("log_softmax", 1), [0, 0, 0, 0], "log_softmax over one output is 0"),
        ("bce", mlp("softmax", 1), HALVES, "softmax over one output is 1"),
        ("mse", layers(1, "Softmax"), HALVES, "softmax over one output is 1"),
    ],
)
def test_a_softmax_over_one_output_is_a_warning_and_learns_nothing(
    gdcli, loss: str, model: Any, y: Any, text: str
) -> None:
    answer = gdcli("run", written(loss, model, y), "epochs=3", "print.style=loss", "--no-plot")
    assert answer.code == 0, answer.err
    assert f"loss: {text}, whatever the parameters are" in answer.err
    assert len({line.split()[-1] for line in answer.out.splitlines()}) == 1


def test_labels_in_the_spec_that_leave_a_class_empty_are_told_where_they_say_how_many_there_are(gdcli) -> None:
    answer = gdcli("validate", written("cross_entropy", {"type": "linear"}, [1, 2, 3, 3]))
    assert "data.y: class 0 has no row: labels up to 3 make 4 classes. Number the classes from 0" in answer.err
    assert gdcli("validate", written("cross_entropy", linear(4), [1, 2, 3, 3])).err == ""


@pytest.mark.parametrize("seed", range(4))
def test_a_class_that_only_a_row_held_out_may_have_is_refused_at_its_row(gdcli, seed: int) -> None:
    spec = written("cross_entropy", mlp("none", 2), CLASSES)
    answer = gdcli("run", spec, "data.y=[0,1,2,0]", "data.validation=0.5", f"data.seed={seed}")
    assert answer.code == 2
    assert "data.y[2]: class 2 does not exist: the model has 2 outputs, from 0" in answer.err


@pytest.mark.parametrize("seed", range(4))
def test_bce_of_a_row_held_out_takes_no_other_numbers_either(gdcli, seed: int) -> None:
    held_out = ("data.validation=0.5", f"data.seed={seed}")
    answer = gdcli("run", written("bce", mlp("sigmoid", 1), [[0], [1], [3], [0]]), *held_out)
    assert answer.code == 2
    assert "bce takes targets from 0 to 1 (got 3.0)" in answer.err
    outside = "{data: {x: [0.2, 0.7, 7, 0.5], y: [0, 1, 1, 0]}, model: identity, loss: bce, optimizer: sgd}"
    Path("o.yaml").write_text(outside)
    answer = gdcli("run", "o.yaml", *held_out)
    assert answer.code == 2
    assert "bce takes outputs from 0 to 1" in answer.err


def test_json_has_problems_and_warnings(gdcli) -> None:
    found = gdcli("validate", written("cross_entropy", mlp("softmax", 2), CLASSES), "--json").json
    assert (found["valid"], found["problems"], len(found["warnings"])) == (True, [], 1)
    found = gdcli("validate", written("bce", mlp("none", 1), HALVES), "--json").json
    assert (found["valid"], len(found["problems"]), found["warnings"]) == (False, 1, [])
