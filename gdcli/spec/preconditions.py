"""What a loss asks of outputs and targets: a problem where it is undefined, a warning where it is unusual."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import Problem
from gdcli.spec.sections import RunSpec
from gdcli.spec.signature import got
from gdcli.zoo.losses import TARGETS
from gdcli.zoo.models import ACTIVATION_LAYERS, Architecture, Chain, Stack, TorchLayer
from gdcli.zoo.table import Inputs, Table
from gdcli.zoo.torch_layers import ANY_NUMBER, DROPOUTS, KEEPING, POOLS

PROBABILITIES = ("sigmoid", "hardsigmoid", "softmax")
"""The activations whose outputs all lie in [0, 1]."""

LOG_PROBABILITIES = ("log_softmax", "logsigmoid")

ROUNDED = 0.005
"""How far a sum of probabilities may be from 1: rounded to three digits, those of ten classes are as far."""

_OWN_BOUNDS = {"min_val", "max_val", "divisor_override"}
"""Arguments that say where a layer's outputs lie."""


def problems(spec: RunSpec, table: Table, model: Architecture) -> Iterator[Problem]:
    """Yield what leaves the loss undefined: targets that it does not take, outputs outside its domain."""
    assert spec.loss is not None
    name, kind = spec.loss.name, TARGETS.get(spec.loss.name, "values")
    if kind == "classes" and name == "nll" and table.y.ndim == 2:
        yield spec.problem(("data", "y"), "nll takes class indices: a list of integers")
    elif (kind == "probabilities" or _has_shares(spec, table)) and (table.y.min() < 0 or table.y.max() > 1):
        row, column = divmod(int(table.y.argmax() if table.y.max() > 1 else table.y.argmin()), table.y.shape[1])
        hint = "Rows are probabilities of classes; class indices are a list of integers" if kind == "classes" else ""
        what = f"{name} takes targets from 0 to 1 {got(float(table.y[row, column]))}"
        yield spec.problem(_target(spec, row), what, hint)
    elif name == "bce" and spec.model.name == "identity" and (table.x.min() < 0 or table.x.max() > 1):
        yield spec.problem(("data", "x"), "bce takes outputs from 0 to 1; for logits use bce_with_logits")
    elif name == "bce" and (last := last_activation(spec, model)) not in (None, *PROBABILITIES):
        what = f"bce takes outputs from 0 to 1, {_outputs_of(last)} can lie outside"
        yield spec.problem(("loss",), what, f"Set {_key(spec, 'sigmoid')}, or take the loss bce_with_logits")
    elif name == "bce" and last is not None and _drops(model):
        what = "bce takes outputs from 0 to 1, a dropout after them scales those that it keeps"
        yield spec.problem(("loss",), what, "Put the dropout before the last linear layer")


def warnings(spec: RunSpec, table: Table, model: Architecture, *, named: bool = False) -> Iterator[Problem]:
    """Yield what the loss is defined for, but hardly meant: scores where it takes probabilities, or the other way.

    named: whether the classes are the values of the training rows, each of which has a row there.
    """
    assert spec.loss is not None
    name, last = spec.loss.name, last_activation(spec, model)
    if _outputs(table, model) == 1 and (name == "cross_entropy" or last in ("softmax", "log_softmax")):
        number = 0 if name == "cross_entropy" or last == "log_softmax" else 1
        over = name if name == "cross_entropy" else last
        what = f"{over} over one output is {number}, whatever the parameters are"
        yield spec.problem(("loss",), what, "Give each class an output, or take bce_with_logits without an activation")
    elif name in ("cross_entropy", "bce_with_logits") and last in PROBABILITIES:
        inside, other = {"cross_entropy": ("a softmax", "nll with log_softmax")}.get(name, ("a sigmoid", "bce"))
        what = f"{name} takes scores and has {inside} of its own, {_outputs_of(last)} are probabilities already"
        yield spec.problem(("loss",), what, f"Leave the activation out, or take {other}")
    elif name in ("nll", "kl_div") and last in LOG_PROBABILITIES and _drops(model):
        what = f"{name} takes logarithms of probabilities, a dropout after them scales those that it keeps"
        yield spec.problem(("loss",), what, "Put the dropout before the last linear layer")
    elif name in ("nll", "kl_div") and last not in (None, *LOG_PROBABILITIES):
        other = ", or take the loss cross_entropy" if name == "nll" else ""
        what = f"{name} takes logarithms of probabilities, {_outputs_of(last)} are none"
        yield spec.problem(("loss",), what, f"Set {_key(spec, 'log_softmax')}{other}")
    elif name in ("nll", "kl_div") and spec.model.name == "identity" and not are_log_probabilities(table.x).all():
        row = int(np.argmin(are_log_probabilities(table.x)))
        what = f"{name} takes logarithms of probabilities, those of row {row + 1} do not sum to 1"
        yield spec.problem(("data", "x"), what, "For scores take cross_entropy" if name == "nll" else "")
    yield from _of_targets(spec, table, named=named)


