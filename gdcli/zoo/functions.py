"""The operators and functions of an objective's expression: on numbers, and on torch's tensors."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))  # exp never overflows


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


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
    return _taking_numbers(function) if name in _TENSORS_ONLY else function


def _taking_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of two tensors take a Python number for one of them."""

    def both(left: Any, right: Any) -> Any:
        if isinstance(left, int | float):
            left = right.new_full((), left)
        elif isinstance(right, int | float):
            right = left.new_full((), right)
        return function(left, right)

    return both
