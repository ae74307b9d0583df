"""Pictures show the records, stay the same to the byte, and no text or value spoils one.

Warnings are errors here, so each drawing also says that matplotlib had nothing to complain about.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

import gdcli
from gdcli.records import Effort
from gdcli.report import plots
from gdcli.report.plots import Curve, Trail, canvas, look, scales, sweeps
from tests.timing import fastest

STEPS = np.arange(1, 101.0)
EXP = Curve("sgd", STEPS, 16 * 0.9**STEPS)
HOSTILE = ("$$", "$\\frac", "$x_{", "\x1b[31mred\x1b[0m", "\\", "%", "_hidden", "", " ", "a\nb\tc", "\u202eabc",
           "漢字", "🙂", "\ud800", "\x00", "e\u0301\u200b", "fi ffi", "שלום", "x" * 5000, "word " * 900)  # fmt: skip
LABEL = {"loss_label": "loss (mse)"}


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with canvas.fixed():
        yield


def noisy(count: int) -> np.ndarray[Any, Any]:
    return np.exp(np.random.default_rng(0).normal(size=count))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def legend(figure: Figure) -> list[str]:
    shown = figure.axes[0].get_legend()
    return [text.get_text() for text in shown.get_texts()] if shown else []


def check(png: bytes) -> None:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    assert struct.unpack(">II", png[16:24]) == (960, 540)
    assert len(png) < 300_000
    assert b"Software" not in png
    assert b"tEXt" not in png


def epochs_of(steps: int) -> Effort:
    """Return what epochs of so many steps of one row cost."""
    return Effort(steps, 1, steps)


def all_five(text: str) -> Iterator[bytes]:
    curve = Curve(text, STEPS, EXP.loss)
    yield plots.loss_curve(curve, title=text, loss_label=text, effort=epochs_of(10))
    yield plots.comparison([curve] * 6, title=text, loss_label=text)
    yield plots.sweep_curve(text, [0, 1, 2], np.array([1.0, 0, 1]), title=text, loss_label=text)
    yield plots.sweep_runs(text, [text, "b"], np.array([1.0, np.nan]), title=text, loss_label=text)
    yield plots.surface((text, text), STEPS[:3], STEPS[:4], np.ones((4, 3)), title=text, loss_label=text)


# The loss curve


def test_loss_curve_has_its_data_labels_and_title() -> None:
    figure = plots.loss_curve.figure(EXP, "linear_manual", "loss (mse)", epochs_of(1))
    (axes,) = figure.axes
    assert np.array_equal(axes.lines[0].get_xdata(), STEPS)
    assert np.array_equal(axes.lines[0].get_ydata(), EXP.loss)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step (one per epoch)", "loss (mse)")
    assert "linear_manual" in texts(figure)
    assert legend(figure) == []


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        (16 * 0.9**STEPS, "log"),
        (1 + STEPS / 100, "linear"),
        (STEPS - 1, "linear"),  # a zero
        (-STEPS, "linear"),
        (np.append(STEPS[:-1], np.inf), "log"),
        (np.full(100, np.nan), "linear"),
        (np.append(STEPS[:-1], 1e-320), "linear"),
    ],
)
def test_log_scale_where_it_helps(loss: Any, scale: str) -> None:
    assert plots.loss_curve.figure(Curve("", STEPS, loss), "", "loss", epochs_of(1)).axes[0].get_yscale() == scale


def test_epochs_stand_on_a_second_axis_that_agrees_with_the_steps() -> None:
    axes = plots.loss_curve.figure(EXP, "", "loss", epochs_of(10)).axes[0]
    (top,) = axes.child_axes
    assert (axes.get_xlabel(), top.get_xlabel()) == ("step", "epoch")
    top.figure.draw_without_rendering()
    assert np.allclose(np.array(axes.get_xlim()) / 10, top.get_xlim())


def test_a_noisy_run_has_the_mean_of_each_complete_epoch_and_a_smooth_one_has_not() -> None:
    loss = noisy(95)
    figure = plots.loss_curve.figure(Curve("", STEPS[:95], loss), "", "loss", epochs_of(10))
    assert legend(figure) == ["each step", "mean of the epoch"]
    mean = figure.axes[0].lines[1]
    assert np.allclose(mean.get_ydata(), loss[:90].reshape(9, 10).mean(axis=1))
    assert np.allclose(mean.get_xdata(), np.arange(9) * 10 + 5.5)
    assert legend(plots.loss_curve.figure(EXP, "", "loss", epochs_of(10))) == []


@pytest.mark.parametrize(
    ("end", "said", "told", "at"),
    [
        ([np.inf, np.nan], "", "diverged at step 8", (8, 64)),
        ([np.inf], "diverged at step 8", "diverged at step 8", (8, 64)),
        ([], "diverged at step 7", "diverged at step 7", (7, 64)),  # its gradient was not finite
        ([], "diverged after step 7", "diverged after step 7", (7, 64)),
        ([1e200, 1e300, np.inf], "", "diverged at step 10", (10, 64)),  # the first two cannot be drawn
    ],
)
def test_a_diverged_run_has_a_cross_at_its_step(end: list[float], said: str, told: str, at: tuple[int, int]) -> None:
    loss = np.array([1, 2, 4, 8, 16, 32, 64, *end])
    figure = plots.loss_curve.figure(Curve("", STEPS[: len(loss)], loss, diverged=said), "", "loss", epochs_of(1))
    assert legend(figure) == [told]
    cross = figure.axes[0].lines[-1]
    assert (cross.get_marker(), *cross.get_xydata()[0]) == ("x", *at)


def test_few_steps_have_their_losses_in_numbers_and_that_after_the_last_update() -> None:
    """A run of one step, as the tutorial's: without the loss after it, the picture would be a dot."""
    one = Curve("", STEPS[:1], np.array([0.2983711]), after=0.2857508)
    figure = plots.loss_curve.figure(one, "t", "loss", epochs_of(1))
    (axes,) = figure.axes
    assert axes.lines[0].get_xydata().tolist() == [[1, 0.2983711], [2, 0.2857508]]
    assert axes.lines[0].get_linestyle() == "-"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["before step 1", "after step 1"]
    assert [text.get_text() for text in axes.texts] == ["0.298371", "0.285751"]
    four = Curve("", STEPS[:4], np.array([1.0, 4, 2, 9]), after=3)  # batches: the loss after is of other rows
    figure = plots.loss_curve.figure(four, "t", "loss", Effort(9, 3, 3))
    assert [line.get_xydata().tolist() for line in figure.axes[0].lines] == [[[1, 1], [2, 4], [3, 2], [4, 9]], [[5, 3]]]
    assert legend(figure) == ["each step", "all rows"]
    none = plots.loss_curve.figure(Curve("", np.zeros(1), np.array([0.3]), after=0.3), "t", "loss", epochs_of(1))
    assert [text.get_text() for text in none.axes[0].get_xticklabels()] == ["no step"]


