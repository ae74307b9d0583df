"""The picture of a run: the loss of its steps, or over its epochs with validation rows, and a metric below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.engine.batches import effort_of
from gdcli.records import where_diverged
from gdcli.report import plots
from gdcli.report.plots import Form
from gdcli.runner.epoch_rows import FILE
from gdcli.spec.load import Loaded
from gdcli.spec.metrics import watched_of
from gdcli.storage import csv_reader, files

Columns = Mapping[str, NDArray[np.float64]]


def loss_label(loaded: Loaded) -> str:
    """Return how plots name the loss."""
    return "objective" if loaded.spec.loss is None else f"loss ({loaded.spec.loss.name})"


def curve_of(loaded: Loaded, losses: NDArray[np.float64], status: str, message: str, after: float) -> plots.Curve:
    """Return the loss of a run's steps, with the one after its last update."""
    steps = np.arange(1, len(losses) + 1) if loaded.spec.settings.epochs else np.zeros(1)
    gone = where_diverged(status, message)
    return plots.Curve(loaded.spec.name, steps.astype(np.float64), losses, diverged=gone, after=after)


def epochs_of(folder: Path) -> Columns:
    """Return the columns of a record's epochs.csv; none of one that has no such file, or a damaged one."""
    if not (folder / FILE).is_file():
        return {}

    def read() -> Columns:
        table = csv_reader.NumberColumns(folder / FILE)
        return dict(zip(table.header, table.numbers(gaps=True).T, strict=True))

    return files.lenient(None, read) or {}


def draw(
    loaded: Loaded, curve: plots.Curve, last_loss: float | None, folder: Path, warn: Callable[[str], None]
) -> None:
    """Draw loss.png. A plot that fails never fails the run: it is told."""
    files.draw(folder / "loss.png", lambda: picture(loaded, curve, epochs_of(folder), last_loss, "png"), warn)


def picture(loaded: Loaded, curve: plots.Curve, epochs: Columns, last_loss: float | None, form: Form) -> bytes:
    """Return the picture of one run: over its epochs where something was worked out after them, else over its steps."""
    title, label, effort = loaded.spec.name, loss_label(loaded), effort_of(loaded)
    shown = [name for name in epochs if name not in ("epoch", "training_loss", "lr")]
    if not shown or len(epochs["epoch"]) < 2:
        return plots.loss_curve.drawn(form, curve, title, label, effort)
    after = curve.after if last_loss is None else last_loss
    panels = [_loss_panel(loaded, curve, epochs, label, after)]
    if (metric := _metric(loaded, shown)) is not None:
        panels.append(panel(loaded, metric, epochs))
    return plots.training_curves.drawn(form, panels, title, curve.diverged)


def _loss_panel(loaded: Loaded, curve: plots.Curve, epochs: Columns, label: str, after: float) -> plots.EpochPanel:
    """Return the losses: of full batches before each update and after the last, of others the mean of each epoch."""
    per_epoch, found = effort_of(loaded).steps_per_epoch, panel(loaded, "loss", epochs)
    if per_epoch == 1:
        training = np.arange(len(curve.loss) + 1.0), np.append(curve.loss, after)
        return plots.EpochPanel(label, training, found.validation, None, found.best)
    means = epochs["epoch"] - 0.5, epochs["training_loss"]
    steps = (np.arange(len(curve.loss)) + 0.5) / per_epoch, curve.loss
    return plots.EpochPanel(label, means, found.validation, steps, found.best)


def _metric(loaded: Loaded, columns: list[str]) -> str | None:
    """Return the metric that stands below the loss: the one that is watched, else the first."""
    watched, names = watched_of(loaded), metrics_in(columns)
    if watched is not None and watched.metric in names:
        return watched.metric
    return names[0] if names else None


def metrics_in(columns: Any) -> list[str]:
    """Return the metrics that columns of epochs.csv are of, each once."""
    parts = (name.partition("_") for name in columns)
    return list(dict.fromkeys(metric for rows, _, metric in parts if rows in _ROWS and metric != "loss"))


_ROWS = ("training", "validation")


def panel(loaded: Loaded, metric: str, epochs: Columns) -> plots.EpochPanel:
    """Return a metric, or the loss, after each epoch, and its best epoch where one was watched."""
    lines = [(epochs["epoch"], epochs[name]) if (name := f"{rows}_{metric}") in epochs else None for rows in _ROWS]
    watched, best = watched_of(loaded), None
    if watched is not None and watched.metric == metric and watched.name in epochs and watched.name != "training_loss":
        sign, least = (-1 if watched.highest_first else 1), np.inf
        for epoch, value in zip(epochs["epoch"].tolist(), epochs[watched.name].tolist(), strict=True):
            if sign * value < least - loaded.spec.stop.min_delta:  # as the run itself chooses it
                least, best = sign * value, (epoch, value)
    return plots.EpochPanel(metric, lines[0], lines[1], None, best)
