"""Losses of classes that have weights, or whose targets are smoothed, written out."""

from __future__ import annotations

from collections.abc import Sequence

from gdcli.commands.explain.activations import LAYERWISE, ONE
from gdcli.commands.explain.expression import Expression, Label, call, number, symbol, total
from gdcli.commands.explain.tree import LOSS, Names, Quantity, partial, quantity

Rows = list[list[Expression]]  # [B][O]
Slopes = dict[tuple[int, int], Quantity]

DIVISOR = Label("W", "W")


def weighted_cross_entropy(
    names: Names, outputs: Rows, targets: Rows, classes: Sequence[int] | None, weights: Sequence[float] | None,
    smoothing: float,
) -> tuple[tuple[Quantity, ...], Expression, Slopes]:  # fmt: skip
    """Return what comes first (p, q and W), the loss −ΣΣ q log p / W, and dL/do = (p Σq − q) / W of each output.

    q = w ((1 − ε) t + ε / C), and W the sum of the weights of the rows' classes, or the rows where there are none.
    """
    softmax, _ = LAYERWISE["softmax"]
    chances = [
        [quantity(names.of("p", j, b), softmax(row, j)) for j in range(len(row))] for b, row in enumerate(outputs)
    ]
    aims = [
        [quantity(names.of("q", j, b), _aim(t, j, len(row), weights, smoothing)) for j, t in enumerate(row)]
        for b, row in enumerate(targets)
    ]
    divisor = _divisor(len(outputs), classes, weights)
    whole = quantity(DIVISOR, divisor)
    terms, slopes = [], {}
    for b, (row, aim) in enumerate(zip(chances, aims, strict=True)):
        q = [one.symbol for one in aim]
        terms += [-(one * call("log", chance.symbol)) for one, chance in zip(q, row, strict=True) if one.value]
        adds_up = weights is None and abs(sum(one.value for one in q) - 1) < 1e-12
        for j, chance in enumerate(row):
            above = (chance.symbol if adds_up else chance.symbol * total(q)) - q[j]
            slopes[b, j] = _slope(names, b, j, above / whole.symbol)
    before = (*(one for row in chances for one in row), *(one for row in aims for one in row), whole)
    return before, total(terms) / whole.symbol, slopes


def weighted_nll(
    names: Names, outputs: Rows, classes: Sequence[int], weights: Sequence[float]
) -> tuple[Expression, Slopes]:
    """Return the loss −Σ w[c] o[c] / Σ w[c] and its derivative at each output."""
    divisor = _divisor(len(outputs), classes, weights)
    terms = [-(_weight(weights, c) * row[c]) for row, c in zip(outputs, classes, strict=True)]
    slopes = {
        (b, j): _slope(names, b, j, -_weight(weights, j) / divisor if j == classes[b] else number(0))
        for b, row in enumerate(outputs)
        for j in range(len(row))
    }
    return total(terms) / divisor, slopes


def _aim(t: Expression, j: int, classes: int, weights: Sequence[float] | None, smoothing: float) -> Expression:
    if smoothing:
        epsilon = symbol("ε", smoothing)
        t = (ONE - epsilon) * t + epsilon / symbol("C", classes)
    return t if weights is None else _weight(weights, j) * t


def _weight(weights: Sequence[float], j: int) -> Expression:
    return symbol(Label(f"ω{j + 1}", rf"\omega_{{{j + 1}}}"), weights[j] if j < len(weights) else 1.0)


def _divisor(rows: int, classes: Sequence[int] | None, weights: Sequence[float] | None) -> Expression:
    if weights is None or classes is None:
        return symbol("B", rows)
    return total(_weight(weights, index) for index in classes)


def _slope(names: Names, b: int, j: int, formula: Expression) -> Quantity:
    output = names.of("o", j, b)
    return quantity(partial(LOSS, output), formula, key=f"d{output.text}")
