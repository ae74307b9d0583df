"""Formulas that know their value: built once, worked out in Python's float64 in the order in which they are written.

An :class:`Expression` is a tree whose leaves are numbers and named symbols with values. It can be shown in symbols, or
with the numbers put in; both are the same tree, so what is printed is what was computed.

>>> o, t = symbol("o1", 0.75), symbol("t1", 0.5)
>>> loss = number(0.5) * (o - t) ** number(2)
>>> text(loss), text(loss, numbers=True), loss.value
('0.5 · (o1 − t1)²', '0.5 · (0.75 − 0.5)²', 0.03125)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add, mul

from gdcli.zoo import expressions


@dataclass(frozen=True, slots=True)
class Label:
    """A name as plain text and as LaTeX."""

    text: str
    latex: str


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """One node: ``number``, ``symbol``, ``blank``, ``+ * / ** neg`` or the name of a function in `FUNCTIONS`.

    Sums and products hold all their operands, taken from left to right; a difference is a sum with a ``neg``. A symbol
    may have one operand, the formula that it stands for. A blank shows its label wherever a number would stand.
    """

    operation: str
    value: float
    operands: tuple[Expression, ...] = ()
    label: Label | None = None

    @property
    def name(self) -> Label:
        """The label of a symbol or a blank."""
        assert self.label is not None
        return self.label

    def __add__(self, other: Expression) -> Expression:
        return Expression("+", self.value + other.value, (*_flat("+", self), other))

    def __sub__(self, other: Expression) -> Expression:
        return self + -other

    def __neg__(self) -> Expression:
        return Expression("neg", -self.value, (self,))

    def __mul__(self, other: Expression) -> Expression:
        return Expression("*", self.value * other.value, (*_flat("*", self), other))

    def __truediv__(self, other: Expression) -> Expression:
        return Expression("/", _quotient(self.value, other.value), (self, other))

    def __pow__(self, other: Expression) -> Expression:
        return Expression("**", _ieee(pow, self.value, other.value), (self, other))


def _flat(operation: str, left: Expression) -> tuple[Expression, ...]:
    return left.operands if left.operation == operation else (left,)


def _ieee(function: Callable[..., float], *values: float) -> float:
    """Apply a function; what Python refuses is infinite or not a number, as in a processor's arithmetic."""
    try:
        result = function(*values)
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        return math.nan
    return math.nan if isinstance(result, complex) else result


def _quotient(above: float, below: float) -> float:
    if below:
        return above / below
    return math.copysign(math.inf, above) * math.copysign(1.0, below) if above else math.nan


# --- leaves -----------------------------------------------------------------------------------------------------------


def number(value: float) -> Expression:
    """Return a literal; whole numbers given as int show without a point."""
    return Expression("number", value)


def symbol(name: str | Label, value: float) -> Expression:
    """Return a named quantity with its value."""
    return Expression("symbol", value, (), name if isinstance(name, Label) else Label(name, latex_name(name)))


def total(terms: Iterable[Expression]) -> Expression:
    """Return the sum of terms from left to right; a single term is itself."""
    parts = list(terms)
    if len(parts) == 1:
        return parts[0]
    value = reduce(lambda so_far, part: so_far + part.value, parts[1:], parts[0].value)
    return Expression("+", value, (*_flat("+", parts[0]), *parts[1:]))


def defined(name: Label, formula: Expression) -> Expression:
    """Return a symbol that stands for a formula."""
    return Expression("symbol", formula.value, (formula,), name)


def blank(label: Label, value: float) -> Expression:
    """Return a number that is left out."""
    return Expression("blank", value, (), label)


# --- functions --------------------------------------------------------------------------------------------------------


FUNCTIONS: dict[str, Callable[..., float]] = {
    **{name: expressions.on_numbers(name, count) for name, count in expressions.FUNCTIONS.items()},
    "log": lambda x: math.log(x) if x else -math.inf, "max": max, "min": min, "σ": expressions.on_numbers("sigmoid", 1),
    "sign": lambda x: float((x > 0) - (x < 0)) if not math.isnan(x) else x,
    "Φ": lambda z: 0.5 * math.erfc(-z / math.sqrt(2)), "φ": lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
}  # fmt: skip
"""Every function of a formula, on floats; σ the logistic function, Φ and φ the normal distribution and its density."""

