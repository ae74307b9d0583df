"""What happens to each of R runs: whether it goes on, how it ended, its best loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.records import Floats, Integers, Status

COLUMNS = ("open", "steps", "epochs", "best", "best_step", "bad_loss", "best_epoch_loss", "best_epoch", "stale")
"""The arrays [R] that a checkpoint holds."""


class RunState:
    """Columns over R runs. One that has ended is computed on and not looked at; its parameters are in ``ended``."""

    def __init__(self, runs: int, message: str) -> None:
        self.runs = runs
        self.open = np.ones(runs, dtype=bool)
        self.status: list[Status] = ["finished"] * runs
        self.message = [message] * runs
        self.steps = np.zeros(runs, dtype=np.int64)
        self.epochs = np.zeros(runs, dtype=np.int64)  # completed
        self.best = np.full(runs, np.inf)
        self.best_step = np.zeros(runs, dtype=np.int64)
        self.bad_loss = np.full(runs, np.nan)  # of the step at which it diverged
        self.best_epoch_loss = np.full(runs, np.inf)  # what is watched; negative where more is better
        self.best_epoch = np.zeros(runs, dtype=np.int64)  # at whose end it was
        self.stale = np.zeros(runs, dtype=np.int64)  # epochs without a better one
        self.ended: dict[int, Floats] = {}  # run -> its row of theta [P] when it ended
        self.kept: dict[int, Floats] = {}  # run -> that of its best epoch, where something watches for it
        self.kept_buffers: dict[str, NDArray[Any]] = {}  # of torch's own layers, then

    def stop(
        self,
        which: NDArray[np.bool_],
        why: Callable[[int], str],
        step: int,
        epoch: int,
        values: Callable[[int], Floats],
    ) -> list[int]:
        """End the open ones of some runs after a step; the first reason counts. Return those that ended now."""
        ended: list[int] = np.flatnonzero(which & self.open).tolist()
        for run in ended:
            self._end(run, "stopped", why(run), step, epoch)
            self.ended[run] = values(run)
        return ended

    def diverged(self, run: int, loss: float, message: str, step: int, epoch: int) -> None:
        """End a run at its first step whose loss or gradient is not finite."""
        self._end(run, "diverged", message, step, epoch)
        self.bad_loss[run] = loss

    def _end(self, run: int, status: Status, message: str, step: int, epoch: int) -> None:
        self.status[run], self.message[run] = status, message
        self.steps[run], self.epochs[run] = step, epoch
        self.open[run] = False

    def interrupted(self, step: int) -> None:
        """Say of all open runs that they were interrupted."""
        for run in np.flatnonzero(self.open).tolist():
            self.status[run], self.message[run] = "interrupted", f"interrupted after step {step}"

    def reached(self, step: int, epoch: int) -> None:
        """Note how far the open runs are."""
        self.steps[self.open], self.epochs[self.open] = step, epoch

    def better_than_before(self, watched: Floats, epoch: int, by: float = 0.0) -> NDArray[np.bool_]:
        """Take what is watched [R] of an epoch; return for which runs it is less than before, by more than so much.

        ``stale`` then counts for how many epochs none was.
        """
        better = (watched < self.best_epoch_loss - by) & self.open
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        self.stale = np.where(better, 0, self.stale + 1)
        self.best_epoch_loss = np.where(better, watched, self.best_epoch_loss)
        return better

    def improved(self, losses: Floats, steps: Integers) -> None:
        """Keep the lowest loss of the whole set seen so far and its step, of losses [R] after so many steps [R]."""
        better = losses < self.best
        self.best, self.best_step = np.where(better, losses, self.best), np.where(better, steps, self.best_step)

    def final_losses(self, losses: Floats) -> Floats:
        """Return the losses [R] to rank by: a run that diverged has none, but that of its bad step if not finite."""
        bad = np.where(np.isfinite(self.bad_loss), np.nan, self.bad_loss)
        return np.where([status == "diverged" for status in self.status], bad, losses)
