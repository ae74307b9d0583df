"""A run over its epochs: the loss of training and validation rows, a metric below it; metrics; a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import Picture, add_panel, draw_line, new_figure
from .look import GREY, GRID, HEIGHT, PALE, PALETTE, SMALL, TALL, WIDTH
from .scales import drawable, set_scale, set_span
from .text import TEXT, Array, fit, number, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, LOWER, RIGHT = 66.0, 46.0, 24.0  # points: room of ticks and labels
POINTS_SEEN = 25  # epochs up to which each is marked
CELLS_WRITTEN = 12  # classes up to which each count of a confusion matrix stands in its cell
Line = tuple[Array, Array]


@dataclass(frozen=True, slots=True)
class EpochPanel:
    """One number over the epochs: of the training rows, of the validation rows, of each step, and its best epoch."""

    label: str
    training: Line | None = None
    validation: Line | None = None
    steps: Line | None = None  # pale, where the training line is a mean of it
    best: tuple[float, float] | None = None  # epoch and value


@Picture
def training_curves(panels: Sequence[EpochPanel], title: str, note: str = "") -> Figure:
    """The panels below each other over the epochs, the first the largest: the loss, and of a metric below it."""
    height = HEIGHT if len(panels) == 1 else TALL
    figure = new_figure(title, height)
    room = height - LOWER - 36.0
    shares = [1.0] if len(panels) == 1 else [0.62, 0.38]
    top, last = height - 36.0, len(panels) - 1
    ends = np.concatenate([line[0] for panel in panels for line in _lines(panel)] or [np.zeros(1)])
    for k, (panel, share) in enumerate(zip(panels, shares, strict=True)):
        high = share * room - (14.0 if k < last else 0.0)
        axes = add_panel(
            figure, (LEFT, top - high, WIDTH - LEFT - RIGHT, high), "epoch" if k == last else "", panel.label
        )
        top -= high + 14.0
        _draw_panel(axes, panel, ends)
        if k < last:
            axes.tick_params(labelbottom=False)
        if not k and note:
            axes.annotate(
                fit(note, TEXT, 400), (1, 1), (-4, -4), xycoords="axes fraction", textcoords="offset points",
                ha="right", va="top", fontsize=TEXT, color=GREY,
            )  # fmt: skip
    return figure


@Picture
def metric_curves(panels: Sequence[EpochPanel], title: str) -> Figure:
    """Each metric over the epochs in a panel of its own, two in a row."""
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    height = HEIGHT if rows == 1 else 36.0 + 180.0 * rows
    figure = new_figure(title, height)
    wide, high = WIDTH / columns - LEFT - RIGHT, (height - 36.0) / rows - LOWER - 10.0
    ends = np.concatenate([line[0] for panel in panels for line in _lines(panel)] or [np.zeros(1)])
    for k, panel in enumerate(panels):
        row, column = divmod(k, columns)
        left, low = LEFT + column * WIDTH / columns, height - 36.0 - (row + 1) * (height - 36.0) / rows + LOWER
        _draw_panel(add_panel(figure, (left, low, wide, high), "epoch", panel.label), panel, ends)
    return figure


def _lines(panel: EpochPanel) -> list[Line]:
    return [line for line in (panel.steps, panel.training, panel.validation) if line is not None]


def _draw_panel(axes: Axes, panel: EpochPanel, ends: Array) -> None:
    """The lines of a panel, the best epoch as a ring on the line that it is of."""
    lines = [(x, drawable(y)) for x, y in _lines(panel)]
    set_scale(axes.yaxis, np.concatenate([y for _, y in lines] or [np.zeros(0)]))
    set_span(axes, ends, whole=True)
    if panel.steps is not None:
        draw_line(axes, panel.steps[0], drawable(panel.steps[1]), label="each step", color=PALE, linewidth=0.8)
    said = "training, mean of the epoch" if panel.steps is not None else "training"
    for line, label, colour, style in (
        (panel.training, said, PALETTE[0], "-"), (panel.validation, "validation", PALETTE[1], "--"),
    ):  # fmt: skip
        if line is not None:
            look: dict[str, Any] = {"color": colour, "linewidth": 2.0, "linestyle": style}
            look |= {"marker": "o", "markersize": 4} if len(line[0]) <= POINTS_SEEN else {}
            draw_line(axes, line[0], drawable(line[1]), label=label, **look)
    if panel.best is not None:
        epoch, value = panel.best
        ring: dict[str, Any] = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "linestyle": "none"}
        text = f"best: {number(value)} at epoch {epoch:,.0f}"
        axes.plot(epoch, value, label=text, markeredgecolor=PALETTE[4], markeredgewidth=1.6, zorder=5, **ring)
    if axes.lines:
        axes.legend(fontsize=TEXT - 1, loc="best", handlelength=2.6, labelspacing=0.2, borderaxespad=0.4)


@Picture
def confusion_matrix(counts: Array, names: Sequence[str], title: str, heading: str = "") -> Figure:
    """How many rows of each class are taken for which: classes down, predicted ones across; mistakes are orange.

    Shaded by the share of the class's rows.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import FixedLocator, NullLocator

    classes = len(counts)
    figure, totals = new_figure(title, TALL), counts.sum(axis=1, keepdims=True)
    shown = [fit(name, TEXT, 90) for name in names]
    widest = max(width_of(name, TEXT) for name in shown)
    turned = widest > 270 / classes
    left, lower = 40.0 + widest, 34.0 + (widest if turned else 14.0)
    side = min(WIDTH - left - RIGHT, TALL - 64 - lower)
    left += max(0.0, (WIDTH - RIGHT - left - side) / 2)
    axes = add_panel(figure, (left, lower, side, side), "predicted class", "class", heading)
    axes.grid(False)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    right, wrong = colormaps["Blues"](0.75 * shares)[..., :3], colormaps["Oranges"](0.8 * np.sqrt(shares))[..., :3]
    colours = np.where(np.eye(classes, dtype=bool)[..., None], right, np.where(counts[..., None] > 0, wrong, 1.0))
    edges = np.arange(classes + 1)
    axes.pcolormesh(edges, edges, colours, edgecolors=GRID, linewidth=0.6 if classes <= CELLS_WRITTEN else 0.0)
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.set_ylim(classes, 0)
    step = -(-classes // 25)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator((np.arange(0, classes, step) + 0.5).tolist()))
        axis.set_minor_locator(NullLocator())
        axis.set_ticklabels(shown[::step], fontsize=TEXT if classes <= CELLS_WRITTEN else SMALL)
    axes.tick_params(length=0)
    if turned:
        axes.tick_params(axis="x", labelrotation=90)
    for row, column in np.argwhere(counts > 0).tolist() if classes <= CELLS_WRITTEN else ():
        dark = shares[row, column] > 0.6
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": TEXT, "color": "white" if dark else "black"}
        axes.text(column + 0.5, row + 0.5, f"{counts[row, column]:,.0f}", **look)
    return figure
