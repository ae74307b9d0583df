"""The grammar of ``expression:``: a text becomes a tree, or an error with a column; and what its functions are.

Numbers, names, ``+ - * / **``, parentheses and calls of the functions in `FUNCTIONS`. The parser is our own: Python's
``ast.parse`` would hand the text of a spec to ``compile``, and its errors have neither our words nor our columns.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from gdcli.errors import nearest

MAX_CHARACTERS = 2_000
MAX_NODES = 500
MAX_DEPTH = 64
DETACH = "detach"
EXACT = 2**53  # whole numbers up to here are the same as int and as float64


class ExpressionError(ValueError):
    """A text that is not an expression of the grammar: one sentence, and the column (from 1) where it goes wrong."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message, column)  # both, so that the error survives pickling between processes
        self.message = message
        self.column = column

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; whole numbers stay ``int``, so that ``x**2`` is what Python makes of it."""

    value: int | float
    column: int


@dataclass(frozen=True, slots=True)
class Name:
    """A variable or a constant."""

    name: str
    column: int


@dataclass(frozen=True, slots=True)
class Operation:
    """``+`` or ``-`` in front of an operand, one of ``+ - * / **`` between two, or a function of `FUNCTIONS`."""

    symbol: str
    operands: tuple[Expression, ...]  # in the order of the text
    column: int

    @property
    def is_power(self) -> bool:
        """Whether its second operand is an exponent."""
        return self.symbol in ("**", "pow")


Expression: TypeAlias = Number | Name | Operation


def operands_first(expression: Expression) -> list[Expression]:
    """Return all nodes, operands before their operation.

    Without recursion, since a sum of 200 terms is 200 levels deep.
    """
    waiting, found = [expression], []
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, Operation):
            waiting.extend(node.operands)
    return found[::-1]


def names(expression: Expression) -> frozenset[str]:
    """Return the variables and constants that an expression uses, ``pi`` and ``e`` included, functions not.

    >>> from gdcli.zoo.objectives import parse
    >>> sorted(names(parse("sin(pi*x) + y")))
    ['pi', 'x', 'y']
    """
    return frozenset(node.name for node in operands_first(expression) if isinstance(node, Name))


def is_bare(expression: Expression) -> bool:
    """Say whether an expression is a variable itself, no tensor of its own: x, or +x."""
    while isinstance(expression, Operation) and expression.symbol == "+" and len(expression.operands) == 1:
        (expression,) = expression.operands
    return isinstance(expression, Name)


def attached(expression: Expression) -> frozenset[str]:
    """Return the names that an expression uses outside of ``detach``: only through these does a gradient come.

    >>> from gdcli.zoo.objectives import parse
    >>> sorted(attached(parse("x*detach(y) + detach(x)**2")))
    ['x']
    """
    waiting, found = [expression], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, Operation):
            waiting.extend(() if node.symbol == DETACH else node.operands)
        elif isinstance(node, Name):
            found.add(node.name)
    return frozenset(found)


def with_constants(expression: Expression, value: Callable[[Expression], float]) -> Expression:
    """Return an expression with a number for what is detached, its ``value``: a gradient of it sees none of them."""
    stack: list[Expression] = []
    for node in operands_first(expression):
        if isinstance(node, Operation):
            count = len(node.operands)
            operands, stack[-count:] = tuple(stack[-count:]), []
            node = (
                Number(value(operands[0]), node.column) if node.symbol == DETACH else replace(node, operands=operands)
            )
        stack.append(node)
    return stack[0]


def quoted(text: str) -> str:
    """Return a part of an expression as messages show it."""
    return f"'{text}'" if len(text) <= 40 else f"'{text[:40]}...'"


def bounded(value: float) -> int | float:
    """Keep a whole number that float64 holds exactly, else go over to float64: integers must not grow without end."""
    return value if abs(value) <= EXACT else float(value)


# --- operators and functions: on numbers, and on torch's tensors ------------------------------------------------------


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))  # exp never overflows


SIGNS: dict[str, Callable[..., Any]] = {"+": operator.pos, "-": operator.neg}
OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}
# On numbers; on tensors the function of the same name in torch serves.
_ONE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    **{
        name: getattr(math, name)
        for name in (
            "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "exp", "expm1", "log", "log10",
            "log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh",
        )
    },
    DETACH: lambda x: x,  # as torch's: the same value, a constant to the gradient
    "relu": lambda x: max(x, 0.0),
    "sigmoid": _sigmoid,
    "sign": lambda x: math.copysign(1.0, x) if x else 0.0,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "square": lambda x: x * x,
}  # fmt: skip
_TWO: dict[str, Callable[[float, float], float]] = {
    "atan2": math.atan2,
    "hypot": math.hypot,
    "maximum": max,
    "minimum": min,
    "pow": operator.pow,
}
TENSORS_ONLY = frozenset({"atan2", "hypot", "maximum", "minimum"})  # torch's take no Python number

FUNCTIONS: dict[str, int] = dict.fromkeys(sorted(_ONE), 1) | dict.fromkeys(_TWO, 2)
"""Each function by name, with its number of arguments."""

CONSTANTS: dict[str, float] = {"e": math.e, "pi": math.pi}
"""The names that need no value; a variable or constant of the same name takes precedence."""


def on_numbers(name: str, count: int) -> Callable[..., Any]:
    """Return an operator or a function that takes that many Python numbers."""
    if name in FUNCTIONS:
        return _ONE.get(name) or _TWO[name]
    return SIGNS[name] if count == 1 else OPERATORS[name]


def on_tensors(name: str, count: int) -> Callable[..., Any]:
    """Return an operator or a function that takes that many tensors, or numbers beside a tensor."""
    if name not in FUNCTIONS:
        return on_numbers(name, count)
    import torch

    home = torch.nn.functional if name == "softplus" else torch
    function: Callable[..., Any] = getattr(home, name)
    return _taking_numbers(function) if name in TENSORS_ONLY else function


def _taking_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of two tensors take a Python number for one of them."""

    def both(left: Any, right: Any) -> Any:
        if isinstance(left, int | float):
            left = right.new_full((), left)
        elif isinstance(right, int | float):
            right = left.new_full((), right)
        return function(left, right)

    return both


