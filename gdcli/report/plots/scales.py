"""What of the data is drawn, and the limits, scales and ticks of the axes it is drawn on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .look import CURVES
from .text import TEXT, Array, formatter, number, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis

Thing = TypeVar("Thing")

POINTS = 2000  # drawn per curve at most: more than the picture has pixels across
HUGE = 1e150  # larger is not drawn, and 1 / HUGE is 0: the arithmetic of limits and ticks would overflow


def drawable(loss: Array) -> Array:
    """The values, with NaN for each that cannot be drawn."""
    wide = np.asarray(loss, np.float64)
    size = np.abs(wide)
    return np.where(size < HUGE, np.where(size < 1 / HUGE, 0.0, wide), np.nan)


def spans(values: Array, ratio: float) -> bool:
    """Whether a log scale helps: all that is finite is positive, and the largest is more than ratio times the least."""
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() > ratio * finite.min())


def log_spaced(values: Array) -> bool:
    """Whether the values lie more evenly on a log axis."""
    values = np.unique(values)
    if len(values) < 2 or not spans(values, 7.9):
        return False
    if len(values) == 2:
        return bool(values[1] >= 100 * values[0])
    logs = np.log(values)
    linear = (np.median(values) - values[0]) / (values[-1] - values[0])
    log = (np.median(logs) - logs[0]) / (logs[-1] - logs[0])
    return bool(linear < 0.3 and abs(log - 0.5) < abs(linear - 0.5))


def thin(y: Array, points: int) -> NDArray[np.int64]:
    """Indices of at most about so many values, with the least and the largest of every stretch, and both ends."""
    if len(y) <= points:
        return np.arange(len(y))
    size = -(-len(y) // (points // 2 - 1))
    index = np.minimum(np.arange(-(-len(y) // size) * size), len(y) - 1).reshape(-1, size)  # [buckets, size]
    missing = np.isnan(y)
    low = np.where(missing, np.inf, y)[index].argmin(axis=1)
    high = np.where(missing, -np.inf, y)[index].argmax(axis=1)
    row = np.arange(len(index))
    return np.unique(np.concatenate([[0], index[row, low], index[row, high], [len(y) - 1]]))


def at_edge(points: Array, loss: Array) -> bool:
    """Whether the least loss [R] lies at an end of an axis of three values or more, and nowhere between: points [R, k].

    >>> at_edge(np.array([[1.0], [2.0], [3.0]]), np.array([4.0, 2.0, 1.0]))
    True
    """
    ends = np.zeros(len(points), np.bool_)
    for column in points.T:
        if len(np.unique(column)) > 2:  # else each of them is an end
            ends |= (column == column.min()) | (column == column.max())
    lowest = np.isfinite(loss) & (loss == np.min(loss, where=np.isfinite(loss), initial=np.inf))
    return bool(lowest.any() and ends[lowest].all())


def spread(count: int, most: int, also: int | None = None) -> NDArray[np.int64]:
    """Indices of at most so many of count things, evenly, both ends among them, and one more that is asked for."""
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
    return chosen if also is None else np.unique(np.append(chosen, also))


def spread_over(things: Sequence[Thing]) -> list[Thing]:
    """Those that are drawn: all, or of more than CURVES some."""
    return [things[index] for index in spread(len(things), CURVES)]


def set_scale(
    axis: XAxis | YAxis, values: Array, rest: Array | None = None, *, log: bool | None = None, room: float = 0.05
) -> None:
    """Limits and scale of the loss's axis; the rest may stretch them by the height of a decade or a half."""
    finite = values[np.isfinite(values)]
    log = spans(values, 50) if log is None else log
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if rest is not None and np.isfinite(rest).any():
        stretched = (low / 10, high * 10) if log else (low - (high - low) / 2, high + (high - low) / 2)
        low = min(low, max(stretched[0], float(np.nanmin(rest))))
        high = max(high, min(stretched[1], float(np.nanmax(rest))))
    if log:
        factor = max((high / low) ** room, 1.05) if high / low < math.inf else 1e10
        log_axis(axis, max(low / factor, 1e-305), high * factor)
        return
    least = 1e-6 * max(abs(low), abs(high)) if low < high else 0.1 * (abs(low) or 1.0)
    pad = max(room * (high - low), least)
    start, end = low - pad, high + pad
    if room > 0.1:  # bars stand on the axis
        start, end = (0.0 if low == 0 else start), (0.0 if high == 0 and low < 0 else end)
    set_bounds(axis, start, end)


def set_span(axes: Axes, x: Array, *, log: bool = False, whole: bool = False) -> None:
    """Limits and scale of the horizontal axis, and ticks at whole numbers only where steps are meant."""
    from matplotlib.ticker import MaxNLocator

    low, high = (float(x.min()), float(x.max())) if len(x) else (0.0, 1.0)
    if log and len(x):
        factor = max((high / low) ** 0.03, 1.05) if high / low < math.inf else 1e10
        return log_axis(axes.xaxis, low / factor, high * factor)
    pad = 0.02 * (high - low) if high > low else 1.0 if high == round(high) else 0.1 * abs(high)
    pad = max(pad, 1e-9 * max(abs(low), abs(high)))
    axes.set_xlim(low - pad, high + pad)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1))
    return None


def log_axis(axis: XAxis | YAxis, low: float, high: float) -> None:
    """A log scale between the limits, with ticks that its length has room for."""
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("log")
    set_bounds(axis, low, high)
    ticks = _log_ticks(low, high)  # its own locator overflows where limits are far
    few = len(ticks) < 3
    if few:  # a log axis so short that it hardly differs from a linear one has the ticks of that
        ticks = [float(tick) for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(formatter(log=not few))
    axis.set_minor_locator(NullLocator())  # they say little, and a drawing with them takes half as long again


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten, or so many powers as have room."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    if high < 2000 * low:
        ticks = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    else:
        stride = -(-len(powers) // 9)
        ticks = [float(f"1e{power}") for power in powers if power % stride == 0]
    return [tick for tick in ticks if low <= tick <= high]


def set_numbers(axes: Axes, x: Array, *, log: bool | None = None) -> None:
    """Limits and scale of the horizontal axis of a sweep; ticks at its values, where they are few and have room.

    log: of the axis; None: where the values lie more evenly on it.
    """
    from matplotlib.ticker import NullLocator

    log = log_spaced(x) if log is None else log
    set_span(axes, x, log=log)
    values = np.unique(x)
    if not 2 <= len(values) <= 12:
        return
    at = np.log(values) if log else values
    room = np.diff(at).min() / (at[-1] - at[0]) * 450
    texts = [number(value) for value in values]
    if room > max(width_of(text, TEXT) for text in texts) + 8:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(values, labels=texts)


def bounds(axis: XAxis | YAxis) -> tuple[float, float]:
    """The lower and the upper limit of the axis."""
    low, high = axis.get_view_interval()
    return float(low), float(high)


def set_bounds(axis: XAxis | YAxis, low: float, high: float) -> None:
    """Set the limits of the axis."""
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(low, high)


def as_numbers(values: Iterable[Any]) -> Array | None:
    """The values as numbers; None when one of them is none, as a word, true, or a list, or cannot be drawn."""
    kinds = (int, float, np.integer, np.floating)
    if not all(isinstance(value, kinds) and not isinstance(value, bool) for value in values):
        return None
    try:
        numbers = np.array([float(value) for value in values], np.float64)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return numbers if np.all(np.abs(numbers) < HUGE) else None
