"""The run folder: claimed with an exclusive mkdir, logs written as the run goes, other files replaced atomically."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from gdcli.errors import MachineError
from gdcli.records import Floats, Parameter, StepBlock

STEPS_HEADER = "step,epoch,batch,loss,lr,gradient_norm\n"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line with the path, and the free bytes when the disk is full."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with contextlib.suppress(OSError):
                reason += f" ({shutil.disk_usage(path.parent).free:,} bytes free)"
        raise MachineError(f"cannot write {path}: {reason}") from error


def claim(root: Path, name: str, digest: str, now: time.struct_time) -> Path:
    """Make and return a new folder ``root/name/YYYYMMDD-HHMMSS-digest``, with ``-2``, ``-3`` when taken."""
    parent = root / name
    stem = f"{time.strftime('%Y%m%d-%H%M%S', now)}-{digest}"
    with naming(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 10_000):
            folder = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
    raise MachineError(f"cannot find a free folder name in {parent}")


def replace(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all: a temporary file beside it, fsync, rename."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with naming(path):
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def json_text(value: Any) -> str:
    """Return JSON with a final line break; a number that is not finite becomes null.

    >>> json_text({"loss": float("nan")})
    '{\\n  "loss": null\\n}\\n'
    """
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class Log:
    """A text file that grows: opened without following a link, flushed by the caller."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with naming(path):
            self._stream: IO[bytes] = os.fdopen(os.open(path, flags, 0o666), "wb")

    def write(self, text: str | bytes) -> None:
        """Append."""
        with naming(self.path):
            self._stream.write(text.encode() if isinstance(text, str) else text)

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        with naming(self.path):
            self._stream.flush()

    def close(self) -> None:
        """Flush and close."""
        with naming(self.path):
            self._stream.close()


class Recorder:
    """Writes log.txt, steps.csv and gradients.csv of one run, block by block."""

    def __init__(
        self, folder: Path, parameters: Sequence[Parameter], *, values: bool, gradients: bool, every: int
    ) -> None:
        self._every, self._values = every, values
        self._log = Log(folder / "log.txt")
        self._steps = Log(folder / "steps.csv")
        self._steps.write(STEPS_HEADER)
        self._gradients = Log(folder / "gradients.csv") if gradients else None
        if self._gradients:
            trained = [p for p in parameters if p.trained]
            columns = [c for p in trained for c in (p.scalars if values else (p.name,))]
            self._gradients.write(",".join(["step", *map(cell, columns)]) + "\n")

    def close(self) -> None:
        """Flush and close all logs."""
        for log in self._logs:
            log.close()

    @property
    def _logs(self) -> list[Log]:
        return [log for log in (self._log, self._steps, self._gradients) if log is not None]

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


def cell(text: str) -> str:
    """Return a text as a CSV cell: quoted where it must be, and no formula for a spreadsheet.

    >>> cell("weight[0,1]"), cell("=1+1")
    ('"weight[0,1]"', "'=1+1")
    """
    if text[:1] in "=+-@\t\r" and text:
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
