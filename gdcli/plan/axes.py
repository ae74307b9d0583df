"""The axes of a sweep: scalars of the model or keys of the spec, their grids, and the points of their product.

Axes that a zip names together advance together and count as one factor of the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, product
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import Problem, SpecError, nearest
from gdcli.plan.trials import NO_ORIGINS, ChangeOrigin, Trial
from gdcli.spec import grids, sizes
from gdcli.spec.document import MAX_VALUES
from gdcli.spec.grid_text import Value
from gdcli.spec.grids import Grid
from gdcli.spec.load import Loaded
from gdcli.spec.nodes import Node
from gdcli.spec.overrides import resolve
from gdcli.spec.scalars import shown
from gdcli.spec.sections import problem_at
from gdcli.spec.signature import Complaint


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a sweep: a scalar of the model, or a key of the spec."""

    name: str  # as asked for, and as it is printed
    target: str  # weight[0,0], or optimizer.lr
    kind: Literal["parameter", "key"]
    grid: Grid
    factor: int = 0  # of the product; the axes of a zip share one
    origin: ChangeOrigin | None = None  # where the file has the grid; None for the command line


@dataclass(frozen=True, slots=True)
class _Asked:
    """A name and its grid, before it is known what the name means."""

    name: str  # with its param: or key:
    grid: Grid
    factor: int
    key: str = ""  # of the spec's sweep block, where the grid stands

    @property
    def bare(self) -> str:
        force, colon, bare = self.name.partition(":")
        return bare if colon and force in ("param", "key") else self.name

    def refused(self, document: Node, message: str, *, at_key: bool = True) -> SpecError:
        """Return the error that says so where the name, or else the grid, was written."""
        if self.key:
            return SpecError(_in_block(document, self.key, message, at_key=at_key))
        return SpecError(f"--param {self.bare}: {message}")


def axes(loaded: Loaded, asked: Sequence[str]) -> list[Axis]:
    """Return the axes of ``NAME``, ``NAME=GRID`` or ``zip(NAME=GRID,...)`` texts; without any, of the sweep block.

    A name is looked for among the model's parameters first, then among the keys of the spec; ``param:`` and ``key:``
    force it. Raises SpecError for an unknown name, a name without a grid, a repeated axis.
    """
    return _axes(loaded.spec.document, scalar_names(loaded.shapes or {}), asked)


def key_axes(document: Node, asked: Sequence[str]) -> list[Axis]:
    """Return the axes over keys of a document that is no spec without them. For errors see :func:`axes`."""
    return _axes(document, {}, asked)


def _axes(document: Node, scalars: Mapping[str, str], asked: Sequence[str]) -> list[Axis]:
    found: dict[str, Axis] = {}
    items, errors = _asked(document, asked), list[SpecError]()
    for item in items:
        try:
            axis = _axis(item, document, scalars)
            if axis.target in found:
                raise _twice(item, document, axis, found[axis.target])
            found[axis.target] = axis
        except SpecError as error:
            errors.append(error)
    if errors:
        raise SpecError([problem for error in errors for problem in error.problems] or str(errors[0]))
    if len({axis.kind for axis in found.values()}) > 1:
        raise SpecError("a sweep is over parameters of the model or over keys of the spec, not both")
    for _, group in groupby(zip(found.values(), items, strict=True), lambda pair: pair[0].factor):
        together = list(group)  # the axes of a zip, or one
        grids_ = [axis.grid for axis, _ in together]
        if grids_[0].length <= MAX_VALUES and (twice := _repeated([grid.values() for grid in grids_])):
            raise together[0][1].refused(document, f"the grid has {twice} twice", at_key=False)
    return list(found.values())


def _in_block(document: Node, key: str, message: str = "", *, at_key: bool = False) -> Problem:
    return problem_at(document, Complaint(("sweep", "parameters", key), message, at_key=at_key))


