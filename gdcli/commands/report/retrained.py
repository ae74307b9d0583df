"""A record's run trained again in memory, as its tables would be written, and where these differ from the record's."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gdcli.records import StepBlock
from gdcli.spec.load import Loaded
from gdcli.storage import csv_writer
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.files import lenient
from gdcli.storage.gradient_file import BinaryColumns

Row = tuple[str, ...]  # texts of one step
Columns = NumberColumns | BinaryColumns


@dataclass(slots=True)
class Retrained:
    """Rows of the run as text, by step: its weights before the step, its gradients; and what differs from a record."""

    weights: dict[int, Row] = field(default_factory=dict)
    gradients: dict[int, Row] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # of the weights
    trained: list[str] = field(default_factory=list)  # of the gradients
    difference: str = ""  # 'steps.csv, step 3', the first; nothing where all rows are the record's


class ComparedTable:
    """A table of a record whose rows are compared as those of the run trained again come."""

    def __init__(self, columns: Columns) -> None:
        self.name, self.difference = columns.path.name, ""
        self._rows = rows_of(columns)
        self._next = next(self._rows, None)

    def compare(self, step: int, row: bytes, cells: int | None = None) -> None:
        """Compare the first cells of a row, or all, with the record's row of this step where it has one."""
        while self._next is not None and self._next[0] <= step:
            recorded, line = self._next
            if recorded < step or line.split(b",")[:cells] != row.split(b",")[:cells]:
                self._differs(recorded)
            self._next = next(self._rows, None)

    def ended(self, last: int) -> None:
        """The run has ended: a row that is left, up to a step, is none of its rows."""
        if self._next is not None and self._next[0] <= last:
            self._differs(self._next[0])

    def _differs(self, step: int) -> None:
        self.difference = self.difference or f"{self.name}, step {step:,}"


def rows_of(columns: Columns) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a table; what is damaged ends it."""
    lines = iter(columns)
    while (found := lenient(None, lambda: next(lines, None))) is not None:
        yield found


def cells(line: bytes) -> list[str]:
    """Return the texts of a line behind its step."""
    return line.decode().split(",")[1:]


def retrained(
    loaded: Loaded, folder: Path, weights: Columns | None, gradients: Columns | None, kept: Collection[int], last: int
) -> Retrained:
    """Train a spec in memory, and compare it with steps.csv of a record and its other tables; rows of some steps stay.

    ``last`` is the last recorded step that counts: a record may grow meanwhile.
    Raises SpecError, RunError or MachineError as a run does.
    """
    from gdcli.engine.evaluation import starts_of
    from gdcli.runner import provenance
    from gdcli.runner.record_run import alone
    from gdcli.storage.run_folder import Timing

    built = provenance.prepared(loaded)
    (start,) = starts_of(built)
    found = Retrained(
        names=[scalar for each in start.parameters for scalar in each.scalars],
        trained=[scalar for each in start.parameters if each.trained for scalar in each.scalars],
    )
    before = [float(value) for each in start.parameters for value in each.values.reshape(-1)]
    of_steps = ComparedTable(NumberColumns(folder / "steps.csv"))
    of_gradients, of_weights = (None if each is None else ComparedTable(each) for each in (gradients, weights))

    def received(block: StepBlock) -> None:
        nonlocal before
        assert block.parameters is not None
        assert block.gradients is not None
        lines = [
            csv_writer.step_rows(block).encode().splitlines(),
            csv_writer.float_rows(block.step, block.gradients).splitlines(),
        ]
        for step, row, slopes, after in zip(block.step.tolist(), *lines, block.parameters.tolist(), strict=True):
            # of norms the last cell, gradient_norm, is made otherwise, and rounds otherwise
            of_steps.compare(step, row, None if of_gradients else -1)
            if of_gradients:
                of_gradients.compare(step, slopes, len(found.trained) + 1)
            if of_weights:
                of_weights.compare(step, ",".join([str(step), *map(repr, before)]).encode(), len(before) + 1)
            if step in kept:
                found.weights[step], found.gradients[step] = tuple(map(repr, before)), tuple(cells(slopes))
            before = after

    alone(built, None, None, frozenset({"gradients", "parameters"}), block=received).train(Timing())
    of_steps.ended(last)
    tables = (of_steps, of_gradients, of_weights)
    found.difference = next((each.difference for each in tables if each and each.difference), "")
    return found
