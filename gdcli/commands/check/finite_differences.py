"""Central differences of the loss, the best of a sweep over step sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gdcli.commands.check.methods import CheckedModel, perturbed
from gdcli.commands.check.report import Array, Slopes
from gdcli.spec.load import Loaded
from gdcli.zoo.models import Chain

STEPS = 10.0 ** -np.arange(2, 8)
"""The sweep of step sizes h, times max(1, |parameter|)."""

LARGE = 2_000  # trained scalars from which on differences are taken of a sample
SAMPLE = 100  # entries of a parameter in the sample
MULTIPLY_ADDS = 2e11  # that all differences together may take


def slopes_at(loaded: Loaded, exact: CheckedModel) -> dict[str, Slopes]:
    """Return the differences of every parameter, of a sample of its entries where the model is large."""
    model = loaded.architecture
    if isinstance(model, Chain) and any(layer.activation == "sign_ste" for layer in model.layers):
        return {}
    noise = _loss_noise(exact)
    generator, count = np.random.default_rng(loaded.spec.settings.seed), _sample_size(exact)
    found = {}
    for name, tensor in exact.sides[0].items():
        entries = np.arange(len(tensor))
        if exact.scalars > LARGE and len(entries) > count:
            entries = np.sort(generator.choice(len(tensor), count, replace=False))
        found[name] = _slopes_of(tensor, entries, exact.loss, noise)
    return found


def _sample_size(exact: CheckedModel) -> int:
    """Return the entries of a parameter whose differences are taken, fewer where a loss takes long."""
    each = 2 * len(STEPS) * max(1, exact.samples) * exact.scalars * len(exact.shapes)
    return int(min(SAMPLE, max(4, MULTIPLY_ADDS / each)))


def _loss_noise(exact: CheckedModel) -> float:
    """Return how far rounding may take the loss from its value."""
    here, eps = float(exact.loss()), float(np.finfo(np.float64).eps)
    near = perturbed(exact, 2 * eps, lambda: float(exact.loss()))
    spread: float = max(abs(value - here) for value in near)
    return 4 * eps * abs(here) + 4 * spread


def _slopes_of(tensor: Tensor, entries: NDArray[np.int64], loss: Callable[[], Tensor], noise: float) -> Slopes:
    """Take the central difference of each entry at each step size h, and keep that which a smaller h changes least."""
    here = _value(loss)
    width, above, below = (np.zeros((len(entries), len(STEPS))) for _ in range(3))
    for row, index in enumerate(entries.tolist()):
        centre = float(tensor[index])
        for k, h in enumerate((STEPS * max(1.0, abs(centre))).tolist()):
            tensor[index] = centre + h
            above[row, k] = _value(loss)
            tensor[index] = centre - h
            below[row, k] = _value(loss)
            width[row, k] = (centre + h) - (centre - h)  # what it is after rounding
        tensor[index] = centre
    with np.errstate(all="ignore"):
        central = (above - below) / width  # [E, H]
        bend = np.abs(above - here - (here - below)) / (width / 2)  # slope on the right less that on the left
        doubt = np.abs(np.diff(central)) + noise / (width[:, 1:] / 2)
    doubt[~np.isfinite(doubt)] = np.inf
    best, row_of = doubt.argmin(axis=1), np.arange(len(entries))
    picked = (row_of, best + 1)
    return Slopes(entries, central[picked], doubt[row_of, best], width[picked] / 2, _kinks(bend, noise / (width / 2)))


def _value(loss: Callable[[], Tensor]) -> float:
    """Return the loss; NaN where a step leaves what it is defined on. Synchronises with the device."""
    try:
        return float(loss())
    except RuntimeError:  # bce of an output beyond 0 and 1
        return float("nan")


def _kinks(bend: Array, noise: Array) -> NDArray[np.bool_]:
    """Say where the slopes on both sides differ however near: a smooth loss has a tenth of it at a tenth of h."""
    with np.errstate(all="ignore"):
        seen = (bend > 20 * noise) & np.isfinite(bend)
        stays = seen[:, 1:] & seen[:, :-1] & (bend[:, 1:] > 0.3 * bend[:, :-1])  # [E, H - 1]
    last = stays.shape[1] - 1 - seen[:, :0:-1].argmax(axis=1)  # the smallest h at which a bend is seen
    kinks: NDArray[np.bool_] = stays[np.arange(len(stays)), last]
    return kinks
