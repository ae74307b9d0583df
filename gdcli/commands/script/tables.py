"""A CSV file in a script: read by Python's csv, text as columns of 0 and 1, missing cells filled in.

What a script reads is worked out here too and held to what gdcli reads; a file that the few lines of a script would
read otherwise, such as one with another decimal sign, is not written so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.script.layout import Brackets, indented, layout, literal, text_of
from gdcli.commands.script.subject import ScriptSubject
from gdcli.spec.data_sections import Data, HeldOutFile
from gdcli.zoo.data import generator
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Preprocessing
from gdcli.zoo.splits import parts_of

Lines = list[str]

FILLED = ("mean", "median")
"""How numbers are filled in."""


@dataclass(frozen=True, slots=True)
class CsvRows:
    """A CSV file whose rows a script can read: their text, and what the training rows say of the columns."""

    name: str
    content: bytes
    fitted: Preprocessing
    targets: tuple[str, ...]
    classes: bool  # whether y holds class indices
    drops: bool  # whether rows with a missing cell are left out
    fill: str | None  # how missing numbers are filled in

    @property
    def columns(self) -> list[str]:
        """The raw columns, those of the targets last."""
        return [*(feature.name for feature in self.fitted.features), *self.targets]

    @property
    def encodes(self) -> bool:
        """Whether there is more to do than to read numbers."""
        return any(each.categories is not None or each.fill is not None for each in self.fitted.features)

    # --- as the script reads it ---------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, str]]:
        """Return the rows as Python's reader finds them. Raises KeyError, ValueError, csv.Error."""
        text = io.StringIO(self.content.decode("utf-8"), newline="")
        rows = list(csv.DictReader(text, delimiter=self.fitted.separator))
        return [row for row in rows if all(row[name] for name in self.columns)] if self.drops else rows

    def y(self, rows: Sequence[Mapping[str, str]]) -> NDArray[Any]:
        """Return the targets."""
        if self.fitted.classes:
            found = np.array([self.fitted.classes.index(row[self.targets[0]]) for row in rows])
            return found if self.classes else found[:, None].astype(np.float64)
        numbers = np.array([[float(row[name]) for name in self.targets] for row in rows])
        return numbers[:, 0].astype(np.int64) if self.classes else numbers

    def x(self, rows: Sequence[Mapping[str, str]], training: Any) -> NDArray[np.float64]:
        """Return the features, encoded and filled in by the training rows, not yet standardized."""
        columns: list[Any] = []
        for feature in self.fitted.features:
            if feature.categories is not None:
                cells = [row[feature.name] or feature.fill for row in rows]
                columns += [[float(cell == value) for cell in cells] for value in feature.categories]
                continue
            numbers = np.array([float(row[feature.name] or "nan") for row in rows])
            if feature.fill is not None:
                known = numbers[training]
                known = known[~np.isnan(known)]
                numbers[np.isnan(numbers)] = np.median(known) if self.fill == "median" else known.mean()
            columns += [numbers]
        return np.column_stack(columns)

    def agrees(self, subject: ScriptSubject, data: Data) -> bool:
        """Say whether this gives the training rows that gdcli has."""
        table = subject.loaded.training
        assert table is not None
        try:
            rows = self.rows()
            y = self.y(rows)
            labels = (y if y.ndim == 1 else np.unique(y, return_inverse=True)[1].ravel()) if data.stratify else None
            seed = generator(subject.spec.data_seed, "split")
            training = parts_of(len(rows), data.held_out, seed, labels).training if data.held_out.draws else slice(None)
            x = self.fitted.scaled(self.x(rows, training)[training])
        except (ArgumentError, KeyError, TypeError, ValueError, csv.Error):
            return False
        return np.array_equal(x, table.x) and np.array_equal(self.fitted.target_scaled(y[training]), table.y)

    # --- as lines -----------------------------------------------------------------------------------------------------

    def reading(self) -> Lines:
        """Return the lines that make ``rows`` and y."""
        separator = "" if self.fitted.separator == "," else f", delimiter={text_of(self.fitted.separator)}"
        lines = [
            f'with Path(__file__).with_name({text_of(self.name)}).open(encoding="utf-8", newline="") as file:',
            f"    rows = list(csv.DictReader(file{separator}))",
        ]
        if self.drops:
            lines += layout("names = ", literal(self.columns))
            lines += ["rows = [row for row in rows if all(row[name] for name in names)]  # a missing cell is empty"]
        if self.fitted.classes:
            lines += layout("classes = ", literal([*self.fitted.classes]))
            lines += [f"y = np.array([classes.index(row[{text_of(self.targets[0])}]) for row in rows])"]
            return lines + ([] if self.classes else ["y = y[:, None].astype(np.float64)"])
        lines += _matrix("y", self.targets)
        return lines + (["y = y[:, 0].astype(np.int64)"] if self.classes else [])

    def encoding(self, training: bool) -> Lines:
        """Return the lines that make x of ``rows``; ``training`` says whether some are held out."""
        features = self.fitted.features
        if not self.encodes:
            return _matrix("x", [feature.name for feature in features])
        categories = {each.name: [*each.categories] for each in features if each.categories is not None}
        fills = {each.name: each.fill for each in features if each.categories is not None and each.fill is not None}
        cell = "row[name] or most_frequent[name]" if fills else "row[name]"
        told = ["a column of 0 and 1 for each value of a text"] if categories else []
        told += ["missing cells are filled in by the training rows"] if fills or self.fill in FILLED else []
        lines = ["", f"# {'; '.join(told)}", *(_mapping("categories", categories) if categories else [])]
        lines += _mapping("most_frequent", fills) if fills else []
        lines += ["columns = []"]
        lines += layout("for name in ", literal([feature.name for feature in features]), ":")
        of_words = [
            f"cells = [{cell} for row in rows]",
            "columns += [[float(cell == value) for cell in cells] for value in categories[name]]  # 1 for its own",
        ]
        missing = [
            f"known = numbers[{'training' if training else ':'}]",
            f"numbers[np.isnan(numbers)] = np.{self.fill}(known[~np.isnan(known)])",
        ]
        fills_numbers = any(each.categories is None and each.fill is not None for each in features)
        of_numbers = [
            'numbers = np.array([float(row[name] or "nan") for row in rows])' if fills_numbers
            else "numbers = [float(row[name]) for row in rows]",
            *(missing if fills_numbers else []),
            "columns += [numbers]",
        ]  # fmt: skip
        if not categories:
            lines += indented(of_numbers)
        elif len(categories) == len(features):
            lines += indented(of_words)
        else:
            lines += indented(["if name in categories:", *indented(of_words), "else:", *indented(of_numbers)])
        return [*lines, "x = np.column_stack(columns)"]


