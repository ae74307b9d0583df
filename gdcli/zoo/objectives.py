"""Objectives: the small grammar of ``expression:``, parsed here and evaluated with torch, without Python's ``eval``.

Numbers, names, ``+ - * / **``, parentheses and calls of the functions in `FUNCTIONS`. The order of operations is
Python's, so values and gradients have the bits of the same expression written in a Python program.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from gdcli.errors import nearest

if TYPE_CHECKING:
    from torch import Tensor

MAX_CHARACTERS = 2_000
MAX_NODES = 500
MAX_DEPTH = 64
MAX_EXPONENT = 1_000
_EXACT = 2**53  # whole numbers up to here are the same as int and as float64


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
class Unary:
    """``+`` or ``-`` in front of an operand."""

    sign: str
    operand: Expression
    column: int


@dataclass(frozen=True, slots=True)
class Binary:
    """One of ``+ - * / **`` between two operands."""

    operator: str
    left: Expression
    right: Expression
    column: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function of `FUNCTIONS` with its arguments."""

    function: str
    arguments: tuple[Expression, ...]
    column: int


Expression: TypeAlias = Number | Name | Unary | Binary | Call
_Step: TypeAlias = "Callable[[Sequence[Tensor]], Tensor]"


# --- functions ------------------------------------------------------------------------------------------------------


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))  # exp never overflows


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


_SIGNS: dict[str, Callable[..., Any]] = {"+": operator.pos, "-": operator.neg}
_OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}
# On numbers; on tensors the function of the same name in torch serves.
_ONE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "acos": math.acos,
    "acosh": math.acosh,
    "asin": math.asin,
    "asinh": math.asinh,
    "atan": math.atan,
    "atanh": math.atanh,
    "cos": math.cos,
    "cosh": math.cosh,
    "erf": math.erf,
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log10": math.log10,
    "log1p": math.log1p,
    "log2": math.log2,
    "relu": lambda x: max(x, 0.0),
    "sigmoid": _sigmoid,
    "sign": lambda x: math.copysign(1.0, x) if x else 0.0,
    "sin": math.sin,
    "sinh": math.sinh,
    "softplus": _softplus,
    "sqrt": math.sqrt,
    "square": lambda x: x * x,
    "tan": math.tan,
    "tanh": math.tanh,
}
_TWO: dict[str, Callable[[float, float], float]] = {
    "atan2": math.atan2,
    "hypot": math.hypot,
    "maximum": max,
    "minimum": min,
    "pow": operator.pow,
}
_TENSORS_ONLY = frozenset({"atan2", "hypot", "maximum", "minimum"})  # torch's take no Python number

FUNCTIONS: dict[str, int] = {**dict.fromkeys(_ONE, 1), **dict.fromkeys(_TWO, 2)}
"""Each function by name, with its number of arguments."""

CONSTANTS: dict[str, float] = {"e": math.e, "pi": math.pi}
"""The names that need no value; a variable or constant of the same name takes precedence."""


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


def _shown(text: str) -> str:
    return f"'{text}'" if len(text) <= 40 else f"'{text[:40]}...'"


def _literal(token: _Token) -> Number:
    text = token.text
    if not text.isdigit():
        value = float(text)
        if math.isinf(value):
            raise ExpressionError(f"the number {_shown(text)} is too large", token.column)
        return Number(value, token.column)
    if text[0] == "0" and text.strip("0"):
        raise ExpressionError(f"the number {_shown(text)} has a leading zero", token.column)
    try:
        return Number(_bounded(int(text)), token.column)
    except OverflowError:
        raise ExpressionError(f"the number {_shown(text)} is too large", token.column) from None


def _bounded(value: float) -> int | float:
    """Keep a whole number that float64 holds exactly, else go over to float64: integers must not grow without end."""
    return value if abs(value) <= _EXACT else float(value)


# --- tokens to a tree -----------------------------------------------------------------------------------------------

_BINDING = {"+": 10, "-": 10, "*": 20, "/": 20, "**": 40}
_UNARY_BINDING = 30  # between * and **, so that -x**2 is -(x**2) and -x*y is (-x)*y, as in Python


