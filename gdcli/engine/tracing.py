"""Torch's own layers, sent rows before they are built: what each gives, and the sizes that the spec leaves out.

What does not fit is told at the layer's place, by its shape, before anything large is allocated.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import inf, isqrt, prod
from typing import Any

import torch
from torch import Tensor

from gdcli.engine import own_module
from gdcli.engine.layers import Arguments, Shape, TracedLayer, assembled, default_dtype, made, no_tensor, refused
from gdcli.engine.meta_device import on_meta
from gdcli.errors import SpecError
from gdcli.spec import class_weights, sizes
from gdcli.spec.load import Loaded
from gdcli.spec.sections import RunSpec
from gdcli.zoo.models import Stack, TorchLayer
from gdcli.zoo.torch_layers import ANY_NUMBER, ATTENTION, INDEXED, KEEPING, LAYERS, RECURRENT, RESIDUAL, SAME_SIZE

FEW = 10**7
"""Numbers that a layer may have and give of two rows before it is worth a second to find its shapes without them."""


def traced(loaded: Loaded) -> tuple[TracedLayer, ...]:
    """Send two rows without numbers through a sequential model's layers, made without memory.

    Raises SpecError at the place of a layer that cannot be made, does not fit or gives too much, and at the last one
    for an output that is not what the data need.
    """
    model, dtype = loaded.architecture, getattr(torch, loaded.spec.settings.dtype)
    assert isinstance(model, Stack)
    if model.own is not None:
        return own_module.traced(loaded, model.own, model.shape)
    trace = _Trace(loaded)
    with default_dtype(dtype), on_meta(), torch.no_grad(), warnings.catch_warnings(action="ignore"):
        x, found = trace.through(model.layers, torch.empty((2, *model.shape), dtype=dtype), "")
    if loaded.training is not None:
        _require_output(loaded, model, tuple(x.shape[1:]))
    return found


def empty_layers(spec: RunSpec, model: Stack) -> torch.nn.Module:
    """Return a sequential model without its data, on the meta device: names, shapes and dtypes, no memory.

    A plugin's module too, if it can be made there. Raises SpecError.
    """
    if model.own is not None:
        return own_module.empty(spec, model.own)
    layers = traced(Loaded(spec, None, None, model))
    with default_dtype(getattr(torch, spec.settings.dtype)), on_meta():
        return assembled(spec, layers)


class _Trace:
    """One way through the layers: scalars so far, numbers given, and whether these are still the data's."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded, self.spec = loaded, loaded.spec
        self.parameters, self.total, self.raw = 0, 0, True

    def through(self, layers: Sequence[TorchLayer], x: Tensor, prefix: str) -> tuple[Tensor, tuple[TracedLayer, ...]]:
        found = []
        for layer in layers:
            name = f"{prefix}{layer.name}"
            x, traced = self.residual(layer, x, name) if layer.layer == RESIDUAL else self.layer(layer, x, name)
            found.append(traced)
        return x, tuple(found)

    def residual(self, layer: TorchLayer, x: Tensor, name: str) -> tuple[Tensor, TracedLayer]:
        after, inside = self.through(layer.inside, x, f"{name}.")
        if after.shape != x.shape:
            given, wanted = list(after.shape[1:]), list(x.shape[1:])
            what = f"a residual adds its input, of shape {wanted} a row, and its layers give {given}"
            raise SpecError(self.spec.problem(("model", *layer.path), what, f"Its last layer must give {wanted}"))
        self.raw = False
        self.count(layer, after, 0)
        return after, TracedLayer(layer, name, {}, tuple(after.shape[1:]), {}, 0, inside)

    def layer(self, layer: TorchLayer, x: Tensor, name: str) -> tuple[Tensor, TracedLayer]:
        self.require_rank(layer, tuple(x.shape[1:]))
        arguments = self.completed(layer, tuple(x.shape[1:]))
        if layer.layer in INDEXED:
            self.require_numbers(layer, arguments)
        part = made(self.spec, layer, arguments)
        shapes = {f"{name}.{key}": tuple(p.shape) for key, p in part.named_parameters()}
        self.count_parameters(shapes)
        after = _tried(self.spec, layer, arguments, part, x)
        if after.ndim == 0 or len(after) != len(x):
            what = f"{layer.layer} gives {list(after.shape)} of {len(x)} rows: with these settings it mixes them"
            raise SpecError(self.spec.problem(("model", *layer.path), what))
        self.raw &= layer.layer in KEEPING
        pairs = prod(x.shape[1:2]) ** 2 * getattr(part, "num_heads", 1) if layer.layer in ATTENTION else 0
        self.count(layer, after, pairs)
        work = _multiply_adds(layer, shapes, tuple(x.shape[1:]), tuple(after.shape[1:])) + pairs
        return after, TracedLayer(layer, name, arguments, tuple(after.shape[1:]), shapes, work)

    def count_parameters(self, shapes: Mapping[str, Shape]) -> None:
        """Count a layer's parameters. Raises SpecError where there are too many."""
        self.parameters += sum(map(prod, shapes.values()))
        if self.loaded.bounded and self.parameters > sizes.MAX_PARAMETERS:
            what = f"the model has at least {self.parameters:,} parameters, more than {sizes.MAX_PARAMETERS:,}"
            raise SpecError(self.spec.problem(("model", "layers"), what, sizes.RAISE))

    def count(self, layer: TorchLayer, x: Tensor, more: int) -> None:
        """Count a layer's numbers. Raises SpecError for too many, or where a step has no memory for all so far."""
        numbers, spec, path = prod(x.shape[1:]) + more, self.spec, ("model", *layer.path)
        self.total += numbers
        if not self.loaded.bounded:
            return
        if numbers > sizes.MAX_ACTIVATIONS:
            what = f"gives {numbers:,} numbers a row, more than {sizes.MAX_ACTIVATIONS:,}"
            raise SpecError(spec.problem(path, what, sizes.RAISE))
        needed = sizes.step_memory(spec, self.loaded.samples, self.total)
        if found := [*sizes.too_much_memory(spec, path, f"a step with {self.total:,} outputs a row takes", needed)]:
            raise SpecError(found)

    def require_rank(self, layer: TorchLayer, shape: Shape) -> None:
        """Refuse rows with other axes than the layer has; torch would take two rows for one without a batch."""
        kind = LAYERS[layer.layer]
        if not kind.ranks or len(shape) in kind.ranks:
            return
        what = f"{layer.layer} does not fit: it takes rows of shape {kind.takes}, and gets {list(shape)}"
        fitting = _shape_for(shape[0], max(kind.ranks), layer.layer) if len(shape) == 1 else ""
        hint = ""
        if len(shape) > max(kind.ranks):
            hint = "Flatten before it makes one axis of several"
        elif fitting and self.raw and self.spec.data is not None and self.spec.data.shape is None:
            hint = f"data.shape: {fitting} gives each row of the data one"
        elif fitting:
            hint = f"Put {{layer: Unflatten, dim: 1, unflattened_size: {fitting}}} before it"
        raise SpecError(self.spec.problem(("model", *layer.path), what, hint))

    def completed(self, layer: TorchLayer, shape: Shape) -> Arguments:
        """Return a layer's arguments with the size of its input, and with rows before steps."""
        kind, arguments = LAYERS[layer.layer], dict(layer.arguments)
        if layer.layer in ("Softmax", "LogSoftmax", "Softmin"):
            arguments.setdefault("dim", -1)  # torch guesses, and warns
        if layer.layer in (*RECURRENT, *ATTENTION):
            arguments["batch_first"] = True
        if not kind.found or not shape:
            return arguments
        size, given = shape[kind.axis], arguments.get(kind.found)
        if given is None:
            arguments = {kind.found: size, **arguments}
        elif type(given) is int and given != size and kind.found != "normalized_shape":
            what = f"{layer.layer} does not fit: {kind.found} is {given:,}, its input has {size:,}"
            what += f" (shape {list(shape)} a row)" if len(shape) > 1 else ""
            hint = f"Set {kind.found}: {size}, or leave it out"
            hint = "Put Flatten before it" if given == prod(shape) and kind.axis == -1 else hint
            raise SpecError(self.spec.problem(("model", *layer.path), what, hint))
        return arguments

    def require_numbers(self, layer: TorchLayer, arguments: Arguments) -> None:
        """Refuse an embedding whose input is not whole numbers of its table, in any row of the data."""
        path, most = ("model", *layer.path), arguments.get("num_embeddings")
        if not self.raw:
            what = f"{layer.layer} takes whole numbers, the layers before it give others"
            raise SpecError(self.spec.problem(path, what, "Put it first"))
        highest = 0
        for table in self.loaded.tables:
            if not (table.x == table.x.round()).all() or table.x.min(initial=0) < 0:
                row, column = (int(k[0]) for k in ((table.x != table.x.round()) | (table.x < 0)).nonzero())
                given = f"{table.features[column]} has {table.x[row, column]:g}"
                what = f"{layer.layer} takes whole numbers from 0 on, {given}"
                standardized = self.spec.data is not None and self.spec.data.standardize
                raise SpecError(self.spec.problem(path, what, "Leave data.standardize out" if standardized else ""))
            highest = max(highest, int(table.x.max(initial=0)))
        if most is None or (type(most) is int and 0 < most <= highest):
            what = "num_embeddings is required" if most is None else f"num_embeddings is {most:,}"
            raise SpecError(self.spec.problem(path, f"{what}, the data go up to {highest:,}", f"Set {highest + 1}"))
        if highest > 2**24 and self.spec.settings.dtype == "float32":
            raise SpecError(self.spec.problem(path, f"{highest:,} is no float32", "Set dtype: float64"))


