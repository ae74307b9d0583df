"""Why not squared loss for classes: two predictions that are equally right, and what each loss makes of them."""

from __future__ import annotations

from gdcli.commands.explain.activations import TWO
from gdcli.commands.explain.expression import Label, call, number, symbol, total
from gdcli.commands.explain.tree import ExplanationSection, Group, Quantity, WorkedTable, quantity

_CHANCES = ((0.2, 0.2, 0.6), (0.0, 0.4, 0.6))
_TRUTH = (0, 0, 1)


def comparison() -> ExplanationSection:
    """Return squared loss against cross-entropy on two rows of probabilities with the third class true."""
    squared = [_squared(k, row) for k, row in enumerate(_CHANCES)]
    entropy = [_entropy(k, row) for k, row in enumerate(_CHANCES)]
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


def _squared(k: int, row: tuple[float, ...]) -> Quantity:
    terms = [(symbol(f"p{j + 1}", p) - number(t)) ** TWO for j, (p, t) in enumerate(zip(row, _TRUTH, strict=True))]
    return quantity(f"squared{k + 1}", Label(f"S{k + 1}", f"S_{{{k + 1}}}"), total(terms))


def _entropy(k: int, row: tuple[float, ...]) -> Quantity:
    return quantity(f"entropy{k + 1}", Label(f"H{k + 1}", f"H_{{{k + 1}}}"), -call("log", symbol("p3", row[2])))
