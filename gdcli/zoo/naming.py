"""What the signatures of the zoo say beyond Python's types; the spec's schema is made from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    """An argument that its signature allows and its function does not, or data that cannot be used: where, and why.

    ``others`` are wrong beside it.
    """

    def __init__(
        self, path: tuple[str | int, ...], message: str, hint: str = "", others: tuple[ArgumentError, ...] = ()
    ) -> None:
        super().__init__(path, message, hint, others)  # all, so that the error survives pickling between processes
        self.path, self.message, self.hint, self.others = path, message, hint, others

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message

    @classmethod
    def of(cls, errors: Sequence[ArgumentError]) -> ArgumentError:
        """Return several as one."""
        first, *others = errors
        return cls(first.path, first.message, first.hint, tuple(others))


MAX_ERRORS = 100
"""Of one section: more than these are not looked for."""
MAX_HINTS = 5
"""Of several unknown names as many are compared with the known ones, which takes its time."""

MAX_WIDTH = 10_000_000
"""Units of one layer; more than any machine's weight matrix has."""

Width = Annotated[int, Ge(1), Le(MAX_WIDTH)]
