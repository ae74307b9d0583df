"""Weights in safetensors files: the header read and checked before a number is; numpy only, no pickle.

The format: 8 bytes of the header's length, the header as JSON (dtype, shape and place of each tensor, and texts under
``__metadata__``), then the tensors' bytes without a gap. Source: github.com/huggingface/safetensors.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from gdcli.errors import nearest
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.plain_file import open_plain
from gdcli.zoo.table import brief

MODEL = "model.safetensors"
"""The file of a record that has a run's final weights."""
MAX_SUMMARY = 2**24
MAX_BYTES = 10**10  # of weights to start from
MAX_HEADER = 2**22  # bytes: a thousand layers have a tenth of it
MAX_AXES = 64  # of a tensor; numpy has no more
ABOUT = "gdcli"
"""The one key of the metadata that gdcli writes: what the model takes and gives, as JSON."""

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}

Shape = tuple[int, ...]
Wanted = Mapping[str, tuple[np.dtype[Any], Shape]]
"""The dtype and shape of each tensor that a model has, by its full name."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a file: its dtype by the format's name, its shape, and its bytes behind the header."""

    dtype: str
    shape: Shape
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class WeightsHeader:
    """What a file says of itself: its tensors by name, what gdcli wrote beside them, and where the numbers begin."""

    tensors: Mapping[str, StoredTensor]
    about: Mapping[str, Any]
    start: int
    size: int  # of the file


