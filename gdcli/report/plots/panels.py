"""Pictures of several axes, and their bytes as PNG, SVG or PDF."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

from .canvas import DPI, HEIGHT, WIDTH, to_png
from .text import TEXT, TITLE, fit, formatter, two_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Form = Literal["png", "svg", "pdf"]
TALL = 432.0  # points: the height of a picture of two rows, 4:3
SMALL = 9.0  # points: ticks of small panels

# dates and versions would change the bytes
_METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def render(figure: Figure, form: Form = "png") -> bytes:
    """The picture's bytes in a format, the same each time; a heat map stays pixels in SVG and PDF."""
    if form == "png":
        return to_png(figure)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import QuadMesh

    for mesh in figure.findobj(QuadMesh):
        mesh.set_rasterized(True)
    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    with matplotlib.rc_context({"svg.hashsalt": "gdcli"}):
        canvas.print_figure(buffer, format=form, dpi=DPI, metadata=_METADATA[form])
    return buffer.getvalue()


def new_figure(title: str, height: float = HEIGHT) -> Figure:
    """An empty picture of a height in points, its title of one line at the top."""
    from matplotlib.figure import Figure

    figure = Figure((WIDTH / 72, height / 72), DPI)
    (line, *_) = two_lines(fit(title, TITLE, WIDTH - 30), TITLE, WIDTH)
    figure.text(0.5, 1 - 8 / height, line, fontsize=TITLE, ha="center", va="top")
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