def _tried(spec: RunSpec, layer: TorchLayer, arguments: Arguments, part: torch.nn.Module, x: Tensor) -> Tensor:
    """Return what a layer without memory makes of rows without numbers; of a sequence only one step is looked at.

    Where its numbers are few for certain it is made with them, on rows of zeros: without, torch imports a computer
    algebra system, which takes a second.
    """
    steps = x.shape[1] if layer.layer in RECURRENT else 0
    if steps > 1:
        x = x[:, :1]
    try:
        if _at_most(layer.layer, part, x) <= FEW:
            after = _in_numbers(spec, layer, arguments, x)
        else:
            try:
                # attention's short cut for evaluation cannot be traced
                after = part.train(layer.layer in ATTENTION)(x)
            except NotImplementedError:
                after = _in_numbers(spec, layer, arguments, x)
    except SpecError:
        raise
    except Exception as error:  # whatever torch's layers raise
        raise refused(spec, layer, "does not fit", error) from None
    if not isinstance(after, Tensor) or not after.is_floating_point():
        raise no_tensor(spec, layer, after)
    return after.expand(-1, steps, -1) if steps > 1 and not layer.last else after


def _in_numbers(spec: RunSpec, layer: TorchLayer, arguments: Arguments, x: Tensor) -> Any:
    """Return what a layer makes of rows of zeros, without memory if it is a tensor."""
    with torch.device("cpu"), torch.random.fork_rng([]):
        after = made(spec, layer, arguments).eval()(torch.zeros(x.shape, dtype=x.dtype))
    return after.to("meta") if isinstance(after, Tensor) else after


