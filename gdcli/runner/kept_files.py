"""What a run leaves for predictions: its model, and the digests by which a changed file is known."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from gdcli.records import Outcome
from gdcli.runner.provenance import preprocessing
from gdcli.spec.load import Loaded
from gdcli.storage import models


def write(
    folder: Path, loaded: Loaded, outcome: Outcome, best: models.Arrays | None = None, *, model: bool
) -> dict[str, Any]:
    """Write ``model.safetensors`` where it is kept; return the entry of summary.json with the digests of files.

    ``best`` are the weights of the best epoch where the outcome's are others: they make ``best.safetensors``. Raises
    MachineError for what the file system refuses.
    """
    digests = {}
    if model:
        arrays = models.arrays_of((*outcome.parameters, *outcome.buffers))
        digests[models.NAME] = models.save(folder / models.NAME, arrays, sides(loaded).text())
        if best is not None:
            digests[models.BEST] = models.save(folder / models.BEST, best, sides(loaded).text())
    if (fitted := preprocessing(loaded)) is not None:
        digests[models.PREPROCESSING] = hashlib.sha256(fitted.encode()).hexdigest()
    return {"sha256": digests} if digests else {}


def sides(loaded: Loaded) -> models.ModelSides:
    """Return what a run's model takes and gives: all that a prediction needs to know of the data."""
    table = loaded.training
    if table is None:
        return models.ModelSides((), ())
    return models.ModelSides(table.features, table.targets, table.classes)
