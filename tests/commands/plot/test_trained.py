"""The pictures of a trained model: the fitted curve, regions of classes, the confusion matrix, metrics over epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

import gdcli as package
from gdcli.report import plots

LINE = {
    "data": {"x": [1, 2, 3, 4, 6], "y": [2, 4, 6, 8, 12], "standardize": True},
    "model": "linear",
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "epochs": 300,
    "dtype": "float64",
    "print": {"style": "tensor"},
}
MOONS = {
    "data": {"generate": {"kind": "moons", "n": 60}, "validation": 0.25, "standardize": True},
    "model": {"type": "mlp", "layers": [2, 8, 2], "activation": "tanh"},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.1},
    "epochs": 30,
    "metrics": ["accuracy"],
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the pictures are drawn of."""
    found: list[Any] = []
    for name in ("fitted_curve", "decision_regions", "confusion_matrix", "metric_curves", "training_curves"):
        picture = getattr(plots, name)
        monkeypatch.setattr(picture, "drawn", lambda form, *given, name=name: found.append((name, *given)) or b"x")
    return found


def written(spec: dict[str, Any]) -> str:
    Path("t.json").write_text(json.dumps(spec))
    return "t.json"


def test_the_fitted_line_is_that_of_the_data_in_their_own_units(gdcli: Any, drawn: list[Any]) -> None:
    assert gdcli("plot", written(LINE), "--kind", "fit").code == 0
    ((name, rows, x, curves, names, title),) = drawn
    assert (name, names, title) == ("fitted_curve", ("x", "y"), "t")
    np.testing.assert_allclose(rows[0].x, [1, 2, 3, 4, 6], rtol=1e-12)
    np.testing.assert_allclose(curves[0][1], 2 * x, rtol=1e-6)


@pytest.mark.parametrize("of", ["spec", "record"])
def test_the_regions_are_the_classes_that_the_model_predicts(gdcli: Any, drawn: list[Any], of: str) -> None:
    word = written(MOONS)
    if of == "record":
        assert gdcli("run", word, "-q", "--no-plot").code == 0
    assert gdcli("plot", "last" if of == "record" else word, "--kind", "fit").code == 0
    ((_, rows, x, y, regions, classes, _, _),) = drawn
    run = package.run(MOONS)
    for i, j in ((0, 0), (10, 250), (299, 40)):
        assert regions[i, j] == run.predict([[x[j], y[i]]]).argmax()
    assert ([part.held_out for part in rows], len(rows[1].x), classes) == ([False, True], 15, ["0", "1"])


def test_the_confusion_matrix_is_of_the_validation_rows(gdcli: Any, drawn: list[Any]) -> None:
    assert gdcli("plot", written(MOONS), "--kind", "fit").code == 0
    held_out = drawn.pop()[1][1]
    assert gdcli("plot", written(MOONS), "--kind", "confusion").code == 0
    ((_, counts, names, _, heading),) = drawn
    predicted = package.run(MOONS).predict(held_out.x).argmax(1)
    assert counts.tolist() == sk.confusion_matrix(held_out.y, predicted).tolist()
    assert heading == f"15 validation rows, accuracy {sk.accuracy_score(held_out.y, predicted):.4g}"
    assert names == ["0", "1"]


def test_metrics_and_losses_over_the_epochs_are_those_of_epochs_csv(gdcli: Any, drawn: list[Any]) -> None:
    import pandas as pd

    assert gdcli("run", written({**MOONS, "metric": "accuracy"}), "-q").code == 0
    (folder,) = Path("runs/t").iterdir()
    table = pd.read_csv(folder / "epochs.csv")
    assert gdcli("plot", "last", "--kind", "metrics").code == 0
    assert gdcli("plot", "last").code == 0
    picture, metrics, curves = drawn
    assert (picture[0], metrics[0], curves[0]) == ("training_curves", "metric_curves", "training_curves")
    (panel,) = metrics[1]
    assert panel.validation[1].tolist() == table.validation_accuracy.tolist()
    assert panel.training[1].tolist() == table.training_accuracy.tolist()
    assert panel.best == (table.validation_accuracy.idxmax() + 1, table.validation_accuracy.max())
    loss, below = curves[1]
    assert loss.validation[1].tolist() == table.validation_loss.tolist()
    assert below.label == "accuracy"


@pytest.mark.parametrize("by", [{"metric": "accuracy"}, {}])
def test_the_ring_is_at_the_best_epoch_of_the_summary(gdcli: Any, drawn: list[Any], by: dict[str, str]) -> None:
    """An epoch that is better by less than min_delta is not the best one."""
    assert gdcli("run", written({**MOONS, "stop": {"patience": 99, "min_delta": 0.1, **by}}), "-q").code == 0
    (folder,) = Path("runs/t").iterdir()
    metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    name = by.get("metric", "loss")
    (best,) = [panel.best for panel in drawn[-1][1] if panel.best is not None]
    assert best == (metrics["best_validation_epoch"], metrics[f"best_validation_{name}"])


@pytest.mark.parametrize(
    ("spec", "kind", "told"),
    [
        ({**MOONS, "data": {"dataset": "iris"}, "model": "linear"}, "fit", "two features and classes (got 4 features"),
        (LINE, "confusion", "draws models of classes"),
        (LINE, "metrics", "has no metric after each epoch"),
    ],
)
def test_what_cannot_be_drawn_says_why(gdcli: Any, spec: dict[str, Any], kind: str, told: str) -> None:
    answer = gdcli("plot", written(spec), "--kind", kind)
    assert (answer.code, told in answer.err) == (2, True), answer.err


@pytest.mark.parametrize(("spec", "kind"), [(LINE, "fit"), (MOONS, "fit"), (MOONS, "confusion"), (MOONS, "metrics")])
def test_a_picture_has_the_same_bytes_each_time(gdcli: Any, spec: dict[str, Any], kind: str) -> None:
    for name in ("a.png", "b.png"):
        assert gdcli("plot", written(spec), "--kind", kind, "-o", name).code == 0
    content = Path("a.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content == Path("b.png").read_bytes()


def test_the_summary_at_the_end_has_six_lines_at_most_and_none_when_quiet(gdcli: Any) -> None:
    answer = gdcli("run", written({**MOONS, "stop": {"patience": 3, "restore": True}}))
    lines = answer.err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("no better validation loss in 3 epochs")
    assert " epochs in " in lines[1]
    assert "whose weights these are" in lines[2]
    assert lines[3].startswith("accuracy ")
    assert [line.partition(":")[0] for line in lines[4:]] == ["record", "picture"]
    assert gdcli("run", written(MOONS), "-q").err == ""
