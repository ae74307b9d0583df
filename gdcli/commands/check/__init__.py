"""The gradient check: each gradient by hand, by autograd and by differences of the loss, and how far they are apart.

Two numbers a and b of one derivative agree if |a − b| ≤ tolerance · max(|a|, |b|). Where rounding alone may take them
further apart than the usual tolerance, since the derivative is a small remainder of large numbers, they agree if they
are no further apart than that. Differences are central ones, of the float64 loss, the best of a sweep over step sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

import torch
from torch import Tensor

from gdcli.commands.check.methods import CheckedModel, model_of, noise_of, slopes_at, value_of
from gdcli.commands.check.report import AUTOGRAD, DIFFERENCES, HAND, TOLERANCES, Dtype, Report, Row, Slopes, row_of
from gdcli.engine.start_values import start_values
from gdcli.errors import RunError, lacks_memory
from gdcli.spec.load import Loaded
from gdcli.zoo.models import Stack
from gdcli.zoo.origins import blamed

__all__ = ["AUTOGRAD", "DIFFERENCES", "HAND", "Dtype", "Report", "check"]


def check(loaded: Loaded, dtypes: Sequence[Dtype] = ("float64", "float32"), tolerance: float | None = None) -> Report:
    """Compare the gradients of the first step's batch at the start values in every way that the model has.

    Linear models, mlps and losses by themselves have three ways, sequential models and objectives two. Raises
    SpecError for a model of which everything is frozen, RunError for a batch that torch's layers refuse, and for a loss
    that is not finite there.
    """
    point = start_values(loaded, torch.float64 if loaded.spec.settings.dtype == "float64" else torch.float32)[0]
    try:
        return _checked(loaded, point, dtypes, tolerance)
    except (RuntimeError, ValueError, IndexError) as error:
        if lacks_memory(error):
            raise
        if (of_plugin := blamed(error)) is not None:
            raise of_plugin from None
        if not isinstance(loaded.architecture, Stack):  # else what torch's own layers say of this batch
            raise
        raise RunError(f"{loaded.spec.name}: torch refuses the step: {str(error).splitlines()[0]}") from error


def _checked(loaded: Loaded, point: Mapping[str, Tensor], dtypes: Sequence[Dtype], tolerance: float | None) -> Report:
    exact = model_of(loaded, "float64", point)
    here = float(exact.loss()) if isinstance(loaded.architecture, Stack) else value_of(exact.loss)
    if not isfinite(here):
        raise RunError(
            f"{loaded.spec.name}: the loss is {here} at the start values: no derivative can be checked there"
        )
    slopes = slopes_at(loaded, exact)
    tolerances = dict.fromkeys(TOLERANCES, tolerance) if tolerance is not None else TOLERANCES
    found = []
    for dtype in dtypes:
        model = exact if dtype == "float64" else model_of(loaded, dtype, point)
        gradients, noise = {way: gradient() for way, gradient in model.gradients.items()}, noise_of(model, dtype)
        for name, shape in model.shapes.items():
            ways = {way: gradient[name] for way, gradient in gradients.items()}
            found.append(row_of(dtype, name, shape, ways, slopes.get(name), noise[name], tolerances))
    notes = (*_not_compared(loaded, exact, slopes), *_left_out(found), *_rounded(loaded, dtypes))
    return Report(loaded.spec.name, exact.samples, tuple(found), tolerances, notes)


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


def _left_out(found: Sequence[Row]) -> Iterator[str]:
    """Say how many entries differences cannot judge."""
    for dtype in dict.fromkeys(each.dtype for each in found):
        if count := sum(each.left_out for each in found if each.dtype == dtype):
            yield f"too small beside the loss's rounding for differences to judge, in {dtype}: {count:,}"
    if kinks := sum(each.kinks for each in found if each.dtype == found[0].dtype):
        yield f"at a kink of the loss, as relu has one at 0, where it has no derivative: {kinks:,}"


def _rounded(loaded: Loaded, dtypes: Sequence[Dtype]) -> Iterator[str]:
    """Say where start values of float32 are taken for float64 too."""
    if "float64" in dtypes and loaded.spec.settings.dtype == "float32" and loaded.spec.model.name != "identity":
        yield "the start values are those of a run, of the spec's dtype, float32, in float64 too"
