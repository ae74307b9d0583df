"""A record taken up again where it was stopped or killed: `gdcli resume`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdcli import __version__
from gdcli.commands.compare import compare
from gdcli.commands.context import Context, Ended, ExecutionOptions, Frontend, shown_path
from gdcli.commands.run import run
from gdcli.commands.sweep import sweep
from gdcli.errors import MachineError, SpecError
from gdcli.spec.bundled import Source
from gdcli.spec.document import MAX_BYTES
from gdcli.storage import request as requests
from gdcli.storage.files import json_file, required
from gdcli.storage.record import ENDED
from gdcli.storage.request import Request, RunRequest, SweepRequest
from gdcli.storage.run_folder import Lock

if TYPE_CHECKING:
    from gdcli.commands.compare.run import ComparisonRun
    from gdcli.commands.loss_grid import LossGrid
    from gdcli.commands.run import RunReport
    from gdcli.commands.sweep.runs import TrainingSweep

    Report = RunReport | TrainingSweep | LossGrid | ComparisonRun | Ended


def resume(
    folder: Path, options: ExecutionOptions, frontend: Frontend, *, force: bool, arguments: tuple[str, ...] = ()
) -> Report:
    """Go on where a record was stopped or killed: the same bytes in the end as if it never had been.

    Raises SpecError for a record that is not to be gone on with by itself, MachineError for one that was changed or
    begun elsewhere; ``force`` allows another machine.
    """
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
        context = Context(source, frontend, again=folder, recorded=request, arguments=arguments, options=options)
        return execute(request, context)
    finally:
        lock.release()


def execute(request: Request, context: Context, more: tuple[str, ...] = ()) -> Report:
    """Do what a record asked for; a run with ``more`` overrides. Those that it had are in its config.yaml already."""
    if isinstance(request, RunRequest):
        return run(request.model_copy(update={"overrides": more}), context)
    return sweep(request, context) if isinstance(request, SweepRequest) else compare(request, context)


def require_whole(folder: Path) -> None:
    """Refuse one run of many, its record is that of all, and a folder that a link leads to."""
    if folder.is_symlink() or folder.absolute().parent.is_symlink():
        raise SpecError(f"{shown_path(folder)} is reached through a link: name the record where it is")
    if not (folder / "request.json").is_file() and (folder.absolute().parent / "request.json").is_file():
        above = shown_path(folder.absolute().parent)
        raise SpecError(f"{shown_path(folder)} is one of many runs: name the record of all, {above}")


def status_of(folder: Path, warning: Callable[[str], None]) -> str | None:
    """Return how a record ended, None for one that has not, or whose summary is damaged: it is written anew."""
    try:
        status = (json_file(folder / "summary.json") or {}).get("status")
    except MachineError as error:
        warning(str(error))
        return None
    return status if status in ENDED else None


def source_of(folder: Path, request: Request) -> Source:
    """Return the spec of a record: of a run the resolved one, where a run of many changes the spec as given."""
    name = "config.yaml" if request.command == "run" else "spec.yaml"
    text = required(folder / name, MAX_BYTES)
    base = folder if request.base is None or request.command == "run" else Path(request.base)
    return Source(base / name, str(folder / name), text)


def _require_same_machine(folder: Path, frontend: Frontend) -> None:
    """Refuse to go on under another version, processor or device: the bits would differ."""
    frontend.engine()
    recorded = json_file(folder / "environment.json")
    if recorded is None:
        raise MachineError(f"{folder} has no environment.json")
    if found := machine_differences(recorded):
        what = "; ".join(found)
        raise MachineError(f"{folder} was begun elsewhere: {what}. --force goes on all the same, with other bits")


def machine_differences(recorded: Mapping[str, Any]) -> list[str]:
    """Return in what, that bits depend on besides the spec, a record's machine differs: 'torch 2.12, here 2.13'."""
    import torch

    versions = recorded.get("versions")
    then = dict(versions) if isinstance(versions, dict) else {}
    here = {
        "gdcli": __version__, "torch": torch.__version__, "numpy": metadata.version("numpy"),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip
    then["cpu_capability"] = recorded.get("cpu_capability")
    return [f"{name} {then.get(name)}, here {now}" for name, now in here.items() if str(then.get(name)) != str(now)]
