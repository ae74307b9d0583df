"""Preprocessing against scikit-learn's, fitted on training rows; kept as plain data, and read back as hostile."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.schema import parse
from gdcli.zoo.data_files import read_columns
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Feature, Preprocessing

KINDS = ["rot", "grün", "blau"]


def people(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """A table with text, categories that are numbers, and missing cells."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 12, rows).round(2),
            "colour": rng.choice(KINDS, rows),
            "income": rng.integers(1, 5, rows) * 1000.5,
            "district": rng.choice([1, 2, 10], rows),
        }
    )
    table["kind"] = np.where(table.age + table.income / 200 > 52, "yes", "no")
    table.loc[rng.choice(rows, 9, replace=False), "age"] = np.nan
    table.loc[rng.choice(rows, 5, replace=False), "colour"] = np.nan
    return table


def loaded(data: dict[str, Any], base: Path, *, loss: str = "cross_entropy", **more: Any) -> Loaded:
    spec = {"data": data, "model": "linear", "loss": loss, "optimizer": "sgd", **more}
    return load(parse(read(json.dumps(spec), "f"), "t"), base)


def written(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False, sep=";", decimal=",")
    return path


@pytest.mark.parametrize("missing", ["mean", "median", "most_frequent"])
def test_rows_are_those_of_a_column_transformer_fitted_on_the_training_rows(tmp_path: Path, missing: str) -> None:
    table = people()
    written(table, tmp_path / "t.csv")
    found = loaded(
        {
            "file": "t.csv", "target": "kind", "features": ["age", "income", "colour", "district"],
            "categories": ["district"], "missing": missing, "standardize": True, "validation": 0.3, "seed": 4,
        },
        tmp_path,
    )  # fmt: skip
    assert found.training is not None
    assert found.validation is not None
    assert found.preprocessing is not None
    # which rows train is the permutation's, found again by hand
    order = np.random.Generator(np.random.PCG64(np.random.SeedSequence([4, 4]))).permutation(60)
    held_out, training = (np.sort(part) for part in (order[:18], order[18:]))
    numbers, words = ["age", "income"], ["colour", "district"]
    of_numbers = make_pipeline(SimpleImputer(strategy=missing), StandardScaler())
    of_words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False))
    encoder = ColumnTransformer([("numbers", of_numbers, numbers), ("words", of_words, words)])
    encoder.fit(table.iloc[training])
    for part, rows in ((found.training, training), (found.validation, held_out)):
        assert np.abs(part.x - encoder.transform(table.iloc[rows])).max() < 1e-12
        assert [found.preprocessing.class_name(y) for y in part.y] == table.kind.iloc[rows].tolist()
    names = ["age", "income", *(f"colour={kind}" for kind in sorted(KINDS))]
    assert found.preprocessing.columns == (*names, "district=1", "district=2", "district=10")


def test_dropped_rows_are_those_that_pandas_drops(tmp_path: Path) -> None:
    table = people()
    written(table, tmp_path / "t.csv")
    found = loaded({"file": "t.csv", "target": "kind", "missing": "drop"}, tmp_path).training
    assert found is not None
    kept = table.dropna()
    assert found.x[:, 0].tolist() == kept.age.tolist()
    assert (found.y == (kept.kind == "yes")).all()


def test_the_closed_form_of_a_table_with_text_is_scikit_learns(tmp_path: Path) -> None:
    from gdcli.engine.closed_form import solve

    table = people().dropna()
    written(table, tmp_path / "t.csv")
    data = {"file": "t.csv", "target": "income", "features": ["age", "district", "kind"], "standardize": ["age"]}
    found = loaded(data, tmp_path, loss="mse", dtype="float64")
    solution = {parameter.name: parameter.values for parameter in solve(found).parameters}
    assert found.training is not None
    x = np.column_stack([table.age, table.district, table.kind == "no", table.kind == "yes"]).astype(float)
    x[:, 0] = StandardScaler().fit_transform(x[:, :1])[:, 0]
    reference = LinearRegression().fit(x, table.income)
    fitted = found.training.x @ solution["weight"][0] + solution["bias"][0]
    assert np.abs(fitted - reference.predict(x)).max() < 1e-10 * np.abs(reference.predict(x)).max()


def test_a_standardized_target_is_learned_and_given_back_in_its_units(tmp_path: Path) -> None:
    table = people().dropna()
    written(table, tmp_path / "t.csv")
    data = {"file": "t.csv", "target": "income", "features": ["age"], "standardize": ["age", "target"]}
    found = loaded(data, tmp_path, loss="mse")
    assert found.training is not None
    scaler = StandardScaler().fit(table[["income"]])
    assert np.abs(found.training.y - scaler.transform(table[["income"]])).max() < 1e-12
    assert np.abs(found.in_units(found.training.y)[:, 0] - table.income).max() < 1e-9


# --- new rows


@pytest.fixture
def fitted(tmp_path: Path) -> Preprocessing:
    table = people()
    written(table, tmp_path / "t.csv")
    data = {"file": "t.csv", "target": "kind", "categories": ["district"], "missing": "median", "standardize": True}
    found = loaded(data, tmp_path).preprocessing
    assert found is not None
    return found


def test_new_rows_may_have_their_columns_in_another_order_and_more_of_them(
    fitted: Preprocessing, tmp_path: Path
) -> None:
    first = read_columns(tmp_path / "t.csv", None, ["kind"]).columns
    table = people()
    table["more"] = "x"
    other = table[["more", "district", "kind", "income", "colour", "age"]]
    other.to_csv(tmp_path / "other.csv", index=False)
    second = read_columns(tmp_path / "other.csv", None, ["kind"]).columns
    assert fitted.encode(first).tobytes() == fitted.encode(second).tobytes()


