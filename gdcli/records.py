"""What happened in a run, as frozen data: the one language between engine, styles, store, tables and plots.

Numbers are float64: a float32 result is widened, which is exact, so that its shortest ``repr`` is what
Python prints for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]
LAYER_COLUMNS = ("weight_norm", "gradient_norm", "update_ratio", "gradient_zeros")
"""‖w‖ and ‖g‖ before a step, ‖Δw‖ / ‖w‖ of its update, and the share of zeros in g, of each trained parameter."""
Status = Literal["finished", "stopped", "diverged", "interrupted", "failed"]


def plain(numbers: Sequence[float]) -> str:
    """Return numbers as Python prints them, with blanks between."""
    return " ".join(map(repr, numbers))


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

    def text(self, when: str, output_text: Callable[[list[float]], str] = plain) -> str:
        """Return it as a line; ``when`` is before or after training."""
        asked = self.asked if isinstance(self.asked, tuple) else (self.asked,)
        return f"predict ({when} training) {plain(asked)} {output_text(self.output.tolist())}"


@dataclass(frozen=True, slots=True)
class Start:
    """What is known before the first step."""

    loss: str  # the loss's name in the spec, "objective" for an objective
    loss_grad_fn: str  # "MseLoss": the name torch gives the loss's node, without Backward0
    output_grad_fn: str  # "Sigmoid": the same for the model's output
    dtype: Literal["float32", "float64"]
    parameters: tuple[Parameter, ...]  # in the model's order, before training
    samples: int  # rows of training data, 0 for an objective
    watched: tuple[str, ...] = ()  # the columns of gradients at inputs and intermediate values
    prediction: Prediction | None = None


@dataclass(frozen=True, slots=True)
class StepBlock:
    """K optimizer steps as columns, None where no one asked; counts begin at 1, row 0 is an evaluation, no update."""

    step: Integers  # [K]
    epoch: Integers  # [K]
    batch: Integers  # [K] position within the epoch
    last: NDArray[np.bool_]  # [K] True at the last step of an epoch
    loss: Floats  # [K] before the update, of the step's own batch
    lr: Floats  # [K]
    gradient_norm: Floats  # [K] l2 over all trained parameters
    ends: bool = False  # whether the last of these steps is the run's last
    gradients: Floats | None = None  # [K, P] P trained scalars in the model's order, in the run's dtype
    norms: Floats | None = None  # [K, N] l2 per trained parameter
    loss_after: Floats | None = None  # [K] the batch's loss after its update, at the last step of an epoch, else NaN
    full_loss: Floats | None = None  # [K] the whole set's loss after the epoch, at its last step, else NaN
    sample: tuple[Floats, Floats] | None = None  # x [K, D] and y [K, O] of batches of one row, as the spec has them
    output: tuple[Floats, ...] | None = None  # K arrays [B, O] in the run's dtype, before the update
    parameters: Floats | None = None  # [K, P + frozen] all scalars in the model's order, after the update
    layers: Floats | None = None  # [K, N, 4] of each trained parameter, see LAYER_COLUMNS
    watched: Floats | None = None  # [K, W] gradients at inputs and intermediate values, NaN for rows that are not there
    evaluated: tuple[Integers, Floats] | None = None  # positions of epochs' last steps [E], and after them [E, M]
    diverged: bool = False  # whether the last of these steps was not finite, and so has no update

    def kept(self, every: int) -> NDArray[np.bool_]:
        """Return the steps [K] whose gradients `record.every` keeps: every N-th from the first on, and the last."""
        chosen: NDArray[np.bool_] = (self.step - 1) % every == 0
        chosen[-1] |= self.ends
        return chosen


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    status: Status
    message: str  # why, one line: 'all 100 epochs', 'loss 9.1e-07 <= 1e-06 at epoch 80', ...
    steps: int
    epochs: int  # completed
    loss: float  # of the whole training set after the last step; not finite when diverged
    best_loss: float
    best_step: int
    parameters: tuple[Parameter, ...]  # in the model's order, after training
    metrics: Mapping[str, Any] = field(default_factory=dict)  # accuracy, validation_loss, ...; of a matrix its rows
    prediction: Prediction | None = None
    buffers: tuple[Parameter, ...] = ()  # of torch's own layers, such as the means of a batch norm
    last_loss: float | None = None  # that of the last epoch, where those of the best one are restored


@dataclass(frozen=True, slots=True)
class Block:
    """K optimizer steps of R runs as columns, runs on the second axis. A column that no one asked for is None."""

    step: Integers  # [K]
    epoch: Integers  # [K]
    batch: Integers  # [K]
    last: NDArray[np.bool_]  # [K]
    count: Integers  # [R] steps of this block that the run made: K, fewer in the block in which it ended, then 0
    ended: NDArray[np.bool_]  # [R] runs that have made their last step
    loss: Floats  # [K, R]
    lr: Floats  # [R], or [K, R] where a schedule changes it
    gradients: Floats | None = None  # [K, R, P]
    norms: Floats | None = None  # [K, R, N]
    loss_after: Floats | None = None  # [K, R]
    full_loss: Floats | None = None  # [K, R]
    sample: tuple[Floats, Floats] | None = None  # x [K, D] and y [K, O]: the same rows for all runs
    output: tuple[Floats, ...] | None = None  # K arrays [R, B, O]
    parameters: Floats | None = None  # [K, R, P + frozen]
    layers: Floats | None = None  # [K, R, N, 4]
    watched: Floats | None = None  # [K, R, W]
    evaluated: tuple[Integers, Floats] | None = None  # positions of epochs' last steps [E], and after them [E, M, R]
    diverged: NDArray[np.bool_] | None = None  # [R] runs whose last step here was not finite

    def of_run(self, run: int) -> StepBlock | None:
        """Return one run's block; None where it made no step."""
        count = int(self.count[run])
        if not count:
            return None

        def part(column: Floats | None) -> Any:
            return None if column is None else np.ascontiguousarray(column[:count, run])

        gradients, norms = None if self.gradients is None else self.gradients[:count, run], part(self.norms)
        if gradients is not None and gradients.strides[1] != gradients.itemsize:  # else its rows are whole: no copy
            gradients = np.ascontiguousarray(gradients)
        kept = norms if gradients is None else gradients
        return StepBlock(
            step=self.step[:count], epoch=self.epoch[:count], batch=self.batch[:count], last=self.last[:count],
            loss=part(self.loss),
            lr=np.full(count, self.lr[run]) if self.lr.ndim == 1 else self.lr[:count, run],
            gradient_norm=np.full(count, np.nan) if kept is None else l2_norms(kept),
            ends=bool(self.ended[run]),
            gradients=gradients,
            norms=None if norms is None else norms.astype(np.float64),
            loss_after=part(self.loss_after), full_loss=part(self.full_loss),
            sample=None if self.sample is None else (self.sample[0][:count], self.sample[1][:count]),
            output=None if self.output is None else tuple(output[run] for output in self.output[:count]),
            parameters=part(self.parameters), layers=part(self.layers), watched=part(self.watched),
            evaluated=self._evaluated(run, count), diverged=self.diverged is not None and bool(self.diverged[run]),
        )  # fmt: skip

    def _evaluated(self, run: int, count: int) -> tuple[Integers, Floats] | None:
        if self.evaluated is None:
            return None
        places, values = self.evaluated
        return places[places < count], values[places < count, :, run]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How R runs ended, as columns."""

    status: tuple[Status, ...]
    message: tuple[str, ...]
    steps: Integers  # [R]
    epochs: Integers  # [R]
    loss: Floats  # [R]
    best_loss: Floats  # [R]
    best_step: Integers  # [R]
    values: Floats  # [R, P] rows of theta, see Theta.as_parameters
    metrics: Mapping[str, Any]  # [R] each, of a matrix a list of its rows
    predictions: tuple[Prediction | None, ...]
    buffers: Sequence[tuple[Parameter, ...]]  # of torch's own layers, each run's
    last_loss: Floats | None = None  # [R]

    def of_run(self, run: int, as_parameters: Callable[[Floats], tuple[Parameter, ...]]) -> Outcome:
        """Return one run's outcome; ``as_parameters`` names the entries of its row of theta."""
        known = {} if self.status[run] == "diverged" else {name: column[run] for name, column in self.metrics.items()}
        return Outcome(
            status=self.status[run],
            message=self.message[run],
            steps=int(self.steps[run]),
            epochs=int(self.epochs[run]),
            loss=float(self.loss[run]),
            best_loss=float(self.best_loss[run]),
            best_step=int(self.best_step[run]),
            parameters=as_parameters(self.values[run]),
            metrics={name: each.item() if isinstance(each, np.generic) else each for name, each in known.items()},
            prediction=self.predictions[run],
            buffers=self.buffers[run],
            last_loss=None if self.last_loss is None else float(self.last_loss[run]),
        )


