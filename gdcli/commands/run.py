"""Train one experiment: `gdcli run`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.commands import specs
from gdcli.commands.context import Context, Ended, ignore
from gdcli.spec.config import digest, filled_in
from gdcli.storage.files import json_text
from gdcli.storage.request import RunRequest

if TYPE_CHECKING:
    from gdcli.engine.problem import TrainingProblem
    from gdcli.records import StepBlock
    from gdcli.runner.record_run import Finished


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run that ended, and its model as it is then."""

    finished: Finished
    built: TrainingProblem
    folder: Path | None  # its record, if it has one

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended it."""
        return self.finished.outcome.status == "interrupted"

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
    name = digest(filled_in(loaded.spec))
    if (reused := context.reused(loaded, name, request)) is not None:
        return reused
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
            built = provenance.prepared(loaded)
        with ExitStack() as stack:
            record = None
            if context.output is not None:
                head = provenance.head(built, context.provenance())
                record = RecordFolder(stack.enter_context(context.folder(request, loaded, name, head)), head[0])
            finished = record_run.run(
                built, record, text=frontend.text, block=block, warning=frontend.warning,
                interrupt=stack.enter_context(frontend.interruptible()), plot=request.plot, timing=timing,
            )  # fmt: skip
        return RunReport(finished, built, None if record is None else record.folder)
