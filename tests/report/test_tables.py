"""Tables that are wider than a terminal: in parts, of which each begins with the first column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdcli.report.tables import aligned, folded

WORDS = st.text("abc", min_size=1, max_size=12)
CELLS = st.one_of(st.integers(0, 10**6), WORDS, st.builds("{} {}".format, WORDS, WORDS))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[object]]]:
    names = draw(st.lists(WORDS, min_size=3, max_size=9))
    rows = draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=5))
    return names, [list(row) for row in rows]


@given(tables(), st.integers(60, 100))
def test_a_folded_table_has_every_cell_and_fits(table: tuple[list[str], list[list[object]]], width: int) -> None:
    names, rows = table
    text = aligned(names, rows)
    lines = [*text.splitlines(), "what is told below"]
    count, parts = folded(lines, width)
    assert count == len(rows) + 1
    assert all(len(line) <= width for line in parts)
    blocks = [block.splitlines() for block in "\n".join(parts).split("\n\n")]
    again = [first.strip().split("  ")[:1] for first in blocks[0]]
    for row, line in enumerate(again):  # cells have no two blanks, so that these part the columns
        for block in blocks:
            line += [cell.strip() for cell in block[row].strip().split("  ") if cell.strip()][1:]
    wanted = [[str(cell) for cell in row] for row in ([*names], *rows)]
    assert [[cell.strip() for cell in line] for line in again] == wanted


@pytest.mark.parametrize(
    "lines",
    [
        ["a sentence of some words that goes on and on", "and one more"],
        ["name  what it is and what it is for, told at length", "other  and this too"],  # a list of two columns
        ["a  b  c with a long, long heading"],
    ],
)
def test_what_is_no_table_stays(lines: list[str]) -> None:
    assert folded(lines, 20) == (0, [])


def test_a_title_ends_a_table() -> None:
    lines = ["  run   lr  loss", "    1  0.1   0.5", "files", "  a.csv  1 B"]
    assert folded(lines, 12) == (2, ["  run   lr", "    1  0.1", "", "  run  loss", "    1   0.5"])
