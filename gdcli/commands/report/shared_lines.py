"""Texts of many steps kept small: numbers that repeat stand once, and a line's words once for all steps.

A derivation of one quantity differs from step to step in its numbers alone, and these are those of others: w5 stands in
ten lines. So the numbers of the steps are columns, each kept once, and a text is a template with a mark for each number
and the columns that fill it. The page puts them together again, character for character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MARK = "¤"
"""Stands in a template for a number. No expression and no name holds it."""

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?")

Cells = Sequence[str | None]


def split(text: str) -> tuple[str, list[str]]:
    """Return a text as its template and numbers.

    >>> split("w5 · h1[3] = 0.5 · 1e-07")
    ('w5 · h1[¤] = ¤ · ¤', ['3', '0.5', '1e-07'])
    """
    return _NUMBER.sub(MARK, text), _NUMBER.findall(text)


class SharedLines:
    """Columns of texts over K steps, each kept once; and texts as templates over them."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.columns: list[list[str | None]] = []
        self.templates: dict[str, int] = {}
        self._places: dict[tuple[int, str], list[int]] = {}  # of a step and a text: the columns that have it there

    def column(self, cells: Cells) -> int:
        """Return the number of the column with these texts, where they are; None stands for any."""
        known = [k for k, cell in enumerate(cells) if cell is not None]
        for found in self._places.get((known[0], str(cells[known[0]])), ()) if known else ():
            if all(self.columns[found][k] in (None, cells[k]) for k in known):
                self._fill(found, cells, known)
                return found
        self.columns.append([None] * self.steps)
        self._fill(len(self.columns) - 1, cells, known)
        return len(self.columns) - 1

    def _fill(self, number: int, cells: Cells, known: Sequence[int]) -> None:
        column = self.columns[number]
        for k in known:
            if column[k] is None:
                column[k] = cells[k]
                self._places.setdefault((k, str(cells[k])), []).append(number)

    def text(self, texts: Cells) -> dict[str, Any]:
        """Return a text of each step as its forms, ``[template, columns]`` each, and which form a step has.

        -1 is for a step without one; where all have the first form it is not said.
        """
        forms: dict[str, dict[int, list[str]]] = {}
        for k, text in enumerate(texts):
            if text is not None:
                template, numbers = split(text)
                forms.setdefault(template, {})[k] = numbers
        which, found = [-1] * self.steps, list[list[Any]]()
        for template, rows in forms.items():
            for k in rows:
                which[k] = len(found)
            found.append(self._form(template, rows))
        return {"forms": found} | ({"which": which} if any(which) else {})

    def _form(self, template: str, rows: Mapping[int, list[str]]) -> list[Any]:
        parts, columns = template.split(MARK), list[int]()
        written = parts[0]
        for place, part in enumerate(parts[1:]):
            cells = [rows[k][place] if k in rows else None for k in range(self.steps)]
            values = {cell for cell in cells if cell is not None}
            if len(values) == 1:
                written += values.pop() + part
                continue
            written += MARK + part
            columns.append(self.column(cells))
        return [self.templates.setdefault(written, len(self.templates)), columns]

    def json(self) -> dict[str, Any]:
        """Return the columns, one that never changes as one text, and the templates."""
        columns = [column[0] if len(set(column)) == 1 else column for column in self.columns]
        return {"columns": columns, "templates": list(self.templates)}