Event = Start | StepBlock | Outcome


def where_diverged(status: str, message: str) -> str:
    """Return where a run diverged, in the first words of its message; nothing for one that did not.

    >>> where_diverged("diverged", "diverged at step 4 (epoch 2): the loss is inf. Try a smaller lr")
    'diverged at step 4'
    """
    return message.partition(" (")[0] or "diverged" if status == "diverged" else ""


def with_last(losses: NDArray[np.float64], loss: float, diverged: str) -> NDArray[np.float64]:
    """Return the losses [K] before each update, and that after the last where the run came so far.

    One that diverged at a step, by :func:`where_diverged`, did not, nor one that has not ended.

    >>> with_last(np.array([4.0, 2.0]), 1.0, "").tolist(), with_last(np.array([4.0, 2.0]), np.nan, "").tolist()
    ([4.0, 2.0, 1.0], [4.0, 2.0])
    """
    came = isfinite(loss) or diverged.startswith("diverged after")
    return np.append(losses, loss) if came else losses


def l2_norms(kept: Floats) -> Floats:
    """Return the l2 norm of each row of kept [K, P] in float64, scaled where its squares would overflow.

    >>> l2_norms(np.array([[3.0, 4.0], [0.0, 1e200]])).tolist()
    [5.0, 1e+200]
    """
    some, norms = max(1, 2**18 // max(1, kept.shape[1])), np.empty(len(kept))  # rows at once, in the caches
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(kept), some):
            wide = kept[first : first + some].astype(np.float64)
            norms[first : first + some] = np.sqrt(np.add.reduce(np.multiply(wide, wide, out=wide), axis=1))
        for k in np.flatnonzero(np.isinf(norms)):
            wide = kept[k].astype(np.float64)
            largest = np.abs(wide).max()
            if np.isfinite(largest):
                norms[k] = largest * np.sqrt(np.add.reduce((wide / largest) ** 2))
    return norms


