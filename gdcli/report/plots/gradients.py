"""The sizes of gradients over the steps of a run, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import Picture, add_panel, draw_line, new_figure
from .look import BESIDE, ENTRY, GREY, HEIGHT, MANY, TALL, WIDTH, looks
from .scales import drawable, log_axis, set_scale, set_span
from .text import TEXT, Array, fit, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, LOWER = 62.0, 46.0  # points: room of the ticks and labels
STEPS = 240  # drawn as they are; of more, the medians of this many / 3 stretches over the pale curve


@dataclass(frozen=True, slots=True)
class Histogram:
    """How large the single derivatives are: in each stretch of steps, the share of them in each bin of |g|."""

    steps: Array  # [S + 1] borders of the stretches
    sizes: Array  # [B + 1] borders of the bins, evenly on a log scale
    share: Array  # [B, S] in percent
    zeros: float  # percent of all derivatives that are exactly 0, and in no bin


@Picture
def gradient_norms(
    steps: Array, layers: Sequence[tuple[str, Array]], title: str, histogram: Histogram | None = None
) -> Figure:
    """The norm [K] of each layer's gradient over the steps on a log scale; below it, how large the derivatives are."""
    few, ends = len(layers) <= MANY, (0, len(layers) - 1)  # of more than have a colour each, the first and the last
    names = [fit(label, TEXT, BESIDE) if few or k in ends else "" for k, (label, _) in enumerate(layers)]
    right = ENTRY + max([width_of(name, TEXT) for name in names] + [66.0])
    height = TALL if histogram else HEIGHT
    figure = new_figure(title, height)
    wide = WIDTH - LEFT - right
    low = 232.0 if histogram else LOWER
    axes = add_panel(figure, (LEFT, low, wide, height - low - 36), "step", "l2 norm of the gradient")
    values = [np.where(shown > 0, shown, np.nan) for shown in (drawable(norms) for _, norms in layers)]
    together = np.concatenate([*values, np.zeros(0)])
    set_scale(axes.yaxis, together, log=bool(np.isfinite(together).any()))
    set_span(axes, np.asarray(steps, np.float64), whole=True)
    size = _draw_layers(axes, np.asarray(steps, np.float64), values, names)
    if any(names):
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.03), "frameon": False}
        if size > 1:
            place |= {"title": f"median of {size} steps", "title_fontsize": TEXT, "alignment": "left"}
        axes.legend(fontsize=TEXT, handlelength=3.0, borderaxespad=0.3, labelspacing=0.15, **place)
    if not np.isfinite(together).any():
        axes.text(0.5, 0.5, "every gradient is 0 or not finite", transform=axes.transAxes, ha="center", color=GREY)
    if histogram:
        _draw_histogram(figure, histogram, wide, axes)
    return figure


def _draw_layers(axes: Axes, steps: Array, values: Sequence[Array], names: Sequence[str]) -> int:
    """A curve for each layer; of many steps pale, with the median of each stretch over it. Return a stretch's steps."""
    size = 1 if len(steps) <= STEPS else -(-3 * len(steps) // STEPS)
    firsts = np.arange(0, len(steps), size)
    for value, name, look in zip(values, names, looks(len(values)), strict=True):
        if size == 1:
            draw_line(axes, steps, value, label=name, **look)
            continue
        draw_line(axes, steps, value, **{**look, "alpha": 0.22, "linewidth": 0.7, "linestyle": "-"})
        parts = [np.sort(value[k : k + size][~np.isnan(value[k : k + size])]) for k in firsts]
        medians = np.array([part[len(part) // 2] if len(part) else np.nan for part in parts])
        middles = np.array([steps[k : k + size].mean() for k in firsts])
        draw_line(axes, middles, medians, label=name, **look)
    return size


def _draw_histogram(figure: Figure, histogram: Histogram, wide: float, above: Axes) -> None:
    """A heat map: steps across, the size of a derivative up, the shade its share."""
    from matplotlib.colors import LinearSegmentedColormap

    axes = add_panel(figure, (LEFT, LOWER, wide, 126), "step", "size |∂L/∂w|")
    axes.grid(False)
    shades = LinearSegmentedColormap.from_list("share", ["#ffffff", "#9CCFEE", "#0072B2", "#00263d"])
    share = np.ma.masked_equal(histogram.share, 0.0)
    mesh = axes.pcolormesh(histogram.steps, histogram.sizes, share, cmap=shades, vmin=0.0, shading="flat")
    log_axis(axes.yaxis, float(histogram.sizes[0]), float(histogram.sizes[-1]))
    set_span(axes, histogram.steps, whole=True)
    axes.set_xlim(above.get_xlim())
    place = axes.get_position()
    bar = figure.colorbar(mesh, cax=figure.add_axes((place.x1 + 0.02, place.y0, 0.022, place.height)))
    bar.set_label("% of the derivatives", fontsize=TEXT)
    zeros = f", {histogram.zeros:.3g} % are exactly 0" if histogram.zeros else ""
    axes.set_title(f"how large the single derivatives are{zeros}", fontsize=TEXT, pad=4)
