"""The targets of a file: numbers, probabilities, or classes with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from gdcli.zoo.columns import Column, Where, Words, as_words, by_number, of_targets, used
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import MAX_INDEX, Floats, Indices, brief, numbered


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What is learned of n rows."""

    y: Floats | Indices  # [n, k] numbers, or [n] class indices
    names: tuple[str, ...]
    count: int = 0  # of classes; 0 where y is no class
    classes: tuple[str, ...] = ()  # their names, where they are not 0, 1, 2, ...
    note: str = ""


def targets_of(
    columns: Mapping[str, Column], names: Sequence[str], kind: str, *, maps: bool, classes: Sequence[str] | None = None,
    where: Where = by_number,
) -> Targets:  # fmt: skip
    """Return the targets that a loss of a kind takes: ``values``, ``probabilities`` or ``classes``.

    For classes, text is mapped to its sorted names; whole numbers are indices, unless they leave one out, or do not
    begin at 0, and ``maps`` says that they are names then. For probabilities two words are 0 and 1. ``classes`` are
    those of the training rows, for rows of another file; ``where`` tells of a row. Raises ArgumentError
    for what is none of these.
    """
    first = columns[names[0]]
    if kind == "classes" and len(names) == 1 and (isinstance(first, Words) or first.ndim == 1 or first.shape[1] == 1):
        column = first if isinstance(first, Words) else first.reshape(-1).astype(np.float64, copy=False)
        with of_targets(names):
            return _classes(column, names[0], classes, maps=maps, where=where)
    if kind == "probabilities" and len(names) == 1 and isinstance(first, Words):
        with of_targets(names):
            words = used(first, names[0]) if classes is None else tuple(classes)
        if len(words) != 2:
            shown = ", ".join(map(brief, words[:10]))
            raise ArgumentError(("target",), f"{brief(names[0])} has {len(words)} values, not two: {shown}")
        y = _mapped(first, words, names[0], where)[:, None].astype(np.float64)
        return Targets(y, (names[0],), 0, words)
    blocks = []
    for name in names:
        column = columns[name]
        if isinstance(column, Words):
            word = brief(next(iter(column.values), ""))
            what = f"column {brief(name)} is text, such as {word}, and the loss takes numbers"
            raise ArgumentError(("target",), what, "cross_entropy takes classes" if len(names) == 1 else "")
        blocks.append(column.reshape(len(column), -1))
    full = tuple(part for name, block in zip(names, blocks, strict=True) for part in numbered(name, block.shape[1]))
    y = np.ascontiguousarray(np.concatenate(blocks, axis=1), np.float64)
    return Targets(y, full, y.shape[1] if kind == "classes" else 0)


def _classes(column: Column, name: str, classes: Sequence[str] | None, *, maps: bool, where: Where) -> Targets:
    if isinstance(column, Words) or classes:
        words = as_words(column, name)
        found = used(words, name) if not classes else tuple(classes)
        return Targets(_mapped(words, found, name, where), (name,), len(found), found)
    wrong = ~((np.abs(column) < MAX_INDEX) & (column == np.floor(column)))  # NaN is wrong too
    labels = None if wrong.any() else np.unique(column)
    if labels is not None and maps and classes is None and not np.array_equal(labels, np.arange(len(labels))):
        words = as_words(column, name)
        found = used(words, name)
        shown = ", ".join(islice(found, 5)) + (", ..." if len(found) > 5 else "")
        note = f"the labels {shown} of {brief(name)} are the classes 0 to {len(found) - 1}, in this order"
        return Targets(_mapped(words, found, name, where), (name,), len(found), found, note)
    wrong |= column < 0
    if wrong.any():
        row = int(wrong.argmax())
        message = f"{where(row)}, column {brief(name)}: a class index is a whole number from 0"
        raise ArgumentError(("target",), f"{message} (got {float(column[row])!r})")
    y = column.astype(np.int64)
    return Targets(y, (name,), int(y.max()) + 1)


def _mapped(words: Words, classes: Sequence[str], name: str, where: Where) -> Indices:
    places = {value: place for place, value in enumerate(classes)}
    y = np.array([*(places.get(value, -1) for value in words.values), -1], np.int64)[words.codes]
    if (y < 0).any():
        row = int((y < 0).argmax())
        word = brief(words.values[words.codes[row]]) if words.codes[row] >= 0 else "a missing cell"
        shown = ", ".join(map(brief, classes[:5])) + (", ..." if len(classes) > 5 else "")
        raise ArgumentError(("target",), f"{where(row)}, column {brief(name)}: {word} is none of the classes {shown}")
    return y
