"""Each parameter's start value, as a bare torch script with the same seed draws it, then what the spec says of it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gdcli.engine import own_module
from gdcli.engine.layers import assembled, default_dtype, first_line, through
from gdcli.engine.tracing import traced
from gdcli.engine.watched import watched_values
from gdcli.errors import SpecError
from gdcli.spec import expected_names
from gdcli.spec.load import Loaded
from gdcli.spec.models import match, name_problems
from gdcli.spec.sections import RunSpec
from gdcli.zoo.models import Affine, Chain, Objective, Stack
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.origins import blamed
from gdcli.zoo.weight_files import Weights


def start_keys(members: Iterable[Loaded]) -> Iterator[Hashable]:
    """Yield what the start values of runs of one structure follow from: the same for runs that begin alike."""
    known: dict[int, Hashable] = {}  # runs of a sweep have the same section, as an object, where it does not change
    for loaded in members:
        model, init = loaded.architecture, loaded.spec.model.init
        start = tuple(model.start.items()) if isinstance(model, Objective) else None
        if id(init) not in known:
            known[id(init)] = hashable(init)
        yield loaded.spec.settings.seed, known[id(init)], start, loaded.weights


def hashable(value: Any) -> Hashable:
    """Return plain data as something that a dict can have for its key."""
    if isinstance(value, Mapping):
        return tuple((key, hashable(item)) for key, item in value.items())
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value


def start_values(loaded: Loaded, dtype: torch.dtype) -> tuple[dict[str, Tensor], torch.nn.Module | None]:
    """Return each parameter's start value in the model's order, and torch's module of a sequential model.

    ``torch.manual_seed(seed)``, then the layers are built in order, so that a bare torch script has the same weights;
    then ``init`` in its order, with the same generator. Raises SpecError for torch layers that do not fit.
    """
    torch.manual_seed(loaded.spec.settings.seed)
    model, module = loaded.architecture, None
    if isinstance(model, Objective):
        values = {name: torch.tensor(float(value), dtype=dtype) for name, value in model.start.items()}
    elif isinstance(model, Chain):
        values = {}
        for layer in model.layers:
            built = torch.nn.Linear(layer.inputs, layer.outputs, bias=layer.bias, dtype=dtype)
            values.update({f"{layer.name}{name}": p.detach() for name, p in built.named_parameters()})
    else:
        module = _module(loaded, model, dtype)
        values = {name: parameter.detach() for name, parameter in module.named_parameters()}
        shapes = {name: tuple(value.shape) for name, value in values.items()}
        # the names of torch's layers are known only now
        if problems := [*name_problems(loaded.spec, shapes), *expected_names.problems(loaded, shapes)]:
            raise SpecError(problems)
    if loaded.weights is not None:
        _put(loaded, loaded.weights, values, module)
    for pattern, value in loaded.spec.model.init.items():
        for name in match(pattern, values):
            values[name] = _initialised(values[name], value)
    return values, module


def _put(loaded: Loaded, weights: Weights, values: dict[str, Tensor], module: torch.nn.Module | None) -> None:
    """Put the tensors of `model.from` in place of what was drawn. Raises SpecError for those of another model."""
    buffers = dict(module.named_buffers()) if module is not None else {}
    wanted = {name: (tensor.numpy().dtype, tuple(tensor.shape)) for name, tensor in (values | buffers).items()}
    biases = loaded.architecture.biases if isinstance(loaded.architecture, Chain) else ()
    try:
        arrays = weights.read(wanted, biases)
    except ArgumentError as error:
        raise SpecError(loaded.spec.problem(("model", "from"), error.message, error.hint)) from None
    for name in values:
        values[name] = torch.from_numpy(arrays[name])
    for name, buffer in buffers.items():
        buffer.copy_(torch.from_numpy(arrays[name]))


def with_layers(loaded: Loaded) -> Loaded:
    """Return a spec whose layers of torch have been built and tried, if it has any. Raises SpecError."""
    if not isinstance(loaded.architecture, Stack):
        return loaded
    values, _ = start_values(loaded, getattr(torch, loaded.spec.settings.dtype))
    return replace(loaded, layer_shapes={name: tuple(value.shape) for name, value in values.items()})


def bias_entries(loaded: Loaded, layer: Affine) -> int:
    """Return how many entries a layer's bias has: 0 without one, 1 where the spec's list of one number is for all."""
    shapes = loaded.shapes if isinstance(loaded.architecture, Chain) else layer.shapes  # torch's own share none
    assert shapes is not None
    return shapes.get(f"{layer.name}bias", (0,))[0]


def _module(loaded: Loaded, model: Stack, dtype: torch.dtype) -> torch.nn.Module:
    """Build torch's layers; first without memory, to learn their sizes."""
    layers = traced(loaded)
    torch.manual_seed(loaded.spec.settings.seed)
    if model.own is not None:
        module = own_module.made(loaded.spec, model.own)
        _dry_run(loaded, model, module, dtype)
        return module
    with default_dtype(dtype):
        module = assembled(loaded.spec, layers)
        _dry_run(loaded, model, module, dtype)
    return module


