"""The run folder: it appears with its first files, logs grow as the run goes, other files are replaced whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from gdcli.errors import MachineError, visible
from gdcli.records import Floats, Parameter, StepBlock

STEPS_HEADER = "step,epoch,batch,loss,lr,gradient_norm\n"


@contextlib.contextmanager
def naming(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn what the file system refuses into one line with the path, and the free bytes when the disk is full."""
    try:
        yield
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            above = next((folder for folder in path.parents if folder.is_dir()), path)
            with contextlib.suppress(OSError):
                reason += f" ({shutil.disk_usage(above).free:,} bytes free)"
        raise MachineError(f"cannot {doing} {path}: {reason}") from error


class Lock:
    """A hold on a folder that ends with the process at the latest: an flock on the folder itself, no file."""

    def __init__(self, folder: Path) -> None:
        with naming(folder, "open"):
            self._file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for attempt in range(5):  # somebody who only looks holds it for an instant
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.01 * (attempt + 1))
        os.close(self._file)
        raise MachineError(f"{folder} is in use by another process")

    def release(self) -> None:
        """Let go."""
        os.close(self._file)


def in_use(folder: Path) -> bool:
    """Say whether a process holds the lock of a folder."""
    try:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


Files = Mapping[str, bytes | str]


def claim(root: Path, name: str, digest: str, now: time.struct_time, files: Files) -> tuple[Path, Lock]:
    """Make a new folder ``root/name/YYYYMMDD-HHMMSS-digest``, with ``-2``, ``-3`` when taken; return it, locked.

    The folder appears with its first files in it: a process that dies before leaves no record behind.
    """
    parent = root / name
    with naming(parent):
        _make(parent)
        if parent.is_symlink():
            raise MachineError(f"{parent} is a link: a record is not written where it leads")
        hidden = parent / f".{secrets.token_hex(8)}"
        os.mkdir(hidden)  # noqa: PTH102  # every call that writes goes through os, where a test can let it fail
        lock = Lock(hidden)
        try:
            for file, content in files.items():
                write(hidden / file, content)
            sync_folder(hidden)  # before it gets its name: after a power loss, too, a record has its first files
            folder = _named(hidden, parent, f"{time.strftime('%Y%m%d-%H%M%S', now)}-{digest}")
            sync_folder(parent)
        except BaseException:
            lock.release()
            shutil.rmtree(hidden, ignore_errors=True)
            raise
    return folder, lock


def _make(folder: Path) -> None:
    """Make a folder and those above it, and bring their names to the disk."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def make_below(folder: Path) -> None:
    """Make a folder in one that is there. Raises MachineError for a link, or a file, of that name."""
    with naming(folder):
        folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise MachineError(f"{folder} is a link: nothing is written where it leads")


def _named(hidden: Path, parent: Path, stem: str) -> Path:
    """Give a folder the first free name; a rename onto a folder that is not empty fails, so one process gets it."""
    for attempt in range(1, 10_000):
        folder = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            os.rename(hidden, folder)  # noqa: PTH104
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
        else:
            return folder
    raise MachineError(f"cannot find a free folder name in {parent}")


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    with naming(folder):
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def write(path: Path, content: bytes | str, *, sync: bool = True) -> None:
    """Write a new file and bring it to the disk. Raises FileExistsError for one that is there."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write_all(file, content.encode() if isinstance(content, str) else content)
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def no_follow(path: str, flags: int) -> int:
    """Open for reading, as ``open``'s opener: no link is followed, nothing waits for a pipe's other end."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _write_all(file: int, data: bytes) -> None:
    """Write all bytes: the system may take them in parts."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def replace(path: Path, content: bytes | str, *, previous: Path | None = None) -> None:
    """Write a file whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder.

    What was replaced before is on the disk when this is: the mark of an end never without what it is the end of. With
    ``previous`` the file that was there gets that name.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with naming(path):
        try:
            write(temporary, content)
            if previous is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(path, previous)  # noqa: PTH105
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


_TEMPORARY = re.compile(r"\.[\w.-]+\.(?:json|csv|png|txt|yaml|safetensors)\.[0-9a-f]{8}")


def remove_temporaries(folder: Path) -> None:
    """Take away what a process left that died while it replaced a file; nobody else writes into the folder."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            with naming(path, "remove"):
                path.unlink()


def json_text(value: Any) -> str:
    """Return JSON with a final line break; a number that is not finite becomes null.

    >>> json_text({"loss": float("nan")})
    '{\\n  "loss": null\\n}\\n'
    """
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    if not text.replace("\n", "").isprintable():  # a character that is not seen is written as an escape
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    return text + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class Log:
    """A text file that grows: opened without following a link; what is written waits in memory for a flush.

    With ``at`` a file that may be there is cut to this length and goes on from it.
    """

    WAITING = 2**20  # bytes

    def __init__(self, path: Path, at: int | None = None) -> None:
        self.path = path
        self._waiting: list[bytes] = []
        self._size = 0  # of what waits
        self.length = at or 0  # of the file
        self._sum, self._summed = hashlib.sha256(), 0
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_EXCL if at is None else 0)
        with naming(path):
            self._file = os.open(path, flags, 0o666)
            if at is not None:
                if not stat.S_ISREG(os.fstat(self._file).st_mode):
                    raise MachineError(f"cannot write {path}: it is no file")
                os.ftruncate(self._file, at)
                os.lseek(self._file, 0, os.SEEK_END)

    def write(self, text: str | bytes) -> None:
        """Append."""
        data = text.encode() if isinstance(text, str) else text
        self._waiting.append(data)
        self._size += len(data)
        if self._size > self.WAITING:
            self.flush()

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        if not self._waiting:
            return
        data, self._waiting, self._size = b"".join(self._waiting), [], 0
        with naming(self.path):
            _write_all(self._file, data)
        self.length += len(data)

    def sync(self) -> None:
        """Flush, and bring the file to the disk."""
        self.flush()
        with naming(self.path):
            os.fsync(self._file)

    def sha256(self) -> str:
        """Return the digest of what the file holds, read back; each byte is read once."""
        self.flush()
        with naming(self.path):
            while self._summed < self.length:
                part = os.pread(self._file, min(2**20, self.length - self._summed), self._summed)
                if not part:
                    raise MachineError(f"cannot read {self.path} back: it was cut to {self._summed:,} bytes")
                self._sum.update(part)
                self._summed += len(part)
        return self._sum.hexdigest()

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            with naming(self.path):
                os.close(self._file)


