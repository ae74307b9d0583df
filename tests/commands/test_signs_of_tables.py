"""Decimal sign and separator of a table: of the training file, on the command line, and of another that is predicted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

SPEC: dict[str, Any] = {
    "name": "t", "data": {"file": "rows.csv", "target": "y"}, "model": "linear", "loss": "mse", "epochs": 1,
    "optimizer": {"name": "sgd", "lr": 0.01},
}  # fmt: skip


def trained(gdcli: Any, content: str, *words: str, **data: Any) -> Any:
    """Train a spec on a file of this content."""
    Path("rows.csv").write_text(content)
    Path("t.yaml").write_text(json.dumps({**SPEC, "data": {**SPEC["data"], **data}}))
    return gdcli("run", "t.yaml", *words, "--no-plot", "-q")


def predicted(gdcli: Any, content: str) -> list[float]:
    """The predictions of the last record for a table of this content."""
    Path("new.csv").write_text(content)
    answer = gdcli("predict", "last", "new.csv")
    assert answer.code == 0, answer.err
    return [float(row["prediction"]) for row in csv.DictReader(answer.out.splitlines())]


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
def test_a_separator_is_given_on_the_command_line(gdcli: Any, separator: str) -> None:
    content = "a,y\n1,2\n3,4\n".replace(",", separator)
    answer = trained(gdcli, content, f"data.separator={separator}")
    assert answer.code == 0, answer.err


def test_a_decimal_comma_is_given_on_the_command_line(gdcli: Any) -> None:
    content = "a;y\n1,234;2\n3,456;4\n"  # thousands, or a bit more than one
    assert "set data.decimal" in trained(gdcli, content).err
    answer = trained(gdcli, content, "data.decimal=,")
    assert answer.code == 0, answer.err
    answer = trained(gdcli, content, "data.decimal=;")
    assert answer.code == 2
    assert "data.decimal" in answer.err


def test_predict_writes_into_a_folder_that_ends_in_a_slash(gdcli: Any) -> None:
    assert trained(gdcli, "a,y\n1,2\n3,4\n").code == 0
    shown = gdcli("predict", "last", "rows.csv").out
    answer = gdcli("predict", "last", "rows.csv", "-o", "out/")
    assert answer.code == 0, answer.err
    assert Path("out/predictions.csv").read_text() == shown
    assert gdcli("predict", "last", "rows.csv", "-o", "out/").code == 2  # it is there already
    answer = gdcli("predict", "last", "rows.csv", "-o", "t.yaml/")
    assert (answer.code, "no folder" in answer.err) == (2, True)


def test_a_missing_column_is_told_with_all_that_there_are(gdcli: Any) -> None:
    assert trained(gdcli, "a,b,y\n1,2,3\n3,4,7\n").code == 0
    Path("new.csv").write_text("a,extra\n1,2\n")
    assert "has no column 'b', which the model takes. Its columns: a, extra" in gdcli("predict", "last", "new.csv").err
