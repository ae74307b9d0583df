"""Metrics: what is told of a model besides its loss, which of them a loss has, and which way is better.

Ours are accuracy, confusion, r2, mae and rmse, in float64 and as scikit-learn defines them; the rest are torchmetrics'
classes by :data:`EXTRAS`. A metric that the rows leave undefined is NaN. So is every one, a plugin's too, where an
output is not finite: :func:`metric_of` sees to that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple

from gdcli.errors import MachineError
from gdcli.zoo.losses import SCORES, TARGETS

if TYPE_CHECKING:
    from torch import Tensor

    from gdcli.zoo.table import Table

Metric = Callable[["Tensor", "Tensor"], Any]
"""From outputs and targets to a number, or of a matrix to a list of its rows."""


def by_class(output: Tensor, y: Tensor) -> float:
    """Return the share of rows [B] whose largest output [B, C] is that of their class [B]."""
    return float((output.argmax(1) == y).double().mean())


def _by_border(output: Tensor, y: Tensor, border: float) -> float:
    """Return the share of outputs [B, K] on their target's side of the border."""
    return float(((output > border) == (y > 0.5)).double().mean())


ACCURACY: dict[str, Metric] = {
    "cross_entropy": by_class,
    "nll": by_class,
    "bce": lambda output, y: _by_border(output, y, 0.5),
    "bce_with_logits": lambda output, y: _by_border(output, y, 0.0),
}
"""Accuracy by the loss's name."""


def accuracy(loss: str, training: Table | None) -> Metric | None:
    """Accuracy: the share of rows whose class is the predicted one. Source: sklearn.metrics.accuracy_score."""
    found = ACCURACY.get(loss)
    if found is None or training is None:
        return None
    return found if training.y.ndim == (1 if found is by_class else 2) else None


# --- classes: predicted and true, both [B] ---------------------------------------------------------------------------

MAX_CLASSES = 100
"""Classes up to which there is a confusion matrix: 10,000 numbers in summary.json."""


def confusion(loss: str, training: Table | None) -> Metric | None:
    """Confusion matrix: in row i, column j, how many rows of class i are taken for class j.

    A class that no row has keeps its row of zeros; a row with an output that is not finite has no class, and is left
    out. Source: sklearn.metrics.confusion_matrix.
    """
    predicted = _predicted(loss, training)
    if predicted is None:
        return None

    def counts(output: Tensor, y: Tensor) -> Any:
        classes = max(2, output.shape[1])
        if classes > MAX_CLASSES:
            return nan
        places = (_true(y) * classes + predicted(output))[output.isfinite().all(1)]
        return places.bincount(minlength=classes * classes).view(classes, classes).tolist()

    return counts


def _predicted(loss: str, training: Table | None) -> Callable[[Tensor], Tensor] | None:
    """Return outputs [B, C], or [B, 1] of two classes, to the classes [B]; None where the targets are none."""
    if training is None or accuracy(loss, training) is None:
        return None
    if training.y.ndim == 1:
        return lambda output: output.argmax(1)
    border = 0.0 if loss == "bce_with_logits" else 0.5
    return None if training.y.shape[1] > 1 else lambda output: (output[:, 0] > border).long()


def _true(y: Tensor) -> Tensor:
    return y if y.ndim == 1 else (y[:, 0] > 0.5).long()


# --- values: outputs and targets [B, O] ------------------------------------------------------------------------------


def r2(loss: str, training: Table | None) -> Metric | None:
    """Coefficient of determination: R² = 1 − Σ(o − t)² / Σ(t − t̄)², the mean of those of the outputs.

    Of one row it is undefined; of targets that are all the same it is 1 where they are met, else 0.
    Source: sklearn.metrics.r2_score.
    """

    def share(output: Tensor, y: Tensor) -> Tensor:
        import torch

        if len(y) < 2:
            return y.new_full((1,), nan)
        error, spread = (y - output).square().sum(0), (y - y.mean(0)).square().sum(0)
        spread = torch.where((y == y[0]).all(0), 0.0, spread)  # a rounded mean would leave a remainder
        flat = torch.where(error == 0, 1.0, 0.0)
        return torch.where(spread > 0, 1 - error / spread, torch.where(error.isnan(), error, flat))

    return _of_values(loss, training, share)


def mae(loss: str, training: Table | None) -> Metric | None:
    """Mean absolute error: Σ|o − t| / B, the mean over the outputs. Source: sklearn.metrics.mean_absolute_error."""
    return _of_values(loss, training, lambda output, y: (output - y).abs().mean(0))


def rmse(loss: str, training: Table | None) -> Metric | None:
    """Root mean squared error: √(Σ(o − t)² / B), the mean of those of the outputs.

    Source: sklearn.metrics.root_mean_squared_error.
    """
    return _of_values(loss, training, lambda output, y: (output - y).square().mean(0).sqrt())


def _of_values(loss: str, training: Table | None, each: Callable[[Tensor, Tensor], Tensor]) -> Metric | None:
    """Return the mean over the outputs of what ``each`` gives in float64; None where targets are no values."""
    if training is None or training.y.ndim == 1 or TARGETS.get(loss, "values") != "values":
        return None
    return lambda output, y: float(each(output.double().flatten(1), y.double().flatten(1)).mean())


# --- torchmetrics' classes --------------------------------------------------------------------------------------------


