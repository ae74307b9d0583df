"""`gdcli sweep`: the loss over a parameter of the model, or one run per value of a key."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gdcli.cli import common, many
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.plan import Axis, Trial
    from gdcli.spec.document import Node
    from gdcli.spec.load import Loaded
    from gdcli.storage.request import SweepRequest


def sweep(
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
    """Sweep a parameter of the model (no training), or train one run per value of a key.

    Examples: gdcli sweep --param w · gdcli sweep backprop_2x2 --param lr=0.1,0.5,1 · gdcli sweep SPEC -p "w=0:4.1:0.1"
    """
    from gdcli.spec import bundled
    from gdcli.storage.request import SweepRequest

    name, overrides = common.split_spec(words or [], "linear_sweep")
    source = bundled.find(name)
    request = SweepRequest(
        name=source.path.stem, overrides=common.overriding(overrides, seed, device), plot=plot, max_runs=max_runs,
        fleet=fleet, fail_fast=fail_fast, param=tuple(param or ()), seeds=seeds,
        trajectory=tuple(map(common.lasting, trajectory or ())),
    )  # fmt: skip
    job = common.Context(source, output, quiet=quiet, json=json, needed=needed)
    return carry(request, job, many.ExecutionOptions(jobs, cluster, verify), dry_run=dry_run)


def carry(request: SweepRequest, job: common.Context, how: many.ExecutionOptions, *, dry_run: bool = False) -> int:
    """Do what is asked for, in a new record or in the one to go on with; return the exit code."""
    from gdcli import plan
    from gdcli.spec import limits

    document = common.document_of(job.source, request.overrides, "sweep")
    loaded = common.load(job.source, common.parse(job.source, document, request.name), bounded=True, cores=job.cores)
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
    if dry_run:
        job.say(expanded(axes, request.seeds))
        return 0
    sweeping = _Sweeping(request, job, document, loaded, axes)
    if sweeping.is_needed():
        return sweeping.parameters() if of_parameters else sweeping.keys(how)
    return 0


def expanded(axes: Sequence[Axis], seeds: int = 1) -> str:
    """Return each point of the product on a line: ``w=0.0``; with several seeds, each with ``seed+k``."""
    from gdcli import plan

    lines = [
        " ".join(f"{axis.name}={value}" for axis, value in zip(axes, point, strict=True))
        for point in plan.product_of(axes)
    ]
    return "".join(f"{line}{f' seed+{k}' if seeds > 1 else ''}\n" for line in lines for k in range(seeds))


@dataclass
class _Sweeping:
    """One sweep: what both kinds share is the folder and where things are printed."""

    request: SweepRequest
    job: common.Context
    document: Node
    loaded: Loaded
    axes: Sequence[Axis]

    def is_needed(self) -> bool:
        """Say whether there is no finished record of the same, or none is looked for."""
        return common.finished_before(self.job, self.loaded, self._filled(), self.request) is None

    def _filled(self) -> dict[str, Any]:
        """Return the spec with all defaults and what is swept: what names the folder."""
        from gdcli.spec.config import filled_in

        axes = [[axis.name, axis.grid.text] for axis in self.axes]
        return filled_in(self.loaded.spec) | {"axes": axes, "seeds": self.request.seeds}

    def _folder(self) -> AbstractContextManager[Path]:
        from gdcli.runner import batch as engine
        from gdcli.runner.record_run import Provenance
        from gdcli.storage import request as requests

        config, files = engine.head(self.loaded, Provenance(self.job.source.text, tuple(common.arguments())))
        files[requests.NAME] = requests.text(self.request, self.loaded, config, self.job.source.path.parent)
        common.require_same_config(self.job, self.loaded, config)
        return self.job.folder(self.loaded.spec.name, self._filled(), files)

    def parameters(self) -> int:
        """Evaluate the loss over the grid and print it point by point; for a surface, where it is lowest."""
        common.engine()
        from gdcli.cli.trajectories import trails
        from gdcli.commands import loss_grid

        request = self.request
        drawn = trails(request.trajectory, self.axes)
        grid = loss_grid.evaluate(self.loaded, self.axes)
        with self._folder() as folder:
            loss_grid.record_grid(grid, self.loaded, folder, drawn, plot=request.plot, warning=self.job.warn)
        self.job.say(grid.json(folder) if self.job.json else grid.text())
        many.where(folder, self.job)
        return 0

    def keys(self, how: many.ExecutionOptions) -> int:
        """Train one run per point; print a table of the results."""
        request, job = self.request, self.job
        specs = many.specs_of(job.source, self.document, self.loaded, request.name)
        runs = many.runs_of(specs, self._points(request.seeds))
        from gdcli.commands.sweep import TrainingSweep
        from gdcli.engine.problem import resolve_device
        from gdcli.runner import Capture
        from gdcli.runner.batch import Plan, RunFolder
        from gdcli.runner.batch import verify as verified_of
        from gdcli.runner.record_run import Provenance

        names = [axis.name for axis in self.axes] + (["seed"] if request.seeds > 1 else [])
        if not any(axis.target == "device" for axis in self.axes):
            resolve_device(self.loaded.spec)  # one that is not there would fail every run
        carried = how.carried_out(fleets=request.fleet == "auto", fail_fast=request.fail_fast)
        origin = Provenance(job.source.text, tuple(common.arguments()))
        wish, base = Capture(parameters=how.verify > 0), job.source.path.parent
        plan = Plan(self.loaded, self.document, runs, names, origin, base, carried, wish)
        many.told_of_fleets(plan, job)
        many.require_same_threads(job, self.loaded)
        many.require_memory(plan)
        watching, verified = many.BatchProgress(len(runs), job), None
        with self._folder() as folder, common.signals() as (interrupt, came):
            sweep = TrainingSweep(plan, RunFolder(folder, job.again is not None))
            try:
                sweep.run(interrupt, watching.onlooker(), plot=request.plot)
            finally:
                watching.hide()
            job.say(sweep.json() if job.json else sweep.table())
            if how.verify and not came:
                verified = verified_of(plan, sweep.results, how.verify, interrupt)
                job.note(verified.text())
        many.where(folder, job, came)
        return many.exit_code(job, sweep.results, came, verified)

    def _points(self, seeds: int) -> list[Trial]:
        from gdcli import plan

        points, base = plan.along(self.axes), self.loaded.spec.settings.seed
        if seeds == 1:
            return points
        if any(axis.target == "seed" for axis in self.axes):
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
