"""A run to its finished folder: its events become the text of its style, its files and its plot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gdcli.engine import checkpoint_state
from gdcli.engine.batches import effort_of
from gdcli.engine.evaluation import starts_of
from gdcli.engine.gradient_log import keep_of
from gdcli.engine.loop import Interrupt, Loop, columns_of_best
from gdcli.engine.problem import TrainingProblem
from gdcli.errors import DamagedError, MachineError
from gdcli.records import Block, Outcomes, State, StepBlock
from gdcli.report.styles import STYLES
from gdcli.runner import kept_files, run_picture, step_files
from gdcli.runner.background import BackgroundWriter
from gdcli.runner.epoch_rows import EpochRows
from gdcli.runner.failures import failure_of, written
from gdcli.runner.run_recorder import Finished, RunRecorder, ignored
from gdcli.runner.shared_checkpoints import SharedCheckpoints
from gdcli.spec.metrics import chosen_by
from gdcli.storage import gradient_file
from gdcli.storage.checkpoints import Checkpoints
from gdcli.storage.run_folder import RecordFolder, Timing, write_end

LOGS = 6
"""Files of a run that are open while it is trained."""

Warn = Callable[[str], None]


# --- one run ----------------------------------------------------------------------------------------------------------


def run(
    built: TrainingProblem,
    record: RecordFolder | None,
    *,
    text: Callable[[str], None] | None = None,
    block: Callable[[StepBlock], None] = ignored,
    warning: Warn = ignored,
    interrupt: Interrupt | None = None,
    plot: bool = True,
    timing: Timing | None = None,
) -> Finished:
    """Train what is built; with a record, from its last checkpoint, and write all of it there as the run goes.

    ``text`` is called with the text of the style, ``block`` with each block of steps, ``warning`` with warnings. Raises
    RunError for a step that torch's own layers refuse, MachineError for a file that cannot be written.
    """
    timing = timing or Timing()
    for told in built.loaded.warnings:
        warning(told)
    training = alone(built, record, interrupt, text=text, block=block)
    training.train(timing, warning=warning)
    (finished,) = training.finished
    if record is not None:
        if plot and finished.outcome.status != "interrupted":  # it is drawn by the run that resumes
            with timing.phase("plot"):
                outcome, loaded = finished.outcome, built.loaded
                curve = run_picture.curve_of(loaded, finished.losses, outcome.status, outcome.message, outcome.loss)
                run_picture.draw(loaded, curve, outcome.last_loss, record.folder, warning)
        training.end(0, timing)
        training.remove_checkpoints(warning)
    return finished


def alone(
    built: TrainingProblem,
    record: RecordFolder | None,
    interrupt: Interrupt | None,
    columns: Set[str] = frozenset(),
    *,
    text: Callable[[str], None] | None = None,
    block: Callable[[StepBlock], None] = ignored,
    keeps_model: bool = True,
) -> Training:
    """Return one run in training, as `run` trains it; one of which other columns are captured is not resumed."""
    spec, keep, (start,) = built.loaded.spec, keep_of(built), starts_of(built)
    columns_wanted = STYLES[spec.style].columns | columns | columns_of_best(built) | {"epochs"}
    own, group = None, built.group
    if record is not None or group is not None:  # the blocks of all processes end after the same steps
        columns_wanted |= step_files.columns_for(spec.record)
    loop = Loop(built, columns_wanted, keep, interrupt)
    epochs = EpochRows(loop.ends.columns, effort_of(built.loaded)) if record or not group else None  # rank 0 tells them
    if record is not None and not columns:
        own = Checkpoints(record.folder, record.config, spec.checkpoint.every_seconds)
    checkpoints = own if group is None else SharedCheckpoints(own, group)
    recorder = RunRecorder(spec, start, record, keep, text=text, block=block, epochs=epochs)
    return Training(loop, [recorder], checkpoints, keeps_models=keeps_model)


# --- every run, alone or one of many ----------------------------------------------------------------------------------

LOSSES = "losses."
"""Begins the name of a run's losses in a fleet's checkpoint; those of `run` stand in its steps.csv."""

WAITING = "gradients."
"""Begins the name of a run's gradients in a checkpoint that no file has yet."""


