"""The gradients of a record, gradients.csv, .parquet or .npy: the forms in which they are written, and read back.

A Parquet file of some columns cannot grow, be cut and grow again, as a run that is killed and resumed needs it. So its
rows lie in a file of plain numbers until the run ends, and become Parquet then. That of a large model grows by itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gdcli.errors import DamagedError
from gdcli.storage import npy_file
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.csv_writer import cell, float_rows
from gdcli.storage.files import existing, naming, replace
from gdcli.storage.npy_file import GrowingNpy
from gdcli.storage.wide_parquet import MAGIC, SHAPES, GrowingParquet, TableColumn
from gdcli.zoo.parquet_file import require_pyarrow

if TYPE_CHECKING:  # a list of records needs no numpy
    import numpy as np
    from numpy.typing import NDArray

    from gdcli.records import Floats

CSV, PARQUET, NPY, ROWS = "gradients.csv", GrowingParquet.name, GrowingNpy.name, "gradients.rows"
"""The table of a record, in one of three formats; and the rows of a Parquet file of some columns until the run ends."""

GROUP = 2**20  # numbers of a row group, about
MOST_COLUMNS = 10**6
MOST_NUMBERS = 5 * 10**8  # read at once: 4 GB


def _pyarrow() -> tuple[Any, Any]:
    require_pyarrow(PARQUET)
    import pyarrow  # type: ignore[import-untyped]  # it ships no types
    from pyarrow import parquet

    return pyarrow, parquet


# --- writing ----------------------------------------------------------------------------------------------------------


class CsvForm:
    """gradients.csv: a column per number."""

    name = CSV

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        names = chain.from_iterable(column.scalars for column in columns)
        self.header = (",".join(["step", *map(cell, names)]) + "\n").encode()

    def rows(self, steps: NDArray[np.int64], values: Floats) -> Iterable[bytes]:
        """Return rows of steps [K] and numbers [K, C]."""
        return (float_rows(steps, values),)


class RowsForm:
    """The rows of gradients.parquet until the run ends: a column per number."""

    name, header = ROWS, b""

    def __init__(self, columns: Sequence[TableColumn], dtype: np.dtype[Any]) -> None:
        self.names, self.dtype = [name for column in columns for name in column.scalars], dtype

    def rows(self, steps: NDArray[np.int64], values: Floats) -> Iterable[bytes]:
        """Return rows of steps [K] and numbers [K, C]."""
        return (row_bytes(steps, values.astype(self.dtype, copy=False)),)


TableForm = CsvForm | RowsForm | GrowingParquet | GrowingNpy


def form_of(name: str, columns: Sequence[TableColumn], dtype: np.dtype[Any], *, is_wide: bool) -> TableForm:
    """Return the form of a table by its name in a spec; a wide one has a column per parameter in Parquet."""
    taken: set[str] = {"step"}
    unique = []
    for column in columns:  # a module of the user may call a parameter step
        name_of = column.name
        while name_of in taken and name != "csv":
            name_of += "_"
        taken.add(name_of)
        unique.append(TableColumn(name_of, column.shape))
    if name == "npy":
        return GrowingNpy(unique, dtype)
    if name == "parquet":
        return GrowingParquet(unique, dtype) if is_wide else RowsForm(columns, dtype)
    return CsvForm(columns)


def row_bytes(steps: NDArray[np.int64], values: Floats) -> bytes:
    """Return rows as they wait for the end of the run: each its step and its numbers [K, C], in their own dtype."""
    import numpy as np

    rows = np.empty(len(steps), _row(values.shape[1], values.dtype))
    rows["step"], rows["values"] = steps, values
    return rows.tobytes()


def _row(columns: int, dtype: Any) -> np.dtype[Any]:
    import numpy as np

    return np.dtype([("step", "<i8"), ("values", np.dtype(dtype).newbyteorder("<"), (columns,))])


def to_parquet(folder: Path, names: Sequence[str], dtype: Any) -> None:
    """Make gradients.parquet of the rows that wait in a record, the same bytes for the same rows.

    Raises MachineError without pyarrow, and for what the file system refuses.
    """
    kind = _row(len(names), dtype)
    with existing(folder / ROWS) as stream:
        replace(folder / PARQUET, lambda out: _write(cast("BinaryIO", out), stream, names, kind))


def _write(out: BinaryIO, rows: BinaryIO, names: Sequence[str], kind: np.dtype[Any]) -> None:
    import numpy as np

    pa, parquet = _pyarrow()
    number = pa.from_numpy_dtype(kind["values"].base)
    schema = pa.schema([("step", pa.int64()), *((name, number) for name in names)])
    group = max(1, GROUP // len(schema))
    with parquet.ParquetWriter(out, schema, use_dictionary=False, write_statistics=False) as writer:
        while part := rows.read(group * kind.itemsize):
            found = np.frombuffer(part, kind)
            columns = np.ascontiguousarray(found["values"].T)
            writer.write_table(pa.table([found["step"], *columns], schema=schema), row_group_size=group)


def remove_rows(folder: Path) -> None:
    """Remove the rows of a run that has ended; its Parquet file is there."""
    with naming(folder / ROWS, "remove"):
        (folder / ROWS).unlink(missing_ok=True)


# --- reading ----------------------------------------------------------------------------------------------------------


def gradients_of(folder: Path) -> NumberColumns | BinaryColumns | None:
    """Return the gradients of a record; None where none are recorded, or a Parquet file waits for the run's end.

    Raises DamagedError for a file that gdcli does not write, MachineError for Parquet without pyarrow.
    """
    if os.path.lexists(folder / PARQUET):
        return None if _grows(folder) else binary_columns(folder / PARQUET)
    if os.path.lexists(folder / NPY):
        return binary_columns(folder / NPY)
    return NumberColumns(folder / CSV) if os.path.lexists(folder / CSV) else None


def _grows(folder: Path) -> bool:
    """Say whether a Parquet file lacks its footer, and its run the mark of its end."""
    if os.path.lexists(folder / "summary.json"):
        return False
    with existing(folder / PARQUET) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - len(MAGIC)))
        return stream.tell() < 2 * len(MAGIC) or stream.read() != MAGIC


class BinaryColumns:
    """A table of steps and numbers that is no text, read as `NumberColumns` reads a CSV."""

    def __init__(
        self, path: Path, columns: Sequence[TableColumn], parts: Callable[[], Iterator[tuple[Any, Floats]]]
    ) -> None:
        """``parts`` yields steps [K] and numbers [K, C], some rows at a time. Raises DamagedError for too many."""
        if (count := sum(column.size for column in columns)) > MOST_COLUMNS:
            raise DamagedError(f"{path}: has more than {MOST_COLUMNS:,} columns ({count:,})")
        self.path, self.columns, self._parts = path, columns, parts

    @cached_property
    def header(self) -> list[str]:
        """The name of each number of a row, the step first."""
        return ["step", *chain.from_iterable(column.scalars for column in self.columns)]

    def parts(self) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Yield steps [K] and numbers [K, C], some rows at a time. Raises DamagedError."""
        return self._parts()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield each step with its line as a CSV has it, without the line's end."""
        for steps, values in self._parts():
            yield from zip(steps.tolist(), float_rows(steps, values).split(b"\n")[:-1], strict=True)

    def numbers(self, columns: Sequence[int] | None = None, rows: int | None = None) -> NDArray[np.float64]:  # [K, C]
        """Return all rows, or the first, or some of their columns. Raises DamagedError for more than 4 GB."""
        import numpy as np

        parts, count = [], 0
        for steps, values in self._parts():
            found = np.column_stack([steps.astype(np.float64), values.astype(np.float64)])
            parts.append(found if columns is None else found[:, list(columns)])
            count += parts[-1].size
            if count > MOST_NUMBERS:
                raise DamagedError(f"{self.path}: has more than {MOST_NUMBERS:,} numbers")
            if rows is not None and sum(map(len, parts)) >= rows:
                break
        width = 1 + sum(each.size for each in self.columns) if columns is None else len(columns)
        whole = np.concatenate(parts) if parts else np.empty((0, width))
        return whole[:rows]


