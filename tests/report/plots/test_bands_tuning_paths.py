"""Bands of a comparison, learning-rate sensitivity, and paths over contours; warnings are errors here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from gdcli.report import plots
from gdcli.report.plots import Curve, Plane, Trail, canvas, trails

STEPS = np.arange(1, 51.0)
LOSS = 4 * 0.8**STEPS
LR = np.geomspace(1e-3, 10, 5)
SIXTY = "$_^% " * 12
X, Y = np.linspace(-2, 2, 41), np.linspace(-1, 3, 31)
BOWL = np.add.outer((Y - 1) ** 2, X**2) + 0.01
LABEL = {"title": "t", "loss_label": "loss (mse)"}
HUGE = [np.nan, np.inf, -np.inf, 1e308, -1e308, 1e149, 1e-320, 0.0, 1.0]


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with canvas.fixed():
        yield


def check(png: bytes) -> None:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (960, 540)
    assert len(png) < 300_000


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def legend(figure: Figure) -> list[str]:
    shown = [*figure.legends, *([box] if (box := figure.axes[0].get_legend()) else [])]
    return [text.get_text() for box in shown for text in box.get_texts()]


def inside(figure: Figure) -> None:
    """Nothing of a legend or a note is cut at the picture's border."""
    canvas.render(figure)
    boxes = [*figure.legends, figure.axes[0].get_legend(), *figure.axes[0].texts]
    for box in filter(None, boxes):
        extent = box.get_window_extent()
        assert min(extent.x0, extent.y0) >= -1, box
        assert extent.x1 <= 961, box
        assert extent.y1 <= 541, box


# Bands


def band(figure: Figure) -> np.ndarray[Any, Any]:
    (shape,) = figure.axes[0].collections
    return np.concatenate([path.vertices for path in shape.get_paths()])


def test_a_band_has_its_ends_its_curves_colour_and_its_label() -> None:
    curve = Curve("sgd", STEPS, LOSS, 0.5 * LOSS, 2 * LOSS)
    figure = plots.comparison.figure([curve], "t", "loss", "epoch", "band: 95 %")
    vertices = {(float(x), float(y)) for x, y in band(figure)}
    assert vertices >= {*zip(STEPS, 0.5 * LOSS, strict=True), *zip(STEPS, 2 * LOSS, strict=True)}
    assert figure.axes[0].collections[0].get_facecolor()[0][:3] == pytest.approx((0, 0x72 / 255, 0xB2 / 255))
    assert "band: 95 %" in texts(figure)
    assert figure.axes[0].get_xlabel() == "epoch"
    low, high = figure.axes[0].get_ylim()
    assert low <= 0.5 * LOSS[-1]
    assert high >= 2 * LOSS[0]


def test_a_band_that_reaches_zero_ends_at_a_log_axis_lower_limit() -> None:
    figure = plots.comparison.figure([Curve("a", STEPS, LOSS, LOSS - 1, LOSS + 1)], "", "loss", "step", "b")
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert band(figure)[:, 1].min() == axes.get_ylim()[0] > 0


def test_no_band_has_no_label() -> None:
    for curve in (Curve("a", STEPS, LOSS), Curve("a", STEPS, LOSS, LOSS * np.nan, LOSS * np.nan)):
        figure = plots.comparison.figure([curve], "", "loss", "step", "band")
        assert "band" not in texts(figure)
        assert not figure.axes[0].collections


@pytest.mark.slow
def test_a_band_with_gaps_is_drawn_where_it_is() -> None:
    low, high = LOSS / 2, LOSS * 2
    low[10], high[12] = np.nan, np.nan  # step 12 stands alone
    figure = plots.comparison.figure([Curve("a", STEPS, LOSS, low, high)], "", "loss")
    bars, area = figure.axes[0].collections
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [[12, 12]]
    assert len(area.get_paths()) == 2
    many = np.arange(1, 100_001.0)
    noise = 2 + np.sin(many)
    check(plots.comparison([Curve("a", many, noise, noise - 1.5, noise + 1)] * 3, band_label="b", **LABEL))


# Sensitivity


def row(label: str = "sgd", loss: Any = (4.0, 1, 0.5, np.inf, np.nan), chosen: float = 0.1) -> Curve:
    return Curve(label, LR.tolist(), np.array(loss, float), chosen=chosen)


