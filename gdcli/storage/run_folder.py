"""The run folder: it appears with its first files, one process at a time writes it, its logs grow as the run goes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.errors import MachineError
from gdcli.storage.csv_writer import cell, float_rows, step_rows
from gdcli.storage.files import descriptor, naming, open_folder, remove_temporaries, sync_folder, write, write_all

if TYPE_CHECKING:  # a list of records needs no numpy
    from gdcli.records import Parameter, StepBlock

STEPS_HEADER = "step,epoch,batch,loss,lr,gradient_norm\n"


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


class Log:
    """A text file that grows: opened without following a link; what is written waits in memory for a flush.

    With ``at`` a file that may be there is cut to this length and continued.
    """

    WAITING = 2**20  # bytes

    def __init__(self, path: Path, at: int | None = None) -> None:
        self.path = path
        self._waiting: list[bytes] = []
        self._size = 0  # of what waits
        self.length = at or 0  # of the file
        self._sum, self._summed = hashlib.sha256(), 0
        with naming(path):
            self._file = descriptor(path, os.O_RDWR | os.O_CREAT | (os.O_EXCL if at is None else 0))
            if at is not None:
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
            write_all(self._file, data)
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

    ``lengths`` are those of the files when a run is resumed: what they hold beyond is cut.
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
            found = block.gradients if self._values else block.norms
            assert found is not None
            chosen = slice(None) if self._every == 1 else (block.step - 1) % self._every == 0
            self._gradients.write(float_rows(block.step[chosen], found[chosen]))
        for log in self._logs:
            log.flush()
