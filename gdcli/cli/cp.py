"""`gdcli cp`: copy a bundled spec out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli.output import Output, note
from gdcli.commands.context import shown_path
from gdcli.errors import SpecError, nearest


def cp(
    name: Annotated[str | None, typer.Argument(help="A bundled spec; without it, the list of them.")] = None,
    path: Annotated[Path | None, typer.Argument(help="Where to: a file or a folder. Default: here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Copy a bundled spec, with its data file if it has one, out of the package."""
    from gdcli.spec import bundled, document
    from gdcli.storage.files import replace

    if name is None:
        Output()("".join(f"{each}\n" for each in bundled.names()))
        return
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
        note(f"wrote {shown_path(new)}")