class Training:
    """R >= 1 runs in training: their loop, the recorder of each, and the checkpoints of all.

    Runs of which no more than a row is wanted have no recorders. A fleet's checkpoints hold its ``lists`` too, which
    have an entry for each run.
    """

    def __init__(
        self,
        loop: Loop,
        recorders: Sequence[RunRecorder],
        checkpoints: Checkpoints | SharedCheckpoints | None,
        lists: Mapping[str, list[Any]] | None = None,
        *,
        keeps_models: bool = True,
    ) -> None:
        self.loop, self.recorders, self.checkpoints, self.lists = loop, recorders, checkpoints, lists or {}
        self.keeps_models = keeps_models
        self.finished: list[Finished] = []  # of each recorder
        self._resumed_after = 0  # steps of all runs
        self.writer = BackgroundWriter()
        self.recording = 0.0  # seconds in which the loop waited for what is recorded

    def train(
        self, timing: Timing, after_block: Callable[[Block], None] = ignored, warning: Warn = ignored
    ) -> Outcomes:
        """Train to the end, from the last checkpoint where there is one, and write all files but the marks of the end.

        Raises RunError for a step that torch's own layers refuse, and PluginError for what a plugin raises.
        """
        problem = self.loop.problem
        try:
            with timing.phase("train"):
                self._open(timing, warning)
                begun = time.perf_counter()
                outcomes = self._trained(after_block)
                with self._recorded():
                    for k, recorder in enumerate(self.recorders):
                        self.finished.append(recorder.finish(outcomes.of_run(k, problem.theta.as_parameters)))
                timing.recording = self.recording / max(time.perf_counter() - begun, 1e-9)
        except BaseException as error:  # a plugin's may be no Exception
            if (failure := failure_of(error, self.loop)) is None:
                raise
            alone = len(self.recorders) == 1 and not self.lists  # the runs of a fleet are tried again one by one
            raise written(failure, self.recorders[0].record if alone else None) from None
        finally:
            self.writer.close()
        timing.steps, timing.stepping = int(outcomes.steps.sum()) - self._resumed_after, self.loop.stepping
        return outcomes

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Count the time of a block of code as that of recording."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.recording += time.perf_counter() - begun

    def _open(self, timing: Timing, warning: Warn) -> None:
        """Open the files, to resume from the last checkpoint if there is one."""
        found = None
        if self.checkpoints is not None:
            losses = 8 * self.loop.runs * self.loop.all_steps if self.lists else 0
            waiting = sum(recorder.most_waiting for recorder in self.recorders)
            most = checkpoint_state.size(self.loop) + losses + waiting
            found = self.checkpoints.latest(most, self._fit, warning)
        if found is None:
            for recorder in self.recorders:
                recorder.open(self.writer)
            return
        (state, logs), problem = found, self.loop.problem
        checkpoint_state.restore(self.loop, state)
        timing.phases["train"] = self.loop.now() - self.loop.begun
        self._resumed_after = int(self.loop.state.steps.sum())
        for name, entries in self.lists.items():
            entries[:] = state.numbers[name]
        for k, recorder in enumerate(self.recorders):
            values, arrays = problem.values_of(k)[problem.theta.model_order], state.arrays
            losses_of, waiting_of = (arrays.get(f"{prefix}{k}") for prefix in (LOSSES, WAITING))
            recorder.open(self.writer, losses_of, state.steps, logs, values, waiting_of)

    def _fit(self, state: State) -> None:
        """Raise DamagedError for a state that is not of these runs, or whose folders are not theirs."""
        arrays = {name: array for name, array in state.arrays.items() if not name.startswith((LOSSES, WAITING))}
        checkpoint_state.fits(self.loop, replace(state, arrays=arrays))
        for name, entries in self.lists.items():
            found = state.numbers.get(name)
            if not isinstance(found, list) or len(found) != len(entries):
                raise DamagedError("its runs are not these")
        if self.lists and any(f"{LOSSES}{k}" not in state.arrays for k in range(len(self.recorders))):
            raise DamagedError("it lacks the losses of a run")
        if not all(recorder.record is None or recorder.record.is_there() for recorder in self.recorders):
            raise DamagedError("a run's folder is not as it was")

    def _trained(self, after_block: Callable[[Block], None]) -> Outcomes:
        """Train, each block of a run to its recorder; the files of all are closed if this is cut short."""
        try:
            for recorder in self.recorders:
                recorder.begin()
            for event in self.loop.events():
                if isinstance(event, Outcomes):
                    return event
                with self._recorded():
                    for k, recorder in enumerate(self.recorders):
                        if (block := event.of_run(k)) is not None:
                            recorder.block(block)
                after_block(event)
                loop, checkpoints = self.loop, self.checkpoints
                if checkpoints is not None and (loop.interrupted or (loop.is_open and checkpoints.due())):
                    with self._recorded():
                        self._write_checkpoint(checkpoints)
        except BaseException:
            for recorder in self.recorders:
                recorder.close()
            raise
        raise AssertionError("the loop ends with the outcomes")

    def _write_checkpoint(self, checkpoints: Checkpoints | SharedCheckpoints) -> None:
        state = checkpoint_state.capture(self.loop)
        if self.lists:
            losses = {f"{LOSSES}{k}": recorder.losses() for k, recorder in enumerate(self.recorders)}
            state = replace(state, numbers={**state.numbers, **self.lists}, arrays=state.arrays | losses)
        logs = {name: log for recorder in self.recorders for name, log in recorder.logs().items()}
        waiting = {f"{WAITING}{k}": recorder.waiting() for k, recorder in enumerate(self.recorders)}
        arrays = {**state.arrays, **{name: rows for name, rows in waiting.items() if rows is not None}}
        checkpoints.write(replace(state, arrays=arrays), logs)

    def end(self, k: int, timing: Timing) -> None:
        """Write a run's model, and the mark of its end, which has the digests of the files that a prediction needs."""
        if (record := self.recorders[k].record) is not None:
            finished, loaded, loop = self.finished[k], self.loop.problem.members[k], self.loop
            if finished.outcome.status != "interrupted":
                step_files.complete(record.folder, self.recorders[k].tables)
            summary, best = finished.summary(), loop.ends.best_arrays(loop.state, k)
            if loop.spec.settings.metric is not None:
                summary["ranked_by"] = chosen_by(loop.problem.loaded).ranking.name
            digests = kept_files.write(record.folder, loaded, finished.outcome, best, model=self.keeps_models)
            write_end(record.folder, timing, summary | digests)
            if finished.outcome.status != "interrupted":
                gradient_file.remove_rows(record.folder)

    def remove_checkpoints(self, warning: Warn = ignored) -> None:
        """Remove the checkpoints, unless the runs are to be resumed; that of one run that diverged is kept."""
        keeps_it = {"interrupted"} if self.lists else {"interrupted", "diverged"}
        if self.checkpoints is None or keeps_it & set(self.loop.state.status):
            return
        try:
            self.checkpoints.remove()
        except MachineError as error:  # the records are complete
            warning(str(error))
