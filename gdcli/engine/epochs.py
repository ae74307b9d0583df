"""The end of each epoch: losses and metrics of all rows, what patience watches, the weights of the best epoch.

Nothing is worked out that nobody asked for: without validation rows, `metrics`, `metric` or patience an epoch ends as
any other step does, and its training loss is the mean of the losses that its steps have anyway.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gdcli.engine.batches import each_step_has_the_whole_loss
from gdcli.engine.block import GrowingBlock
from gdcli.engine.evaluation import Evaluation
from gdcli.engine.problem import TrainingProblem
from gdcli.engine.run_state import RunState
from gdcli.records import Floats, Integers
from gdcli.spec.metrics import metrics_of, watched_of
from gdcli.zoo.metrics import MATRICES


class EpochEnds:
    """What is worked out after the last step of an epoch, for all runs.

    ``columns`` are the names of the numbers that go into epochs.csv beside the training loss. Metrics of the training
    rows are among them where the spec has `metrics`, and where a pass over these rows is made anyway: after an epoch of
    several batches, for the best loss.
    """

    def __init__(self, problem: TrainingProblem, *, rows: bool, full_loss: bool, follow: bool) -> None:
        """``rows``: for epochs.csv; ``full_loss``: of the training set, wanted anyway; ``follow``: for schedules."""
        loaded = problem.loaded
        self.problem, self.watched, self.stop = problem, watched_of(loaded), loaded.spec.stop
        metrics = {name: metric for name, metric in metrics_of(loaded).items() if name not in MATRICES}
        watched = [] if self.watched is None else [(self.watched.rows, self.watched.metric)]
        asked = loaded.spec.settings.metrics is not None
        asked |= problem.validation is not None and not each_step_has_the_whole_loss(loaded)
        of_training = {name: metric for name, metric in metrics.items() if (rows and asked) or
                       ("training", name) in watched}  # fmt: skip
        self.needs_loss = full_loss or ("training", "loss") in watched
        self.training = self.validation = None
        if self.needs_loss or of_training:
            self.training = Evaluation(problem, problem.batches.whole(), "training", of_training)
        self.followed = "training_loss" if problem.validation is None else "validation_loss"
        if problem.validation is not None and (rows or follow or any(which == "validation" for which, _ in watched)):
            self.validation = Evaluation(problem, problem.validation, "validation", metrics)
        both = [("training", [*of_training])] + ([("validation", [*metrics])] if self.validation else [])
        self.columns = ["validation_loss"] if self.validation else []
        self.columns += [f"{which}_{name}" for name in metrics for which, names in both if name in names]
        self._last = loaded.spec.settings.epochs
        self.outputs: dict[str, Any] = {}  # after the last epoch
        self.seconds = 0.0  # that evaluations took since the block began
        self._undo: list[tuple[int, int, float, int, Floats | None, dict[str, NDArray[Any]]]] = []

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to work out."""
        return self.training is None and self.validation is None

    def begin(self) -> None:
        """Begin a block of steps, of which some may be taken back."""
        self._undo.clear()
        self.seconds = 0.0

    def note(self, state: RunState, rows: GrowingBlock, step: int, epoch: int) -> dict[str, Floats]:
        """Work all out after an epoch's last step, and return it: losses and metrics [R] by name."""
        if self.is_idle:
            return {}
        begun = time.perf_counter()
        found = self._evaluated()
        self.seconds += time.perf_counter() - begun
        if epoch == self._last:
            self.outputs = {which: self._kept_output(evaluation) for which, evaluation in self._evaluations()}
        if self.columns:
            rows.evaluated.append((len(rows.losses) - 1, np.stack([found[name] for name in self.columns])))
        if self.watched is not None:
            self._watch(state, found[self.watched.name], step, epoch)
        return found

    def _evaluated(self) -> dict[str, Floats]:
        """Return losses and metrics [R] by name, of the parameters as they are. Synchronises with the device."""
        found: dict[str, Floats] = {}
        for which, evaluation in self._evaluations():
            loss, metrics = evaluation()
            found |= {f"{which}_loss": loss} | {f"{which}_{name}": each for name, each in metrics.items()}
        return found

    def _evaluations(self) -> list[tuple[str, Evaluation]]:
        both = ("training", self.training), ("validation", self.validation)
        return [(which, evaluation) for which, evaluation in both if evaluation is not None]

    def _kept_output(self, evaluation: Evaluation) -> Any:
        """Return an output that stays as it is: a fleet's next evaluation overwrites its own."""
        output = evaluation.output
        return output.clone() if self.problem.is_fleet and isinstance(output, torch.Tensor) else output

    # --- the best epoch -----------------------------------------------------------------------------------------------

    def _watch(self, state: RunState, value: Floats, step: int, epoch: int) -> None:
        """Take what is watched [R] of an epoch: of runs for which it is the best one so far, the weights are kept."""
        assert self.watched is not None
        before = state.best_epoch_loss, state.best_epoch
        better = state.better_than_before(-value if self.watched.highest_first else value, epoch, self.stop.min_delta)
        for run in np.flatnonzero(better).tolist():
            best = float(before[0][run]), int(before[1][run])
            self._undo.append((run, step, *best, state.kept.get(run), state.kept_buffers))
            state.kept[run] = self.problem.values_of(run)
        if better.any() and self.problem.module is not None:  # one run
            state.kept_buffers = {name: buffer.cpu().numpy().copy() for name, buffer in self._buffers()}

    def take_back(self, state: RunState, run: int, step: int) -> None:
        """Forget what a run had after a step at which it diverged: of this block."""
        for each, at, value, epoch, kept, buffers in reversed(self._undo):
            if each == run and at >= step:
                state.kept_buffers = buffers
                state.best_epoch_loss[run], state.best_epoch[run] = value, epoch
                state.kept.pop(run)
                if kept is not None:
                    state.kept[run] = kept

    def best(self, state: RunState) -> tuple[Floats, Integers]:
        """Return the best value [R] so far, NaN where there is none, and its epoch [R]."""
        sign = -1 if self.watched is not None and self.watched.highest_first else 1
        return np.where(np.isinf(state.best_epoch_loss), np.nan, sign * state.best_epoch_loss), state.best_epoch

    def why(self, state: RunState, epoch: int, run: int) -> str:
        """Say that patience has ended."""
        assert self.watched is not None
        rows = "validation " if self.watched.rows == "validation" else ""
        best, at = self.best(state)
        what = f"no better {rows}{self.watched.metric} in {self.stop.patience} epochs, at epoch {epoch}"
        return f"{what}: {best[run]:.6g} at epoch {at[run]}" if at[run] else f"{what}: none was finite"

    def metrics(self, state: RunState) -> dict[str, Floats | Integers]:
        """Return the best value and its epoch [R], as summary.json has them; nothing where nothing is watched."""
        if self.watched is None:
            return {}
        value, epoch = self.best(state)
        epochs = np.where(epoch > 0, epoch.astype(object), np.nan)
        return dict(zip(self.watched.best_names, (value, epochs), strict=True))

    def restore(self, state: RunState) -> bool:
        """Give the runs that ended by themselves the weights of their best epoch, where the spec says so."""
        done = [run for run in state.kept if state.status[run] in ("finished", "stopped")]
        if not self.stop.restore or not done:
            return False
        with torch.no_grad():
            for run in done:
                self.problem.theta.values[run] = torch.from_numpy(state.kept[run]).to(self.problem.device)
            for name, buffer in self._buffers():
                buffer.copy_(torch.from_numpy(state.kept_buffers[name]))
        return True

    def best_arrays(self, state: RunState, run: int) -> dict[str, NDArray[Any]] | None:
        """Return a run's parameters and buffers at its best epoch, by name; None where the end has them, or no one."""
        restored = self.stop.restore and state.status[run] in ("finished", "stopped")
        if restored or run not in state.kept or state.status[run] == "interrupted":
            return None
        theta, kept = self.problem.theta, state.kept[run]
        found = {each.name: each.values for each in (*theta.as_parameters(kept), *theta.as_buffers(kept))}
        return found | state.kept_buffers

    def _buffers(self) -> list[tuple[str, torch.Tensor]]:
        return [] if self.problem.module is None else [*self.problem.module.named_buffers()]
