"""The pictures of `gdcli plot`: their curves are the functions, their labels and scales say so, their files open."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from gdcli.commands.plot import functions as sampled
from gdcli.commands.plot.layers import histogram
from gdcli.commands.plot.planes import principal
from gdcli.commands.plot.runs import averages
from gdcli.errors import SpecError
from gdcli.report import plots
from gdcli.report.plots import (
    Curve,
    DrawnLayer,
    Histogram,
    Neuron,
    Plane,
    Trail,
    animation,
    canvas,
    functions,
    look,
)

STEPS = np.arange(1, 101.0)
FORMS: tuple[plots.Form, ...] = ("png", "svg", "pdf")


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with canvas.fixed():
        yield


def check(content: bytes, form: str = "png") -> None:
    assert len(content) < (300_000 if form == "png" else 500_000)
    if form == "svg":
        assert ElementTree.fromstring(content).tag.endswith("svg")
        assert b"<dc:date>" not in content
    elif form == "pdf":
        assert content.startswith(b"%PDF-")
        assert content.rstrip().endswith(b"%%EOF")
        assert b"CreationDate" not in content
    else:
        assert struct.unpack(">II", content[16:24])[0] == 960
        assert b"Software" not in content
        Image.open(io.BytesIO(content)).load()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def curve(line: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A line's points without the gaps at jumps."""
    x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
    return x[np.isfinite(y)], y[np.isfinite(y)]


def no_overlap(figure: Figure, boxes: list[Any]) -> None:
    figure.draw_without_rendering()
    extents = [box.get_window_extent() for box in boxes]
    assert not [(a, b) for k, a in enumerate(extents) for b in extents[:k] if a.overlaps(b)]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in extents)


# Activations


