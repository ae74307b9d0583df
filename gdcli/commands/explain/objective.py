"""The chain rule through an objective's expression, node by node.

Every operation of the tree is a node with a name, v1, v2, .., in the order in which it is computed; the last one is L.
Each node feeds one other, so its derivative is one product; a variable that occurs more than once has a sum of them.
Rules of differentiation: those of torch's autograd, at kinks too (|x| has the derivative 0 at 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial as bound

from gdcli.commands.explain.activations import HALF, ONE, TWO, ZERO
from gdcli.commands.explain.expression import Expression, Label, call, latex_name, number, symbol
from gdcli.commands.explain.network import Path, Thunk, WorkedScalar, WorkedStep, as_step, sum_of_paths
from gdcli.commands.explain.point import EvaluationPoint
from gdcli.commands.explain.shaping import clip_of
from gdcli.commands.explain.tree import LOSS, ExplanationSection, Group, Quantity, WorkedTable, partial, quantity
from gdcli.commands.explain.updates import gradients_of, update_section, updated
from gdcli.spec.load import Loaded
from gdcli.zoo import expressions
from gdcli.zoo.expressions import OPERATORS
from gdcli.zoo.models import Objective

_SLOPES: dict[str, Callable[[Expression, Expression], Expression]] = {  # of the operand and the result
    "abs": lambda a, v: call("sign", a),
    "acos": lambda a, v: -ONE / call("sqrt", ONE - a**TWO),
    "acosh": lambda a, v: ONE / call("sqrt", a**TWO - ONE),
    "asin": lambda a, v: ONE / call("sqrt", ONE - a**TWO),
    "asinh": lambda a, v: ONE / call("sqrt", a**TWO + ONE),
    "atan": lambda a, v: ONE / (ONE + a**TWO),
    "atanh": lambda a, v: ONE / (ONE - a**TWO),
    "cos": lambda a, v: -call("sin", a),
    "cosh": lambda a, v: call("sinh", a),
    "detach": lambda a, v: ZERO,
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
    **OPERATORS,
    "sigmoid": lambda a: ONE / (ONE + call("exp", -a)) if a.value > -700 else call("exp", a) / (ONE + call("exp", a)),
    "square": lambda a: a**TWO,
    "relu": lambda a: call("max", ZERO, a),
    "maximum": lambda a, b: call("max", a, b),
    "minimum": lambda a, b: call("min", a, b),
    "pow": OPERATORS["**"],
}


def _power_slopes(a: Expression, b: Expression, v: Expression) -> tuple[Expression, Expression]:
    if b.operation == "number":
        return TWO * a if b.value == 2 else b * a ** number(b.value - 1), ZERO
    return b * a ** (b - ONE), v * call("log", a) if a.value else ZERO


def _picked(first: bool, a: Expression, b: Expression) -> tuple[Expression, Expression]:
    return (HALF, HALF) if a.value == b.value else (ONE, ZERO) if first else (ZERO, ONE)


_TWO_SLOPES: dict[str, Callable[[Expression, Expression, Expression], tuple[Expression, Expression]]] = {
    "+": lambda a, b, v: (ONE, ONE),
    "-": lambda a, b, v: (ONE, -ONE),
    "*": lambda a, b, v: (b, a),
    "/": lambda a, b, v: (ONE / b, -a / b**TWO),
    "**": _power_slopes,
    "pow": _power_slopes,
    "atan2": lambda a, b, v: (b / (a**TWO + b**TWO), -a / (a**TWO + b**TWO)),
    "hypot": lambda a, b, v: (a / v, b / v),
    "maximum": lambda a, b, v: _picked(a.value > b.value, a, b),
    "minimum": lambda a, b, v: _picked(not a.value > b.value, a, b),
}
"""The derivatives of an operation at its two operands."""


# --- the tree ---------------------------------------------------------------------------------------------------------


_ROOT = "the whole"  # no variable can have this name


_Node = tuple[Quantity, list[tuple[str, Expression]]]
"""One operation: its value, and the keys of the nodes or variables that it is made of with its derivative at each."""


class WorkedFunction:
    """An objective at a point: the nodes forward, local derivatives, and dL by node and by variable."""

    def __init__(self, loaded: Loaded, point: EvaluationPoint) -> None:
        assert isinstance(loaded.architecture, Objective)
        self.loaded, self.point, self.model, values = loaded, point, loaded.architecture, point.parameters
        nodes = _nodes(self.model, values)
        self.forward, self.local = [value for value, _ in nodes.values()], list[Quantity]()
        paths: dict[str, list[Path]] = {}
        found: dict[str, Quantity] = {}
        labels = {key: value.name for key, (value, _) in nodes.items()}
        labels |= {name: Label(name, latex_name(name)) for name in values}
        for key, (value, slopes) in reversed(nodes.items()):
            if key in paths:
                found[key] = sum_of_paths(labels[key], paths[key])
            elif key != _ROOT:
                continue  # a constant part: nothing flows there
            above = (as_step(found[key]),) if key in found else ()
            for operand, formula in slopes:
                note = "a constant to the gradient" if value.formula.operation == "detach" else ""
                slope = quantity(partial(value.name, labels[operand]), formula, note)
                self.local.append(slope)
                paths.setdefault(operand, []).append((*above, WorkedStep(slope.name, formula)))
        self.variables = {name: sum_of_paths(labels[name], paths[name]) for name in values if name in paths}
        self.nodes = [found[key] for key in found if len(paths[key][0]) > 1]  # else it is a local derivative itself

        self.clip = clip_of(loaded.spec.clip, lambda: gradients_of(point.rules, self.scalars()))

    def thunks(self) -> dict[str, Thunk]:
        """Return every quantity by name."""
        new = (scalar.new for scalar in updated(self.point.rules, self.scalars(), self.clip))
        clip = self.clip.by_norm if self.clip is not None else None
        found = [*self.forward, *self.local, *self.nodes, *self.variables.values(), *(clip or ()), *new]
        return {one.key: (lambda one=one: one) for one in found}  # type: ignore[misc]  # bound now

    def scalars(self) -> Iterator[WorkedScalar]:
        """Yield the variables that the value depends on."""
        for name in self.variables:
            value = symbol(name, self.point.parameters[name])
            yield WorkedScalar(name, 0, name, value, bound(self.variables.__getitem__, name))

    def sections(self) -> list[ExplanationSection]:
        """Return the whole."""
        expression = self.loaded.spec.model.arguments["expression"]
        values = {name: ("variable", value) for name, value in self.point.parameters.items()}
        values |= {name: ("constant", value) for name, value in self.model.constants.items()}
        given = Group((), "", (f"{LOSS.text} = {expression}",), WorkedTable.of(values))
        backward = {
            "Local derivatives": self.local,
            "From the last node to the first": self.nodes,
            "Variables": self.variables.values(),
        }
        sections = [
            ExplanationSection("Given", (given,)),
            ExplanationSection("Forward", (Group(tuple(self.forward)),)),
            ExplanationSection("Backward", tuple(Group(tuple(f), title) for title, f in backward.items() if f)),
        ]
        return sections + update_section(self.point, self.scalars(), self.clip)


def _nodes(model: Objective, values: Mapping[str, float]) -> dict[str, _Node]:
    """Return the operations of the expression in the order in which they are computed."""
    known = {**expressions.CONSTANTS, **model.constants, **values}
    letter = next((one for one in "vunqrs" if not any(name.startswith(one) for name in known)), "node_")
    nodes: dict[str, _Node] = {}
    stack: list[tuple[Expression, str]] = []  # formula, and the key of what it depends on, "" for numbers
    order = expressions.operands_first(model.expression)
    for node in order:
        if isinstance(node, expressions.Number):
            stack.append((number(node.value), ""))
        elif isinstance(node, expressions.Name):
            stack.append((symbol(node.name, known[node.name]), node.name if node.name in values else ""))
        else:
            count = len(node.operands)
            operands, stack[-count:] = stack[-count:], []
            formulas = [formula for formula, _ in operands]
            root = node is order[-1]
            key = _ROOT if root else f"{letter}{len(nodes) + 1}"
            label = LOSS if root else Label(key, latex_name(key))
            formula, slopes = _formula(node, formulas, label)
            if all(one.operation == "number" for one in formulas):
                stack.append((number(formula.value), ""))
                continue
            value = quantity(label, formula, key="loss" if root else key, title="Loss" if root else "")
            kept = [(below, slope) for (_, below), slope in zip(operands, slopes, strict=True) if below]
            nodes[key] = value, kept
            stack.append((value.symbol, key if kept else ""))
    if not nodes:  # a single variable, or numbers alone
        formula, below = stack[0]
        nodes[_ROOT] = quantity(LOSS, formula, key="loss", title="Loss"), [(below, ONE)] if below else []
    return nodes


def _formula(
    node: expressions.Operation, operands: Sequence[Expression], label: Label
) -> tuple[Expression, tuple[Expression, ...]]:
    """Return an operation's formula and its derivative at each operand."""
    name = node.symbol
    if len(operands) == 1 and name in expressions.SIGNS:
        return (-operands[0], (-ONE,)) if name == "-" else (operands[0], (ONE,))
    formula = _VALUES[name](*operands) if name in _VALUES else call(name, *operands)
    result = Expression("symbol", formula.value, (), label)
    if len(operands) == 1:
        return formula, (_SLOPES[name](operands[0], result),)
    return formula, _TWO_SLOPES[name](operands[0], operands[1], result)
