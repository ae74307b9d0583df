"""Trained models on the disk: safetensors files, written whole, and read back only as what their model is.

``model.safetensors`` has the final weights and buffers of a run. Its sha256 stands in summary.json; a file that has
another is refused. The one key of its metadata says what the model takes and gives (:class:`ModelSides`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import DamagedError, MachineError
from gdcli.records import Parameter
from gdcli.storage import files
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.weight_files import ABOUT, DTYPES, NAMES, Wanted, WeightsHeader, header_of, mismatches, tensors_of

NAME, BEST, ALL = "model.safetensors", "best.safetensors", "models.safetensors"
"""The final weights of a run, those of its best epoch, and those of all runs of a sweep as ``RUN/PARAMETER``."""

PREPROCESSING = "preprocessing.json"
MOST_TOGETHER = 100 * 10**6
"""Bytes of the models of a sweep's runs up to which each run's folder has its own."""

MAX_ABOUT = 2**20
"""Bytes of what is written of a model's columns; above it their names are left out."""


@dataclass(frozen=True, slots=True)
class ModelSides:
    """What a model takes and gives: the columns of its input, of its targets, and how many classes these stand for."""

    features: tuple[str, ...]
    targets: tuple[str, ...]
    classes: int = 0

    def text(self) -> str:
        """Return it as JSON; nothing where the names are too long to be kept."""
        found = json.dumps(asdict(self), ensure_ascii=True)
        return found if len(found) <= MAX_ABOUT else ""

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> ModelSides | None:
        """Return what a file says; None where it says nothing."""
        features, targets, classes = (about.get(key) for key in ("features", "targets", "classes"))
        lists = [names for names in (features, targets) if isinstance(names, list)]
        if len(lists) < 2 or not all(isinstance(name, str) for names in lists for name in names):
            return None
        if type(classes) is not int or not 0 <= classes < 2**53:
            return None
        return cls(tuple(lists[0]), tuple(lists[1]), classes)


# --- writing ----------------------------------------------------------------------------------------------------------

Arrays = Mapping[str, NDArray[Any]]


def arrays_of(parameters: Iterable[Parameter]) -> dict[str, NDArray[Any]]:
    """Return parameters and buffers by name."""
    return {each.name: each.values for each in parameters}


def save(path: Path, arrays: Arrays, about: str = "") -> str:
    """Write tensors as a safetensors file, whole or not at all, the same bytes for the same tensors; return its sha256.

    ``about`` is JSON for the one key of the metadata. Raises MachineError for what the file system refuses.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digest = save(Path(folder) / "model.safetensors", {"weight": np.ones((1, 2), np.float32)})
    ...     found = read(Path(folder) / "model.safetensors", {"weight": (np.dtype("f4"), (1, 2))}, digest)
    >>> found["weight"].tolist()
    [[1.0, 1.0]]
    """
    content = b"".join(_parts(arrays, about))
    files.replace(path, content)
    return hashlib.sha256(content).hexdigest()


def _parts(arrays: Arrays, about: str) -> Iterable[bytes | memoryview]:
    """Yield the header, then each tensor; wider numbers first, so that all lie at multiples of their size."""
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    yield header_bytes({name: (array.dtype, array.shape) for name, array in ordered}, about)
    for _, array in ordered:
        yield np.array(array, array.dtype.newbyteorder("<"), order="C", copy=None).reshape(-1).data.cast("B")


def header_bytes(tensors: Wanted, about: str = "") -> bytes:
    """Return the header of a file with these tensors in this order, filled up to a multiple of 8 bytes."""
    header: dict[str, Any] = {"__metadata__": {ABOUT: about}} if about else {}
    start = 0
    for name, (dtype, shape) in tensors.items():
        stop = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": NAMES[dtype.newbyteorder("<")], "shape": list(shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def megabytes(count: int) -> str:
    """Return bytes as people read them.

    >>> megabytes(123_456_789), megabytes(1_234)
    ('123.5 MB', '1.2 kB')
    """
    return f"{count / 10**6:,.1f} MB" if count >= 10**5 else f"{count / 10**3:,.1f} kB"


