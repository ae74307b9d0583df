"""The rows of epochs.csv, from a run's blocks of steps: one for each whole epoch, whatever `record.every` says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gdcli.records import Effort, StepBlock
from gdcli.storage.csv_writer import cell, number_rows

FILE = "epochs.csv"


class EpochRows:
    """epochs.csv as it grows: epoch, training loss, what was worked out after the epoch, learning rate.

    The training loss is the mean of the losses that the epoch's steps had before their updates, Σ n L / Σ n over steps
    of n rows (of a loss that is a sum, Σ L): the loop has them. All else is of the parameters after the epoch.
    """

    def __init__(self, columns: Sequence[str], effort: Effort) -> None:
        self.names = ["epoch", "training_loss", *columns, "lr"]
        self.header = ",".join(map(cell, self.names)) + "\n"
        self._columns, self._effort = len(columns), effort
        self._kept: list[NDArray[np.float64]] = []
        self._begun: NDArray[np.float64] = np.empty(0)  # losses of the epoch that the next step is in

    def resume(self, losses: NDArray[np.float64]) -> None:
        """Begin after steps with these losses."""
        self._begun = losses[len(losses) - len(losses) % self._effort.steps_per_epoch :]

    def of(self, block: StepBlock) -> bytes:
        """Return the rows of the epochs that end in a block; a step that diverged ends none, nor does row 0."""
        ends = block.last & (block.step > 0)
        ends[-1] &= not block.diverged
        losses, per_epoch = np.concatenate([self._begun, block.loss.astype(np.float64)]), self._effort.steps_per_epoch
        count = int(ends.sum())
        self._begun = losses[len(losses) - len(losses) % per_epoch :]
        if not count:
            return b""
        table = np.full((count, self._columns + 2), np.nan)
        table[:, 0] = self._effort.epoch_losses(losses[: count * per_epoch])
        if block.evaluated is not None and self._columns:
            table[:, 1:-1] = block.evaluated[1][:count]
        table[:, -1] = block.lr[ends]
        self._kept.append(np.column_stack([block.epoch[ends], table]))
        return number_rows(block.epoch[ends], table)

    def by_name(self) -> dict[str, NDArray[np.float64]]:
        """Return the columns of the epochs so far, since the run began or was resumed."""
        table = np.concatenate(self._kept) if self._kept else np.empty((0, len(self.names)))
        return dict(zip(self.names, np.ascontiguousarray(table.T), strict=True))
