"""The loss over parameters of the model, or one run per value of a key: `gdcli sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdcli.commands import batch, specs
from gdcli.commands.context import Context, Reused
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.commands.loss_grid import LossGrid
    from gdcli.commands.sweep.runs import TrainingSweep
    from gdcli.plan import Axis, Trial
    from gdcli.spec.document import Node
    from gdcli.spec.load import Loaded
    from gdcli.storage.request import SweepRequest


@dataclass(frozen=True, slots=True)
class GridReport:
    """The loss over parameters of the model, and the record of it."""

    folder: Path
    grid: LossGrid
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class _Sweep:
    """What a request asks for, checked."""

    document: Node
    loaded: Loaded
    axes: Sequence[Axis]
    of_parameters: bool


def sweep(
    request: SweepRequest, context: Context, options: batch.ExecutionOptions
) -> TrainingSweep | GridReport | Reused:
    """Evaluate the loss over parameters of the model, or train one run per value of a key.

    Into a new record, or the one to go on with. Raises SpecError for axes or specs that cannot be used, MachineError
    for what the machine lacks.
    """
    from gdcli.spec.config import filled_in

    found = _checked(request, context)
    axes = [[axis.name, axis.grid.text] for axis in found.axes]
    filled = filled_in(found.loaded.spec) | {"axes": axes, "seeds": request.seeds}  # what names the folder
    if (reused := context.reused(found.loaded, filled, request)) is not None:
        return reused
    if found.of_parameters:
        return _evaluated(found, filled, request, context)
    return _trained(found, filled, request, context, options)


def expanded(request: SweepRequest, context: Context) -> str:
    """Return each point of the product on a line: ``w=0.0``; with several seeds, each with ``seed+k``."""
    from gdcli import plan

    axes = _checked(request, context).axes
    lines = [
        " ".join(f"{axis.name}={value}" for axis, value in zip(axes, point, strict=True))
        for point in plan.product_of(axes)
    ]
    several = request.seeds > 1
    return "".join(f"{line}{f' seed+{k}' if several else ''}\n" for line in lines for k in range(request.seeds))


def _checked(request: SweepRequest, context: Context) -> _Sweep:
    from gdcli import plan
    from gdcli.spec import limits

    document = specs.document_of(context.source, request.overrides, "sweep")
    spec = specs.parse(context.source, document, request.name)
    loaded = specs.load(context.source, spec, cores=context.cores)
    axes = plan.axes(loaded, request.param)
    kinds = {axis.kind for axis in axes}
    if len(kinds) > 1:
        raise SpecError("a sweep is over parameters of the model or over keys of the spec, not both")
    of_parameters = kinds == {"parameter"}
    if of_parameters and request.seeds > 1:
        raise SpecError("--seeds is for runs: a sweep over parameters of the model trains nothing")
    if request.trajectory and not (of_parameters and len(axes) == 2):
        raise SpecError("--trajectory draws on a surface: give two --param of the model")
    limit = request.max_runs or (limits.MAX_GRID if of_parameters else limits.MAX_RUNS)
    plan.bounded(plan.points(axes) * request.seeds, limit, "--max-runs", "points" if of_parameters else "runs")
    return _Sweep(document, loaded, axes, of_parameters)


def _evaluated(sweep: _Sweep, filled: dict[str, Any], request: SweepRequest, context: Context) -> GridReport:
    context.frontend.engine()
    from gdcli.commands import loss_grid
    from gdcli.runner.provenance import batch_head

    trails, loaded = loss_grid.trails(request.trajectory, sweep.axes), sweep.loaded
    grid = loss_grid.evaluate(loaded, sweep.axes)
    with context.folder(request, loaded, filled, batch_head(loaded, context.provenance())) as folder:
        plot, warning = request.plot, context.frontend.warning
        loss_grid.record_grid(grid, loaded, folder, trails, plot=plot, warning=warning)
    return GridReport(folder, grid)


def _trained(
    sweep: _Sweep, filled: dict[str, Any], request: SweepRequest, context: Context, options: batch.ExecutionOptions
) -> TrainingSweep:
    loaded, frontend = sweep.loaded, context.frontend
    factory = batch.specs_of(context, sweep.document, loaded, request.name)
    runs = batch.runs_of(factory, _points(sweep, request.seeds), frontend)
    from gdcli.commands.sweep.runs import TrainingSweep
    from gdcli.engine.device import resolve_device
    from gdcli.runner.batch import Plan
    from gdcli.runner.jobs import Capture
    from gdcli.runner.provenance import batch_head

    names = [axis.name for axis in sweep.axes] + (["seed"] if request.seeds > 1 else [])
    if not any(axis.target == "device" for axis in sweep.axes):
        resolve_device(loaded.spec)  # one that is not there would fail every run
    execution = options.execution(fleets=request.fleet == "auto", fail_fast=request.fail_fast)
    origin, capture = context.provenance(), Capture(parameters=options.verify > 0)
    folders = context.output is not None
    plan = Plan(loaded, sweep.document, runs, names, origin, context.base, execution, capture, folders)
    batch.warn_of_rounding(plan, frontend)
    batch.require_same_threads(context, loaded)
    batch.require_memory(plan)
    with (
        context.folder(request, loaded, filled, batch_head(loaded, origin)) as folder,
        frontend.interruptible() as interrupt,
        batch.told(frontend, len(runs)) as callbacks,
    ):
        done = TrainingSweep(plan, folder, again=context.again is not None)
        done.run(interrupt, callbacks, plot=request.plot)
    return done


def _points(sweep: _Sweep, seeds: int) -> list[Trial]:
    from gdcli import plan

    points, base = plan.along(sweep.axes), sweep.loaded.spec.settings.seed
    if seeds == 1:
        return points
    if any(axis.target == "seed" for axis in sweep.axes):
        raise SpecError("--seeds and an axis over the seed exclude each other")
    return [
        replace(
            point,
            label=f"{point.label},seed={seed}",
            values=(*point.values, seed),
            changes=(*point.changes, ("seed", seed)),
        )
        for point in points
        for seed in plan.seeds(seeds, base).reporting
    ]
