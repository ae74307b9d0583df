"""`gdcli sweep`: the loss over a parameter of the model, or one run per value of a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.ended import tell
from gdcli.cli.output import Console, arguments
from gdcli.commands import sweep as commands
from gdcli.commands.batch import ExecutionOptions
from gdcli.commands.context import Context
from gdcli.commands.specs import lasting


def sweep(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC] [KEY=VALUE]...", help="Default: the bundled linear_sweep.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="NAME, NAME=GRID or zip(A=GRID,B=GRID); several give their product."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each point: with the seed and those after it.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the expanded points and exit.")] = False,
    trajectory: Annotated[
        list[str] | None, typer.Option(metavar="RUN", help="A record or a spec: its path on the surface.")
    ] = None,
    max_runs: options.MaxRunsOption = None,
    fleet: options.FleetOption = "auto",
    verify: options.VerifyOption = 0,
    jobs: options.JobsOption = 1,
    cluster: options.ClusterOption = None,
    fail_fast: options.FailFastOption = False,
    output: options.OutputOption = Path("runs"),
    seed: options.SeedOption = None,
    device: options.DeviceOption = None,
    quiet: options.QuietOption = False,
    plot: options.PlotOption = True,
    json: options.JsonOption = False,
    needed: options.NeededOption = False,
) -> int:
    """Sweep a parameter of the model (no training), or train one run per value of a key.

    Examples: gdcli sweep --param w · gdcli sweep backprop_2x2 --param lr=0.1,0.5,1 · gdcli sweep SPEC -p "w=0:4.1:0.1"
    """
    from gdcli.spec import bundled
    from gdcli.storage.request import SweepRequest

    name, overrides = options.split_spec(words or [], "linear_sweep")
    source = bundled.find(name)
    request = SweepRequest(
        name=source.path.stem, overrides=options.overriding(overrides, seed, device), plot=plot, max_runs=max_runs,
        fleet=fleet, fail_fast=fail_fast, param=tuple(param or ()), seeds=seeds,
        trajectory=tuple(map(lasting, trajectory or ())),
    )  # fmt: skip
    console = Console(ctx.obj, quiet=quiet, json=json)
    context = Context(source, console.frontend(), output, needed=needed, arguments=arguments())
    if dry_run:
        console.text(commands.expanded(request, context))
        return 0
    return tell(commands.sweep(request, context, ExecutionOptions(jobs, cluster, verify)), console, verify)
