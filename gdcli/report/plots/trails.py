"""Paths of runs through two parameters, drawn on a picture of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .look import CROSS, CURVES, ENTRY, HANDLE, HEIGHT, MANY, WIDTH, looks
from .scales import bounds, drawable, spread, spread_over
from .text import TEXT, Array, fit, shorter, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis

STOPS = 20_000  # points of a path drawn at most
ROW = 15.0  # points: the height of a row of the legend
MARKS, GONE = "○ start · ● end", " · ✕ diverged"


@dataclass(frozen=True, slots=True)
class Trail:
    """The way of one run; NaN at the end where it diverged."""

    label: str
    points: Array  # [K, 2]


@dataclass(frozen=True, slots=True)
class Entries:
    """The legend of the trails: its texts, in so many columns."""

    names: tuple[str, ...]
    columns: int
    heading: str = ""

    @property
    def height(self) -> float:
        """Its height in points."""
        return ROW * (-(-len(self.names) // self.columns) + bool(self.heading))


def entries(trails: Sequence[Trail]) -> Entries:
    """The legend in as few rows as the picture's width allows: of more than three, labels are shortened, then cut."""
    few = 0 < len(trails) <= MANY
    ways = shorter([trail.label for trail in trails]) if few else []
    for labels, heading in ways:
        names = [fit(label, TEXT, 300.0) for label in labels]
        if len(names) <= 3 * _columns(names):
            return Entries(tuple(names), _columns(names), fit(heading, TEXT, WIDTH - 40))
    if few:
        trails = [replace(trail, label=label) for trail, label in zip(trails, ways[-1][0], strict=True)]
    for most, rows in ((300.0, 3), (200.0, 3), (140.0, 4), (100.0, 5), (75.0, MANY)):
        names = _names(trails, most)
        columns = _columns(names)
        if len(names) <= rows * columns:
            break
    return Entries(tuple(names), columns, fit(ways[-1][1], TEXT, WIDTH - 40) if few else "")


def _columns(names: Sequence[str]) -> int:
    """How many columns fit side by side, each as wide as its widest name."""
    widths = np.array([width_of(name, TEXT) for name in names])
    for count in range(len(names), 1, -1):
        columns = np.array_split(widths, count)
        if sum(column.max() + ENTRY for column in columns) <= WIDTH - 20:
            return count
    return 1


def _names(trails: Sequence[Trail], most: float) -> list[str]:
    """Every trail, or of many the first, the last and how many are drawn, each at most so many points wide."""
    if len(trails) <= MANY:
        return [fit(trail.label, TEXT, most) for trail in trails]
    said = f"{min(len(trails), CURVES)} of {len(trails):,} drawn"
    return [*(fit(trail.label, TEXT, most) for trail in (trails[0], trails[-1])), said]


def draw_trails(axes: Axes, trails: Sequence[Trail], legend: Entries, lift: float) -> str:
    """Draw the paths and, from so many points above the axes down, their legend; return the key of their marks."""
    shown = spread_over(trails)
    ways = [on_axes(axes, trail.points) for trail in shown]
    handles = []
    for way, look in zip(ways, looks(len(shown)), strict=True):
        handles += axes.plot([], [], **look)
        _draw_way(axes, way, look)
    figure: Any = axes.figure
    if trails:
        if len(shown) > MANY:
            handles = [handles[0], handles[-1], *axes.plot([], [], " ")]
        place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, axes.get_position().y1 + lift / HEIGHT)}
        place |= {"ncols": legend.columns, "handlelength": HANDLE, "columnspacing": 1.2, "handletextpad": 0.6}
        if legend.heading:
            place |= {"title": legend.heading, "title_fontsize": TEXT}
        place |= {"frameon": False, "labelspacing": 0.12, "borderaxespad": 0.0, "borderpad": 0.0}
        figure.legend(handles, legend.names, fontsize=TEXT, **place)
    gone = any(len(way) and not np.isfinite(way[-1]).all() for way in ways)
    return (MARKS if trails else "") + (GONE if gone else "")


def _draw_way(axes: Axes, way: Array, look: dict[str, Any]) -> None:
    """A line in a white casing, a hollow circle at its start, a filled one at its end, or a cross where it diverged."""
    seen = np.flatnonzero(np.isfinite(way).all(axis=1))
    if not len(seen):
        return
    line = way[_stops(axes, way)]
    axes.plot(*line.T, color="white", linewidth=look["linewidth"] + 2, solid_capstyle="round", zorder=3)
    axes.plot(*line.T, **look, zorder=3.1)
    if seen[-1] < len(way) - 1:
        last = last_seen(axes, way)[:, None]
        axes.plot(*last, **{**CROSS, "zorder": 3.6, "color": look["color"], "clip_on": False})
    else:
        axes.plot(*way[seen[-1]][:, None], "o", color=look["color"], markeredgecolor="white", markersize=8, zorder=3.6)
    start: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": look["color"], "markeredgewidth": 1.8}
    axes.plot(*way[seen[0]][:, None], "o", markersize=8, zorder=3.4, **start)


def on_axes(axes: Axes, points: Array) -> Array:
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


def last_seen(axes: Axes, way: Array) -> Array:
    """The last place [2] of a path, or where it leaves the axes for the last time; its last place if it never enters.

    Raises IndexError for a path without a finite point.
    """
    way = way[np.isfinite(way).all(axis=1)]
    to_box = axes.transData + axes.transAxes.inverted()  # the axes are the square from 0 to 1
    at = to_box.transform(way)
    if len(way) < 2 or ((at[-1] >= 0) & (at[-1] <= 1)).all():
        return np.asarray(way[-1])
    start, step = at[:-1], np.diff(at, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = -start / step, (1 - start) / step  # the share of the step at which it reaches either side
    enters, leaves = np.fmin(low, high).max(axis=1), np.fmax(low, high).min(axis=1)
    inside = np.flatnonzero((enters <= leaves) & (leaves >= 0) & (enters <= 1))
    if not len(inside):
        return np.asarray(way[-1])
    k = inside[-1]
    return np.asarray(to_box.inverted().transform(start[k] + min(leaves[k], 1.0) * step[k]))


def _stops(axes: Axes, way: Array) -> NDArray[np.int64]:
    """Indices of the points that make a difference of a third of a pixel, the first and the last among them."""
    pixels = axes.transData.transform(way)
    moves = (np.diff(np.round(np.nan_to_num(3 * pixels, nan=-1e9)), axis=0) != 0).any(axis=1)
    keep = np.flatnonzero(np.concatenate([[True], moves]))
    keep = np.union1d(keep, [len(way) - 1])
    return keep[spread(len(keep), STOPS)]
