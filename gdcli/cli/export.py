"""`gdcli export`: a record in other programs' formats, or as a plain torch script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.output import Console, note, say
from gdcli.cli.records import RunArgument, told
from gdcli.commands.context import shown_path
from gdcli.errors import SpecError
from gdcli.storage.files import in_folder, is_folder


def export(
    ctx: typer.Context,
    run: RunArgument,
    form: Annotated[
        Literal["csv", "parquet", "tensorboard", "state_dict", "onnx", "script"] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="csv, parquet, tensorboard, state_dict, onnx or script. Default: that of the file's ending, else csv.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            "-o",
            metavar="PATH",
            help="A file; a folder for tensorboard. Default: standard output, ID.parquet, ID.pt, tensorboard/.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder of the records.")] = Path("runs"),
    long: Annotated[bool, typer.Option("--long", help="Of many runs: all steps of each.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    quiet: options.QuietOption = False,
    plugin: options.PluginOption = None,
) -> int:
    """Write a record as one table, its model or losses as a file for other programs, or a spec as a torch script.

    csv and parquet are all numbers of the record as a table, tensorboard its losses as TensorBoard's event files;
    state_dict is a run's model for torch.load, onnx the same as a graph, for rows as its preprocessing.json makes them;
    script is the run, or a spec by its file or name, as a plain torch script that prints the same.

    Example: gdcli export last --format parquet -o last.parquet
    """
    from gdcli.commands import export as exporting
    from gdcli.storage.find import find
    from gdcli.storage.record import read

    options.load(plugin)
    kind = exporting.form_of(form, to)
    if kind == "script":
        return export_script(Console(ctx.obj, quiet=quiet), run, to, output, long=long, force=force)
    record = read(find(run, output))
    if kind == "tensorboard":
        if long:
            raise SpecError("--long is for csv and parquet; TensorBoard gets all steps of all runs anyway")
        folder = Path("tensorboard" if to is None else to)
        files = exporting.to_tensorboard(record, folder, force=force)
        return written(folder / record.id, f"{len(files):,} event file{'s' * (len(files) != 1)} in ", quiet=quiet)
    if kind in ("state_dict", "onnx"):
        if long:
            raise SpecError(f"--long is for csv and parquet, {kind} is a run's model")
        path = file_of(to, f"{record.id}{exporting.ENDINGS[kind][0]}")
        exporting.require_free(path, force=force)
        from gdcli.commands import export_model
        from gdcli.storage.files import replace

        made = export_model.state_dict if kind == "state_dict" else export_model.onnx_graph
        replace(path, made(record.folder, Console(ctx.obj, quiet=quiet).frontend()))
        return written(path, "", quiet=quiet)
    table = exporting.table_of(record, long=long)
    if kind == "csv" and to is None:
        for piece in table.csv():
            say(piece.decode())
        return 0
    path = file_of(to, f"{record.id}.{kind}")
    exporting.to_file(table, path, kind, force=force)
    return written(path, "", quiet=quiet)


def export_script(console: Console, run: str, to: str | None, output: Path, *, long: bool, force: bool) -> int:
    """Print a script, or write it with the files that it reads beside it."""
    if long:
        raise SpecError("--long is for csv and parquet, script is one run")
    console.frontend().engine()
    from gdcli.commands.script import script_of, write
    from gdcli.commands.script.source import loaded_of

    loaded = loaded_of(run, output)
    path = None if to is None else file_of(to, f"{loaded.spec.name}.py")
    script = script_of(loaded, loaded.spec.name if path is None else path.stem)
    for warning in loaded.warnings:
        console.warn(warning)
    if path is None:
        if script.beside:
            raise SpecError(f"the script reads {', '.join(script.beside)}, which goes beside it: -o FILE says where")
        say(script.text)
        return 0
    for beside in write(script, path, force=force):
        if not console.quiet:
            note(f"wrote {shown_path(beside)}, which the script reads")
    return written(path, "", quiet=console.quiet)


def file_of(to: str | None, name: str) -> Path:
    """Return the file that is asked for: of a folder, which is made, the one of this name."""
    path = Path(name) if to is None else in_folder(to, name)
    if to is not None and is_folder(to):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def written(path: Path, what: str, *, quiet: bool) -> int:
    """Tell what was written."""
    if not quiet:
        note(f"wrote {what}{told(path)}")
    return 0
