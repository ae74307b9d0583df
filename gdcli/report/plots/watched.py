"""Gradients at inputs and intermediate values: over the steps of a run, or as images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import Picture, add_panel, draw_line, finish, new_axes, new_figure, room_of
from .look import BESIDE, GREY, SMALL, WIDTH, looks
from .scales import drawable, set_scale, set_span, spread
from .text import TEXT, Array, fit, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED, DRAWN = 8, 200  # curves with a name each; pale ones at most
GAP, HEADING, BAR = 12.0, 32.0, 78.0  # points


@dataclass(frozen=True, slots=True)
class GradientImage:
    """The gradient at each pixel of one row, and the row's own pixels where they are known."""

    label: str
    gradient: Array  # [H, W]
    pixels: Array | None = None  # [H, W]


@Picture
def value_gradients(steps: Array, columns: Sequence[tuple[str, Array]], title: str, value: str) -> Figure:
    """The gradient [K] at each number of a value over the steps; of many pale, and the l2 norm of all."""
    few = len(columns) <= NAMED
    labels = (
        [fit(name, TEXT, BESIDE) for name, _ in columns] if few else ["l2 norm of all", f"each of {len(columns):,}"]
    )
    axes = new_axes(title, "step", f"∂L/∂{value}", right=max(0.0, room_of(labels) - 30))
    steps, curves = np.asarray(steps, np.float64), [drawable(curve) for _, curve in columns]
    together = np.array(curves).reshape(len(curves), -1)
    norm = np.sqrt(np.nansum(together**2, axis=0))
    set_scale(axes.yaxis, np.append(together.ravel(), np.zeros(1) if few else norm), log=False)
    set_span(axes, steps, whole=True)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    if few:
        for curve, label, look in zip(curves, labels, looks(len(curves)), strict=True):
            draw_line(axes, steps, curve, label=label, **look)
        return finish(axes, "outside")
    for place, k in enumerate(spread(len(curves), DRAWN)):
        look = {"color": "#0072B2", "alpha": 0.25, "linewidth": 0.8}
        draw_line(axes, steps, curves[k], label="" if place else labels[1], **look)
    draw_line(axes, steps, norm, label=labels[0], color="#000000", linewidth=1.4)
    return finish(axes, "outside")


@Picture
def gradient_images(images: Sequence[GradientImage], title: str, value: str) -> Figure:
    """The gradient at each pixel, blue where a larger value lowers the loss, red where it raises it; the row beside it.

    All have one scale, symmetric about 0, whose bar stands on the right.
    """
    pairs = any(image.pixels is not None for image in images)
    across = min(len(images), 3 if len(images) != 4 else 2)
    down = -(-len(images) // across)
    cell = (WIDTH - BAR - GAP * (across + 1)) / across
    high, wide = images[0].gradient.shape
    each = (cell - 4) / 2 if pairs else cell
    each = min(each, 200.0 * wide / high)
    tall = each * high / wide
    figure = new_figure(title, 40 + down * (tall + HEADING + GAP) + 26)
    sizes = [float(np.nanmax(np.append(np.abs(drawable(image.gradient)), 0.0))) for image in images]
    largest = max(sizes)
    span: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -(largest or 1.0), "vmax": largest or 1.0}
    mesh: Any = None
    top = figure.get_figheight() * 72 - 40
    for k, image in enumerate(images):
        left, low = GAP + k % across * (cell + GAP), top - (k // across + 1) * (tall + HEADING + GAP) + GAP
        said = f"up to {number(sizes[k])}" if sizes[k] else "0 at each pixel"
        _write(figure, left, low + tall + 17, fit(image.label, TEXT, cell), fontsize=TEXT)
        _write(figure, left, low + tall + 5, fit(said, SMALL, cell), fontsize=SMALL, color=GREY)
        if image.pixels is not None:
            _draw_pixels(_panel(figure, left, low, each, tall), image.pixels, cmap="Greys")
            left += each + 4
        mesh = _draw_pixels(_panel(figure, left, low, each, tall), image.gradient, **span)
    bottom, above = GAP + 26, top - HEADING
    bar = figure.colorbar(mesh, cax=_panel(figure, WIDTH - BAR + 4, bottom, 14, above - bottom))
    bar.set_label(f"∂L/∂{value}", fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    said = "red: a larger value raises the loss; blue: it lowers it" + ("; on the left the row" if pairs else "")
    said += "" if largest else "; every gradient is 0"
    _write(figure, GAP, 10, fit(said, TEXT, WIDTH - 20), fontsize=TEXT, color=GREY)
    return figure


def _write(figure: Figure, left: float, low: float, text: str, **look: Any) -> None:
    figure.text(left / WIDTH, low / (figure.get_figheight() * 72), text, **look)


def _panel(figure: Figure, left: float, low: float, wide: float, high: float) -> Axes:
    return add_panel(figure, (left, low, wide, high))


def _draw_pixels(axes: Axes, pixels: Array, **span: Any) -> Any:
    """An image, its first row at the top, without ticks."""
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(True)
    shown = np.ma.masked_invalid(drawable(pixels))
    axes.set_aspect("equal")
    mesh = axes.pcolormesh(shown, shading="flat", **span)
    axes.invert_yaxis()
    return mesh
