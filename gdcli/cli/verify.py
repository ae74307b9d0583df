"""`gdcli verify`: run a record again and say whether it is bit-identical."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gdcli.cli import common, many
from gdcli.cli.resume import carried, require_whole, source_of, status_of
from gdcli.errors import MachineError, RunError, SpecError

if TYPE_CHECKING:
    from gdcli.commands.verify import Difference
    from gdcli.storage.request import Request

SHOWN = 5
STOPPED = (130, 143)


def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A record: its folder, its id, a prefix, a name, last.")],
    output: common.OutputOption = Path("runs"),
    quiet: common.QuietOption = False,
    json: common.JsonOption = False,
) -> int:
    """Run a record again, and say 'bit-identical' or where it first differs; exit 1 if it does.

    Example: gdcli verify last
    """
    from gdcli.storage import request as requests
    from gdcli.storage.files import json_file
    from gdcli.storage.find import find
    from gdcli.storage.run_folder import Lock

    folder = find(run, output)
    require_whole(folder)
    lock = Lock(folder)
    try:
        request, status = requests.read(folder), status_of(folder)
        if status in (None, "interrupted"):
            raise SpecError(f"{common.shown_path(folder)} has not ended: gdcli resume goes on with it")
        requests.require_config(request, folder)
        require_comparable(folder, request)
        with tempfile.TemporaryDirectory(prefix="gdcli-verify-") as again:
            code = done_again(folder, request, Path(again))
            if code in STOPPED:
                return code
            from gdcli.commands import verify

            (new,) = (path for name in Path(again).iterdir() for path in name.iterdir())
            found = verify.compare(folder, new, by_time=ended_by_time(folder))
            machine = verify.differences(json_file(folder / "environment.json") or {}, verify.here())
        common.Output()(_json(folder, found, machine) if json else _text(found, machine))
        return int(bool(found))
    finally:
        lock.release()


def done_again(folder: Path, request: Request, into: Path) -> int:
    """Do what a record's request asks for in another folder, silently; return the exit code."""
    left_out: dict[str, Any] = {"plot": False}
    if request.command == "sweep":
        left_out["trajectory"] = ()  # it is for the picture
    more = (f"stop.max_steps={steps_of(folder)}", "stop.max_seconds=1e9") if ended_by_time(folder) else ()
    recorded = None if more else request  # with more it is another config.yaml
    cores = None if request.command == "run" else cores_of(folder)
    job = common.Context(source_of(folder, request), into, silent=True, quiet=True, recorded=recorded, cores=cores)
    try:
        return carried(request.model_copy(update=left_out), job, many.ExecutionOptions(), more)
    except RunError:
        if status_of(folder) != "failed":
            raise
    return 1


def ended_by_time(folder: Path) -> bool:
    """Say whether a run was stopped by stop.max_seconds, which comes after another step each time."""
    return str(_summary(folder).get("message", "")).startswith("max_seconds reached")


def require_comparable(folder: Path, request: Request) -> None:
    """Refuse many runs of which time stopped one: together they cannot be given each its number of steps."""
    if request.command != "run":
        stopped = [path.parent.name for path in sorted(folder.glob("*/summary.json")) if ended_by_time(path.parent)]
        if stopped:
            what = f"stop.max_seconds ended {len(stopped)} of its runs ({stopped[0]})"
            raise SpecError(f"{common.shown_path(folder)}: {what}, after another step each time: nothing to compare")


def steps_of(folder: Path) -> int:
    """Return how many steps a run made."""
    steps = _summary(folder).get("steps")
    if type(steps) is not int or steps < 1:
        raise MachineError(f"{folder / 'summary.json'} is damaged: it does not say how many steps there were")
    return steps


def _summary(folder: Path) -> dict[str, Any]:
    from gdcli.storage.files import json_file

    return json_file(folder / "summary.json") or {}


def cores_of(folder: Path) -> int | None:
    """Return the cores that ``threads: auto`` found for the runs of a sweep or a comparison, wherever that was."""
    from gdcli.storage import config_reader
    from gdcli.storage.files import json_file

    found = [(json_file(folder / "environment.json") or {}).get("threads")]
    found += [config_reader.read(path.parent).get("threads") for path in folder.glob("*/config.yaml")]
    return max((threads for threads in found if type(threads) is int), default=None)


def _text(found: list[Difference], machine: list[str]) -> str:
    from gdcli.spec.scalars import shown

    if not found:
        return "bit-identical\n"
    lines = [shown(str(difference), limit=500) for difference in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN:,} more files")
    lines.append("the machine: " + ("; ".join(machine) if machine else "the same versions and processor"))
    return "".join(f"{line}\n" for line in lines)


def _json(folder: Path, found: list[Difference], machine: list[str]) -> str:
    from gdcli.storage.files import json_text

    listed: list[dict[str, Any]] = [
        {"run": d.run, "file": d.file, "where": d.where, "recorded": d.recorded, "again": d.again} for d in found
    ]
    return json_text({"folder": str(folder), "identical": not found, "differences": listed, "machine": machine})
