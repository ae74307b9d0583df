"""What an objective's expression says of constants alone, worked out before torch is needed."""

from __future__ import annotations

from collections.abc import Iterator

from gdcli.zoo.expressions import Binary, Call, Expression, ExpressionError, Name, Unary, names
from gdcli.zoo.models import Objective
from gdcli.zoo.objectives import compile_


def constant_error(model: Objective) -> ExpressionError | None:
    """Return what is wrong with a part of the expression that holds no variable, or with a constant exponent.

    >>> from gdcli.zoo.objectives import parse
    >>> constant_error(Objective(parse("x + 1/(c - 1)"), {"x": 0.0}, {"c": 1.0}))
    ExpressionError('division of a constant by zero', 6)
    """
    variable = Name(next(iter(model.start)), 1)
    for part in _constant_parts(model.expression, frozenset(model.start)):
        operator, node = part
        try:  # beside a variable it is folded, and nothing of torch is asked for
            compile_(Binary(operator, variable, node, node.column), [variable.name], model.constants)
        except ExpressionError as error:
            return error
    return None


def _constant_parts(expression: Expression, variables: frozenset[str]) -> Iterator[tuple[str, Expression]]:
    """Yield the largest parts without a variable, exponents as such."""
    waiting = [("+", expression)]
    while waiting:
        operator, node = waiting.pop()
        if not names(node) & variables:
            yield operator, node
            continue
        match node:
            case Unary():
                waiting.append(("+", node.operand))
            case Binary():
                waiting += [("**" if node.operator == "**" else "+", node.right), ("+", node.left)]
            case Call():
                last = "**" if node.function == "pow" else "+"
                waiting += [(last if k else "+", each) for k, each in enumerate(node.arguments)]
