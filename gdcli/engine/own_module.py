"""A plugin's module of torch: tried before a run, made with the run's seed, and filled with the weights of a record."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from gdcli.engine.layers import TracedLayer, default_dtype
from gdcli.engine.meta_device import on_meta
from gdcli.errors import SpecError
from gdcli.spec import class_weights, sizes
from gdcli.spec.load import Loaded
from gdcli.spec.sections import RunSpec
from gdcli.zoo.models import OwnModule, Stack, TorchLayer


def made(spec: RunSpec, own: OwnModule) -> torch.nn.Module:
    """Make the module, of the run's dtype, with torch's generator as it is. Raises PluginError."""
    with default_dtype(getattr(torch, spec.settings.dtype)):
        module: torch.nn.Module = own.make()
    return module


def empty(spec: RunSpec, own: OwnModule) -> torch.nn.Module:
    """Return the module without memory, or with it where it cannot be made without; torch's generator stays as it is.

    Raises PluginError.
    """
    with torch.random.fork_rng([]):
        try:
            with on_meta():
                return made(spec, own)
        except Exception:  # such as a number that is read out of a tensor, which has none
            return made(spec, own)


def traced(loaded: Loaded, own: OwnModule, shape: tuple[int, ...]) -> tuple[TracedLayer]:
    """Send two rows of zeros through the module, made for it, and return it as one layer.

    Raises SpecError for a module of too many parameters, and one whose output is not what the data need; PluginError.
    """
    spec = loaded.spec
    shapes = {name: tuple(each.shape) for name, each in empty(spec, own).named_parameters()}
    count = sum(map(prod, shapes.values()))
    if loaded.bounded and count > sizes.MAX_PARAMETERS:
        what = f"the model has {count:,} parameters, more than {sizes.MAX_PARAMETERS:,}"
        raise SpecError(spec.problem(("model",), what, sizes.RAISE))
    with torch.random.fork_rng([]), torch.no_grad():
        x = torch.zeros((2, *shape), dtype=getattr(torch, spec.settings.dtype))
        output = own.call(made(spec, own).eval(), x)
    if output.ndim == 0 or len(output) != 2:
        what = f"the model {own.name} gives {list(output.shape)} of 2 rows: it mixes them"
        raise SpecError(spec.problem(("model",), what))
    after, work = tuple(output.shape[1:]), sum(prod(each) for each in shapes.values() if len(each) > 1)
    if loaded.training is not None:
        _require_output(loaded, own, after)
    return (TracedLayer(TorchLayer("", own.name, {}, ()), "", {}, after, shapes, work),)


def _require_output(loaded: Loaded, own: OwnModule, shape: tuple[int, ...]) -> None:
    table = loaded.training
    assert table is not None
    classes = table.y.ndim == 1
    wanted = table.classes if classes else table.y.shape[1]
    if len(shape) != 1 or (shape[0] < wanted if classes else shape[0] != wanted):
        what = f"the output of {own.name} has shape {list(shape)} a row, the data need [{wanted}]"
        raise SpecError(loaded.spec.problem(("model",), what, own.hint))
    if found := [*class_weights.beyond(loaded.spec, shape[0])]:
        raise SpecError(found)


def tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name; of a parameter with several names the first one counts."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def filled(spec: RunSpec, model: Stack, values: Mapping[str, Tensor]) -> torch.nn.Module:
    """Return the module with these parameters and buffers, which have its names and shapes."""
    assert model.own is not None
    with torch.random.fork_rng([]):
        module = made(spec, model.own)
    with torch.no_grad():
        for name, tensor in tensors(module).items():
            tensor.copy_(values[name])
    return module


def places(module: torch.nn.Module) -> dict[str, list[tuple[torch.nn.Module, str]]]:
    """Return where each parameter is: the parts of a module that have it, and its name there. Shared ones have several.

    >>> one = torch.nn.Linear(2, 2)
    >>> both = torch.nn.Sequential(one, torch.nn.ReLU(), one)
    >>> {name: [attribute for _, attribute in found] for name, found in places(both).items()}
    {'0.weight': ['weight'], '0.bias': ['bias']}
    """
    first: dict[int, str] = {}
    found: dict[str, list[tuple[torch.nn.Module, str]]] = {}
    for part_name, part in module.named_modules():
        own: Any = part._parameters
        for attribute, parameter in own.items():
            if parameter is not None:
                name = first.setdefault(id(parameter), f"{part_name}.{attribute}".lstrip("."))
                found.setdefault(name, []).append((part, attribute))
    return found