def _twice(item: _Asked, document: Node, axis: Axis, first: Axis) -> SpecError:
    if item.key and first.origin is not None:  # both in the block
        return item.refused(document, f"is {axis.target}, and so is {first.name}")
    if axis.name == first.name:
        return SpecError(f"--param {axis.name} is given twice")
    return SpecError(f"--param {axis.name} and --param {first.name} are both {axis.target}")


def _asked(document: Node, texts: Sequence[str]) -> list[_Asked]:
    node = document.find(("sweep", "parameters"))
    given = None if node is None else node.plain()
    block: Mapping[str, Any] = given if isinstance(given, dict) else {}
    if not texts and not block:
        raise SpecError("which parameter? Give --param NAME=GRID, or a sweep block in the spec")
    if not texts:
        return [
            _Asked(name, grid, k, key)
            for k, (key, value) in enumerate(block.items())
            for name, grid in (grids.zip_from_spec(value) if key == "zip" else {key: grids.from_spec(value)}).items()
        ]
    return [item for k, text in enumerate(texts) for item in _named(text, k, block)]


def _named(text: str, factor: int, block: Mapping[str, Any]) -> list[_Asked]:
    name, equals, grid = text.partition("=")
    if text.lstrip().startswith("zip("):
        name = "zip"
    try:
        if name == "zip":
            return [_Asked(name, grid, factor) for name, grid in grids.parse_zip(text).items()]
        if equals:
            return [_Asked(name, grids.parse(grid), factor)]
        bare = name.partition(":")[2] or name
        if bare not in block:
            raise SpecError(f"needs a grid: --param '{name}=range(0, 4.1, 0.1)'")
        return [_Asked(name, grids.from_spec(block[bare]), factor, bare)]
    except SpecError as error:
        raise SpecError(f"--param {shown(name)}: {error}") from None


def _axis(item: _Asked, document: Node, scalars: Mapping[str, str]) -> Axis:
    try:
        target, kind = _target(item.name, scalars)
    except SpecError as error:
        raise item.refused(document, str(error)) from None
    if kind == "parameter" and not _of_numbers(item.grid):
        message = f"a parameter of the model takes numbers (got {shown(item.grid.text)})"
        raise item.refused(document, message, at_key=False)
    origin = None
    if item.key:
        here = _in_block(document, item.key)
        origin = ChangeOrigin(here.place, here.path)
    return Axis(item.bare, target, kind, item.grid, item.factor, origin)


def _repeated(columns: Sequence[Sequence[Value]]) -> str:
    """Return the first point of a factor that stands there before, 1 and 1.0 being the same; nothing if none does."""
    seen = set()
    for point in zip(*columns, strict=True):
        key = tuple(grids.as_text(value) if isinstance(value, str | bool | list | dict) else value for value in point)
        if key in seen:
            return ",".join(map(grids.as_text, point))
        seen.add(key)
    return ""


def _of_numbers(grid: Grid) -> bool:
    """Say whether a grid is of numbers; only a written list, which is short, can hold anything else."""
    return grid.length > MAX_VALUES or all(type(value) in (int, float) for value in grid.values())


def _target(name: str, scalars: Mapping[str, str]) -> tuple[str, Literal["parameter", "key"]]:
    force, colon, bare = name.partition(":")
    if not colon:
        force, bare = "", name
    elif force not in ("param", "key"):
        raise SpecError(f"'{shown(force)}:' is neither 'param:' nor 'key:'")
    if force != "key" and bare in scalars:
        return scalars[bare], "parameter"
    if force == "param":
        raise SpecError(f"the model has no such parameter. {nearest(bare, scalars)}")
    try:
        target = resolve(bare)
    except SpecError as error:
        hint = nearest(bare, scalars)
        if force == "" and (hint.startswith("Did") or (scalars and "Did you mean" not in str(error))):
            raise SpecError(f"neither a parameter of the model nor a key of the spec. {hint}") from None
        raise
    if target.startswith(("sweep.", "compare.")):
        raise SpecError(f"a single run does not read the key {shown(target)}, so that no value of it changes a run")
    return target, "key"


