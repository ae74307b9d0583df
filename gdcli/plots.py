"""Records to pictures: arrays in, the bytes of a PNG out, the same bytes each time.

Every public function is two steps: a private builder makes the Figure, ``_png`` draws it once. Matplotlib is imported
inside functions, as its import takes longer than a drawing. No text is ever read as mathematics, and no setting of
the user's matplotlibrc counts.
"""

from __future__ import annotations

import io
import logging
import math
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.ticker import Formatter

Array = NDArray[np.float64]

WIDTH, HEIGHT = 576.0, 324.0  # points: 8 x 4.5 inches, a slide's shape
DPI = 120
TEXT, TITLE = 11.0, 14.0  # points
POINTS = 2000  # drawn per curve at most: more than the picture has pixels across
CURVES = 400  # drawn at most, when a comparison has more
CELLS = 400  # rows and columns of a surface drawn at most
HUGE = 1e150  # larger is not drawn, and 1 / HUGE is 0: the arithmetic of limits and ticks would overflow

# Okabe and Ito's colours, which the colour-blind can tell apart, without the yellow that a projector washes out
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":")
MANY = 20  # curves up to which each has its own colour, style and legend entry
GREY, GRID, PALE = "#666666", "#dddddd", "#9CCFEE"


@dataclass(frozen=True, slots=True)
class Curve:
    """The loss per optimizer step of one run; it may be infinite or NaN at the end, where the run diverged."""

    label: str
    steps: Array  # [K]
    loss: Array  # [K]


def loss_curve(
    curve: Curve, *, title: str, loss_label: str, steps_per_epoch: int, validation: tuple[Array, Array] | None = None
) -> bytes:
    """One run's loss over its steps, with the mean of each epoch where mini-batches make noise."""
    with _fixed():
        return _png(_loss_figure(curve, title, loss_label, steps_per_epoch, validation))


def comparison(curves: Sequence[Curve], *, title: str, loss_label: str, x_label: str = "step") -> bytes:
    """The loss of several runs over steps or what ``x_label`` says; a diverged run leaves the picture with a cross."""
    with _fixed():
        return _png(_comparison_figure(curves, title, loss_label, x_label))


def sweep_curve(name: str, values: Sequence[float], loss: Array, *, title: str, loss_label: str) -> bytes:
    """The loss over one parameter of the model, its minimum marked."""
    with _fixed():
        return _png(_numbers_figure(name, np.asarray(values, np.float64), loss, title, loss_label, trained=False))


def sweep_runs(name: str, values: Sequence[object], loss: Array, *, title: str, loss_label: str) -> bytes:
    """The final loss over a key of the spec: points for numbers, bars for words."""
    numbers = _numbers(values)
    with _fixed():
        if numbers is None:
            return _png(_words_figure(name, [str(value) for value in values], loss, title, loss_label))
        return _png(_numbers_figure(name, numbers, loss, title, loss_label, trained=True))


def surface(names: tuple[str, str], x: Array, y: Array, loss: Array, *, title: str, loss_label: str) -> bytes:
    """The loss [len(y), len(x)] over two parameters as a heat map with contours, its minimum marked."""
    with _fixed():
        return _png(_surface_figure(names, x, y, loss, title, loss_label))


# The figures


def _loss_figure(
    curve: Curve, title: str, loss_label: str, steps_per_epoch: int, validation: tuple[Array, Array] | None
) -> Figure:
    epochs = steps_per_epoch > 1
    axes = _axes(title, "step" if epochs else "step (one per epoch)", loss_label, above=34 if epochs else 0)
    steps, loss = np.asarray(curve.steps, np.float64), _drawable(curve.loss)
    others = (np.asarray(validation[0], np.float64), _drawable(validation[1])) if validation else (np.zeros(0),) * 2
    _scale(axes.yaxis, np.concatenate([loss, others[1]]))
    _span(axes, np.concatenate([steps, others[0]]), whole=True)
    mean = _epoch_means(steps, loss, steps_per_epoch) if epochs and _noisy(loss) else None
    light: dict[str, Any] = {"color": PALE, "linewidth": 0.8} if mean else {"color": PALETTE[0], "linewidth": 2.0}
    _line(axes, steps, loss, label="each step" if mean else "training" if validation else "", **light)
    if mean:
        _line(axes, *mean, label="mean of the epoch", color=PALETTE[0], linewidth=2.2)
    if validation:
        _line(axes, *others, label="validation", color=PALETTE[1], linewidth=2.0)
    if len(loss) and not np.isfinite(loss[-1]):
        _cross(axes, steps, loss, PALETTE[1], f"diverged at step {_first_gone(steps, loss):,.0f}")
    if epochs:
        _epoch_axis(axes, steps_per_epoch)
    return _finish(axes, "best")


