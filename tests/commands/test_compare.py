"""`gdcli compare`: equal terms, tuning, seeds and intervals, effort to a target, the closed form."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gdcli.report import plots
from gdcli.runner import batch as many
from gdcli.spec import bundled
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.spec.schema import parse
from gdcli.zoo.table import Table
from tests.conftest import only_folder
from tests.runner.many_runs import contents

QUADRATIC = """
model: {{type: objective, expression: "0.5*{a}*x1**2 + 0.5*{b}*x2**2", start: {{x1: 1, x2: 1}}}}
optimizer: {{name: sgd, lr: 0.1}}
dtype: float64
epochs: 60
"""

DIGITS = """
data: {dataset: digits, validation: 0.2}
model: {type: mlp, layers: [64, 8, 10], activation: relu}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.01}
batch: {mode: mini-batch, size: 256}
epochs: 2
"""

LINE = """
data:
  generate: {kind: linear, n: 20, weights: [3, -1], bias: 4, noise: 1, x: {uniform: [0, 2]}}
model: {type: linear}
loss: mse
optimizer: {name: sgd, lr: 0.1}
dtype: float64
epochs: 10
"""

NORMED = """
data: {generate: {kind: linear, n: 8, weights: [3, 1], bias: 4, noise: 1, x: {uniform: [0, 2]}}}
model:
  type: sequential
  layers: [{layer: Linear, in_features: 2, out_features: 1}, {layer: BatchNorm1d, num_features: 1}]
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 2
"""
"""A model that torch refuses to train on a batch of one row, with a ValueError."""


@pytest.fixture(autouse=True)
def _specs(gdcli) -> None:
    Path("digits.yaml").write_text(DIGITS)
    Path("line.yaml").write_text(LINE)
    Path("normed.yaml").write_text(NORMED)
    Path("bowl.yaml").write_text(QUADRATIC.format(a=1, b=9))


def table_of(output: str, name: str = "results.csv") -> pd.DataFrame:
    return pd.read_csv(only_folder(Path(output)) / name)


def bundled_data(name: str) -> Table:
    """Return the training rows of a bundled spec."""
    found = load(parse(read((bundled.folder() / f"{name}.yaml").read_bytes(), name), name), bundled.folder()).training
    assert found is not None
    return found


def summary_of(output: str) -> dict[str, Any]:
    return json.loads((only_folder(Path(output)) / "summary.json").read_text())


# --- the same as single runs ------------------------------------------------------------------------------------------


def test_each_row_has_the_losses_of_the_run(gdcli) -> None:
    assert gdcli("compare", "--optimizers", "sgd,adam", "--no-plot", "-o", "c").code == 0
    root = only_folder(Path("c"))
    for folder, optimizer in (("1-sgd", "{name: sgd, lr: 0.5}"), ("2-adam", "{name: adam, lr: 0.01}")):
        assert gdcli("run", "optimizers_2x2", f"optimizer={optimizer}", "--no-plot", "-o", folder).code == 0
        alone = only_folder(Path(folder))
        for file in ("steps.csv", "gradients.csv", "log.txt", "summary.json"):
            assert (root / folder / file).read_bytes() == (alone / file).read_bytes(), file
    table = table_of("c")
    ends = [json.loads((root / name / "summary.json").read_text()) for name in ("1-sgd", "2-adam")]
    assert table["final_loss"].tolist() == [end["final_loss"] for end in ends]
    assert table["best_loss"].tolist() == [end["best_loss"] for end in ends]


@pytest.mark.slow
def test_up_to_twenty_runs_have_the_bits_of_single_runs_and_more_are_fleets(gdcli) -> None:
    compare = ("compare", "digits.yaml", "--optimizers", "sgd,adam", "epochs=1", "--no-plot")
    assert gdcli(*compare, "--seeds", "10", "-o", "few").code == 0
    assert gdcli(*compare, "--seeds", "10", "--fleet", "off", "-o", "off").code == 0
    assert contents(Path("few")) == contents(Path("off"))
    assert gdcli(*compare, "--seeds", "11", "-o", "many").code == 0
    few, fleet = table_of("few"), table_of("many")
    fleet = fleet[fleet["seed"] < 10].reset_index(drop=True)
    np.testing.assert_allclose(fleet["final_loss"], few["final_loss"], rtol=1e-4)
    assert fleet["weights"].tolist() == few["weights"].tolist()


# --- tuning, seeds, intervals -----------------------------------------------------------------------------------------


@pytest.fixture
def tuned(gdcli) -> dict[str, Any]:
    """A comparison on digits, ten seeds, nine learning rates each; its --json."""
    pytest.importorskip("sklearn")
    answer = gdcli(
        "compare", "digits.yaml", "--optimizers", "sgd,momentum=sgd:momentum=0.9,adam", "--seeds", "10", "--tune", "9",
        "--target", "2", "--json", "--no-plot",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return answer.json


def test_means_intervals_and_pairing_are_scipy_s(tuned: dict[str, Any]) -> None:
    table, rows = table_of("runs"), summary_of("runs")["rows"]
    assert rows == tuned["rows"]
    assert [row["label"] for row in rows] == ["sgd", "momentum", "adam"]
    losses = {label: part.set_index("seed")["final_loss"] for label, part in table.groupby("label")}
    for row in rows:
        ours = losses[row["label"]]
        assert (row["seeds"], len(ours)) == (10, 10)
        low, high = stats.t.interval(0.95, 9, loc=ours.mean(), scale=stats.sem(ours))
        found = [row["final_loss"][name] for name in ("mean", "low", "high")]
        np.testing.assert_allclose(found, [ours.mean(), low, high], rtol=1e-12)
        assert row["best_loss"] == pytest.approx(
            table.loc[table["label"] == row["label"], "best_loss"].mean(), rel=1e-12
        )
        if row["label"] == "sgd":
            assert "difference" not in row
            continue
        paired = stats.ttest_rel(ours.sort_index(), losses["sgd"].sort_index())
        ends = paired.confidence_interval(0.95)
        found = [row["difference"][name] for name in ("mean", "low", "high")]
        expected = [(ours - losses["sgd"]).mean(), ends.low, ends.high]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_every_optimizer_is_tuned_alike_on_seeds_of_its_own(tuned: dict[str, Any]) -> None:
    table, tuning = table_of("runs"), table_of("runs", "tuning.csv")
    seeds = set(tuning["seed"])
    assert (len(seeds), table["seed"].nunique()) == (10, 10)
    assert not seeds & set(table["seed"])
    first = tuning[: 3 * 9 * 10]
    grid = np.geomspace(1e-4, 1e1, 9)
    for label, part in first.groupby("label"):
        assert part.groupby("lr")["seed"].apply(set).tolist() == [seeds] * 9, label
        np.testing.assert_allclose(sorted(part["lr"].unique()), grid, rtol=1e-12)
    scores = tuning["final_loss"].fillna(np.inf).groupby([tuning["label"], tuning["lr"]]).mean()
    best = scores.groupby("label").idxmin()
    for label, part in table.groupby("label"):
        assert part["lr"].unique().tolist() == [best[label][1]]
        (lr_from,) = part["lr_from"].unique()
        lrs = sorted(scores[label].index)
        assert lr_from == ("tuned, edge" if best[label][1] in (lrs[0], lrs[-1]) else "tuned")
        assert len(lrs) in (9, 9 + 9 // 2)


@pytest.mark.slow
def test_the_seed_draws_weights_and_order_and_the_rows_share_them(tuned: dict[str, Any]) -> None:
    table = table_of("runs")
    assert table["data"].nunique() == 1
    for column in ("weights", "order"):
        assert table.groupby("seed")[column].nunique().tolist() == [1] * 10
        assert table[column].nunique() == 10
    assert not set(table["weights"]) & set(table_of("runs", "tuning.csv")["weights"])
    assert table_of("runs", "tuning.csv")["data"].unique().tolist() == table["data"].unique().tolist()


@pytest.mark.slow
def test_targets_that_some_seeds_miss(tuned: dict[str, Any]) -> None:
    table = table_of("runs")
    for row in tuned["rows"]:
        reached = table.loc[table["label"] == row["label"], "steps_to_target"]
        assert row["to_target"]["reached"] == reached.notna().sum()
        assert row["to_target"]["steps"] == (reached.mean() if reached.notna().all() else None)


def test_a_seed_redraws_the_data_only_where_asked(gdcli) -> None:
    compare = ("compare", "line.yaml", "--optimizers", "sgd,adam", "--seeds", "4", "--no-plot")
    assert gdcli(*compare, "-o", "same").code == 0
    assert gdcli(*compare, "--redraw-data", "-o", "redrawn").code == 0
    same, redrawn = table_of("same"), table_of("redrawn")
    assert same["data"].nunique() == 1
    assert redrawn["data"].nunique() == 4
    assert redrawn.groupby("seed")["data"].nunique().tolist() == [1] * 4
    assert redrawn["weights"].tolist() == same["weights"].tolist()
    first = same["seed"] == 0
    assert redrawn.loc[first, "data"].tolist() == same.loc[first, "data"].tolist()


@pytest.mark.parametrize(("a", "b"), [(1, 9), (0.3, 2.5), (2, 40)])
def test_tuning_finds_the_best_learning_rate_of_a_quadratic(gdcli, a: float, b: float) -> None:
    Path("bowl.yaml").write_text(QUADRATIC.format(a=a, b=b))
    assert gdcli("compare", "bowl.yaml", "--optimizers", "sgd", "--tune", "25", "--no-plot").code == 0
    (lr,) = table_of("runs")["lr"]
    step = 10 ** (5 / 24)
    assert 2 / (a + b) / step <= lr <= 2 / (a + b) * step
    assert table_of("runs")["lr_from"].tolist() == ["tuned"]
    tried = table_of("runs", "tuning.csv")
    assert tried.set_index("lr")["final_loss"].idxmin() == lr


@pytest.mark.slow
@pytest.mark.parametrize(("ends", "where"), [("1e-6,1e-5", "highest"), ("0.3,1", "lowest")])
def test_a_winner_at_the_edge_is_marked_and_the_grid_extended_once(gdcli, ends: str, where: str) -> None:
    Path("bowl.yaml").write_text(QUADRATIC.format(a=10, b=10))  # best: 0.1
    low, high = map(float, ends.split(","))
    ratio = (high / low) ** (1 / 3)
    compare = ("compare", "bowl.yaml", "--optimizers", "sgd", "--tune", "4", "--tune-range", ends)
    answer = gdcli(*compare)
    assert answer.code == 0
    tried = table_of("runs", "tuning.csv")["lr"]
    assert len(tried) == 4 + 2
    np.testing.assert_allclose(tried[:4], np.geomspace(low, high, 4), rtol=1e-12)
    beyond = [high * ratio, high * ratio**2] if where == "highest" else [low / ratio**2, low / ratio]
    np.testing.assert_allclose(tried[4:], beyond, rtol=1e-9)
    table = table_of("runs")
    if where == "highest":
        assert table["lr"][0] == tried.max()
        assert table["lr_from"].tolist() == ["tuned, edge"]
        assert f"is the {where} that was tried" in answer.out
    else:  # 0.3/1.49² = 0.134 is nearest to 0.1, and at the edge again
        assert table["lr"][0] == tried.min()
    assert (only_folder(Path("runs")) / "tuning.png").is_file()


def test_without_tuning_the_table_says_so(gdcli) -> None:
    assert "untuned" in gdcli("compare", "--optimizers", "sgd,adam", "--no-plot", "-o", "a").out
    assert "untuned" not in gdcli("compare", "bowl.yaml", "--optimizers", "sgd", "--tune", "3", "--no-plot").out


@pytest.mark.slow
def test_a_tuned_comparison_has_the_same_bytes_in_processes(gdcli) -> None:
    compare = (
        "compare", "line.yaml", "--optimizers", "sgd,adam", "--seeds", "4", "--tune", "5", "--target", "1.5",
        "--no-plot",
    )  # fmt: skip
    assert gdcli(*compare, "-o", "one").code == 0
    assert gdcli(*compare, "--jobs", "3", "-o", "three").code == 0
    assert contents(Path("one")) == contents(Path("three"))
    assert "tuning.csv" in contents(Path("one"))


# --- effort to a target -----------------------------------------------------------------------------------------------


def test_steps_to_a_target_on_the_full_batch_are_those_of_steps_csv(gdcli) -> None:
    compare = (
        "compare",
        "line.yaml",
        "--optimizers",
        "sgd:lr=0.1,adam:lr=0.001",
        "--target",
        "2",
        "epochs=30",
        "--no-plot",
    )
    answer = gdcli(*compare)
    assert answer.code == 0
    table = table_of("runs")
    losses = pd.read_csv(only_folder(Path("runs")) / "1-sgd" / "steps.csv")["loss"]
    updates = int(np.flatnonzero(losses <= 2)[0])  # the loss stands before its step's update
    assert 0 < updates < 30
    columns = ["steps_to_target", "epochs_to_target", "evaluations_to_target"]
    assert table.loc[0, columns].tolist() == [updates, updates, updates * 20]
    assert table.loc[1, columns].isna().all()
    raw = (only_folder(Path("runs")) / "results.csv").read_text().splitlines()[2].split(",")
    place = raw_header(only_folder(Path("runs"))).index("steps_to_target")
    assert raw[place : place + 3] == ["", "", ""]
    sgd, adam = answer.out.splitlines()[1:3]
    assert "∞" not in sgd
    assert adam.count("∞") == 3


def raw_header(folder: Path) -> list[str]:
    return (folder / "results.csv").read_text().splitlines()[0].split(",")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "rows"), [("{mode: mini-batch, size: 8}", 20), ("{mode: mini-batch, size: 8, drop_last: true}", 16)]
)
def test_effort_with_small_batches_counts_rows_and_looks_once_an_epoch(gdcli, batch: str, rows: int) -> None:
    runs = [gdcli("run", "line.yaml", f"batch={batch}", f"epochs={k}", "--json", "-o", f"{k}") for k in range(1, 7)]
    ends = [run.json["final_loss"] for run in runs]
    target = (ends[2] + ends[3]) / 2
    assert min(ends[:3]) > target >= ends[3]
    compare = (
        "compare",
        "line.yaml",
        f"batch={batch}",
        "epochs=6",
        "--optimizers",
        "sgd:lr=0.1",
        "--target",
        repr(target),
    )
    assert gdcli(*compare, "--no-plot", "-o", "c").code == 0
    table = table_of("c")
    per_epoch = 3 if rows == 20 else 2
    columns = ["steps_to_target", "epochs_to_target", "evaluations_to_target"]
    assert table.loc[0, columns].tolist() == [4 * per_epoch, 4, 4 * rows]


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["full", "{mode: mini-batch, size: 8}"])
def test_fleets_and_single_runs_reach_the_target_alike(gdcli, batch: str) -> None:
    compare = (
        "compare", "line.yaml", f"batch={batch}", "--optimizers", "sgd:lr=0.1,adam:lr=0.1", "--seeds", "11",
        "--target", "2", "epochs=30", "--no-plot",
    )  # fmt: skip
    assert gdcli(*compare, "-o", "fleet").code == 0
    assert gdcli(*compare, "--fleet", "off", "-o", "off").code == 0
    fleet, off = table_of("fleet")["steps_to_target"], table_of("off")["steps_to_target"]
    assert fleet.notna().any()
    pd.testing.assert_series_equal(fleet, off)


def test_an_evaluation_of_an_objective_is_that_of_its_value(gdcli) -> None:
    assert gdcli("compare", "bowl.yaml", "--optimizers", "sgd:lr=0.1", "--target", "1e-3", "--no-plot").code == 0
    table = table_of("runs")
    assert table["steps_to_target"][0] == table["evaluations_to_target"][0] == table["epochs_to_target"][0]
    x1, x2, steps = 1.0, 1.0, 0
    while 0.5 * x1**2 + 4.5 * x2**2 > 1e-3:
        x1, x2, steps = x1 - 0.1 * x1, x2 - 0.1 * 9 * x2, steps + 1
    assert table["steps_to_target"][0] == steps


# --- the closed form --------------------------------------------------------------------------------------------------


def least_squares(seed: int) -> float:
    from gdcli.zoo.data import generator, linear

    made = linear(
        generator(seed, "data"), generator(seed, "noise"), weights=[3.0, -1.0], bias=4.0, noise=1.0, n=20,
        x={"uniform": (0.0, 2.0)},
    )  # fmt: skip
    design = np.hstack([np.ones((20, 1)), made.x])
    solution = np.linalg.lstsq(design, made.y[:, 0], rcond=None)[0]
    return float(np.mean((design @ solution - made.y[:, 0]) ** 2))


def test_the_closed_form_is_the_least_squares_solution(gdcli) -> None:
    answer = gdcli("compare", "line.yaml", "--optimizers", "sgd", "--closed-form", "--no-plot")
    assert answer.code == 0
    table = table_of("runs")
    assert table["label"].tolist() == ["sgd", "closed_form"]
    assert table["final_loss"][1] == pytest.approx(least_squares(0), rel=1e-12)
    assert table["data"].nunique() == 1
    assert answer.out.splitlines()[2].startswith("closed_form")


@pytest.mark.parametrize("redraw", [(), ("--redraw-data",)], ids=["same data", "redrawn"])
def test_the_closed_form_of_every_seed(gdcli, redraw: tuple[str, ...]) -> None:
    compare = ("compare", "line.yaml", "--optimizers", "sgd,adam", "--closed-form", "--seeds", "3", *redraw)
    answer = gdcli(*compare, "--json")
    assert answer.code == 0, answer.err
    table = table_of("runs")
    ours = table[table["label"] == "closed_form"].set_index("seed")["final_loss"]
    expected = [least_squares(seed if redraw else 0) for seed in range(3)]
    np.testing.assert_allclose(ours.loc[[0, 1, 2]], expected, rtol=1e-12)
    assert table["run"].tolist() == list(range(1, 10))
    assert table.groupby("seed")["data"].nunique().tolist() == [1] * 3
    sgd = table[table["label"] == "sgd"].set_index("seed")["final_loss"]
    (row,) = [row for row in answer.json["rows"] if row["label"] == "closed_form"]
    assert row["difference"]["mean"] == pytest.approx((ours - sgd).mean(), rel=1e-9)
    assert row["difference"]["mean"] < 0


def test_the_spec_s_block_asks_for_everything(gdcli) -> None:
    block = "compare: {optimizers: {sgd: {lr: 0.1}, adam: {}}, seeds: 3, target: 2, closed_form: true, tune: 3, tune_range: [0.01, 1]}\n"  # noqa: E501
    Path("own.yaml").write_text(LINE + block)
    answer = gdcli("compare", "own.yaml", "--json", "--no-plot")
    assert answer.code == 0, answer.err
    assert [row["label"] for row in answer.json["rows"]] == ["sgd", "adam", "closed_form"]
    assert [row["seeds"] for row in answer.json["rows"]] == [3, 3, 3]
    assert all("to_target" in row for row in answer.json["rows"])
    tried = table_of("runs", "tuning.csv")
    np.testing.assert_allclose(sorted(tried["lr"][:9].unique()), [0.01, 0.1, 1], rtol=1e-12)


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "label", "last"),
    [("steps", "step", 30), ("epochs", "epoch", 10), ("evaluations", "gradient evaluation", 200)],
)
def test_the_axis_of_the_plot(gdcli, monkeypatch: pytest.MonkeyPatch, x: str, label: str, last: int) -> None:
    drawn: dict[str, Any] = {}

    def spy(curves: Any, **settings: Any) -> bytes:
        drawn.update(settings, curves=curves)
        return b"picture"

    monkeypatch.setattr(plots, "comparison", spy)
    compare = ("compare", "line.yaml", "batch={mode: mini-batch, size: 8}", "--optimizers", "sgd,adam", "--x", x)
    assert gdcli(*compare).code == 0
    assert drawn["x_label"] == label
    root = only_folder(Path("runs"))
    assert [curve.label for curve in drawn["curves"]] == ["sgd", "adam"]
    for curve, folder in zip(drawn["curves"], ("1-sgd", "2-adam"), strict=True):
        losses = pd.read_csv(root / folder / "steps.csv")["loss"].to_numpy()
        expected = losses if x == "steps" else np.average(losses.reshape(10, 3), axis=1, weights=[8, 8, 4])
        np.testing.assert_allclose(curve.loss, expected, rtol=1e-12)
        assert (curve.at[-1], len(curve.at)) == (last, len(expected))
        assert curve.low is None


def drawn_losses(gdcli, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Any]:
    """Return the loss of each epoch that a comparison draws, by label."""
    drawn: list[plots.Curve] = []
    monkeypatch.setattr(plots, "comparison", lambda curves, **settings: drawn.extend(curves) or b"")
    assert gdcli("compare", *words, "--x", "epochs").code == 0
    return {curve.label: curve.loss for curve in drawn}


def test_a_short_last_batch_weighs_less(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six rows of loss 6.667 and one of 0 are 5.714 before the first step; 34/7 is the least that there is."""
    Path("short.yaml").write_text(
        "{data: {x: [-1, -1, 1, 1, 1, 1, 0], y: [-3, 1, 3, -1, 4, -2, 0]}, loss: mse, epochs: 40, "
        "model: {type: linear, bias: false, init: {weight: 0}}, optimizer: {name: sgd, lr: 0.01}, "
        "batch: {mode: mini-batch, size: 6, shuffle: false}}"
    )
    losses = drawn_losses(gdcli, monkeypatch, "short.yaml", "--optimizers", "sgd")["sgd"]
    assert losses[0] == pytest.approx(40 / 7, rel=1e-6)
    assert losses.min() > 34 / 7


