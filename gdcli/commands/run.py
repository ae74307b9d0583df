"""Train one experiment: `gdcli run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.commands import specs
from gdcli.commands.context import Context, Ended, ignore
from gdcli.commands.list import span
from gdcli.commands.recorded_size import tell_size
from gdcli.spec.config import digest, filled_in
from gdcli.spec.expectations import recorded
from gdcli.spec.world_size import require_world
from gdcli.storage.files import json_file, json_text
from gdcli.storage.request import RunRequest

if TYPE_CHECKING:
    from gdcli.engine.problem import TrainingProblem
    from gdcli.records import StepBlock
    from gdcli.runner.run_recorder import Finished


LONG = 1.0
"""Seconds of training from which on the share of recording is told."""

HELD_OUT = ("validation", "test")
"""Rows that are not trained on, by the words before their metrics' names."""


def _on_all_rows(name: str, metrics: Mapping[str, float]) -> str:
    held_out = ", ".join(f"{rows} {metrics[f'{rows}_{name}']:.4g}" for rows in HELD_OUT if f"{rows}_{name}" in metrics)
    return f"{name} {metrics[name]:.4g}" + (f" ({held_out})" if held_out else "")


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run that ended, and its model as it is then."""

    finished: Finished
    built: TrainingProblem
    folder: Path | None  # its record, if it has one
    seconds: float = 0.0  # of training
    recording: float = 0.0  # share of them in which it waited for what is recorded

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended it."""
        return self.finished.outcome.status == "interrupted"

    @property
    def picture(self) -> Path | None:
        """Its picture, if it has one: that of a run that was interrupted is drawn by the one that resumes it."""
        path = None if self.folder is None else self.folder / "loss.png"
        return path if path is not None and path.is_file() and not self.interrupted else None

    def told(self) -> list[str]:
        """Return what people want to know at the end: epochs and seconds, losses, metrics, on all rows there are."""
        outcome, optimised = self.finished.outcome, self.built.loaded.spec.loss is not None
        if outcome.status in ("interrupted", "failed"):
            return []
        epochs = f"{outcome.epochs:,} epoch{'' if outcome.epochs == 1 else 's'} in {span(self.seconds)}"
        if self.folder is not None and self.seconds >= LONG and round(100 * self.recording):
            epochs += f", {self.recording:.0%} of it recording"
        metrics = {name: value for name, value in outcome.metrics.items() if isinstance(value, int | float)}
        losses = {"training loss" if optimised else "objective": outcome.loss}
        losses |= {f"{rows} loss": metrics[f"{rows}_loss"] for rows in HELD_OUT if f"{rows}_loss" in metrics}
        best = self._best(metrics)
        names = [name for name in metrics if not name.startswith(("best_", *(f"{rows}_" for rows in HELD_OUT)))]
        lines = [epochs, f"{', '.join(f'{name} {value:.6g}' for name, value in losses.items())}{best}"]
        return [*lines, ", ".join(_on_all_rows(name, metrics) for name in names)] if names else lines

    def _best(self, metrics: Mapping[str, float]) -> str:
        """Say which epoch was the best, where one was looked for, and where its weights are."""
        outcome = self.finished.outcome
        name = next((name for name in metrics if name.startswith("best_") and not name.endswith("_epoch")), None)
        if name is None or isnan(metrics[name]) or outcome.status == "diverged":
            return ""
        epoch = next(int(value) for key, value in metrics.items() if key.startswith("best_") and key.endswith("_epoch"))
        what = f"{name.removeprefix('best_').replace('_', ' ')} {metrics[name]:.6g} at epoch {epoch:,}"
        return f" (best: {what}{', whose weights these are' if outcome.last_loss is not None else ''})"

    def json(self) -> str:
        """Return the summary as one JSON document."""
        return json_text({"folder": str(self.folder), **self.finished.summary()})


def run(request: RunRequest, context: Context, keep: Callable[[StepBlock], None] = ignore) -> RunReport | Ended:
    """Train one experiment, into a new record or the one to go on with; ``keep`` gets the columns of its steps.

    Raises SpecError for a spec that cannot be trained, RunError for a step that torch refuses, MachineError for what
    the machine lacks.
    """
    bounded = not request.no_limits
    _, loaded = specs.read(context.source, request.overrides, "run", request.name, trained=True, bounded=bounded)
    require_world(loaded, context.processes)
    tell_size(loaded, context)
    name = digest(filled_in(loaded.spec))
    if (reused := context.reused(loaded, name, request)) is not None:
        summary = json_file(reused.folder / "summary.json") or {}
        if (expected := recorded(loaded.spec.expect, summary)) is not None:  # other expectations: it is run for them
            return replace(reused, expected=expected)
    frontend = context.frontend
    frontend.engine()
    from gdcli.runner import provenance, record_run
    from gdcli.storage.run_folder import RecordFolder, Timing

    timing = Timing()
    with frontend.progress("epoch", loaded.spec.settings.epochs) as show:
        steps = 0

        def block(block: StepBlock) -> None:
            nonlocal steps
            steps += len(block.step)
            show(float(block.epoch[-1]), float(block.loss[-1]), steps)
            keep(block)

        with timing.phase("build"):
            built = provenance.prepared(loaded, context.group)
        if loaded.shapes is None:  # of torch's layers, now they are known
            shapes = {slot.name: slot.shape for slot in built.theta.slots}
            tell_size(replace(loaded, layer_shapes=shapes), context)
        with ExitStack() as stack:
            record = None
            if context.output is not None:
                head = provenance.head(built, context.provenance())
                record = RecordFolder(stack.enter_context(context.folder(request, loaded, name, head)), head[0])
                frontend.opened(record.folder)
            finished = record_run.run(
                built, record, text=frontend.text, block=block, warning=frontend.warning,
                interrupt=stack.enter_context(frontend.interruptible()), plot=request.plot, timing=timing,
            )  # fmt: skip
        seconds = timing.phases.get("train", 0.0)
        return RunReport(finished, built, None if record is None else record.folder, seconds, timing.recording)
