"""`model.from`: the weights that a model starts with, found and checked while the spec is read, without torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson

from gdcli.errors import DamagedError, Problem, SpecError
from gdcli.spec.document import MAX_PROBLEMS
from gdcli.spec.sections import RunSpec
from gdcli.zoo.data_files import Moved, opened
from gdcli.zoo.losses import Targets
from gdcli.zoo.models import Architecture, Chain, Stack
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Feature, Preprocessing
from gdcli.zoo.table import brief
from gdcli.zoo.weight_files import MODEL, Weights, recorded_sha256, weights_of

PREPROCESSING = "preprocessing.json"
RECORDED = (MODEL, "best.safetensors")
"""The files of weights that stand beside the preprocessing of a record."""
SHOWN = 5
"""Names of columns or classes that a warning tells."""


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


def prepared_otherwise(spec: RunSpec, weights: Weights, fitted: Preprocessing | None) -> list[Problem]:
    """Return what should be known of weights that were trained on rows prepared in another way than the spec's are.

    Columns and their order, classes, and what is standardized are those of the record's preprocessing.json, or else of
    the weights' own header. Other means are none of it: they are learned again. Raises DamagedError for a record whose
    preprocessing.json was changed, or is not of its model.
    """
    digests = recorded_sha256(weights.path.parent) if weights.path.name in RECORDED else {}
    path = weights.path.with_name(PREPROCESSING)
    is_told = PREPROCESSING in digests or (not digests and weights.path.name in RECORDED and os.path.lexists(path))
    try:
        before = _prepared(path, weights, digests) if is_told else _named(weights)
    except ValueError as error:  # also what from_json and orjson raise
        what = f"cannot tell how the rows of {brief(str(weights.path.parent))} were prepared: {error}"
        return [spec.problem(("model", "from"), what)]
    if fitted is None:
        return []
    if not is_told and not digests and not os.path.lexists(weights.path.with_name("summary.json")):
        fitted = Preprocessing(fitted.features)  # the header has columns alone
    lines = [] if before is None else list(_differences(before, fitted))
    what = "the weights were trained on rows that were prepared otherwise"
    return [spec.problem(("model", "from"), f"{what}: {'; '.join(lines)}")] if lines else []


def _prepared(path: Path, weights: Weights, digests: Mapping[str, str]) -> Preprocessing:
    """Return how the rows were prepared. Raises DamagedError for a record's file that is not its own, else ValueError.

    A record's summary has the sha256 of the file, and the weights' header the columns and classes that it has to have.
    """
    digest, about = digests.get(PREPROCESSING), weights.header.about
    try:
        with opened(path) as stream:
            content = stream.read()
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise DamagedError(f"{path}: was changed: it does not have the sha256 that summary.json says")
        found = Preprocessing.from_json(orjson.loads(content))
        features, targets, classes = (about.get(key) for key in ("features", "targets", "classes"))
        kinds: tuple[Targets, ...] = ("values", "probabilities", "classes")
        if (
            isinstance(features, list)
            and isinstance(targets, list)
            and not any(found.is_of(features, targets, int(classes or 0), kind) for kind in kinds)
        ):
            raise ValueError("it is not of the columns and classes that the weights name")
    except (ValueError, TypeError):  # the header may say anything
        if digest is None:
            raise ValueError("its preprocessing.json is not of these weights") from None
        raise DamagedError(f"{path}: does not say how the columns of this model were prepared") from None
    return found


def _named(weights: Weights) -> Preprocessing | None:
    """Return the columns that weights name in their header, of which nothing was learned; None where there are none."""
    names = weights.header.about.get("features")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return Preprocessing(tuple(map(Feature, names)))


def _differences(before: Preprocessing, now: Preprocessing) -> Iterator[str]:
    for what, old, new in (("columns", before.columns, now.columns), ("classes", before.classes, now.classes)):
        if old != new:
            order = "in another order, " if sorted(old) == sorted(new) else ""
            yield f"the {what} {order}{_differing(old, new)} there and {_differing(new, old)} here"
    there, here = _standardized(before), _standardized(now)
    shared = {*before.columns} & {*now.columns}
    if there and here:  # of other columns it is not said that they are standardized: they are told already
        there, here = (there - here) & shared, (here - there) & shared
    for names, place, other in ((there, "there", "here"), (here, "here", "there")):
        if names:
            yield f"standardized {place} and not {other}: {_listed(sorted(names))}"
    targets = before.target_means is not None, now.target_means is not None
    if targets[0] != targets[1]:
        yield f"the target is standardized {'there and not here' if targets[0] else 'here and not there'}"


def _standardized(fitted: Preprocessing) -> set[str]:
    """Return the columns that have a mean and a deviation; 0 and 1 stand for none."""
    if fitted.means is None or fitted.deviations is None:
        return set()
    changed = (fitted.means != 0) | (fitted.deviations != 1)
    return {name for name, one in zip(fitted.columns, changed.tolist(), strict=True) if one}


def _differing(names: Sequence[str], others: Sequence[str]) -> str:
    """Return the names from the first on that stands in another place of the others."""
    if not names:
        return "without names"
    first = next((k for k, pair in enumerate(zip(names, others, strict=False)) if pair[0] != pair[1]), len(others))
    return ("..., " if first else "") + (_listed(names[first:]) or "no more")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(brief, names[:SHOWN])) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def with_digest(spec: RunSpec, weights: Weights) -> RunSpec:
    """Return the spec with the digest of its weights, so that other weights make another experiment of it."""
    return replace(spec, model=replace(spec.model, sha256=weights.sha256))
