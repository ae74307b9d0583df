"""`gdcli run`: train one experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import common


def run(
    words: Annotated[
        list[str], typer.Argument(metavar="SPEC [KEY=VALUE]...", help="A YAML file or a bundled name, and overrides.")
    ],
    output: common.OutputOption = Path("runs"),
    seed: common.SeedOption = None,
    device: common.DeviceOption = None,
    quiet: common.QuietOption = False,
    plot: common.PlotOption = True,
    json: common.JsonOption = False,
    no_limits: common.NoLimitsOption = False,
) -> int:
    """Train one experiment: print its style, write its run folder.

    Example: gdcli run backprop_2x2 optimizer.lr=0.1 epochs=50
    """
    name, overrides = common.split_spec(words)
    source, document = common.read_spec(name, overrides, seed, device, "run")
    spec = common.parse(source, document)
    common.require_optimizer(spec)
    loaded = common.load(source, spec, bounded=not no_limits)
    execute = common.engine()
    from gdcli.spec.config import filled_in

    timing = execute.Timing()
    out, bar = common.Output(), common.Progress(spec.settings.epochs, quiet=quiet)

    def text(piece: str) -> None:
        bar.hide()
        out(piece)

    watch = execute.Watch(text=None if json else text, block=bar.block, warning=common.warn)
    with timing.phase("build"):
        built = execute.build(loaded)
    folder = execute.new_folder(output, spec.name, filled_in(spec))
    origin = execute.Origin(source.text, tuple(common.arguments()))
    with common.signals() as (interrupt, came):
        try:
            finished = execute.run(
                loaded, folder, origin, watch=watch, interrupt=interrupt, plot=plot, timing=timing, built=built
            )
        finally:
            bar.hide()
    if json:
        from gdcli.store import json_text

        out(json_text({"folder": str(folder), **finished.summary()}))
    return ended(finished.outcome.status, finished.outcome.message, folder, came, quiet=quiet)


def ended(status: str, message: str, folder: Path, came: list[int], *, quiet: bool) -> int:
    """Say how a run ended and where its record lies; return the exit code."""
    if status in ("diverged", "interrupted", "stopped") and not (quiet and status == "stopped"):
        common.note(message)
    if not quiet:
        common.note(f"record: {common.shown_path(folder)}")
    return {"diverged": 1, "interrupted": common.stopped_code(came)}.get(status, 0)
