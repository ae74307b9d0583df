"""Paths of runs through two parameters, drawn on a picture of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .canvas import CROSS, CURVES, HEIGHT, MANY, WIDTH, looks
from .scales import bounds, drawable, spread
from .text import TEXT, Array, fit, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis

STOPS = 20_000  # points of a path drawn at most
LABEL = 140.0  # points: the width of a label at most


@dataclass(frozen=True, slots=True)
class Trail:
    """The way of one run; NaN at the end where it diverged."""

    label: str
    points: Array  # [K, 2]


def room_for(trails: Sequence[Trail]) -> float:
    """The room in points that the legend of the trails takes beside a colour bar."""
    return 16 + max(width_of(name, TEXT) for name in _names(trails)) if trails else 0.0


def draw_trails(axes: Axes, trails: Sequence[Trail], lift: float) -> str:
    """Draw the paths and, so many points above the axes, the top of their legend; return the key of their marks."""
    from matplotlib.figure import Figure

    shown = [trails[index] for index in spread(len(trails), CURVES)]
    ways = [_on_axes(axes, trail.points) for trail in shown]
    handles = []
    for way, look in zip(ways, looks(len(shown)), strict=True):
        (handle,) = axes.plot([], [], **look)
        handles.append(handle)
        _draw_way(axes, way, look)
    figure = axes.figure
    if trails and isinstance(figure, Figure):
        if len(shown) > MANY:
            handles = [handles[0], handles[-1], *axes.plot([], [], " ")]
        place: dict[str, Any] = {"loc": "upper left", "frameon": False, "labelspacing": 0.12, "borderaxespad": 0.0}
        corner = 1 - (26 + room_for(trails)) / WIDTH, axes.get_position().y1 + lift / HEIGHT
        figure.legend(handles, _names(trails), bbox_to_anchor=corner, fontsize=TEXT, handlelength=1.8, **place)
    gone = any(len(way) and not np.isfinite(way[-1]).all() for way in ways)
    return ("○ start · ● end" if trails else "") + (" · ✕ diverged" if gone else "")


def _names(trails: Sequence[Trail]) -> list[str]:
    """The entries of the legend: every trail, or of many the first, the last and how many are drawn."""
    if len(trails) <= MANY:
        return [fit(trail.label, TEXT, LABEL) for trail in trails]
    said = f"{min(len(trails), CURVES)} of {len(trails):,} drawn"
    return [*(fit(trail.label, TEXT, LABEL) for trail in (trails[0], trails[-1])), said]


def _draw_way(axes: Axes, way: Array, look: dict[str, Any]) -> None:
    """A line in a white casing, a hollow circle at its start, a filled one at its end, or a cross where it diverged."""
    seen = np.flatnonzero(np.isfinite(way).all(axis=1))
    if not len(seen):
        return
    line = way[_stops(axes, way)]
    axes.plot(*line.T, color="white", linewidth=look["linewidth"] + 2, solid_capstyle="round", zorder=3)
    axes.plot(*line.T, **look, zorder=3.1)
    last = way[seen[-1]][:, None]
    if seen[-1] < len(way) - 1:
        axes.plot(*last, **{**CROSS, "zorder": 3.6, "color": look["color"]})
    else:
        axes.plot(*last, "o", color=look["color"], markeredgecolor="white", markersize=8, zorder=3.6)
    start: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": look["color"], "markeredgewidth": 1.8}
    axes.plot(*way[seen[0]][:, None], "o", markersize=8, zorder=3.4, **start)


def _on_axes(axes: Axes, points: Array) -> Array:
    """The points [K, 2] with NaN for what the axes cannot show; what is far away comes near, its direction kept."""
    way = drawable(points).reshape(-1, 2)
    columns = []
    sides: tuple[XAxis | YAxis, ...] = (axes.xaxis, axes.yaxis)
    for axis, column in zip(sides, way.T, strict=True):
        low, high = bounds(axis)
        far = 1000 * (high - low)
        if axis.get_scale() == "log":
            columns.append(np.where(column > 0, column, np.nan))
        else:
            columns.append(np.clip(column, low - far, high + far))
    return np.where(np.isnan(columns).any(axis=0), np.nan, columns).T


def _stops(axes: Axes, way: Array) -> NDArray[np.int64]:
    """Indices of the points that make a difference of a third of a pixel, the first and the last among them."""
    pixels = axes.transData.transform(way)
    moves = (np.diff(np.round(np.nan_to_num(3 * pixels, nan=-1e9)), axis=0) != 0).any(axis=1)
    keep = np.flatnonzero(np.concatenate([[True], moves]))
    keep = np.union1d(keep, [len(way) - 1])
    return keep[spread(len(keep), STOPS)]
