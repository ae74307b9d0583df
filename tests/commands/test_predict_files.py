"""`gdcli predict` and `evaluate` on tables that are no text: Parquet, NPZ and IDX files, as training reads them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gdcli as package
from gdcli.errors import SpecError
from gdcli.storage.column_chunks import column_chunks
from tests.conftest import only_folder

RNG = np.random.default_rng(8)
ROWS = 5000  # more than a chunk


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    found = pd.DataFrame(
        {"a": RNG.normal(size=ROWS), "b": RNG.normal(size=ROWS), "town": RNG.choice(["Ulm", "Bonn"], ROWS)}
    )
    found["y"] = np.where(found.a - found.b + (found.town == "Ulm") > 0, "yes", "no")
    found.loc[17, "a"] = np.nan
    return found


def trained(gdcli: Any, data: dict[str, Any], **more: Any) -> None:
    spec = {"name": "t", "data": data, "model": "linear", "loss": "cross_entropy", "optimizer": "sgd", "epochs": 2}
    Path("t.yaml").write_text(json.dumps({**spec, **more}))
    answer = gdcli("run", "t.yaml", "--no-plot", "-q")
    assert answer.code == 0, answer.err


def test_parquet_and_npz_predict_and_evaluate_as_csv_does(gdcli: Any, rows: pd.DataFrame) -> None:
    rows.to_csv("t.csv", index=False)
    rows[["y", "b", "a", "town"]].to_parquet("t.parquet")
    np.savez("t.npz", **{name: rows[name].to_numpy(dtype=None if name in "ab" else str) for name in rows})
    trained(gdcli, {"file": "t.csv", "target": "y", "missing": "mean", "standardize": True})
    of_csv = gdcli("predict", "last", "t.csv").out
    assert of_csv.startswith("prediction,p_no,p_yes\n")
    assert of_csv.count("\n") == ROWS + 1
    for file in ("t.parquet", "t.npz"):
        assert gdcli("predict", "last", file).out == of_csv
        assert gdcli("evaluate", "last", file).out == gdcli("evaluate", "last", "t.csv").out


@pytest.mark.parametrize("kind", ["string", "object"])
def test_a_column_without_a_cell_is_filled_as_that_of_a_csv(gdcli: Any, rows: pd.DataFrame, kind: str) -> None:
    rows[:60].to_csv("t.csv", index=False)
    trained(gdcli, {"file": "t.csv", "target": "y", "missing": "mean"})
    some = rows[:3].assign(a=pd.Series([None] * 3, dtype=kind))  # the Parquet file has text, or no type at all
    some.to_csv("some.csv", index=False)
    some.to_parquet("some.parquet")
    found = gdcli("predict", "last", "some.parquet")
    assert found.code == 0, found.err
    assert found.out == gdcli("predict", "last", "some.csv").out


def test_npz_with_text_trains_as_the_same_csv_does(gdcli: Any, rows: pd.DataFrame) -> None:
    rows.to_csv("t.csv", index=False)
    x = np.stack([rows.a, rows.b], axis=1)
    np.savez_compressed("t.npz", x=x, town=rows.town.to_numpy(dtype=str), y=rows.y.to_numpy(dtype=str))
    found = {}
    for file, features in (("t.csv", ["a", "b", "town"]), ("t.npz", ["x", "town"])):
        trained(gdcli, {"file": file, "features": features, "target": "y", "missing": "median"}, name=file[2:])
        found[file] = gdcli("predict", file[2:], file).out
    assert found["t.npz"] == found["t.csv"]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_idx_images_predict_and_evaluate(gdcli: Any) -> None:
    images = RNG.integers(0, 256, (90, 4, 3), dtype=np.uint8)
    labels = (images.reshape(90, -1).sum(1) > 1530).astype(np.uint8) + 3
    Path("images").write_bytes(gzip.compress(idx(images)))
    Path("labels").write_bytes(idx(labels))
    trained(gdcli, {"idx": {"images": "images", "labels": "labels"}, "standardize": True}, dtype="float64")
    output = package.load("last").predict(images.reshape(90, 12))
    header, *found = csv.reader(io.StringIO(gdcli("predict", "last", "images").out))
    assert header == ["prediction", "p_3", "p_4"]
    assert [int(row[0]) for row in found] == (output.argmax(1) + 3).tolist()
    summary = json.loads((only_folder(Path("runs")) / "summary.json").read_text())
    evaluated = json.loads(gdcli("evaluate", "last", "images", "--labels", "labels", "--json").out)
    assert (evaluated["rows"], evaluated["loss"]) == (90, summary["final_loss"])
    for words, told in (
        (("images",), "images: has images alone: --labels names the file of their labels"),
        (("labels", "--labels", "labels"), "labels: has shape [90], not [n, height, width]"),
        (("images", "--labels", "images"), "images: 90 images, and labels of shape [90, 4, 3]"),
        (("t.yaml", "--labels", "labels"), "t.yaml: is no IDX file of images, to which the labels could belong"),
    ):
        answer = gdcli("evaluate", "last", *words)
        assert (answer.code, answer.out, answer.err) == (2, "", f"{told}\n")


def test_overrides_reach_the_files_of_idx(gdcli: Any) -> None:
    for name in ("a", "b"):
        Path(name).write_bytes(idx(RNG.integers(0, 256, (9, 2, 2), dtype=np.uint8)))
        Path(f"{name}.labels").write_bytes(idx(np.arange(9, dtype=np.uint8) % 3))
    trained(gdcli, {"idx": {"images": "a", "labels": "a.labels"}})
    answer = gdcli("run", "t.yaml", "data.idx.images=b", "data.idx.labels=b.labels", "--no-plot", "-q", "-o", "other")
    assert answer.code == 0, answer.err
    assert "/b.labels" in (only_folder(Path("other")) / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"a": ["x"], "b": [1.0], "town": ["Ulm"]}, "row 1, column 'a': 'x' is not a number"),
        ({"a": [1.0], "b": [1.0], "town": ["Rom"]}, "row 1, column 'town': no training row has 'Rom'. They have"),
        ({"a": [1.0], "town": ["Ulm"]}, "has no column 'b', which the model takes"),
        ({"q": [1.0]}, "has no column 'a', 'b', 'town', which the model takes"),
    ],
)
@pytest.mark.parametrize("file", ["u.parquet", "u.npz"])
def test_a_table_that_does_not_fit_is_one_message(
    gdcli: Any, rows: pd.DataFrame, table: dict[str, list[Any]], told: str, file: str
) -> None:
    rows.to_csv("t.csv", index=False)
    trained(gdcli, {"file": "t.csv", "target": "y", "missing": "mean"})
    if file.endswith("npz"):
        np.savez(file, **{name: np.array(cells) for name, cells in table.items()})
    else:
        pd.DataFrame(table).to_parquet(file)
    answer = gdcli("predict", "last", file)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert answer.err.startswith(f"{file}: {told}")


@pytest.mark.parametrize("file", ["u.parquet", "u.npz"])
def test_a_damaged_file_is_one_message(gdcli: Any, rows: pd.DataFrame, file: str) -> None:
    rows.to_csv("t.csv", index=False)
    trained(gdcli, {"file": "t.csv", "target": "y", "missing": "mean"})
    Path(file).write_bytes(b"PAR1PK\x03\x04" * 40)
    answer = gdcli("predict", "last", file)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"{file}: not a readable")


def test_text_of_an_npz_array_is_read_within_bounds(gdcli: Any) -> None:
    np.savez("many.npz", x=np.arange(10_001.0), y=np.arange(10_001).astype(str))
    np.savez("flat.npz", x=np.arange(4.0), y=np.array([["a", "b"]] * 2))
    np.savez("odd.npz", x=np.arange(2.0), y=np.array(["a", "\x1b[2J"]))
    spec = {"name": "t", "model": "linear", "loss": "cross_entropy", "optimizer": "sgd"}
    for file, told in (
        (
            "many.npz",
            "data.target: column 'y' has 10,001 different values, more than 10,000, the most classes",
        ),
        ("flat.npz", "the array 'y' of text has shape (2, 2), not [n]"),
        ("odd.npz", "row 2, column 'y': '\\x1b[2J' is not a number, and no word with characters that are not seen"),
    ):
        Path("t.yaml").write_text(json.dumps({**spec, "data": {"file": file, "features": ["x"], "target": "y"}}))
        answer = gdcli("validate", "t.yaml")
        assert answer.code == 2
        assert told in answer.err


def test_the_names_of_a_parquet_file_are_checked_before_its_rows_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"a": [1.0, 2.0], "other": [1.0, 2.0]}), path)
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", lambda *given, **keys: pytest.fail("rows are read"))
    with path.open("rb") as stream, pytest.raises(SpecError, match="b"):
        list(column_chunks(stream, "t.parquet", ["a", "b"], 10) or ())
