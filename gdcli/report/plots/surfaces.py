"""The loss over two parameters: heat maps and contours, with the paths of runs across them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .canvas import Picture, finish, new_axes, write_note
from .look import AT_EDGE, DPI, GREY, GRID, NOTE, STAR, WIDTH
from .scales import at_edge, bounds, drawable, log_axis, log_spaced, spread
from .text import TEXT, Array, fit, formatter, number, width_of
from .trails import GONE, MARKS, Trail, draw_trails, entries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

CELLS = 400  # rows and columns drawn at most
BAR = 60.0  # points: the room of the colour bar, before its text is known
LEVELS = 11  # contours drawn at most


@dataclass(frozen=True, slots=True)
class Plane:
    """The loss [len(y), len(x)] over two axes with their labels, and the paths of runs on it."""

    names: tuple[str, str]
    x: Array
    y: Array
    loss: Array
    trails: Sequence[Trail]
    note: str = ""  # what has to be said of the paths, in the corner


@Picture
def surface(
    names: tuple[str, str], x: Array, y: Array, loss: Array, title: str, loss_label: str, trails: Sequence[Trail] = (),
    note: str = "",
) -> Figure:  # fmt: skip
    """The loss [len(y), len(x)] over two parameters as a heat map with contours, its minimum marked.

    A note on the paths has a row of its own above.
    """
    from matplotlib import colormaps

    grid, legend = _grid(x, y, loss), entries(trails)
    text = ""
    if grid.best:
        most, edge = (75, AT_EDGE) if grid.at_edge else (110, "")
        text = f"minimum {number(grid.best[2])} at {fit(names[0], TEXT, most)} = {number(grid.best[0])}, "
        text += f"{fit(names[1], TEXT, most)} = {number(grid.best[1])}{edge}"
    key = width_of(MARKS + GONE, TEXT) if trails else 0.0  # at the right, above the minimum where both have no room
    below = bool(trails) and 40 + width_of(text, TEXT) + key > 0.7 * WIDTH + BAR
    rows = 1 + below + bool(note)
    tip = _beyond_top(grid)
    above = NOTE * rows + legend.height + tip
    axes = new_axes(title, *names, above=above, right=BAR)
    beyond = _draw_grid(axes, grid, loss_label, colormaps["viridis"], "white")
    if grid.best:
        label = fit(text, TEXT, axes.get_position().width * WIDTH + beyond - 30)
        axes.plot(*grid.best[:2], label=label, **(_UNDER_ENDS if trails else STAR))
    if trails:
        said = draw_trails(axes, trails, legend, above)
        write_note(axes, said, lift=4 + NOTE * below + tip, beyond=beyond)
        write_note(axes, note, lift=4 + NOTE * (rows - 1) + tip, beyond=beyond)
    return finish(axes, "above", lift=tip)


@Picture
def plane(shown: Plane, title: str, loss_label: str) -> Figure:
    """The paths of runs over the contours of the loss, from a hollow circle to a filled one; a star at its least."""
    from matplotlib.colors import LinearSegmentedColormap

    grid, legend = _grid(shown.x, shown.y, shown.loss), entries(shown.trails)
    rows = 2 if shown.note and grid.at_edge else 1  # one has no room for both
    tip = _beyond_top(grid)
    above = NOTE * rows + legend.height + tip
    axes = new_axes(title, *shown.names, above=above, right=BAR)
    pale = LinearSegmentedColormap.from_list("pale", ["#ffffff", "#b4bac2"])  # low is light, and no colour of a path
    beyond = _draw_grid(axes, grid, loss_label, pale, "#8c939c")
    said = [shown.note, draw_trails(axes, shown.trails, legend, above)]
    if grid.best:
        axes.plot(*grid.best[:2], **_MINIMUM)
        where = " of the grid" if not shown.note else ""  # beside a note there is no room for more
        said.append(f"☆ lowest{AT_EDGE if grid.at_edge else where}")
    if rows == 2:
        write_note(axes, said.pop(0), lift=4 + NOTE + tip, beyond=beyond)
    write_note(axes, " · ".join(filter(None, said)), lift=4 + tip, beyond=beyond)
    return finish(axes, "above")


_UNDER_ENDS: dict[str, Any] = STAR | {"markersize": 19, "zorder": 3.3}  # of a path: a circle in it leaves its points
_MINIMUM: dict[str, Any] = _UNDER_ENDS | {"color": "white", "markeredgecolor": "black"}


@dataclass(frozen=True, slots=True)
class _Grid:
    x: Array  # [X], in order
    y: Array  # [Y], in order
    loss: np.ma.MaskedArray[Any, Any]  # [Y, X]
    logs: tuple[bool, bool]
    best: tuple[float, float, float] | None  # x, y and loss of the least
    at_edge: bool = False  # where the least is, so that there may be a lower one beyond


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
    edge = at_edge(np.stack([mesh.ravel() for mesh in np.meshgrid(x, y)], axis=1), z.ravel())
    keep = spread(len(y), CELLS, int(row)), spread(len(x), CELLS, int(column))
    return _Grid(x[keep[1]], y[keep[0]], np.ma.masked_invalid(z[np.ix_(*keep)]), logs, best, edge)


def _beyond_top(grid: _Grid) -> float:
    """How far the star at the least loss reaches above the axes, in points; they are 200 high or less."""
    if grid.best is None:
        return 0.0
    low, *_, top = _edges(grid.y, grid.logs[1])
    place = np.log if grid.logs[1] else np.asarray
    return max(0.0, 10 - 200 * float((place(top) - place(grid.best[1])) / (place(top) - place(low))))


def _draw_grid(axes: Axes, grid: _Grid, loss_label: str, shades: Colormap, ink: str) -> float:
    """The heat map, contours in the ink's colour, and the colour bar; how far right of the axes it reaches."""
    from matplotlib.colors import LogNorm, Normalize

    axes.grid(False)
    axes.set_facecolor(GRID)
    _set_limits(axes, grid)
    if grid.best is None:
        return 0.0
    z, low, high, log = _range(grid.loss)
    norm = LogNorm(low, high) if log else Normalize(low, high)
    edges = _edges(grid.x, grid.logs[0]), _edges(grid.y, grid.logs[1])
    mesh = axes.pcolormesh(*edges, z, norm=norm, cmap=shades, shading="flat")
    if min(z.shape) > 1 and z.min() < z.max():
        levels = _levels(z, low, high, log)
        if len(levels):
            axes.contour(grid.x, grid.y, z, levels, colors=ink, linewidths=0.7, alpha=0.7)
    _set_limits(axes, grid)  # a contour plot sets its own
    if np.ma.getmaskarray(z).any():
        axes.plot([], [], "s", color=GRID, markeredgecolor=GREY, markersize=10, label="not finite")
    return _colour_bar(axes, mesh, loss_label, log)


