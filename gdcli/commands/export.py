"""Records for other programs: one CSV of everything, the same as Parquet, TensorBoard's event files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from gdcli.errors import DamagedError, MachineError, SpecError
from gdcli.spec.scalars import shown
from gdcli.storage import config_reader
from gdcli.storage.csv_reader import MixedColumns, NumberColumns
from gdcli.storage.csv_writer import cell, csv_rows
from gdcli.storage.files import is_folder, naming, replace, require_file
from gdcli.storage.find import run_number, runs_of
from gdcli.storage.gradient_file import gradients_of
from gdcli.storage.record import Record, read

COUNTS = ("run", "step", "epoch", "batch")
"""Columns of whole numbers."""

CHUNK = 2**20  # bytes, about


@dataclass(frozen=True, slots=True)
class ExportTable:
    """A table as pieces of a CSV, made while they are taken: its columns, and then its lines."""

    columns: tuple[str, ...]
    lines: Iterable[bytes]
    texts: frozenset[str] = frozenset()  # the columns of text
    counts: frozenset[str] = frozenset(COUNTS)

    def csv(self, chunk: int = CHUNK) -> Iterator[bytes]:
        """Yield the CSV in pieces of whole lines, of about so many bytes."""
        pieces, length = [(",".join(map(cell, self.columns)) + "\n").encode()], 0
        for line in self.lines:
            pieces.append(line)
            length += len(line)
            if length > chunk:
                yield b"".join(pieces)
                pieces, length = [], 0
        yield b"".join(pieces)


def table_of(record: Record, *, long: bool) -> ExportTable:
    """Return everything that a record has in numbers.

    Of a run its steps with their gradients; of a sweep or a comparison a row per run, or with ``long`` all steps of all
    its runs. Raises SpecError where there are none, DamagedError for a file that is not as gdcli writes it.
    """
    if record.kind == "run":
        if long:
            raise SpecError("--long is for a sweep or a comparison; this is a run, and has all its steps")
        steps = _Steps(record.folder)
        return ExportTable(steps.columns, (line + b"\n" for line in steps))
    if not long:
        return _results(record.folder / ("ema.csv" if record.kind == "ema" else "results.csv"))
    runs = [folder for folder in runs_of(record.folder) if (folder / "steps.csv").is_file()]
    if not runs:
        raise SpecError(
            "--long needs the steps of the runs: a record of more than 100 runs, or of no training, has none"
        )
    return _all_steps(runs)


def _results(path: Path) -> ExportTable:
    rows = MixedColumns(path)
    kinds: list[set[type]] = [set() for _ in rows.header]
    for row in rows:
        for found, value in zip(kinds, row, strict=True):
            found.add(type(value))
    named = [(name, found - {type(None)}) for name, found in zip(rows.header, kinds, strict=True)]
    texts = frozenset(name for name, found in named if str in found)  # one text makes a column one of text
    counts = frozenset(name for name, found in named if found == {int})
    lines = (csv_rows([row]).encode() for row in rows)
    return ExportTable(tuple(rows.header), lines, texts=texts, counts=counts)


class _Steps:
    """The lines of steps.csv, each with its gradients, or empty cells where they are not recorded."""

    def __init__(self, folder: Path) -> None:
        self._steps = NumberColumns(folder / "steps.csv")
        self._gradients = gradients_of(folder)
        names = self._gradients.header[1:] if self._gradients is not None else []
        self.columns = (*self._steps.header, *(f"gradient.{name}" for name in names))
        self._missing = b"," * len(names)

    def __iter__(self) -> Iterator[bytes]:
        gradients = iter(self._gradients) if self._gradients is not None else iter(())
        number, line = next(gradients, (-1, b""))
        for step, row in self._steps:
            while -1 < number < step:
                number, line = next(gradients, (-1, b""))
            yield row + (line[line.find(b",") :] if number == step and self._missing else self._missing)


def _all_steps(runs: Sequence[Path]) -> ExportTable:
    """Return the steps of runs below each other, with the number of their run; columns that a run lacks are empty."""
    parts = [(run_number(folder), _Steps(folder)) for folder in runs]
    columns = tuple(dict.fromkeys(name for _, part in parts for name in part.columns))

    def lines() -> Iterator[bytes]:
        for number, part in parts:
            head = f"{'' if number is None else number},".encode()
            if part.columns == columns:
                yield from (head + line + b"\n" for line in part)
                continue
            places = [part.columns.index(name) if name in part.columns else None for name in columns]
            for line in part:
                cells = line.split(b",")
                yield head + b",".join(b"" if k is None else cells[k] for k in places) + b"\n"

    return ExportTable(("run", *columns), lines())


ENDINGS = {
    "csv": (".csv", ".txt"), "parquet": (".parquet", ".pq"), "state_dict": (".pt", ".pth"), "onnx": (".onnx",),
    "script": (".py",),
}  # fmt: skip


def form_of(asked: str | None, path: str | None) -> str:
    """Return the format that is asked for, by name or by a file's ending. Raises SpecError where these differ."""
    ending = "" if path is None or is_folder(path) else Path(path).suffix.lower()
    if asked == "tensorboard" or not ending:
        return asked or "csv"
    found = next((form for form, endings in ENDINGS.items() if ending in endings), None)
    if found is None or asked not in (None, found):
        known = ", ".join(f"{form} ({' '.join(endings)})" for form, endings in ENDINGS.items())
        raise SpecError(f"the ending '{shown(ending)}' is not that of {asked or 'a format'}: {known}")
    return found


