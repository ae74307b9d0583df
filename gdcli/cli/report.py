"""`gdcli report`: a record as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.export import file_of, written
from gdcli.cli.output import Console
from gdcli.cli.records import told


def report(
    ctx: typer.Context,
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Records: folders, ids, prefixes, last, last~1, ...")
    ],
    to: Annotated[
        str, typer.Option("--to", "-o", metavar="PATH", help="The file, or a folder that ends in a slash.")
    ] = "report.html",
    output: Annotated[Path, typer.Option("--output", help="Folder of the records.")] = Path("runs"),
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    lang: Annotated[Literal["en", "zh"], typer.Option(help="Language of the labels.")] = "en",
    curves: Annotated[bool, typer.Option("--curves", help="Curves and tables alone: no run is trained again.")] = False,
    force: options.ForceOption = False,
    quiet: options.QuietOption = False,
    plugin: options.PluginOption = None,
) -> int:
    """Write a record as one HTML page that opens without a network: curves, tables, spec, and a small net step by step.

    An earlier report is overwritten, another file is not. Several records stand side by side.

    Example: gdcli report last --open
    """
    import webbrowser

    from gdcli.commands.export import require_free
    from gdcli.commands.report import report as report_of
    from gdcli.storage.files import replace

    options.load(plugin)
    path, console = file_of(to, "report.html"), Console(ctx.obj, quiet=quiet)
    require_free(path, force=force or is_report(path))
    found = report_of(runs, output, lang=lang, curves=curves)
    for problem in found.problems:
        console.warn(problem)
    replace(path, found.html.encode())
    if show and not webbrowser.open(path.absolute().as_uri()):
        console.warn(f"no browser was found to open {told(path)}")
    return written(path, "", quiet=quiet)


def is_report(path: Path) -> bool:
    """Say whether a file is a page that this command wrote, which is written anew without being asked."""
    if not path.is_file():
        return False  # to open a pipe would wait for its other end
    try:
        with path.open("rb") as stream:
            return b'<meta name="generator" content="gdcli">' in stream.read(2000)
    except OSError:
        return False
