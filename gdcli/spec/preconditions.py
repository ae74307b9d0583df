"""What a loss asks of outputs and targets: a problem where it is undefined, a warning where it is unusual."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gdcli.errors import Problem
from gdcli.spec.sections import RunSpec
from gdcli.spec.signature import got
from gdcli.zoo.losses import TARGETS
from gdcli.zoo.models import ACTIVATION_LAYERS, Architecture, Stack
from gdcli.zoo.table import Table
from gdcli.zoo.torch_layers import ANY_NUMBER, KEEPING, POOLS

PROBABILITIES = ("sigmoid", "hardsigmoid", "softmax")
"""The activations whose outputs all lie in [0, 1]."""

LOG_PROBABILITIES = ("log_softmax", "logsigmoid")


def problems(spec: RunSpec, table: Table, model: Architecture) -> Iterator[Problem]:
    """Yield what leaves the loss undefined: targets that it does not take, outputs outside its domain."""
    assert spec.loss is not None
    name, kind = spec.loss.name, TARGETS.get(spec.loss.name, "values")
    if kind == "classes" and name == "nll" and table.y.ndim == 2:
        yield spec.problem(("data", "y"), "nll takes class indices: a list of integers")
    elif kind == "probabilities" and (table.y.min() < 0 or table.y.max() > 1):
        outside = float(table.y.max() if table.y.max() > 1 else table.y.min())
        yield spec.problem(("data", "y"), f"{name} takes targets from 0 to 1 {got(outside)}")
    elif name == "bce" and spec.model.name == "identity" and (table.x.min() < 0 or table.x.max() > 1):
        yield spec.problem(("data", "x"), "bce takes outputs from 0 to 1; for logits use bce_with_logits")
    elif name == "bce" and (last := last_activation(spec, model)) not in (None, *PROBABILITIES):
        what = f"bce takes outputs from 0 to 1, {_outputs_of(last)} can be any"
        yield spec.problem(("loss",), what, f"Set {_key(spec, 'sigmoid')}, or take the loss bce_with_logits")


def warnings(spec: RunSpec, table: Table, model: Architecture) -> Iterator[Problem]:
    """Yield what the loss is defined for, but hardly meant: scores where it takes probabilities, or the other way."""
    assert spec.loss is not None
    name, last = spec.loss.name, last_activation(spec, model)
    if name in ("cross_entropy", "bce_with_logits") and last in PROBABILITIES:
        inside, other = {"cross_entropy": ("a softmax", "nll with log_softmax")}.get(name, ("a sigmoid", "bce"))
        what = f"{name} takes scores and has {inside} of its own, {_outputs_of(last)} are probabilities already"
        yield spec.problem(("loss",), what, f"Leave the activation out, or take {other}")
    elif name in ("nll", "kl_div") and last not in (None, *LOG_PROBABILITIES):
        other = ", or take the loss cross_entropy" if name == "nll" else ""
        what = f"{name} takes logarithms of probabilities, {_outputs_of(last)} are none"
        yield spec.problem(("loss",), what, f"Set {_key(spec, 'log_softmax')}{other}")
    if table.y.ndim == 1 and spec.data is not None and spec.data.source == "file":
        rows = np.bincount(table.y, minlength=table.classes)
        if (empty := np.flatnonzero(rows == 0)).size:
            what = f"class {empty[0]} has no row: labels up to {table.y.max()} make {len(rows)} classes"
            yield spec.problem(("data", "target"), what, "Number the classes from 0")


def last_activation(spec: RunSpec, model: Architecture) -> str | None:
    """Return the activation whose outputs are the model's; None where it is not known.

    It is 'none' after a layer that may give any number: an affine one, a norm, dropout, a recurrent one.
    """
    if not isinstance(model, Stack):
        layers = getattr(model, "layers", ())
        return layers[-1].activation if layers else None
    kind = next((layer.layer for layer in reversed(model.layers) if layer.layer not in (*KEEPING, *POOLS)), "")
    return "none" if kind in ANY_NUMBER else ACTIVATION_LAYERS.get(kind)


def _outputs_of(activation: str | None) -> str:
    return "those of a layer without activation" if activation == "none" else f"those of {activation}"


def _key(spec: RunSpec, activation: str) -> str:
    if spec.model.name == "mlp":
        return f"output_activation: {activation}"
    layer = next(layer for layer, name in ACTIVATION_LAYERS.items() if name == activation)
    if spec.model.name == "sequential":
        return f"a last layer {layer}"
    return f"model: {{type: mlp, layers: [...], output_activation: {activation}}}"
