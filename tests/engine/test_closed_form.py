"""The closed form against numpy's least squares, the normal equations, and a line worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gdcli.engine.closed_form import solve, why_not
from gdcli.errors import RunError, SpecError
from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.schema import parse

RNG = np.random.default_rng(4)
X, Y = RNG.normal(size=(30, 3)).round(3), RNG.normal(size=(30, 2)).round(3)
LOSSES = {"mse": 1 / 60, "half_mse": 1 / 120, "sse": 1.0, "half_sse": 0.5}  # what each makes of the sum of squares
ROWS = f"data: {{x: {X.tolist()}, y: {Y.tolist()}}}\n"


def loaded(text: str) -> Loaded:
    return load(parse(read(text + "\noptimizer: sgd\n", "f"), "s"), Path())


def test_a_line_worked_out_by_hand() -> None:
    """Σx = 6, Σy = 9, Σxy = 21, Σx² = 14: w = (3·21 − 6·9) / (3·14 − 36) = 3/2, b = 0, residuals ½, −1, ½."""
    found = solve(loaded("data: {x: [1, 2, 3], y: [2, 2, 5]}\nmodel: linear\nloss: sse"))
    assert [parameter.name for parameter in found.parameters] == ["weight", "bias"]
    assert found.parameters[0].values == pytest.approx(np.array([[1.5]]), abs=1e-15)
    assert found.parameters[1].values == pytest.approx(np.array([0.0]), abs=1e-14)
    assert found.loss == pytest.approx(1.5, rel=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", ["{type: linear}", "{type: mlp, layers: [3, 2]}"])
def test_with_bias_it_is_numpys_solution_of_the_augmented_rows(model: str, loss: str) -> None:
    found = solve(loaded(f"{ROWS}model: {model}\nloss: {loss}"))
    expected, (*squares,), *_ = np.linalg.lstsq(np.hstack([X, np.ones((30, 1))]), Y, rcond=None)
    weight, bias = (parameter.values for parameter in found.parameters)
    np.testing.assert_allclose(weight, expected[:3].T, rtol=1e-12)
    np.testing.assert_allclose(bias, expected[3], rtol=1e-12)
    assert found.loss == pytest.approx(sum(squares) * LOSSES[loss], rel=1e-12)
    assert weight.dtype == np.float64


def test_without_bias_it_is_numpys_solution_of_the_rows() -> None:
    found = solve(loaded(f"{ROWS}model: {{type: linear, bias: false}}\nloss: mse"))
    (weight,) = found.parameters
    np.testing.assert_allclose(weight.values, np.linalg.lstsq(X, Y, rcond=None)[0].T, rtol=1e-12)


def test_a_shared_bias_is_numpys_solution_of_all_outputs_at_once() -> None:
    found = solve(loaded(f"{ROWS}model: {{type: linear, init: {{bias: [0.5]}}}}\nloss: half_sse"))
    design = np.hstack([np.kron(np.eye(2), X), np.ones((60, 1))])  # one column of ones for both outputs
    expected, (squares,), *_ = np.linalg.lstsq(design, Y.T.ravel(), rcond=None)
    weight, bias = (parameter.values for parameter in found.parameters)
    assert bias.shape == (1,)
    np.testing.assert_allclose(weight.ravel(), expected[:6], rtol=1e-12)
    np.testing.assert_allclose(bias, expected[6:], rtol=1e-12)
    assert found.loss == pytest.approx(squares / 2, rel=1e-12)


def test_of_several_solutions_the_weights_of_the_smallest_norm() -> None:
    """Both features are the same: w₁ + w₂ = 2 fits exactly, and (1, 1) is the shortest."""
    found = solve(loaded("data: {x: [[1, 1], [2, 2], [3, 3]], y: [3, 5, 7]}\nmodel: linear\nloss: mse"))
    np.testing.assert_allclose(found.parameters[0].values, [[1, 1]], rtol=1e-14)
    np.testing.assert_allclose(found.parameters[1].values, [1], rtol=1e-13)
    assert found.loss < 1e-28


def test_one_row_is_met_by_the_bias() -> None:
    found = solve(loaded("data: {x: [[1, 2]], y: [3]}\nmodel: linear\nloss: mse"))
    assert found.parameters[0].values.tolist() == [[0, 0]]
    assert found.parameters[1].values.tolist() == [3]
    assert found.loss == 0


def test_features_far_from_zero_keep_their_digits() -> None:
    """Calendar years as x: the normal equations of the bare columns would lose eight digits."""
    years = [2_000_000.0 + k for k in range(5)]
    text = f"data: {{x: {years}, y: {[3 * (x - 2_000_000) + 1 for x in years]}}}\nmodel: linear\nloss: sse"
    found = solve(loaded(text))
    assert found.parameters[0].values[0, 0] == pytest.approx(3, rel=1e-13)
    assert found.loss < 1e-16


LINE = "data: {x: [1, 2], y: [2, 4]}\n"
REFUSED = {
    f"{LINE}model: linear\nloss: mae": "needs a squared loss (mse, half_mse, sse, half_sse), not mae",
    f"{LINE}model: {{type: mlp, layers: [1, 2, 1]}}\nloss: mse": "needs a linear model",
    f"{LINE}model: {{type: mlp, layers: [1, 1], output_activation: tanh}}\nloss: mse": "without activation, not tanh",
    f"{LINE}model: {{type: linear, freeze: b*}}\nloss: mse": "bias is frozen",
    f"{LINE}model: identity\nloss: mse": "needs a linear model",
    "model: {type: objective, expression: x**2, start: {x: 1}}": "not an objective",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_has_no_closed_form_says_why(text: str, reason: str) -> None:
    assert reason in why_not(loaded(text))
    with pytest.raises(SpecError, match=re.escape(reason)):
        solve(loaded(text))


def test_data_beyond_a_float64s_square() -> None:
    with pytest.raises(RunError, match="not finite"):
        solve(loaded("data: {x: [1e308, 1.7e308, 1.7e308], y: [1, 2, 3]}\nmodel: linear\nloss: mse"))