# --- text to tokens -------------------------------------------------------------------------------------------------


class _Token(NamedTuple):
    kind: str  # number, name, operator or end
    text: str
    column: int


# ASCII only: Python's \d and \w would let in digits and letters of every script.
_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<operator>\*\*|[-+*/(),])"
)
_REFUSED = {
    "'": "an expression holds no text",
    '"': "an expression holds no text",
    ".": "an expression has no attributes",
    "[": "an expression has no indexing",
    "]": "an expression has no indexing",
    "^": "a power is written **",
} | dict.fromkeys("<>=!", "an expression has no comparison and no assignment")


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while position < len(text):
        if text[position] in " \t\r\n":
            position += 1
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            character = text[position]
            why = _REFUSED.get(character, "it is no part of the grammar")
            raise ExpressionError(f"unknown character {character!a}: {why}", position + 1)
        found.append(_Token(str(match.lastgroup), match.group(), position + 1))
        position = match.end()
    # The end stands at the last token, so that every column lies inside the text.
    return [*found, _Token("end", "", found[-1].column if found else 1)]


def _literal(token: _Token) -> Number:
    text = token.text
    if not text.isdigit():
        value = float(text)
        if math.isinf(value):
            raise ExpressionError(f"the number {quoted(text)} is too large", token.column)
        return Number(value, token.column)
    if text[0] == "0" and text.strip("0"):
        raise ExpressionError(f"the number {quoted(text)} has a leading zero", token.column)
    try:
        return Number(bounded(int(text)), token.column)
    except OverflowError:
        raise ExpressionError(f"the number {quoted(text)} is too large", token.column) from None


# --- tokens to a tree -----------------------------------------------------------------------------------------------

_BINDING = {"+": 10, "-": 10, "*": 20, "/": 20, "**": 40}
_UNARY_BINDING = 30  # between * and **, so that -x**2 is -(x**2) and -x*y is (-x)*y, as in Python


