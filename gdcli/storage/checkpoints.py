"""The checkpoints of a run's folder: written at most every so many seconds, two of them kept, verified when read.

The logs are on the disk before the checkpoint that holds their lengths and their sha256, so that a run can resume from
the checkpoint whatever was written after it. ``checkpoint.json`` shows people and `gdcli ls` what it holds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gdcli.errors import DamagedError
from gdcli.records import State
from gdcli.storage import files
from gdcli.storage.arrays import HEADER, seal, unseal

FORMAT = 2
"""1 was that of 0.1, whose arrays were others."""

Logs = Mapping[str, tuple[int, str]]
"""Length and sha256 of each log by its file's name; that of one whose beginning changes leaves it out: '128:...'."""


class Checkpoints:
    """Those of one run, or of one fleet: for what ``key`` says of it, such as the text of its config.yaml.

    They lie in ``folder`` under ``name``, the logs in or below ``logs``, the same folder as a rule.
    """

    def __init__(
        self, folder: Path, key: str, every_seconds: float, *, name: str = "checkpoint", logs: Path | None = None
    ) -> None:
        self._folder, self._every, self._logs = folder, every_seconds, folder if logs is None else logs
        self._names = f"{name}.safetensors", f"{name}.previous.safetensors"
        self._told = f"{name}.json"
        self._key = hashlib.sha256(key.encode()).hexdigest()
        self._last = time.perf_counter()
        self._rotates = True  # what is there becomes the one before; not one that is damaged, in place of a good one

    def due(self) -> bool:
        """Say whether the last one, or the run's start, is long enough ago."""
        return time.perf_counter() - self._last >= self._every

    def write(self, state: State, logs: Logs) -> None:
        """Write one; the logs are on the disk."""
        data = {
            "format": FORMAT,
            "config_sha256": self._key,
            "state": state.numbers,
            "logs": {name: list(each) for name, each in logs.items()},
        }
        content = seal(data, state.arrays)
        if self._folder != self._logs:  # a record's own folder exists, or was removed
            files.make_below(self._folder.parent)
            files.make_below(self._folder)
        path, previous = (self._folder / name for name in self._names)
        files.replace(path, content, previous=previous if self._rotates else None)
        self._rotates = True
        told = {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        files.replace(self._folder / self._told, files.json_text({**state.numbers, **data, **told, "state": None}))
        self._last = time.perf_counter()

    def latest(
        self, at_most: int, fits: Callable[[State], None], refused: Callable[[str], None]
    ) -> tuple[State, Logs] | None:
        """Return the newest checkpoint that is whole, of this run and of these logs, to resume from.

        ``refused`` is called with why another is not used. ``at_most`` bytes of arrays are read; ``fits`` raises
        DamagedError for a state that is not the run's.
        """
        for name in self._names:
            try:
                state, logs = self._read(name, at_most + HEADER)
                fits(state)
            except FileNotFoundError:
                continue
            except DamagedError as error:
                refused(f"{self._folder / name} is not used: {error}")
                self._rotates = False
            else:
                return state, logs
        return None

    def _read(self, name: str, at_most: int) -> tuple[State, Logs]:
        data, arrays = unseal(files.read(self._folder / name, at_most))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise DamagedError("it was written by another version of gdcli")
        if data.get("config_sha256") != self._key:
            raise DamagedError("it is the checkpoint of another config.yaml")
        logs, numbers = data.get("logs"), data.get("state")
        if not isinstance(logs, dict) or not isinstance(numbers, dict) or type(numbers.get("steps")) is not int:
            raise DamagedError("it lacks the logs or the state")
        return State(numbers["steps"], numbers, arrays), {log: self._checked(log, logs[log]) for log in logs}

    def _checked(self, log: str, known: Any) -> tuple[int, str]:
        """Return a log's length and sha256 if the file begins with just that."""
        try:
            length, digest = known
            if Path(log).is_absolute() or ".." in Path(log).parts or type(length) is not int or length < 0:
                raise ValueError
            skipped, _, _ = digest.rpartition(":")
            found = prefix_sha256(self._logs / log, length, int(skipped or 0))
        except (ValueError, TypeError, AttributeError):
            raise DamagedError("it does not say where its logs end") from None
        except OSError as error:
            raise DamagedError(f"{log} cannot be read: {error.strerror}") from None
        if found != digest:
            raise DamagedError(f"{log} was changed, or cut, after it was written")
        return length, digest

    def remove(self) -> None:
        """Remove all: the run has ended, its summary is on the disk."""
        for name in (*self._names, self._told):
            with files.naming(self._folder / name, "remove"):
                (self._folder / name).unlink(missing_ok=True)


def prefix_sha256(path: Path, length: int, skipped: int = 0) -> str | None:
    """Return the digest of a file's first bytes, behind those skipped and their number; None where it has fewer.

    Raises OSError, and ValueError for a number that cannot be.
    """
    if not 0 <= skipped <= length:
        raise ValueError
    found, left = hashlib.sha256(), length - skipped
    with files.opened(path) as stream:
        stream.seek(skipped)
        while left:
            part = stream.read(min(2**20, left))
            if not part:
                return None
            found.update(part)
            left -= len(part)
    return (f"{skipped}:" if skipped else "") + found.hexdigest()
