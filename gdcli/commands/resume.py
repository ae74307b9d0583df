"""A record taken up again where it was stopped or killed: `gdcli resume`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.commands.batch import ExecutionOptions
from gdcli.commands.context import Context, Frontend, Reused, shown_path
from gdcli.errors import MachineError, SpecError

if TYPE_CHECKING:
    from gdcli.commands.compare.run import Comparison
    from gdcli.commands.run import RunReport
    from gdcli.commands.sweep import GridReport
    from gdcli.commands.sweep.runs import TrainingSweep
    from gdcli.spec.bundled import Source
    from gdcli.storage.request import Request

    Report = RunReport | TrainingSweep | GridReport | Comparison | Reused


@dataclass(frozen=True, slots=True)
class Ended:
    """A record of which nothing is left to do."""

    folder: Path
    status: str


def resume(
    folder: Path, options: ExecutionOptions, frontend: Frontend, *, force: bool, arguments: tuple[str, ...] = ()
) -> Report | Ended:
    """Go on where a record was stopped or killed: the same bytes in the end as if it never had been.

    Raises SpecError for a record that is not to be gone on with by itself, MachineError for one that was changed or
    begun elsewhere; ``force`` allows another machine.
    """
    from gdcli.storage import request as requests
    from gdcli.storage.run_folder import Lock

    require_whole(folder)
    lock = Lock(folder)
    try:
        request, status = requests.read(folder), status_of(folder, frontend.warning)
        if status not in (None, "interrupted"):
            return Ended(folder, str(status))
        requests.require_config(request, folder)
        if not force:
            _require_same_machine(folder, frontend)
        source = source_of(folder, request)
        context = Context(source, frontend, again=folder, recorded=request, arguments=arguments)
        return execute(request, context, options)
    finally:
        lock.release()


def execute(request: Request, context: Context, options: ExecutionOptions, more: tuple[str, ...] = ()) -> Report:
    """Do what a record asked for; a run with ``more`` overrides. Those that it had are in its config.yaml already."""
    from gdcli.commands.compare import compare
    from gdcli.commands.run import run
    from gdcli.commands.sweep import sweep
    from gdcli.storage.request import RunRequest, SweepRequest

    if isinstance(request, RunRequest):
        return run(request.model_copy(update={"overrides": more}), context)
    if isinstance(request, SweepRequest):
        return sweep(request, context, options)
    return compare(request, context, options)


def require_whole(folder: Path) -> None:
    """Refuse one run of many, its record is that of all, and a folder that a link leads to."""
    if folder.is_symlink() or folder.absolute().parent.is_symlink():
        raise SpecError(f"{shown_path(folder)} is reached through a link: name the record where it is")
    if not (folder / "request.json").is_file() and (folder.absolute().parent / "request.json").is_file():
        above = shown_path(folder.absolute().parent)
        raise SpecError(f"{shown_path(folder)} is one of many runs: name the record of all, {above}")


def status_of(folder: Path, warning: Callable[[str], None]) -> str | None:
    """Return how a record ended, None for one that has not, or whose summary is damaged: it is written anew."""
    from gdcli.storage.files import json_file
    from gdcli.storage.record import ENDED

    try:
        status = (json_file(folder / "summary.json") or {}).get("status")
    except MachineError as error:
        warning(str(error))
        return None
    return status if status in ENDED else None


def source_of(folder: Path, request: Request) -> Source:
    """Return the spec of a record: of a run the resolved one, where a run of many changes the spec as given."""
    from gdcli.spec.bundled import Source
    from gdcli.spec.document import MAX_BYTES
    from gdcli.storage.files import required

    name = "config.yaml" if request.command == "run" else "spec.yaml"
    text = required(folder / name, MAX_BYTES)
    base = folder if request.base is None or request.command == "run" else Path(request.base)
    return Source(base / name, str(folder / name), text)


def _require_same_machine(folder: Path, frontend: Frontend) -> None:
    """Refuse to go on under another version, processor or device: the bits would differ."""
    from gdcli.storage.files import json_file

    frontend.engine()
    from gdcli.commands.machine import differences, here

    recorded = json_file(folder / "environment.json")
    if recorded is None:
        raise MachineError(f"{folder} has no environment.json")
    if found := differences(recorded, here()):
        what = "; ".join(found)
        raise MachineError(f"{folder} was begun elsewhere: {what}. --force goes on all the same, with other bits")
