"""Series over steps: the loss of one run, of several, and moving averages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gdcli.records import Effort, with_last

from .canvas import Picture, draw_band, draw_cross, draw_line, finish, fitted, new_axes, room_of, write_note
from .look import CROSS, GREY, HEIGHT, INSIDE, MANY, NOTE, PALE, PALETTE, looks
from .scales import POINTS, bounds, drawable, set_scale, set_span, spans, spread_over
from .text import TEXT, Array, fit, formatter, number, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 5  # steps up to which each loss is written beside its point
WIDE = 10  # the largest loss over the least from which on a comparison has a log scale: most ends lie near the least


@dataclass(frozen=True, slots=True)
class Curve:
    """The loss over the steps of a run, or that of runs over an axis of a sweep; infinite or NaN where one diverged.

    low and high: the ends of a band or of error bars round it, as a 95 % interval over seeds; NaN where there is none.
    chosen: the value of the axis that tuning took.
    diverged: where, as 'diverged at step 4', also where the last loss is finite; nothing where the losses tell it.
    after: the loss of all rows after the last update.
    """

    label: str
    at: Array | Sequence[object]  # [K] numbers, or words of a sweep
    loss: Array  # [K]
    low: Array | None = None  # [K]
    high: Array | None = None  # [K]
    chosen: float = math.nan
    diverged: str = ""
    after: float = math.nan


@Picture
def loss_curve(curve: Curve, title: str, loss_label: str, effort: Effort) -> Figure:
    """One run's loss over its steps, with that of each epoch where mini-batches make noise; of few steps in numbers."""
    if len(curve.loss) <= FEW:
        return _few_steps(curve, title, loss_label, effort)
    epochs = effort.steps_per_epoch > 1
    axes = new_axes(title, "step" if epochs else "step (one per epoch)", loss_label, above=34 if epochs else 0)
    steps, loss = np.asarray(curve.at, np.float64), drawable(curve.loss)
    whole = _epochs(np.asarray(curve.loss, np.float64), effort) if epochs and _noisy(loss) else None
    set_scale(axes.yaxis, loss if whole is None else np.concatenate([loss, whole[1]]))
    set_span(axes, steps, whole=True)
    light: dict[str, Any] = {"color": PALE, "linewidth": 0.8} if whole else {"color": PALETTE[0], "linewidth": 2.0}
    draw_line(axes, steps, loss, label="each step" if whole else "", **light)
    if whole:
        label = "sum of the epoch" if effort.sums else "mean of the epoch"
        draw_line(axes, *whole, label=label, color=PALETTE[0], linewidth=2.2)
    _draw_end(axes, curve, loss)
    if epochs:
        _epoch_axis(axes, effort.steps_per_epoch)
    return finish(axes, "best")


def _few_steps(curve: Curve, title: str, loss_label: str, effort: Effort) -> Figure:
    """The loss before each update and after the last, joined where both are of all rows."""
    steps = np.asarray(curve.at, np.float64)
    y = drawable(with_last(curve.loss, curve.after, curve.diverged) if steps.any() else curve.loss)
    at = np.append(steps, steps[-1:] + 1)[: len(y)]
    ends = [f"after step {step:.0f}" for step in steps[-1:] if len(y) > len(steps)]
    axes = new_axes(title, "", loss_label, above=NOTE)
    set_scale(axes.yaxis, y, room=0.12)
    axes.set_xticks(at, labels=[*(f"before step {step:.0f}" if step else "no step" for step in steps), *ends])
    axes.set_xlim(*((at.min() - 0.5, at.max() + 0.5) if len(at) else (0, 1)))
    joined = len(y) if effort.steps_per_epoch == 1 else len(steps)
    look: dict[str, Any] = {"color": PALETTE[0], "linewidth": 2.0, "marker": "o", "markersize": 6}
    draw_line(axes, at[:joined], y[:joined], label="" if joined == len(y) else "each step", **look)
    if joined < len(y):
        draw_line(axes, at[joined:], y[joined:], label="all rows", **look | {"markerfacecolor": "white"})
    for k in np.flatnonzero(np.isfinite(y)):
        rises = k + 1 < joined and y[k + 1] > y[k]  # the number is where the line is not
        shift, down = ((7, -4), "top") if rises else ((7, 4), "bottom")
        axes.annotate(number(y[k], 6), (at[k], y[k]), shift, textcoords="offset points", fontsize=TEXT, va=down)
    _draw_end(axes, replace(curve, at=at, loss=y), y)
    return finish(axes, "above")


