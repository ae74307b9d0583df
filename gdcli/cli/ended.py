"""How runs ended: what is printed then, and the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.cli.output import Console, say_ended
from gdcli.commands import batch
from gdcli.commands.context import Reused, shown_path

if TYPE_CHECKING:
    from gdcli.commands.compare.run import Comparison
    from gdcli.commands.resume import Report
    from gdcli.commands.run import RunReport
    from gdcli.commands.sweep.runs import TrainingSweep
    from gdcli.records import Result
    from gdcli.runner.batch import Verified


def tell(report: Report, console: Console, verify: int = 0) -> int:
    """Print what a report has to say; of runs of fleets so many are verified. Return the exit code."""
    from gdcli.commands.run import RunReport
    from gdcli.commands.sweep import GridReport

    if isinstance(report, Reused):
        say_ended(report.folder, json=console.json)
        console.note(f"not needed, it is finished already: {shown_path(report.folder)}")
        return 0
    if isinstance(report, RunReport):
        return _run(report, console)
    if isinstance(report, GridReport):
        console.text(report.grid.json(report.folder) if console.json else report.grid.text())
        _where(report.folder, console, interrupted=False)
        return 0
    return _batch(report, console, verify)


def _run(report: RunReport, console: Console) -> int:
    outcome = report.finished.outcome
    if console.json:
        console.text(report.json())
    if outcome.status in ("diverged", "interrupted") or (outcome.status == "stopped" and not console.quiet):
        console.note(outcome.message)
    if report.folder is not None:
        _where(report.folder, console, interrupted=report.interrupted)
    return {"diverged": 1, "interrupted": console.signals.code}.get(outcome.status, 0)


def _batch(report: TrainingSweep | Comparison, console: Console, verify: int) -> int:
    console.text(report.json() if console.json else report.table())
    verified = batch.verified(report, verify, console.frontend())
    if verified is not None:
        console.note(verified.text())
    came = console.signals.came
    _where(report.folder, console, interrupted=bool(came))
    code = _code(report.trained, console, verified)
    return console.signals.code if came else code


def _code(results: Sequence[Result], console: Console, verified: Verified | None) -> int:
    """Return 1 when a run failed or one verified is too far off, else 0."""
    failures = sum(result.status == "failed" for result in results)
    if failures:
        console.note(f"{failures:,} of {len(results):,} runs failed")
    return int(failures > 0 or (verified is not None and not verified.largest <= verified.allowed))


def _where(folder: Path, console: Console, *, interrupted: bool) -> None:
    """Tell where the record is, and how to go on with one that was stopped."""
    if not console.quiet:
        console.note(f"record: {shown_path(folder)}")
        if interrupted:
            console.note(f"go on with: gdcli resume {shown_path(folder)}")
