"""Graded answers: the wrong factor is named, what follows from it is told so, roundings are right."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
import torch

from gdcli.commands.explain import explain, gaps_of
from gdcli.commands.explain.answers import Answer, CheckedAnswer, checked, first_wrong, places
from gdcli.commands.explain.expression import Expression
from gdcli.commands.explain.tree import Explanation
from tests.commands.explain.helpers import bundled_of, loaded_of


@cache
def explained(name: str) -> Explanation:
    return explain(bundled_of(name))


def graded(explanation: Explanation, given: dict[str, str]) -> dict[str, CheckedAnswer]:
    known = places(explanation)
    answers = {
        known[name]: Answer(name, line, Decimal(written) if written else None)
        for line, (name, written) in enumerate(given.items(), 2)
    }
    return {each.answer.name: each for each in checked(explanation, answers)}


def key(explanation: Explanation, count: int, seed: int) -> dict[str, str]:
    gaps = gaps_of(explanation, count, seed)
    return {gap.quantity.key: repr(float(gap.quantity.value)) for gap in gaps}


NAMES = {
    "backprop_2x2": 8, "adam_2x2": 8, "momentum_2x2": 8, "house_price": 8, "loss_cross_entropy": 6, "himmelblau": 7,
    "rosenbrock": 8, "loss_bce": 5, "linear_regression": 8, "chain_rule": 3,
}  # fmt: skip


@pytest.mark.parametrize("case", range(50))
def test_a_wrong_factor_is_named(case: int) -> None:
    """One answer of a sheet is altered, each time another one in another way: it is the one that is named."""
    draw = random.Random(case)
    name = sorted(NAMES)[case % len(NAMES)]
    explanation = explained(name)
    given = key(explanation, NAMES[name], case)
    altered = draw.choice(list(given))
    value = float(given[altered])
    wrong = draw.choice([-value, value * 1.01, value * 10, value + 1, value / 3, value**2 + 2, 0.0 if value else 1.0])
    digits = draw.choice([4, 8, 17])
    found = graded(explanation, given | {altered: f"{wrong:.{digits}g}"})
    named = first_wrong(list(found.values()))
    assert named is not None
    assert named.answer.name == altered
    assert [each for each in found if found[each].verdict != "right"] == [altered]


def test_what_follows_from_a_wrong_factor_is_told_so() -> None:
    """A student takes h1 for 0.6 and goes on rightly from there: by torch, with h1 replaced."""
    x, y = torch.tensor([0.05, 0.10]), torch.tensor([0.01, 0.99])
    first = torch.tensor([[0.15, 0.20], [0.25, 0.30]])
    second = torch.tensor([[0.40, 0.45], [0.50, 0.55]], requires_grad=True)
    h = torch.sigmoid(first @ x + 0.35)
    h = torch.stack([torch.tensor(0.6), h[1]])
    net = second @ h + 0.60
    loss = 0.5 * ((torch.sigmoid(net) - y) ** 2).sum()
    loss.backward()
    slope = second.grad[0, 0].item()
    given = {
        "h1": "0.6", "h2": "0.5969", "net_o1": f"{net[0].item():.5f}", "loss": f"{loss.item():.5f}",
        "dw5": f"{slope:.5f}", "new_w5": f"{0.4 - 0.5 * slope:.5f}",
    }  # fmt: skip
    found = graded(explained("backprop_2x2"), given)
    assert {name: each.verdict for name, each in found.items()} == {
        "h1": "wrong", "h2": "right", "net_o1": "follows", "loss": "follows", "dw5": "follows", "new_w5": "follows",
    }  # fmt: skip
    assert {each.roots for name, each in found.items() if each.verdict == "follows"} == {("h1",)}
    assert found["new_w5"].told == "follows from h1"


def test_roundings_on_the_way_from_a_wrong_answer_count() -> None:
    """With h1 = 0.6 and three digits dL/dw5 is 0.742 · 0.187 · 0.6 = 0.08325; 0.08304 or 0.08310 without roundings."""
    found = graded(explained("backprop_2x2"), {"h1": "0.6", "dw5": "0.08325"})
    assert found["dw5"].told == "follows from h1"
    assert graded(explained("backprop_2x2"), {"h1": "0.6", "dw5": "0.0841"})["dw5"].verdict == "wrong"


def test_numbers_of_the_sheet_may_be_used_after_a_wrong_one() -> None:
    """o1 stands printed on the sheet: with a wrong h1, dL/dw5 is its printed factors times that h1."""
    o1 = 0.7513650695523157
    wrong = (o1 - 0.01) * o1 * (1 - o1) * 0.6
    found = graded(explained("backprop_2x2"), {"h1": "0.6", "dw5": f"{wrong:.6f}"})
    assert found["dw5"].roots == ("h1",)


def test_a_wrong_local_derivative_reaches_the_weight_by_the_chain() -> None:
    """dL/dw5's formula has o1 and t1; by the chain it is dL/do1 · do1/dnet_o1 · h1, with the student's dL/do1."""
    wrong = 0.8 * 0.18681560180895948 * 0.5932699921071872
    found = graded(explained("backprop_2x2"), {"do1": "0.8", "dw5": f"{wrong:.6f}"})
    assert (found["do1"].verdict, found["dw5"].told) == ("wrong", "follows from do1")
    right = graded(explained("backprop_2x2"), {"do1": "0.8", "dw5": "0.082167"})
    assert right["dw5"].verdict == "right"


def test_the_first_of_two_wrong_ones_is_named_in_the_order_of_the_chain() -> None:
    found = graded(explained("backprop_2x2"), {"new_w5": "1.5", "dw5": "0.9", "h1": "0.7"})
    named = first_wrong(list(found.values()))
    assert named is not None
    assert named.answer.name == "h1"


def test_a_wrong_answer_behind_another_is_not_named_twice() -> None:
    """new_w5 = 0.4 − 0.5 · dw5 follows from dw5, which is wrong in itself; h2 has no part in it."""
    found = graded(explained("backprop_2x2"), {"h2": "0.1", "dw5": "0.2", "new_w5": "0.3"})
    assert found["new_w5"].roots == ("dw5",)


def test_each_scalar_s_state_is_its_own() -> None:
    """Adam's m′ and v′ of one weight do not stand for those of another."""
    spec: dict[str, Any] = {
        "data": {"x": [[1.0, 2.0]], "y": [3.0]}, "model": {"type": "linear", "init": {"*": 0.5}},
        "loss": "mse", "optimizer": {"name": "adam", "lr": 0.1},
    }  # fmt: skip
    explanation = explain(loaded_of(spec))
    by_name = {one.key: one.value for one in explanation.quantities()}
    given = {"w1.m′": "5", "w2.m′": repr(by_name["w2.m′"]), "w2.M": repr(by_name["w2.M"]), "w1.M": "50"}
    found = graded(explanation, given)
    assert {name: each.told for name, each in found.items()} == {
        "w1.m′": "wrong", "w1.M": "follows from w1.m′", "w2.m′": "right", "w2.M": "right",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "verdict"),
    [
        ("0.5932699921071872", "right"), ("0.59327", "right"), ("0.5933", "right"), ("0.5932", "right"),
        ("0.593", "right"), ("5.93e-1", "right"), ("0.59", "wrong"), ("0.6", "wrong"), ("1", "wrong"),
        ("0.5942", "wrong"), ("0.59329", "wrong"), ("0.593272", "wrong"), ("", "missing"),
    ],
)  # fmt: skip
def test_an_answer_is_right_to_the_digits_that_it_shows(written: str, verdict: str) -> None:
    assert graded(explained("backprop_2x2"), {"h1": written})["h1"].verdict == verdict


