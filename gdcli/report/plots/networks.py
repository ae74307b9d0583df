"""A small network as circles and lines, with its weights and their gradients on the lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import Picture, new_figure
from .look import GREY, HEIGHT, SMALL, WIDTH
from .text import TEXT, Array, fit, number, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

LABELLED = 12  # edges up to which each has its numbers
EDGES = 60  # drawn at most
RADIUS = 19.0  # points, of a neuron where the edges have numbers
LEAST, MOST = 1.2, 5.5  # points: the width of an edge

# orange below 0, blue above, grey at 0: told apart by all, and seen on white
_SIGNED = ("#8c3d00", "#D55E00", "#f0b27f", "#c9c9c9", "#86bfe0", "#0072B2", "#003d61")


@dataclass(frozen=True, slots=True)
class DrawnLayer:
    """One layer: weights and their gradients [outputs, inputs], biases and theirs [outputs] or [1], if it has any."""

    weight: Array
    gradient: Array
    names: Sequence[str]  # of the weights, row by row
    bias: Array | None = None
    bias_gradient: Array | None = None


@dataclass(frozen=True, slots=True)
class Neuron:
    """A circle: its name, and its value where there is one row of data."""

    name: str
    value: float | None = None


@Picture
def network(layers: Sequence[DrawnLayer], neurons: Sequence[Sequence[Neuron]], title: str) -> Figure:
    """The net from left to right; numbers on each edge where there is room, else one net each for both numbers."""
    if sum(layer.weight.size for layer in layers) <= LABELLED and max(map(len, neurons)) <= 4:
        figure, weights = new_figure(title), [layer.weight for layer in layers]
        shades = _shades(weights)
        right = max(84.0, _bar_width(shades) + TEXT + 12)
        axes = _plane(figure, (10, 6, WIDTH - 32 - right, HEIGHT - 36))
        _draw_net(axes, neurons, weights, RADIUS, shades)
        _write_edges(axes, neurons, layers)
        if _readable(figure, axes):
            _bar(figure, shades, WIDTH - right, 40, HEIGHT - 110, "line: weight, ∂: dL/dw")
            return figure
    return _two_nets_figure(layers, neurons, title)


def _two_nets_figure(layers: Sequence[DrawnLayer], neurons: Sequence[Sequence[Neuron]], title: str) -> Figure:
    figure, half = new_figure(title), (WIDTH - 20) / 2
    both = [layer.weight for layer in layers], [layer.gradient for layer in layers]
    right = max(66.0, *(_bar_width(_shades(values)) + 6 for values in both))
    room = min((HEIGHT - 74) / max(map(len, neurons)), (half - 30 - right) / len(neurons))
    for k, (what, values) in enumerate(zip(("weights", "gradients dL/dw"), both, strict=True)):
        axes = _plane(figure, (10 + k * half, 6, half - 6 - right, HEIGHT - 58))
        axes.set_title(what, fontsize=TEXT + 1, pad=2)
        shades = _shades(values)
        _draw_net(axes, neurons, values, min(14.0, room / 2 - 1), shades)
        _bar(figure, shades, 10 + (k + 1) * half - right, 40, HEIGHT - 110)
    return figure


def _readable(figure: Figure, axes: Axes) -> bool:
    """Whether no number lies on another."""
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts if "∂" in text.get_text()]
    return not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def _plane(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Bare axes whose units are points."""
    left, bottom, wide, high = box
    axes = figure.add_axes((left / WIDTH, bottom / HEIGHT, wide / WIDTH, high / HEIGHT))
    axes.set_axis_off()
    axes.set_xlim(0, wide)
    axes.set_ylim(0, high)
    return axes


def _places(axes: Axes, neurons: Sequence[Sequence[Neuron]], radius: float) -> list[Array]:
    """Where the circles of each layer stand, [neurons, 2] in points, the first at the top."""
    (_, wide), (_, high) = axes.get_xlim(), axes.get_ylim()
    columns = np.linspace(radius + 12, wide - radius - 12, len(neurons))
    found = []
    for x, layer in zip(columns, neurons, strict=True):
        room = (high - 16) / len(layer)
        y = high - 2 - room * (np.arange(len(layer)) + 0.5)
        found.append(np.stack([np.full(len(layer), x), y], axis=1))
    return found


