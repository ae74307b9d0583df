"""`gdcli show`: one record at a glance, its text, or its text in another style."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.options import RunArgument
from gdcli.cli.output import Console, print_log
from gdcli.errors import SpecError


def show(
    ctx: typer.Context,
    run: RunArgument,
    output: options.OutputOption = Path("runs"),
    top: Annotated[int, typer.Option(min=0, help="Of a sweep or a comparison: so many of its best runs.")] = 10,
    log: Annotated[bool, typer.Option("--log", help="Print its log.txt.")] = False,
    style: Annotated[
        str | None, typer.Option(help="Print the run in this style; one that is not recorded is trained again for it.")
    ] = None,
    json: options.JsonOption = False,
) -> int:
    """Show a record: how it ended, its spec, results, files and machine.

    Example: gdcli show last --style tensor
    """
    if log + (style is not None) + json > 1:
        raise SpecError("--log, --style and --json exclude each other")
    from gdcli.commands import show as commands
    from gdcli.storage.find import find
    from gdcli.storage.record import read

    record = read(find(run, output))
    if log or (style is not None and commands.has_style(record, style)):
        print_log(record.folder)
        return 0
    console = Console(ctx.obj)
    if style is None:
        overview = commands.RunOverview(record, top)
        console.text(overview.json() if json else overview.text())
        return 0
    stopped = commands.trained_again(record, style, console.frontend())
    if stopped is not None:
        console.note(stopped)
    return 0 if stopped is None else console.signals.code