_LATEX_FUNCTIONS = {"σ": r"\sigma", "Φ": r"\Phi", "φ": r"\varphi"} | {
    name: rf"\{name}" for name in ("cos", "cosh", "exp", "log", "max", "min", "sin", "sinh", "tan", "tanh")
}


def call(function: str, *arguments: Expression) -> Expression:
    """Return a function of `FUNCTIONS` applied to its arguments."""
    return Expression(function, _ieee(FUNCTIONS[function], *(argument.value for argument in arguments)), arguments)


def evaluated(expression: Expression, value_of: Callable[[Expression], float | None]) -> float:
    """Return the value with other numbers for some symbols: those for which ``value_of`` has one.

    >>> formula = symbol("x", 3.0) * symbol("w", 2.0) + number(1)
    >>> evaluated(formula, lambda one: {"x": 5.0}.get(one.name.text))
    11.0
    """
    if expression.operation == "symbol":
        other = value_of(expression)
        if other is None and expression.operands:
            return evaluated(expression.operands[0], value_of)
        return expression.value if other is None else other
    values = [evaluated(operand, value_of) for operand in expression.operands]
    match expression.operation:
        case "number" | "blank":
            return expression.value
        case "+":
            return reduce(add, values)
        case "*":
            return reduce(mul, values)
        case "neg":
            return -values[0]
        case "/":
            return _quotient(*values)
        case "**":
            return _ieee(pow, *values)
        case function:
            return _ieee(FUNCTIONS[function], *values)


def worked_factors(expression: Expression) -> Expression:
    """Return a sum of products with each factor as a number: one step before the value, and of the same value.

    >>> text(worked_factors((symbol("o1", 0.75) - symbol("t1", 0.5)) * symbol("h1", 2.0)))
    '0.25 · 2.0'
    """
    if expression.operation == "+":
        return Expression("+", expression.value, tuple(map(_worked_term, expression.operands)))
    return _worked_term(expression)


def _worked_term(term: Expression) -> Expression:
    if term.operation == "*":
        return Expression("*", term.value, tuple(number(factor.value) for factor in term.operands))
    if term.operation == "neg" and term.operands[0].operation == "*":
        return -_worked_term(term.operands[0])
    return number(term.value)


# --- text -------------------------------------------------------------------------------------------------------------

_SUM, _PRODUCT, _NEGATIVE, _POWER, _ATOM = range(1, 6)
_BINDING = {"+": _SUM, "*": _PRODUCT, "/": _PRODUCT, "neg": _NEGATIVE, "**": _POWER}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def latex_number(value: float) -> str:
    """Return a number for LaTeX, with a power of ten in place of an e.

    >>> latex_number(-1.5e-07)
    '-1.5 \\\\cdot 10^{-7}'
    """
    if not math.isfinite(value):
        return {math.inf: r"\infty", -math.inf: r"-\infty"}.get(value, r"\mathrm{nan}")
    head, mark, power = repr(value).partition("e")
    return rf"{head} \cdot 10^{{{int(power)}}}" if mark else head


def latex_name(name: str) -> str:
    r"""Return a name of letters, digits and underscores for LaTeX: a letter with an index where it is one.

    >>> latex_name("w12"), latex_name("learning_rate"), latex_name("β1")
    ('w_{12}', '\\mathrm{learning\\_rate}', '\\beta_{1}')
    """
    head = name.rstrip("0123456789")
    index = name[len(head) :]
    base = GREEK.get(head) or (head if len(head) == 1 and head.isalpha() else "")
    if not base:
        return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"
    return f"{base}_{{{index}}}" if index else base


_GREEK_NAMES = "alpha beta gamma delta epsilon eta theta kappa lambda mu rho sigma tau psi Delta Gamma Pi"
GREEK = {letter: f"\\{name}" for letter, name in zip("αβγδεηθκλμρστψΔΓΠ", _GREEK_NAMES.split(), strict=True)}


@dataclass(frozen=True, slots=True)
class Notation:
    """How to write: as LaTeX or as text, with the numbers put in or in symbols."""

    latex: bool = False
    numbers: bool = False

    @property
    def minus(self) -> str:
        """The sign of a difference."""
        return "-" if self.latex else "−"


def text(expression: Expression, *, numbers: bool = False, latex: bool = False) -> str:
    """Return an expression on one line, in symbols or with the numbers put in."""
    return _written(expression, Notation(latex, numbers))


def terms(expression: Expression, style: Notation) -> list[list[str]]:
    """Return the factors of each term of a sum, signs included: the places where a long line may be broken."""
    return [_factors(term, style, first=not k) for k, term in enumerate(_flat("+", expression))]


