"""Each loss as a formula over all outputs of a batch, and its derivative at each of them.

At the end: why not squared loss for classes.
Equations and cases: gdcli.zoo.losses. Outputs and targets come as symbols, a list of rows of neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gdcli.commands.explain.activations import HALF, LAYERWISE, ONE, TWO, Worked
from gdcli.commands.explain.expression import Expression, Label, call, number, symbol, text, total
from gdcli.commands.explain.naming import LOSS, Names, partial
from gdcli.commands.explain.tree import ExplanationSection, Group, Quantity, WorkedTable, quantity

Rows = list[list[Expression]]  # [B][O]


@dataclass(frozen=True, slots=True)
class WorkedLoss:
    """The loss of a batch: what it needs first (probabilities), its value, and dL/do of each output by row, neuron."""

    before: tuple[Quantity, ...]
    value: Quantity
    slopes: Mapping[tuple[int, int], Quantity]


def _mean(terms: Expression, count: Expression) -> Expression:
    return terms / count


@dataclass(frozen=True, slots=True)
class _Elementwise:
    """A loss that is a sum over all outputs: ``term(o, t)``, ``slope(o, t, N)`` and ``whole(sum, N)``."""

    term: Callable[[Expression, Expression], Worked]
    slope: Callable[[Expression, Expression, Expression], Worked]
    whole: Callable[[Expression, Expression], Expression] = _mean


def _squared(
    whole: Callable[[Expression, Expression], Expression], slope: Callable[[Expression, Expression], Expression]
) -> _Elementwise:
    return _Elementwise(lambda o, t: ((o - t) ** TWO, ""), lambda o, t, n: (slope(o - t, n), ""), whole)


def _of_size(
    limit: Expression,
    below: tuple[Callable[[Expression], Expression], Callable[[Expression, Expression], Expression]],
    above: tuple[Callable[[Expression], Expression], Callable[[Expression, Expression], Expression]],
) -> _Elementwise:
    """Return a loss with ``term(o - t)`` and ``slope(o - t, N)`` for errors below a limit, and others from there on."""

    def is_below(o: Expression, t: Expression) -> tuple[bool, str]:
        error = call("abs", o - t)
        small = error.value < limit.value
        return small, f"{text(error)} {'<' if small else '≥'} {text(limit, numbers=True)}"

    def term(o: Expression, t: Expression) -> Worked:
        small, note = is_below(o, t)
        return (below if small else above)[0](o - t), note

    def slope(o: Expression, t: Expression, n: Expression) -> Worked:
        small, note = is_below(o, t)
        return (below if small else above)[1](o - t, n), note

    return _Elementwise(term, slope)


def _smooth_l1(beta: float = 1.0) -> _Elementwise:
    limit = symbol("β", beta)
    return _of_size(
        limit,
        below=(lambda e: e**TWO / (TWO * limit), lambda e, n: e / (limit * n)),
        above=(lambda e: call("abs", e) - limit / TWO, lambda e, n: call("sign", e) / n),
    )


def _huber(delta: float = 1.0) -> _Elementwise:
    limit = symbol("δ", delta)
    return _of_size(
        limit,
        below=(lambda e: e**TWO / TWO, lambda e, n: e / n),
        above=(lambda e: limit * (call("abs", e) - limit / TWO), lambda e, n: limit * call("sign", e) / n),
    )


def _floored_log(o: Expression) -> Expression:
    log = call("log", o)
    return log if log.value >= -100 else call("max", log, number(-100))


def _bce_term(o: Expression, t: Expression) -> Worked:
    if t.value in (0, 1):
        return -_floored_log(o if t.value else ONE - o), f"{text(t)} = {int(t.value)}"
    return -(t * _floored_log(o) + (ONE - t) * _floored_log(ONE - o)), ""


def _bce_slope(o: Expression, t: Expression, n: Expression) -> Worked:
    below = o * (ONE - o)
    below = below if below.value > 1e-12 else call("max", below, number(9.999999960041972e-13))
    return (o - t) / below / n, ""


def _bce_of_logits(o: Expression, t: Expression) -> Worked:
    if o.value >= 0:  # the same number both ways; this one cannot overflow
        return (ONE - t) * o + call("log", ONE + call("exp", -o)), ""
    return -t * o + call("log", ONE + call("exp", o)), ""


def _kl_term(o: Expression, t: Expression) -> Worked:
    return (t * (call("log", t) - o), "") if t.value else (number(0), f"{text(t)} = 0")


_ELEMENTWISE: dict[str, Callable[..., _Elementwise]] = {
    "mse": lambda: _squared(_mean, lambda e, n: TWO * e / n),
    "half_mse": lambda: _squared(lambda s, n: s / TWO / n, lambda e, n: e / n),
    "sse": lambda: _squared(lambda s, n: s, lambda e, n: TWO * e),
    "half_sse": lambda: _squared(lambda s, n: HALF * s, lambda e, n: e),
    "mae": lambda: _Elementwise(lambda o, t: (call("abs", o - t), ""), lambda o, t, n: (call("sign", o - t) / n, "")),
    "smooth_l1": _smooth_l1,
    "huber": _huber,
    "bce": lambda: _Elementwise(_bce_term, _bce_slope),
    "bce_with_logits": lambda: _Elementwise(_bce_of_logits, lambda o, t, n: ((call("σ", o) - t) / n, "")),
    "kl_div": lambda: _Elementwise(_kl_term, lambda o, t, n: (-t / n, "")),
}

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
    slopes = {(b, j): _slope(names, b, j, *loss.slope(o, t, count)) for b, j, o, t in pairs}
    notes = ", ".join(dict.fromkeys(note for _, note in terms if note and len(pairs) <= 4))
    whole = loss.whole(total(term for term, _ in terms), count)
    return WorkedLoss((), _loss(name, whole, notes), slopes)


def _loss(name: str, formula: Expression, note: str = "") -> Quantity:
    return quantity(LOSS, formula, note, key="loss", title=TITLES[name])


def _slope(names: Names, b: int, j: int, formula: Expression, note: str = "") -> Quantity:
    output = names.output(b, j)
    return quantity(partial(LOSS, output), formula, note, key=f"d{output.text}")


def _cross_entropy(names: Names, outputs: Rows, targets: Rows, classes: Sequence[int] | None) -> WorkedLoss:
    softmax, _ = LAYERWISE["softmax"]
    count = symbol("B", len(outputs))
    before, slopes, terms = [], {}, []
    for b, (row, t) in enumerate(zip(outputs, targets, strict=True)):
        chances = [quantity(names.of("p", j, b), softmax(row, j)) for j in range(len(row))]
        before += chances
        p = [chance.symbol for chance in chances]
        if classes is not None:
            terms.append(-call("log", p[classes[b]]))
        else:
            terms.append(-total(one * call("log", chance) for one, chance in zip(t, p, strict=True)))
        # p Σt − t where the targets' probabilities do not add up to 1
        exact = classes is not None or abs(sum(one.value for one in t) - 1) < 1e-15
        for j, chance in enumerate(p):
            slopes[b, j] = _slope(names, b, j, ((chance if exact else chance * total(t)) - t[j]) / count)
    return WorkedLoss(tuple(before), _loss("cross_entropy", total(terms) / count), slopes)


def _nll(names: Names, outputs: Rows, classes: Sequence[int]) -> WorkedLoss:
    count = symbol("B", len(outputs))
    terms = [-row[index] for row, index in zip(outputs, classes, strict=True)]
    slopes = {
        (b, j): _slope(names, b, j, *((-ONE / count, "its class") if j == classes[b] else (number(0), "not its class")))
        for b, row in enumerate(outputs)
        for j in range(len(row))
    }
    return WorkedLoss((), _loss("nll", total(terms) / count), slopes)


# --- why not squared loss for classes ---------------------------------------------------------------------------------

_CHANCES = ((0.2, 0.2, 0.6), (0.0, 0.4, 0.6))
_TRUTH = (0, 0, 1)


def comparison() -> ExplanationSection:
    """Return squared loss against cross-entropy on two rows of probabilities with the third class true."""
    squared, entropy = [], []
    for k, row in enumerate(_CHANCES, 1):
        p = [symbol(f"p{j}", value) for j, value in enumerate(row, 1)]
        terms = [(chance - number(t)) ** TWO for chance, t in zip(p, _TRUTH, strict=True)]
        squared.append(quantity(Label(f"S{k}", f"S_{{{k}}}"), total(terms), key=f"squared{k}"))
        entropy.append(quantity(Label(f"H{k}", f"H_{{{k}}}"), -call("log", p[2]), key=f"entropy{k}"))
    rows = tuple(
        (str(row), repr(one.value), repr(other.value))
        for row, one, other in zip(_CHANCES, squared, entropy, strict=True)
    )
    table = WorkedTable(("probabilities", "squared loss", "cross-entropy"), rows)
    notes = (
        "The third class is the true one, and both predictions give it the same probability, 0.6.",
        "Squared loss also counts how the rest is shared among the wrong classes; cross-entropy does not.",
    )
    groups = (Group((), "", notes, table), Group((*squared, *entropy)))
    return ExplanationSection("Squared loss against cross-entropy", groups)
