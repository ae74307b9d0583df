"""`watch`: the inputs and intermediate values of a network whose gradients a run records, by name.

Names are those of `explain`: ``x`` the inputs, ``h1`` the first hidden neuron, ``net_h1`` its weighted sum, ``o1`` an
output; without a number all of a layer: ``x``, ``h``, ``net_o``, and of several hidden layers ``h2``, whose neurons are
``h2_1``, ... A layer's own name stands for what it gives: ``linear1.output`` of an mlp is a weighted sum, as torch's
nn.Linear gives it, ``0.output``, or ``0``, the first layer of a sequential model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from gdcli.errors import Problem, nearest
from gdcli.spec import sizes
from gdcli.spec.scalars import shown
from gdcli.zoo.models import Architecture, Chain, Objective, Stack, TorchLayer, all_layers
from gdcli.zoo.torch_layers import INDEXED

if TYPE_CHECKING:
    from gdcli.spec.load import Loaded
    from gdcli.spec.sections import RunSpec

MAX_WATCHED = 1_000
"""Columns of a record's gradients that watched values may have, over all rows of a step."""

OUTPUT = ".output"
INPUT = "x"


@dataclass(frozen=True, slots=True)
class WatchedValue:
    """A value of each row of a step: where it is in the model, and what of it."""

    name: str
    place: tuple[int, bool] | str
    """Of a chain: after how many layers, and whether it is the weighted sum. Of torch's layers: one's name, or x."""
    shape: tuple[int, ...] = ()  # of a row; of a layer of torch's known once it has been built
    unit: int | None = None  # the one number of it that is watched; None: all


def is_watched(column: str, watch: Sequence[str] | None) -> bool:
    """Say whether a column of a record's gradients is of a watched value, and not of a parameter.

    >>> is_watched("h1[0]", ["x", "h1"]), is_watched("linear1.weight[0,0]", ["x"]), is_watched("x", None)
    (True, False, False)
    """
    return watch is not None and column.partition("[")[0] in watch


def step_rows(spec: RunSpec, samples: int) -> int:
    """Return the rows of a step; without training all of them."""
    return spec.batch.rows(samples) if spec.settings.epochs else samples


def values_of(loaded: Loaded) -> tuple[WatchedValue, ...]:
    """Return what a checked spec watches, in its order."""
    model = loaded.architecture
    found = (_find(name, model, loaded.row_shape) for name in loaded.spec.settings.watch or ())
    return tuple(value for value in found if value is not None)


def _find(name: str, model: Architecture, row: tuple[int, ...]) -> WatchedValue | None:
    if isinstance(model, Stack):
        return _of_stack(name, model, row)
    return _of_chain(name, model, prod(row)) if isinstance(model, Chain) else None


# --- chains -----------------------------------------------------------------------------------------------------------


def heads(model: Chain, features: int) -> dict[str, WatchedValue]:
    """Return the values of whole layers by name.

    >>> from gdcli.zoo.models import Affine
    >>> two = Chain((Affine("linear1.", 2, 3, True, "sigmoid"), Affine("linear2.", 3, 1, True, "none")))
    >>> {name: value.shape for name, value in heads(two, 2).items()}
    {'x': (2,), 'h': (3,), 'net_h': (3,), 'linear1.output': (3,), 'o': (1,), 'linear2.output': (1,)}
    """
    found, last = {INPUT: ((0, False), features)}, len(model.layers)
    if not last:
        found["o"] = found[INPUT]
    for k, layer in enumerate(model.layers, 1):
        head = "o" if k == last else "h" if last == 2 else f"h{k}"
        has_net = layer.activation != "none"
        found[head] = (k, False), layer.outputs
        if has_net:
            found[f"net_{head}"] = (k, True), layer.outputs
        if layer.name:
            found[f"{layer.name}output"] = (k, has_net), layer.outputs
    return {name: WatchedValue(name, place, (width,)) for name, (place, width) in found.items()}


def _unit_names(head: str) -> str:
    """Return what the names of a layer's single numbers begin with; nothing where they have none."""
    if head.endswith(OUTPUT):
        return ""
    return f"{head}_" if head[-1].isdigit() else head


def _of_chain(name: str, model: Chain, features: int) -> WatchedValue | None:
    known = heads(model, features)
    if name in known:
        return known[name]
    for head, value in known.items():
        start = _unit_names(head)
        number = name.removeprefix(start) if start and name.startswith(start) else ""
        last = value.shape[0]
        is_short = number.isascii() and number.isdigit() and number[0] != "0" and len(number) <= len(str(last))
        if is_short and int(number) <= last:
            return replace(value, name=name, shape=(), unit=int(number) - 1)
    return None


