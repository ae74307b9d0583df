"""What a spec expects of its run's end: `expect`, its names, and whether a number is as expected.

Names are those of summary.json (final_loss, best_loss, steps, epochs, a metric) and the scalars of the parameters after
training (linear1.weight[0,0]; an objective's variable by its name). Nothing here changes a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import model_validator

from gdcli.spec.signature import Section, whole

WITHIN = 1e-6


class Expectation(Section):
    """What one number of a run's end has to be."""

    at_most: float | None = None
    at_least: float | None = None
    equals: float | None = None
    within: Annotated[float, Ge(0)] = WITHIN

    @model_validator(mode="after")
    def _some(self) -> Expectation:
        if (self.at_most, self.at_least, self.equals) == (None, None, None):
            raise ValueError("needs at_most, at_least or equals")
        if self.within != WITHIN and self.equals is None:
            raise ValueError("within is for equals, and there is none")
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            raise ValueError("no number is at least at_least and at most at_most")
        return self

    def holds(self, value: float | None) -> bool:
        """Say whether a value is as expected; one that is not finite, or not there, never is.

        Differences are those of the decimal numbers as they are written.

        >>> Expectation(equals=0.1498, within=1e-4).holds(0.1499), Expectation(at_most=0.01).holds(0.02)
        (True, False)
        """
        if value is None or not isfinite(value):
            return False
        if self.at_most is not None and value > self.at_most:
            return False
        if self.at_least is not None and value < self.at_least:
            return False
        if self.equals is None:
            return True
        return abs(Decimal(repr(value)) - Decimal(repr(self.equals))) <= Decimal(repr(self.within))

    def __str__(self) -> str:
        """Return what is expected, in words."""
        bounds = {"at least": self.at_least, "at most": self.at_most}
        parts = [f"{words} {whole(bound)}" for words, bound in bounds.items() if bound is not None]
        if self.equals is not None:
            parts.append(f"{whole(self.equals)} within {self.within!r}")
        return " and ".join(parts)

    def plain(self) -> dict[str, float]:
        """Return the keys that count, as the spec has them."""
        given = self.model_dump(exclude_none=True)
        return given if self.equals is not None else {key: each for key, each in given.items() if key != "within"}


@dataclass(frozen=True, slots=True)
class ExpectedNumber:
    """One number that was expected, and the one that was found; None where there is none."""

    name: str
    expected: Expectation
    found: float | None

    @property
    def met(self) -> bool:
        """Whether it is as expected."""
        return self.expected.holds(self.found)

    def __str__(self) -> str:
        """Return both values in a sentence."""
        return f"{self.name}: expected {self.expected}, found {'none' if self.found is None else repr(self.found)}"

    def plain(self) -> dict[str, Any]:
        """Return it as summary.json has it."""
        return {"expected": self.expected.plain(), "found": self.found, "met": self.met}


def recorded(expect: Mapping[str, Expectation], summary: Mapping[str, Any]) -> tuple[ExpectedNumber, ...] | None:
    """Return what a record's summary.json says of the same expectations; None where these were others, or none."""
    known = summary.get("expect") or {}
    found = {name: each for name, each in known.items() if isinstance(each, Mapping)}
    if {name: each.plain() for name, each in expect.items()} != {k: each.get("expected") for k, each in found.items()}:
        return None
    values = {name: each.get("found") for name, each in found.items()}
    if not all(value is None or type(value) in (int, float) for value in values.values()):
        return None
    return tuple(ExpectedNumber(name, expect[name], value) for name, value in values.items())


_ENTRY = re.compile(r"(.+?)(?:\[(\d{1,18}(?:,\d{1,18})*)\])?")


def entry_of(name: str) -> tuple[str, tuple[int, ...]]:
    """Return parameter and index of a scalar's name.

    >>> entry_of("linear1.weight[0,1]"), entry_of("x")
    (('linear1.weight', (0, 1)), ('x', ()))
    """
    found = _ENTRY.fullmatch(name)
    if found is None:
        return name, ()
    return found[1], tuple(map(int, found[2].split(","))) if found[2] else ()
