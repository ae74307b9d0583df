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
from gdcli.commands.explain.tree import LOSS, ExplanationSection, Group, Names, Quantity, WorkedTable, partial, quantity
from gdcli.commands.explain.weighted import weighted_cross_entropy, weighted_nll
from gdcli.spec.sections import Ingredient

Rows = list[list[Expression]]  # [B][O]


@dataclass(frozen=True, slots=True)
class WorkedLoss:
    """The loss of a batch: what it needs first (probabilities), its value, and dL/do of each output by row, neuron."""

    before: tuple[Quantity, ...]
    value: Quantity
    slopes: Mapping[tuple[int, int], Quantity]
    parts: tuple[Quantity, ...] = ()  # the data's loss and the penalty, where there is one


Rule = tuple[Worked, Worked]  # of one output o with its target t in a sum over N: its term, and dL/do


def _squared(slope: Callable[[Expression, Expression], Expression]) -> Callable[..., Rule]:
    return lambda o, t, n: (((o - t) ** TWO, ""), (slope(o - t, n), ""))


def _compared(error: Expression, limit: Expression) -> tuple[bool, str]:
    """Say whether an error is below a limit, in words too."""
    size = call("abs", error)
    below = size.value < limit.value
    return below, f"{text(size)} {'<' if below else '≥'} {text(limit, numbers=True)}"


def _smooth_l1(o: Expression, t: Expression, n: Expression, beta: float = 1.0) -> Rule:
    error, limit = o - t, symbol("β", beta)
    below, note = _compared(error, limit)
    if below:
        return (error**TWO / (TWO * limit), note), (error / (limit * n), note)
    return (call("abs", error) - limit / TWO, note), (call("sign", error) / n, note)


def _huber(o: Expression, t: Expression, n: Expression, delta: float = 1.0) -> Rule:
    error, limit = o - t, symbol("δ", delta)
    below, note = _compared(error, limit)
    if below:
        return (error**TWO / TWO, note), (error / n, note)
    return (limit * (call("abs", error) - limit / TWO), note), (limit * call("sign", error) / n, note)


def _floored_log(o: Expression) -> Expression:
    log = call("log", o)
    return log if log.value >= -100 else call("max", log, number(-100))


def _bce(o: Expression, t: Expression, n: Expression) -> Rule:
    below = o * (ONE - o)
    below = below if below.value > 1e-12 else call("max", below, number(9.999999960041972e-13))
    slope = (o - t) / below / n, ""
    if t.value in (0, 1):
        return (-_floored_log(o if t.value else ONE - o), f"{text(t)} = {int(t.value)}"), slope
    return (-(t * _floored_log(o) + (ONE - t) * _floored_log(ONE - o)), ""), slope


def _bce_with_logits(o: Expression, t: Expression, n: Expression, pos_weight: float = 1.0) -> Rule:
    if pos_weight != 1:
        return _with_pos_weight(o, t, n, symbol("w", pos_weight))
    slope = (call("σ", o) - t) / n, ""
    if o.value >= 0:  # the same number both ways; this one cannot overflow
        return ((ONE - t) * o + call("log", ONE + call("exp", -o)), ""), slope
    return (-t * o + call("log", ONE + call("exp", o)), ""), slope


def _with_pos_weight(o: Expression, t: Expression, n: Expression, w: Expression) -> Rule:
    both = w * t + ONE - t
    slope = (both * call("σ", o) - w * t) / n, ""
    if o.value >= 0:
        return ((ONE - t) * o + both * call("log", ONE + call("exp", -o)), ""), slope
    return (both * call("log", ONE + call("exp", o)) - w * t * o, ""), slope


def _kl_div(o: Expression, t: Expression, n: Expression) -> Rule:
    return (t * (call("log", t) - o), "") if t.value else (number(0), f"{text(t)} = 0"), (-t / n, "")


_ELEMENTWISE: dict[str, Callable[..., Rule]] = {
    "mse": _squared(lambda error, n: TWO * error / n),
    "half_mse": _squared(lambda error, n: error / n),
    "sse": _squared(lambda error, n: TWO * error),
    "half_sse": _squared(lambda error, n: error),
    "mae": lambda o, t, n: ((call("abs", o - t), ""), (call("sign", o - t) / n, "")),
    "smooth_l1": _smooth_l1,
    "huber": _huber,
    "bce": _bce,
    "bce_with_logits": _bce_with_logits,
    "kl_div": _kl_div,
}
"""Losses that are a sum over all outputs, by ``rule(o, t, N)`` and their settings; most are the mean."""
_OTHER_THAN_MEAN: dict[str, Callable[[Expression, Expression], Expression]] = {
    "half_mse": lambda terms, n: terms / TWO / n,
    "sse": lambda terms, n: terms,
    "half_sse": lambda terms, n: HALF * terms,
}

