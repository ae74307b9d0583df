"""Data files: CSV with a header line, and NPZ; read within bounds, and never through a link."""

from __future__ import annotations

import csv
import errno
import hashlib
import itertools
import math
import os
import re
import stat
import warnings
import zipfile
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from gdcli.errors import nearest
from gdcli.zoo.naming import MAX_HINTS, ArgumentError
from gdcli.zoo.table import MAX_INDEX, Floats, Indices, Table, brief, numbered

MAX_FILE_BYTES = 512 * 1024**2
_MAX_COLUMNS = 10_000  # of a CSV file
_COMPARED = 1_000  # of a file's columns with which a misspelled one is compared

_Choose: TypeAlias = Callable[[list[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a file is looked for that is no longer where it was: near a record, known by its content."""

    near: Path
    sha256: str

    def find(self, file: Path) -> Path:
        """Return the file itself, or else one of that content whose path ends alike, below a folder around the record.

        Of a project that was moved as a whole it is the one in the same place. Raises ArgumentError where all that
        stand there have another content.
        """
        if os.path.lexists(file) or not self.sha256:
            return file
        parts = Path(os.path.normpath(file)).parts[1:]
        folders = [self.near, *self.near.parents]
        others = []
        for path in (folder.joinpath(*parts[k:]) for k in range(len(parts)) for folder in folders):
            with suppress(ArgumentError), _opened(path) as stream:  # at most 512 MiB
                if hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256:
                    return path
                others.append(path)
        if others:
            raise ArgumentError(("file",), f"the file has changed: {_shown(others[0])} has another content")
        return file


def read_file(
    path: Path, features: Sequence[str] | None, target: str | Sequence[str], classes: bool, header: bool | None = None
) -> Table:
    """Read a table from a CSV file, or from the named arrays of an NPZ file.

    Without ``features`` every column but the target is one. An array of an NPZ file is ``[n]`` or ``[n, d]``. With
    ``classes`` one target column holds class indices and several hold probabilities. A CSV file is UTF-8 with commas;
    its first line names the columns, unless ``header`` is false: then they are c1, c2, ... .

    Raises:
        ArgumentError: no such file, a link or a device instead of a file, more than 512 MiB or 10,000 columns, a
            damaged file, a missing column, a cell that is not a finite number (with its line and column), columns of
            different length; a CSV file with semicolons or without names, as the likely cause.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise ArgumentError(("file",), f"{brief(path.name)} must end in .csv or .npz")
    targets = [target] if isinstance(target, str) else list(target)
    with _opened(path) as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        columns = read(stream, lambda known: _chosen(known, features, targets), header)
    chosen = [name for name in columns if name not in targets] if features is None else features
    x, x_names = _stacked(columns, chosen)
    y, y_names = _stacked(columns, targets)
    if len(x) != len(y):
        raise ArgumentError(("target",), f"the features have {len(x)} rows and the target has {len(y)}")
    if classes and y.shape[1] == 1:
        labels = _whole(y[:, 0], y_names[0])
        return Table(x, labels, x_names, y_names, int(labels.max()) + 1, sha256)
    return Table(x, y, x_names, y_names, y.shape[1] if classes else 0, sha256)


def _shown(path: Path) -> str:
    """Return a path as messages show it, in ASCII; of a long one the end, which tells files apart."""
    text = ascii(str(path))
    return text if len(text) <= 150 else f"'...{text[-140:]}"


def _opened(path: Path) -> BufferedReader:
    try:
        stream = open(path, "rb", opener=_open_plain)  # noqa: SIM115  the caller closes it
    except FileNotFoundError:
        raise ArgumentError(("file",), f"there is no file {_shown(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        is_link = isinstance(error, OSError) and error.errno == errno.ELOOP
        why = "it is a link" if is_link else getattr(error, "strerror", None) or str(error)
        raise ArgumentError(("file",), f"cannot read {brief(str(path))}: {why}") from None
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= MAX_FILE_BYTES:
        return stream
    stream.close()
    if not stat.S_ISREG(status.st_mode):
        raise ArgumentError(("file",), f"{brief(str(path))} is not a regular file")
    if not status.st_size:
        raise ArgumentError(("file",), f"{brief(path.name)} is empty")
    raise ArgumentError(("file",), f"{brief(path.name)} has {status.st_size:,} bytes, more than {MAX_FILE_BYTES:,}")


def _open_plain(path: str, flags: int) -> int:
    # No link is followed, and a pipe does not block; a system without these flags goes without.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _chosen(known: list[str], features: Sequence[str] | None, targets: list[str]) -> list[str]:
    """Return the names to read, in the file's order for features that are not given."""
    present = set(known)
    if features is None:
        features = [name for name in known if name not in targets]
        if "" in features:
            what = f"column {known.index('') + 1} has no name, like the index that pandas writes beside a table"
            raise ArgumentError(("file",), f"{what}. List the columns to take as features, or name it")
    missing: list[ArgumentError] = []
    for key, wanted in (("features", features), ("target", targets)):
        if not wanted:
            raise ArgumentError((key,), "no column is left for it")
        for place, name in enumerate(wanted):
            if name not in present:
                path = (key, place) if len(wanted) > 1 or key == "features" else (key,)
                hint = nearest(name, known[:_COMPARED]) if len(missing) < MAX_HINTS else ""
                hint = "".join(c if c.isprintable() else "?" for c in hint)[:500]
                missing.append(ArgumentError(path, f"the file has no column {brief(name)}", hint))
    if missing:
        raise ArgumentError.of(missing)
    return list(dict.fromkeys([*features, *targets]))


def _stacked(columns: Mapping[str, Floats], wanted: Sequence[str]) -> tuple[Floats, tuple[str, ...]]:
    """Put columns ``[n]`` or ``[n, d]`` side by side."""
    blocks = [columns[name].reshape(len(columns[name]), -1) for name in wanted]
    lengths = {name: len(block) for name, block in zip(wanted, blocks, strict=True)}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{brief(name)} {length}" for name, length in islice(lengths.items(), 10))
        raise ArgumentError(("file",), f"columns of different length: {counts}")
    names = [name for key, block in zip(wanted, blocks, strict=True) for name in numbered(key, block.shape[1])]
    return np.ascontiguousarray(np.concatenate(blocks, axis=1)), tuple(names)


def _whole(values: Floats, column: str) -> Indices:
    wrong = ~((values >= 0) & (values < MAX_INDEX) & (values == np.floor(values)))  # NaN is wrong too
    if wrong.any():
        row = int(wrong.argmax())
        message = f"row {row + 1}, column {brief(column)}: a class index is a whole number from 0"
        raise ArgumentError(("target",), f"{message} (got {float(values[row])!r})")
    return values.astype(np.int64)


def _read_csv(stream: IO[bytes], choose: _Choose, named: bool | None) -> dict[str, Floats]:
    with TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        try:
            names, above = _header(text, named)
            if named is False:
                text.seek(0)
                above = 0
            wanted = {name: names.index(name) for name in choose(names)}
            below = text.tell()
            try:
                return _all_numbers(text, wanted, len(names))
            except ValueError:  # a quote, or text in a column that may not be wanted: slowly then
                text.seek(below)
            return _cell_by_cell(text, wanted, len(names), above)
        except UnicodeDecodeError:
            raise ArgumentError(("file",), "not UTF-8 text") from None


def _header(text: TextIOWrapper, named: bool | None) -> tuple[list[str], int]:
    """Return the names of the columns, and the lines that they take: a quoted name may hold line breaks."""
    first = text.readline()
    lines = itertools.chain([first], iter(text.readline, ""))
    reader = csv.reader(lines, strict=True, skipinitialspace=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise ArgumentError(("file",), f"line 1: {other_separator(first) or error}") from None
    if len(header) == 1 and (why := other_separator(first)):
        raise ArgumentError(("file",), f"line 1: {why}")
    if len(header) > _MAX_COLUMNS:
        raise ArgumentError(("file",), f"{len(header):,} columns, more than {_MAX_COLUMNS:,}")
    if named is False:
        return [f"c{k + 1}" for k in range(len(header))], 0
    if named is None and seems_nameless(header):
        what = f"line 1 {NAMELESS}. `header: false` names them c1, c2, ...; `header: true` takes the numbers"
        raise ArgumentError(("file",), what)
    last = {name: place for place, name in enumerate(header)}
    twice = [name for place, name in enumerate(header) if last[name] != place]
    if twice:
        raise ArgumentError(("file",), f"line 1: the column {brief(twice[0])} stands twice in the header")
    return header, reader.line_num


def other_separator(line: str) -> str:
    """Return what is wrong with a header that other signs than commas part."""
    found = next((name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if sign in line), "")
    return f"{found} seem to part the columns: write commas, and numbers with decimal points" if found else ""


NAMELESS = "holds numbers, so that the file seems to have no names of columns"


def seems_nameless(header: Sequence[str]) -> bool:
    """Say whether a file's first line holds numbers alone."""
    return bool(header) and all(map(_is_number, header))


def decimal_comma(cell: str) -> str:
    """Return the question to ask where a cell is a number with a comma, else nothing."""
    return "A decimal comma? Write a point" if re.fullmatch(r"\s*[-+]?[0-9]+,[0-9]+\s*", cell) else ""


def _is_number(cell: str) -> bool:
    try:
        return cell.isascii() and float(cell) is not None
    except ValueError:
        return False


def _all_numbers(text: TextIOWrapper, wanted: Mapping[str, int], width: int) -> dict[str, Floats]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of a file without rows, for which the slow way has an error
        table = np.loadtxt(text, delimiter=",", comments=None, ndmin=2)
    if table.shape[1] != width or not len(table) or not np.isfinite(table).all():
        raise ValueError
    return {name: table[:, place] for name, place in wanted.items()}


def _cell_by_cell(text: TextIOWrapper, wanted: Mapping[str, int], width: int, above: int) -> dict[str, Floats]:
    reader = csv.reader(text, strict=True, skipinitialspace=True)
    columns = {name: array("d") for name in wanted}  # a quarter of a list of floats
    try:
        for row in filter(None, reader):
            line = reader.line_num + above
            if len(row) != width:
                raise ArgumentError(("file",), f"line {line} has {len(row)} cells, the header has {width}")
            for name, place in wanted.items():
                columns[name].append(_cell(row[place], line, name))
    except csv.Error as error:
        raise ArgumentError(("file",), f"line {reader.line_num + above}: {error}") from None
    if not all(columns.values()):
        raise ArgumentError(("file",), "no rows below the header")
    return {name: np.array(column) for name, column in columns.items()}


def _cell(cell: str, line: int, column: str) -> float:
    what = f"{brief(cell)} is not a number" if cell.strip() else "the cell is empty"
    with suppress(ValueError):
        if cell.isascii() and "_" not in cell:  # Python's float also takes 1_000 and digits of every script
            if math.isfinite(value := float(cell)):
                return value
            what = f"{brief(cell)} is not a finite number"
    if comma := decimal_comma(cell):
        what += f". {comma}"
    raise ArgumentError(("file",), f"line {line}, column {brief(column)}: {what}")


_PIECE = 1024**2  # bytes read at once; an archive's directory of names is one piece
_DESCRIPTION = re.compile(
    rb"\{'descr': (.+), 'fortran_order': (True|False), 'shape': \(([0-9]*)(?:, ?([0-9]*))?(.*)\), \} *\n", re.DOTALL
)
_MAGIC = b"\x93NUMPY\x01\x00"  # later versions are for descriptions of other than plain numbers


class _InPieces:
    """A file of which no more than 1 MiB is read at once, so that no size which it states makes us allocate more."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size if 0 <= size <= _PIECE else _PIECE + 1)
        if len(content) > _PIECE:
            raise ArgumentError(("file",), f"not a readable NPZ archive (a directory of more than {_PIECE:,} bytes)")
        return content


def _read_npz(stream: IO[bytes], choose: _Choose, named: bool | None) -> dict[str, Floats]:
    try:
        with zipfile.ZipFile(_InPieces(stream)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            arrays = {name: _Array.of(archive, members[name], name) for name in choose(list(members))}
            if 8 * sum(array.count for array in arrays.values()) > MAX_FILE_BYTES:
                raise ArgumentError(("file",), f"the arrays have more than {MAX_FILE_BYTES:,} bytes")
            return {name: array.read(archive) for name, array in arrays.items()}
    except ArgumentError:
        raise
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise nearly anything
        raise ArgumentError(("file",), f"not a readable NPZ archive ({type(error).__name__})") from None


@dataclass(frozen=True, slots=True)
class _Array:
    """One array of an archive, known by its first bytes alone to be of real numbers and of bounded size.

    The description is read as text, not as the Python literal that it is; numpy's own reader would evaluate it, and
    would load pickles where it is told to.
    """

    info: zipfile.ZipInfo
    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    start: int  # of the numbers, behind the description

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @classmethod
    def of(cls, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> _Array:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
            what = f"the array {brief(name)} is packed by another way than numpy's"
            raise ArgumentError(("file",), f"{what}: numpy.savez and savez_compressed write what is read here")
        with archive.open(info) as stream:
            head = stream.read(len(_MAGIC) + 2)
            if head[: len(_MAGIC)] != _MAGIC:
                raise ArgumentError(("file",), f"the array {brief(name)} is not one of plain numbers")
            length = int.from_bytes(head[len(_MAGIC) :], "little")
            match = _DESCRIPTION.fullmatch(stream.read(length))
        if match is None:
            raise ArgumentError(("file",), f"the array {brief(name)} has no description that can be read")
        descr, order, *sizes, more = match.groups()
        kind = descr.decode("latin-1").strip("'")
        if not re.fullmatch(r"[<>=|]?[iuf][0-9]{1,2}", kind):
            what = "object, which would be a pickle" if kind == "|O" else brief(kind)
            raise ArgumentError(("file",), f"the array {brief(name)} holds {what}, not real numbers")
        shape = tuple(int(size) for size in sizes if size)
        if more or not shape or 0 in shape:
            text = (b", ".join(size for size in sizes if size) + more).decode("latin-1")
            raise ArgumentError(("file",), f"the array {brief(name)} has shape {brief(text)}, not [n] or [n, d]")
        array = cls(info, np.dtype(kind), order == b"True", shape, len(head) + length)
        # zipfile reads no more than the stated size, and we allocate by the description: both are bounded, and agree.
        if array.count * array.dtype.itemsize > info.file_size - array.start:
            raise ArgumentError(("file",), f"the array {brief(name)} of shape {shape} is larger than the file may hold")
        if 8 * array.count > MAX_FILE_BYTES:
            what = f"the array {brief(name)} of shape {shape} takes {8 * array.count:,} bytes in float64"
            raise ArgumentError(("file",), f"{what}, more than {MAX_FILE_BYTES:,}")
        return array

    def read(self, archive: zipfile.ZipFile) -> Floats:
        content = memoryview(bytearray(self.count * self.dtype.itemsize))
        with archive.open(self.info) as stream:
            stream.read(self.start)
            for place in range(0, len(content), _PIECE):
                end = min(place + _PIECE, len(content))
                content[place:end] = stream.read(end - place)  # ValueError where the file holds less than it states
        numbers = np.frombuffer(content, self.dtype)
        return numbers.reshape(self.shape, order="F" if self.fortran_order else "C").astype(np.float64, order="C")


_READERS: dict[str, Callable[[IO[bytes], _Choose, bool | None], dict[str, Floats]]] = {
    ".csv": _read_csv,
    ".npz": _read_npz,
}
