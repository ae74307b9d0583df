"""`gdcli sweep` and `gdcli compare` through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import only_folder

LINE = """
data: {x: [1, 2, 3], y: [2, 4, 6]}
model: {type: linear}
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 5
"""
SHARED = """
data: {x: [1, 2], y: [[-1, 1], [2, 6]]}
model: {type: linear, init: {weight: 0, bias: [0]}}
loss: mse
optimizer: {name: sgd, lr: 0.01}
"""


def test_dry_run_prints_the_points_and_writes_nothing(gdcli) -> None:
    answer = gdcli("sweep", "--param", "w", "--dry-run")
    assert answer.out.splitlines() == [f"w={k / 10}" for k in range(41)]
    assert not Path("runs").exists()


def test_surface_of_a_line_is_the_closed_form(gdcli) -> None:
    Path("line.yaml").write_text(LINE)
    assert gdcli("sweep", "line.yaml", "--param", "w=0:4:0.5", "--param", "b=-1:1:0.25").code == 0
    table = pd.read_csv(only_folder(Path("runs")) / "results.csv")
    assert len(table) == 8 * 8
    x, y = np.array([1.0, 2, 3]), np.array([2.0, 4, 6])
    expected = [np.mean((w * x + b - y) ** 2) for w, b in zip(table["w"], table["b"], strict=True)]
    np.testing.assert_allclose(table["loss"], expected, rtol=2e-6)  # float32
    assert (only_folder(Path("runs")) / "sweep.png").is_file()


def test_a_bias_that_two_outputs_share_is_one_parameter(gdcli) -> None:
    """With weights 0 both outputs are b: the loss is the mean of (b − y)² over all targets, -1, 1, 2, 6."""
    Path("shared.yaml").write_text(SHARED)
    assert gdcli("sweep", "shared.yaml", "-p", "bias[0]=0,2", "--no-plot").code == 0
    table = pd.read_csv(only_folder(Path("runs")) / "results.csv")
    assert table.to_dict("list") == {"bias[0]": [0.0, 2.0], "loss": [(1 + 1 + 4 + 36) / 4, (9 + 1 + 0 + 16) / 4]}
    answer = gdcli("sweep", "shared.yaml", "-p", "bias[0]=0,1", "-p", "bias[1]=0,1", "--no-plot")
    assert (answer.code, answer.err.partition(". ")[2]) == (2, "Did you mean 'bias[0]'? Try 'gdcli sweep --help'.\n")


def test_a_comparison_with_a_closed_form_has_a_column_for_each_parameter_there_is(gdcli) -> None:
    Path("shared.yaml").write_text(SHARED)
    answer = gdcli("compare", "shared.yaml", "--optimizers", "sgd", "--closed-form", "--no-plot", "--json")
    columns = [name for name in answer.json["rows"][0] if name.startswith(("weight[", "bias["))]
    assert columns == ["weight[0,0]", "weight[1,0]", "bias[0]"]


def test_a_shared_bias_alone_is_the_one_gradient_that_a_style_prints(gdcli) -> None:
    """SGD with one row a step: dL/db of b = 0 is the sum over both outputs of 2 (0 − y)/2 = 1 − 2 = -1."""
    Path("shared.yaml").write_text(SHARED)
    words = ["model.freeze=[weight]", "print.style=autograd", "data.x=[1]", "data.y=[[-1, 2]]", "batch=stochastic"]
    answer = gdcli("run", "shared.yaml", *words, "--no-plot")
    assert (answer.code, answer.out.splitlines()[0]) == (0, "\t grad: 1.0 -1.0 2.0 -1.0")


@pytest.mark.parametrize("spec", ["rosenbrock", "himmelblau"])
def test_objective_is_lowest_at_its_known_minimum(gdcli, spec: str) -> None:
    known = {"rosenbrock": (1.0, 1.0), "himmelblau": (3.0, 2.0)}[spec]
    answer = gdcli("sweep", spec, "-p", "x=0:4:0.5", "-p", "y=0:4:0.5", "--no-plot")
    assert answer.out == f"64 points, lowest loss 0 at x={known[0]}, y={known[1]}\n"


def test_a_lowest_point_at_the_edge_of_the_range_is_told(gdcli) -> None:
    """(1 − 2)² + 100 (3.5 − 2²)² = 26, and for every x there is a y beyond 3.5 with less."""
    answer = gdcli("sweep", "rosenbrock", "-p", "x=2:4:0.5", "-p", "y=0:4:0.5", "--no-plot")
    assert answer.out == "32 points, lowest loss 26 at x=2.0, y=3.5, at the edge of the range\n"


@pytest.mark.parametrize(("values", "told"), [("-4:1:1", True), ("1:4:1", False)])
def test_a_minimum_at_the_edge_of_one_axis_is_told_beside_the_document_s_lines(gdcli, values: str, told: bool) -> None:
    """y = 2x at x = 1, 2, 3: the mean of squares at w = 0 is (4 + 16 + 36)/3."""
    answer = gdcli("sweep", "linear_manual", "-p", f"w={values}", "--no-plot")
    line = "5 points, lowest mse 18.6667 at w=0.0, at the edge of the range\n"
    assert answer.err.startswith(line) == told
    assert answer.err.count("\n") == 1 + told
    quiet = gdcli("sweep", "linear_manual", "-p", f"w={values}", "--no-plot", "-q")
    assert (quiet.out, quiet.err) == (answer.out, "")


def test_any_weight_of_a_net_against_a_run_with_that_weight(gdcli) -> None:
    assert gdcli("sweep", "backprop_2x2", "-p", "linear1.weight[0,1]=-1,0.2,3", "--no-plot", "-o", "grid").code == 0
    losses = pd.read_csv(only_folder(Path("grid")) / "results.csv")["loss"]
    for k, value in enumerate([-1, 0.2, 3]):
        weight = f"model.init.linear1.weight=[[0.15, {value}], [0.25, 0.30]]"
        answer = gdcli(
            "run", "backprop_2x2", weight, "epochs=0", "print.style=loss", "--no-plot", "--json", "-o", str(k)
        )
        assert losses[k] == pytest.approx(answer.json["final_loss"], rel=1e-6)


def test_sweep_over_a_key_gives_the_losses_of_single_runs(gdcli) -> None:
    answer = gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.5,1", "epochs=20", "print.style=tensor", "-o", "s")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("s"))
    table = pd.read_csv(folder / "results.csv")
    assert table["lr"].tolist() == [0.1, 0.5, 1.0]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["1-lr=0.1", "2-lr=0.5", "3-lr=1"]
    for lr, loss in zip(("0.1", "0.5", "1"), table["final_loss"], strict=True):
        one = gdcli(
            "run", "backprop_2x2", f"lr={lr}", "epochs=20", "print.style=tensor", "--json", "--no-plot", "-o", lr
        )
        assert one.json["final_loss"] == loss


def test_a_diverged_run_of_a_sweep_is_a_result_ranked_last(gdcli) -> None:
    answer = gdcli("sweep", "linear_manual", "-p", "lr=1e3,0.01", "epochs=200")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("runs"))
    table = pd.read_csv(folder / "results.csv")
    assert table["status"].tolist() == ["diverged", "finished"]
    assert np.isnan(table["final_loss"][0])
    assert '"best": "lr=0.01"' in (folder / "summary.json").read_text()


def test_comparison_shares_data_start_and_order_and_equals_single_runs(gdcli) -> None:
    answer = gdcli("compare", "--optimizers", "sgd,adam", "-o", "c")
    assert answer.code == 0, answer.err
    table = pd.read_csv(only_folder(Path("c")) / "results.csv")
    assert table["label"].tolist() == ["sgd", "adam"]
    assert table["lr"].tolist() == [0.5, 0.01]
    assert table["lr_from"].tolist() == ["spec", "spec"]
    for column in ("weights", "data", "order"):
        assert table[column].nunique() == 1
    for name, lr, loss in zip(table["label"], table["lr"], table["final_loss"], strict=True):
        changed = f"optimizer={{name: {name}, lr: {lr}}}"
        assert gdcli("run", "optimizers_2x2", changed, "--json", "-o", name).json["final_loss"] == loss


def test_seed_changes_the_start_of_a_comparison_but_not_inline_data(gdcli) -> None:
    Path("line.yaml").write_text(LINE)
    hashes = []
    for seed in ("1", "2"):
        assert (
            gdcli("compare", "line.yaml", "--optimizers", "sgd,adam", "--seed", seed, "--no-plot", "-o", seed).code == 0
        )
        table = pd.read_csv(only_folder(Path(seed)) / "results.csv")
        hashes.append((table["weights"][0], table["data"][0]))
    assert hashes[0][0] != hashes[1][0]
    assert hashes[0][1] == hashes[1][1]


def test_settings_and_defaults_of_optimizers_are_marked(gdcli) -> None:
    answer = gdcli("compare", "--optimizers", "momentum=sgd:lr=1:momentum=0.5,adamw,sgd", "epochs=3", "--no-plot")
    assert answer.code == 0, answer.err
    table = pd.read_csv(only_folder(Path("runs")) / "results.csv", dtype=str)
    assert table["lr_from"].tolist() == ["given", "default", "spec"]
    assert table["lr"].tolist() == ["1.0", "0.001", "0.5"]  # torch's default of AdamW is 1e-3


@pytest.mark.slow
def test_batch_modes_side_by_side(gdcli) -> None:
    answer = gdcli("compare", "gd_variants", "--batches", "full,stochastic,mini-batch:16", "epochs=3")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("runs"))
    table = pd.read_csv(folder / "results.csv")
    assert table["label"].tolist()[:3] == ["full", "stochastic", "mini-batch:16"]
    assert table["steps"].tolist()[:3] == [3, 300, 21]
    assert table["data"].nunique() == 1
    assert (folder / "compare.png").is_file()


@pytest.mark.slow
def test_facts_of_the_practical_specs(gdcli) -> None:
    linear = gdcli("run", "linear_regression", "--json", "--no-plot").json
    (weights,), (bias,) = linear["parameters"]["weight"], linear["parameters"]["bias"]
    assert weights == [pytest.approx(2, abs=0.01), pytest.approx(-3.4, abs=0.01)]
    assert bias == pytest.approx(4.2, abs=0.01)
    assert linear["final_loss"] < 6e-5
    assert gdcli("run", "softmax_regression", "--json", "--no-plot").json["metrics"]["validation_accuracy"] > 0.94
    assert gdcli("run", "mlp", "--json", "--no-plot").json["metrics"]["validation_accuracy"] > 0.96


def test_full_batch_descent_meets_the_least_squares_solution(gdcli) -> None:
    from gdcli.zoo.data import generator, linear

    found = gdcli("run", "gd_variants", "--json", "--no-plot").json
    assert found["status"] == "stopped"
    assert "gradient norm" in found["message"]
    table = linear(
        generator(0, "data"),
        generator(0, "noise"),
        weights=[3.0],
        bias=4.0,
        noise=1.0,
        n=100,
        x={"uniform": (0.0, 2.0)},
    )
    design = np.hstack([np.ones((100, 1)), table.x])
    bias, weight = np.linalg.lstsq(design, table.y[:, 0], rcond=None)[0]
    assert found["parameters"]["weight"][0][0] == pytest.approx(weight, abs=1e-8)
    assert found["parameters"]["bias"][0] == pytest.approx(bias, abs=1e-8)
