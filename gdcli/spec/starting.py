"""`model.from`: the weights that a model starts with, found and checked while the spec is read, without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gdcli.errors import SpecError
from gdcli.spec.document import MAX_PROBLEMS
from gdcli.spec.sections import RunSpec
from gdcli.zoo.data_files import Moved
from gdcli.zoo.models import Architecture, Chain, Stack
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.weight_files import Weights, weights_of


def weights_for(spec: RunSpec, model: Architecture, base: Path, moved: Moved | None) -> Weights:
    """Return the weights of a safetensors file, or of a record's folder, by its path from ``base`` on.

    Torch's own layers are known to torch alone, and checked when they are built. Raises SpecError for a file that
    cannot be used, and for the weights of another model.
    """
    assert spec.model.weights is not None
    file = (base / spec.model.weights).absolute()
    near = base.absolute() if moved is None else moved.near
    try:
        weights = weights_of(Moved(near, spec.model.sha256 or "").find(file), spec.model.sha256)
    except ArgumentError as error:
        raise SpecError(spec.problem(("model", "from"), error.message)) from None
    if not isinstance(model, Stack):
        wanted = {name: (np.dtype(spec.settings.dtype), shape) for name, shape in model.shapes.items()}
        if lines := weights.problems(wanted, model.biases if isinstance(model, Chain) else ()):
            raise SpecError([spec.problem(("model", "from"), line) for line in lines[:MAX_PROBLEMS]])
    return weights


def with_digest(spec: RunSpec, weights: Weights) -> RunSpec:
    """Return the spec with the digest of its weights, so that other weights make another experiment of it."""
    return replace(spec, model=replace(spec.model, sha256=weights.sha256))