# --- reading ----------------------------------------------------------------------------------------------------------


def header(path: Path) -> WeightsHeader:
    """Return what a record's model file says of itself. Raises DamagedError for one that is missing or damaged."""
    with _opened(path) as stream:
        return _header(path, stream)


def read(path: Path, wanted: Wanted, sha256: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a record's model file: names, shapes and dtypes are checked before any is read.

    Raises DamagedError for a file that is missing, is not of this model, or has not the sha256 that is recorded.
    """
    with _opened(path) as stream:
        found = _header(path, stream)
        if lines := mismatches(found.tensors, wanted):
            raise DamagedError(f"{path}: is not the model of its config.yaml: it {lines[0]}")
        stream.seek(0)
        content = stream.read(os.fstat(stream.fileno()).st_size)  # as the model's shapes have it
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedError(f"{path}: was changed: it does not have the sha256 that summary.json says")
    try:
        return tensors_of(memoryview(content)[found.start :], found, wanted)
    except (ValueError, KeyError):  # it was written to meanwhile
        raise DamagedError(f"{path}: was changed while it was read") from None


def _opened(path: Path) -> IO[bytes]:
    try:
        return files.existing(path)
    except DamagedError as error:
        if path.exists() or path.is_symlink():
            raise
        raise MachineError(
            f"{path.parent} has no {path.name}: it is of a run that has not ended, of an earlier version, "
            "or of a sweep whose models are not kept"
        ) from error


def _header(path: Path, stream: IO[bytes]) -> WeightsHeader:
    try:
        return header_of(stream, os.fstat(stream.fileno()).st_size)
    except ArgumentError as error:
        raise DamagedError(f"{path}: {error.message}") from None


def digest(path: Path) -> str:
    """Return a file's sha256, read in pieces. Raises DamagedError."""
    found = hashlib.sha256()
    with files.existing(path) as stream:
        while part := stream.read(2**20):
            found.update(part)
    return found.hexdigest()


def recorded(summary: Mapping[str, Any], name: str) -> str | None:
    """Return the sha256 that summary.json has of a file."""
    digests = summary.get("sha256")
    found = digests.get(name) if isinstance(digests, dict) else None
    return found if isinstance(found, str) else None


def checked_text(folder: Path, name: str, sha256: str | None) -> bytes | None:
    """Return a small file of a record; None where the summary has no sha256 of it. Raises DamagedError for another."""
    if sha256 is None:
        return None
    content = files.content(folder / name)
    if content is None or hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedError(f"{folder / name}: was changed: it does not have the sha256 that summary.json says")
    return content


def first_difference(recorded: Path, again: Path) -> tuple[str, str, str] | None:
    """Return where two model files first differ, with both values; None where all bytes are equal."""
    ours, theirs = header(recorded), header(again)
    if ours.tensors != theirs.tensors:
        return "the tensors", f"{len(ours.tensors):,} of {ours.size:,} bytes", f"{len(theirs.tensors):,} here"
    if ours.about != theirs.about:
        return "what it says of the model", str(ours.about), str(theirs.about)
    contents = [_content(path, each) for path, each in ((recorded, ours), (again, theirs))]
    for name, place in ours.tensors.items():
        pair = [np.frombuffer(content[place.start : place.stop], DTYPES[place.dtype]) for content in contents]
        raw = [array.view(np.uint8).reshape(len(array), -1) for array in pair]
        if not np.array_equal(raw[0], raw[1]):
            k = int((raw[0] != raw[1]).any(axis=1).argmax())
            index = ",".join(map(str, np.unravel_index(k, place.shape)))
            return f"{name}[{index}]", *(repr(array[k].item()) for array in pair)  # type: ignore[return-value]  # two
    return None if contents[0] == contents[1] else ("its bytes", "others", "others")


def _content(path: Path, found: WeightsHeader) -> memoryview:
    with _opened(path) as stream:
        return memoryview(stream.read(found.size))[found.start :]
