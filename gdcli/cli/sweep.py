"""`gdcli sweep`: the loss over a parameter of the model, or one run per value of a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gdcli.cli import common, many
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.plan import Axis, Point
    from gdcli.spec.bundled import Source
    from gdcli.spec.document import Node
    from gdcli.spec.load import Loaded


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
        list[str] | None, typer.Option(metavar="RUN", help="A record's folder or a spec: its path on the surface.")
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
) -> int:
    """Sweep a parameter of the model (no training), or train one run per value of a key.

    Examples: gdcli sweep --param w · gdcli sweep backprop_2x2 --param lr=0.1,0.5,1 · gdcli sweep SPEC -p "w=0:4.1:0.1"
    """
    from gdcli import plan
    from gdcli.spec import limits

    name, overrides = common.split_spec(words or [], "linear_sweep")
    source, document = common.read_spec(name, overrides, seed, device, "sweep")
    loaded = common.load(source, common.parse(source, document), bounded=True)
    axes = plan.axes(loaded, param or [])
    kinds = {axis.kind for axis in axes}
    if len(kinds) > 1:
        raise SpecError("a sweep is over parameters of the model or over keys of the spec, not both")
    of_parameters = kinds == {"parameter"}
    if of_parameters and seeds > 1:
        raise SpecError("--seeds is for runs: a sweep over parameters of the model trains nothing")
    if trajectory and not (of_parameters and len(axes) == 2):
        raise SpecError("--trajectory draws on a surface: give two --param of the model")
    limit = max_runs or (limits.MAX_GRID if of_parameters else limits.MAX_RUNS)
    plan.bounded(plan.points(axes) * seeds, limit, "--max-runs", "points" if of_parameters else "runs")
    if dry_run:
        common.Output()(expanded(axes, seeds))
        return 0
    job = Job(source, document, loaded, axes, output, quiet=quiet, plot=plot, json=json)
    if of_parameters:
        return job.parameters(trajectory or [])
    how = many.How(fleet == "auto", jobs, cluster, fail_fast)
    return job.keys(seeds, how, verify)


def expanded(axes: Sequence[Axis], seeds: int = 1) -> str:
    """Return each point of the product on a line: ``w=0.0``; with several seeds, each with ``seed+k``."""
    from gdcli import plan

    lines = [
        " ".join(f"{axis.name}={value}" for axis, value in zip(axes, point, strict=True))
        for point in plan.product_of(axes)
    ]
    return "".join(f"{line}{f' seed+{k}' if seeds > 1 else ''}\n" for line in lines for k in range(seeds))


@dataclass
class Job:
    """One sweep: what both kinds share is the folder and where things are printed."""

    source: Source
    document: Node
    loaded: Loaded
    axes: Sequence[Axis]
    output: Path
    quiet: bool
    plot: bool
    json: bool

    def parameters(self, trajectories: Sequence[str]) -> int:
        """Evaluate the loss over the grid and print it point by point; for a surface, where it is lowest."""
        common.engine()
        from gdcli import surface
        from gdcli.cli.trajectories import trails

        drawn = trails(trajectories, self.axes)
        grid = surface.evaluate(self.loaded, self.axes)
        folder = surface.record_grid(
            grid, self.loaded, self._origin(), self.output, drawn, plot=self.plot, warning=common.warn
        )
        common.Output()(grid.json(folder) if self.json else grid.text())
        many.where(folder, quiet=self.quiet)
        return 0

    def keys(self, seeds: int, how: many.How, verify: int) -> int:
        """Train one run per point; print a table of the results."""
        runs = many.runs_of(many.specs_of(self.source, self.document, self.loaded), self._points(seeds))
        from gdcli.engine.build import resolve_device
        from gdcli.many import Plan
        from gdcli.many import verify as verified_of
        from gdcli.shards import Wish
        from gdcli.sweeps import Sweep

        names = [axis.name for axis in self.axes] + (["seed"] if seeds > 1 else [])
        if not any(axis.target == "device" for axis in self.axes):
            resolve_device(self.loaded.spec)  # one that is not there would fail every run
        wish, base = Wish(parameters=verify > 0), self.source.path.parent
        plan = Plan(self.loaded, self.document, runs, names, self._origin(), base, how.carried_out(), wish)
        many.told_of_fleets(plan)
        sweep, watching, verified = Sweep(plan, self.output), many.Watching(len(runs), quiet=self.quiet), None
        with common.signals() as (interrupt, came):
            try:
                sweep.run(interrupt, watching.onlooker(), plot=self.plot)
            finally:
                watching.hide()
            common.Output()(sweep.json() if self.json else sweep.table())
            if verify and not came:
                verified = verified_of(plan, sweep.results, verify, interrupt)
                common.note(verified.text())
        many.where(sweep.folder, quiet=self.quiet)
        return many.exit_code(sweep.results, came, verified)

    def _points(self, seeds: int) -> list[Point]:
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

    def _origin(self) -> Any:
        from gdcli.execute import Origin

        return Origin(self.source.text, tuple(common.arguments()))