class Recorder:
    """Writes log.txt, steps.csv and gradients.csv of one run, block by block.

    ``lengths`` are those of the files that a run goes on from: what they hold beyond is cut.
    """

    def __init__(
        self, folder: Path, parameters: Sequence[Parameter], *, values: bool, gradients: bool, every: int,
        lengths: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self._every, self._values = every, values
        if lengths is not None:
            remove_temporaries(folder)
        names = ["log.txt", "steps.csv", *(["gradients.csv"] if gradients else [])]
        self._logs = [Log(folder / name, None if lengths is None else lengths.get(name, 0)) for name in names]
        self._log, self._steps = self._logs[:2]
        self._gradients = self._logs[2] if gradients else None
        if not self._steps.length:
            self._steps.write(STEPS_HEADER)
        if self._gradients and not self._gradients.length:
            trained = [p for p in parameters if p.trained]
            columns = [c for p in trained for c in (p.scalars if values else (p.name,))]
            self._gradients.write(",".join(["step", *map(cell, columns)]) + "\n")

    def close(self) -> None:
        """Flush and close all logs."""
        for log in self._logs:
            log.close()

    def sync(self) -> None:
        """Bring all logs to the disk."""
        for log in self._logs:
            log.sync()

    def state(self) -> dict[str, tuple[int, str]]:
        """Return each file's length and sha256, once they are on the disk."""
        self.sync()
        return {log.path.name: (log.length, log.sha256()) for log in self._logs}

    def text(self, text: str) -> None:
        """Append to log.txt."""
        if text:
            self._log.write(text)

    def block(self, block: StepBlock) -> None:
        """Append a block's rows to the CSV files and flush all logs."""
        self._steps.write(step_rows(block))
        if self._gradients is not None:
            kept = block.gradients if self._values else block.norms
            assert kept is not None
            chosen = slice(None) if self._every == 1 else np.flatnonzero((block.step - 1) % self._every == 0)
            self._gradients.write(float_rows(block.step[chosen], kept[chosen]))
        for log in self._logs:
            log.flush()


def losses(path: Path, count: int) -> NDArray[np.float64]:
    """Return the losses of the first steps in a steps.csv, to the bit. Raises MachineError for a file without them."""
    with naming(path, "read"), open(path, "rb", opener=no_follow) as stream:
        next(stream, None)
        try:
            found = [float(line.split(b",", 4)[3]) for line in itertools.islice(stream, count)]
        except (IndexError, ValueError):
            found = []
    if len(found) != count:
        raise MachineError(f"{path} does not have the {count:,} steps that it should")
    return np.array(found)


def cell(text: str) -> str:
    """Return a text as a CSV cell: quoted where it must be, and no formula for a spreadsheet.

    >>> cell("weight[0,1]"), cell("=1+1")
    ('"weight[0,1]"', "'=1+1")
    """
    text = visible(text, keep="\n\t")
    if text[:1] in "=+-@\t" and text:
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


def step_rows(block: StepBlock) -> str:
    """Return a block's rows of steps.csv; floats by shortest round trip."""
    columns = (block.step, block.epoch, block.batch, block.loss, block.lr, block.gradient_norm)
    step, epoch, batch, loss, lr, norm = (column.tolist() for column in columns)
    lines = [
        f"{a},{b},{c},{d!r},{'' if e != e else repr(e)},{f!r}\n"
        for a, b, c, d, e, f in zip(step, epoch, batch, loss, lr, norm, strict=True)
    ]
    return "".join(lines)


def float_rows(steps: np.ndarray[Any, Any], values: Floats) -> bytes:
    """Return CSV rows of a step number and floats, which read back to the same bits.

    orjson writes whole blocks by the shortest text that round-trips, ten times faster than Python's repr; it has no
    word for what is not finite, so a block with such a row goes through repr.
    """
    wide = np.ascontiguousarray(values, dtype=np.float64)
    if not len(wide):
        return b""
    if not wide.shape[1] or not np.isfinite(wide).all():
        rows = zip(steps.tolist(), wide.tolist(), strict=True)
        return "".join(",".join([str(step), *map(repr, row)]) + "\n" for step, row in rows).encode()
    text = orjson.dumps(wide, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
    return b"".join(b"%d,%b\n" % pair for pair in zip(steps.tolist(), text, strict=True))


def csv_text(header: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a small CSV: floats by repr, texts escaped, None empty."""
    return csv_rows([tuple(header), *rows])


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows of a CSV, without a header."""

    def shown(value: Any) -> str:
        if value is None:
            return ""
        return cell(value) if isinstance(value, str) else repr(value)

    return "".join(",".join(map(shown, row)) + "\n" for row in rows)
