"""What of a small model is drawn: neurons and weights in layers, or the operations of an objective's expression.

Nodes and edges have an id, a label, and the names of the quantities of `gdcli explain` that are their derivation. A
name is written for a step: with several rows a quantity has the row's number in it, h1[3].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from gdcli.commands.explain import Quantity, WorkedQuantities
from gdcli.commands.explain.expression import Expression
from gdcli.commands.explain.tree import Names
from gdcli.spec.load import Loaded
from gdcli.zoo.models import Chain, Objective

MOST_SHOWN = 3
"""Rows of a batch whose outputs and derivations are shown."""

Name = tuple[str, int]  # what stands before and behind a row's number, and the row's place in the batch; -1 for none


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """An input, a neuron, an operation of an expression, or the loss; ``value`` is the quantity of its output."""

    id: str
    layer: int
    value: Name | None
    derivation: tuple[Name, ...] = ()
    kind: str = "neuron"
    entry: str = ""  # of a variable: its column in the record's tables


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """A weight or a bias between two nodes, with its column in the record; or an operand of an operation."""

    id: str
    above: str
    below: str
    derivation: tuple[Name, ...]
    entry: str = ""
    value: Name | None = None


@dataclass(frozen=True, slots=True)
class Diagram:
    """The nodes and edges of a model."""

    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]

    def names(self) -> list[Name]:
        """Return all quantities that are worked out, each once."""
        found: dict[Name, None] = {}
        for derivation, value in [(each.derivation, each.value) for each in self.nodes] + [
            (each.derivation, each.value) for each in self.edges
        ]:
            found |= dict.fromkeys([*derivation, *([value] if value else [])])
        return list(found)


def name_at(name: Name, rows: tuple[int, ...]) -> str:
    """Return a quantity's name at a step whose batch has these rows, places in the data.

    >>> name_at(("net_h1", 1), (4, 7)), name_at(("net_h1", 0), (4,)), name_at(("dw5", -1), (4, 7))
    ('net_h1[8]', 'net_h1', 'dw5')
    """
    text, place = name
    return text if place < 0 or len(rows) < 2 else f"{text}[{rows[place] + 1}]"


def of_network(chain: Chain, shapes: Mapping[str, tuple[int, ...]], rows: int, trained: bool) -> Diagram:
    """Return the neurons of a chain, layer 0 being its inputs, with a node for the biases of each layer."""
    names, places = Names(len(chain.layers), (1,)), range(min(rows, MOST_SHOWN))
    nodes = [_input(names, i, places) for i in range(chain.layers[0].inputs)]
    edges: list[DrawnEdge] = []
    weights, biases = (map(f"{letter}{{}}".format, count(1)) for letter in "wb")
    for k, layer in enumerate(chain.layers):
        below = [node.id for node in nodes if node.layer == k and node.kind != "bias"]
        here = [names.neuron(k, 0, j).text for j in range(layer.outputs)]
        for name in here:
            plain = layer.activation == "none"
            kept = [name] if plain else [f"net_{name}", name]
            kept += [f"d{name}"] if plain else [f"d{name}", f"dnet_{name}"]
            nodes.append(DrawnNode(name, k + 1, (name, 0), tuple((one, b) for b in places for one in kept)))
        for j, name in enumerate(here):
            for i, one in enumerate(below):
                weight = next(weights)
                edges.append(_weight(weight, one, name, f"{layer.name}weight[{j},{i}]", trained))
        if layer.bias:
            one, shared = f"1_{k + 1}", shapes[f"{layer.name}bias"] == (1,)
            nodes.append(DrawnNode(one, k, None, (), "bias"))
            found = [next(biases) for _ in range(1 if shared else layer.outputs)]
            for j, name in enumerate(here):
                place = 0 if shared else j
                edges.append(_weight(found[place], one, name, f"{layer.name}bias[{place}]", trained))
    nodes.append(DrawnNode("L", len(chain.layers) + 1, ("loss", -1), (("loss", -1),), "loss"))
    return Diagram(tuple(nodes), tuple(edges))


def _input(names: Names, i: int, places: Iterable[int]) -> DrawnNode:
    name = names.of("x", i, None).text
    return DrawnNode(name, 0, (name, 0), tuple((f"d{name}", b) for b in places), "input")


def _weight(name: str, below: str, above: str, entry: str, trained: bool) -> DrawnEdge:
    new = ((f"new_{name}", -1),) if trained else ()
    return DrawnEdge(name, above, below, ((f"d{name}", -1), *new), entry)


def of_objective(found: WorkedQuantities, variables: Iterable[str], trained: bool) -> Diagram:
    """Return the operations of an objective as its derivation names them, v1 .. and L, above its variables."""
    forward = {one.name.text: one for one in _forward(found)}
    layers, nodes = dict.fromkeys(variables, 0), list[DrawnNode]()
    for name in layers:
        kept = [f"d{name}", *([f"new_{name}"] if trained else [])]
        derivation = tuple((one, -1) for one in kept if one in found.thunks)
        nodes.append(DrawnNode(name, 0, None, derivation, "variable", name))
    edges: list[DrawnEdge] = []
    for name, one in forward.items():
        operands = [each for each in dict.fromkeys(_symbols(one.formula)) if each in layers]
        layers[name] = 1 + max((layers[each] for each in operands), default=0)
        own = (one.key, -1)
        up = ((f"d{name}", -1),) if f"d{name}" in found.thunks else ()
        nodes.append(DrawnNode(name, layers[name], own, (own, *up), "loss" if one.key == "loss" else "neuron"))
        for each in operands:
            slope = (f"d{name}/d{each}", -1)
            if slope[0] in found.thunks:
                edges.append(DrawnEdge(slope[0], name, each, (slope,), value=slope))
    return Diagram(tuple(nodes), tuple(edges))


def _forward(found: WorkedQuantities) -> Iterator[Quantity]:
    """Yield the operations in the order in which they are computed: up to the loss, which is the last."""
    for name in found.thunks:
        yield found.of(name)
        if name == "loss":
            return


def _symbols(formula: Expression) -> Iterator[str]:
    if formula.label is not None:
        yield formula.label.text
        return  # what it stands for is another operation
    for each in formula.operands:
        yield from _symbols(each)


def diagram_of(loaded: Loaded, found: WorkedQuantities) -> Diagram:
    """Return what is drawn of a spec's model, a chain or an objective."""
    model, trained = loaded.architecture, bool(found.point.rules)
    if isinstance(model, Objective):
        return of_objective(found, model.start, trained)
    assert isinstance(model, Chain)
    return of_network(model, loaded.shapes or {}, len(found.point.rows), trained)