def test_each_activation_has_a_panel_with_torchs_function_and_autograds_derivative() -> None:
    found = sampled.activations()
    figure = functions._grid_figure(found, "t")
    assert [axes.get_title() for axes in figure.axes] == [function.label for function in found]
    assert len(found) == 20
    panel = {axes.get_title(): axes for axes in figure.axes}
    for name in ("sigmoid", "tanh", "relu", "gelu", "softplus", "relu6"):
        value, slope = map(curve, panel[name].lines)
        z = torch.tensor(value[0], requires_grad=True)
        expected: Any = getattr(torch.nn.functional, name)(z)
        expected.sum().backward()
        assert z.grad is not None
        np.testing.assert_allclose(value[1], expected.detach().numpy(), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(slope[1], z.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_sign_is_drawn_with_its_straight_through_gradient_and_broken_where_it_jumps() -> None:
    figure = functions._grid_figure(sampled.activations(), "t")
    (axes,) = [axes for axes in figure.axes if axes.get_title() == "sign_ste"]
    sign, slope = axes.lines
    assert np.isnan(sign.get_ydata()).any()
    z, value = curve(sign)
    assert np.array_equal(value, np.sign(z))
    z, value = curve(slope)
    assert np.array_equal(value, (np.abs(z) <= 1) * 1.0)
    assert slope.get_color() != sign.get_color()
    assert "straight-through gradient" in texts(figure)


def test_chosen_activations_stand_on_one_pair_of_axes() -> None:
    found = sampled.activations(["sigmoid", "tanh", "relu", "sign_ste"])
    figure = functions._pair_figure(found, "t")
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("a = f(z)", "derivative da/dz")
    assert len(left.lines) == len(right.lines) == 4
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["sigmoid", "tanh", "relu", "sign_ste (straight-through gradient)"]
    no_overlap(figure, [left.title, right.title, legend, left.xaxis.label, right.xaxis.label])
    assert max(curve(right.lines[0])[1]) == 0.25


@pytest.mark.slow
def test_titles_and_ticks_of_small_panels_do_not_overlap() -> None:
    figure = functions._grid_figure(sampled.activations(), "t")
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


@pytest.mark.parametrize(("name", "said"), [("sigmoit", "Did you mean 'sigmoid'?"), ("softmax", "no curve")])
def test_an_activation_without_a_curve_is_refused(name: str, said: str) -> None:
    with pytest.raises(SpecError, match=said.replace("?", r"\?")):
        sampled.activations([name])


# Losses


def losses_figure() -> Figure:
    return plots.loss_functions.figure(sampled.over_error(), sampled.over_probability(), sampled.outlier(), "Losses")


def test_losses_over_the_error_are_their_formulas() -> None:
    value, slope, *_ = losses_figure().axes
    lines = {line.get_label(): curve(line) for line in value.lines}
    assert list(lines) == ["mse", "mae", "smooth_l1", "huber (δ = 2)"]
    e = lines["mse"][0]
    size = np.abs(e)
    expected = {
        "mse": e**2,
        "mae": size,
        "smooth_l1": np.where(size < 1, e**2 / 2, size - 0.5),
        "huber (δ = 2)": np.where(size < 2, e**2 / 2, 2 * (size - 1)),
    }
    for label, y in expected.items():
        np.testing.assert_allclose(lines[label][1], y, rtol=1e-12, atol=1e-15)
    assert value.get_xlabel() == "error o − t"
    assert np.allclose(curve(slope.lines[0])[1], 2 * e)
    assert set(curve(slope.lines[1])[1]) == {-1.0, 0.0, 1.0}


def test_cross_entropy_is_steep_where_the_true_class_is_improbable_and_squared_loss_is_not() -> None:
    axes = losses_figure().axes[2]
    (p, entropy), (_, squared) = map(curve, axes.lines)
    np.testing.assert_allclose(entropy, -np.log(p), rtol=1e-9)
    np.testing.assert_allclose(squared, (1 - p) ** 2, rtol=1e-9)
    assert len(p) == 397  # no gap
    assert axes.get_xlabel() == "probability of the true class"


def test_an_outlier_moves_the_line_of_the_squared_loss_alone() -> None:
    found = sampled.outlier()
    (_, squared, _), (_, absolute, _), (_, without, _) = found.fits
    assert squared > 1.5 * without
    assert absolute == pytest.approx(without, rel=0.05)
    best = np.abs(found.y - absolute * found.x - found.fits[1][2]).sum()
    rng = np.random.default_rng(0)
    for a, b in rng.normal((absolute, found.fits[1][2]), 0.3, (2000, 2)):
        assert np.abs(found.y - a * found.x - b).sum() >= best - 1e-12


# Curves


def test_averages_are_drawn_over_the_pale_curves_and_start_with_the_first_value() -> None:
    loss = np.exp(np.random.default_rng(0).normal(size=100))
    given = [Curve("a", STEPS, loss), Curve("b", STEPS, loss * 2)]
    means = averages(given, 0.9)
    assert means[0][0] == loss[0]
    assert means[0][1] == 0.9 * loss[0] + (1 - 0.9) * loss[1]
    figure = plots.loss_curves.figure(given, "t", "loss (mse)", means)
    (axes,) = figure.axes
    raw, drawn = axes.lines[:2], axes.lines[2:]
    for pale, line, curve_, mean in zip(raw, drawn, given, means, strict=True):
        assert np.array_equal(pale.get_ydata(), curve_.loss)
        assert np.array_equal(line.get_ydata(), mean)
        assert pale.get_alpha() == 0.3
        assert pale.get_color() == line.get_color()
    shown = axes.get_legend()
    assert shown is not None
    assert [text.get_text() for text in shown.get_texts()] == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss (mse)")


# Gradients


def test_norms_of_layers_on_a_log_axis_first_layer_first() -> None:
    layers = [(f"linear{k}", 10.0 ** (k - 4) * (1 + 0 * STEPS)) for k in (1, 2, 3)]
    figure = plots.gradient_norms.figure(STEPS, layers, "t", None)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "l2 norm of the gradient")
    assert [line.get_label() for line in axes.lines] == ["linear1", "linear2", "linear3"]
    assert axes.lines[0].get_ydata()[0] == 1e-3
    assert len({to_rgb(line.get_color()) for line in axes.lines}) == 3


def test_many_noisy_steps_have_their_medians_over_them() -> None:
    steps = np.arange(1, 1001.0)
    norms = np.exp(np.random.default_rng(0).normal(size=1000))
    norms[3] = 0  # cannot be drawn on a log axis
    figure = plots.gradient_norms.figure(steps, [("w", norms)], "t", None)
    raw, median = figure.axes[0].lines
    assert raw.get_alpha() < 0.3 < median.get_linewidth()
    part = np.sort(norms[13:26])
    assert median.get_ydata()[1] == part[6]
    assert "median of 13 steps" in texts(figure)


def test_histogram_counts_every_derivative_once() -> None:
    values = np.random.default_rng(0).normal(size=(100, 7))
    values[:, 0] = 0
    found = histogram(STEPS, values)
    assert found is not None
    np.testing.assert_allclose(found.share.sum(axis=0), 100 * 6 / 7)
    assert found.zeros == pytest.approx(100 / 7)
    figure = plots.gradient_norms.figure(STEPS, [("w", np.abs(values[:, 1]))], "t", found)
    upper, lower, bar = figure.axes
    assert (lower.get_yscale(), lower.get_ylabel()) == ("log", "size |∂L/∂w|")
    assert bar.get_ylabel() == "% of the derivatives"
    assert upper.get_xlim() == lower.get_xlim()
    assert any("14.3 % are exactly 0" in text for text in texts(figure))
    assert histogram(STEPS, np.zeros((100, 3))) is None


@pytest.mark.parametrize("count", [0, 1, 30])
@pytest.mark.parametrize("norm", [0.0, np.nan, 1e-320, 1e300])
def test_nothing_spoils_a_picture_of_gradients(count: int, norm: float) -> None:
    layers = [("$_^" * 60, np.full(100, norm)) for _ in range(count)]
    check(plots.gradient_norms(STEPS, layers, title="$$"))


# Planes


def test_the_plane_of_a_path_is_that_of_its_principal_components() -> None:
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    path = np.cumsum(rng.normal(size=(50, 2)) * [3, 1], axis=0) @ axes[:2] + 5
    found = principal([path])
    assert sum(found.explained) == pytest.approx(1)
    assert found.explained[0] > found.explained[1]
    np.testing.assert_allclose(found.up(found.down(path)), path)
    centred = path - path.mean(axis=0)
    assert found.explained[0] == pytest.approx(np.linalg.eigvalsh(centred.T @ centred)[-1] / (centred**2).sum())
    with pytest.raises(SpecError, match="do not move"):
        principal([np.ones((5, 3))])


def bowl(note: str = "") -> Plane:
    side = np.linspace(-2, 2, 40)
    trails = [Trail(name, np.outer(0.9 ** np.arange(30), start)) for name, start in (("a", (1, 1)), ("b", (-1, 2)))]
    return Plane(("component 1", "component 2"), side, side, side**2 + side[:, None] ** 2, trails, note)


def test_a_plane_has_the_paths_their_labels_and_what_is_said_of_the_gap() -> None:
    figure = plots.plane.figure(bowl("plane − true loss: end 0.1, max 2"), "t", "loss (mse)")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("component 1", "component 2")
    assert figure.axes[1].get_ylabel() == "loss (mse)"
    assert any(text.startswith("plane − true loss: end 0.1, max 2 · ○ start") for text in texts(figure))


# Networks


def net(sizes: tuple[int, ...], bias: int = 1) -> tuple[list[DrawnLayer], list[list[Neuron]]]:
    rng = np.random.default_rng(0)
    layers = []
    for ins, outs in pairwise(sizes):
        weight, gradient = rng.normal(size=(2, outs, ins))
        count = 1 if bias == 1 else outs
        layers.append(
            DrawnLayer(weight, gradient, [f"w{k}" for k in range(weight.size)], np.ones(count), np.ones(count))
        )
    return layers, [[Neuron(f"h{j}", 0.5) for j in range(size)] for size in sizes]


@pytest.mark.parametrize("sizes", [(1, 1), (2, 2, 2), (3, 1), (2, 3, 1), (2, 4, 1)])
@pytest.mark.parametrize("bias", [1, 2])
def test_numbers_on_edges_do_not_overlap(sizes: tuple[int, ...], bias: int) -> None:
    layers, neurons = net(sizes, bias)
    figure = plots.network.figure(layers, neurons, "t")
    axes = figure.axes[0]
    numbers = [text for text in axes.texts if "∂" in text.get_text()]
    edges = sum(layer.weight.size for layer in layers)
    biases = sum(1 if bias == 1 else len(layer.weight) for layer in layers)
    assert len(numbers) == edges + biases
    assert len(axes.lines) == edges
    no_overlap(figure, numbers)


def test_the_width_and_colour_of_an_edge_are_its_weight() -> None:
    layers, neurons = net((2, 2, 2))
    axes = plots.network.figure(layers, neurons, "t").axes[0]
    weights = np.concatenate([layer.weight.ravel() for layer in layers])
    widths = np.array([line.get_linewidth() for line in axes.lines])
    assert np.array_equal(np.argsort(np.abs(weights)), np.argsort(widths))
    for line, weight in zip(axes.lines, weights, strict=True):
        red, _, blue = to_rgb(line.get_color())
        assert (blue > red) == (weight > 0) or abs(weight) < 0.05 * np.abs(weights).max()


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(2, 8, 4), (60, 1), (1, 30, 1), (5, 5, 5), (1,) * 61])
def test_larger_nets_are_drawn_twice_without_numbers(sizes: tuple[int, ...]) -> None:
    layers, neurons = net(sizes)
    figure = plots.network.figure(layers, neurons, "t")
    assert [axes.get_title() for axes in figure.axes][::2] == ["weights", "gradients dL/dw"]
    assert not any("∂" in text for text in texts(figure))
    check(plots.network(layers, neurons, title="t"))


