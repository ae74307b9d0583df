"""Accuracy, and which metrics the outcome of a spec has."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from gdcli.spec.load import Loaded


def by_class(output: Tensor, y: Tensor) -> float:
    """Return the share of rows whose largest output is that of their class."""
    return float((output.argmax(1) == y).double().mean())


ACCURACY: dict[str, Callable[[Tensor, Tensor], float]] = {
    "cross_entropy": by_class,
    "nll": by_class,
    "bce": lambda output, y: float(((output > 0.5) == (y > 0.5)).double().mean()),
    "bce_with_logits": lambda output, y: float(((output > 0) == (y > 0.5)).double().mean()),
}


def metric_names(loaded: Loaded) -> list[str]:
    """Return the metrics that a spec's outcome has, without running it."""
    accuracy = ACCURACY.get(loaded.spec.loss.name if loaded.spec.loss else "")
    table = loaded.training
    has_accuracy = accuracy is not None and table is not None and table.y.ndim == (1 if accuracy is by_class else 2)
    found = ["accuracy"] if has_accuracy else []
    if loaded.validation is not None:
        found += ["validation_loss", *(["validation_accuracy"] if has_accuracy else [])]
    return found
