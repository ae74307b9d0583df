"""Which runs train together as one fleet, and how many at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from gdcli.engine.device import resolve_device
from gdcli.engine.evaluation import unit_of
from gdcli.engine.kernels.elementwise import WIDTH
from gdcli.engine.layers import flattened
from gdcli.engine.start_values import hashable
from gdcli.engine.tracing import traced
from gdcli.errors import SpecError
from gdcli.spec.class_weights import weights_of
from gdcli.spec.load import Loaded
from gdcli.spec.sections import RunSpec
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import Chain, Objective, Stack, all_layers, chain_of
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.torch_layers import unmapped

CHUNK_SCALARS = 2**18
"""Numbers that one step of a chunk touches: they stay in the processor's cache."""

STACKED_SCALARS = 2**22
"""The same of torch's own layers, whose operations are far larger than what calling them takes."""
FLEETS, FEWEST = 4, 4
"""Torch's layers train in a multiple of so many fleets, which so many cores share evenly, of so many runs at least."""

SWITCHES = ("momentum", "weight_decay")
"""Settings whose being zero makes another rule of it."""

ASIDE = {"document", "sweep", "compare"}
"""Sections of a spec that no training depends on."""

OF_EACH_RUN = {"settings", "data", "model", "optimizer"}
"""Sections of which some entries may differ from run to run; those entries are taken out one by one below."""


WHOLE = tuple(part.name for part in fields(RunSpec) if part.name not in ASIDE | OF_EACH_RUN)
"""Sections that the runs of a fleet have in common as they are."""

MOST_SEEN = 100
Seen = dict[tuple[int, ...], tuple[tuple[Any, ...], tuple[Hashable, ...]]]
"""By the identities of sections: the sections, which so are not freed, and what they are compared by."""


def is_stacked(loaded: Loaded) -> bool:
    """Say whether a spec has torch's own layers, which train in fleets only where that is asked for."""
    return isinstance(loaded.architecture, Stack) and chain_of(loaded.architecture) is None


def why_alone(loaded: Loaded, *, vmapped: bool = False) -> str:
    """Return why a spec cannot be part of a fleet, one clause; nothing if it can. ``vmapped``: torch's layers may."""
    spec, model = loaded.spec, loaded.architecture
    if spec.settings.epochs == 0:
        return "there are no updates"
    if spec.settings.watch is not None:
        return "watch records gradients at the values of one run"
    if spec.stop.max_seconds is not None:
        return "stop.max_seconds is about one run's time"
    if _follows_loss(spec):
        return "reduce_on_plateau follows each run's own loss"
    if spec.settings.engine == "autograd" and isinstance(model, Chain):
        return "engine: autograd is for one run"
    if isinstance(model, Stack) and is_stacked(loaded):
        # the runs lie without gaps: where one lies decides how its products and its vectors' ends are rounded
        if not vmapped:
            return ROUNDING
        if why := _why_not_stacked(loaded, model):
            return why
    if isinstance(model, Chain) and not model.layers:
        return "there are no parameters"
    if own := seeing_one_run(loaded):
        return f"the plugin's {own} is written for one run"
    return ""


ROUNDING = "torch's own layers round by the runs beside them"


def _why_not_stacked(loaded: Loaded, model: Stack) -> str:
    if model.own is not None:
        return f"the plugin's {model.own.name} is written for one run"
    if model.draws and not _is_on_cpu(loaded.spec):
        return "dropout draws its numbers on the device"
    return next(filter(None, (unmapped(each.layer, each.arguments) for each in all_layers(model.layers))), "")


def _is_on_cpu(spec: RunSpec) -> bool:
    try:
        return resolve_device(spec).type == "cpu"
    except SpecError:  # told when it is built
        return True


def seeing_one_run(loaded: Loaded) -> str:
    """Return the loss, the optimizer or the activation of a plugin that sees one run at a time; nothing for none."""
    spec, model = loaded.spec, loaded.architecture
    used: list[tuple[Mapping[str, Any], str]] = [(LOSSES, spec.loss.name)] if spec.loss is not None else []
    used += [(OPTIMIZERS, spec.optimizer.name)] if spec.optimizer is not None else []
    used += [(ACTIVATIONS, layer.activation) for layer in model.layers] if isinstance(model, Chain) else []
    return next((name for table, name in used if getattr(table[name], "trains_alone", False)), "")


def _follows_loss(spec: RunSpec) -> bool:
    """Say whether a schedule is made of what a run's losses have been, alone or after a warm-up."""
    given = (spec.scheduler.base, *spec.scheduler.groups.values()) if spec.scheduler else ()
    after = ({"name": each.name, **(each.arguments.get("then") or {})} for each in given if each is not None)
    return any(each["name"] == "reduce_on_plateau" for each in after)


