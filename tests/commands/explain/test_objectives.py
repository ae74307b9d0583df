"""The chain rule through expressions, against autograd."""

from __future__ import annotations

import pytest
import torch

from gdcli.commands.explain import explain, quantities
from gdcli.commands.explain.expression import text
from gdcli.zoo import objectives
from tests.commands.explain.helpers import bundled_of, evaluated, loaded_of

EXPRESSIONS = [
    "(exp(-(w*x+b)+1))**-1 + 0*x",
    "(1 - x)**2 + 100*(b - x**2)**2 + w",
    "w*x*b + w**2 - -x + 2**3",
    "x**b + w/b - w/x/b",
    "sin(w)*cos(x) + tan(b)*w",
    "log(x) + log10(x) + log2(b) + log1p(b) + sqrt(x) + expm1(w)",
    "tanh(w) + sigmoid(x) + softplus(b) + relu(w) + relu(x) + erf(w) + square(x)",
    "asin(w) + acos(w) + atan(x) + asinh(x) + acosh(x + 1) + atanh(w) + b",
    "sinh(w) + cosh(x) + abs(w) + sign(b) + hypot(w, x) + atan2(w, x)",
    "maximum(w, x) + minimum(w, b) + maximum(x, x) + pow(x, 3) + e**w + pi*b",
    "w + x + b",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_derivatives_are_autograds(expression: str) -> None:
    start = {"w": -0.4, "x": 1.3, "b": 0.7}
    used = objectives.names(objectives.parse(expression))
    start = {name: value for name, value in start.items() if name in used}
    loaded = loaded_of({"model": {"type": "objective", "expression": expression, "start": start},
                        "optimizer": "sgd", "dtype": "float64"})  # fmt: skip
    leaves = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in start.items()}
    value = objectives.compile_(objectives.parse(expression), list(leaves), {})(list(leaves.values()))
    value.backward()
    explanation = explain(loaded)
    for one in explanation.quantities():
        assert evaluated(text(one.worked, numbers=True)) == pytest.approx(one.value, rel=1e-15), one.name
    found = {one.key: one.value for one in explanation.quantities()}
    assert found["loss"] == pytest.approx(value.item(), rel=1e-13)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        assert found[f"d{name}"] == pytest.approx(leaf.grad.item(), rel=1e-12), name


def test_the_documents_chain_rule_node_by_node() -> None:
    found = {one.key: one for one in explain(bundled_of("chain_rule")).quantities()}
    assert [one for one in found if one.startswith("v")] == ["v1", "v2", "v3", "v4", "v5"]
    assert found["dw"].value == pytest.approx(0.3678794503211975, rel=1e-7)  # the golden text is float32


def test_a_variable_by_itself() -> None:
    loaded = loaded_of({"model": {"type": "objective", "expression": "x", "start": {"x": 2}}, "optimizer": "sgd"})
    assert [one.value for one in quantities(loaded, ["loss", "dx", "new_x"])] == [2.0, 1, 2.0 - 0.001]


def test_names_of_variables_do_not_meet_names_of_nodes() -> None:
    model = {"type": "objective", "expression": "loss**2 * v1 + v1", "start": {"loss": 3, "v1": 2}}
    loaded = loaded_of({"model": model, "optimizer": "sgd", "dtype": "float64"})
    found = {one.name.text: one.value for one in explain(loaded).quantities()}
    assert (found["L"], found["dL/dloss"], found["dL/dv1"]) == (20, 12, 10)
