"""A CSV of numbers of any length read in a bounded time: all its rows, or of a long one rows evenly spread over it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.files import existing

WHOLE_BYTES = 2**18  # bytes of a file that is read whole
MOST_BYTES = 2**22  # that are read of another
MOST_ROWS = 1_500


class SpreadRows:
    """A table as `NumberColumns` reads it, of a long one the first row and others evenly spread by their bytes."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises DamagedError as `NumberColumns` does."""
        self.path, self._whole = path, NumberColumns(path)
        self.header = self._whole.header
        self.is_spread = False  # whether rows were left out by the last reading

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield pairs of number and line. Raises DamagedError as `NumberColumns` does, for a file that is read whole.

        Of a longer one what is no row of numbers is left out.
        """
        with existing(self.path) as stream:
            size = os.fstat(stream.fileno()).st_size
            self.is_spread = size > WHOLE_BYTES
            if self.is_spread:
                yield from self._spread(stream.fileno(), size)
                return
        yield from self._whole

    def _spread(self, file: int, size: int) -> Iterator[tuple[int, bytes]]:
        start = len(os.pread(file, 2**16, 0).partition(b"\n")[0]) + 1
        room = 3 * max(2**7, len(os.pread(file, 2**16, start).partition(b"\n")[0]))  # of a line and the end of another
        count = max(2, min(MOST_ROWS, MOST_BYTES // room))
        commas, before = len(self.header) - 1, -1
        for k in range(count):
            place = start + k * (size - start) // count - (k > 0)
            if k == count - 1:
                place = max(start - 1, size - 2 * room)  # the last whole line is in there
            lines = os.pread(file, room * (2 if k == count - 1 else 1), place).split(b"\n")
            lines = lines[:-1] if k == 0 else lines[1:-1]
            line = lines[-1 if k == count - 1 else 0] if lines else b""
            number = line.partition(b",")[0]
            if line.count(b",") == commas and number.isdigit() and int(number) > before:
                before = int(number)
                yield before, line
