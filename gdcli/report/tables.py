"""Runs as tables: aligned text for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any

from gdcli.errors import visible


def aligned(header: Sequence[str], rows: Sequence[Sequence[Any]], widest: int | None = None) -> str:
    """Return rows as text, numbers to the right and words to the left, two spaces between the columns.

    With ``widest`` no column is wider than so many letters: a longer text moves what follows it on its line.

    >>> print(aligned(["optimizer", "loss"], [["sgd", 0.5], ["adam", 12.0]]), end="")
    optimizer  loss
    sgd         0.5
    adam         12
    """
    cells = [[visible(name) for name in header], *[[number(value) for value in row] for row in rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    widths = widths if widest is None else [min(width, widest) for width in widths]
    right = [bool(rows) and all(not isinstance(row[k], str) for row in rows) for k in range(len(header))]
    lines = []
    for row in cells:
        parts = [text.rjust(w) if r else text.ljust(w) for text, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(parts).rstrip() + "\n")
    return "".join(lines)


def folded(lines: Sequence[str], width: int, first: int = 0) -> tuple[int, list[str]]:
    """Return how many lines are a table, the first of them its header, and the table in parts that fit into a width.

    ``first`` is the place of the header among the lines. Each part begins with the first column. Without a table that
    is 0 and nothing; one with a column that does not fit stays as it is.

    >>> for line in folded(["name    lr  loss", "sgd   0.01   0.5", "that is all"], 10)[1]:
    ...     print(line)
    name    lr
    sgd   0.01
    <BLANKLINE>
    name  loss
    sgd    0.5
    """
    gaps = [(gap.start(), gap.end()) for gap in re.finditer(r"(?<=\S)  +(?=\S)", lines[first])]
    count = 0
    for k in range(first, len(lines)):
        line = lines[k]
        left = [_blank(line, *gap) for gap in gaps]
        if "  " not in line.strip() or not all(end - start >= 2 for start, end in left):
            break
        gaps, count = left, count + 1
    table = lines[first : first + count]
    if len(gaps) < 2 or count < 2:
        return 0, []
    if max(map(len, table)) <= width:
        return count, [*table]
    starts, ends = [0, *(end for _, end in gaps)], [*(start for start, _ in gaps), None]
    columns = [[line[start:end].rstrip() for line in table] for start, end in zip(starts, ends, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    parts: list[list[int]] = [[0]]
    for k in range(1, len(columns)):
        if sum(widths[j] + 2 for j in [*parts[-1], k]) - 2 > width:
            parts.append([0])
        parts[-1].append(k)
    if any(sum(widths[j] + 2 for j in part) - 2 > width for part in parts):
        return count, [*table]
    found = []
    for part in parts:
        found += ["", *("  ".join(columns[j][row].ljust(widths[j]) for j in part).rstrip() for row in range(count))]
    return count, found[1:]


def _blank(line: str, start: int, end: int) -> tuple[int, int]:
    """Return the longest run of blanks in a part of a line, behind whose end all is blank."""
    runs = [(start + run.start(), start + run.end()) for run in re.finditer(" +", line[start:end].ljust(end - start))]
    return max(runs, key=lambda run: run[1] - run[0], default=(start, start))


def number(value: Any) -> str:
    """Return a value as a table shows it: six significant digits, a dash for nothing, no text that acts.

    >>> number(0.123456789), number(None), number(float("nan")), number(12), number(True)
    ('0.123457', '-', '-', '12', 'true')
    """
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else visible(str(value))


def section(title: str, pairs: Sequence[tuple[str, Any]]) -> str:
    """Return a title and indented lines of a word and what it is, aligned; nothing without pairs. Texts are safe."""
    width = max((len(name) for name, _ in pairs), default=0)
    lines = [f"  {name:{width}}  {number(value)}\n" for name, value in pairs]
    return "".join([f"{title}\n", *lines]) if pairs else ""
