"""Data sources: inline lists, files, generators, and the data sets inside scikit-learn's wheel; numpy only.

A generator is a function ``(rng, noise_rng, *, ...) -> Table`` with its name in `GENERATORS`; its keyword-only
arguments are its YAML keys. Points come from ``rng`` and noise from ``noise_rng``, so that the points of a seed are the
same with and without noise.
"""

from __future__ import annotations

import csv
import errno
import inspect
import math
import os
import re
import stat
import warnings
import zipfile
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeAlias, get_args

import numpy as np
from annotated_types import Ge, Gt, Len
from numpy.random import Generator
from numpy.typing import NDArray

from gdcli.errors import MachineError, nearest

MAX_FILE_BYTES = 512 * 1024**2
_MAX_INDEX = 2**53  # above it a float64 is no longer one whole number
_MAX_COLUMNS = 10_000  # of a CSV file

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]


class DataError(ValueError):
    """Data that cannot be used: the path of keys and indices below ``data``, and what is wrong there."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(path, message)  # both, so that the error survives pickling between processes
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of features and their targets.

    ``x`` is ``[n, d]``. ``y`` is ``[n, k]`` numbers, or ``[n]`` class indices. ``classes`` is 0 unless y stands for
    classes: indices below it, or probabilities ``[n, classes]``.
    """

    x: Floats
    y: Floats | Indices
    features: tuple[str, ...]
    targets: tuple[str, ...]
    classes: int = 0


# --- random numbers -------------------------------------------------------------------------------------------------

Purpose: TypeAlias = Literal["data", "noise", "shuffle", "split"]
_TAGS: dict[Purpose, int] = {"data": 1, "noise": 2, "shuffle": 3, "split": 4}


def generator(seed: int, purpose: Purpose) -> Generator:
    """Return the generator of one purpose: PCG64 seeded by ``SeedSequence([seed, tag])``.

    Tags: data 1, noise 2, shuffle 3, split 4. So the purposes do not disturb each other, nor torch's generator, which
    draws the weights.

    >>> int(generator(0, "data").integers(100)), int(generator(0, "noise").integers(100))
    (52, 97)
    """
    return Generator(np.random.PCG64(np.random.SeedSequence([seed, _TAGS[purpose]])))


# --- generators -----------------------------------------------------------------------------------------------------

Count: TypeAlias = Annotated[int, Ge(1)]
Noise: TypeAlias = Annotated[float, Ge(0)]
Distribution: TypeAlias = Annotated[dict[Literal["uniform", "normal"], tuple[float, float]], Len(1, 1)]

_STANDARD_NORMAL: Distribution = {"normal": (0.0, 1.0)}
_UNIT: Distribution = {"uniform": (0.0, 1.0)}
_SYMMETRIC: Distribution = {"uniform": (-1.0, 1.0)}


def _drawn(rng: Generator, x: Distribution, shape: tuple[int, int]) -> Floats:
    """Draw x: ``{"uniform": [low, high]}`` or ``{"normal": [mean, standard deviation]}``."""
    if len(x) != 1:
        raise ValueError("x takes one distribution: {uniform: [low, high]} or {normal: [mean, deviation]}")
    ((name, (first, second)),) = x.items()
    if name == "uniform":
        if first > second:
            raise ValueError(f"x: uniform needs low <= high (got {first}, {second})")
        return rng.uniform(first, second, shape)
    if second < 0:
        raise ValueError(f"x: normal needs a deviation >= 0 (got {second})")
    return rng.normal(first, second, shape)


def _regression(x: Floats, y: Floats, noise: float, noise_rng: Generator) -> Table:
    noisy = y + noise * noise_rng.standard_normal(len(y))  # [n]
    return Table(x, noisy[:, None], _numbered("x", x.shape[1]), ("y",))


def _classification(points: Floats, labels: Indices, classes: int, noise: float, noise_rng: Generator) -> Table:
    noisy = points + noise * noise_rng.standard_normal(points.shape)  # [n, d]
    return Table(noisy, labels, _numbered("x", points.shape[1]), ("y",), classes)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return (name,) if count == 1 else tuple(f"{name}[{column}]" for column in range(count))


def _labels(n: int, classes: int) -> Indices:
    """Classes in turn, so that each has its share and no batch in document order holds one class alone."""
    return np.arange(n, dtype=np.int64) % classes