def csv_rows_of(subject: ScriptSubject, data: Data) -> CsvRows | None:
    """Return a spec's CSV file, if a script can read it in a few lines; else None."""
    path, fitted, table = subject.loaded.data_file, subject.loaded.preprocessing, subject.loaded.training
    assert path is not None
    assert fitted is not None
    assert table is not None
    missing = data.arguments.get("missing")
    held_out = any(isinstance(each, HeldOutFile) for each in (data.validation, data.test))
    filled = any(feature.fill is not None and feature.categories is None for feature in fitted.features)
    if held_out or path.suffix.lower() not in (".csv", ".txt", ".tsv") or fitted.decimal != ".":
        return None
    if filled and missing not in FILLED:
        return None
    content, drops = path.read_bytes(), missing == "drop"
    found = CsvRows(path.name, content, fitted, table.targets, table.y.ndim == 1, drops, missing)
    return found if found.agrees(subject, data) else None


def _matrix(name: str, columns: Sequence[str]) -> Lines:
    cells = Brackets("[", tuple(f"float(row[{text_of(column)}])" for column in columns), "]")
    line = f"{name} = np.array([{cells.flat()} for row in rows])"
    if len(line) <= 110:
        return [line]
    lines = layout(f"{name}_names = ", literal([*columns]))
    return [*lines, f"{name} = np.array([[float(row[name]) for name in {name}_names] for row in rows])"]


def _mapping(name: str, values: Mapping[str, Any]) -> Lines:
    items = []
    for key, value in values.items():
        text = literal(value)
        before = f"{text_of(key)}: "
        items.append(before + text if isinstance(text, str) else Brackets(before + text.opening, text.items, "]"))
    return layout(f"{name} = ", Brackets("{", tuple(items), "}"))