def structure(loaded: Loaded, seen: Seen | None = None) -> Hashable:
    """Return what the runs of a fleet have in common: everything that is not known to be a number of each run's own.

    Those are the optimizer's numbers, the seed, the start values and the data of the same shape. A key that is new to
    the spec is compared, and so keeps apart the runs that differ in it. Of many runs most sections are the same
    objects: they are compared by what was ``seen`` of them.
    """
    spec = loaded.spec
    assert spec.optimizer is not None
    parts = [getattr(spec, name) for name in WHOLE]
    alike = (*map(id, parts), id(spec.settings))
    seen = {} if seen is None else seen
    if alike not in seen:
        if len(seen) >= MOST_SEEN:
            seen.clear()
        settings = spec.settings.model_dump(exclude={"name", "description", "seed"})
        seen[alike] = (*parts, spec.settings), (*map(str, parts), hashable(settings))
    _, whole = seen[alike]
    groups = tuple((pattern, _shape_of(group)) for pattern, group in spec.optimizer.groups.items())
    optimizer = (spec.optimizer.name, _shape_of(spec.optimizer.arguments), groups)
    rows = None if loaded.training is None else (loaded.training.x.shape, loaded.training.y.shape)
    held_out = [None if part is None else part.x.shape for part in (loaded.validation, loaded.test)]
    # a list may make a bias one number for the whole layer
    lists = tuple((name, np.shape(value)) for name, value in spec.model.init.items() if isinstance(value, list))
    weights = None if spec.loss is None else hashable(weights_of(spec.loss, loaded.training))  # balanced by its rows
    in_units = unit_of(loaded) is not None  # then each run has the loss in its targets' units too
    model = _model(loaded), spec.model.freeze, lists
    return (*whole, *model, optimizer, rows, *held_out, weights, in_units)


def _model(loaded: Loaded) -> Hashable:
    model = loaded.architecture
    if isinstance(model, Chain):
        return model
    arguments = {key: value for key, value in loaded.spec.model.arguments.items() if key != "start"}
    order = tuple(model.start) if isinstance(model, Objective) else ()
    return (loaded.spec.model.name, hashable(arguments), order)


def _shape_of(settings: Mapping[str, Any]) -> Hashable:
    """Return an optimizer's settings without their numbers, but with the zeros that are switches."""
    return tuple((name, _kind_of(name, value)) for name, value in settings.items())


def _kind_of(name: str, value: Any) -> Hashable:
    if type(value) in (int, float):
        return "zero" if name in SWITCHES and value == 0 else "number"
    if isinstance(value, list | tuple):
        return tuple(_kind_of("", entry) for entry in value)
    return hashable(value)


def chunk_of(loaded: Loaded) -> int:
    """Return how many runs of a structure are trained at once: what a step touches stays in cache."""
    model = chain_of(loaded.architecture) or loaded.architecture
    if isinstance(model, Stack):
        return _most_stacked(loaded)
    scalars = sum(int(np.prod(shape)) for shape in model.shapes.values())
    units = sum(layer.outputs + layer.inputs for layer in model.layers) if isinstance(model, Chain) else 1
    rows = loaded.spec.batch.rows(loaded.samples) if loaded.samples else 1
    return max(WIDTH, CHUNK_SCALARS // (4 * scalars + 3 * rows * units) // WIDTH * WIDTH)


def _most_stacked(loaded: Loaded) -> int:
    try:
        layers = [*flattened(traced(loaded))]
    except SpecError:  # told when it is built
        return FEWEST
    scalars = sum(each.parameters for each in layers)
    units = sum(int(np.prod(each.output)) for each in layers)
    return max(2, STACKED_SCALARS // (4 * scalars + 3 * loaded.spec.batch.rows(loaded.samples) * units + 1))


def stacked_sizes(loaded: Loaded, runs: int) -> list[int]:
    """Return how many runs of torch's layers each of their fleets has: the same wherever and by whatever they train.

    >>> sizes_of(64, 15), sizes_of(10, 15), sizes_of(5, 15), sizes_of(9, 2)
    ([8, 8, 8, 8, 8, 8, 8, 8], [5, 5], [5], [2, 2, 2, 2, 1])
    """
    return sizes_of(runs, chunk_of(loaded))


def sizes_of(runs: int, most: int) -> list[int]:
    """Return runs in fleets of about one size, of ``most`` at most."""
    needed = -(-runs // most)
    fleets = max(needed, min(-(-needed // FLEETS) * FLEETS, runs // FEWEST))
    size, more = divmod(runs, fleets)
    return [size + 1] * more + [size] * (fleets - more)