def linear(
    rng: Generator,
    noise_rng: Generator,
    *,
    weights: Annotated[list[float], Len(1)],
    n: Count = 100,
    bias: float = 0.0,
    noise: Noise = 0.0,
    x: Distribution = _STANDARD_NORMAL,
) -> Table:
    """A plane: y = w1 x1 + ... + wd xd + bias + noise · N(0, 1).

    x is ``[n, d]`` with d the number of weights, y ``[n, 1]``.

    Raises:
        ValueError: a distribution of x that cannot be.

    >>> table = linear(generator(0, "data"), generator(0, "noise"), weights=[3.0], bias=4.0, n=5)
    >>> bool((table.y == 3 * table.x + 4).all())
    True
    """
    points = _drawn(rng, x, (n, len(weights)))
    y = np.zeros(n)
    for column, weight in enumerate(weights):  # a matrix product would round by the machine's instruction set
        y += weight * points[:, column]
    return _regression(points, y + bias, noise, noise_rng)


def polynomial(
    rng: Generator,
    noise_rng: Generator,
    *,
    coefficients: Annotated[list[float], Len(1)],
    n: Count = 100,
    noise: Noise = 0.0,
    x: Distribution = _SYMMETRIC,
) -> Table:
    """A polynomial: y = c0 + c1 x + c2 x² + ... + noise · N(0, 1), by Horner's rule.

    x and y are ``[n, 1]``; coefficients start with the constant.

    Raises:
        ValueError: a distribution of x that cannot be.
    """
    points = _drawn(rng, x, (n, 1))
    y = np.zeros(n)
    for coefficient in reversed(coefficients):
        y = y * points[:, 0] + coefficient
    return _regression(points, y, noise, noise_rng)


def sine(
    rng: Generator,
    noise_rng: Generator,
    *,
    n: Count = 100,
    amplitude: float = 1.0,
    frequency: float = 1.0,
    phase: float = 0.0,
    noise: Noise = 0.0,
    x: Distribution = _UNIT,
) -> Table:
    """A wave: y = amplitude · sin(2π · frequency · x + phase) + noise · N(0, 1).

    x and y are ``[n, 1]``; frequency in periods per unit of x, phase in radians.

    Raises:
        ValueError: a distribution of x that cannot be.
    """
    points = _drawn(rng, x, (n, 1))
    y = amplitude * np.sin(2 * math.pi * frequency * points[:, 0] + phase)
    return _regression(points, y, noise, noise_rng)


def blobs(
    rng: Generator,
    noise_rng: Generator,
    *,
    n: Count = 300,
    classes: Annotated[int, Ge(2)] = 3,
    features: Count = 2,
    spread: Noise = 1.0,
    box: Annotated[float, Gt(0)] = 10.0,
) -> Table:
    """Round clouds: x = centre of the class + spread · N(0, 1), the centres uniform in [-box, box].

    x is ``[n, features]``, y ``[n]`` class indices in turn.
    """
    centres = rng.uniform(-box, box, (classes, features))
    labels = _labels(n, classes)
    return _classification(centres[labels], labels, classes, spread, noise_rng)


def spirals(
    rng: Generator,
    noise_rng: Generator,
    *,
    n: Count = 300,
    classes: Annotated[int, Ge(2)] = 2,
    turns: Annotated[float, Gt(0)] = 1.0,
    noise: Noise = 0.0,
) -> Table:
    """Spiral arms: r uniform in [0, 1), angle = 2π (turns · r + class / classes), x = r (cos, sin) + noise · N(0, 1).

    x is ``[n, 2]``, y ``[n]`` class indices in turn.
    """
    labels = _labels(n, classes)
    radius = rng.random(n)
    angle = 2 * math.pi * (turns * radius + labels / classes)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return _classification(points, labels, classes, noise, noise_rng)


def moons(rng: Generator, noise_rng: Generator, *, n: Count = 200, noise: Noise = 0.0) -> Table:
    """Two half circles that interlock: (cos t, sin t) and (1 - cos t, 1/2 - sin t), t uniform in [0, π).

    x is ``[n, 2]``, y ``[n]`` class indices in turn.
    """
    labels = _labels(n, 2)
    t = math.pi * rng.random(n)
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    lower = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=1)
    return _classification(np.where(labels[:, None] == 0, upper, lower), labels, 2, noise, noise_rng)