def test_losses_that_are_sums_are_summed(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rate of next to nothing the errors stay: 4, 9, 16 of the rows 1, 2, 3; half their sum is 14.5."""
    spec = (
        "{data: {x: [1, 2, 3], y: [2, 3, 4]}, loss: LOSS, epochs: 3, dtype: float64, "
        "model: {type: linear, init: {weight: 0, bias: 0}}, optimizer: {name: sgd, lr: 1.0e-12}, "
        "batch: {mode: mini-batch, size: 2, shuffle: false}}"
    )
    for loss, expected in (("sse", 29), ("half_sse", 14.5), ("mse", 29 / 3), ("half_mse", 29 / 6), ("mae", 3)):
        Path("sums.yaml").write_text(spec.replace("LOSS", loss))
        found = drawn_losses(gdcli, monkeypatch, "sums.yaml", "--optimizers", "sgd")["sgd"]
        np.testing.assert_allclose(found, [expected] * 3, rtol=1e-9)


@pytest.mark.slow
def test_the_epochs_of_the_bundled_batch_modes_are_means_over_rows(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = drawn_losses(gdcli, monkeypatch, "gd_variants")
    folders = sorted(path for path in only_folder(Path("runs")).iterdir() if path.is_dir())
    for folder, found in zip(folders, losses.values(), strict=True):
        steps = pd.read_csv(folder / "steps.csv")
        rows, per_epoch = 100, steps["batch"].max()
        size = {1: 100, 7: 16, 100: 1}[per_epoch]
        steps["rows"] = np.where(steps["batch"] < per_epoch, size, rows - size * (per_epoch - 1))
        expected = (steps["loss"] * steps["rows"]).groupby(steps["epoch"]).sum() / rows
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    *_, small = losses.values()
    assert small[12] == pytest.approx(1.101, abs=5e-4)  # the number; a plain mean of batches is 1.012


def test_the_band_over_the_seeds(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[plots.Curve] = []
    monkeypatch.setattr(plots, "comparison", lambda curves, **settings: drawn.extend(curves) or b"")
    assert gdcli("compare", "line.yaml", "--optimizers", "sgd", "--seeds", "5").code == 0
    (curve,) = drawn
    folders = sorted(only_folder(Path("runs")).glob("*sgd*/"))
    losses = np.stack([pd.read_csv(folder / "steps.csv")["loss"] for folder in folders])
    low, high = stats.t.interval(0.95, 4, loc=losses.mean(axis=0), scale=stats.sem(losses))
    np.testing.assert_allclose([curve.low, curve.loss, curve.high], [low, losses.mean(axis=0), high], rtol=1e-9)


def test_the_closed_form_is_shown_with_its_parameters_and_each_row_s_distance_to_them(gdcli) -> None:
    """numpy's least squares; a row's distance is that of the parameters in its own summary."""
    answer = gdcli("compare", "gd_variants", "epochs=20", "--closed-form", "--no-plot", "--json")
    rows = answer.json["runs"]
    data = bundled_data("gd_variants")
    (bias, weight), *_ = np.linalg.lstsq(np.column_stack([np.ones(len(data.x)), data.x]), data.y, rcond=None)
    assert rows[-1]["weight[0,0]"] == pytest.approx(weight[0])
    assert rows[-1]["bias[0]"] == pytest.approx(bias[0])
    assert rows[-1]["distance"] == 0
    root = only_folder(Path("runs"))
    for row, folder in zip(rows, sorted(path for path in root.iterdir() if path.is_dir()), strict=False):
        found = json.loads((folder / "summary.json").read_text())["parameters"]
        w, b = found["weight"][0][0], found["bias"][0]
        assert (row["weight[0,0]"], row["bias[0]"]) == (w, b)
        assert row["distance"] == pytest.approx(np.hypot(w - weight[0], b - bias[0]))
    assert "weight[0,0]" in (root / "results.csv").read_text().splitlines()[0]
    assert [row["distance"] for row in answer.json["rows"]] == [row["distance"] for row in rows]


def test_parameters_that_are_too_many_are_their_distance_alone(gdcli) -> None:
    words = ("epochs=2", "data.generate.weights=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "data.generate.n=40")
    answer = gdcli("compare", "line.yaml", *words, "--optimizers", "sgd", "--closed-form", "--no-plot", "--json")
    assert answer.code == 0, answer.err
    assert {"distance"} == {name for name in answer.json["runs"][0] if "weight[" in name or name == "distance"}


def test_seeds_without_chance_have_no_interval(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[plots.Curve] = []
    monkeypatch.setattr(plots, "comparison", lambda curves, **settings: drawn.extend(curves) or b"")
    answer = gdcli("compare", "bowl.yaml", "--optimizers", "sgd,adam", "--seeds", "3")
    assert "±" not in answer.out
    why = "start values, rows and their order do not depend on the seed"
    assert f"the runs are identical for all 3 seeds: {why}" in answer.out.splitlines()
    assert [curve.low for curve in drawn] == [None, None]
    for row in summary_of("runs")["rows"]:
        assert (row["final_loss"]["low"], row["final_loss"]["high"]) == (None, None)


def test_seeds_that_one_row_does_not_use_are_told_of_it(gdcli) -> None:
    """The order of the rows is drawn, which full batches do not see."""
    words = ("line.yaml", "--batches", "full,mini-batch", "--seeds", "2", "--no-plot")
    answer = gdcli("compare", *words, "model.init={weight: 0, bias: 0}", "data.seed=1")
    assert answer.code == 0, answer.err
    assert "the runs of full are identical for all 2 seeds: " in answer.out
    assert "±" in answer.out


TWO_ROWS = """
data: {x: [1, 2], y: [2, 4]}
model: {type: linear, init: {weight: 0, bias: 0}}
loss: mse
optimizer: {name: sgd, lr: 0.1}
batch: stochastic
epochs: 3000
"""


@pytest.mark.parametrize("command", ["sweep --param seed=0,1", "compare --optimizers sgd --seeds 2"])
def test_runs_that_meet_at_the_minimum_are_not_identical_where_their_orders_are_drawn(gdcli, command: str) -> None:
    Path("two.yaml").write_text(TWO_ROWS)
    answer = gdcli(*command.replace(" ", " two.yaml ", 1).split(), "--no-plot")
    first, second = (path.read_text() for path in sorted(Path("runs").glob("*/*/*/steps.csv")))
    assert first != second
    table = table_of("runs")
    columns = ["weights", "data", "order", "final_loss", "best_loss"]
    assert len(table[columns].drop_duplicates()) == 1  # nothing in the table tells them apart
    assert "identical" not in answer.out


def test_runs_that_failed_are_not_called_identical(gdcli) -> None:
    answer = gdcli("compare", "normed.yaml", "--batches", "stochastic", "--seeds", "2", "--no-plot")
    assert "2 failed" in answer.out
    assert "identical" not in answer.out


def test_the_paths_of_all_optimizers_on_one_contour(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[plots.Trail] = []

    def spy(shown: plots.Plane, **settings: Any) -> bytes:
        drawn.extend(shown.trails)
        np.testing.assert_allclose(shown.loss, 0.5 * shown.x[None] ** 2 + 4.5 * shown.y[:, None] ** 2, rtol=1e-9)
        return b"picture"

    monkeypatch.setattr(plots, "plane", spy)
    answer = gdcli("compare", "bowl.yaml", "--optimizers", "sgd:lr=0.1,adam:lr=0.1", "epochs=7")
    assert "could not draw" not in answer.err
    assert [trail.label for trail in drawn] == ["sgd", "adam"]
    expected = np.stack([0.9 ** np.arange(8.0), 0.1 ** np.arange(8.0)], axis=1)
    np.testing.assert_allclose(drawn[0].points, expected, rtol=1e-6, atol=1e-9)
    assert (only_folder(Path("runs")) / "paths.png").read_bytes() == b"picture"


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_a_run_that_ends_within_its_first_epoch_has_no_best_validation_loss_yet(gdcli) -> None:
    words = ("batch={mode: mini-batch, size: 5}", "data.validation=0.2", "stop.patience=2")
    answer = gdcli("run", "line.yaml", *words, "stop.max_steps=1", "--no-plot", "--json")
    metrics = answer.json["metrics"]
    assert (metrics["best_validation_loss"], metrics["best_validation_epoch"]) == (None, None)
    swept = ("--param", "stop.max_steps=1,5", "--output", "swept", "--no-plot")
    assert gdcli("sweep", "line.yaml", *words, *swept).code == 0
    first, second = csv.DictReader((next(Path("swept").glob("*/*")) / "results.csv").read_text().splitlines())
    assert (first["best_validation_loss"], first["best_validation_epoch"]) == ("", "")
    assert (float(second["best_validation_loss"]) > 0, second["best_validation_epoch"]) == (True, "1")
    rows = ("--optimizers", "sgd", "--seeds", "2", "--output", "seeds", "--no-plot", "--json")
    (row,) = gdcli("compare", "line.yaml", *words, "stop.max_steps=1", *rows).json["rows"]
    assert (row["best_validation_loss"], row["best_validation_epoch"]) == (None, None)


# --- runs that fail, and stops ----------------------------------------------------------------------------------------


def test_a_row_that_fails_is_kept_and_counted(gdcli) -> None:
    compare = ("compare", "normed.yaml", "--batches", "mini-batch:4,mini-batch:1", "--seeds", "2", "--target", "5")
    answer = gdcli(*compare, "--json")
    assert answer.code == 1
    told = answer.err.splitlines()
    assert sum("failed: " in line and "Expected more than 1 value" in line for line in told) == 2
    assert "2 of 4 runs failed" in told
    assert table_of("runs")["status"].tolist() == ["finished", "finished", "failed", "failed"]
    good, bad = answer.json["rows"]
    assert good["final_loss"]["mean"] > 0
    assert bad["final_loss"]["mean"] is None
    assert bad["difference"]["mean"] is None


def test_runs_that_fail_while_tuning_are_counted_and_stop_where_asked(gdcli) -> None:
    compare = ("compare", "normed.yaml", "--batches", "mini-batch:4,mini-batch:1", "--tune", "2", "--no-plot")
    answer = gdcli(*compare, "-o", "all")
    assert answer.code == 1
    assert sum("mini-batch:1 lr=" in line for line in answer.err.splitlines()) == 2
    assert table_of("all")["status"].tolist() == ["finished", "failed"]
    fast = gdcli(*compare, "--fail-fast", "-o", "fast")
    assert fast.code == 1
    assert sum("failed: " in line for line in fast.err.splitlines()) == 1
    assert table_of("fast").empty


def test_a_tuning_of_which_nothing_is_finite_is_marked(gdcli) -> None:
    compare = (
        "compare",
        "line.yaml",
        "epochs=99",
        "--optimizers",
        "sgd,adam",
        "--tune",
        "2",
        "--tune-range",
        "1e5,1e6",
    )
    assert gdcli(*compare, "--no-plot").code == 0
    table = table_of("runs")
    assert table["status"].tolist() == ["diverged", "finished"]
    assert table["lr_from"][0] == "tuned, none finite"
    assert table["lr_from"][1] in ("tuned", "tuned, edge")


def test_diverged_rows_are_results_without_a_mean(gdcli) -> None:
    compare = ("compare", "line.yaml", "--optimizers", "sgd,wild=sgd:lr=1e6", "--seeds", "3", "epochs=60", "--json")
    answer = gdcli(*compare)
    assert answer.code == 0
    assert table_of("runs")["status"].tolist() == ["finished"] * 3 + ["diverged"] * 3
    _, wild = answer.json["rows"]
    assert wild["final_loss"] == {"mean": None, "low": None, "high": None}
    assert wild["difference"] == {"mean": None, "low": None, "high": None}


@pytest.mark.parametrize("number", [1, 4, 5])
def test_ctrl_c_in_the_middle_of_the_seeds(gdcli, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    added = many.ResultRows.add

    def interrupted(self: many.ResultRows, result: Any) -> None:
        added(self, result)
        if result.number == number:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(many.ResultRows, "add", interrupted)
    answer = gdcli("compare", "line.yaml", "--optimizers", "sgd,adam", "--seeds", "3", "--target", "2", "--closed-form")
    assert answer.code == 130, answer.err
    assert "Traceback" not in answer.err
    table = table_of("runs")
    assert table["run"].tolist() == list(range(1, number + 1))
    summary = summary_of("runs")
    assert summary["status"] == "interrupted"
    if number == 5:  # the pairs that there are
        losses = table.set_index(["label", "seed"])["final_loss"]
        expected = (losses["adam"] - losses["sgd"][:2]).mean()
        assert summary["rows"][1]["difference"]["mean"] == pytest.approx(expected, rel=1e-12)


def test_ctrl_c_while_tuning(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    from gdcli.commands.compare import run

    carried = run.run_all

    def interrupted(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return carried(*arguments, **options)

    monkeypatch.setattr(run, "run_all", interrupted)
    answer = gdcli("compare", "line.yaml", "--optimizers", "sgd,adam", "--seeds", "2", "--tune", "3")
    assert answer.code == 130, answer.err
    assert "Traceback" not in answer.err
    assert table_of("runs").empty
    assert summary_of("runs")["status"] == "interrupted"


# --- what cannot be ---------------------------------------------------------------------------------------------------

REFUSED = [
    (["--optimizers", "sgd,adam,sgd"], "--optimizers: the label 'sgd' is given twice"),
    (["--tune", "1"], "--tune takes a number of learning rates from 2 on (got 1)"),
    (["--tune", "-3"], "--tune takes a number of learning rates from 2 on (got -3)"),
    (["--tune", "3", "--tune-range=-1,1"], "--tune-range takes two learning rates above 0 (got -1,1)"),
    (["--tune", "3", "--tune-range", "0,1"], "--tune-range takes two learning rates above 0 (got 0,1)"),
    (["--tune", "3", "--tune-range", "nan,1"], "--tune-range takes two learning rates above 0 (got nan,1)"),
    (["--tune", "3", "--tune-range", "1,0.1"], "--tune-range takes the lower learning rate first (got 1,0.1)"),
    (
        ["--tune", "3", "--tune-range", "0,1,1"],
        "--tune-range takes two numbers, LOW,HIGH (got '0,1,1'). A number has a",
    ),
    (["--tune", "3", "--tune-range", "1"], "--tune-range takes two numbers, LOW,HIGH (got '1')"),
    (["--tune-range", "0.1,1"], "--tune-range is the range of --tune N, which is not given"),
    (["--tune", "1000000000"], "2,000,000,002 runs are more than 10,000. --max-runs raises it"),
    (["--seeds", "1000000000"], "2,000,000,000 runs are more than 10,000. --max-runs raises it"),
    (["--seeds", "3", "--max-runs", "5"], "6 runs are more than 5. --max-runs raises it"),
    (["--x", "nonsense"], "Invalid value for '--x'"),
    (["--seeds", "0"], "Invalid value for '--seeds'"),
    (["--target", "nan"], "--target takes a loss (got nan)"),
    (["--target", "inf"], "--target takes a loss (got inf)"),
    (["--target", "low"], "Invalid value for '--target'"),
    (["--optimizers", "closed_form=sgd", "--closed-form"], "the label 'closed_form' is that of the closed form's row"),
    (["--jobs", "0"], "Invalid value for '--jobs'"),
]


@pytest.mark.parametrize(("words", "expected"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_a_comparison_that_cannot_be(gdcli, words: list[str], expected: str) -> None:
    before = set(Path.cwd().iterdir())
    labels = [] if "--optimizers" in words else ["--optimizers", "sgd,adam"]
    answer = gdcli("compare", "line.yaml", *labels, *words)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith(expected)
    assert set(Path.cwd().iterdir()) == before


@pytest.mark.parametrize(
    ("spec", "changes", "reason"),
    [
        ("digits.yaml", (), "needs a squared loss"),
        ("backprop_2x2", (), ""),
        ("bowl.yaml", (), ""),
        ("line.yaml", ("loss=mae",), "needs a squared loss"),
    ],
)
def test_a_closed_form_that_is_not_there(gdcli, spec: str, changes: tuple[str, ...], reason: str) -> None:
    before = set(Path.cwd().iterdir())
    answer = gdcli("compare", spec, *changes, "--optimizers", "sgd", "--closed-form")
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("--closed-form: ")
    assert reason in line
    assert set(Path.cwd().iterdir()) == before
