"""A series of numbers and its moving averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .canvas import GREY, draw_line, finish, fixed, looks, new_axes, to_png
from .scales import drawable, set_scale, set_span
from .text import TEXT, Array, fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def averages(
    x: Sequence[float],
    values: Sequence[float],
    means: Sequence[tuple[str, Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
) -> bytes:
    """The values as points, and each of the averages, with its label, as a curve."""
    with fixed():
        curves = [(label, np.asarray(mean, np.float64)) for label, mean in means]
        return to_png(
            _figure(np.asarray(x, np.float64), np.asarray(values, np.float64), curves, title, x_label, y_label)
        )


def _figure(
    x: Array, values: Array, means: Sequence[tuple[str, Array]], title: str, x_label: str, y_label: str
) -> Figure:
    x, y, curves = drawable(x), drawable(values), [(label, drawable(mean)) for label, mean in means]
    axes = new_axes(title, x_label, y_label)
    set_scale(axes.yaxis, np.concatenate([y, *(mean for _, mean in curves)]), log=False)
    set_span(axes, x[np.isfinite(x)], whole=bool((x == np.round(x)).all()))
    size = 5 if len(x) <= 100 else 2.5
    draw_line(axes, x, y, label=fit(y_label, TEXT, 200), color=GREY, marker="o", markersize=size, linestyle="none")
    for (label, mean), look in zip(curves, looks(len(curves)), strict=True):
        draw_line(axes, x, mean, label=label, **look)
    return finish(axes, "best")