def test_it_is_the_same_when_it_is_read_back(fitted: Preprocessing, tmp_path: Path) -> None:
    again = Preprocessing.from_json(json.loads(json.dumps(fitted.to_json())))
    columns = read_columns(tmp_path / "t.csv", None, ["kind"]).columns
    assert again.encode(columns).tobytes() == fitted.encode(columns).tobytes()
    assert (again.columns, again.classes, again.to_json()) == (fitted.columns, ("no", "yes"), fitted.to_json())
    assert again.decode(np.array([[0.2, 0.1], [0.3, 0.9]])) == ["no", "yes"]
    assert again.decode(np.array([[0.4], [0.6]])) == ["no", "yes"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,colour,income\n1,rot,2\n", "the table has no column 'district'"),
        ("age,colour,income,district\n1,rot,2,1\n1,pink,2,1\n", "row 2, column 'colour': no training row has 'pink'"),
        ("age,colour,income,district\n1,rot,2,7\n", "row 1, column 'district': no training row has '7'"),
        ("age,colour,income,district\nold,rot,2,1\n", "column 'age' holds numbers in training, and text here: 'old'"),
    ],
)
def test_new_rows_that_do_not_fit_are_told(fitted: Preprocessing, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "new.csv").write_text(text)
    columns = read_columns(tmp_path / "new.csv", None, ["income"]).columns
    with pytest.raises(ArgumentError) as caught:
        fitted.encode(columns)
    assert message in str(caught.value)


def test_an_unknown_category_is_zero_in_all_its_columns_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("town,y\nUlm,1\nBonn,2\n")
    found = loaded({"file": "t.csv", "target": "y", "unknown": "zero"}, tmp_path, loss="mse").preprocessing
    (tmp_path / "new.csv").write_text("town,y\nRom,1\nUlm,1\n")
    assert found is not None
    assert found.encode(read_columns(tmp_path / "new.csv", None, ["y"]).columns).tolist() == [[0, 0], [0, 1]]


def test_a_missing_cell_without_a_fill_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,1\n2,2\n")
    found = loaded({"file": "t.csv", "target": "y"}, tmp_path, loss="mse").preprocessing
    assert found is not None
    with pytest.raises(ArgumentError, match="column 'a': 1 cell is missing, the first in row 2"):
        found.encode({"a": np.array([1.0, np.nan])})


# --- hostile files


def test_damaged_descriptions_are_refused_and_never_break(fitted: Preprocessing) -> None:
    """Every value, at every depth, is put out of order in several ways."""
    whole = json.loads(json.dumps(fitted.to_json()))

    def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [path, *(place for key, item in below for place in places(item, (*path, key)))]

    refused = tried = 0
    for path in places(whole)[1:]:
        for other in (None, -1, 1e400, "x" * 20_000, [], {}, [[]], True, "\x1b[2J", [0] * 3):
            changed = copy.deepcopy(whole)
            place: Any = changed
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = other
            tried += 1
            try:
                Preprocessing.from_json(changed)
            except ArgumentError as error:
                assert str(error).isprintable()  # noqa: PT017  either outcome is right
                refused += 1
    assert refused > 0.9 * tried


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": None}, "columns is no list"),
        ({"more": 1}, "other keys"),
        ({"deviations": [0.0] * 8}, "do not fit"),
        ({"means": [0.0] * 7}, "do not fit"),
        ({"features": [{"name": "a", "categories": [str(k) for k in range(10_001)]}]}, "at most 10,000"),
        ({"features": [{"name": "a", "width": 10**12}]}, "a width is no whole number"),
        ({"separator": "\n"}, "separator is none"),
        ({"separator": '"'}, "separator is none"),
        ({"decimal": ""}, "decimal is neither"),
    ],
)
def test_a_description_that_is_none_says_why(fitted: Preprocessing, changes: Any, message: str) -> None:
    whole = json.loads(json.dumps(fitted.to_json()))
    with pytest.raises(ArgumentError) as caught:
        Preprocessing.from_json({**whole, **changes})
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "x", 3, {}])
def test_what_is_no_mapping_of_columns_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentError, match="not a description of a preprocessing"):
        Preprocessing.from_json(value)


def test_a_row_beyond_all_training_rows_is_infinite_without_a_warning() -> None:
    fitted = Preprocessing((Feature("a"),), means=np.zeros(1), deviations=np.array([5e-324]))
    in_units = Preprocessing((Feature("a"),), target_means=np.zeros(1), target_deviations=np.array([1e300]))
    with warnings.catch_warnings(action="error"):
        assert fitted.scaled(np.ones((1, 1))).tolist() == [[np.inf]]
        assert in_units.in_units(np.full((1, 1), 3e38, np.float32)).tolist() == [[np.inf]]


def test_of_equally_frequent_categories_that_are_numbers_the_smallest_fills_as_scikit_learns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n10,1\n9,2\n10,3\n9,4\n,5\n")
    raw = read_columns(tmp_path / "t.csv", ["a"], ["y"])
    found = Preprocessing.fit(raw.columns, ["a"], categories=["a"], missing="most_frequent")
    (expected,) = SimpleImputer(strategy="most_frequent").fit([[10], [9], [10], [9], [np.nan]]).statistics_
    assert [feature.fill for feature in found.features] == [f"{expected:g}"] == ["9"]
