"""The pictures of a run for Python: of a run in memory, or of a record's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gdcli.commands.api.objects import torch_as_it_was
from gdcli.commands.plot import KINDS, PlotOptions
from gdcli.commands.run import RunReport
from gdcli.errors import SpecError, nearest
from gdcli.records import Effort
from gdcli.spec.scalars import shown
from gdcli.storage.record import number
from gdcli.storage.recorded_plugins import has_objects
from gdcli.zoo.python_objects import PythonObjects

if TYPE_CHECKING:
    from gdcli.report.plots import Curve, Form

DrawRun = Callable[[Any, PlotOptions, "Form"], bytes]
"""Takes a Run, what picture is wanted, and its format."""


def options(kind: str, smooth: float | None = None, step: int | None = None, of: str | None = None) -> PlotOptions:
    """Return what picture of a run is wanted. Raises SpecError for one that there is not."""
    kinds = {name: each for name, each in KINDS.items() if each.of_runs}
    if kind not in kinds:
        raise SpecError(f"there is no kind of picture {shown(str(kind))} of a run. {nearest(str(kind), kinds)}")
    given = {"smooth": smooth is not None, "step": step not in (None, 1), "of": of is not None}
    for name, is_given in given.items():
        if is_given and name not in kinds[kind].takes:
            raise SpecError(f"{name} is not for the kind {kind}")
    if smooth is not None and not 0 <= smooth < 1:
        raise SpecError(f"smooth takes a number from 0 to below 1 (got {smooth!r})")
    if kind == "gradients" and given["step"] and of is None:
        raise SpecError("step is for the kind gradients with of, of a value that is an image")
    return PlotOptions(kind, smooth, [], step, animate=False, of=of)


def of_report(report: RunReport, objects: PythonObjects) -> DrawRun:
    """Return what draws a run in memory."""

    @torch_as_it_was()
    def draw(run: Any, wanted: PlotOptions, form: Form) -> bytes:
        from gdcli.commands.plot.runs import CurveSource
        from gdcli.runner import run_picture

        loaded, finished = report.built.loaded, report.finished
        with objects.in_tables():
            if wanted.kind != "curves":
                source = CurveSource(loaded.spec.name, loaded, None, report)
                return KINDS[wanted.kind].draw([source], wanted, form)
            outcome = finished.outcome
            curve = run_picture.curve_of(loaded, finished.losses, outcome.status, outcome.message, outcome.loss)
            if wanted.smooth is None:
                return run_picture.picture(loaded, curve, finished.epochs, outcome.last_loss, form)
            return _smoothed(curve, run_picture.loss_label(loaded), wanted.smooth, form)

    return draw


def of_folder(folder: Path) -> DrawRun:
    """Return what draws a record, as `gdcli plot` does; of objects of Python the loss of its steps is there."""

    @torch_as_it_was()
    def draw(run: Any, wanted: PlotOptions, form: Form) -> bytes:
        from gdcli.commands.plot.runs import of_record
        from gdcli.report import plots

        if wanted.kind != "curves" or not has_objects(folder):
            return KINDS[wanted.kind].draw([of_record(folder)], wanted, form)
        after = number(run.summary.get("final_loss"))
        steps = run.steps["step"].astype(np.float64)
        curve = plots.Curve(run.name, steps, run.losses, after=np.nan if after is None else after)
        if wanted.smooth is not None:
            return _smoothed(curve, "loss", wanted.smooth, form)
        return plots.loss_curve.drawn(form, curve, run.name, "loss", Effort(0, 1, 1))

    return draw


def _smoothed(curve: Curve, label: str, beta: float, form: Form) -> bytes:
    from gdcli.commands.plot.runs import averages
    from gdcli.report import plots

    title = f"{curve.label}: moving average, β = {beta:g}"
    return plots.loss_curves.drawn(form, [curve], title, label, averages([curve], beta))