def _factors(term: Expression, style: Notation, *, first: bool) -> list[str]:
    if first:
        return _parts(term, style)
    negative = term.operation == "neg"
    head, *rest = _parts(term.operands[0] if negative else term, style, inner=True)
    if head[0] in "-−":  # plus a negative number is minus the number, to the bit
        negative, head = not negative, head[1:]
    return [f"{style.minus if negative else '+'} {head}", *rest]


def _parts(term: Expression, style: Notation, *, inner: bool = False) -> list[str]:
    """Return the factors of a product, each but the first with its sign; anything else in one piece."""
    if term.operation != "*":
        return [_bound(term, style, _PRODUCT) if inner else _written(term, style)]
    parts = [_operand(part, style, k) for k, part in enumerate(term.operands)]
    times = r"\cdot" if style.latex else "·"
    return [parts[0], *(f"{times} {part}" for part in parts[1:])]


def _operand(part: Expression, style: Notation, place: int) -> str:
    """Return a factor of a product: ``o1(1 − o1)`` needs no parentheses in symbols, other products do."""
    of_logistic = part.operation == "*" and [one.operation for one in part.operands] == ["symbol", "+"]
    if place and of_logistic and not style.numbers:
        first, second = part.operands
        return _written(first, style) + _enclosed(_written(second, style), style)
    return _bound(part, style, _POWER if place else _PRODUCT)


def _written(expression: Expression, style: Notation) -> str:
    operation, operands = expression.operation, expression.operands
    if operation == "symbol" and not style.numbers and expression.label is not None:
        return expression.label.latex if style.latex else expression.label.text
    if operation == "blank":
        return expression.name.latex if style.latex else expression.name.text
    if operation in ("number", "symbol"):
        return latex_number(expression.value) if style.latex else repr(expression.value)
    if operation in ("+", "*"):
        return " ".join(" ".join(factors) for factors in terms(expression, style))
    if operation == "neg":
        return style.minus + _bound(operands[0], style, _POWER)
    if operation == "/" and style.latex:
        return rf"\dfrac{{{_written(operands[0], style)}}}{{{_written(operands[1], style)}}}"
    if operation == "/":
        return f"{_bound(operands[0], style, _PRODUCT)} / {_bound(operands[1], style, _POWER)}"
    if operation == "**":
        return _power(operands[0], operands[1], style)
    return _function(operation, operands, style)


def _power(base: Expression, exponent: Expression, style: Notation) -> str:
    derivative = base.label is not None and "/" in base.label.text and not style.numbers  # (dL/dw)², not dL/dw²
    below = _enclosed(_written(base, style), style) if derivative else _bound(base, style, _ATOM)
    if style.latex:
        return f"{{{below}}}^{{{_written(exponent, style)}}}"
    if exponent.operation == "number" and isinstance(exponent.value, int) and exponent.value >= 0:
        return below + str(exponent.value).translate(_RAISED)
    return f"{below}^{_bound(exponent, style, _ATOM)}"


def _function(name: str, arguments: tuple[Expression, ...], style: Notation) -> str:
    inner = ", ".join(_written(argument, style) for argument in arguments)
    if name == "abs":
        return rf"\left|{inner}\right|" if style.latex else f"|{inner}|"
    if name == "sqrt":
        return rf"\sqrt{{{inner}}}" if style.latex else f"√({inner})"
    if style.latex:
        return _LATEX_FUNCTIONS.get(name, rf"\mathrm{{{name}}}") + _enclosed(inner, style)
    return f"{name}({inner})"


def _bound(expression: Expression, style: Notation, binding: int) -> str:
    """Return an expression in parentheses if it binds less than its place needs."""
    written = _written(expression, style)
    own = _BINDING.get(expression.operation, _ATOM)
    if style.latex and expression.operation == "/" and binding <= _POWER:
        return written  # a fraction's bar holds it together
    if expression.operation in ("number", "symbol"):
        own = _NEGATIVE if written.startswith("-") else own
        own = min(own, _PRODUCT) if style.latex and r"\cdot 10^" in written else own
    return written if own >= binding else _enclosed(written, style)


def _enclosed(written: str, style: Notation) -> str:
    tall = style.latex and r"\dfrac" in written  # TeX breaks no line between \left and \right
    return rf"\left({written}\right)" if tall else f"({written})"