def test_numbers_without_room_are_left_out() -> None:
    figure = plots.network.figure(*net((1, 2, 2, 1), bias=2), "t")
    assert "weights" in texts(figure)
    assert not any("∂" in text for text in texts(figure))


# Files


def drawn(kind: str, form: plots.Form) -> bytes:
    if kind == "activations":
        return plots.activations.drawn(form, sampled.activations(), title="t")
    if kind == "losses":
        parts = sampled.over_error(), sampled.over_probability(), sampled.outlier()
        return plots.loss_functions.drawn(form, *parts, title="t")
    if kind == "curves":
        return plots.loss_curves.drawn(form, [Curve("a", STEPS, 0.9**STEPS)], title="t", loss_label="loss")
    if kind == "gradients":
        shares = Histogram(np.array([0.0, 50, 100]), np.array([1e-3, 1e-2, 1]), np.ones((2, 2)), 0)
        return plots.gradient_norms.drawn(form, STEPS, [("a", 0.9**STEPS)], title="t", histogram=shares)
    if kind == "surface":
        return plots.plane.drawn(form, bowl(), title="t", loss_label="loss")
    return plots.network.drawn(form, *net((2, 2, 2)), title="t")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["activations", "losses", "curves", "gradients", "surface", "network"])
def test_files_open_are_small_and_the_same_each_time(kind: str, form: plots.Form) -> None:
    content = drawn(kind, form)
    check(content, form)
    assert drawn(kind, form) == content


