"""A run to its finished folder: its events become the text of its style, its files and its plot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from traceback import walk_tb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.engine import checkpoint_state
from gdcli.engine.evaluation import starts_of
from gdcli.engine.loop import Interrupt, Loop, keep_of
from gdcli.engine.problem import TrainingProblem
from gdcli.engine.start_values import first_line
from gdcli.errors import GdcliError, MachineError, RunError
from gdcli.records import Block, Event, Floats, Outcome, Outcomes, Start, StepBlock
from gdcli.report import plots
from gdcli.report.styles import STYLES
from gdcli.runner.provenance import Hashes, hashes_of
from gdcli.spec.load import Loaded
from gdcli.spec.sections import RunSpec
from gdcli.storage import csv_reader, files
from gdcli.storage.checkpoints import Checkpoints, Logs
from gdcli.storage.csv_writer import STEPS_HEADER, cell, float_rows, step_rows
from gdcli.storage.run_folder import Log
from gdcli.zoo.models import Stack

SUMMARY_SCALARS = 100
"""Parameters stand in summary.json up to this many scalars."""

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What is called with the text of the style, with each block of steps, and with warnings."""

    text: Callable[[str], None] | None = None
    block: Callable[[StepBlock], None] = lambda block: None
    warning: Warn = lambda text: None
    columns: frozenset[str] = frozenset()  # of the blocks, besides those of the style


@dataclass(slots=True)
class Timing:
    """Seconds per phase; the only times of a record."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    phases: dict[str, float] = field(default_factory=dict)
    steps: int = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of a block of code to a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - begun

    def text(self) -> str:
        """Return timing.json."""
        training = self.phases.get("train", 0.0)
        return files.json_text(
            {
                "start": self.started.isoformat(),
                "end": datetime.now(UTC).isoformat(),
                "seconds": self.phases,
                "steps_per_second": self.steps / training if training else None,
            }
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """One run that ended, in memory."""

    start: Start
    outcome: Outcome
    losses: NDArray[np.float64]  # [steps] of every step, before its update
    hashes: Hashes

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
        if sum(parameter.values.size for parameter in outcome.parameters) <= SUMMARY_SCALARS:
            found["parameters"] = {p.name: p.values.astype(np.float64).tolist() for p in outcome.parameters}
        return found


@dataclass(frozen=True, slots=True)
class RecordFolder:
    """A run's folder with its first files in it; ``again`` for one whose run is resumed."""

    folder: Path
    config: str  # the text of config.yaml
    again: bool = False


# --- one run ----------------------------------------------------------------------------------------------------------


def run(
    built: TrainingProblem,
    record: RecordFolder | None,
    *,
    callbacks: Callbacks | None = None,
    interrupt: Interrupt | None = None,
    plot: bool = True,
    timing: Timing | None = None,
    ended: Callable[[Finished], None] | None = None,
) -> Finished:
    """Train what is built; with a record, write all of it there as the run goes.

    ``ended`` is called before the summary, the mark of a run that ended, is written. Raises RunError for a step that
    torch's own layers refuse, MachineError for a file that cannot be written.
    """
    callbacks, timing, loaded = callbacks or Callbacks(), timing or Timing(), built.loaded
    for warning in loaded.warnings:
        callbacks.warning(warning)
    columns = STYLES[loaded.spec.style].columns | callbacks.columns
    if not built.batches.are_full:  # for the best loss, whatever is printed
        columns |= {"full_loss"}
    loop, checkpoints = Loop(built, columns, interrupt=interrupt), None
    if record is not None:
        checkpoints = Checkpoints(record.folder, record.config, loaded.spec.checkpoint.every_seconds)
    try:
        with timing.phase("train"):
            finished = _trained(loop, record, checkpoints, callbacks, timing)
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        if isinstance(error, GdcliError) or not isinstance(loaded.architecture, Stack):
            raise
        raise _refused(error, loop, record) from None
    timing.steps = finished.outcome.steps
    if ended is not None:
        ended(finished)
    if record is None or checkpoints is None:
        return finished
    if plot and finished.outcome.status != "interrupted":  # it is drawn by the run that resumes
        with timing.phase("plot"):
            _plot(built, finished, record.folder, callbacks.warning)
    write_end(record.folder, timing, finished.summary())
    if finished.outcome.status not in ("diverged", "interrupted"):
        try:
            checkpoints.remove()
        except MachineError as error:  # the record is complete
            callbacks.warning(str(error))
    return finished


