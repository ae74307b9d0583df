"""`gdcli compare`: optimizers and batch modes on the same data, start values and batch order."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.ended import tell
from gdcli.cli.output import Console, arguments
from gdcli.commands import compare as commands
from gdcli.commands.batch import ExecutionOptions
from gdcli.commands.context import Context
from gdcli.errors import SpecError


def compare(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC] [KEY=VALUE]...", help="Default: the bundled optimizers_2x2.")
    ] = None,
    optimizers: Annotated[
        str | None, typer.Option(help="Labels or settings: sgd,adam or momentum=sgd:lr=1:momentum=0.5,adam.")
    ] = None,
    batches: Annotated[str | None, typer.Option(help="Batch modes: full,mini-batch:32,stochastic.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each row: weights and batch order anew.")] = None,
    redraw_data: Annotated[bool, typer.Option("--redraw-data", help="A seed draws the data anew too.")] = False,
    tune: Annotated[int | None, typer.Option(help="Learning rates to try for each row, on seeds of their own.")] = None,
    tune_range: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="Of --tune. Default: 1e-4,1e1.")] = None,
    target: Annotated[float | None, typer.Option(help="Count steps, epochs and evaluations to this loss.")] = None,
    closed_form: Annotated[
        bool | None, typer.Option("--closed-form/--no-closed-form", help="Add the least-squares solution.")
    ] = None,
    x: Annotated[
        Literal["steps", "epochs", "evaluations"] | None, typer.Option("--x", help="The axis of the plot.")
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
    """Compare optimizers or batch modes: the runs of each row, a table, plots, one folder.

    Every row has the same data and start values, shown by a hash. Example: gdcli compare --optimizers sgd,adam
    """
    from gdcli.spec import bundled
    from gdcli.storage.request import CompareRequest

    name, overrides = options.split_spec(words or [], "optimizers_2x2")
    source = bundled.find(name)
    if target is not None and not isfinite(target):
        raise SpecError(f"--target takes a loss (got {target:g})")
    request = CompareRequest(
        name=source.path.stem, overrides=options.overriding(overrides, seed, device), plot=plot, max_runs=max_runs,
        fleet=fleet, fail_fast=fail_fast, optimizers=optimizers, batches=batches, seeds=seeds, redraw_data=redraw_data,
        tune=tune, tune_range=tune_range, target=target, closed_form=closed_form, x=x,
    )  # fmt: skip
    console = Console(ctx.obj, quiet=quiet, json=json)
    context = Context(source, console.frontend(), output, needed=needed, arguments=arguments())
    return tell(commands.compare(request, context, ExecutionOptions(jobs, cluster, verify)), console, verify)
