"""What an explanation is: sections of groups of quantities, as frozen data that the formats write out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gdcli.commands.explain.expression import Expression, Label


@dataclass(frozen=True, slots=True)
class Quantity:
    """One named value and how it comes about.

    ``chain`` names its local derivatives (dL/do1 · do1/dnet_o1), ``formula`` is the same in symbols; ``worked`` has the
    numbers, ``note`` says which case of a rule applies. ``key`` is what ``--only`` takes, ``title`` what it prints.
    """

    key: str
    name: Label
    formula: Expression
    worked: Expression
    chain: Expression | None = None
    note: str = ""
    title: str = ""

    @property
    def value(self) -> float:
        """The value, of the numbers in the order in which they are written."""
        return self.worked.value

    @property
    def symbol(self) -> Expression:
        """The quantity as a symbol in other formulas."""
        return Expression("symbol", self.value, (), self.name)


def quantity(name: Label, formula: Expression, note: str = "", *, key: str = "", title: str = "") -> Quantity:
    """Return a quantity whose numbers are those of its formula's symbols; its key is its name unless given."""
    return Quantity(key or name.text, name, formula, formula, None, note, title)


@dataclass(frozen=True, slots=True)
class WorkedTable:
    """A small table: cells are text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Quantities that belong together, with a heading, sentences and a table as there is need."""

    quantities: tuple[Quantity, ...] = ()
    title: str = ""
    notes: tuple[str, ...] = ()
    table: WorkedTable | None = None


@dataclass(frozen=True, slots=True)
class ExplanationSection:
    """One part of an explanation: Forward, Loss, Backward, Update."""

    title: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A worked step: its name, what it is about, and its sections."""

    title: str
    description: str
    sections: tuple[ExplanationSection, ...]

    def quantities(self) -> Iterator[Quantity]:
        """Walk all quantities in the order in which they are printed."""
        for section in self.sections:
            for group in section.groups:
                yield from group.quantities
