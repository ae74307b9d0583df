"""What is kept of each step's gradient while a block grows: a copy into memory that comes to the host once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.kernels.autograd import Autograd
from gdcli.engine.layer_log import LayerLog
from gdcli.engine.problem import TrainingProblem
from gdcli.engine.theta import Theta
from gdcli.records import Floats, l2_norms
from gdcli.spec.sizes import MAX_VALUES_AUTO

Keep = Literal["values", "norms", "none"]

LARGE = 2**16
"""Bytes of a step's gradient from which on what is kept of it is read beside the loop, by the thread that writes it."""
HELD = 2**25
"""Bytes of blocks that have been handed on whose memory is held until others have taken their place in the caches: to
write again where another core has just read takes four times as long."""


def keep_of(problem: TrainingProblem) -> Keep:
    """Return what is kept of one run's gradients: as the spec says, auto by the number of trained scalars."""
    wanted = problem.loaded.spec.record.gradients
    if wanted == "auto":
        return "values" if problem.theta.size <= MAX_VALUES_AUTO else "norms"
    return wanted


class GradientLog:
    """The gradients of a block's steps: every value, the norm of each parameter's, or of all the largest entry.

    A norm is taken in the run's dtype, in which its squares may overflow though no entry does: :meth:`exact_norms` then
    works it out again from a gradient that is made once more.
    """

    def __init__(self, problem: TrainingProblem, keep: Keep, *, layers: bool = False) -> None:
        self._watched = None if problem.watched is None else problem.watched.flat  # [W]
        self._seen = problem.theta.stored.new_empty(0)  # of it at each step
        self._layers = LayerLog(problem.theta, problem.runs) if layers else None
        self.theta, self.is_fleet, self.runs = problem.theta, problem.is_fleet, problem.runs
        self.kind = keep if keep != "none" else "largest" if self.is_fleet else "norms"
        theta = self.theta
        self._parts = _parts(theta, self.kind)
        rows = theta.values.shape[0]
        self.width = theta.room if self.kind == "values" else len(self._parts)
        self.numbers = self.width + (0 if self._watched is None else len(self._watched))  # a step and run
        self._shape = theta.stored_gradient.shape if self.kind == "values" else (self.width, rows)
        self._kept, self._held = theta.stored.new_empty(0), deque[Tensor]()
        # numpy's copy of a small tensor takes half of torch's, but between autograd's steps, whose code crowds it out
        self._by_numpy = theta.stored.device.type == "cpu" and not isinstance(problem.kernel, Autograd)
        self._columns = theta.columns
        self._has_no_gaps = np.array_equal(self._columns, np.arange(len(self._columns)))  # but behind the last

    def begin(self, steps: int) -> Callable[[int], object]:
        """Make a block's memory for so many steps, which is handed on with it; return what keeps step k's gradient."""
        keep = self._keep(steps)
        if self._watched is not None:
            keep = self._watching(steps, keep, self._watched)
        return keep if self._layers is None else self._layers.begin(steps, keep)

    def _watching(self, steps: int, keep: Callable[[int], object], watched: Tensor) -> Callable[[int], object]:
        """Return what keeps a step's gradients at watched values after ``keep``."""
        self._seen = watched.new_empty((steps, len(watched)))
        rows = self._seen.unbind(0)

        def both(k: int) -> None:
            keep(k)
            rows[k].copy_(watched)

        return both

    def _keep(self, steps: int) -> Callable[[int], object]:
        self._kept, gradient = self.theta.stored.new_empty((steps, *self._shape)), self.theta.stored_gradient
        if self.kind == "values":
            self._hold(self._kept)
            return _copying(self._kept, gradient, self._by_numpy)
        now = self._kept.new_empty(self._shape)  # of this step: views of each step's row cost more than a copy
        axes = [0 if self.theta.innermost else part.ndim - 1 for part in self._parts]
        cells = now.unbind(0) if self.is_fleet else now.squeeze(1).unbind(0)
        measures = [_measured(*each, self.kind) for each in zip(self._parts, cells, axes, strict=True)]
        copy = _copying(self._kept, now, self._by_numpy)

        def keep(k: int) -> None:
            for measure in measures:
                measure()
            copy(k)

        return keep

    def _hold(self, block: Tensor) -> None:
        """Keep the memory of the last blocks from being given to the next ones."""
        if block.device.type == "cpu" and block[0].nbytes >= LARGE:
            self._held.append(block)
            while len(self._held) * block.nbytes > HELD:
                self._held.popleft()

    def columns(self, steps: int) -> Floats:
        """Return what the first steps kept, on the host: [K, R, N] in the model's order, without gaps and padding."""
        kept = self._kept[:steps]
        if self.kind == "norms" and self.is_fleet:
            kept.sqrt_()
        found: Floats = kept.cpu().numpy()  # [K, P, R] or [K, R, P], norms [K, N, R]
        if self.kind != "values" or self.theta.innermost:
            found = found.swapaxes(1, 2)
        found = found[:, : self.runs]
        if self.kind == "values" and not self.theta.innermost:
            count = len(self._columns)
            found = found[:, :, :count] if self._has_no_gaps else np.take(found, self._columns, axis=2)
        return found.astype(np.float64) if self.kind == "norms" else found

    def beside(self, steps: int) -> tuple[Floats | None, Floats | None]:
        """Return what is noted of each parameter in the first steps [K, R, N, 4], and at watched values [K, R, W].

        None where it is not asked for.
        """
        layers = None if self._layers is None else self._layers.columns(steps)
        return layers, None if self._watched is None else self._seen[:steps].unsqueeze(1).cpu().numpy()

    def are_finite(self, steps: int) -> bool:
        """Say whether all that was kept is finite, as a rule; where not, a closer look is needed."""
        return bool(np.isfinite(float(self._kept[:steps].sum())))

    def exact_norms(self) -> Floats:
        """Return the norm of each parameter's gradient that is in theta now, [R, N], in float64 whatever the dtype."""
        gradient = self.theta.gradient[: self.runs].cpu().numpy()
        norms = [l2_norms(gradient[:, slot.start : slot.stop]) for slot in self.theta.trained]
        return np.stack(norms, axis=1) if norms else np.zeros((self.runs, 0))


