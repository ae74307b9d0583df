"""One run's recorder: its events become the text of its style and, with a folder, its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.records import Event, Floats, Outcome, Prediction, Start, StepBlock
from gdcli.report.styles import STYLES
from gdcli.runner import step_files
from gdcli.runner.background import BackgroundWriter
from gdcli.runner.epoch_rows import FILE, EpochRows
from gdcli.runner.expected import numbers_expected
from gdcli.runner.step_files import StepFile
from gdcli.runner.step_tables import StepTables
from gdcli.spec.expectations import ExpectedNumber
from gdcli.spec.sections import RunSpec
from gdcli.storage import csv_reader
from gdcli.storage.checkpoints import Logs
from gdcli.storage.csv_writer import STEPS_HEADER, step_rows
from gdcli.storage.run_folder import Log, RecordFolder

SUMMARY_SCALARS = 100
"""Parameters stand in summary.json up to this many scalars."""


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
        self._tables: StepTables | None = None

    def open(
        self, writer: BackgroundWriter, losses: NDArray[np.float64] | None = None, steps: int = 0,
        logs: Logs | None = None, values: Floats | None = None, waiting: NDArray[np.uint8] | None = None,
    ) -> None:  # fmt: skip
        """Open the files; to resume after so many steps with these losses, they are cut to the lengths in ``logs``.

        ``values`` are the parameters' scalars then, ``waiting`` the gradients that no file had. ``writer`` writes what
        takes long.
        """
        if self.record is not None:
            folder = self.record.folder
            self.record.prepare(again=logs is not None)
            self.tables = step_files.files_for(self._recording, self._start, self._keep, values)
            headers = {"log.txt": "", "steps.csv": STEPS_HEADER}
            if self._epochs is not None:
                headers[FILE] = self._epochs.header
            lengths = {name.removeprefix(self._above): length for name, (length, _) in (logs or {}).items()}
            for name, header in headers.items():
                self._logs[name] = log = Log(folder / name, lengths.get(name, 0))
                if not log.length:
                    log.write(header)
            self._tables = StepTables(folder, self.tables, writer)
            self._tables.open(lengths, waiting)
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
            if self._tables is not None:
                self._tables.block(block)
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
        return {self._above + name: (log.length, log.sha256()) for name, log in self._all_logs().items()}

    def waiting(self) -> NDArray[np.uint8] | None:
        """Return the gradients that wait for their place in a file, once :meth:`logs` has been asked."""
        table = None if self._tables is None else self._tables.gradients
        return None if table is None else table.waiting()

    @property
    def most_waiting(self) -> int:
        """How many bytes of gradients wait at most."""
        return step_files.most_waiting(self._recording, self._start, self._keep) if self.record is not None else 0

    def finish(self, outcome: Outcome) -> Finished:
        """Write how the run ended, bring its files to the disk, and close them."""
        try:
            self._text(outcome)
        except BaseException:
            self.close()
            raise
        self.end()
        prediction = None if self._predicts else outcome.prediction
        epochs = self._epochs.by_name() if self._epochs else {}
        expected = numbers_expected(self._expect, outcome)
        return Finished(self._start, outcome, self.losses(), prediction, epochs, expected)

    def end(self) -> None:
        """Make the files whole, bring them to the disk, and close them."""
        try:
            if self._tables is not None:
                self._tables.finish()
            self._sync()
        finally:
            self.close()

    def _all_logs(self) -> dict[str, Log]:
        return self._logs if self._tables is None else {**self._logs, **self._tables.logs}

    def _sync(self) -> None:
        if self._tables is not None:
            self._tables.drain()
        for log in self._all_logs().values():
            log.sync()

    def close(self) -> None:
        """Flush and close the files."""
        try:
            if self._tables is not None:
                self._tables.drain()
        finally:
            for log in self._all_logs().values():
                log.close()
