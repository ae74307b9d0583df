"""What `gdcli new` writes: a commented spec, from a template, or for a table that it looks at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

import numpy as np

from gdcli.commands.specs import SCHEMA
from gdcli.commands.templates import COMMANDS, HELD_OUT, STRATIFY, TEMPLATES, VALIDATION, TableParts, written
from gdcli.errors import SpecError, nearest
from gdcli.spec import document, schema
from gdcli.spec.bundled import Source
from gdcli.spec.json_schema import file_schema
from gdcli.spec.load import Loaded, load
from gdcli.spec.scalars import shown
from gdcli.spec.writing import write
from gdcli.storage.files import json_text, make_below, replace, require_file
from gdcli.zoo.columns import Column, TooManyWordsError, Words, in_order, is_missing, used, word_of
from gdcli.zoo.data_files import ENDINGS, opened, read_open
from gdcli.zoo.naming import ArgumentError

MAX_CLASSES = 10
"""Different integers of a target up to which they are taken for classes."""
MAX_LISTED = 30
"""Features that are listed in the spec; of more columns all are taken."""

RARE = 10
"""Rows of a text below which there may be none among the training rows."""


@dataclass(frozen=True, slots=True)
class NewSpec:
    """A spec that has been written: its files, what was found out, and the command that runs it."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]
    command: str


def new(
    name: str | None, template: str | None, *, data: Path | None = None, target: str | None = None, force: bool = False
) -> NewSpec:
    """Write a spec of a template, with the JSON Schema beside it.

    ``name`` is that of the experiment, whose file is NAME.yaml, or the file's path; by default the template's. Of a
    table ``data`` features, classes and missing cells are found out; ``target`` is by default its last column.
    Raises SpecError for a file that is there already, unless by force, and for a table that cannot be read.
    """
    if template is not None and template not in TEMPLATES:
        raise SpecError(f"there is no template '{shown(template, 60)}'. {nearest(template, TEMPLATES)}")
    if target is not None and data is None:
        raise SpecError("--target is a column of the table that --data names")
    if data is not None and template in ("image", "objective"):
        raise SpecError(f"the template {template} has no table. --data is for regression, classification and compare")
    read = None if data is None else _read(data, target)
    kind = template or ("regression" if read is None or not read.is_classes else "classification")
    path = _path(name or (data.stem if data is not None else kind))
    require_file(path)
    if os.path.lexists(path) and not force:
        raise SpecError(f"{shown(str(path), 200)} is there already. --force overwrites it")
    experiment, file = Source(path, "", b"").name, quote(shown(f"{'./' * str(path).startswith('-')}{path}", 200))
    if read is None or data is None:
        text, notes = written(kind, experiment, file, SCHEMA), list[str]()
        if kind == "image" and find_spec("sklearn") is None:
            notes.append('its images need scikit-learn: pip install "gradient-descent-cli[datasets]"')
    else:
        parts, notes = read.parts(kind)
        text = written(kind, experiment, file, SCHEMA, parts)
        _loaded(text, data)
        relative = os.path.relpath(data.absolute(), path.absolute().parent)
        text = text.replace(_yaml("file", str(data.absolute())), _yaml("file", relative), 1)
    if not path.parent.exists():
        make_below(path.parent)
    replace(path, text)
    files = [path]
    beside = path.with_name(SCHEMA)
    if not os.path.lexists(beside):  # else somebody's own
        replace(beside, json_text(file_schema()))
        files.append(beside)
    return NewSpec(tuple(files), tuple(notes), f"gdcli {COMMANDS[kind]} {file}")


def _path(name: str) -> Path:
    path = Path(name)
    if not path.name or "\0" in name or name.endswith(os.sep) or len(os.fsencode(path.name)) > 200:
        raise SpecError(f"this cannot be the name of a spec (got '{shown(name, 200)}')")
    return path if path.suffix in (".yaml", ".yml") else path.with_name(f"{path.name}.yaml")


def _loaded(text: str, data: Path) -> Loaded:
    """Return a spec that is not written yet, checked, with its data. Raises SpecError with what is wrong with it."""
    try:
        return load(schema.parse(document.read(text.encode(), "new"), "new"), Path())
    except SpecError as error:
        problems = "\n".join(f"{each.path}: {each.message}" for each in error.problems) or str(error)
        raise SpecError(f"no spec can be made for {shown(str(data), 200)}:\n{problems}") from None


