"""From a table as it comes to predictions: a CSV is trained on, others are predicted and evaluated."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import gdcli as package
from gdcli.zoo.data import generator
from tests.conftest import only_folder

ROWS = 200
NUMBERS, WORDS = ["size", "age"], ["town", "grade"]
COMMON = {
    "file": "t.csv", "features": NUMBERS + WORDS, "categories": ["grade"], "missing": "mean", "standardize": True,
    "validation": 0.2, "test": 0.2,
}  # fmt: skip
CLASSES: dict[str, Any] = {"data": {**COMMON, "target": "y"}, "loss": "cross_entropy"}
PRICES: dict[str, Any] = {
    "data": {**COMMON, "target": "price", "standardize": [*NUMBERS, "target"]}, "loss": "mse",
    "metrics": ["r2", "mae"], "penalty": {"l2": 0.01},
}  # fmt: skip
MIXED: dict[str, Any] = {"data": {**COMMON, "target": "late"}, "loss": "bce_with_logits"}


@pytest.fixture
def table() -> pd.DataFrame:
    """Text classes, categories that are numbers, missing cells."""
    rng = np.random.default_rng(7)
    found = pd.DataFrame({"size": rng.normal(80, 20, ROWS).round(1), "age": rng.integers(0, 60, ROWS).astype(float)})
    found["town"] = rng.choice(["Köln", "Bonn", "Ulm"], ROWS)
    found["grade"] = rng.choice([1, 2, 3], ROWS)
    score = found["size"] / 20 - found.age / 30 + (found.town == "Ulm") + rng.logistic(size=ROWS)
    found["y"] = np.select([score < 2.5, score < 4.2], ["low", "middle"], "top")
    found["late"] = np.where(score < 3, "yes", "no")
    found["price"] = (score * 100).round(2)
    found.loc[rng.choice(ROWS, 20, replace=False), "size"] = np.nan
    found.loc[rng.choice(ROWS, 10, replace=False), "town"] = np.nan
    return found


@pytest.fixture
def trained(table: pd.DataFrame, gdcli: Any) -> Any:
    """Trains a spec on the table, with semicolons and decimal commas; returns its record."""

    def train(spec: dict[str, Any]) -> Path:
        table.to_csv("t.csv", index=False, sep=";", decimal=",")
        more = {
            "name": "t",
            "model": "linear",
            "dtype": "float64",
            "epochs": 40,
            "optimizer": {"name": "sgd", "lr": 0.2},
        }
        Path("t.yaml").write_text(json.dumps({**more, **spec}))
        answer = gdcli("run", "t.yaml", "--no-plot", "--quiet")
        assert answer.code == 0, answer.err
        return only_folder(Path("runs"))

    return train


def parts(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows as the split draws them: of one permutation the first validate, the last test."""
    order, count = generator(0, "split").permutation(ROWS), ROWS // 5
    places = {"validation": order[:count], "training": order[count:-count], "test": order[-count:]}
    return {name: table.iloc[np.sort(part)] for name, part in places.items()}


def encoder(training: pd.DataFrame) -> Any:
    """scikit-learn's preprocessing of the training rows."""
    of_numbers = make_pipeline(SimpleImputer(), StandardScaler())
    of_words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False))
    return ColumnTransformer([("n", of_numbers, NUMBERS), ("w", of_words, WORDS)]).fit(training)


def outputs(record: Path, training: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """The linear model's outputs for rows as scikit-learn encodes them, from the recorded weights."""
    weights = load_file(record / "model.safetensors")
    return np.asarray(encoder(training).transform(rows) @ weights["weight"].T + weights["bias"])


def softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False)


def test_classes_are_predicted_by_name_as_scikit_learn_encodes_the_rows(
    table: pd.DataFrame, trained: Any, gdcli: Any
) -> None:
    record, training = trained(CLASSES), parts(table)["training"]
    found = read(gdcli("predict", "last", "t.csv").out)
    names = sorted(set(table.y))
    assert list(found) == ["prediction", *(f"p_{name}" for name in names)]
    expected = softmax(outputs(record, training, table))
    assert np.abs(found.iloc[:, 1:].to_numpy() - expected).max() < 1e-12
    assert found.prediction.tolist() == [names[k] for k in expected.argmax(axis=1)]


