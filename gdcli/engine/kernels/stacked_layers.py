"""Torch's own layers for all runs of a fleet at once: rows [R, B, ...] in and out, parameters stacked [R, ...].

The layers that most nets are made of are written out for stacked parameters. Those without parameters treat each row by
itself, and take the rows of all runs as so many rows. All others torch.func.vmap maps over the runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gdcli.engine.kernels.stacked_conv import convolution
from gdcli.engine.kernels.stacked_recurrent import recurrent
from gdcli.zoo.models import TorchLayer
from gdcli.zoo.torch_layers import DROPOUTS, ELEMENTWISE, RECURRENT, RESIDUAL, may_mix_rows

Pass = Callable[[Tensor], Tensor]

SELU_LIMIT = 1.7580993408473766
"""−α λ of SELU: what alpha dropout puts in the place of a number."""


class Draws:
    """A generator for each start, shared by runs that begin alike: dropout leaves out what it does in a lone run."""

    def __init__(self, states: Sequence[Tensor], of_run: Sequence[int], device: torch.device) -> None:
        self._generators = [torch.Generator(device) for _ in states]
        self._of_run = None if [*of_run] == [*range(len(states))] else torch.tensor(of_run, device=device)
        self.restore(states)

    def states(self) -> Tensor:
        """Return the generators' states, a row each."""
        return torch.stack([each.get_state() for each in self._generators])

    def restore(self, states: Sequence[Tensor] | Tensor) -> None:
        """Put states that :meth:`states` gave."""
        for each, state in zip(self._generators, states, strict=True):
            each.set_state(state.clone())  # torch crashes with a state that is part of another tensor

    def kept(self, like: Tensor, shape: Sequence[int], share: float, order: Sequence[int]) -> Tensor:
        """Return ones with this probability, else zeros, [R, *shape]: of each start what its lone run draws.

        Torch draws in the order of memory: ``order`` has the axes of a lone run's numbers, outermost first.
        """
        found = like.new_empty((len(self._generators), *(shape[axis] for axis in order)))
        for part, each in zip(found.unbind(0), self._generators, strict=True):
            part.bernoulli_(share, generator=each)
        found = found if self._of_run is None else found.index_select(0, self._of_run)
        return found.permute(0, *(order.index(axis) + 1 for axis in range(len(order))))


@dataclass(slots=True)
class Stacked:
    """What the layers of all runs share: parameters and buffers [R, ...] by full name, generators, and the mode."""

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    draws: Draws
    orders: Mapping[str, Sequence[int]]  # of the numbers that a dropout layer takes of a lone run: see `orders_of`
    training: bool = True


