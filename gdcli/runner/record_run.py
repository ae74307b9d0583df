"""A run to its finished folder: its events become the text of its style, its files and its plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.engine import checkpoint_state
from gdcli.engine.batches import effort_of
from gdcli.engine.evaluation import starts_of
from gdcli.engine.gradient_log import keep_of
from gdcli.engine.loop import Interrupt, Loop, columns_of_best
from gdcli.engine.problem import TrainingProblem
from gdcli.errors import DamagedError, MachineError
from gdcli.records import Block, Event, Floats, Outcome, Outcomes, Prediction, Start, State, StepBlock
from gdcli.report.styles import STYLES
from gdcli.runner import kept_files, run_picture, step_files
from gdcli.runner.epoch_rows import FILE, EpochRows
from gdcli.runner.expected import numbers_expected
from gdcli.runner.failures import failure_of, written
from gdcli.runner.shared_checkpoints import SharedCheckpoints
from gdcli.runner.step_files import StepFile
from gdcli.spec.expectations import ExpectedNumber
from gdcli.spec.metrics import chosen_by
from gdcli.spec.sections import RunSpec
from gdcli.storage import csv_reader, gradient_file
from gdcli.storage.checkpoints import Checkpoints, Logs
from gdcli.storage.csv_writer import STEPS_HEADER, step_rows
from gdcli.storage.run_folder import Log, RecordFolder, Timing, write_end

SUMMARY_SCALARS = 100
"""Parameters stand in summary.json up to this many scalars."""

LOGS = 6
"""Files of a run that are open while it is trained."""

Warn = Callable[[str], None]


def ignored(*told: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One run that ended, in memory."""

    start: Start
    outcome: Outcome
    losses: NDArray[np.float64]  # [steps] of every step, before its update
    prediction: Prediction | None = None  # that the style has no place for
    epochs: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # columns of epochs.csv, [E] each
    expected: tuple[ExpectedNumber, ...] = ()  # what the spec expects of its end

    def predictions(self) -> list[str]:
        """Return the lines of the predictions before and after training that the style has no place for."""
        before, after = self.start.prediction, self.prediction
        return [] if before is None or after is None else [before.text("before"), after.text("after")]

    def summary(self) -> dict[str, Any]:
        """Return what summary.json holds: no times."""
        outcome = self.outcome
        found: dict[str, Any] = {
            "status": outcome.status,
            "message": outcome.message,
            "final_loss": outcome.loss,
            "best_loss": outcome.best_loss,
            "best_step": outcome.best_step,
            "steps": outcome.steps,
            "epochs": outcome.epochs,
            "metrics": dict(outcome.metrics),
        }
        if outcome.last_loss is not None:
            found["last_loss"] = outcome.last_loss
        if self.prediction is not None:
            asked, output = self.prediction.asked, self.prediction.output.astype(np.float64)
            found["prediction"] = {"asked": asked, "output": output.tolist()}
        if sum(parameter.values.size for parameter in outcome.parameters) <= SUMMARY_SCALARS:
            found["parameters"] = {p.name: p.values.astype(np.float64).tolist() for p in outcome.parameters}
        if self.expected:
            found["expect"] = {each.name: each.plain() for each in self.expected}
        return found


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
                outcomes = self._trained(after_block)
                for k, recorder in enumerate(self.recorders):
                    self.finished.append(recorder.finish(outcomes.of_run(k, problem.theta.as_parameters)))
        except BaseException as error:  # a plugin's may be no Exception
            if (failure := failure_of(error, self.loop)) is None:
                raise
            alone = len(self.recorders) == 1 and not self.lists  # the runs of a fleet are tried again one by one
            raise written(failure, self.recorders[0].record if alone else None) from None
        timing.steps, timing.stepping = int(outcomes.steps.sum()) - self._resumed_after, self.loop.stepping
        return outcomes

    def _open(self, timing: Timing, warning: Warn) -> None:
        """Open the files, to resume from the last checkpoint if there is one."""
        found = None
        if self.checkpoints is not None:
            losses = 8 * self.loop.runs * self.loop.all_steps if self.lists else 0
            found = self.checkpoints.latest(checkpoint_state.size(self.loop) + losses, self._fit, warning)
        if found is None:
            for recorder in self.recorders:
                recorder.open()
            return
        (state, logs), problem = found, self.loop.problem
        checkpoint_state.restore(self.loop, state)
        timing.phases["train"] = self.loop.now() - self.loop.begun
        self._resumed_after = int(self.loop.state.steps.sum())
        for name, entries in self.lists.items():
            entries[:] = state.numbers[name]
        for k, recorder in enumerate(self.recorders):
            values = problem.values_of(k)[problem.theta.model_order]
            recorder.open(state.arrays.get(f"{LOSSES}{k}"), state.steps, logs, values)

    def _fit(self, state: State) -> None:
        """Raise DamagedError for a state that is not of these runs, or whose folders are not theirs."""
        arrays = {name: array for name, array in state.arrays.items() if not name.startswith(LOSSES)}
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
                for k, recorder in enumerate(self.recorders):
                    if (block := event.of_run(k)) is not None:
                        recorder.block(block)
                after_block(event)
                loop, checkpoints = self.loop, self.checkpoints
                if checkpoints is not None and (loop.interrupted or (loop.is_open and checkpoints.due())):
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
        checkpoints.write(state, logs)

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


