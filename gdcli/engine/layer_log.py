"""What layers.csv tells of each trained parameter: norms, the size of its update, zeros, noted while a block grows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.theta import Theta
from gdcli.records import LAYER_COLUMNS, Floats


class LayerLog:
    """The numbers of :data:`gdcli.records.LAYER_COLUMNS` for each step, which come to the host once a block.

    An update's size is known when the next step begins, or the block ends: θ is copied before each update.
    """

    def __init__(self, theta: Theta, runs: int) -> None:
        self._theta, self._runs = theta, runs
        self._parts = [theta.stretch(slot.start, slot.stop) for slot in theta.trained]
        self._axis, self._range = (0 if theta.innermost else -1), torch.finfo(theta.stored.dtype)
        self._before, self._kept = torch.empty_like(theta.stored), theta.stored.new_empty(0)
        self._old = [_within(self._before, theta, slot.start, slot.stop) for slot in theta.trained]

    def begin(self, steps: int, keep: Callable[[int], object]) -> Callable[[int], object]:
        """Make a block's memory for so many steps; return what keeps step k, before its update, after ``keep``."""
        rows = self._theta.values.shape[0]
        self._kept = self._theta.stored.new_empty((steps, len(self._parts), len(LAYER_COLUMNS), rows))

        def both(k: int) -> None:
            keep(k)
            self._note_update(k - 1)
            for (values, gradient), into in zip(self._parts, self._kept[k].unbind(0), strict=True):
                into[0], into[1] = self._norm(values), self._norm(gradient)
                into[3] = (gradient == 0).to(gradient.dtype).mean(self._axis)
            self._before.copy_(self._theta.stored)

        return both

    def _note_update(self, k: int) -> None:
        if k >= 0:
            for (values, _), old, into in zip(self._parts, self._old, self._kept[k].unbind(0), strict=True):
                into[2] = self._norm(values - old) / into[0]

    def _norm(self, part: Tensor) -> Tensor:
        """Return the l2 norm over a parameter, of entries scaled so that no square overflows."""
        size = part.abs().amax(self._axis, keepdim=True).clamp(self._range.tiny, self._range.max)
        return (part / size).square_().sum(self._axis).sqrt_() * size.squeeze(self._axis)

    def columns(self, steps: int) -> Floats:
        """Return the numbers of the first steps, on the host: [K, R, N, 4]; NaN for the update of a zero."""
        self._note_update(steps - 1)
        found: Floats = self._kept[:steps].permute(0, 3, 1, 2).cpu().numpy()[:, : self._runs].copy()
        found[..., 2][found[..., 0] == 0] = np.nan
        return found


def _within(stored: Tensor, theta: Theta, start: int, stop: int) -> Tensor:
    """Return a stretch of a tensor that is laid out as theta is."""
    runs = 0 if len(theta.stored) == 1 else slice(None)
    return stored[start:stop] if theta.innermost else stored[runs, start:stop]
