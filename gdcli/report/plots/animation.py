"""Pictures that grow step by step, as a GIF."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import MachineError

from .canvas import fixed
from .look import PALETTE
from .losses import Curve, loss_curves
from .scales import spread
from .surfaces import Plane, plane
from .text import Array
from .trails import Trail, last_seen, on_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FRAMES = 50  # drawn at most, the last of them
HOLD = 10  # times: so long it stays
PER_SECOND = 10
DPI = 80  # 640 x 360 pixels

Moment = Callable[[float], None]  # takes the share of the steps that is shown, 0 to 1


def animated_curves(curves: Sequence[Curve], title: str, loss_label: str, averages: Sequence[Array] = ()) -> bytes:
    """`loss_curves`, growing. Raises MachineError without Pillow."""
    with fixed():
        figure = loss_curves.figure(curves, title, loss_label, averages)
        return _gif(figure, _growing(figure.axes[0]), max([len(curve.at) for curve in curves] + [1]))


def animated_plane(shown: Plane, title: str, loss_label: str) -> bytes:
    """`plane`, its paths growing. Raises MachineError without Pillow."""
    with fixed():
        figure = plane.figure(shown, title, loss_label)
        steps = max([len(trail.points) for trail in shown.trails] + [1])
        return _gif(figure, _walking(figure.axes[0], shown.trails, steps), steps)


def _growing(axes: Axes) -> Moment:
    """Every curve up to the step of the moment, and the crosses that are reached."""
    lines = [(line, np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines]
    lines = [each for each in lines if len(each[1])]
    places = np.concatenate([x for _, x, _ in lines] + [np.zeros(0)])
    low, high = (float(places.min()), float(places.max())) if len(places) else (0.0, 0.0)

    def show(share: float) -> None:
        until = low + share * (high - low)
        for line, x, y in lines:
            line.set_data(x[x <= until], y[x <= until])

    return show


def _walking(axes: Axes, trails: Sequence[Trail], steps: int) -> Moment:
    """Every path up to the step of the moment, its end where it is then; a cross only once it has diverged."""
    drawn: dict[float, list[Line2D]] = {}
    for line in axes.lines:
        if len(np.asarray(line.get_xdata())):
            drawn.setdefault(line.get_zorder(), []).append(line)
    ways = [on_axes(axes, trail.points) for trail in trails]
    ways = [way for way in ways if np.isfinite(way).all(axis=1).any()]

    def show(share: float) -> None:
        count = 1 + round(share * (steps - 1))
        for k, way in enumerate(ways):
            part = way[:count]
            drawn[3][k].set_data(*part.T)
            drawn[3.1][k].set_data(*part.T)
            drawn[3.6][k].set_data(*_end(axes, way, count))

    return show


def _end(axes: Axes, way: Array, count: int) -> Array:
    """Where the mark at the end of a path stands after so many of its points, [2, 1], or [2, 0] where it has none."""
    part, diverges = way[:count], not np.isfinite(way[-1]).all()
    seen = part[np.isfinite(part).all(axis=1)]
    if not len(seen) or (diverges and count < len(way)):
        return np.zeros((2, 0))
    return (last_seen(axes, part) if diverges else seen[-1]).reshape(2, 1)


def _gif(figure: Figure, show: Moment, steps: int) -> bytes:
    """The frames as a GIF, all with the colours of the last: what stands still is then stored once."""
    try:
        from matplotlib.animation import PillowWriter
    except ImportError:
        raise MachineError("--animate needs Pillow, which writes the GIF: python -m pip install pillow") from None
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    writer = PillowWriter(fps=PER_SECOND)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.gif"
        writer.setup(figure, str(path), dpi=DPI)
        for step in spread(steps, FRAMES):
            show(step / max(1, steps - 1))
            writer.grab_frame()
        _same_colours(writer)
        writer.finish()
        return path.read_bytes()


def _same_colours(writer: Any) -> None:
    """Give all frames one palette, and hold the last."""
    frames = [frame.convert("RGB") for frame in writer._frames]
    few = frames[-1].quantize(200, dither=0)  # so many of the picture's own, without those of thin lines
    kept = np.asarray(few.getpalette(), np.uint8).reshape(-1, 3)
    kept = kept[(kept < 248).any(axis=1)]  # Pillow would take one that is nearly white for white
    few.putpalette(np.concatenate([_tints(), kept])[:256].astype(np.uint8).tobytes())
    frames = [frame.quantize(palette=few, dither=0) for frame in frames]
    writer._frames[:] = frames + [frames[-1]] * (HOLD if len(frames) > 1 else 0)


def _tints() -> NDArray[np.float64]:
    """The curves' colours, paler by steps as their edges and pale curves are, and white, [N, 3]."""
    from matplotlib.colors import to_rgb

    full = 255 * np.array([to_rgb(colour) for colour in PALETTE])
    parts = [full * share + 255 * (1 - share) for share in (1.0, 0.75, 0.5, 0.3, 0.15)]
    return np.concatenate([*parts, [[255.0] * 3]])
