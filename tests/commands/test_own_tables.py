"""Whole runs on tables of one's own, against scikit-learn, through CSV files with text and missing cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import gdcli
from tests.conftest import only_folder

NUMBERS, WORDS = ["size", "age"], ["town", "grade"]
DATA = {"file": "t.csv", "target": "y", "categories": ["grade"], "missing": "mean", "standardize": True}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A semicolon, decimal commas, text, categories that are numbers, missing cells; y is text."""
    rng = np.random.default_rng(3)
    rows = 150
    found = pd.DataFrame({"size": rng.normal(80, 20, rows).round(1), "age": rng.integers(0, 60, rows).astype(float)})
    found["town"] = rng.choice(["Köln", "Bonn", "Ulm"], rows)
    found["grade"] = rng.choice([1, 2, 3], rows)
    score = found["size"] / 20 - found.age / 30 + (found.town == "Ulm") + rng.logistic(size=rows)
    found["y"] = np.select([score < 2.5, score < 4.2], ["low", "middle"], "top")
    found["price"] = (score * 100).round(2)
    found.loc[rng.choice(rows, 20, replace=False), "size"] = np.nan
    found.loc[rng.choice(rows, 10, replace=False), "town"] = np.nan
    monkeypatch.chdir(tmp_path)
    found.to_csv("t.csv", index=False, sep=";", decimal=",")
    return found


def encoded(table: pd.DataFrame) -> Any:
    """The rows as scikit-learn encodes them, in our order of the columns."""
    of_numbers = make_pipeline(SimpleImputer(), StandardScaler())
    of_words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False))
    return ColumnTransformer([("n", of_numbers, NUMBERS), ("w", of_words, WORDS)]).fit_transform(table)


def spec(data: dict[str, Any], **more: Any) -> str:
    found = {"data": {**data, "features": NUMBERS + WORDS}, "model": "linear", "dtype": "float64", **more}
    Path("t.yaml").write_text(json.dumps(found))
    return "t.yaml"


def test_gradient_descent_on_a_table_ends_at_linear_regression(table: pd.DataFrame) -> None:
    optimizer = {"name": "sgd", "lr": 0.3, "momentum": 0.9}
    run = gdcli.run(spec({**DATA, "target": "price"}, loss="mse", optimizer=optimizer, epochs=1500))
    x = encoded(table)
    reference = LinearRegression().fit(x, table.price).predict(x)
    found = run.trained().built
    assert found.loaded.training is not None
    assert np.abs(found.loaded.training.x - x).max() < 1e-12
    weight, bias = run.parameters["weight"], run.parameters["bias"]
    assert np.abs(x @ weight[0] + bias - reference).max() < 1e-4 * np.abs(reference).max()


@pytest.mark.parametrize("kind", ["penalty", "weight decay"])
def test_softmax_regression_on_a_table_is_logistic_regression(table: pd.DataFrame, kind: str) -> None:
    """C = 1 / (2 l2 n) for a penalty of l2 Σw², whose gradient is that of a weight decay of 2 l2."""
    l2, x = 0.01, encoded(table)
    optimizer: dict[str, Any] = {"name": "sgd", "lr": 0.3, "momentum": 0.9}
    more: dict[str, Any] = {"penalty": {"l2": l2}}
    if kind == "weight decay":
        optimizer |= {"weight_decay": 2 * l2, "groups": {"bias": {"weight_decay": 0}}}
        more = {}
    run = gdcli.run(spec(DATA, loss="cross_entropy", optimizer=optimizer, epochs=2000, **more))
    reference = LogisticRegression(C=1 / (2 * l2 * len(table)), tol=1e-10, max_iter=10_000).fit(x, table.y)
    scores = x @ run.parameters["weight"].T + run.parameters["bias"]
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert np.abs(probabilities - reference.predict_proba(x)).max() < 1e-3
    assert run.trained().built.loaded.preprocessing.classes == tuple(reference.classes_)  # type: ignore[union-attr]


def test_the_closed_form_of_a_table_is_linear_regression(table: pd.DataFrame, gdcli: Any) -> None:
    spec({**DATA, "target": "price"}, loss="mse", optimizer="sgd", epochs=1)
    answer = gdcli("compare", "t.yaml", "--optimizers", "sgd", "--closed-form", "--no-plot", "--json")
    (row,) = (row for row in json.loads(answer.out)["rows"] if row["label"] == "closed_form")
    x = encoded(table)
    residual = LinearRegression().fit(x, table.price).predict(x) - table.price
    assert row["final_loss"]["mean"] == pytest.approx(np.mean(residual**2), rel=1e-10)


