"""IDX files, as the handwritten digits of MNIST come in: arrays of numbers, also gzipped, read in pieces.

http://yann.lecun.com/exdb/mnist: two zero bytes, a type, the number of axes, each axis in four bytes from the highest
on, then the numbers.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from gdcli.zoo.columns import RawTable
from gdcli.zoo.data_files import MAX_FILE_BYTES, opened
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import brief

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_AXES = 8
_PIECE = 1024**2
IMAGES, LABELS = "pixel", "label"
"""The names of their columns."""


def read_idx(images: Path, labels: Path) -> RawTable:
    """Return the rows of an IDX file [n, ...], flattened to [n, d], and the labels [n] of another.

    The digest is that of both files' digests. Raises ArgumentError for a file that cannot be used: no such file, a
    link, one that is damaged, states more than 512 MiB in float64, or holds more or less than it states.
    """
    x, digest = _read(images, "images")
    y, other = _read(labels, "labels")
    if x.ndim < 2 or y.ndim != 1:
        key, shape, what = ("labels", y.shape, "[n]") if x.ndim > 1 else ("images", x.shape, "[n, height, width]")
        raise ArgumentError(("idx", key), f"has shape {brief(list(shape))}, not {what}")
    if len(x) != len(y):
        raise ArgumentError(("idx", "labels"), f"there are {len(x):,} images and {len(y):,} labels")
    sha256 = hashlib.sha256(f"{digest} {other}".encode()).hexdigest()
    pixels = x.reshape(len(x), -1).astype(np.float64)
    return RawTable({IMAGES: pixels, LABELS: y.astype(np.float64)}, (IMAGES,), (LABELS,), sha256)


def _read(path: Path, key: str) -> tuple[NDArray[Any], str]:
    try:
        with opened(path) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            return read_array(stream), digest
    except ArgumentError as error:
        raise ArgumentError(("idx", key), error.message) from None


def read_array(stream: IO[bytes]) -> NDArray[Any]:
    """Return the array of an IDX file, gzipped or not. Raises ArgumentError for what is none or above 512 MiB."""
    head = stream.read(2)
    stream.seek(0)
    try:
        return _array(cast("IO[bytes]", gzip.GzipFile(fileobj=stream)) if head == b"\x1f\x8b" else stream)
    except (OSError, EOFError, zlib.error) as error:
        raise ArgumentError((), f"the file is damaged ({type(error).__name__})") from None


def _array(stream: IO[bytes]) -> NDArray[Any]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= _AXES:
        raise ArgumentError((), "not an IDX file: it begins with two zero bytes, a type and the number of axes")
    shape = [int.from_bytes(stream.read(4)) for _ in range(head[3])]
    dtype, count = np.dtype(_TYPES[head[2]]), math.prod(shape)
    if not count:
        raise ArgumentError((), f"states the shape {brief(shape)}, without a number")
    if 8 * count > MAX_FILE_BYTES:
        raise ArgumentError((), f"states the shape {brief(shape)}, more than {MAX_FILE_BYTES:,} bytes in float64")
    content = bytearray()
    while (left := count * dtype.itemsize - len(content)) and (piece := stream.read(min(left, _PIECE))):
        content += piece
    if left or stream.read(1):
        raise ArgumentError((), f"states the shape {brief(shape)}, and holds {'less' if left else 'more'}")
    numbers = np.frombuffer(content, dtype).reshape(shape)
    if not np.isfinite(numbers).all():
        raise ArgumentError((), "holds a number that is not finite")
    return numbers
