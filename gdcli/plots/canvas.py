"""Figures, axes and legends in the house's look, and the bytes of their PNG.

No text is ever read as mathematics, and no setting of the user's matplotlibrc counts.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .scales import POINTS, bounds, thin
from .text import TEXT, TITLE, Array, fit, formatter, two_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 576.0, 324.0  # points: 8 x 4.5 inches, a slide's shape
DPI = 120
NOTE = 20.0  # points: the room that a note above the axes takes
CURVES = 400  # drawn at most, when a picture has more
MANY = 20  # curves up to which each has its own colour, style and legend entry

# Okabe and Ito's colours, which the colour-blind can tell apart, without the yellow that a projector washes out
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":")
MARKERS = ("o", "s", "^", "D", "v")
GREY, GRID, PALE = "#666666", "#dddddd", "#9CCFEE"


CROSS: dict[str, Any] = {"marker": "x", "markersize": 9, "markeredgewidth": 2.5, "linestyle": "none", "zorder": 5}


STAR: dict[str, Any] = {
    "marker": "*", "markersize": 15, "color": PALETTE[1], "markeredgecolor": "white", "linestyle": "none", "zorder": 6,
    "clip_on": False,
}  # fmt: skip


@contextmanager
def fixed() -> Iterator[None]:
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


def to_png(figure: Figure) -> bytes:
    """The picture's bytes, the same each time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)  # typed without its methods
    canvas.print_png(buffer, metadata={"Software": None})  # a version in it would change the bytes
    return buffer.getvalue()


def new_axes(title: str, x: str, y: str, *, above: float = 0, right: float = 0) -> Axes:
    """Labelled axes below a title of at most two lines; room above and right of them in points."""
    from matplotlib.figure import Figure

    figure = Figure((WIDTH / 72, HEIGHT / 72), DPI)
    lines = two_lines(title, TITLE, WIDTH - 30)
    figure.text(0.5, 1 - 8 / HEIGHT, "\n".join(lines), fontsize=TITLE, ha="center", va="top", linespacing=1.15)
    top = HEIGHT - 16 - 1.2 * TITLE * len(lines) - above
    box = 60 / WIDTH, 46 / HEIGHT, (WIDTH - 60 - 30 - right) / WIDTH, (top - 46) / HEIGHT
    axes = figure.add_axes(box)
    axes.set_xlabel(fit(x, TEXT + 1, 420), fontsize=TEXT + 1)
    axes.set_ylabel(fit(y, TEXT + 1, 220), fontsize=TEXT + 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(formatter())
    return axes


def finish(axes: Axes, legend: str, *, lift: float = 0) -> Figure:
    """The legend, and as much room on the left as the labels of the ticks take.

    lift: how much higher than the axes a legend outside of them starts, in points.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = axes.figure
    assert isinstance(figure, Figure)
    top = 1.02 + lift / (axes.get_position().height * HEIGHT)
    handles = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    if not any(np.isfinite(np.asarray(line.get_ydata(), np.float64)).any() for line in axes.lines) and not axes.patches:
        axes.text(0.5, 0.5, "no finite loss", transform=axes.transAxes, ha="center", color=GREY, fontsize=TITLE)
    if handles:
        places: dict[str, dict[str, Any]] = {
            "best": {"loc": "best"},
            "outside": {
                "loc": "upper left",
                "bbox_to_anchor": (1.01, top),
                "frameon": False,
                "labelspacing": 0.12,
            },
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


def draw_line(axes: Axes, x: Array, y: Array, points: int = POINTS, *, label: str = "", **look: Any) -> None:
    """A curve of at most about so many points; a value alone is a marker."""
    finite = np.isfinite(y)
    if "marker" not in look:  # a value between two gaps has no line to be seen by
        alone = finite & ~np.append(finite[1:], False) & ~np.append(False, finite[:-1])[: len(y)]
        look |= {"marker": "o", "markersize": 6, "markevery": [0]} if finite.sum() == 1 and alone.any() else {}
        if "markevery" in look:
            x, y = x[alone], y[alone]
    axes.plot(*thin(x, y, points), label=label or "_", solid_capstyle="round", **look)


def draw_cross(axes: Axes, steps: Array, loss: Array, colour: Any, label: str = "_") -> None:
    """A cross at the last value of a diverged run, or where it leaves the picture."""
    seen = np.flatnonzero(np.isfinite(loss))
    if not len(seen):
        return
    axis = axes.yaxis
    low, high = bounds(axis)
    out = seen[(loss[seen] > high) | (loss[seen] < low)]
    at = out[0] if len(out) else seen[-1]
    x, y = steps[at], np.clip(loss[at], low, high)
    if len(out) and at and np.isfinite(loss[at - 1]):  # between two steps
        before, after, edge = (np.log if axis.get_scale() == "log" else np.asarray)([loss[at - 1], loss[at], y])
        x = steps[at - 1] + (x - steps[at - 1]) * (edge - before) / (after - before)
    axes.plot(x, y, label=label, color=colour, clip_on=False, **CROSS)


def looks(count: int) -> list[dict[str, Any]]:
    """Colour, style and width of each of so many curves; no two of up to twenty look the same, nor do neighbours."""
    if count <= MANY:
        return [{"color": PALETTE[k % 7], "linestyle": LINES[k % 3], "linewidth": 2.0} for k in range(count)]
    from matplotlib import colormaps

    shades = [colormaps["viridis"](0.92 * k / (count - 1)) for k in range(count)]
    return [{"color": shade, "linestyle": "-", "linewidth": 1.0} for shade in shades]


def note(axes: Axes, text: str, *, lift: float = 4) -> None:
    """A line of text above the right end of the axes, where their builder left room; nothing for an empty text."""
    if not text:
        return
    room = axes.get_position().width * WIDTH
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "va": "bottom"}
    axes.annotate(fit(text, TEXT, room), (1, 1), (0, lift), fontsize=TEXT, color=GREY, **place)
