"""The fleets of torch's own layers, whose numbers depend on who is in them: recorded, so that they stay the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from gdcli.engine.grouping import is_stacked, stacked_sizes, structure, why_alone
from gdcli.engine.problem import FLEET_OF_LAYERS
from gdcli.errors import DamagedError
from gdcli.report.styles import STYLES
from gdcli.runner.jobs import PlannedRun
from gdcli.storage import files
from gdcli.storage.record import FLEETS

Members = tuple[int, ...]
"""The numbers of a fleet's runs."""


def fixed_fleets(runs: Sequence[PlannedRun], folder: Path, part: str, *, again: bool) -> list[Members]:
    """Return the fleets of torch's layers among runs: those that the record has, else as they are now, recorded.

    Raises DamagedError for a record whose fleets are not of these runs.
    """
    recorded: dict[str, Any] = files.json_file(folder / FLEETS) or {}
    if again and part in recorded:
        return _read(recorded[part], {run.number for run in runs}, folder / FLEETS)
    found = [*_by_structure(runs)]
    if found:
        told = {part: [{"kernel": FLEET_OF_LAYERS, "runs": [*members]} for members in found]}
        files.replace(folder / FLEETS, files.json_text(recorded | told))
    return found


def _by_structure(runs: Iterable[PlannedRun]) -> Iterator[Members]:
    alike: dict[Any, list[PlannedRun]] = {}
    for run in runs:
        loaded = run.loaded
        tells_samples = "sample" in STYLES[loaded.spec.style].columns
        if is_stacked(loaded) and not tells_samples and not why_alone(loaded, vmapped=True):
            alike.setdefault(structure(loaded), []).append(run)
    for members in alike.values():
        numbers = iter([run.number for run in members])
        for size in stacked_sizes(members[0].loaded, len(members)):
            fleet = tuple(islice(numbers, size))
            if len(fleet) > 1:
                yield fleet


def _read(fleets: Any, numbers: set[int], path: Path) -> list[Members]:
    try:
        found = [tuple(fleet["runs"]) for fleet in fleets]
        fits = all(type(number) is int for members in found for number in members)
    except (TypeError, KeyError):
        fits, found = False, []
    flat = [number for members in found for number in members]
    if not fits or len(set(flat)) < len(flat) or not numbers.issuperset(flat):
        raise DamagedError(f"{path} does not name fleets of these runs")
    return found


def unfinished(fleets: Iterable[Members], done: set[int]) -> list[Members]:
    """Return the fleets of which no run is done: results of a fleet are kept all at once, or those of runs alone."""
    return [members for members in fleets if done.isdisjoint(members)]
