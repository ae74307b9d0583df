"""Tables: rows of features and their targets, and their preparation; numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import visible

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]

MAX_INDEX = 2**53
"""Above it a float64 is no longer one whole number."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of features and their targets.

    ``x`` is ``[n, d]``. ``y`` is ``[n, k]`` numbers, or ``[n]`` class indices. ``classes`` is 0 unless y stands for
    classes: indices below it, or probabilities ``[n, classes]``.
    """

    x: Floats
    y: Floats | Indices
    features: tuple[str, ...]
    targets: tuple[str, ...]
    classes: int = 0
    sha256: str = ""  # of the file that it was read from
    class_names: tuple[str, ...] = ()  # where they have names of their own


def as_numbers(table: Table) -> Table:
    """Return class indices as a column of numbers ``[n, 1]``, for the losses that compare numbers (mse, bce)."""
    return replace(table, y=table.y.reshape(len(table.y), -1).astype(np.float64), classes=0)


def brief(value: Any) -> str:
    r"""Return a value as messages show it, cut: letters of every script as they are, else in ASCII.

    No byte of a file may reach the terminal as a control character; signs that look like ASCII are told apart.

    >>> print(brief("Köln"), brief("北京"), brief("\x1b[2J"), brief("3，5"))
    'Köln' '北京' '\x1b[2J' '3\uff0c5'
    """
    text = "".join(c if c.isascii() or c.isalpha() else ascii(c)[1:-1] for c in visible(repr(value)))
    return text if len(text) <= 40 else text[:37] + "..."


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Return a name for each of that many columns."""
    return (name,) if count == 1 else tuple(f"{name}[{column}]" for column in range(count))
