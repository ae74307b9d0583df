"""What happened in a run, as frozen data: the one language between engine, styles, store, tables and plots.

Numbers are float64: a float32 result is widened, which is exact, so that its shortest ``repr`` is what
Python prints for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]
Status = Literal["finished", "stopped", "diverged", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One named tensor of the model: its values [any shape] in the run's dtype, and whether it is trained."""

    name: str
    values: Floats
    trained: bool = True

    @property
    def scalars(self) -> tuple[str, ...]:
        """The column name of each entry: ``weight[0,1]``, and the bare name for a tensor without axes."""
        return tuple(
            f"{self.name}[{','.join(map(str, index))}]" if index else self.name
            for index in np.ndindex(self.values.shape)
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's output for the number or row that the spec asks for: ``asked`` as the spec has it."""

    asked: float | int | tuple[float | int, ...]
    output: Floats  # [O], in the run's dtype


@dataclass(frozen=True, slots=True)
class Start:
    """What is known before the first step."""

    loss: str  # the loss's name in the spec, "objective" for an objective
    loss_grad_fn: str  # "MseLoss": the name torch gives the loss's node, without Backward0
    output_grad_fn: str  # "Sigmoid": the same for the model's output
    dtype: Literal["float32", "float64"]
    parameters: tuple[Parameter, ...]  # in the model's order, before training
    samples: int  # rows of training data, 0 for an objective
    prediction: Prediction | None = None


@dataclass(frozen=True, slots=True)
class StepBlock:
    """K optimizer steps as columns. Steps, epochs and batches count from 1; row 0 is an evaluation without update.

    A column that no one asked for is None.
    """

    step: Integers  # [K]
    epoch: Integers  # [K]
    batch: Integers  # [K] position within the epoch
    last: NDArray[np.bool_]  # [K] True at the last step of an epoch
    loss: Floats  # [K] before the update, of the step's own batch
    lr: Floats  # [K]
    gradient_norm: Floats  # [K] l2 over all trained parameters
    gradients: Floats | None = None  # [K, P] P trained scalars in the model's order, in the run's dtype
    norms: Floats | None = None  # [K, N] l2 per trained parameter
    loss_after: Floats | None = None  # [K] the batch's loss after its update, at the last step of an epoch, else NaN
    full_loss: Floats | None = None  # [K] the whole set's loss after the epoch, at its last step, else NaN
    sample: tuple[Floats, Floats] | None = None  # x [K, D] and y [K, O] of batches of one row, as the spec has them
    output: tuple[Floats, ...] | None = None  # K arrays [B, O] in the run's dtype, before the update
    parameters: Floats | None = None  # [K, P + frozen] all scalars in the model's order, after the update


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    status: Status
    message: str  # why, one line: 'all 100 epochs', 'loss below 1e-6 at step 80', ...
    steps: int
    epochs: int  # completed
    loss: float  # of the whole training set after the last step; not finite when diverged
    best_loss: float
    best_step: int
    parameters: tuple[Parameter, ...]  # in the model's order, after training
    metrics: Mapping[str, float] = field(default_factory=dict)  # accuracy, validation_loss, ...
    prediction: Prediction | None = None


@dataclass(frozen=True, slots=True)
class FleetBlock:
    """K optimizer steps of R runs as columns, runs on the second axis. A column that no one asked for is None."""

    step: Integers  # [K]
    epoch: Integers  # [K]
    batch: Integers  # [K]
    last: NDArray[np.bool_]  # [K]
    count: Integers  # [R] steps of this block that the run made: K, fewer in the block in which it ended, then 0
    loss: Floats  # [K, R]
    lr: Floats  # [R], or [K, R] where a schedule changes it
    gradients: Floats | None = None  # [K, R, P]
    norms: Floats | None = None  # [K, R, N]
    loss_after: Floats | None = None  # [K, R]
    full_loss: Floats | None = None  # [K, R]
    sample: tuple[Floats, Floats] | None = None  # x [K, D] and y [K, O]: the same rows for all runs
    output: Floats | None = None  # [K, R, B, O]
    parameters: Floats | None = None  # [K, R, P + frozen]

    def of_run(self, run: int) -> StepBlock | None:
        """Return one run's block; None where it made no step."""
        count = int(self.count[run])
        if not count:
            return None

        def part(column: Floats | None) -> Any:
            return None if column is None else np.ascontiguousarray(column[:count, run])

        gradients, norms = part(self.gradients), part(self.norms)
        kept = norms if gradients is None else gradients
        return StepBlock(
            step=self.step[:count],
            epoch=self.epoch[:count],
            batch=self.batch[:count],
            last=self.last[:count],
            loss=part(self.loss),
            lr=np.full(count, self.lr[run]) if self.lr.ndim == 1 else self.lr[:count, run],
            gradient_norm=np.full(count, np.nan) if kept is None else l2_norms(kept),
            gradients=gradients,
            norms=None if norms is None else norms.astype(np.float64),
            loss_after=part(self.loss_after),
            full_loss=part(self.full_loss),
            sample=None if self.sample is None else (self.sample[0][:count], self.sample[1][:count]),
            output=None if self.output is None else tuple(self.output[:count, run]),
            parameters=part(self.parameters),
        )


@dataclass(frozen=True, slots=True)
class FleetOutcome:
    """How R runs ended, as columns."""

    status: tuple[Status, ...]
    message: tuple[str, ...]
    steps: Integers  # [R]
    epochs: Integers  # [R]
    loss: Floats  # [R]
    best_loss: Floats  # [R]
    best_step: Integers  # [R]
    values: Floats  # [R, P] rows of theta, see Theta.as_parameters
    metrics: Mapping[str, Floats]  # [R] each


Event = Start | StepBlock | Outcome


def l2_norms(kept: Floats) -> Floats:
    """Return the l2 norm of each row of kept [K, P] in float64, scaled where its squares would overflow.

    >>> l2_norms(np.array([[3.0, 4.0], [0.0, 1e200]])).tolist()
    [5.0, 1e+200]
    """
    wide = kept.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        norms: Floats = np.sqrt(np.add.reduce(wide * wide, axis=1))
        for k in np.flatnonzero(np.isinf(norms)):
            largest = np.abs(wide[k]).max()
            if np.isfinite(largest):
                norms[k] = largest * np.sqrt(np.add.reduce((wide[k] / largest) ** 2))
    return norms
