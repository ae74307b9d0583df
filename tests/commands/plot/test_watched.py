"""`plot --kind gradients --of`: curves are recorded columns, images torch's gradients on one signed scale."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import QuadMesh

import gdcli as package
from gdcli.commands.plot.runs import sources
from gdcli.commands.plot.watched import images
from gdcli.report import plots
from gdcli.report.plots import GradientImage, canvas

RNG = np.random.default_rng(5)
NET = {
    "data": {"x": RNG.normal(size=(4, 2)).tolist(), "y": RNG.normal(size=(4, 1)).tolist()},
    "model": {"type": "mlp", "layers": [2, 3, 1], "activation": "tanh"}, "loss": "mse", "epochs": 6,
    "optimizer": {"name": "sgd", "lr": 0.1},
}  # fmt: skip
IMAGES = {
    "data": {"x": RNG.normal(size=(5, 36)).tolist(), "y": [0, 1, 2, 1, 0], "shape": [1, 6, 6]},
    "model": {"type": "sequential", "layers": [
        {"layer": "Conv2d", "name": "conv", "out_channels": 2, "kernel_size": 3}, "Tanh", "Flatten",
        {"layer": "Linear", "name": "out", "out_features": 3}]},
    "loss": "cross_entropy", "optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 3, "dtype": "float64",
}  # fmt: skip


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the pictures are drawn of."""
    found: list[Any] = []
    for name in ("value_gradients", "gradient_images", "gradient_norms"):
        picture = getattr(plots, name)

        def noted(*arguments: Any, draw: Any = picture.drawn) -> bytes:
            found.append(arguments)
            return draw(*arguments)

        monkeypatch.setattr(picture, "drawn", noted)
    return found


@pytest.mark.parametrize("watched", [True, False])
def test_the_curves_are_the_columns_of_a_record_that_has_them_or_of_the_same_run(
    gdcli: Any, given: list[Any], watched: bool
) -> None:
    Path("net.yaml").write_text(json.dumps(NET | {"watch": ["net_h", "x"]}))
    assert gdcli("run", "net.yaml", "--no-plot", "-q").code == 0
    (path,) = Path("runs").glob("*/*/gradients.csv")
    table = pd.read_csv(path)
    word = str(path.parent) if watched else "net.yaml"
    answer = gdcli("plot", word, "--kind", "gradients", "--of", "x", "-o", "x.png")
    assert answer.code == 0, answer.err
    _, steps, columns, *_ = given[-1]
    assert steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert [name for name, _ in columns] == [f"x[{b},{i}]" for b in range(4) for i in range(2)]
    for name, curve in columns:
        np.testing.assert_array_equal(curve, table[name])
    assert struct.unpack(">II", Path("x.png").read_bytes()[16:24])[0] == 960


def test_the_picture_of_the_layers_leaves_watched_values_out(gdcli: Any, given: list[Any]) -> None:
    Path("net.yaml").write_text(json.dumps(NET | {"watch": ["net_h", "x"]}))
    Path("plain.yaml").write_text(json.dumps(NET))
    for name in ("net.yaml", "plain.yaml"):
        assert gdcli("plot", name, "--kind", "gradients", "-o", "g.png", "--force").code == 0
    (_, steps, layers, _, histogram), (_, other_steps, other_layers, _, other) = given
    assert steps.tolist() == other_steps.tolist()
    assert [name for name, _ in layers] == ["linear1", "linear2"]
    for (_, curve), (_, expected) in zip(layers, other_layers, strict=True):
        np.testing.assert_array_equal(curve, expected)
    np.testing.assert_array_equal(histogram.share, other.share)


@pytest.mark.parametrize("step", [1, None])
def test_images_are_torchs_gradients_before_the_step_with_the_rows_beside(
    gdcli: Any, given: list[Any], step: int | None
) -> None:
    Path("i.yaml").write_text(json.dumps(IMAGES))
    words = ("--step", str(step)) if step else ()
    answer = gdcli("plot", "i.yaml", "--kind", "gradients", "--of", "x", *words, "-o", "i.png")
    assert answer.code == 0, answer.err
    _, found, title, _ = given[-1]
    assert title.endswith(f"before step {step or 3}")
    model = package.run({**IMAGES, "epochs": 2 if step is None else 1}, lr=0.1 if step is None else 1e-300).model
    x = torch.tensor(IMAGES["data"]["x"], dtype=torch.float64).view(5, 1, 6, 6).requires_grad_()  # type: ignore[index]
    torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 1, 0])).backward()
    assert x.grad is not None
    assert [image.label for image in found] == [f"row {b + 1}, class {c}" for b, c in enumerate([0, 1, 2, 1, 0])]
    for b, image in enumerate(found):
        np.testing.assert_allclose(image.gradient, x.grad[b, 0], rtol=1e-10, atol=1e-14)
        np.testing.assert_array_equal(image.pixels, x.detach()[b, 0])


