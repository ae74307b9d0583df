"""`gdcli resume`: go on where a run, sweep or comparison was stopped or killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gdcli.cli import common, many
from gdcli.errors import MachineError, SpecError

if TYPE_CHECKING:
    from gdcli.spec.bundled import Source
    from gdcli.storage.request import Request

ForceOption = Annotated[bool, typer.Option("--force", help="Go on though the machine or the versions differ.")]


def resume(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A record: its folder, its id, a prefix, a name, last.")],
    output: common.OutputOption = Path("runs"),
    jobs: many.JobsOption = 1,
    cluster: many.ClusterOption = None,
    force: ForceOption = False,
    quiet: common.QuietOption = False,
    json: common.JsonOption = False,
) -> int:
    """Go on where a record was stopped or killed: the same bytes in the end as if it never had been.

    Standard output is what was not printed before the last checkpoint. Example: gdcli resume last
    """
    from gdcli.storage import request as requests
    from gdcli.storage.find import find
    from gdcli.storage.run_folder import Lock

    folder = find(run, output)
    require_whole(folder)
    lock = Lock(folder)
    try:
        request, status = requests.read(folder), status_of(folder)
        if status not in (None, "interrupted"):
            if json:
                common.say_ended(folder, json=True)
            common.note(f"nothing is left to do: {status}. record: {common.shown_path(folder)}")
            return int(status in ("diverged", "failed"))
        requests.require_config(request, folder)
        if not force:
            require_same_machine(folder)
        job = common.Context(source_of(folder, request), again=folder, quiet=quiet, json=json, recorded=request)
        return carried(request, job, many.ExecutionOptions(jobs, cluster))
    finally:
        lock.release()


def require_whole(folder: Path) -> None:
    """Refuse one run of many, its record is that of all, and a folder that a link leads to."""
    if folder.is_symlink() or folder.absolute().parent.is_symlink():
        raise SpecError(f"{common.shown_path(folder)} is reached through a link: name the record where it is")
    if not (folder / "request.json").is_file() and (folder.absolute().parent / "request.json").is_file():
        above = common.shown_path(folder.absolute().parent)
        raise SpecError(f"{common.shown_path(folder)} is one of many runs: name the record of all, {above}")


def carried(request: Request, job: common.Context, how: many.ExecutionOptions, more: tuple[str, ...] = ()) -> int:
    """Carry a request out; a run with ``more`` overrides. Those that it had are in its config.yaml already."""
    from gdcli.cli import compare, run, sweep
    from gdcli.storage.request import RunRequest, SweepRequest

    if isinstance(request, RunRequest):
        return run.carry(request.model_copy(update={"overrides": more}), job)
    if isinstance(request, SweepRequest):
        return sweep.carry(request, job, how)
    return compare.carry(request, job, how)


def status_of(folder: Path) -> str | None:
    """Return how a record ended, None for one that has not, or whose summary is damaged: it is written anew."""
    from gdcli.storage.files import json_file
    from gdcli.storage.record import ENDED

    try:
        status = (json_file(folder / "summary.json") or {}).get("status")
    except MachineError as error:
        common.warn(str(error))
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


def require_same_machine(folder: Path) -> None:
    """Refuse to go on under another version, processor or device: the bits would differ."""
    from gdcli.storage.files import json_file

    common.engine()
    from gdcli.commands.verify import differences, here

    recorded = json_file(folder / "environment.json")
    if recorded is None:
        raise MachineError(f"{folder} has no environment.json")
    if found := differences(recorded, here()):
        what = "; ".join(found)
        raise MachineError(f"{folder} was begun elsewhere: {what}. --force goes on all the same, with other bits")