def test_few_steps_have_the_cross_of_a_run_at_the_update_that_ended_it() -> None:
    """`after step 2` is no step's loss; a run that has not ended, or diverged at a step, has none after it."""
    loss = np.array([4.0, 2.0])
    for said, ticks, at in (
        ("diverged after step 2", ["before step 1", "before step 2", "after step 2"], 3),
        ("diverged at step 2", ["before step 1", "before step 2"], 2),
        ("", ["before step 1", "before step 2"], None),
    ):
        (axes,) = plots.loss_curve.figure(Curve("", STEPS[:2], loss, diverged=said), "", "loss", epochs_of(1)).axes
        assert [text.get_text() for text in axes.get_xticklabels()] == ticks
        crosses = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
        assert crosses == ([] if at is None else [at])


@pytest.mark.parametrize("loss", [[0.3], [1e3, 1, 1e-3], [1, 400, np.inf], [5, 1, 5, 1, 5], [1, 1, 1, 1, 1], [-1e9, 2]])
@pytest.mark.parametrize("rows", [1, 3])
def test_nothing_overlaps_where_steps_are_few(loss: list[float], rows: int) -> None:
    curve = Curve("", STEPS[: len(loss)], np.array(loss), after=2 * loss[0])
    figure = plots.loss_curve.figure(curve, "a title", "loss", Effort(rows, 1, rows))
    canvas.render(figure)
    axes, shown = figure.axes[0], figure.axes[0].get_legend()
    words = [*axes.texts, *axes.get_xticklabels(), *figure.texts, *([shown] if shown else [])]
    boxes = [text.get_window_extent() for text in words]
    assert not [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)]
    assert all(box.x0 >= 0 and box.x1 <= 960 and box.y1 <= 540 for box in boxes)
    for line in axes.lines:
        for at in axes.transData.transform(line.get_xydata()):
            assert not any(box.contains(*at) for box in boxes)


