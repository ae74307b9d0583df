"""`gdcli predict` and `evaluate`: a trained model on another table."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.export import file_of, written
from gdcli.cli.output import Console, say
from gdcli.cli.records import RunArgument
from gdcli.errors import SpecError
from gdcli.spec.scalars import shown

TableArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="A table with the columns of the training data, in any order: CSV, TSV, Parquet, NPZ, IDX."
    ),
]


def predict(
    ctx: typer.Context,
    run: RunArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A table with the features' columns: CSV, TSV, Parquet, NPZ, IDX; - reads a CSV from standard input.",
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", "-o", metavar="PATH", help="A CSV file; in a folder predictions.csv. Default: standard output."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder of the records.")] = Path("runs"),
    force: options.ForceOption = False,
    quiet: options.QuietOption = False,
    plugin: options.PluginOption = None,
) -> int:
    """Predict with a run's model: a CSV with a row for each row of a table, in its order.

    Columns are found by their names, others are passed over. Classes come with their probabilities.

    Example: gdcli predict last new_rows.csv -o predictions.csv
    """
    from gdcli.commands import predict as commands
    from gdcli.commands.export import require_free
    from gdcli.storage.files import replace
    from gdcli.storage.find import find
    from gdcli.storage.table_stream import opened

    options.load(plugin)
    frontend, folder = Console(ctx.obj, quiet=quiet).frontend(), find(run, output)
    path = None if to is None else file_of(to, "predictions.csv")
    if path is not None:
        if path.suffix.lower() in (".parquet", ".npz", ".json", ".xlsx"):
            raise SpecError(f"{shown(str(path), 200)}: predictions are written as CSV")
        require_free(path, force=force)
    with opened(None if file == "-" else Path(file), sys.stdin.buffer) as stream:
        name = "standard input" if file == "-" else shown(file, 200)
        pieces = commands.predict(folder, stream, name, frontend)
        if path is None:
            for piece in pieces:
                say(piece)
            return 0
        replace(path, lambda stream: stream.writelines(piece.encode() for piece in pieces))
    return written(path, "", quiet=quiet)


def evaluate(
    ctx: typer.Context,
    run: RunArgument,
    file: TableArgument,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="PATH", help="An IDX file of labels, where FILE is one of images."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the records.")] = Path("runs"),
    json: options.JsonOption = False,
    plugin: options.PluginOption = None,
) -> int:
    """Evaluate a run's model on another table: its loss and metrics on all rows, targets included.

    Example: gdcli evaluate last held_out.csv
    """
    from gdcli.commands import evaluate as commands
    from gdcli.storage.find import find
    from gdcli.storage.table_stream import opened

    options.load(plugin)
    console = Console(ctx.obj, json=json)
    if file == "-":
        raise SpecError("evaluate takes a file; predict reads standard input too")
    with ExitStack() as stack:
        stream = stack.enter_context(opened(Path(file), sys.stdin.buffer))
        beside = None if labels is None else stack.enter_context(opened(labels, sys.stdin.buffer))
        found = commands.evaluate(find(run, output), stream, shown(file, 200), console.frontend(), beside)
    console.report(found.json() if json else found.text())
    return 0
