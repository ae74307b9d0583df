"""The tables of a record that have rows of its steps: gradients, and where asked for parameters and layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from gdcli.records import LAYER_COLUMNS, Floats, Start, StepBlock, l2_norms
from gdcli.spec.sections import Recording
from gdcli.storage import gradient_file
from gdcli.storage.csv_writer import cell, float_rows, number_rows

PARAMETERS, LAYERS = "parameters.csv", "layers.csv"


class StepFile(Protocol):
    """A file that gets rows of every block."""

    name: str
    header: str

    def rows(self, block: StepBlock) -> bytes:
        """Return what a block adds."""


def columns_for(recording: Recording) -> frozenset[str]:
    """Return the columns of a block that the tables need besides the gradients."""
    return frozenset(name for name in ("parameters", "layers") if getattr(recording, name))


def files_for(recording: Recording, start: Start, keep: str, values: Floats | None = None) -> list[StepFile]:
    """Return the tables of a run; ``values`` are all its scalars where it is resumed, else those of its start."""
    found: list[StepFile] = []
    trained = [parameter for parameter in start.parameters if parameter.trained]
    if (keep != "none" and trained) or start.watched:
        found.append(GradientRows(recording, start, keep))
    if recording.parameters and start.parameters:
        found.append(ParameterRows(recording.every, start, values))
    if recording.layers and trained:
        found.append(LayerRows(recording.every, [parameter.name for parameter in trained]))
    return found


def complete(folder: Path, tables: Sequence[StepFile]) -> None:
    """Make of a run's rows what they become at its end. Raises MachineError for what the file system refuses."""
    for table in tables:
        if isinstance(table, GradientRows) and table.is_parquet:
            gradient_file.to_parquet(folder, table.names, table.dtype)


class GradientRows:
    """gradients.csv, or the rows that become gradients.parquet: every trained scalar, or each parameter's norm.

    Behind them stand the gradients at watched values.
    """

    def __init__(self, recording: Recording, start: Start, keep: str) -> None:
        trained = [parameter for parameter in start.parameters if parameter.trained]
        self._keep, self._every = keep, recording.every
        self._ends = np.cumsum([parameter.values.size for parameter in trained])[:-1]
        kept = [] if keep == "none" else trained
        self.names = [c for p in kept for c in (p.scalars if keep == "values" else (p.name,))]
        self.names += start.watched
        self.dtype = np.dtype(np.float64 if keep == "norms" else start.dtype)
        self.is_parquet = recording.format == "parquet"
        self.name = gradient_file.ROWS if self.is_parquet else gradient_file.CSV
        self.header = "" if self.is_parquet else ",".join(["step", *map(cell, self.names)]) + "\n"

    def rows(self, block: StepBlock) -> bytes:
        """Return the rows of the steps that `record.every` keeps."""
        found = self._of_parameters(block)
        if block.watched is not None:
            found = block.watched if found is None else np.concatenate([found, block.watched], axis=1)
        assert found is not None
        chosen = block.kept(self._every)
        if self.is_parquet:
            return gradient_file.row_bytes(block.step[chosen], found[chosen].astype(self.dtype))
        return float_rows(block.step[chosen], found[chosen])

    def _of_parameters(self, block: StepBlock) -> Floats | None:
        if self._keep == "none":
            return None
        return block.gradients if self._keep == "values" else self._norms(block)

    def _norms(self, block: StepBlock) -> Floats | None:
        """Return each parameter's norm, worked out where the style asked for the gradients themselves."""
        if block.norms is not None or block.gradients is None:
            return block.norms
        return np.stack([l2_norms(part) for part in np.split(block.gradients, self._ends, axis=1)], axis=1)


class ParameterRows:
    """parameters.csv: all scalars, the frozen too, before each step that is kept; in the last row after the last."""

    name = PARAMETERS

    def __init__(self, every: int, start: Start, values: Floats | None) -> None:
        self._every = every
        self._values = np.concatenate([p.values.reshape(-1) for p in start.parameters]) if values is None else values
        names = [scalar for parameter in start.parameters for scalar in parameter.scalars]
        self.header = ",".join(["step", *map(cell, names)]) + "\n"

    def rows(self, block: StepBlock) -> bytes:
        """Return the rows of a block; the last of all has the number of a step that would follow."""
        after = block.parameters
        assert after is not None
        before, chosen = np.concatenate([self._values[None], after[:-1]]), block.kept(self._every)
        self._values = after[-1]
        found = float_rows(block.step[chosen], before[chosen])
        if block.ends and not block.diverged and block.step[-1] > 0:
            found += float_rows(block.step[-1:] + 1, after[-1:])
        return found


class LayerRows:
    """layers.csv: a row for each trained parameter and step that is kept, see `gdcli.records.LAYER_COLUMNS`."""

    name = LAYERS

    def __init__(self, every: int, names: Sequence[str]) -> None:
        self._every, self._names = every, [cell(name).encode() for name in names]
        self.header = ",".join(["step", "parameter", *LAYER_COLUMNS]) + "\n"

    def rows(self, block: StepBlock) -> bytes:
        """Return the rows of a block; a step that diverged has no update."""
        assert block.layers is not None
        table, chosen = block.layers.astype(np.float64), block.kept(self._every)
        if block.diverged:
            table[-1, :, 2] = np.nan
        steps, table = block.step[chosen], table[chosen]  # [K], [K, N, 4]
        lines = number_rows(np.repeat(steps, table.shape[1]), table.reshape(-1, table.shape[2])).split(b"\n")[:-1]
        pairs = zip(lines, self._names * len(steps), strict=True)
        return b"".join(line.replace(b",", b"," + name + b",", 1) + b"\n" for line, name in pairs)
