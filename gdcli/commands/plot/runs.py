"""Runs to draw: a record or a spec that is trained for it, its losses and their moving averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import DamagedError, RunError, SpecError
from gdcli.report import plots
from gdcli.spec.load import Loaded
from gdcli.storage.csv_reader import NumberColumns

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CurveSource:
    """A run to draw: its spec, and the folder of its record, if it has one."""

    label: str
    loaded: Loaded
    folder: Path | None = None


def curves(sources: Sequence[CurveSource]) -> list[plots.Curve]:
    """Return the loss of every step of each run. Raises SpecError for runs whose losses are not the same function."""
    names = {loss_of(source): source.label for source in sources}
    if len(names) > 1:
        raise SpecError(f"one figure has one loss: these runs have {', '.join(sorted(names))}")
    return [_curve(source) for source in sources]


def loss_of(source: CurveSource) -> str:
    """Return the name of the run's loss."""
    loss = source.loaded.spec.loss
    return "an objective" if loss is None else loss.name


def _curve(source: CurveSource) -> plots.Curve:
    if source.folder is not None:
        _, table = numbers_of(source.folder / "steps.csv", columns=(0, 3))
        return plots.Curve(source.label, table[:, 0], table[:, 1])
    losses, _ = trained(source, curve=True)
    steps = np.arange(1.0, len(losses) + 1) if source.loaded.spec.settings.epochs else np.zeros(len(losses))
    return plots.Curve(source.label, steps, losses)


def averages(found: Sequence[plots.Curve], beta: float) -> list[Floats]:
    """Return the moving average of each curve: S₁ = y₁, Sₜ = βSₜ₋₁ + (1 − β)yₜ. Raises SpecError outside 0 ≤ β < 1."""
    from gdcli.commands.ema import ema

    if not 0 <= beta < 1:
        raise SpecError(f"--smooth takes a number from 0 to below 1 (got {beta!r})")
    return [np.array(ema(curve.loss.tolist(), beta), np.float64) for curve in found]


def numbers_of(path: Path, columns: Sequence[int] | None = None) -> tuple[list[str], Floats]:
    """Return the header of a record's CSV file, and its numbers [K, columns]. Raises SpecError."""
    if not path.is_file():
        raise SpecError(f"{path.parent}: no {path.name} in this folder")
    try:
        table = NumberColumns(path)
        numbers = table.numbers(columns)
    except DamagedError:
        raise SpecError(f"{path}: not as gdcli writes it") from None
    if not len(numbers):
        raise SpecError(f"{path}: no steps in it")
    return table.header, numbers


def trained(source: CurveSource, *, curve: bool = False, path: bool = False) -> tuple[Floats, Floats]:
    """Train a run in memory; return the losses of its steps and its parameters after each, empty if not asked for."""
    from gdcli.commands.loss_grid import trained_alone
    from gdcli.runner.jobs import Capture

    result = trained_alone(source.label, source.loaded, Capture(curve=curve, path=path))
    if result.status == "failed":
        raise RunError(f"{source.label}: {result.message}")
    losses, way = (np.zeros(0) if found is None else found for found in (result.losses, result.path))
    if path and result.status == "diverged":  # its loss may go before its parameters do
        way = np.concatenate([way, np.full((1, way.shape[1]), np.nan)])
    return losses, way
