"""gradients.npy: a table of steps that grows, in numpy's own format, readable by `numpy.load` at any time.

Each row is a record: the step, and a field for each parameter in its shape. The header says how many rows there are; it
is written anew behind the rows that it counts, in place. So a killed run's file has all whole rows that it counts, and
what came after them is not looked at. No digest of a log has the header, which follows from the spec and the length.

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from gdcli.errors import DamagedError
from gdcli.storage.wide_parquet import TableColumn

if TYPE_CHECKING:  # a list of records needs no numpy
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from gdcli.records import Floats

MAGIC = b"\x93NUMPY"
DIGITS = 20  # of the number of rows
MOST_HEADER = 2**26  # bytes
LONG = 2**16  # bytes of a row that is written by itself


class GrowingNpy:
    """The file of one run: rows come as steps [K] and numbers [K, C]."""

    name = "gradients.npy"

    def __init__(self, columns: Sequence[TableColumn], dtype: Any) -> None:
        """Lay out a file of these columns, whose numbers are all of one dtype."""
        import numpy as np

        number = np.dtype(dtype).newbyteorder("<")
        fields = [("step", "<i8"), *((column.name, number.str, column.shape) for column in columns)]
        self._described = repr([field if len(field) == 2 or field[2] else field[:2] for field in fields])
        self._row = np.dtype([("step", "<i8"), ("values", number, (sum(column.size for column in columns),))])
        self.header = self._header(0)

    def _header(self, rows: int) -> bytes:
        text = f"{{'descr': {self._described}, 'fortran_order': False, 'shape': ({rows:{DIGITS}d},), }}"
        wide = not text.isascii() or len(text) > 65_000
        head = MAGIC + (b"\x03\x00" if wide else b"\x01\x00")
        content = text.encode()
        padding = -(len(head) + (4 if wide else 2) + len(content) + 1) % 64
        content += b" " * padding + b"\n"
        return head + len(content).to_bytes(4 if wide else 2, "little") + content

    def rows(self, steps: NDArray[np.int64], values: Floats) -> Iterator[bytes | memoryview]:
        """Yield rows as the file has them; long ones as they lie in memory, without a copy."""
        import numpy as np

        if self._row.itemsize < LONG:
            rows = np.empty(len(steps), self._row)
            rows["step"], rows["values"] = steps, values
            yield rows.view(np.uint8).data
            return
        kind = self._row["values"].base
        for step, row in zip(steps.astype("<i8"), values.astype(kind, copy=False), strict=True):
            yield step.tobytes()
            yield row.data.cast("B")

    def stamp(self, length: int) -> bytes:
        """Return the header of a file of this length."""
        return self._header(max(0, length - len(self.header)) // self._row.itemsize)


def header_length(head: bytes) -> int:
    """Return the length of a file's header from its first 12 bytes; 0 of what is no such file.

    >>> header_length(MAGIC + b"\\x01\\x00" + bytes([118, 0, 0, 0]))
    128
    """
    if head[:6] != MAGIC or len(head) < 12:
        return 0
    size = 2 if head[6] == 1 else 4
    return 8 + size + int.from_bytes(head[8 : 8 + size], "little")


def read_header(stream: BinaryIO) -> tuple[list[TableColumn], np.dtype[Any], int]:
    """Return a file's columns but the step, the dtype of a row as one vector of numbers, and the number of rows.

    Raises DamagedError for a file that gdcli does not write; the error does not name it.
    """
    import numpy as np

    length = header_length(head := stream.read(12))
    if not 12 < length <= MOST_HEADER:
        raise DamagedError("is no NPY file")
    try:
        text = (head[10 if head[6] == 1 else 12 :] + stream.read(length - 12)).decode()
        told = ast.literal_eval(text.strip())
        (rows,), fields = told["shape"], told["descr"]
        columns = [TableColumn(str(name), tuple(map(int, shape[0] if shape else ()))) for name, _, *shape in fields]
        kinds = [field[1] for field in fields]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise DamagedError("is no table of steps and numbers") from None
    step, *others = columns or [TableColumn("", ())]
    of = set(kinds[1:]) or {"<f4"}
    is_table = (step.name, step.shape, kinds[:1]) == ("step", (), ["<i8"]) and len(of) == 1 and of <= {"<f4", "<f8"}
    sizes = [size for column in others for size in column.shape]
    if not is_table or type(rows) is not int or rows < 0 or any(size < 0 for size in sizes):
        raise DamagedError("is no table of steps and numbers")
    return others, np.dtype([("step", "<i8"), ("values", *of, (sum(each.size for each in others),))]), rows
