"""`gdcli diff`: two records side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Output


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A record: its folder, its id, a prefix, last, last~1, ...")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    output: options.OutputOption = Path("runs"),
    json: options.JsonOption = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 1 where anything differs, as git diff does; 0 otherwise.")
    ] = False,
) -> int:
    """Show where two records differ: spec, results with the first loss that is not the same, environment.

    Example: gdcli diff last~1 last
    """
    from gdcli.commands.diff import differences
    from gdcli.storage.find import find
    from gdcli.storage.record import read

    found = differences(*(read(find(text, output)) for text in (a, b)))
    Output()(found.json() if json else found.text())
    return int(exit_code and bool(found))
