"""The bundled specs: that they load, and that they say what the documents say."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import pytest

from gdcli import plan
from gdcli.engine.closed_form import why_not
from gdcli.spec.bundled import folder, names
from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.models import match
from gdcli.spec.schema import parse
from gdcli.zoo.data_files import read_columns

TWO_BY_TWO = ("momentum_2x2", "adagrad_2x2", "rmsprop_2x2", "adam_2x2", "optimizers_2x2")
NETWORKS = ("backprop_2x2", "backprop_2x2_layers", *TWO_BY_TWO)
OBJECTIVES = ("chain_rule", "quadratic_bowl", "rosenbrock", "rosenbrock_optimizers", "himmelblau")
NAMES = {
    "linear_sweep", "linear_manual", "linear_autograd", "linear_regression", "linear_regression_nn", "house_price",
    "softmax_regression", "mlp", "mlp_digits", "gd_variants", "nn_linear", "loss_mae", "loss_mse", "loss_smooth_l1",
    "loss_cross_entropy", "loss_bce", "why_cross_entropy", "sign_ste", "vanishing_gradient", "momentum_average",
    "iris", "titanic_small", "lenet_digits", "gru_sine", *NETWORKS, *OBJECTIVES,
}  # fmt: skip


def loaded(name: str) -> Loaded:
    path = folder() / f"{name}.yaml"
    return load(parse(read(path.read_bytes(), path.name), "stem"), folder())


def test_these_are_bundled() -> None:
    assert set(names()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_loads_and_opens_with_what_it_shows(name: str) -> None:
    spec = loaded(name).spec
    assert spec.name == name
    assert spec.settings.description
    commands = {
        "linear_sweep": "gdcli sweep --param w",
        "gd_variants": "gdcli compare gd_variants",
        "optimizers_2x2": "gdcli compare",
        "rosenbrock_optimizers": "gdcli compare rosenbrock_optimizers",
        "mlp_digits": "gdcli compare mlp_digits",
        "momentum_average": "gdcli compare momentum_average",
        "why_cross_entropy": "gdcli explain why_cross_entropy",
    }
    server, shows, command, *rest = (folder() / f"{name}.yaml").read_text().splitlines()
    assert server == "# yaml-language-server: $schema=gdcli.schema.json"
    assert shows.startswith("# ")
    assert command == "# " + commands.get(name, f"gdcli run {name}")
    assert rest[0] == f"name: {name}"


# What the documents fix: optimizer, its settings (None: no update), epochs, rows a step (0: all), loss, style, dtype.
SGD = "sgd"
FACTS: dict[str, tuple[str | None, dict[str, float], int, int, str | None, str, str]] = {
    "linear_manual": (SGD, {"lr": 0.01}, 10, 1, "mse", "manual", "float64"),
    "linear_autograd": (SGD, {"lr": 0.01}, 10, 1, "mse", "autograd", "float32"),
    "linear_regression": (SGD, {"lr": 0.03}, 5, 10, "half_mse", "epoch", "float32"),
    "linear_regression_nn": (SGD, {"lr": 0.03}, 5, 10, "half_mse", "epoch", "float32"),
    "house_price": (SGD, {"lr": 0.03}, 20, 10, "half_mse", "epoch", "float32"),
    "gd_variants": (SGD, {"lr": 0.1}, 1000, 0, "mse", "epoch", "float64"),
    "nn_linear": (SGD, {"lr": 0.01}, 100, 0, "mse", "parameters", "float32"),
    "loss_mae": (None, {}, 0, 0, "mae", "loss", "float32"),
    "loss_mse": (None, {}, 0, 0, "mse", "loss", "float32"),
    "loss_smooth_l1": (None, {}, 0, 0, "smooth_l1", "loss", "float32"),
    "loss_cross_entropy": (None, {}, 0, 0, "cross_entropy", "loss", "float32"),
    "loss_bce": (None, {}, 0, 0, "bce", "loss", "float32"),
    "chain_rule": (None, {}, 0, 0, None, "gradient", "float32"),
    "backprop_2x2": (SGD, {"lr": 0.5, "momentum": 0}, 1, 0, "half_sse", "backprop", "float32"),
    "backprop_2x2_layers": (None, {}, 0, 0, "mse", "layers", "float32"),
    "momentum_2x2": (SGD, {"lr": 1, "momentum": 0.5, "dampening": 0}, 100, 0, "mse", "tensor", "float32"),
    "adagrad_2x2": ("adagrad", {"lr": 1}, 100, 0, "mse", "tensor", "float32"),
    "rmsprop_2x2": ("rmsprop", {"lr": 0.01, "momentum": 0.5}, 100, 0, "mse", "tensor", "float32"),
    "adam_2x2": ("adam", {"lr": 0.01}, 100, 0, "mse", "tensor", "float32"),
    "optimizers_2x2": (SGD, {"lr": 0.5}, 100, 0, "mse", "tensor", "float32"),
}


@pytest.mark.parametrize("name", FACTS)
def test_says_what_the_document_says(name: str) -> None:
    optimizer, arguments, epochs, rows, loss, style, dtype = FACTS[name]
    experiment = loaded(name)
    spec = experiment.spec
    assert (spec.optimizer and spec.optimizer.name) == optimizer
    if spec.optimizer:
        assert {key: spec.optimizer.arguments[key] for key in arguments} == arguments
    assert spec.settings.epochs == epochs
    assert spec.batch.rows(experiment.samples) == (rows or experiment.samples)
    assert (spec.loss and spec.loss.name) == loss
    assert spec.style == style
    assert spec.settings.dtype == dtype


ROWS: dict[str, tuple[list[Any], list[Any]]] = {
    **dict.fromkeys(("linear_sweep", "linear_manual", "linear_autograd"), ([[1], [2], [3]], [[2], [4], [6]])),
    "nn_linear": ([[1, 2], [3, 4]], [[3], [7]]),
    "loss_mae": ([[4], [5], [6]], [[1], [2], [3]]),
    "loss_mse": ([[6], [3], [2]], [[1], [4], [5]]),
    "loss_smooth_l1": ([[1], [2], [3], [4]], [[3], [2.5], [3.5], [4.5]]),
    "loss_cross_entropy": ([[1.5, 2, 0.5], [0.5, 1, 1.5]], [1, 2]),
    "loss_bce": ([[0.7], [0.2], [0.9], [0.7]], [[1], [0], [1], [0]]),
    "why_cross_entropy": ([[log(0.2), log(0.2), log(0.6)], [-800, log(0.4), log(0.6)]], [2, 2]),
    **dict.fromkeys(NETWORKS, ([[0.05, 0.1]], [[0.01, 0.99]])),
}


@pytest.mark.parametrize("name", ROWS)
def test_has_the_rows_of_the_document(name: str) -> None:
    table = loaded(name).training
    assert table is not None
    assert (table.x.tolist(), table.y.tolist()) == ROWS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_start_from_the_weights_of_the_document(name: str) -> None:
    model = loaded(name).spec.model
    assert {key: model.arguments[key] for key in ("layers", "activation", "output_activation")} == {
        "layers": [2, 2, 2],
        "activation": "sigmoid",
        "output_activation": "sigmoid",
    }
    assert model.init == {
        "linear1.weight": [[0.15, 0.2], [0.25, 0.3]],
        "linear1.bias": [0.35],
        "linear2.weight": [[0.4, 0.45], [0.5, 0.55]],
        "linear2.bias": [0.6],
    }


def test_one_weight_starts_at_one_and_predicts_four() -> None:
    for name in ("linear_manual", "linear_autograd"):
        experiment = loaded(name)
        assert experiment.architecture.shapes == {"weight": (1, 1)}  # type: ignore[union-attr]
        assert (experiment.spec.model.init, experiment.spec.print.predict) == ({"weight": 1}, 4)


def test_the_sweep_needs_no_optimizer() -> None:
    spec = loaded("linear_sweep").spec
    assert spec.optimizer is None
    assert (spec.settings.dtype, spec.loss and spec.loss.name) == ("float64", "mse")
    assert spec.sweep is not None
    assert spec.sweep.parameters == {"w": "range(0, 4.1, 0.1)"}


def test_the_regressions_draw_the_rows_of_document_two() -> None:
    one, other = loaded("linear_regression"), loaded("linear_regression_nn")
    assert one.spec.data == other.spec.data
    assert one.spec.data is not None
    assert one.spec.data.arguments["weights"] == [2, -3.4]
    assert one.spec.data.arguments["noise"] == 0.01
    assert one.training is not None
    design = np.hstack([one.training.x, np.ones((1000, 1))])
    fitted = np.linalg.lstsq(design, one.training.y, rcond=None)[0].ravel()
    assert fitted == pytest.approx([2, -3.4, 4.2], abs=2e-3)


def test_full_batches_can_reach_the_gradient_norm_in_time() -> None:
    experiment = loaded("gd_variants")
    spec, table = experiment.spec, experiment.training
    assert spec.stop.gradient_norm == 1e-9
    assert spec.compare is not None
    assert spec.compare.batches == ["full", "stochastic", {"mode": "mini-batch", "size": 16}]
    assert spec.compare.closed_form
    assert why_not(experiment) == ""
    assert table is not None
    assert (len(table.x), table.x.min() >= 0, table.x.max() <= 2) == (100, True, True)
    design = np.hstack([table.x, np.ones((100, 1))])
    curvature = np.linalg.eigvalsh(2 * design.T @ design / 100)  # of the mean squared error
    assert spec.optimizer is not None
    slowest = np.abs(1 - spec.optimizer.arguments["lr"] * curvature).max()
    assert slowest**spec.settings.epochs < 1e-10


def test_the_comparison_takes_each_optimizer_from_its_own_experiment() -> None:
    comparison = loaded("optimizers_2x2").spec.compare
    assert comparison is not None
    assert comparison.optimizers == {
        "sgd": {"lr": 0.5},
        "momentum": {"name": "sgd", "lr": 1, "momentum": 0.5},
        "adagrad": {"lr": 1},
        "rmsprop": {"lr": 0.01, "momentum": 0.5},
        "adam": {"lr": 0.01},
    }


def test_five_optimizers_start_at_one_point_of_rosenbrocks_surface() -> None:
    experiment = loaded("rosenbrock_optimizers")
    spec = experiment.spec
    assert spec.model.arguments["expression"] == loaded("rosenbrock").spec.model.arguments["expression"]
    assert [point.label for point in plan.rows(spec.document, spec, None, None)] == [
        "sgd", "momentum", "adagrad", "rmsprop", "adam",
    ]  # fmt: skip
    axes = plan.axes(experiment, [])
    assert [(axis.target, axis.kind, axis.grid.length) for axis in axes] == [
        ("x", "parameter", 161),
        ("y", "parameter", 161),
    ]
    lowest = plan.grid_points(axes).tolist().index([1.0, 1.0])  # the grid has the minimum
    assert lowest == 120 * 161 + 80


def test_the_digits_are_tuned_over_the_learning_rate() -> None:
    experiment = loaded("mlp_digits")
    comparison = experiment.spec.compare
    assert comparison is not None
    assert list(comparison.optimizers) == ["sgd", "momentum", "adam"]
    assert all("lr" not in settings for settings in comparison.optimizers.values())
    assert (comparison.seeds, comparison.tune, comparison.tune_range) == (5, 9, (1e-4, 1))
    (axis,) = plan.axes(experiment, [])
    assert (axis.target, axis.kind) == ("optimizer.lr", "key")
    assert axis.grid.values()[::4] == [1e-4, 1e-3, 1e-2, 1e-1, 1]


def test_the_chain_rule_freezes_b_at_the_point_of_the_document() -> None:
    model = loaded("chain_rule").spec.model
    assert model.freeze == ("b",)
    assert (model.arguments["start"], model.arguments["constants"]) == ({"w": 0, "b": 0}, {"x": 1})
    assert model.arguments["expression"] == "(exp(-(w*x+b)+1))**-1"


@pytest.mark.parametrize("name", ["softmax_regression", "mlp", "mlp_digits"])
def test_the_digits_are_divided(name: str) -> None:
    experiment = loaded(name)
    assert experiment.training is not None
    assert experiment.validation is not None
    assert (len(experiment.training.x), len(experiment.validation.x)) == (1438, 359)
    assert list(experiment.architecture.shapes.values())[-1] == (10,)  # type: ignore[union-attr]


def test_the_series_is_a_sine_whose_windows_begin_a_step_later_each() -> None:
    experiment = loaded("gru_sine")
    table, held_out = experiment.training, experiment.validation
    assert table is not None
    assert held_out is not None
    assert (len(table.x), len(held_out.x), experiment.row_shape) == (150, 50, (16, 1))
    first = read_columns(folder() / "sine_series.csv", None, ["next"]).columns
    steps = np.arange(200)[:, None] + np.arange(17)  # [row, step]
    wave = np.sin(2 * np.pi * steps / 25)
    assert np.abs(np.stack([*map(np.asarray, first.values())], axis=1) - wave).max() < 5.1e-5  # four decimals


def test_iris_has_as_many_of_each_kind_in_every_part() -> None:
    experiment = loaded("iris")
    for part, of_each in ((experiment.training, 30), (experiment.validation, 10), (experiment.test, 10)):
        assert part is not None
        assert np.bincount(part.y.astype(int)).tolist() == [of_each] * 3


def test_the_digits_are_images_of_one_channel() -> None:
    experiment = loaded("lenet_digits")
    assert experiment.row_shape == (1, 8, 8)
    assert experiment.training is not None
    assert experiment.training.x.shape == (1438, 64)


def test_the_average_is_the_sum_with_a_dampening_of_its_momentum() -> None:
    comparison = loaded("momentum_average").spec.compare
    assert comparison is not None
    total, average, scaled = (comparison.optimizers[name] for name in ("sum", "average", "scaled_average"))
    assert average == {**total, "dampening": total["momentum"]}
    assert scaled == {**average, "lr": pytest.approx(total["lr"] / (1 - total["momentum"]))}


def test_the_front_layers_of_the_deep_network_get_a_larger_rate_in_the_middle_of_training() -> None:
    spec = loaded("vanishing_gradient").spec
    assert spec.scheduler is not None
    assert spec.scheduler.base is None
    ((pattern, schedule),) = spec.scheduler.groups.items()
    assert [name for name in loaded("vanishing_gradient").architecture.shapes if match(pattern, {name: 0})] == [  # type: ignore[union-attr]
        "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias",
    ]  # fmt: skip
    assert schedule.arguments == {"milestones": [spec.settings.epochs // 2], "gamma": 30}
