"""`gdcli cp`: copy a bundled spec out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli.output import Output, note
from gdcli.commands.context import shown_path


def cp(
    name: Annotated[str | None, typer.Argument(help="A bundled spec; without it, the list of them.")] = None,
    path: Annotated[Path | None, typer.Argument(help="Where to: a file or a folder. Default: here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Copy a bundled spec, with its data file if it has one, out of the package."""
    from gdcli.commands import cp as commands
    from gdcli.spec import bundled

    if name is None:
        Output()("".join(f"{each}\n" for each in bundled.names()))
        return
    for new in commands.copy(name, path, force=force):
        note(f"wrote {shown_path(new)}")
