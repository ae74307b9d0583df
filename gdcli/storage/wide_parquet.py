"""A Parquet file of many numbers a row, which grows with a run, is cut, and grows again.

A library writes such a file in one go from what it has in memory, and nothing can be added to what a killed run leaves.
A column for each of 200,000 numbers has a hundred bytes of description for every five numbers; lists by a library cost
more processor time than the steps whose gradients they hold. So the few structures of the format that are needed stand
here: groups of rows, all of the same number, in each group one page for each parameter, plain and uncompressed, of
lists as long as the parameter. Where every page lies follows from the number of rows alone, so that the footer, which
is written when the run ends, needs nothing from before.

Source: https://parquet.apache.org/docs/file-format/, the compact protocol of Thrift.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from gdcli.errors import DamagedError

if TYPE_CHECKING:  # a list of records needs no numpy
    import numpy as np
    from numpy.typing import NDArray

    from gdcli.records import Floats

MAGIC, CREATED_BY, SHAPES = b"PAR1", b"gdcli", b"gdcli.shapes"
GROUP = 2**17  # numbers of a group of rows, about
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12  # types of the compact protocol
_TYPES = {"<i8": 2, "<f4": 4, "<f8": 5}  # INT64, FLOAT, DOUBLE
_PLAIN, _RLE = 0, 3  # encodings


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table of steps: one number for each entry of a shape, for () a single one."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has in a row."""
        return prod(self.shape)

    @property
    def scalars(self) -> tuple[str, ...]:
        """The name of each number: ``weight[0,1]``, and the bare name of a single one."""
        indices = product(*map(range, self.shape))
        return tuple(f"{self.name}[{','.join(map(str, each))}]" if each else self.name for each in indices)