def xor(rng: Generator, noise_rng: Generator, *, n: Count = 4, noise: Noise = 0.0) -> Table:
    """Exclusive or: x = (0, 0), (0, 1), (1, 0), (1, 1) in turn + noise · N(0, 1), y = 1 where the two bits differ.

    x is ``[n, 2]``, y ``[n]`` class indices.
    """
    corner = np.arange(n, dtype=np.int64) % 4
    bits = np.stack([corner // 2, corner % 2], axis=1)
    return _classification(bits.astype(np.float64), bits[:, 0] ^ bits[:, 1], 2, noise, noise_rng)


GENERATORS: dict[str, Callable[..., Table]] = {
    "blobs": blobs,
    "linear": linear,
    "moons": moons,
    "polynomial": polynomial,
    "sine": sine,
    "spirals": spirals,
    "xor": xor,
}


def points(kind: str, arguments: Mapping[str, Any]) -> int:
    """Return how many scalars a generator makes at most, by arithmetic on its arguments; nothing is allocated.

    n rows of as many columns as there are weights or ``features`` (two where neither is an argument), and a target;
    for blobs the centres too.

    >>> points("linear", {"n": 1000, "weights": [2, -3.4]})
    3000
    """
    parameters = inspect.signature(GENERATORS[kind]).parameters
    settings = {name: parameter.default for name, parameter in parameters.items()} | dict(arguments)
    columns = len(settings["weights"]) if "weights" in settings else settings.get("features", 2)
    centres = settings["classes"] * columns if "features" in settings else 0
    return int(settings["n"] * (columns + 1) + centres)


# --- inline ---------------------------------------------------------------------------------------------------------


def inline(x: list[Any], y: list[Any], classes: bool) -> Table:
    """Make a table of nested lists: numbers are ``[n, 1]``, rows ``[n, d]``.

    With ``classes``, integers in y are class indices ``[n]`` and rows in y probabilities ``[n, k]``.

    Raises:
        DataError: no data, ragged rows, deeper nesting, something that is no number, a negative class index, x and y of
            different length; its path leads to the row or number.

    >>> inline([1, 2], [2, 4], classes=False).x.shape
    (2, 1)
    """
    points = _matrix(x, "x")
    if classes and isinstance(y, list) and y and not isinstance(y[0], list):
        target: Floats | Indices = _indices(y)
        count = int(target.max()) + 1
    else:
        target = _matrix(y, "y")
        count = target.shape[1] if classes else 0
    if len(points) != len(target):
        raise DataError(("y",), f"x has {len(points)} rows and y has {len(target)}")
    names = _numbered("y", target.shape[1] if target.ndim == 2 else 1)
    return Table(points, target, _numbered("x", points.shape[1]), names, count)


def _matrix(rows: list[Any], key: str) -> Floats:
    if not isinstance(rows, list) or not rows:
        raise DataError((key,), "needs a list with at least one number or row")
    flat = not isinstance(rows[0], list)
    if flat:
        return np.array([[_number(value, (key, place))] for place, value in enumerate(rows)])
    width = len(rows[0])
    return np.array([_row(row, width, (key, place)) for place, row in enumerate(rows)])


def _row(row: Any, width: int, path: tuple[str | int, ...]) -> list[float]:
    if not isinstance(row, list):
        raise DataError(path, "a number among rows")
    if not row:
        raise DataError(path, "an empty row")
    if len(row) != width:
        raise DataError(path, f"a row of {len(row)} numbers where the first has {width}")
    return [_number(value, (*path, place)) for place, value in enumerate(row)]


def _number(value: Any, path: tuple[str | int, ...]) -> float:
    if isinstance(value, list):
        raise DataError(path, "a list where a number belongs")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(path, f"not a number (got {_shown(value)})")
    try:
        return float(value)
    except OverflowError:
        raise DataError(path, "a number too large for float64") from None


def _indices(values: list[Any]) -> Indices:
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int):
            raise DataError(("y", place), f"a class index is a whole number (got {_shown(value)})")
        if not 0 <= value < _MAX_INDEX:
            raise DataError(("y", place), "a class index counts from 0 and is below 2**53")
    return np.array(values, dtype=np.int64)


def _shown(value: Any) -> str:
    text = ascii(value)  # no byte of a file may reach the terminal as a control character
    return text if len(text) <= 40 else text[:37] + "..."


# --- files ----------------------------------------------------------------------------------------------------------

_Choose: TypeAlias = Callable[[list[str]], list[str]]


def read_file(path: Path, features: list[str] | None, target: str | list[str], classes: bool) -> Table:
    """Read a table from a CSV file with a header line, or from the named arrays of an NPZ file.

    Without ``features`` every column but the target is one. An array of an NPZ file is ``[n]`` or ``[n, d]``. With
    ``classes`` one target column holds class indices and several hold probabilities. A CSV file is UTF-8 with commas.

    Raises:
        DataError: no such file, a link or a device instead of a file, more than 512 MiB or 10,000 columns, a damaged
            file, a missing column, a cell that is not a number (with its line and column), columns of different length.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(("file",), f"{_shown(path.name)} must end in .csv or .npz")
    targets = [target] if isinstance(target, str) else list(target)
    with _opened(path) as stream:
        columns = read(stream, lambda known: _chosen(known, features, targets))
    chosen = [name for name in columns if name not in targets] if features is None else features
    x, x_names = _stacked(columns, chosen)
    y, y_names = _stacked(columns, targets)
    if len(x) != len(y):
        raise DataError(("target",), f"the features have {len(x)} rows and the target has {len(y)}")
    if classes and y.shape[1] == 1:
        labels = _whole(y[:, 0], y_names[0])
        return Table(x, labels, x_names, y_names, int(labels.max()) + 1)
    return Table(x, y, x_names, y_names, y.shape[1] if classes else 0)


def _opened(path: Path) -> IO[bytes]:
    try:
        stream = open(path, "rb", opener=_open_plain)  # noqa: SIM115  the caller closes it
    except FileNotFoundError:
        raise DataError(("file",), f"there is no file {_shown(str(path))}") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        is_link = isinstance(error, OSError) and error.errno == errno.ELOOP
        why = "it is a link" if is_link else getattr(error, "strerror", None) or str(error)
        raise DataError(("file",), f"cannot read {_shown(str(path))}: {why}") from None
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= MAX_FILE_BYTES:
        return stream
    stream.close()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(("file",), f"{_shown(str(path))} is not a regular file")
    if not status.st_size:
        raise DataError(("file",), f"{_shown(path.name)} is empty")
    raise DataError(("file",), f"{_shown(path.name)} has {status.st_size:,} bytes, more than {MAX_FILE_BYTES:,}")


def _open_plain(path: str, flags: int) -> int:
    # No link is followed, and a pipe does not block; a system without these flags goes without.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _chosen(known: list[str], features: list[str] | None, targets: list[str]) -> list[str]:
    """Return the names to read, in the file's order for features that are not given."""
    present = set(known)
    if features is None:
        features = [name for name in known if name not in targets]
    for key, wanted in (("target", targets), ("features", features)):
        if not wanted:
            raise DataError((key,), "no column is left for it")
        for place, name in enumerate(wanted):
            if name not in present:
                path = (key, place) if len(wanted) > 1 or key == "features" else (key,)
                hint = nearest(name, known)
                raise DataError(path, f"the file has no column {_shown(name)}. {_printable(hint)}")
    return list(dict.fromkeys([*features, *targets]))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:500]


