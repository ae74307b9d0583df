"""The derivations of a run's steps, by the code of `gdcli explain`, as lines that share their words and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gdcli.commands.explain import WorkedQuantities, lines, only, stepped
from gdcli.commands.report.diagram import (
    MOST_SHOWN,
    Diagram,
    DrawnEdge,
    DrawnNode,
    Name,
    diagram_of,
    name_at,
    of_network,
)
from gdcli.commands.report.shared_lines import SharedLines, split
from gdcli.errors import GdcliError, RunError
from gdcli.spec.load import Loaded
from gdcli.zoo.models import Chain

MOST_WORKED = 5_000
"""Rows of a step whose lines are too long in any model."""


class Derivations:
    """What is drawn of a model, and the lines of its quantities. ``why`` says why there are none."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded, self.why, self.numbers = loaded, "", 0
        self.diagram: Diagram | None = None
        self.ended: tuple[int, str] | None = None  # the step before which the run diverges
        spec, samples = loaded.spec, loaded.samples
        self.rows = samples if spec.settings.epochs == 0 or not samples else spec.batch.rows(samples)
        self.shown_rows = min(self.rows, MOST_SHOWN)
        if self.rows > MOST_WORKED and isinstance(loaded.architecture, Chain):
            self.diagram = of_network(loaded.architecture, loaded.shapes or {}, self.rows, spec.optimizer is not None)
            self.numbers = self.rows * MOST_WORKED
            return
        try:
            first = next(stepped(loaded, [1]))
        except GdcliError as error:
            self.why = str(error)
            return
        self.diagram = diagram_of(loaded, first)
        self.rows, self.shown_rows = len(first.point.rows), min(len(first.point.rows), MOST_SHOWN)
        self.numbers = sum(len(split(_text(first, name) or "")[1]) for name in self.diagram.names())

    def drawn(
        self, shared: SharedLines, steps: Sequence[int], columns: Mapping[str, Mapping[str, int]], worked: Sequence[int]
    ) -> dict[str, Any]:
        """Return nodes, edges and the lines of each quantity, of those steps that are ``worked`` out."""
        assert self.diagram is not None
        names = self.diagram.names()
        texts: dict[Name, list[str | None]] = {name: [None] * len(steps) for name in names}
        values: dict[Name, list[str | None]] = {name: [None] * len(steps) for name in names}
        wanted = set(worked)
        place = {max(1, step): k for k, step in enumerate(steps) if step in wanted}  # step 0: a pass without an update
        try:
            for found in stepped(self.loaded, place) if place else ():
                k = place[found.point.step]
                for name in names:
                    texts[name][k], values[name][k] = _text(found, name), self._value(found, name)
        except RunError as error:
            done = sum(text is not None for text in texts[names[0]])
            self.ended = (worked[min(done, len(worked) - 1)], str(error))
        kept = [name for name in names if any(text is not None for text in texts[name])]
        number = {name: k for k, name in enumerate(kept)}
        numbers = {
            name: shared.column(found) for name, found in values.items() if any(cell is not None for cell in found)
        }
        return {
            "nodes": [_node(each, number, numbers, columns) for each in self.diagram.nodes],
            "edges": [_edge(each, number, numbers, columns) for each in self.diagram.edges],
            "lines": [{"name": f"{name[0]}", **shared.text(texts[name])} for name in kept],
        }

    def _value(self, found: WorkedQuantities, name: Name) -> str | None:
        """Return a quantity as its shortest text; an input as the data have it."""
        key = name_at(name, found.point.rows)
        if key in found.thunks:
            return _shown(found, key)
        table, letter = self.loaded.training, name[0]
        if table is None or not letter.startswith("x") or name[1] < 0:
            return None
        return repr(float(table.x[found.point.rows[name[1]]][int(letter[1:]) - 1]))


def _shown(found: WorkedQuantities, key: str) -> str | None:
    try:
        return repr(found.of(key).value)
    except ArithmeticError:
        return None


def _text(found: WorkedQuantities, name: Name) -> str | None:
    """Return what `explain --only` prints of a quantity, and its lines of the whole explanation."""
    key = name_at(name, found.point.rows)
    if key not in found.thunks:
        return None
    try:
        one = found.of(key)
        return only([one]) + "\n".join(lines(one))
    except ArithmeticError:
        return None


def _node(
    node: DrawnNode, lines_of: Mapping[Name, int], values: Mapping[Name, int], columns: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    value = columns["weights"].get(node.entry) if node.entry else values.get(node.value) if node.value else None
    return {
        "id": node.id, "layer": node.layer, "kind": node.kind, "value": value,
        "gradient": columns["gradients"].get(node.entry), "entry": node.entry,
        "lines": [lines_of[name] for name in node.derivation if name in lines_of],
    }  # fmt: skip


def _edge(
    edge: DrawnEdge, lines_of: Mapping[Name, int], values: Mapping[Name, int], columns: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    own = columns["weights"].get(edge.entry)
    return {
        "id": edge.id, "from": edge.below, "to": edge.above, "entry": edge.entry,
        "weight": values.get(edge.value) if edge.value else own,
        "gradient": columns["gradients"].get(edge.entry),
        "lines": [lines_of[name] for name in edge.derivation if name in lines_of],
    }  # fmt: skip
