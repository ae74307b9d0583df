"""The losses of several runs on one figure, with their moving averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .canvas import draw_line, fixed, looks
from .losses import Curve, comparison_figure
from .panels import Form, render
from .scales import POINTS, drawable
from .text import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_curves(
    curves: Sequence[Curve],
    *,
    title: str,
    loss_label: str,
    averages: Sequence[Array] = (),
    form: Form = "png",
) -> bytes:
    """The loss of each run over its steps; with averages, these over the pale curves."""
    with fixed():
        return render(curves_figure(curves, title, loss_label, averages), form)


def curves_figure(curves: Sequence[Curve], title: str, loss_label: str, averages: Sequence[Array] = ()) -> Figure:
    """The Figure of `loss_curves`."""
    figure = comparison_figure(curves, title, loss_label)
    if averages:
        axes = figure.axes[0]
        for line in axes.lines:
            if line.get_marker() != "x" and len(np.asarray(line.get_xdata())):
                line.set(alpha=0.3, linewidth=1.0, linestyle="-")  # the legend keeps its own lines
        points = max(60, min(POINTS, 60_000 // len(averages)))
        for curve, average, look in zip(curves, averages, looks(len(curves)), strict=True):
            draw_line(axes, np.asarray(curve.steps, np.float64), drawable(average), points, **look)
    return figure
