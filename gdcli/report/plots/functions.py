"""Functions of one variable and their derivatives: activations, and losses over the error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import Picture, add_panel, new_figure
from .look import GREY, HEIGHT, PALETTE, SMALL, TALL, WIDTH, looks
from .text import TEXT, Array, fit, number, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 5  # small panels side by side
_ROW: dict[str, Any] = {  # a legend under the title
    "fontsize": TEXT, "loc": "upper center", "frameon": False, "borderaxespad": 0, "borderpad": 0,
}  # fmt: skip
JUMP = 0.1  # two neighbouring values further apart are a jump, where the next ones are not


@dataclass(frozen=True, slots=True)
class Function:
    """A function's values, and its derivative as the backward pass takes it, where they are to be drawn."""

    label: str
    x: Array  # [K]
    y: Array  # [K]
    slope: Array | None = None  # [K]
    slope_label: str = ""  # what the derivative is, where it is none: "straight-through gradient"


@dataclass(frozen=True, slots=True)
class Outlier:
    """Points of which the last is an outlier, and the line (slope, offset) that each loss fits to them."""

    x: Array  # [N]
    y: Array  # [N]
    fits: Sequence[tuple[str, float, float]]


@Picture
def activations(functions: Sequence[Function], title: str, together: bool = False) -> Figure:
    """Each activation with its derivative in a small panel of its own, or all together on one pair of axes."""
    return _pair_figure(functions, title) if together else _grid_figure(functions, title)


def _grid_figure(functions: Sequence[Function], title: str) -> Figure:
    columns = min(COLUMNS, len(functions))
    rows = -(-len(functions) // columns)
    height = 68.0 + 85.0 * rows
    figure = new_figure(title, height)
    wide, high = (WIDTH - 20) / columns - 32, 48.0
    for k, function in enumerate(functions):
        row, column = divmod(k, columns)
        left = 40 + column * (WIDTH - 20) / columns
        bottom = height - 68 - high - 85 * row
        _small(add_panel(figure, (left, bottom, wide, high), heading=function.label), function)
    _key(figure, functions, 27 / height)
    figure.text(0.5, 6 / height, "z, the neuron's weighted sum", fontsize=TEXT, ha="center", va="bottom")
    return figure


def _small(axes: Axes, function: Function) -> None:
    """One function and its derivative, few ticks."""
    from matplotlib.ticker import MaxNLocator

    _draw(axes, function.x, function.y, color=PALETTE[0], linewidth=1.8)
    if function.slope is not None:
        shade = PALETTE[3] if function.slope_label else PALETTE[1]
        _draw(axes, function.x, function.slope, color=shade, linewidth=1.8, linestyle=(0, (4, 1.5)))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=SMALL, length=2, pad=2)
    axes.margins(x=0, y=0.08)


def _key(figure: Figure, functions: Sequence[Function], top: float) -> None:
    """What line is what, in one row under the title."""
    from matplotlib.lines import Line2D

    dashed: dict[str, Any] = {"linewidth": 1.8, "linestyle": (0, (4, 1.5))}
    handles = [
        Line2D([], [], color=PALETTE[0], linewidth=1.8, label="a = f(z)"),
        Line2D([], [], color=PALETTE[1], label="da/dz", **dashed),
    ]
    said = dict.fromkeys(function.slope_label for function in functions if function.slope_label)
    handles += [Line2D([], [], color=PALETTE[3], label=label, **dashed) for label in said]
    figure.legend(handles=handles, ncols=len(handles), bbox_to_anchor=(0.5, 1 - top), handlelength=2.2, **_ROW)


