"""The loss over two parameters: heat maps and contours, with the paths of runs across them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import GREY, GRID, NOTE, STAR, WIDTH, finish, fixed, new_axes, note, to_png
from .scales import bounds, drawable, log_axis, log_spaced, spread
from .text import TEXT, Array, fit, formatter, number
from .trails import Trail, draw_trails, room_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

CELLS = 400  # rows and columns drawn at most
BAR = 90.0  # points: the room of the colour bar


def surface(
    names: tuple[str, str],
    x: Array,
    y: Array,
    loss: Array,
    *,
    title: str,
    loss_label: str,
    trails: Sequence[Trail] = (),
) -> bytes:
    """The loss [len(y), len(x)] over two parameters as a heat map with contours, its minimum marked."""
    with fixed():
        return to_png(_surface_figure(names, x, y, loss, title, loss_label, trails))


def paths(
    names: tuple[str, str],
    x: Array,
    y: Array,
    loss: Array,
    trails: Sequence[Trail],
    *,
    title: str,
    loss_label: str,
    minimum: tuple[float, float] | None = None,
) -> bytes:
    """The paths of runs over the contours of the loss [len(y), len(x)], from a hollow circle to a filled one."""
    with fixed():
        return to_png(_paths_figure(names, x, y, loss, trails, title, loss_label, minimum))


def _surface_figure(
    names: tuple[str, str],
    x: Array,
    y: Array,
    loss: Array,
    title: str,
    loss_label: str,
    trails: Sequence[Trail] = (),
) -> Figure:
    from matplotlib import colormaps

    grid = _grid(x, y, loss)
    axes = new_axes(title, *names, above=NOTE * (2 if trails else 1), right=BAR + room_for(trails))
    _draw_grid(axes, grid, loss_label, colormaps["viridis"], "white")
    if grid.best:
        text = f"minimum {number(grid.best[2])} at {fit(names[0], TEXT, 110)} = {number(grid.best[0])}, "
        text += f"{fit(names[1], TEXT, 110)} = {number(grid.best[1])}"
        text = fit(text, TEXT, axes.get_position().width * WIDTH - 30) if trails else text  # a legend is at the right
        axes.plot(*grid.best[:2], label=text, **STAR)
    if trails:
        note(axes, draw_trails(axes, trails, 2 * NOTE), lift=4 + NOTE)
    return finish(axes, "above")


def _paths_figure(
    names: tuple[str, str],
    x: Array,
    y: Array,
    loss: Array,
    trails: Sequence[Trail],
    title: str,
    loss_label: str,
    minimum: tuple[float, float] | None = None,
) -> Figure:
    from matplotlib.colors import LinearSegmentedColormap

    axes = new_axes(title, *names, above=NOTE, right=BAR + room_for(trails))
    pale = LinearSegmentedColormap.from_list("pale", ["#ffffff", "#b4bac2"])  # low is light, and no colour of a path
    _draw_grid(axes, _grid(x, y, loss), loss_label, pale, "#8c939c")
    said = draw_trails(axes, trails, NOTE)
    if minimum is not None:
        at = drawable(np.asarray(minimum, np.float64))
        axes.plot(at[:1], at[1:], **_MINIMUM)
        said += " · ☆ minimum" if said else "☆ minimum"
    note(axes, said)
    return finish(axes, "above")


_MINIMUM: dict[str, Any] = STAR | {"color": "white", "markeredgecolor": "black", "clip_on": True, "zorder": 3.5}


@dataclass(frozen=True, slots=True)
class _Grid:
    x: Array  # [X], in order
    y: Array  # [Y], in order
    loss: np.ma.MaskedArray[Any, Any]  # [Y, X]
    logs: tuple[bool, bool]
    best: tuple[float, float, float] | None  # x, y and loss of the least


def _grid(x: Array, y: Array, loss: Array) -> _Grid:
    """What is finite, in order, of not more cells than the picture can show, the least loss among them."""
    x, columns = np.unique(drawable(x), return_index=True)
    y, rows = np.unique(drawable(y), return_index=True)
    rows, columns = rows[np.isfinite(y)], columns[np.isfinite(x)]
    x, y, z = x[np.isfinite(x)], y[np.isfinite(y)], drawable(loss)[np.ix_(rows, columns)]
    logs = log_spaced(x), log_spaced(y)
    if not np.isfinite(z).any():
        return _Grid(x, y, np.ma.masked_invalid(z), logs, None)
    row, column = np.unravel_index(int(np.nanargmin(z)), z.shape)
    best = float(x[column]), float(y[row]), float(z[row, column])
    keep = spread(len(y), CELLS, int(row)), spread(len(x), CELLS, int(column))
    return _Grid(x[keep[1]], y[keep[0]], np.ma.masked_invalid(z[np.ix_(*keep)]), logs, best)


def _draw_grid(axes: Axes, grid: _Grid, loss_label: str, shades: Colormap, ink: str) -> None:
    """The heat map, contours in the ink's colour, and the colour bar."""
    from matplotlib.colors import LogNorm, Normalize

    axes.grid(False)
    axes.set_facecolor(GRID)
    _set_limits(axes, grid)
    if grid.best is None:
        return
    z, low, high, log = _range(grid.loss)
    norm = LogNorm(low, high) if log else Normalize(low, high)
    edges = _edges(grid.x, grid.logs[0]), _edges(grid.y, grid.logs[1])
    mesh = axes.pcolormesh(*edges, z, norm=norm, cmap=shades, shading="flat")
    if min(z.shape) > 1 and z.min() < z.max():
        levels = np.geomspace(low, high, 12) if log else np.linspace(low, high, 12)
        if np.all(np.diff(levels) > 0):
            axes.contour(grid.x, grid.y, z, levels[1:-1], colors=ink, linewidths=0.7, alpha=0.7)
    _set_limits(axes, grid)  # a contour plot sets its own
    if np.ma.getmaskarray(z).any():
        axes.plot([], [], "s", color=GRID, markeredgecolor=GREY, markersize=10, label="not finite")
    _colour_bar(axes, mesh, loss_label, log)


