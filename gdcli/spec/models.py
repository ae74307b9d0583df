"""What a spec says of its model beyond sizes: names and start values of parameters, torch's layers, an expression."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, islice
from math import prod
from typing import Any

import numpy as np

from gdcli.errors import Problem, nearest
from gdcli.spec.document import MAX_PROBLEMS
from gdcli.spec.sections import RunSpec, is_glob
from gdcli.spec.signature import Path, got
from gdcli.zoo.expressions import Expression, ExpressionError, Name, Operation, attached, names
from gdcli.zoo.models import MAX_STACK, Objective, Stack, all_layers
from gdcli.zoo.objectives import compile_

DISTRIBUTIONS = ("normal", "uniform")
INIT_NAMES = (
    "zeros", "ones", "normal", "uniform", "eye", "orthogonal", "xavier_uniform", "xavier_normal", "kaiming_uniform",
    "kaiming_normal", "trunc_normal",
)  # fmt: skip
_OF_MATRICES = frozenset(INIT_NAMES) - {"zeros", "ones", "normal", "uniform", "trunc_normal"}


def name_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> list[Problem]:
    """Return what is wrong with init, freeze, groups and style for a model whose parameters have these shapes."""
    checks = (_init_problems, _freeze_problems, group_problems, _style_problems, _penalty_problems)
    return list(islice(chain.from_iterable(check(spec, shapes) for check in checks), MAX_PROBLEMS))


def is_weight(shape: Sequence[int]) -> bool:
    """Say whether a parameter of this shape is a weight, which a penalty counts: no bias, no scale of a norm."""
    return len(shape) > 1


def _penalty_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Problem]:
    frozen = {name for pattern in spec.model.freeze for name in match(pattern, shapes)}
    if spec.penalty.is_on and not any(is_weight(shape) for name, shape in shapes.items() if name not in frozen):
        what = "has no effect: it is for weights, parameters of two axes or more, and none is trained"
        hint = "Write it into the expression" if spec.model.name == "objective" else ""
        yield spec.problem(("penalty",), what, hint, at_key=True)


def _style_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Problem]:
    if spec.style in ("manual", "autograd"):
        frozen = {name for pattern in spec.model.freeze for name in match(pattern, shapes)}
        scalars = {name: prod(shape) for name, shape in start_shapes(shapes, spec.model.init).items()}
        count = sum(scalars[name] for name in scalars if name not in frozen)
        if count != 1:
            what = f"the style {spec.style} prints one gradient, the model has {count}"
            yield spec.problem(("print", "style"), what)


def _init_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Problem]:
    for pattern, value in spec.model.init.items():
        path = ("model", "init", pattern)
        matches = match(pattern, shapes)
        if not matches:
            yield _unknown(spec, path, pattern, shapes)
        for name in matches:
            problem = init_problem(value, shapes[name], spec.settings.dtype)
            if problem:
                yield spec.problem(path, f"{problem} for {name} {list(shapes[name])}")
                break
    drawn = {pattern for pattern, value in spec.model.init.items() if _draws(value)}  # what comes later draws the next
    yield from _hidden(spec, ("model", "init"), spec.model.init, shapes, drawn)


def _draws(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, str) and value not in ("zeros", "ones", "eye"))


def _freeze_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Problem]:
    for index, pattern in enumerate(spec.model.freeze):
        if not match(pattern, shapes):
            yield _unknown(spec, ("model", "freeze", index), pattern, shapes, f" {got(pattern)}")


def group_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Problem]:
    """Yield the groups of the optimizer and the scheduler that no parameter is in."""
    frozen = {name for pattern in spec.model.freeze for name in match(pattern, shapes)}
    trained = {name: shape for name, shape in shapes.items() if name not in frozen}
    for key, section in (("optimizer", spec.optimizer), ("scheduler", spec.scheduler)):
        for pattern in section.groups if section else ():
            if not (names := match(pattern, shapes)):
                yield _unknown(spec, (key, "groups", pattern), pattern, shapes)
            elif frozen.issuperset(names):
                yield spec.problem((key, "groups", pattern), "has no effect: all of it is frozen", at_key=True)
        yield from _hidden(spec, (key, "groups"), section.groups if section else {}, trained)


def _hidden(
    spec: RunSpec, path: Path, patterns: Iterable[str], shapes: Mapping[str, Any], kept: Collection[str] = ()
) -> Iterator[Problem]:
    """Yield the patterns of which all parameters are in a later one too, which is the one that counts."""
    last = {name: pattern for pattern in patterns for name in match(pattern, shapes)}
    counting = set(last.values())
    for pattern in patterns:
        if pattern not in kept and (names := match(pattern, shapes)) and pattern not in counting:
            what = f"has no effect: {', '.join(sorted({last[name] for name in names}))} below counts for all of it"
            yield spec.problem((*path, pattern), what, "Put what is for more parameters first", at_key=True)


def _unknown(spec: RunSpec, path: Path, pattern: str, shapes: Mapping[str, Any], given: str = "") -> Problem:
    """Return the problem that no parameter has the name, which is a key, or the value ``given``."""
    hint = nearest(pattern, islice(shapes, 100))  # of a deep model's names the first, since comparing texts is slow
    return spec.problem(path, f"no parameter of that name{given}", hint, at_key=not given)


def match(pattern: str, names: Mapping[str, Any]) -> list[str]:
    """Return the parameters that a name or glob means.

    >>> match("linear1.*", {"linear1.weight": 0, "linear1.bias": 0, "linear2.bias": 0})
    ['linear1.weight', 'linear1.bias']
    """
    if not is_glob(pattern):
        return [pattern] if pattern in names else []
    return [name for name in names if name == pattern or fnmatchcase(name, pattern)]


def start_shapes(shapes: Mapping[str, tuple[int, ...]], init: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return each parameter's shape once it has its start value: [1] where a list of one number is for all entries.

    >>> start_shapes({"weight": (2, 3), "bias": (2,)}, {"*": 0, "bias": [0.5]})
    {'weight': (2, 3), 'bias': (1,)}
    """
    found = dict(shapes)
    for pattern, value in init.items():
        if isinstance(value, list):
            found |= {name: (len(value),) for name in match(pattern, shapes) if len(shapes[name]) == 1}
    return found


