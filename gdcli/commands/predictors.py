"""A trained model as functions for Python: of a run in memory, or of a record's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdcli.commands.context import Frontend
from gdcli.commands.evaluate import EvaluationReport, evaluated
from gdcli.commands.given import warn
from gdcli.commands.run import RunReport
from gdcli.commands.trained import trained_record
from gdcli.errors import SpecError
from gdcli.records import Floats
from gdcli.spec.sections import RunSpec
from gdcli.zoo.columns import Column, Words
from gdcli.zoo.losses import TARGETS
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Preprocessing
from gdcli.zoo.table import Table
from gdcli.zoo.targets import targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from gdcli.engine.prediction import TrainedModel

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Predictor:
    """A trained model."""

    features: tuple[str, ...]  # the columns of its rows, by name
    classes: tuple[str, ...]  # the names of its outputs, where these are classes
    outputs: Callable[[Rows], Floats]  # from rows [N, D], as the data are, to outputs [N, O], as the targets are
    evaluated: Callable[[Rows, ArrayLike], EvaluationReport]  # of rows and their targets
    module: Callable[[], torch.nn.Module]  # torch's own


def of_run(report: RunReport, meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext) -> Predictor:
    """Return the model of a run that has been trained; ``meanwhile`` puts objects of Python back into the tables.

    Raises SpecError for an objective, which has no inputs.
    """
    from gdcli.engine.device import resolve_threads
    from gdcli.engine.modules import module_of
    from gdcli.engine.prediction import in_chunks, trained_model
    from gdcli.storage.models import arrays_of

    built, outcome = report.built, report.finished.outcome
    loaded = built.loaded
    if loaded.training is None or loaded.preprocessing is None:
        raise SpecError(f"{loaded.spec.name}: an objective has no inputs to predict from")
    table, fitted = loaded.training, loaded.preprocessing
    arrays = arrays_of((*outcome.parameters, *outcome.buffers))
    rows = _RowsOf(loaded.spec.name, (table.x.shape[1:], loaded.row_shape), resolve_threads(loaded))

    def outputs(x: Rows) -> Floats:
        with rows.as_trained():
            prepared = loaded.prepared(rows.checked(x))
            return loaded.in_units(in_chunks(built.kernel, prepared, built.device, built.dtype))

    def on(x: Rows, y: ArrayLike) -> EvaluationReport:
        with meanwhile(), rows.as_trained():
            model = trained_model(loaded.spec, loaded.architecture, arrays, built.device)
            found = _table(loaded.spec, fitted, (table.targets, table.classes), rows.checked(x), y)
            return _evaluated(model, fitted, loaded.row_shape, found)

    names = tuple(map(fitted.class_name, range(table.classes)))
    return Predictor(fitted.columns, names, outputs, on, lambda: module_of(loaded.spec, loaded.architecture, arrays))


def of_record(folder: Path) -> Predictor:
    """Return a record's model, which is read from its file. Raises what `gdcli predict` raises."""
    record = trained_record(folder, Frontend())
    from gdcli.engine.modules import module_of

    model, fitted = record.model(), record.encoding.fitted
    rows = _RowsOf(record.spec.name, ((fitted.width,), record.row_shape), record.threads)

    def outputs(x: Rows) -> Floats:
        with rows.as_trained():
            return fitted.in_units(model.predict(fitted.scaled(rows.checked(x))))

    def on(x: Rows, y: ArrayLike) -> EvaluationReport:
        with rows.as_trained():
            found = _table(record.spec, fitted, (record.sides.targets, record.sides.classes), rows.checked(x), y)
            return _evaluated(model, fitted, record.row_shape, found)

    names = tuple(map(fitted.class_name, range(record.sides.classes)))
    return Predictor(
        fitted.columns, names, outputs, on, lambda: module_of(record.spec, record.architecture, record.arrays)
    )


@dataclass(frozen=True, slots=True)
class _RowsOf:
    """The rows that a run's model takes, in either of two shapes, with the threads that the run had."""

    name: str
    shapes: Sequence[tuple[int, ...]]  # as the data have them, and as the model takes them
    threads: int

    def checked(self, x: Rows) -> Rows:
        """Return rows in the first of the shapes. Raises SpecError for rows of another one."""
        if x.shape[1:] not in self.shapes:
            raise SpecError(f"{self.name}: predict takes rows of shape {self.shapes[0]} (got {x.shape[1:]})")
        return x.reshape(len(x), *self.shapes[0])

    @contextmanager
    def as_trained(self) -> Iterator[None]:
        """Give torch the run's number of threads meanwhile."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _table(spec: RunSpec, fitted: Preprocessing, targets: tuple[tuple[str, ...], int], x: Rows, y: ArrayLike) -> Table:
    """Return rows and targets as the model learns them; texts are the names of classes. Raises SpecError."""
    names, classes = targets
    kind = TARGETS.get(spec.loss.name, "values") if spec.loss is not None else "values"
    given: Any = y
    given = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    if len(given) != len(x):
        raise SpecError(f"evaluate: x has {len(x):,} rows and y has {len(given):,}")
    try:
        columns = _columns(given, names)
        found = targets_of(columns, list(columns), kind, maps=False, classes=fitted.classes or None).y
    except ArgumentError as error:
        raise SpecError(f"evaluate: {error.message}") from None
    if found.ndim == 1 and len(found) and found.max() >= classes:
        raise SpecError(f"evaluate: {int(found.max())} is none of the {classes} classes of the model")
    return Table(fitted.scaled(x), fitted.target_scaled(found), fitted.columns, names, classes)


def _columns(y: NDArray[Any], names: Sequence[str]) -> dict[str, Column]:
    if y.dtype.kind in "OUTS" and y.ndim == 1:
        words, codes = np.unique([str(each) for each in y], return_inverse=True)
        return {names[0]: Words(codes.astype(np.int32), tuple(map(str, words)))}
    try:
        numbers = y.astype(np.float64)
    except (TypeError, ValueError):
        raise ArgumentError((), "y is no array of numbers, nor one of texts") from None
    columns = numbers[:, None] if numbers.ndim == 1 else numbers.reshape(len(numbers), -1)
    if columns.shape[1] != len(names):
        raise ArgumentError((), f"y has {columns.shape[1]} columns, the model has {len(names)} targets")
    return {name: np.ascontiguousarray(columns[:, k]) for k, name in enumerate(names)}


def _evaluated(model: TrainedModel, fitted: Preprocessing, row_shape: Sequence[int], table: Table) -> EvaluationReport:
    return evaluated(model, fitted, row_shape, table, model.spec.name, warn)
