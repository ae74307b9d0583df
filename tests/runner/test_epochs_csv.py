"""epochs.csv: a row for each whole epoch, the mean of its steps' losses, losses and metrics of all rows after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk

import gdcli
from tests.conftest import only_folder

X = [[1.0, 2.0], [0.5, 1.0], [-1.0, 1.0], [0.0, 2.0], [3.0, 1.0], [2.0, -1.0], [1.5, 0.5]]
Y = [0, 1, 2, 0, 1, 2, 0]
SPEC: dict[str, Any] = {
    "name": "t",
    "data": {"x": X, "y": Y},
    "model": {"type": "mlp", "layers": [2, 4, 3], "activation": "tanh"},
    "loss": "cross_entropy",
    "optimizer": {"name": "sgd", "lr": 0.5},
    "epochs": 5,
    "dtype": "float64",
}


def spec_of(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**SPEC, **changes}.items() if value is not None}


def table_of(run: gdcli.Run) -> pd.DataFrame:
    assert run.folder is not None
    return pd.read_csv(run.folder / "epochs.csv")


def run_of(folder: Path, **changes: Any) -> gdcli.Run:
    return gdcli.run(spec_of(**changes), output=folder, plot=False)


@pytest.mark.parametrize("batch", ["full", {"size": 3}, "stochastic", {"size": 3, "drop_last": True}])
@pytest.mark.parametrize("loss", ["mse", "sse"])
def test_the_training_loss_is_the_mean_or_sum_over_the_rows_of_the_steps(tmp_path: Path, batch: Any, loss: str) -> None:
    y, model = [[float(k)] for k in Y], {"type": "linear"}
    scheduler = {"name": "step", "step_size": 2}
    lr = {"name": "sgd", "lr": 0.005}
    run = run_of(
        tmp_path, data={"x": X, "y": y}, model=model, loss=loss, batch=batch, optimizer=lr, scheduler=scheduler
    )
    found, steps = table_of(run), pd.DataFrame(run.steps)
    assert list(found.columns) == ["epoch", "training_loss", "lr"]
    assert found.epoch.tolist() == [1, 2, 3, 4, 5]
    size = batch["size"] if isinstance(batch, dict) else {"full": 7, "stochastic": 1}[batch]
    rows = np.minimum(size, 7 - (steps.batch - 1) * size)  # of each step
    weight = np.ones(len(rows)) if loss == "sse" else rows
    sums = (steps.loss * weight).groupby(steps.epoch).sum()
    wanted = sums if loss == "sse" else sums / rows.groupby(steps.epoch).sum()
    assert found.training_loss.tolist() == pytest.approx(wanted.tolist(), rel=1e-12)
    assert found.lr.tolist() == steps.groupby(steps.epoch).lr.last().tolist()


@pytest.mark.parametrize("batch", ["full", {"size": 2}])
def test_losses_and_metrics_are_those_of_a_run_that_ends_with_the_epoch(tmp_path: Path, batch: Any) -> None:
    """By shorter runs, whose last numbers stand in their summary."""
    data = {"x": X, "y": Y, "validation": 0.3}
    run = run_of(tmp_path, data=data, batch=batch, metrics=["accuracy", "confusion"])
    found = table_of(run)
    assert list(found.columns) == [
        "epoch", "training_loss", "validation_loss", "training_accuracy", "validation_accuracy", "lr",
    ]  # fmt: skip
    for k, row in enumerate(found.itertuples(), 1):
        shorter = gdcli.run(spec_of(data=data, batch=batch, metrics=["accuracy"], epochs=k)).metrics
        wanted = [shorter[name] for name in ("validation_loss", "accuracy", "validation_accuracy")]
        assert [row.validation_loss, row.training_accuracy, row.validation_accuracy] == wanted


def test_confusion_stands_in_the_summary_and_is_scikit_learns(tmp_path: Path) -> None:
    run = run_of(tmp_path, metrics=["confusion"], epochs=30)
    predicted = run.predict(X).argmax(1)
    assert run.summary["metrics"]["confusion"] == sk.confusion_matrix(Y, predicted).tolist()
    assert list(table_of(run).columns) == ["epoch", "training_loss", "lr"]


def test_by_default_metrics_of_training_rows_are_worked_out_where_all_rows_are_passed_anyway(tmp_path: Path) -> None:
    data = {"x": X, "y": Y, "validation": 0.3}
    for batch, asked, wanted in (
        ("full", None, ["validation_accuracy"]),
        ({"size": 2}, None, ["training_accuracy", "validation_accuracy"]),
        ("full", ["accuracy"], ["training_accuracy", "validation_accuracy"]),
        ("full", [], []),
    ):
        columns = table_of(run_of(tmp_path, data=data, batch=batch, metrics=asked)).columns
        assert [name for name in columns if "accuracy" in name] == wanted


def test_default_metrics_of_values_are_of_own_rows_or_where_rows_are_held_out(tmp_path: Path) -> None:
    rows = ["a,b,y", *(f"{a},{b},{y}" for (a, b), y in zip(X, Y, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    values = {"model": "linear", "loss": "mse", "optimizer": {"name": "sgd", "lr": 0.01}}
    inline: dict[str, Any] = {"x": X, "y": [[float(y)] for y in Y]}
    file: dict[str, Any] = {"file": str(tmp_path / "t.csv"), "target": "y"}
    both = ["r2", "mae", "validation_loss", "validation_r2", "validation_mae"]
    cases = ((inline, []), (inline | {"validation": 0.3}, both), (file, both[:2]), (file | {"validation": 0.3}, both))
    for data, wanted in cases:
        assert list(gdcli.run(spec_of(data=data, **values)).metrics) == wanted
    run = gdcli.run(spec_of(data=file, **values))
    assert run.metrics["r2"] == pytest.approx(sk.r2_score(Y, run.predict(X)[:, 0]), rel=1e-12)


def test_a_metric_that_the_rows_leave_undefined_is_null_and_an_empty_cell(tmp_path: Path) -> None:
    data = {"x": X[:3], "y": [[1.0], [2.0], [3.0]], "validation": 0.3}  # one row is held out
    values = {"model": "linear", "loss": "mse", "optimizer": {"name": "sgd", "lr": 0.01}}
    run = run_of(tmp_path, data=data, metrics=["r2", "mae"], epochs=2, **values)
    assert run.folder is not None
    assert json.loads((run.folder / "summary.json").read_text())["metrics"]["validation_r2"] is None
    lines = (run.folder / "epochs.csv").read_text().splitlines()
    column = lines[0].split(",").index("validation_r2")
    assert [line.split(",")[column] for line in lines[1:]] == ["", ""]


def test_a_run_that_diverges_has_the_epochs_that_it_completed(tmp_path: Path) -> None:
    values = {"model": "linear", "loss": "mse", "optimizer": {"name": "sgd", "lr": 1e60}, "dtype": "float64"}
    data = {"x": X, "y": [[float(y)] for y in Y], "validation": 0.3}
    run = run_of(tmp_path, data=data, epochs=50, **values)
    assert run.status == "diverged"
    assert len(table_of(run)) == run.summary["epochs"] == run.summary["steps"] - 1


def test_runs_of_a_sweep_have_theirs_whether_together_or_alone(tmp_path: Path) -> None:
    data = {"x": X, "y": Y, "validation": 0.3}
    tables = []
    for fleets in (True, False):
        sweep = gdcli.sweep(spec_of(data=data), {"lr": [0.1, 0.5]}, output=tmp_path / str(fleets), plot=False)
        assert sweep.folder is not None
        paths = sorted(sweep.folder.glob("*/epochs.csv"))
        tables.append([pd.read_csv(path) for path in paths])
    assert len(tables[0]) == len(tables[1]) == 2
    alone = table_of(run_of(tmp_path / "alone", data=data))
    for found in (tables[0][1], tables[1][1]):
        np.testing.assert_allclose(found.to_numpy(), alone.to_numpy(), rtol=1e-12)


def test_the_row_of_epoch_zero_and_objectives(tmp_path: Path) -> None:
    assert len(table_of(run_of(tmp_path, epochs=0, print={"style": "loss"}))) == 0
    run = gdcli.run("rosenbrock", epochs=3, output=tmp_path, plot=False)
    assert table_of(run).training_loss.tolist() == run.losses.tolist()


def test_a_record_runs_again_to_the_same_epochs(gdcli: Any) -> None:
    Path("t.json").write_text(json.dumps(spec_of(data={"x": X, "y": Y, "validation": 0.3}, metric="accuracy")))
    assert gdcli("run", "t.json", "--no-plot", "-q").code == 0
    assert gdcli("verify", "last").out == "bit-identical\n"
    path = only_folder(Path("runs")) / "epochs.csv"
    path.write_text(path.read_text().replace("\n2,", "\n2,9", 1))
    answer = gdcli("verify", "last")
    assert answer.code == 1
    assert "epochs.csv: epoch 2, training_loss: recorded 9" in answer.out