def test_one_point_is_a_marker() -> None:
    for loss in (np.array([0.3]), np.array([0.3, np.nan])):
        line = plots.comparison.figure([Curve("", STEPS[: len(loss)], loss)], "", "loss").axes[0].lines[0]
        assert line.get_marker() == "o"
        assert line.get_xydata().tolist() == [[1, 0.3]]


@pytest.mark.parametrize("loss", [[], [np.nan], [np.inf, -np.inf, np.nan], [1e308, -1e308]])
def test_nothing_finite_says_so(loss: list[float]) -> None:
    figure = plots.loss_curve.figure(Curve("", STEPS[: len(loss)], np.array(loss)), "", "loss", epochs_of(2))
    assert "no finite loss" in texts(figure)
    check(canvas.render(figure))


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        [0.0] * 9,
        [-3.0] * 9,
        [1e-310, 1e-320, 0.0],
        [1e149, -1e149],
        [1e-149, 1e149],
        [1.0, np.nan, 2.0, np.inf, 3.0],
        [1 + 1e-15 * k for k in range(5)],
        [1e-9 * k for k in range(5)],
    ],
)
def test_extreme_values_are_drawn_without_a_warning(loss: list[float]) -> None:
    array = np.array(loss)
    curve = Curve("", STEPS[: len(loss)], array)
    check(plots.loss_curve(curve, title="", effort=epochs_of(2), **LABEL))
    check(plots.sweep_runs("w", list(map(str, array)), array, title="", **LABEL))
    check(plots.surface(("a", "b"), array, array, np.add.outer(array, array) / 2, title="", **LABEL))


def test_a_million_steps_are_thinned_fast_and_keep_their_extremes() -> None:
    loss = noisy(1_000_000)
    loss[123_456], loss[654_321] = 1e-9, 1e9
    steps = np.arange(1, 1e6 + 1)

    def drawn() -> bytes:
        return plots.loss_curve(Curve("", steps, loss), title="", effort=epochs_of(1000), **LABEL)

    check(drawn())
    assert fastest(drawn, 2) < 2
    keep = scales.thin(loss, scales.POINTS)
    x, y = steps[keep], loss[keep]
    assert len(x) <= scales.POINTS + 2
    assert (x[0], x[-1], y.min(), y.max()) == (1, 1e6, 1e-9, 1e9)
    assert np.all(np.diff(x) > 0)
    assert np.array_equal(y, loss[x.astype(int) - 1])


# Comparisons


@pytest.mark.slow
@pytest.mark.parametrize(("count", "entries"), [(0, 0), (1, 1), (4, 4), (5, 5), (20, 20), (21, 2), (401, 3)])
def test_a_comparison_of_any_size(count: int, entries: int) -> None:
    curves = [Curve(f"run {index}", STEPS[:5], STEPS[:5] + index) for index in range(count)]
    figure = plots.comparison.figure(curves, "all", "loss")
    names = legend(figure)
    assert len(names) == entries
    if count:
        assert (names[0], names[min(count, entries, 20) - 1 if count <= 20 else 1]) == ("run 0", f"run {count - 1}")
    if count > 400:
        assert names[2] == "400 of 401 drawn"
    check(canvas.render(figure))


def test_up_to_twenty_curves_look_different_and_the_first_seven_in_colour_and_style() -> None:
    figure = plots.comparison.figure([EXP] * 20, "", "loss")
    drawn = [(str(line.get_color()), line._unscaled_dash_pattern) for line in figure.axes[0].lines]  # type: ignore[attr-defined]
    assert len(set(map(repr, drawn))) == 20
    assert len({colour for colour, _ in drawn[:7]}) == len({repr(style) for _, style in drawn[:7]}) == 7
    red_green_blue = [np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) for colour, _ in drawn[:6]]
    distances = [np.abs(a - b).sum() for k, a in enumerate(red_green_blue) for b in red_green_blue[:k]]
    assert min(distances) > 100  # vermilion and orange are 82 apart: the orange comes seventh


def test_a_legend_shows_a_whole_period_of_each_pattern() -> None:
    for line in plots.comparison.figure([EXP] * 7, "", "loss").axes[0].get_legend().get_lines():
        _, pattern = line._unscaled_dash_pattern
        assert sum(pattern or ()) * line.get_linewidth() < np.ptp(line.get_xdata())


