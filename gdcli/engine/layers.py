"""Torch's own layers, made in order of what the spec says and `gdcli.engine.tracing` found; rows sent through them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from gdcli.errors import SpecError
from gdcli.spec.sections import RunSpec
from gdcli.zoo.models import TorchLayer
from gdcli.zoo.torch_layers import INDEXED, RECURRENT, RESIDUAL

Shape = tuple[int, ...]
Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TracedLayer:
    """A layer whose sizes are known: what it is made with, and what it gives of one row."""

    layer: TorchLayer
    name: str  # in full: 1.0 is the first inside 1
    arguments: Arguments
    output: Shape  # of a row
    shapes: Mapping[str, Shape]  # of its parameters, by full name
    multiply_adds: int  # of a row
    inside: tuple[TracedLayer, ...] = ()

    @property
    def parameters(self) -> int:
        """Its scalars, those of the layers inside not counted."""
        return sum(map(prod, self.shapes.values()))


def flattened(layers: Sequence[TracedLayer]) -> Iterator[TracedLayer]:
    """Yield layers in the order in which they work: those inside a residual one before it."""
    for layer in layers:
        yield from flattened(layer.inside)
        yield layer


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make layers of a dtype, as a bare script that sets it does."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Residual(torch.nn.Sequential):
    """Layers one after the other, and their input added to what they give: x + f(x). Source: He et al. 2015."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(x), of the shape of x."""
        after: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # torch's own
        return x + after


def assembled(
    spec: RunSpec, layers: Sequence[TracedLayer], into: torch.nn.Sequential | None = None
) -> torch.nn.Sequential:
    """Make layers in order, with torch's generator as a bare script has it. Raises SpecError at a layer's place."""
    module = torch.nn.Sequential() if into is None else into
    for each in layers:
        if each.layer.layer == RESIDUAL:
            module.add_module(each.layer.name, assembled(spec, each.inside, Residual()))
        else:
            module.add_module(each.layer.name, made(spec, each.layer, each.arguments))
    return module


def made(spec: RunSpec, layer: TorchLayer, arguments: Arguments) -> torch.nn.Module:
    """Make one layer of torch's, tensor in, tensor out. Raises SpecError for arguments that it does not take."""
    kind: Callable[..., torch.nn.Module] = getattr(torch.nn, layer.layer)
    try:
        with warnings.catch_warnings(action="ignore"):
            part = kind(**arguments)
    except Exception as error:  # torch's constructors assert, divide by zero and more
        text = first_line(error).replace(f"{layer.layer}.__init__() ", "")
        raise SpecError(spec.problem(("model", *layer.path), f"torch.nn.{layer.layer}: {text}")) from None
    if layer.layer in INDEXED:
        part.register_forward_pre_hook(_as_indices)
    if layer.layer == "MultiheadAttention":
        part.register_forward_pre_hook(_to_itself)
    if layer.layer in (*RECURRENT, "LSTMCell", "MultiheadAttention"):
        part.register_forward_hook(_last_step if layer.last else _first)
    return part


def _as_indices(module: torch.nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0].long(),)


def _to_itself(module: torch.nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return (*inputs, *inputs, *inputs)


def _first(module: torch.nn.Module, inputs: Any, output: tuple[Tensor, Any]) -> Tensor:
    """Return the sequence of a recurrent layer [B, S, H], less its last state."""
    return output[0]


def _last_step(module: torch.nn.Module, inputs: Any, output: tuple[Tensor, Any]) -> Tensor:
    return output[0][:, -1]


def through(
    spec: RunSpec, layers: Sequence[TorchLayer], module: torch.nn.Module, x: Any, what: str, hint: str = ""
) -> Any:
    """Return the layers' output, without a graph. Raises SpecError with the place of a layer that refuses its input."""
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        for layer, part in zip(layers, module.children(), strict=True):
            if layer.layer == RESIDUAL:
                x = x + through(spec, layer.inside, part, x, what, hint)
                continue
            try:
                x = part(x)
            except Exception as error:  # whatever torch's layers raise
                raise refused(spec, layer, what, error, hint) from None
            if not isinstance(x, Tensor):
                raise no_tensor(spec, layer, x)
    return x


def refused(spec: RunSpec, layer: TorchLayer, what: str, error: Exception, hint: str = "") -> SpecError:
    """Return an error at the place of a layer that raised."""
    return SpecError(spec.problem(("model", *layer.path), f"{layer.layer} {what}: {first_line(error)}", hint))


def no_tensor(spec: RunSpec, layer: TorchLayer, given: Any) -> SpecError:
    """Return an error at the place of a layer that gives something else than a tensor of numbers."""
    kind = f"tensor of {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
    what = f"{layer.layer} gives a {kind} with these settings, no tensor of numbers"
    return SpecError(spec.problem(("model", *layer.path), what))


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, else its name."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
