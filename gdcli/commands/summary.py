"""`gdcli validate --summary`: what the layers of a model give of a row, and their parameters; nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from gdcli.commands.context import Frontend
from gdcli.report import tables
from gdcli.spec.load import Loaded
from gdcli.spec.models import match
from gdcli.spec.sections import RunSpec
from gdcli.zoo.models import Chain, Objective, Stack

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One layer: its name, what it is, the shape that it gives of one row, its parameters."""

    layer: str
    kind: str
    output: tuple[int, ...]
    parameters: int | None  # None: it is the data


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """The layers of a model in the order in which they work, and its parameters."""

    rows: tuple[SummaryRow, ...]
    parameters: int
    trained: int

    def text(self) -> str:
        """Return the table, and the sum below it."""
        rows = [[row.layer, row.kind, str(list(row.output)), row.parameters] for row in self.rows]
        of = "all of them trained" if self.trained == self.parameters else f"{self.trained:,} of them trained"
        total = f"{self.parameters:,} parameters" + (f", {of}" if self.parameters else "")
        return tables.aligned(["layer", "kind", "output shape", "parameters"], rows) + f"{total}\n"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def summary(loaded: Loaded, frontend: Frontend) -> ModelSummary:
    """Return the summary of a checked spec; of torch's own layers by their shapes alone, without memory.

    Raises SpecError for layers that do not fit.
    """
    model, shapes = loaded.architecture, dict[str, tuple[int, ...]]()
    found = [] if loaded.training is None else [SummaryRow("", "a row of the data", loaded.row_shape, None)]
    if isinstance(model, Stack):
        frontend.engine()
        from gdcli.engine.layers import flattened
        from gdcli.engine.tracing import traced

        for layer in flattened(traced(loaded)):
            of_layer = _shared(loaded.spec, layer.shapes)
            shapes |= of_layer
            kind = f"{layer.layer.layer}, last step" if layer.layer.last else layer.layer.layer
            found.append(SummaryRow(layer.name, kind, layer.output, sum(map(prod, of_layer.values()))))
    else:
        for row, of_row in _written_out(loaded, model):
            found.append(row)
            shapes |= of_row
    frozen = {name for pattern in loaded.spec.model.freeze for name in match(pattern, shapes)}
    trained = sum(prod(shape) for name, shape in shapes.items() if name not in frozen)
    return ModelSummary(tuple(found), sum(map(prod, shapes.values())), trained)


def _written_out(loaded: Loaded, model: Chain | Objective) -> Iterator[tuple[SummaryRow, Shapes]]:
    if isinstance(model, Objective):
        for name in model.start:
            yield SummaryRow(name, "variable", (), 1), {name: ()}
        return
    for layer in model.layers:
        shapes = _shared(loaded.spec, layer.shapes)
        kind = "Linear" if layer.activation == "none" else f"Linear, {layer.activation}"
        name = layer.name.removesuffix(".") or "linear"
        yield SummaryRow(name, kind, (layer.outputs,), sum(map(prod, shapes.values()))), shapes


def _shared(spec: RunSpec, shapes: Shapes) -> Shapes:
    """Return the shapes of a layer's parameters as they start: a list of one number is one bias for all units."""
    found = dict(shapes)
    for name, shape in shapes.items():
        given = [value for pattern, value in spec.model.init.items() if match(pattern, {name: 0})]
        lists = [value for value in given if isinstance(value, list)]
        if len(shape) == 1 and lists and len(lists[-1]) == 1:
            found[name] = (1,)
    return found
