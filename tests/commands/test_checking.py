"""The gradient check passes on right gradients, fails on wrong ones, and says what it could not compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gdcli.commands.check import AUTOGRAD, DIFFERENCES, HAND, Report, check
from gdcli.errors import SpecError
from gdcli.spec import bundled
from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.schema import parse
from gdcli.zoo import activations, losses
from gdcli.zoo.activations import ACTIVATIONS, Activation

DATA = "{x: [[0.5, -1.2], [1.5, 0.3], [-0.7, 0.9]], y: [[0.2], [0.8], [0.4]]}"


def loaded(text: str) -> Loaded:
    return load(parse(read(text, "f"), "model"), Path())


def of_bundled(name: str) -> Loaded:
    source = bundled.find(name)
    return load(parse(read(source.text, source.shown), name), source.path.parent)


def mlp(activation: str = "tanh", loss: str = "mse", data: str = DATA, outputs: int = 1, more: str = "") -> Loaded:
    model = f"{{type: mlp, layers: [2, 3, {outputs}], activation: {activation}{more}}}"
    return loaded(f"{{data: {data}, model: {model}, loss: {loss}, optimizer: sgd}}")


def sequential(layers: str) -> Loaded:
    return loaded(f"{{data: {DATA}, model: {{type: sequential, layers: {layers}}}, loss: mse, optimizer: sgd}}")


def errors(report: Report, dtype: str, pair: tuple[str, str]) -> list[float]:
    found = [row.errors[pair] for row in report.rows if row.dtype == dtype]
    return [error for error in found if error is not None]


@pytest.mark.parametrize("name", bundled.names())
def test_passes_on_every_bundled_spec(name: str) -> None:
    report = check(of_bundled(name))
    assert report.passed, report.text()


def test_by_hand_has_the_bits_of_autograd() -> None:
    report = check(of_bundled("backprop_2x2"))
    assert errors(report, "float64", (HAND, AUTOGRAD)) == errors(report, "float32", (HAND, AUTOGRAD)) == [0.0] * 4


def test_differences_of_a_smooth_model_have_nine_digits() -> None:
    found = errors(check(of_bundled("backprop_2x2")), "float64", (HAND, DIFFERENCES))
    assert 0 < max(found) < 5e-9


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "sign_ste"])
def test_passes_for_each_activation(activation: str) -> None:
    report = check(mlp(activation))
    assert report.passed, report.text()


@pytest.mark.parametrize("loss", ["mse", "mae", "smooth_l1", "huber", "sse", "half_sse", "half_mse", "bce_with_logits"])
def test_passes_for_each_loss_of_values(loss: str) -> None:
    report = check(mlp(loss=loss))
    assert report.passed, report.text()


@pytest.mark.parametrize("loss", ["cross_entropy", "nll"])
def test_passes_for_each_loss_of_classes(loss: str) -> None:
    data = "{x: [[0.5, -1.2], [1.5, 0.3]], y: [2, 0]}"
    report = check(mlp(loss=loss, data=data, outputs=3, more=", output_activation: log_softmax"))
    assert report.passed, report.text()


@pytest.mark.parametrize(
    "layers",
    [
        "[{layer: Linear, in_features: 2, out_features: 4}, ReLU, Dropout, "
        "{layer: Linear, in_features: 4, out_features: 1}]",
        "[{layer: Linear, in_features: 2, out_features: 4}, {layer: BatchNorm1d, num_features: 4}, PReLU, "
        "{layer: Linear, in_features: 4, out_features: 1}]",
    ],
)
def test_torchs_own_layers_have_two_ways_and_keep_their_dropout(layers: str) -> None:
    report = check(sequential(layers))
    assert report.passed, report.text()
    assert {pair for row in report.rows for pair in row.errors} == {(AUTOGRAD, DIFFERENCES)}
    assert "type sequential is not written out by hand" in report.notes[0]


def test_an_objective_has_two_ways() -> None:
    report = check(loaded("{model: {type: objective, expression: 'x**2*y + sin(y)', start: {x: 1, y: 2}}, epochs: 0}"))
    assert report.passed
    assert [row.parameter for row in report.rows] == ["x", "y"] * 2
    assert {pair for row in report.rows for pair in row.errors} == {(AUTOGRAD, DIFFERENCES)}


def broken(factor: float) -> Any:
    right = ACTIVATIONS["sigmoid"]()

    def backward(d: torch.Tensor, z: torch.Tensor, a: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        assert right.backward is not None
        right.backward(d, z, a, out)
        if out.shape[-1] == 3:
            out[:, 1] *= factor
        return out

    return lambda: Activation(right.forward, backward, right.grad_fn)


@pytest.mark.parametrize("factor", [0.5, 1.00001, float("nan")])
def test_names_the_entry_of_a_broken_gradient(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """The second unit of the hidden layer gets a wrong derivative: its weights and bias fail, no others."""
    monkeypatch.setitem(activations.ACTIVATIONS, "sigmoid", broken(factor))
    report = check(mlp("sigmoid"), ["float64"])
    assert not report.passed
    assert report.failed == 3
    assert report.worst.name in ("linear1.weight[1,0]", "linear1.weight[1,1]", "linear1.bias[1]")
    assert list(report.worst.values) == [HAND, AUTOGRAD]
    assert report.text().endswith(f"the worst {report.worst.name}\n")
    assert all(each is not None for row in report.rows for each in row.errors.values())


def test_a_wrong_derivative_of_a_loss_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = losses.mse()
    wrong = losses.Loss(right.value, losses.sse().derivative, right.grad_fn, right.terms)
    monkeypatch.setitem(losses.LOSSES, "mse", lambda: wrong)
    report = check(
        loaded("{data: {x: [6, 3, 2], y: [1, 4, 5]}, model: identity, loss: mse, epochs: 0, print: {style: loss}}"),
        ["float64"],
    )
    assert report.failed == 3
    assert report.worst.name.startswith("x[")


def test_autograd_wrong_against_differences_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both backward passes agree on a wrong derivative, differences tell."""
    straight = ACTIVATIONS["sign_ste"]
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", straight)
    report = check(mlp("tanh"), ["float64"])
    assert not report.passed
    assert list(report.worst.values)[1] == DIFFERENCES


