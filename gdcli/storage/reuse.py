"""Whether what is requested has been done: a finished record of the same request, spec and versions."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli import __version__
from gdcli.errors import MachineError
from gdcli.storage.files import existing, json_file

if TYPE_CHECKING:
    from gdcli.storage.request import Request

DONE = ("finished", "stopped")


def finished(parent: Path, digest: str, request: Request, data_sha256: str) -> Path | None:
    """Return the newest finished record of the same, below an experiment's folder; None where there is none.

    The same: the digest of the spec with all defaults, the request, the bytes of a data file, the versions of gdcli
    and torch. Whether figures were drawn does not count. A sweep of which one run failed is not finished.
    """
    if not parent.is_dir():
        return None
    wanted = _essence(request, data_sha256)
    for folder in sorted(parent.iterdir(), reverse=True):
        if digest in folder.name and not folder.name.startswith(".") and _is_same(folder, wanted):
            return folder
    return None


def _is_same(folder: Path, wanted: Request) -> bool:
    from gdcli.storage import request as requests

    try:
        summary, environment = (json_file(folder / f"{name}.json") or {} for name in ("summary", "environment"))
        found = requests.read(folder)
    except MachineError:
        return False
    versions = environment.get("versions")
    known = {"gdcli": __version__, "torch": metadata.version("torch")}
    return (
        summary.get("status") in DONE
        and not summary.get("failed")
        and _has_text(folder)
        and isinstance(versions, dict)
        and {name: str(versions.get(name)).partition("+")[0] for name in known}
        == {name: version.partition("+")[0] for name, version in known.items()}
        and _essence(found, found.data_sha256) == wanted
    )


def _has_text(folder: Path) -> bool:
    try:
        existing(folder / "log.txt").close()
    except MachineError:
        return False
    return True


def _essence(request: Request, data_sha256: str) -> Request:
    """Return a request without what does not change a record's numbers."""
    return request.model_copy(
        update={"sha256": "", "name": "", "config_sha256": "", "base": None, "data_sha256": data_sha256, "plot": True}
    )
