"""Patience on any number, in its direction, and the weights of the best epoch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import gdcli
from gdcli.engine.block import GrowingBlock
from gdcli.engine.epochs import EpochEnds
from gdcli.engine.problem import build
from gdcli.engine.run_state import RunState
from tests.engine.plain_torch import loaded

RNG = np.random.default_rng(4)
X = RNG.normal(size=(40, 3)).round(3)
CLASSES = ((X[:, 0] + 0.7 * X[:, 1] * X[:, 2] > 0).astype(int) ^ (RNG.random(40) < 0.2)).tolist()
SPEC: dict[str, Any] = {
    "name": "t",
    "data": {"x": X.tolist(), "y": CLASSES, "validation": 0.4},
    "model": {"type": "mlp", "layers": [3, 16, 2], "activation": "tanh"},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.05},
    "epochs": 120,
}
LAYERS = {
    "type": "sequential",
    "layers": [
        {"layer": "Linear", "in_features": 3, "out_features": 16},
        {"layer": "BatchNorm1d", "num_features": 16},
        "Tanh",
        {"layer": "Dropout", "p": 0.1},
        {"layer": "Linear", "in_features": 16, "out_features": 2},
    ],
}
MODELS = {"mlp": SPEC["model"], "batch norm and dropout": LAYERS}


def run_of(folder: Path | None = None, **changes: Any) -> gdcli.Run:
    return gdcli.run({**SPEC, **changes}, output=folder, plot=False)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("batch", ["full", {"size": 8}])
def test_restore_puts_the_weights_of_the_best_epoch_back_to_the_bit(model: str, batch: Any) -> None:
    stop = {"patience": 6, "restore": True}
    run = run_of(model=MODELS[model], batch=batch, stop=stop)
    metrics, last = run.metrics, run.summary["last_loss"]
    epoch = metrics["best_validation_epoch"]
    assert run.status == "stopped"
    assert run.summary["epochs"] == epoch + 6
    assert metrics["validation_loss"] == metrics["best_validation_loss"]
    shorter = run_of(model=MODELS[model], batch=batch, epochs=epoch)
    assert (shorter.metrics["validation_loss"], shorter.summary["final_loss"]) == (
        metrics["validation_loss"],
        run.summary["final_loss"],
    )
    assert (shorter.predict(X) == run.predict(X)).all()
    longer = run_of(model=MODELS[model], batch=batch, epochs=epoch + 6)
    assert longer.summary["final_loss"] == last


@pytest.mark.parametrize("model", MODELS)
def test_without_restore_the_best_weights_lie_beside(tmp_path: Path, model: str) -> None:
    run = run_of(tmp_path, model=MODELS[model], stop={"patience": 6})
    assert run.folder is not None
    kept = load_file(run.folder / "best.safetensors")
    best = run_of(model=MODELS[model], epochs=run.metrics["best_validation_epoch"])
    for name, values in best.parameters.items():
        assert (kept[name] == values).all(), name
    if model != "mlp":
        assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} < {*kept}
    assert "last_loss" not in run.summary
    assert not list(run_of(tmp_path / "restored", stop={"patience": 6, "restore": True}).folder.glob("best*"))  # type: ignore[union-attr]


def test_the_digest_of_the_best_weights_stands_in_the_summary(tmp_path: Path) -> None:
    run = run_of(tmp_path, metric="accuracy", epochs=5)
    assert run.folder is not None
    digest = hashlib.sha256((run.folder / "best.safetensors").read_bytes()).hexdigest()
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["sha256"]["best.safetensors"] == digest
    assert summary["ranked_by"] == "validation_accuracy"


@pytest.mark.parametrize(
    ("metric", "column"),
    [("accuracy", "validation_accuracy"), ("training_accuracy", "training_accuracy"), ("loss", "validation_loss")],
)
def test_patience_goes_by_the_metric_in_its_direction(tmp_path: Path, metric: str, column: str) -> None:
    import pandas as pd

    free = run_of(tmp_path, metrics=["accuracy"])
    assert free.folder is not None
    series = pd.read_csv(free.folder / "epochs.csv")[column].to_numpy() * (1 if "loss" in column else -1)
    best, stale, at, ended = np.inf, 0, 0, 0
    for ended, value in enumerate(series, 1):
        best, stale, at = (value, 0, ended) if value < best else (best, stale + 1, at)
        if stale == 4:
            break
    run = run_of(metrics=["accuracy"], stop={"patience": 4, "metric": metric})
    rows = column.partition("_")[0]
    assert (run.summary["epochs"], run.metrics[f"best_{rows}_epoch"]) == (ended, at)
    assert run.metrics[f"best_{column}"] == abs(best)


def test_an_epoch_has_to_be_better_by_more_than_min_delta() -> None:
    data = {"x": [[1.0], [2.0]], "y": [[1.0], [2.0]]}
    spec = {"data": data, "loss": "mse", "optimizer": {"name": "sgd", "lr": 0.1}, "dtype": "float64", "epochs": 60}
    spec["model"] = {"type": "linear", "bias": False, "init": {"weight": 0}}
    losses = [2.5 * 0.5 ** (2 * k) for k in range(1, 61)]  # w ← w + 0.1·5·(1 − w), so that 1 − w is halved each epoch
    best, stale, wanted = np.inf, 0, 0
    for loss in losses:
        best, stale, wanted = (loss, 0, wanted + 1) if loss < best - 0.01 else (best, stale + 1, wanted + 1)
        if stale == 3:
            break
    run = gdcli.run({**SPEC, **spec, "stop": {"patience": 3, "min_delta": 0.01}})
    assert run.summary["epochs"] == wanted
    assert run.metrics["best_training_loss"] == pytest.approx(best, rel=1e-12)


def test_a_fleet_keeps_the_best_weights_of_each_run() -> None:
    axes, stop = {"lr": [0.01, 0.05, 0.2]}, {"patience": 4, "restore": True}
    spec = {**SPEC, "stop": stop, "dtype": "float64"}
    rows = gdcli.sweep(spec, axes).rows
    assert len({row["best_validation_epoch"] for row in rows}) > 1
    for row, lr in zip(rows, axes["lr"], strict=True):
        alone = gdcli.run(spec, lr=lr)
        for name in ("validation_loss", "best_validation_loss", "best_validation_epoch"):
            assert row[name] == pytest.approx(alone.metrics[name], rel=1e-9), name
        assert row["validation_loss"] == row["best_validation_loss"]


def test_a_run_that_diverges_keeps_its_best_weights_beside_and_restores_nothing(tmp_path: Path) -> None:
    data = {"x": X.tolist(), "y": X[:, :1].tolist(), "validation": 0.4}
    spec = {"data": data, "model": "linear", "loss": "mse", "dtype": "float64", "epochs": 3000}
    stop = {"patience": 5000 - 1, "restore": True}
    run = run_of(tmp_path, **spec, optimizer={"name": "sgd", "lr": 2.0}, stop=stop)
    assert (run.status, run.summary["metrics"]) == ("diverged", {})
    assert run.folder is not None
    assert np.isfinite(load_file(run.folder / "best.safetensors")["weight"]).all()


def test_what_is_taken_back_after_a_step_that_diverged_are_weights_and_buffers_of_the_epoch_before() -> None:
    """The gradient of a step may be infinite though its clipped update is not, and later epochs look better."""
    problem = build(loaded({**SPEC, "model": LAYERS, "stop": {"patience": 6}}))
    ends, state, rows = EpochEnds(problem, rows=False, full_loss=True, follow=False), RunState(1, ""), GrowingBlock()
    assert problem.module is not None
    ends.begin()
    with torch.no_grad():
        problem.theta.values.mul_(1000)
        ends.note(state, rows, 1, 1)
        weights, buffers = state.kept[0].copy(), {name: each.copy() for name, each in state.kept_buffers.items()}
        problem.theta.values.zero_()  # a loss of log 2
        for buffer in problem.module.buffers():
            buffer.add_(1)
        ends.note(state, rows, 2, 2)
    assert state.best_epoch.tolist() == [2]
    ends.take_back(state, 0, 2)
    assert state.best_epoch.tolist() == [1]
    assert np.array_equal(state.kept[0], weights)
    assert state.kept_buffers.keys() == buffers.keys() != set()
    assert all(np.array_equal(state.kept_buffers[name], each) for name, each in buffers.items())
