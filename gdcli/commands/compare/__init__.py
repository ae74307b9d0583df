"""Optimizers and batch modes on the same data, start values and batch order: `gdcli compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gdcli.commands import batch, specs
from gdcli.commands.context import Context, Reused
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.commands.compare.run import Comparison
    from gdcli.spec.load import Loaded
    from gdcli.spec.schema import Compare
    from gdcli.storage.request import CompareRequest

TUNE_RANGE = (1e-4, 1e1)


def compare(request: CompareRequest, context: Context, options: batch.ExecutionOptions) -> Comparison | Reused:
    """Train the runs of each optimizer or batch mode, into a new record or the one to go on with.

    Raises SpecError for rows that cannot be trained, MachineError for what the machine lacks.
    """
    from gdcli import plan
    from gdcli.spec import limits
    from gdcli.spec.config import filled_in

    document = specs.document_of(context.source, request.overrides, "compare")
    spec = specs.parse(context.source, document, request.name)
    loaded, block = specs.load(context.source, spec, cores=context.cores), spec.compare
    rows = plan.rows(document, spec, request.optimizers, request.batches)
    count = request.seeds or (block.seeds if block else 1)
    tries = (request.tune if request.tune is not None else block.tune if block else None) or 0
    total = len(rows) * count * (1 + max(tries, 0))
    plan.bounded(total, request.max_runs or limits.MAX_RUNS, "--max-runs", "runs")
    seeds = plan.seeds(count, spec.settings.seed)
    grid = _grid(block, request.tune, request.tune_range)
    factory = batch.specs_of(context, document, loaded, request.name)
    for row in rows:  # before the engine is imported
        specs.require_optimizer(factory.of(row).spec)
    closed_form = request.closed_form if request.closed_form is not None else bool(block and block.closed_form)
    target = request.target if request.target is not None else block.target if block else None
    if closed_form and any(row.label == "closed_form" for row in rows):
        raise SpecError("the label 'closed_form' is that of the closed form's row: give the optimizer another")
    named = {"rows": [row.label for row in rows], "seeds": list(map(str, seeds.reporting))}
    filled = filled_in(spec) | named
    if (reused := context.reused(loaded, filled, request)) is not None:
        return reused
    frontend = context.frontend
    frontend.engine()
    from gdcli.commands.compare.run import CompareOptions, Comparison, Search
    from gdcli.runner.provenance import batch_head, prepared

    if closed_form:
        _require_linear(loaded)
    prepared(loaded)  # before a folder is made: it may raise
    redraw, origin = request.redraw_data, context.provenance()
    search = None if grid is None else Search(grid, _changes(loaded, seeds.tuning, redraw=redraw))
    compared = CompareOptions(
        loaded, document, rows, seeds.reporting, _changes(loaded, seeds.reporting, redraw=redraw), origin, context.base,
        options.execution(fleets=request.fleet == "auto", fail_fast=request.fail_fast), search, target, closed_form,
        request.x, request.plot, options.verify > 0, context.output is not None,
    )  # fmt: skip
    batch.require_same_threads(context, loaded)
    with (
        context.folder(request, loaded, filled, batch_head(loaded, origin)) as folder,
        frontend.interruptible() as interrupt,
        batch.told(frontend, total) as callbacks,
    ):
        again = context.again is not None
        comparison = Comparison(compared, lambda trials: batch.runs_of(factory, trials, frontend), folder, again)
        comparison.run(interrupt, callbacks)
    return comparison


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