def test_other_columns_in_another_order_and_form_predict_the_same(
    table: pd.DataFrame, trained: Any, gdcli: Any
) -> None:
    trained(CLASSES)
    expected = gdcli("predict", "last", "t.csv").out
    other = table[["town", "y", "size", "grade", "age"]].assign(note="a, b; c")
    other.to_csv("commas.csv", index=False)
    other.to_csv("tabs.tsv", index=False, sep="\t", decimal=",")
    other.assign(grade=other.grade.astype(float)).to_csv("latin.csv", index=False, sep=";", encoding="cp1252")
    other.to_csv("wide.csv", index=False, encoding="utf-16")
    for name in ("commas.csv", "tabs.tsv", "latin.csv", "wide.csv"):
        assert gdcli("predict", "last", name).out == expected, name


@pytest.mark.parametrize("spec", [CLASSES, PRICES, MIXED], ids=["classes", "prices", "yes or no"])
def test_python_predicts_the_same_bits(table: pd.DataFrame, trained: Any, gdcli: Any, spec: dict[str, Any]) -> None:
    """Its rows are encoded and in their own units, as scikit-learn gives them without the StandardScaler."""
    trained({**spec, "dtype": "float32"})
    found = gdcli("predict", "last", "t.csv").out
    _, *cells = csv.reader(io.StringIO(found))
    training = parts(table)["training"]
    numbers = SimpleImputer().fit(training[NUMBERS]).transform(table[NUMBERS])
    x = np.hstack([numbers, encoder(training).transform(table)[:, 2:]])
    run = package.run(str(Path("t.yaml").absolute()))
    output = run.predict(x)
    np.testing.assert_array_equal(package.load("last").predict(x), output)
    if spec is PRICES:
        np.testing.assert_array_equal(np.array(cells, np.float64), output.astype(np.float64))
    elif spec is MIXED:
        assert [row[0] for row in cells] == ["yes" if o > 0 else "no" for o in output[:, 0]]
    else:
        assert [row[0] for row in cells] == [("low", "middle", "top")[k] for k in output.argmax(axis=1)]


def test_two_words_are_no_and_yes_with_the_probability_of_the_second(
    table: pd.DataFrame, trained: Any, gdcli: Any
) -> None:
    record = trained(MIXED)
    found = read(gdcli("predict", "last", "t.csv").out)
    assert list(found) == ["prediction", "p_yes"]
    expected = 1 / (1 + np.exp(-outputs(record, parts(table)["training"], table)[:, 0]))
    assert np.abs(found.p_yes - expected).max() < 1e-12
    assert found.prediction.tolist() == np.where(expected > 0.5, "yes", "no").tolist()