def _dry_run(loaded: Loaded, model: Stack, module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Send rows through the layers, so that what does not fit is told by the layer's own place."""
    assert loaded.training is not None
    spec, table = loaded.spec, loaded.training
    x = torch.as_tensor(table.x[:2], dtype=dtype).reshape(-1, *model.shape)
    module.eval()
    if model.own is None:
        through(spec, model.layers, module, x, "does not fit")
    else:
        with torch.no_grad():
            model.own.call(module, x)
    watched_values(loaded, module)
    if isinstance(spec.print.predict, int | float | list):
        _try_prediction(loaded, module, dtype)
    module.train()
    if model.own is not None:
        return
    if spec.settings.epochs and _smallest_batch(spec, loaded.samples) == 1:  # batch norms take no single row
        with torch.random.fork_rng([]):  # of dropout
            alone = spec.batch.pass_rows(loaded.samples) == 1
            what = f"takes no batch of one row, which {'each is' if alone else 'an epoch ends with'}"
            hint = "Set batch: full, or a larger batch.size" if alone else "batch.drop_last: true leaves it out"
            hint = hint if loaded.samples > 1 else ""
            through(spec, model.layers, copy.deepcopy(module), x[:1], what, hint)


def _try_prediction(loaded: Loaded, module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Refuse a row to predict that the layers do not take: a number that an embedding has not."""
    asked = loaded.spec.print.predict
    row = loaded.prepared(np.array([asked if isinstance(asked, list) else [asked]], np.float64))
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            module(torch.as_tensor(row, dtype=dtype))
    except Exception as error:  # whatever torch's layers raise
        if (of_plugin := blamed(error)) is not None:
            raise of_plugin from None
        what = f"the layers do not take it: {first_line(error)}"
        raise SpecError(loaded.spec.problem(("print", "predict"), what)) from None


def _smallest_batch(spec: RunSpec, samples: int) -> int:
    rows = spec.batch.rows(samples)
    left = 0 if spec.batch.drop_last else samples % rows  # of the last step, which may be cut short
    each = spec.batch.pass_rows(samples)
    return min(step % each or each for step in (rows, left or rows))


def _initialised(tensor: Tensor, value: Any) -> Tensor:
    if isinstance(value, list):
        return torch.tensor(value, dtype=tensor.dtype)
    tensor = tensor.clone()
    if isinstance(value, str):
        getattr(torch.nn.init, f"{value}_")(tensor)
    elif isinstance(value, dict):
        ((name, (first, second)),) = value.items()
        getattr(torch.nn.init, f"{name}_")(tensor, first, second)
    else:
        tensor.fill_(value)
    return tensor
