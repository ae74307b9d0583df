"""Sweeps over several axes, contours that the grid resolves, and the room that axes get; warnings are errors here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from gdcli.commands.compare import shown as figures
from gdcli.commands.over_seeds import Line
from gdcli.commands.stats import interval
from gdcli.commands.sweep.runs import _profiles
from gdcli.records import Effort, Result
from gdcli.report import plots
from gdcli.report.plots import Curve, Plane, Trail, canvas, scales, surfaces

LABEL = {"title": "t", "loss_label": "loss"}
RATES = (0.001, 0.01, 0.1, 1.0)
WAY = np.array([[-0.5, 2.0], [0.5, 1.5], [0.9, 0.8]])
X, Y = np.linspace(-2, 2, 161), np.linspace(-1, 3, 161)
VALLEY = (1 - X[None]) ** 2 + 100 * (Y[:, None] - X[None] ** 2) ** 2
BOWL = 0.01 + np.add.outer((Y - 1) ** 2, X**2)


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
    shown = figure.axes[0].get_legend()
    return [text.get_text() for text in shown.get_texts()] if shown else []


def lines_of(figure: Figure, marker: str | None = None) -> list[Any]:
    found = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    return [line for line in found if (line.get_marker() != "x" if marker is None else line.get_marker() == marker)]


# Profiles


def test_profiles_have_a_line_each_and_crosses_at_the_top() -> None:
    rows = [
        Curve("batch=16", RATES, np.array([3, 2, 1, np.inf])),
        Curve("batch=64", RATES, np.array([4.0, 3, 2, 9])),
    ]
    figure = plots.sweep_profiles.figure(rows, "t", "final loss", "lr")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("lr", "final loss", "log")
    assert legend(figure) == ["batch=16", "batch=64"]
    assert "✕ diverged" in texts(figure)
    assert not any("chosen" in text for text in texts(figure))
    (first, second), (cross,) = lines_of(figure), lines_of(figure, "x")
    assert first.get_xdata().tolist() == second.get_xdata().tolist() == list(RATES)
    assert second.get_ydata().tolist() == [4, 3, 2, 9]
    assert cross.get_xdata().tolist() == [1]
    assert axes.transAxes.inverted().transform(axes.transData.transform(cross.get_xydata()))[0, 1] > 0.9


@pytest.mark.parametrize(
    ("at", "scale"), [((16, 32, 64, 128), "log"), ((1, 2, 3, 4), "linear"), ((-1, 0, 1, 2), "linear")]
)
def test_the_axis_of_a_profile_is_log_where_its_values_are(at: tuple[int, ...], scale: str) -> None:
    figure = plots.sweep_profiles.figure([Curve("", at, np.array([1.0, 2, 3, 4]))], "", "loss", "x")
    assert figure.axes[0].get_xscale() == scale
    assert lines_of(figure)[0].get_xdata().tolist() == list(at)


def test_words_stand_side_by_side() -> None:
    rows = [Curve(str(k), ("sgd", "adam", "lbfgs"), np.array([1.0, 2, np.nan])) for k in range(3)]
    figure = plots.sweep_profiles.figure(rows, "", "loss", "optimizer")
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["sgd", "adam", "lbfgs"]
    places = np.array([line.get_xdata() for line in lines_of(figure)])
    assert np.all(np.diff(places[:, 0]) > 0)
    assert np.array_equal(places.round(), np.tile([0, 1, 2], (3, 1)))
    assert all(line.get_linestyle() == "None" for line in lines_of(figure))


def test_error_bars_have_their_ends_and_stop_at_a_log_axis() -> None:
    loss = np.array([4.0, 2, 1, np.inf])
    low, high = np.array([3.0, -1, np.nan, 0.5]), np.array([5.0, 6, np.nan, 0.9])
    figure = plots.sweep_profiles.figure([Curve("a", RATES, loss, low, high)], "", "loss", "lr", bar_label="bars: 95 %")
    (axes,) = figure.axes
    (bars,) = axes.collections
    one, two = (segment.tolist() for segment in bars.get_segments())
    assert one == [[0.001, 3], [0.001, 5]]
    assert two == [[0.01, axes.get_ylim()[0]], [0.01, 6]]
    assert "bars: 95 % · ✕ diverged" in texts(figure)
    plain = plots.sweep_profiles.figure([Curve("a", RATES, loss[:4])], "", "loss", "lr", bar_label="bars: 95 %")
    assert "✕ diverged" in texts(plain)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "entries"), [(0, 0), (1, 1), (12, 12), (13, 3), (401, 3)])
def test_any_number_of_profiles(count: int, entries: int) -> None:
    rows = [Curve(f"a={k}", RATES, np.array([1.0, 2, 3, np.inf]) + k) for k in range(count)]
    figure = plots.sweep_profiles.figure(rows, "t", "loss", "lr", heading="a, b" if count else "")
    names = legend(figure)
    assert len(names) == entries
    if count > 12:
        assert names == ["a=0", f"a={count - 1}", "first and last of 13" if count == 13 else "400 of 401 drawn"]
    check(canvas.render(figure))


@pytest.mark.parametrize(
    "at", [(), (1e308, -1e308, 10**400, 1), ("", "$$", "\ud800", "x" * 5000), (True, None, 1, "a")]
)
@pytest.mark.parametrize("loss", [[np.nan] * 4, [0.0] * 4, [1e308, -1e308, 1e-320, 1]])
def test_nothing_spoils_profiles(at: tuple[object, ...], loss: list[float]) -> None:
    values = np.array(loss[: len(at)])
    draw = [plots.sweep_profiles([Curve("$_^", at, values, values, values)] * 5, x_label="$$", **LABEL) for _ in "ab"]
    check(draw[0])
    assert draw[0] == draw[1]


# The picture of a sweep's product


def product(monkeypatch: pytest.MonkeyPatch, axes: list[str], runs: list[tuple[tuple[Any, ...], float]]) -> Any:
    drawn: dict[str, Any] = {}

    def spy(rows: Any, **settings: Any) -> bytes:
        drawn.update(settings, rows={row.label: row for row in rows})
        return b""

    monkeypatch.setattr(plots, "sweep_profiles", spy)
    found = [Result(k, "", values, "finished", loss=loss) for k, (values, loss) in enumerate(runs, 1)]
    _profiles(axes, found, "t", "loss")
    return SimpleNamespace(**drawn)


def test_a_product_is_drawn_over_its_first_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [((name, lr, size), lr * size) for name in ("sgd", "adam") for lr in (0.1, 1.0) for size in (16, 100)]
    drawn = product(monkeypatch, ["optimizer", "lr", "size"], runs)
    assert (drawn.x_label, drawn.heading, drawn.loss_label) == ("lr", "", "final loss")
    assert list(drawn.rows) == [f"optimizer={name}, size={size}" for name in ("sgd", "adam") for size in (16, 100)]
    row = drawn.rows["optimizer=adam, size=100"]
    assert (row.at, row.loss.tolist()) == ([0.1, 1.0], [10, 100])
    assert np.isnan(row.low).all()


def test_a_product_of_words_has_an_axis_of_words_and_long_names_a_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [((a, b, c), 1.0) for a in "xy" for b in ("sgd", "adam") for c in ("glorot_uniform", "zeros")]
    drawn = product(monkeypatch, ["a", "optimizer", "model.initialization"], runs)
    assert (drawn.x_label, drawn.heading) == ("a", "optimizer, model.initialization")
    assert next(iter(drawn.rows)) == "sgd, glorot_uniform"
    assert drawn.rows["adam, zeros"].at == ["x", "y"]


def test_seeds_are_no_line_but_a_mean_with_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {(lr, seed): lr * (seed + 1) ** 2 for lr in (0.1, 1.0) for seed in (7, 8, 9)}
    losses[1.0, 8] = np.nan  # diverged
    drawn = product(monkeypatch, ["seed", "lr"], [((seed, lr), loss) for (lr, seed), loss in losses.items()])
    (row,) = drawn.rows.values()
    expected = interval([losses[0.1, seed] for seed in (7, 8, 9)])
    assert (drawn.x_label, row.label, row.at) == ("lr", "", [0.1, 1.0])
    assert (row.loss[0], row.low[0], row.high[0]) == (expected.mean, expected.low, expected.high)
    assert (row.loss[1], np.isnan(row.low[1])) == (np.inf, True)
    assert drawn.bar_label == "bars: 95 % interval of the mean, 3 seeds"


def test_an_axis_that_repeats_another_or_has_one_value_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [((1, lr, 10 * lr, size), 1.0) for lr in (0.1, 1.0, 3.0) for size in (8, 16)]
    drawn = product(monkeypatch, ["epochs", "lr", "momentum", "size"], runs)
    assert (drawn.x_label, list(drawn.rows)) == ("lr", ["size=8", "size=16"])
    assert drawn.rows["size=8"].at == [0.1, 1.0, 3.0]
    assert product(monkeypatch, ["a", "b"], [((1, 2), 1.0)]).x_label == "a"


# Contours, the star, and the room of the axes


def levels(z: Any) -> np.ndarray[Any, Any]:
    return surfaces._levels(np.ma.masked_invalid(z), float(z.min() or z[z > 0].min()), float(z.max()), log=True)


def pieces(z: Any, level: float) -> int:
    from matplotlib.figure import Figure

    return len(Figure().add_subplot().contour(X, Y, z, [level]).allsegs[0])


def test_no_contour_of_a_narrow_valley_breaks_into_beads() -> None:
    low = float(VALLEY[VALLEY > 0].min())
    assert max(pieces(VALLEY, level) for level in np.geomspace(low, VALLEY.max(), 12)[1:-1]) > 10  # of all, some do
    kept = levels(VALLEY)
    assert len(kept) >= 8
    assert max(pieces(VALLEY, level) for level in kept) <= 4


def test_the_contours_of_what_the_grid_resolves_stay() -> None:
    expected = np.geomspace(BOWL.min(), BOWL.max(), 12)[1:-1]
    assert levels(BOWL)[-8:].tolist() == pytest.approx(expected[-8:].tolist())
    assert len(levels(np.random.default_rng(0).lognormal(0, 9, (99, 99)))) == 0


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 5, 7])
def test_axes_take_most_of_the_picture_with_any_trails(count: int) -> None:
    ways = [Trail(f"optimizer {k}", WAY + k / 10) for k in range(count)]
    for figure in (
        plots.plane.figure(Plane(("weight[0,0]", "bias[0]"), X, Y, VALLEY, ways), "t", "loss (cross_entropy)"),
        plots.surface.figure(("weight[0,0]", "bias[0]"), X, Y, VALLEY, "t", "loss (cross_entropy)", ways),
        plots.surface.figure(("w" * 40, "b" * 40), X, Y, VALLEY, "t", "loss (mse)", ways, "note " * bool(count) * 40),
    ):
        canvas.render(figure)
        assert figure.axes[0].get_position().width >= 0.7
        assert figure.axes[1].get_tightbbox().x1 <= 955
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        shown = figure.axes[0].get_legend()
        boxes += [shown.get_window_extent()] if shown else []
        boxes += [each.get_window_extent() for each in figure.legends]
        assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


@pytest.mark.slow
def test_the_lowest_point_of_the_grid_has_the_star_and_the_corner_says_what_it_is_told() -> None:
    def star(**settings: Any) -> tuple[list[list[float]], str]:
        shown = Plane(("x", "y"), X, Y, VALLEY, [Trail("sgd", WAY)], **settings)
        figure = plots.plane.figure(shown, "", "loss")
        (line,) = lines_of(figure, "*")
        return line.get_xydata().round(9).tolist(), figure.axes[0].texts[0].get_text()

    assert star() == ([[1, 1]], "○ start · ● end · ☆ lowest of the grid")
    assert star(note="the first of 5 seeds")[1].startswith("the first of 5 seeds · ○ start")
    check(plots.plane(Plane(("x", "y"), X, Y, VALLEY, [Trail("sgd", WAY)], "$_^" * 300), **LABEL))


@pytest.mark.parametrize(("x", "y", "edge"), [(0.0, 0.0, False), (-1.0, 0.0, True), (0.5, 1.0, True), (9.0, 9.0, True)])
def test_a_minimum_at_the_edge_is_told_and_its_star_is_whole(x: float, y: float, edge: bool) -> None:
    """The least of a bowl is the point of the grid that is nearest to its middle."""
    side = np.linspace(-1, 1, 21)
    bowl = np.add.outer((side - y) ** 2, (side - x) ** 2) + 1
    shown = Plane(("w" * 40, "b" * 40), side, side, bowl, [Trail("a", WAY), Trail("b", WAY * np.nan)], "note " * 9)
    told = ", at the edge of the range"
    for figure in (
        plots.surface.figure(("w" * 40, "b" * 40), side, side, bowl, "t", "loss"),
        plots.plane.figure(shown, "t", "loss"),
        plots.sweep_curve.figure("w", side.tolist(), bowl[10], "t", "loss"),
    ):
        canvas.render(figure)
        (star,) = lines_of(figure, "*")
        assert not star.get_clip_on()
        assert star.get_xdata() == pytest.approx([min(x, 1.0)])
        corner = [text.get_text() for text in figure.axes[0].texts]
        said = [text for text in [*legend(figure), *corner] if "minimum" in text or "lowest" in text]
        expected = edge if len(figure.axes) == 2 else abs(x) >= 1
        assert [text.endswith(told) for text in said] == [expected], said
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert all(box.x0 >= 0 and box.x1 <= 960 for box in boxes)
        assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


@pytest.mark.parametrize(
    ("values", "loss", "edge"),
    [
        ([1, 2, 3], [3, 2, 1], True),
        ([1, 3, 2], [3, 2, 1], False),  # in another order: the least lies at 2
        ([1, 2, 3], [1, 1, 1], False),  # as low in between
        ([1, 2, 3], [np.nan, 2, np.inf], False),
        ([1, 2, 3], [np.nan] * 3, False),
        ([1, 2], [2, 1], False),  # nothing lies between
        ([], [], False),
    ],
)
def test_what_is_at_the_edge(values: list[float], loss: list[float], edge: bool) -> None:
    assert scales.at_edge(np.array(values, float)[:, None], np.array(loss, float)) is edge


# What a comparison passes


def row(label: str, seeds: int, loss: float) -> Line:
    closed = label == "closed_form"
    more = {} if closed else {"losses": np.array([4.0, loss]), "path": WAY}
    found = [Result(k, label, (), "finished", loss=loss, **more) for k in range(seeds)]  # type: ignore[arg-type]
    return Line(label, None, "-", tuple(found), Effort(0, 1, 1))


@pytest.mark.parametrize("seeds", [1, 5])
def test_a_comparison_passes_the_closed_form_as_a_level_and_says_whose_paths_it_draws(
    monkeypatch: pytest.MonkeyPatch, seeds: int
) -> None:
    drawn: dict[str, Any] = {}
    theta = SimpleNamespace(parameters=lambda: [SimpleNamespace(scalars=["x", "y"])])
    built = SimpleNamespace(theta=theta, batches=SimpleNamespace(x=[]))
    monkeypatch.setattr(figures, "loss_label", lambda loaded: "loss")
    monkeypatch.setattr(figures, "build", lambda loaded: built)
    monkeypatch.setattr(figures, "losses", lambda built, names, points: (points**2).sum(axis=1))
    monkeypatch.setattr(plots, "comparison", lambda curves, **settings: drawn.update(settings, curves=curves) or b"a")
    monkeypatch.setattr(plots, "plane", lambda shown, **settings: drawn.update(settings, shown=shown) or b"b")
    loaded: Any = SimpleNamespace(spec=SimpleNamespace(name="t", all_folds=range(0)))
    lines = [row("sgd", seeds, 2.0), row("closed_form", seeds, 0.125), row("adam", seeds, 1.0)]
    assert figures.curves(lines, loaded, None) == b"a"
    assert [curve.label for curve in drawn["curves"]] == ["sgd", "adam"]
    assert drawn["levels"] == [("closed form", 0.125)]
    assert figures.paths(lines, loaded) == b"b"
    assert drawn["shown"].loss.shape == (240, 240)
    assert [trail.label for trail in drawn["shown"].trails] == ["sgd", "adam"]
    assert drawn["shown"].note == ("the first of 5 seeds" if seeds == 5 else "")
    built.batches.x = range(1_000_000)
    figures.paths(lines, loaded)
    assert drawn["shown"].loss.size * 1e6 < 1e10
