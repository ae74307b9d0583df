"""`gdcli rm`: take records away."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Output, note
from gdcli.commands.context import shown_path
from gdcli.errors import SpecError
from gdcli.spec.scalars import shown


def rm(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Records: folders, ids, prefixes, last, last~1, ...")
    ],
    output: options.OutputOption = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be removed and exit.")] = False,
    quiet: options.QuietOption = False,
) -> int:
    """Remove records, whole. Asks first; a record in use, and a folder that is no record, is refused.

    Example: gdcli rm last~1 last
    """
    from gdcli.storage.find import find
    from gdcli.storage.remove import checked, held, remove

    folders = checked([find(text, output) for text in runs])
    if dry_run:
        Output()("".join(f"{told(folder)}\n" for folder in folders))
        return 0
    with held(folders):
        if not yes and not agreed(folders):
            note("nothing was removed")
            return 0
        for folder in folders:
            remove(folder)
            if not quiet:
                note(f"removed {told(folder)}")
    return 0


def told(folder: Path) -> str:
    """Return a record's path, safe to print."""
    return shown(shown_path(folder), 1000)


def agreed(folders: Sequence[Path]) -> bool:
    """Ask on the terminal. Raises SpecError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise SpecError("standard input is no terminal, so nobody can be asked. --yes removes without asking")
    for folder in folders:
        note(told(folder))
    which = "this record" if len(folders) == 1 else f"these {len(folders):,} records"
    print(f"Remove {which}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