class _Parser:
    """Precedence climbing (Pratt, 1973) over the tokens; the recursion is bounded by `MAX_DEPTH`."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
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
                _check_exponent(right)
            left = self.counted(Binary(token.text, left, right, token.column))
        return left

    def operand(self, depth: int) -> Expression:
        token = self.next()
        if token.kind == "number":
            return self.counted(_literal(token))
        if token.kind == "name":
            return self.name_or_call(token, depth)
        if token.text in _SIGNS:
            inner = self.expression(_UNARY_BINDING, self.deeper(depth, token))
            return self.counted(Unary(token.text, inner, token.column))
        if token.text == "(":
            inner = self.expression(0, self.deeper(depth, token))
            self.close(token)
            return inner
        if token.kind == "end":
            raise ExpressionError("the expression is incomplete: an operand is missing at its end", token.column)
        raise ExpressionError(f"an operand is missing before '{token.text}'", token.column)

    def name_or_call(self, name: _Token, depth: int) -> Expression:
        if self.ahead.text == "(":
            return self.call(name, depth)
        if name.text in FUNCTIONS:
            raise ExpressionError(f"'{name.text}' is a function: its arguments are missing", name.column)
        return self.counted(Name(name.text, name.column))

    def call(self, name: _Token, depth: int) -> Expression:
        if name.text not in FUNCTIONS:
            hint = nearest(name.text, FUNCTIONS)
            raise ExpressionError(f"unknown function {_shown(name.text)}. {hint}", name.column)
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
            _check_exponent(arguments[1])
        return self.counted(Call(name.text, tuple(arguments), name.column))

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
    return ExpressionError(f"an operator is missing before {_shown(token.text)}", token.column)


def _is_power(node: Expression) -> bool:
    if isinstance(node, Binary):
        return node.operator == "**"
    return isinstance(node, Call) and node.function == "pow"


def _check_exponent(exponent: Expression) -> None:
    """Refuse towers of powers and huge exponents: 9**9**9 would take hours in exact arithmetic, and is inf in float."""
    for node in _operands_first(exponent):
        if _is_power(node):
            raise ExpressionError("a tower of powers: an exponent may hold no other power", node.column)
    if not names(exponent):
        _check_size(_reduced(exponent, {}, {}), exponent.column)


def _check_size(exponent: float | _Step, column: int) -> None:
    if not callable(exponent) and abs(exponent) > MAX_EXPONENT:
        raise ExpressionError(f"the exponent {exponent:.6g} is larger than {MAX_EXPONENT}", column)


def parse(text: str) -> Expression:
    """Parse one expression.

    ``**`` is right-associative and binds tighter than a sign on its left, as in Python. At most 2,000 characters, 500
    nodes and 64 levels of nesting; an exponent holds no other power and, where it is a number, is at most 1,000.
    Columns count characters from 1.

    Raises:
        ExpressionError: whatever is wrong with the text, with a column inside it.

    >>> parse("2*x").operator
    '*'
    >>> parse("2*x +")
    Traceback (most recent call last):
    gdcli.zoo.objectives.ExpressionError: the expression is incomplete: an operand is missing at its end
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS:,} characters", MAX_CHARACTERS + 1)
    tokens = _tokens(text)
    if len(tokens) == 1:
        raise ExpressionError("the expression is empty", 1)
    return _Parser(tokens).whole()


# --- a tree to numbers ----------------------------------------------------------------------------------------------


def _operands(node: Expression) -> tuple[Expression, ...]:
    match node:
        case Unary():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Call():
            return node.arguments
    return ()


def _operands_first(expression: Expression) -> list[Expression]:
    """All nodes, operands before their operation; without recursion, since a sum of 200 terms is 200 levels deep."""
    waiting, found = [expression], []
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting.extend(_operands(node))
    return found[::-1]


def names(expression: Expression) -> frozenset[str]:
    """Return the variables and constants that an expression uses, ``pi`` and ``e`` included, functions not.

    >>> sorted(names(parse("sin(pi*x) + y")))
    ['pi', 'x', 'y']
    """
    return frozenset(node.name for node in _operands_first(expression) if isinstance(node, Name))


def _on_numbers(node: Unary | Binary | Call) -> Callable[..., Any]:
    match node:
        case Unary():
            return _SIGNS[node.sign]
        case Binary():
            return _OPERATORS[node.operator]
        case Call():
            return _ONE.get(node.function) or _TWO[node.function]


def _on_tensors(node: Unary | Binary | Call) -> Callable[..., Any]:
    if not isinstance(node, Call):
        return _on_numbers(node)
    import torch

    home = torch.nn.functional if node.function == "softplus" else torch
    function: Callable[..., Any] = getattr(home, node.function)
    return _taking_numbers(function) if node.function in _TENSORS_ONLY else function


