"""Commands under torchrun: one run on several processes, of which the first prints; what ends one is told once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import typer

from gdcli.cli.output import Console, note
from gdcli.cli.signals import Signals
from gdcli.errors import GdcliError, SpecError
from gdcli.spec.world import counted, world_of

if TYPE_CHECKING:
    from gdcli.engine.process_group import ProcessGroup

SHARED = ("run", "resume", "verify")
"""The commands that several processes carry out together."""


def require_shared(command: str) -> None:
    """Refuse a command that each process of torchrun would do by itself. Raises SpecError, in the first one."""
    world = world_of(os.environ)
    if world.size == 1 or command in SHARED:
        return
    if world.rank:
        raise typer.Exit(SpecError.exit_code)
    what = f"torchrun has started {counted(world.size)}, which share the rows of one run"
    raise SpecError(f"{what}: {', '.join(SHARED)}. Start {command} without it: gdcli {command}")


@contextmanager
def together(signals: Signals, *, quiet: bool, json: bool) -> Iterator[tuple[Console, ProcessGroup | None]]:
    """Yield the command's console, and the processes that carry it out together, where torchrun has started several.

    Those beside the first are silent, but for an error that is theirs alone.
    """
    world = world_of(os.environ)
    console = Console(signals, quiet=quiet, json=json, silent=world.rank > 0)
    if world.size == 1:
        yield console, None
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost connection is told in a line, not by torch's stacks
    console.frontend().engine()
    from gdcli.engine.process_group import joined

    def leave(why: str) -> NoReturn:
        console.clear()
        if why:
            note(f"rank {world.rank}: {why}" if world.rank else why)
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(3)  # nothing that is left to do here can be relied on to end

    with joined(world, leave) as group:
        try:
            yield console, group
        except GdcliError as error:
            if group.is_first:
                raise
            group.failed(str(error))
            if group.tells(error):
                note(f"rank {world.rank}: {error}")
            raise typer.Exit(error.exit_code) from None
