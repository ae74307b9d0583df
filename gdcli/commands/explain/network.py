"""The passes through a chain of layers, neuron by neuron: weighted sums, outputs, and all derivatives.

Everything is worked out when it is asked for and kept, so that one number of a large model costs little.

A weight's derivative is a sum over all paths from the loss to it, and over the rows of the batch. While these are few
each path is written out in full, in the order loss, output neuron, weight, hidden neuron, ..., input; else the
derivative at the weighted sum, dL/dnet, is worked out neuron by neuron and the paths begin there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

from gdcli.commands.explain.activations import ELEMENTWISE, LAYERWISE, ONE
from gdcli.commands.explain.expression import Expression, Label, symbol, total, worked_factors
from gdcli.commands.explain.losses import WorkedLoss, worked_loss
from gdcli.commands.explain.naming import LOSS, Names, numbered, partial
from gdcli.commands.explain.tree import Quantity, quantity
from gdcli.zoo.models import Affine

WRITTEN_PATHS = 4
"""Paths from the loss to one neuron, times rows, up to which each is written out in full."""

T = TypeVar("T")


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

    def bias(self, j: int) -> Expression:
        """Return the bias of a neuron."""
        return self.biases[j if len(self.biases) > 1 else 0]


@dataclass(frozen=True, slots=True)
class WorkedProblem:
    """What a pass needs: the layers, the batch's inputs and targets as symbols, and the loss."""

    names: Names
    layers: tuple[WorkedLayer, ...]
    inputs: list[list[Expression]]
    targets: list[list[Expression]]
    classes: tuple[int, ...] | None
    loss: str
    arguments: Mapping[str, Any]


def numbered_layers(chain: Sequence[Affine], parameters: Mapping[str, Any]) -> tuple[WorkedLayer, ...]:
    """Number the parameters of a chain: w1, w2, ... row by row through all layers, b1, b2, ... likewise."""
    layers: list[WorkedLayer] = []
    weights = biases = 0
    for affine in chain:
        matrix, shift = parameters[f"{affine.name}weight"], parameters.get(f"{affine.name}bias", [])
        names = iter(numbered("w", affine.outputs * affine.inputs, weights))
        rows = [[symbol(next(names), value) for value in row] for row in matrix]
        below = [symbol(name, value) for name, value in zip(numbered("b", len(shift), biases), shift, strict=True)]
        layers.append(WorkedLayer(affine, rows, below))
        weights, biases = weights + affine.outputs * affine.inputs, biases + len(shift)
    return tuple(layers)


def product(path: Path) -> Expression:
    """Return the product of a path's local derivatives; factors that are not ``whole`` are written one by one."""
    factors: list[Expression] = []
    for step in path:
        split = not step.whole and step.formula.operation == "*" and bool(factors)
        factors += step.formula.operands if split else (step.formula,)
    return reduce(lambda left, right: left * right, factors)


def chain_of(path: Path) -> Expression:
    """Return the product of the names of a path's local derivatives."""
    return reduce(lambda left, right: left * right, (symbol(step.name, step.formula.value) for step in path))


def sum_of_paths(key: str, name: Label, paths: Sequence[Path]) -> Quantity:
    """Return a derivative as the sum over paths, each the product of its local derivatives."""
    formula = total(product(path) for path in paths)
    return Quantity(key, name, formula, worked_factors(formula), total(chain_of(path) for path in paths))