def _comparison_figure(curves: Sequence[Curve], title: str, loss_label: str, x_label: str = "step") -> Figure:
    shown = [curves[index] for index in _spread(len(curves), CURVES)]
    outside = 4 < len(shown) <= MANY
    names = [_fit(curve.label, TEXT, 130 if outside else 200) for curve in shown]
    right = 55 + max(_width(name, TEXT) for name in names) if outside else 0.0
    axes = _axes(title, x_label, loss_label, right=right)
    data = [(np.asarray(curve.steps, np.float64), _drawable(curve.loss)) for curve in shown]
    _scale(axes.yaxis, *_worth_seeing([loss for _, loss in data]))
    _span(axes, np.concatenate([steps for steps, _ in data]) if data else np.zeros(0), whole=True)
    points = max(60, min(POINTS, 60_000 // max(1, len(shown))))
    colours = _colours(len(shown))
    for index, ((steps, loss), name, colour) in enumerate(zip(data, names, colours, strict=True)):
        few = len(shown) <= MANY
        ends = index in (0, len(shown) - 1)
        style = LINES[index // len(PALETTE)] if few else "-"
        label = name if few or ends else ""
        _line(axes, steps, loss, points, label=label, color=colour, linewidth=2.0 if few else 1.0, linestyle=style)
        if len(loss) and not np.isfinite(loss[-1]):
            _cross(axes, steps, loss, colour)
    if any(len(loss) and not np.isfinite(loss[-1]) for _, loss in data):
        axes.plot([], [], label="diverged", **_CROSS, color=GREY)
    if len(curves) > len(shown):
        axes.plot([], [], " ", label=f"{len(shown)} of {len(curves):,} drawn")
    return _finish(axes, "outside" if outside else "best")


def _numbers_figure(name: str, values: Array, loss: Array, title: str, loss_label: str, *, trained: bool) -> Figure:
    x = _drawable(values)
    order = np.argsort(x, kind="stable")[: np.isfinite(x).sum()]  # what is not finite is sorted last
    x, y = x[order], _drawable(loss)[order]
    axes = _axes(title, name, loss_label, above=20)
    # trained losses differ by orders of magnitude; a parabola should look like one, unless most of it would lie flat
    helps = _spans(y, 50) if trained else _spans(y, 50) and np.nanmedian(y) < 0.02 * np.nanmax(y)
    _scale(axes.yaxis, y, log=bool(helps))
    log = _log_spaced(x)
    _span(axes, x, log=log)
    _ticks_at(axes, np.unique(x), log)
    repeated = len(np.unique(x)) < len(x)  # several runs of one value: a line through them would zigzag
    marks = {"marker": "o", "markersize": 5} if len(x) <= 60 else {"marker": "."} if repeated else {}
    _line(axes, x, y, color=PALETTE[0], linewidth=2.0, linestyle="none" if repeated else "-", **marks)
    gone = x[~np.isfinite(y)]
    if len(gone):
        gone = gone[_spread(len(gone), POINTS)]
        top = axes.get_xaxis_transform()
        axes.plot(gone, np.full(len(gone), 0.96), transform=top, label="diverged", **_CROSS, color=PALETTE[1])
    if np.isfinite(y).any():
        at = int(np.nanargmin(y))
        text = f"minimum {_number(y[at])} at {_fit(name, TEXT, 200)} = {_number(x[at], 6)}"
        axes.plot(x[at], y[at], label=text, **_STAR)
    return _finish(axes, "above")


def _words_figure(name: str, words: Sequence[str], loss: Array, title: str, loss_label: str) -> Figure:
    y = _drawable(loss)
    place = np.arange(len(words))
    upright = len(words) <= 8 and all(_width(_clean(word), TEXT) < 460 / max(1, len(words)) - 12 for word in words)
    labels = [_fit(word, TEXT, 150) for word in words]
    done, gone = place[np.isfinite(y)], place[~np.isfinite(y)]
    above = 20 if len(gone) else 0
    axes = _axes(title, name if upright else loss_label, loss_label if upright else name, above=above)
    along, across = (axes.yaxis, axes.xaxis) if upright else (axes.xaxis, axes.yaxis)
    log = _spans(y, 50)
    _scale(
        along, y if log else np.append(y, 0.0), log=log, room=0.12
    )  # bars start at 0, and need room for their number
    start = _bounds(along)[0] if log else 0.0
    bars = (axes.bar if upright else axes.barh)(place[done], y[done] - start, 0.7, start)
    for bar in bars:
        bar.set_color(PALETTE[0])
    keep = _spread(len(words), 18)
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
        axes.annotate(_number(y[index], 3), at, shift, textcoords="offset points", fontsize=TEXT, **side)
    if len(gone):
        level = np.full(len(gone), 0.94 if upright else 0.97)
        x, up = (gone, level) if upright else (level, gone)
        frame = axes.get_xaxis_transform() if upright else axes.get_yaxis_transform()
        axes.plot(x, up, transform=frame, label="diverged", **_CROSS, color=PALETTE[1])
    return _finish(axes, "above")


def _surface_figure(names: tuple[str, str], x: Array, y: Array, loss: Array, title: str, loss_label: str) -> Figure:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    x, columns = np.unique(_drawable(x), return_index=True)
    y, rows = np.unique(_drawable(y), return_index=True)
    rows, columns = rows[np.isfinite(y)], columns[np.isfinite(x)]
    x, y, z = x[np.isfinite(x)], y[np.isfinite(y)], _drawable(loss)[np.ix_(rows, columns)]
    axes = _axes(title, names[0], names[1], above=20, right=90)
    axes.grid(False)
    axes.set_facecolor(GRID)
    logs = _log_spaced(x), _log_spaced(y)
    if not np.isfinite(z).any():
        _span(axes, x, log=logs[0])
        return _finish(axes, "above")
    row, column = np.unravel_index(int(np.nanargmin(z)), z.shape)
    text = f"minimum {_number(z[row, column])} at {_fit(names[0], TEXT, 110)} = {_number(x[column])}, "
    text += f"{_fit(names[1], TEXT, 110)} = {_number(y[row])}"
    best = x[column], y[row]
    keep = _spread(len(y), CELLS, int(row)), _spread(len(x), CELLS, int(column))
    x, y, z = x[keep[1]], y[keep[0]], np.ma.masked_invalid(z[np.ix_(*keep)])
    low, high = float(z.min()), float(z.max())
    least = float(z[z > 0].min()) if low == 0 < high else low
    if high > 100 * least > 0:  # on a log scale a minimum of exactly 0 takes the colour of the next smallest
        z, low = np.ma.clip(z, least, None), least
    log = low > 0 and high > 100 * low
    if low == high:
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    norm = LogNorm(low, high) if log else Normalize(low, high)
    edges = _edges(x, logs[0]), _edges(y, logs[1])
    if logs[0]:
        _log_axis(axes.xaxis, float(edges[0][0]), float(edges[0][-1]))
    if logs[1]:
        _log_axis(axes.yaxis, float(edges[1][0]), float(edges[1][-1]))
    mesh = axes.pcolormesh(*edges, z, norm=norm, cmap=colormaps["viridis"], shading="flat")
    if min(z.shape) > 1 and z.min() < z.max():
        levels = np.geomspace(low, high, 12) if log else np.linspace(low, high, 12)
        if np.all(np.diff(levels) > 0):
            axes.contour(x, y, z, levels[1:-1], colors="white", linewidths=0.7, alpha=0.7)
    axes.set_xlim(edges[0][0], edges[0][-1])
    axes.set_ylim(edges[1][0], edges[1][-1])
    if z.mask is not np.False_ and z.mask.any():
        axes.plot([], [], "s", color=GRID, markeredgecolor=GREY, markersize=10, label="not finite")
    axes.plot(*best, label=text, **_STAR)
    _colour_bar(axes, mesh, loss_label, log)
    return _finish(axes, "above")


# What is drawn


def _drawable(loss: Array) -> Array:
    """The values, with NaN for each that cannot be drawn."""
    wide = np.asarray(loss, np.float64)
    size = np.abs(wide)
    return np.where(size < HUGE, np.where(size < 1 / HUGE, 0.0, wide), np.nan)


def _numbers(values: Sequence[object]) -> Array | None:
    """The values as numbers; None when one of them is none, as a word, true, or a list."""
    if not all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in values):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers = np.array([_as_float(value) for value in values], np.float64)
    return numbers if np.all(np.abs(numbers) < HUGE) else None


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf


def _spans(values: Array, ratio: float) -> bool:
    """Whether a log scale helps: all that is finite is positive, and the largest is more than ratio times the least."""
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() > ratio * finite.min())


def _log_spaced(values: Array) -> bool:
    """Whether the values lie more evenly on a log axis."""
    values = np.unique(values)
    if len(values) < 2 or not _spans(values, 7.9):
        return False
    if len(values) == 2:
        return bool(values[1] >= 100 * values[0])
    logs = np.log(values)
    linear = (np.median(values) - values[0]) / (values[-1] - values[0])
    log = (np.median(logs) - logs[0]) / (logs[-1] - logs[0])
    return bool(linear < 0.3 and abs(log - 0.5) < abs(linear - 0.5))


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


def _epoch_means(steps: Array, loss: Array, steps_per_epoch: int) -> tuple[Array, Array] | None:
    """The mean loss of each complete epoch at the epoch's middle, or None where there are not two."""
    epoch = (steps - 1) // steps_per_epoch
    firsts = np.flatnonzero(np.diff(epoch, prepend=np.nan) != 0)
    counts = np.diff(firsts, append=len(steps))
    whole = counts == steps_per_epoch
    if whole.sum() < 2:
        return None
    means = np.add.reduceat(loss, firsts) / counts
    return (epoch[firsts] * steps_per_epoch + (steps_per_epoch + 1) / 2)[whole], means[whole]


def _thin(x: Array, y: Array, points: int) -> tuple[Array, Array]:
    """At most about so many points, with the least and the largest of every stretch, and both ends."""
    if len(x) <= points:
        return x, y
    size = -(-len(x) // (points // 2 - 1))
    index = np.minimum(np.arange(-(-len(x) // size) * size), len(x) - 1).reshape(-1, size)  # [buckets, size]
    missing = np.isnan(y)
    low = np.where(missing, np.inf, y)[index].argmin(axis=1)
    high = np.where(missing, -np.inf, y)[index].argmax(axis=1)
    row = np.arange(len(index))
    keep = np.unique(np.concatenate([[0], index[row, low], index[row, high], [len(x) - 1]]))
    return x[keep], y[keep]


def _spread(count: int, most: int, also: int | None = None) -> NDArray[np.int64]:
    """Indices of at most so many of count things, evenly, both ends among them, and one more that is asked for."""
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
    return chosen if also is None else np.unique(np.append(chosen, also))


def _edges(centres: Array, log: bool) -> Array:
    """The borders of cells round their centres, [N] to [N + 1]."""
    at = np.log(centres) if log else centres
    if len(at) == 1:
        half = 0.5 * (abs(float(at[0])) or 1.0)
        edges = np.array([at[0] - half, at[0] + half])
    else:
        middle = (at[:-1] + at[1:]) / 2
        edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(edges) if log else edges


def _first_gone(steps: Array, loss: Array) -> float:
    """The first step of the stretch without a value that ends the run."""
    finite = np.flatnonzero(np.isfinite(loss))
    return float(steps[finite[-1] + 1 if len(finite) else 0])


def _colours(count: int) -> list[Any]:
    if count <= MANY:
        return [PALETTE[index % len(PALETTE)] for index in range(count)]
    from matplotlib import colormaps

    return [colormaps["viridis"](0.92 * index / (count - 1)) for index in range(count)]


# Drawing

_CROSS: dict[str, Any] = {"marker": "x", "markersize": 9, "markeredgewidth": 2.5, "linestyle": "none", "zorder": 5}
_STAR: dict[str, Any] = {
    "marker": "*", "markersize": 15, "color": PALETTE[1], "markeredgecolor": "white", "linestyle": "none", "zorder": 6,
    "clip_on": False,
}  # fmt: skip


@contextmanager
def _fixed() -> Iterator[None]:
    """Matplotlib under its own defaults and ours, whatever the user's matplotlibrc says."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a bad matplotlibrc or cache folder is no news of a run
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", matplotlib.MatplotlibDeprecationWarning)  # defaults of retired settings
        matplotlib.rcParams.update(
            {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
        )
        matplotlib.rcParams.update(
            {
                "text.parse_math": False, "text.usetex": False, "font.family": ["DejaVu Sans"], "font.size": TEXT,
                "axes.linewidth": 0.8, "axes.edgecolor": GREY, "axes.spines.right": False, "axes.spines.top": False,
                "axes.axisbelow": True, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.8,
                "legend.framealpha": 0.85, "legend.edgecolor": GRID, "path.simplify_threshold": 0.0,
            }
        )  # fmt: skip
        yield


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)  # typed without its methods
    canvas.print_png(buffer, metadata={"Software": None})  # a version in it would change the bytes
    return buffer.getvalue()


def _axes(title: str, x: str, y: str, *, above: float = 0, right: float = 0) -> Axes:
    """Labelled axes below a title of at most two lines; room above and right of them in points."""
    from matplotlib.figure import Figure

    figure = Figure((WIDTH / 72, HEIGHT / 72), DPI)
    lines = _lines(title, TITLE, WIDTH - 30)
    figure.text(0.5, 1 - 8 / HEIGHT, "\n".join(lines), fontsize=TITLE, ha="center", va="top", linespacing=1.15)
    top = HEIGHT - 16 - 1.2 * TITLE * len(lines) - above
    box = 60 / WIDTH, 46 / HEIGHT, (WIDTH - 60 - 30 - right) / WIDTH, (top - 46) / HEIGHT
    axes = figure.add_axes(box)
    axes.set_xlabel(_fit(x, TEXT + 1, 420), fontsize=TEXT + 1)
    axes.set_ylabel(_fit(y, TEXT + 1, 220), fontsize=TEXT + 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_formatter())
    return axes


def _finish(axes: Axes, legend: str) -> Figure:
    """The legend, and as much room on the left as the labels of the ticks take."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = axes.figure
    assert isinstance(figure, Figure)
    handles = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    if not any(np.isfinite(np.asarray(line.get_ydata(), np.float64)).any() for line in axes.lines) and not axes.patches:
        axes.text(0.5, 0.5, "no finite loss", transform=axes.transAxes, ha="center", color=GREY, fontsize=TITLE)
    if handles:
        places: dict[str, dict[str, Any]] = {
            "best": {"loc": "best"},
            "outside": {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02), "frameon": False, "labelspacing": 0.12},
            "above": {"loc": "lower left", "bbox_to_anchor": (-0.01, 0.99), "frameon": False, "ncols": len(handles)},
        }
        axes.legend(handles=handles, fontsize=TEXT, borderaxespad=0.3, **places[legend])
    canvas: Any = FigureCanvasAgg(figure)
    box = axes.yaxis.get_tightbbox(canvas.get_renderer())
    if box is not None:
        place = axes.get_position()
        left = place.x0 + (10 - box.x0) / (WIDTH / 72 * DPI)
        axes.set_position((left, place.y0, place.x1 - left, place.height))
    return figure


def _line(axes: Axes, x: Array, y: Array, points: int = POINTS, *, label: str = "", **look: Any) -> None:
    finite = np.isfinite(y)
    if "marker" not in look:  # a value between two gaps has no line to be seen by
        alone = finite & ~np.append(finite[1:], False) & ~np.append(False, finite[:-1])[: len(y)]
        look |= {"marker": "o", "markersize": 6, "markevery": [0]} if finite.sum() == 1 and alone.any() else {}
        if "markevery" in look:
            x, y = x[alone], y[alone]
    axes.plot(*_thin(x, y, points), label=label or "_", solid_capstyle="round", **look)


def _cross(axes: Axes, steps: Array, loss: Array, colour: Any, label: str = "_") -> None:
    """A cross at the last value of a diverged run, or where it leaves the picture."""
    seen = np.flatnonzero(np.isfinite(loss))
    if not len(seen):
        return
    axis = axes.yaxis
    low, high = _bounds(axis)
    out = seen[(loss[seen] > high) | (loss[seen] < low)]
    at = out[0] if len(out) else seen[-1]
    x, y = steps[at], np.clip(loss[at], low, high)
    if len(out) and at and np.isfinite(loss[at - 1]):  # between two steps
        before, after, edge = (np.log if axis.get_scale() == "log" else np.asarray)([loss[at - 1], loss[at], y])
        x = steps[at - 1] + (x - steps[at - 1]) * (edge - before) / (after - before)
    axes.plot(x, y, label=label, color=colour, clip_on=False, **_CROSS)


def _scale(
    axis: XAxis | YAxis, values: Array, rest: Array | None = None, *, log: bool | None = None, room: float = 0.05
) -> None:
    """Limits and scale of the loss's axis; the rest may stretch them by the height of a decade or a half."""
    finite = values[np.isfinite(values)]
    log = _spans(values, 50) if log is None else log
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if rest is not None and np.isfinite(rest).any():
        stretched = (low / 10, high * 10) if log else (low - (high - low) / 2, high + (high - low) / 2)
        low = min(low, max(stretched[0], float(np.nanmin(rest))))
        high = max(high, min(stretched[1], float(np.nanmax(rest))))
    if log:
        factor = (high / low) ** room if high / low < math.inf else 1e10
        _log_axis(axis, max(low / factor, 1e-305), high * factor)
        return
    least = 1e-6 * max(abs(low), abs(high)) if low < high else 0.1 * (abs(low) or 1.0)
    pad = max(room * (high - low), least)
    start, end = low - pad, high + pad
    if room > 0.1:  # bars stand on the axis
        start, end = (0.0 if low == 0 else start), (0.0 if high == 0 and low < 0 else end)
    _set_bounds(axis, start, end)


def _span(axes: Axes, x: Array, *, log: bool = False, whole: bool = False) -> None:
    """Limits and scale of the horizontal axis, and ticks at whole numbers only where steps are meant."""
    from matplotlib.ticker import MaxNLocator

    low, high = (float(x.min()), float(x.max())) if len(x) else (0.0, 1.0)
    if log:
        factor = (high / low) ** 0.03
        return _log_axis(axes.xaxis, low / factor, high * factor)
    pad = 0.02 * (high - low) if high > low else 1.0 if high == round(high) else 0.1 * abs(high)
    pad = max(pad, 1e-9 * max(abs(low), abs(high)))
    axes.set_xlim(low - pad, high + pad)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1))
    return None


def _log_axis(axis: XAxis | YAxis, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("log")
    _set_bounds(axis, low, high)
    axis.set_major_locator(FixedLocator(_log_ticks(low, high)))  # its own locator overflows where limits are far
    axis.set_major_formatter(_formatter(log=True))
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


def _ticks_at(axes: Axes, values: Array, log: bool) -> None:
    """Ticks at the values themselves, where they are few and have room for their text."""
    from matplotlib.ticker import NullLocator

    if not 2 <= len(values) <= 12:
        return
    at = np.log(values) if log else values
    room = np.diff(at).min() / (at[-1] - at[0]) * 450
    texts = [_number(value) for value in values]
    if room > max(_width(text, TEXT) for text in texts) + 8:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(values, labels=texts)


def _epoch_axis(axes: Axes, steps_per_epoch: int) -> None:
    from matplotlib.ticker import MaxNLocator

    top = axes.secondary_xaxis(
        "top",
        functions=(lambda step: np.divide(step, steps_per_epoch), lambda epoch: np.multiply(epoch, steps_per_epoch)),
    )
    whole = _bounds(axes.xaxis)[1] > 1.5 * steps_per_epoch
    top.xaxis.set_major_locator(MaxNLocator(8, integer=whole, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1))
    top.xaxis.set_major_formatter(_formatter())
    top.set_xlabel("epoch", fontsize=TEXT + 1)


def _colour_bar(axes: Axes, mesh: Any, loss_label: str, log: bool) -> None:
    place = axes.get_position()
    figure = axes.figure
    bar = figure.colorbar(mesh, cax=figure.add_axes((place.x1 + 0.02, place.y0, 0.022, place.height)))
    if log:
        _log_axis(bar.ax.yaxis, *_bounds(bar.ax.yaxis))
    else:
        bar.ax.yaxis.set_major_formatter(_formatter())
    bar.set_label(_fit(loss_label, TEXT + 1, 220), fontsize=TEXT + 1)


def _bounds(axis: XAxis | YAxis) -> tuple[float, float]:
    low, high = axis.get_view_interval()
    return float(low), float(high)


def _set_bounds(axis: XAxis | YAxis, low: float, high: float) -> None:
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(low, high)


# Text


def _formatter(log: bool = False) -> Formatter:
    """Labels of an axis that belong together: as many decimals as the ticks need, powers of ten for a wide log axis."""
    from matplotlib.ticker import Formatter

    class Together(Formatter):
        def __call__(self, value: float, pos: int | None = None) -> str:
            return _number(value)

        def format_ticks(self, values: Any) -> list[str]:
            return _tick_texts(np.asarray(values, np.float64), log)

    return Together()


def _tick_texts(values: Array, log: bool) -> list[str]:
    largest = float(np.abs(values).max(initial=0.0))
    if log:
        if values.min(initial=1.0) > 1e-4 and largest < 1e6:
            return [_minus(f"{value:,.15f}".rstrip("0").rstrip(".")) for value in values.round(12)]
        powers = [f"{value:.0e}".split("e") for value in values]
        return [
            ("" if head == "1" else f"{head}·") + "10" + str(int(power)).translate(_RAISED) for head, power in powers
        ]
    gap = float(np.diff(values).min()) if len(values) > 1 else largest / 10
    values = np.where(np.abs(values) < 1e-6 * abs(gap), 0.0, values)
    small_or_large = largest >= 1e7 or 0 < largest < 1e-3
    for digits in range(10):
        texts = [f"{value:.{digits}e}" if small_or_large and value else f"{value:,.{digits}f}" for value in values]
        if all(
            abs(float(text.replace(",", "")) - value) <= 0.01 * abs(gap)
            for text, value in zip(texts, values, strict=True)
        ):
            break
    return [_tidy(text) if value else "0" for text, value in zip(texts, values, strict=True)] if len(values) else []


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _number(value: float, digits: int = 4) -> str:
    return _tidy(f"{value:.{digits}g}")


def _tidy(text: str) -> str:
    """``1.50e-05`` as ``1.5e-5``, with the sign of a typeset number."""
    head, mark, power = text.partition("e")
    if mark:
        head = head.rstrip("0").rstrip(".") if "." in head else head
        text = f"{head}e{int(power)}"
    return _minus(text)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _font() -> FT2Font:
    import matplotlib
    from matplotlib.font_manager import get_font

    return get_font(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")


def _clean(text: str) -> str:
    """The text on one line: no control or invisible characters, '?' for each that the font cannot show."""
    font = _font()
    kept = []
    for character in text if len(text) <= 500 else text[:300] + text[-200:]:  # two lines have room for less
        kind = unicodedata.category(character)
        if character.isspace() or kind in ("Zl", "Zp"):
            kept.append(" ")
        elif kind not in ("Cc", "Cf"):
            kept.append(character if kind != "Cs" and font.get_char_index(ord(character)) else "?")
    text = " ".join("".join(kept).split())
    return "\u200a" + text if text.startswith("_") else text  # matplotlib hides what begins with an underscore


def _width(text: str, size: float) -> float:
    """The width in points of a text that is clean."""
    font = _font()
    font.set_size(size, 72)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64


def _fit(text: str, size: float, width: float) -> str:
    """The text, its middle left out where it is wider than so many points: labels often differ at their ends."""
    text = _clean(text)
    most = int(width / size * 4)  # no letter is narrower than a quarter of its size
    if len(text) <= most and _width(text, size) <= width:
        return text
    low, high = 0, min(len(text), most)  # characters kept
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _width(_cut(text, middle), size) <= width else (low, middle)
    return _cut(text, low)


def _cut(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (keep - head) :].lstrip()}"


def _lines(text: str, size: float, width: float) -> list[str]:
    """The text on one line or two, broken at a space where it has one in reach."""
    text = _clean(text)
    if len(text) <= width / size * 4 and _width(text, size) <= width:
        return [text]
    end = len(_fit_start(text, size, width))
    space = text.rfind(" ", end // 2, end + 1)
    end = space if space > 0 else end
    return [text[:end].rstrip(), _fit(text[end:], size, width)]


def _fit_start(text: str, size: float, width: float) -> str:
    low, high = 1, min(len(text), int(width / size * 4))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _width(text[:middle], size) <= width else (low, middle)
    return text[:low]