def columns_of(names: Sequence[str]) -> list[TableColumn]:
    """Return columns from the names of their numbers, those of one column beside each other.

    >>> columns_of(["x[0,0]", "x[0,1]", "h1"])
    [TableColumn(name='x', shape=(1, 2)), TableColumn(name='h1', shape=())]
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for each in names:  # the last index of each is the largest
        name, _, index = each.partition("[")
        shapes[name] = tuple(int(k) + 1 for k in index.rstrip("]").split(",")) if index else ()
    return [TableColumn(*each) for each in shapes.items()]


# --- Thrift -----------------------------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _int(number: int) -> bytes:
    return _varint(number << 1)  # zigzag, of numbers that are not negative


def _binary(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    head = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return head + b"".join(items)


def _fields(*fields: tuple[int, int, bytes], last: int = 0) -> bytes:
    """Return fields (number, type, content) of a struct, the numbers rising from that of the ``last`` before them."""
    found = bytearray()
    for number, kind, content in fields:
        found.append(number - last << 4 | kind)
        found += content
        last = number
    return bytes(found)


def _struct(*fields: tuple[int, int, bytes]) -> bytes:
    return _fields(*fields) + b"\0"


# --- the layout of a group --------------------------------------------------------------------------------------------


def _run(count: int, value: int) -> bytes:
    """Return so many equal levels of one bit."""
    return _varint(count << 1) + bytes([value])


def _levels(rows: int, numbers: int) -> bytes:
    """Return the levels of a page of lists: a list begins where the repetition is 0, and no number is missing."""
    row = _run(1, 0) + (_run(numbers - 1, 1) if numbers > 1 else b"")
    parts = row * rows, _run(rows * numbers, 1)
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


@dataclass(frozen=True, slots=True)
class _Page:
    """The page of one column in a group of so many rows."""

    column: TableColumn
    kind: str  # of its numbers
    head: bytes  # what stands before the numbers: the page's header, and the levels of lists
    values: int  # numbers in it
    at: int  # where it begins in its group
    told: bytes  # of its description, as a column chunk, what is the same in every group: all but the last field

    @property
    def size(self) -> int:
        return len(self.head) + int(self.kind[2]) * self.values

    def described(self, group: int) -> bytes:
        """Return the description of the page of a group that begins there in the file."""
        return self.told + _fields((9, _I64, _int(group + self.at)), last=7) + b"\0\0"


def _pages(columns: Sequence[TableColumn], kind: str, rows: int) -> list[_Page]:
    found: list[_Page] = []
    at = 0
    for column in (TableColumn("step", ()), *columns):
        values, of = rows * column.size, kind if found else "<i8"
        levels = _levels(rows, column.size) if column.shape else b""
        size = len(levels) + int(of[2]) * values
        counted = _struct((1, _I32, _int(values)), *((k, _I32, _int(_PLAIN if k == 2 else _RLE)) for k in (2, 3, 4)))
        head = _struct((1, _I32, _int(0)), (2, _I32, _int(size)), (3, _I32, _int(size)), (5, _STRUCT, counted))
        page = _Page(column, of, head + levels, values, at, _told(column, of, values, len(head) + size))
        found.append(page)
        at += page.size
    return found


def _told(column: TableColumn, kind: str, values: int, size: int) -> bytes:
    """Return the beginning of a column chunk, and in it that of its metadata."""
    path = [column.name.encode(), *((b"list", b"element") if column.shape else ())]
    encodings = [_int(_PLAIN), *([_int(_RLE)] if column.shape else [])]
    metadata = _fields(
        (1, _I32, _int(_TYPES[kind])), (2, _LIST, _list(_I32, encodings)),
        (3, _LIST, _list(_BINARY, [_binary(part) for part in path])), (4, _I32, _int(0)),
        (5, _I64, _int(values)), (6, _I64, _int(size)), (7, _I64, _int(size)),
    )  # fmt: skip
    return _fields((2, _I64, _int(0)), (3, _STRUCT, metadata))


def rows_of_group(width: int) -> int:
    """Return how many rows of so many numbers a group has."""
    return max(1, GROUP // width)


def most_pending(width: int, item: int) -> int:
    """Return how many bytes of rows, of numbers of ``item`` bytes, can wait for their group to be full."""
    return rows_of_group(width) * (8 + item * width)


# --- the file ---------------------------------------------------------------------------------------------------------


class GrowingParquet:
    """gradients.parquet of a large model: a column of lists for each parameter, their shapes in the metadata.

    Rows come as steps [K] and numbers [K, C]; those of a group that is not full wait for more.
    """

    name, header = "gradients.parquet", MAGIC

    def __init__(self, columns: Sequence[TableColumn], dtype: Any) -> None:
        """Lay out a file of these columns, whose numbers are all of one dtype, float32 or float64."""
        import numpy as np

        self._columns, self._kind = tuple(columns), np.dtype(dtype).newbyteorder("<").str
        self._width = sum(column.size for column in columns)
        self._capacity = rows_of_group(self._width)
        self._full = _pages(self._columns, self._kind, self._capacity)
        self._size = sum(page.size for page in self._full)
        self._groups, self._waiting = 0, 0  # written; rows of the next that have come
        self._steps, self._group = np.empty(0, np.int64), np.empty(0, np.uint8)
        self._places: list[NDArray[Any]] = []
        self._begin()

    def _begin(self) -> None:
        """Make the memory of a group: it is handed on with it."""
        import numpy as np

        self._waiting, self._group = 0, np.empty(self._size, np.uint8)
        self._places = list(_filled(self._group, self._full, self._capacity))

    def rows(self, steps: NDArray[np.int64], values: Floats) -> Iterable[bytes | memoryview]:
        """Take rows, and yield the groups that they fill, in parts."""
        return self._row_by_row(steps, values) if self._capacity == 1 else self._group_by_group(steps, values)

    def _row_by_row(self, steps: NDArray[np.int64], values: Floats) -> Iterator[bytes | memoryview]:
        """Yield rows as they lie in memory, without a copy, each a group."""
        first, *others = self._full
        for step, row in zip(steps.astype("<i8"), values.astype(self._kind, copy=False), strict=True):
            self._groups += 1
            yield first.head + step.tobytes()
            at = 0
            for page in others:
                yield page.head
                yield row[at : at + page.values].data.cast("B")
                at += page.values

    def _group_by_group(self, steps: NDArray[np.int64], values: Floats) -> Iterator[memoryview]:
        first = 0
        while first < len(steps):
            count = min(len(steps) - first, self._capacity - self._waiting)
            rows, taken = slice(self._waiting, self._waiting + count), slice(first, first + count)
            self._places[0][rows, 0] = steps[taken]
            at = 0
            for place in self._places[1:]:
                place[rows] = values[taken, at : at + place.shape[1]]
                at += place.shape[1]
            self._waiting, first = self._waiting + count, first + count
            if self._waiting == self._capacity:
                group = self._group
                self._groups += 1
                self._begin()
                yield group.data

    def pending(self) -> NDArray[np.uint8]:
        """Return the rows that wait, as bytes, for a checkpoint."""
        import numpy as np

        parts = [np.ascontiguousarray(place[: self._waiting]).view(np.uint8).ravel() for place in self._places]
        return np.concatenate(parts)

    def resume(self, length: int, pending: NDArray[np.uint8]) -> None:
        """Go on with a file of this length and the rows that waited. Raises DamagedError where they do not fit."""
        row = 8 + int(self._kind[2]) * self._width
        groups, rest = divmod(length - len(MAGIC), self._size)
        rows, left = divmod(pending.nbytes, row)
        if pending.dtype.str != "|u1" or pending.ndim != 1 or rest or left or not 0 <= rows < self._capacity:
            raise DamagedError("its rows of gradients.parquet are not those of this run")
        self._groups, self._waiting, at = groups, rows, 0
        for place in self._places:
            size = rows * place.shape[1] * place.dtype.itemsize
            place[:rows] = pending[at : at + size].view(place.dtype).reshape(rows, place.shape[1])
            at += size

    def end(self) -> bytes:
        """Return the rows that wait, as a last group, and the footer: with them the file is whole."""
        import numpy as np

        pages, last = _pages(self._columns, self._kind, self._waiting), b""
        if self._waiting:
            group = np.empty(sum(page.size for page in pages), np.uint8)
            for place, waiting in zip(_filled(group, pages, self._waiting), self._places, strict=True):
                place[:] = waiting[: self._waiting]
            last = group.tobytes()
        footer = self._footer(pages)
        return last + footer + len(footer).to_bytes(4, "little") + MAGIC

    def _footer(self, last: Sequence[_Page]) -> bytes:
        places = [len(MAGIC) + k * self._size for k in range(self._groups + 1)]
        described = _described(self._full, self._capacity, places[:-1])
        if self._waiting:
            described += _described(last, self._waiting, places[-1:])
        shapes = json.dumps({column.name: column.shape for column in self._columns}).encode()
        own = _struct((1, _BINARY, _binary(SHAPES)), (2, _BINARY, _binary(shapes)))
        return _struct(
            (1, _I32, _int(1)), (2, _LIST, _list(_STRUCT, list(self._schema()))),
            (3, _I64, _int(self._groups * self._capacity + self._waiting)), (4, _LIST, _list(_STRUCT, described)),
            (5, _LIST, _list(_STRUCT, [own])), (6, _BINARY, _binary(CREATED_BY)),
        )  # fmt: skip

    def _schema(self) -> Iterator[bytes]:
        """Yield the elements of the schema: all are required, that is 0; a list is a group of a repeated group."""
        yield _struct((4, _BINARY, _binary(b"schema")), (5, _I32, _int(1 + len(self._columns))))
        yield _struct((1, _I32, _int(_TYPES["<i8"])), (3, _I32, _int(0)), (4, _BINARY, _binary(b"step")))
        for column in self._columns:
            number, name = (1, _I32, _int(_TYPES[self._kind])), (4, _BINARY, _binary(column.name.encode()))
            if not column.shape:
                yield _struct(number, (3, _I32, _int(0)), name)
                continue
            yield _struct((3, _I32, _int(0)), name, (5, _I32, _int(1)), (6, _I32, _int(3)))
            yield _struct((3, _I32, _int(2)), (4, _BINARY, _binary(b"list")), (5, _I32, _int(1)))
            yield _struct(number, (3, _I32, _int(0)), (4, _BINARY, _binary(b"element")))


def _described(pages: Sequence[_Page], rows: int, places: Iterable[int]) -> list[bytes]:
    """Return the descriptions of groups of so many rows that begin there in the file."""
    size, count = _int(sum(page.size for page in pages)), _int(rows)
    return [
        _struct(
            (1, _LIST, _list(_STRUCT, [page.described(at) for page in pages])), (2, _I64, size), (3, _I64, count),
            (5, _I64, _int(at)), (6, _I64, size),
        )
        for at in places
    ]  # fmt: skip


def _filled(group: NDArray[np.uint8], pages: Sequence[_Page], rows: int) -> Iterator[NDArray[Any]]:
    """Write the heads of a group's pages, and yield the places of their numbers [rows, n]."""
    import numpy as np

    for page in pages:
        begin = page.at + len(page.head)
        group[page.at : begin] = np.frombuffer(page.head, np.uint8)
        yield group[begin : page.at + page.size].view(page.kind).reshape(rows, page.column.size)
