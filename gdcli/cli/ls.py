"""`gdcli ls`: the records as a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Output, note
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.commands.list import Listing

DISPENSABLE = ("when", "duration", "best_loss", "kind", "steps")
"""Columns that a terminal too narrow for all does without, in this order; the id has the time in it."""
COLOURS = {
    "finished": "green", "stopped": "green", "diverged": "red", "failed": "red", "damaged": "red",
    "interrupted": "yellow", "unfinished": "yellow", "running": "cyan",
}  # fmt: skip


def ls(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|NAME|FOLDER", help="A sweep or a comparison, for its runs; a spec's name, or a folder."
        ),
    ] = None,
    output: options.OutputOption = Path("runs"),
    sort_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A column, a metric, or a key of the spec: optimizer.lr.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round.")] = False,
    only_changed: Annotated[
        bool, typer.Option("--only-changed", help="Also show the keys of the spec that are not the same in all.")
    ] = False,
    top: Annotated[int | None, typer.Option(min=0, help="Only the first so many.")] = None,
    status: Annotated[str | None, typer.Option(help="Only those that ended so: finished, diverged, ...")] = None,
    json: options.JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print a CSV, all digits.")] = False,
    md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
) -> int:
    """List the records, the newest first. On a narrow terminal the time and other columns are left out.

    Example: gdcli ls --sort-by final_loss --top 10 --only-changed
    """
    if json + csv + md > 1:
        raise SpecError("--json, --csv and --md exclude each other")
    from gdcli.commands.list import ListOptions, folders_of, listing

    found = listing(folders_of(folder, output), ListOptions(status, sort_by, reverse, only_changed, top))
    out = Output()
    if json or csv or md:
        out(found.json() if json else found.csv() if csv else found.markdown())
    elif not found.rows:
        note("no records")
    elif sys.stdout.isatty():
        _on_terminal(found)
    else:
        out(found.text())
    return 0


def _on_terminal(found: Listing) -> None:
    """Print a table as wide as the terminal at most; texts of records are never markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gdcli.report.tables import number

    console = Console(highlight=False, markup=False, emoji=False)
    lines = [found.header(), *[[number(value) for value in row] for row in found.cells()]]
    kept = _fitting(found.columns, [max(map(len, column)) for column in zip(*lines, strict=True)], console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for k in kept:
        numbers = all(not isinstance(row[k], str) for row in found.cells())
        table.add_column(Text(lines[0][k], style="bold"), justify="right" if numbers else "left", no_wrap=True)
    status = found.columns.index("status")
    for line in lines[1:]:
        table.add_row(*(Text(line[k], style=COLOURS[line[k]] if k == status else "") for k in kept))
    console.print(table)


def _fitting(columns: tuple[str, ...], widths: list[int], room: int) -> list[int]:
    """Return which columns to show: without those that can be spared, as far as that is needed."""
    kept = list(range(len(columns)))
    for name in DISPENSABLE:
        if sum(widths[k] + 2 for k in kept) - 2 > room:
            kept.remove(columns.index(name))
    return kept
