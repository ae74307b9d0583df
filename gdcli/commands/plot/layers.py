"""A run's layers: their gradients over its steps, and a small network as it stands before a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gdcli.commands.plot.runs import CurveSource, Floats, gradients_in
from gdcli.errors import SpecError
from gdcli.report import plots
from gdcli.spec.load import Loaded
from gdcli.spec.watch import is_watched
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.models import Chain

if TYPE_CHECKING:
    from torch import Tensor

    from gdcli.engine.problem import TrainingProblem

STRETCHES, BINS = 60, 40  # of a histogram over time


def gradients(source: CurveSource) -> tuple[Floats, list[tuple[str, Floats]], plots.Histogram | None]:
    """Return steps, norms by layer, and with single derivatives their histogram. Raises SpecError without gradients."""
    if source.folder is None:
        names, table = of_blocks(source.loaded)
    else:
        (_, *names), table = gradients_in(source.folder)
    watch = source.loaded.spec.settings.watch
    own = [k for k, name in enumerate(names) if not is_watched(name, watch)]
    if not own:
        what = f"{source.label}: keeps no gradients (record.gradients: none, or nothing is trained)"
        raise SpecError(f"{what}. Those at a value: --of {watch[0]}" if watch else what)
    steps, values, names = table[:, 0], table[:, 1:][:, own], [names[k] for k in own]
    of_scalars = any("[" in name for name in names) or source.loaded.spec.loss is None
    groups: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        groups.setdefault(layer_of(name), []).append(k)
    with np.errstate(over="ignore", invalid="ignore"):
        layers = [(name, np.sqrt((values[:, at] ** 2).sum(axis=1))) for name, at in groups.items()]
    return steps, layers, histogram(steps, values) if of_scalars and len(steps) > 1 else None


def layer_of(name: str) -> str:
    """Return the layer of a parameter or of one of its entries.

    >>> layer_of("linear1.weight[0,1]"), layer_of("weight[0,0]"), layer_of("x")
    ('linear1', 'weight', 'x')
    """
    bare = name.partition("[")[0]
    return bare.rpartition(".")[0] or bare


def of_blocks(loaded: Loaded) -> tuple[list[str], Floats]:
    """Train a spec; return the columns that its table of gradients would have, and step and gradients [K, 1 + C]."""
    from gdcli.engine.gradient_log import keep_of
    from gdcli.engine.problem import build
    from gdcli.records import StepBlock
    from gdcli.runner import record_run

    built, rows = build(loaded), []
    keep = keep_of(built)

    def block(event: StepBlock) -> None:
        kept = {"values": event.gradients, "norms": event.norms, "none": None}[keep]
        parts = [part for part in (kept, event.watched) if part is not None]
        rows.append(np.column_stack([event.step, *parts]).astype(np.float64))

    record_run.run(built, None, block=block)
    trained = [parameter for parameter in built.theta.parameters() if parameter.trained and keep != "none"]
    names = [name for p in trained for name in (p.scalars if keep == "values" else (p.name,))]
    return [*names, *(() if built.watched is None else built.watched.names)], np.concatenate(rows)


def histogram(steps: Floats, values: Floats) -> plots.Histogram | None:
    """Return the shares of the sizes of derivatives [K, P] in stretches of steps; None where all are 0."""
    size = np.abs(values)
    there = size[(size > 0) & np.isfinite(size)]
    if not len(there):
        return None
    low, high = float(np.quantile(there, 0.002)), float(there.max())
    sizes = np.geomspace(max(low / 2, 1e-300), high * 1.1, BINS + 1)
    parts = np.array_split(np.arange(len(steps)), min(STRETCHES, len(steps)))
    counts = [np.histogram(np.clip(size[part][size[part] > 0], sizes[0], None), sizes)[0] for part in parts]
    share = np.stack([100 * count / size[part].size for count, part in zip(counts, parts, strict=True)], axis=1)
    borders = np.append(steps[[part[0] for part in parts]] - 0.5, steps[-1] + 0.5)
    return plots.Histogram(borders, sizes, share, 100 * float(np.mean(size == 0)))


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


def _layers(built: TrainingProblem, chain: Chain, parameters: Mapping[str, Any]) -> list[plots.DrawnLayer]:
    slots = {slot.name: slot for slot in built.theta.slots}

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

    from gdcli.commands.explain.tree import Names

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