class _Parser:
    """Precedence climbing (Pratt, 1973) over the tokens; the recursion is bounded by `MAX_DEPTH`."""

    def __init__(self, tokens: list[_Token], check_exponent: Callable[[Expression], None]) -> None:
        self.tokens = tokens
        self.check_exponent = check_exponent
        self.position = 0
        self.nodes = 0

    def next(self) -> _Token:
        token = self.tokens[self.position]
        self.position += token.kind != "end"
        return token

    @property
    def ahead(self) -> _Token:
        return self.tokens[self.position]

    def whole(self) -> Expression:
        expression = self.expression(0, 0)
        token = self.ahead
        if token.kind == "end":
            return expression
        if token.text in "),":
            raise ExpressionError(f"'{token.text}' without its opening parenthesis", token.column)
        raise _missing_operator(token)

    def expression(self, binding: int, depth: int) -> Expression:
        left = self.operand(depth)
        while _BINDING.get(self.ahead.text, 0) > binding:
            token = self.next()
            power = token.text == "**"
            right_binding = _BINDING[token.text] - power  # ** is right-associative
            right = self.expression(right_binding, self.deeper(depth, token) if power else depth)
            if power:
                self.check_exponent(right)
            left = self.counted(Operation(token.text, (left, right), token.column))
        return left

    def operand(self, depth: int) -> Expression:
        token = self.next()
        if token.kind == "number":
            return self.counted(_literal(token))
        if token.kind == "name":
            if self.ahead.text == "(":
                return self.call(token, depth)
            if token.text in FUNCTIONS:
                raise ExpressionError(f"'{token.text}' is a function: its arguments are missing", token.column)
            return self.counted(Name(token.text, token.column))
        if token.text in SIGNS:
            inner = self.expression(_UNARY_BINDING, self.deeper(depth, token))
            return self.counted(Operation(token.text, (inner,), token.column))
        if token.text == "(":
            inner = self.expression(0, self.deeper(depth, token))
            self.close(token)
            return inner
        if token.kind == "end":
            raise ExpressionError("the expression is incomplete: an operand is missing at its end", token.column)
        raise ExpressionError(f"an operand is missing before '{token.text}'", token.column)

    def call(self, name: _Token, depth: int) -> Expression:
        if name.text not in FUNCTIONS:
            hint = nearest(name.text, FUNCTIONS)
            raise ExpressionError(f"unknown function {quoted(name.text)}. {hint}", name.column)
        opening = self.next()
        arguments = []
        if self.ahead.text != ")":
            arguments.append(self.expression(0, self.deeper(depth, opening)))
            while self.ahead.text == ",":
                self.next()
                arguments.append(self.expression(0, depth + 1))
        self.close(opening)
        expected = FUNCTIONS[name.text]
        if len(arguments) != expected:
            plural = "argument" if expected == 1 else "arguments"
            message = f"'{name.text}' takes {expected} {plural} (got {len(arguments)})"
            raise ExpressionError(message, name.column)
        if name.text == "pow":
            self.check_exponent(arguments[1])
        return self.counted(Operation(name.text, tuple(arguments), name.column))

    def close(self, opening: _Token) -> None:
        token = self.next()
        if token.kind == "end":
            raise ExpressionError("'(' is never closed", opening.column)
        if token.text == ",":
            raise ExpressionError("',' outside the arguments of a function", token.column)
        if token.text != ")":
            raise _missing_operator(token)

    def deeper(self, depth: int, token: _Token) -> int:
        if depth >= MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels", token.column)
        return depth + 1

    def counted(self, node: Expression) -> Expression:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise ExpressionError(f"the expression has more than {MAX_NODES} parts", node.column)
        return node


def _missing_operator(token: _Token) -> ExpressionError:
    return ExpressionError(f"an operator is missing before {quoted(token.text)}", token.column)


def parse_text(text: str, check_exponent: Callable[[Expression], None]) -> Expression:
    """Parse one expression; `gdcli.zoo.objectives.parse` says the rest."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS:,} characters", MAX_CHARACTERS + 1)
    tokens = _tokens(text)
    if len(tokens) == 1:
        raise ExpressionError("the expression is empty", 1)
    return _Parser(tokens, check_exponent).whole()
