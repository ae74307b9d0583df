"""`gdcli compare`: optimizers and batch modes on the same data, start values and batch order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import common
from gdcli.cli.sweep import finish


def compare(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC] [KEY=VALUE]...", help="Default: the bundled optimizers_2x2.")
    ] = None,
    optimizers: Annotated[
        str | None, typer.Option(help="Labels or settings: sgd,adam or momentum=sgd:lr=1:momentum=0.5,adam.")
    ] = None,
    batches: Annotated[str | None, typer.Option(help="Batch modes: full,mini-batch:32,stochastic.")] = None,
    output: common.OutputOption = Path("runs"),
    seed: common.SeedOption = None,
    device: common.DeviceOption = None,
    quiet: common.QuietOption = False,
    plot: common.PlotOption = True,
    json: common.JsonOption = False,
) -> int:
    """Compare optimizers or batch modes: one run each, a table, one plot, one folder.

    Every row has the same data and start values, shown by a hash. Example: gdcli compare --optimizers sgd,adam
    """
    from gdcli import plan

    name, overrides = common.split_spec(words or [], "optimizers_2x2")
    source, document = common.read_spec(name, overrides, seed, device, "compare")
    loaded = common.load(source, common.parse(source, document), bounded=True)
    rows = plan.contenders(document, loaded.spec, optimizers, batches, lambda node: common.parse(source, node))
    for row in rows:
        common.require_optimizer(row.spec)
    execute = common.engine()
    from gdcli.sweeps import Many

    many = Many(
        loaded,
        [
            execute.Planned(
                row.label,
                (row.label, row.spec.optimizer.arguments["lr"], row.lr_from),
                plan.loaded_as(loaded, row.spec),
            )
            for row in rows
            if row.spec.optimizer is not None
        ],
        ["label", "lr", "lr_from"],
        execute.Origin(source.text, tuple(common.arguments())),
        output,
        comparison=True,
    )
    code, folder = finish(many, common.Output(), quiet=quiet, plot=plot, json=json)
    if not quiet:
        common.note(f"record: {common.shown_path(folder)}")
    return code
