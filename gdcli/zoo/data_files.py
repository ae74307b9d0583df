"""Data files: CSV, TSV, NPZ and Parquet; read within bounds, and never through a link."""

from __future__ import annotations

import hashlib
import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedReader, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import nearest
from gdcli.zoo.columns import (
    MAX_WORDS,
    Column,
    RawTable,
    TooManyWordsError,
    Words,
    by_number,
    not_a_word,
    number_of,
    of_targets,
    words_of,
)
from gdcli.zoo.csv_dialect import CsvFormat, CsvLayout, Dialect, Kinds
from gdcli.zoo.csv_table import Choose, read_csv
from gdcli.zoo.naming import MAX_HINTS, ArgumentError
from gdcli.zoo.plain_file import open_plain, path_shown
from gdcli.zoo.table import brief, empty_rows

MAX_FILE_BYTES = 512 * 1024**2
_COMPARED = 1_000  # of a file's columns with which a misspelled one is compared

_Read: TypeAlias = tuple[dict[str, Any], tuple[str, ...], CsvLayout | None]  # by name, what should be known, of a CSV


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
            with suppress(ArgumentError), opened(path) as stream:  # at most 512 MiB
                if hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256:
                    return path
                others.append(path)
        if others:
            raise ArgumentError(("file",), f"the file has changed: {path_shown(others[0])} has another content")
        return file


def read_columns(
    path: Path,
    features: Sequence[str] | None,
    targets: Sequence[str],
    given: CsvFormat | None = None,
    kinds: Kinds | None = None,
    like: Dialect | None = None,
    ignored: Sequence[str] = (),
) -> RawTable:
    """Read columns of a CSV, TSV or Parquet file, or the named arrays of an NPZ file.

    Without ``features`` every column but the targets and the ``ignored`` is one. An array of an NPZ file is ``[n]`` or
    ``[n, d]``. What is not ``given`` of a CSV file is found out; its first line names the columns, unless ``header`` is
    false: then they are c1, c2, ... . ``kinds`` says which columns are words or numbers whatever their cells look like,
    ``like`` which signs a CSV file has that does not show them.

    Raises:
        ArgumentError: no such file, a link or a device instead of a file, more than 512 MiB or 10,000 columns, a
            damaged file, a missing column, columns of different length.
        BadCellsError: cells that are not what their column holds, with line and column.
        MachineError: a Parquet file without pyarrow.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise ArgumentError(("file",), f"{brief(path.name)} must end in {_ENDINGS}")
    with opened(path) as stream, ThreadPoolExecutor(1) as pool:
        digest = pool.submit(_sha256, os.dup(stream.fileno()))  # while the file is read
        with of_targets(targets):
            columns, notes, layout = read(
                stream,
                lambda known: _chosen(known, features, targets, ignored),
                given or CsvFormat(),
                kinds or Kinds(),
                like,
            )
        sha256 = digest.result()
    chosen = [name for name in columns if name not in targets] if features is None else features
    x, y = (_length({name: columns[name] for name in names}) for names in (chosen, targets))
    if x != y:
        raise ArgumentError(("target",), f"the features have {x} rows and the target has {y}")
    raw = RawTable(columns, tuple(chosen), tuple(targets), sha256, notes)
    if layout is None:
        return raw
    signs = layout.dialect
    return replace(raw, separator=signs.separator, decimal=signs.decimal, lines=partial(_lines_of, path, layout))


def _lines_of(path: Path, layout: CsvLayout, rows: Collection[int]) -> dict[int, int]:
    with opened(path) as stream, TextIOWrapper(stream, layout.encoding, newline="") as text:
        return layout.lines_of(text, rows)


def read_open(stream: BufferedReader, ending: str, choose: Choose, given: CsvFormat | None = None) -> dict[str, Any]:
    """Return the columns of an open NPZ or Parquet file that ``choose`` picks of all names. For errors see above."""
    return _READERS[ending](stream, choose, given or CsvFormat(), Kinds(), None)[0]


def _length(columns: Mapping[str, Column]) -> int:
    """Return the length of columns. Raises ArgumentError where they differ."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{brief(name)} {length}" for name, length in islice(lengths.items(), 10))
        raise ArgumentError(("file",), f"columns of different length: {counts}")
    return next(iter(lengths.values()))


