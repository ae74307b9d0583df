"""`gdcli run`, `sweep`, `compare`, `resume` and `verify`: what trains, and what is told when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.live import serving
from gdcli.cli.output import Console, arguments
from gdcli.cli.processes import together
from gdcli.commands.context import Context, Ended, ExecutionOptions, ignore, shown_path
from gdcli.errors import SpecError
from gdcli.spec.scalars import shown

if TYPE_CHECKING:
    from gdcli.commands.again import Report
    from gdcli.commands.batch import BatchRun
    from gdcli.commands.run import RunReport
    from gdcli.spec.bundled import Source
    from gdcli.spec.expectations import ExpectedNumber
    from gdcli.zoo.plugins import Plugin

RecordArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A record: folder, id or its prefix, whole name, last.")
]


def run(
    ctx: typer.Context,
    words: options.SpecArgument,
    output: options.OutputOption = Path("runs"),
    seed: options.SeedOption = None,
    device: options.DeviceOption = None,
    quiet: options.QuietOption = False,
    plot: options.PlotOption = True,
    json: options.JsonOption = False,
    needed: options.NeededOption = False,
    no_limits: options.NoLimitsOption = False,
    tag: options.TagOption = None,
    plugin: options.PluginOption = None,
    config: options.ConfigOption = None,
    live: options.LiveOption = False,
) -> int:
    """Train one experiment: print how it goes, write its record.

    Example: gdcli run backprop_2x2 optimizer.lr=0.1 epochs=50
    """
    from gdcli.commands import run as commands
    from gdcli.commands.specs import source_of
    from gdcli.storage.request import RunRequest, recorded

    with serving(live) as opened:
        with together(ctx.obj, quiet=quiet, json=json) as (console, group):
            name, overrides = options.spec_of(words, seed=seed, device=device)
            source, plugins = source_of(name, config or ()), options.load(plugin)
            request = RunRequest(
                name=source.name, overrides=overrides, plot=plot, no_limits=no_limits, plugins=recorded(plugins)
            )
            context = Context(
                source, console.frontend(opened), None if console.silent else output, needed=needed,
                arguments=arguments(), tags=options.tags_of(tag), plugins=plugins, group=group,
            )  # fmt: skip
            report = commands.run(request, context)
        return tell(report, console)


@options.spread
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
    *,
    shared: options.ManyRuns,
) -> int:
    """Sweep a parameter of the model (no training), or train one run per value of a key.

    Examples: gdcli sweep --param w · gdcli sweep backprop_2x2 --param lr=0.1,0.5,1 · gdcli sweep SPEC -p "w=0:4.1:0.1"
    """
    from gdcli.commands import sweep as commands
    from gdcli.commands.specs import choices, lasting, source_of
    from gdcli.storage.request import SweepRequest, recorded

    name, overrides = options.spec_of(words or [], "linear_sweep", seed=shared.seed, device=shared.device)
    source, plugins = source_of(name, shared.config or ()), options.load(shared.plugin)
    request = SweepRequest(
        name=source.name, overrides=overrides, plot=shared.plot, max_runs=shared.max_runs,
        fleet=shared.fleet, fail_fast=shared.fail_fast, keep_models=shared.keep_models, no_limits=shared.no_limits,
        param=tuple(param or ()), seeds=seeds, trajectory=tuple(map(lasting, trajectory or ())),
        plugins=recorded(plugins),
    )  # fmt: skip
    if dry_run:
        console, context = _many(ctx, source, shared, plugins)
        console.text(commands.expanded(request, context))
        return 0
    with serving(shared.live) as opened:
        console, context = _many(ctx, source, shared, plugins, opened)
        for line in choices(trajectory or ()) if not shared.quiet else ():
            console.note(line)
        return tell(commands.sweep(request, context), console, shared.verify)


@options.spread
def compare(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC] [KEY=VALUE]...", help="Default: the bundled optimizers_2x2.")
    ] = None,
    optimizers: Annotated[str | None, typer.Option(help="Labels or settings: sgd,adam or m=sgd:momentum=0.9")] = None,
    batches: Annotated[str | None, typer.Option(help="Batch modes: full,stochastic or mini-batch:32")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each row: weights and batch order anew.")] = None,
    redraw_data: Annotated[bool, typer.Option("--redraw-data", help="A seed draws the data anew too.")] = False,
    tune: Annotated[int | None, typer.Option(help="Learning rates to try for each row, on seeds of their own.")] = None,
    tune_range: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="Of --tune. Default: 1e-4,1e1.")] = None,
    target: Annotated[
        float | None,
        typer.Option(help="Count steps, epochs and evaluations to this loss, looked at at the end of each epoch."),
    ] = None,
    closed_form: Annotated[
        bool | None, typer.Option("--closed-form/--no-closed-form", help="Add the least-squares solution.")
    ] = None,
    x: Annotated[
        Literal["steps", "epochs", "evaluations"] | None,
        typer.Option("--x", metavar="AXIS", help="The axis of the plot: steps, epochs or evaluations."),
    ] = None,
    *,
    shared: options.ManyRuns,
) -> int:
    """Compare optimizers or batch modes: the runs of each row, a table, plots, one folder.

    Every row has the same data and start values, shown by a hash. Example: gdcli compare --optimizers sgd,adam
    """
    from gdcli.commands import compare as commands
    from gdcli.commands.specs import source_of
    from gdcli.storage.request import CompareRequest, recorded

    name, overrides = options.spec_of(words or [], "optimizers_2x2", seed=shared.seed, device=shared.device)
    source, plugins = source_of(name, shared.config or ()), options.load(shared.plugin)
    if target is not None and not isfinite(target):
        raise SpecError(f"--target takes a loss (got {target:g})")
    request = CompareRequest(
        name=source.name, overrides=overrides, plot=shared.plot, max_runs=shared.max_runs,
        fleet=shared.fleet, fail_fast=shared.fail_fast, keep_models=shared.keep_models, no_limits=shared.no_limits,
        optimizers=optimizers, batches=batches, seeds=seeds, redraw_data=redraw_data, tune=tune, tune_range=tune_range,
        target=target, closed_form=closed_form, x=x, plugins=recorded(plugins),
    )  # fmt: skip
    with serving(shared.live) as opened:
        console, context = _many(ctx, source, shared, plugins, opened)
        return tell(commands.compare(request, context), console, shared.verify)


def _many(
    ctx: typer.Context,
    source: Source,
    shared: options.ManyRuns,
    plugins: tuple[Plugin, ...],
    opened: Callable[[Path], None] = ignore,
) -> tuple[Console, Context]:
    console = Console(ctx.obj, quiet=shared.quiet, json=shared.json)
    frontend, execution = console.frontend(opened), ExecutionOptions(shared.jobs, shared.cluster, shared.verify)
    return console, Context(
        source,
        frontend,
        shared.output,
        needed=shared.needed,
        arguments=arguments(),
        options=execution,
        tags=options.tags_of(shared.tag),
        plugins=plugins,
    )


def resume(
    ctx: typer.Context,
    run: RecordArgument,
    output: options.OutputOption = Path("runs"),
    jobs: options.JobsOption = 1,
    cluster: options.ClusterOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run again what failed, too.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on though the machine, the versions or a plugin differ.")
    ] = False,
    quiet: options.QuietOption = False,
    json: options.JsonOption = False,
    plugin: options.PluginOption = None,
) -> int:
    """Go on where a record was stopped or killed: the same bytes in the end as if it never had been.

    Standard output is what was not printed before the last checkpoint. Example: gdcli resume last
    """
    from gdcli.commands import again
    from gdcli.storage.find import find

    with together(ctx.obj, quiet=quiet, json=json) as (console, group):
        options.load(plugin)
        report = again.resume(
            find(run, output), ExecutionOptions(jobs, cluster), console.frontend(), force=force,
            retry_failed=retry_failed, arguments=arguments(), group=group,
        )  # fmt: skip
    if not isinstance(report, Ended):
        return tell(report, console)
    if json:
        console.ended(report.folder)
    more = ", --retry-failed runs again what failed" if report.status == "failed" else ""
    where = "" if quiet else f". record: {shown_path(report.folder)}"
    bad = report.status in ("diverged", "failed")
    if bad or not quiet:
        console.note(f"nothing is left to do: {report.status}{more}{where}")
    return int(bad)


def verify(
    ctx: typer.Context,
    run: RecordArgument,
    output: options.OutputOption = Path("runs"),
    quiet: options.QuietOption = False,
    json: options.JsonOption = False,
    plugin: options.PluginOption = None,
) -> int:
    """Run a record again, and say 'bit-identical' or where it first differs; exit 1 if it does.

    Example: gdcli verify last
    """
    from gdcli.commands import again
    from gdcli.storage.find import find

    with together(ctx.obj, quiet=quiet, json=json) as (console, group):
        options.load(plugin)
        found = again.verify(find(run, output), console.frontend(), arguments(), group)
    if found is None:
        return console.signals.code
    console.report(found.json() if json else found.text())
    return int(bool(found.differences))


# --- what is told at the end ------------------------------------------------------------------------------------------


def tell(report: Report, console: Console, verify: int = 0) -> int:
    """Print what a report has to say; of runs of fleets so many are verified. Return the exit code."""
    if isinstance(report, Ended):
        console.ended(report.folder)
        lacking = f", without the tag {', '.join(map(shown, report.lacking))}" if report.lacking else ""
        where = "" if console.quiet else f": {shown_path(report.folder)}"
        if lacking or where:
            console.note(f"not needed, it is finished already{lacking}{where}")
        return _expected(report.expected, console)
    from gdcli.commands.loss_grid import LossGrid
    from gdcli.commands.run import RunReport

    if isinstance(report, RunReport):
        return _run(report, console)
    if not isinstance(report, LossGrid):
        return _batch(report, console, verify)
    console.report(report.json() if console.json else report.text())
    if not console.quiet and (note := report.note()) is not None:
        console.note(note)
    _where(report.folder, console, interrupted=False)
    _pictures(report.folder, console)
    return 0


def _run(report: RunReport, console: Console) -> int:
    outcome = report.finished.outcome
    if console.json:
        console.text(report.json())
    elif not console.quiet:
        for line in report.finished.predictions():
            console.note(line)
    if outcome.status in ("diverged", "interrupted") or (outcome.status == "stopped" and not console.quiet):
        console.note(outcome.message)
    for line in () if console.quiet else report.told():
        console.note(line)
    _where(report.folder, console, interrupted=report.interrupted)
    if report.picture is not None and not console.quiet:
        console.note(f"picture: {shown_path(report.picture)}")
    unmet = _expected(report.finished.expected, console)
    return {"diverged": 1, "interrupted": console.signals.code}.get(outcome.status, unmet)


def _expected(expected: Sequence[ExpectedNumber], console: Console) -> int:
    """Tell each number that the spec expects with the one found, under --quiet those that are not met; 1 for any."""
    for each in expected:
        if not (each.met and console.quiet):
            console.note(f"{'as expected' if each.met else 'not as expected'}: {each}")
    return int(not console.silent and not all(each.met for each in expected))  # the first of several processes tells


def _batch(report: BatchRun, console: Console, verify: int) -> int:
    from gdcli.commands import batch

    console.report(report.json() if console.json else report.table())
    verified = batch.verified(report, verify, console.frontend())
    if verified is not None:
        console.note(verified.text())
    came = console.signals.came
    _where(report.folder, console, interrupted=bool(came))
    _pictures(report.folder, console)
    failures = sum(result.status == "failed" for result in report.trained)
    if failures:
        console.note(f"{failures:,} of {len(report.trained):,} runs failed")
    too_far_off = verified is not None and not verified.largest <= verified.allowed
    return console.signals.code if came else int(failures > 0 or too_far_off)


def _where(folder: Path | None, console: Console, *, interrupted: bool) -> None:
    """Tell where the record is, and how to go on with one that was stopped."""
    if folder is not None and not console.quiet:
        console.note(f"record: {shown_path(folder)}")
        if interrupted:
            console.note(f"go on with: gdcli resume {shown_path(folder)}")


def _pictures(folder: Path | None, console: Console) -> None:
    """Tell what was drawn of many runs."""
    if folder is not None and not console.quiet:
        for picture in sorted(folder.glob("*.png")):
            console.note(f"picture: {shown_path(picture)}")
