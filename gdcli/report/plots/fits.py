"""What a model has learned over its rows: a curve through values, or the regions of classes on two features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .canvas import Picture, finish, new_axes, room_of
from .look import BESIDE, GREY, MARKERS, PALETTE
from .scales import set_scale, set_span, spread
from .text import TEXT, Array, fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 3000  # of a table drawn, evenly spread over it
NAMED = 14  # classes that have a colour and marker of their own


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """Rows of data on a picture: training rows filled, validation rows hollow."""

    x: Array  # [n] or [n, 2]
    y: Array  # [n, k] values, or [n] classes
    held_out: bool = False


@Picture
def fitted_curve(
    rows: Sequence[DrawnRows], x: Array, curves: Sequence[tuple[str, Array]], names: tuple[str, str], title: str
) -> Figure:
    """The targets over one feature as points, and the model's output over it as a curve for each target."""
    several = len(curves) > 1
    axes = new_axes(title, *names)
    together = [*(part.y.ravel() for part in rows), *(curve for _, curve in curves)]
    set_scale(axes.yaxis, np.concatenate(together), log=False)
    set_span(axes, x)
    for k, (label, curve) in enumerate(curves):
        colour = PALETTE[k % len(PALETTE)]
        for part in rows:
            _draw_points(axes, part.x, part.y[:, k], colour if several else GREY, "o", part.held_out,
                         "" if several else "validation rows" if part.held_out else "training rows")  # fmt: skip
        shown = PALETTE[k % len(PALETTE)] if several else PALETTE[1]
        axes.plot(x, curve, color=shown, linewidth=2.2, label=fit(label, TEXT, BESIDE), zorder=3)
    return finish(axes, "best")


@Picture
def decision_regions(
    rows: Sequence[DrawnRows], x: Array, y: Array, regions: NDArray[np.int64], classes: Sequence[str],
    names: tuple[str, str], title: str,
) -> Figure:  # fmt: skip
    """Which class [len(y), len(x)] the model gives where, in pale colours, and the rows in the colours of theirs."""
    from matplotlib.colors import ListedColormap, to_rgb

    few = len(classes) <= NAMED
    labels = [fit(name, TEXT, BESIDE) for name in classes] if few else []
    held_out = any(part.held_out for part in rows)
    key = [*labels, *(["validation"] if held_out else [])]
    axes = new_axes(title, *names, right=max(0.0, room_of(key) - 30) if key else 0.0)
    axes.grid(False)
    colours = [PALETTE[k % len(PALETTE)] for k in range(len(classes))]
    pale = ListedColormap([[1 - 0.3 * (1 - part) for part in to_rgb(colour)] for colour in colours])
    limits: dict[str, Any] = {"vmin": -0.5, "vmax": len(classes) - 0.5, "zorder": 0, "shading": "nearest"}
    axes.pcolormesh(x, y, regions, cmap=pale, **limits)
    for part in rows:
        for k in np.unique(part.y.astype(np.int64)).tolist():
            its = part.x[part.y == k]
            marker = MARKERS[k // len(PALETTE) % len(MARKERS)] if few else "o"
            label = labels[k] if few and not part.held_out else ""
            _draw_points(axes, its[:, 0], its[:, 1], colours[k], marker, part.held_out, label)
    if held_out and few:
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=5, label="validation")
    axes.set_xlim(float(x[0]), float(x[-1]))
    axes.set_ylim(float(y[0]), float(y[-1]))
    return finish(axes, "outside" if key else "best")


def _draw_points(axes: Axes, x: Array, y: Array, colour: str, marker: str, hollow: bool, label: str) -> None:
    """The rows, of many some: hollow ones on top, with a border of their colour."""
    some = spread(len(x), MOST_POINTS)
    size = 5.0 if len(some) <= 300 else 3.0
    look: dict[str, Any] = {"markeredgecolor": colour if hollow else "white", "markeredgewidth": 1.2 if hollow else 0.5}
    look |= {"markerfacecolor": "white" if hollow else colour, "markersize": size, "zorder": 2.5 if hollow else 2.0}
    axes.plot(x[some], y[some], linestyle="none", marker=marker, label=label or "_", **look)
