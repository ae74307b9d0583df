"""What a command was asked for, as its record has it in request.json: enough to do the same, or to see it done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from gdcli import __version__
from gdcli.errors import MachineError, SpecError
from gdcli.spec.load import Loaded
from gdcli.spec.scalars import shown
from gdcli.spec.signature import STRICT
from gdcli.storage import config_reader
from gdcli.storage.files import existing, json_file, required

if TYPE_CHECKING:
    from gdcli.zoo.plugins import Plugin

NAME = "request.json"
MAX_BYTES = 2**20
DONE = ("finished", "stopped")


class RecordedPlugin(BaseModel):
    """A plugin that a command line named: its file or package by name, and the sha256 of its source."""

    model_config = STRICT

    name: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Request(BaseModel):
    model_config = STRICT

    format: Literal[1] = 1
    name: str  # of the experiment
    overrides: tuple[str, ...] = ()
    base: str | None = None  # the folder that the spec's data file is relative to
    config_sha256: str = ""
    data_sha256: str = ""  # of a data file
    plot: bool = True
    plugins: tuple[RecordedPlugin, ...] = ()
    objects: tuple[str, ...] = ()  # of a Python program, in place of the spec's model, loss or data: no file has them
    sha256: str = ""  # of all this, by which an edited file is known


class RunRequest(_Request):
    """`gdcli run`."""

    command: Literal["run"] = "run"
    no_limits: bool = False


class _BatchRequest(_Request):
    max_runs: Annotated[int, Field(ge=1)] | None = None
    fleet: Literal["auto", "off", "vmapped"] = "auto"
    fail_fast: bool = False
    keep_models: bool = False
    no_limits: bool = False


class SweepRequest(_BatchRequest):
    """`gdcli sweep`."""

    command: Literal["sweep"] = "sweep"
    param: tuple[str, ...] = ()
    seeds: Annotated[int, Field(ge=1)] = 1
    trajectory: tuple[str, ...] = ()


class CompareRequest(_BatchRequest):
    """`gdcli compare`; what is None is as the spec's ``compare`` block has it."""

    command: Literal["compare"] = "compare"
    optimizers: str | None = None
    batches: str | None = None
    seeds: Annotated[int, Field(ge=1)] | None = None
    redraw_data: bool = False
    tune: int | None = None
    tune_range: str | None = None
    target: float | None = None
    closed_form: bool | None = None
    x: Literal["steps", "epochs", "evaluations"] | None = None


Request: TypeAlias = RunRequest | SweepRequest | CompareRequest
Made = TypeVar("Made", RunRequest, SweepRequest, CompareRequest)


def recorded(plugins: Iterable[Plugin]) -> tuple[RecordedPlugin, ...]:
    """Return plugins as a record has them."""
    return tuple(RecordedPlugin(name=plugin.name, sha256=plugin.sha256) for plugin in plugins)


def checked(kind: type[Made], asked: Mapping[str, Any]) -> Made:
    """Return what is asked for. Raises SpecError for what is of another type or beyond its bounds."""
    try:
        return kind.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        name, why = ".".join(map(str, first["loc"])), first["msg"]
        raise SpecError(f"{name}: {why[:1].lower()}{why[1:]} (got {shown(str(first['input']))})") from None


def text(request: Request, loaded: Loaded, config: str, base: Path) -> str:
    """Return request.json of a record with this config.yaml.

    The folder of the spec is named only where it is needed, for a sweep whose data file is relative to it, so that a
    record does not depend on where it was made.
    """
    relative = loaded.data_sha256 and not isinstance(request, RunRequest)
    update = {
        "name": loaded.spec.name,
        "config_sha256": digest(config),
        "data_sha256": loaded.data_sha256,
        "base": str(base.absolute()) if relative else None,
    }
    found = request.model_copy(update=update)
    return _json(found.model_copy(update={"sha256": _sha256(found)}), indent=2) + "\n"


def _sha256(request: Request) -> str:
    return digest(_json(request.model_copy(update={"sha256": ""})))


def _json(request: Request, indent: int | None = None) -> str:
    """Return a request as JSON, without fields that are newer than the first records and at their defaults."""
    newer = {name for name in NEWER if not getattr(request, name, False)}
    newer -= {"no_limits"} if isinstance(request, RunRequest) else set()
    return request.model_dump_json(indent=indent, exclude=newer)


NEWER = ("keep_models", "no_limits", "plugins", "objects")


def digest(config: str) -> str:
    """Return the sha256 of config.yaml."""
    return hashlib.sha256(config.encode()).hexdigest()


def read(folder: Path) -> Request:
    """Return the request of a record. Raises MachineError for a folder without one, or with a damaged or edited one."""
    content = required(folder / NAME, MAX_BYTES, ": it is no record of run, sweep or compare")
    try:
        found = TypeAdapter[Request](Annotated[Request, Field(discriminator="command")]).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MachineError(f"{folder / NAME} is damaged: {where}: {first['msg']}") from None
    if found.sha256 != _sha256(found):
        raise MachineError(f"{folder / NAME} was changed after the record was begun")
    return found


def require_config(recorded: Request, folder: Path) -> None:
    """Raise MachineError if a record's config.yaml is not what was written."""
    content = required(folder / "config.yaml", 4 * MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != recorded.config_sha256:
        raise MachineError(f"{folder / 'config.yaml'} was changed after the record was begun")


def require_same(recorded: Request, folder: Path, loaded: Loaded, config: str) -> None:
    """Raise MachineError if a record's spec or data file has changed, or gives another config.yaml here and now."""
    if loaded.data_sha256 != recorded.data_sha256:
        raise MachineError(f"{folder}: {loaded.data_file} has changed after the record was begun")
    if digest(config) != recorded.config_sha256:
        raise MachineError(
            f"{folder}: its spec gives another config.yaml than it did. "
            "It was changed after the record was begun, or the device or the version of gdcli is another"
        )


# --- what has been done already ---------------------------------------------------------------------------------------


def finished(parent: Path, digest: str, request: Request, data_sha256: str, processes: int = 1) -> Path | None:
    """Return the newest finished record of the same, below an experiment's folder; None where there is none.

    The same: the digest of the spec with all defaults, the request, the bytes of a data file, the versions of gdcli
    and torch, the number of processes. Whether figures were drawn does not count. A sweep of which one run failed is
    not finished.
    """
    if not parent.is_dir():
        return None
    wanted = _essence(request, data_sha256)
    for folder in sorted(parent.iterdir(), reverse=True):
        if digest in folder.name and not folder.name.startswith(".") and _is_same(folder, wanted, processes):
            return folder
    return None


def _is_same(folder: Path, wanted: Request, processes: int) -> bool:
    try:
        summary, environment = (json_file(folder / f"{name}.json") or {} for name in ("summary", "environment"))
        found, spec = read(folder), config_reader.read(folder)
        existing(folder / "log.txt").close()
    except MachineError:
        return False
    versions = environment.get("versions")
    known = {"gdcli": __version__, "torch": metadata.version("torch")}
    return (
        summary.get("status") in DONE
        and not summary.get("failed")
        and isinstance(versions, dict)
        and {name: str(versions.get(name)).partition("+")[0] for name in known}
        == {name: version.partition("+")[0] for name, version in known.items()}
        and _essence(found, found.data_sha256) == wanted
        and spec.get("world_size", 1) == processes
    )


def _essence(request: Request, data_sha256: str) -> Request:
    """Return a request without what does not change a record's numbers."""
    return request.model_copy(
        update={"sha256": "", "name": "", "config_sha256": "", "base": None, "data_sha256": data_sha256, "plot": True}
    )
