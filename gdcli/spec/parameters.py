"""What a spec says of single parameters: their names or globs, and their start values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import chain, islice
from typing import Any

import numpy as np

from gdcli.errors import Problem, nearest
from gdcli.spec.document import MAX_PROBLEMS
from gdcli.spec.sections import RunSpec, is_glob
from gdcli.spec.signature import got

DISTRIBUTIONS = ("normal", "uniform")
INIT_NAMES = (
    "zeros", "ones", "normal", "uniform", "eye", "orthogonal", "xavier_uniform", "xavier_normal", "kaiming_uniform",
    "kaiming_normal", "trunc_normal",
)  # fmt: skip
_OF_MATRICES = frozenset(INIT_NAMES) - {"zeros", "ones", "normal", "uniform", "trunc_normal"}


def name_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> list[Problem]:
    """Return what is wrong with init, freeze and groups for a model whose parameters have these shapes."""
    return list(islice(chain(_init_problems(spec, shapes), _unknown_names(spec, shapes)), MAX_PROBLEMS))


def _init_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Problem]:
    for pattern, value in spec.model.init.items():
        path = ("model", "init", pattern)
        matches = match(pattern, shapes)
        if not matches:
            yield spec.problem(path, "no parameter of that name", _near(pattern, shapes), at_key=True)
        for name in matches:
            problem = init_problem(value, shapes[name], spec.settings.dtype)
            if problem:
                yield spec.problem(path, f"{problem} for {name} {list(shapes[name])}")
                break


def _unknown_names(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Problem]:
    for index, pattern in enumerate(spec.model.freeze):
        if not match(pattern, shapes):
            what = f"no parameter of that name {got(pattern)}"
            yield spec.problem(("model", "freeze", index), what, _near(pattern, shapes))
    yield from group_problems(spec, shapes)


def group_problems(spec: RunSpec, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Problem]:
    """Yield the groups of the optimizer and the scheduler that no parameter is in."""
    grouped = [("optimizer", pattern) for pattern in (spec.optimizer.groups if spec.optimizer else ())]
    grouped += [("scheduler", pattern) for pattern in (spec.scheduler.groups if spec.scheduler else ())]
    for key, pattern in grouped:
        if not match(pattern, shapes):
            what, hint = "no parameter of that name", _near(pattern, shapes)
            yield spec.problem((key, "groups", pattern), what, hint, at_key=True)


def _near(pattern: str, shapes: Mapping[str, Any]) -> str:
    """Return a hint: of a deep model's names the first, since comparing texts is slow."""
    return nearest(pattern, islice(shapes, 100))


def match(pattern: str, names: Mapping[str, Any]) -> list[str]:
    """Return the parameters that a name or glob means.

    >>> match("linear1.*", {"linear1.weight": 0, "linear1.bias": 0, "linear2.bias": 0})
    ['linear1.weight', 'linear1.bias']
    """
    if not is_glob(pattern):
        return [pattern] if pattern in names else []
    return [name for name in names if name == pattern or fnmatchcase(name, pattern)]


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