@pytest.mark.slow
def test_a_network_on_a_table_is_as_good_as_scikit_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layers, optimizer and batches, other random numbers: within one of a hundred held out rows."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(11)
    rows = 12_000
    found = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["a", "b", "c"]).round(3)
    found["town"] = rng.choice(["Bonn", "Ulm"], rows)
    score = found.a + found.b**2 / 2 - found.c + (found.town == "Ulm") + rng.logistic(scale=0.1, size=rows)
    found["y"] = np.select([score < 0.5, score < 1.7], ["low", "middle"], "top")
    found.iloc[:6000].to_csv("train.csv", index=False, sep=";", decimal=",")
    found.iloc[6000:].to_csv("held_out.csv", index=False, sep=";", decimal=",")
    data = {"file": "train.csv", "target": "y", "standardize": True, "validation": "held_out.csv"}
    layers = {"type": "mlp", "layers": [5, 32, 3], "activation": "relu"}
    more = {"model": layers, "optimizer": {"name": "adam", "lr": 0.005}, "batch": {"size": 200}, "epochs": 100}
    ours = gdcli.run({"name": "t", "data": data, "loss": "cross_entropy", **more}).metrics["validation_accuracy"]
    numbers, words = ["a", "b", "c"], ["town"]
    encode = ColumnTransformer([("n", StandardScaler(), numbers), ("w", OneHotEncoder(sparse_output=False), words)])
    network = MLPClassifier(
        [32], alpha=0, learning_rate_init=0.005, batch_size=200, max_iter=100, n_iter_no_change=100, random_state=0
    )
    theirs = make_pipeline(encode, network)
    with pytest.warns(ConvergenceWarning):
        theirs.fit(found.iloc[:6000], found.y.iloc[:6000])
    assert abs(ours - theirs.score(found.iloc[6000:], found.y.iloc[6000:])) < 0.01
    assert ours > 0.92


def test_a_standardized_target_is_predicted_in_its_own_units(table: pd.DataFrame) -> None:
    data = {**DATA, "target": "price", "features": NUMBERS, "standardize": [*NUMBERS, "price"]}
    optimizer = {"name": "sgd", "lr": 0.3, "momentum": 0.9}
    run = gdcli.run(spec(data, loss="mse", optimizer=optimizer, epochs=1500))
    training = run.trained().built.loaded.training
    assert training is not None
    raw = SimpleImputer().fit_transform(table[NUMBERS])
    words = encoded(table)[:, 2:]
    reference = LinearRegression().fit(encoded(table), table.price).predict(encoded(table))
    found = run.predict(np.column_stack([raw, words]))[:, 0]
    assert np.abs(found - reference).max() < 1e-4 * np.abs(reference).max()
    assert run.metrics["loss_in_units"] == pytest.approx(np.mean((found - table.price) ** 2), rel=1e-9)
    assert run.summary["final_loss"] == pytest.approx(run.metrics["loss_in_units"] / table.price.var(ddof=0), rel=1e-9)


def test_the_record_keeps_what_was_learned_and_verifies(table: pd.DataFrame, gdcli: Any) -> None:
    spec({**DATA, "validation": 0.2, "test": 0.2, "stratify": True}, loss="cross_entropy", optimizer="sgd", epochs=2)
    assert gdcli("run", "t.yaml", "--no-plot").code == 0
    record = only_folder(Path("runs"))
    kept = json.loads((record / "preprocessing.json").read_text())
    assert kept["classes"] == ["low", "middle", "top"]
    assert [each["name"] for each in kept["features"]] == NUMBERS + WORDS
    summary = json.loads((record / "summary.json").read_text())
    assert {"validation_accuracy", "test_loss", "test_accuracy"} <= set(summary["metrics"])
    assert gdcli("verify", "last").code == 0
    again = gdcli("run", str(record / "config.yaml"), "--no-plot", "-o", "again")
    assert again.code == 0
    other = only_folder(Path("again"))
    for name in ("steps.csv", "preprocessing.json", "summary.json", "config.yaml"):
        assert (record / name).read_bytes() == (other / name).read_bytes()


def test_folds_are_an_axis_of_sweeps_and_comparisons(table: pd.DataFrame, gdcli: Any) -> None:
    data = {**DATA, "folds": 3, "stratify": True}
    spec(data, loss="cross_entropy", optimizer={"name": "sgd", "lr": 0.1}, epochs=2)
    answer = gdcli("sweep", "t.yaml", "--param", "lr=0.1,0.2", "--no-plot", "--json")
    runs = json.loads(answer.out)["runs"]
    assert [(run["lr"], run["fold"]) for run in runs] == [(lr, fold) for lr in (0.1, 0.2) for fold in range(3)]
    chosen = json.loads(gdcli("sweep", "t.yaml", "--param", "fold=2", "--no-plot", "--json").out)["runs"]
    assert [run["final_loss"] for run in chosen] == [runs[2]["final_loss"]]
    answer = gdcli("compare", "t.yaml", "--optimizers", "sgd,adam", "--no-plot", "--json")
    compared = json.loads(answer.out)
    assert [(run["label"], run["fold"]) for run in compared["runs"]] == [
        (label, fold) for label in ("sgd", "adam") for fold in range(3)
    ]
    mean = np.mean([run["final_loss"] for run in runs[:3]])
    assert abs(compared["rows"][0]["final_loss"]["mean"] - mean) < 1e-12


