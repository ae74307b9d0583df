"""An explanation as a sheet to fill in: some of its numbers are left out, and the key that has them.

A gap is the value of a quantity. It is left out wherever the sheet would show it: as the quantity's own value, in the
formulas of later ones, and where another quantity or a table has the same number. A number from which it could be
worked back may still stand there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from math import isfinite

from gdcli.commands.explain.expression import Expression, Label, blank
from gdcli.commands.explain.tree import Explanation, ExplanationSection, Group, Quantity, WorkedTable
from gdcli.errors import SpecError

LINE = "________"
COLUMNS = ("name", "value")
"""Of the key and of answers."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A quantity whose value is left out, with its number on the sheet, from 1."""

    number: int
    quantity: Quantity
    has_own_value: bool  # no other number of the sheet is the same by chance

    @property
    def short(self) -> Label:
        """What stands where the value is used: [1]."""
        return Label(f"[{self.number}]", rf"\boxed{{({self.number})}}")

    @property
    def long(self) -> Label:
        """What stands where the value is to be written: [1] ________."""
        return Label(f"[{self.number}] {LINE}", rf"\boxed{{({self.number})\qquad\qquad}}")


def gaps_of(explanation: Explanation, count: int, seed: int) -> tuple[Gap, ...]:
    """Return so many gaps in the order of the sheet, the same for the same seed, whatever the version of Python.

    Each section has its share, and values that no other number of the sheet has come first. Raises SpecError where
    fewer numbers are worked out.
    """
    candidates = list(_candidates(explanation))
    if not 1 <= count <= len(candidates):
        raise SpecError(f"--gaps takes a number from 1 to {len(candidates):,} here (got {count:,})")

    def drawn(each: _Candidate) -> tuple[bool, bytes]:
        return not each.has_own_value, hashlib.sha256(f"{seed} {each.quantity.key}".encode()).digest()

    sections: dict[str, list[_Candidate]] = {}
    for each in sorted(candidates, key=drawn):
        sections.setdefault(each.section, []).append(each)
    turns = chain.from_iterable(zip_longest(*sections.values()))
    order = sorted((each for each in turns if each is not None), key=lambda each: not each.has_own_value)
    taken = {each.place for each in order[:count]}
    chosen = [each for each in candidates if each.place in taken]
    return tuple(Gap(number, each.quantity, each.has_own_value) for number, each in enumerate(chosen, 1))


@dataclass(frozen=True, slots=True)
class _Candidate:
    place: int
    section: str
    quantity: Quantity
    has_own_value: bool


def _candidates(explanation: Explanation) -> Iterator[_Candidate]:
    """Yield the quantities that are worked out by a formula, each name once.

    A value is a quantity's own where neither the data have the same number, nor a quantity before it; nor is it 0 or 1.
    """
    names, values = set[str](), {0.0, 1.0, *_given(explanation)}
    sections = (each.title for each in explanation.sections for group in each.groups for _ in group.quantities)
    for place, (section, one) in enumerate(zip(sections, explanation.quantities(), strict=True)):
        formula, value = one.formula, float(one.value)
        formula = formula.operands[0] if formula.operation == "neg" else formula
        if formula.operands and formula.operation != "symbol" and isfinite(value) and one.key not in names:
            yield _Candidate(place, section, one, abs(value) not in values)
        names.add(one.key)
        values.add(abs(value))


def key_rows(gaps: Iterable[Gap]) -> list[tuple[str, str | float]]:
    """Return the rows of the key, its header first."""
    return [COLUMNS, *((gap.quantity.key, float(gap.quantity.value)) for gap in gaps)]


def sheet(explanation: Explanation, gaps: tuple[Gap, ...]) -> Explanation:
    """Return the explanation with its gaps, and what to do with them at its end."""
    masks = _Masks(gaps)
    sections = tuple(
        replace(section, groups=tuple(masks.of_group(group, section.title) for group in section.groups))
        for section in explanation.sections
    )
    title = f"{explanation.title}, {len(gaps)} {'gap' if len(gaps) == 1 else 'gaps'}"
    return replace(explanation, title=title, sections=(*sections, _answers(gaps)))


def _answers(gaps: tuple[Gap, ...]) -> ExplanationSection:
    notes = (
        f"Work out the numbers {', '.join(gap.short.text for gap in gaps)}, in the order of the sheet.",
        f"A CSV file of answers has the columns {' and '.join(COLUMNS)}, with three digits or more of each number; "
        "gdcli grade checks it.",
    )
    rows = tuple((gap.short.text, gap.quantity.key, LINE) for gap in gaps)
    return ExplanationSection("Answers", (Group((), "", notes, WorkedTable(("gap", *COLUMNS), rows)),))


_NUMBER = re.compile(r"-?\d[\d.]*(?:e[-+]?\d+)?")


class _Masks:
    """What stands in place of the numbers of the gaps: by their names, and by a value that is a gap's own."""

    def __init__(self, gaps: tuple[Gap, ...]) -> None:
        self._values = {float(gap.quantity.value): gap for gap in gaps if gap.has_own_value}
        self._symbols = {(gap.quantity.name.text, float(gap.quantity.value)): gap for gap in gaps}

    def of_group(self, group: Group, section: str) -> Group:
        """Return a group without the numbers of the gaps; tables of what is given stay."""
        table = group.table
        if table is not None and section != "Given" and group.title != "State before" and table.header[0] != "letter":
            table = replace(table, rows=tuple(tuple(map(self._cell, row)) for row in table.rows))
        return replace(group, quantities=tuple(map(self._of, group.quantities)), table=table)

    def _cell(self, text: str) -> str:
        def masked(found: re.Match[str]) -> str:
            gap = self._values.get(float(found[0])) if found[0].count(".") < 2 else None
            return found[0] if gap is None else gap.short.text

        return _NUMBER.sub(masked, text)

    def _of(self, one: Quantity) -> Quantity:
        needs = any(map(self._gap_of, _leaves(one.worked))) or any(map(self._gap_of, _leaves(one.formula)))
        worked = self._masked(one.formula) if needs else one.worked  # factor by factor: no number made of a gap's
        gap = self._gap_of(one.symbol)
        if gap is None:
            return replace(one, worked=worked)
        return replace(one, worked=worked, blank=gap.long if gap.quantity is one else gap.short)

    def _masked(self, expression: Expression) -> Expression:
        gap = self._gap_of(expression)
        if gap is not None:
            return blank(gap.short, expression.value)
        if expression.operation == "symbol" or not expression.operands:
            return expression
        return replace(expression, operands=tuple(map(self._masked, expression.operands)))

    def _gap_of(self, leaf: Expression) -> Gap | None:
        """Return the gap whose number a leaf would show."""
        if leaf.operation not in ("number", "symbol"):
            return None
        value = float(leaf.value)
        named = self._symbols.get((leaf.name.text, value)) if leaf.operation == "symbol" else None
        return named or self._values.get(value)


def _given(explanation: Explanation) -> Iterator[float]:
    """Yield the numbers that no quantity has: literals, data, parameters, settings; without their signs."""
    names = {one.name.text for one in explanation.quantities()}
    for one in explanation.quantities():
        for leaf in _leaves(one.formula):
            if leaf.operation == "number" or leaf.name.text not in names:
                yield abs(float(leaf.value))


def _leaves(expression: Expression) -> Iterator[Expression]:
    if expression.operation in ("number", "symbol", "blank"):
        yield expression
        return
    for operand in expression.operands:
        yield from _leaves(operand)
