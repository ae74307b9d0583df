"""Each loss as a formula over all outputs of a batch, and its derivative at each of them.

Equations and cases: gdcli.zoo.losses. Outputs and targets come as symbols, a list of rows of neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gdcli.commands.explain.activations import HALF, LAYERWISE, ONE, TWO, Worked
from gdcli.commands.explain.expression import Expression, call, number, symbol, text, total
from gdcli.commands.explain.naming import LOSS, Names, partial
from gdcli.commands.explain.tree import Quantity, quantity

Rows = list[list[Expression]]  # [B][O]


@dataclass(frozen=True, slots=True)
class WorkedLoss:
    """The loss of a batch: what it needs first (probabilities), its value, and dL/do of each output by row, neuron."""

    before: tuple[Quantity, ...]
    value: Quantity
    slopes: Mapping[tuple[int, int], Quantity]


@dataclass(frozen=True, slots=True)
class _Elementwise:
    """A loss that is a sum over all outputs: ``term(o, t)``, ``whole(sum, N)`` and ``slope(o, t, N)``."""

    term: Callable[[Expression, Expression], Worked]
    whole: Callable[[Expression, Expression], Expression]
    slope: Callable[[Expression, Expression, Expression], Worked]


def _mean(terms: Expression, count: Expression) -> Expression:
    return terms / count


def _square(o: Expression, t: Expression) -> Worked:
    return (o - t) ** TWO, ""


def _squared(
    whole: Callable[[Expression, Expression], Expression],
    slope: Callable[[Expression, Expression], Expression],
) -> _Elementwise:
    return _Elementwise(_square, whole, lambda o, t, n: (slope(o - t, n), ""))


def _error(o: Expression, t: Expression) -> Expression:
    return call("abs", o - t)


def _is(o: Expression, t: Expression, sign: str, limit: Expression) -> str:
    return f"{text(_error(o, t))} {sign} {text(limit, numbers=True)}"


def _smooth_l1(beta: float = 1.0) -> _Elementwise:
    limit = symbol("β", beta)

    def term(o: Expression, t: Expression) -> Worked:
        if _error(o, t).value < beta:
            return (o - t) ** TWO / (TWO * limit), _is(o, t, "<", limit)
        return _error(o, t) - limit / TWO, _is(o, t, "≥", limit)

    def slope(o: Expression, t: Expression, n: Expression) -> Worked:
        if _error(o, t).value < beta:
            return (o - t) / (limit * n), _is(o, t, "<", limit)
        return call("sign", o - t) / n, _is(o, t, "≥", limit)

    return _Elementwise(term, _mean, slope)


def _huber(delta: float = 1.0) -> _Elementwise:
    limit = symbol("δ", delta)

    def term(o: Expression, t: Expression) -> Worked:
        if _error(o, t).value < delta:
            return (o - t) ** TWO / TWO, _is(o, t, "<", limit)
        return limit * (_error(o, t) - limit / TWO), _is(o, t, "≥", limit)

    def slope(o: Expression, t: Expression, n: Expression) -> Worked:
        if _error(o, t).value < delta:
            return (o - t) / n, _is(o, t, "<", limit)
        return limit * call("sign", o - t) / n, _is(o, t, "≥", limit)

    return _Elementwise(term, _mean, slope)


def _floored_log(o: Expression) -> Expression:
    log = call("log", o)
    return log if log.value >= -100 else call("max", log, number(-100))


def _bce() -> _Elementwise:
    def term(o: Expression, t: Expression) -> Worked:
        if t.value in (0, 1):
            return (-_floored_log(o), f"{text(t)} = 1") if t.value else (-_floored_log(ONE - o), f"{text(t)} = 0")
        return -(t * _floored_log(o) + (ONE - t) * _floored_log(ONE - o)), ""

    def slope(o: Expression, t: Expression, n: Expression) -> Worked:
        below = o * (ONE - o)
        below = below if below.value > 1e-12 else call("max", below, number(9.999999960041972e-13))
        return (o - t) / below / n, ""

    return _Elementwise(term, _mean, slope)


def _bce_with_logits() -> _Elementwise:
    def term(o: Expression, t: Expression) -> Worked:
        if o.value >= 0:  # the same number both ways; this one cannot overflow
            return (ONE - t) * o + call("log", ONE + call("exp", -o)), ""
        return -t * o + call("log", ONE + call("exp", o)), ""

    return _Elementwise(term, _mean, lambda o, t, n: ((call("σ", o) - t) / n, ""))


def _kl_div() -> _Elementwise:
    def term(o: Expression, t: Expression) -> Worked:
        if t.value == 0:
            return number(0), f"{text(t)} = 0"
        return t * (call("log", t) - o), ""

    return _Elementwise(term, _mean, lambda o, t, n: (-t / n, ""))


_ELEMENTWISE: dict[str, Callable[..., _Elementwise]] = {
    "mse": lambda: _squared(_mean, lambda e, n: TWO * e / n),
    "half_mse": lambda: _squared(lambda s, n: s / TWO / n, lambda e, n: e / n),
    "sse": lambda: _squared(lambda s, n: s, lambda e, n: TWO * e),
    "half_sse": lambda: _squared(lambda s, n: HALF * s, lambda e, n: e),
    "mae": lambda: _Elementwise(
        lambda o, t: (_error(o, t), ""), _mean, lambda o, t, n: (call("sign", o - t) / n, "")
    ),
    "smooth_l1": _smooth_l1,
    "huber": _huber,
    "bce": _bce,
    "bce_with_logits": _bce_with_logits,
    "kl_div": _kl_div,
}  # fmt: skip

TITLES = dict.fromkeys(("mse", "half_mse", "sse", "half_sse"), "MSE Loss") | {
    "mae": "MAE Loss", "smooth_l1": "Smooth L1 Loss", "huber": "Huber Loss", "bce": "BCE Loss",
    "bce_with_logits": "BCE Loss", "cross_entropy": "Cross-Entropy Loss", "nll": "NLL Loss", "kl_div": "KL Loss",
}  # fmt: skip
"""What ``--only loss`` prints before the value."""


def worked_loss(
    name: str, arguments: Mapping[str, Any], names: Names, outputs: Rows, targets: Rows, classes: Sequence[int] | None
) -> WorkedLoss:
    """Work out a loss of a batch; ``classes`` are the rows' class indices where the targets are such."""
    if name == "cross_entropy":
        return _cross_entropy(names, outputs, targets, classes)
    if name == "nll":
        assert classes is not None
        return _nll(names, outputs, classes)
    return _elementwise(name, _ELEMENTWISE[name](**arguments), names, outputs, targets)