def _refused(error: Exception, loop: Loop, record: RecordFolder | None) -> RunError:
    """Return what torch's own layers refuse in the middle of a run, by layer, step and record."""
    module = loop.problem.module
    layers = {id(part): name for name, part in module.named_children()} if module is not None else {}
    frames = (frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__))
    name = next((layers[id(owner)] for owner in frames if id(owner) in layers), "")
    where = f"layer {name} at step {loop.t}" if name else f"step {loop.t}"
    message = f"torch refused {where}: {first_line(error)}. 'gdcli validate' tries the layers on two rows of the data"
    if record is not None:
        message += f". The record is {record.folder}"
        files.replace(record.folder / "summary.json", files.json_text({"status": "failed", "message": message}))
    return RunError(message)


def _trained(
    loop: Loop, record: RecordFolder | None, checkpoints: Checkpoints | None, callbacks: Callbacks, timing: Timing
) -> Finished:
    """Train, from the last checkpoint where the run is resumed."""
    problem, folder = loop.problem, None if record is None else record.folder
    (hashes,), (start,) = hashes_of(problem), starts_of(problem)
    recorder = RunRecorder(loop.spec, start, folder, keep_of(problem), callbacks)
    losses: NDArray[np.float64] | None = None
    logs: Logs | None = None
    if record is not None and record.again and checkpoints is not None:
        size, logs = checkpoint_state.size(loop), {}
        found = checkpoints.latest(size, lambda state: checkpoint_state.fits(loop, state), callbacks.warning)
        if found is not None:
            checkpoint_state.restore(loop, found.state)
            timing.phases["train"] = time.perf_counter() - loop.begun
            losses, logs = csv_reader.losses(record.folder / "steps.csv", found.state.steps), found.logs
    recorder.open(losses, logs)

    def after_block(block: Block) -> None:
        if checkpoints is not None and (loop.interrupted or (loop.is_open and checkpoints.due())):
            checkpoints.write(checkpoint_state.capture(loop), recorder.logs())

    outcomes = train(loop, [recorder], after_block)
    return recorder.finish(outcomes.of_run(0, problem.theta.as_parameters), hashes)


# --- every run, alone or one of many ----------------------------------------------------------------------------------


def train(loop: Loop, recorders: Sequence[RunRecorder], after_block: Callable[[Block], None]) -> Outcomes:
    """Train runs to their end, each block of a run to its recorder; all are closed if this is cut short."""
    outcomes: Outcomes | None = None
    try:
        for recorder in recorders:
            recorder.begin()
        for event in loop.events():
            if isinstance(event, Outcomes):
                outcomes = event
                continue
            for k, recorder in enumerate(recorders):
                if (block := event.of_run(k)) is not None:
                    recorder.block(block)
            after_block(event)
    except BaseException:
        for recorder in recorders:
            recorder.close()
        raise
    assert outcomes is not None
    return outcomes


