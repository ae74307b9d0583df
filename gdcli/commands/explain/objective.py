"""The chain rule through an objective's expression, node by node.

Every operation of the tree is a node with a name, v1, v2, .., in the order in which it is computed; the last one is L.
Each node feeds one other, so its derivative is one product; a variable that occurs more than once has a sum of them.
Rules of differentiation: those of torch's autograd, at kinks too (|x| has the derivative 0 at 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

from gdcli.commands.explain.activations import HALF, ONE, TWO, ZERO
from gdcli.commands.explain.expression import Expression, Label, call, latex_name, number, symbol, total, worked_factors
from gdcli.commands.explain.naming import LOSS, partial
from gdcli.commands.explain.tree import Quantity, quantity
from gdcli.zoo import expressions
from gdcli.zoo.models import Objective

Slope = Callable[[Expression, Expression], Expression]  # (operand, result) -> derivative


def _rooted(a: Expression) -> Expression:
    return call("sqrt", ONE - a**TWO)


_SLOPES: dict[str, Slope] = {
    "abs": lambda a, v: call("sign", a),
    "acos": lambda a, v: -ONE / _rooted(a),
    "acosh": lambda a, v: ONE / call("sqrt", a**TWO - ONE),
    "asin": lambda a, v: ONE / _rooted(a),
    "asinh": lambda a, v: ONE / call("sqrt", a**TWO + ONE),
    "atan": lambda a, v: ONE / (ONE + a**TWO),
    "atanh": lambda a, v: ONE / (ONE - a**TWO),
    "cos": lambda a, v: -call("sin", a),
    "cosh": lambda a, v: call("sinh", a),
    "erf": lambda a, v: TWO / call("sqrt", symbol("pi", math.pi)) * call("exp", -(a**TWO)),
    "exp": lambda a, v: v,
    "expm1": lambda a, v: v + ONE,
    "log": lambda a, v: ONE / a,
    "log10": lambda a, v: ONE / (a * call("log", number(10))),
    "log1p": lambda a, v: ONE / (ONE + a),
    "log2": lambda a, v: ONE / (a * call("log", TWO)),
    "relu": lambda a, v: ONE if a.value > 0 else ZERO,
    "sigmoid": lambda a, v: v * (ONE - v),
    "sign": lambda a, v: ZERO,
    "sin": lambda a, v: call("cos", a),
    "sinh": lambda a, v: call("cosh", a),
    "softplus": lambda a, v: call("σ", a),
    "sqrt": lambda a, v: ONE / (TWO * v),
    "square": lambda a, v: TWO * a,
    "tan": lambda a, v: ONE + v**TWO,
    "tanh": lambda a, v: ONE - v**TWO,
}

_VALUES: dict[str, Callable[..., Expression]] = {
    "sigmoid": lambda a: ONE / (ONE + call("exp", -a)) if a.value > -700 else call("exp", a) / (ONE + call("exp", a)),
    "square": lambda a: a**TWO,
    "relu": lambda a: call("max", ZERO, a),
    "maximum": lambda a, b: call("max", a, b),
    "minimum": lambda a, b: call("min", a, b),
    "pow": lambda a, b: a**b,
}

_BINARY: dict[str, Callable[[Expression, Expression], Expression]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}


def _power_slopes(a: Expression, b: Expression, v: Expression) -> tuple[Expression, Expression]:
    if b.operation == "number":
        if b.value == 2:
            return TWO * a, ZERO
        return b * a ** number(b.value - 1), ZERO
    return b * a ** (b - ONE), v * call("log", a) if a.value else ZERO


def _pick_slopes(first: bool, tie: bool) -> tuple[Expression, Expression]:
    return (HALF, HALF) if tie else (ONE, ZERO) if first else (ZERO, ONE)


def _two_slopes(name: str, a: Expression, b: Expression, v: Expression) -> tuple[Expression, Expression]:
    """Return the derivatives of an operation at its two operands."""
    if name in ("**", "pow"):
        return _power_slopes(a, b, v)
    if name in ("maximum", "minimum"):
        return _pick_slopes((a.value > b.value) == (name == "maximum"), a.value == b.value)
    squares = a**TWO + b**TWO
    rules = {
        "+": lambda: (ONE, ONE), "-": lambda: (ONE, -ONE), "*": lambda: (b, a),
        "/": lambda: (ONE / b, -a / b**TWO), "atan2": lambda: (b / squares, -a / squares),
        "hypot": lambda: (a / v, b / v),
    }  # fmt: skip
    return rules[name]()


# --- the tree ---------------------------------------------------------------------------------------------------------


_ROOT = "the whole"  # no variable can have this name


@dataclass(frozen=True, slots=True)
class _Node:
    """One operation: its quantity, and the names of what it is made of with the derivative at each."""

    value: Quantity
    slopes: tuple[tuple[str, Expression], ...]  # key of a node or variable -> derivative of this node there


@dataclass(frozen=True, slots=True)
class ChainRule:
    """An objective at a point: the nodes forward, local derivatives, and dL by node and by variable."""

    forward: tuple[Quantity, ...]
    local: tuple[Quantity, ...]
    nodes: tuple[Quantity, ...]
    variables: Mapping[str, Quantity]


def chain_rule(model: Objective, values: Mapping[str, float]) -> ChainRule:
    """Work out an objective and its derivatives at the variables' values."""
    nodes = _nodes(model, values)
    local: list[Quantity] = []
    paths: dict[str, list[tuple[Quantity | None, Quantity]]] = {}
    found: dict[str, Quantity] = {}
    labels = {key: node.value.name for key, node in nodes.items()}
    labels |= {name: Label(name, latex_name(name)) for name in values}
    for key, node in reversed(nodes.items()):
        above = found.get(key)
        if key in paths:
            above = found[key] = _sum(labels[key], key, paths[key])
        if key != _ROOT and above is None:
            continue  # a constant part: nothing flows there
        for operand, formula in node.slopes:
            name = partial(node.value.name, labels[operand])
            slope = quantity(name.text, name, formula)
            local.append(slope)
            paths.setdefault(operand, []).append((above, slope))
    variables = {name: _sum(labels[name], name, paths[name]) for name in values if name in paths}
    inner = tuple(found[key] for key in found if paths[key][0][0] is not None)  # else it is a local derivative itself
    return ChainRule(tuple(node.value for node in nodes.values()), tuple(local), inner, variables)