def test_what_is_wrong_with_a_table_is_one_line_each_and_exit_2(table: pd.DataFrame, gdcli: Any) -> None:
    table["age"] = table.age.astype(object)
    table.loc[range(30), "age"] = "old"
    table.to_csv("t.csv", index=False, sep=";")
    spec(DATA, loss="cross_entropy", optimizer="sgd")
    answer = gdcli("run", "t.yaml", "--no-plot")
    assert (answer.code, answer.out) == (2, "")
    lines = answer.err.splitlines()
    assert len(lines) == 21
    assert lines[0] == "t.yaml:1:19: data.file: line 2, column 'age': 'old' is not a number"
    assert "the first 20 of 30 cells that cannot be used: 'age' 30" in lines[20]


@pytest.mark.parametrize("data", [{}, {"validation": 0.2}, {"categories": ["customer"]}, {"features": ["size"]}])
def test_text_that_differs_in_every_row_is_told(table: pd.DataFrame, data: dict[str, Any], gdcli: Any) -> None:
    table["customer"] = [f"C{k:03d}" for k in range(len(table))]
    table.to_csv("t.csv", index=False)
    given = {"file": "t.csv", "target": "price", "missing": "drop", "features": ["customer", "town", "size"], **data}
    rest = {"model": "linear", "loss": "mse", "optimizer": {"name": "sgd", "lr": 0.1}}
    Path("t.json").write_text(json.dumps({"data": given, **rest}))
    answer = gdcli("validate", "t.json")
    named = "customer" in given["features"] and "categories" not in data
    assert ("'customer' has a different text in every row" in answer.err) == named
    assert answer.code == (2 if "validation" in data else 0), answer.err


def test_missing_cells_are_told_by_the_names_that_people_read(tmp_path: Path, gdcli: Any) -> None:
    Path("t.csv").write_text("Fläche,a\x1bb,y\n1,2,3\n,4,5\n6,,7\n", encoding="utf-8")
    spec = {"data": {"file": "t.csv", "target": "y"}, "model": "linear", "loss": "mse", "optimizer": "sgd"}
    Path("t.json").write_text(json.dumps(spec))
    answer = gdcli("validate", "t.json")
    assert "missing cells: 'Fläche' 1 (the first in line 3), 'a\\x1bb' 1 (the first in line 4)" in answer.err


@pytest.mark.parametrize("ending", ["csv", "tsv", "npz", "parquet"])
def test_a_spec_without_a_target_is_told_the_columns_of_its_file(gdcli, tmp_path: Path, monkeypatch, ending) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"area": [1.0, 2.0], "a\x1bb": [0.5, 1.0], "price": [3.0, 4.0]})
    if ending == "npz":
        np.savez("t.npz", **{str(name): column.to_numpy() for name, column in frame.items()})
    elif ending == "parquet":
        frame.to_parquet("t.parquet")
    else:
        frame.to_csv(f"t.{ending}", index=False, sep="," if ending == "csv" else "\t")
    Path("s.yaml").write_text(
        f"data: {{file: t.{ending}}}\nmodel: linear\nloss: mse\noptimizer: {{name: sgd, lr: x}}\n"
    )
    answer = gdcli("validate", "s.yaml")
    assert answer.code == 2
    columns = r"area, a\x1bb, price"
    assert f"data.target: is required. It is the column to predict; the file has {columns}\n" in answer.err
    assert "optimizer.lr: must be a number" in answer.err  # with all others


@pytest.mark.parametrize(
    "data",
    ["file: none.csv", "file: link.csv", "file: bad.npz", "file: t.txt", "file: [t.csv]", "file: t.csv, separator: xyz",
     "file: names.csv, header: false"],
)  # fmt: skip
def test_a_file_without_readable_names_adds_nothing_to_the_message(gdcli, tmp_path: Path, monkeypatch, data) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.csv").write_text("a,y\n1,2\n")
    Path("link.csv").symlink_to("names.csv")
    Path("bad.npz").write_bytes(b"PK\x03\x04 no archive")
    Path("s.yaml").write_text(f"data: {{{data}}}\nmodel: linear\nloss: mse\noptimizer: sgd\n")
    answer = gdcli("validate", "s.yaml")
    assert answer.code == 2
    assert any(line.endswith("data.target: is required") for line in answer.err.splitlines())