def test_rounded_answers_may_lead_to_rounded_answers() -> None:
    """With h1 and h2 of three digits net_o1 is 0.593 · 0.4 + 0.597 · 0.45 + 0.6 = 1.10585; by all digits 1.10591."""
    found = graded(explained("backprop_2x2"), {"h1": "0.593", "h2": "0.597", "net_o1": "1.10585"})
    assert found["net_o1"].verdict == "right"
    assert graded(explained("backprop_2x2"), {"net_o1": "1.10585"})["net_o1"].verdict == "wrong"


@pytest.mark.parametrize(
    ("name", "written", "note"),
    [
        ("h1", "0.59", "give three digits"),
        ("dw7", "0.0226025", "the sign is the other one"),
        ("dw5", "0.13849857", "the factor h1 is left out"),  # 0.08216704056 / 0.59326999211
        ("net_o1", "0.50590597", "the term b2 is left out"),
        ("h1", "0.123", ""),
    ],
)
def test_a_usual_slip_is_told(name: str, written: str, note: str) -> None:
    assert graded(explained("backprop_2x2"), {name: written})[name].note == note


def test_names_are_those_of_only_and_those_of_print() -> None:
    known = places(explained("backprop_2x2"))
    for one, other in (("dw5", "dL/dw5"), ("new_w5", "w5′"), ("loss", "L"), ("do1", "dL/do1")):
        assert known[one] == known[other]


@pytest.mark.parametrize("name", [*NAMES, "gd_variants", "momentum_average", "why_cross_entropy", "rmsprop_2x2"])
def test_every_quantity_in_a_formula_is_one_that_stands_before_it(name: str) -> None:
    """So that a wrong answer reaches all that is made of it: no symbol with a quantity's name stands for itself."""
    quantities = list(explained(name).quantities())
    names, before = {one.name.text for one in quantities}, set[tuple[str, float]]()
    for one in quantities:
        for route in (one.formula, one.chain):
            for symbol in symbols(route) if route is not None else ():
                text = symbol.name.text
                assert text not in names or (text, float(symbol.value)) in before or symbol.operands, (one.key, text)
        before.add((one.name.text, float(one.value)))


def symbols(expression: Expression) -> Iterator[Expression]:
    if expression.operation == "symbol":
        yield expression
    for operand in expression.operands:
        yield from symbols(operand)
