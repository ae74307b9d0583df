"""Optimizers and batch modes on the same data, start values and batch order: `gdcli compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gdcli import plan
from gdcli.commands import specs
from gdcli.commands.context import Context, Ended
from gdcli.errors import SpecError
from gdcli.spec import sizes
from gdcli.spec.config import digest, filled_in
from gdcli.spec.load import Loaded
from gdcli.spec.overrides import parsed
from gdcli.spec.sections import Compare, RunSpec
from gdcli.storage.request import CompareRequest

if TYPE_CHECKING:
    from gdcli.commands.compare.run import ComparisonRun

TUNE_RANGE = (1e-4, 1e1)


def compare(request: CompareRequest, context: Context) -> ComparisonRun | Ended:
    """Train the runs of each optimizer or batch mode, into a new record or the one to go on with.

    Raises SpecError for rows that cannot be trained, MachineError for what the machine lacks.
    """
    document = specs.document_of_many(context.source, request.overrides, "compare")
    bounded = not request.no_limits
    loaded = specs.of_many(context.source, document, request.name, context.cores, bounded=bounded)
    spec, block = loaded.spec, loaded.spec.compare or Compare()
    overrides = parsed(request.overrides)
    rows = plan.rows(document, spec, request.optimizers, request.batches, overrides)
    count, tries = request.seeds or block.seeds, block.tune if request.tune is None else request.tune
    if tries and any(row.values[2] == "given" for row in rows):
        off = "compare.tune=null turns it off" if request.tune is None else "leave one of them out"
        raise SpecError(f"tuning chooses the learning rate of every row, lr has no effect: {off}")
    if request.redraw_data and not (spec.draws_data and (count > 1 or tries)):
        raise SpecError("--redraw-data is for several seeds, --seeds N, of data that are drawn, or split by validation")
    total = len(rows) * count * max(len(spec.all_folds), 1) * (1 + max(tries or 0, 0))
    plan.bounded(total, request.max_runs or sizes.MAX_RUNS, "--max-runs", "runs")
    seeds = plan.seeds(count, spec.settings.seed)
    grid = _grid(tries, request.tune_range, spec)
    factory = specs.factory(context.source, document, loaded, request.name)
    checked = specs.checked(factory, rows)  # before the engine is imported
    closed_form = block.closed_form if request.closed_form is None else request.closed_form
    target = block.target if request.target is None else request.target
    if closed_form and any(row.label == "closed_form" for row in rows):
        raise SpecError("the label 'closed_form' is that of the closed form's row: give the optimizer another")
    name = digest(filled_in(spec) | {"rows": [row.label for row in rows], "seeds": list(map(str, seeds.reporting))})
    if (reused := context.reused(loaded, name, request)) is not None:
        return reused
    context.frontend.engine()
    for warning in specs.warnings(checked):
        context.frontend.warning(warning)
    from gdcli.commands import batch
    from gdcli.commands.compare.run import ComparisonRun
    from gdcli.engine.closed_form import why_not
    from gdcli.runner.jobs import Capture
    from gdcli.runner.provenance import prepared

    if closed_form and (reason := why_not(loaded)):
        raise SpecError(f"--closed-form: {reason}")
    parameters = prepared(loaded).theta.parameters()  # before a folder is made: it may raise
    paths = request.plot and sum(parameter.values.size for parameter in parameters) == 2  # they can be drawn
    keep = request.keep_models
    capture = Capture(request.plot, paths, context.options.verify > 0, target, closed_form, models=keep)
    redraw = request.redraw_data
    work = ComparisonRun(
        plan=batch.plan_of(request, context, document, loaded, (), (), capture),
        factory=factory, trials=rows, seeds=seeds.reporting, changes=_changes(loaded, seeds.reporting, redraw=redraw),
        grid=grid, tuning_changes=_changes(loaded, seeds.tuning, redraw=redraw), closed_form=closed_form, x=request.x,
        folds=spec.all_folds,
    )  # fmt: skip
    return batch.record(work, request, context, name, total)


def _changes(loaded: Loaded, seeds: Sequence[int], *, redraw: bool) -> list[tuple[tuple[str, Any], ...]]:
    """Return what each seed changes: weights and batch order, and the data only where they are to be drawn anew."""
    base = loaded.spec.settings.seed
    if list(seeds) == [base]:
        return [()]
    pinned = (("data.seed", loaded.spec.data_seed),) if loaded.spec.draws_data and not redraw else ()
    return [(("seed", seed), *pinned) for seed in seeds]


def _grid(count: int | None, tune_range: str | None, spec: RunSpec) -> list[float] | None:
    """Return the learning rates of tuning, in the range of the option or the compare block; None without tuning."""
    block = spec.compare or Compare()
    if count is None and tune_range is not None:
        raise SpecError("--tune-range is the range of --tune N, which is not given")
    if count is None and block.tune_range is not None:
        what = "has no effect: it is the range of compare.tune, or of --tune N"
        raise SpecError(spec.problem(("compare", "tune_range"), what, at_key=True))
    if count is None:
        return None
    low, high = block.tune_range or TUNE_RANGE
    try:
        if tune_range is not None:
            low, high = map(float, tune_range.split(","))
    except ValueError:
        hint = ". A number has a point: 0.1,1" if tune_range and tune_range.count(",") > 1 else ""
        raise SpecError(f"--tune-range takes two numbers, LOW,HIGH (got {tune_range!r}){hint}") from None
    return plan.tuning_grid(count, low, high)
