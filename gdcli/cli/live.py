"""`--live`: the page of the record that a command writes, served while it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.cli.output import note, warn
from gdcli.commands.context import ignore
from gdcli.spec.world import world_of

if TYPE_CHECKING:
    from gdcli.commands.report.live import LivePage


@contextmanager
def serving(wanted: bool) -> Iterator[Callable[[Path], None]]:
    """Yield what takes the folder of a record and serves its page, if that is wanted, until the command has ended.

    The page's address is told on standard error, and so is what keeps it from being served, which ends nothing. Of the
    processes of torchrun the first serves.
    """
    if not wanted or world_of(os.environ).rank > 0:
        yield ignore
        return
    pages: list[LivePage | None] = []

    def opened(folder: Path) -> None:
        from gdcli.commands.report import live

        try:
            page = live.LivePage(folder)
        except (OSError, RuntimeError) as error:
            pages.append(None)
            warn(f"--live: the page cannot be served, training goes on without it: {error}")
            return
        pages.append(page)
        note(f"live: {page.address}")

    try:
        yield opened
        if not pages:
            note("--live: nothing is trained here that a page could show")
    finally:
        for page in pages:
            if page is not None:
                page.close()
