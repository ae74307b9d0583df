"""Whether data, model and loss fit together: widths, labels, the shape of a row; what does not is told with what would.

Torch's own layers are held against the data when they are traced, in `gdcli.engine.tracing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

from gdcli.errors import Problem
from gdcli.spec import class_weights, preconditions
from gdcli.spec.sections import RunSpec
from gdcli.spec.signature import Path
from gdcli.zoo.models import Architecture, Chain, Stack
from gdcli.zoo.table import Table


def shaped(spec: RunSpec, model: Architecture, training: Table | None, found: list[Problem]) -> Architecture:
    """Return a model of torch's layers with the shape that a row of the data has for it; others as they are.

    Adds a problem for a shape of more or fewer numbers than a row has.
    """
    if not isinstance(model, Stack) or training is None or spec.data is None:
        return model
    features = training.x.shape[1]
    shape = tuple(spec.data.shape or (features,))
    if prod(shape) != features:
        what = f"{list(shape)} makes {prod(shape):,} numbers, a row of the data has {features:,}"
        found.append(spec.problem(("data", "shape"), what))
    return replace(model, shape=shape)


def problems(spec: RunSpec, training: Table | None, tables: Sequence[Table], model: Architecture) -> list[Problem]:
    """Return what does not fit: ``tables`` are all rows of the source, and of each other file, in their order there."""
    if training is None or spec.loss is None:
        return []
    found = next(filter(None, (list(preconditions.problems(spec, table, model)) for table in tables)), [])
    found += class_weights.problems(spec, training, model)
    if not isinstance(model, Chain) or found:
        return found
    features = training.x.shape[1]
    inputs, outputs = (model.layers[0].inputs, model.layers[-1].outputs) if model.layers else (features, features)
    if inputs != features:
        path: Path = ("model", "layers", 0) if spec.model.name == "mlp" else ("model", "in_features")
        hint = f"Set it to {features}" + (", or leave it out" if spec.model.name == "linear" else "")
        found.append(spec.problem(path, f"the model takes {inputs} inputs, the data have {features}", hint))
    return [*found, *_outputs(spec, tables, outputs)]


def _outputs(spec: RunSpec, tables: Sequence[Table], outputs: int) -> Iterator[Problem]:
    """Yield where the outputs are not as many as the targets, or fewer than the classes of any row."""
    last: dict[str, Path] = {"linear": ("model", "out_features"), "identity": ("data", "y")}
    path = last.get(spec.model.name, ("model",))
    if spec.model.name == "mlp":
        path = ("model", "layers", len(spec.model.arguments["layers"]) - 1)
    features = tables[0].x.shape[1]
    if tables[0].y.ndim == 1:
        highest = max(int(table.y.max()) for table in tables)
        if highest >= outputs:
            inline = spec.data is not None and spec.data.source == "inline"
            where: Path = ("data", "y", spec.data.arguments["y"].index(highest)) if spec.data and inline else path
            what = f"class {highest} does not exist: the model has {outputs} outputs, from 0"
            yield spec.problem(where, what, _fitting(spec, features, highest + 1))
    elif (targets := tables[0].y.shape[1]) != outputs:
        what = f"the model gives {outputs} outputs, the data have {targets} targets"
        yield spec.problem(path, what, _fitting(spec, features, targets))


def _fitting(spec: RunSpec, features: int, outputs: int) -> str:
    """Return what gives a model so many outputs."""
    if spec.model.name == "linear":
        return f"out_features: {outputs} fits"
    layers = spec.model.arguments["layers"] if spec.model.name == "mlp" else ()
    return f"layers: {[features, *layers[1:-1], outputs]} fits" if 0 < len(layers) < 10 else ""
