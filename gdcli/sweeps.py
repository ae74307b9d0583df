"""Sweeps and comparisons: many runs or grid points, one folder, one results.csv, one picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gdcli import execute, plots, store, tables
from gdcli.engine.build import build, resolve_threads
from gdcli.engine.grid import losses
from gdcli.engine.train import Interrupt
from gdcli.execute import Finished, Origin, Planned, Result, Timing, Watch
from gdcli.plan import Axis
from gdcli.spec import config
from gdcli.spec.document import write
from gdcli.spec.load import Loaded
from gdcli.styles import sweep_point

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Grid:
    """The loss over a grid: axes, points [R, k] in order of the product (the last axis fastest), loss [R]."""

    axes: Sequence[Axis]
    points: NDArray[np.float64]
    loss: NDArray[np.float64]
    loss_name: str  # the loss's name in the spec

    def text(self) -> str:
        """Return the document's two lines a point; for several axes, where the loss is lowest."""
        if len(self.axes) == 1:
            name, label = self.axes[0].name, "MSE" if self.loss_name == "mse" else self.loss_name
            return "".join(
                sweep_point(name, value, label, loss)
                for value, loss in zip(self.points[:, 0].tolist(), self.loss.tolist(), strict=True)
            )
        k = self.lowest
        where = ", ".join(
            f"{axis.name}={value!r}" for axis, value in zip(self.axes, self.points[k].tolist(), strict=True)
        )
        return f"{len(self.loss):,} points, lowest {self.loss_name} {tables.number(float(self.loss[k]))} at {where}\n"

    @property
    def lowest(self) -> int:
        """The index of the lowest finite loss."""
        return int(np.argmin(np.where(np.isfinite(self.loss), self.loss, np.inf)))

    def json(self, folder: Path) -> str:
        """Return the grid as one JSON document."""
        names = [axis.name for axis in self.axes]
        return store.json_text(
            {"folder": str(folder), "axes": names, "points": self.points.tolist(), "loss": self.loss.tolist()}
        )

    def csv(self) -> bytes:
        """Return results.csv: a column per axis, and the loss."""
        header = ",".join([store.cell(axis.name) for axis in self.axes] + ["loss"]) + "\n"
        columns = [*self.points.T.tolist(), self.loss.tolist()]
        return (header + "".join(",".join(map(repr, row)) + "\n" for row in zip(*columns, strict=True))).encode()


def evaluate(loaded: Loaded, axes: Sequence[Axis]) -> Grid:
    """Evaluate the spec's loss on all its data over the grid, without training."""
    torch.set_num_threads(resolve_threads(loaded))
    built = build(loaded)
    values = [np.array([float(value) for value in axis.grid.values()]) for axis in axes]
    points = np.stack([mesh.ravel() for mesh in np.meshgrid(*values, indexing="ij")], axis=1)  # [R, k]
    scalars = [_in_theta(built.theta.parameters(), axis.target) for axis in axes]
    spec = loaded.spec
    return Grid(axes, points, losses(built, scalars, points), spec.loss.name if spec.loss else "loss")


def _in_theta(parameters: Any, target: str) -> str:
    """Return a scalar's name; any index of a bias that its layer shares means its one entry."""
    names = {name for parameter in parameters for name in parameter.scalars}
    return target if target in names else f"{target.partition('[')[0]}[0]"


def record_grid(grid: Grid, loaded: Loaded, origin: Origin, output: Path, *, plot: bool, warning: Warn) -> Path:
    """Write a grid's folder: results.csv, sweep.png, the specs, log.txt, summary.json; return it."""
    timing = Timing()
    folder = _head(loaded, origin, output, [axis.name for axis in grid.axes])
    store.replace(folder / "results.csv", grid.csv())
    store.replace(folder / "log.txt", grid.text())
    if plot and len(grid.axes) <= 2:
        with timing.phase("plot"):
            execute.draw(folder / "sweep.png", lambda: _grid_picture(grid, loaded), Watch(warning=warning))
    k = grid.lowest
    lowest = {axis.name: value for axis, value in zip(grid.axes, grid.points[k].tolist(), strict=True)}
    store.replace(folder / "timing.json", timing.text())
    summary = {"status": "finished", "points": len(grid.loss), "lowest_loss": float(grid.loss[k]), "at": lowest}
    store.replace(folder / "summary.json", store.json_text(summary))
    return folder


def _head(loaded: Loaded, origin: Origin, output: Path, axes: Sequence[str]) -> Path:
    filled = config.filled_in(loaded.spec)
    folder = execute.new_folder(output, loaded.spec.name, filled | {"axes": list(axes)})
    store.replace(folder / "spec.yaml", origin.text)
    store.replace(folder / "config.yaml", write(filled))
    threads = resolve_threads(loaded)
    environment = execute.environment(origin, torch.device("cpu"), threads)
    store.replace(folder / "environment.json", store.json_text(environment))
    return folder