def _elementwise(name: str, loss: _Elementwise, names: Names, outputs: Rows, targets: Rows) -> WorkedLoss:
    count = symbol("N", sum(map(len, outputs)))
    pairs = [(b, j, o, targets[b][j]) for b, row in enumerate(outputs) for j, o in enumerate(row)]
    terms = [loss.term(o, t) for _, _, o, t in pairs]
    slopes = {}
    for b, j, o, t in pairs:
        formula, note = loss.slope(o, t, count)
        slopes[b, j] = _slope(names, b, j, formula, note)
    notes = ", ".join(dict.fromkeys(note for _, note in terms if note and len(pairs) <= 4))
    whole = loss.whole(total(term for term, _ in terms), count)
    return WorkedLoss((), _loss(name, whole, notes), slopes)


def _loss(name: str, formula: Expression, note: str = "") -> Quantity:
    return quantity("loss", LOSS, formula, note, TITLES[name])


def _slope(names: Names, b: int, j: int, formula: Expression, note: str) -> Quantity:
    output = names.output(b, j)
    return quantity(f"d{output.text}", partial(LOSS, output), formula, note)


def _cross_entropy(names: Names, outputs: Rows, targets: Rows, classes: Sequence[int] | None) -> WorkedLoss:
    value, _ = LAYERWISE["softmax"]
    count = symbol("B", len(outputs))
    before, slopes, terms = [], {}, []
    for b, row in enumerate(outputs):
        chances = []
        for j in range(len(row)):
            label = names.of("p", j, b)
            chances.append(quantity(label.text, label, value(row, j)))
        before += chances
        p = [chance.symbol for chance in chances]
        terms.append(_surprise(p, targets[b], None if classes is None else classes[b]))
        for j, t in enumerate(targets[b]):
            slopes[b, j] = _slope(names, b, j, _error_of_chance(p[j], t, targets[b], classes is not None) / count, "")
    return WorkedLoss(tuple(before), _loss("cross_entropy", total(terms) / count), slopes)


def _surprise(p: list[Expression], t: list[Expression], index: int | None) -> Expression:
    """Return −log p of the class, or −Σ t log p."""
    if index is not None:
        return -call("log", p[index])
    return -total(one * call("log", chance) for one, chance in zip(t, p, strict=True))


def _error_of_chance(p: Expression, t: Expression, row: list[Expression], exact: bool) -> Expression:
    """Return p − t; p Σt − t where the targets' probabilities do not add up to 1."""
    if exact or abs(sum(one.value for one in row) - 1) < 1e-15:
        return p - t
    return p * total(row) - t


def _nll(names: Names, outputs: Rows, classes: Sequence[int]) -> WorkedLoss:
    count = symbol("B", len(outputs))
    terms = [-row[index] for row, index in zip(outputs, classes, strict=True)]
    slopes = {
        (b, j): _slope(names, b, j, *((-ONE / count, "its class") if j == classes[b] else (number(0), "not its class")))
        for b, row in enumerate(outputs)
        for j in range(len(row))
    }
    return WorkedLoss((), _loss("nll", total(terms) / count), slopes)