def scalar_names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Return every scalar of a model by the names it answers to; ``w`` and ``b`` too for one input and one output."""
    names: dict[str, str] = {}
    for parameter, shape in shapes.items():
        if prod(shape) > sizes.MAX_GRID:
            continue
        for index in np.ndindex(shape):
            name = f"{parameter}[{','.join(map(str, index))}]" if index else parameter
            names[name] = name
    if set(shapes) <= {"weight", "bias"} and shapes.get("weight") == (1, 1):
        names["w"] = "weight[0,0]"
        if "bias" in shapes:
            names["b"] = "bias[0]"
    return names


def points(found: Sequence[Axis]) -> int:
    """Return how many points the product of the axes has, without making them."""
    return prod({axis.factor: axis.grid.length for axis in found}.values())


def bounded(count: int, limit: int, option: str, what: str = "points") -> None:
    """Refuse more points or runs than the limit."""
    if count > limit:
        raise SpecError(f"{count:,} {what} are more than {limit:,}. {option} raises it")


def product_of(found: Sequence[Axis]) -> Iterator[tuple[Value, ...]]:
    """Yield each point's values in the order of the axes: the product of the factors, the last one fastest.

    >>> a, b, c = (grids.parse(text) for text in ("1,2", "3,4", "5,6"))
    >>> zipped = [Axis("a", "a", "key", a), Axis("b", "b", "key", b, 1), Axis("c", "c", "key", c, 1)]
    >>> list(product_of(zipped))
    [(1, 3, 5), (1, 4, 6), (2, 3, 5), (2, 4, 6)]
    """
    factors = [
        list(zip(*(axis.grid.values() for axis in group), strict=True))
        for _, group in groupby(found, lambda axis: axis.factor)
    ]
    for parts in product(*factors):
        yield tuple(chain.from_iterable(parts))


def grid_points(found: Sequence[Axis]) -> NDArray[np.float64]:
    """Return the points of axes of numbers as an array [R, k], a column per axis, in the order of `product_of`."""
    if len(found) == 1:
        return found[0].grid.array()[:, None]
    lengths = {axis.factor: axis.grid.length for axis in found}
    if len(lengths) == 1:
        return np.stack([axis.grid.array() for axis in found], axis=1)
    at = dict(zip(lengths, np.unravel_index(np.arange(points(found)), tuple(lengths.values())), strict=True))
    columns = [axis.grid.array()[at[axis.factor]] for axis in found]
    return np.stack(columns, axis=1)


def along(found: Sequence[Axis]) -> list[Trial]:
    """Return the runs of the product of key axes, the last fastest."""
    return [_trial_at(found, values) for values in product_of(found)]


def with_each_value(found: Sequence[Axis], most: int) -> list[Trial]:
    """Return runs at the values of key axes, up to so many of each: a diagonal of their product.

    >>> a, b = grids.parse("1"), grids.parse("2,3")
    >>> [trial.label for trial in with_each_value([Axis("a", "a", "key", a), Axis("b", "b", "key", b, 1)], 10)]
    ['a=1,b=2', 'a=1,b=3']
    """
    columns = [axis.grid.values()[:most] for axis in found]
    longest = max(map(len, columns))
    return [_trial_at(found, [column[min(k, len(column) - 1)] for column in columns]) for k in range(longest)]


def _trial_at(found: Sequence[Axis], values: Sequence[Value]) -> Trial:
    """Return the run at one value of each key axis."""
    return Trial(
        ",".join(f"{axis.name}={grids.as_text(value)}" for axis, value in zip(found, values, strict=True)),
        tuple(grids.as_text(value) if value is None or isinstance(value, list | dict) else value for value in values),
        tuple((axis.target, value) for axis, value in zip(found, values, strict=True)),
        {axis.target: axis.origin for axis in found if axis.origin is not None} or NO_ORIGINS,
    )
