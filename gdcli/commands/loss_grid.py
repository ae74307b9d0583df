"""The loss over a grid of parameters, no training: a curve, a surface, and the paths of runs on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from gdcli.commands import specs
from gdcli.commands.context import Context
from gdcli.engine.device import resolve_threads
from gdcli.engine.grid import losses
from gdcli.engine.loop import Interrupt
from gdcli.engine.problem import build
from gdcli.errors import RunError, SpecError
from gdcli.plan import Axis, Trial, grid_points
from gdcli.records import Result
from gdcli.report import plots, tables
from gdcli.report.plots.look import AT_EDGE
from gdcli.report.plots.scales import at_edge
from gdcli.report.plots.text import number
from gdcli.report.styles import sweep_point
from gdcli.runner import run_picture
from gdcli.runner.batch import end_batch
from gdcli.runner.jobs import Capture, PlannedRun
from gdcli.runner.provenance import batch_head
from gdcli.runner.shards import run_in_memory
from gdcli.spec.load import Loaded
from gdcli.storage import csv_writer, files
from gdcli.storage.recorded_plugins import require_plugins
from gdcli.storage.request import SweepRequest
from gdcli.storage.run_folder import Timing


@dataclass(frozen=True, slots=True)
class LossGrid:
    """The loss over a grid: axes, points [R, k] in order of the product (the last axis fastest), loss [R]."""

    axes: Sequence[Axis]
    points: NDArray[np.float64]
    loss: NDArray[np.float64]
    loss_name: str  # the loss's name in the spec
    folder: Path | None = None  # of the record
    held: str = ""  # of paths that leave the surface: what has to be said
    picture: Callable[[plots.Form], bytes] | None = None  # of one axis or two
    interrupted: ClassVar[bool] = False
    results: ClassVar[Sequence[Result]] = ()  # nothing is trained

    def text(self) -> str:
        """Return the document's two lines a point; for several axes, where the loss is lowest."""
        if len(self.axes) == 1:
            name, label = self.axes[0].name, "MSE" if self.loss_name == "mse" else self.loss_name
            pairs = zip(self.points[:, 0].tolist(), self.loss.tolist(), strict=True)
            return "".join(sweep_point(name, value, label, loss) for value, loss in pairs)
        return f"{self.minimum()}\n"

    def note(self) -> str | None:
        """Return what the text does not tell: that a lower loss may lie beyond the range, or paths leave it."""
        return self.minimum() if len(self.axes) == 1 and at_edge(self.points, self.loss) else self.held or None

    def minimum(self) -> str:
        """Return where the loss is lowest."""
        loss, point = self.lowest()
        where = ", ".join(f"{name}={value!r}" for name, value in point.items())
        edge = AT_EDGE if at_edge(self.points, self.loss) else ""
        return f"{len(self.loss):,} points, lowest {self.loss_name} {tables.number(loss)} at {where}{edge}"

    def lowest(self) -> tuple[float, dict[str, float]]:
        """Return the lowest finite loss and its point, by the names of the axes."""
        k = int(np.argmin(np.where(np.isfinite(self.loss), self.loss, np.inf)))
        point = self.points[k].tolist()
        return float(self.loss[k]), {axis.name: value for axis, value in zip(self.axes, point, strict=True)}

    def json(self) -> str:
        """Return the grid as one JSON document."""
        names, points = [axis.name for axis in self.axes], self.points.tolist()
        return files.json_text(
            {"folder": str(self.folder), "axes": names, "points": points, "loss": self.loss.tolist()}
        )

    def rows(self) -> list[dict[str, float]]:
        """Return the rows of results.csv: the point by the names of the axes, and the loss."""
        names = [*(axis.name for axis in self.axes), "loss"]
        return [dict(zip(names, row, strict=True)) for row in zip(*self.columns(), strict=True)]

    def columns(self) -> list[list[float]]:
        """Return the columns of results.csv, R numbers each: the points of each axis, and the loss."""
        return [*self.points.T.tolist(), self.loss.tolist()]

    def csv(self) -> str:
        """Return results.csv."""
        header = [*(axis.name for axis in self.axes), "loss"]
        return csv_writer.csv_rows(chain([header], zip(*self.columns(), strict=True)))


def evaluate(loaded: Loaded, axes: Sequence[Axis]) -> LossGrid:
    """Evaluate the spec's loss on all its data over the grid, without training."""
    torch.set_num_threads(resolve_threads(loaded))
    built = build(loaded)
    points = grid_points(axes)  # [R, k]
    found = losses(built, [axis.target for axis in axes], points)
    return LossGrid(axes, points, found, loaded.spec.loss.name if loaded.spec.loss else "loss")


@dataclass(frozen=True, slots=True)
class TrainedPath:
    """A run whose path is drawn on a surface."""

    label: str
    names: Sequence[str]  # [P] of its parameters
    points: NDArray[np.float64]  # [steps + 1, P]; a row of NaN at the end if it diverged
    loss: float  # of the whole training set at the end; NaN if it diverged

    def over(self, targets: Sequence[str]) -> NDArray[np.float64]:
        """Return the path [steps + 1, len(targets)] over some of the parameters."""
        return self.points[:, [self.names.index(target) for target in targets]]


