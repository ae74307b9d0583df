"""The runs of a sweep or a comparison, where they go, and the folder of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gdcli.errors import GdcliError
from gdcli.plan import Trial
from gdcli.records import Result
from gdcli.runner.provenance import Provenance
from gdcli.spec.load import Loaded

FOLDERS = 100
"""Up to this many runs, each has a sub-folder."""

CALL = (GdcliError, RuntimeError, ArithmeticError, MemoryError, ValueError, TypeError, LookupError)
"""What a run may raise without taking the others down: torch's layers refuse a batch with any of them.

A full disk is not among the run's own faults.
"""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep or a comparison."""

    number: int  # from 1
    trial: Trial
    loaded: Loaded


@dataclass(frozen=True, slots=True)
class Capture:
    """What is captured of each run besides its row of results.csv."""

    curve: bool = False  # the loss of every step
    path: bool = False  # the parameters after every step
    parameters: bool = False  # at the end
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """Runs done one after the other, or together as one fleet."""

    runs: tuple[PlannedRun, ...]
    together: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the runs' sub-folders go, how many runs there are, where they come from, and where their results wait.

    Results wait there until all runs have ended, so that after a crash no finished run is run again.
    """

    folder: Path | None
    count: int
    origin: Provenance
    partial_results: Path | None = None

    def of(self, run: PlannedRun) -> Path | None:
        """Return a run's own folder; None beyond 100 runs."""
        if self.folder is None or self.count > FOLDERS:
            return None
        return self.folder / folder_name(run.number, run.trial.label, self.count)


def folder_name(number: int, label: str, count: int) -> str:
    """Return the name of a run's sub-folder: its number, and its label in letters that every file system takes.

    >>> folder_name(7, "lr=0.1,momentum=0.9", 12)
    '07-lr=0.1_momentum=0.9'
    """
    safe = "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "._=-" else "_" for letter in label)
    return f"{number:0{len(str(count))}d}-{safe[:48]}"


Advance = Callable[[float], None]  # the share of the shard that is done


def failed_run(run: PlannedRun, error: BaseException) -> Result:
    """Return the result of a run that raised, with what it raised in one line."""
    text = str(error).splitlines()[0] if str(error) else ""
    why = text if isinstance(error, GdcliError) else f"{type(error).__name__}: {text}"
    return Result(run.number, run.trial.label, run.trial.values, "failed", why)