def test_sensitivity_draws_losses_crosses_and_the_chosen_rate() -> None:
    figure = plots.sensitivity.figure([row(), row("adam", [9, 3, 2, 1, 5], 1.0)], "t", "final loss")
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "final loss")
    assert legend(figure) == ["sgd", "adam"]
    assert "◯ chosen · ✕ diverged" in texts(figure)
    curve, crosses, chosen, other, none, second = axes.lines
    assert curve.get_xdata().tolist() == pytest.approx(LR.tolist())
    assert curve.get_ydata()[:3].tolist() == [4, 1, 0.5]
    assert np.isnan(curve.get_ydata()[3:]).all()
    assert crosses.get_xdata().tolist() == pytest.approx([1, 10])
    assert crosses.get_ydata().min() > 9
    assert axes.transAxes.inverted().transform(axes.transData.transform(crosses.get_xydata()))[0, 1] > 0.9
    assert curve.get_color() == crosses.get_color() == chosen.get_color() != other.get_color()
    assert curve.get_linestyle() != other.get_linestyle()
    assert chosen.get_xydata().tolist() == [pytest.approx([0.1, 0.5])]
    assert second.get_xydata().tolist() == [pytest.approx([1, 1])]
    assert len(none.get_xdata()) == 0


def test_losses_that_are_not_positive_have_a_linear_axis() -> None:
    assert plots.sensitivity.figure([row(loss=[1, 0, -1, 2, 3])], "", "loss").axes[0].get_yscale() == "linear"


def test_a_run_about_to_diverge_does_not_press_the_others_together() -> None:
    figure = plots.sensitivity.figure([row(loss=[4, 1, 0.5, 1e90, np.inf])], "", "loss")
    assert figure.axes[0].get_ylim()[1] < 100


def test_the_chosen_rate_of_a_row_that_diverged_is_circled_at_its_cross() -> None:
    lines = plots.sensitivity.figure([row(chosen=10.0)], "", "loss").axes[0].lines
    assert lines[2].get_xydata()[0].tolist() == lines[1].get_xydata()[1].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 4, 5, 20, 21, 401])
def test_any_number_of_rows(count: int) -> None:
    rows = [Curve(f"{SIXTY}{k}", LR.tolist(), np.append(LR[:4] + k, np.inf), chosen=0.1) for k in range(count)]
    figure = plots.sensitivity.figure(rows, SIXTY * 3, SIXTY)
    assert len(legend(figure)) == (count if count <= 20 else 2 if count <= 400 else 3)
    inside(figure)
    check(canvas.render(figure))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [[np.nan] * 5, [1.0] * 5, [0.0] * 5, HUGE[:5], HUGE[3:8], [1e-149, 1, 1, 1, 1e149]])
def test_no_losses_spoil_a_sensitivity(loss: list[float]) -> None:
    check(plots.sensitivity([row(loss=loss)], **LABEL))
    check(plots.sensitivity([row(), row(loss=loss)], **LABEL))
    check(plots.sensitivity([Curve("a", loss, LR, chosen=1.0)], **LABEL))
    check(plots.sensitivity([Curve("a", LR[:1].tolist(), np.array(loss[:1]), chosen=float(LR[0]))], **LABEL))
    check(plots.sensitivity([Curve("a", [], LR[:0])], **LABEL))


# Paths

WAY = np.array([[-1.0, 2.0], [0.5, 1.5], [0.0, 1.0]])


def test_a_path_has_its_points_a_hollow_start_a_filled_end_and_a_legend() -> None:
    ways = [Trail("sgd", WAY), Trail("adam", WAY[::-1])]
    figure = plots.plane.figure(Plane(("w", "b"), X, Y, BOWL, ways), "t", "loss")
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("w", "b", "loss")
    assert legend(figure) == ["sgd", "adam"]
    assert "○ start · ● end · ☆ lowest of the grid" in texts(figure)
    drawn = [line for line in axes.lines if len(line.get_xdata())]
    casing, path, end, start = drawn[:4]
    assert np.array_equal(path.get_xydata(), WAY)
    assert np.array_equal(casing.get_xydata(), WAY)
    assert casing.get_linewidth() > path.get_linewidth()
    assert casing.get_color() == start.get_markerfacecolor() == "white"
    assert (end.get_xydata().tolist(), start.get_xydata().tolist()) == ([[0, 1]], [[-1, 2]])
    assert path.get_color() == end.get_markerfacecolor() == start.get_markeredgecolor()
    assert drawn[5].get_color() != path.get_color()
    assert drawn[-1].get_xydata().tolist() == [[0, 1]]
    assert type(axes.collections[0].norm).__name__ == "LogNorm"


def test_points_outside_leave_the_limits_as_they_are() -> None:
    far = Trail("far", np.array([[0, 0], [40, 1], [1e149, -1e300], [np.nan, 1], [1, 1]]))
    alone = plots.plane.figure(Plane(("w", "b"), X, Y, BOWL, []), "", "loss")
    figure = plots.plane.figure(Plane(("w", "b"), X, Y, BOWL, [far]), "", "loss")
    assert figure.axes[0].get_xlim() == alone.axes[0].get_xlim()
    assert figure.axes[0].get_ylim() == alone.axes[0].get_ylim()
    assert all(line.get_clip_on() for line in figure.axes[0].lines if line.get_marker() != "*")
    check(canvas.render(figure))