# --- torch's layers ---------------------------------------------------------------------------------------------------


def _of_stack(name: str, model: Stack, row: tuple[int, ...]) -> WatchedValue | None:
    if name == INPUT:
        return WatchedValue(name, INPUT, row)
    layer = name.removesuffix(OUTPUT)
    if model.own is not None or layer in _layer_names(model.layers):  # a plugin's module names its parts itself
        return WatchedValue(name, f"{layer}{OUTPUT}")
    return None


def _layer_names(layers: Sequence[TorchLayer], prefix: str = "") -> Iterator[str]:
    for layer in layers:
        yield f"{prefix}{layer.name}"
        yield from _layer_names(layer.inside, f"{prefix}{layer.name}.")


# --- problems ---------------------------------------------------------------------------------------------------------


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield what cannot be watched: unknown names, names twice, too many columns."""
    spec, model, watch = loaded.spec, loaded.architecture, loaded.spec.settings.watch
    if watch is None:
        return
    if isinstance(model, Objective):
        yield spec.problem(("watch",), *_OF_OBJECTIVE)
        return
    for index, name in enumerate(watch):
        path = ("watch", index)
        if name in watch[:index]:
            yield spec.problem(path, f"'{name}' stands there twice")
        elif found := wrong(name, loaded):
            yield spec.problem(path, *found)
    if loaded.bounded and isinstance(model, Chain):
        yield from too_many_columns(loaded, values_of(loaded))


_OF_OBJECTIVE = (
    "an objective has no inputs and no layers",
    "Its variables are in gradients.csv, and explain shows the derivative at each part of the expression",
)


def wrong(name: str, loaded: Loaded) -> tuple[str, str] | None:
    """Return why a model has no gradient at a value of this name, and a hint; None where it has."""
    model = loaded.architecture
    if isinstance(model, Objective):
        return _OF_OBJECTIVE
    if name == INPUT and isinstance(model, Stack) and _takes_indices(model):
        return "x are numbers of an embedding's table: there is no gradient at them", ""
    if _find(name, model, loaded.row_shape) is None:
        return f"there is no value of this name (got '{shown(name)}')", _hint(name, loaded)
    return None


def _takes_indices(model: Stack) -> bool:
    return any(layer.layer in INDEXED for layer in all_layers(model.layers))


def _hint(name: str, loaded: Loaded) -> str:
    model = loaded.architecture
    if name.partition("[")[0] in (loaded.shapes or {}):
        return "It is a parameter, whose gradient is recorded in any case"
    if isinstance(model, Stack):
        layers = list(_layer_names(model.layers))
        ends = [f"{layer}{OUTPUT}" for layer in layers] if OUTPUT in name else layers
        return nearest(name, [INPUT, *ends])
    assert isinstance(model, Chain)
    known = heads(model, prod(loaded.row_shape))
    names = list(known)
    for head, value in known.items():
        start, last = _unit_names(head), value.shape[0]
        if start and name.startswith(start) and name.removeprefix(start).isdigit():
            return f"{head} has {last}: {start}1" + (f" to {start}{last}" if last > 1 else "")
        names += [f"{start}1", f"{start}{last}"] if start and last else []
    return nearest(name, names)


def too_many_columns(loaded: Loaded, values: Sequence[WatchedValue]) -> Iterator[Problem]:
    """Yield a problem where watched values, whose shapes are known, would have too many columns."""
    spec, rows = loaded.spec, step_rows(loaded.spec, loaded.samples)
    count = columns(values, rows)
    if count > MAX_WATCHED:
        each = f"{count // rows:,} numbers of each of {rows:,} rows" if rows > 1 else f"{count:,} numbers"
        what = f"{each} would be {count:,} columns of gradients.csv, more than {MAX_WATCHED:,}"
        hint = "Watch fewer values, or take fewer rows: batch=stochastic" if rows > 1 else "Watch fewer values"
        yield spec.problem(("watch",), f"{what}", f"{hint}; {sizes.RAISE}")


def columns(values: Sequence[WatchedValue], rows: int) -> int:
    """Return how many columns values have."""
    return rows * sum(prod(value.shape) for value in values)


def shaped(values: Sequence[WatchedValue], shapes: Mapping[str, tuple[int, ...]]) -> tuple[WatchedValue, ...]:
    """Return values of torch's layers with the shapes of a row, by place."""
    return tuple(replace(value, shape=shapes[str(value.place)]) for value in values)
