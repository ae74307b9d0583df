"""Figures, axes and legends in the house's look, and their bytes as PNG, SVG or PDF.

No text is ever read as mathematics, and no setting of the user's matplotlibrc counts.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec

import numpy as np

from .look import BESIDE, CROSS, DPI, ENTRY, GREY, GRID, HANDLE, HEIGHT, INSIDE, WIDTH
from .scales import POINTS, bounds, spread, thin
from .text import TEXT, TITLE, Array, clean, fit, formatter, shorter, two_lines, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class FigureHolder:
    """Takes a figure in place of a file's format: for whoever wants the figure itself, not its bytes."""

    figure: Figure | None = None


Form = Literal["png", "svg", "pdf"] | FigureHolder
Asked = ParamSpec("Asked")

FONT = "DejaVu Sans"
"""The font of all pictures: Matplotlib brings it along."""

# dates and versions would change the bytes
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def fixed() -> Iterator[None]:
    """Matplotlib under its own defaults and ours, whatever the user's matplotlibrc says."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a bad matplotlibrc or cache folder is no news of a run
    import matplotlib

    _find_font()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", matplotlib.MatplotlibDeprecationWarning)  # defaults of retired settings
        defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
        matplotlib.rcParams.update(
            defaults | {
                "text.parse_math": False, "text.usetex": False, "font.family": [FONT], "font.size": TEXT,
                "axes.linewidth": 0.8, "axes.edgecolor": GREY, "axes.spines.right": False, "axes.spines.top": False,
                "axes.axisbelow": True, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.8,
                "legend.framealpha": 0.85, "legend.edgecolor": GRID, "path.simplify_threshold": 0.0,
            }
        )  # fmt: skip
        yield


def _find_font() -> None:
    """Have Matplotlib know the font it brings along.

    Its list of fonts is kept in a file for all programs, and lacks what could not be read where it was first made.
    """
    from matplotlib import get_data_path
    from matplotlib.font_manager import fontManager

    if not any(font.name == FONT for font in fontManager.ttflist):
        for path in sorted(Path(get_data_path(), "fonts", "ttf").glob("DejaVuSans*.ttf")):
            fontManager.addfont(path)


class Picture(Generic[Asked]):
    """A builder of a Figure, made a function that draws it."""

    def __init__(self, figure: Callable[Asked, Figure]) -> None:
        self.figure = figure
        update_wrapper(self, figure)

    def __call__(self, *args: Asked.args, **settings: Asked.kwargs) -> bytes:
        """Return the bytes of a PNG."""
        return self.drawn("png", *args, **settings)

    def drawn(self, form: Form, *args: Asked.args, **settings: Asked.kwargs) -> bytes:
        """Return the picture's bytes in a format."""
        with fixed():
            return render(self.figure(*args, **settings), form)


def in_form(picture: Picture[Asked], form: Form) -> Callable[Asked, bytes]:
    """Return what draws a picture in a format: the picture itself does as a PNG."""
    return picture if form == "png" else partial(picture.drawn, form)


def render(figure: Figure, form: Form = "png") -> bytes:
    """The picture's bytes in a format, the same each time; a heat map stays pixels in SVG and PDF."""
    if isinstance(form, FigureHolder):
        form.figure = figure
        return b""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import QuadMesh

    for mesh in figure.findobj(QuadMesh):
        mesh.set_rasterized(True)
    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)  # typed without its methods
    with matplotlib.rc_context({"svg.hashsalt": "gdcli"}):
        canvas.print_figure(buffer, format=form, dpi=DPI, metadata=_METADATA[form])
    return buffer.getvalue()


def figure_of(draw: Callable[[Form], bytes]) -> Figure:
    """Return the figure that a picture is drawn of, which a notebook shows as the picture.

    Raises ValueError where there is nothing to draw.
    """
    holder = FigureHolder()
    draw(holder)
    if holder.figure is None:
        raise ValueError("there is nothing to draw")
    shown: Any = holder.figure
    shown._repr_png_ = partial(_as_png, holder.figure)  # without pyplot nothing else tells IPython how to
    return holder.figure


def _as_png(figure: Figure) -> bytes:
    with fixed():
        return render(figure)


def new_figure(title: str, height: float = HEIGHT) -> Figure:
    """An empty picture of a height in points, its title of one line at the top."""
    return _titled([fit(title, TITLE, WIDTH - 30)], height)


def _titled(lines: Sequence[str], height: float, **look: Any) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure((WIDTH / 72, height / 72), DPI)
    figure.text(0.5, 1 - 8 / height, "\n".join(lines), fontsize=TITLE, ha="center", va="top", **look)
    return figure


def add_panel(
    figure: Figure, box: tuple[float, float, float, float], x: str = "", y: str = "", heading: str = ""
) -> Axes:
    """Axes at (left, bottom, width, height) in points of the picture, with labels and a heading."""
    height = figure.get_figheight() * 72
    left, bottom, wide, high = box
    axes = figure.add_axes((left / WIDTH, bottom / height, wide / WIDTH, high / height))
    axes.set_xlabel(fit(x, TEXT, wide + 40), fontsize=TEXT)
    axes.set_ylabel(fit(y, TEXT, high + 20), fontsize=TEXT)
    axes.set_title(fit(heading, TEXT, wide + 20), fontsize=TEXT, pad=4)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(formatter())
    return axes