def orders_of(module: nn.Module, x: Tensor) -> dict[str, Sequence[int]]:
    """Return the order in memory, of the axes of what each layer takes in training, from rows x of one run.

    Torch's generator and the module stay as they are.
    """
    found: dict[str, Sequence[int]] = {}
    module = copy.deepcopy(module)
    for name, part in module.named_modules():

        def note(part: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            strides = inputs[0].stride()
            found[f"{name}."] = sorted(range(len(strides)), key=lambda axis: -strides[axis])

        part.register_forward_pre_hook(note)
    with torch.random.fork_rng([]):
        module(x)
    return found


def stacked(layers: Sequence[TorchLayer], module: nn.Module, state: Stacked, prefix: str = "") -> Pass:
    """Return the way through layers of which ``module`` has one run's, or any with the same arguments."""
    passes = [
        _of_layer(layer, part, f"{prefix}{layer.name}.", state)
        for layer, part in zip(layers, module.children(), strict=True)
    ]

    def through(x: Tensor) -> Tensor:
        for each in passes:
            x = each(x)
        return x

    return through


def _of_layer(layer: TorchLayer, part: nn.Module, prefix: str, state: Stacked) -> Pass:
    kind = layer.layer
    if kind == RESIDUAL:
        inside = stacked(layer.inside, part, state, prefix)
        return lambda x: x + inside(x)
    own = {name: state.parameters[f"{prefix}{name}"] for name, _ in part.named_parameters()}
    if kind == "Linear":
        return _linear(own["weight"], own.get("bias"))
    if kind in ("Conv1d", "Conv2d", "Conv3d"):
        return convolution(part, own, _mapped(part, own))
    if kind.startswith("BatchNorm"):
        buffers = {name: state.buffers[f"{prefix}{name}"] for name, _ in part.named_buffers()}
        return _batch_norm(part, own, buffers, state)
    if kind in DROPOUTS:
        return _dropout(kind, part, state, state.orders.get(prefix, ()))
    if kind in RECURRENT:
        return recurrent(part, own, last=layer.last)
    if kind == "Flatten":
        return _flatten(part)
    if may_mix_rows(kind, layer.arguments):  # the rows of a run, not those of all
        return _mapped(part, own)
    if kind in ELEMENTWISE:
        return part
    if kind == "Embedding":
        return _embedding(part, own)
    if kind.endswith("Pool2d"):
        return _pool(part)
    return _mapped(part, own) if own else _folded(part)


def _mapped(part: nn.Module, own: Mapping[str, Tensor]) -> Pass:
    """Return the pass that torch.func makes of one run's layer."""
    of_torch: Any = torch._C._functorch
    of_torch._set_vmap_fallback_warning_enabled(False)  # a layer that it maps run by run is right too
    each = vmap(lambda parameters, x: functional_call(part, parameters, (x,)))
    return lambda x: each(dict(own), x)


def _embedding(part: nn.Module, own: Mapping[str, Tensor]) -> Pass:
    """Return the rows of each run's table; torch's vmap knows the number that learns nothing in the first run alone."""
    layer: Any = part
    mapped = vmap(partial(nn.functional.embedding, scale_grad_by_freq=layer.scale_grad_by_freq))
    learns = own["weight"].new_ones((layer.num_embeddings, 1), dtype=torch.bool)
    if layer.padding_idx is not None:
        learns[layer.padding_idx] = False

    def through(x: Tensor) -> Tensor:
        weight = own["weight"]
        y: Tensor = mapped(x.long(), weight if layer.padding_idx is None else weight.where(learns, weight.detach()))
        return y

    return through


def _folded(part: nn.Module) -> Pass:
    """Return the pass of a layer without parameters: each row by itself, so that those of all runs are one batch."""

    def through(x: Tensor) -> Tensor:
        y: Tensor = part(x.reshape(-1, *x.shape[2:]))
        return y.view(*x.shape[:2], *y.shape[1:])

    return through


def _linear(weight: Tensor, bias: Tensor | None) -> Pass:
    """Return y = x Wᵀ + b over the last axis; of plain rows as (W xᵀ + b)ᵀ, which leaves the rows innermost."""
    before, behind = (None, None) if bias is None else (bias.unsqueeze(2), bias.unsqueeze(1))

    def through(x: Tensor) -> Tensor:
        if x.ndim == 3:
            y = torch.bmm(weight, x.mT) if before is None else torch.baddbmm(before, weight, x.mT)
            return y.mT
        rows = x.reshape(len(x), -1, x.shape[-1])
        y = torch.bmm(rows, weight.mT) if behind is None else torch.baddbmm(behind, rows, weight.mT)
        return y.view(*x.shape[:-1], -1)

    return through


def _flatten(part: nn.Module) -> Pass:
    layer: Any = part
    start, end = (axis + 1 if axis >= 0 else axis for axis in (layer.start_dim, layer.end_dim))
    return lambda x: x.flatten(start, end)


def _pool(part: nn.Module) -> Pass:
    """Return a pool over images; rows that lie innermost are its channels, and the channels of each run its rows."""
    folded = _folded(part)

    def through(x: Tensor) -> Tensor:
        inner = x.movedim(1, -1)  # [R, C, H, W, B]
        if x.ndim != 5 or not inner.is_contiguous():
            return folded(x)
        y: Tensor = part(inner.flatten(0, 1).movedim(-1, 1))  # [R C, B, h, w]
        return y.movedim(1, -1).reshape(*x.shape[:1], x.shape[2], *y.shape[2:], x.shape[1]).movedim(-1, 1)

    return through


def _batch_norm(part: nn.Module, own: Mapping[str, Tensor], buffers: Mapping[str, Tensor], state: Stacked) -> Pass:
    """Return the norm of each run's channels over its own rows; the channels of all runs are those of one batch."""
    layer: Any = part
    mean, variance, batches = (buffers.get(name) for name in ("running_mean", "running_var", "num_batches_tracked"))

    def normed(rows: Tensor) -> Tensor:
        """Return channels [B, R C, ...] normed, and learn from them."""
        factor = 0.0 if layer.momentum is None else layer.momentum
        if state.training and batches is not None:
            batches.add_(1)
            factor = 1.0 / float(batches[0]) if layer.momentum is None else factor
        weight, bias = (None if each is None else each.reshape(-1) for each in map(own.get, ("weight", "bias")))
        learned = [None if each is None else each.reshape(-1) for each in (mean, variance)]
        y = nn.functional.batch_norm(
            rows, learned[0], learned[1], weight, bias, state.training or mean is None, factor, layer.eps
        )
        if state.training and mean is not None and variance is not None:
            for into, found in zip((mean, variance), learned, strict=True):
                if found is not None:
                    into.copy_(found.view(into.shape))
        return y

    def through(x: Tensor) -> Tensor:
        inner = x.movedim(1, -1)  # [R, C, ..., B]
        if inner.is_contiguous():
            return normed(inner.reshape(1, inner.shape[0] * inner.shape[1], -1)).view(inner.shape).movedim(-1, 1)
        rows = x.transpose(0, 1)  # [B, R, C, ...]
        return normed(rows.flatten(1, 2)).view(rows.shape).transpose(0, 1)

    return through


def _dropout(kind: str, part: nn.Module, state: Stacked, order: Sequence[int]) -> Pass:
    """Return dropout as torch makes it, of numbers or whole channels: x m / (1 − p), m 1 with probability 1 − p."""
    layer: Any = part
    p: float = layer.p
    is_alpha, of_channels = "Alpha" in kind, kind not in ("Dropout", "AlphaDropout")

    def through(x: Tensor) -> Tensor:
        if not state.training or not p:
            return x
        if p == 1:
            return x * 0
        shape = x.shape[1:3] + (1,) * (x.ndim - 3) if of_channels else x.shape[1:]
        kept = state.draws.kept(x, shape, 1 - p, range(len(shape)) if of_channels else order)
        if not is_alpha:
            return x * kept.div_(1 - p)
        a = 1 / sqrt((SELU_LIMIT**2 * p + 1) * (1 - p))
        shift = kept.add(-1).mul_(SELU_LIMIT * a).add_(SELU_LIMIT * a * p)
        return (x * kept.mul_(a)).add_(shift)

    return through
