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


Event = Start | StepBlock | Outcome