def new_axes(title: str, x: str, y: str, *, above: float = 0, right: float = 0) -> Axes:
    """Labelled axes below a title of at most two lines; room above and right of them in points."""
    lines = two_lines(title, TITLE, WIDTH - 30)
    figure = _titled(lines, HEIGHT, linespacing=1.15)
    top = HEIGHT - 16 - 1.2 * TITLE * len(lines) - above
    box = 60 / WIDTH, 46 / HEIGHT, (WIDTH - 60 - 30 - right) / WIDTH, (top - 46) / HEIGHT
    axes = figure.add_axes(box)
    axes.set_xlabel(fit(x, TEXT + 1, 420), fontsize=TEXT + 1)
    axes.set_ylabel(fit(y, TEXT + 1, 220), fontsize=TEXT + 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(formatter())
    return axes


def finish(axes: Axes, legend: str, *, lift: float = 0, beside: float = 0, heading: str = "") -> Figure:
    """The legend, and as much room on the left as the labels of the ticks take.

    lift, beside: how much higher than the axes and how far from them a legend outside of them starts, in points.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = axes.get_figure(root=True)
    assert figure is not None
    rise = lift / (axes.get_position().height * HEIGHT)
    handles = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    curves = [np.asarray(line.get_ydata(), np.float64) for line in axes.lines if line.get_marker() != "x"]
    if not any(np.isfinite(curve).any() for curve in curves) and not axes.patches:
        axes.text(0.5, 0.5, "no finite loss", transform=axes.transAxes, ha="center", color=GREY, fontsize=TITLE)
    if handles:
        places: dict[str, dict[str, Any]] = {
            "best": {"loc": "best"},
            "outside": {
                "loc": "upper left",
                "bbox_to_anchor": (1.01 + beside / (axes.get_position().width * WIDTH), 1.02 + rise),
                "frameon": False,
                "labelspacing": 0.12,
            },
            "above": {
                "loc": "lower left",
                "bbox_to_anchor": (-0.01, 0.99 + rise),
                "frameon": False,
                "ncols": len(handles),
            },
        }
        patterned = any(line.get_linestyle() not in ("-", "None") for line in axes.lines)
        look: dict[str, Any] = {"fontsize": TEXT, "handlelength": HANDLE if patterned else 2.0, "borderaxespad": 0.3}
        if heading:
            look |= {"title": heading, "title_fontsize": TEXT, "alignment": "left"}
        axes.legend(handles=handles, **look, **places[legend])
    canvas: Any = FigureCanvasAgg(figure)
    box = axes.yaxis.get_tightbbox(canvas.get_renderer())
    if box is not None:
        place = axes.get_position()
        left = place.x0 + (10 - box.x0) / (WIDTH / 72 * DPI)
        axes.set_position((left, place.y0, place.x1 - left, place.height))
    return figure


def fitted(labels: Sequence[str], outside: bool) -> tuple[list[str], str]:
    """Return the labels of a legend outside of the axes or in them, and its heading, in the room that they have.

    What all labels share is left out first, then their keys, which become the heading; then they are cut.
    """
    room = BESIDE if outside else INSIDE
    ways = shorter(labels) if labels else [([], "")]
    whole = (way for way in ways if all(fit(text, TEXT, room) == clean(text) for text in (*way[0], way[1])))
    names, heading = next(whole, ways[-1])
    return [fit(name, TEXT, room) for name in names], fit(heading, TEXT, room)


def room_of(labels: Sequence[str]) -> float:
    """Return the width of a legend in points."""
    return ENTRY + max(width_of(label, TEXT) for label in labels)


def draw_line(axes: Axes, x: Array, y: Array, points: int = POINTS, *, label: str = "", **look: Any) -> None:
    """A curve of at most about so many points; a value alone is a marker."""
    finite = np.isfinite(y)
    if "marker" not in look and finite.sum() == 1:  # a value alone has no line to be seen by
        x, y, look = x[finite], y[finite], look | {"marker": "o", "markersize": 6, "markevery": [0]}
    keep = thin(y, points)
    axes.plot(x[keep], y[keep], label=label or "_", solid_capstyle="round", **look)


def draw_cross(axes: Axes, step: float, loss: Array, colour: Any, label: str = "_") -> None:
    """A cross at the step at which a run diverged, as high as its last value, or at the border that it left across."""
    low, high = bounds(axes.yaxis)
    last = np.append(high, loss[np.isfinite(loss)])[-1]
    axes.plot(step, np.clip(last, low, high), label=label, color=colour, clip_on=False, **CROSS)


def draw_band(axes: Axes, steps: Array, low: Array, high: Array, colour: Any, shade: float) -> None:
    """The band in a pale shade, cut where it leaves the axes; a bar where it has a value at one step alone."""
    low, high = (np.clip(end, *bounds(axes.yaxis)) for end in (low, high))
    there = ~np.isnan(low) & ~np.isnan(high)
    alone = there & ~np.append(there[1:], False) & ~np.append(False, there[:-1])
    look: dict[str, Any] = {"color": colour, "alpha": shade, "zorder": 1.5}
    if alone.any():
        at = np.flatnonzero(alone)[spread(int(alone.sum()), POINTS)]
        axes.vlines(steps[at], low[at], high[at], linewidth=6, **look)
    keep = np.union1d(thin(np.where(there, low, np.nan), POINTS), thin(np.where(there, high, np.nan), POINTS))
    axes.fill_between(steps[keep], low[keep], high[keep], where=(there & ~alone)[keep].tolist(), linewidth=0, **look)


def write_note(axes: Axes, text: str, *, lift: float = 4, beyond: float = 0) -> None:
    """A line of text above the right end of the axes, where their builder left room; nothing for an empty text.

    beyond: how far to the right of the axes it ends, in points.
    """
    if not text:
        return
    room = axes.get_position().width * WIDTH + beyond
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "va": "bottom"}
    axes.annotate(fit(text, TEXT, room), (1, 1), (beyond, lift), fontsize=TEXT, color=GREY, **place)
