"""Exponential moving averages: document 4's numbers, pandas' numbers, and what is wrong with a file by its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gdcli.commands.ema import average, ema, read
from gdcli.errors import SpecError
from gdcli.report.plots import averages
from tests.conftest import GOLDEN


def test_equals_the_document() -> None:
    found = average(read("temperatures", "temperature"), [0.5, 0.9])
    assert found.csv() == (GOLDEN / "ema.csv").read_text()


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_agrees_with_pandas(beta: float) -> None:
    values = pd.Series(np.random.default_rng(0).normal(size=500))
    expected = values.ewm(alpha=1 - beta, adjust=False).mean()
    np.testing.assert_allclose(ema(values.tolist(), beta), expected, rtol=1e-12)


def test_beta_zero_is_the_series_and_the_first_value_is_kept() -> None:
    assert ema([3.0, -1.0, 2.5], 0.0) == [3.0, -1.0, 2.5]
    assert ema([3.0, 3.0], 0.7)[0] == 3.0
    assert ema([], 0.5) == []


@pytest.mark.parametrize("beta", [1.0, -0.1, float("nan"), 2.0])
def test_beta_outside_of_its_range(beta: float) -> None:
    with pytest.raises(SpecError, match="--beta takes a number from 0 to below 1"):
        average(read("temperatures", None), [beta])


def test_a_beta_twice() -> None:
    with pytest.raises(SpecError, match=r"--beta 0.5 is given twice"):
        average(read("temperatures", None), [0.5, 0.5])


def test_any_column_of_any_file(tmp_path: Path) -> None:
    """Other columns stay as they stand, quotes where they must be, no formula for a spreadsheet."""
    file = tmp_path / "a.csv"
    file.write_text('\ufeffwhen,price,note\nMon,-1,"a,b"\nTue,3.0,=1+1\n\nWed,1e1,-5\n')
    found = average(read(str(file), "price"), [0.5])
    assert found.csv().splitlines() == [
        "when,price,note,ema_0.5", 'Mon,-1.0,"a,b",-1.0', "Tue,3.0,'=1+1,1.0", "Wed,10.0,-5,5.5",
    ]  # fmt: skip
    assert found.series.horizontal() == ("row", [1.0, 2.0, 3.0])
    assert read("temperatures", None).horizontal()[0] == "day"


WRONG = [
    ("a,b\n1,2\n", "c", "{0}:1:1: there is no column 'c'. Known: a, b"),
    ("day,price\n1,2\n", "prise", "{0}:1:1: there is no column 'prise'. Did you mean 'price'?"),
    ("a,b\n1,2\n3,x\n", "b", "{0}:3:3: b: must be a number (got 'x')"),
    ("a,b\n1,2\n3,\n", "b", "{0}:3:3: b: must be a number (got '')"),
    ('a,b\n"1,\n1",2\n"3, 4",nan\n', "b", "{0}:4:8: b: must be a number (got 'nan')"),
    ("a,b\n1,2\n3\n", "b", "{0}:3:1: has 1 cells, the header has 2"),
    ("a,a\n1,2\n", "a", "{0}:1:3: the column 'a' stands twice in the header"),
    ("a,b\n", "b", "{0}:2:1: no rows below the header"),
    ("", "b", "{0}:1:1: the file is empty"),
    ('a,b\n1,"2\n', "b", "{0}:2:1: unexpected end of data"),
    ("a,b\n1,1_0\n", "b", "{0}:2:3: b: must be a number (got '1_0')"),
    ("a;b\n1;2\n", "b", "{0}:1:1: semicolons seem to part the columns: write commas, and numbers with decimal points"),
    (
        "a;b\n1,5;2\n",
        None,
        "{0}:1:1: semicolons seem to part the columns: write commas, and numbers with decimal points",
    ),
    ("a\tb\n1\t2\n", "b", "{0}:1:1: tabs seem to part the columns: write commas, and numbers with decimal points"),
    ('a,b\n1,"2,5"\n', "b", "{0}:2:3: b: must be a number (got '2,5'). A decimal comma? Write a point"),
    *(
        (
            "1,2\n3,4\n",
            column,
            "{0}:1:1: line 1 holds numbers, so that the file seems to have no names of columns. "
            "Write a line of names above them",
        )
        for column in (None, "c2")
    ),
]


@pytest.mark.parametrize(("text", "column", "message"), WRONG)
def test_what_is_wrong_has_its_place(tmp_path: Path, text: str, column: str | None, message: str) -> None:
    file = tmp_path / "w.csv"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        read(str(file), column)
    assert str(caught.value) == message.format(file)


def test_a_column_whose_name_is_a_number_is_taken_by_it(tmp_path: Path) -> None:
    file = tmp_path / "years.csv"
    file.write_text("2024,2025\n1,2\n3,4\n")
    assert read(str(file), "2025").values == (2.0, 4.0)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"a\n\xe9\n")
    with pytest.raises(SpecError, match="Did you mean 'temperatures'"):
        read("temperature", None)
    with pytest.raises(SpecError, match="is not a regular file"):
        read(str(tmp_path), None)
    with pytest.raises(SpecError, match="is not UTF-8 text"):
        read(str(tmp_path / "latin.csv"), None)


def test_the_picture_is_a_small_png_with_the_same_bytes_each_time() -> None:
    values = [1.0, 2.0, float("nan"), 3.0]
    made = [averages([1, 2, 3, 4], values, [("$$", values)], title="$_", x_label="day", y_label="°C") for _ in "ab"]
    assert made[0] == made[1]
    assert made[0].startswith(b"\x89PNG")
    assert len(made[0]) < 300_000
