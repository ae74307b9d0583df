"""Runs as tables: aligned text for people."""

from __future__ import annotations

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
