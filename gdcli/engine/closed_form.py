"""The closed form of linear regression: the least-squares solution, to compare a descent with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.start_values import bias_entries
from gdcli.errors import RunError, SpecError
from gdcli.records import Parameter
from gdcli.spec.load import Loaded
from gdcli.spec.models import match
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import Chain

SQUARED = ("mse", "half_mse", "sse", "half_sse")
"""Losses that are Σ(o − t)² times a number: all have the same minimum."""
DISTANCE = "distance"
MAX_SHOWN = 10
"""Scalars of a model that stand in the rows of a comparison with its closed form."""


def compared_names(loaded: Loaded) -> list[str]:
    """Return the names of what `Solution.compared` gives."""
    shapes = loaded.shapes or {}
    names = [name for key, shape in shapes.items() for name in Parameter(key, np.empty(shape)).scalars]
    return [*(names if len(names) <= MAX_SHOWN else ()), DISTANCE]


@dataclass(frozen=True, slots=True)
class Solution:
    """The parameters [float64] of the lowest loss, and that loss."""

    parameters: tuple[Parameter, ...]
    loss: float

    def compared(self, parameters: Sequence[Parameter]) -> dict[str, float]:
        """Return the scalars of a run's parameters θ, up to 10 of them, and their distance ‖θ − θ*‖₂ to these."""
        ours, theirs = (np.concatenate([p.values.ravel() for p in each]) for each in (self.parameters, parameters))
        names = [name for parameter in parameters for name in parameter.scalars]
        shown = dict(zip(names, theirs.tolist(), strict=True)) if len(names) <= MAX_SHOWN else {}
        return shown | {DISTANCE: float(np.linalg.norm(theirs.astype(np.float64) - ours))}


def why_not(loaded: Loaded) -> str:
    """Return why a spec has no closed form, in a sentence; nothing if it has one."""
    spec, model = loaded.spec, loaded.architecture
    if spec.loss is None or spec.loss.name not in SQUARED:
        name = "an objective" if spec.loss is None else spec.loss.name
        return f"the closed form needs a squared loss ({', '.join(SQUARED)}), not {name}"
    if spec.penalty.is_on:
        return "the closed form is that of the loss without a penalty"
    if not isinstance(model, Chain) or len(model.layers) != 1:
        return "the closed form needs a linear model: one layer of weights"
    if model.layers[0].activation != "none":
        return f"the closed form needs a layer without activation, not {model.layers[0].activation}"
    frozen = [name for pattern in spec.model.freeze for name in match(pattern, model.shapes)]
    return f"the closed form solves for all parameters, and {frozen[0]} is frozen" if frozen else ""


def solve(loaded: Loaded) -> Solution:
    """Return the minimum of a linear model's squared loss over the training rows, computed in float64.

    With X [n, d] the rows and Y [n, k] their targets, W and b minimise Σ(XWᵀ + 1bᵀ − Y)². The gradient is zero where

        X̃ᵀX̃ Wᵀ = X̃ᵀỸ        b = ȳ − W x̄        X̃ = X − 1x̄ᵀ, Ỹ = Y − 1ȳᵀ the centred columns

    (without bias the columns stay as they are). Where several W do it, the one of the smallest norm is taken. It comes
    from the singular values of X̃ and not from X̃ᵀX̃, which would square the condition. A bias b of shape [1], shared by
    all outputs, is that of the targets' mean: the mean over the outputs of the equations above is its own problem.

    Raises SpecError where `why_not` has an answer, RunError for data too large for a float64's square.

    Source: Gauss 1809; Golub and Van Loan, Matrix Computations, 5.5; LAPACK's gelsd through torch.linalg.lstsq.
    """
    if reason := why_not(loaded):
        raise SpecError(reason)
    model, table, loss = loaded.architecture, loaded.training, loaded.spec.loss
    assert isinstance(model, Chain)
    assert table is not None
    assert loss is not None
    x, y = torch.tensor(table.x, dtype=torch.float64), torch.tensor(table.y, dtype=torch.float64)  # [n, d], [n, k]
    weight, bias = _solved(x, y, bias_entries(loaded, model.layers[0]))
    output = x @ weight.T + bias if bias is not None else x @ weight.T
    lowest = float(LOSSES[loss.name](**loss.arguments).value(output, y))
    found = dict(zip(model.shapes, (weight, bias), strict=False))  # no second name without a bias
    if not all(tensor.isfinite().all() for tensor in (weight, output)):
        raise RunError("the closed form is not finite: the data are too large")
    return Solution(tuple(Parameter(name, value.numpy()) for name, value in found.items() if value is not None), lowest)


def _solved(x: Tensor, y: Tensor, entries: int) -> tuple[Tensor, Tensor | None]:
    """Return W [k, d] and b [entries]."""
    if entries == 0:
        return _least_squares(x, y).T, None
    if entries < y.shape[1]:  # shared
        _, bias = _solved(x, y.mean(1, keepdim=True), 1)
        assert bias is not None
        return _least_squares(x, y - bias).T, bias
    centre, target = x.mean(0), y.mean(0)  # [d], [k]
    weight = _least_squares(x - centre, y - target).T
    return weight, target - weight @ centre


def _least_squares(x: Tensor, y: Tensor) -> Tensor:
    """Return the solution [d, k] of the smallest norm."""
    if not (x.isfinite().all() and y.isfinite().all()):
        raise RunError("the closed form is not finite: the data are too large")
    found: Tensor = torch.linalg.lstsq(x, y, driver="gelsd").solution
    return found
