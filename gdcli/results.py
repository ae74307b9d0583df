"""How each of many runs ended, as data that a file, another process or another machine can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.records import Parameter


@dataclass(frozen=True, slots=True)
class Result:
    """One run of many. Its loss is NaN when it diverged or failed; ``message`` says why it ended."""

    number: int  # from 1, in the order asked for
    label: str
    values: tuple[Any, ...]  # of the axes
    status: str
    message: str = ""
    loss: float = float("nan")  # of the whole training set at the end
    best_loss: float = float("nan")
    steps: int | None = None
    epochs: int | None = None
    hashes: tuple[str | None, str | None, str | None] | None = (
        None  # of start values, training rows, order of the first epoch
    )
    metrics: Mapping[str, float] = field(default_factory=dict)
    to_target: int | None = None  # steps after which the loss was first at the target or below; None: never
    losses: NDArray[np.float64] | None = None  # [steps] of every step, before its update
    parameters: tuple[Parameter, ...] | None = None  # at the end
    path: NDArray[np.float64] | None = None  # [steps + 1, P] all scalars at the start and after every step
    kernel: str = "single"

    @property
    def rank(self) -> float:
        """The final loss to rank by: infinite where it is not finite, since NaN compares with nothing."""
        return self.loss if isfinite(self.loss) else inf


def failed(number: int, label: str, values: tuple[Any, ...], message: str) -> Result:
    """Return the result of a run that raised."""
    return Result(number, label, values, "failed", message)


def header(axes: Sequence[str], metrics: Sequence[str] = (), *, target: bool = False) -> list[str]:
    """Return the columns of results.csv."""
    wanted = ["steps_to_target", "epochs_to_target", "evaluations_to_target"] if target else []
    fixed = ["status", "final_loss", "best_loss", "steps", "epochs"]
    return ["run", *axes, *fixed, *wanted, *metrics, "weights", "data", "order"]


def row(result: Result, metrics: Sequence[str] = (), effort: Effort | None = None) -> list[Any]:
    """Return one run's row of results.csv; no loss where the run diverged or failed."""
    values = [value if value is None or isinstance(value, int | float | str) else str(value) for value in result.values]
    losses = [value if isfinite(value) else None for value in (result.loss, result.best_loss)]
    reached = [] if effort is None else list(effort.of(result.to_target))
    numbers = [result.metrics.get(name) for name in metrics]
    hashes = result.hashes or (None, None, None)
    return [result.number, *values, result.status, *losses, result.steps, result.epochs, *reached, *numbers, *hashes]


@dataclass(frozen=True, slots=True)
class Effort:
    """What steps cost: a gradient evaluation is the gradient of one row, for an objective of its value."""

    samples: int
    rows: int  # a step
    steps_per_epoch: int

    def evaluations(self, steps: int) -> int:
        """Return the gradient evaluations of the first steps; the last batch of an epoch may be smaller.

        >>> Effort(10, 4, 3).evaluations(7), Effort(0, 1, 1).evaluations(7)
        (24, 7)
        """
        if not self.samples:
            return steps
        epochs, rest = divmod(steps, self.steps_per_epoch)
        whole = min(self.samples, self.rows * self.steps_per_epoch)
        return epochs * whole + rest * self.rows

    def of(self, steps: int | None) -> tuple[int | None, float | None, int | None]:
        """Return steps, epochs and gradient evaluations; nothing for what was never reached."""
        if steps is None:
            return None, None, None
        return steps, steps / self.steps_per_epoch, self.evaluations(steps)
