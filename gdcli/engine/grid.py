"""The loss over a grid of parameter values, no training: one vectorised evaluation in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine.grouping import seeing_one_run
from gdcli.engine.kernels.base import FleetChain
from gdcli.engine.kernels.elementwise import ELEMENTWISE, WIDTH, is_tiny
from gdcli.engine.penalty import penalty_of
from gdcli.engine.problem import TrainingProblem, compiled
from gdcli.engine.theta import Theta
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import Loss
from gdcli.zoo.models import Chain, Objective

CHUNK_SCALARS = 2**21
"""Numbers of the largest intermediate of a chunk: it stays in cache, and memory is bounded."""


CACHED_SCALARS = 2**17
"""Numbers of a chunk that is evaluated with its runs innermost."""


def losses(built: TrainingProblem, scalars: Sequence[str], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loss [R] on all training rows with the named scalars set to each row of points [R, k]."""
    names = [name for parameter in built.theta.parameters() for name in parameter.scalars]
    order = built.theta.model_order
    columns = [order[names.index(name)] for name in scalars]
    model = built.loaded.architecture
    many = isinstance(model, Chain) and is_tiny(model, built.batches.y.ndim == 1) and not seeing_one_run(built.loaded)
    if many and isinstance(model, Chain) and built.loss is not None:
        return _elementwise(built, model, built.loss, columns, points)
    units = [layer.outputs for layer in model.layers] if isinstance(model, Chain) else []
    width = max(len(built.batches.x), 1) * max([1, *units])
    rows = max(1, CHUNK_SCALARS // (width + built.theta.values.shape[1]))
    found = [_chunk(built, columns, points[k : k + rows]) for k in range(0, len(points), rows)]
    return np.concatenate(found)


def _elementwise(
    built: TrainingProblem, chain: Chain, loss: Loss, columns: list[int], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Evaluate tiny layers by the fleets' kernel: every point is a run, a chunk of them stays in cache."""
    units = sum(layer.outputs + layer.inputs for layer in chain.layers)
    count = min(len(points), max(1, CACHED_SCALARS // (len(built.batches.x) * units)))
    count = -(-count // WIDTH) * WIDTH
    of_one = {slot.name: built.theta.view(slot) for slot in built.theta.slots}
    frozen = [slot.name for slot in built.theta.slots if not slot.trained]
    theta, penalty = Theta(of_one, frozen, runs=count, innermost=True), built.loaded.spec.penalty
    starts = {slot.name: slot.start for slot in theta.slots}
    rows = [
        starts[slot.name] + c - slot.start for c in columns for slot in built.theta.slots if slot.start <= c < slot.stop
    ]
    kernel = FleetChain(theta, chain, loss, ELEMENTWISE)
    x, y = kernel.arranged(built.batches.x, built.batches.y)
    found = torch.empty(len(points), dtype=torch.float64)
    turned = torch.as_tensor(points.T.copy()).to(theta.stored)  # [k, R]
    with torch.no_grad(), np.errstate(all="ignore"):
        for k in range(0, len(points), count):
            part = turned[:, k : k + count]
            for row, values in zip(rows, part, strict=True):
                theta.stored[row, : len(values)] = values
            value = kernel.loss_of(kernel.forward(x), y)
            value = value + penalty_of(theta.values, theta.trained, penalty) if penalty.is_on else value
            found[k : k + count] = value[: part.shape[1]]
    return found.numpy()


def _chunk(built: TrainingProblem, columns: list[int], points: NDArray[np.float64]) -> NDArray[np.float64]:
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
        if built.loaded.spec.penalty.is_on:
            found = found + penalty_of(theta, built.theta.trained, built.loaded.spec.penalty)
    return found.cpu().numpy().astype(np.float64)


def _chain(built: TrainingProblem, model: Chain, theta: Tensor) -> Tensor:
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
    if seeing_one_run(built.loaded):
        return torch.stack([built.loss.value(each, built.batches.y) for each in a])
    return torch.vmap(built.loss.value, in_dims=(0, None))(a, built.batches.y)  # [R]


def _one_by_one(built: TrainingProblem, theta: Tensor) -> Tensor:
    """Torch's own layers, point by point."""
    assert built.loss is not None
    start, found = built.theta.values.clone(), []
    for row in theta:
        built.theta.values[0] = row
        found.append(built.loss.value(built.kernel.forward(built.batches.x), built.batches.y))
    built.theta.values.copy_(start)
    return torch.stack(found)