def test_a_diverged_path_ends_with_a_cross() -> None:
    way = np.array([[0, 0], [1, 2], [np.inf, np.nan]])
    figure = plots.plane.figure(Plane(("w", "b"), X, Y, BOWL, [Trail("a", way)]), "", "loss")
    assert "○ start · ● end · ✕ diverged · ☆ lowest of the grid" in texts(figure)
    assert [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_marker() == "x"] == [[[1, 2]]]


def test_a_path_that_diverges_out_of_the_picture_has_its_cross_where_it_left_for_the_last_time() -> None:
    """The axes end at -2.05 and 2.05 across; the way out again is level with y = 0.5."""
    way = np.array([[0, 1], [9, 1], [-9, 0.5], [0, 0.5], [99, 0.5], [np.inf, np.nan]])
    never = np.array([[5.0, 5], [6, 5], [np.nan, np.nan]])
    ways = [Trail("a", way), Trail("b", never)]
    axes = plots.plane.figure(Plane(("w", "b"), X, Y, BOWL, ways), "", "loss").axes[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert axes.get_xlim() == pytest.approx((-2.05, 2.05))
    assert crosses[0].get_xydata()[0] == pytest.approx([2.05, 0.5])
    assert crosses[1].get_xydata().tolist() == [[6, 5]]
    assert not crosses[0].get_clip_on()


def test_the_note_on_a_plane_is_not_cut_where_a_run_diverges() -> None:
    said = "plane − true loss: end −0.00037, max 0.00045"
    way = np.array([[0, 0], [1, 2], [np.inf, np.nan]])
    figure = plots.plane.figure(Plane(("x", "y"), X, Y, BOWL, [Trail("a", way)], said), "", "loss")
    assert f"{said} · ○ start · ● end · ✕ diverged · ☆ lowest" in texts(figure)
    inside(figure)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 5, 20, 21, 401])
def test_any_number_of_trails_on_both_pictures(count: int) -> None:
    ways = [Trail(f"{SIXTY}{k}", WAY + k / 100) for k in range(count)]
    for figure in (
        plots.plane.figure(Plane((SIXTY, SIXTY), X, Y, BOWL, ways), SIXTY * 3, SIXTY),
        plots.surface.figure((SIXTY, SIXTY), X, Y, BOWL, SIXTY * 3, SIXTY, ways),
    ):
        shown = [text.get_text() for box in figure.legends for text in box.get_texts()]
        assert len(shown) == (count if count <= 20 else 3)
        if count > 20:
            assert shown[2] == f"{min(count, 400)} of {count} drawn"
        check(canvas.render(figure))
        for box in figure.legends:
            extent = box.get_window_extent()
            assert min(extent.x0, 960 - extent.x1, 540 - extent.y1) >= 0
            assert extent.y0 >= max(axes.get_window_extent().y1 for axes in figure.axes)
            words = [text.get_window_extent() for text in [*figure.texts, *figure.axes[0].texts] if text.get_text()]
            assert not any(extent.overlaps(word) for word in words)


@pytest.mark.slow
@pytest.mark.parametrize("points", [np.zeros((0, 2)), WAY[:1], WAY * np.nan, np.array([[v, v] for v in HUGE])])
@pytest.mark.parametrize("fill", ["gone", "constant", "huge", "one", "empty", "logs"])
def test_no_points_or_losses_spoil_the_paths(points: Any, fill: str) -> None:
    x, y, z = X, Y, BOWL
    if fill in ("one", "empty"):
        x, y, z = (X[:1], Y[:1], BOWL[:1, :1]) if fill == "one" else (X[:0], Y[:0], BOWL[:0, :0])
    elif fill == "logs":
        x, y = np.geomspace(1e-3, 1, 41), np.geomspace(1e-5, 1, 31)
    else:
        z = {"gone": z * np.nan, "constant": 0 * z, "huge": np.where(z > 4, 1e308, z * 1e148)}[fill]
    check(plots.plane(Plane(("a", "b"), x, y, z, [Trail("a", points)]), **LABEL))
    check(plots.surface(("a", "b"), x, y, z, trails=[Trail("a", points)], **LABEL))


@pytest.mark.slow
def test_long_paths_are_thinned_to_what_is_seen() -> None:
    ways = [Trail(str(k), np.random.default_rng(k).normal(size=(300_000, 2)).cumsum(axis=0) / 200) for k in range(3)]
    figure = plots.plane.figure(Plane(("a", "b"), X, Y, BOWL, ways), "", "loss")
    assert max(len(line.get_xdata()) for line in figure.axes[0].lines) <= trails.STOPS
    check(canvas.render(figure))


@pytest.mark.slow
def test_the_bytes_are_the_same_each_time() -> None:
    def draw() -> Iterator[bytes]:
        yield plots.sensitivity([row(), row("adam")], **LABEL)
        yield plots.plane(Plane(("a", "b"), X, Y, BOWL, [Trail("a", WAY)]), **LABEL)
        yield plots.comparison([Curve("a", STEPS, LOSS, LOSS / 2, LOSS * 2)], band_label="b", **LABEL)

    assert list(draw()) == list(draw())