def _pair_figure(functions: Sequence[Function], title: str) -> Figure:
    names = [fit(f.label + (f" ({f.slope_label})" if f.slope_label else ""), TEXT, 240) for f in functions]
    columns = max(1, int((WIDTH - 30) // (max(width_of(name, TEXT) for name in names) + 55)))
    rows = -(-len(names) // columns)
    figure = new_figure(title)
    high = HEIGHT - 46 - 52 - 16 * rows
    left = add_panel(figure, (46, 46, 224, high), "z, the neuron's weighted sum", heading="a = f(z)")
    right = add_panel(figure, (338, 46, 224, high), "z, the neuron's weighted sum", heading="derivative da/dz")
    handles = []
    for function, look in zip(functions, looks(len(functions)), strict=True):
        handles.append(_draw(left, function.x, function.y, **look))
        if function.slope is not None:
            _draw(right, function.x, function.slope, **look)
    for axes in (left, right):
        axes.margins(x=0, y=0.06)
    place = {"bbox_to_anchor": (0.5, 1 - 28 / HEIGHT), "handlelength": 3.0, "labelspacing": 0.15, **_ROW}
    figure.legend(handles, names, ncols=columns, **place)
    return figure


@Picture
def loss_functions(
    over_error: Sequence[Function], over_probability: Sequence[Function], outlier: Outlier, title: str
) -> Figure:
    """Losses over the error with their derivatives, over a class's probability, and what an outlier does to a fit."""
    figure = new_figure(title, TALL)
    panels = (
        (50, 246, "error o − t", "", "loss of one element"), (340, 246, "error o − t", "", "its derivative dL/do"),
        (50, 44, "probability of the true class", "", "loss of one row of two classes"),
        (340, 44, "x", "y", "a line and an outlier"),
    )  # fmt: skip
    over, derivative, classes, line = (add_panel(figure, (left, low, 222, 138), *said) for left, low, *said in panels)
    for function, look in zip(over_error, looks(len(over_error)), strict=True):
        _draw(over, function.x, function.y, label=function.label, **look)
        if function.slope is not None:
            _draw(derivative, function.x, function.slope, label=function.label, **look)
    for function, look in zip(over_probability, looks(len(over_probability)), strict=True):
        _draw(classes, function.x, function.y, label=function.label, **look)
    _draw_outlier(line, outlier)
    over.legend(fontsize=SMALL + 1, loc="upper center", handlelength=2.6, labelspacing=0.2)
    classes.legend(fontsize=SMALL + 1, loc="upper right", handlelength=2.6)
    line.legend(fontsize=SMALL + 1, loc="upper left", handlelength=2.6, labelspacing=0.2)
    return figure


def _draw_outlier(axes: Axes, outlier: Outlier) -> None:
    """The points, and each loss's line through them."""
    axes.plot(outlier.x[:-1], outlier.y[:-1], "o", color=GREY, markersize=5, label="_")
    last: dict[str, Any] = {"marker": "D", "color": PALETTE[4], "markersize": 6, "linestyle": "none"}
    axes.plot(outlier.x[-1:], outlier.y[-1:], label="outlier", **last)
    ends = np.array([outlier.x.min() - 0.3, outlier.x.max() + 0.3])
    for (label, slope, offset), look in zip(outlier.fits, looks(len(outlier.fits)), strict=True):
        axes.plot(ends, slope * ends + offset, label=f"{label}: slope {number(slope, 3)}", **look)
    axes.set_ylim(-0.5, max(outlier.y.max(), 1) * 1.08)


def _draw(axes: Axes, x: Array, y: Array, *, label: str = "_", **look: Any) -> Any:
    """A curve that is broken where it jumps."""
    shown = np.array(y, np.float64)
    change = np.abs(np.diff(shown))
    beside = np.minimum(np.append(change[1:], change[-2:-1]), np.insert(change[:-1], 0, change[1:2]))
    jumps = np.flatnonzero((change > JUMP) & (change > 5 * beside))
    x = np.insert(np.asarray(x, np.float64), jumps + 1, np.nan)
    (line,) = axes.plot(x, np.insert(shown, jumps + 1, np.nan), label=label, solid_capstyle="butt", **look)
    return line
