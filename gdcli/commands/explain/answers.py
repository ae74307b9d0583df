"""Answers to the numbers of an explanation: right, wrong, or what follows from a wrong one.

An answer is right where it is the value, to the digits that it shows. One that is not may still be what the formula, or
the chain of local derivatives, gives with the other answers put in: then it follows from the first wrong one among
these. The rest is wrong in itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import isfinite
from typing import Literal

from gdcli.commands.explain.expression import Expression, evaluated, text
from gdcli.commands.explain.tree import Explanation, Quantity

Verdict = Literal["right", "wrong", "follows", "missing"]

SHARE = Decimal("0.005")
"""How far an answer of few digits may be off, as a share of the value: three digits are wanted."""
ROUNDING = Decimal("1e-9")
"""How far any answer may be off, since additions in another order end with other digits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A number as it was written."""

    name: str
    line: int
    written: Decimal | None  # None: left empty

    def is_near(self, value: float) -> bool:
        """Say whether it is the value to the digits that it shows: within one unit of its last decimal, at most 0.5 %.

        >>> answers = [Answer("h1", 2, Decimal(each)) for each in ("0.5933", "0.593", "0.6", "0.59327001")]
        >>> [each.is_near(0.5932699921) for each in answers]
        [True, True, False, False]
        """
        if self.written is None or not isfinite(value):
            return False
        exact, exponent = Decimal(repr(float(value))), self.written.as_tuple().exponent
        assert isinstance(exponent, int)  # it is finite
        allowed = min(Decimal(1).scaleb(exponent), SHARE * abs(exact))
        least = ROUNDING * abs(exact) if exact else Decimal("1e-12")
        return abs(self.written - exact) <= max(allowed, least)

    def follows(self, value: float, right: float) -> bool:
        """Say whether it is what other answers lead to, up to roundings; it is nearer to that than to the right value.

        >>> answer = Answer("net_o1", 2, Decimal("1.1100"))
        >>> answer.follows(1.1086, 1.0659), answer.follows(1.1099, 1.1080), answer.follows(1.1086, 1.1087)
        (True, True, False)
        """
        if self.is_near(value):
            return True
        if self.written is None or not (isfinite(value) and isfinite(right)):
            return False
        exact = Decimal(repr(float(value)))
        apart = abs(exact - Decimal(repr(float(right))))
        return abs(self.written - exact) <= min(SHARE * abs(exact), apart / 2)


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """An answer to a quantity, what it is, and why."""

    answer: Answer
    quantity: Quantity
    verdict: Verdict
    roots: tuple[str, ...] = ()  # the wrong answers that it follows from
    note: str = ""

    @property
    def told(self) -> str:
        """What is said of it in a table."""
        if self.verdict == "follows":
            return f"follows from {', '.join(self.roots)}"
        return f"{'not answered' if self.verdict == 'missing' else self.verdict}{f': {self.note}' if self.note else ''}"


def places(explanation: Explanation) -> dict[str, int]:
    """Return the place of each quantity in the chain by its name, as `--only` takes it and as it is printed.

    A name of several, such as the m′ of each weight, is that of the first.
    """
    found: dict[str, int] = {}
    every = list(enumerate(explanation.quantities()))
    for place, one in [*every, *every]:
        found.setdefault(one.key, place)
    for place, one in every:
        found.setdefault(one.name.text, place)
    return found


def checked(explanation: Explanation, answers: Mapping[int, Answer]) -> list[CheckedAnswer]:
    """Return each answer, by its quantity's place in the chain, with what it is; in the order of the chain."""
    chain = _Chain(list(explanation.quantities()))
    own = {place: float(each.written) for place, each in answers.items() if each.written is not None}
    expected = list(chain.followed(own))
    found: dict[int, CheckedAnswer] = {}
    for place in sorted(answers):
        answer, one = answers[place], chain.quantities[place]
        result = CheckedAnswer(answer, one, "right")
        if answer.written is None:
            result = replace(result, verdict="missing")
        elif not answer.is_near(one.value):
            follows = any(answer.follows(value, one.value) for value in expected[place])
            roots = _roots(chain.answered_before(place, found), found) if follows else ()
            if roots:
                result = replace(result, verdict="follows", roots=roots)
            elif not follows:
                result = replace(result, verdict="wrong", note=_slip(answer, one))
        found[place] = result
    return list(found.values())