class RunRecorder:
    """One run on its way: its events become the text of its style and, with a folder, its files."""

    def __init__(
        self,
        spec: RunSpec,
        start: Start,
        record: RecordFolder | None,
        keep: str,
        *,
        text: Callable[[str], None] | None = None,
        block: Callable[[StepBlock], None] = ignored,
        above: str = "",  # the folder's path below that of all logs
        epochs: EpochRows | None = None,
    ) -> None:
        self.record, self._start, self._keep, self._above = record, start, keep, above
        self._style, self._predicts = STYLES[spec.style].text, STYLES[spec.style].predicts
        self._recording, self._say, self._told, self._epochs = spec.record, text, block, epochs
        self._expect = spec.expect
        self.tables: list[StepFile] = []
        self._losses: list[NDArray[np.float64]] = []
        self._logs: dict[str, Log] = {}

    def open(
        self, losses: NDArray[np.float64] | None = None, steps: int = 0, logs: Logs | None = None,
        values: Floats | None = None,
    ) -> None:  # fmt: skip
        """Open the files; to resume after so many steps with these losses, they are cut to the lengths in ``logs``.

        ``values`` are the parameters' scalars then.
        """
        if self.record is not None:
            folder = self.record.folder
            self.record.prepare(again=logs is not None)
            self.tables = step_files.files_for(self._recording, self._start, self._keep, values)
            headers = {"log.txt": "", "steps.csv": STEPS_HEADER, **{each.name: each.header for each in self.tables}}
            if self._epochs is not None:
                headers[FILE] = self._epochs.header
            for name, header in headers.items():
                length, _ = (logs or {}).get(self._above + name, (0, ""))
                self._logs[name] = log = Log(folder / name, length)
                if not log.length:
                    log.write(header)
            if logs is not None and losses is None:
                losses = csv_reader.losses(folder / "steps.csv", steps)
        if losses is not None:
            self._losses.append(losses)
            if self._epochs is not None:
                self._epochs.resume(losses)

    def begin(self) -> None:
        """Write what is known before the first step, unless the run is resumed."""
        if not self._losses:
            self._text(self._start)

    def _text(self, event: Event) -> None:
        if not self._logs and self._say is None:
            return
        if text := self._style(event, self._start):
            if self._logs:
                self._logs["log.txt"].write(text)
            if self._say is not None:
                self._say(text)

    def block(self, block: StepBlock) -> None:
        """Take a block: its text, its losses, its rows of the CSV files, which the operating system then has."""
        self._text(block)
        self._losses.append(block.loss.astype(np.float64))
        if self._logs:
            self._logs["steps.csv"].write(step_rows(block))
            for table in self.tables:
                self._logs[table.name].write(table.rows(block))
            if self._epochs is not None:
                self._logs[FILE].write(self._epochs.of(block))
            for log in self._logs.values():
                log.flush()
        elif self._epochs is not None:
            self._epochs.of(block)
        self._told(block)

    def losses(self) -> NDArray[np.float64]:
        """Return the loss of every step so far."""
        return np.concatenate(self._losses) if self._losses else np.empty(0)

    def logs(self) -> Logs:
        """Return the files' lengths and digests, once they are on the disk."""
        self._sync()
        return {self._above + name: (log.length, log.sha256()) for name, log in self._logs.items()}

    def finish(self, outcome: Outcome) -> Finished:
        """Write how the run ended, bring its files to the disk, and close them."""
        try:
            self._text(outcome)
            self._sync()
        finally:
            self.close()
        prediction = None if self._predicts else outcome.prediction
        epochs = self._epochs.by_name() if self._epochs else {}
        expected = numbers_expected(self._expect, outcome)
        return Finished(self._start, outcome, self.losses(), prediction, epochs, expected)

    def _sync(self) -> None:
        for log in self._logs.values():
            log.sync()

    def close(self) -> None:
        """Flush and close the files."""
        for log in self._logs.values():
            log.close()
