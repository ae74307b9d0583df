"""Squared loss against cross-entropy, worked out on the spec's own rows; frozen parameters by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

NUMBER = r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)"

SPEC = "{name: soft, data: {x: ROWS, y: CLASSES}, model: identity, loss: LOSS, epochs: 0, print: {style: loss}}"


def values(text: str) -> dict[str, float]:
    """Return what each S and H is at the end of its formula."""
    return {name: float(value) for name, value in re.findall(rf"(?m)^([SH]\d+) [^\n]*(?:\n  .*)*? = {NUMBER}$", text)}


@pytest.mark.parametrize("loss", ["cross_entropy", "nll"])
@pytest.mark.parametrize(
    ("rows", "classes"),
    [([[-2.85, 0.86, 0.28]], [2]), ([[1.5, 2.0, 0.5], [0.5, 1.0, 1.5], [3.0, -1.0, 0.0]], [1, 2, 0])],
)
def test_the_two_losses_are_those_of_the_specs_own_rows(gdcli, loss: str, rows: list, classes: list[int]) -> None:
    p = softmax(np.array(rows), axis=1)
    given = rows if loss == "cross_entropy" else np.log(p).tolist()
    Path("soft.yaml").write_text(
        SPEC.replace("ROWS", str(given)).replace("CLASSES", str(classes)).replace("LOSS", loss)
    )
    answer = gdcli("explain", "soft.yaml")
    assert answer.code == 0, answer.err
    _, _, section = answer.out.partition("Squared loss against cross-entropy")
    expected = {}
    for k, true in enumerate(classes):
        expected[f"S{k + 1}"] = ((p[k] - np.eye(3)[true]) ** 2).sum()
        expected[f"H{k + 1}"] = -np.log(p[k, true])
    assert values(section) == pytest.approx(expected, rel=1e-12)
    assert "0.6" not in section.split("row  ")[0]  # nobody else's numbers


def test_what_the_comparison_shows_can_be_asked_for_alone(gdcli) -> None:
    Path("soft.yaml").write_text(
        SPEC.replace("ROWS", str(np.log([[0.2, 0.8], [0.5, 0.5]]).tolist()))
        .replace("CLASSES", "[1, 0]")
        .replace("LOSS", "nll")
    )
    answer = gdcli("explain", "soft.yaml", "--only", "p2[1],S1,H2")
    found = dict(line.split(": ") for line in answer.out.splitlines())
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"p2[1]": 0.8, "S1": 0.2**2 + 0.2**2, "H2": -np.log(0.5)}
    )
    entropy = gdcli("explain", "why_cross_entropy", "--only", "H1").out
    assert float(entropy.split(": ")[1]) == pytest.approx(-np.log(0.6))


@pytest.mark.parametrize("loss", ["nll", "kl_div"])
def test_outputs_that_are_no_logarithms_of_probabilities_are_told_and_not_compared(gdcli, loss: str) -> None:
    classes = "[0]" if loss == "nll" else "[[1, 0, 0]]"
    Path("soft.yaml").write_text(SPEC.replace("ROWS", "[[1, 2, 3]]").replace("CLASSES", classes).replace("LOSS", loss))
    answer = gdcli("explain", "soft.yaml")
    assert answer.code == 0
    assert "Squared loss against cross-entropy" not in answer.out
    told = gdcli("validate", "soft.yaml").err
    assert f"data.x: {loss} takes logarithms of probabilities, those of row 1 do not sum to 1" in told
    assert "there is no 'p3' here" in gdcli("explain", "soft.yaml", "--only", "p3").err


def test_equal_chances_of_the_true_class_have_one_cross_entropy_and_two_squared_losses(gdcli) -> None:
    """0.2² + 0.2² + 0.4² = 0.24 and 0² + 0.4² + 0.4² = 0.32; −log 0.6 twice."""
    _, _, section = gdcli("explain", "why_cross_entropy").out.partition("Squared loss against cross-entropy")
    assert values(section) == pytest.approx({"S1": 0.24, "S2": 0.32, "H1": -np.log(0.6), "H2": -np.log(0.6)})


def test_a_frozen_weight_says_so(gdcli) -> None:
    words = ("explain", "backprop_2x2", "model.freeze=['linear1.weight']", "--only")
    free = gdcli("explain", "backprop_2x2", "--only", "dw1,dw5").out.splitlines()
    first, second = gdcli(*words, "dw1,dw5").out.splitlines()
    assert first == free[0].replace("dw1:", "dw1 (linear1.weight is frozen):")
    assert second == free[1]
    answer = gdcli(*words, "new_w1")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("--only: there is no 'new_w1' here: linear1.weight is frozen. Try 'gdcli explain")


def test_a_frozen_variable_says_so(gdcli) -> None:
    """d(x² + 3y)/dx = 2x at x = 2."""
    spec = "{model: {type: objective, expression: 'x**2 + 3*y', start: {x: 2, y: 1}, freeze: [x]}, epochs: 1, "
    Path("valley.yaml").write_text(spec + "optimizer: {name: sgd, lr: 0.1}, dtype: float64}")
    assert gdcli("explain", "valley.yaml", "--only", "dx,dy").out == "dx (x is frozen): 4.0\ndy: 3\n"
