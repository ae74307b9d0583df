"""`gdcli plot`: pictures of losses, activations, runs, gradients, surfaces and networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import note
from gdcli.cli.signals import import_engine
from gdcli.commands import plot as commands
from gdcli.commands.context import shown_path


def plot(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]... [KEY=VALUE]...", help="Records, or specs to train, and overrides."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", "-k", help=f"{', '.join(commands.KINDS)}. Default: curves.")
    ] = None,
    smooth: Annotated[
        float | None, typer.Option(metavar="BETA", help="curves: the moving average, over the pale loss.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAMES", help="activations: some, on one pair of axes: sigmoid,tanh.")
    ] = None,
    step: Annotated[int, typer.Option(min=1, help="network: before which step of the run.")] = 1,
    animate: Annotated[bool, typer.Option("--animate", help="curves, surface: a GIF that grows.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="png, svg or pdf; default: KIND.png.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    quiet: options.QuietOption = False,
) -> int:
    """Draw a picture: loss curves, activations, losses, gradients by layer, a surface with paths, a network.

    Examples: gdcli plot runs/a runs/b --smooth 0.9 · gdcli plot --kind activations · gdcli plot adam_2x2 -k surface
    """
    words = words or []
    names = [part.strip() for part in name.split(",")] if name is not None else []
    picture = commands.PlotOptions(commands.chosen(kind, words), smooth, names, step, animate)
    picture.check(words)
    path = commands.target(output, picture, force=force)
    import_engine()
    commands.plot(words, picture, path)
    if not quiet:
        note(f"wrote {shown_path(path)}")
    return 0
