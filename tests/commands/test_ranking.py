"""What runs are tuned and ranked by: the validation rows where there are some, or `metric`, in its direction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from gdcli.report import plots
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


def test_a_sweep_is_drawn_over_what_it_is_ranked_by(gdcli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}

    def spy(name: str, values: Any, loss: Any, **settings: Any) -> bytes:
        drawn.update(settings, loss=loss)
        return b""

    monkeypatch.setattr(plots, "sweep_runs", spy)
    Path("t.json").write_text(json.dumps(SPEC | {"metric": "accuracy"}))
    assert gdcli("sweep", "t.json", "--param", "lr=1e-4,0.3,3", "-q").code == 0
    rows = pd.read_csv(only_folder(Path("runs")) / "results.csv")
    assert (drawn["loss_label"], drawn["highest"]) == ("validation_accuracy", True)
    assert drawn["loss"].tolist() == rows.validation_accuracy.tolist()
