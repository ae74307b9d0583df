"""A small network as it stands before a step: weights, gradients and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.plot.runs import CurveSource
from gdcli.errors import SpecError
from gdcli.report import plots
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.models import Chain

if TYPE_CHECKING:
    from torch import Tensor

    from gdcli.engine.problem import TrainingProblem

Floats = NDArray[np.float64]


def network(source: CurveSource, step: int) -> tuple[list[plots.DrawnLayer], list[list[plots.Neuron]]]:
    """Return a net before its step-th step: weights, their gradients on the step's rows, and for one row all outputs.

    Raises SpecError for a model without written-out layers, or with more edges than a picture can show.
    """
    import torch

    from gdcli.commands.explain.point import point_of
    from gdcli.engine.problem import build

    chain = source.loaded.architecture
    if not isinstance(chain, Chain) or not chain.layers:
        raise SpecError(f"{source.label}: a network is drawn of linear, mlp and softmax models")
    edges = sum(layer.inputs * layer.outputs for layer in chain.layers)
    if edges > plots.EDGES:
        raise SpecError(f"{source.label}: a network is drawn with at most {plots.EDGES} edges (this one has {edges:,})")
    point, built = point_of(source.loaded, step), build(source.loaded)
    with torch.no_grad():
        for slot in built.theta.slots:
            built.theta.view(slot).copy_(torch.tensor(point.parameters[slot.name], dtype=built.dtype))
    x, y = built.batches.x[list(point.rows)], built.batches.y[list(point.rows)]
    built.kernel.step(x, y)
    return _layers(built, chain, point.parameters), _neurons(built, chain, x)


def _layers(built: TrainingProblem, chain: Chain, parameters: object) -> list[plots.DrawnLayer]:
    slots = {slot.name: slot for slot in built.theta.slots}
    assert isinstance(parameters, dict)

    def of(name: str) -> tuple[Floats, Floats]:
        gradient = built.theta.gradient_view(slots[name])
        value = np.asarray(parameters[name], np.float64)
        return value, np.zeros_like(value) if gradient is None else gradient.double().cpu().numpy()

    found, count = [], 0
    for layer in chain.layers:
        weight, gradient = of(f"{layer.name}weight")
        names = [f"w{count + k + 1}" for k in range(weight.size)]
        count += weight.size
        bias = of(f"{layer.name}bias") if layer.bias else (None, None)
        found.append(plots.DrawnLayer(weight, gradient, names, *bias))
    return found


def _neurons(built: TrainingProblem, chain: Chain, x: Tensor) -> list[list[plots.Neuron]]:
    import torch

    from gdcli.commands.explain.naming import Names

    names, slots = Names(len(chain.layers), (1,)), {slot.name: slot for slot in built.theta.slots}
    a, found = x, [[names.of("x", i, 0).text for i in range(x.shape[1])]]
    outputs = [a]
    with torch.no_grad():
        for k, layer in enumerate(chain.layers):
            a = a @ built.theta.view(slots[f"{layer.name}weight"]).mT
            a = a + built.theta.view(slots[f"{layer.name}bias"]) if layer.bias else a
            activation = ACTIVATIONS[layer.activation]().forward
            a = a if activation is None else activation(a)
            outputs.append(a)
            found.append([names.neuron(k, 0, j).text for j in range(layer.outputs)])
    one = len(x) == 1
    return [
        [plots.Neuron(name, float(output[0, j]) if one else None) for j, name in enumerate(layer)]
        for layer, output in zip(found, outputs, strict=True)
    ]
