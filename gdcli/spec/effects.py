"""Keys that were given and do nothing: an error that says when they have an effect.

A key at its default is no question. What another command reads, or another number of epochs, has an effect there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from gdcli.errors import SpecError
from gdcli.spec.sections import Batch, Ingredient, Recording, RunSpec, problems_at
from gdcli.spec.signature import Complaint, Path, arguments_model
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.data_files import TEXT_FILES
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import MODELS, mlp
from gdcli.zoo.naming import Needs
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.schedulers import SCHEDULERS


def require_effects(spec: RunSpec) -> None:
    """Raise SpecError for keys without effect."""
    if found := list(without_effect(spec)):
        raise SpecError(problems_at(spec.document, found))


def idle_in_all(specs: Sequence[RunSpec]) -> Iterator[tuple[int, Complaint]]:
    """Yield the keys without effect in any of the specs that have the same value there, each once, with a spec's index.

    A sweep over layers has an activation for those with a hidden one.
    """
    idle = [{complaint.path: complaint for complaint in without_effect(spec)} for spec in specs]
    for path in {path: None for complaints in idle for path in complaints}:
        given = [_given(spec, path) for spec in specs]
        active = {value for value, complaints in zip(given, idle, strict=True) if path not in complaints}
        without = [k for k, complaints in enumerate(idle) if path in complaints and given[k] not in active]
        yield from ((k, idle[k][path]) for k in without[:1])


def _given(spec: RunSpec, path: Path) -> str:
    node = spec.document.find(path)
    return "" if node is None else repr(node.plain())


def without_effect(spec: RunSpec) -> Iterator[Complaint]:
    """Yield the keys of a spec that are not at their defaults and change nothing."""
    for path, reason in _without_effect(spec):
        yield Complaint(path, f"has no effect: {reason}", at_key=True)


def _without_effect(spec: RunSpec) -> Iterator[tuple[Path, str]]:
    for path, table, item in _ingredients(spec):
        yield from _unneeded(path, table[item.name], item.arguments)
    yield from _optimizer(spec)
    yield from _data(spec)
    given = spec.model.arguments
    if spec.model.name == "mlp" and len(given["layers"]) == 2 and given["activation"] != _default(mlp, "activation"):
        yield ("model", "activation"), "it is for hidden layers, and there is none"
    yield from _batch(("batch",), spec.batch)
    for index, value in enumerate(spec.compare.batches if spec.compare else ()):
        if isinstance(value, dict):
            yield from _batch(("compare", "batches", index), Batch.model_validate(value))
    yield from _record(spec)
    if spec.clip.is_on and spec.model.name == "identity":
        yield ("clip",), "it is for gradients of parameters, and the model identity has none"
    for key in ("metric", "min_delta", "restore") if spec.stop.patience is None else ():
        if getattr(spec.stop, key) != type(spec.stop).model_fields[key].default:
            yield ("stop", key), "it is for patience"


def _ingredients(spec: RunSpec) -> Iterator[tuple[Path, Mapping[str, Callable[..., Any]], Ingredient]]:
    yield ("model",), MODELS, spec.model
    if spec.loss is not None:
        yield ("loss",), LOSSES, spec.loss
    if spec.data is not None and spec.data.source == "generate":
        rest = dict(spec.data.arguments)
        yield ("data", "generate"), GENERATORS, Ingredient(rest.pop("kind"), rest)
    if spec.scheduler is not None:
        if spec.scheduler.base is not None:
            yield ("scheduler",), SCHEDULERS, spec.scheduler.base
        for pattern, item in spec.scheduler.groups.items():
            yield ("scheduler", "groups", pattern), SCHEDULERS, item
    for label, given in spec.compare.optimizers.items() if spec.compare else ():
        rest = {key: value for key, value in given.items() if key not in ("name", "groups")}
        yield ("compare", "optimizers", label), OPTIMIZERS, Ingredient(given.get("name", label), rest)


def _unneeded(path: Path, function: Callable[..., Any], given: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield the settings that their function marks as needing another one, where that is zero."""
    for key, needed in _needs(function).items():
        value, other = (given.get(name, _default(function, name)) for name in (key, needed))
        if value != _default(function, key) and not other:
            yield (*path, key), f"it is for {needed} other than 0"


def _default(function: Callable[..., Any], key: str) -> Any:
    return arguments_model(function).model_fields[key].default


@cache
def _needs(function: Callable[..., Any]) -> dict[str, str]:
    fields = arguments_model(function).model_fields
    return {key: note.setting for key, field in fields.items() for note in field.metadata if isinstance(note, Needs)}


def _optimizer(spec: RunSpec) -> Iterator[tuple[Path, str]]:
    """Yield what neither the parameters outside of groups nor those of any group make use of."""
    if spec.optimizer is None:
        return
    function, values = OPTIMIZERS[spec.optimizer.name], spec.optimizer.arguments
    unneeded = [_unneeded((), function, {**values, **given}) for given in ({}, *spec.optimizer.groups.values())]
    idle = [dict(each) for each in unneeded]
    for key, reason in idle[0].items():
        if all(key in each for each in idle):
            yield ("optimizer", *key), reason
    for (pattern, given), each in zip(spec.optimizer.groups.items(), idle[1:], strict=True):
        for key, reason in each.items():
            if key[0] in given:
                yield ("optimizer", "groups", pattern, *key), reason


def _data(spec: RunSpec) -> Iterator[tuple[Path, str]]:
    if spec.data is None:
        return
    if spec.data.seed is not None and not spec.draws_data:
        yield ("data", "seed"), "it is for data that are drawn, or split by validation"
    if spec.data.shape is not None and spec.model.name in ("linear", "mlp", "identity"):
        yield ("data", "shape"), f"the model {spec.model.name} takes rows of numbers; it is for sequential"
    given = spec.data.arguments
    if spec.data.source == "file" and not given["file"].lower().endswith(TEXT_FILES):
        for key in ("header", "separator", "decimal"):
            if given[key] is not None:
                yield ("data", key), "it is for CSV files"
    if spec.data.stratify and not spec.data.held_out.draws:
        yield ("data", "stratify"), "it is for rows that are split by validation, test or folds"
    if spec.data.fold is not None and spec.data.folds is None:
        yield ("data", "fold"), "it is one of data.folds"


def _batch(path: Path, batch: Batch) -> Iterator[tuple[Path, str]]:
    for key in batch.without_effect():
        modes = "modes mini-batch and stochastic" if key == "accumulate" else "mode mini-batch"
        yield (*path, key), f"it is for {modes}, and mode is {batch.mode}"


def _record(spec: RunSpec) -> Iterator[tuple[Path, str]]:
    record = spec.record
    if spec.model.name == "identity":
        for key in ("every", "format", "parameters", "layers"):
            if key in ("every", "format") and spec.settings.watch is not None:
                continue
            if getattr(record, key) != Recording.model_fields[key].default:
                yield ("record", key), "it is for parameters, and the model identity has none"
    elif record.gradients == "none" and spec.settings.watch is None:
        if record.format != "csv":
            yield ("record", "format"), "it is for gradients, and record.gradients is none"
        if record.every > 1 and not (record.parameters or record.layers):
            yield ("record", "every"), "it is for gradients, and record.gradients is none"