def _stacked(columns: Mapping[str, Floats], wanted: Sequence[str]) -> tuple[Floats, tuple[str, ...]]:
    """Put columns ``[n]`` or ``[n, d]`` side by side."""
    blocks = [columns[name].reshape(len(columns[name]), -1) for name in wanted]
    lengths = {name: len(block) for name, block in zip(wanted, blocks, strict=True)}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{_shown(name)} {length}" for name, length in islice(lengths.items(), 10))
        raise DataError(("file",), f"columns of different length: {counts}")
    names = [name for key, block in zip(wanted, blocks, strict=True) for name in _numbered(key, block.shape[1])]
    return np.ascontiguousarray(np.concatenate(blocks, axis=1)), tuple(names)


def _whole(values: Floats, column: str) -> Indices:
    wrong = ~((values >= 0) & (values < _MAX_INDEX) & (values == np.floor(values)))  # NaN is wrong too
    if wrong.any():
        row = int(wrong.argmax())
        message = f"row {row + 1}, column {_shown(column)}: a class index is a whole number from 0"
        raise DataError(("target",), f"{message} (got {float(values[row])!r})")
    return values.astype(np.int64)


def _read_csv(stream: IO[bytes], choose: _Choose) -> dict[str, Floats]:
    with TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        try:
            header = _header(text.readline())
            wanted = {name: header.index(name) for name in choose(header)}
            below = text.tell()
            try:
                return _all_numbers(text, wanted, len(header))
            except ValueError:  # a quote, or text in a column that may not be wanted: slowly then
                text.seek(below)
            return _cell_by_cell(text, wanted, len(header))
        except UnicodeDecodeError:
            raise DataError(("file",), "not UTF-8 text") from None


