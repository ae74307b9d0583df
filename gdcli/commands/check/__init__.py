"""The gradient check: each gradient by hand, by autograd and by differences of the loss, and how far they are apart.

Two numbers a and b of one derivative agree if |a − b| ≤ tolerance · max(|a|, |b|). Where rounding alone may take them
further apart than the usual tolerance, since the derivative is a small remainder of large numbers, they agree if they
are no further apart than that. Differences are central ones, of the float64 loss, the best of a sweep over step sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.commands.check.finite_differences import Slopes, slopes_at
from gdcli.commands.check.methods import CheckedModel, model_of, noise_of
from gdcli.commands.check.report import (
    AUTOGRAD,
    DIFFERENCES,
    HAND,
    TOLERANCES,
    Array,
    Dtype,
    ParameterCheck,
    Report,
    Row,
)
from gdcli.engine.start_values import start_values
from gdcli.errors import RunError
from gdcli.spec.load import Loaded
from gdcli.zoo.models import Stack

__all__ = ["AUTOGRAD", "DIFFERENCES", "HAND", "Dtype", "Report", "check"]


def check(loaded: Loaded, dtypes: Sequence[Dtype] = ("float64", "float32"), tolerance: float | None = None) -> Report:
    """Compare the gradients of the first step's batch at the start values in every way that the model has.

    Linear models, mlps and losses by themselves have three ways, sequential models and objectives two. Raises
    SpecError for a model of which everything is frozen, RunError for a batch that torch's layers refuse.
    """
    point = start_values(loaded, torch.float64 if loaded.spec.settings.dtype == "float64" else torch.float32)[0]
    try:
        return _checked(loaded, point, dtypes, tolerance)
    except (RuntimeError, ValueError, IndexError) as error:
        if not isinstance(loaded.architecture, Stack):  # else what torch's own layers say of this batch
            raise
        raise RunError(f"{loaded.spec.name}: torch refuses the step: {str(error).splitlines()[0]}") from error


def _checked(loaded: Loaded, point: Mapping[str, Tensor], dtypes: Sequence[Dtype], tolerance: float | None) -> Report:
    exact = model_of(loaded, "float64", point)
    slopes = slopes_at(loaded, exact)
    tolerances = dict.fromkeys(TOLERANCES, tolerance) if tolerance is not None else TOLERANCES
    found = []
    for dtype in dtypes:
        model = exact if dtype == "float64" else model_of(loaded, dtype, point)
        gradients, noise = {way: gradient() for way, gradient in model.gradients.items()}, noise_of(model, dtype)
        for name, shape in model.shapes.items():
            ways = {way: gradient[name] for way, gradient in gradients.items()}
            found.append(Agreement(dtype, name, shape, ways, slopes.get(name), noise[name], tolerances))
    worst = max((each.worst() for each in found), key=ParameterCheck.excess)
    failed = sum(each.failed() for each in found)
    rows, notes = tuple(each.row() for each in found), (*_not_compared(loaded, exact, slopes), *_left_out(found))
    return Report(loaded.spec.name, exact.samples, rows, tolerances, worst, failed, notes)


def _not_compared(loaded: Loaded, exact: CheckedModel, slopes: Mapping[str, Slopes]) -> Iterator[str]:
    """Say what was not compared, and why."""
    spec = loaded.spec
    if HAND not in exact.gradients:
        yield f"the backward pass of a model of type {spec.model.name} is not written out by hand"
    if "x" in exact.shapes and spec.model.name == "identity":
        yield "the model has no parameters: the gradient is that of the loss at the output, x"
    if not slopes:
        yield "no differences: the gradient of sign_ste is not that of the loss, by definition"
    rows = spec.batch.rows(loaded.samples)
    if rows > exact.samples:
        yield f"the first {exact.samples:,} of the {rows:,} rows of step 1"
    if any(len(each.entries) < len(exact.sides[0][name]) for name, each in slopes.items()):
        counted = sum(len(each.entries) for each in slopes.values())
        yield f"differences of a random sample of {counted:,} of the {exact.scalars:,} scalars"


def _left_out(found: Sequence[Agreement]) -> Iterator[str]:
    """Say how many entries differences cannot judge."""
    for dtype in dict.fromkeys(each.dtype for each in found):
        if count := sum(each.left_out for each in found if each.dtype == dtype):
            yield f"too small beside the loss's rounding for differences to judge, in {dtype}: {count:,}"
    if kinks := sum(each.kinks for each in found if each.dtype == found[0].dtype):
        yield f"at a kink of the loss, as relu has one at 0, where it has no derivative: {kinks:,}"


@dataclass(slots=True)
class Agreement:
    """The gradients of one parameter in one dtype in all ways, and how far each pair of them is apart."""

    dtype: Dtype
    name: str
    shape: tuple[int, ...]
    gradients: Mapping[str, Array]
    slopes: Slopes | None
    noise: Array
    tolerances: Mapping[tuple[str, bool], float]
    left_out: int = 0
    kinks: int = 0
    pairs: dict[tuple[str, str], tuple[NDArray[np.int64], Array]] = field(default_factory=dict)  # entries, errors [E]

    def __post_init__(self) -> None:
        every = np.arange(prod(self.shape))
        for a, b in combinations(self.gradients, 2):
            usual = TOLERANCES[self.dtype, False]
            self.pairs[a, b] = every, _errors(self.gradients[a], self.gradients[b], self.noise, usual)[0]
        if self.slopes is not None:
            self._against(self.slopes)

    def _against(self, slopes: Slopes) -> None:
        """Compare each gradient with the differences; what stands at a kink is left out."""
        doubt = slopes.doubt + self.noise[slopes.entries]
        smooth = ~slopes.at_kink
        self.kinks = int(slopes.at_kink.sum())
        for way, gradient in self.gradients.items():
            values = gradient[slopes.entries]
            errors, unresolved = _errors(values, slopes.values, doubt, TOLERANCES[self.dtype, True])
            self.left_out = max(self.left_out, int((unresolved & smooth).sum()))
            self.pairs[way, DIFFERENCES] = slopes.entries[smooth], errors[smooth]

    def row(self) -> Row:
        """Return the row of the table."""
        errors = {pair: float(e.max()) if len(e) else None for pair, (_, e) in self.pairs.items()}
        count = 0 if self.slopes is None else len(self.slopes.entries)
        return Row(self.dtype, self.name, prod(self.shape), count, errors)

    def failed(self) -> int:
        """Return how many entries are further apart than their tolerance."""
        bad = [entries[errors > self._tolerance(pair)] for pair, (entries, errors) in self.pairs.items()]
        return len(np.unique(np.concatenate(bad))) if bad else 0

    def worst(self) -> ParameterCheck:
        """Return the entry whose error is the largest part of its tolerance."""
        found = [
            self._entry(pair, int(entries[errors.argmax()]), float(errors.max()))
            for pair, (entries, errors) in self.pairs.items()
            if len(entries)
        ]
        nothing = ParameterCheck(self.dtype, self.name, (AUTOGRAD, AUTOGRAD), (0.0, 0.0), 0.0, 1.0, None)
        return max(found, key=ParameterCheck.excess, default=nothing)

    def _tolerance(self, pair: tuple[str, str]) -> float:
        return self.tolerances[self.dtype, DIFFERENCES in pair]

    def _entry(self, pair: tuple[str, str], index: int, error: float) -> ParameterCheck:
        place = f"[{','.join(map(str, np.unravel_index(index, self.shape)))}]" if self.shape else ""
        size = None
        values = [float(self.gradients[way][index]) for way in pair if way != DIFFERENCES]
        if self.slopes is not None and DIFFERENCES in pair:
            at = int(np.searchsorted(self.slopes.entries, index))
            size = float(self.slopes.step_sizes[at])
            values.append(float(self.slopes.values[at]))
        return ParameterCheck(
            self.dtype, self.name + place, pair, (values[0], values[1]), error, self._tolerance(pair), size
        )


def _errors(a: Array, b: Array, noise: Array, usual: float) -> tuple[Array, NDArray[np.bool_]]:
    """Return the relative errors, and which entries are too small to be told from each other beyond the noise."""
    with np.errstate(all="ignore"):
        larger, apart = np.maximum(np.abs(a), np.abs(b)), np.abs(a - b)
        unresolved = (noise > usual * larger) & (apart <= noise)
        errors = np.where(unresolved | (apart == 0), 0.0, apart / larger)
    return np.where(np.isnan(errors), np.inf, errors), unresolved & (larger > 0)