@dataclass(frozen=True, slots=True)
class State:
    """All that the steps to come depend on, between two steps: numbers that JSON can hold, and arrays by name.

    The arrays are theta, the state of each rule, the buffers of torch's own layers and the states of torch's
    generators, which dropout draws from. The learning rates of a schedule follow from the number of steps.
    """

    steps: int
    numbers: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


# --- many runs --------------------------------------------------------------------------------------------------------


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
    hashes: tuple[str | None, str | None, str | None] | None = None  # of start values, rows, first epoch's order
    metrics: Mapping[str, float] = field(default_factory=dict)
    to_target: int | None = None  # steps after which the loss was first at the target or below; None: never
    losses: NDArray[np.float64] | None = None  # [steps] of every step, before its update
    parameters: tuple[Parameter, ...] | None = None  # at the end
    path: NDArray[np.float64] | None = None  # [steps + 1, P] all scalars from the start on; a row of NaN if diverged
    kernel: str = "single"

    @property
    def rank(self) -> float:
        """The final loss to rank by: infinite where it is not finite, since NaN compares with nothing."""
        return self.loss if isfinite(self.loss) else inf


@dataclass(frozen=True, slots=True)
class Ranking:
    """What runs are ranked by: their final loss, or a metric; of some the highest comes first.

    >>> run = Result(1, "", (), "finished", loss=0.5, metrics={"accuracy": 0.75})
    >>> Ranking().key(run), Ranking("accuracy", highest_first=True).key(run), Ranking("validation_r2").key(run)
    (0.5, -0.75, inf)
    """

    name: str = "final_loss"
    highest_first: bool = False

    def value(self, result: Result) -> float:
        """Return a run's value; NaN where it has none: it diverged or failed, or the rows leave it undefined."""
        if self.name == "final_loss" or result.status in ("diverged", "failed"):
            return result.loss if self.name == "final_loss" else float("nan")
        return float(result.metrics.get(self.name, float("nan")))

    def key(self, result: Result) -> float:
        """Return what the best run has the least of; infinite where there is no value, which comes last."""
        value = self.value(result)
        return (-value if self.highest_first else value) if isfinite(value) else inf