def _draw_end(axes: Axes, curve: Curve, loss: Array) -> None:
    if (step := _divergence(curve)) is not None:
        text = curve.diverged or f"diverged at step {step:,.0f}"
        draw_cross(axes, step, loss, PALETTE[1], fit(text, TEXT, INSIDE))


@Picture
def comparison(
    curves: Sequence[Curve], title: str, loss_label: str, x_label: str = "step", band_label: str = "",
    levels: Sequence[tuple[str, float]] = (),
) -> Figure:  # fmt: skip
    """The loss of several runs over steps or what ``x_label`` says; a diverged run leaves the picture with a cross.

    band_label: what the bands of the curves are, written above the axes where a band is drawn.
    levels: losses to compare with, as the least there is; a thin line each, its name at the right end.
    """
    shown = spread_over(curves)
    few, outside = len(shown) <= MANY, 4 < len(shown) <= MANY
    names, heading = fitted([curve.label for curve in shown], outside)
    references = [(fit(label, TEXT, 120), float(at)) for label, at in levels if np.isfinite(drawable(np.array(at)))]
    beside = 8 + max(width_of(f"↓ {label}", TEXT) for label, _ in references) if references else 0.0
    right = room_of([*names, heading]) if outside else 0.0
    bands = [_band(curve) for curve in shown] if few else []
    said = band_label if any(bands) else ""
    axes = new_axes(title, x_label, loss_label, above=NOTE if said else 0, right=max(0, beside + right - 20))
    data = [(np.asarray(curve.at, np.float64), drawable(curve.loss)) for curve in shown]
    worth, rest = _worth_seeing([loss for _, loss in data])
    ends = [drawable(end) for band in bands if band for end in band]
    log = spans(worth, WIDE)
    near = np.array([at for _, at in references if not log or at >= np.nanmin(worth) / 10])  # further is out of sight
    set_scale(axes.yaxis, worth, np.concatenate([rest, *ends, near]), log=log)
    set_span(axes, np.concatenate([steps for steps, _ in data]) if data else np.zeros(0), whole=True)
    shade = max(0.07, min(0.18, 0.9 / max(1, len(shown))))  # many bands lie on each other
    for curve, band, look in zip(shown, bands, looks(len(shown)), strict=False):
        if band:
            draw_band(axes, np.asarray(curve.at, np.float64), *band, look["color"], shade)
    _draw_levels(axes, references)
    _draw_curves(axes, shown, data, [name if few or k in (0, len(shown) - 1) else "" for k, name in enumerate(names)])
    if len(curves) > len(shown):
        axes.plot([], [], " ", label=f"{len(shown)} of {len(curves):,} drawn")
    write_note(axes, said)
    return finish(axes, "outside" if outside else "best", lift=NOTE if said else 0, beside=beside, heading=heading)


