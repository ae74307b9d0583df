"""The plugins that a record names. No record loads one: they are compared with those that the command line named."""

from __future__ import annotations

from pathlib import Path

from gdcli.errors import MachineError, SpecError
from gdcli.spec.scalars import shown
from gdcli.storage import request as requests
from gdcli.storage.record import NOT_AGAIN
from gdcli.zoo.plugins import loaded


def has_objects(folder: Path) -> bool:
    """Say whether a record was made with objects of a Python program, which no file has."""
    recorded = _request_of(folder)
    return recorded is not None and bool(recorded.objects)


def _request_of(folder: Path) -> requests.Request | None:
    folders = (folder, folder.absolute().parent)
    at = next((each for each in folders if (each / requests.NAME).is_file()), None)
    return None if at is None else requests.read(at)


def require_plugins(folder: Path, *, force: bool = False) -> None:
    """Refuse a record, or one run of many, with objects of Python, or plugins not loaded or not as they were then.

    ``force`` allows those that have changed. Raises SpecError for a plugin that no option names, MachineError for one
    that is another now.
    """
    recorded = _request_of(folder)
    wanted = () if recorded is None else recorded.plugins
    if recorded is not None and recorded.objects:
        what = f"its {', '.join(recorded.objects)} came from a Python program"
        raise SpecError(f"{folder}: {what}: {NOT_AGAIN}")
    given = {plugin.sha256: plugin for plugin in loaded()}
    others = [plugin for sha256, plugin in given.items() if sha256 not in {each.sha256 for each in wanted}]
    for plugin in wanted:
        if plugin.sha256 in given:
            continue
        name = shown(plugin.name, 200)
        if not others:
            what = f"{folder}: it was made with the plugin {name}, and no record loads one by itself"
            raise SpecError(f"{what}. Name it on the command line: --plugin {name}")
        other = next((each for each in others if each.name == plugin.name), others[0])
        if not force:
            what = f"{folder}: the plugin {name} has changed after the record was begun"
            raise MachineError(
                f"{what}: its sha256 was {plugin.sha256[:16]}…, that of {other.source} is {other.sha256[:16]}…"
            )
