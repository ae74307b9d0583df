"""The run folder: it appears with its first files, one process at a time writes it, its summary comes last."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from gdcli.errors import DamagedError, MachineError
from gdcli.storage.files import (
    descriptor,
    json_text,
    naming,
    open_folder,
    read,
    remove_temporaries,
    replace,
    sync_folder,
    write,
    write_all,
)  # fmt: skip


class Lock:
    """A lock on a folder, an flock without a file of its own: it ends with the process at the latest."""

    def __init__(self, folder: Path) -> None:
        with naming(folder, "open"):
            self._file = open_folder(folder)
        for attempt in range(5):  # a process that asks in_use holds it for an instant
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
        file = open_folder(folder)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Yield a folder for temporary files, which goes in the end, as do those that killed processes left."""
    prefix = f"gdcli-{name}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            found = left.lstat()
            is_old = time.time() - found.st_mtime > 60  # one that has just been made has no lock yet
            if found.st_uid == os.getuid() and is_old and not in_use(left):
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        lock = Lock(Path(folder))
        try:
            yield Path(folder)
        finally:
            lock.release()


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
        hidden = parent / f".{os.urandom(8).hex()}"
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


@dataclass(frozen=True, slots=True)
class RecordFolder:
    """A run's folder: one that has its first files, or with ``files`` one that is made with them unless it is there."""

    folder: Path
    config: str  # the text of config.yaml
    files: Files | None = None

    def is_there(self) -> bool:
        """Say whether the folder is that of a run of this config.yaml."""
        wanted = self.config.encode()
        try:
            return not self.folder.is_symlink() and read(self.folder / "config.yaml", len(wanted)) == wanted
        except (OSError, DamagedError):
            return False

    def prepare(self, *, again: bool) -> None:
        """Make the folder with its first files; one that has them, or is resumed in, is rid of temporary files."""
        if again or self.files is None:
            remove_temporaries(self.folder)
            return
        clear(self.folder)
        with naming(self.folder):
            self.folder.mkdir()
            for name, content in self.files.items():
                write(self.folder / name, content)


def clear(folder: Path | None) -> None:
    """Remove what a run left that is tried again."""
    if folder is None:
        return
    with naming(folder):
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            shutil.rmtree(folder)


@dataclass(slots=True)
class Timing:
    """Seconds per phase; the only times of a record."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    phases: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    stepping: float = 0.0  # seconds that these steps took, without evaluation and files
    recording: float = 0.0  # share of the training in which it waited for what is recorded

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of a block of code to a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - begun

    def text(self) -> str:
        """Return timing.json."""
        return json_text(
            {
                "start": self.started.isoformat(),
                "end": datetime.now(UTC).isoformat(),
                "seconds": self.phases,
                "steps_per_second": self.steps / self.stepping if self.stepping else None,
                "recording_share": round(self.recording, 4),
            }
        )


def write_end(folder: Path, timing: Timing, summary: Mapping[str, Any]) -> None:
    """Write the times, and last the summary, which is the mark of a record that ended."""
    replace(folder / "timing.json", timing.text())
    replace(folder / "summary.json", json_text(summary))
    sync_folder(folder)


def most_logs() -> int:
    """Return how many logs this process can hold open; its own limit of open files is raised to what is allowed."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < _FILES:  # unlimited is below 0
        limit = _FILES if most < 0 else min(_FILES, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    return (_FILES if limit < 0 else limit) - _OTHER_FILES


_FILES, _OTHER_FILES = 1024, 64  # wanted; of these those of Python, torch and an executor


Bytes = bytes | memoryview


class Log:
    """A file that grows: opened without following a link; what is written waits in memory for a flush.

    With ``at`` a file that may be there is cut to this length and continued. ``stamped`` bytes at its beginning change
    as it grows, and no digest has them.
    """

    WAITING, LARGE = 2**20, 2**16  # bytes

    def __init__(self, path: Path, at: int | None = None, stamped: int = 0) -> None:
        import hashlib  # not for --help

        self.path = path
        self._waiting: list[Bytes] = []
        self._size = 0  # of what waits
        self.length = at or 0  # of the file
        self._sum, self._summed, self._stamped = hashlib.sha256(), stamped, stamped
        with naming(path):
            self._file = descriptor(path, os.O_RDWR | os.O_CREAT | (os.O_EXCL if at is None else 0))
            if at is not None:
                os.ftruncate(self._file, at)
                os.lseek(self._file, 0, os.SEEK_END)

    def write(self, text: str | Bytes) -> None:
        """Append; bytes are not to change before they are flushed."""
        data = text.encode() if isinstance(text, str) else text
        self._waiting.append(data)
        self._size += len(data)
        if self._size > self.WAITING:
            self.flush()

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        if not self._waiting:
            return
        waiting, self._waiting, self._size = self._waiting, [], 0
        for is_large, parts in groupby(waiting, lambda part: len(part) >= self.LARGE):
            for data in parts if is_large else (b"".join(parts),):  # no copy of what is large
                with naming(self.path):
                    write_all(self._file, data)
                self.length += len(data)

    def stamp(self, head: bytes) -> None:
        """Write the beginning anew, which no digest has, once all else is written."""
        self.flush()
        with naming(self.path):
            os.pwrite(self._file, head, 0)

    def sync(self) -> None:
        """Flush, and bring the file to the disk."""
        self.flush()
        with naming(self.path):
            os.fsync(self._file)

    def sha256(self) -> str:
        """Return the digest of what the file holds, read back; each byte is read once.

        Before it stands how many bytes are left out, if any.
        """
        self.flush()
        with naming(self.path):
            while self._summed < self.length:
                part = os.pread(self._file, min(2**20, self.length - self._summed), self._summed)
                if not part:
                    raise MachineError(f"cannot read {self.path} back: it was cut to {self._summed:,} bytes")
                self._sum.update(part)
                self._summed += len(part)
        return (f"{self._stamped}:" if self._stamped else "") + self._sum.hexdigest()

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            with naming(self.path):
                os.close(self._file)
