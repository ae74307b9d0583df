"""Tables: rows of features and their targets, and their preparation; numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gdcli.errors import visible

Floats: TypeAlias = NDArray[np.float64]
Inputs: TypeAlias = NDArray[np.float64] | NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]

MAX_INDEX = 2**53
"""Above it a float64 is no longer one whole number."""

ALIGNMENT = 64
"""Bytes of which a tensor's memory begins at a multiple."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of features and their targets.

    ``x`` is ``[n, d]``, in float32 where a file has it so and it is not standardized: training in float32 then takes
    that very memory. ``y`` is ``[n, k]`` numbers, or ``[n]`` class indices. ``classes`` is 0 unless y stands for
    classes: indices below it, or probabilities ``[n, classes]``.
    """

    x: Inputs
    y: Floats | Indices
    features: tuple[str, ...]
    targets: tuple[str, ...]
    classes: int = 0
    sha256: str = ""  # of the file that it was read from
    class_names: tuple[str, ...] = ()  # where they have names of their own


def empty_rows(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return memory for an array where a tensor of its own would begin, asked for by numpy.

    A large one lies on large pages where there are any: rows of a shuffled batch, picked from far apart, are found on
    them in two thirds of the time.
    """
    kind = np.dtype(dtype)
    size = prod(shape) * kind.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(kind).reshape(shape)


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
