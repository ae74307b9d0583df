"""`gdcli verify`: run a record again and say whether it is bit-identical."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Console, arguments


def verify(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A record: its folder, its id, a prefix, a name, last.")],
    output: options.OutputOption = Path("runs"),
    quiet: options.QuietOption = False,
    json: options.JsonOption = False,
) -> int:
    """Run a record again, and say 'bit-identical' or where it first differs; exit 1 if it does.

    Example: gdcli verify last
    """
    from gdcli.commands import verify as commands
    from gdcli.storage.find import find

    console = Console(ctx.obj, quiet=quiet, json=json)
    found = commands.verify(find(run, output), console.frontend(), arguments())
    if found is None:
        return console.signals.code
    console.text(found.json() if json else found.text())
    return int(bool(found.differences))
