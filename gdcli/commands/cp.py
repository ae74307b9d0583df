"""Bundled specs copied out of the package: `gdcli cp`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gdcli.errors import SpecError, nearest
from gdcli.spec import bundled, document
from gdcli.storage.files import replace


def copy(name: str, path: Path | None, *, force: bool) -> Iterator[Path]:
    """Copy a bundled spec, with its data file if it has one, to a file or into a folder; yield what is written.

    Raises SpecError for a name that there is not, and for a file that is there already, unless by force.
    """
    if name not in bundled.names():
        raise SpecError(f"there is no bundled spec '{name}'. {nearest(name, bundled.names())}")
    source = bundled.folder() / f"{name}.yaml"
    target = path or Path()
    target = target / source.name if target.is_dir() else target
    copies = {target: source}
    file = document.read(source.read_bytes(), source.name).find(("data", "file"))
    if file is not None and isinstance(file.value, str):
        copies[target.with_name(file.value)] = source.with_name(file.value)
    for new in copies:
        if new.exists() and not force:
            raise SpecError(f"{new} is there already. --force overwrites it")
    for new, old in copies.items():
        replace(new, old.read_bytes())
        yield new
