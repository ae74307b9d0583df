"""Sixty texts that change a terminal, a spreadsheet, markup, a formula or a page where they are let through."""

from __future__ import annotations

import csv
import io
import unicodedata

STRINGS = [
    # terminals
    "\x1b[31mred\x1b[0m", "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]8;;http://192.0.2.1\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07", "\x1bP+q544e\x1b\\", "\x1b[6n", "\x1bc", "\x9b31mred", "\x9d0;title\x9c", "bell\x07",
    "back\x08\x08\x08",
    "fine\rEVIL", "line\nEVIL: 1", "line\x0bline", "form\x0cfeed", "next\x85line", "\x7fdelete", "\x0e\x0f", "\x00nul",
    # characters that are not seen, or turn the line round
    "\u202egnp.exe", "\u2066a\u2069", "\u200fa", "\u061ca", "zero\u200bwidth", "join\u200dme",
    "soft\u00adhyphen", "\ufeffmark", "line\u2028separator", "para\u2029graph", "\u3164", "tag\U000e0041",
    "\ud800", "\udcff", "\uffff", "a\u0301\u0301\u0301",
    # markup
    "[/]", "[bold]x[/bold]", "[link=http://192.0.2.1]x[/link]", ":smiley:", "[[[", "[@click=app.bell]x[/]",
    # formulas of matplotlib
    "$$", "$", "$\\frac{1}{0}$", "$\\undefined$", "\\", "_hidden",
    # spreadsheets
    "=cmd|'/c calc'!A0", "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "'=1", '"=1",=1', "a,b;c",
    # pages, and what is only long
    "<script>alert(1)</script>", "&lt;&#0;", "%s%n{0}", "x" * 100, "日本語", "😀",
]  # fmt: skip


def bad(text: str) -> list[str]:
    """Return the characters of an output that act on a terminal, or that nobody sees; a line break and a tab do not."""
    return sorted(
        {repr(c) for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    )


def formulas(text: str) -> list[str]:
    """Return the cells of a CSV that a spreadsheet would take for a formula."""
    found = []
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            try:
                float(cell)
            except ValueError:
                if cell[:1] and cell[0] in "=+-@\t\r":
                    found.append(cell)
    return found