def _taking_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of two tensors take a Python number for one of them."""

    def both(left: Any, right: Any) -> Any:
        if isinstance(left, int | float):
            left = right.new_full((), left)
        elif isinstance(right, int | float):
            right = left.new_full((), right)
        return function(left, right)

    return both


def _folded(node: Unary | Binary | Call, numbers: Sequence[float]) -> float:
    """Apply an operation to numbers, in Python's arithmetic."""
    try:
        value = _on_numbers(node)(*numbers)
        if not isinstance(value, complex) and math.isfinite(value):
            return _bounded(value)
    except ZeroDivisionError:
        raise ExpressionError("division of a constant by zero", node.column) from None
    except (ValueError, OverflowError):  # log(-1); exp(1000)
        pass
    raise ExpressionError("a constant part of the expression has no finite real value", node.column)


def _closure(function: Callable[..., Any], operands: Sequence[float | _Step]) -> _Step:
    """Bind a function to its operands, with numbers in place, so that a call does nothing but the operations."""
    if len(operands) == 1:
        (inner,) = operands
        assert callable(inner)  # an operation on numbers alone is folded
        return lambda tensors: function(inner(tensors))
    left, right = operands
    if not callable(left):
        assert callable(right)
        return lambda tensors: function(left, right(tensors))
    if not callable(right):
        return lambda tensors: function(left(tensors), right)
    return lambda tensors: function(left(tensors), right(tensors))


def _operation(node: Unary | Binary | Call, operands: list[float | _Step]) -> float | _Step:
    if _is_power(node):
        _check_size(operands[1], node.column)  # again: with the values of named constants
    numbers = [operand for operand in operands if not callable(operand)]
    if len(numbers) == len(operands):
        return _folded(node, numbers)
    return _closure(_on_tensors(node), operands)


def _reduced(expression: Expression, places: Mapping[str, int], constants: Mapping[str, float]) -> float | _Step:
    """Turn a tree into a number, or into a function of the variables' tensors."""
    stack: list[float | _Step] = []
    for node in _operands_first(expression):
        match node:
            case Number():
                stack.append(node.value)
            case Name() if node.name in places:
                stack.append(operator.itemgetter(places[node.name]))
            case Name() if node.name in constants:
                stack.append(_bounded(constants[node.name]))
            case Name():
                hint = nearest(node.name, [*places, *constants])
                raise ExpressionError(f"unknown name {_shown(node.name)}. {hint}", node.column)
            case _:
                count = len(_operands(node))
                stack[-count:] = [_operation(node, stack[-count:])]
    return stack[0]


def compile_(expression: Expression, order: Sequence[str], constants: Mapping[str, float]) -> _Step:
    """Resolve an expression once, as a function of its variables' tensors in the given order.

    Constant parts are computed here, in Python's float64 arithmetic. The function applies Python's operators and
    torch's functions in the order of the text, so its bits, and those of its gradient by autograd, are those of the
    same line in a Python program.

    Shapes: every tensor 0-dim or ``[R]`` (or any that broadcast); the result has the broadcast shape of the variables
    that occur, and that of the first variable where none does.

    Raises:
        ExpressionError: an unknown name, or a constant part without a finite real value (``1/0``, ``log(-1)``).

    >>> import torch
    >>> bowl = compile_(parse("a*x**2 + 2*y**2"), ["x", "y"], {"a": 0.5})
    >>> bowl([torch.tensor(3.0), torch.tensor(-1.0)]).item()
    6.5
    """
    places = {name: place for place, name in enumerate(order)}
    reduced = _reduced(expression, places, {**CONSTANTS, **constants})
    return reduced if callable(reduced) else _constantly(reduced)


def _constantly(value: float) -> _Step:
    import torch

    def constant(tensors: Sequence[Tensor]) -> Tensor:
        return torch.full_like(tensors[0], value) if tensors else torch.tensor(value, dtype=torch.float64)

    return constant


def evaluate(expression: Expression, values: Mapping[str, Tensor | float]) -> Tensor:
    """Evaluate an expression once; numbers stay Python numbers until they meet a tensor.

    Differentiable by autograd. Shapes and errors as in `compile_`; without any tensor the result is a 0-dim float64
    tensor.

    >>> import torch
    >>> evaluate(parse("maximum(x, 0) + k"), {"x": torch.tensor([-1.0, 2.0]), "k": 1})
    tensor([1., 3.])
    """
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    tensors = {name: value for name, value in values.items() if not isinstance(value, int | float)}
    return compile_(expression, list(tensors), numbers)(list(tensors.values()))