def _range(z: np.ma.MaskedArray[Any, Any]) -> tuple[np.ma.MaskedArray[Any, Any], float, float, bool]:
    """The losses, the ends of their colours, and whether a log scale helps."""
    low, high = float(z.min()), float(z.max())
    least = float(z[z > 0].min()) if low == 0 < high else low
    if high > 100 * least > 0:  # on a log scale a minimum of exactly 0 takes the colour of the next smallest
        z, low = np.ma.clip(z, least, None), least
    log = low > 0 and high > 100 * low
    if low == high:
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    return z, low, high, log


def _set_limits(axes: Axes, grid: _Grid) -> None:
    """The outer borders of the cells as limits."""
    if len(grid.x):
        left, *_, right = _edges(grid.x, grid.logs[0]).tolist()
        log_axis(axes.xaxis, left, right) if grid.logs[0] else axes.set_xlim(left, right)
    if len(grid.y):
        down, *_, up = _edges(grid.y, grid.logs[1]).tolist()
        log_axis(axes.yaxis, down, up) if grid.logs[1] else axes.set_ylim(down, up)


def _edges(centres: Array, log: bool) -> Array:
    """The borders of cells round their centres, [N] to [N + 1]."""
    at = np.log(centres) if log else centres
    if len(at) == 1:
        half = 0.5 * (abs(float(at[0])) or 1.0)
        edges = np.array([at[0] - half, at[0] + half])
    else:
        middle = (at[:-1] + at[1:]) / 2
        edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(edges) if log else edges


def _colour_bar(axes: Axes, mesh: Any, loss_label: str, log: bool) -> None:
    place = axes.get_position()
    figure = axes.figure
    bar = figure.colorbar(mesh, cax=figure.add_axes((place.x1 + 0.02, place.y0, 0.022, place.height)))
    if log:
        log_axis(bar.ax.yaxis, *bounds(bar.ax.yaxis))
    else:
        bar.ax.yaxis.set_major_formatter(formatter())
    bar.set_label(fit(loss_label, TEXT + 1, 220), fontsize=TEXT + 1)