def opened(path: Path) -> BufferedReader:
    """Open a file of data for reading: no link, no device, not empty, within bounds. Raises ArgumentError."""
    return open_plain(path, MAX_FILE_BYTES)


def _chosen(
    known: list[str], features: Sequence[str] | None, targets: Sequence[str], ignored: Sequence[str]
) -> list[str]:
    """Return the names to read, in the file's order for features that are not given."""
    present = set(known)
    if features is None:
        left_out = {*targets, *ignored}
        features = [name for name in known if name not in left_out]
        if "" in features:
            what = f"column {known.index('') + 1} has no name, like the index that pandas writes beside a table"
            raise ArgumentError(("file",), f"{what}. data.ignore: '' leaves it out")
    missing: list[ArgumentError] = []
    for key, wanted in (("features", features), ("target", targets), ("ignore", ignored)):
        for place, name in enumerate(wanted):
            if name not in present:
                path = (key, place) if len(wanted) > 1 or key == "features" else (key,)
                hint = nearest(name, known[:_COMPARED]) if len(missing) < MAX_HINTS else ""
                hint = "".join(c if c.isprintable() else "?" for c in hint)[:500]
                missing.append(ArgumentError(path, f"the file has no column {brief(name)}", hint))
    if missing:
        raise ArgumentError.of(missing)
    if not features and ignored:
        raise ArgumentError(("ignore",), "no column is left to predict the target from")
    for key, wanted in (("features", features), ("target", targets)):
        if not wanted:
            raise ArgumentError((key,), "no column is left for it")
    return list(dict.fromkeys([*features, *targets]))


def _sha256(descriptor: int) -> str:
    """Return the sha256 of an open file, from its start, wherever others are reading it; close the descriptor."""
    found, at = hashlib.sha256(), 0
    try:
        while piece := os.pread(descriptor, _PIECE, at):
            found.update(piece)
            at += len(piece)
    finally:
        os.close(descriptor)
    return found.hexdigest()


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


