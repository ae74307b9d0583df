"""The loss over parameters of the model, or one run per value of a key: `gdcli sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gdcli import plan
from gdcli.commands import specs
from gdcli.commands.context import Context, Ended
from gdcli.errors import SpecError
from gdcli.plan import Axis, Trial
from gdcli.spec import sizes
from gdcli.spec.config import digest, filled_in
from gdcli.spec.effects import require_effects
from gdcli.spec.grids import as_text
from gdcli.spec.load import Loaded
from gdcli.spec.nodes import Node
from gdcli.spec.overrides import parsed
from gdcli.storage.request import SweepRequest

if TYPE_CHECKING:
    from gdcli.commands.loss_grid import LossGrid
    from gdcli.commands.sweep.runs import TrainingSweep


def sweep(request: SweepRequest, context: Context) -> TrainingSweep | LossGrid | Ended:
    """Evaluate the loss over parameters of the model, or train one run per value of a key.

    Into a new record, or the one to go on with. Raises SpecError for axes or specs that cannot be used, MachineError
    for what the machine lacks.
    """
    document, loaded, axes = _checked(request, context)
    given = [[axis.name, axis.grid.text] for axis in axes]
    name = digest(filled_in(loaded.spec) | {"axes": given, "seeds": request.seeds})  # of the folder
    if (reused := context.reused(loaded, name, request)) is not None:
        return reused
    if axes[0].kind != "parameter":
        return _trained(document, loaded, axes, name, request, context)
    context.frontend.engine()
    from gdcli.commands import loss_grid

    return loss_grid.record(loaded, axes, name, request, context)


def expanded(request: SweepRequest, context: Context) -> str:
    """Return each point of the product on a line: ``w=0.0``; with several seeds, each with ``seed+k``."""
    _, loaded, axes = _checked(request, context)
    folds = _folds(loaded, axes) if axes[0].kind == "key" else ()
    lines = [
        " ".join(f"{axis.name}={as_text(value)}" for axis, value in zip(axes, point, strict=True))
        for point in plan.product_of(axes)
    ]
    several = request.seeds > 1
    each = [f"{line}{f' seed+{k}' if several else ''}" for line in lines for k in range(request.seeds)]
    return "".join(f"{line}{fold}\n" for line in each for fold in [f" fold={k}" for k in folds] or [""])


def _folds(loaded: Loaded, axes: Sequence[Axis]) -> Sequence[int]:
    """Return the folds that each point is trained on: all of the spec's, unless it or an axis says otherwise."""
    of_data = any(axis.target in ("data", "data.fold", "data.folds") for axis in axes)
    return () if of_data else loaded.spec.all_folds


def _checked(request: SweepRequest, context: Context) -> tuple[Node, Loaded, list[Axis]]:
    document, loaded = _base(request, context)
    try:
        loaded = specs.tried(loaded, context.frontend)
    except SpecError as error:
        if not all(problem.path.startswith("model.layers") for problem in error.problems):
            raise  # a run that changes what the layers do not take may be good; one that is not is told in its turn
    axes = plan.axes(loaded, request.param)
    of_parameters = axes[0].kind == "parameter"
    if of_parameters:
        require_effects(loaded.spec)
        for option in _of_runs(request, context):
            raise SpecError(f"{option} is for runs: a sweep over parameters of the model trains nothing")
    if request.trajectory and not (of_parameters and len(axes) == 2):
        raise SpecError("--trajectory draws on a surface: give two --param of the model")
    _bounded(axes, request, len(_folds(loaded, axes)) if not of_parameters else 0)
    return document, loaded, axes


def _bounded(axes: Sequence[Axis], request: SweepRequest, folds: int = 0) -> None:
    what, most = ("points", sizes.MAX_GRID) if axes[0].kind == "parameter" else ("runs", sizes.MAX_RUNS)
    plan.bounded(plan.points(axes) * request.seeds * max(folds, 1), request.max_runs or most, "--max-runs", what)


def _base(request: SweepRequest, context: Context) -> tuple[Node, Loaded]:
    """Return the document and the spec that the runs change; one that is no spec without them is that of the first."""
    source, bounded = context.source, not request.no_limits
    document = specs.document_of_many(source, request.overrides, "sweep")
    try:
        return document, specs.of_many(source, document, request.name, context.cores, bounded=bounded)
    except SpecError as error:
        try:
            axes = plan.key_axes(document, request.param)
            _bounded(axes, request)
        except SpecError:
            raise error from None
    first = plan.with_overrides(plan.along(axes), parsed(request.overrides), document)[0]
    document = first.put_into(document)
    try:
        return document, specs.of_many(source, document, request.name, context.cores, bounded=bounded)
    except SpecError as error:
        raise first.told(error) from None


NOT_OF_A_LOSS = ("optimizer", "scheduler", "epochs", "batch", "stop", "print", "record", "checkpoint")
"""The sections that the loss at given parameters does not depend on."""


def _of_runs(request: SweepRequest, context: Context) -> list[str]:
    """Return the options and overrides given that only a sweep of runs has."""
    options = context.options
    given = {
        "--seeds": request.seeds > 1, f"--fleet {request.fleet}": request.fleet != "auto",
        "--fail-fast": request.fail_fast,
        "--keep-models": request.keep_models, "--jobs": options.jobs > 1, "--cluster": options.cluster,
        "--verify": options.verify,
    }  # fmt: skip
    keys = [key for key, path, _ in parsed(request.overrides) if path.partition(".")[0] in NOT_OF_A_LOSS]
    return [*(option for option, is_given in given.items() if is_given), *keys]


def _trained(
    document: Node, loaded: Loaded, axes: Sequence[Axis], digest: str, request: SweepRequest, context: Context
) -> TrainingSweep:
    frontend = context.frontend
    factory = specs.factory(context.source, document, loaded, request.name)
    folds = _folds(loaded, axes)
    trials = plan.with_overrides(plan.along(axes), parsed(request.overrides), document)
    trials = plan.in_folds(_with_seeds(trials, axes, request.seeds, loaded.spec.settings.seed), folds, ",")
    points = specs.checked(factory, trials)
    frontend.engine()
    for warning in specs.warnings(points):
        frontend.warning(warning)
    from gdcli.commands import batch
    from gdcli.commands.sweep.runs import TrainingSweep
    from gdcli.engine.device import resolve_device
    from gdcli.runner.jobs import Capture, PlannedRun

    names = [axis.name for axis in axes] + (["seed"] if request.seeds > 1 else []) + (["fold"] if folds else [])
    if not any(axis.target == "device" for axis in axes):
        resolve_device(loaded.spec)  # one that is not there would fail every run
    runs = [PlannedRun(*each) for each in points]
    del trials, points  # of a million runs that is a lot
    capture = Capture(parameters=context.options.verify > 0, models=request.keep_models)
    planned = batch.plan_of(request, context, document, loaded, runs, names, capture)
    planned = batch.look_ahead(planned, frontend)
    return batch.record(TrainingSweep(planned, len(folds)), request, context, digest, len(runs))


def _with_seeds(points: list[Trial], axes: Sequence[Axis], seeds: int, base: int) -> list[Trial]:
    if seeds == 1:
        return points
    if any(axis.target == "seed" for axis in axes):
        raise SpecError("--seeds and an axis over the seed exclude each other")
    seeds_of = plan.seeds(seeds, base).reporting
    return [point.also(f",seed={seed}", seed, ("seed", seed)) for point in points for seed in seeds_of]
