"""`gdcli export`: a record for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.options import RunArgument
from gdcli.cli.output import Output, note
from gdcli.cli.rm import told
from gdcli.errors import SpecError


def export(
    run: RunArgument,
    form: Annotated[
        Literal["csv", "parquet", "tensorboard"], typer.Option("--format", "-f", help="What to write.")
    ] = "csv",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            "-o",
            metavar="PATH",
            help="A file; a folder for tensorboard. Default: standard output, ID.parquet, tensorboard/.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder of the records.")] = Path("runs"),
    long: Annotated[bool, typer.Option("--long", help="Of many runs: all steps of each.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    quiet: options.QuietOption = False,
) -> int:
    """Write all numbers of a record as one table, CSV or Parquet, or its losses as TensorBoard's event files.

    Example: gdcli export last --format parquet -o last.parquet
    """
    if long and form == "tensorboard":
        raise SpecError("--long is for csv and parquet; TensorBoard gets all steps of all runs anyway")
    from gdcli.commands import export as exporting
    from gdcli.storage.find import find
    from gdcli.storage.record import read

    record = read(find(run, output))
    if form == "tensorboard":
        folder = to or Path("tensorboard")
        files = exporting.to_tensorboard(record, folder, force=force)
        return written(folder / record.id, f"{len(files):,} event file{'s' * (len(files) != 1)} in ", quiet=quiet)
    table = exporting.table_of(record, long=long)
    if form == "csv" and to is None:
        out = Output()
        for piece in table.csv():
            out(piece.decode())
        return 0
    path = to or Path(f"{record.id}.parquet")
    fill = exporting.to_csv if form == "csv" else exporting.to_parquet
    exporting.write(path, lambda stream: fill(table, stream), force=force)
    return written(path, "", quiet=quiet)


def written(path: Path, what: str, *, quiet: bool) -> int:
    """Tell what was written."""
    if not quiet:
        note(f"wrote {what}{told(path)}")
    return 0