def _shades(values: Sequence[Array]) -> ScalarMappable:
    """The scale of the colours of values."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    largest = max([float(np.abs(part[np.isfinite(part)]).max(initial=0.0)) for part in values]) or 1.0
    return ScalarMappable(Normalize(-largest, largest), LinearSegmentedColormap.from_list("signed", _SIGNED))


def _draw_net(
    axes: Axes, neurons: Sequence[Sequence[Neuron]], values: Sequence[Array], radius: float, shades: ScalarMappable
) -> None:
    """Lines by their value, then the circles."""
    largest, scale, places = shades.get_clim()[1], shades.cmap, _places(axes, neurons, radius)
    for before, after, part in zip(places, places[1:], values, strict=False):
        for (j, i), value in np.ndenumerate(part):
            wide = LEAST + (MOST - LEAST) * min(1.0, abs(value) / largest) if np.isfinite(value) else LEAST
            ends = np.stack([before[i], after[j]])
            shade = scale(0.5 + 0.5 * float(value) / largest)
            axes.plot(*ends.T, color=shade, linewidth=wide, zorder=1, solid_capstyle="butt")
    for layer, spots in zip(neurons, places, strict=True):
        for neuron, spot in zip(layer, spots, strict=True):
            _draw_neuron(axes, neuron, spot, radius)


def _draw_neuron(axes: Axes, neuron: Neuron, spot: Array, radius: float) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((float(spot[0]), float(spot[1])), radius, facecolor="white", edgecolor="#333333", zorder=3))
    centre: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
    size = TEXT if radius == RADIUS else SMALL - 1
    if radius < RADIUS or neuron.value is None:
        if radius > 8:
            axes.text(spot[0], spot[1], fit(neuron.name, size, 2 * radius), fontsize=size, **centre)
        return
    axes.text(spot[0], spot[1] + 6, fit(neuron.name, size, 2 * radius), fontsize=size, weight="bold", **centre)
    axes.text(spot[0], spot[1] - 7, number(neuron.value, 3), fontsize=SMALL, **centre)


def _write_edges(axes: Axes, neurons: Sequence[Sequence[Neuron]], layers: Sequence[DrawnLayer]) -> None:
    """Weight and gradient on each line, nearer to where it comes from: there the lines lie apart."""
    places = _places(axes, neurons, RADIUS)
    plate = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
    centre: dict[str, Any] = {"fontsize": SMALL, "ha": "center", "va": "center", "linespacing": 1.05, "zorder": 2}
    for before, after, layer in zip(places, places[1:], layers, strict=False):
        for k, ((j, i), value) in enumerate(np.ndenumerate(layer.weight)):
            text = f"{layer.names[k]} = {number(float(value))}\n∂ {number(float(layer.gradient[j, i]), 3)}"
            along = 0.5 if i == j and len(before) == len(after) else 0.3  # a line that goes straight on: the middle
            spot = before[i] + along * (after[j] - before[i])
            axes.text(spot[0], spot[1], text, bbox=plate, **centre)
        if layer.bias is not None and layer.bias_gradient is not None:
            _write_biases(axes, after, layer.bias, layer.bias_gradient)


def _write_biases(axes: Axes, spots: Array, bias: Array, gradient: Array) -> None:
    """Each neuron's bias below its circle, within the axes; one that the layer shares, below the lowest."""
    shown: dict[str, Any] = {"fontsize": SMALL, "ha": "center", "va": "top", "linespacing": 1.05, "zorder": 4}
    shared = len(bias) == 1 and len(spots) > 1
    for spot, value, slope in zip(spots[-1:] if shared else spots, bias, gradient, strict=True):
        first = f"bias {number(value)}{' (shared)' if shared else ''}"
        most = axes.get_xlim()[1] + 10 - width_of(first, SMALL) / 2  # half of the gap before the bar
        text = f"{first}\n∂ {number(slope, 3)}"
        axes.text(min(spot[0], most), spot[1] - RADIUS - 3, text, color="#333333", **shown)


def _bar_width(shades: ScalarMappable) -> float:
    """How far the bar of a scale reaches with its numbers, in points."""
    return 12 + 7 + max(width_of(text, TEXT) for text in _ticks(shades).values())


def _ticks(shades: ScalarMappable) -> dict[float, str]:
    top = shades.get_clim()[1]
    return {top * k: number(top * k, 3) for k in (-1.0, -0.5, 0.0, 0.5, 1.0)}


def _bar(figure: Figure, shades: ScalarMappable, left: float, bottom: float, high: float, label: str = "") -> None:
    """The scale of the colours, in points from the lower left corner."""
    bar = figure.colorbar(shades, cax=figure.add_axes((left / WIDTH, bottom / HEIGHT, 12 / WIDTH, high / HEIGHT)))
    bar.set_ticks([*_ticks(shades)], labels=[*_ticks(shades).values()])
    bar.set_label(label, fontsize=TEXT, color=GREY)
