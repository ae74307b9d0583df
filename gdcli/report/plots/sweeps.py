"""The loss over a parameter of the model, or over a key of the spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import CROSS, PALETTE, STAR, Picture, draw_line, finish, new_axes
from .scales import POINTS, as_numbers, bounds, drawable, log_spaced, set_scale, set_span, spans, spread, ticks_at
from .text import TEXT, Array, clean, fit, number, width_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@Picture
def sweep_curve(name: str, values: Sequence[float], loss: Array, title: str, loss_label: str) -> Figure:
    """The loss over one parameter of the model, its minimum marked."""
    return _numbers_figure(name, np.asarray(values, np.float64), loss, title, loss_label, trained=False)


@Picture
def sweep_runs(name: str, values: Sequence[object], loss: Array, title: str, loss_label: str) -> Figure:
    """The final loss over a key of the spec: points for numbers, bars for words."""
    numbers = as_numbers(values)
    if numbers is None:
        return _words_figure(name, [str(value) for value in values], loss, title, loss_label)
    return _numbers_figure(name, numbers, loss, title, loss_label, trained=True)


def _numbers_figure(name: str, values: Array, loss: Array, title: str, loss_label: str, *, trained: bool) -> Figure:
    x = drawable(values)
    order = np.argsort(x, kind="stable")[: np.isfinite(x).sum()]  # what is not finite is sorted last
    x, y = x[order], drawable(loss)[order]
    axes = new_axes(title, name, loss_label, above=20)
    # trained losses differ by orders of magnitude; a parabola should look like one, unless most of it would lie flat
    helps = spans(y, 10) if trained else spans(y, 50) and np.nanmedian(y) < 0.02 * np.nanmax(y)
    set_scale(axes.yaxis, y, log=bool(helps))
    log = log_spaced(x)
    set_span(axes, x, log=log)
    ticks_at(axes, np.unique(x), log)
    repeated = len(np.unique(x)) < len(x)  # several runs of one value: a line through them would zigzag
    marks = {"marker": "o", "markersize": 5} if len(x) <= 60 else {"marker": "."} if repeated else {}
    draw_line(axes, x, y, color=PALETTE[0], linewidth=2.0, linestyle="none" if repeated else "-", **marks)
    gone = x[~np.isfinite(y)]
    if len(gone):
        gone = gone[spread(len(gone), POINTS)]
        top = axes.get_xaxis_transform()
        axes.plot(gone, np.full(len(gone), 0.96), transform=top, label="diverged", **CROSS, color=PALETTE[1])
    if np.isfinite(y).any():
        at = int(np.nanargmin(y))
        text = f"minimum {number(y[at])} at {fit(name, TEXT, 200)} = {number(x[at], 6)}"
        axes.plot(x[at], y[at], label=text, **STAR)
    return finish(axes, "above")


def _words_figure(name: str, words: Sequence[str], loss: Array, title: str, loss_label: str) -> Figure:
    y = drawable(loss)
    place = np.arange(len(words))
    upright = len(words) <= 8 and all(width_of(clean(word), TEXT) < 460 / max(1, len(words)) - 12 for word in words)
    labels = [fit(word, TEXT, 150) for word in words]
    done, gone = place[np.isfinite(y)], place[~np.isfinite(y)]
    above = 20 if len(gone) else 0
    axes = new_axes(title, name if upright else loss_label, loss_label if upright else name, above=above)
    along, across = (axes.yaxis, axes.xaxis) if upright else (axes.xaxis, axes.yaxis)
    log = spans(y, 50)
    set_scale(
        along, y if log else np.append(y, 0.0), log=log, room=0.12
    )  # bars start at 0, and need room for their number
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
        axes.plot(x, up, transform=frame, label="diverged", **CROSS, color=PALETTE[1])
    return finish(axes, "above")
