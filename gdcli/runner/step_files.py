"""The tables of a record that have rows of its steps: gradients, and where asked for parameters and layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gdcli.records import LAYER_COLUMNS, Floats, Start, StepBlock, l2_norms
from gdcli.spec.sections import Recording
from gdcli.spec.sizes import MAX_VALUES_AUTO
from gdcli.storage import gradient_file
from gdcli.storage.csv_writer import cell, float_rows, number_rows
from gdcli.storage.gradient_file import RowsForm
from gdcli.storage.npy_file import GrowingNpy
from gdcli.storage.run_folder import Bytes
from gdcli.storage.wide_parquet import GrowingParquet, TableColumn, columns_of, most_pending

PARAMETERS, LAYERS = "parameters.csv", "layers.csv"


class StepFile(Protocol):
    """A file that gets rows of every block."""

    name: str
    header: bytes
    is_wide: bool  # whether a row is so long that it is written beside the loop

    def rows(self, block: StepBlock) -> Iterable[Bytes]:
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


def most_waiting(recording: Recording, start: Start, keep: str) -> int:
    """Return how many bytes of gradients wait for their place in a file at most."""
    scalars = sum(parameter.values.size for parameter in start.parameters if parameter.trained)
    if recording.format != "parquet" or keep != "values" or scalars <= MAX_VALUES_AUTO:
        return 0
    return most_pending(scalars + len(start.watched), np.dtype(start.dtype).itemsize)


def complete(folder: Path, tables: Sequence[StepFile]) -> None:
    """Make of a run's rows what they become at its end. Raises MachineError for what the file system refuses."""
    for table in tables:
        if isinstance(table, GradientRows) and isinstance(table.form, RowsForm):
            gradient_file.to_parquet(folder, table.form.names, table.form.dtype)


class GradientRows:
    """gradients.csv, .npy or .parquet, or the rows that become that: every trained scalar, or each parameter's norm.

    Behind them stand the gradients at watched values.
    """

    def __init__(self, recording: Recording, start: Start, keep: str) -> None:
        trained = [parameter for parameter in start.parameters if parameter.trained]
        self._keep, self._every = keep, recording.every
        sizes = [parameter.values.size for parameter in trained]
        self._ends = np.cumsum(sizes)[:-1]
        self.is_wide = keep == "values" and sum(sizes) > MAX_VALUES_AUTO
        shapes = [(p.name, p.values.shape if keep == "values" else ()) for p in trained if keep != "none"]
        columns = (*(TableColumn(*each) for each in shapes), *columns_of(start.watched))
        dtype = np.dtype(np.float64 if keep == "norms" else start.dtype)
        self.form = gradient_file.form_of(recording.format, columns, dtype, is_wide=self.is_wide)
        self.name, self.header = self.form.name, self.form.header

    def rows(self, block: StepBlock) -> Iterable[Bytes]:
        """Return the rows of the steps that `record.every` keeps."""
        found = self._of_parameters(block)
        if block.watched is not None:
            found = block.watched if found is None else np.concatenate([found, block.watched], axis=1)
        assert found is not None
        chosen = block.kept(self._every)
        if not chosen.any():
            return ()
        return self.form.rows(*((block.step, found) if chosen.all() else (block.step[chosen], found[chosen])))

    def waiting(self) -> NDArray[np.uint8] | None:
        """Return the rows that the file does not have yet, for a checkpoint."""
        return self.form.pending() if isinstance(self.form, GrowingParquet) else None

    def resume(self, length: int, waiting: NDArray[np.uint8] | None) -> None:
        """Go on with a file of this length, and rows that waited. Raises DamagedError where they do not fit."""
        if isinstance(self.form, GrowingParquet):
            self.form.resume(length, np.empty(0, np.uint8) if waiting is None else waiting)

    @property
    def stamped(self) -> int:
        """How many bytes at the beginning tell how long the file is."""
        return len(self.header) if isinstance(self.form, GrowingNpy) else 0

    def stamp(self, length: int) -> bytes:
        """Return these bytes for a file of this length."""
        return self.form.stamp(length) if isinstance(self.form, GrowingNpy) else b""

    def end(self) -> bytes:
        """Return what a file that is whole has behind its rows."""
        return self.form.end() if isinstance(self.form, GrowingParquet) else b""

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

    name, is_wide = PARAMETERS, False

    def __init__(self, every: int, start: Start, values: Floats | None) -> None:
        self._every = every
        self._values = np.concatenate([p.values.reshape(-1) for p in start.parameters]) if values is None else values
        names = [scalar for parameter in start.parameters for scalar in parameter.scalars]
        self.header = (",".join(["step", *map(cell, names)]) + "\n").encode()

    def rows(self, block: StepBlock) -> Iterable[Bytes]:
        """Return the rows of a block; the last of all has the number of a step that would follow."""
        after = block.parameters
        assert after is not None
        before, chosen = np.concatenate([self._values[None], after[:-1]]), block.kept(self._every)
        self._values = after[-1]
        found = float_rows(block.step[chosen], before[chosen])
        if block.ends and not block.diverged and block.step[-1] > 0:
            found += float_rows(block.step[-1:] + 1, after[-1:])
        return (found,)


class LayerRows:
    """layers.csv: a row for each trained parameter and step that is kept, see `gdcli.records.LAYER_COLUMNS`."""

    name, is_wide = LAYERS, False

    def __init__(self, every: int, names: Sequence[str]) -> None:
        self._every, self._names = every, [cell(name).encode() for name in names]
        self.header = (",".join(["step", "parameter", *LAYER_COLUMNS]) + "\n").encode()

    def rows(self, block: StepBlock) -> Iterable[Bytes]:
        """Return the rows of a block; a step that diverged has no update."""
        assert block.layers is not None
        table, chosen = block.layers.astype(np.float64), block.kept(self._every)
        if block.diverged:
            table[-1, :, 2] = np.nan
        steps, table = block.step[chosen], table[chosen]  # [K], [K, N, 4]
        lines = number_rows(np.repeat(steps, table.shape[1]), table.reshape(-1, table.shape[2])).split(b"\n")[:-1]
        pairs = zip(lines, self._names * len(steps), strict=True)
        return [line.replace(b",", b"," + name + b",", 1) + b"\n" for line, name in pairs]
