"""`gdcli run`: train one experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.ended import tell
from gdcli.cli.output import Console, arguments
from gdcli.commands import run as commands
from gdcli.commands.context import Context


def run(
    ctx: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="SPEC [KEY=VALUE]...", help="A YAML file or a bundled name, and overrides.")
    ],
    output: options.OutputOption = Path("runs"),
    seed: options.SeedOption = None,
    device: options.DeviceOption = None,
    quiet: options.QuietOption = False,
    plot: options.PlotOption = True,
    json: options.JsonOption = False,
    needed: options.NeededOption = False,
    no_limits: options.NoLimitsOption = False,
) -> int:
    """Train one experiment: print its style, write its run folder.

    Example: gdcli run backprop_2x2 optimizer.lr=0.1 epochs=50
    """
    from gdcli.spec import bundled
    from gdcli.storage.request import RunRequest

    name, words = options.split_spec(words)
    source, overrides = bundled.find(name), options.overriding(words, seed, device)
    request = RunRequest(name=source.path.stem, overrides=overrides, plot=plot, no_limits=no_limits)
    console = Console(ctx.obj, quiet=quiet, json=json)
    context = Context(source, console.frontend(), output, needed=needed, arguments=arguments())
    return tell(commands.run(request, context), console)
