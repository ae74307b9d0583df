"""What a sweep or a comparison will run: axes, grids and labels, worked out without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, Literal

import numpy as np

from gdcli.errors import Place, SpecError, nearest
from gdcli.spec import grids, limits
from gdcli.spec.document import MAX_VALUES, Node, shown
from gdcli.spec.grids import Grid
from gdcli.spec.load import Loaded
from gdcli.spec.overrides import COMMAND_LINE, as_node, put, resolve, steps_of
from gdcli.spec.schema import RunSpec
from gdcli.zoo.models import Architecture, Stack
from gdcli.zoo.optimizers import OPTIMIZERS

HERE = Place(COMMAND_LINE, 1, 1)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a sweep: a scalar of the model, or a key of the spec."""

    name: str  # as asked for, and as it is printed
    target: str  # weight[0,0], or optimizer.lr
    kind: Literal["parameter", "key"]
    grid: Grid


def axes(loaded: Loaded, asked: Sequence[str]) -> list[Axis]:
    """Return the axes of ``NAME`` or ``NAME=GRID`` texts; without any, those of the spec's sweep block.

    A name is looked for among the model's parameters first, then among the keys of the spec; ``param:`` and ``key:``
    force it. Raises SpecError for an unknown name, a name without a grid, a repeated axis.
    """
    block: Mapping[str, Any] = loaded.spec.sweep.parameters if loaded.spec.sweep else {}
    if not asked and not block:
        raise SpecError("which parameter? Give --param NAME=GRID, or a sweep block in the spec")
    wanted: dict[str, Grid] = {}
    for text in asked or list(block):
        for name, grid in _named(text, block):
            if name in wanted:
                raise SpecError(f"--param {name} is given twice")
            wanted[name] = grid
    found: dict[str, Axis] = {}
    for name, grid in wanted.items():
        axis = Axis(name.partition(":")[2] or name, *_target(name, loaded), grid)
        if axis.target in found:
            raise SpecError(f"--param {axis.name} and --param {found[axis.target].name} are both {axis.target}")
        if axis.kind == "parameter" and not _of_numbers(grid):
            raise SpecError(f"--param {axis.name}: a parameter of the model takes numbers (got {shown(grid.text)})")
        found[axis.target] = axis
    return list(found.values())


def _of_numbers(grid: Grid) -> bool:
    """Say whether a grid is of numbers; only a written list, which is short, can hold anything else."""
    return grid.length > MAX_VALUES or all(type(value) in (int, float) for value in grid.values())


def _named(text: str, block: Mapping[str, Any]) -> list[tuple[str, Grid]]:
    if text.startswith("zip("):
        raise SpecError("a zip of several axes is not in this version")
    name, equals, grid = text.partition("=")
    try:
        if equals:
            return [(name, grids.parse(grid))]
        bare = name.partition(":")[2] or name
        if bare not in block:
            raise SpecError(f"needs a grid: --param '{name}=range(0, 4.1, 0.1)'")
        return [(name, grids.from_spec(block[bare]))]
    except SpecError as error:
        raise SpecError(f"--param {name}: {error}") from None


def _target(name: str, loaded: Loaded) -> tuple[str, Literal["parameter", "key"]]:
    force, colon, bare = name.partition(":")
    if not colon:
        force, bare = "", name
    elif force not in ("param", "key"):
        raise SpecError(f"--param {name}: '{force}:' is neither 'param:' nor 'key:'")
    scalars = scalar_names(loaded.architecture)
    if force != "key" and bare in scalars:
        return scalars[bare], "parameter"
    if force == "param":
        raise SpecError(f"--param {bare}: the model has no such parameter. {nearest(bare, scalars)}")
    try:
        return resolve(bare), "key"
    except SpecError as error:
        hint = nearest(bare, scalars)
        if force == "" and (hint.startswith("Did") or (scalars and "Did you mean" not in str(error))):
            what = f"neither a parameter of the model nor a key of the spec. {hint}"
            raise SpecError(f"--param {bare}: {what}") from None
        raise SpecError(f"--param {bare}: {error}") from None


def scalar_names(architecture: Architecture) -> dict[str, str]:
    """Return every scalar of a model by the names it answers to; ``w`` and ``b`` too for one input and one output."""
    if isinstance(architecture, Stack):
        return {}  # torch's own layers are named when they are built
    names: dict[str, str] = {}
    for parameter, shape in architecture.shapes.items():
        if prod(shape) > limits.MAX_GRID:
            continue
        for index in np.ndindex(shape):
            name = f"{parameter}[{','.join(map(str, index))}]" if index else parameter
            names[name] = name
    if set(architecture.shapes) <= {"weight", "bias"} and architecture.shapes.get("weight") == (1, 1):
        names["w"] = "weight[0,0]"
        if "bias" in architecture.shapes:
            names["b"] = "bias[0]"
    return names


def points(found: Sequence[Axis]) -> int:
    """Return how many points the product of the axes has, without making them."""
    return prod(axis.grid.length for axis in found)


def bounded(count: int, limit: int, option: str) -> None:
    """Refuse more points or runs than the limit."""
    if count > limit:
        raise SpecError(f"{count:,} points are more than {limit:,}. {option} raises it")


