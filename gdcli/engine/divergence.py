"""What is told of a run that diverged: where, and what may help; for a quadratic loss, the bound of its learning rate.

Worked out after the fact, from the spec and its data alone; a run that does not diverge pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.start_values import bias_entries
from gdcli.engine.theta import ParamSlice
from gdcli.records import Floats, l2_norms
from gdcli.spec.load import Loaded
from gdcli.spec.models import match
from gdcli.spec.preconditions import PROBABILITIES, last_activation
from gdcli.zoo.expressions import Expression
from gdcli.zoo.models import Affine, Objective, chain_of
from gdcli.zoo.objectives import compile_

LARGEST = 300
"""Parameters, or columns of data, up to which the curvature is worked out: a few milliseconds."""

SMALLER = "Try a smaller lr"

_FACTORS: dict[str, Callable[[int], float]] = {
    "mse": lambda n: 2 / n,
    "half_mse": lambda n: 1 / n,
    "sse": lambda n: 2.0,
    "half_sse": lambda n: 1.0,
}
"""Losses that are c Σ(o − t)² / 2 over n elements, by their c."""


Extremes = tuple[float, float]
"""The lowest and the highest eigenvalue of a Hessian."""

Known = dict[tuple[Any, ...], Extremes]
"""What was worked out before: the runs of a fleet ask for the same data in turn."""


def message(
    loaded: Loaded, step: int, epoch: int, loss: float, norms: Mapping[str, float] | None, known: Known,
    *, last: bool = False,
) -> str:  # fmt: skip
    """Say in one line which step and loss it was, which gradients are not finite or is the largest, and a hint.

    ``norms`` are those of the trained parameters' gradients; None where they were not kept. With ``last`` the loss is
    that after the last update of all.
    """
    what = f"the loss is {loss:.6g}" if isfinite(loss) else f"the loss is {loss}"
    bad = [name for name, norm in (norms or {}).items() if not isfinite(norm)]
    if bad:
        what += f" and the gradient of {', '.join(bad[:3])} is not finite"
    elif norms:
        largest = max(norms, key=lambda name: norms[name])
        what += f", the largest gradient is that of {largest} (norm {norms[largest]:.3g})"
    elif isfinite(loss):
        what += f" and {'a parameter' if last else 'the gradient'} is not finite"
    if last:
        return f"diverged after step {step} (epoch {epoch}), its last: {what}. {hint(loaded, step + 1, known)}"
    return f"diverged at step {step} (epoch {epoch}): {what}. {hint(loaded, step, known)}"


def norms_of(gradient: Floats, trained: Sequence[ParamSlice]) -> dict[str, float]:
    """Return the norm of each parameter's gradient, from a step's trained scalars [P]."""
    ends = np.cumsum([slot.stop - slot.start for slot in trained])[:-1]
    parts = np.split(gradient, ends)[: len(trained)]  # of no parameter there is one part, an empty one
    return {slot.name: float(l2_norms(part[None])[0]) for slot, part in zip(trained, parts, strict=True)}


def hint(loaded: Loaded, step: int, known: Known) -> str:
    """Return what may help a run whose loss or gradient was not finite at a step; never raises.

    On a quadratic loss with Hessian H, gradient descent converges from everywhere if lr < 2/λmax(H), and with momentum
    μ < 1 if lr < 2(1 + μ)/λmax(H); above it diverges from almost everywhere.

    Source: Polyak 1964, Some methods of speeding up the convergence of iteration methods.
    """
    try:
        if dtype := _overflown(loaded):
            return f"The data are not finite in {dtype}: dtype=float64 or smaller units may help"
        if _may_leave_0_to_1(loaded):
            return "The loss bce is defined for outputs from 0 to 1 alone: a last layer Sigmoid keeps them there"
        if step <= 1:
            where = "the start values" if loaded.training is None else "the start values or the data"
            return f"No update came before it, so lr is not the cause: look at {where}"
        return _of_quadratic(loaded, known) or SMALLER
    except Exception:  # a courtesy: whatever goes wrong here, the run's end is told without it
        return SMALLER


def _overflown(loaded: Loaded) -> str:
    """Return the run's dtype if the data do not fit into it, else nothing."""
    table, dtype = loaded.training, loaded.spec.settings.dtype
    if table is None:
        return ""
    with np.errstate(over="ignore"):
        fits = all(np.isfinite(part.astype(dtype)).all() for part in (table.x, table.y))
    return "" if fits else dtype


def _may_leave_0_to_1(loaded: Loaded) -> bool:
    """Say whether the loss is bce of outputs that the last layer does not hold to its domain."""
    spec, model = loaded.spec, loaded.architecture
    is_bce = spec.loss is not None and spec.loss.name == "bce" and spec.model.name != "identity"
    return is_bce and last_activation(spec, model) not in PROBABILITIES


