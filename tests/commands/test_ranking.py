"""What runs are tuned and ranked by: the validation rows where there are some, or `metric`, in its direction."""

from __future__ import annotations

import json
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from scipy import stats

from gdcli.report.plots import canvas
from tests.conftest import only_folder

SPEC: dict[str, Any] = {
    "name": "t",
    "data": {"generate": {"kind": "moons", "n": 60, "noise": 0.3}, "validation": 0.3},
    "model": {"type": "mlp", "layers": [2, 8, 2], "activation": "tanh"},
    "loss": "cross_entropy",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "epochs": 10,
}


@pytest.mark.parametrize(
    ("metric", "column", "text"),
    [
        (None, "validation_loss", "scored by the mean validation_loss over"),
        ("accuracy", "validation_accuracy", "scored by the mean validation_accuracy, the highest first, over"),
        ("training_loss", "final_loss", "scored by the mean final loss over"),
    ],
)
def test_tuning_goes_by_the_validation_rows_or_the_metric(
    gdcli: Any, metric: str | None, column: str, text: str
) -> None:
    Path("t.json").write_text(json.dumps(SPEC | ({} if metric is None else {"metric": metric})))
    answer = gdcli("compare", "t.json", "--optimizers", "sgd,adam", "--tune", "4", "--no-plot", "-q")
    assert answer.code == 0, answer.err
    assert text in answer.out
    folder = only_folder(Path("runs"))
    tried, chosen = pd.read_csv(folder / "tuning.csv"), pd.read_csv(folder / "results.csv")
    for label, rows in tried.groupby("label"):
        score = rows.sort_values("lr")[column] * (-1 if "accuracy" in column else 1)
        assert chosen[chosen.label == label].lr.item() == rows.lr[score.idxmin()]


def test_a_sweep_that_holds_rows_out_in_all_runs_is_ranked_by_them(gdcli: Any) -> None:
    """Their shares are an axis; the spec itself holds none out. Each row has the numbers of a run alone."""
    data = {"generate": {"kind": "moons", "n": 60, "noise": 0.3}}
    Path("t.json").write_text(json.dumps(SPEC | {"data": data}))
    words = ("sweep", "t.json", "--param", "data.validation=0.3,0.4", "--fleet", "off", "--no-plot", "-q", "-o", "many")
    answer = gdcli(*words)
    rows = pd.read_csv(only_folder(Path("many")) / "results.csv")
    for share, loss, accuracy in zip(
        rows["data.validation"], rows["validation_loss"], rows["validation_accuracy"], strict=True
    ):
        alone = gdcli("run", "t.json", f"data.validation={share}", "--json", "--no-plot", "-o", f"{share}").json
        assert (alone["metrics"]["validation_loss"], alone["metrics"]["validation_accuracy"]) == (loss, accuracy)
    best = rows.loc[rows["validation_loss"].idxmin()]
    told = f"data.validation={best['data.validation']} ({best['validation_loss']:.6g})"
    assert answer.out.splitlines()[-1] == f"best by validation_loss, the lowest first: {told}"
    mixed = gdcli("sweep", "t.json", "--param", "data.validation=null,0.4", "--no-plot", "-q").out
    assert "validation_loss" not in mixed


FOLDED = SPEC | {"data": {"generate": {"kind": "moons", "n": 60, "noise": 0.3}, "folds": 3, "test": 0.2}}


def test_tuning_goes_by_the_mean_over_the_folds(gdcli: Any) -> None:
    Path("t.json").write_text(json.dumps(FOLDED))
    answer = gdcli("compare", "t.json", "--optimizers", "sgd,adam", "--tune", "4", "--no-plot", "-q")
    assert answer.code == 0, answer.err
    assert "scored by the mean validation_loss over another seed and 3 folds\n" in answer.out
    folder = only_folder(Path("runs"))
    tried, chosen = pd.read_csv(folder / "tuning.csv"), pd.read_csv(folder / "results.csv")
    for label, rows in tried.groupby("label"):
        assert (rows.groupby("lr").fold.apply(sorted).apply(tuple) == (0, 1, 2)).all()
        assert set(chosen[chosen.label == label].lr) == {rows.groupby("lr").validation_loss.mean().idxmin()}
    assert chosen.test_loss.notna().all()