@pytest.mark.parametrize(
    ("loss", "scale"), [([45.0, 1], "log"), ([9.0, 1], "linear"), ([45.0, 0], "linear"), ([45.0, 1, -1], "linear")]
)
def test_a_comparison_has_a_log_scale_from_a_factor_of_ten(loss: list[float], scale: str) -> None:
    curves = [Curve("a", STEPS[: len(loss)], np.array(loss)), Curve("b", STEPS[:1], np.array([2.0]))]
    assert plots.comparison.figure(curves, "", "loss").axes[0].get_yscale() == scale


@pytest.mark.parametrize("count", [1, 5, 20])
def test_levels_are_thin_lines_with_their_names_at_the_right_end(count: int) -> None:
    levels = [("closed form", 2e-4), ("noise", 2.2e-4), ("gone", np.nan), ("zero", 0.0)]
    figure = plots.comparison.figure([EXP] * count, "", "loss", levels=levels)
    (axes,) = figure.axes
    grey = [line for line in axes.lines if line.get_color() == look.GREY]
    assert [float(line.get_ydata()[0]) for line in grey] == [2e-4, 2.2e-4]
    assert axes.get_ylim()[0] < 2e-4
    assert axes.get_yscale() == "log"
    assert legend(figure) == ["sgd"] * count
    canvas.render(figure)
    nothing, first, second = (text.get_window_extent() for text in axes.texts)
    assert [text.get_text() for text in axes.texts] == ["↓ zero", "closed form", "noise"]
    assert not first.overlaps(second)
    for box in (nothing, first, second):
        assert axes.bbox.x1 < box.x0 < box.x1 <= 960
        assert not box.overlaps(axes.get_legend().get_window_extent())


def test_a_level_far_from_the_losses_does_not_press_them_together() -> None:
    figure = plots.comparison.figure([EXP], "", "loss", levels=[("closed form", 1e-30)])
    assert figure.axes[0].get_ylim()[0] > 1e-4
    assert [text.get_text() for text in figure.axes[0].texts] == ["↓ closed form"]
    flat = plots.comparison.figure([Curve("a", STEPS, 1 + 1 / STEPS)], "", "loss", levels=[("worst", 99.0)])
    assert [text.get_text() for text in flat.axes[0].texts] == ["↑ worst"]
    assert flat.axes[0].get_ylim()[1] < 4
    check(plots.comparison([], title="", levels=[("$$", 1e308), ("漢" * 400, 0.5)], **LABEL))


def test_a_label_is_whole_where_there_is_room() -> None:
    names = [f"lr=0.001,batch.size={size}" for size in (16, 32, 64, 100, 128)]
    for count in (2, 5):
        shown = legend(plots.comparison.figure([Curve(name, STEPS, EXP.loss) for name in names[:count]], "", "loss"))
        assert shown == names[:count]


@pytest.mark.parametrize("wanted", ["comparison", "plane"])
def test_labels_of_fifteen_runs_say_what_differs(wanted: str) -> None:
    pairs = [(m, s) for m in (0.5, 0.7, 0.8, 0.9, 0.95) for s in range(3)]
    labels = [f"optimizer.momentum={m}_seed={s}_weight_decay=0.001" for m, s in pairs]
    if wanted == "comparison":
        figure = plots.comparison.figure([Curve(label, STEPS, EXP.loss) for label in labels], "t", "loss")
        shown = figure.axes[0].get_legend()
    else:
        side, way = np.arange(9.0), np.array([[1.0, 2], [3, 4]])
        shown_plane = plots.Plane(
            ("w", "b"), side, side, np.add.outer(side, side), [Trail(name, way) for name in labels]
        )
        figure = plots.plane.figure(shown_plane, "t", "loss")
        (shown,) = figure.legends
    assert shown is not None
    assert shown.get_title().get_text() == "optimizer.momentum, seed"
    assert [text.get_text() for text in shown.get_texts()] == [f"{m}, {s}" for m, s in pairs]
    canvas.render(figure)
    box = shown.get_window_extent()
    assert min(box.x0, box.y0, 960 - box.x1, 540 - box.y1) >= 0
    assert not any(box.overlaps(text.get_window_extent()) for text in figure.texts)