def _header(line: str) -> list[str]:
    try:
        header = [cell.strip() for cell in next(csv.reader([line], strict=True, skipinitialspace=True), [])]
    except csv.Error as error:
        raise DataError(("file",), f"line 1: {error}") from None
    if len(header) > _MAX_COLUMNS:
        raise DataError(("file",), f"{len(header):,} columns, more than {_MAX_COLUMNS:,}")
    last = {name: place for place, name in enumerate(header)}
    twice = [name for place, name in enumerate(header) if last[name] != place]
    if twice:
        raise DataError(("file",), f"line 1: the column {_shown(twice[0])} stands twice in the header")
    return header


def _all_numbers(text: TextIOWrapper, wanted: Mapping[str, int], width: int) -> dict[str, Floats]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of a file without rows, for which the slow way has an error
        table = np.loadtxt(text, delimiter=",", comments=None, ndmin=2)
    if table.shape[1] != width or not len(table):
        raise ValueError
    return {name: table[:, place] for name, place in wanted.items()}


def _cell_by_cell(text: TextIOWrapper, wanted: Mapping[str, int], width: int) -> dict[str, Floats]:
    reader = csv.reader(text, strict=True, skipinitialspace=True)
    columns = {name: array("d") for name in wanted}  # a quarter of a list of floats
    try:
        for row in filter(None, reader):
            line = reader.line_num + 1  # the header is line 1
            if len(row) != width:
                raise DataError(("file",), f"line {line} has {len(row)} cells, the header has {width}")
            for name, place in wanted.items():
                columns[name].append(_cell(row[place], line, name))
    except csv.Error as error:
        raise DataError(("file",), f"line {reader.line_num + 1}: {error}") from None
    if not all(columns.values()):
        raise DataError(("file",), "no rows below the header")
    return {name: np.array(column) for name, column in columns.items()}


def _cell(cell: str, line: int, column: str) -> float:
    try:
        if cell.isascii() and "_" not in cell:  # Python's float also takes 1_000 and digits of every script
            return float(cell)
    except ValueError:
        pass
    raise DataError(("file",), f"line {line}, column {_shown(column)}: {_shown(cell)} is not a number")


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
            raise DataError(("file",), f"not a readable NPZ archive (a directory of more than {_PIECE:,} bytes)")
        return content


