"""Metrics: what is told of a model besides its loss, and which of them a loss has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from gdcli.zoo.table import Table

Metric = Callable[["Tensor", "Tensor"], float]


def by_class(output: Tensor, y: Tensor) -> float:
    """Return the share of rows [B] whose largest output [B, C] is that of their class [B]."""
    return float((output.argmax(1) == y).double().mean())


ACCURACY: dict[str, Metric] = {
    "cross_entropy": by_class,
    "nll": by_class,
    "bce": lambda output, y: float(((output > 0.5) == (y > 0.5)).double().mean()),
    "bce_with_logits": lambda output, y: float(((output > 0) == (y > 0.5)).double().mean()),
}
"""Accuracy by the loss's name."""


def accuracy(loss: str, training: Table | None) -> Metric | None:
    """Return the accuracy that a loss has on such targets; None where it has none."""
    found = ACCURACY.get(loss)
    if found is None or training is None:
        return None
    return found if training.y.ndim == (1 if found is by_class else 2) else None


HIGHER_IS_BETTER = frozenset({"accuracy"})
"""The metrics of which more is better; of a loss less is."""

METRICS: dict[str, Callable[[str, Table | None], Metric | None]] = {"accuracy": accuracy}
"""Each metric by its name: from a loss's name and the training rows to a function of output and targets, or None."""


def metrics_of(loss: str, training: Table | None) -> dict[str, Metric]:
    """Return the metrics that runs with a loss on such rows have, by name."""
    found = {name: metric(loss, training) for name, metric in METRICS.items()}
    return {name: metric for name, metric in found.items() if metric is not None}
