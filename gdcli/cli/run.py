"""`gdcli run`: train one experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gdcli.cli import common

if TYPE_CHECKING:
    from gdcli.storage.request import RunRequest


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
    needed: common.NeededOption = False,
    no_limits: common.NoLimitsOption = False,
) -> int:
    """Train one experiment: print its style, write its run folder.

    Example: gdcli run backprop_2x2 optimizer.lr=0.1 epochs=50
    """
    from gdcli.spec import bundled
    from gdcli.storage.request import RunRequest

    name, words = common.split_spec(words)
    source, overrides = bundled.find(name), common.overriding(words, seed, device)
    request = RunRequest(name=source.path.stem, overrides=overrides, plot=plot, no_limits=no_limits)
    return carry(request, common.Context(source, output, quiet=quiet, json=json, needed=needed))


def carry(request: RunRequest, job: common.Context) -> int:
    """Do what is asked for, in a new record or in the one to go on with; return the exit code."""
    from gdcli.spec.config import filled_in
    from gdcli.storage import request as requests

    spec = common.parse(job.source, common.document_of(job.source, request.overrides, "run"), request.name)
    common.require_optimizer(spec)
    loaded, filled = common.load(job.source, spec, bounded=not request.no_limits), filled_in(spec)
    if common.finished_before(job, loaded, filled, request) is not None:
        return 0
    execute = common.engine()
    timing, bar = execute.Timing(), common.Progress(spec.settings.epochs, quiet=job.quiet or job.silent)

    def text(piece: str) -> None:
        bar.hide()
        job.say(piece)

    with timing.phase("build"):
        built = execute.prepared(loaded)
    config, files = execute.head(built, execute.Provenance(job.source.text, tuple(common.arguments())))
    files[requests.NAME] = requests.text(request, loaded, config, job.source.path.parent)
    common.require_same_config(job, loaded, config)
    watch = execute.Callbacks(text=None if job.json else text, block=bar.block, warning=job.warn)
    with job.folder(spec.name, filled, files) as folder, common.signals() as (interrupt, came):
        record = execute.RecordFolder(folder, config, again=job.again is not None)
        try:
            finished = execute.run(built, record, watch=watch, interrupt=interrupt, plot=request.plot, timing=timing)
        finally:
            bar.hide()
    if job.json:
        from gdcli.storage.run_folder import json_text

        job.say(json_text({"folder": str(folder), **finished.summary()}))
    return ended(finished.outcome.status, finished.outcome.message, folder, came, job)


def ended(status: str, message: str, folder: Path, came: list[int], job: common.Context) -> int:
    """Say how a run ended and where its record lies; return the exit code."""
    if status in ("diverged", "interrupted", "stopped") and not (job.quiet and status == "stopped"):
        job.note(message)
    if not job.quiet:
        job.note(f"record: {common.shown_path(folder)}")
        if status == "interrupted":
            job.note(f"go on with: gdcli resume {common.shown_path(folder)}")
    return {"diverged": 1, "interrupted": common.stopped_code(came)}.get(status, 0)
