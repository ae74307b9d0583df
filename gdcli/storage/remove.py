"""Records removed: whole, never one that is in use, never through a link."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from gdcli.errors import DamagedError, MachineError, SpecError
from gdcli.spec.scalars import shown
from gdcli.storage import config_reader
from gdcli.storage.record import STAMP, is_linked, is_record
from gdcli.storage.run_folder import Lock, in_use


def checked(folders: Sequence[Path]) -> list[Path]:
    """Return the folders to remove, each once, none inside another.

    Raises SpecError for a link and for what is no record.
    """
    for folder in folders:
        if is_linked(folder):
            raise SpecError(f"{_told(folder)} is reached through a link: name the record where it is")
        if not is_record(folder):
            raise SpecError(f"{_told(folder)} is no record: it has no spec.yaml and config.yaml")
    by_path = {folder.resolve(): folder for folder in folders}
    return [folder for path, folder in by_path.items() if not by_path.keys() & set(path.parents)]


@contextlib.contextmanager
def held(folders: Sequence[Path]) -> Iterator[None]:
    """Hold the locks of records, so that nothing runs or resumes in them.

    Raises MachineError where another process holds one, or that of the sweep that a run belongs to.
    """
    with contextlib.ExitStack() as locks:
        for folder in folders:
            above = folder.absolute().parent
            if is_record(above) and in_use(above):
                raise MachineError(f"{_told(above)} is in use by another process")
            locks.callback(Lock(folder).release)
        yield


def remove(folder: Path) -> None:
    """Remove a record, and the folder of its experiment when it is left empty.

    It is hidden first: a removal that is killed leaves no half record behind. Of links inside, what they lead to stays.
    Raises MachineError for what the file system refuses.
    """
    emptied = folder.absolute().parent if _is_in_its_experiment(folder) else None
    hidden = folder.with_name(f".{os.urandom(8).hex()}")
    try:
        folder.rename(hidden)
    except OSError as error:
        raise MachineError(f"cannot remove {_told(folder)}: {error.strerror}") from None
    try:
        shutil.rmtree(hidden)
    except OSError as error:
        raise MachineError(f"cannot remove all of {_told(folder)}: {error.strerror}; see {_told(hidden)}") from None
    if emptied is not None:
        with contextlib.suppress(OSError):  # it has other records
            os.rmdir(emptied)  # noqa: PTH106  # a link is no empty folder to it


def _is_in_its_experiment(folder: Path) -> bool:
    """Say whether the folder above was made by gdcli, for the experiment's name."""
    path = folder.absolute()
    if not STAMP.fullmatch(path.name):
        return False
    try:
        name = config_reader.read(folder).get("name", "ema")
    except DamagedError:
        return False
    return bool(name == path.parent.name)


def _told(path: Path) -> str:
    return shown(str(path), 1000)
