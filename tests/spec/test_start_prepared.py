"""`model.from` beside how the record's rows were prepared: what differs is told, what is learned again is not."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

ROWS = "a,b,y\n1,20,0\n2,10,1\n3,30,0\n4,50,1\n"
SAID = "the weights were trained on rows that were prepared otherwise: "


def run(gdcli: Any, content: str, model: Any = "linear", loss: str = "mse", **data: Any) -> str:
    """Run on a file of this content, in runs; return what was said on standard error."""
    Path("rows.csv").write_text(content)
    spec = {
        "name": "t", "data": {"file": "rows.csv", "target": "y", **data}, "model": model, "loss": loss, "epochs": 1,
        "optimizer": {"name": "sgd", "lr": 1e-4},
    }  # fmt: skip
    Path("t.yaml").write_text(json.dumps(spec))
    answer = gdcli("run", "t.yaml", "--no-plot", "-q")
    assert answer.code == 0, answer.err
    said: str = answer.err
    return said


AGAIN = {"from": "last"}
OTHER_ROWS = "a,b,y\n5,20,0\n2,60,1\n3,30,0\n9,50,1\n"


def test_the_same_preparation_learned_of_other_rows_is_no_warning(gdcli: Any) -> None:
    run(gdcli, ROWS, standardize=True)
    assert SAID not in run(gdcli, OTHER_ROWS, AGAIN, standardize=True)
    run(gdcli, ROWS)
    assert SAID not in run(gdcli, OTHER_ROWS, AGAIN)


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ({"standardize": True}, {}, "standardized there and not here: 'a', 'b'"),
        ({}, {"standardize": ["b"]}, "standardized here and not there: 'b'"),
        ({"standardize": True}, {"standardize": ["b"]}, "standardized there and not here: 'a'"),
        ({}, {"standardize": ["target"]}, "the target is standardized here and not there"),
        ({"features": ["a", "b"]}, {"features": ["b", "a"]},
         "the columns in another order, 'a', 'b' there and 'b', 'a' here"),
    ],
)  # fmt: skip
def test_what_differs_is_named(gdcli: Any, before: dict[str, Any], now: dict[str, Any], message: str) -> None:
    run(gdcli, ROWS, **before)
    said = run(gdcli, ROWS, AGAIN, **now)
    assert f"model.from: {SAID}{message}\n" in said


def test_other_columns_and_categories_are_named(gdcli: Any) -> None:
    run(gdcli, ROWS)
    other = ROWS.replace("a,b,y", "a,c,y")
    assert f"{SAID}the columns ..., 'b' there and ..., 'c' here\n" in run(gdcli, other, AGAIN)
    run(gdcli, "town,y\nUlm,1\nBonn,2\n")
    assert "'town=Ulm' there and ..., 'town=Rom' here" in run(gdcli, "town,y\nRom,1\nBonn,2\n", AGAIN)


def test_other_classes_are_named(gdcli: Any) -> None:
    run(gdcli, "a,y\n1,cat\n2,dog\n3,cat\n", loss="cross_entropy")
    said = run(gdcli, "a,y\n1,ant\n2,dog\n3,ant\n", AGAIN, "cross_entropy")
    assert f"{SAID}the classes 'cat', 'dog' there and 'ant', 'dog' here\n" in said


def test_a_preparation_that_cannot_be_read_is_told_and_a_file_alone_has_its_columns(gdcli: Any) -> None:
    run(gdcli, ROWS, standardize=True)
    (folder,) = Path("runs/t").iterdir()
    Path("alone").mkdir()
    shutil.copy(folder / "model.safetensors", "alone/w.safetensors")
    weights = {"type": "linear", "from": "alone/w.safetensors"}
    assert SAID not in run(gdcli, ROWS, weights)
    assert f"{SAID}the columns 'a', 'b' there and 'c', 'd' here" in run(gdcli, ROWS.replace("a,b", "c,d"), weights)
    (Path("alone") / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (Path("alone") / "preprocessing.json").write_text('{"columns": 1}')
    assert "cannot tell how the rows of " in run(gdcli, ROWS, {"type": "linear", "from": "alone/model.safetensors"})


@pytest.mark.parametrize("named", ["folder", "model.safetensors"])
@pytest.mark.parametrize(
    ("change", "digest", "message"),
    [
        ({"means": [0.0, 0.0]}, False, "was changed: it does not have the sha256 that summary.json says"),
        ({"columns": ["a", "c"]}, True, "does not say how the columns of this model were prepared"),
        ({"classes": ["cat", "cow", "dog"]}, True, "does not say how the columns of this model were prepared"),
        (None, False, "does not say how"),
    ],
)
def test_a_preprocessing_that_is_not_the_records_own_is_refused_as_predict_does(
    gdcli: Any, named: str, change: dict[str, Any] | None, digest: bool, message: str
) -> None:
    run(gdcli, "a,b,y\n1,20,cat\n2,10,dog\n3,30,cat\n", loss="cross_entropy", standardize=True)
    (folder,) = Path("runs/t").iterdir()
    path = folder / "preprocessing.json"
    kept = json.loads(path.read_text())
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps(kept | change))
    if digest:
        summary = json.loads((folder / "summary.json").read_text())
        summary["sha256"]["preprocessing.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "summary.json").write_text(json.dumps(summary))
    spec = json.loads(Path("t.yaml").read_text())
    where = str(folder if named == "folder" else folder / named)
    Path("t.yaml").write_text(json.dumps(spec | {"model": {"type": "linear", "from": where}}))
    for answer in (gdcli("run", "t.yaml", "--no-plot", "-q", "-o", "again"), gdcli("predict", str(folder), "rows.csv")):
        assert answer.code == 3, answer.err
        assert len(answer.err.splitlines()) == 1, answer.err
        assert "preprocessing.json: " in answer.err
        assert change is None or message in answer.err
    assert not Path("again").exists()