def _levels(z: np.ma.MaskedArray[Any, Any], low: float, high: float, log: bool) -> Array:
    """The losses of the contours: evenly from the first that the grid resolves, with those that it does not left out.

    Where a valley or a ridge is narrower than the grid's cells, its contour would break into beads.
    """
    even = np.geomspace if log else np.linspace
    tried = even(low, high, 1 + 4 * LEVELS)[1:-1]
    if not np.all(np.diff(tried) > 0):
        return np.zeros(0)
    seen = np.array([_resolved(z.filled(np.inf) < level) for level in tried])
    start = int(seen.argmax())
    if not seen.any():
        return np.zeros(0)
    chosen = np.unique(np.linspace(start, len(tried) - 1, LEVELS).round().astype(np.int64)) if start > 3 else (
        np.arange(3, len(tried), 4))  # fmt: skip
    return np.asarray(tried[chosen[seen[chosen]]], np.float64)


def _resolved(inside: NDArray[np.bool_]) -> bool:
    """Whether nearly all of the region, and of what it leaves, is at least three cells wide."""
    return all(_opened(part).sum() >= 0.85 * part.sum() > 0 for part in (inside, ~inside))


def _opened(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What blocks of 3 by 3 cells cover of the region; beyond the border it goes on."""
    wide = np.pad(region, 2, mode="edge")
    for both in (np.logical_and, np.logical_or):
        wide = both(both(wide[:-2], wide[1:-1]), wide[2:])
        wide = both(both(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])
    return wide


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


def _colour_bar(axes: Axes, mesh: Any, loss_label: str, log: bool) -> float:
    """The bar right of the axes, both moved as far right as it has room; how far right of the axes it reaches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    place = axes.get_position()
    figure: Any = axes.figure
    bar = figure.colorbar(mesh, cax=figure.add_axes((place.x1 + 0.02, place.y0, 0.022, place.height)))
    if log:
        log_axis(bar.ax.yaxis, *bounds(bar.ax.yaxis))
    else:
        bar.ax.yaxis.set_major_formatter(formatter())
    bar.set_label(fit(loss_label, TEXT + 1, 220), fontsize=TEXT + 1)
    canvas: Any = FigureCanvasAgg(figure)
    box = bar.ax.get_tightbbox(canvas.get_renderer())
    if box is None:
        return 0.0
    width = figure.bbox.width
    move = (width - 12 - box.x1) / width
    axes.set_position((place.x0, place.y0, place.width + move, place.height))
    bar.ax.set_position((place.x1 + 0.02 + move, place.y0, 0.022, place.height))
    return float((box.x1 - place.x1 * width) * 72 / DPI)
