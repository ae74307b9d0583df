"""The files of a run's step tables: opened, cut to where a checkpoint saw them, written as the run goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gdcli.records import StepBlock
from gdcli.runner.background import BackgroundWriter
from gdcli.runner.step_files import GradientRows, StepFile
from gdcli.storage.run_folder import Log


class StepTables:
    """The tables of one run with their files; rows of a wide one are formatted and written beside the loop."""

    def __init__(self, folder: Path, tables: Sequence[StepFile], writer: BackgroundWriter) -> None:
        self._folder, self._tables, self._writer = folder, tables, writer
        self.logs: dict[str, Log] = {}

    @property
    def gradients(self) -> GradientRows | None:
        """The table of gradients, if there is one."""
        return next((table for table in self._tables if isinstance(table, GradientRows)), None)

    def open(self, lengths: Mapping[str, int], waiting: NDArray[np.uint8] | None = None) -> None:
        """Open the files, those with a length to go on there, with the gradients that waited for their place.

        Raises DamagedError for gradients that do not fit, MachineError for what the file system refuses.
        """
        for table in self._tables:
            length = lengths.get(table.name, 0)
            stamped = table.stamped if isinstance(table, GradientRows) else 0
            self.logs[table.name] = log = Log(self._folder / table.name, length, stamped)
            if not length:
                log.write(table.header)
            elif isinstance(table, GradientRows):
                table.resume(length, waiting)
                self._stamp(table, log)

    def block(self, block: StepBlock) -> None:
        """Take a block: the operating system has its rows then, or will. Raises what went wrong beside the loop."""
        for table in self._tables:
            write = partial(self._write, table, block)
            if not table.is_wide:
                write()
                continue
            assert block.gradients is not None
            self._writer.put(write, block.gradients.nbytes)

    def _write(self, table: StepFile, block: StepBlock) -> None:
        log = self.logs[table.name]
        for rows in table.rows(block):
            log.write(rows)
        log.flush()
        if isinstance(table, GradientRows):
            self._stamp(table, log)

    def _stamp(self, table: GradientRows, log: Log) -> None:
        if table.stamped:
            log.stamp(table.stamp(log.length))

    def drain(self) -> None:
        """Wait until all is written. Raises what went wrong beside the loop."""
        self._writer.drain()

    def finish(self) -> None:
        """Write what files that are whole have at their end."""
        self.drain()
        if (table := self.gradients) is not None:
            self.logs[table.name].write(table.end())