def init_problem(value: Any, shape: tuple[int, ...], dtype: str) -> str:
    """Return what is wrong with a start value for a parameter of that shape, or nothing."""
    largest = float(np.finfo(dtype).max)
    if type(value) in (int, float):
        return "" if abs(value) <= largest else f"a number beyond {dtype} {got(value)}"
    if isinstance(value, str):
        if value not in INIT_NAMES:
            return f"unknown initialisation {got(value)}. {nearest(value, INIT_NAMES)}"
        flat = len(shape) < 2 or (value == "eye" and len(shape) > 2)
        return f"{value} needs a matrix" if value in _OF_MATRICES and flat else ""
    if isinstance(value, dict):
        return _distribution_problem(value, largest)
    if not isinstance(value, list):
        return f"must be a number, nested lists, a distribution or a name {got(value)}"
    try:
        array = np.array(value, dtype=np.float64) if _holds_numbers(value) else None
    except ValueError:  # ragged
        array = None
    if array is None:
        return "must be nested lists of numbers, rows of equal length"
    if array.size and np.abs(array).max() > largest:
        return f"a number beyond {dtype}"
    shared = len(shape) == 1 and array.shape == (1,)  # one bias for the whole layer
    return "" if array.shape == shape or shared else f"has shape {list(array.shape)}, which does not fit"


def _holds_numbers(value: Any) -> bool:
    return all(map(_holds_numbers, value)) if isinstance(value, list) else type(value) in (int, float)