class RunRecorder:
    """One run on its way: its events become the text of its style and, with a folder, its files."""

    def __init__(self, spec: RunSpec, start: Start, folder: Path | None, keep: str, callbacks: Callbacks) -> None:
        self._style, self._every = STYLES[spec.style].text, spec.record.every
        self._start, self._folder, self._keep, self._callbacks = start, folder, keep, callbacks
        self._losses: list[NDArray[np.float64]] = []
        self._logs: dict[str, Log] = {}

    def open(self, losses: NDArray[np.float64] | None, logs: Logs | None) -> None:
        """Open the files, to resume after the steps with these losses; with ``logs`` they are cut to these lengths."""
        if self._folder is not None:
            if logs is not None:
                files.remove_temporaries(self._folder)
            trained = [parameter for parameter in self._start.parameters if parameter.trained]
            columns = [c for p in trained for c in (p.scalars if self._keep == "values" else (p.name,))]
            headers = {"log.txt": "", "steps.csv": STEPS_HEADER}
            if self._keep != "none" and trained:
                headers["gradients.csv"] = ",".join(["step", *map(cell, columns)]) + "\n"
            for name, header in headers.items():
                self._logs[name] = log = Log(self._folder / name, None if logs is None else logs.get(name, (0, ""))[0])
                if not log.length:
                    log.write(header)
        if losses is not None:
            self._losses.append(losses)

    def begin(self) -> None:
        """Write what is known before the first step, unless the run is resumed."""
        if not self._losses:
            self._text(self._start)

    def _text(self, event: Event) -> None:
        say = self._callbacks.text
        if not self._logs and say is None:
            return
        if text := self._style(event, self._start):
            if self._logs:
                self._logs["log.txt"].write(text)
            if say is not None:
                say(text)

    def block(self, block: StepBlock) -> None:
        """Take a block: its text, its losses, its rows of the CSV files, which the operating system then has."""
        self._text(block)
        self._losses.append(block.loss.astype(np.float64))
        if self._logs:
            self._logs["steps.csv"].write(step_rows(block))
            if "gradients.csv" in self._logs:
                found = block.gradients if self._keep == "values" else _norms(block, self._start)
                assert found is not None
                chosen = block.kept(self._every)
                self._logs["gradients.csv"].write(float_rows(block.step[chosen], found[chosen]))
            for log in self._logs.values():
                log.flush()
        self._callbacks.block(block)

    def losses(self) -> NDArray[np.float64]:
        """Return the loss of every step so far."""
        return np.concatenate(self._losses) if self._losses else np.empty(0)

    def logs(self) -> Logs:
        """Return the files' lengths and digests, once they are on the disk."""
        self._sync()
        return {name: (log.length, log.sha256()) for name, log in self._logs.items()}

    def finish(self, outcome: Outcome, hashes: Hashes) -> Finished:
        """Write how the run ended, bring its files to the disk, and close them."""
        try:
            self._text(outcome)
            self._sync()
        finally:
            self.close()
        return Finished(self._start, outcome, self.losses(), hashes)

    def _sync(self) -> None:
        for log in self._logs.values():
            log.sync()

    def close(self) -> None:
        """Flush and close the files."""
        for log in self._logs.values():
            log.close()


def _norms(block: StepBlock, start: Start) -> Floats | None:
    """Return the norms of a block's gradients, worked out where the style asked for the gradients themselves."""
    if block.norms is not None or block.gradients is None:
        return block.norms
    sizes = np.cumsum([p.values.size for p in start.parameters if p.trained])[:-1]
    parts = np.split(block.gradients.astype(np.float64), sizes, axis=1)
    return np.stack([np.sqrt(np.add.reduce(part * part, axis=1)) for part in parts], axis=1)


def write_end(folder: Path, timing: Timing, summary: Mapping[str, Any]) -> None:
    """Write the times, and last the summary, which is the mark of a record that ended."""
    files.replace(folder / "timing.json", timing.text())
    files.replace(folder / "summary.json", files.json_text(summary))
    files.sync_folder(folder)


# --- plots ------------------------------------------------------------------------------------------------------------


def loss_label(loaded: Loaded) -> str:
    """Return how plots name the loss."""
    return "objective" if loaded.spec.loss is None else f"loss ({loaded.spec.loss.name})"


def _plot(built: TrainingProblem, finished: Finished, folder: Path, warn: Warn) -> None:
    """Draw the loss curve. A plot that fails never fails the run: it is told."""
    name, losses = built.loaded.spec.name, finished.losses
    steps = np.arange(1, len(losses) + 1) if built.loaded.spec.settings.epochs else np.zeros(1)
    curve = plots.Curve(name, steps.astype(np.float64), losses)
    label, per_epoch = loss_label(built.loaded), built.batches.per_epoch
    files.draw(
        folder / "loss.png",
        lambda: plots.loss_curve(curve, title=name, loss_label=label, steps_per_epoch=per_epoch),
        warn,
    )
