"""Metrics against scikit-learn's, on random data with ties, a class that no row has, one row; what is undefined."""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch

from gdcli.errors import MachineError
from gdcli.zoo import metrics as module
from gdcli.zoo.metrics import EXTRAS, HIGHER_IS_BETTER, METRICS, highest_first, metric_of, require_installed
from gdcli.zoo.table import Table

CLASSES = 5


def table_of(y: np.ndarray[Any, Any], classes: int = 0) -> Table:
    return Table(np.zeros((len(y), 1)), y, ("x",), ("y",), classes)


def told(name: str, loss: str, output: np.ndarray[Any, Any], y: np.ndarray[Any, Any], classes: int = 0) -> Any:
    metric = METRICS[name](loss, table_of(y, classes))
    assert metric is not None
    return metric(torch.from_numpy(output), torch.from_numpy(y))


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_scikit_learns(rows: int, outputs: int, dtype: type) -> None:
    rng = np.random.default_rng(rows + outputs)
    output = rng.normal(size=(rows, outputs)).round(1).astype(dtype)  # with ties
    y = rng.normal(3, 2, size=(rows, outputs)).round(1)
    wide = output.astype(np.float64)
    assert told("mae", "mse", output, y) == pytest.approx(sk.mean_absolute_error(y, wide), rel=1e-12)
    assert told("rmse", "huber", output, y) == pytest.approx(sk.root_mean_squared_error(y, wide), rel=1e-12)
    if rows == 1:
        assert math.isnan(told("r2", "mse", output, y))  # scikit-learn warns, and says NaN
    else:
        assert told("r2", "mse", output, y) == pytest.approx(sk.r2_score(y, wide), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("output", [[1.0, 1.0, 1.0], [1.0, 2.0, 1.0]])
def test_r2_of_targets_that_are_all_the_same_is_scikit_learns(output: list[float]) -> None:
    y, o = np.ones((3, 1)), np.array(output)[:, None]
    assert told("r2", "mse", o, y) == sk.r2_score(y, o)
    assert told("r2", "mse", np.hstack([o, o]), np.hstack([y, o])) == sk.r2_score(np.hstack([y, o]), np.hstack([o, o]))
    assert told("r2", "mse", o, np.full((3, 1), 0.1)) == 0.0  # whose mean is not 0.1 in floating-point numbers


@pytest.mark.parametrize("rows", [1, 2, 20, 1000])
def test_classes_are_scikit_learns(rows: int) -> None:
    rng = np.random.default_rng(rows)
    scores = rng.normal(size=(rows, CLASSES)).round(0)  # with ties: the first of the largest is the class
    y = rng.choice([0, 1, 2, 4], rows)  # none of class 3
    predicted = scores.argmax(axis=1)
    assert told("accuracy", "cross_entropy", scores, y, CLASSES) == sk.accuracy_score(y, predicted)
    wanted = sk.confusion_matrix(y, predicted, labels=range(CLASSES))
    assert told("confusion", "nll", scores, y, CLASSES) == wanted.tolist()


@pytest.mark.parametrize(("loss", "border"), [("bce", 0.5), ("bce_with_logits", 0.0)])
def test_two_classes_of_one_output_are_scikit_learns(loss: str, border: float) -> None:
    rng = np.random.default_rng(3)
    output, y = rng.uniform(-1, 1, size=(30, 1)) + border, rng.integers(0, 2, (30, 1)).astype(np.float64)
    wanted = sk.confusion_matrix(y[:, 0], output[:, 0] > border, labels=[0, 1])
    assert told("confusion", loss, output, y) == wanted.tolist()
    assert told("accuracy", loss, output, y) == sk.accuracy_score(y[:, 0], output[:, 0] > border)


def test_what_a_loss_has_no_metric_for() -> None:
    values, classes = table_of(np.ones((3, 1))), table_of(np.array([0, 1, 1]), 2)
    ours = [name for name in METRICS if name not in EXTRAS]
    assert [name for name in ours if METRICS[name]("mse", values)] == ["r2", "mae", "rmse"]
    assert [name for name in ours if METRICS[name]("cross_entropy", classes)] == ["accuracy", "confusion"]
    assert [name for name in METRICS if METRICS[name]("", None)] == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "nll", "bce", "bce_with_logits"])
