"""How the loss depends on the learning rate of several optimizers after tuning, or on an axis of any sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .canvas import (
    BESIDE,
    CROSS,
    CURVES,
    ENTRY,
    INSIDE,
    MANY,
    MARKERS,
    NOTE,
    WIDTH,
    Picture,
    draw_line,
    finish,
    looks,
    new_axes,
    write_note,
)  # fmt: skip
from .scales import POINTS, as_numbers, bounds, drawable, log_spaced, set_bounds, set_scale, set_span, spread, ticks_at
from .text import TEXT, Array, fit, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 12  # lines of a sweep up to which each has its own look and legend entry
FAR = 1e6  # a loss so many times the worst of the best ones leaves the picture


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The losses that one optimizer reached, one per learning rate; infinite or NaN where it diverged."""

    label: str
    lr: Array  # [K]
    loss: Array  # [K]
    chosen: float  # the learning rate that tuning took


@dataclass(frozen=True, slots=True)
class Profile:
    """The final losses along one axis of a sweep; infinite or NaN where a run diverged.

    low and high: the ends of an error bar round each, as a 95 % interval over seeds; NaN where there is none.
    """

    label: str
    at: Sequence[object]  # [K] numbers or words
    loss: Array  # [K]
    low: Array | None = None  # [K]
    high: Array | None = None  # [K]


@Picture
def sensitivity(rows: Sequence[Sensitivity], title: str, loss_label: str) -> Figure:
    """The loss over the learning rate of each optimizer, the chosen rate circled, diverged ones crosses at the top."""
    ways = [_in_order(drawable(row.lr), drawable(row.loss)) for row in rows]
    lines = [_Line(row.label, lr, loss, row.chosen) for row, (lr, loss) in zip(rows, ways, strict=True)]
    return _figure(lines, title, loss_label, "learning rate")


@Picture
def sweep_profiles(
    rows: Sequence[Profile], title: str, loss_label: str, x_label: str, heading: str = "", bar_label: str = ""
) -> Figure:
    """The final loss over an axis of a sweep, a line per combination of the others; words stand side by side.

    heading: of the legend. bar_label: what the error bars are, written above the axes where one is drawn.
    """
    every = list(dict.fromkeys(str(value) for row in rows for value in row.at))  # words in the order of the sweep
    place = {word: k for k, word in enumerate(every)}
    numbers = [as_numbers(row.at) for row in rows]
    lines = []
    for k, (row, found) in enumerate(zip(rows, numbers, strict=True)):
        if any(values is None for values in numbers):
            found = np.array([place[str(value)] for value in row.at], np.float64) + _aside(k, len(rows))
        ends = [np.full(len(row.loss), np.nan) if end is None else drawable(end) for end in (row.low, row.high)]
        x, loss, low, high = _in_order(drawable(np.asarray(found)), drawable(row.loss), *ends, positive=False)
        lines.append(_Line(row.label, x, loss, math.nan, low, high))
    words = every if any(values is None for values in numbers) else None
    return _figure(lines, title, loss_label, x_label, words=words, many=FEW, heading=heading, bar_label=bar_label)


def _aside(k: int, rows: int) -> float:
    """How far from its word the k-th row stands, so that none hides another."""
    return 0.6 * ((k + 0.5) / rows - 0.5)


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    x: Array  # [K] in order
    loss: Array  # [K]
    chosen: float = math.nan
    low: Array | None = None
    high: Array | None = None

    @property
    def bars(self) -> NDArray[np.bool_]:
        """Where an error bar is drawn."""
        if self.low is None or self.high is None:
            return np.zeros(len(self.x), bool)
        return np.isfinite(self.loss) & np.isfinite(self.low) & np.isfinite(self.high)