def test_a_diverged_run_leaves_the_picture_of_the_others_with_a_cross() -> None:
    wild = Curve("wild", STEPS[:5], np.array([1, 1e10, 1e20, 1e30, np.inf]))
    calm = Curve("calm", STEPS, 1 + 1 / STEPS)
    figure = plots.comparison.figure([calm, wild], "", "loss")
    (axes,) = figure.axes
    assert legend(figure) == ["calm", "wild", "diverged"]
    assert axes.get_ylim()[1] < 4
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [line.get_xydata().tolist() for line in crosses] == [[[5, axes.get_ylim()[1]]]]


def test_only_diverged_runs_are_seen_whole() -> None:
    wild = Curve("wild", STEPS[:4], np.array([1, 1e10, 1e20, np.inf]))
    figure = plots.comparison.figure([wild, Curve("gone", STEPS[:1], np.array([np.nan]))], "", "loss")
    assert figure.axes[0].get_ylim()[1] > 1e20


# Sweeps


def test_a_sweep_marks_its_minimum_whatever_the_order() -> None:
    figure = sweeps._numbers_figure("w", np.array([3.0, 1, 2]), np.array([9.0, 4, 0.5]), "", "MSE", trained=False)
    assert legend(figure) == ["minimum 0.5 at w = 2"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 2, 3]
    assert figure.axes[0].get_xlabel() == "w"


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([1e-4, 1e-3, 1e-2, 1e-1], True),
        ([0.001, 0.003, 0.01, 0.03, 0.1], True),
        ([8, 16, 32, 64], True),
        ([0.01, 1], True),
        ([0.1, 0.5, 1], False),
        (list(range(1, 101)), False),
        ([0, 1, 10, 100], False),
        ([-10, 1, 10, 100], False),
        ([0.1, 1], False),
        ([5, 5], False),
        ([], False),
    ],
)
def test_a_log_axis_for_values_that_are_log_spaced(values: list[float], log: bool) -> None:
    figure = sweeps._numbers_figure("lr", np.array(values, float), np.ones(len(values)), "", "loss", trained=True)
    assert figure.axes[0].get_xscale() == ("log" if log else "linear")


def test_a_parabola_stays_a_parabola_and_trained_losses_of_all_sizes_get_a_log_scale() -> None:
    w = np.linspace(0, 4, 40)
    for trained, scale in ((False, "linear"), (True, "log")):
        figure = sweeps._numbers_figure("w", w, (w - 2) ** 2 + 1e-3, "", "loss", trained=trained)
        assert figure.axes[0].get_yscale() == scale


def test_diverged_values_of_a_sweep_are_crosses_at_the_top() -> None:
    figure = sweeps._numbers_figure(
        "lr", np.array([0.1, 1, 10.0]), np.array([0.5, np.inf, np.nan]), "", "loss", trained=True
    )
    assert legend(figure) == ["diverged", "minimum 0.5 at lr = 0.1, at the edge of the range"]
    assert figure.axes[0].lines[1].get_xdata().tolist() == [1, 10]


def test_words_are_bars_and_numbers_are_not() -> None:
    figure = sweeps._words_figure("optimizer", ["sgd", "adam", "lbfgs"], np.array([0.5, -0.25, np.nan]), "", "loss")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [0.5, -0.25]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["sgd", "adam", "lbfgs"]
    assert legend(figure) == ["diverged"]
    assert {"0.5", "−0.25"} <= set(texts(figure))
    assert scales.as_numbers([1, 2.5, np.float32(3), 10**30]) is not None
    for words in ([True, False], ["1"], [None], [[1, 2]], [1, "a"], [float("nan")], [10**400]):
        assert scales.as_numbers(words) is None


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 30, 3000])
def test_any_number_of_values_is_drawn(count: int) -> None:
    loss = noisy(count)
    loss[::7] = np.nan
    check(plots.sweep_runs("a", list(range(count)), loss, title="", **LABEL))
    check(plots.sweep_runs("a", [1] * count, loss, title="", **LABEL))
    if count < 1000:
        check(plots.sweep_runs("a", [f"a long word {index}" for index in range(count)], loss, title="", **LABEL))


# Surfaces