def _sum(label: Label, key: str, paths: list[tuple[Quantity | None, Quantity]]) -> Quantity:
    """Return dL/d(label) as the sum over the nodes that it feeds."""
    chains, formulas = [], []
    for above, slope in paths:
        steps = [(above.symbol, above.symbol)] if above is not None else []
        steps.append((slope.symbol, slope.formula))
        chains.append(reduce(lambda left, right: left * right, [name for name, _ in steps]))
        formulas.append(reduce(lambda left, right: left * right, [formula for _, formula in steps]))
    formula = total(formulas)
    return Quantity(f"d{key}", partial(LOSS, label), formula, worked_factors(formula), total(chains))


def _nodes(model: Objective, values: Mapping[str, float]) -> dict[str, _Node]:
    """Return the operations of the expression in the order in which they are computed."""
    constants = {**expressions.CONSTANTS, **model.constants}
    nodes: dict[str, _Node] = {}
    taken = {*values, *constants}
    letter = next((one for one in "vunqrs" if not any(name.startswith(one) for name in taken)), "node_")
    stack: list[tuple[Expression, str]] = []  # formula, and the key of what it depends on, "" for numbers
    order = expressions.operands_first(model.expression)
    for node in order:
        if isinstance(node, expressions.Number):
            stack.append((number(node.value), ""))
        elif isinstance(node, expressions.Name):
            known = node.name in values
            value = values[node.name] if known else constants[node.name]
            stack.append((symbol(node.name, value), node.name if known else ""))
        elif (folded := _folded(node, [one for one, _ in stack[-len(expressions.operands(node)) :]])) is not None:
            stack[-len(expressions.operands(node)) :] = [(folded, "")]
        else:
            key = _ROOT if node is order[-1] else f"{letter}{len(nodes) + 1}"
            label = LOSS if key == _ROOT else Label(key, latex_name(key))
            count = len(expressions.operands(node))
            operands, stack[-count:] = stack[-count:], []
            nodes[key] = _operation(node, key, label, operands)
            depends = any(below for _, below in operands)
            stack.append((nodes[key].value.symbol, key if depends else ""))
    return nodes or _bare(*stack[0])


def _folded(node: expressions.Expression, operands: list[Expression]) -> Expression | None:
    """Return an operation on numbers alone as a number."""
    if any(one.operation != "number" for one in operands):
        return None
    return number(_formula(node, operands, LOSS)[0].value)


def _bare(formula: Expression, below: str) -> dict[str, _Node]:
    """Return the one node of an expression that is a single variable."""
    return {_ROOT: _Node(quantity("loss", LOSS, formula, "", "Loss"), ((below, ONE),) if below else ())}


def _operation(
    node: expressions.Expression, key: str, label: Label, operands: list[tuple[Expression, str]]
) -> _Node:  # fmt: skip
    formulas = [formula for formula, _ in operands]
    formula, slopes = _formula(node, formulas, label)
    root = key == _ROOT
    value = quantity("loss" if root else key, label, formula, "", "Loss" if root else "")
    kept = tuple((below, slope) for (_, below), slope in zip(operands, slopes, strict=True) if below)
    return _Node(value, kept)


def _formula(
    node: expressions.Expression, operands: list[Expression], label: Label
) -> tuple[Expression, tuple[Expression, ...]]:
    """Return an operation's formula and its derivative at each operand."""
    if isinstance(node, expressions.Unary):
        negative = node.sign == "-"
        return (-operands[0], (-ONE,)) if negative else (operands[0], (ONE,))
    name = node.operator if isinstance(node, expressions.Binary) else getattr(node, "function", "")
    rule = _BINARY.get(name) or _VALUES.get(name) or (lambda *a: call(name, *a))
    formula = rule(*operands)
    result = Expression("symbol", formula.value, (), label)
    if len(operands) == 1:
        return formula, (_SLOPES[name](operands[0], result),)
    return formula, _two_slopes(name, operands[0], operands[1], result)
