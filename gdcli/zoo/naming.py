"""What the signatures of the zoo say beyond Python's types; the spec's schema is made from them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le


@dataclass(frozen=True, slots=True)
class OneOf:
    """Marks a text that names an ingredient: ``Annotated[str, OneOf("activation", ACTIVATIONS)]``."""

    kind: str
    names: Collection[str]


@dataclass(frozen=True, slots=True)
class Needs:
    """Marks a setting without effect where another one is zero: ``Annotated[float, Needs("momentum")]``."""

    setting: str


class ArgumentError(ValueError):
    """An argument that its signature allows and its function does not, or data that cannot be used: where, and why."""

    def __init__(self, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        super().__init__(path, message, hint)  # all, so that the error survives pickling between processes
        self.path, self.message, self.hint = path, message, hint

    def __str__(self) -> str:
        return self.message


MAX_WIDTH = 10_000_000
"""Units of one layer; more than any machine's weight matrix has."""

Width = Annotated[int, Ge(1), Le(MAX_WIDTH)]
