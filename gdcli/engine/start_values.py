"""Each parameter's start value, as a bare torch script with the same seed draws it, then what the spec says of it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from gdcli.errors import SpecError
from gdcli.spec import sizes
from gdcli.spec.load import Loaded, require_activations
from gdcli.spec.models import match, name_problems, start_shapes
from gdcli.spec.sections import RunSpec
from gdcli.zoo.models import Affine, Chain, Objective, Stack, TorchLayer

FEW = 10**7
"""Numbers that a layer may give of the rows it is tried with before it is worth a second to count them first."""


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
    return start_shapes(layer.shapes, loaded.spec.model.init).get(f"{layer.name}bias", (0,))[0]


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
        for layer, part in zip(model.layers, layers, strict=True) if loaded.bounded else ():
            least = int(getattr(part, "out_features", 1) * getattr(part, "out_channels", 1))
            require_activations(loaded, ("model", *layer.path), least, least)
        torch.manual_seed(spec.settings.seed)
        module = torch.nn.Sequential()
        for layer in model.layers:
            module.add_module(layer.name, _layer(spec, layer))
        _dry_run(loaded, model, module, dtype)
    finally:
        torch.set_default_dtype(default)
    return module


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
    module.eval()
    x = _through(loaded, model, module, torch.as_tensor(table.x[:2], dtype=dtype), "does not fit")
    module.train()
    if spec.settings.epochs and _smallest_batch(spec, loaded.samples) == 1:  # batch norms take no single row
        with torch.random.fork_rng([]):  # of dropout
            alone = spec.batch.rows(loaded.samples) == 1
            what = f"takes no batch of one row, which {'each is' if alone else 'an epoch ends with'}"
            hint = "Set batch: full, or a larger batch.size" if alone else "batch.drop_last: true leaves it out"
            hint = hint if loaded.samples > 1 else ""
            _through(loaded, model, copy.deepcopy(module), torch.as_tensor(table.x[:1], dtype=dtype), what, hint)
    wanted = (len(x), table.classes) if table.y.ndim == 1 else (len(x), table.y.shape[1])
    fits = x.ndim == 2 and (x.shape[1] >= wanted[1] if table.y.ndim == 1 else tuple(x.shape) == wanted)
    if not fits:
        last = len(model.layers) - 1
        what = f"the model's output has shape {[*x.shape[1:]]} a row, the data need [{wanted[1]}]"
        raise SpecError(spec.problem(("model", "layers", last), what))


def _through(loaded: Loaded, model: Stack, module: torch.nn.Module, x: Any, what: str, hint: str = "") -> Any:
    """Return the layers' output, without a graph.

    Raises SpecError with the place of a layer that refuses its input, or whose output has no room.
    """
    rows, total = len(x), 0  # outputs a row of all layers so far
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        for layer, part in zip(model.layers, module.children(), strict=True):
            path = ("model", *layer.path)
            if loaded.bounded and (count := _foreseen(loaded.spec, layer, part, x) // rows):
                require_activations(loaded, path, count, total + count)
            try:
                x = part(x)
            except Exception as error:  # whatever torch's layers raise
                text = f"{layer.layer} {what}: {first_line(error)}"
                raise SpecError(loaded.spec.problem(path, text, hint)) from None
            if not isinstance(x, Tensor):
                text = f"{layer.layer} gives a {type(x).__name__} with these settings, no tensor"
                raise SpecError(loaded.spec.problem(path, text))
            count = x.numel() // rows
            total += count
            if loaded.bounded:
                require_activations(loaded, path, count, total)
    return x


def _foreseen(spec: RunSpec, layer: TorchLayer, part: torch.nn.Module, x: Tensor) -> int:
    """Return how many numbers a layer will give; 0 where they are few for certain, or it will refuse its input.

    They are counted by the layer without memory, for which torch imports a computer algebra system: a second.
    """
    if _at_most(part, x) <= FEW:
        return 0
    try:
        with torch.device("meta"):
            out = _layer(spec, layer).eval()(torch.empty(x.shape, dtype=x.dtype))
    except Exception:  # rows with numbers are refused by the same layer, which is told then
        return 0
    return out.numel() if isinstance(out, Tensor) else 0


def _at_most(part: Any, x: Tensor) -> int:
    """Return a number that the numbers which a layer of torch's gives are not above.

    Along an axis of L ≥ 1, a convolution and a pool give at most L + 2 padding, an adaptive pool its output size, a
    transposed convolution (L − 1) stride + dilation (kernel − 1) + output padding + 1.
    """
    inputs = getattr(part, "in_features", 1) * getattr(part, "in_channels", 1)
    count = x.numel() * getattr(part, "out_features", 1) * getattr(part, "out_channels", 1) // max(inputs, 1)
    if getattr(part, "transposed", False):
        axes = zip(part.stride, part.kernel_size, part.dilation, part.output_padding, strict=True)
        return int(count * prod(stride + dilation * kernel + more for stride, kernel, dilation, more in axes))
    for given in (getattr(part, "padding", 0), getattr(part, "output_size", 0)):
        each = given if isinstance(given, tuple | list) else [given] * 3  # axes at most
        count *= prod(1 + 2 * number for number in each if isinstance(number, int))
    return int(count)


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
