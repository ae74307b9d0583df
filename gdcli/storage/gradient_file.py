"""The gradients of a record, gradients.csv or gradients.parquet: read line by line, whichever it is.

A Parquet file cannot grow, be cut and grow again, as a run that is killed and resumed needs it. So its rows lie in a
file of plain numbers until the run ends, and become Parquet then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gdcli.errors import DamagedError
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.csv_writer import cell, float_rows
from gdcli.storage.files import existing, naming, replace
from gdcli.zoo.parquet_file import require_pyarrow

if TYPE_CHECKING:  # a list of records needs no numpy
    import numpy as np
    from numpy.typing import NDArray

    from gdcli.records import Floats

CSV, PARQUET, ROWS = "gradients.csv", "gradients.parquet", "gradients.rows"
"""The table of a record, in one of two formats; and the rows of the second until the run ends."""

GROUP = 2**20  # numbers of a row group, about
MOST_COLUMNS = 10**6
MOST_NUMBERS = 5 * 10**8  # read at once: 4 GB


def _pyarrow() -> tuple[Any, Any]:
    require_pyarrow(PARQUET)
    import pyarrow  # type: ignore[import-untyped]  # it ships no types
    from pyarrow import parquet

    return pyarrow, parquet


# --- writing ----------------------------------------------------------------------------------------------------------


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


def gradients_of(folder: Path) -> NumberColumns | ParquetColumns | None:
    """Return the gradients of a record; None where none are recorded.

    Raises DamagedError for a file that gdcli does not write, MachineError for Parquet without pyarrow.
    """
    if os.path.lexists(folder / PARQUET):
        return ParquetColumns(folder / PARQUET)
    return NumberColumns(folder / CSV) if os.path.lexists(folder / CSV) else None


class ParquetColumns:
    """A Parquet file of numbers whose first column counts, read as `NumberColumns` reads a CSV."""

    def __init__(self, path: Path) -> None:
        """Read the schema. Raises DamagedError for a file that gdcli does not write, MachineError without pyarrow."""
        self.path = path
        self.header: list[str] = self._read(lambda file: self._names(file.schema_arrow))

    def _names(self, schema: Any) -> list[str]:
        pa, _ = _pyarrow()
        first, *others = schema.types or [None]
        if first != pa.int64() or not all(kind in (pa.float32(), pa.float64()) for kind in others):
            raise DamagedError(f"{self.path}: is no table of steps and numbers")
        if len(others) > MOST_COLUMNS:
            raise DamagedError(f"{self.path}: has more than {MOST_COLUMNS:,} columns")
        return list(schema.names)

    def _read(self, read: Callable[[Any], Any]) -> Any:
        pa, parquet = _pyarrow()
        with existing(self.path) as stream:
            try:
                return read(parquet.ParquetFile(stream, memory_map=False, pre_buffer=False))
            except (pa.ArrowException, OSError, ValueError) as error:
                raise DamagedError(f"{self.path}: is no readable Parquet file ({type(error).__name__})") from None

    def _parts(self) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Yield steps [K] and numbers [K, C], some rows at a time."""
        import numpy as np

        pa, parquet = _pyarrow()
        with existing(self.path) as stream:
            try:
                file = parquet.ParquetFile(stream, memory_map=False, pre_buffer=False)
                for batch in file.iter_batches(max(1, GROUP // len(self.header)), use_threads=False):
                    if any(column.null_count for column in batch.columns):
                        raise DamagedError(f"{self.path}: lacks a number")
                    steps, *columns = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
                    yield steps, np.stack(columns, axis=1) if columns else np.empty((len(steps), 0))
            except (pa.ArrowException, OSError, ValueError) as error:
                raise DamagedError(f"{self.path}: is damaged ({type(error).__name__})") from None

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
        width = len(self.header) if columns is None else len(columns)
        whole = np.concatenate(parts) if parts else np.empty((0, width))
        return whole[:rows]


def lines_of_csv(found: ParquetColumns) -> Iterator[str]:
    """Return a Parquet file's table as the lines of a CSV."""
    yield ",".join(map(cell, found.header)) + "\n"
    yield from (line.decode() + "\n" for _, line in found)
