"""What runs are tuned and ranked by: the validation rows where there are some, or `metric`, in its direction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text

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