def results_header(axes: Sequence[str], metrics: Sequence[str] = (), *, target: bool = False) -> list[str]:
    """Return the columns of results.csv."""
    wanted = ["steps_to_target", "epochs_to_target", "evaluations_to_target"] if target else []
    fixed = ["status", "final_loss", "best_loss", "steps", "epochs"]
    return ["run", *axes, *fixed, *wanted, *metrics, "weights", "data", "order"]


def results_row(result: Result, metrics: Sequence[str] = (), effort: Effort | None = None) -> list[Any]:
    """Return one run's row of results.csv; no loss where the run diverged or failed."""
    values = [value if value is None or isinstance(value, int | float | str) else str(value) for value in result.values]
    losses = [value if isfinite(value) else None for value in (result.loss, result.best_loss)]
    reached = [] if effort is None else list(effort.of(result.to_target))
    numbers = [None if (value := result.metrics.get(name)) is None or isnan(value) else value for name in metrics]
    hashes = result.hashes or (None, None, None)
    return [result.number, *values, result.status, *losses, result.steps, result.epochs, *reached, *numbers, *hashes]


@dataclass(frozen=True, slots=True)
class Effort:
    """What steps cost: a gradient evaluation is the gradient of one row, for an objective of its value."""

    samples: int
    rows: int  # a step
    steps_per_epoch: int
    sums: bool = False  # whether the loss of a step is the sum over its rows, not their mean

    def evaluations(self, steps: int) -> int:
        """Return the gradient evaluations of the first steps; the last batch of an epoch may be smaller.

        >>> Effort(10, 4, 3).evaluations(7), Effort(0, 1, 1).evaluations(7)
        (24, 7)
        """
        if not self.samples:
            return steps
        epochs, rest = divmod(steps, self.steps_per_epoch)
        return epochs * self._whole + rest * self.rows

    @property
    def _whole(self) -> int:
        return min(self.samples, self.rows * self.steps_per_epoch)  # rows an epoch

    def epoch_losses(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the loss of each epoch from those of all steps so far [K]: Σ n L / Σ n, n the rows of a step.

        Of a loss that is a sum Σ L. An epoch cut short has none, unless it is the first, or the run diverged in it; its
        sum is scaled to the rows of a whole one.

        >>> Effort(7, 6, 2).epoch_losses(np.array([20 / 3, 0.0, 7.0])).round(3).tolist()
        [5.714]
        >>> Effort(7, 6, 2, sums=True).epoch_losses(np.array([36.0])).tolist()
        [42.0]
        """
        whole = len(losses) // self.steps_per_epoch * self.steps_per_epoch
        if whole and np.isfinite(losses[whole:]).all():
            losses = losses[:whole]
        starts = np.arange(0, len(losses), self.steps_per_epoch)
        if self.steps_per_epoch == 1 or not len(starts):
            return losses
        share = np.ones(self.steps_per_epoch)  # of a whole batch
        share[-1] = self._whole / self.rows - (self.steps_per_epoch - 1)
        share = np.resize(share, len(losses))
        seen = np.add.reduceat(share, starts)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.sums:
                return np.add.reduceat(losses, starts) * (self._whole / self.rows / seen)
            return np.asarray(np.add.reduceat(losses * share, starts) / seen)

    def of(self, steps: int | None) -> tuple[int | None, float | None, int | None]:
        """Return steps, epochs and gradient evaluations; nothing for what was never reached."""
        if steps is None:
            return None, None, None
        return steps, steps / self.steps_per_epoch, self.evaluations(steps)
