"""The passes through a chain of layers, neuron by neuron: weighted sums, outputs, and all derivatives.

Everything is worked out when it is asked for and kept, so that one number of a large model costs little.

A weight's derivative is a sum over all paths from the loss to it, and over the rows of the batch. While these are few
each path is written out in full, in the order loss, output neuron, weight, hidden neuron, ..., input; else the
derivative at the weighted sum, dL/dnet, is worked out neuron by neuron and the paths begin there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, reduce
from functools import partial as bound
from itertools import count
from operator import mul
from typing import Any

import numpy as np

from gdcli.commands.explain.activations import ELEMENTWISE, LAYERWISE, ONE
from gdcli.commands.explain.expression import Expression, Label, defined, symbol, total, worked_factors
from gdcli.commands.explain.losses import WorkedLoss, worked_loss
from gdcli.commands.explain.point import EvaluationPoint
from gdcli.commands.explain.shaping import parts_of_loss, penalized
from gdcli.commands.explain.tree import LOSS, Names, Quantity, partial, quantity
from gdcli.spec.class_weights import weights_of
from gdcli.spec.load import Loaded
from gdcli.spec.models import match
from gdcli.zoo.models import Affine, Chain

WRITTEN_PATHS = 4
"""Paths from the loss to one neuron, times rows, up to which each is written out in full."""

Thunk = Callable[[], Quantity]


@dataclass(frozen=True, slots=True)
class WorkedStep:
    """One local derivative on a path: its name and its formula; ``whole`` keeps a product together as one factor."""

    name: Label
    formula: Expression
    whole: bool = True


Path = tuple[WorkedStep, ...]


@dataclass(frozen=True, slots=True)
class WorkedLayer:
    """One layer with its numbered parameters: weights [outputs][inputs], biases [outputs], [1] shared, or none."""

    affine: Affine
    weights: list[list[Expression]]
    biases: list[Expression]


@dataclass(frozen=True, slots=True)
class WorkedScalar:
    """One scalar of a parameter: its place there, its entry (linear1.weight[0,1]), its symbol, and its derivative."""

    parameter: str
    place: int
    entry: str
    symbol: Expression
    gradient: Thunk


def as_step(slope: Quantity) -> WorkedStep:
    """Return a derivative that is worked out already as one factor of a path."""
    return WorkedStep(slope.name, slope.symbol)


def product(path: Path) -> Expression:
    """Return the product of a path's local derivatives; factors that are not ``whole`` are written one by one."""
    factors: list[Expression] = []
    for step in path:
        split = not step.whole and step.formula.operation == "*" and bool(factors)
        factors += step.formula.operands if split else (step.formula,)
    return reduce(mul, factors)


def sum_of_paths(below: Label, paths: Sequence[Path]) -> Quantity:
    """Return dL/d(below) as the sum over paths, each the product of its local derivatives."""
    formula = total(product(path) for path in paths)
    chain = total(reduce(mul, (defined(step.name, step.formula) for step in path)) for path in paths)
    return Quantity(f"d{below.text}", partial(LOSS, below), formula, worked_factors(formula), chain)