def test_sign_with_a_straight_through_gradient_has_no_differences() -> None:
    report = check(mlp("sign_ste"))
    assert report.passed
    assert {pair for row in report.rows for pair in row.errors} == {(HAND, AUTOGRAD)}
    assert "no differences: the gradient of sign_ste is not that of the loss, by definition" in report.notes


def test_a_kink_is_left_out_and_said() -> None:
    """All weights zero: every relu stands at its kink, and the loss over its weights has none of the two slopes."""
    model = "{type: mlp, layers: [2, 2, 1], init: {'linear1.*': 0}}"
    report = check(loaded(f"{{data: {DATA}, model: {model}, loss: mse, optimizer: sgd}}"))
    assert report.passed, report.text()
    assert any("at a kink of the loss" in note for note in report.notes)


def test_a_large_model_has_differences_of_a_sample() -> None:
    text = "{data: {generate: {kind: blobs, n: 20, features: 50}}, model: {type: mlp, layers: [50, 60, 3]}, "
    report = check(loaded(text + "loss: cross_entropy, optimizer: sgd}"), ["float64"])
    assert report.passed, report.text()
    assert [row.differenced for row in report.rows] == [100, 60, 100, 3]
    assert "differences of a random sample of 263 of the 3,243 scalars" in report.notes


def test_a_large_batch_is_cut() -> None:
    text = "{data: {generate: {kind: linear, weights: [2], n: 1500}}, model: linear, loss: mse, optimizer: sgd}"
    report = check(loaded(text))
    assert report.samples == 1000
    assert "the first 1,000 of the 1,500 rows of step 1" in report.notes


def test_at_a_minimum_rounding_is_no_error() -> None:
    text = "{data: {x: [0.1, 0.7, 1.3], y: [0.2, 1.4, 2.6]}, model: {type: linear, init: {weight: 2, bias: 0}}, "
    report = check(loaded(text + "loss: mse, optimizer: sgd}"))
    assert report.passed, report.text()


def test_the_tolerance_given_is_kept() -> None:
    assert check(of_bundled("backprop_2x2"), tolerance=1e-5).passed
    assert not check(of_bundled("backprop_2x2"), tolerance=1e-15).passed


def test_a_frozen_model_and_a_refused_batch() -> None:
    with pytest.raises(SpecError, match="every parameter is frozen"):
        check(mlp(more=", freeze: ['*']"))
    one_row = sequential("[{layer: Linear, in_features: 2, out_features: 1}, {layer: BatchNorm1d, num_features: 1}]")
    text = "{data: {x: [[1, 2]], y: [[3]]}, model: {type: sequential, layers: "
    layers = "[{layer: Linear, in_features: 2, out_features: 1}, {layer: BatchNorm1d, num_features: 1}]"
    assert check(one_row).samples == 3
    with pytest.raises(SpecError, match="takes no batch of one row"):
        check(loaded(text + layers + "}, loss: mse, optimizer: sgd}"))


@pytest.mark.parametrize("penalty", ["{l2: 0.1}", "{l1: 0.1}", "{l1: 0.01, l2: 0.2}"])
@pytest.mark.parametrize("model", [mlp(), sequential("[{layer: Linear, in_features: 2, out_features: 1}]")])
def test_a_penalty_is_in_every_way(penalty: str, model: Loaded) -> None:
    """Differences are of the loss with it: a gradient without it would be told."""
    from dataclasses import replace

    from gdcli.spec.sections import Penalty

    found = Penalty.model_validate(read(penalty, "f").plain())
    report = check(replace(model, spec=replace(model.spec, penalty=found)))
    assert report.passed, report.text()


def test_differences_hold_what_an_objective_detaches_as_the_gradient_does() -> None:
    expression = "detach(x*y)*x**2 + sin(y)*detach(exp(x))"
    report = check(
        loaded(f"{{model: {{type: objective, expression: '{expression}', start: {{x: 1, y: 2}}}}, epochs: 0}}")
    )
    assert report.passed
    assert all(error < 1e-6 for error in errors(report, "float64", (AUTOGRAD, DIFFERENCES)))