def _read_npz(stream: IO[bytes], choose: _Choose) -> dict[str, Floats]:
    try:
        with zipfile.ZipFile(_InPieces(stream)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            arrays = {name: _Array.of(archive, members[name], name) for name in choose(list(members))}
            if 8 * sum(array.count for array in arrays.values()) > MAX_FILE_BYTES:
                raise DataError(("file",), f"the arrays have more than {MAX_FILE_BYTES:,} bytes")
            return {name: array.read(archive) for name, array in arrays.items()}
    except DataError:
        raise
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise nearly anything
        raise DataError(("file",), f"not a readable NPZ archive ({type(error).__name__})") from None


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
        with archive.open(info) as stream:
            head = stream.read(len(_MAGIC) + 2)
            if head[: len(_MAGIC)] != _MAGIC:
                raise DataError(("file",), f"the array {_shown(name)} is not one of plain numbers")
            length = int.from_bytes(head[len(_MAGIC) :], "little")
            match = _DESCRIPTION.fullmatch(stream.read(length))
        if match is None:
            raise DataError(("file",), f"the array {_shown(name)} has no description that can be read")
        descr, order, *sizes, more = match.groups()
        kind = descr.decode("latin-1").strip("'")
        if not re.fullmatch(r"[<>=|]?[iuf][0-9]{1,2}", kind):
            what = "object, which would be a pickle" if kind == "|O" else _shown(kind)
            raise DataError(("file",), f"the array {_shown(name)} holds {what}, not real numbers")
        shape = tuple(int(size) for size in sizes if size)
        if more or not shape or 0 in shape:
            text = (b", ".join(size for size in sizes if size) + more).decode("latin-1")
            raise DataError(("file",), f"the array {_shown(name)} has shape {_shown(text)}, not [n] or [n, d]")
        array = cls(info, np.dtype(kind), order == b"True", shape, len(head) + length)
        # zipfile reads no more than the stated size, and we allocate by the description: both are bounded, and agree.
        if 8 * array.count > MAX_FILE_BYTES or array.count * array.dtype.itemsize > info.file_size - array.start:
            raise DataError(("file",), f"the array {_shown(name)} of shape {shape} is larger than the file may hold")
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


_READERS: dict[str, Callable[[IO[bytes], _Choose], dict[str, Floats]]] = {".csv": _read_csv, ".npz": _read_npz}


# --- data sets ------------------------------------------------------------------------------------------------------

DatasetName: TypeAlias = Literal["iris", "wine", "digits", "breast_cancer", "diabetes"]
DATASETS: tuple[DatasetName, ...] = get_args(DatasetName)


def dataset(name: DatasetName) -> Table:
    """Return one of the data sets inside scikit-learn's wheel; nothing is downloaded.

    iris 150 × 4, wine 178 × 13, digits 1797 × 64, breast_cancer 569 × 30 with class indices ``[n]``; diabetes 442 × 10
    with a number ``[n, 1]``.

    Raises:
        MachineError: scikit-learn is not installed.

    https://scikit-learn.org/stable/datasets/toy_dataset.html
    """
    try:
        from sklearn import datasets  # type: ignore[import-untyped]  # scikit-learn ships no types
    except ImportError:
        command = 'pip install "gradient-descent-cli[datasets]"'
        raise MachineError(f"the data set {name} needs scikit-learn: {command}") from None
    bunch = getattr(datasets, f"load_{name}")()
    x = np.ascontiguousarray(bunch.data, dtype=np.float64)
    features = tuple(map(str, bunch.feature_names))
    if name == "diabetes":
        return Table(x, np.asarray(bunch.target, dtype=np.float64)[:, None], features, ("progression",))
    return Table(x, np.asarray(bunch.target, dtype=np.int64), features, ("class",), len(bunch.target_names))


# --- preparation ----------------------------------------------------------------------------------------------------


def as_numbers(table: Table) -> Table:
    """Return class indices as a column of numbers ``[n, 1]``, for the losses that compare numbers (mse, bce)."""
    return replace(table, y=table.y.reshape(len(table.y), -1).astype(np.float64), classes=0)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Mean and standard deviation of each feature, both ``[d]``."""

    mean: Floats
    deviation: Floats


def scale(training: Table) -> Scale:
    """Measure the training rows: mean, and deviation with divisor n; a constant feature has deviation 1.

    A constant's mean is the constant itself, since a rounded mean would leave a remainder where 0 belongs.
    """
    x = training.x
    constant = x.min(axis=0) == x.max(axis=0)
    mean = np.where(constant, x[0], x.mean(axis=0))
    deviation = np.where(constant, 1.0, x.std(axis=0))
    return Scale(mean, deviation)


def standardize(table: Table, by: Scale) -> Table:
    """Return the table with x' = (x - mean) / deviation; y stays. Validation rows take the training rows' scale."""
    return replace(table, x=(table.x - by.mean) / by.deviation)


def split(table: Table, fraction: float, rng: Generator) -> tuple[Table, Table]:
    """Divide the rows at random into training and validation, ``fraction`` of them for validation.

    Both keep the order of the table, so that training in document order still is.

    Raises:
        DataError: either part would have no row.
    """
    n = len(table.x)
    count = round(fraction * n)
    if not 1 <= count < n:
        raise DataError(("validation",), f"{fraction} of {n} rows leaves no row for training or none for validation")
    order = rng.permutation(n)
    return _rows(table, np.sort(order[count:])), _rows(table, np.sort(order[:count]))


def _rows(table: Table, rows: NDArray[np.intp]) -> Table:
    return replace(table, x=table.x[rows], y=table.y[rows])