def test_values_are_predicted_and_measured_in_their_own_units(table: pd.DataFrame, trained: Any, gdcli: Any) -> None:
    record, rows = trained(PRICES), parts(table)
    training = rows["training"]
    mean, deviation = training.price.mean(), training.price.std(ddof=0)
    found = read(gdcli("predict", "last", "t.csv").out).prediction
    expected = outputs(record, training, table)[:, 0] * deviation + mean
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()
    summary = json.loads((record / "summary.json").read_text())
    weights = load_file(record / "model.safetensors")
    for part, prefix in (("training", ""), ("validation", "validation_"), ("test", "test_")):
        true, predicted = rows[part].price, found[rows[part].index]
        told = {name: summary["metrics"][prefix + name] for name in ("r2", "mae", "loss_in_units")}
        assert told["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-9)
        assert told["mae"] == pytest.approx(mean_absolute_error(true, predicted), rel=1e-9)
        assert told["loss_in_units"] == pytest.approx(mean_squared_error(true, predicted), rel=1e-9)
        loss = summary["final_loss"] if part == "training" else summary["metrics"][f"{part}_loss"]
        penalty = 0.01 * np.square(weights["weight"]).sum() if part == "training" else 0.0
        assert loss == pytest.approx(mean_squared_error(true, predicted) / deviation**2 + penalty, rel=1e-9)


@pytest.mark.parametrize("spec", [CLASSES, PRICES, MIXED], ids=["classes", "prices", "yes or no"])
def test_rows_held_out_evaluate_to_what_the_run_recorded_to_the_bit(
    table: pd.DataFrame, trained: Any, gdcli: Any, spec: dict[str, Any]
) -> None:
    metrics = json.loads((trained(spec) / "summary.json").read_text())["metrics"]
    for part in ("validation", "test"):
        parts(table)[part].to_csv("part.csv", index=False, sep=";", decimal=",")
        found = gdcli("evaluate", "last", "part.csv", "--json").json
        recorded = {name: metrics[f"{part}_{name}"] for name in ("loss", *found["metrics"])}
        assert {"loss": found["loss"], **found["metrics"]} == recorded


def test_classes_are_judged_as_scikit_learn_judges_them(table: pd.DataFrame, trained: Any, gdcli: Any) -> None:
    trained({**CLASSES, "loss": {"name": "cross_entropy", "class_weights": "balanced"}})
    rows = parts(table)
    found = read(gdcli("predict", "last", "t.csv").out)
    counts = rows["training"].y.value_counts()
    of_class = {name: len(rows["training"]) / (3 * count) for name, count in counts.items()}  # by training rows
    rows["test"].to_csv("test.csv", index=False, sep=";", decimal=",")
    told, held_out = gdcli("evaluate", "last", "test.csv", "--json").json, found.loc[rows["test"].index]
    true = rows["test"].y
    assert told["metrics"]["accuracy"] == accuracy_score(true, held_out.prediction)
    weights = [of_class[name] for name in true]
    assert told["loss"] == pytest.approx(log_loss(true, held_out.iloc[:, 1:], sample_weight=weights), rel=1e-9)


BAD = {
    "a missing column": ("size;age;town\n1,5;2;Ulm\n", "has no column 'grade', which the model takes"),
    "an unknown category": (
        "size;age;town;grade\n1,5;2;Ulm;1\n1,5;2;Rom;1\n",
        "line 3, column 'town': no training row has 'Rom'. They have 'Bonn', 'Köln', 'Ulm'",
    ),
    "an unknown number": ("size;age;town;grade\n1,5;2;Ulm;4\n", "line 2, column 'grade': no training row has '4'"),
    "text in a number": ("size;age;town;grade\n1,5;2;Ulm;1\n1,5;old;Ulm;1\n", "line 3, column 'age': 'old' is not a"),
    "a point of thousands": ("size;age;town;grade\n1.234,5;2;Ulm;1\n", "line 2, column 'size': '1.234,5' is not a"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_does_not_fit_is_one_message(trained: Any, gdcli: Any, name: str) -> None:
    trained(CLASSES)
    content, message = BAD[name]
    Path("bad.csv").write_text(content)
    for words in (("predict", "last", "bad.csv"), ("evaluate", "last", "bad.csv")):
        answer = gdcli(*words)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert answer.err.rstrip("\n").isprintable()
        if words[0] == "predict":
            assert answer.err.startswith(f"bad.csv: {message}")


def test_a_missing_cell_is_filled_as_in_training_and_a_missing_target_told(
    table: pd.DataFrame, trained: Any, gdcli: Any
) -> None:
    record, training = trained(CLASSES), parts(table)["training"]
    rows = pd.DataFrame({"size": [np.nan], "age": [np.nan], "town": [np.nan], "grade": [np.nan], "y": ["low"]})
    rows.to_csv("empty.csv", index=False, sep=";")
    found = read(gdcli("predict", "last", "empty.csv").out)
    filled = training[NUMBERS].mean().to_frame().T.assign(town=training.town.mode()[0], grade=training.grade.mode()[0])
    assert np.abs(found.iloc[:, 1:].to_numpy() - softmax(outputs(record, training, filled))).max() < 1e-12
    assert gdcli("evaluate", "last", "empty.csv").code == 0
    rows.assign(y="none at all").to_csv("other.csv", index=False, sep=";")
    answer = gdcli("evaluate", "last", "other.csv")
    assert (answer.code, "column 'y': 'none at all' is none of the classes 'low', 'middle', 'top'" in answer.err) == (
        2,
        True,
    )
    rows.assign(y=None).to_csv("other.csv", index=False, sep=";")
    assert "line 2, column 'y': the cell is missing" in gdcli("evaluate", "last", "other.csv").err


def test_unknown_zero_takes_what_no_training_row_has_as_none_of_them(
    table: pd.DataFrame, trained: Any, gdcli: Any
) -> None:
    record = trained({**CLASSES, "data": {**CLASSES["data"], "unknown": "zero"}})
    Path("new.csv").write_text("size;age;town;grade\n1,5;2;Rom;1\n")
    found = read(gdcli("predict", "last", "new.csv").out)
    training = parts(table)["training"]
    x = encoder(training).transform(pd.DataFrame({"size": [1.5], "age": [2.0], "town": ["Ulm"], "grade": [1]}))
    x[:, 2:5] = 0
    weights = load_file(record / "model.safetensors")
    assert np.abs(found.iloc[:, 1:].to_numpy() - softmax(x @ weights["weight"].T + weights["bias"])).max() < 1e-12


def test_a_changed_preprocessing_is_refused(trained: Any, gdcli: Any) -> None:
    record = trained(CLASSES)
    summary = json.loads((record / "summary.json").read_text())
    assert {"model.safetensors", "preprocessing.json"} <= set(summary["sha256"])
    kept = record / "preprocessing.json"
    kept.write_text(kept.read_text().replace("Ulm", "Rom"))
    answer = gdcli("predict", "last", "t.csv")
    assert (answer.code, "was changed" in answer.err) == (3, True)


def test_the_confusion_matrix_has_the_names_of_the_classes(trained: Any, gdcli: Any) -> None:
    trained(CLASSES)
    assert gdcli("plot", "last", "--kind", "confusion", "-o", "confusion.svg").code == 0
    text = Path("confusion.svg").read_text()
    assert all(f"<!-- {name} -->" in text for name in ("low", "middle", "top"))


def with_content(record: Path, name: str, content: bytes) -> None:
    (record / name).write_bytes(content)
    summary = json.loads((record / "summary.json").read_text())
    summary["sha256"][name] = hashlib.sha256(content).hexdigest()
    (record / "summary.json").write_text(json.dumps(summary))


def test_a_preprocessing_that_is_not_of_the_targets_is_damaged(trained: Any, gdcli: Any) -> None:
    record = trained(CLASSES)
    kept = json.loads((record / "preprocessing.json").read_text())
    scale = {"target_means": [1.0], "target_deviations": [2.0]}
    with_content(record, "preprocessing.json", json.dumps(kept | scale).encode())
    answer = gdcli("predict", "last", "t.csv")
    assert (answer.code, "preprocessing.json: does not say how" in answer.err) == (3, True)


def test_a_model_of_other_sizes_than_the_preprocessing_is_damaged(trained: Any, gdcli: Any) -> None:
    record = trained(CLASSES)
    content = (record / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about = json.loads(header["__metadata__"]["gdcli"]) | {"classes": 2**52}
    header["__metadata__"]["gdcli"] = json.dumps(about)
    text = json.dumps(header).encode()
    with_content(record, "model.safetensors", len(text).to_bytes(8, "little") + text + content[8 + length :])
    answer = gdcli("predict", "last", "t.csv")
    assert (answer.code, "preprocessing.json: does not say how" in answer.err) == (3, True)


def test_a_row_whose_outputs_are_not_finite_has_no_class_and_no_metric(trained: Any, gdcli: Any) -> None:
    record = trained(CLASSES)
    content = (record / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    with_content(record, "model.safetensors", content[:start] + b"\xff" * (len(content) - start))  # NaN
    answer = gdcli("predict", "last", "t.csv")
    rows = answer.out.splitlines()[1:]
    assert (answer.code, len(rows) > 0, all(row.startswith(",nan") for row in rows)) == (0, True, True)
    assert f"t.csv: the outputs of {len(rows):,} rows are not finite" in answer.err
    found = gdcli("evaluate", "last", "t.csv", "--json")
    assert json.loads(found.out)["metrics"]["accuracy"] is None
    assert f"the outputs of {len(rows):,} rows are not finite, which leaves the metrics undefined" in found.err
