"""`gdcli sweep`: the loss over a parameter of the model, or one run per value of a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gdcli.cli import common
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdcli.plan import Axis
    from gdcli.spec.bundled import Source
    from gdcli.spec.document import Node
    from gdcli.spec.load import Loaded


def sweep(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC] [KEY=VALUE]...", help="Default: the bundled linear_sweep.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="NAME or NAME=GRID; several give their product.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the expanded points and exit.")] = False,
    max_runs: Annotated[int | None, typer.Option(min=1, help="Most runs, or points, to allow.")] = None,
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
    limit = max_runs or (limits.MAX_GRID if of_parameters else limits.MAX_RUNS)
    plan.bounded(plan.points(axes), limit, "--max-runs")
    if dry_run:
        common.Output()(expanded(axes))
        return 0
    job = Job(source, document, loaded, axes, output, quiet=quiet, plot=plot, json=json)
    return job.parameters() if of_parameters else job.keys()


def expanded(axes: Sequence[Axis]) -> str:
    """Return each point of the product on a line: ``w=0.0``."""
    from itertools import product

    names = [axis.name for axis in axes]
    points = product(*(axis.grid.values() for axis in axes))
    return "".join(
        " ".join(f"{name}={value}" for name, value in zip(names, point, strict=True)) + "\n" for point in points
    )


class Job:
    """One sweep: what both kinds share is the folder and where things are printed."""

    def __init__(
        self,
        source: Source,
        document: Node,
        loaded: Loaded,
        axes: Sequence[Axis],
        output: Path,
        *,
        quiet: bool,
        plot: bool,
        json: bool,
    ) -> None:
        self.source, self.document, self.loaded, self.axes = source, document, loaded, axes
        self.output, self.quiet, self.plot, self.json = output, quiet, plot, json
        self.out = common.Output()

    def parameters(self) -> int:
        """Evaluate the loss over the grid and print it point by point; for a surface, where it is lowest."""
        common.engine()
        from gdcli.sweeps import evaluate, record_grid

        grid = evaluate(self.loaded, self.axes)
        folder = record_grid(grid, self.loaded, self._origin(), self.output, plot=self.plot, warning=common.warn)
        self.out(grid.json(folder) if self.json else grid.text())
        self._where(folder)
        return 0

    def keys(self) -> int:
        """Train one run per point; print a table of the results."""
        from gdcli import plan

        runs = []
        for label, values, document in plan.along(self.document, self.axes):
            spec = common.parse(self.source, document)
            common.require_optimizer(spec)
            runs.append((label, values, common.load(self.source, spec, bounded=True)))
        common.engine()
        from gdcli.execute import Planned
        from gdcli.sweeps import Many

        many = Many(
            self.loaded,
            [Planned(*run) for run in runs],
            [axis.name for axis in self.axes],
            self._origin(),
            self.output,
        )
        code, folder = finish(many, self.out, quiet=self.quiet, plot=self.plot, json=self.json)
        self._where(folder)
        return code

    def _origin(self) -> Any:
        from gdcli.execute import Origin

        return Origin(self.source.text, tuple(common.arguments()))

    def _where(self, folder: Path) -> None:
        if not self.quiet:
            common.note(f"record: {common.shown_path(folder)}")


def finish(many: Any, out: common.Output, *, quiet: bool, plot: bool, json: bool) -> tuple[int, Path]:
    """Run a sweep's or a comparison's runs, print the table, and return the exit code and the folder."""
    bar = common.Progress(len(many.planned), quiet=quiet, unit="run")
    with common.signals() as (interrupt, came):
        try:
            many.run(interrupt, warning=common.warn, plot=plot)
        finally:
            bar.hide()
    out(many.json() if json else many.table())
    for result in many.results:
        if result.error:
            common.note(f"{result.planned.label}: failed: {result.error}")
    if came:
        return common.stopped_code(came), many.folder
    return int(any(result.error for result in many.results)), many.folder