def test_a_surface_marks_its_minimum_and_labels_axes_and_colours() -> None:
    x, y = np.linspace(-1, 1, 21), np.linspace(0, 2, 11)
    loss = np.add.outer((y - 1) ** 2, x**2) - 0.5
    figure = plots.surface.figure(("w", "b"), x, y, loss, "bowl", "loss (mse)")
    axes, bar = figure.axes
    assert legend(figure) == ["minimum −0.5 at w = 0, b = 1"]
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("w", "b", "loss (mse)")
    assert type(axes.collections[0].norm).__name__ == "Normalize"
    log = plots.surface.figure(("w", "b"), x, y, loss + 0.501, "", "loss")
    assert type(log.axes[0].collections[0].norm).__name__ == "LogNorm"


def test_a_surface_with_a_zero_has_a_log_scale_where_its_other_values_span_much_and_only_there() -> None:
    for high, norm, low in ((1000.0, "LogNorm", 1.0), (50.0, "Normalize", 0.0)):
        loss = np.array([[0.0, 1.0], [2.0, high]])
        figure = plots.surface.figure(("w", "b"), np.arange(2.0), np.arange(2.0), loss, "", "loss")
        mesh = figure.axes[0].collections[0]
        assert (type(mesh.norm).__name__, mesh.norm.vmin) == (norm, low)
        assert legend(figure) == ["minimum 0 at w = 0, b = 0"]


def test_a_surface_keeps_its_values_when_rows_are_not_in_order() -> None:
    loss = np.arange(6.0).reshape(2, 3)
    figure = plots.surface.figure(("w", "b"), np.array([3.0, 1, 2]), np.array([5.0, 4]), loss, "", "loss")
    assert np.asarray(figure.axes[0].collections[0].get_array()).tolist() == [[4, 5, 3], [1, 2, 0]]


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 5), (3, 3), (700, 900)])
@pytest.mark.parametrize("fill", ["constant", "gone", "some"])
def test_any_surface_is_drawn(shape: tuple[int, int], fill: str) -> None:
    loss = noisy(shape[0] * shape[1]).reshape(shape)
    loss = {"constant": 0 * loss, "gone": loss * np.nan, "some": np.where(loss > 1, np.inf, loss)}[fill]
    x, y = np.geomspace(1e-3, 1, shape[1]), np.arange(shape[0], dtype=float)
    if shape[0] == 700 and fill == "some":
        loss = np.add.outer(y, x) + 0.1  # noise in every pixel is no picture to compress
    check(plots.surface(("lr", "b"), x, y, loss, title="t", **LABEL))


# Text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_spoils_a_picture(text: str) -> None:
    if text in ("$$", HOSTILE[3]):
        for png in all_five(text):
            check(png)
    check(plots.sweep_runs(text, [text], np.ones(1), title=text, loss_label=text))


def test_text_is_drawn_as_it_is_without_what_cannot_be_drawn() -> None:
    assert plots.text.clean("$\\frac \x1b[31m$$") == "$\\frac [31m$$"
    assert plots.text.clean(" a\n\tb\u200b\u202e\x00c ") == "a bc"
    assert plots.text.clean("漢 Δw é \ud800") == "? Δw é ?"
    figure = plots.comparison.figure([Curve("$$", STEPS, EXP.loss), Curve("_x", STEPS, EXP.loss)], "$\\frac", "$x_{")
    assert {"$\\frac", "$x_{", "$$", "\u200a_x"} <= set(texts(figure))
    assert not any(text.get_parse_math() for text in figure.findobj(Text))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.floats(20, 400))
def test_a_text_fits_its_width(text: str, width: float) -> None:
    assert plots.text.width_of(plots.text.fit(text, 11, width), 11) <= width
    assert all(plots.text.width_of(line, 14) <= width for line in plots.text.two_lines(text, 14, width))


@settings(max_examples=6, deadline=None)
@given(st.text(max_size=30))
def test_any_title_and_label_is_drawn(text: str) -> None:
    check(plots.comparison([Curve(text, STEPS[:3], STEPS[:3])], title=text, loss_label=text))


@pytest.mark.slow
def test_nothing_is_clipped_and_no_text_is_small() -> None:
    long = "a very long name of a run " * 20
    wild = Curve(long, STEPS, np.append(1e5 * STEPS[:-1] ** -3, np.inf))
    for figure in (
        plots.loss_curve.figure(wild, long, long, epochs_of(10)),
        plots.comparison.figure([wild] * 20, long, "loss"),
        plots.comparison.figure([wild] * 3, long, "loss"),
        sweeps._numbers_figure(long, STEPS, 1e6 + EXP.loss, long, long, trained=True),
        sweeps._words_figure(long, [long + str(index) for index in range(18)], EXP.loss[:18], long, long),
        plots.surface.figure((long, long), STEPS, STEPS, np.add.outer(STEPS, STEPS) * -1e5, long, long),
    ):
        canvas.render(figure)
        size, beyond = figure.bbox, ticks_beyond(figure)
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                assert text.get_fontsize() >= 11
                inside = min(box.x0, box.y0) >= -1 and box.x1 <= size.x1 + 1 and box.y1 <= size.y1 + 1
                assert inside or text in beyond, (text.get_text()[:60], box)