def _figure(
    lines: Sequence[_Line], title: str, loss_label: str, x_label: str, *, words: Sequence[str] | None = None,
    many: int = MANY, heading: str = "", bar_label: str = "",
) -> Figure:  # fmt: skip
    from matplotlib.transforms import Bbox, TransformedBbox

    shown = [lines[index] for index in spread(len(lines), CURVES)]
    few, outside = len(shown) <= many, 4 < len(shown) <= (many if many == MANY else len(shown))
    names = [fit(line.label, TEXT, BESIDE if outside else INSIDE) for line in shown]
    heading = fit(heading, TEXT, BESIDE if outside else INSIDE)
    legend = names if few else [names[0], names[-1], f"first and last of {len(lines)}"]
    right = ENTRY + max(width_of(name, TEXT) for name in [*legend, heading]) if outside else 0.0
    tuned = words is None and any(math.isfinite(line.chosen) for line in shown)
    gone = any(not np.isfinite(line.loss).all() for line in shown)
    barred = any(line.bars.any() for line in shown)
    said = [bar_label if barred else "", "◯ chosen" if tuned else "", "✕ diverged" if gone else ""]
    above = NOTE if any(said) else 0.0
    axes = new_axes(title, x_label, loss_label, above=above, right=right)
    levels, share = _scales(axes, shown, log=True if many == MANY else None, words=words)
    below = TransformedBbox(Bbox.from_extents(0, 0, 1, share), axes.transAxes)
    for k, (line, look) in enumerate(zip(shown, looks(len(shown), many), strict=True)):
        x, loss = line.x, line.loss
        label = names[k] if few or k in (0, len(shown) - 1) else ""
        marker: dict[str, Any] = {"marker": MARKERS[k % len(MARKERS)], "markersize": 5 if len(x) <= 60 else 2}
        draw_line(axes, x, loss, label=label, **(look if words is None else look | {"linestyle": "none"}), **marker)
        axes.lines[-1].set_clip_box(below)
        if line.bars.any() and line.low is not None and line.high is not None:
            low, high = (np.clip(end[line.bars], *bounds(axes.yaxis)) for end in (line.low, line.high))
            axes.vlines(x[line.bars], low, high, color=look["color"], linewidth=1.4, zorder=1.9).set_clip_box(below)
        level = np.where(np.isfinite(loss), loss, levels[k])
        _draw_diverged(axes, x[~np.isfinite(loss)], levels[k], look["color"], len(shown))
        at = np.flatnonzero(np.isclose(x, line.chosen, rtol=1e-9, atol=0.0))[:1]
        axes.plot(x[at], level[at], **{**_CHOSEN, "color": look["color"]})
    if len(lines) > len(shown):
        axes.plot([], [], " ", label=f"{len(shown)} of {len(lines):,} drawn")
    elif not few and many != MANY:
        axes.plot([], [], " ", label=f"first and last of {len(lines)}")
    write_note(axes, " · ".join(filter(None, said)))
    return finish(axes, "outside" if outside else "best", lift=above, heading=heading)


_CHOSEN: dict[str, Any] = {
    "marker": "o", "markersize": 13, "markeredgewidth": 2.0, "markerfacecolor": "none", "linestyle": "none",
    "zorder": 4,
}  # fmt: skip


def _in_order(x: Array, *columns: Array, positive: bool = True) -> list[Array]:
    """The values in order, without those that a log axis cannot show, and the columns beside them."""
    order = np.argsort(x, kind="stable")
    order = order[x[order] > 0] if positive else order[np.isfinite(x[order])]
    return [column[order] for column in (x, *columns)]


def _scales(
    axes: Axes, lines: Sequence[_Line], *, log: bool | None, words: Sequence[str] | None
) -> tuple[Array, float]:
    """The scales of both axes; the height of each line's crosses; the share of the axes below all of them.

    log: of the horizontal axis; None: where the values lie more evenly on it.
    """
    x = np.concatenate([np.zeros(0), *(line.x for line in lines)])
    loss = np.concatenate([np.zeros(0), *(line.loss for line in lines)])
    if words is None:
        log = log_spaced(x) if log is None else log
        set_span(axes, x, log=log and len(x) > 0)
        ticks_at(axes, np.unique(x), log=log)
    else:
        _word_axis(axes, words)
    finite = loss[np.isfinite(loss)]
    log = bool(len(finite) and finite.min() > 0)
    ends = [end[line.bars] for line in lines for end in (line.low, line.high) if end is not None]
    worth = _worth_seeing([line.loss for line in lines]) if log else finite
    set_scale(axes.yaxis, worth, np.concatenate([np.zeros(0), *ends]), log=log)
    gone = [not np.isfinite(line.loss).all() for line in lines]
    step = min(0.06, 0.35 / max(1, sum(gone)))  # of the axes' height
    low, high = bounds(axes.yaxis)
    place = np.log if log else np.asarray
    start, end = (float(place(limit)) for limit in (low, high))
    end += (end - start) * sum(gone) * step / (1 - sum(gone) * step)
    heights = end - (np.cumsum(gone) - 0.5) * step * (end - start)
    top = float(np.exp(end)) if log else end
    set_bounds(axes.yaxis, low, top)  # the ticks of a log axis stay below: up there are no losses
    if any(gone):
        axes.axhspan(high, top, color="#f0f0f0", zorder=0)
    return np.exp(heights) if log else heights, 1 - sum(gone) * step


def _word_axis(axes: Axes, words: Sequence[str]) -> None:
    keep = spread(len(words), 12)
    room = (axes.get_position().width * WIDTH - 10) / max(1, len(keep))
    axes.set_xticks(keep, labels=[fit(words[index], TEXT, room - 6) for index in keep])
    axes.set_xlim(-0.6, max(len(words), 1) - 0.4)
    axes.grid(visible=False, axis="x")


def _worth_seeing(losses: Sequence[Array]) -> Array:
    """The losses that set the scale: not those of runs about to diverge, which would press the others together."""
    finite = [loss[np.isfinite(loss)] for loss in losses]
    best = max(float(loss.min()) for loss in finite if len(loss))
    every = np.concatenate(finite)
    return every[every <= max(FAR * best, float(every.min()))]


def _draw_diverged(axes: Axes, lr: Array, height: float, colour: Any, rows: int) -> None:
    lr = lr[spread(len(lr), POINTS)] if len(lr) else lr
    size = 9.0 if rows <= 7 else 6.0
    look = {**CROSS, "markersize": size, "markeredgewidth": size / 3.6, "color": colour, "clip_on": False}
    axes.plot(lr, np.full(len(lr), height), **look)