def test_an_image_is_of_the_runs_own_step_where_that_drops_neurons(gdcli: Any) -> None:
    layers = ["Flatten", {"layer": "Dropout", "p": 0.5}, {"layer": "Linear", "out_features": 3}]
    spec = {**IMAGES, "model": {"type": "sequential", "layers": layers}, "batch": {"size": 1}, "watch": ["x"]}
    Path("d.yaml").write_text(json.dumps(spec))
    recorded = package.run(spec).gradients["x"]  # steps, 1, 6, 6
    assert (recorded == 0).any()
    (source,) = sources(["d.yaml"], "gradients")
    for step in (1, 4, 9):
        _, (image,) = images(source, "x", step)
        np.testing.assert_array_equal(image.gradient, recorded[step - 1].reshape(6, 6))


def test_a_layers_images_are_its_channels(gdcli: Any) -> None:
    Path("i.yaml").write_text(json.dumps(IMAGES))
    (source,) = sources(["i.yaml"], "gradients")
    step, found = images(source, "conv", 2)
    assert (step, len(found)) == (2, 6)
    assert [image.label for image in found[:2]] == ["row 1, class 0, channel 0", "row 1, class 0, channel 1"]
    assert all(image.gradient.shape == (4, 4) and image.pixels is None for image in found)


def test_all_images_have_one_scale_symmetric_about_zero_and_a_bar() -> None:
    one, two = np.array([[0.5, -2.0], [0.0, 1.0]]), np.zeros((2, 2))
    with canvas.fixed():
        figure = plots.gradient_images.figure([GradientImage("a", one, one), GradientImage("b", two, two)], "t", "x")
        meshes = [mesh for mesh in figure.findobj(QuadMesh) if mesh.get_cmap().name == "RdBu_r"]
        assert {mesh.get_clim() for mesh in meshes} == {(-2.0, 2.0)}
        above, below = (meshes[0].to_rgba(value) for value in (1.5, -1.5))
        assert above[0] > above[2]  # red above 0
        assert below[2] > below[0]  # blue below
        texts = [text.get_text() for text in figure.texts]
        assert {"up to 2", "0 at each pixel"} <= set(texts)
        assert any(axes.get_ylabel() == "∂L/∂x" for axes in figure.axes)
        first = plots.gradient_images([GradientImage("a", one)], "t", "x")
        assert first == plots.gradient_images([GradientImage("a", one)], "t", "x")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("net.yaml", "--of", "h5"), "--of: net: there is no value of this name (got 'h5'). h has 3: h1 to h3"),
        (("net.yaml", "--of", f"h{'9' * 5000}"), "h has 3: h1 to h3"),
        (("net.yaml", "--of", "linear1.weight"), "It is a parameter"),
        (("rosenbrock", "--of", "x"), "an objective has no inputs and no layers"),
        (("net.yaml", "--of", "x", "--step", "2"), "--step is for a value that is an image"),
        (("net.yaml", "--step", "2"), "--step is for --kind gradients with --of"),
    ],
)
def test_what_cannot_be_drawn_is_told(gdcli: Any, words: tuple[str, ...], told: str) -> None:
    Path("net.yaml").write_text(json.dumps(NET))
    answer = gdcli("plot", *words, "--kind", "gradients")
    assert (answer.code, told in answer.err) == (2, True), answer.err


def test_numbers_of_an_embeddings_table_have_no_gradient(gdcli: Any) -> None:
    layers = [{"layer": "Embedding", "num_embeddings": 2, "embedding_dim": 2}, "Flatten"]
    spec = {**NET, "data": {"x": [[0], [1]], "y": [[0, 1], [1, 0]]}, "model": {"type": "sequential", "layers": layers}}
    Path("e.yaml").write_text(json.dumps(spec))
    answer = gdcli("plot", "e.yaml", "--kind", "gradients", "--of", "x")
    assert (answer.code, "there is no gradient at them. Try" in answer.err) == (2, True), answer.err


def test_without_gradients_of_parameters_the_picture_of_a_value_is_named(gdcli: Any) -> None:
    Path("net.yaml").write_text(json.dumps(NET | {"watch": ["h"], "record": {"gradients": "none"}}))
    assert gdcli("run", "net.yaml", "--no-plot", "-q").code == 0
    for word in ("net.yaml", "last"):
        answer = gdcli("plot", word, "--kind", "gradients")
        assert (answer.code, "Those at a value: --of h" in answer.err) == (2, True), answer.err
    assert gdcli("plot", "last", "--kind", "gradients", "--of", "h").code == 0


def test_of_is_for_gradients_alone(gdcli: Any) -> None:
    answer = gdcli("plot", "backprop_2x2", "--kind", "network", "--of", "x")
    assert (answer.code, "--of is not for --kind network" in answer.err) == (2, True)


def test_python_draws_what_the_command_draws_and_has_the_gradients() -> None:
    run = package.run({**NET, "watch": ["net_h"]})
    figure = run.plot("gradients", of="net_h")
    assert figure.axes[0].get_ylabel() == "∂L/∂net_h"
    assert run.gradients["net_h"].shape == (6, 4, 3)
    with pytest.raises(package.SpecError, match="there is no value of this name"):
        run.plot("gradients", of="nothing")
    with pytest.raises(package.SpecError, match="of is not for the kind curves"):
        run.plot(of="x")