def test_the_best_of_a_sweep_is_the_best_over_its_folds(gdcli: Any) -> None:
    Path("t.json").write_text(json.dumps(FOLDED | {"metric": "accuracy"}))
    answer = gdcli("sweep", "t.json", "--param", "lr=1e-4,0.3,3", "--no-plot", "-q")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("runs"))
    rows, summary = pd.read_csv(folder / "results.csv"), json.loads((folder / "summary.json").read_text())
    means = rows.groupby("lr")[["validation_accuracy", "final_loss"]].mean()
    best = means.validation_accuracy.idxmax()
    assert (summary["best"], summary["ranked_by"], summary["folds"]) == (f"lr={best:g}", "validation_accuracy", 3)
    found = summary["best_value"], summary["best_loss"]
    assert found == pytest.approx(tuple(means.loc[best]), rel=1e-12)
    assert f"best by the mean validation_accuracy over 3 folds, the highest first: lr={best:g} (" in answer.out


def test_a_sweep_is_ranked_by_the_metric_the_highest_first(gdcli: Any) -> None:
    Path("t.json").write_text(json.dumps(SPEC | {"metric": "accuracy"}))
    answer = gdcli("sweep", "t.json", "--param", "lr=1e-4,0.3,3", "--no-plot", "-q")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("runs"))
    rows, summary = pd.read_csv(folder / "results.csv"), json.loads((folder / "summary.json").read_text())
    best = rows.loc[rows.validation_accuracy.idxmax()]
    assert summary["best"] == f"lr={best.lr:g}"
    assert (summary["ranked_by"], summary["best_value"]) == ("validation_accuracy", best.validation_accuracy)
    assert f"best by validation_accuracy, the highest first: lr={best.lr:g}" in answer.out
    found = [row["validation_accuracy"] for row in gdcli("ls", "last", "--sort-by", "metric", "--json").json]
    assert found == sorted(rows.validation_accuracy, reverse=True)
    assert json.loads(gdcli("show", "last", "--json").out)["best"][0]["lr"] == best.lr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("metric=validation_acuracy",), "unknown metric (got 'validation_acuracy'). Did you mean 'validation_acc"),
        (("metric=test_accuracy",), "test rows choose nothing"),
        (("metric=confusion",), "a matrix is not better or worse than another"),
        (("metric=validation_loss", "data.validation=null"), "there are no validation rows"),
        (("metrics=[r2]",), "metrics[0]: the loss cross_entropy on these targets has no r2. It has accuracy"),
    ],
)
def test_what_nothing_can_be_chosen_by(gdcli: Any, words: tuple[str, ...], told: str) -> None:
    Path("t.json").write_text(json.dumps(SPEC))
    answer = gdcli("validate", "t.json", *words)
    assert (answer.code, told in answer.err) == (2, True), answer.err


def test_a_metric_that_no_epoch_has_leaves_no_best_epoch_to_tell_of(gdcli: Any) -> None:
    """R² of one validation row is undefined."""
    data = {"x": [[1], [2], [3], [4]], "y": [2, 4, 6, 9], "validation": 1}
    spec = {"data": data, "model": "linear", "loss": "mse", "optimizer": {"name": "sgd", "lr": 0.01}, "epochs": 2}
    Path("t.json").write_text(json.dumps(spec | {"name": "t", "metric": "r2"}))
    answer = gdcli("run", "t.json", "--no-plot")
    assert answer.code == 0, answer.err
    assert "best:" not in answer.err
    metrics = json.loads((only_folder(Path("runs")) / "summary.json").read_text())["metrics"]
    assert metrics["best_validation_r2"] is metrics["best_validation_epoch"] is None