def along(document: Node, found: Sequence[Axis]) -> list[tuple[str, tuple[Any, ...], Node]]:
    """Return label, values and document of each point of the product of key axes."""
    planned = []
    for values in product(*(axis.grid.values() for axis in found)):
        changed = document
        for axis, value in zip(found, values, strict=True):
            changed = put(changed, steps_of(axis.target), as_node(value, HERE), HERE)
        label = ",".join(f"{axis.name}={value}" for axis, value in zip(found, values, strict=True))
        planned.append((label, values, changed))
    return planned


# --- comparisons ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of a comparison."""

    label: str
    spec: RunSpec
    lr_from: str  # given, spec, or torch's default


def optimizers(text: str, spec: RunSpec) -> dict[str, tuple[dict[str, Any], str]]:
    """Return settings and the lr's origin by label, from ``sgd,adam`` or ``momentum=sgd:lr=1:momentum=0.5``.

    A bare name takes the spec's compare entry of that label, else torch's defaults. Raises SpecError for a repeated
    label, an unknown optimizer or a setting that is not KEY=VALUE.
    """
    block = spec.compare.optimizers if spec.compare else {}
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for part in text.split(","):
        label, *settings = part.strip().split(":")
        label, equals, name = label.partition("=")
        if label in found:
            raise SpecError(
                f"--optimizers: the label '{label}' is given twice. A label of your own: {label}2={name or label}"
            )
        given = _settings(label, settings)
        if not equals and label in block:
            entry = {"name": label, **block[label], **given}
            origin = "given" if "lr" in given else "spec" if "lr" in block[label] else "default"
        else:
            entry = {"name": name or label, **given}
            origin = "given" if "lr" in given else "default"
        if entry["name"] not in OPTIMIZERS:
            raise SpecError(
                f"--optimizers: unknown optimizer '{entry['name']}'. {nearest(entry['name'], {*OPTIMIZERS, *block})}"
            )
        found[label] = (entry, origin)
    return found


def _settings(label: str, texts: Sequence[str]) -> dict[str, Any]:
    from gdcli.spec.document import read_value

    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise SpecError(f"--optimizers {label}: a setting is :KEY=VALUE (got '{text}')")
        try:
            settings[key] = read_value(value, COMMAND_LINE).plain()
        except SpecError as error:
            raise SpecError(f"--optimizers {label}: {key}: {error.problems[0].message}") from None
    return settings


def batches(text: str) -> dict[str, dict[str, Any]]:
    """Return batch settings by label, from ``full,stochastic,mini-batch:32``."""
    found: dict[str, dict[str, Any]] = {}
    for part in text.split(","):
        label = part.strip()
        mode, colon, size = label.partition(":")
        if label in found:
            raise SpecError(f"--batches: '{label}' is given twice")
        if mode not in ("full", "stochastic", "mini-batch"):
            raise SpecError(f"--batches: unknown mode '{mode}'. {nearest(mode, ('full', 'stochastic', 'mini-batch'))}")
        if colon and (mode != "mini-batch" or not size.isdecimal() or int(size) < 1):
            raise SpecError(f"--batches: '{label}' is not mini-batch:SIZE with a size of at least 1")
        found[label] = {"mode": mode, **({"size": int(size)} if colon else {})}
    return found


def contenders(
    document: Node, spec: RunSpec, by_optimizer: str | None, by_batch: str | None, parse: Callable[[Node], RunSpec]
) -> list[Contender]:
    """Return the rows of a comparison: the product of optimizers and batch modes, each a spec of its own.

    Without either option the spec's compare block gives them. Raises SpecError if that gives none.
    """
    block = spec.compare
    rows = optimizers(by_optimizer, spec) if by_optimizer is not None else {}
    cuts = batches(by_batch) if by_batch is not None else {}
    if by_optimizer is None and by_batch is None and block is not None:
        rows = optimizers(",".join(block.optimizers), spec) if block.optimizers else {}
        cuts = {_batch_label(value): _batch(value) for value in block.batches}
    elif by_optimizer is None and spec.optimizer is None and block is not None and block.optimizers:
        rows = optimizers(next(iter(block.optimizers)), spec)
    if not rows and not cuts:
        raise SpecError("what to compare? Give --optimizers sgd,adam or --batches full,stochastic, or a compare block")
    found = []
    for (label, row), (cut_label, cut) in product(rows.items() or [("", None)], cuts.items() or [("", None)]):
        changed = document
        if row is not None:
            place = HERE if by_optimizer is not None else _place_of(document, label)
            changed = put(changed, ["optimizer"], as_node(row[0], place), HERE)
        if cut is not None:
            changed = put(changed, ["batch"], as_node(cut, HERE), HERE)
        origin = row[1] if row is not None else "spec"
        found.append(Contender(" ".join(filter(None, (label, cut_label))), parse(changed), origin))
    return found


def _place_of(document: Node, label: str) -> Place:
    entry = document.find(("compare", "optimizers", label))
    return entry.place if entry is not None else HERE


def _batch(value: Any) -> dict[str, Any]:
    return {"mode": value} if isinstance(value, str) else dict(value)


def _batch_label(value: Any) -> str:
    entry = _batch(value)
    size = f":{entry['size']}" if "size" in entry else ""
    return f"{entry.get('mode', 'full')}{size}"


def loaded_as(loaded: Loaded, spec: RunSpec) -> Loaded:
    """Return the same data and model under another spec, which differs in optimizer or batch alone."""
    return replace(loaded, spec=spec)