class Pass:
    """One forward and backward pass of a batch."""

    def __init__(self, problem: WorkedProblem) -> None:
        self.problem, self.names, self.layers = problem, problem.names, problem.layers
        self.rows = range(len(problem.inputs))
        self._kept: dict[tuple[Any, ...], Any] = {}
        layerwise = any(layer.affine.activation in LAYERWISE for layer in self.layers)
        paths = reduce(lambda count, layer: count * layer.affine.outputs, self.layers[1:], 1)
        self.written_out = not layerwise and (len(self.layers) == 1 or paths * len(self.rows) <= WRITTEN_PATHS)

    def _once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    # --- forward ------------------------------------------------------------------------------------------------------

    def net(self, k: int, b: int, j: int) -> Quantity:
        """Return the weighted sum of neuron j of layer k for row b; the output itself if there is no activation."""
        return self._once(("_net", k, b, j), lambda: self._net(k, b, j))

    def _net(self, k: int, b: int, j: int) -> Quantity:
        layer = self.layers[k]
        inputs = self.problem.inputs[b] if k == 0 else [self.out(k - 1, b, i) for i in range(layer.affine.inputs)]
        terms = [a * w for a, w in zip(inputs, layer.weights[j], strict=True)]
        label = self.net_name(k, b, j)
        return quantity(label.text, label, total([*terms, layer.bias(j)] if layer.biases else terms))

    def net_name(self, k: int, b: int, j: int) -> Label:
        """Return the name of a weighted sum: the neuron's own without an activation."""
        plain = self.layers[k].affine.activation == "none"
        return self.names.neuron(k, b, j) if plain else self.names.net(k, b, j)

    def activated(self, k: int, b: int, j: int) -> Quantity | None:
        """Return the output of a neuron, from its weighted sum; None without an activation."""
        return self._once(("_activated", k, b, j), lambda: self._activated(k, b, j))

    def _activated(self, k: int, b: int, j: int) -> Quantity | None:
        activation = self.layers[k].affine.activation
        if activation == "none":
            return None
        label = self.names.neuron(k, b, j)
        if activation in LAYERWISE:
            return quantity(label.text, label, LAYERWISE[activation][0](self.nets(k, b), j))
        formula, note = ELEMENTWISE[activation].value(self.net(k, b, j).symbol)
        return quantity(label.text, label, formula, note)

    def nets(self, k: int, b: int) -> list[Expression]:
        """Return the weighted sums of a layer as symbols."""
        return [self.net(k, b, j).symbol for j in range(self.layers[k].affine.outputs)]

    def out(self, k: int, b: int, j: int) -> Expression:
        """Return the output of a neuron as a symbol."""
        return (self.activated(k, b, j) or self.net(k, b, j)).symbol

    def outs(self, k: int, b: int) -> list[Expression]:
        """Return the outputs of a layer as symbols."""
        return [self.out(k, b, j) for j in range(self.layers[k].affine.outputs)]

    # --- loss ---------------------------------------------------------------------------------------------------------

    @property
    def loss(self) -> WorkedLoss:
        """The loss and its derivative at each output."""
        return self._once(("loss",), self._loss)

    def _loss(self) -> WorkedLoss:
        p, last = self.problem, len(self.layers) - 1
        outputs = [self.outs(last, b) if self.layers else p.inputs[b] for b in self.rows]
        return worked_loss(p.loss, p.arguments, self.names, outputs, p.targets, p.classes)

    # --- backward -----------------------------------------------------------------------------------------------------

    def local(self, k: int, b: int, j: int) -> Quantity | None:
        """Return the derivative of a neuron's output at its weighted sum; None without an activation of its own."""
        return self._once(("_local", k, b, j), lambda: self._local(k, b, j))

    def _local(self, k: int, b: int, j: int) -> Quantity | None:
        activation = self.layers[k].affine.activation
        if activation not in ELEMENTWISE:
            return None
        formula, note = ELEMENTWISE[activation].derivative(self.net(k, b, j).symbol, self.out(k, b, j))
        return self._derivative(self.names.neuron(k, b, j), self.net_name(k, b, j), formula, note)

    def _derivative(self, above: Label, below: Label, formula: Expression, note: str = "") -> Quantity:
        name = partial(above, below)
        return quantity(name.text, name, formula, note)

    def locals_of_layer(self, k: int, b: int, j: int) -> list[Quantity]:
        """Return the derivatives of all outputs of a layer at one weighted sum, where an activation couples them."""
        activation = self.layers[k].affine.activation
        if activation not in LAYERWISE:
            return []
        outs, below = self.outs(k, b), self.net_name(k, b, j)
        slope = LAYERWISE[activation][1]
        return [self._derivative(self.names.neuron(k, b, i), below, slope(outs, i, j)) for i in range(len(outs))]

    def at_output(self, k: int, b: int, j: int) -> Quantity:
        """Return dL/do of an output, or dL/dh of a hidden neuron: the sum over the neurons that it feeds."""
        return self._once(("_at_output", k, b, j), lambda: self._at_output(k, b, j))

    def _at_output(self, k: int, b: int, j: int) -> Quantity:
        if k == len(self.layers) - 1:
            return self.loss.slopes[b, j]
        name = partial(LOSS, self.names.neuron(k, b, j))
        return sum_of_paths(self._key(name), name, self._paths_to_output(k, b, j))

    def _key(self, name: Label) -> str:
        return name.text.removeprefix("dL/")

    def _paths_to_output(self, k: int, b: int, j: int) -> list[Path]:
        """Return the paths from the loss to the output of a hidden neuron."""
        above, here = self.layers[k + 1], self.names.neuron(k, b, j)
        return [
            (*path, WorkedStep(partial(self.net_name(k + 1, b, i), here), above.weights[i][j]))
            for i in range(above.affine.outputs)
            for path in self.paths(k + 1, b, i)
        ]

    def paths(self, k: int, b: int, j: int) -> list[Path]:
        """Return the paths from the loss to a weighted sum; one of one step where they are not written out."""
        if not self.written_out:
            slope = self.at_net(k, b, j)
            return [(WorkedStep(slope.name, slope.symbol),)]
        return self._all_paths(k, b, j)

    def _all_paths(self, k: int, b: int, j: int) -> list[Path]:
        last = k == len(self.layers) - 1
        slope = self.at_output(k, b, j) if last else None
        before: list[Path] = [(WorkedStep(slope.name, slope.formula),)] if slope else self._paths_to_output(k, b, j)
        local = self.local(k, b, j)
        if local is None:
            return before
        # the output's own product is one factor, a hidden neuron's is written factor by factor, as by hand
        return [(*path, WorkedStep(local.name, local.formula, last)) for path in before]

    def at_net(self, k: int, b: int, j: int) -> Quantity:
        """Return the derivative of the loss at a weighted sum."""
        return self._once(("_at_net", k, b, j), lambda: self._at_net(k, b, j))

    def _at_net(self, k: int, b: int, j: int) -> Quantity:
        slope, local = self.at_output(k, b, j), self.local(k, b, j)
        name = partial(LOSS, self.net_name(k, b, j))
        coupled = self.locals_of_layer(k, b, j)
        if local is None and not coupled:
            return slope
        if local is not None:
            return sum_of_paths(self._key(name), name, [(self._step(slope), self._step(local))])
        slopes = [self.at_output(k, b, i) for i in range(len(coupled))]
        pairs = zip(slopes, coupled, strict=True)
        return sum_of_paths(self._key(name), name, [(self._step(one), self._step(other)) for one, other in pairs])

    def _step(self, slope: Quantity) -> WorkedStep:
        return WorkedStep(slope.name, slope.symbol)

    # --- parameters ---------------------------------------------------------------------------------------------------

    def at_weight(self, k: int, j: int, i: int) -> Quantity:
        """Return dL/dw of the weight of layer k from input i to neuron j, summed over paths and rows."""
        return self._once(("_at_weight", k, j, i), lambda: self._at_weight(k, j, i))

    def _at_weight(self, k: int, j: int, i: int) -> Quantity:
        weight = self.layers[k].weights[j][i].label
        assert weight is not None
        paths = [
            (*path, WorkedStep(partial(self.net_name(k, b, j), weight), self._input(k, b, i)))
            for b in self.rows
            for path in self.paths(k, b, j)
        ]
        name = partial(LOSS, weight)
        return sum_of_paths(f"d{weight.text}", name, paths)

    def _input(self, k: int, b: int, i: int) -> Expression:
        return self.problem.inputs[b][i] if k == 0 else self.out(k - 1, b, i)

    def at_bias(self, k: int, j: int) -> Quantity:
        """Return dL/db: of a neuron, or of the layer whose neurons share it."""
        return self._once(("_at_bias", k, j), lambda: self._at_bias(k, j))

    def _at_bias(self, k: int, j: int) -> Quantity:
        layer = self.layers[k]
        shared = len(layer.biases) == 1
        bias = layer.biases[j].label
        assert bias is not None
        paths = [
            (*path, WorkedStep(partial(self.net_name(k, b, i), bias), ONE))
            for b in self.rows
            for i in (range(layer.affine.outputs) if shared else [j])
            for path in self.paths(k, b, i)
        ]
        name = partial(LOSS, bias)
        return sum_of_paths(f"d{bias.text}", name, paths)
