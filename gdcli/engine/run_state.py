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
        self.best_epoch_loss = np.full(runs, np.inf)  # that patience watches
        self.best_epoch = np.zeros(runs, dtype=np.int64)  # at whose end it was
        self.stale = np.zeros(runs, dtype=np.int64)  # epochs without a better one
        self.ended: dict[int, Floats] = {}  # run -> its row of theta [P] when it ended

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

    def stale_after(self, watched: Floats, epoch: int) -> Integers:
        """Take the loss [R] of an epoch that patience watches; return for how many epochs none was better."""
        better = (watched < self.best_epoch_loss) & self.open
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        self.stale = np.where(better, 0, self.stale + 1)
        self.best_epoch_loss = np.where(better, watched, self.best_epoch_loss)
        return self.stale

    def best_epochs(self) -> tuple[Floats, NDArray[Any]]:
        """Return the best loss [R] of those that patience watches, and its epoch [R]; NaN for runs that saw none."""
        seen = self.best_epoch > 0
        return np.where(seen, self.best_epoch_loss, np.nan), np.where(seen, self.best_epoch.astype(object), np.nan)

    def improved(self, losses: Floats, steps: Integers) -> None:
        """Keep the lowest loss of the whole set seen so far and its step, of losses [R] after so many steps [R]."""
        better = losses < self.best
        self.best, self.best_step = np.where(better, losses, self.best), np.where(better, steps, self.best_step)

    def final_losses(self, losses: Floats) -> Floats:
        """Return the losses [R] to rank by: a run that diverged has none, but that of its bad step if not finite."""
        bad = np.where(np.isfinite(self.bad_loss), np.nan, self.bad_loss)
        return np.where([status == "diverged" for status in self.status], bad, losses)
