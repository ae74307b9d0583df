"""Activations over the weighted sum, losses over the error, and the lines that two losses fit to an outlier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import SpecError, nearest
from gdcli.report import plots
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import LOSSES

Floats = NDArray[np.float64]

WHOLE_ROWS = ("softmax", "log_softmax")  # of all outputs of a layer at once: no curve over z
STRAIGHT = {"sign_ste": "straight-through gradient"}  # in the place of a derivative


def activations(names: Sequence[str] = ()) -> list[plots.Function]:
    """Return activations with their derivatives over z, all or those named. Raises SpecError for one without a curve.

    The derivative is the backward pass by hand at a gradient of 1 from above.
    """
    for name in names:
        if name not in ACTIVATIONS:
            raise SpecError(f"there is no activation '{name}'. {nearest(name, ACTIVATIONS)}")
        if name in WHOLE_ROWS:
            raise SpecError(f"{name} has no curve: each output depends on all of a layer's sums")
    z = np.linspace(-6, 6, 769) if names else np.linspace(-8, 8, 257)
    return [_activation(name, z) for name in names or (name for name in ACTIVATIONS if name not in WHOLE_ROWS)]


def _activation(name: str, z: Floats) -> plots.Function:
    import torch

    found, at = ACTIVATIONS[name](), torch.as_tensor(z)[:, None]  # [K, 1]: K neurons
    if found.forward is None or found.backward is None:
        return plots.Function(name, z, z.copy(), np.ones_like(z))
    with torch.no_grad():
        value = found.forward(at)
        slope = found.backward(torch.ones_like(at), at, value, torch.empty_like(at))
    return plots.Function(name, z, value[:, 0].numpy(), slope[:, 0].numpy(), STRAIGHT.get(name, ""))


def over_error() -> list[plots.Function]:
    """Return losses of one element, and their derivatives, over the error o − t; huber with δ = 2, not smooth_l1's."""
    import torch

    error = np.linspace(-3.5, 3.5, 701)
    made = {name: LOSSES[name]() for name in ("mse", "mae", "smooth_l1")}
    made["huber (δ = 2)"] = LOSSES["huber"](delta=2.0)
    outputs = torch.as_tensor(error)[:, None, None]  # [K, 1, 1]: K losses of one element
    zero = torch.zeros(1, 1, dtype=torch.float64)
    found = []
    for label, loss in made.items():
        values = [float(loss.value(o, zero)) for o in outputs]
        slopes = [float(loss.derivative(o)(o, zero)) for o in outputs]
        found.append(plots.Function(label, error, np.array(values), np.array(slopes)))
    return found


def over_probability() -> list[plots.Function]:
    """Return cross-entropy and squared loss over the probability p of the true class of two: −log p and (1 − p)²."""
    import torch

    p = np.linspace(0.005, 0.995, 397)
    at = torch.as_tensor(p)
    rows = torch.stack([at, 1 - at], dim=1).log()[:, None]  # [K, 1, 2] log-probabilities: logits of themselves
    entropy = [float(LOSSES["cross_entropy"]().value(row, torch.zeros(1, dtype=torch.int64))) for row in rows]
    squared = [float(LOSSES["mse"]().value(value.view(1, 1), torch.ones(1, 1, dtype=torch.float64))) for value in at]
    return [
        plots.Function("cross-entropy: −log p", p, np.array(entropy)),
        plots.Function("squared loss: (1 − p)²", p, np.array(squared)),
    ]


def outlier() -> plots.Outlier:
    """Return points near a line with one far off it, and the lines with the least MSE, the least MAE."""
    x = np.arange(1.0, 9.0)
    y = np.array([1.2, 1.9, 3.1, 3.9, 5.2, 5.8, 7.1, 20.0])
    fits: dict[str, Any] = {
        "MSE": np.polyfit(x, y, 1),
        "MAE": least_absolute(x, y),
        "MSE without it": np.polyfit(x[:-1], y[:-1], 1),
    }
    return plots.Outlier(x, y, [(label, float(slope), float(offset)) for label, (slope, offset) in fits.items()])


def least_absolute(x: Floats, y: Floats) -> tuple[float, float]:
    """Return slope and offset of the line with the least Σ|y − a x − b|: one through two of the points.

    >>> least_absolute(np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 2, 30]))
    (1.0, 0.0)
    """
    lines = []
    for i, j in zip(*np.triu_indices(len(x), 1), strict=True):
        slope = (y[j] - y[i]) / (x[j] - x[i])
        lines.append((slope, y[i] - slope * x[i]))
    a, b = np.array(lines).T  # [L]
    best = int(np.abs(y - a[:, None] * x - b[:, None]).sum(axis=1).argmin())
    return float(a[best]), float(b[best])
