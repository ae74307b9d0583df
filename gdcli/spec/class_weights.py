"""The weights of classes in a loss: as a spec gives them, or balanced by the training rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gdcli.errors import Problem
from gdcli.spec.sections import Ingredient, RunSpec
from gdcli.zoo.models import Architecture, Chain
from gdcli.zoo.table import Table


def weights_of(loss: Ingredient, training: Table | None) -> list[float] | None:
    """Return the weight of each class, None where all count the same.

    Those that are balanced are n / (K n_c), of n training rows of K classes n_c of class c, as scikit-learn has them;
    a class without rows has 1.
    """
    given = loss.arguments.get("class_weights")
    if given != "balanced" or training is None:
        return None if given is None else list(given)
    counts = np.bincount(training.y, minlength=training.classes)
    present = int(np.count_nonzero(counts))
    return [len(training.y) / (present * count) if count else 1.0 for count in counts.tolist()]


def for_outputs(loss: Ingredient, training: Table | None, model: Architecture) -> list[float] | None:
    """Return the weight of each output, as far as their number is known: those beyond the classes have 1."""
    weights = weights_of(loss, training)
    if weights is None or training is None or (outputs := _outputs(training, model)) is None:
        return weights
    return weights + [1.0] * (outputs - len(weights))


def _outputs(table: Table, model: Architecture) -> int | None:
    if not isinstance(model, Chain):
        return None
    return model.layers[-1].outputs if model.layers else table.x.shape[1]


def problems(spec: RunSpec, table: Table, model: Architecture) -> Iterator[Problem]:
    """Yield class weights that do not fit the targets, or the number of outputs where it is known."""
    arguments = spec.loss.arguments if spec.loss is not None else {}
    given = arguments.get("class_weights")
    if given is None:
        return
    path, outputs = ("loss", "class_weights"), _outputs(table, model)
    if given == "balanced":
        if table.y.ndim != 1:
            yield spec.problem(path, "balanced counts rows of classes, the data have rows of probabilities")
    elif outputs is not None and len(given) != outputs:
        yield _another_number(spec, len(given), outputs)
    elif outputs is None and len(given) < table.classes:
        yield spec.problem(path, f"has {len(given)} numbers, the data have {table.classes} classes")
    elif not any(given):
        yield spec.problem(path, "needs a weight above 0")
    elif not all(given) and arguments.get("label_smoothing") and spec.batch.accumulate > 1:
        what = "a class of weight 0 cannot be smoothed in several passes: batch.accumulate=1 or label_smoothing=0"
        yield spec.problem(path, what)  # a pass of such rows alone has a smoothed sum and no weight to divide it by


def beyond(spec: RunSpec, outputs: int) -> Iterator[Problem]:
    """Yield class weights of more classes than a model of torch's layers has outputs, which are known once it is tried.

    There may be fewer: of outputs beyond them each has 1.
    """
    given = spec.loss.arguments.get("class_weights") if spec.loss is not None else None
    if isinstance(given, list) and len(given) > outputs:
        yield _another_number(spec, len(given), outputs)


def _another_number(spec: RunSpec, given: int, outputs: int) -> Problem:
    return spec.problem(("loss", "class_weights"), f"has {given} numbers, the model has {outputs} outputs")