def trained_paths(wanted: Sequence[str], axes: Sequence[Axis]) -> list[TrainedPath]:
    """Return the path of each run; a folder of many runs gives one each.

    The runs are trained again from their records or specs, which gives the same steps, of several to rounding. Raises
    SpecError for a model without the axes' parameters.
    """
    named = [(label, spec) for text in wanted for label, spec in _specs(text)]
    found = [(label, specs.loaded(spec, [], "sweep", trained=True)) for label, spec in named]
    names = [_names(label, loaded, [axis.target for axis in axes]) for label, loaded in found]
    results = trained(found, Capture(path=True), "--trajectory ")
    return [
        TrainedPath(label, each, result.path, result.loss)
        for (label, _), each, result in zip(found, names, results, strict=True)
        if result.path is not None
    ]


def held(loaded: Loaded, axes: Sequence[Axis], paths: Sequence[TrainedPath]) -> str:
    """Say that the surface has the other parameters at their start values, and what it makes of the loss at the end.

    Nothing where these do not move, or are none. Of several runs it is the largest difference.
    """
    torch.set_num_threads(resolve_threads(loaded))
    built, targets = build(loaded), [axis.target for axis in axes]
    parameters = built.theta.parameters()
    start = {name: value for each in parameters for name, value in zip(each.scalars, each.values.flat, strict=True)}
    gaps = []
    for path in paths:
        others = [k for k, name in enumerate(path.names) if name not in targets]
        if (path.points[:, others] != [start.get(path.names[k], np.nan) for k in others]).any():
            gaps.append(float(losses(built, targets, path.over(targets)[-1:])[0]) - path.loss)
    if not gaps:
        return ""
    gap = max(filter(isfinite, gaps), key=abs, default=None)
    end = "" if gap is None else f": surface − true loss {number(gap, 3)} at the end"
    return f"parameters not on the axes stay at their start values{end}"


def _specs(text: str) -> list[tuple[str, str]]:
    """Return label and spec of a run's folder, of the runs below a folder, or of a spec."""
    folder = Path(specs.record_or_spec(text))
    if not folder.is_dir():
        return [(Path(text).stem, text)]
    require_plugins(folder)
    below = sorted(folder.glob("*/config.yaml"))
    if below:
        return [(path.parent.name.partition("-")[2] or path.parent.name, str(path)) for path in below]
    if not (folder / "config.yaml").is_file():
        raise SpecError(f"--trajectory {text}: no config.yaml in this folder")
    return [(folder.parent.name, str(folder / "config.yaml"))]


def _names(label: str, loaded: Loaded, targets: Sequence[str]) -> list[str]:
    names = [name for parameter in build(loaded).theta.parameters() for name in parameter.scalars]
    for target in targets:
        if target not in names:
            raise SpecError(f"--trajectory {label}: the model has no parameter {target}")
    return names


def trained(named: Sequence[tuple[str, Loaded]], capture: Capture, where: str = "") -> list[Result]:
    """Train specs in memory, those of one structure together, and return what is to be captured of each.

    Raises RunError for one that fails.
    """
    runs = [PlannedRun(k, Trial(label, (), ()), loaded) for k, (label, loaded) in enumerate(named)]
    results = run_in_memory(runs, capture, Interrupt())
    for (label, _), result in zip(named, results, strict=True):
        if result.status == "failed":
            raise RunError(f"{where}{label}: {result.message}")
    return results


def record(loaded: Loaded, axes: Sequence[Axis], digest: str, request: SweepRequest, context: Context) -> LossGrid:
    """Evaluate the loss over a grid, and write it into a record: results.csv, sweep.png, log.txt, summary.json."""
    paths = trained_paths(request.trajectory, axes)
    grid = replace(evaluate(loaded, axes), held=held(loaded, axes, paths) if paths else "")
    picture = partial(_grid_picture, grid, loaded, paths) if len(axes) <= 2 else None
    with context.folder(request, loaded, digest, batch_head(loaded, context.provenance())) as folder:
        timing = Timing()
        files.replace(folder / "results.csv", grid.csv())
        files.replace(folder / "log.txt", grid.text())
        if request.plot and picture is not None and context.keeps:
            with timing.phase("plot"):
                files.draw(folder / "sweep.png", partial(picture, "png"), context.frontend.warning)
        loss, point = grid.lowest()
        summary = {"status": "finished", "points": len(grid.loss), "lowest_loss": loss, "at": point}
        end_batch(folder, timing, summary)
    return replace(grid, folder=folder, picture=picture)


def _grid_picture(grid: LossGrid, loaded: Loaded, paths: Sequence[TrainedPath], form: plots.Form) -> bytes:
    label, title = run_picture.loss_label(loaded), loaded.spec.name
    names = [axis.name for axis in grid.axes]
    if len({axis.factor for axis in grid.axes}) == 1:  # one axis, or a zip: a line through the plane
        return plots.in_form(plots.sweep_curve, form)(
            names[0], grid.points[:, 0].tolist(), grid.loss, title=title, loss_label=label
        )
    first, second = (np.unique(grid.points[:, k]) for k in (0, 1))
    lengths = [axis.grid.length for axis in grid.axes]
    if lengths != [len(first), len(second)]:
        raise ValueError("a surface needs axes without repeated values")
    values = grid.loss.reshape(lengths).T  # [second, first]
    order = [np.argsort(axis.grid.array()) for axis in grid.axes]
    turned = values[np.ix_(order[1], order[0])]
    trails = [plots.Trail(path.label, path.over([axis.target for axis in grid.axes])) for path in paths]
    return plots.in_form(plots.surface, form)(
        (names[0], names[1]), first, second, turned, title=title, loss_label=label, trails=trails, note=grid.held
    )