@Picture
def loss_curves(curves: Sequence[Curve], title: str, loss_label: str, averages: Sequence[Array] = ()) -> Figure:
    """The loss of each run over its steps; with averages, these over the pale curves."""
    figure = comparison.figure(curves, title, loss_label)
    if averages:
        axes = figure.axes[0]
        for line in axes.lines:
            if line.get_marker() != "x" and len(np.asarray(line.get_xdata())):
                line.set(alpha=0.3, linewidth=1.0, linestyle="-")  # the legend keeps its own lines
        points = max(60, min(POINTS, 60_000 // len(averages)))
        for curve, average, look in zip(curves, averages, looks(len(curves)), strict=True):
            draw_line(axes, np.asarray(curve.at, np.float64), drawable(average), points, **look)
    return figure


@Picture
def averages(
    x: Sequence[float], values: Sequence[float], means: Sequence[tuple[str, Sequence[float]]], *,
    title: str, x_label: str, y_label: str,
) -> Figure:  # fmt: skip
    """The values as points, and each of the averages, with its label, as a curve."""
    at, y, *curves = (drawable(np.asarray(series, np.float64)) for series in (x, values, *(mean for _, mean in means)))
    axes = new_axes(title, x_label, y_label)
    set_scale(axes.yaxis, np.concatenate([y, *curves]), log=False)
    set_span(axes, at[np.isfinite(at)], whole=bool((at == np.round(at)).all()))
    size = 5 if len(at) <= 100 else 2.5
    draw_line(axes, at, y, label=fit(y_label, TEXT, 200), color=GREY, marker="o", markersize=size, linestyle="none")
    for (label, _), curve, look in zip(means, curves, looks(len(means)), strict=True):
        draw_line(axes, at, curve, label=label, **look)
    return finish(axes, "best")


def _draw_levels(axes: Axes, levels: Sequence[tuple[str, float]]) -> None:
    """A thin grey line at each level, its name at its right end; an arrow says which way one out of sight lies."""
    low, high = bounds(axes.yaxis)
    room, free = 1.3 * TEXT / (axes.get_position().height * HEIGHT), -np.inf
    for label, at in sorted(levels, key=lambda level: level[1]):
        seen = low <= at <= high
        if seen:
            axes.axhline(at, color=GREY, linewidth=1.0, zorder=1.8, label="_")
        edge = axes.transAxes.inverted().transform(axes.transData.transform((0, min(max(at, low), high))))[1]
        free = max(float(edge), free + room)
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center"}
        text = label if seen else f"{'↓' if at < low else '↑'} {label}"
        axes.annotate(text, (1, free), (4, 0), fontsize=TEXT, color=GREY, **place)


def _draw_curves(
    axes: Axes, curves: Sequence[Curve], data: Sequence[tuple[Array, Array]], labels: Sequence[str]
) -> None:
    points = max(60, min(POINTS, 60_000 // max(1, len(data))))
    gone = [_divergence(curve) for curve in curves]
    for (steps, loss), label, look, step in zip(data, labels, looks(len(data)), gone, strict=True):
        draw_line(axes, steps, loss, points, label=label, **look)
        if step is not None:
            draw_cross(axes, step, loss, look["color"])
    if any(step is not None for step in gone):
        axes.plot([], [], label="diverged", **CROSS, color=GREY)


def _divergence(curve: Curve) -> float | None:
    """The step at which the run diverged: the first of those without a loss that end it, or its last of all."""
    finite = np.isfinite(np.asarray(curve.loss, np.float64))
    if not len(finite) or (finite[-1] and not curve.diverged):
        return None
    first = len(finite) - int(np.argmax(np.append(finite[::-1], True)))
    return float(np.asarray(curve.at, np.float64)[min(first, len(finite) - 1)])


def _band(curve: Curve) -> tuple[Array, Array] | None:
    """The ends of the curve's band, where it has one anywhere."""
    if curve.low is None or curve.high is None:
        return None
    low, high = np.asarray(curve.low, np.float64), np.asarray(curve.high, np.float64)
    return None if np.isnan(low + high).all() else (low, high)


def _worth_seeing(losses: Sequence[Array]) -> tuple[Array, Array]:
    """The losses that set the scale, and those that may widen it a little: not a diverged run's way to infinity."""
    steady = [loss for loss in losses if len(loss) and np.isfinite(loss[-1])]
    rest = [loss for loss in losses if len(loss) and not np.isfinite(loss[-1])]
    if not steady:
        return np.concatenate([*rest, np.zeros(0)]), np.zeros(0)
    starts = [loss[:1] for loss in rest if np.isfinite(loss[0])]
    return np.concatenate([*steady, *starts]), np.concatenate([*rest, np.zeros(0)])


def _noisy(loss: Array) -> bool:
    """Whether the curve goes up and down all the time, so that only a mean shows where it goes."""
    change = np.diff(loss)
    return bool(len(loss) > 20 and np.mean(change[1:] * change[:-1] < 0) > 0.2)


def _epochs(loss: Array, effort: Effort) -> tuple[Array, Array] | None:
    """The loss of each complete epoch at the epoch's middle, or None where there are not two."""
    steps = effort.steps_per_epoch
    count = len(loss) // steps
    if count < 2:
        return None
    return np.arange(float(count)) * steps + (steps + 1) / 2, drawable(effort.epoch_losses(loss)[:count])


def _epoch_axis(axes: Axes, steps_per_epoch: int) -> None:
    from matplotlib.ticker import MaxNLocator

    top = axes.secondary_xaxis(
        "top",
        functions=(lambda step: np.divide(step, steps_per_epoch), lambda epoch: np.multiply(epoch, steps_per_epoch)),
    )
    whole = bounds(axes.xaxis)[1] > 1.5 * steps_per_epoch
    top.xaxis.set_major_locator(MaxNLocator(8, integer=whole, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1))
    top.xaxis.set_major_formatter(formatter())
    top.set_xlabel("epoch", fontsize=TEXT + 1)
