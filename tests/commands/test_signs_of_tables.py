"""Decimal sign and separator of a table: found, given on the command line, and those of a table to predict."""

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


COMMAS = "a;b;y\n1,5;2,25;3\n2,5;1,75;4\n0,5;2,0;5\n"


def test_thousands_are_what_the_training_file_has_them_for(gdcli: Any) -> None:
    """1,234 is a bit more than one beside decimal commas; 1.000 is no number there, and never silently 1."""
    assert trained(gdcli, COMMAS).code == 0
    assert predicted(gdcli, "a;b\n1,234;2\n") == predicted(gdcli, "a,b\n1.234,2\n")
    Path("new.csv").write_text("a;b\n1.000;2\n")
    answer = gdcli("predict", "last", "new.csv")
    assert answer.code == 2
    assert "new.csv: line 2, column 'a': '1.000' is not a number: the decimal sign is a comma here" in answer.err
    assert predicted(gdcli, "a;b\n1.5;2\n") == predicted(gdcli, "a;b\n1,5;2\n")  # each shows its own
    assert predicted(gdcli, "a;b;note\n1,234;2;1.5\n") == predicted(gdcli, "a;b\n1,234;2\n")  # the model takes no note


def test_a_record_of_decimal_points_refuses_thousands_without_advice_on_a_spec(gdcli: Any) -> None:
    assert trained(gdcli, "a;b;y\n1.5;2.25;3\n2.5;1.75;4\n").code == 0
    Path("new.csv").write_text("a;b\n1,234;2\n")
    answer = gdcli("predict", "last", "new.csv")
    assert answer.code == 2
    assert "column 'a': '1,234' is not a number" in answer.err
    assert "data.decimal" not in answer.err


def test_a_column_alone_has_the_separator_of_the_training_file(gdcli: Any) -> None:
    assert trained(gdcli, "a;y\n1,5;3\n2,5;4\n").code == 0
    assert predicted(gdcli, "a\n1,5\n2,5\n") == predicted(gdcli, "a;z\n1,5;0\n2,5;0\n")


GRADES = "a;g;y\n1,5;1;3\n2,5;2;4\n0,5;1,0;5\n0,25;2,5;6\n"


def test_a_number_of_a_category_is_one_however_it_is_written(gdcli: Any) -> None:
    """1 and 1,0 are one category beside decimal commas, as 1 and 1.0 are beside decimal points."""
    columns = []
    for content in (GRADES, GRADES.replace(",", ".")):
        assert trained(gdcli, content, categories=["g"]).code == 0
        (folder,) = Path("runs/t").iterdir()
        columns.append(json.loads((folder / "preprocessing.json").read_text())["columns"])
        assert len(set(predicted(gdcli, "a;g\n1,5;1\n1,5;1,0\n1,5;1,00\n"))) == 1
        assert predicted(gdcli, "a;g\n1,5;2,5\n") == predicted(gdcli, "a;g\n1.5;2.5\n")
        assert gdcli("rm", "last", "--yes").code == 0
    assert columns == [["a", "g=1", "g=2", "g=2.5"]] * 2


def test_a_class_is_one_however_it_is_written(gdcli: Any) -> None:
    Path("t.yaml").write_text("")
    content = "a;y\n1,5;10\n2,5;20\n0,5;10\n"
    Path("rows.csv").write_text(content)
    spec = {**SPEC, "loss": "cross_entropy"}
    Path("t.yaml").write_text(json.dumps(spec))
    assert gdcli("run", "t.yaml", "--no-plot", "-q").code == 0
    expected = gdcli("evaluate", "last", "rows.csv", "--json").json
    Path("new.csv").write_text(content.replace("10\n", "10,0\n"))
    assert gdcli("evaluate", "last", "new.csv", "--json").json == expected


def test_categories_have_no_vote_on_the_decimal_sign(gdcli: Any) -> None:
    """A version 1.0 among decimal commas does not make points of them, neither in training nor in a prediction."""
    content = "a;version;y\n1,5;1.0;3\n2,5;1.1;4\n0,5;1.0;5\n"
    answer = trained(gdcli, content, categories=["version"])
    assert answer.code == 0, answer.err
    assert predicted(gdcli, "a;version\n1,234;1.0\n") == predicted(gdcli, "a;version\n1.2340;1.0\n")


def test_rows_for_validation_have_the_signs_of_the_training_file(gdcli: Any) -> None:
    Path("held.csv").write_text("a;b;y\n1,234;2;3\n")
    answer = trained(gdcli, COMMAS, validation={"file": "held.csv"})
    assert answer.code == 0, answer.err
    Path("held.csv").write_text("a;b;y\n1.000;2;3\n")
    answer = trained(gdcli, COMMAS, validation={"file": "held.csv"})
    assert answer.code == 2
    assert "'1.000' is not a number: the decimal sign is a comma here" in answer.err
