"""The loop: R runs of one structure, a generator of column blocks. `run` is R = 1.

Every run ends by itself: diverged, stopped or finished. One that has ended is computed on and not looked at; its
parameters are kept from the step at which it ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine import divergence
from gdcli.engine.batches import Rows, each_step_has_the_whole_loss
from gdcli.engine.block import GrowingBlock, lr_column
from gdcli.engine.epochs import EpochEnds
from gdcli.engine.evaluation import final, loss_of, predictions_of
from gdcli.engine.gradient_log import GradientLog, Keep, keep_of
from gdcli.engine.param_groups import GroupStep, LrSchedules
from gdcli.engine.problem import TrainingProblem
from gdcli.engine.run_state import RunState
from gdcli.records import Block, Floats, Outcomes

MAX_BLOCK_STEPS = 1024
BLOCK_SCALARS = 2**20
"""A block of gradients holds at most this many numbers: 8 MiB in float64."""
BLOCK_SECONDS = 0.5
"""A block is handed on at least this often, so that files and the progress bar keep up with slow steps."""
FIRST_SECONDS = 0.2
"""And the first one, so that a bar is there soon."""


@dataclass(slots=True)
class Interrupt:
    """Set by a signal; the loop stops after the step that it is in."""

    requested: bool = False


def columns_of_best(problem: TrainingProblem) -> frozenset[str]:
    """Return the columns that a record's best loss needs: none where each step's loss is that of all rows."""
    return frozenset() if each_step_has_the_whole_loss(problem.loaded) else frozenset(("full_loss",))


def training_step(
    problem: TrainingProblem,
    rows: Rows,
    updates: Sequence[GroupStep],
    t: int,
    keep: Callable[[int], object] | None = None,
    k: int = 0,
) -> tuple[Any, Tensor]:
    """Make step t of all runs: forward and backward, ``keep(k)`` of the gradient, the updates. Nothing else trains.

    Return what the kernel makes the losses of, and the output, both of before the update. Settings that no number of
    the parameters' dtype can hold leave NaN in them, as they do where the settings are columns over runs.
    """
    loss, output = problem.kernel.step(rows.x, rows.y)
    if keep is not None:
        keep(k)
    try:
        for update, lr in updates:
            update(lr, t)
    except (ArithmeticError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "without overflow" not in str(error):
            raise
        problem.theta.values.fill_(torch.nan)
    return loss, output


class Loop:
    """Runs in progress: ``events`` trains them.

    Between two events `gdcli.engine.checkpoint_state` takes their state, and gives another loop that state before the
    first.
    """

    def __init__(
        self,
        problem: TrainingProblem,
        columns: Iterable[str] = (),
        keep: Keep | None = None,
        interrupt: Interrupt | None = None,
    ) -> None:
        columns = frozenset(columns)
        self.problem, self.columns, self.interrupt = problem, columns - {"epochs", "layers"}, interrupt or Interrupt()
        self.theta, self.runs = problem.theta, problem.runs
        self.spec = problem.loaded.spec
        self.stop, self.per_epoch = self.spec.stop, problem.batches.per_epoch
        self.all_steps = self.spec.settings.epochs * self.per_epoch
        self.whole_loss = each_step_has_the_whole_loss(problem.loaded)
        self.schedules = LrSchedules(problem.updates, self.per_epoch, self.all_steps)
        full_loss, follow = "full_loss" in columns or self.stop.loss is not None, self.schedules.follow_loss
        full_loss |= self.stop.patience is not None or follow
        self.per_epoch_loss = full_loss and self.spec.settings.epochs > 0
        self.ends = EpochEnds(problem, rows="epochs" in columns, full_loss=self.per_epoch_loss, follow=follow)
        self.stops = bool(self.stop.model_dump(exclude_defaults=True)) or self.schedules.follow_loss
        keep = "values" if "gradients" in columns else keep or keep_of(problem)
        self.log = GradientLog(problem, keep, layers="layers" in columns)
        numbers = self.log.numbers + (self.theta.values.shape[1] if "parameters" in columns else 0)  # a step and run
        most = BLOCK_SCALARS // (len(self.theta.values) * max(numbers, 1))
        self.capacity = max(1, min(MAX_BLOCK_STEPS, most, self.all_steps))
        self.lr = lr_column(problem, problem.updates[0].lr if problem.updates else np.nan)
        self.state = RunState(self.runs, f"all {self.spec.settings.epochs} epochs")
        self.nothing = np.full(self.runs, np.nan)  # the value of a column at a step that has none
        self.curvatures: divergence.Known = {}
        self.t, self.interrupted = 0, False
        self.stepping = 0.0  # seconds that steps took, without what is worked out between them
        self.now: Callable[[], float] = time.perf_counter
        if problem.group is not None:
            self.now, self.interrupt = problem.group.now, problem.group.shared(self.interrupt)
        self.begun = self.now()

    @property
    def is_open(self) -> bool:
        """Whether any run goes on."""
        return bool(self.state.open.any()) and not self.interrupted

    # --- events -------------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[Block | Outcomes]:
        """Yield what happens: blocks, then the outcomes."""
        if self.spec.settings.epochs == 0:
            with np.errstate(all="ignore"):
                row = self.evaluation()
            yield row
        else:
            steps = self.order()
            while self.is_open and self.t < self.all_steps:
                with np.errstate(all="ignore"):
                    block = self.block(steps)
                yield block
        with np.errstate(all="ignore"):
            outcomes = self.outcomes()
        yield outcomes

    def order(self) -> Iterator[Rows]:
        """Return the steps that are left."""
        epochs = range(self.t // self.per_epoch, self.spec.settings.epochs)
        steps = chain.from_iterable(self.problem.batches.epoch() for _ in epochs)
        return islice(steps, self.t % self.per_epoch, None)

    def evaluation(self) -> Block:
        """One forward and backward on all data, no update: row 0."""
        rows, whole = GrowingBlock(), self.problem.batches.whole()
        loss, output = training_step(self.problem, whole, (), 0, self.log.begin(1), 0)
        rows.places.append(whole.index)
        rows.losses.append(loss)
        if "output" in self.columns:
            rows.outputs.append(self.problem.kernel.by_run(output)[: self.runs].clone())
        if "parameters" in self.columns:
            rows.parameters.append(self.theta.values[: self.runs].clone())
        self.state.message = ["one forward and backward pass, no update"] * self.runs
        return self.judged(rows, 0, np.ones(self.runs, dtype=np.int64), self.problem.snapshot())

    # --- one block ----------------------------------------------------------------------------------------------------

    def block(self, steps: Iterator[Rows]) -> Block:
        """Run up to K of the steps that are left and return their columns."""
        restore, rows, first = self.problem.snapshot(), GrowingBlock(), self.t + 1
        count = np.where(self.state.open, self.capacity + 1, 0)  # of each run's steps, cut below
        updates, rates = self.schedules.at(self.t + 1), rows.rates if self.schedules.are_scheduled else None
        after = self.after_update if self.columns or self.stops or not self.ends.is_idle else None
        self.ends.begin()
        problem, keep, interrupt = self.problem, self.log.begin(self.capacity), self.interrupt
        by_run = problem.kernel.by_run if "output" in self.columns else None
        add_place, add_loss = rows.places.append, rows.losses.append
        now, t, begun = self.now, self.t, time.perf_counter()
        until = now() + (BLOCK_SECONDS if self.t else min(FIRST_SECONDS, BLOCK_SECONDS))
        for k, step in enumerate(islice(steps, self.capacity)):
            self.t = t = t + 1
            if rates is not None:
                updates = self.schedules.at(t)
                rates.append(updates)
            loss, output = training_step(problem, step, updates, t, keep, k)
            add_place(step.index)
            add_loss(loss)
            if by_run is not None:
                rows.outputs.append(by_run(output)[: self.runs].clone())
            if after is not None:
                after(step, rows, count)
                if not self.state.open.any():
                    break
            if interrupt.requested:
                self.interrupted = True
                break
            if now() > until:
                break
        self.stepping += time.perf_counter() - begun - self.ends.seconds
        return self.judged(rows, first, count, restore)

    def after_update(self, step: Rows, rows: GrowingBlock, count: NDArray[np.int64]) -> None:
        """Take the columns that need the updated parameters, and see which runs stop."""
        last = self.t % self.per_epoch == 0
        if "parameters" in self.columns:
            rows.parameters.append(self.theta.values[: self.runs].clone())
        if "loss_after" in self.columns:
            rows.loss_after.append(loss_of(self.problem, step) if last else self.nothing)
        ended = self.ends.note(self.state, rows, self.t, self.t // self.per_epoch) if last else {}
        if self.per_epoch_loss:
            rows.full_loss.append(ended.get("training_loss", self.nothing))
        if not self.stops:
            return
        if last:
            self.end_of_epoch(self.t // self.per_epoch, rows, count, ended)
        stop = self.stop
        if stop.max_steps is not None and self.t >= stop.max_steps:
            self.end(self.state.open, lambda run: f"max_steps reached at step {self.t}", rows, count)
        elif stop.max_seconds is not None and self.now() - self.begun > stop.max_seconds:
            self.end(self.state.open, lambda run: f"max_seconds reached at step {self.t}", rows, count)

    def end_of_epoch(
        self, epoch: int, rows: GrowingBlock, count: NDArray[np.int64], ended: Mapping[str, Floats]
    ) -> None:
        """Check `stop` once an epoch; with one step an epoch, the step's own gradient is that of the full data."""
        stop = self.stop
        if stop.gradient_norm is not None:
            if not self.whole_loss:
                self.problem.full_gradient()
            norms = self.theta.gradient_norms()[: self.runs].cpu().numpy()
            bound = f"{stop.gradient_norm:g} at epoch {epoch}"
            self.end(norms <= stop.gradient_norm, lambda run: f"gradient norm {norms[run]:.3g} <= {bound}", rows, count)
        if stop.loss is not None:
            loss, reached = ended["training_loss"], f"{stop.loss:g} at epoch {epoch}"
            self.end(loss <= stop.loss, lambda run: f"loss {loss[run]:.6g} <= {reached}", rows, count)
        if self.schedules.follow_loss:
            self.schedules.observe(float(ended[self.ends.followed][0]))
        if stop.patience is not None:
            state = self.state
            self.end(state.stale >= stop.patience, lambda run: self.ends.why(state, epoch, run), rows, count)

    def end(
        self, which: NDArray[np.bool_], why: Callable[[int], str], rows: GrowingBlock, count: NDArray[np.int64]
    ) -> None:
        """Stop some runs after the step that was just made."""
        if which.any():
            ended = self.state.stop(which, why, self.t, self.t // self.per_epoch, self.problem.values_of)
            count[ended] = len(rows.losses)

    # --- divergence ---------------------------------------------------------------------------------------------------

    def judged(self, rows: GrowingBlock, first: int, count: NDArray[np.int64], restore: Callable[[], None]) -> Block:
        """Bring the block to the host, and end the runs that diverged in it: whose loss or gradient is not finite.

        Looking once a block keeps the loop free of a synchronisation every step.
        """
        made = len(rows.losses)
        count = np.minimum(count, made)
        kept, (layers, watched) = self.log.columns(made), self.log.beside(made)
        losses = self.problem.kernel.losses(rows.losses)[:, : self.runs].cpu().numpy().astype(np.float64)
        finite = np.isfinite(losses)  # [K, R]
        if not self.log.are_finite(made):  # as a rule they are, and that is all there is to see
            if self.log.kind == "norms":
                ends = np.where(finite.all(0), made, np.argmin(finite, axis=0))  # what comes later is taken back
                step = np.arange(made)[:, None]
                self.mend_norms(kept, rows, first, (step < count) & (step <= ends), restore)
            finite &= np.isfinite(kept).all(axis=2)
        block = rows.on_host(self.problem, self.columns, first, losses, kept, self.log.kind, self.lr)
        bad = np.where(finite.all(0), made, np.argmin(finite, axis=0))  # first step that is not finite
        diverged = bad < count
        if diverged.any():
            self.diverge(block, rows, np.flatnonzero(diverged), bad, restore)
            count = np.where(diverged, bad + 1, count)
        self.note_best(block, np.where(diverged, bad, count))
        self.state.reached(self.t, self.t // self.per_epoch)
        if self.interrupted:
            self.state.interrupted(self.t)
        ended = ~self.state.open | (self.t >= self.all_steps)
        norms = None if self.log.kind == "largest" else block.norms
        return replace(block, count=count, ended=ended, norms=norms, layers=layers, watched=watched, diverged=diverged)

    def mend_norms(
        self, norms: Floats, rows: GrowingBlock, first: int, counted: NDArray[np.bool_], restore: Callable[[], None]
    ) -> None:
        """Work norms out again that overflowed: a gradient diverges by its entries, whatever is recorded of it."""
        suspects = counted & ~np.isfinite(norms).all(axis=2)  # [K, R]
        if not suspects.any():
            return

        def exact(k: int) -> None:
            if suspects[k].any():
                norms[k, suspects[k]] = self.log.exact_norms()[suspects[k]]

        after, last = self.problem.snapshot(), int(np.flatnonzero(suspects.any(axis=1))[-1])
        for _ in self.replayed(rows, first, last + 1, restore, exact):
            pass
        after()

    def replayed(
        self, rows: GrowingBlock, first: int, steps: int, restore: Callable[[], None],
        keep: Callable[[int], object] | None = None,
    ) -> Iterator[int]:  # fmt: skip
        """Make the first steps of a block again from its start, with the same bits; yield before each, and last."""
        restore()
        for k in range(steps):
            yield k
            updates = rows.rates[k] if rows.rates else self.schedules.at(1) if first else ()
            training_step(self.problem, self.problem.batches.again(rows.places[k]), updates, first + k, keep, k)
        yield steps

    def diverge(
        self, block: Block, rows: GrowingBlock, runs: NDArray[np.int64], bad: NDArray[np.int64],
        restore: Callable[[], None],
    ) -> None:  # fmt: skip
        """End runs at their first step that is not finite: its row is kept, its update and the later ones are not.

        The parameters before that update come from repeating the block from its start.
        """
        after = self.problem.snapshot()
        due: dict[int, list[int]] = {}
        for run in runs.tolist():
            due.setdefault(int(bad[run]), []).append(run)
        for k in self.replayed(rows, int(block.step[0]), max(due), restore):
            for run in due.get(k, ()):
                self.state.ended[run] = self.problem.values_of(run)
        for k, ended in due.items():
            for run in ended:
                where = int(block.step[k]), max(0, int(block.epoch[k]) - 1)
                self.ends.take_back(self.state, run, int(block.step[k]))
                self.state.diverged(run, float(block.loss[k, run]), self.why(block, k, run), *where)
        if self.state.open.any():
            after()

    def why(self, block: Block, k: int, run: int) -> str:
        """Say in one line which step and loss it was, the parameters where they are known, and what may help."""
        trained, norms = self.theta.trained, None
        if block.gradients is not None:
            norms = divergence.norms_of(block.gradients[k, run], trained)
        elif self.log.kind == "norms" and block.norms is not None:
            norms = dict(zip([slot.name for slot in trained], block.norms[k, run].tolist(), strict=True))
        where = int(block.step[k]), int(block.epoch[k])
        loaded, loss = self.problem.members[run], float(block.loss[k, run])
        return divergence.message(loaded, *where, loss, norms, self.curvatures)

    def end_not_finite(self, loss: Floats) -> None:
        """End runs as diverged whose last update leaves a loss [R] or parameters that are not finite."""
        state = self.state
        if np.isfinite(loss).all() and isfinite(float(self.theta.stored.sum())):  # as a rule
            return
        finite = np.isfinite(loss) & self.theta.values[: self.runs, : self.theta.width].isfinite().all(1).cpu().numpy()
        for run in np.flatnonzero(~finite).tolist():
            if state.status[run] not in ("finished", "stopped"):
                continue
            step, epoch, loaded = int(state.steps[run]), int(state.epochs[run]), self.problem.members[run]
            why = divergence.message(loaded, step, epoch, float(loss[run]), None, self.curvatures, last=True)
            state.diverged(run, float(loss[run]), why, step, epoch)

    def note_best(self, block: Block, good: NDArray[np.int64]) -> None:
        """Keep the lowest loss of the whole set seen so far, and its step; ``good`` [R] steps count."""
        if self.whole_loss:
            losses, before = block.loss, 1  # before this step's update
        elif block.full_loss is not None:
            losses, before = block.full_loss, 0
        else:
            return
        if (good < len(block.step)).any() or not before:
            counted = np.arange(len(block.step))[:, None] < good
            losses = np.where(counted & ~np.isnan(losses), losses, np.inf)
        k = np.argmin(losses, axis=0)
        self.state.improved(losses[k, np.arange(self.runs)], np.maximum(block.step[k] - before, 0))

    def outcomes(self) -> Outcomes:
        """Return how the runs ended. Theta gets the parameters back that they had then."""
        state = self.state
        for run, values in state.ended.items():
            self.theta.values[run] = torch.from_numpy(values).to(self.theta.values.device)
        loss: Floats = self.nothing
        metrics: dict[str, Any] = {}
        if any(status != "diverged" for status in state.status):
            as_evaluated = self.t == self.all_steps and not state.ended  # theta is that of the last epoch's end
            loss, metrics = final(self.problem, self.ends.outputs if as_evaluated else None)
        self.end_not_finite(loss)
        last = loss if self.stop.restore else None
        if self.ends.restore(state):
            loss, metrics = final(self.problem)
        metrics |= self.ends.metrics(state)
        loss = state.final_losses(loss)
        state.improved(loss, state.steps)
        return Outcomes(
            status=tuple(state.status),
            message=tuple(state.message),
            steps=state.steps,
            epochs=state.epochs,
            loss=loss,
            best_loss=state.best,
            best_step=state.best_step,
            values=self.theta.values[: self.runs].cpu().numpy().copy(),
            metrics=metrics,
            predictions=tuple(predictions_of(self.problem)),
            buffers=self.problem.buffers(),
            last_loss=last,
        )