def ticks_beyond(figure: Figure) -> list[Text]:
    """What matplotlib holds for ticks outside the limits and does not draw."""
    ticks = [(axis.get_view_interval(), tick) for axis in figure.findobj(Axis) for tick in axis.get_major_ticks()]
    return [
        label
        for (low, high), tick in ticks
        if not min(low, high) <= tick.get_loc() <= max(low, high)
        for label in (tick.label1, tick.label2)
    ]


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        ([0, 0.5, 1], False, ["0", "0.5", "1.0"]),
        ([-0.25, 0, 0.25], False, ["−0.25", "0", "0.25"]),
        ([0, 500000, 1000000], False, ["0", "500,000", "1,000,000"]),
        ([0, 5e-6, 1e-5], False, ["0", "5e−6", "1e−5"]),
        ([0, 1e8], False, ["0", "1e8"]),
        ([0.001, 0.01, 0.1, 1, 10, 100, 1000], True, ["0.001", "0.01", "0.1", "1", "10", "100", "1,000"]),
        ([1e-5, 1, 1e5], True, ["10⁻⁵", "10⁰", "10⁵"]),
        ([2e-5, 5e-5], True, ["2·10⁻⁵", "5·10⁻⁵"]),
        ([], True, []),
        ([], False, []),
        ([3], False, ["3"]),
    ],
)
def test_labels_of_ticks(values: list[float], log: bool, expected: list[str]) -> None:
    assert plots.text.tick_texts(np.array(values, float), log) == expected


# Bytes and imports

SCRIPT = """
import hashlib, sys
from gdcli.records import Effort
from gdcli.report import plots
assert not any(name in sys.modules for name in ("matplotlib", "torch"))
import numpy as np
n = np.arange(1, 101.)
curve = plots.Curve("a", n, 16 * .9**n + np.sin(n * 99)**2)
label = {"title": "t", "loss_label": "loss (mse)"}
pictures = [
    plots.loss_curve(curve, effort=Effort(10, 1, 10), **label), plots.comparison([curve] * 8, **label),
    plots.sweep_curve("w", list(n), curve.loss, **label), plots.sweep_runs("w", ["a", "b"], n[:2], **label),
    plots.surface(("w", "b"), n, n, np.outer(n, n), **label),
]
assert not any(name in sys.modules for name in ("matplotlib.pyplot", "torch"))
print(hashlib.sha256(b"".join(pictures)).hexdigest())
"""


@pytest.mark.slow
def test_the_bytes_are_the_same_in_every_process_whatever_the_users_settings(tmp_path: Path) -> None:
    settings = "text.usetex: True\nfont.size: 30\nfigure.dpi: 7\nsavefig.bbox: tight\nnonsense: 1\naxes.grid: False\n"
    (tmp_path / "matplotlibrc").write_text(settings)
    root = str(Path(gdcli.__file__).parents[1])
    digests = set()
    for folder, seed, locale in ((root, "1", "C.UTF-8"), (str(tmp_path), "2", "C")):
        environment = {**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": f"UTC+{seed}"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.slow
def test_a_list_of_fonts_that_was_made_where_none_could_be_read_changes_no_byte(tmp_path: Path) -> None:
    digests = []
    for _ in range(2):
        environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        digests.append(done.stdout)
        (kept,) = tmp_path.glob("fontlist*.json")
        kept.write_text(json.dumps({**json.loads(kept.read_text()), "ttflist": []}))
    assert digests[0] == digests[1]


def test_settings_are_put_back_and_a_picture_in_between_changes_no_byte() -> None:
    import matplotlib

    matplotlib.rcParams["font.size"] = 23
    first = [hashlib.sha256(png).hexdigest() for png in islice(all_five("t"), 2)]
    assert matplotlib.rcParams["font.size"] == 23
    assert first == [hashlib.sha256(png).hexdigest() for png in islice(all_five("t"), 2)]
