"""A trained model as functions for Python: of a run in memory, or of a record's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.context import Frontend
from gdcli.commands.run import RunReport
from gdcli.commands.trained import trained_record
from gdcli.errors import SpecError
from gdcli.records import Floats

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Predictor:
    """A trained model."""

    outputs: Callable[
        [NDArray[np.float64]], Floats
    ]  # from rows [N, D], as the data are, to outputs [N, O], as the targets are
    module: Callable[[], torch.nn.Module]  # torch's own


def of_run(report: RunReport) -> Predictor:
    """Return the model of a run that has been trained. Raises SpecError for an objective, which has no inputs."""
    from gdcli.engine.device import resolve_threads
    from gdcli.engine.modules import module_of
    from gdcli.engine.prediction import in_chunks
    from gdcli.storage.models import arrays_of

    built, outcome = report.built, report.finished.outcome
    loaded = built.loaded
    if loaded.training is None:
        raise SpecError(f"{loaded.spec.name}: an objective has no inputs to predict from")

    def outputs(x: NDArray[np.float64]) -> Floats:
        return loaded.in_units(in_chunks(built.kernel, loaded.prepared(x), built.device, built.dtype))

    shapes, arrays = (loaded.training.x.shape[1:], loaded.row_shape), arrays_of((*outcome.parameters, *outcome.buffers))
    checked = _checked(outputs, shapes, resolve_threads(loaded), loaded.spec.name)
    return Predictor(checked, lambda: module_of(loaded.spec, loaded.architecture, arrays))


def of_record(folder: Path) -> Predictor:
    """Return a record's model, which is read from its file. Raises what `gdcli predict` raises."""
    found = trained_record(folder, Frontend())
    from gdcli.engine.modules import module_of

    model, fitted = found.model(), found.encoding.fitted

    def outputs(x: NDArray[np.float64]) -> Floats:
        return fitted.in_units(model.predict(fitted.scaled(x)))

    checked = _checked(outputs, ((fitted.width,), found.row_shape), found.threads, found.spec.name)
    return Predictor(checked, lambda: module_of(found.spec, found.architecture, found.arrays))


def _checked(
    predict: Callable[[NDArray[np.float64]], Floats], shapes: Sequence[tuple[int, ...]], threads: int, name: str
) -> Callable[[NDArray[np.float64]], Floats]:
    """Return a function that takes rows of these shapes, makes the first of them, and has a run's number of threads."""
    import torch

    def checked(x: NDArray[np.float64]) -> Floats:
        if x.shape[1:] not in shapes:
            raise SpecError(f"{name}: predict takes rows of shape {shapes[0]} (got {x.shape[1:]})")
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return predict(x.reshape(len(x), *shapes[0]))
        finally:
            torch.set_num_threads(before)

    return checked