def _distribution_problem(value: dict[str, Any], largest: float) -> str:
    if len(value) != 1 or next(iter(value)) not in DISTRIBUTIONS:
        return f"must be one of {{normal: [mean, std]}} and {{uniform: [low, high]}} {got(value)}"
    ((name, pair),) = value.items()
    if not (isinstance(pair, list) and len(pair) == 2 and all(type(number) in (int, float) for number in pair)):
        return f"{name} takes two numbers {got(pair)}"
    if max(map(abs, pair)) > largest / 2:  # so that their difference is a number too
        return f"{name} takes numbers of at most {largest / 2:.3g} {got(pair)}"
    if name == "normal" and pair[1] < 0:
        return f"normal takes a standard deviation of at least 0 {got(pair[1])}"
    return f"uniform takes low and high in order {got(pair)}" if name == "uniform" and pair[0] > pair[1] else ""


# --- torch's own layers -----------------------------------------------------------------------------------------------

TAKEN = frozenset((
    "T_destination", "add_module", "append", "apply", "bfloat16", "buffers", "call_super_init", "children",
    "compile", "cpu", "cuda", "double", "dump_patches", "eval", "extend", "extra_repr", "float", "forward",
    "get_buffer", "get_extra_state", "get_parameter", "get_submodule", "half", "insert", "ipu", "load_state_dict",
    "modules", "mtia", "named_buffers", "named_children", "named_modules", "named_parameters", "parameters", "pop",
    "register_backward_hook", "register_buffer", "register_forward_hook", "register_forward_pre_hook",
    "register_full_backward_hook", "register_full_backward_pre_hook", "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook", "register_module", "register_parameter", "register_state_dict_post_hook",
    "register_state_dict_pre_hook", "requires_grad_", "set_extra_state", "set_submodule", "share_memory",
    "state_dict", "to", "to_empty", "train", "training", "type", "xpu", "zero_grad",
))  # fmt: skip
"""What torch's modules have by themselves: no layer can be called so."""


def layer_problems(spec: RunSpec, model: Stack) -> Iterator[Problem]:
    """Yield what is wrong with the layers' names, and with what a layer cannot have of its own."""
    for layer in all_layers(model.layers):
        path = ("model", *layer.path)
        if layer.name in TAKEN or layer.name.startswith("_"):
            what = f"torch's modules have something else of that name {got(layer.name)}"
            yield spec.problem((*path, "name"), what, "Give the layer another")
        for key, value in layer.arguments.items():
            if problem := _argument_problem(key, value):
                yield spec.problem((*path, key), *problem, at_key=True)


def _argument_problem(key: str, value: Any) -> tuple[str, str] | None:
    """Return what is wrong with an argument that torch would take, and what helps."""
    if key in ("device", "dtype"):
        return f"a layer has no {key} of its own", f"Set {key} at the top of the spec"
    if key == "batch_first" and value is not True:
        return "rows come first here", "Leave batch_first out"
    if key == "sparse" and value is not False:
        return "gradients are not sparse here", "Leave sparse out"
    if key == "inplace" and value is not False:
        return "would overwrite its input, rows of the data or what a residual adds", "Leave inplace out"
    if key == "max_norm" and value is not None:
        return "shortens weights whenever they are looked up, by validation rows too", "Leave max_norm out"
    if key.startswith("_"):
        return "is of torch's inside", "Leave it out"
    if key == "num_layers" and type(value) is int and value > MAX_STACK:
        return f"{value:,} layers, more than {MAX_STACK:,}", ""
    return None


# --- an objective's expression, of constants alone: worked out before torch is needed


def detached_error(model: Objective, freeze: Iterable[str]) -> str:
    """Return what is wrong with an expression that keeps every trained variable inside ``detach``; else nothing."""
    frozen = {name for pattern in freeze for name in match(pattern, model.start)}
    trained = set(model.start) - frozen
    if not trained or trained & attached(model.expression):
        return ""
    names = ", ".join(f"'{name}'" for name in sorted(trained))
    return f"{names} only inside detach(...), which is a constant: there is no gradient to train with"


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
            compile_(Operation(operator, (variable, node), node.column), [variable.name], model.constants)
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
        if isinstance(node, Operation):
            parts = [("**" if k and node.is_power else "+", each) for k, each in enumerate(node.operands)]
            waiting += reversed(parts)
