"""`gdcli resume`: go on where a run, sweep or comparison was stopped or killed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.ended import tell
from gdcli.cli.output import Console, arguments, say_ended
from gdcli.commands import resume as commands
from gdcli.commands.batch import ExecutionOptions
from gdcli.commands.context import shown_path

ForceOption = Annotated[bool, typer.Option("--force", help="Go on though the machine or the versions differ.")]


def resume(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A record: its folder, its id, a prefix, a name, last.")],
    output: options.OutputOption = Path("runs"),
    jobs: options.JobsOption = 1,
    cluster: options.ClusterOption = None,
    force: ForceOption = False,
    quiet: options.QuietOption = False,
    json: options.JsonOption = False,
) -> int:
    """Go on where a record was stopped or killed: the same bytes in the end as if it never had been.

    Standard output is what was not printed before the last checkpoint. Example: gdcli resume last
    """
    from gdcli.storage.find import find

    console = Console(ctx.obj, quiet=quiet, json=json)
    execution, frontend = ExecutionOptions(jobs, cluster), console.frontend()
    report = commands.resume(find(run, output), execution, frontend, force=force, arguments=arguments())
    if not isinstance(report, commands.Ended):
        return tell(report, console)
    if json:
        say_ended(report.folder, json=True)
    console.note(f"nothing is left to do: {report.status}. record: {shown_path(report.folder)}")
    return int(report.status in ("diverged", "failed"))
