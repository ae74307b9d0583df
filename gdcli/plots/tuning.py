"""How the loss depends on the learning rate, for several optimizers after tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import (
    CROSS,
    CURVES,
    MANY,
    MARKERS,
    NOTE,
    draw_line,
    finish,
    fixed,
    looks,
    new_axes,
    note,
    to_png,
)  # fmt: skip
from .scales import POINTS, bounds, drawable, set_bounds, set_scale, set_span, spread, ticks_at
from .text import TEXT, Array, fit, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAR = 1e6  # a loss so many times the worst of the best ones leaves the picture


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The losses that one optimizer reached, one per learning rate; infinite or NaN where it diverged."""

    label: str
    lr: Array  # [K]
    loss: Array  # [K]
    chosen: float  # the learning rate that tuning took


def sensitivity(rows: Sequence[Sensitivity], *, title: str, loss_label: str) -> bytes:
    """The loss over the learning rate of each optimizer, the chosen rate circled, diverged ones crosses at the top."""
    with fixed():
        return to_png(_sensitivity_figure(rows, title, loss_label))


def _sensitivity_figure(rows: Sequence[Sensitivity], title: str, loss_label: str) -> Figure:
    from matplotlib.transforms import Bbox, TransformedBbox

    shown = [rows[index] for index in spread(len(rows), CURVES)]
    few, outside = len(shown) <= MANY, 4 < len(shown) <= MANY
    names = [fit(row.label, TEXT, 130 if outside else 200) for row in shown]
    right = 55 + max(width_of(name, TEXT) for name in names) if outside else 0.0
    axes = new_axes(title, "learning rate", loss_label, above=NOTE, right=right)
    data = [_in_order(row) for row in shown]
    levels, share = _scales(axes, data)
    for k, ((lr, loss), look) in enumerate(zip(data, looks(len(shown)), strict=True)):
        label = names[k] if few or k in (0, len(shown) - 1) else ""
        marker: dict[str, Any] = {"marker": MARKERS[k % len(MARKERS)], "markersize": 5 if len(lr) <= 60 else 2}
        draw_line(axes, lr, loss, label=label, **look, **marker)
        axes.lines[-1].set_clip_box(TransformedBbox(Bbox.from_extents(0, 0, 1, share), axes.transAxes))
        level = np.where(np.isfinite(loss), loss, levels[k])
        _draw_diverged(axes, lr[~np.isfinite(loss)], levels[k], look["color"], len(shown))
        at = np.flatnonzero(np.isclose(lr, shown[k].chosen, rtol=1e-9, atol=0.0))[:1]
        axes.plot(lr[at], level[at], **{**_CHOSEN, "color": look["color"]})
    if len(rows) > len(shown):
        axes.plot([], [], " ", label=f"{len(shown)} of {len(rows):,} drawn")
    gone = any(not np.isfinite(loss).all() for _, loss in data)
    note(axes, "◯ chosen" + (" · ✕ diverged" if gone else ""))
    return finish(axes, "outside" if outside else "best", lift=NOTE)


_CHOSEN: dict[str, Any] = {
    "marker": "o", "markersize": 13, "markeredgewidth": 2.0, "markerfacecolor": "none", "linestyle": "none",
    "zorder": 4,
}  # fmt: skip


def _in_order(row: Sensitivity) -> tuple[Array, Array]:
    """The row's positive learning rates in order, and their losses."""
    lr, loss = drawable(row.lr), drawable(row.loss)
    order = np.argsort(lr, kind="stable")
    order = order[lr[order] > 0]
    return lr[order], loss[order]


def _scales(axes: Axes, data: Sequence[tuple[Array, Array]]) -> tuple[Array, float]:
    """The scales of both axes; the height of each row's crosses; the share of the axes below all of them."""
    lr = np.concatenate([np.zeros(0), *(lr for lr, _ in data)])
    loss = np.concatenate([np.zeros(0), *(loss for _, loss in data)])
    set_span(axes, lr, log=len(lr) > 0)
    ticks_at(axes, np.unique(lr), log=True)
    finite = loss[np.isfinite(loss)]
    log = bool(len(finite) and finite.min() > 0)
    set_scale(axes.yaxis, _worth_seeing(data) if log else finite, log=log)
    gone = [not np.isfinite(loss).all() for _, loss in data]
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


def _worth_seeing(data: Sequence[tuple[Array, Array]]) -> Array:
    """The losses that set the scale: not those of runs about to diverge, which would press the others together."""
    finite = [loss[np.isfinite(loss)] for _, loss in data]
    best = max(float(loss.min()) for loss in finite if len(loss))
    every = np.concatenate(finite)
    return every[every <= max(FAR * best, float(every.min()))]


def _draw_diverged(axes: Axes, lr: Array, height: float, colour: Any, rows: int) -> None:
    lr = lr[spread(len(lr), POINTS)] if len(lr) else lr
    size = 9.0 if rows <= 7 else 6.0
    look = {**CROSS, "markersize": size, "markeredgewidth": size / 3.6, "color": colour, "clip_on": False}
    axes.plot(lr, np.full(len(lr), height), **look)