def _read_npz(stream: BufferedReader, choose: Choose, given: CsvFormat, kinds: Kinds, like: Dialect | None) -> _Read:
    try:
        with zipfile.ZipFile(_InPieces(stream)) as archive:
            infos = archive.infolist()
            counts = Counter(info.filename.removesuffix(".npy") for info in infos)
            members = {info.filename.removesuffix(".npy"): info for info in infos}
            wanted = choose(list(members))
            if twice := [name for name in wanted if counts[name] > 1]:
                raise ArgumentError(("file",), f"the array {brief(twice[0])} stands twice in the file")
            arrays = {name: _Array.of(archive, members[name], name) for name in wanted}
            if 8 * sum(array.count for array in arrays.values()) > MAX_FILE_BYTES:
                raise ArgumentError(("file",), f"the arrays have more than {MAX_FILE_BYTES:,} bytes")
            return {name: array.read(archive, name) for name, array in arrays.items()}, (), None
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
        of_words = re.fullmatch(r"[<>=|]?U[0-9]{1,4}", kind) is not None
        if not of_words and not re.fullmatch(r"[<>=|]?[iuf][0-9]{1,2}", kind):
            what = "object, which would be a pickle" if kind == "|O" else brief(kind)
            raise ArgumentError(("file",), f"the array {brief(name)} holds {what}, not real numbers or text")
        shape = tuple(int(size) for size in sizes if size)
        if more or not shape or 0 in shape:
            text = (b", ".join(size for size in sizes if size) + more).decode("latin-1")
            hint = ""
            if more and len(shape) > 1 and 0 not in shape:
                hint = "Rows are flat: reshape it to [n, d]; data.shape gives the model's rows their shape"
            raise ArgumentError(("file",), f"the array {brief(name)} has shape {brief(text)}, not [n] or [n, d]", hint)
        if of_words and len(shape) > 1:
            raise ArgumentError(("file",), f"the array {brief(name)} of text has shape {shape}, not [n]")
        array = cls(info, np.dtype(kind), order == b"True", shape, len(head) + length)
        # zipfile reads no more than the stated size, and we allocate by the description: both are bounded, and agree.
        if array.count * array.dtype.itemsize > info.file_size - array.start:
            raise ArgumentError(("file",), f"the array {brief(name)} of shape {shape} is larger than the file may hold")
        if (size := array.count * max(8, array.dtype.itemsize)) > MAX_FILE_BYTES:
            unit = "as text" if of_words else "in float64"
            what = f"the array {brief(name)} of shape {shape} takes {size:,} bytes {unit}"
            raise ArgumentError(("file",), f"{what}, more than {MAX_FILE_BYTES:,}")
        return array

    def read(self, archive: zipfile.ZipFile, name: str) -> Column:
        if self.dtype.kind == "U":
            return _words(np.concatenate([*self._pieces(archive)]), name)
        if len(self.shape) == 2 and self.dtype.kind == "f" and self.dtype.itemsize == 4 and not self.fortran_order:
            array = empty_rows(self.shape, np.float32)
        else:
            array = np.empty(self.shape, np.float64, order="F" if self.fortran_order else "C")
        flat, end, is_finite = array.ravel(order="K"), 0, True  # as they stand in the file, no copy
        for piece in self._pieces(archive):
            begin, end = end, end + len(piece)
            flat[begin:end] = piece
            is_finite &= not np.isinf(flat[begin:end]).any()
        if not is_finite:
            first = np.argwhere(np.isinf(array))[0].tolist()
            column = name if len(first) == 1 else f"{name}[{first[1]}]"
            raise ArgumentError(("file",), f"{by_number(first[0])}, column {brief(column)}: not a finite number")
        return np.ascontiguousarray(array)

    def _pieces(self, archive: zipfile.ZipFile) -> Iterator[NDArray[Any]]:
        """Yield the numbers or texts, some at a time. Raises ValueError where the file holds less than it states."""
        size = self.dtype.itemsize
        most = max(1, _PIECE // size)
        with archive.open(self.info) as stream:
            stream.read(self.start)
            for place in range(0, self.count, most):
                count = min(most, self.count - place)
                content = stream.read(count * size)
                if len(content) != count * size:
                    raise ValueError("the file holds less than it states")
                yield np.frombuffer(content, self.dtype)


def _words(texts: NDArray[Any], name: str) -> Words:
    """Return an array of text [n] as words. Raises ArgumentError for too many, and for what is no word."""
    values, codes = np.unique(texts, return_inverse=True)
    if len(values) > MAX_WORDS:
        raise TooManyWordsError(name, len(values))
    words = words_of(values.tolist())
    for place, value in enumerate(words.values):
        if number_of(value) is None and (what := not_a_word(value)):
            row = int((words.codes[codes] == place).argmax())
            raise ArgumentError(("file",), f"{by_number(row)}, column {brief(name)}: {what}")
    return Words(words.codes[codes], words.values)


def _read_tsv(stream: BufferedReader, choose: Choose, given: CsvFormat, kinds: Kinds, like: Dialect | None) -> _Read:
    return read_csv(stream, choose, given, kinds, like, tabs=True)


def _read_parquet(
    stream: BufferedReader, choose: Choose, given: CsvFormat, kinds: Kinds, like: Dialect | None
) -> _Read:
    from gdcli.zoo.parquet_file import read_parquet

    return read_parquet(stream, choose, MAX_FILE_BYTES), (), None


_READERS: dict[str, Callable[[BufferedReader, Choose, CsvFormat, Kinds, Dialect | None], _Read]] = {
    ".csv": read_csv,
    ".tsv": _read_tsv,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
}
TEXT_FILES = (".csv", ".tsv")
"""Endings of the files that have a header, a separator and a decimal sign."""
ENDINGS = tuple(_READERS)
"""Of all files of a table."""
_ENDINGS = ".csv, .tsv, .npz or .parquet"
