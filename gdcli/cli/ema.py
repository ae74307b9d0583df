"""`gdcli ema`: the exponential moving average of a column of a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Output, note, warn
from gdcli.commands.context import shown_path


def ema(
    file: Annotated[
        str, typer.Argument(metavar="[FILE.csv]", help="A CSV file with a header, or a bundled one.")
    ] = "temperatures",
    column: Annotated[str | None, typer.Option(help="The column to average. Default: the last.")] = None,
    beta: Annotated[
        list[float] | None,
        typer.Option(help="How much of the average before is kept, 0 to below 1; may be repeated. Default: 0.5, 0.9."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the records, or a .csv file: the plot goes beside it.")
    ] = Path("runs"),
    quiet: options.QuietOption = False,
    plot: options.PlotOption = True,
    json: options.JsonOption = False,
) -> int:
    """Average a series of numbers: S = beta*S + (1 - beta)*y, the first S is the first y. Prints a CSV.

    Example: gdcli ema temperatures --column temperature --beta 0.5 --beta 0.9
    """
    from gdcli.commands import ema as commands

    found = commands.average(commands.read(file, column), beta or [0.5, 0.9])
    record = commands.record(found, output, Path(file), plot=plot, warning=warn)
    Output()(found.json(str(record)) if json else found.csv())
    if not quiet:
        note(f"record: {shown_path(record)}")
    return 0