def header_of(stream: IO[bytes], size: int) -> WeightsHeader:
    """Return the header of a file of so many bytes. Raises ArgumentError for what is not safetensors."""
    length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise ArgumentError((), "is no safetensors file: its first bytes give no length of a header")
    try:
        found = orjson.loads(stream.read(length))
        metadata = found.pop("__metadata__", {})
        tensors = {name: _stored(entry) for name, entry in found.items()}
        about = orjson.loads(metadata[ABOUT]) if ABOUT in metadata else {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ArgumentError((), "is no safetensors file: its header does not say what tensors there are") from None
    end = 0
    for each in sorted(tensors.values(), key=lambda each: (each.start, each.stop)):
        item = DTYPES[each.dtype].itemsize if each.dtype in DTYPES else None
        if each.start != end or (item is not None and each.stop - each.start != item * prod(each.shape)):
            raise ArgumentError((), "is damaged: its tensors do not lie one after the other")
        end = each.stop
    if end != size - 8 - length:
        raise ArgumentError((), f"is damaged: it has {size:,} bytes, its header tells of {end + 8 + length:,}")
    return WeightsHeader(tensors, about if isinstance(about, dict) else {}, 8 + length, size)


def _stored(entry: Any) -> StoredTensor:
    if len(entry["shape"]) > MAX_AXES:  # their product would take minutes
        raise ValueError
    start, stop = entry["data_offsets"]
    numbers = [*entry["shape"], start, stop]
    if not all(type(number) is int and 0 <= number < 2**53 for number in numbers) or stop < start:
        raise ValueError
    return StoredTensor(str(entry["dtype"]), tuple(entry["shape"]), start, stop)


def mismatches(found: Mapping[str, StoredTensor], wanted: Wanted) -> list[str]:
    """Return what keeps the tensors of a file from being those of a model: names, shapes, then dtypes, a line each.

    A dtype fits that the model's holds exactly, such as F16 in float32.
    """
    lines = [f"has no {brief(name)} {list(wanted[name][1])}" for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    lines += [f"has {brief(name)}, which the model has not. {nearest(name, list(wanted)[:100])}" for name in extra]
    for name, (dtype, shape) in wanted.items():
        if (there := found.get(name)) is None:
            continue
        if there.shape != shape:
            lines.append(f"{brief(name)} has shape {list(there.shape)}, the model's has {list(shape)}")
        elif not _holds(dtype, DTYPES.get(there.dtype)):
            lines.append(f"{brief(name)} has {brief(there.dtype)}, the model's has {NAMES[dtype]}")
    return lines


def _holds(dtype: np.dtype[Any], stored: np.dtype[Any] | None) -> bool:
    return stored is not None and stored.kind == dtype.kind and np.can_cast(stored, dtype, "safe")


def tensors_of(content: memoryview, header: WeightsHeader, wanted: Wanted) -> dict[str, NDArray[Any]]:
    """Return the tensors, in the model's order and dtypes, from the bytes behind the header; they fit."""
    arrays = {}
    for name, (dtype, shape) in wanted.items():
        place = header.tensors[name]
        stored = np.frombuffer(content[place.start : place.stop], DTYPES[place.dtype])
        arrays[name] = stored.reshape(shape).astype(dtype)
    return arrays


def as_stored(wanted: Wanted, found: Mapping[str, StoredTensor], biases: Collection[str]) -> Wanted:
    """Return a model's tensors with the biases [1] that a file has: one for a whole layer."""
    shared = {name for name in biases if name in found and found[name].shape == (1,)}
    return {name: (dtype, (1,) if name in shared else shape) for name, (dtype, shape) in wanted.items()}


# --- weights to start from --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights that a run starts from, as it was when the spec was read."""

    path: Path
    sha256: str
    header: WeightsHeader = field(compare=False, repr=False)

    def problems(self, wanted: Wanted, biases: Collection[str] = ()) -> list[str]:
        """Return what keeps them from being those of a model, a line each."""
        found = self.header.tensors
        return [f"{brief(self.path.name)} {line}" for line in mismatches(found, as_stored(wanted, found, biases))]

    def read(self, wanted: Wanted, biases: Collection[str] = ()) -> dict[str, NDArray[Any]]:
        """Return the tensors of a model. Raises ArgumentError for those of another, or of a file that has changed."""
        if lines := self.problems(wanted, biases):
            raise ArgumentError((), lines[0])
        with open_plain(self.path, MAX_BYTES) as stream:
            content = stream.read(self.header.size)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ArgumentError((), f"{brief(self.path.name)} has changed since the spec was read")
        found = as_stored(wanted, self.header.tensors, biases)
        return tensors_of(memoryview(content)[self.header.start :], self.header, found)


def weights_of(path: Path, sha256: str | None) -> Weights:
    """Return the weights of a safetensors file, or of a record's folder, whose summary has the file's sha256.

    With ``sha256`` the file has to have it. Raises ArgumentError for a file that cannot be used.
    """
    expected = [] if sha256 is None else [(sha256, "has changed since this digest was taken")]
    if path.is_dir():
        if path.is_symlink():
            raise ArgumentError((), f"{brief(str(path))} is a link")
        expected.append((_recorded(path), "was changed: its record has another sha256"))
        path = path / MODEL
    with open_plain(path, MAX_BYTES) as stream:
        status = os.fstat(stream.fileno())
    found = _weights(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    for digest, what in expected:
        if found.sha256 != digest:
            raise ArgumentError((), f"{brief(path.name)} {what}")
    return found


@lru_cache(maxsize=8)
def _weights(path: Path, stamp: tuple[int, ...]) -> Weights:
    """Read a file's header and digest; the stamp only tells files apart: the runs of a sweep ask for the same."""
    with open_plain(path, MAX_BYTES) as stream:
        header = header_of(stream, os.fstat(stream.fileno()).st_size)
        stream.seek(0)
        return Weights(path, hashlib.file_digest(stream, "sha256").hexdigest(), header)


def _recorded(folder: Path) -> str:
    """Return the sha256 of a record's model by its summary."""
    if (found := recorded_sha256(folder).get(MODEL)) is not None:
        return found
    what = "is no record of a run that has ended, with a model.safetensors in its summary"
    raise ArgumentError((), f"{brief(str(folder))} {what}")


def recorded_sha256(folder: Path) -> dict[str, str]:
    """Return the sha256 of files by a record's summary; nothing where it has none, or where there is no record."""
    try:
        with open_plain(folder / "summary.json", MAX_BYTES) as stream:
            found = orjson.loads(stream.read(MAX_SUMMARY))["sha256"]
            return {name: str(digest) for name, digest in found.items()}
    except (ArgumentError, ValueError, KeyError, TypeError, AttributeError):
        return {}