class Extra(NamedTuple):
    """A class of torchmetrics: its name without Binary or Multiclass, what it is, for what, and its arguments."""

    name: str
    title: str
    of_classes: bool = True
    macro: bool = True  # of several classes: it takes an average
    needs_two: bool = False  # undefined where the rows have one class only


EXTRAS = {
    "f1": Extra("F1Score", "Harmonic mean of precision and recall"),
    "precision": Extra("Precision", "Share of the rows predicted as a class that are of it"),
    "recall": Extra("Recall", "Share of a class's rows that are predicted as it"),
    "specificity": Extra("Specificity", "Share of the rows of other classes that are not predicted as a class"),
    "auroc": Extra("AUROC", "Area under the curve of recall over false alarms", needs_two=True),
    "average_precision": Extra("AveragePrecision", "Area under the curve of precision over recall", needs_two=True),
    "cohen_kappa": Extra("CohenKappa", "Agreement of prediction and truth beyond chance, at most 1", macro=False),
    "matthews": Extra("MatthewsCorrCoef", "Correlation of prediction and truth, from -1 to 1", macro=False),
    "explained_variance": Extra("ExplainedVariance", "Explained share of the targets' variance", of_classes=False),
    "mape": Extra("MeanAbsolutePercentageError", "Mean of the errors as shares of the targets", of_classes=False),
}
"""Metrics that are torchmetrics' classes: of several classes the macro average, AUROC one against the rest."""


def require_installed(name: str) -> None:
    """Raise MachineError for a metric of torchmetrics where that is not installed."""
    if name in EXTRAS and find_spec("torchmetrics") is None:
        command = "pip install 'gradient-descent-cli[metrics]'"
        raise MachineError(f"the metric {name} needs torchmetrics, which is not installed: {command}")


def _extra(extra: Extra) -> Callable[[str, Table | None], Metric | None]:
    def metric(loss: str, training: Table | None) -> Metric | None:
        if not extra.of_classes:
            return _of_values(loss, training, lambda output, y: _told(extra, "", output, y, {}).view(1))
        if _predicted(loss, training) is None:
            return None
        return lambda output, y: _of_classes(extra, loss, output, _true(y))

    average = ", macro average" if extra.of_classes and extra.macro else ""
    metric.__doc__ = f"{extra.title}{average}. Source: torchmetrics' {extra.name}."
    return metric


def _of_classes(extra: Extra, loss: str, output: Tensor, true: Tensor) -> float:
    if extra.needs_two and int(true.min()) == int(true.max()):
        return nan
    if output.shape[1] == 1:
        return float(_told(extra, "Binary", output[:, 0].sigmoid() if "logits" in loss else output[:, 0], true, {}))
    settings = {"num_classes": output.shape[1]} | ({"average": "macro"} if extra.macro else {})
    shares = output.softmax(1) if loss in SCORES else output.exp()
    return float(_told(extra, "Multiclass", shares, true, settings))


def _told(extra: Extra, of: str, output: Tensor, y: Tensor, settings: dict[str, Any]) -> Tensor:
    import torchmetrics  # an extra

    module = torchmetrics.classification if extra.of_classes else torchmetrics.regression
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without rows, which have their own rule
        found: Tensor = getattr(module, f"{of}{extra.name}")(**settings).to(output.device)(output, y)
    return found


# --- all --------------------------------------------------------------------------------------------------------------

METRICS: dict[str, Callable[[str, Table | None], Metric | None]] = {
    "accuracy": accuracy,
    "confusion": confusion,
    "r2": r2,
    "mae": mae,
    "rmse": rmse,
    **{name: _extra(extra) for name, extra in EXTRAS.items()},
}
"""Each metric by its name: from a loss's name and the training rows to a function of output and targets, or None."""


def metric_of(name: str, loss: str, training: Table | None) -> Metric | None:
    """Return a metric by its name; None where the loss or the training rows have no such metric.

    It is NaN where an output is not finite: such a row has no class and no error, and leaves a mean undefined as it
    does the loss.
    """
    found = METRICS[name](loss, training)
    return None if found is None else lambda output, y: found(output, y) if bool(output.isfinite().all()) else nan


MATRICES = frozenset({"confusion"})
"""Metrics that are no number, and so neither a column nor what runs are ranked by."""

HIGHER_IS_BETTER = {"accuracy", "r2", *EXTRAS} - {"mape"}
"""The metrics of which more is better; of a loss and of errors less is."""


def highest_first(column: str) -> bool:
    """Say whether more of a column is better: of a metric on whatever rows.

    >>> highest_first("best_validation_accuracy"), highest_first("validation_loss"), highest_first("mae")
    (True, False, False)
    """
    name = column.removeprefix("best_")
    for rows in ("training_", "validation_", "test_"):
        name = name.removeprefix(rows)
    return name in HIGHER_IS_BETTER


def defaults(loss: str, training: Table | None, *, own: bool) -> list[str]:
    """Return the metrics of a spec that names none: accuracy of classes; r2 and mae of values, of one's ``own`` rows.

    Rows that stand in the spec or are made up, none of them held out, are a lesson's: it shows what it asks for.
    """
    if accuracy(loss, training) is not None:
        return ["accuracy"]
    return ["r2", "mae"] if own and r2(loss, training) is not None else []
