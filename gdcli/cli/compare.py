"""`gdcli compare`: optimizers and batch modes on the same data, start values and batch order."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gdcli.cli import common, many
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdcli.spec.load import Loaded
    from gdcli.spec.schema import Compare
    from gdcli.storage.request import CompareRequest

TUNE_RANGE = (1e-4, 1e1)


def compare(
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
    max_runs: many.MaxRunsOption = None,
    fleet: many.FleetOption = "auto",
    verify: many.VerifyOption = 0,
    jobs: many.JobsOption = 1,
    cluster: many.ClusterOption = None,
    fail_fast: many.FailFastOption = False,
    output: common.OutputOption = Path("runs"),
    seed: common.SeedOption = None,
    device: common.DeviceOption = None,
    quiet: common.QuietOption = False,
    plot: common.PlotOption = True,
    json: common.JsonOption = False,
    needed: common.NeededOption = False,
) -> int:
    """Compare optimizers or batch modes: the runs of each row, a table, plots, one folder.

    Every row has the same data and start values, shown by a hash. Example: gdcli compare --optimizers sgd,adam
    """
    from gdcli.spec import bundled
    from gdcli.storage.request import CompareRequest

    name, overrides = common.split_spec(words or [], "optimizers_2x2")
    source = bundled.find(name)
    if target is not None and not isfinite(target):
        raise SpecError(f"--target takes a loss (got {target:g})")
    request = CompareRequest(
        name=source.path.stem, overrides=common.overriding(overrides, seed, device), plot=plot, max_runs=max_runs,
        fleet=fleet, fail_fast=fail_fast, optimizers=optimizers, batches=batches, seeds=seeds, redraw_data=redraw_data,
        tune=tune, tune_range=tune_range, target=target, closed_form=closed_form, x=x,
    )  # fmt: skip
    job = common.Context(source, output, quiet=quiet, json=json, needed=needed)
    return carry(request, job, many.ExecutionOptions(jobs, cluster, verify))


def carry(request: CompareRequest, job: common.Context, how: many.ExecutionOptions) -> int:
    """Do what is asked for, in a new record or in the one to go on with; return the exit code."""
    from gdcli import plan
    from gdcli.spec import limits
    from gdcli.spec.config import filled_in
    from gdcli.storage import request as requests

    document = common.document_of(job.source, request.overrides, "compare")
    loaded = common.load(job.source, common.parse(job.source, document, request.name), bounded=True, cores=job.cores)
    block = loaded.spec.compare
    rows = plan.rows(document, loaded.spec, request.optimizers, request.batches)
    count = request.seeds or (block.seeds if block else 1)
    tries = (request.tune if request.tune is not None else block.tune if block else None) or 0
    total = len(rows) * count * (1 + max(tries, 0))
    plan.bounded(total, request.max_runs or limits.MAX_RUNS, "--max-runs", "runs")
    drawn = plan.seeds(count, loaded.spec.settings.seed)
    grid = _grid(block, request.tune, request.tune_range)
    specs = many.specs_of(job.source, document, loaded, request.name)
    for row in rows:  # before the engine is imported
        common.require_optimizer(specs.of(row).spec)
    wanted = request.closed_form if request.closed_form is not None else bool(block and block.closed_form)
    aim = request.target if request.target is not None else block.target if block else None
    if wanted and any(row.label == "closed_form" for row in rows):
        raise SpecError("the label 'closed_form' is that of the closed form's row: give the optimizer another")
    named = {"rows": [row.label for row in rows], "seeds": list(map(str, drawn.reporting))}
    filled = filled_in(loaded.spec) | named
    if common.finished_before(job, loaded, filled, request) is not None:
        return 0
    common.engine()
    from gdcli.commands.compare.run import CompareOptions, Comparison, Search
    from gdcli.runner.batch import RunFolder, head
    from gdcli.runner.batch import verify as verified_of
    from gdcli.runner.record_run import Provenance, prepared

    if wanted:
        _require_linear(loaded)
    prepared(loaded)  # before a folder is made: it may raise
    redraw = request.redraw_data
    search = None if grid is None else Search(grid, _changes(loaded, drawn.tuning, redraw=redraw))
    origin = Provenance(job.source.text, tuple(common.arguments()))
    asked = CompareOptions(
        loaded, document, rows, drawn.reporting, _changes(loaded, drawn.reporting, redraw=redraw),
        origin, job.source.path.parent, how.carried_out(fleets=request.fleet == "auto", fail_fast=request.fail_fast),
        search, aim, wanted, request.x, request.plot, how.verify > 0,
    )  # fmt: skip
    config, files = head(loaded, origin)
    files[requests.NAME] = requests.text(request, loaded, config, job.source.path.parent)
    common.require_same_config(job, loaded, config)
    many.require_same_threads(job, loaded)
    watching, verified = many.BatchProgress(total, job), None
    with job.folder(loaded.spec.name, filled, files) as folder, common.signals() as (interrupt, came):
        comparison = Comparison(
            asked, lambda points: many.runs_of(specs, points), RunFolder(folder, job.again is not None)
        )
        try:
            comparison.run(interrupt, watching.onlooker())
        finally:
            watching.hide()
        job.say(comparison.json() if job.json else comparison.table())
        if how.verify and not came and comparison.plan is not None:
            verified = verified_of(comparison.plan, comparison.results, how.verify, interrupt)
            job.note(verified.text())
    many.where(folder, job, came)
    return many.exit_code(job, [*comparison.tuning, *comparison.results], came, verified)


def _changes(loaded: Loaded, seeds: Sequence[int], *, redraw: bool) -> list[tuple[tuple[str, Any], ...]]:
    """Return what each seed changes: weights and batch order, and the data only where they are to be drawn anew."""
    base = loaded.spec.settings.seed
    if list(seeds) == [base]:
        return [()]
    pinned = () if redraw or loaded.spec.data is None else (("data.seed", loaded.spec.data_seed),)
    return [(("seed", seed), *pinned) for seed in seeds]


def _grid(block: Compare | None, tune: int | None, tune_range: str | None) -> list[float] | None:
    """Return the learning rates of tuning, from the options or the compare block; None without tuning."""
    from gdcli import plan

    count = tune if tune is not None else block.tune if block else None
    if count is None:
        if tune_range is not None:
            raise SpecError("--tune-range is the range of --tune N, which is not given")
        return None
    low, high = _range(tune_range) if tune_range is not None else (block and block.tune_range) or TUNE_RANGE
    return plan.tuning_grid(count, low, high)


def _range(text: str) -> tuple[float, float]:
    parts = text.split(",")
    try:
        low, high = map(float, parts)
    except ValueError:
        raise SpecError(f"--tune-range takes two numbers, LOW,HIGH (got {text!r})") from None
    return low, high


def _require_linear(loaded: Loaded) -> None:
    from gdcli.engine.closed_form import why_not

    if reason := why_not(loaded):
        raise SpecError(f"--closed-form: {reason}")
