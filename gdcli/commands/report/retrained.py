"""A record's run trained again in memory, as its tables would be written, and where these differ from the record's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gdcli.records import StepBlock
from gdcli.spec.load import Loaded
from gdcli.storage import csv_writer, gradient_file
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.files import lenient

Row = tuple[str, ...]  # texts of one step


@dataclass(slots=True)
class Retrained:
    """The rows of the run's steps as text, by step: its weights before the step, its gradients, steps.csv."""

    weights: dict[int, Row] = field(default_factory=dict)
    gradients: dict[int, Row] = field(default_factory=dict)
    steps: dict[int, bytes] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # of the weights
    trained: list[str] = field(default_factory=list)  # of the gradients

    def difference(self, folder: Path) -> str:
        """Return where steps.csv or gradients.csv of the record first differs: 'steps.csv, step 3'; or nothing."""
        found, count = gradient_file.gradients_of(folder), len(self.trained)
        has_values = found is not None and found.header[1 : count + 1] == self.trained
        for step, line in rows_of(NumberColumns(folder / "steps.csv")):
            if step in self.steps and _compared(self.steps[step], has_values) != _compared(line, has_values):
                return f"steps.csv, step {step:,}"
        if found is None or not has_values:
            return ""
        for step, line in rows_of(found):
            if step in self.gradients and list(self.gradients[step]) != cells(line)[:count]:
                return f"{found.path.name}, step {step:,}"
        return ""


def _compared(line: bytes, has_values: bool) -> bytes:
    """Return a line of steps.csv without its gradient_norm where it was made of other norms, which rounds otherwise."""
    return line if has_values else line.rpartition(b",")[0]


def rows_of(columns: NumberColumns | gradient_file.ParquetColumns) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a table; what is damaged ends it."""
    lines = iter(columns)
    while (found := lenient(None, lambda: next(lines, None))) is not None:
        yield found


def cells(line: bytes) -> list[str]:
    """Return the texts of a line behind its step."""
    return line.decode().split(",")[1:]


def retrained(loaded: Loaded) -> Retrained:
    """Train a spec in memory. Raises SpecError, RunError or MachineError as a run does."""
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

    def kept(block: StepBlock) -> None:
        nonlocal before
        assert block.parameters is not None
        assert block.gradients is not None
        after, gradients = block.parameters.tolist(), csv_writer.float_rows(block.step, block.gradients)
        for step, row, line in zip(block.step.tolist(), gradients.splitlines(), after, strict=True):
            found.weights[step], before = tuple(map(repr, before)), line
            found.gradients[step] = tuple(cells(row))
        for step, row in zip(block.step.tolist(), csv_writer.step_rows(block).encode().splitlines(), strict=True):
            found.steps[step] = row

    alone(built, None, None, frozenset({"gradients", "parameters"}), block=kept).train(Timing())
    return found
