"""The loop: a generator of column blocks. Early stop, divergence and Ctrl-C are a `break` in one `for`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gdcli.engine import divergence
from gdcli.engine.metrics import ACCURACY, by_class
from gdcli.engine.param_groups import LrSchedules, Step
from gdcli.engine.problem import Built, Rows
from gdcli.records import Event, Floats, Outcome, Prediction, Start, Status, StepBlock, l2_norms
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.models import Affine, Chain

MAX_BLOCK_STEPS = 1024
BLOCK_SCALARS = 2**20
"""A block of gradients holds at most this many numbers: 8 MiB in float64."""
BLOCK_SECONDS = 0.5
"""A block is handed on at least this often, so that files and the progress bar keep up with slow steps."""
VALUES_UP_TO = 1000
"""Trained scalars up to which `record.gradients: auto` keeps every value."""

Keep = Literal["values", "norms", "none"]


@dataclass(slots=True)
class Interrupt:
    """Set by a signal; the loop stops after the step that it is in."""

    requested: bool = False


@dataclass(slots=True)
class _Columns:
    """The columns of a block while it grows."""

    steps: list[Rows] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    parameters: list[Tensor] = field(default_factory=list)
    loss_after: list[float] = field(default_factory=list)
    full_loss: list[float] = field(default_factory=list)
    rates: list[list[Step]] = field(default_factory=list)  # of each step, where there is a schedule


def keep_of(built: Built) -> Keep:
    """Return what is kept of the gradients: as the spec says, auto by the number of trained scalars."""
    wanted = built.loaded.spec.record.gradients
    if wanted == "auto":
        return "values" if built.theta.size <= VALUES_UP_TO else "norms"
    return wanted


def train(built: Built, columns: Iterable[str] = (), interrupt: Interrupt | None = None) -> Iterator[Event]:
    """Train and yield Start, then StepBlocks, then Outcome.

    ``columns`` names the optional columns of StepBlock that the caller wants besides those of `record`.
    """
    return Loop(built, columns, interrupt).events()


class Loop:
    """One run in progress: ``events`` trains it.

    Between two events `gdcli.engine.checkpoint_state` takes its state, and gives another loop that state before its
    first.
    """

    def __init__(self, built: Built, columns: Iterable[str] = (), interrupt: Interrupt | None = None) -> None:
        self.built, self.columns, self.interrupt = built, frozenset(columns), interrupt or Interrupt()
        self.spec = built.loaded.spec
        self.stop = self.spec.stop
        self.keep: Keep = "values" if "gradients" in columns else keep_of(built)
        self.lr = built.updates[0].lr if built.updates else float("nan")
        self.rates = LrSchedules([(update.bound.update, update.lr, update.schedule) for update in built.updates])
        self.full_batch = built.batches.per_epoch == 1 and not built.batches.shuffle
        self.per_epoch_loss = "full_loss" in columns or self.stop.loss is not None or self.stop.patience is not None
        self.per_epoch_loss &= self.spec.settings.epochs > 0
        self.steps = self.epochs = self.best_step = 0
        self.best, self.best_epoch_loss, self.stale = float("inf"), float("inf"), 0
        self.status: Status | None = None
        self.message = ""
        self.bad_loss = float("nan")
        self.begun = time.perf_counter()
        self._buffers()

    def _buffers(self) -> None:
        """Make the block's buffers once: gradient rows [K, T], or norms [K, N]."""
        theta = self.built.theta
        width = max(theta.room if self.keep == "values" else len(theta.trained), 1)
        if "parameters" in self.columns:
            width += theta.values.shape[1]
        self.capacity = max(1, min(MAX_BLOCK_STEPS, BLOCK_SCALARS // width, self._all_steps()))
        shape = (self.capacity, theta.room if self.keep == "values" else len(theta.trained))
        self.kept = theta.values.new_empty(shape)
        self.real = theta.columns
        self.rows = self.kept.unbind(0)
        self.parts = [theta.gradient[0, slot.start : slot.stop] for slot in theta.trained]

    def _all_steps(self) -> int:
        return max(1, self.spec.settings.epochs * self.built.batches.per_epoch)

    # --- events -------------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Yield what happens: Start, StepBlocks, Outcome."""
        yield self.start()
        if self.spec.settings.epochs == 0:
            yield self.evaluation()
        else:
            steps = self.order()
            while self.status is None:
                block = self.block(steps)
                if block is None:
                    self.status, self.message = "finished", f"all {self.spec.settings.epochs} epochs"
                else:
                    yield block
        yield self.outcome()

    def order(self) -> Iterator[Rows]:
        """Return the steps that are left."""
        epochs = range(self.steps // self.built.batches.per_epoch, self.spec.settings.epochs)
        steps = chain.from_iterable(self.built.batches.epoch() for _ in epochs)
        return islice(steps, self.steps % self.built.batches.per_epoch, None)

    def start(self) -> Start:
        """Return what is known before the first step."""
        spec, model = self.spec, self.built.loaded.architecture
        last = model.layers[-1] if isinstance(model, Chain) and model.layers else None
        return Start(
            loss=spec.loss.name if spec.loss else "objective",
            loss_grad_fn=self.built.loss.grad_fn if self.built.loss else "",
            output_grad_fn="" if last is None else ACTIVATIONS[last.activation]().grad_fn or _product(last),
            dtype=spec.settings.dtype,
            parameters=self.built.theta.parameters(),
            samples=self.built.loaded.samples,
            prediction=self.prediction(),
        )

    def prediction(self) -> Prediction | None:
        """Return the model's output for the number or row that the spec asks for."""
        asked = self.spec.print.predict
        if asked is None:
            return None
        row = asked if isinstance(asked, list) else [asked]
        x = torch.tensor([row], dtype=self.built.dtype, device=self.built.device)
        output = self.built.kernel.forward(x)[0].cpu().numpy()
        return Prediction(tuple(asked) if isinstance(asked, list) else asked, output)

    def evaluation(self) -> StepBlock:
        """One forward and backward on all data, no update: row 0."""
        batches = self.built.batches
        rows = _Columns()
        self.forward_backward(Rows(batches.x, batches.y, slice(None)), 0, rows)
        if "parameters" in self.columns:
            rows.parameters.append(self.built.theta.values[0].clone())
        block = self.columns_of(rows, first=0)
        self.status, self.message = "finished", "one forward and backward pass, no update"
        self.check(block, rows, None)
        return block

    # --- one block ----------------------------------------------------------------------------------------------------

    def forward_backward(self, step: Rows, k: int, rows: _Columns) -> None:
        """Make one forward and backward pass and keep the block's row k of it."""
        loss, output = self.built.kernel.step(step.x, step.y)
        rows.steps.append(step)
        rows.losses.append(loss)
        if self.keep == "values":
            self.rows[k].copy_(self.built.theta.gradient[0])
        else:
            for part, into in zip(self.parts, self.rows[k].unbind(0), strict=True):
                torch.linalg.vector_norm(part, out=into)
        if "output" in self.columns:
            rows.outputs.append(output.detach())

    def block(self, steps: Iterator[Rows]) -> StepBlock | None:
        """Run up to K steps and return their columns; None when there are no more."""
        snapshot = self.snapshot()
        rows, first = _Columns(), self.steps + 1
        updates, rates, per_epoch = self.rates.of_epoch(max(self.steps, 0) // self.built.batches.per_epoch), None, 1
        if self.rates.are_scheduled:
            rates, per_epoch = rows.rates, self.built.batches.per_epoch
        until = time.perf_counter() + BLOCK_SECONDS
        kernel_step, interrupt = self.built.kernel.step, self.interrupt
        plain = self.keep == "values" and "output" not in self.columns
        gradient, targets = self.built.theta.gradient[0], self.rows
        after = self.after_update if self.columns or self._stops() or self.per_epoch_loss else None
        add_step, add_loss = rows.steps.append, rows.losses.append
        t = self.steps
        for k, step in enumerate(islice(steps, self.capacity)):
            t += 1
            if plain:
                loss, _ = kernel_step(step.x, step.y)
                targets[k].copy_(gradient)
                add_step(step)
                add_loss(loss)
            else:
                self.forward_backward(step, k, rows)
            if rates is not None:
                if (t - 1) % per_epoch == 0:
                    updates = self.rates.of_epoch((t - 1) // per_epoch)
                rates.append(updates)
            for update, lr in updates:
                update(lr, t)
            if after is not None:
                self.steps = t
                after(step, rows)
                if self.status is not None:
                    break
            if interrupt.requested:
                self.status, self.message = "interrupted", f"interrupted after step {t}"
                break
            if time.perf_counter() > until:
                break
        if not rows.steps:
            return None
        self.steps = t
        self.epochs = t // self.built.batches.per_epoch
        return self.checked(rows, first, snapshot)

    def _stops(self) -> bool:
        return any(value is not None for value in self.stop.model_dump().values())

    def after_update(self, step: Rows, rows: _Columns) -> None:
        """Take the columns that need the updated parameters, and see whether to stop."""
        last, nan = self.steps % self.built.batches.per_epoch == 0, float("nan")
        if "parameters" in self.columns:
            rows.parameters.append(self.built.theta.values[0].clone())
        if "loss_after" in self.columns:
            rows.loss_after.append(self.loss_of(step.x, step.y) if last else nan)
        epoch_loss = nan
        if self.per_epoch_loss and last:
            epoch_loss = self.full_loss()
        rows.full_loss.append(epoch_loss)
        if last:
            self.end_of_epoch(self.steps // self.built.batches.per_epoch, epoch_loss)
        if self.stop.max_steps is not None and self.steps >= self.stop.max_steps:
            self.finish("stopped", f"max_steps reached at step {self.steps}")
        elif self.stop.max_seconds is not None and time.perf_counter() - self.begun > self.stop.max_seconds:
            self.finish("stopped", f"max_seconds reached at step {self.steps}")

    def finish(self, status: Status, message: str) -> None:
        """End the run after this step; the first reason counts."""
        if self.status is None:
            self.status, self.message = status, message

    def end_of_epoch(self, epoch: int, epoch_loss: float) -> None:
        """Check `stop` once an epoch; with one step an epoch, the step's own gradient is that of the full data."""
        stop = self.stop
        if stop.gradient_norm is not None:
            if not self.full_batch:
                self.full_gradient()
            gradient = self.built.theta.gradient[0]
            norm = float(torch.linalg.vector_norm(gradient[torch.from_numpy(self.real).to(gradient.device)]))
            if norm <= stop.gradient_norm:
                self.finish("stopped", f"gradient norm {norm:.3g} <= {stop.gradient_norm:g} at epoch {epoch}")
        if stop.loss is not None and epoch_loss <= stop.loss:
            self.finish("stopped", f"loss {epoch_loss:.6g} <= {stop.loss:g} at epoch {epoch}")
        if stop.patience is not None:
            watched = self.loss_of(*self.built.validation) if self.built.validation else epoch_loss
            self.stale = 0 if watched < self.best_epoch_loss else self.stale + 1
            self.best_epoch_loss = min(watched, self.best_epoch_loss)
            if self.stale >= stop.patience:
                self.finish("stopped", f"no better loss in {stop.patience} epochs, at epoch {epoch}")

    def full_gradient(self) -> None:
        """Write the gradient of the full data into theta; torch's own layers neither draw dropout nor learn from it."""
        module = self.built.module
        if module is not None:
            module.eval()
        self.built.kernel.step(self.built.batches.x, self.built.batches.y)
        if module is not None:
            module.train()

    # --- divergence ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Callable[[], None]:
        """Return a function that puts everything that the next step depends on back to now."""
        theta, state = self.built.theta.values, [v for u in self.built.updates for v in u.bound.state.values()]
        module = self.built.module
        state += [] if module is None else list(module.buffers())
        saved, copies = theta.clone(), [tensor.clone() for tensor in state]
        random = torch.get_rng_state() if module is not None else None

        def restore() -> None:
            theta.copy_(saved)
            for tensor, copy in zip(state, copies, strict=True):
                tensor.copy_(copy)
            if random is not None:
                torch.set_rng_state(random)

        return restore

    def checked(self, rows: _Columns, first: int, restore: Callable[[], None]) -> StepBlock:
        """Return the columns of a block, cut where the run diverged."""
        block = self.columns_of(rows, first)
        return self.check(block, rows, restore)

    def check(self, block: StepBlock, rows: _Columns, restore: Callable[[], None] | None) -> StepBlock:
        """Cut the block at its first step whose loss or gradient is not finite, and take back the later updates.

        Looking once a block keeps the loop free of a synchronisation every step; what came after the bad step is
        undone by repeating the good ones from the block's start, which gives the same bits.
        """
        finite = np.isfinite(block.loss) & np.isfinite(block.gradient_norm)
        if finite.all():
            self.note_best(block)
            return block
        k = int(np.argmin(finite))
        self.status, self.bad_loss = "diverged", float(block.loss[k])
        self.message = self.why(block, k)
        if restore is not None:
            restore()
            start = int(block.step[0])
            for j, step in enumerate(rows.steps[:k]):
                self.built.kernel.step(step.x, step.y)
                for update, lr in rows.rates[j] if rows.rates else self.rates.of_epoch(0):
                    update(lr, start + j)
        self.steps = int(block.step[k])
        self.epochs = max(0, int(block.epoch[k]) - 1)
        if k:
            self.note_best(_cut(block, k))
        return _cut(block, k + 1)

    def why(self, block: StepBlock, k: int) -> str:
        """Say in one line which step, loss and parameter it was, and what may help."""
        trained, norms = self.built.theta.trained, None
        if block.gradients is not None:
            norms = divergence.norms_of(block.gradients[k], trained)
        elif block.norms is not None:
            norms = dict(zip([slot.name for slot in trained], block.norms[k].tolist(), strict=True))
        where = int(block.step[k]), int(block.epoch[k])
        return divergence.message(self.built.loaded, *where, float(block.loss[k]), norms)

    def note_best(self, block: StepBlock) -> None:
        """Keep the lowest loss of the whole set seen so far, and its step."""
        if block.full_loss is not None and not np.isnan(block.full_loss).all():
            k = int(np.nanargmin(block.full_loss))
            value, step = float(block.full_loss[k]), int(block.step[k])
        elif self.full_batch:
            k = int(np.argmin(block.loss))
            value, step = float(block.loss[k]), max(0, int(block.step[k]) - 1)  # before this step's update
        else:
            return
        if value < self.best:
            self.best, self.best_step = value, step

    # --- columns ------------------------------------------------------------------------------------------------------

    def columns_of(self, rows: _Columns, first: int) -> StepBlock:
        """Bring a block to the host: one copy of the losses and one of the gradients."""
        count = len(rows.steps)
        losses = self.built.kernel.losses(rows.losses).cpu().numpy().astype(np.float64)
        kept = self.kept[:count].cpu().numpy()
        kept = np.take(kept, self.real, axis=1) if self.keep == "values" else kept.copy()
        norms = l2_norms(kept)
        step, per_epoch = np.arange(first, first + count, dtype=np.int64), self.built.batches.per_epoch
        epoch, batch = (step - 1) // per_epoch + 1, (step - 1) % per_epoch + 1
        if first == 0:  # the evaluation, which belongs to no epoch
            epoch, batch = np.zeros(1, np.int64), np.zeros(1, np.int64)
        return StepBlock(
            step=step,
            epoch=epoch,
            batch=batch,
            last=(batch == per_epoch) | (step == 0),
            loss=losses,
            lr=np.array([step[0][1] for step in rows.rates]) if rows.rates else np.full(count, self.lr),
            gradient_norm=norms,
            gradients=kept if self.keep == "values" else None,
            norms=kept.astype(np.float64) if self.keep != "values" else None,
            loss_after=np.array(rows.loss_after) if rows.loss_after else None,
            full_loss=np.array(rows.full_loss) if self.per_epoch_loss and rows.full_loss else None,
            sample=self.samples(rows) if "sample" in self.columns else None,
            output=tuple(output.cpu().numpy() for output in rows.outputs) if rows.outputs else None,
            parameters=self.states(rows) if rows.parameters else None,
        )

    def states(self, rows: _Columns) -> Floats:
        """Return all scalars after each step, in the model's order."""
        return torch.stack(rows.parameters).cpu().numpy()[:, self.built.theta.model_order]

    def samples(self, rows: _Columns) -> tuple[Floats, Floats]:
        """Return the rows of x and y as the spec has them, before any rounding to the run's dtype."""
        table = self.built.loaded.training
        assert table is not None
        index = np.concatenate([np.arange(len(table.x))[on_host(step.index)] for step in rows.steps])
        y = table.y[index].astype(np.float64)
        return table.x[index], y if y.ndim == 2 else y[:, None]

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def loss_at(self, output: Tensor, y: Tensor) -> float:
        """Return the loss of an output. Synchronises with the device."""
        with torch.no_grad():
            return float(output if self.built.loss is None else self.built.loss.value(output, y))

    def loss_of(self, x: Tensor, y: Tensor) -> float:
        """Return the loss on some rows."""
        return self.loss_at(self.built.kernel.forward(x), y)

    def full_loss(self) -> float:
        """Return the loss of the whole training set."""
        return self.loss_of(self.built.batches.x, self.built.batches.y)

    def outcome(self) -> Outcome:
        """Return how the run ended."""
        assert self.status is not None
        diverged = self.status == "diverged"
        loss, metrics = (self.bad_loss, {}) if diverged else self.final()
        if diverged and np.isfinite(loss):  # it was the gradient: that loss is not one to rank by
            loss = float("nan")
        if loss < self.best:
            self.best, self.best_step = loss, self.steps
        return Outcome(
            status=self.status,
            message=self.message,
            steps=self.steps,
            epochs=self.epochs,
            loss=loss,
            best_loss=self.best,
            best_step=self.best_step,
            parameters=self.built.theta.parameters(),
            metrics=metrics,
            prediction=self.prediction(),
        )

    def final(self) -> tuple[float, dict[str, float]]:
        """Return the loss of the whole training set, and the metrics: accuracy, and both on the validation rows."""
        built, found = self.built, {}
        accuracy = ACCURACY.get(self.spec.loss.name if self.spec.loss else "")
        x, y = built.batches.x, built.batches.y
        output = built.kernel.forward(x)
        if accuracy is not None and y.ndim == (1 if accuracy is by_class else 2):
            found["accuracy"] = accuracy(output, y)
        if built.validation is not None:
            x, target = built.validation
            held_out = built.kernel.forward(x)
            found["validation_loss"] = self.loss_at(held_out, target)
            if "accuracy" in found and accuracy is not None:
                found["validation_accuracy"] = accuracy(held_out, target)
        return self.loss_at(output, y), found


def _product(layer: Affine) -> str:
    """Return torch's node of a layer without activation."""
    return "Addmm" if layer.bias else "Mm"


def on_host(rows: Any) -> Any:
    """Return positions of rows as numpy takes them."""
    return rows.cpu().numpy() if isinstance(rows, Tensor) else rows


def _cut(block: StepBlock, count: int) -> StepBlock:
    """Return the first steps of a block."""

    def part(column: Any) -> Any:
        if column is None:
            return None
        return column[:count]

    columns = {name: part(getattr(block, name)) for name in StepBlock.__slots__ if name != "sample"}
    sample = None if block.sample is None else (block.sample[0][:count], block.sample[1][:count])
    return StepBlock(**columns, sample=sample)
