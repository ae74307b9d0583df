"""Files of answers: every problem with line and column."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from gdcli.errors import SpecError
from gdcli.storage.answers_file import read_answers


def rows(tmp_path: Path, content: bytes | str) -> list[tuple[int, str, Decimal | None]]:
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.line, row.name, row.value) for row in read_answers(path)]


@pytest.mark.parametrize(
    "content",
    [
        "name,value\nh1,0.5\ndw5,-1e-3\n",
        "name,value\r\nh1,0.5\r\ndw5,-1e-3",
        "\ufeffname,value\nh1, 0.5\n dw5 ,−0.001\n\n",
        "Name;Value\nh1;0,5\ndw5;-1,0e-3\n",
        'name\tvalue\n"h1"\t"0,5"\ndw5\t-1e-3\n',
        'value,name,remark\n0.5,"h1",fine\n-1e-3,dw5,"so, so"\n',
    ],
)
def test_the_same_answers_however_they_are_written(tmp_path: Path, content: str) -> None:
    found = rows(tmp_path, content)
    assert [(name, float(value)) for _, name, value in found if value is not None] == [("h1", 0.5), ("dw5", -0.001)]
    assert [line for line, _, _ in found] == [2, 3]


def test_a_name_with_a_comma_stands_in_quotes_and_an_empty_cell_is_no_answer(tmp_path: Path) -> None:
    assert rows(tmp_path, 'name,value\n"linear1.weight[0,0]",0.5\nh1,\n') == [
        (2, "linear1.weight[0,0]", Decimal("0.5")), (3, "h1", None),
    ]  # fmt: skip


def test_the_digits_that_were_written_are_kept(tmp_path: Path) -> None:
    ((_, _, value),) = rows(tmp_path, "name,value\nh1,0.50\n")
    assert value is not None
    assert value.as_tuple().exponent == -2


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["1:1: has no column name. The first line is: name,value"]),
        ("h1,0.5\n", ["1:1: has no column name"]),
        ("name,answer\nh1,1\n", ["1:1: has no column value"]),
        ("name,value,value\n", ["1:1: has more than one column value"]),
        ("name,value\n", ["1:1: has no answers. A row is: h1,0.5933"]),
        ("name,value\nh1,0,5933\n", ["2:1: has 3 cells, the header 2. A number has a point"]),
        ("name,value\nh1\n", ["2:1: has 1 cell, the header 2"]),
        ("name,value\nh1,abc\nh2,nan\nh3,1_0\nh4,½\n",
         ["2:4: is not a number (got 'abc')", "3:4: is not", "4:4: is not", "5:4: is not"]),
        ("name,value\nh1,1\nh1,2\n", ["3:1: 'h1' is answered already on line 2"]),
        ("name,value\n,1\n", ["2:1: the name is missing"]),
        ("name,value\nh1,\x1b[31m\n", ["2:4: the control character U+001B is refused"]),
        (b"name,value\nh\xe9,1\n", ["2:2: byte 0xE9 is not UTF-8. Save it as UTF-8"]),
        ("name,value\nh1,1e9999\n", ["2:4: is not a number"]),
        ("name,value\nh1," + "9" * 500 + "\n", ["2:4: is not a number"]),
        ("name,value\nh1,1e400\n", ["2:4: is not a number"]),
        ("name,value\nh1,1e-99999999\nh2,0e999999999999999999999\n", ["2:4: is not a number", "3:4: is not a number"]),
        ("name,value\nh1,1\x1eh2,2\nh3,x\n", ["2:5: the control character U+001E is refused"]),  # it ends no line
        (b"x" * (2**20 + 1), ["1:1: larger than 1,048,576 bytes"]),
    ],
)  # fmt: skip
def test_what_is_wrong_stands_with_line_and_column(tmp_path: Path, content: bytes | str, problems: list[str]) -> None:
    with pytest.raises(SpecError) as raised:
        rows(tmp_path, content)
    lines = str(raised.value).splitlines()
    assert len(lines) == len(problems)
    for line, problem in zip(lines, problems, strict=True):
        assert line.startswith(f"{tmp_path / 'a.csv'}:{problem}")


def test_a_file_that_is_not_there_or_none_is_told(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "b.csv", "No such file or directory"), (tmp_path, "it is no file")):
        with pytest.raises(SpecError, match=f"cannot read '.*': {why}"):
            read_answers(path)
