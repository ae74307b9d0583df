"""The paths of runs over two parameters, or over the plane in which most of their way lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .canvas import fixed
from .panels import Form, render
from .surfaces import paths_figure
from .text import Array
from .trails import Trail

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Plane:
    """The loss [len(y), len(x)] over two axes with their labels, and the paths on it."""

    names: tuple[str, str]
    x: Array
    y: Array
    loss: Array
    trails: Sequence[Trail]
    note: str = ""  # what has to be said of the paths


def plane(shown: Plane, *, title: str, loss_label: str, form: Form = "png") -> bytes:
    """The paths over the contours of the loss, from a hollow circle to a filled one."""
    with fixed():
        return render(plane_figure(shown, title, loss_label), form)


def plane_figure(shown: Plane, title: str, loss_label: str) -> Figure:
    """The Figure of `plane`."""
    return paths_figure(shown.names, shown.x, shown.y, shown.loss, shown.trails, title, loss_label, None, shown.note)