def first_wrong(found: Sequence[CheckedAnswer]) -> CheckedAnswer | None:
    """Return the first answer of the chain that is wrong in itself."""
    return next((each for each in found if each.verdict == "wrong"), None)


def _roots(before: Sequence[int], found: Mapping[int, CheckedAnswer]) -> tuple[str, ...]:
    """Return the wrong answers among what a quantity is made of, in the order of the chain."""
    names: dict[str, None] = {}
    for each in map(found.__getitem__, before):
        names |= dict.fromkeys([each.answer.name] if each.verdict == "wrong" else each.roots)
    return tuple(names)


class _Chain:
    """The quantities of an explanation in their order, and which of them each is made of."""

    def __init__(self, quantities: list[Quantity]) -> None:
        self.quantities = quantities
        named: dict[tuple[str, str], int] = {}
        self._uses: list[dict[tuple[str, str], int]] = []
        for place, one in enumerate(quantities):
            symbols = {_identity(each) for route in _routes(one) for each in _symbols(route)}
            self._uses.append({each: named[each] for each in symbols if each in named})
            named[_identity(one.symbol)] = place

    def answered_before(self, place: int, answered: Container[int]) -> list[int]:
        """Return the answered places that a quantity is made of, but for those behind another of them."""
        found, waiting = set[int](), [place]
        while waiting:
            new = set(self._uses[waiting.pop()].values()) - found
            found |= new
            waiting += [each for each in new if each not in answered]
        return sorted(each for each in found if each in answered)

    def followed(self, own: Mapping[int, float]) -> Iterator[list[float]]:
        """Yield for each quantity what it is with other numbers in place of some.

        Numbers between these are as printed, or follow too; derivatives are by the formula, or by the chain's factors.
        """
        follow: dict[bool, dict[int, float]] = {False: {}, True: {}}  # by the formula, by the chain
        for place, one in enumerate(self.quantities):
            uses, found = self._uses[place], []
            if any(used in own or used in follow[False] for used in uses.values()):
                routes = list(_routes(one))
                for by_chain, numbers in follow.items():
                    route = routes[-1] if by_chain else routes[0]
                    numbers[place] = evaluated(route, _lookup(uses, {**numbers, **own}))
                    found.append(numbers[place])
                found += [evaluated(route, _lookup(uses, own)) for route in routes]
            yield found


def _lookup(uses: Mapping[tuple[str, str], int], numbers: Mapping[int, float]) -> Callable[[Expression], float | None]:
    return lambda one: numbers.get(uses.get(_identity(one), -1))


def _identity(one: Expression) -> tuple[str, str]:
    """Return name and value of a symbol: several scalars have an m′, each with a value of its own."""
    return one.name.text, repr(float(one.value))


def _routes(one: Quantity) -> Iterator[Expression]:
    """Yield the formula of a quantity, and its chain of local derivatives."""
    yield one.formula
    if one.chain is not None:
        yield one.chain


def _symbols(expression: Expression) -> Iterator[Expression]:
    if expression.operation == "symbol":
        yield expression
    for operand in expression.operands:
        yield from _symbols(operand)


# --- slips ------------------------------------------------------------------------------------------------------------


def _slip(answer: Answer, one: Quantity) -> str:
    """Return what was probably done instead: the sign turned, a factor or a term left out, too few digits."""
    if answer.written and answer.is_near(-one.value):
        return "the sign is the other one"
    for route in _routes(one):
        kind = {"+": "term", "*": "factor"}.get(route.operation)
        for part in route.operands if kind else ():
            rest = _without(one.value, part.value, kind)
            if rest != one.value and answer.is_near(rest):
                return f"the {kind} {text(part).lstrip('−')} is left out"
    return "give three digits" if _is_rounded(answer, one.value) else ""


def _without(value: float, part: float, kind: str | None) -> float:
    """Return a sum without one of its terms, or a product without one of its factors."""
    if kind == "term":
        return value - part
    return value / part if part else value


def _is_rounded(answer: Answer, value: float) -> bool:
    """Say whether an answer is the value in fewer digits than are wanted."""
    assert answer.written is not None
    exponent = answer.written.as_tuple().exponent
    assert isinstance(exponent, int)
    return abs(answer.written - Decimal(repr(float(value)))) <= Decimal(5).scaleb(exponent - 1)