def _grid_picture(grid: Grid, loaded: Loaded) -> bytes:
    label, title = execute.loss_label(loaded), loaded.spec.name
    if len(grid.axes) == 1:
        return plots.sweep_curve(
            grid.axes[0].name, grid.points[:, 0].tolist(), grid.loss, title=title, loss_label=label
        )
    first, second = (np.unique(grid.points[:, k]) for k in (0, 1))
    lengths = [axis.grid.length for axis in grid.axes]
    values = grid.loss.reshape(lengths).T  # [second, first]
    if lengths != [len(first), len(second)]:
        raise ValueError("a surface needs axes without repeated values")
    order = [np.argsort([float(v) for v in axis.grid.values()]) for axis in grid.axes]
    names = (grid.axes[0].name, grid.axes[1].name)
    return plots.surface(names, first, second, values[np.ix_(order[1], order[0])], title=title, loss_label=label)


@dataclass(slots=True)
class Many:
    """Runs one after the other, with one folder; ``results`` grows as they end."""

    loaded: Loaded
    planned: Sequence[Planned]
    axes: Sequence[str]
    origin: Origin
    output: Path
    comparison: bool = False
    results: list[Result] = field(default_factory=list)
    folder: Path = Path()

    def run(self, interrupt: Interrupt, *, warning: Warn, plot: bool) -> None:
        """Run all, write the folder; a run that fails is counted, the others go on."""
        timing, watch = Timing(), Watch(warning=warning)
        self.folder = _head(self.loaded, self.origin, self.output, [*self.axes, *(item.label for item in self.planned)])
        rows = store.Log(self.folder / "results.csv")
        rows.write(store.csv_text(execute.result_header(self.axes), []))
        with timing.phase("runs"):
            for result in execute.run_all(self.planned, self.folder, self.origin, watch, interrupt, plot=False):
                self.results.append(result)
                rows.write(store.csv_text(execute.result_row(len(self.results), result), []))
                rows.flush()
        rows.close()
        timing.steps = sum(result.finished.outcome.steps for result in self.results if result.finished)
        if plot and self.results:
            name = "compare.png" if self.comparison else "sweep.png"
            with timing.phase("plot"):
                execute.draw(self.folder / name, self._picture, watch)
        store.replace(self.folder / "log.txt", self.table())
        store.replace(self.folder / "timing.json", timing.text())
        store.replace(self.folder / "summary.json", store.json_text(self._summary(interrupt)))

    def _summary(self, interrupt: Interrupt) -> dict[str, Any]:
        status = "interrupted" if interrupt.requested else "finished"
        counts = {name: sum(result.status == name for result in self.results) for name in _STATUSES}
        best = self.ranked[0] if self.results else None
        lowest = {"best": best.planned.label, "best_loss": best.loss} if best is not None else {}
        return {"status": status, "runs": len(self.results), **{k: v for k, v in counts.items() if v}, **lowest}

    @property
    def ranked(self) -> list[Result]:
        """Results by final loss, diverged and failed ones last."""
        return sorted(
            self.results,
            key=lambda result: (not np.isfinite(result.loss), result.loss if np.isfinite(result.loss) else 0),
        )

    def table(self) -> str:
        """Return the table that is printed: a row per run, in the order asked for."""
        header = [*self.axes, "final loss", "best loss", "steps", "epochs", "status", "weights", "data", "order"]
        places = {"label": "optimizer" if self.comparison else "label", "lr_from": "lr from"}
        rows = []
        for result in self.results:
            row = execute.result_row(0, result)[1:]
            values, (status, final, best, steps, epochs, *hashes) = row[:-8], row[-8:]
            rows.append([*values, final, best, steps, epochs, status, *(value or "-" for value in hashes)])
        return tables.aligned([places.get(name, name) for name in header], rows)

    def json(self) -> str:
        """Return the results as one JSON document."""
        header = execute.result_header(self.axes)
        rows = [dict(zip(header, execute.result_row(k, r), strict=True)) for k, r in enumerate(self.results, 1)]
        return store.json_text({"folder": str(self.folder), "runs": rows})

    def _picture(self) -> bytes:
        label, title = execute.loss_label(self.loaded), self.loaded.spec.name
        if len(self.axes) == 1 and not self.comparison:
            values = [result.planned.values[0] for result in self.results]
            losses_ = np.array([result.loss for result in self.results])
            return plots.sweep_runs(self.axes[0], values, losses_, title=title, loss_label=label)
        runs = [(r.planned.label, r.finished) for r in self.results if r.finished is not None]
        if all(run.steps_per_epoch == 1 for _, run in runs):
            curves = [plots.Curve(name, np.arange(1.0, len(run.losses) + 1), run.losses) for name, run in runs]
            return plots.comparison(curves, title=title, loss_label=label)
        curves = [_per_epoch(name, run) for name, run in runs]
        return plots.comparison(curves, title=title, loss_label=f"{label}, mean of the epoch", x_label="epoch")


def _per_epoch(name: str, run: Finished) -> plots.Curve:
    """Return the mean loss of each epoch: the losses of single small batches would hide each other."""
    starts = np.arange(0, len(run.losses), run.steps_per_epoch)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.add.reduceat(run.losses, starts) if len(starts) else np.empty(0)
    counts = np.diff([*starts, len(run.losses)])
    return plots.Curve(name, np.arange(1.0, len(starts) + 1), sums / counts)


_STATUSES = ("finished", "stopped", "diverged", "interrupted", "failed")