def test_every_metric_is_undefined_where_an_output_is_not_finite(
    loss: str, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one rule for ours, torchmetrics' and plugins': scikit-learn refuses such outputs."""
    monkeypatch.setitem(METRICS, "own", lambda loss, training: lambda output, y: 1.0)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        sk.r2_score([0.0, 1.0], [0.0, bad])
    classes = loss in ("cross_entropy", "nll")
    y = np.array([0, 1, 1]) if classes else np.array([[0.0], [1.0], [1.0]])
    output = torch.full((3, 2 if classes else 1), 0.25, dtype=torch.float64)
    spoiled = output.clone()
    spoiled[1, 0] = bad
    names = []
    for name in METRICS:
        metric = metric_of(name, loss, table_of(y, 2 * classes))
        if metric is not None:
            names.append(name)
            assert math.isnan(metric(spoiled, torch.from_numpy(y))), name
            assert name != "own" or metric(output, torch.from_numpy(y)) == 1.0
    assert {"own", *(["mae"] if loss == "mse" else ["accuracy", "confusion", "f1", "auroc"])} <= {*names}


def test_the_direction_of_each_metric() -> None:
    assert {*METRICS} - HIGHER_IS_BETTER == {"confusion", "mae", "rmse", "mape"}
    names = ["validation_accuracy", "best_validation_r2", "test_f1", "training_rmse", "validation_loss", "final_loss"]
    assert [highest_first(name) for name in names] == [True, True, True, False, False, False]


# --- torchmetrics, which is an extra ----------------------------------------------------------------------------------


def test_a_metric_of_torchmetrics_without_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"f1 needs torchmetrics.*pip install 'gradient-descent-cli\[metrics\]'"):
        require_installed("f1")
    require_installed("r2")


def by_sklearn(name: str) -> Callable[..., float]:
    """What scikit-learn says, from true classes and shares [n, C], or for values."""

    def of(y: Any, shares: Any) -> float:
        predicted = shares.argmax(1) if shares.shape[1] > 1 else (shares[:, 0] > 0.5).astype(int)
        average: dict[str, Any] = {"average": "macro" if shares.shape[1] > 1 else "binary"}
        multi: dict[str, Any] = {"multi_class": "ovr", "average": "macro"} if shares.shape[1] > 1 else {}
        return {
            "f1": lambda: sk.f1_score(y, predicted, **average),
            "precision": lambda: sk.precision_score(y, predicted, **average),
            "recall": lambda: sk.recall_score(y, predicted, **average),
            "auroc": lambda: sk.roc_auc_score(y, shares if multi else shares[:, 0], **multi),
            "cohen_kappa": lambda: sk.cohen_kappa_score(y, predicted),
            "matthews": lambda: sk.matthews_corrcoef(y, predicted),
        }[name]()  # type: ignore[no-any-return]  # scikit-learn has no types

    return of


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "auroc", "cohen_kappa", "matthews"])
@pytest.mark.parametrize("classes", [1, 3])
def test_torchmetrics_classes_are_scikit_learns(name: str, classes: int) -> None:
    pytest.importorskip("torchmetrics", reason="torchmetrics is an extra that is not installed here")
    rng = np.random.default_rng(classes)
    y = rng.integers(0, max(2, classes), 60)
    output = rng.normal(size=(60, classes))
    if classes == 1:
        shares, targets, loss = 1 / (1 + np.exp(-output)), y[:, None].astype(np.float64), "bce_with_logits"
    else:
        shares, targets, loss = np.exp(output) / np.exp(output).sum(1, keepdims=True), y, "cross_entropy"
    found = told(name, loss, output, targets, classes)
    assert found == pytest.approx(by_sklearn(name)(y, shares), abs=1e-6)  # torchmetrics computes in float32


def test_a_class_of_torchmetrics_gets_shares_and_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in: which class, what it is made with, and that AUROC of one class is undefined."""
    asked: list[Any] = []

    def stand_in(name: str) -> Any:
        def make(**settings: Any) -> Any:
            asked.append((name, settings))
            return types.SimpleNamespace(to=lambda device: lambda output, y: output.sum() + 0 * y.sum())

        return make

    fake: Any = types.ModuleType("torchmetrics")
    fake.classification = types.SimpleNamespace(
        MulticlassF1Score=stand_in("MulticlassF1Score"), BinaryAUROC=stand_in("BinaryAUROC")
    )
    monkeypatch.setitem(sys.modules, "torchmetrics", fake)
    scores, y = np.random.default_rng(1).normal(size=(4, 3)), np.array([0, 1, 2, 0])
    assert told("f1", "cross_entropy", scores, y, 3) == pytest.approx(4)  # shares of each row add up to 1
    both = np.array([[0.0], [1.0]])
    assert told("auroc", "bce_with_logits", np.zeros((2, 1)), both) == pytest.approx(1)  # σ(0) + σ(0)
    assert math.isnan(told("auroc", "bce", both, np.ones((2, 1))))
    assert asked == [("MulticlassF1Score", {"num_classes": 3, "average": "macro"}), ("BinaryAUROC", {})]