TITLES = {
    "mse": "MSE Loss", "half_mse": "Half MSE Loss", "sse": "SSE Loss", "half_sse": "Half SSE Loss",
    "mae": "MAE Loss", "smooth_l1": "Smooth L1 Loss", "huber": "Huber Loss", "bce": "BCE Loss",
    "bce_with_logits": "BCE Loss", "cross_entropy": "Cross-Entropy Loss", "nll": "NLL Loss", "kl_div": "KL Loss",
}  # fmt: skip
"""What ``--only loss`` prints before the value; half the sum of two squares is their mean, and is called so."""


def worked_loss(
    loss: Ingredient, names: Names, outputs: Rows, targets: Rows, classes: Sequence[int] | None
) -> WorkedLoss:
    """Work out a loss of a batch; ``classes`` are the rows' class indices where the targets are such."""
    weights, smoothing = loss.arguments.get("class_weights"), loss.arguments.get("label_smoothing")
    if loss.name == "cross_entropy" and (weights is not None or smoothing):
        before, whole, found = weighted_cross_entropy(names, outputs, targets, classes, weights, smoothing or 0.0)
        return WorkedLoss(before, _loss("cross_entropy", whole), found)
    if loss.name == "nll" and weights is not None and classes is not None:
        whole, found = weighted_nll(names, outputs, classes, weights)
        return WorkedLoss((), _loss("nll", whole), found)
    if loss.name == "cross_entropy":
        return _cross_entropy(names, outputs, targets, classes)
    if loss.name == "nll":
        assert classes is not None
        return _nll(names, outputs, classes)
    return _elementwise(loss.name, loss.arguments, names, outputs, targets)


def _elementwise(name: str, arguments: Mapping[str, Any], names: Names, outputs: Rows, targets: Rows) -> WorkedLoss:
    count = symbol("N", sum(map(len, outputs)))
    slopes, terms, cases = {}, [], []
    for b, (row, aims) in enumerate(zip(outputs, targets, strict=True)):
        for j, (o, t) in enumerate(zip(row, aims, strict=True)):
            (term, case), slope = _ELEMENTWISE[name](o, t, count, **arguments)
            terms.append(term)
            cases.append(case)
            slopes[b, j] = _slope(names, b, j, *slope)
    notes = ", ".join(dict.fromkeys(filter(None, cases))) if len(terms) <= 4 else ""
    whole = _OTHER_THAN_MEAN[name](total(terms), count) if name in _OTHER_THAN_MEAN else total(terms) / count
    called = "mse" if name == "half_sse" and count.value == 2 else name
    return WorkedLoss((), _loss(called, whole, notes), slopes)


def _loss(name: str, formula: Expression, note: str = "") -> Quantity:
    return quantity(LOSS, formula, note, key="loss", title=TITLES[name])


def _slope(names: Names, b: int, j: int, formula: Expression, note: str = "") -> Quantity:
    output = names.of("o", j, b)
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


def comparison(names: Names, outputs: Rows, loss: WorkedLoss, classes: Sequence[int]) -> ExplanationSection:
    """Return squared loss against cross-entropy, of each row's probabilities with its class the true one."""
    found: list[Quantity] = []
    rows = []
    for b, (row, true) in enumerate(zip(outputs, classes, strict=True)):
        chances = loss.before[b * len(row) : (b + 1) * len(row)]
        if not chances:  # the outputs are their logarithms
            chances = tuple(quantity(names.of("p", j, b), call("exp", o)) for j, o in enumerate(row))
            found += chances
        p = [chance.symbol for chance in chances]
        terms = [(chance - number(int(j == true))) ** TWO for j, chance in enumerate(p)]
        k = names.rows[b]
        squared = quantity(Label(f"S{k}", f"S_{{{k}}}"), total(terms))
        entropy = quantity(Label(f"H{k}", f"H_{{{k}}}"), -call("log", p[true]))
        found += (squared, entropy)
        shown = ", ".join(repr(chance.value) for chance in chances)
        rows.append((str(k), shown, str(true), repr(squared.value), repr(entropy.value)))
    table = WorkedTable(("row", "probabilities", "class", "squared loss", "cross-entropy"), tuple(rows))
    note = (
        "Squared loss also counts how the rest is shared among the wrong classes; cross-entropy has the probability "
        "of the true one alone."
    )
    return ExplanationSection(
        "Squared loss against cross-entropy", (Group((), "", (note,), table), Group(tuple(found)))
    )