class Pass:
    """One forward and backward pass of a batch."""

    def __init__(self, loaded: Loaded, point: EvaluationPoint) -> None:
        table, spec, model = loaded.training, loaded.spec, loaded.architecture
        assert table is not None
        assert spec.loss is not None
        assert isinstance(model, Chain)
        self.layers, self.loss_spec, self.rows = _numbered(model, point.parameters), spec.loss, range(len(point.rows))
        frozen = {name for pattern in spec.model.freeze for name in match(pattern, model.shapes)}
        self.penalty = spec.penalty
        self.penalized = (
            {name for name in model.shapes if name.endswith("weight")} - frozen if self.penalty.is_on else ()
        )
        self.names = names = Names(len(model.layers), tuple(row + 1 for row in point.rows))
        if (weights := weights_of(spec.loss, table)) is not None:  # balanced ones as numbers
            self.loss_spec = replace(spec.loss, arguments={**spec.loss.arguments, "class_weights": weights})
        letter = "x" if model.layers else "o"
        self.data = [
            [symbol(names.of(letter, i, b), float(value)) for i, value in enumerate(table.x[row])]
            for b, row in enumerate(point.rows)
        ]
        width = model.layers[-1].outputs if model.layers else table.x.shape[1]
        self.classes = tuple(int(table.y[row]) for row in point.rows) if table.y.ndim == 1 else None
        self.targets = [
            [symbol(names.of("t", j, b), value) for j, value in enumerate(_target(table.y[row], width))]
            for b, row in enumerate(point.rows)
        ]
        layerwise = any(layer.affine.activation in LAYERWISE for layer in self.layers)
        paths = reduce(lambda count, layer: count * layer.affine.outputs, self.layers[1:], 1)
        self.written_out = not layerwise and (len(self.layers) == 1 or paths * len(self.rows) <= WRITTEN_PATHS)
        for method in (self.net, self.output, self.local, self.at_output, self.at_net, self.at_weight, self.at_bias):
            setattr(self, method.__name__, cache(method))

    # --- forward ------------------------------------------------------------------------------------------------------

    def inputs(self, k: int, b: int) -> list[Expression]:
        """Return what layer k is given, as symbols: the data, or the outputs of the layer below."""
        if k == 0:
            return self.data[b]
        return [self.output(k - 1, b, i).symbol for i in range(self.layers[k - 1].affine.outputs)]

    def net(self, k: int, b: int, j: int) -> Quantity:
        """Return the weighted sum of neuron j of layer k for row b; the output itself if there is no activation."""
        layer = self.layers[k]
        terms = [a * w for a, w in zip(self.inputs(k, b), layer.weights[j], strict=True)]
        bias = layer.biases[j : j + 1] or layer.biases  # the layer's only one, if it is shared
        return quantity(self.net_name(k, b, j), total([*terms, *bias]))

    def net_name(self, k: int, b: int, j: int) -> Label:
        """Return the name of a weighted sum: the neuron's own without an activation."""
        plain = self.layers[k].affine.activation == "none"
        return self.names.neuron(k, b, j) if plain else self.names.net(k, b, j)

    def output(self, k: int, b: int, j: int) -> Quantity:
        """Return the output of a neuron, from its weighted sum; that itself without an activation."""
        affine, net = self.layers[k].affine, self.net(k, b, j)
        if affine.activation == "none":
            return net
        if affine.activation in LAYERWISE:
            nets = [self.net(k, b, i).symbol for i in range(affine.outputs)]
            return quantity(self.names.neuron(k, b, j), LAYERWISE[affine.activation][0](nets, j))
        return quantity(self.names.neuron(k, b, j), *ELEMENTWISE[affine.activation].value(net.symbol))

    # --- loss ---------------------------------------------------------------------------------------------------------

    @cached_property
    def loss(self) -> WorkedLoss:
        """The loss, with its penalty, and its derivative at each output."""
        found = worked_loss(self.loss_spec, self.names, self.outputs, self.targets, self.classes)
        if not self.penalized:
            return found
        layers = (layer for layer in self.layers if f"{layer.affine.name}weight" in self.penalized)
        weights = [weight for layer in layers for row in layer.weights for weight in row]
        parts = parts_of_loss(found.value, weights, self.penalty)
        whole = quantity(LOSS, parts[0].symbol + parts[1].symbol, key="loss", title="Loss with Penalty")
        return replace(found, value=whole, parts=parts)

    @cached_property
    def outputs(self) -> list[list[Expression]]:
        """The model's outputs [B][O], as symbols."""
        return [self.inputs(len(self.layers), b) for b in self.rows]

    # --- backward -----------------------------------------------------------------------------------------------------

    def reached(self, k: int, j: int) -> Sequence[int]:
        """Return the outputs of a layer that its activation makes of one weighted sum: none, its own or all."""
        affine = self.layers[k].affine
        if affine.activation == "none":
            return []
        return range(affine.outputs) if affine.activation in LAYERWISE else [j]

    def local(self, k: int, b: int, i: int, j: int) -> Quantity:
        """Return the derivative of output i of a layer at its weighted sum j."""
        activation, name = self.layers[k].affine.activation, partial(self.names.neuron(k, b, i), self.net_name(k, b, j))
        if activation in LAYERWISE:
            return quantity(name, LAYERWISE[activation][1](self.inputs(k + 1, b), i, j))
        return quantity(
            name, *ELEMENTWISE[activation].derivative(self.net(k, b, j).symbol, self.output(k, b, j).symbol)
        )

    def at_output(self, k: int, b: int, j: int) -> Quantity:
        """Return dL/do of an output, or dL/dh of a hidden neuron: the sum over the neurons that it feeds.

        Layer -1 are the data, whose dL/dx is of the same kind.
        """
        if k == len(self.layers) - 1:
            return self.loss.slopes[b, j]
        return sum_of_paths(self._output_name(k, b, j), self._paths_to_output(k, b, j))

    def _output_name(self, k: int, b: int, j: int) -> Label:
        return self.names.of("x", j, b) if k < 0 else self.names.neuron(k, b, j)

    def _paths_to_output(self, k: int, b: int, j: int) -> list[Path]:
        """Return the paths from the loss to the output of a hidden neuron."""
        above, here = self.layers[k + 1], self._output_name(k, b, j)
        return [
            (*path, WorkedStep(partial(self.net_name(k + 1, b, i), here), above.weights[i][j]))
            for i in range(above.affine.outputs)
            for path in self.paths(k + 1, b, i)
        ]

    def paths(self, k: int, b: int, j: int) -> list[Path]:
        """Return the paths from the loss to a weighted sum; one of one step where they are not written out."""
        if not self.written_out:
            return [(as_step(self.at_net(k, b, j)),)]
        last = k == len(self.layers) - 1
        slope = self.at_output(k, b, j) if last else None
        before: list[Path] = [(WorkedStep(slope.name, slope.formula),)] if slope else self._paths_to_output(k, b, j)
        if not self.reached(k, j):
            return before
        # the output's own product is one factor, a hidden neuron's is written factor by factor, as by hand
        local = self.local(k, b, j, j)
        return [(*path, WorkedStep(local.name, local.formula, last)) for path in before]

    def at_net(self, k: int, b: int, j: int) -> Quantity:
        """Return the derivative of the loss at a weighted sum."""
        reached = self.reached(k, j)
        if not reached:
            return self.at_output(k, b, j)
        paths = [(as_step(self.at_output(k, b, i)), as_step(self.local(k, b, i, j))) for i in reached]
        return sum_of_paths(self.net_name(k, b, j), paths)

    # --- parameters ---------------------------------------------------------------------------------------------------

    def scalars(self, k: int) -> Iterator[WorkedScalar]:
        """Yield the scalars of a layer, parameter by parameter, each in its order."""
        layer = self.layers[k]
        for name in layer.affine.shapes:
            if name.endswith("bias"):
                for j, bias in enumerate(layer.biases):
                    yield WorkedScalar(name, j, f"{name}[{j}]", bias, bound(self.at_bias, k, j))
                continue
            for place, (j, i) in enumerate(np.ndindex(len(layer.weights), len(layer.weights[0]))):
                gradient = bound(self.at_weight, k, j, i)
                yield WorkedScalar(name, place, f"{name}[{j},{i}]", layer.weights[j][i], gradient)

    def at_weight(self, k: int, j: int, i: int) -> Quantity:
        """Return dL/dw of the weight of layer k from input i to neuron j, summed over paths and rows."""
        weight = self.layers[k].weights[j][i]
        found = self._at_parameter(weight, k, [j], lambda b: self.inputs(k, b)[i])
        is_penalized = f"{self.layers[k].affine.name}weight" in self.penalized
        return penalized(found, weight, self.penalty) if is_penalized else found

    def at_bias(self, k: int, j: int) -> Quantity:
        """Return dL/db: of a neuron, or of the layer whose neurons share it."""
        layer = self.layers[k]
        neurons = range(layer.affine.outputs) if len(layer.biases) == 1 else [j]
        return self._at_parameter(layer.biases[j], k, neurons, lambda b: ONE)

    def _at_parameter(
        self, parameter: Expression, k: int, neurons: Iterable[int], factor: Callable[[int], Expression]
    ) -> Quantity:
        """Return the derivative at a parameter whose neurons' weighted sums have a factor of it, by row."""
        paths = [
            (*path, WorkedStep(partial(self.net_name(k, b, j), parameter.name), factor(b)))
            for b in self.rows
            for j in neurons
            for path in self.paths(k, b, j)
        ]
        return sum_of_paths(parameter.name, paths)


def _numbered(model: Chain, parameters: Mapping[str, Any]) -> tuple[WorkedLayer, ...]:
    """Number the parameters of a chain: w1, w2, ... row by row through all layers, b1, b2, ... likewise."""
    weights, biases = map("w{}".format, count(1)), map("b{}".format, count(1))
    return tuple(
        WorkedLayer(
            affine,
            [[symbol(next(weights), value) for value in row] for row in parameters[f"{affine.name}weight"]],
            [symbol(next(biases), value) for value in parameters.get(f"{affine.name}bias", [])],
        )
        for affine in model.layers
    )


def _target(y: Any, width: int) -> list[float]:
    """Return a row of targets; for a class index 1 at its output and 0 elsewhere."""
    return [int(j == y) for j in range(width)] if y.ndim == 0 else [float(value) for value in y]
