"""Each parameter's start value, as a bare torch script with the same seed draws it, then what the spec says of it."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gdcli.errors import SpecError
from gdcli.spec import sizes
from gdcli.spec.load import Loaded, require_activations
from gdcli.spec.models import match, name_problems
from gdcli.spec.sections import RunSpec
from gdcli.zoo.models import Affine, Chain, Objective, Stack, TorchLayer


def start_key(loaded: Loaded) -> Hashable:
    """Return what the start values of runs of one structure follow from: the same for runs that begin alike."""
    model = loaded.architecture
    start = tuple(model.start.items()) if isinstance(model, Objective) else None
    return loaded.spec.settings.seed, hashable(loaded.spec.model.init), start


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
        if problems := name_problems(loaded.spec, shapes):  # the names of torch's layers are known only now
            raise SpecError(problems)
    for pattern, value in loaded.spec.model.init.items():
        for name in match(pattern, values):
            values[name] = _initialised(values[name], value)
    return values, module


def with_layers(loaded: Loaded) -> Loaded:
    """Return a spec whose layers of torch have been built and tried, if it has any. Raises SpecError."""
    if not isinstance(loaded.architecture, Stack):
        return loaded
    values, _ = start_values(loaded, getattr(torch, loaded.spec.settings.dtype))
    return replace(loaded, layer_shapes={name: tuple(value.shape) for name, value in values.items()})


def bias_entries(loaded: Loaded, layer: Affine) -> int:
    """Return how many entries a layer's bias has: 0 without one, 1 where the spec's list of one number is for all."""
    name = f"{layer.name}bias"
    given = [value for pattern, value in loaded.spec.model.init.items() if match(pattern, {name: 0})]
    lists = [value for value in given if isinstance(value, list)]
    return (len(lists[-1]) if lists else layer.outputs) if layer.bias else 0


def _module(loaded: Loaded, model: Stack, dtype: torch.dtype) -> torch.nn.Module:
    """Build torch's layers; first without memory, to learn their size."""
    spec = loaded.spec
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            layers = [_layer(spec, layer) for layer in model.layers]
        size = sum(p.numel() for layer in layers for p in layer.parameters())
        if loaded.bounded and size > sizes.MAX_PARAMETERS:
            what = f"the model has {size:,} parameters, more than {sizes.MAX_PARAMETERS:,}"
            raise SpecError(spec.problem(("model", "layers"), what, sizes.RAISE))
        if loaded.bounded:
            _require_room(loaded, model, layers, dtype)
        torch.manual_seed(spec.settings.seed)
        module = torch.nn.Sequential()
        for layer in model.layers:
            module.add_module(layer.name, _layer(spec, layer))
        _dry_run(loaded, model, module, dtype)
    finally:
        torch.set_default_dtype(default)
    return module


def _require_room(loaded: Loaded, model: Stack, layers: Sequence[torch.nn.Module], dtype: torch.dtype) -> None:
    """Count what layers without memory make of a row without numbers. Raises SpecError for more than there may be."""
    assert loaded.training is not None
    x = torch.empty((1, *loaded.training.x.shape[1:]), dtype=dtype, device="meta")
    total = 0
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        for layer, part in zip(model.layers, layers, strict=True):
            try:
                x = part.eval()(x)
            except Exception:  # rows with numbers are refused by the same layer, which is told then
                return
            if not isinstance(x, Tensor):
                return
            total += x.numel()
            require_activations(loaded, ("model", *layer.path), x.numel(), total)


def _layer(spec: RunSpec, layer: TorchLayer) -> torch.nn.Module:
    kind: Callable[..., torch.nn.Module] = getattr(torch.nn, layer.layer)
    arguments = dict(layer.arguments)
    if layer.layer in ("Softmax", "LogSoftmax"):
        arguments.setdefault("dim", -1)  # torch guesses, and warns
    try:
        with warnings.catch_warnings(action="ignore"):
            return kind(**arguments)
    except Exception as error:  # torch's constructors assert, divide by zero and more
        text = first_line(error).replace(f"{layer.layer}.__init__() ", "")
        raise SpecError(spec.problem(("model", *layer.path), f"torch.nn.{layer.layer}: {text}")) from None


def _dry_run(loaded: Loaded, model: Stack, module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Send rows through the layers, so that what does not fit is told by the layer's own place."""
    assert loaded.training is not None
    spec, table = loaded.spec, loaded.training
    x = torch.as_tensor(table.x[:2], dtype=dtype)
    module.eval()
    x = _through(spec, model, module, x, "does not fit", _shape_hint(loaded, model))
    module.train()
    if spec.settings.epochs and _smallest_batch(spec, loaded.samples) == 1:  # batch norms take no single row
        with torch.random.fork_rng([]):  # of dropout
            what = "takes no batch of one row, which an epoch ends with"
            hint = "batch.drop_last: true leaves it out" if loaded.samples > 1 else ""
            _through(spec, model, copy.deepcopy(module), torch.as_tensor(table.x[:1], dtype=dtype), what, hint)
    wanted = (len(x), table.classes) if table.y.ndim == 1 else (len(x), table.y.shape[1])
    fits = x.ndim == 2 and (x.shape[1] >= wanted[1] if table.y.ndim == 1 else tuple(x.shape) == wanted)
    if not fits:
        last = len(model.layers) - 1
        what = f"the model's output has shape {[*x.shape[1:]]} a row, the data need [{wanted[1]}]"
        raise SpecError(spec.problem(("model", "layers", last), what))


def _shape_hint(loaded: Loaded, model: Stack) -> str:
    """Return how rows of numbers get the shape that a first convolution takes; nothing where that is not the matter."""
    width, first = loaded.features, model.layers[0].layer
    side = math.isqrt(width)
    if loaded.spec.data is None or loaded.spec.data.shape is not None or not first.startswith("Conv"):
        return ""
    square = f", such as [1, {side}, {side}]" if side * side == width and first == "Conv2d" else ""
    return f"data.shape gives the rows of {width} numbers the shape that it takes{square}"


def _through(spec: RunSpec, model: Stack, module: torch.nn.Module, x: Any, what: str, hint: str = "") -> Any:
    """Return the layers' output, without a graph. Raises SpecError with the place of a layer that refuses its input."""
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        for layer, part in zip(model.layers, module.children(), strict=True):
            path = ("model", *layer.path)
            try:
                x = part(x)
            except Exception as error:  # whatever torch's layers raise
                raise SpecError(spec.problem(path, f"{layer.layer} {what}: {first_line(error)}", hint)) from None
            if not isinstance(x, Tensor):
                given = type(x).__name__
                raise SpecError(spec.problem(path, f"{layer.layer} gives a {given} with these settings, no tensor"))
    return x


def _smallest_batch(spec: RunSpec, samples: int) -> int:
    rows = spec.batch.rows(samples)
    rest = 0 if spec.batch.drop_last else samples % rows
    return rest or rows


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, else its name."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


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