# --- a table ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Read:
    """A table, which column is predicted, and what the columns hold."""

    file: Path
    columns: Mapping[str, Column]
    target: str
    unusable: Mapping[str, str]  # columns that are left out in any case, and why

    @property
    def is_classes(self) -> bool:
        """Whether the target is text, or integers of which the same stand in many rows."""
        column = self.columns[self.target]
        if isinstance(column, Words):
            return True
        cells = column[~np.isnan(column)]
        different = len(np.unique(cells))
        return bool((cells == np.rint(cells)).all()) and different <= min(MAX_CLASSES, len(cells) // 3)

    def parts(self, kind: str) -> tuple[TableParts, list[str]]:
        """Return what a template says of the table, by its whole path, and what is told of it."""
        others = [name for name in self.columns if name != self.target]
        left_out = {**self.unusable, **{name: why for name in others if (why := _useless(self.columns[name]))}}
        features = [name for name in others if name not in left_out]
        if not features:
            raise SpecError(f"{shown(str(self.file), 200)} has no column to predict '{shown(self.target)}' from")
        classes = kind == "classification" or (kind == "compare" and self.is_classes)
        if classes and (why := _useless(self.columns[self.target])):
            raise SpecError(f"the target '{shown(self.target)}' cannot be predicted: it is {why}")
        if not classes and isinstance(self.columns[self.target], Words):
            raise SpecError(
                f"the target '{shown(self.target)}' is text, which no regression predicts. "
                "--template classification does; --target names another column"
            )
        section = self._section(features, left_out, classes=classes)
        draft = f"data:\n{section}model: linear\nloss: {'cross_entropy' if classes else 'mse'}\noptimizer: sgd\n"
        table = _loaded(draft, self.file).training
        assert table is not None
        notes = [f"{len(self.columns[self.target]):,} rows; target {shown(self.target)}: {self._told(classes=classes)}"]
        notes += [f"left out: {_named(name)}, {why}" for name, why in left_out.items()]
        return TableParts(section, table.x.shape[1], table.classes, len(table.x)), notes

    def _section(self, features: list[str], left_out: dict[str, str], *, classes: bool) -> str:
        lines = [
            f"  {_yaml('file', str(self.file.absolute()))} # from this file's folder on",
            f"  {_yaml('target', self.target)} # the column to predict: {self._told(classes=classes)}",
        ]
        if len(features) <= MAX_LISTED:
            lines += [f"  {line}" for line in write({"features": features}).splitlines()]
        elif left_out:
            lines += [f"  {line}" for line in write({"ignore": list(left_out)}).splitlines()]
        lines += [f"  # {_named(name)} is left out: {why}" for name, why in left_out.items()]
        words = [name for name in features if isinstance(self.columns[name], Words)]
        if words:
            lines.append(f"  # Text, a column of 0 and 1 for each value: {', '.join(map(shown, words[:MAX_LISTED]))}")
        if any(_has_rare(self.columns[name]) for name in words):
            lines.append(
                "  unknown: zero # a text that no training row has is 0 in all its columns, else it is an error"
            )
        missing = [name for name in self.columns if is_missing(self.columns[name]).any()]
        if self.target in missing:
            lines.append("  missing: drop # rows with a missing cell, as the target has, are left out")
        elif any(name in features for name in missing):
            lines.append(
                "  missing: median # of the training rows stands for a missing cell; for text its commonest value"
            )
        if classes:
            return "\n".join(lines) + f"\n{HELD_OUT}{STRATIFY}"
        lines.append("  standardize: all # features and target with mean 0 and deviation 1; losses are in these units")
        return "\n".join(lines) + "\n" + VALIDATION

    def _told(self, *, classes: bool) -> str:
        column = self.columns[self.target]
        if not classes and not isinstance(column, Words):
            return f"numbers from {np.nanmin(column):g} to {np.nanmax(column):g}"
        names = used(column, self.target) if isinstance(column, Words) else in_order(
            word_of(value) for value in np.unique(column[~np.isnan(column)]).tolist()
        )  # fmt: skip
        more = ", ..." if len(names) > MAX_CLASSES else ""
        return f"{len(names)} classes, {', '.join(shown(each) for each in names[:MAX_CLASSES])}{more}"


def _named(name: str) -> str:
    return shown(name) if name else "the column without a name"


def _yaml(key: str, value: str) -> str:
    return write({key: value}).rstrip("\n")


def _read(file: Path, target: str | None) -> _Read:
    """Read a table; its last column is the target where none is named. Raises SpecError for one that is none."""
    left_out: dict[str, str] = {}
    try:
        columns = _columns(file, left_out)
    except ArgumentError as error:
        raise SpecError(f"{shown(str(file), 200)}: {error}") from None
    if not columns:
        raise SpecError(f"{shown(str(file), 200)} has no column that can be used")
    name = target if target is not None else list(columns)[-1]
    if name not in columns:
        why = f": {left_out[name]}" if name in left_out else f". {nearest(name, list(columns))}"
        raise SpecError(f"{shown(str(file), 200)} has no column '{shown(name)}' to predict{why}")
    return _Read(file, columns, name, left_out)


def _columns(file: Path, left_out: dict[str, str]) -> dict[str, Column]:
    """Return the columns of a file but those that no model can use, which are noted."""
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise ArgumentError(("file",), f"it must end in one of {', '.join(ENDINGS)}")

    def chosen(known: list[str]) -> list[str]:
        if "" in known:
            left_out[""] = "like the index that pandas writes beside a table"
        return [name for name in known if name not in left_out]

    while True:
        with opened(file) as stream:
            try:
                return read_open(stream, ending, chosen)
            except TooManyWordsError as error:
                if error.name in left_out:
                    raise
                left_out[error.name] = _DIFFERS


_DIFFERS = "text that differs in nearly every row"


def _has_rare(column: Column) -> bool:
    """Say whether a value of text is so rare that all its rows may be held out."""
    if not isinstance(column, Words):
        return False
    return bool(np.unique(column.codes[column.codes >= 0], return_counts=True)[1].min() < RARE)


def _useless(column: Column) -> str:
    """Return why a column is no feature: it is the same in every row, or text that differs in most; '' if it is one."""
    there = ~is_missing(column)
    values = column.codes[there] if isinstance(column, Words) else column[there]
    different = len(np.unique(values, axis=0))
    if different < 2:
        return "the same in every row"
    if isinstance(column, Words) and different > max(MAX_CLASSES, int(there.sum()) // 2):
        return _DIFFERS
    return ""
