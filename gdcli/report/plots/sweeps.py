"""How the loss depends on a parameter, on a key of the spec, on an axis of any sweep, on the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .canvas import Picture, draw_line, finish, fitted, new_axes, room_of, write_note
from .look import AT_EDGE, BESIDE, CROSS, INSIDE, MANY, MARKERS, NOTE, PALETTE, STAR, WIDTH, looks
from .losses import Curve
from .scales import (
    POINTS,
    as_numbers,
    at_edge,
    bounds,
    drawable,
    set_bounds,
    set_numbers,
    set_scale,
    spans,
    spread,
    spread_over,
)  # fmt: skip
from .text import TEXT, Array, clean, fit, number, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 12  # lines of a sweep up to which each has its own look and legend entry
Best = Literal["loss", "lowest", "highest"]
"""What is best of the numbers drawn: the lowest loss, or the lowest or highest of a metric."""
FAR = 1e6  # a loss so many times the worst of the best ones leaves the picture


@Picture
def sweep_curve(name: str, values: Sequence[float], loss: Array, title: str, loss_label: str) -> Figure:
    """The loss over one parameter of the model, its minimum marked."""
    return _numbers_figure(name, np.asarray(values, np.float64), loss, title, loss_label, trained=False)


@Picture
def sweep_runs(
    name: str, values: Sequence[object], loss: Array, title: str, loss_label: str, best: Best = "loss"
) -> Figure:
    """The final loss, or a metric, over a key of the spec: points for numbers, bars for words."""
    numbers = as_numbers(values)
    if numbers is None:
        return _words_figure(name, [str(value) for value in values], loss, title, loss_label, best)
    return _numbers_figure(name, numbers, loss, title, loss_label, trained=True, best=best)


def _numbers_figure(
    name: str, values: Array, loss: Array, title: str, loss_label: str, *, trained: bool, best: Best = "loss"
) -> Figure:
    x = drawable(values)
    order = np.argsort(x, kind="stable")[: np.isfinite(x).sum()]  # what is not finite is sorted last
    x, y = x[order], drawable(loss)[order]
    axes = new_axes(title, name, loss_label, above=20)
    # trained losses differ by orders of magnitude; a parabola should look like one, unless most of it would lie flat
    helps = spans(y, 10) if trained else spans(y, 50) and np.nanmedian(y) < 0.02 * np.nanmax(y)
    set_scale(axes.yaxis, y, log=bool(helps) and best != "highest")
    set_numbers(axes, x)
    repeated = len(np.unique(x)) < len(x)  # several runs of one value: a line through them would zigzag
    marks = {"marker": "o", "markersize": 5} if len(x) <= 60 else {"marker": "."} if repeated else {}
    draw_line(axes, x, y, color=PALETTE[0], linewidth=2.0, linestyle="none" if repeated else "-", **marks)
    gone = x[~np.isfinite(y)]
    if len(gone):
        gone = gone[spread(len(gone), POINTS)]
        top = axes.get_xaxis_transform()
        axes.plot(gone, np.full(len(gone), 0.96), transform=top, label=_gone(best), **CROSS, color=PALETTE[1])
    if np.isfinite(y).any():
        at = int(np.nanargmax(y) if best == "highest" else np.nanargmin(y))
        which = "maximum" if best == "highest" else "minimum"
        text = f"{which} {number(y[at])} at {fit(name, TEXT, 200)} = {number(x[at], 6)}"
        text += AT_EDGE if at_edge(x[:, None], -y if best == "highest" else y) else ""
        axes.plot(x[at], y[at], label=text, **STAR)
    return finish(axes, "above")


def _gone(best: Best) -> str:
    """Say what a cross is: a metric may also be undefined."""
    return "diverged" if best == "loss" else "no value"


def _words_figure(
    name: str, words: Sequence[str], loss: Array, title: str, loss_label: str, best: Best = "loss"
) -> Figure:
    y = drawable(loss)
    place = np.arange(len(words))
    upright = len(words) <= 8 and all(width_of(clean(word), TEXT) < 460 / max(1, len(words)) - 12 for word in words)
    labels = [fit(word, TEXT, 150) for word in words]
    done, gone = place[np.isfinite(y)], place[~np.isfinite(y)]
    above = 20 if len(gone) else 0
    axes = new_axes(title, name if upright else loss_label, loss_label if upright else name, above=above)
    along, across = (axes.yaxis, axes.xaxis) if upright else (axes.xaxis, axes.yaxis)
    log = spans(y, 50) and best != "highest"
    # bars start at 0, and need room for their number
    set_scale(along, y if log else np.append(y, 0.0), log=log, room=0.12)
    start = bounds(along)[0] if log else 0.0
    bars = (axes.bar if upright else axes.barh)(place[done], y[done] - start, 0.7, start)
    for bar in bars:
        bar.set_color(PALETTE[0])
    keep = spread(len(words), 18)
    across.set_ticks(place[keep], labels=[labels[index] for index in keep])
    across.grid(False)
    (axes.set_xlim if upright else axes.set_ylim)(-0.6, max(len(words), 1) - 0.4)
    if not upright:
        axes.invert_yaxis()
    for index in done if len(words) <= 18 else ():
        down = y[index] < 0
        at, shift = (
            ((index, y[index]), (0, -4 if down else 3)) if upright else ((y[index], index), (-4 if down else 4, 0))
        )
        side: dict[str, Any] = {"ha": "center", "va": "top" if down else "bottom"}
        side = side if upright else {"ha": "right" if down else "left", "va": "center"}
        axes.annotate(number(y[index], 3), at, shift, textcoords="offset points", fontsize=TEXT, **side)
    if len(gone):
        level = np.full(len(gone), 0.94 if upright else 0.97)
        x, up = (gone, level) if upright else (level, gone)
        frame = axes.get_xaxis_transform() if upright else axes.get_yaxis_transform()
        axes.plot(x, up, transform=frame, label=_gone(best), **CROSS, color=PALETTE[1])
    return finish(axes, "above")


@Picture
def sensitivity(rows: Sequence[Curve], title: str, loss_label: str) -> Figure:
    """The loss over the learning rate of each optimizer, the chosen rate circled, diverged ones crosses at the top."""
    return _figure([_line(row, row.at, positive=True) for row in rows], title, loss_label, "learning rate")


@Picture
def sweep_profiles(
    rows: Sequence[Curve], title: str, loss_label: str, x_label: str, heading: str = "", bar_label: str = "",
    best: Best = "loss",
) -> Figure:  # fmt: skip
    """The final loss, or a metric, over an axis of a sweep, a line per combination of the others.

    Words stand side by side. heading: of the legend. bar_label: what the error bars are, written above the axes where
    one is drawn.
    """
    places: list[Any] = [as_numbers(row.at) for row in rows]
    words: dict[str, int] = {}  # each with its place, in the order of the sweep
    if any(numbers is None for numbers in places):
        words = {word: k for k, word in enumerate(dict.fromkeys(str(value) for row in rows for value in row.at))}
        asides = 0.6 * ((np.arange(len(rows)) + 0.5) / len(rows) - 0.5)  # from the word, so that no row hides another
        places = [[words[str(value)] + k for value in row.at] for row, k in zip(rows, asides, strict=True)]
    lines = [_line(row, at) for row, at in zip(rows, places, strict=True)]
    said = {"heading": heading, "bar_label": bar_label}
    return _figure(lines, title, loss_label, x_label, words=list(words) or None, many=FEW, best=best, **said)


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    x: Array  # [K] in order
    loss: Array  # [K]
    low: Array  # [K] ends of its error bars, NaN where there is none
    high: Array  # [K]
    chosen: float

    @property
    def bars(self) -> NDArray[np.bool_]:
        """Where an error bar is drawn."""
        return np.asarray(np.isfinite([self.loss, self.low, self.high]).all(axis=0))


def _line(row: Curve, at: Any, *, positive: bool = False) -> _Line:
    """The row in order of its numbers [K], those alone that a log axis can show if ``positive``."""
    ends = [np.full(len(row.loss), np.nan) if end is None else end for end in (row.low, row.high)]
    x, *columns = map(drawable, (at, row.loss, *ends))
    order = np.argsort(x, kind="stable")
    order = order[x[order] > 0] if positive else order[np.isfinite(x[order])]
    x, loss, low, high = (column[order] for column in (x, *columns))
    return _Line(row.label, x, loss, low, high, row.chosen)


def _figure(
    lines: Sequence[_Line], title: str, loss_label: str, x_label: str, *, words: Sequence[str] | None = None,
    many: int = MANY, heading: str = "", bar_label: str = "", best: Best = "loss",
) -> Figure:  # fmt: skip
    from matplotlib.transforms import Bbox, TransformedBbox

    shown = spread_over(lines)
    few, outside = len(shown) <= many, 4 < len(shown) <= (many if many == MANY else len(shown))
    names, keys = fitted([line.label for line in shown], outside)
    heading = fit(heading, TEXT, BESIDE if outside else INSIDE) or keys
    legend = names if few else [names[0], names[-1], f"first and last of {len(lines)}"]
    right = room_of([*legend, heading]) if outside else 0.0
    tuned = words is None and any(math.isfinite(line.chosen) for line in shown)
    gone = any(not np.isfinite(line.loss).all() for line in shown)
    barred = any(line.bars.any() for line in shown)
    said = [bar_label if barred else "", "◯ chosen" if tuned else "", f"✕ {_gone(best)}" if gone else ""]
    above = NOTE if any(said) else 0.0
    axes = new_axes(title, x_label, loss_label, above=above, right=right)
    levels, share = _scales(axes, shown, log=True if many == MANY else None, words=words, best=best)
    size = 9.0 if len(shown) <= 7 else 6.0  # of a cross
    below = TransformedBbox(Bbox.from_extents(0, 0, 1, share), axes.transAxes)
    for k, (line, look) in enumerate(zip(shown, looks(len(shown), many), strict=True)):
        x, loss = line.x, line.loss
        label = names[k] if few or k in (0, len(shown) - 1) else ""
        marker: dict[str, Any] = {"marker": MARKERS[k % len(MARKERS)], "markersize": 5 if len(x) <= 60 else 2}
        draw_line(axes, x, loss, label=label, **(look if words is None else look | {"linestyle": "none"}), **marker)
        axes.lines[-1].set_clip_box(below)
        if line.bars.any():
            low, high = (np.clip(end[line.bars], *bounds(axes.yaxis)) for end in (line.low, line.high))
            axes.vlines(x[line.bars], low, high, color=look["color"], linewidth=1.4, zorder=1.9).set_clip_box(below)
        level = np.where(np.isfinite(loss), loss, levels[k])
        missing = x[~np.isfinite(loss)]
        missing = missing[spread(len(missing), POINTS)] if len(missing) else missing
        cross = {**CROSS, "markersize": size, "markeredgewidth": size / 3.6, "color": look["color"], "clip_on": False}
        axes.plot(missing, np.full(len(missing), levels[k]), **cross)
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


def _scales(
    axes: Axes, lines: Sequence[_Line], *, log: bool | None, words: Sequence[str] | None, best: Best
) -> tuple[Array, float]:
    """The scales of both axes; the height of each line's crosses; the share of the axes below all of them.

    log: of the horizontal axis; None: where the values lie more evenly on it.
    """
    x = np.concatenate([np.zeros(0), *(line.x for line in lines)])
    loss = np.concatenate([np.zeros(0), *(line.loss for line in lines)])
    if words is None:
        set_numbers(axes, x, log=log)
    else:
        _word_axis(axes, words)
    finite = loss[np.isfinite(loss)]
    log = best != "highest" and bool(len(finite) and finite.min() > 0)
    ends = [end[line.bars] for line in lines for end in (line.low, line.high)]
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
