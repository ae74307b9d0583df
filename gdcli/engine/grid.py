"""The loss over a grid of parameter values, no training: one vectorised evaluation in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine.build import Built, compiled
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.models import Chain, Objective

CHUNK_SCALARS = 2**21
"""Numbers of the largest intermediate of a chunk: it stays in cache, and memory is bounded."""


def losses(built: Built, scalars: Sequence[str], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loss [R] on all training rows with the named scalars set to each row of points [R, k]."""
    names = [name for parameter in built.theta.parameters() for name in parameter.scalars]
    order = built.theta.model_order
    columns = [order[names.index(name)] for name in scalars]
    width = max([len(built.batches.x), 1]) * _widest(built)
    rows = max(1, CHUNK_SCALARS // (width + built.theta.values.shape[1]))
    found = [_chunk(built, columns, points[k : k + rows]) for k in range(0, len(points), rows)]
    return np.concatenate(found)


def _widest(built: Built) -> int:
    model = built.loaded.architecture
    return max([1, *(layer.outputs for layer in model.layers)]) if isinstance(model, Chain) else 1


def _chunk(built: Built, columns: list[int], points: NDArray[np.float64]) -> NDArray[np.float64]:
    theta = built.theta.values.expand(len(points), -1).clone()  # [R, P]
    theta[:, columns] = torch.as_tensor(points).to(theta)
    model = built.loaded.architecture
    with torch.no_grad():
        if isinstance(model, Objective):
            value = compiled(built.loaded.spec, model)
            variables = [theta[:, slot.start] for slot in built.theta.slots]
            found = value(variables).expand(len(points))
        elif isinstance(model, Chain):
            found = _chain(built, model, theta)
        else:
            found = _one_by_one(built, theta)
    return found.cpu().numpy().astype(np.float64)


def _chain(built: Built, model: Chain, theta: Tensor) -> Tensor:
    slots = {slot.name: slot for slot in built.theta.slots}
    a = built.batches.x  # [B, D], from the first layer on [R, B, O]
    for layer in model.layers:
        weight = slots[f"{layer.name}weight"]
        a = a @ theta[:, weight.start : weight.stop].view(-1, *weight.shape).mT
        if layer.bias:
            bias = slots[f"{layer.name}bias"]
            a = a + theta[:, None, bias.start : bias.stop]
        activation = ACTIVATIONS[layer.activation]().forward
        a = a if activation is None else activation(a)
    assert built.loss is not None
    if a.ndim == 2:  # no layers: every point has the same output
        a = a.expand(len(theta), *a.shape)
    return torch.vmap(built.loss.value, in_dims=(0, None))(a, built.batches.y)  # [R]


def _one_by_one(built: Built, theta: Tensor) -> Tensor:
    """Torch's own layers, point by point."""
    assert built.loss is not None
    start, found = built.theta.values.clone(), []
    for row in theta:
        built.theta.values[0] = row
        found.append(built.loss.value(built.kernel.forward(built.batches.x), built.batches.y))
    built.theta.values.copy_(start)
    return torch.stack(found)
