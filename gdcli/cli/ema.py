"""`gdcli ema`: the exponential moving average of a column of a CSV file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Output, note, warn
from gdcli.commands.context import shown_path
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.commands.ema import Averages


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
    from gdcli.commands import ema as averaging

    found = averaging.average(averaging.read(file, column), beta or [0.5, 0.9])
    if output.suffix == ".csv" and output.resolve() == Path(file).resolve():
        raise SpecError(f"--output is the file that is read: {shown_path(output)}")
    table = recorded(found, output)
    if plot:
        drawn(found, table.with_suffix(".png"))
    where = table if output.suffix == ".csv" else table.parent
    Output()(found.json(str(where)) if json else found.csv())
    if not quiet:
        note(f"record: {shown_path(where)}")
    return 0


def recorded(found: Averages, output: Path) -> Path:
    """Write the CSV, into a folder of its own unless the output is a file; return its path."""
    from gdcli.storage import files, run_folder

    if output.suffix == ".csv":
        files.replace(output, found.csv())
        return output
    first = {"ema.csv": found.csv(), "summary.json": found.summary()}
    folder, lock = run_folder.claim(output, "ema", found.digest(), time.localtime(), first)
    lock.release()
    return folder / "ema.csv"


def drawn(found: Averages, path: Path) -> None:
    """Draw the series and its averages; what goes wrong in drawing is a warning."""
    from gdcli.report.plots.averages import averages
    from gdcli.storage import files

    series = found.series
    label, x = series.horizontal()
    means = [(f"β = {beta!r}", mean) for beta, mean in zip(found.betas, found.averages, strict=True)]
    title = f"Exponential moving average of {series.column}"
    try:
        content = averages(x, series.values, means, title=title, x_label=label, y_label=series.column)
    except Exception as error:  # a plot is a courtesy; the record is complete without it
        warn(f"could not draw {path.name}: {type(error).__name__}: {error}")
        return
    files.replace(path, content)
