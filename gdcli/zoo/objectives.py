"""Objectives: expressions evaluated with torch, without Python's ``eval``.

The order of operations is Python's, so values and gradients have the bits of the same expression written in a Python
program. `gdcli.zoo.expressions` has the grammar and the operations.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from gdcli.errors import nearest
from gdcli.zoo.expressions import (
    CONSTANTS,
    Expression,
    ExpressionError,
    Name,
    Number,
    Operation,
    bounded,
    names,
    on_numbers,
    on_tensors,
    operands_first,
    parse_text,
    quoted,
)

if TYPE_CHECKING:
    from torch import Tensor

MAX_EXPONENT = 1_000
_Step: TypeAlias = "Callable[[Sequence[Tensor]], Tensor]"


def parse(text: str) -> Expression:
    """Parse one expression.

    ``**`` is right-associative and binds tighter than a sign on its left, as in Python. At most 2,000 characters, 500
    nodes and 64 levels of nesting; an exponent holds no other power and, where it is a number, is at most 1,000.
    Columns count characters from 1.

    Raises:
        ExpressionError: whatever is wrong with the text, with a column inside it.

    >>> parse("2*x").symbol
    '*'
    >>> parse("2*x +")
    Traceback (most recent call last):
    gdcli.zoo.expressions.ExpressionError: the expression is incomplete: an operand is missing at its end
    """
    return parse_text(text, _check_exponent)


def _check_exponent(exponent: Expression) -> None:
    """Refuse towers of powers and huge exponents: 9**9**9 would take hours in exact arithmetic, and is inf in float."""
    for node in operands_first(exponent):
        if isinstance(node, Operation) and node.is_power:
            raise ExpressionError("a tower of powers: an exponent may hold no other power", node.column)
    if not names(exponent):
        _check_size(_reduced(exponent, {}, {}), exponent.column)


def _check_size(exponent: float | _Step, column: int) -> None:
    if not callable(exponent) and abs(exponent) > MAX_EXPONENT:
        raise ExpressionError(f"the exponent {exponent:.6g} is larger than {MAX_EXPONENT}", column)


# --- a tree to numbers ----------------------------------------------------------------------------------------------


def folded(node: Operation, numbers: Sequence[float]) -> float:
    """Apply an operation to numbers, in Python's arithmetic."""
    try:
        value = on_numbers(node.symbol, len(numbers))(*numbers)
        if not isinstance(value, complex) and math.isfinite(value):
            return bounded(value)
    except ZeroDivisionError:
        raise ExpressionError("division of a constant by zero", node.column) from None
    except (ValueError, OverflowError):  # log(-1); exp(1000)
        pass
    raise ExpressionError("a constant part of the expression has no finite real value", node.column)


def _closure(function: Callable[..., Any], parts: Sequence[float | _Step]) -> _Step:
    """Bind a function to its operands, with numbers in place, so that a call does nothing but the operations."""
    if len(parts) == 1:
        (inner,) = parts
        assert callable(inner)  # an operation on numbers alone is folded
        return lambda tensors: function(inner(tensors))
    left, right = parts
    if not callable(left):
        assert callable(right)
        return lambda tensors: function(left, right(tensors))
    if not callable(right):
        return lambda tensors: function(left(tensors), right)
    return lambda tensors: function(left(tensors), right(tensors))


def _operation(node: Operation, parts: list[float | _Step]) -> float | _Step:
    if node.is_power:
        _check_size(parts[1], node.column)  # again: with the values of named constants
    numbers = [part for part in parts if not callable(part)]
    if len(numbers) == len(parts):
        return folded(node, numbers)
    return _closure(on_tensors(node.symbol, len(parts)), parts)


def _reduced(expression: Expression, places: Mapping[str, int], constants: Mapping[str, float]) -> float | _Step:
    """Turn a tree into a number, or into a function of the variables' tensors."""
    stack: list[float | _Step] = []
    for node in operands_first(expression):
        match node:
            case Number():
                stack.append(node.value)
            case Name() if node.name in places:
                stack.append(operator.itemgetter(places[node.name]))
            case Name() if node.name in constants:
                stack.append(bounded(constants[node.name]))
            case Name():
                hint = nearest(node.name, [*places, *constants])
                raise ExpressionError(f"unknown name {quoted(node.name)}. {hint}", node.column)
            case Operation():
                count = len(node.operands)
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
    >>> compile_(parse("maximum(x, 0) + k"), ["x"], {"k": 1})([torch.tensor([-1.0, 2.0])])
    tensor([1., 3.])
    """
    places = {name: place for place, name in enumerate(order)}
    reduced = _reduced(expression, places, {**CONSTANTS, **constants})
    return reduced if callable(reduced) else lambda tensors: tensors[0].new_full(tensors[0].shape, reduced)
