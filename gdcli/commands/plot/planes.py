"""The loss over two parameters, or over the plane of the paths' principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gdcli.commands.plot.runs import CurveSource, Floats, loss_of
from gdcli.errors import SpecError
from gdcli.report import plots
from gdcli.report.plots.scales import spread
from gdcli.report.plots.text import number

if TYPE_CHECKING:
    from gdcli.engine.problem import TrainingProblem

SIDE, WORK = 160, 4e8  # points of a plane's grid, each way; rows of data times parameters times points, about at most
WIDEST = 20_000  # parameters of a model whose plane is drawn
PATH_POINTS, ALL_POINTS = 600, 1800  # of a path and of all, from which the plane and the gap are found, about at most
HUGE = 1e15  # a parameter beyond is that of a run that diverges, even if it stays finite there


@dataclass(frozen=True, slots=True)
class Projection:
    """A plane in the space of all parameters: a point is origin + a x + b y; the share of the paths' variance."""

    origin: Floats  # [P]
    axes: Floats  # [2, P], orthonormal
    explained: tuple[float, float]

    def down(self, points: Floats) -> Floats:
        """Return points [K, P] as places on the plane [K, 2]."""
        with np.errstate(all="ignore"):
            return np.asarray((points - self.origin) @ self.axes.T)

    def up(self, places: Floats) -> Floats:
        """Return places [K, 2] as points [K, P]."""
        return np.asarray(self.origin + places @ self.axes)


def principal(paths: Sequence[Floats]) -> Projection:
    """Return the plane of the first two principal components of all paths' points [K, P].

    Their sign is such that the largest entry is positive. Raises SpecError where nothing moves.
    """
    points = np.concatenate(_thinned(_steady(paths)))
    origin = points.mean(axis=0)
    _, values, vectors = np.linalg.svd(points - origin, full_matrices=False)
    total = float((values**2).sum())
    if total == 0 or len(values) < 2:
        raise SpecError("the runs do not move: there is no plane of their paths")
    axes = vectors[:2] * np.sign(vectors[:2][np.arange(2), np.abs(vectors[:2]).argmax(axis=1)])[:, None]
    return Projection(origin, axes, (float(values[0] ** 2 / total), float(values[1] ** 2 / total)))


def _thinned(paths: Sequence[Floats]) -> list[Floats]:
    return [path[spread(len(path), min(PATH_POINTS, max(30, ALL_POINTS // len(paths))))] for path in paths]


def _steady(paths: Sequence[Floats]) -> list[Floats]:
    """Return the paths [K, P] that do not diverge, whose way to infinity would fill the picture.

    Where all do, return their points before: finite, and small enough to be squared.
    """
    usable = [path[(np.abs(path) < HUGE).all(axis=1)] for path in paths]
    return [path for path, part in zip(paths, usable, strict=True) if len(part) == len(path)] or usable


def plane(sources: Sequence[CurveSource]) -> plots.Plane:
    """Return the loss over two parameters, or over the plane of the paths' principal components, with the paths.

    Raises SpecError for a model of one parameter or too many, and for runs whose models or data differ.
    """
    from gdcli.commands.compare.shown import grid_axis
    from gdcli.commands.loss_grid import trained
    from gdcli.engine.problem import build
    from gdcli.runner.jobs import Capture

    built = build(sources[0].loaded)
    names = [name for parameter in built.theta.parameters() for name in parameter.scalars]
    if not 2 <= len(names) <= WIDEST:
        hint = ". gdcli sweep draws the loss over one" if len(names) < 2 else ""
        raise SpecError(f"a surface is drawn of models of 2 to {WIDEST:,} parameters (got {len(names):,}){hint}")
    _same_problem(sources, names)
    results = trained([(source.label, source.loaded) for source in sources], Capture(path=True))
    paths = [result.path for result in results if result.path is not None]
    shown, labels, note = Projection(np.zeros(2), np.eye(2), (1.0, 0.0)), (names[0], names[1]), ""
    if len(names) > 2:
        shown = principal(paths)
        first, second = (f"{100 * share:.3g} %" if share > 1e-3 else "below 0.1 %" for share in shown.explained)
        labels = f"principal component 1: {first} of the variance", f"component 2: {second}"
        note = _gap(built, names, shown, paths)
    trails = [plots.Trail(source.label, shown.down(path)) for source, path in zip(sources, paths, strict=True)]
    work = max(1, len(built.batches.x)) * len(names)
    side = int(np.clip(np.sqrt(WORK / work), 30, SIDE))
    x, y = (grid_axis([shown.down(path)[:, k] for path in _steady(paths)], side) for k in (0, 1))
    places = np.stack([mesh.ravel() for mesh in np.meshgrid(x, y, indexing="ij")], axis=1)
    loss = _losses(built, names, shown, places).reshape(side, side).T
    return plots.Plane(labels, x, y, loss, trails, note)


def _losses(built: TrainingProblem, names: list[str], shown: Projection, places: Floats) -> Floats:
    """Return the loss at places of the plane, not more of them at once than memory takes easily."""
    from gdcli.engine.grid import losses

    rows = max(64, 2**24 // len(names))
    parts = [losses(built, names, shown.up(places[k : k + rows])) for k in range(0, len(places), rows)]
    return np.concatenate(parts)


def _gap(built: TrainingProblem, names: list[str], shown: Projection, paths: Sequence[Floats]) -> str:
    """Say how far the loss on the plane is from the true one: at the end, and the largest along the paths.

    Nothing where every run diverges: none of them has an end.
    """
    from gdcli.engine.grid import losses

    if not any((np.abs(path) < HUGE).all() for path in paths):
        return ""
    gaps = []
    for points in _thinned(_steady(paths)):
        with np.errstate(all="ignore"):
            gap = _losses(built, names, shown, shown.down(points)) - losses(built, names, points)
        gaps.append(gap[np.isfinite(gap)])
    end = max((float(gap[-1]) for gap in gaps if len(gap)), key=abs, default=float("nan"))
    largest = max((float(np.abs(gap).max()) for gap in gaps if len(gap)), default=float("nan"))
    return f"plane − true loss: end {number(end, 2)}, max {number(largest, 2)}"


def _same_problem(sources: Sequence[CurveSource], names: list[str]) -> None:
    """Refuse runs that are not points of one surface."""
    from gdcli.engine.problem import build
    from gdcli.runner.provenance import data_hash

    first = sources[0]
    for other in sources[1:]:
        parameters = build(other.loaded).theta.parameters()
        same = [name for parameter in parameters for name in parameter.scalars] == names
        same &= loss_of(first) == loss_of(other) and data_hash(first.loaded) == data_hash(other.loaded)
        same &= repr(first.loaded.architecture) == repr(other.loaded.architecture) or first.loaded.spec.loss is not None
        if not same:
            raise SpecError(f"{other.label} is not on the surface of {first.label}: its model, loss or data differ")