def _of_quadratic(loaded: Loaded, known: Known) -> str:
    if loaded.spec.penalty.is_on:  # which bends the loss too
        return ""
    found = _curvature(loaded, known)
    if found is None:
        return ""
    lowest, highest = found
    if lowest < -1e-9 * abs(highest):
        return f"This quadratic loss has no minimum: the lowest eigenvalue of its Hessian is {lowest:.3g}"
    settings = _descent(loaded)
    if settings is None or not (highest > 0 and isfinite(highest)):
        return ""
    lr, momentum = settings
    bound = 2 * (1 + momentum) / highest
    if not 0 < bound < lr:
        return ""
    formula = f"2(1 + {momentum:g})/λmax" if momentum else "2/λmax"
    method = f"gradient descent with momentum {momentum:g}" if momentum else "gradient descent"
    above = f"lr {lr:.12g} is above {formula} = {_below(bound, lr)}"
    return f"{above}, the bound of {method} on this quadratic loss. {SMALLER}"


def _below(bound: float, lr: float) -> str:
    """Return a bound in as few digits as keep it below lr, three at least."""
    return next(text for digits in range(3, 18) if float(text := f"{bound:.{digits}g}") < lr)


def _descent(loaded: Loaded) -> Extremes | None:
    """Return lr and momentum of gradient descent on all rows, None for anything else, which has another bound."""
    spec, samples = loaded.spec, loaded.samples
    optimizer = spec.optimizer
    if (
        optimizer is None
        or optimizer.name != "sgd"
        or optimizer.groups
        or spec.scheduler is not None
        or spec.clip.is_on
    ):
        return None
    given = optimizer.arguments
    if any(given.get(name) for name in ("dampening", "weight_decay", "nesterov", "maximize")):
        return None
    if samples and (spec.batch.steps(samples) > 1 or spec.batch.rows(samples) < samples):
        return None
    lr, momentum = float(given["lr"]), float(given.get("momentum") or 0)
    return (lr, momentum) if momentum < 1 else None


# --- curvature --------------------------------------------------------------------------------------------------------


def _curvature(loaded: Loaded, known: Known) -> Extremes | None:
    """Return the lowest and the highest eigenvalue of the Hessian; None where the loss is not quadratic, or large."""
    model = loaded.architecture
    if isinstance(model, Objective):
        frozen = {name for pattern in loaded.spec.model.freeze for name in match(pattern, model.start)}
        variables = tuple(name for name in model.start if name not in frozen)
        fixed = tuple((name, model.start[name]) for name in model.start if name in frozen)
        if not 0 < len(variables) <= LARGEST:
            return None
        return _of_objective(model.expression, variables, (*fixed, *model.constants.items()))
    chain, loss = chain_of(model), loaded.spec.loss
    if chain is None or len(chain.layers) != 1 or chain.layers[0].activation != "none":
        return None
    return None if loss is None or loss.name not in _FACTORS else _of_rows(loaded, chain.layers[0], loss.name, known)


def _of_rows(loaded: Loaded, layer: Affine, loss: str, known: Known) -> Extremes | None:
    """Return the extreme eigenvalues of c X̃ᵀX̃, those of a linear layer's Hessian.

    X̃ [n, d + 1] has a column of ones for the bias, times the root of the outputs where all share one, and no column of
    a frozen parameter. Each output has a Hessian of its own, all the same.
    """
    assert loaded.training is not None
    x, names, entries = loaded.training.x, layer.shapes, bias_entries(loaded, layer)
    frozen = {name for pattern in loaded.spec.model.freeze for name in match(pattern, names)}
    ones = (layer.outputs // entries) ** 0.5 if f"{layer.name}bias" not in frozen and entries else 0.0
    weight = f"{layer.name}weight" not in frozen
    columns = x.shape[1] * weight + bool(ones)
    if not 0 < columns <= LARGEST:
        return None
    key = (id(x), loss, layer.outputs, ones, weight)
    if key in known:
        return known[key]
    wide = x.astype(np.float64)[:, : x.shape[1] * weight]
    if ones:
        wide = np.column_stack([wide, np.full(len(x), ones)])
    known[key] = _extremes(wide.T @ wide * _FACTORS[loss](len(x) * layer.outputs))
    return known[key]


@lru_cache(maxsize=4)
def _of_objective(
    expression: Expression, variables: tuple[str, ...], constants: tuple[tuple[str, float], ...]
) -> Extremes | None:
    """Return the extreme eigenvalues of an objective's Hessian; None where it is not the same at three points."""
    value = compile_(expression, variables, dict(constants))
    points = 3 * np.random.default_rng(0).standard_normal((3, len(variables)))
    first, *others = (_hessian(value, point) for point in points)
    if not all(np.allclose(first, other, rtol=0, atol=1e-9 * np.abs(first).max()) for other in others):
        return None
    return _extremes(first)


def _hessian(value: Callable[[Sequence[Tensor]], Tensor], point: Floats) -> Floats:
    with torch.enable_grad():
        found = torch.autograd.functional.hessian(lambda at: value(at.unbind(0)), torch.from_numpy(point))  # type: ignore[no-untyped-call]  # torch has no types here
    hessian: Floats = found.numpy()
    return hessian


def _extremes(hessian: Floats) -> Extremes:
    values = np.linalg.eigvalsh(hessian)
    return float(values[0]), float(values[-1])
