"""The fleet's loop: the loop of `gdcli.engine.loop` for R runs at once, a generator of column blocks.

Every run ends by itself: diverged, stopped or finished. One that has ended is computed on and not looked at; its
parameters are kept from the step at which it ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine import divergence
from gdcli.engine.fleet_problem import Fleet
from gdcli.engine.loop import BLOCK_SCALARS, BLOCK_SECONDS, MAX_BLOCK_STEPS, Interrupt, on_host
from gdcli.engine.metrics import ACCURACY, by_class
from gdcli.engine.param_groups import LrSchedules, Step
from gdcli.engine.problem import Rows
from gdcli.records import FleetBlock, FleetOutcome, Floats, Parameter, Prediction, Start, Status
from gdcli.zoo.arithmetic import Setting

Keep = Literal["values", "norms", "none"]


@dataclass(slots=True)
class _Columns:
    """The columns of a block while it grows."""

    steps: list[Rows] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    parameters: list[Tensor] = field(default_factory=list)
    loss_after: list[Floats] = field(default_factory=list)
    full_loss: list[Floats] = field(default_factory=list)
    rates: list[list[Step]] = field(default_factory=list)  # of each step, where there is a schedule


def train_fleet(
    fleet: Fleet, columns: Iterable[str] = (), keep: Keep = "none", interrupt: Interrupt | None = None
) -> Iterator[FleetBlock | FleetOutcome]:
    """Train and yield FleetBlocks, then a FleetOutcome.

    ``columns`` names the optional columns of FleetBlock that the caller wants besides those of ``keep``: every
    gradient, the norm of each parameter's, or nothing.
    """
    return FleetLoop(fleet, columns, keep, interrupt).events()


class FleetLoop:
    """Runs in progress: ``events`` trains them. ``open`` are those that have not ended.

    Between two events `gdcli.engine.fleet_checkpoint` takes their state, and gives another loop that state before the
    first.
    """

    def __init__(
        self, fleet: Fleet, columns: Iterable[str] = (), keep: Keep = "none", interrupt: Interrupt | None = None
    ) -> None:
        self.fleet, self.columns, self.interrupt = fleet, frozenset(columns), interrupt or Interrupt()
        self.theta, self.runs = fleet.theta, fleet.runs
        self.spec = fleet.members[0].spec
        self.stop = self.spec.stop
        self.keep: Keep = "values" if "gradients" in columns else keep
        self.per_epoch = fleet.batches.per_epoch
        self.full_batch = self.per_epoch == 1 and not fleet.batches.shuffle
        self.per_epoch_loss = "full_loss" in columns or self.stop.loss is not None or self.stop.patience is not None
        width, first = fleet.theta.values.shape[0], fleet.updates[0].lr if fleet.updates else np.nan
        self.lr = np.broadcast_to(np.asarray(first, dtype=np.float64).reshape(-1), (width,)).copy()
        self.rates = LrSchedules([(update.bound.update, update.lr, update.schedule) for update in fleet.updates])
        self.open = np.ones(self.runs, dtype=bool)
        self.status: list[Status] = ["finished"] * self.runs
        self.message = [f"all {self.spec.settings.epochs} epochs"] * self.runs
        self.steps = np.zeros(self.runs, dtype=np.int64)
        self.epochs = np.zeros(self.runs, dtype=np.int64)
        self.best = np.full(self.runs, np.inf)
        self.best_step = np.zeros(self.runs, dtype=np.int64)
        self.bad_loss = np.full(self.runs, np.nan)
        self.kept_values: dict[int, Floats] = {}
        self.best_epoch_loss, self.stale = np.full(self.runs, np.inf), np.zeros(self.runs, dtype=np.int64)
        self.t = 0
        self.interrupted = False
        self._buffers()

    def _buffers(self) -> None:
        """Make the block's buffers once: gradients, norms of each parameter's, or the largest entry of all."""
        theta = self.theta
        runs = theta.values.shape[0]
        parts = [theta.stretch(slot.start, slot.stop)[1] for slot in theta.trained]
        whole = [theta.stored_gradient] if parts else []  # of nothing there is no largest entry
        self.parts = parts if self.keep == "norms" else whole
        width = theta.room if self.keep == "values" else len(self.parts)
        extra = theta.values.shape[1] if "parameters" in self.columns else 0
        steps = self.spec.settings.epochs * self.per_epoch
        self.capacity = max(1, min(MAX_BLOCK_STEPS, BLOCK_SCALARS // (runs * max(width + extra, 1)), steps))
        self.shape = (self.capacity, *(theta.stored_gradient.shape if self.keep == "values" else (width, runs)))
        self.on_host = theta.stored.device.type == "cpu"
        self.axis = 0 if theta.innermost else 1
        largest_of_all = self.keep == "none"
        self.measures = [_measured(part, self.axis, largest=largest_of_all) for part in self.parts]

    def fresh(self) -> tuple[Tensor, list[Any], Callable[[Any, Any], Any], Any]:
        """Return a block's memory, its rows, and what copies the gradient to one: it is handed on with the block."""
        kept, gradient = self.theta.stored.new_empty(self.shape), self.theta.stored_gradient
        if self.keep != "values":
            return kept, [row.unbind(0) for row in kept], Tensor.copy_, gradient
        if self.on_host:  # numpy's copy of a small tensor costs half of torch's
            return kept, list(kept.numpy()), np.copyto, gradient.numpy()
        return kept, list(kept), Tensor.copy_, gradient

    # --- events -------------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[FleetBlock | FleetOutcome]:
        """Yield what happens: blocks, then the outcome."""
        epochs = range(self.t // self.per_epoch, self.spec.settings.epochs)
        steps = islice(chain.from_iterable(self.fleet.batches.epoch() for _ in epochs), self.t % self.per_epoch, None)
        while self.open.any() and not self.interrupted:
            with np.errstate(all="ignore"):
                block = self.block(steps)
            if block is None:
                break
            yield block
        with np.errstate(all="ignore"):
            outcome = self.outcome()
        yield outcome

    def block(self, steps: Iterator[Rows]) -> FleetBlock | None:
        """Run up to K steps and return their columns; None when there are no more."""
        restore, rows, first = self.snapshot(), _Columns(), self.t + 1
        count = np.where(self.open, self.capacity + 1, 0)  # cut below
        until = time.perf_counter() + BLOCK_SECONDS
        self.kept, targets, copy, gradient = self.fresh()
        kernel_step = self.fleet.kernel.step
        updates, rates, per_epoch = self.rates.of_epoch(self.t // self.per_epoch), None, self.per_epoch
        if self.rates.are_scheduled:
            rates = rows.rates
        after = self.after_update if self.columns or self.stops() or self.per_epoch_loss else None
        keep_values, with_output = self.keep == "values", "output" in self.columns
        add_step, add_loss = rows.steps.append, rows.losses.append
        t = self.t
        for k, step in enumerate(islice(steps, self.capacity)):
            t += 1
            loss, output = kernel_step(step.x, step.y)
            if keep_values:
                copy(targets[k], gradient)
            else:
                for measure, into in zip(self.measures, targets[k], strict=True):
                    measure(into)
            add_step(step)
            add_loss(loss)
            if with_output:
                rows.outputs.append(self.fleet.kernel.by_run(output)[: self.runs].clone())
            if rates is not None:
                if (t - 1) % per_epoch == 0:
                    updates = self.rates.of_epoch((t - 1) // per_epoch)
                rates.append(updates)
            for update, lr in updates:
                update(lr, t)
            if after is not None:
                self.t = t
                after(step, rows, count)
                if not self.open.any():
                    break
            if self.interrupt.requested:
                self.interrupted = True
                break
            if (with_output and self.ends_alike(t)) or time.perf_counter() > until:
                break
        if not rows.steps:
            return None
        self.t = t
        return self.finished_block(rows, first, count, restore)

    def ends_alike(self, t: int) -> bool:
        """Say whether a block's outputs, one array, end with step t: its batch, or the next one, is a smaller last."""
        samples, rows = self.fleet.batches.samples, self.fleet.batches.rows
        return self.per_epoch * rows > samples > 0 and t % self.per_epoch in (0, self.per_epoch - 1)

    def stops(self) -> bool:
        """Say whether the spec stops runs early."""
        return any(value is not None for value in self.stop.model_dump().values())

    def after_update(self, step: Rows, rows: _Columns, count: NDArray[np.int64]) -> None:
        """Take the columns that need the updated parameters, and see which runs stop."""
        last, nan = self.t % self.per_epoch == 0, np.full(self.runs, np.nan)
        if "parameters" in self.columns:
            rows.parameters.append(self.theta.values[: self.runs].clone())
        if "loss_after" in self.columns:
            rows.loss_after.append(self.loss_of(step) if last else nan)
        epoch_loss = self.loss_of(self.fleet.batches.whole()) if self.per_epoch_loss and last else nan
        rows.full_loss.append(epoch_loss)
        if last:
            self.end_of_epoch(self.t // self.per_epoch, epoch_loss, rows, count)
        if self.stop.max_steps is not None and self.t >= self.stop.max_steps:
            self.end(self.open.copy(), lambda run: f"max_steps reached at step {self.t}", rows, count)

    def end_of_epoch(self, epoch: int, loss: Floats, rows: _Columns, count: NDArray[np.int64]) -> None:
        """Check `stop` once an epoch."""
        stop = self.stop
        if stop.gradient_norm is not None:
            if not self.full_batch:
                whole = self.fleet.batches.whole()
                self.fleet.kernel.step(whole.x, whole.y)
            norms = torch.linalg.vector_norm(self.theta.stored_gradient, 2, self.axis)[: self.runs].cpu().numpy()
            bound = f"{stop.gradient_norm:g} at epoch {epoch}"
            self.end(norms <= stop.gradient_norm, lambda run: f"gradient norm {norms[run]:.3g} <= {bound}", rows, count)
        if stop.loss is not None:
            reached = f"{stop.loss:g} at epoch {epoch}"
            self.end(loss <= stop.loss, lambda run: f"loss {loss[run]:.6g} <= {reached}", rows, count)
        if stop.patience is not None:
            held_out = self.fleet.validation
            watched = loss if held_out is None else self.loss_of(held_out)
            better = watched < self.best_epoch_loss
            self.stale = np.where(better, 0, self.stale + 1)
            self.best_epoch_loss = np.where(better, watched, self.best_epoch_loss)
            why = f"no better loss in {stop.patience} epochs, at epoch {epoch}"
            self.end(self.stale >= stop.patience, lambda run: why, rows, count)

    def end(
        self, which: NDArray[np.bool_], why: Callable[[int], str], rows: _Columns, count: NDArray[np.int64]
    ) -> None:
        """Stop some runs after the step that was just made."""
        for run in np.flatnonzero(which & self.open):
            self.status[run], self.message[run] = "stopped", why(int(run))
            self.steps[run], self.epochs[run] = self.t, self.t // self.per_epoch
            self.kept_values[int(run)] = self.values_of(int(run))
            count[run] = len(rows.steps)
            self.open[run] = False

    def values_of(self, run: int) -> Floats:
        """Return a run's row of theta."""
        values: Floats = self.theta.values[run].cpu().numpy().copy()
        return values

    # --- divergence ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Callable[[], None]:
        """Return a function that puts everything that the next step depends on back to now."""
        tensors = [self.theta.stored, *(v for u in self.fleet.updates for v in u.bound.state.values())]
        copies = [tensor.clone() for tensor in tensors]

        def restore() -> None:
            for tensor, copy in zip(tensors, copies, strict=True):
                tensor.copy_(copy)

        return restore

    def finished_block(
        self, rows: _Columns, first: int, count: NDArray[np.int64], restore: Callable[[], None]
    ) -> FleetBlock:
        """Bring the block to the host, and end the runs that diverged in it."""
        made = len(rows.steps)
        block = self.columns_of(rows, first)
        kept = block.norms if block.gradients is None else block.gradients
        assert kept is not None
        finite = np.isfinite(block.loss)  # [K, R]
        if not np.isfinite(float(self.kept[:made].sum())):  # as a rule it is, and that is all there is to see
            finite &= np.isfinite(kept).all(axis=2)
        count = np.minimum(count, made)
        bad = np.where(finite.all(0), made, np.argmin(finite, axis=0))  # first step that is not finite
        diverged = bad < count
        if diverged.any():
            self.diverge(block, rows, np.flatnonzero(diverged), bad, restore)
            count = np.where(diverged, bad + 1, count)
        self.note_best(block, np.where(diverged, bad, count))
        self.steps[self.open], self.epochs[self.open] = self.t, self.t // self.per_epoch
        if self.interrupted:
            for run in np.flatnonzero(self.open):
                self.status[run], self.message[run] = "interrupted", f"interrupted after step {self.t}"
        return replace(block, count=count, norms=None if self.keep == "none" else block.norms)

    def diverge(
        self, block: FleetBlock, rows: _Columns, runs: NDArray[np.int64], bad: NDArray[np.int64],
        restore: Callable[[], None],
    ) -> None:  # fmt: skip
        """End runs at their first step that is not finite: its row is kept, its update and the later ones are not.

        The parameters before that update come from repeating the block from its start, which gives the same bits.
        """
        after = self.snapshot()
        restore()
        due: dict[int, list[int]] = {}
        for run in runs.tolist():
            due.setdefault(int(bad[run]), []).append(run)
        start = int(block.step[0])
        for k in range(max(due) + 1):
            for run in due.get(k, ()):
                self.kept_values[run] = self.values_of(run)
            self.fleet.kernel.step(rows.steps[k].x, rows.steps[k].y)
            for update, lr in rows.rates[k] if rows.rates else self.rates.of_epoch(0):
                update(lr, start + k)
        after()
        for k, ended in due.items():
            for run in ended:
                self.status[run], self.bad_loss[run] = "diverged", float(block.loss[k, run])
                self.message[run] = self.why(block, k, run)
                self.steps[run], self.epochs[run] = int(block.step[k]), max(0, int(block.epoch[k]) - 1)
                self.open[run] = False

    def why(self, block: FleetBlock, k: int, run: int) -> str:
        """Say in one line which step and loss it was, the parameters where they are known, and what may help."""
        trained, norms = self.theta.trained, None
        if block.gradients is not None:
            norms = divergence.norms_of(block.gradients[k, run], trained)
        elif block.norms is not None and self.keep == "norms":
            norms = dict(zip([slot.name for slot in trained], block.norms[k, run].tolist(), strict=True))
        where = int(block.step[k]), int(block.epoch[k])
        return divergence.message(self.fleet.members[run], *where, float(block.loss[k, run]), norms)

    def note_best(self, block: FleetBlock, good: NDArray[np.int64]) -> None:
        """Keep the lowest loss of the whole set seen so far, and its step; ``good`` [R] steps count."""
        if self.per_epoch_loss and block.full_loss is not None:
            losses, before = block.full_loss, 0
        elif self.full_batch:
            losses, before = block.loss, 1  # before this step's update
        else:
            return
        if (good < len(block.step)).any() or not before:
            counted = np.arange(len(block.step))[:, None] < good
            losses = np.where(counted & ~np.isnan(losses), losses, np.inf)
        k = np.argmin(losses, axis=0)
        value, step = losses[k, np.arange(self.runs)], np.maximum(block.step[k] - before, 0)
        better = value < self.best
        self.best, self.best_step = np.where(better, value, self.best), np.where(better, step, self.best_step)

    # --- columns ------------------------------------------------------------------------------------------------------

    def columns_of(self, rows: _Columns, first: int) -> FleetBlock:
        """Bring a block to the host: one copy of the losses and one of the gradients."""
        made, runs = len(rows.steps), self.runs
        losses = self.fleet.kernel.losses(rows.losses)[:, :runs].cpu().numpy().astype(np.float64)
        if self.keep == "norms":
            self.kept.sqrt_()
        kept = self.kept[:made].cpu().numpy()  # [K, P, R] or [K, R, P], norms [K, N, R]
        if self.keep != "values" or self.theta.innermost:
            kept = kept.swapaxes(1, 2)
        kept = kept[:, :runs]
        if self.keep == "values" and not self.theta.innermost:
            kept = np.take(kept, self.theta.columns, axis=2)
        step = np.arange(first, first + made, dtype=np.int64)
        batch = (step - 1) % self.per_epoch + 1
        return FleetBlock(
            step=step,
            epoch=(step - 1) // self.per_epoch + 1,
            batch=batch,
            last=batch == self.per_epoch,
            count=np.full(runs, made),
            loss=losses,
            lr=self.lr[:runs] if not rows.rates else np.stack([self.column(step[0][1]) for step in rows.rates]),
            gradients=kept if self.keep == "values" else None,
            norms=kept if self.keep != "values" else None,
            loss_after=np.array(rows.loss_after) if rows.loss_after else None,
            full_loss=np.array(rows.full_loss) if self.per_epoch_loss and rows.full_loss else None,
            sample=self.samples(rows) if "sample" in self.columns else None,
            output=torch.stack(rows.outputs).cpu().numpy() if rows.outputs else None,
            parameters=self.states(rows) if rows.parameters else None,
        )

    def column(self, lr: Setting) -> Floats:
        """Return learning rates of a step, one per run."""
        return np.broadcast_to(np.asarray(lr, dtype=np.float64).reshape(-1), (self.lr.shape[0],))[: self.runs]

    def states(self, rows: _Columns) -> Floats:
        """Return all scalars after each step, in the model's order."""
        return torch.stack(rows.parameters).cpu().numpy()[:, :, self.theta.model_order]

    def samples(self, rows: _Columns) -> tuple[Floats, Floats]:
        """Return the rows of x and y as the spec has them: of steps whose rows are the same for all runs."""
        table = self.fleet.members[0].training
        assert table is not None
        index = np.concatenate([np.arange(len(table.x))[on_host(step.index)] for step in rows.steps])
        y = table.y[index].astype(np.float64)
        return table.x[index], y if y.ndim == 2 else y[:, None]

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def loss_of(self, rows: Rows) -> Floats:
        """Return the losses [R] on some rows. Synchronises with the device."""
        kernel = self.fleet.kernel
        with torch.no_grad():
            return self.to_host(kernel.loss_of(kernel.forward(rows.x), rows.y))

    def to_host(self, column: Tensor) -> Floats:
        """Return a column [R] as numpy."""
        found: Floats = column[: self.runs].cpu().numpy().astype(np.float64)
        return found

    def outcome(self) -> FleetOutcome:
        """Return how the runs ended."""
        loss, metrics = self.final()
        diverged = np.array([status == "diverged" for status in self.status])
        bad = np.where(np.isfinite(self.bad_loss), np.nan, self.bad_loss)  # a finite one is not one to rank by
        loss = np.where(diverged, bad, loss)
        better = loss < self.best
        return FleetOutcome(
            status=tuple(self.status),
            message=tuple(self.message),
            steps=self.steps,
            epochs=self.epochs,
            loss=loss,
            best_loss=np.where(better, loss, self.best),
            best_step=np.where(better, self.steps, self.best_step),
            values=self.theta.values[: self.runs].cpu().numpy().copy(),
            metrics=metrics,
        )

    def final(self) -> tuple[Floats, dict[str, Floats]]:
        """Return the losses of the whole training set, and the metrics: accuracy, and both on the validation rows.

        Theta gets the parameters back that the runs had when they ended.
        """
        for run, values in self.kept_values.items():
            self.theta.values[run] = torch.from_numpy(values).to(self.theta.values.device)
        kernel, found = self.fleet.kernel, {}
        accuracy = ACCURACY.get(self.spec.loss.name if self.spec.loss else "")
        whole = self.fleet.batches.whole()
        with torch.no_grad():
            output = kernel.forward(whole.x)
            loss = self.to_host(kernel.loss_of(output, whole.y))
            classes = self.fleet.members[0].training
            kind = 1 if accuracy is by_class else 2
            wanted = accuracy is not None and classes is not None and classes.y.ndim == kind
            if wanted and accuracy is not None:
                found["accuracy"] = self.accuracies(accuracy, output, whole, "training")
            if self.fleet.validation is not None:
                held_out = self.fleet.validation
                output = kernel.forward(held_out.x)
                found["validation_loss"] = self.to_host(kernel.loss_of(output, held_out.y))
                if wanted and accuracy is not None:
                    found["validation_accuracy"] = self.accuracies(accuracy, output, held_out, "validation")
        return loss, found

    def accuracies(self, accuracy: Callable[[Tensor, Tensor], float], output: Tensor, rows: Rows, which: str) -> Floats:
        """Return each run's accuracy, by the function that `run` takes."""
        outputs = self.fleet.kernel.by_run(output)
        found = []
        for run in range(self.runs):
            table = getattr(self.fleet.members[run], which)
            y = torch.as_tensor(np.ascontiguousarray(table.y)).to(outputs.device)
            found.append(accuracy(outputs[run], y))
        return np.array(found)


def _measured(gradient: Tensor, axis: int, *, largest: bool) -> Callable[[Tensor], None]:
    """Return what writes each run's sum of squares, or its largest absolute entry, of a gradient's stretch.

    Two passes over memory, and still several times faster than torch's norm over one axis. The largest entry neither
    overflows nor hides a NaN.
    """
    scratch = torch.empty_like(gradient, memory_format=torch.contiguous_format)

    def squares(into: Tensor) -> None:
        torch.sum(torch.mul(gradient, gradient, out=scratch), axis, out=into)

    def extreme(into: Tensor) -> None:
        torch.amax(torch.abs(gradient, out=scratch), axis, out=into)

    return extreme if largest else squares


def start_of(fleet: Fleet, run: int, start: Start) -> Start:
    """Return a run's Start from that of a run of the same structure."""
    return Start(
        loss=start.loss,
        loss_grad_fn=start.loss_grad_fn,
        output_grad_fn=start.output_grad_fn,
        dtype=start.dtype,
        parameters=fleet.theta.parameters(run),
        samples=start.samples,
        prediction=prediction(fleet, run),
    )


def prediction(fleet: Fleet, run: int) -> Prediction | None:
    """Return a run's output for the number or row that the spec asks for."""
    asked = fleet.members[run].spec.print.predict
    if asked is None:
        return None
    row = asked if isinstance(asked, list) else [asked]
    x = torch.tensor([row], dtype=fleet.theta.stored.dtype, device=fleet.device)
    arranged, _ = fleet.kernel.arranged(x, x)
    with np.errstate(all="ignore"):
        output: Any = fleet.kernel.by_run(fleet.kernel.forward(arranged))[run, 0].cpu().numpy().copy()
    return Prediction(tuple(asked) if isinstance(asked, list) else asked, output)


__all__ = ["FleetBlock", "FleetOutcome", "Parameter", "prediction", "start_of", "train_fleet"]