@pytest.mark.parametrize(("metric", "column"), [(None, "validation_loss"), ("accuracy", "validation_accuracy")])
def test_rows_of_several_seeds_differ_in_what_they_are_ranked_by(gdcli: Any, metric: str | None, column: str) -> None:
    Path("t.json").write_text(json.dumps(SPEC | ({} if metric is None else {"metric": metric})))
    compare = ("compare", "t.json", "--optimizers", "sgd,adam:lr=0.05", "--seeds", "4", "--no-plot", "-q")
    answer = gdcli(*compare)
    assert answer.code == 0, answer.err
    folder = only_folder(Path("runs"))
    found = pd.read_csv(folder / "results.csv").pivot(index="seed", columns="label", values=column)
    sgd, adam = (found[label] for label in ("sgd", "adam"))
    interval = stats.ttest_rel(adam, sgd).confidence_interval(0.95)
    row = json.loads((folder / "summary.json").read_text())["rows"][1]["ranked"]
    assert row["by"] == column
    assert row["mean"] == pytest.approx(adam.mean(), rel=1e-12)
    assert row["difference"]["mean"] == pytest.approx((adam - sgd).mean(), rel=1e-9)
    ends = row["difference"]["low"], row["difference"]["high"]
    assert ends == pytest.approx((interval.low, interval.high), rel=1e-9)
    half = stats.t.ppf(0.975, 3) * sgd.std() / 2
    assert f" {sgd.mean():.6g} ± {half:.2g} " in answer.out
    assert f" {column} minus sgd " in answer.out
    assert f" {(adam - sgd).mean():.6g} ± {(interval.high - interval.low) / 2:.2g} " in answer.out


def test_the_best_of_a_sweep_over_seeds_is_the_best_mean(gdcli: Any) -> None:
    Path("t.json").write_text(json.dumps(SPEC | {"epochs": 3}))
    answer = gdcli("sweep", "t.json", "--param", "lr=0.03,0.3,3", "--seeds", "4", "--no-plot", "-q")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("runs"))
    rows, summary = pd.read_csv(folder / "results.csv"), json.loads((folder / "summary.json").read_text())
    by_lr = rows.groupby("lr").validation_loss
    means = by_lr.mean()
    best = means.idxmin()
    assert (summary["best"], summary["seeds"]) == (f"lr={best:g}", 4)
    assert summary["best_value"] == pytest.approx(means[best], rel=1e-12)
    assert summary["best_loss"] == pytest.approx(rows.groupby("lr").final_loss.mean()[best], rel=1e-12)
    halves = stats.t.ppf(0.975, 3) * by_lr.std() / 2
    told = [line.split() for line in answer.out[answer.out.index("mean validation_loss") :].splitlines()[1:4]]
    order = means.sort_values().index
    assert told == [[f"{lr:g}", "4", f"{means[lr]:.6g}", "±", f"{halves[lr]:.2g}"] for lr in order]
    assert f"best by the mean validation_loss over 4 seeds, the lowest first: lr={best:g} (" in answer.out


LINE = {
    "name": "t",
    "data": {"generate": {"kind": "linear", "n": 12, "weights": [2], "noise": 5}, "validation": 4},
    "model": "linear",
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 1e-6},
    "epochs": 2,
    "metric": "r2",
}


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_an_undefined_metric_is_an_empty_cell_and_null_and_ranks_last(gdcli: Any, command: str) -> None:
    """R² of one row is undefined; that of two or three, of a line that has hardly moved, is below 0."""
    Path("t.json").write_text(json.dumps(LINE))
    if command == "sweep":
        answer = gdcli("sweep", "t.json", "--param", "data.validation=1,2,3", "-q")
        assert answer.code == 0, answer.err
        folder = only_folder(Path("runs"))
        undefined, *defined = pd.read_csv(folder / "results.csv").to_dict("records")
        assert np.isnan([undefined["validation_r2"], undefined["best_validation_r2"]]).all()
        best = max(defined, key=lambda row: row["validation_r2"])
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["best"] == f"data.validation={best['data.validation']}"
        assert summary["best_value"] == best["validation_r2"] < 0
        assert f"best by validation_r2, the highest first: {summary['best']} (" in answer.out
        folders = sorted(path.parent for path in folder.rglob("epochs.csv"))
    else:
        for rows in (2, 1, 3):
            assert gdcli("run", "t.json", f"data.validation={rows}", "--no-plot", "-q").code == 0
        folders = [path.parent for path in Path("runs").rglob("epochs.csv")]
    assert len(folders) == 3
    for each in folders:
        metrics = json.loads((each / "summary.json").read_text())["metrics"]
        epochs = pd.read_csv(each / "epochs.csv")
        is_one = "validation: 1\n" in (each / "config.yaml").read_text()
        names = ("validation_r2", "best_validation_r2", "r2")
        assert [metrics[name] is None for name in names] == [is_one, is_one, False]
        assert epochs["validation_r2"].isna().tolist() == [is_one] * 2
        assert (",nan" in (each / "epochs.csv").read_text().lower()) is False
    listed = ["last"] if command == "sweep" else []
    for more in ((), ("--reverse",)):
        found = [row["validation_r2"] for row in gdcli("ls", *listed, "--sort-by", "metric", *more, "--json").json]
        assert found[-1] is None
        assert found[:2] == sorted(found[:2], reverse=not more)