# --- files ------------------------------------------------------------------------------------------------------------


def to_file(found: ExportTable, path: Path, form: str, *, force: bool) -> None:
    """Write a table as CSV or Parquet, whole or not at all; a file that is there is replaced only by force.

    Raises SpecError for one that is there, MachineError for what the file system refuses.
    """
    require_free(path, force=force)
    replace(path, lambda stream: stream.writelines(found.csv()) if form == "csv" else to_parquet(found, stream))


def require_free(path: Path, *, force: bool) -> None:
    """Raise SpecError where a file must not be written: a folder, no folder for it, or a file that is there."""
    if path.is_dir():
        raise SpecError(f"{path} is a folder")
    require_file(path)
    if os.path.lexists(path) and not force:
        raise SpecError(f"{path} is there already. --force overwrites it")
    if not path.parent.is_dir():
        raise SpecError(f"there is no folder '{path.parent}'")


# --- Parquet ----------------------------------------------------------------------------------------------------------


def to_parquet(found: ExportTable, stream: IO[bytes]) -> None:
    """Write a table as Parquet: whole numbers, float64 and text. Raises MachineError without pyarrow."""
    try:
        import pyarrow  # type: ignore[import-untyped]  # pyarrow ships no types
        from pyarrow import csv as reading
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise _missing("parquet", "pyarrow") from None
    of_text, of_counts = pyarrow.string(), pyarrow.int64()
    types = {
        name: of_text if name in found.texts else of_counts if name in found.counts else pyarrow.float64()
        for name in found.columns
    }
    options = reading.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    parsing = reading.ParseOptions(newlines_in_values=bool(found.texts))
    header = reading.ReadOptions()
    with parquet.ParquetWriter(stream, pyarrow.schema(list(types.items()))) as writer:
        for piece in filter(None, found.csv(64 * CHUNK)):
            try:
                writer.write_table(reading.read_csv(pyarrow.BufferReader(piece), header, parsing, options))
            except ValueError as error:  # pyarrow's own are of this class
                raise DamagedError(f"the record makes no table: {error}") from None
            header.column_names = list(types)  # the next pieces have none


def _missing(extra: str, package: str) -> MachineError:
    return MachineError(
        f"--format {extra} needs {package}, which is not installed: pip install 'gradient-descent-cli[{extra}]'"
    )


# --- TensorBoard ------------------------------------------------------------------------------------------------------

SCALARS = ("loss", "lr", "gradient_norm")


def to_tensorboard(record: Record, folder: Path, *, force: bool) -> list[Path]:
    """Write an event file for a run, or for each run of a sweep or a comparison; return the files.

    The scalars loss, lr and gradient_norm of every step, in the 32 bits that TensorBoard has for them, and the simple
    values of the spec as hyperparameters. Raises SpecError for a record without steps, MachineError without the extra.
    """
    runs = [record.folder] if record.kind == "run" else runs_of(record.folder)
    runs = [run for run in runs if (run / "steps.csv").is_file()]
    if not runs:
        raise SpecError("--format tensorboard needs the steps of a run; this record has none")
    # a file has the same path for the same run: two files in one folder would be one run, twice
    names = [f"events.out.tfevents.{int(_begun(read(run))):010d}.gdcli" for run in runs]
    own = ["" if run is record.folder else run.name for run in runs]
    files = [folder / record.id / part / name for part, name in zip(own, names, strict=True)]
    for file in files:
        with naming(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        require_free(file, force=force)
    for run, file in zip(runs, files, strict=True):
        require_free(file, force=force)
        replace(file, lambda stream, run=run: _events(read(run), stream))  # type: ignore[misc]  # bound now
    return files


def _begun(record: Record) -> float:
    """Return when a run started, seconds since 1970."""
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
        return datetime.fromisoformat(record.timing["start"]).timestamp()
    return 0.0


def _events(record: Record, stream: IO[bytes]) -> None:
    try:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]  # it ships no types
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise _missing("tensorboard", "TensorBoard") from None
    writer, begun = RecordWriter(stream), _begun(record)

    def event(**content: Any) -> None:
        writer.write(Event(wall_time=begun, **content).SerializeToString(deterministic=True))

    event(file_version="brain.Event:2")
    event(summary=_hyperparameters(record, begun))
    steps = NumberColumns(record.folder / "steps.csv")
    try:
        places = [(name, steps.header.index(name)) for name in SCALARS]
    except ValueError:
        raise DamagedError(f"{steps.path}: lacks one of the columns {', '.join(SCALARS)}") from None
    for step, line in steps:
        cells = line.split(b",")
        values = [Summary.Value(tag=name, simple_value=float(cells[k])) for name, k in places if cells[k]]
        event(step=step, summary=Summary(value=values))


def _hyperparameters(record: Record, begun: float) -> Any:
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # type: ignore[import-untyped]  # it ships no types

    simple = {
        key: value
        for key, value in config_reader.flat(config_reader.read(record.folder))
        if isinstance(value, bool | int | float | str) and key not in ("name", "description")
    }
    return hparams_pb(simple, trial_id=record.id, start_time_secs=begun)