def _parts(theta: Theta, kind: str) -> list[Tensor]:
    """Return the stretches of the gradient that are measured: each parameter's, or the whole."""
    if kind == "norms":
        return [theta.stretch(slot.start, slot.stop)[1] for slot in theta.trained]
    # of nothing there is no largest entry
    return [theta.stored_gradient] if kind == "largest" and theta.trained else []


def _copying(kept: Tensor, source: Tensor, by_numpy: bool) -> Callable[[int], object]:
    """Return what copies a tensor to the place of step k."""
    if not by_numpy:
        rows = kept.unbind(0)
        return lambda k: rows[k].copy_(source)
    targets, array, copy = list(kept.numpy()), source.numpy(), np.copyto
    return lambda k: copy(targets[k], array)


def _measured(gradient: Tensor, into: Tensor, axis: int, kind: str) -> Callable[[], Any]:
    """Return what writes a norm, a fleet's sums of squares, or the largest absolute entry, of a gradient's stretch.

    For a fleet two passes over memory are several times faster than torch's norm over one axis. The largest entry
    neither overflows nor hides a NaN.
    """
    if gradient.ndim == 1:
        return partial(torch.linalg.vector_norm, gradient, out=into)
    scratch = torch.empty_like(gradient, memory_format=torch.contiguous_format)

    def squares() -> None:
        torch.sum(torch.mul(gradient, gradient, out=scratch), axis, out=into)

    def extreme() -> None:
        torch.amax(torch.abs(gradient, out=scratch), axis, out=into)

    return extreme if kind == "largest" else squares