@pytest.mark.slow
def test_a_gif_grows_to_the_picture_and_keeps_its_colours() -> None:
    loss = 0.9**STEPS
    both = (
        plots.animated_curves([Curve("a", STEPS, loss)], title="t", loss_label="loss", averages=[loss]),
        plots.animated_plane(bowl(), title="t", loss_label="loss"),
    )
    assert plots.animated_plane(bowl(), title="t", loss_label="loss") == both[1]
    for content in both:
        assert len(content) < 2_000_000
        image: Any = Image.open(io.BytesIO(content))
        assert (image.size, image.n_frames <= 60, image.n_frames > 20) == ((640, 360), True, True)
        counts = []
        for frame in (0, image.n_frames - 1):
            image.seek(frame)
            pixels = np.asarray(image.convert("RGB"), int)
            blue = np.array(to_rgb(look.PALETTE[0])) * 255
            counts.append(int((np.abs(pixels - blue).sum(axis=2) < 12).sum()))
            assert pixels[2, 2].tolist() == [255, 255, 255]
        assert counts[1] > counts[0] > 0  # the legend is there from the start


def test_the_moments_of_an_animation_are_the_steps() -> None:
    curves = [Curve("a", STEPS, 0.9**STEPS), Curve("b", STEPS[:50], 0.8 ** STEPS[:50])]
    figure = plots.loss_curves.figure(curves, "t", "loss")
    show = animation._growing(figure.axes[0])
    for share, lengths in ((0, (1, 1)), (0.25, (25, 25)), (1, (100, 50))):
        show(share)
        assert tuple(len(line.get_xdata()) for line in figure.axes[0].lines) == lengths


def test_a_path_that_grows_has_a_cross_only_once_it_has_diverged() -> None:
    calm, gone = np.outer(np.linspace(-1, 1, 4), (1, 1)), np.array([[1.0, -1], [0, -1], [-1, -1], [np.nan, np.nan]])
    side = np.linspace(-2, 2, 9)
    shown = Plane(("x", "y"), side, side, side**2 + side[:, None] ** 2, [Trail("a", calm), Trail("b", gone)])
    axes = plots.plane.figure(shown, "t", "loss").axes[0]
    (cross,) = (line for line in axes.lines if line.get_marker() == "x")
    (end,) = (line for line in axes.lines if line.get_zorder() == cross.get_zorder() and line is not cross)
    show = animation._walking(axes, shown.trails, 4)
    for share, at in ((0, -1), (2 / 3, 1 / 3), (1, 1)):
        show(share)
        assert end.get_xydata()[0] == pytest.approx([at, at])
        assert cross.get_xydata().tolist() == ([[-1, -1]] if share == 1 else [])


def test_a_format_has_no_date_and_panels_no_overlap() -> None:
    figure = canvas.new_figure("t")
    canvas.add_panel(figure, (60, 40, 400, 200), "x", "y")
    check(canvas.render(figure, "svg"), "svg")
