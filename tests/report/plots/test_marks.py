"""Marks and numbers of a picture stay in sight: none is cut at its border, hidden by another, or lies on a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from gdcli.report import plots
from gdcli.report.plots import DrawnLayer, Neuron, Plane, Trail, canvas

SIDE = np.linspace(-1.0, 1.0, 201)
CORNERS = [(x, y) for x in (-1.0, 1.0) for y in (-1.0, 1.0)]


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with canvas.fixed():
        yield


def distance(x: float, y: float) -> np.ndarray[Any, Any]:
    """The squared distance of each point of the grid from a place in it."""
    return (SIDE - x) ** 2 + (SIDE[:, None] - y) ** 2


def pictures(x: float, y: float, way: np.ndarray[Any, Any]) -> Iterator[Figure]:
    trails = [Trail("run", way)]
    yield plots.surface.figure(("a", "b"), SIDE, SIDE, distance(x, y), "t", "loss", trails)
    yield plots.surface.figure(("a", "b"), SIDE, SIDE, distance(x, y), "t", "loss")
    for note in ("", "plane − true loss: end 0.1, max 2"):
        yield plots.plane.figure(Plane(("a", "b"), SIDE, SIDE, distance(x, y), trails, note), "t", "loss")


def star(figure: Figure) -> Any:
    (found,) = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    return found


def shown_texts(figure: Figure) -> list[Text]:
    figure.draw_without_rendering()
    bare = [axis for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis)]
    hidden = {text for axis in bare for text in axis.findobj(Text)}
    found: list[Any] = figure.findobj(Text)
    return [text for text in found if text.get_text().strip() and text.get_visible() and text not in hidden]


@pytest.mark.parametrize("corner", CORNERS)
def test_the_star_of_a_minimum_at_a_corner_lies_on_no_note_and_on_no_colour_bar(corner: tuple[float, float]) -> None:
    for figure in pictures(*corner, np.array([[0.0, 0.0], [0.5, 0.2]])):
        axes, mark = figure.axes[0], star(figure)
        texts = shown_texts(figure)
        reach = mark.get_markersize() / 2 * figure.dpi / 72
        x, y = axes.transData.transform(corner)
        box = Bbox([[x - reach, y - reach], [x + reach, y + reach]])
        ticks = {*axes.get_xticklabels(), *axes.get_yticklabels()}
        covered = [text for text in texts if text not in ticks and text.get_window_extent().overlaps(box)]
        assert covered == [], covered
        assert not figure.axes[1].get_window_extent().overlaps(box)


def test_start_and_end_of_a_path_are_seen_where_the_minimum_is() -> None:
    for way in (np.array([[-1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])):
        for figure in pictures(0.0, 0.0, way):
            circles = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
            for circle in circles:
                assert circle.get_zorder() > star(figure).get_zorder()
                assert circle.get_markersize() < 0.5 * star(figure).get_markersize()


def net(scale: float, *, shared: bool = True, sizes: tuple[int, int] = (2, 2)) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    ins, outs = sizes
    names = [f"w{k + 1}" for k in range(ins * outs)]
    bias = -scale * (1 + rng.random(1 if shared else outs))
    layer = DrawnLayer(scale * rng.normal(size=(outs, ins)), -scale * rng.random((outs, ins)), names, bias, bias)
    return [layer], [[Neuron(f"n{j}", 0.5) for j in range(size)] for size in sizes]


@pytest.mark.parametrize("scale", [1.0, 1.2345e-3, -1.2345e-3, 1.2345e-10, 1.2345e-123, 9.87654e123])
@pytest.mark.parametrize("sizes", [(2, 1), (2, 2), (5, 8)])
def test_no_number_of_a_network_is_cut_or_lies_on_its_colour_bar(scale: float, sizes: tuple[int, int]) -> None:
    for shared in (True, False):
        figure = plots.network.figure(*net(scale, shared=shared, sizes=sizes), "t")
        texts = shown_texts(figure)
        for text in texts:
            box = text.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= figure.bbox.width, text
            assert 0 <= box.y0 < box.y1 <= figure.bbox.height, text
        bars = [axes for axes in figure.axes if axes.yaxis.get_ticks_position() == "right"]
        assert bars
        for bar in bars:
            own = set(bar.findobj(Text))
            extent = bar.get_tightbbox()
            assert extent is not None
            assert [text for text in texts if text not in own and text.get_window_extent().overlaps(extent)] == []
