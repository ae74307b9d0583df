"""`gdcli catalog`: every ingredient of a spec with its equation and arguments."""

from __future__ import annotations

from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Output
from gdcli.errors import SpecError


def catalog(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND] [NAME]", help="model, loss, activation, optimizer, scheduler, data or style; a name of one."
        ),
    ] = None,
    json: options.JsonOption = False,
) -> int:
    """List every model, loss, activation, optimizer, scheduler, data generator and style, or describe one.

    Examples: gdcli catalog · gdcli catalog loss · gdcli catalog optimizer adam
    """
    from gdcli.commands import catalog as ingredients

    words = words or []
    if len(words) > 2:
        raise SpecError(f"catalog takes a kind and a name (got {len(words)} words)")
    found, in_full = ingredients.find(words)
    if json:
        from gdcli.storage.files import json_text

        Output()(json_text([entry.data() for entry in found]))
    elif in_full:
        Output()("\n".join(entry.text() for entry in found))
    else:
        Output()(ingredients.listing(found))
    return 0