def binary_columns(path: Path) -> BinaryColumns:
    """Return the table of a Parquet or NPY file by its name.

    Raises DamagedError for a file that gdcli does not write, MachineError for Parquet without pyarrow.
    """
    return _npy_columns(path) if path.suffix == ".npy" else _parquet_columns(path)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet_columns(path: Path) -> BinaryColumns:
    pa, parquet = _pyarrow()
    with existing(path) as stream:
        try:
            schema = parquet.ParquetFile(stream, memory_map=False, pre_buffer=False).schema_arrow
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedError(f"{path}: is no readable Parquet file ({type(error).__name__})") from None
    columns = _columns(schema, path)
    return BinaryColumns(path, columns, lambda: _parts_of_parquet(path, columns))


def _columns(schema: Any, path: Path) -> list[TableColumn]:
    """Return the columns but the step: single numbers, or lists whose shapes the metadata have."""
    pa, _ = _pyarrow()
    first, *others = schema.types or [None]
    numbers = [kind.value_type if pa.types.is_list(kind) else kind for kind in others]
    if first != pa.int64() or not all(kind in (pa.float32(), pa.float64()) for kind in numbers):
        raise DamagedError(f"{path}: is no table of steps and numbers")
    try:
        told = json.loads((schema.metadata or {}).get(SHAPES, b"{}"))
        shapes = [tuple(told[name]) if pa.types.is_list(kind) else () for name, kind in _named(schema)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DamagedError(f"{path}: does not tell the shapes of its lists") from None
    if not all(type(size) is int and size > 0 for shape in shapes for size in shape):
        raise DamagedError(f"{path}: does not tell the shapes of its lists")
    return [TableColumn(name, shape) for (name, _), shape in zip(_named(schema), shapes, strict=True)]


def _named(schema: Any) -> list[tuple[str, Any]]:
    return list(zip(schema.names, schema.types, strict=True))[1:]


def _parts_of_parquet(path: Path, columns: Sequence[TableColumn]) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    import numpy as np

    pa, parquet = _pyarrow()
    at_once = max(1, GROUP // (1 + sum(column.size for column in columns)))
    with existing(path) as stream:
        try:
            file = parquet.ParquetFile(stream, memory_map=False, pre_buffer=False)
            for batch in file.iter_batches(at_once, use_threads=False):
                steps, *found = (_matrix(each, path) for each in batch.columns)
                if [part.shape[1] for part in found] != [column.size for column in columns]:
                    raise DamagedError(f"{path}: has a list of another length")
                yield steps[:, 0], np.concatenate(found, axis=1) if found else np.empty((len(steps), 0))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedError(f"{path}: is damaged ({type(error).__name__})") from None


def _matrix(column: Any, path: Path) -> NDArray[Any]:
    """Return a column [K] of numbers, or of lists of n numbers, as [K, n]."""
    import numpy as np

    pa, _ = _pyarrow()
    rows = len(column)
    lists = pa.types.is_list(column.type)
    numbers = column.flatten() if lists else column
    if column.null_count or numbers.null_count:
        raise DamagedError(f"{path}: lacks a number")
    size = len(numbers) // rows if rows else 0
    if lists and not (np.diff(column.offsets.to_numpy()) == size).all():
        raise DamagedError(f"{path}: has a list of another length")
    found: NDArray[Any] = numbers.to_numpy(zero_copy_only=False).reshape(rows, size if lists else 1)
    return found


# --- NPY --------------------------------------------------------------------------------------------------------------


def _npy_columns(path: Path) -> BinaryColumns:
    with existing(path) as stream:
        try:
            columns, _, _ = npy_file.read_header(stream)
        except DamagedError as error:
            raise DamagedError(f"{path}: {error}") from None
    return BinaryColumns(path, columns, lambda: _parts_of_npy(path))


def _parts_of_npy(path: Path) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    import numpy as np

    with existing(path) as stream:
        _, kind, rows = npy_file.read_header(stream)
        at_once = max(1, 8 * GROUP // kind.itemsize)
        while rows:
            part = stream.read(min(at_once, rows) * kind.itemsize)
            if not part or len(part) % kind.itemsize:
                raise DamagedError(f"{path}: has fewer rows than it says")
            found = np.frombuffer(part, kind)
            rows -= len(found)
            yield found["step"], found["values"]


# --- as lines ---------------------------------------------------------------------------------------------------------


def lines_of_csv(found: BinaryColumns) -> Iterator[str]:
    """Return a table as the lines of a CSV."""
    yield ",".join(map(cell, found.header)) + "\n"
    yield from (line.decode() + "\n" for _, line in found)