def _of_targets(spec: RunSpec, table: Table, *, named: bool) -> Iterator[Problem]:
    assert spec.loss is not None
    if table.y.ndim == 1 and _counts_classes(spec) and not named:
        labels = np.unique(table.y)  # not counted from 0: one label may be as large as an integer can be
        if len(labels) < table.classes:
            empty = next((k for k, label in enumerate(labels) if k != label), len(labels))
            what = f"class {empty} has no row: labels up to {table.classes - 1} make {table.classes} classes"
            yield spec.problem(_target(spec), what, "Number the classes from 0")
    elif spec.loss.name == "kl_div" or (_has_shares(spec, table) and table.classes > 1):
        sums = table.y.sum(axis=1)
        if (off := np.flatnonzero(abs(sums - 1) > ROUNDED)).size:
            row = int(off[0])
            what = f"the targets of row {row + 1} have the sum {sums[row]:.6g}"
            yield spec.problem(_target(spec, row), what, f"{spec.loss.name} takes probabilities, whose sum is 1")


def _has_shares(spec: RunSpec, table: Table) -> bool:
    """Say whether each row has a probability of each class for its target, in place of an index."""
    assert spec.loss is not None
    return TARGETS.get(spec.loss.name) == "classes" and table.y.ndim == 2


def _counts_classes(spec: RunSpec) -> bool:
    """Say whether labels without a row are told: a file's, and those that a model's outputs are counted by."""
    source = spec.data.source if spec.data is not None else ""
    is_sized = spec.model.name != "linear" or spec.model.arguments.get("out_features") is not None
    return source == "file" or (source == "inline" and not is_sized)


def _target(spec: RunSpec, row: int | None = None) -> tuple[str | int, ...]:
    """Return where the spec has its targets, or those of a row."""
    source = spec.data.source if spec.data is not None else ""
    if source == "inline":
        return ("data", "y") if row is None else ("data", "y", row)
    return ("data", "target") if source == "file" else ("data",)


def _outputs(table: Table, model: Architecture) -> int | None:
    """Return how many outputs a model has; None where torch alone knows."""
    if isinstance(model, Chain):
        return model.layers[-1].outputs if model.layers else table.x.shape[1]
    if table.y.ndim == 2:
        return int(table.y.shape[1])
    found = [layer.arguments.get("out_features") for layer in getattr(model, "layers", ())]
    return next((width for width in reversed(found) if width is not None), None)


def are_log_probabilities(x: Inputs) -> NDArray[np.bool_]:
    """Say of each row [N, D] whether its numbers are the logarithms of probabilities that sum to 1, but for rounding.

    >>> are_log_probabilities(np.log([[0.2, 0.8], [0.2, 0.7]])).tolist()
    [True, False]
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.abs(np.exp(x, dtype=np.float64).sum(axis=1) - 1) < 1e-3)


def last_activation(spec: RunSpec, model: Architecture) -> str | None:
    """Return the activation whose outputs are the model's; None where it is not known.

    It is 'none' after a layer that may give any number: an affine one, a norm, dropout, a recurrent one.
    """
    if not isinstance(model, Stack):
        layers = getattr(model, "layers", ())
        return layers[-1].activation if layers else None
    last = next((layer for layer in reversed(model.layers) if not _passes(layer)), None)
    if last is None or _OWN_BOUNDS & last.arguments.keys():
        return None
    return "none" if last.layer in ANY_NUMBER else ACTIVATION_LAYERS.get(last.layer, last.layer.lower())


def _passes(layer: TorchLayer) -> bool:
    return layer.layer in (*KEEPING, *POOLS, *DROPOUTS) and not _OWN_BOUNDS & layer.arguments.keys()


def _drops(model: Architecture) -> bool:
    """Say whether a layer of dropout, which scales what it keeps, comes after the last activation."""
    after = takewhile(_passes, reversed(model.layers)) if isinstance(model, Stack) else ()
    return any(layer.layer in DROPOUTS and layer.arguments.get("p", 0.5) != 0 for layer in after)


def _outputs_of(activation: str | None) -> str:
    return "those of a layer without activation" if activation == "none" else f"those of {activation}"


def _key(spec: RunSpec, activation: str) -> str:
    if spec.model.name == "mlp":
        return f"output_activation: {activation}"
    layer = next(layer for layer, name in ACTIVATION_LAYERS.items() if name == activation)
    if spec.model.name == "sequential":
        return f"a last layer {layer}"
    return f"model: {{type: mlp, layers: [...], output_activation: {activation}}}"