def _at_most(kind: str, part: Any, x: Tensor) -> float:
    """Return a number that the numbers which a layer has, and gives of x, are not above; infinite where none is known.

    Along an axis of L ≥ 1, a convolution and a pool give at most L + 2 padding, an adaptive pool its output size, a
    transposed convolution (L − 1) stride + dilation (kernel − 1) + output padding + 1.
    """
    has, count = sum(p.numel() for p in part.parameters()), x.numel()
    if kind in RECURRENT:
        given = count * part.hidden_size * 2
    elif kind in INDEXED:
        given = count * part.embedding_dim
    elif kind == "Linear" or kind.startswith("Conv"):
        inputs = getattr(part, "in_features", 1) * getattr(part, "in_channels", 1)
        given = count * getattr(part, "out_features", 1) * getattr(part, "out_channels", 1) // max(inputs, 1)
    elif kind in SAME_SIZE or "Pool" in kind:
        given = count
    else:
        return inf
    if getattr(part, "transposed", False):
        axes = zip(part.stride, part.kernel_size, part.dilation, part.output_padding, strict=True)
        return float(has + given * prod(stride + dilation * kernel + more for stride, kernel, dilation, more in axes))
    for along in (getattr(part, "padding", 0), getattr(part, "output_size", 0)):
        each = along if isinstance(along, tuple | list) else [along] * 3  # axes at most
        given *= prod(1 + 2 * number for number in each if isinstance(number, int))
    return float(has + given)


def _multiply_adds(layer: TorchLayer, shapes: Mapping[str, Shape], before: Shape, after: Shape) -> int:
    """Return the multiply-adds of a row: each weight of a matrix or filter, at each place."""
    if layer.layer in INDEXED:
        return 0
    rows = before if layer.layer in RECURRENT or "Transpose" in layer.layer else after
    places = prod(rows[1:]) if LAYERS[layer.layer].axis == 0 else prod(rows[:-1])
    return places * sum(prod(shape) for shape in shapes.values() if len(shape) > 1)


def _shape_for(features: int, rank: int, layer: str) -> str:
    """Return the shape that rows of so many features may have for a layer, as a spec writes it.

    >>> _shape_for(64, 3, "Conv2d"), _shape_for(192, 3, "Conv2d"), _shape_for(16, 2, "GRU"), _shape_for(7, 3, "Conv2d")
    ('[1, 8, 8]', '[3, 8, 8]', '[16, 1]', '[1, 1, 7]')
    """
    if layer in (*RECURRENT, *ATTENTION):
        return f"[{features}, 1]"
    for channels in (1, 3) if rank == 3 else ():
        side = isqrt(features // channels)
        if channels * side * side == features:
            return f"[{channels}, {side}, {side}]"
    return str([1] * (rank - 1) + [features])


def _require_output(loaded: Loaded, model: Stack, shape: Shape) -> None:
    """Raise SpecError at the last layer for an output that the data have no targets for, or too many class weights."""
    table, last = loaded.training, model.layers[-1]
    assert table is not None
    classes = table.y.ndim == 1
    wanted = table.classes if classes else table.y.shape[1]
    if len(shape) == 1 and (shape[0] >= wanted if classes else shape[0] == wanted):
        if found := [*class_weights.beyond(loaded.spec, shape[0])]:
            raise SpecError(found)
        return
    what = f"the model's output has shape {list(shape)} a row, the data need [{wanted}]"
    if classes and len(shape) == 1:
        what += f": a class for each label from 0 to {wanted - 1}"
    hint = ""
    if len(shape) > 1:
        hint = "last: true gives its last step" if last.layer in RECURRENT else "Flatten makes one axis of several"
    elif sized := next((each for each in reversed(model.layers) if each.layer in ANY_NUMBER), None):
        key = {"Linear": "out_features"}.get(sized.layer, "")
        hint = f"Set {key}: {wanted}" if key else f"Put {{layer: Linear, out_features: {wanted}}} last"
    raise SpecError(loaded.spec.problem(("model", *last.path), what, hint))