def test_the_auroc_of_rows_that_lack_a_class_is_undefined_and_ranks_last(
    gdcli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rows of one class torchmetrics is not asked; of others a stand-in answers, which is not always installed."""
    fake: Any = types.ModuleType("torchmetrics")
    fake.__spec__ = ModuleSpec("torchmetrics", None)
    answered = types.SimpleNamespace(to=lambda device: lambda output, y: output.new_tensor(0.25))
    fake.classification = types.SimpleNamespace(MulticlassAUROC=lambda **settings: answered)
    monkeypatch.setitem(sys.modules, "torchmetrics", fake)
    Path("t.csv").write_text("a,y\n1,0\n2,1\n3,0\n4,1\n")
    Path("one.csv").write_text("a,y\n1,0\n2,0\n")
    Path("both.csv").write_text("a,y\n1,0\n2,1\n")
    data = {"file": "t.csv", "target": "y", "validation": 1}
    spec = {**SPEC, "data": data, "model": "linear", "metric": "auroc", "epochs": 2}
    Path("t.json").write_text(json.dumps(spec))
    assert gdcli("sweep", "t.json", "--param", "data.validation=one.csv,both.csv", "-q", "--no-plot").code == 0
    folder = only_folder(Path("runs"))
    rows = pd.read_csv(folder / "results.csv").set_index("data.validation")
    assert np.isnan(rows.validation_auroc["one.csv"])
    assert rows.validation_auroc["both.csv"] == 0.25
    assert json.loads((folder / "summary.json").read_text())["best"] == "data.validation=both.csv"
    listed = gdcli("ls", "last", "--sort-by", "metric", "--json").json
    assert [row["validation_auroc"] for row in listed] == [0.25, None]


@pytest.mark.parametrize(
    "axes", [["lr=0.001,0.1,1e39"], ["lr=0.001,0.1", "optimizer=sgd,adam"], ["optimizer=sgd,adam"]]
)
@pytest.mark.parametrize(
    ("metric", "column", "label"),
    [
        ("accuracy", "validation_accuracy", "validation accuracy (highest best)"),
        ("validation_loss", "validation_loss", "validation loss (lowest best)"),
        ("training_loss", "final_loss", "loss (cross_entropy)"),
    ],
)
def test_the_picture_of_a_sweep_shows_what_its_runs_are_ranked_by(
    gdcli: Any, monkeypatch: pytest.MonkeyPatch, axes: list[str], metric: str, column: str, label: str
) -> None:
    figures = []
    monkeypatch.setattr(canvas, "render", lambda figure, form="png": figures.append(figure) or b"")
    Path("t.json").write_text(json.dumps(SPEC | {"metric": metric}))
    answer = gdcli("sweep", "t.json", *(part for axis in axes for part in ("--param", axis)), "-q")
    assert answer.code == 0, answer.err
    (figure,) = figures
    (drawn,) = figure.axes
    finite = pd.read_csv(only_folder(Path("runs")) / "results.csv")[column].dropna().tolist()
    shown = [y for line in drawn.lines if line.get_marker() not in "*xX" for y in line.get_ydata() if np.isfinite(y)]
    shown += [bar.get_y() + bar.get_height() for bar in drawn.patches if isinstance(bar, Rectangle)]
    assert sorted(shown) == pytest.approx(sorted(finite))
    assert drawn.get_ylabel() == ("final " * (column == "final_loss" and len(axes) == 2)) + label
    if axes == ["lr=0.001,0.1,1e39"]:
        (star,) = [line.get_ydata()[0] for line in drawn.lines if line.get_marker() == "*"]
        assert star == pytest.approx(max(finite) if metric == "accuracy" else min(finite))
        gone = {text.get_text() for text in figure.findobj(Text)} & {"diverged", "no value"}
        assert gone == {"diverged" if metric == "training_loss" else "no value"}
