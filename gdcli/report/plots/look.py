"""Sizes, colours and styles that all pictures share."""

from __future__ import annotations

from typing import Any

from .text import TEXT

WIDTH, HEIGHT = 576.0, 324.0  # points: 8 x 4.5 inches, a slide's shape
TALL = 432.0  # points: the height of a picture of two rows, 4:3
SMALL = 9.0  # points: ticks of small panels
DPI = 120
NOTE = 20.0  # points: the room that a note above the axes takes
CURVES = 400  # drawn at most, when a picture has more
MANY = 20  # curves up to which each has its own colour, style and legend entry

# Okabe and Ito's colours, which the colour-blind can tell apart, without the yellow that a projector washes out; what
# looks alike stands far apart
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
Style = str | tuple[float, tuple[float, ...]]
LINES: tuple[Style, ...] = (
    "-", "--", ":", "-.", (0.0, (8.0, 2.0)), (0.0, (5.0, 1.4, 1.0, 1.4, 1.0, 1.4)), (0.0, (2.0, 1.0)),
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "<")
HANDLE = 3.0  # a legend's line, in heights of its text: as long as the longest pattern needs
BESIDE, INSIDE = 165.0, 300.0  # points: the widest label of a legend outside of the axes, and in them
ENTRY = HANDLE * TEXT + 22  # points: what an entry of a legend takes beside its text
GREY, GRID, PALE = "#666666", "#dddddd", "#9CCFEE"
CROSS: dict[str, Any] = {"marker": "x", "markersize": 9, "markeredgewidth": 2.5, "linestyle": "none", "zorder": 5}
STAR: dict[str, Any] = {
    "marker": "*", "markersize": 15, "color": PALETTE[1], "markeredgecolor": "white", "linestyle": "none", "zorder": 6,
    "clip_on": False,
}  # fmt: skip
AT_EDGE = ", at the edge of the range"  # a minimum beyond which there may be a lower one


def looks(count: int, many: int = MANY) -> list[dict[str, Any]]:
    """Colour, style and width of each of so many curves; of more than ``many``, a shade in their order.

    Any two of the first seven differ in both colour and style, and no two of up to twenty in neither.
    """
    if count <= many:
        styles = [LINES[(k + k // 7) % 7] for k in range(count)]
        return [{"color": PALETTE[k % 7], "linestyle": styles[k], "linewidth": 2.0} for k in range(count)]
    from matplotlib import colormaps

    shades = [colormaps["viridis"](0.92 * k / (count - 1)) for k in range(count)]
    return [{"color": shade, "linestyle": "-", "linewidth": 1.0} for shade in shades]
