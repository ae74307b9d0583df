"""A trained model as a function from rows to outputs, for Python: of a run in memory, or of a record's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.context import Frontend
from gdcli.commands.run import RunReport
from gdcli.commands.trained import trained_record
from gdcli.errors import SpecError
from gdcli.records import Floats

Predict: TypeAlias = Callable[[NDArray[np.float64]], Floats]
"""From rows [N, D], as the data are, to the model's outputs [N, O]."""


def of_run(report: RunReport) -> Predict:
    """Return the outputs of a run that has been trained. Raises SpecError for an objective, which has no inputs."""
    from gdcli.engine.device import resolve_threads
    from gdcli.engine.prediction import in_chunks

    built = report.built
    loaded = built.loaded
    if loaded.training is None:
        raise SpecError(f"{loaded.spec.name}: an objective has no inputs to predict from")

    def predict(x: NDArray[np.float64]) -> Floats:
        return in_chunks(built.kernel, loaded.prepared(x), built.device, built.dtype)

    return _checked(predict, tuple(built.batches.x.shape[1:]), resolve_threads(loaded), loaded.spec.name)


def of_record(folder: Path) -> Predict:
    """Return the outputs of a record's model, which is read from its file. Raises what `gdcli predict` raises."""
    found = trained_record(folder, Frontend())
    threads, model, encoding = found.threads, found.model(), found.encoding

    def predict(x: NDArray[np.float64]) -> Floats:
        return model.predict(encoding.scaled(x))

    return _checked(predict, (len(encoding.columns),), threads, found.spec.name)


def _checked(predict: Predict, shape: tuple[int, ...], threads: int, name: str) -> Predict:
    """Return a function that takes rows of this shape alone, and computes with a run's number of threads."""
    import torch

    def checked(x: NDArray[np.float64]) -> Floats:
        if x.shape[1:] != shape:
            raise SpecError(f"{name}: predict takes rows of shape {shape} (got {x.shape[1:]})")
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return predict(x)
        finally:
            torch.set_num_threads(before)

    return checked
