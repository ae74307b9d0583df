"""`gdcli validate`, `schema`, `cp` and `catalog`: specs and what they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Output, note
from gdcli.commands.context import shown_path
from gdcli.errors import SpecError
from gdcli.storage.files import json_text


def validate(
    words: Annotated[
        list[str], typer.Argument(metavar="SPEC... [KEY=VALUE]...", help="Specs, and overrides for them.")
    ],
    json: options.JsonOption = False,
    no_limits: options.NoLimitsOption = False,
) -> int:
    """Check specs without running them: every problem with file, line and column. Exit 2 if there is one."""
    from gdcli.commands import specs

    names = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    if not names:
        options.split_spec(words)
    found: list[str] = []
    for name in names:
        try:
            specs.loaded(name, overrides, "run", bounded=not no_limits)
        except SpecError as error:
            found += str(error).splitlines()
    if json:
        Output()(json_text({"valid": not found, "problems": found}))
    elif found:
        raise SpecError("\n".join(found))
    else:
        Output()("".join(f"{name}: valid\n" for name in names))
    return 2 if found else 0


def schema() -> None:
    """Print the JSON Schema of a spec, for editors: gdcli schema > gdcli.schema.json."""
    from gdcli.spec.json_schema import json_schema

    Output()(json_text(json_schema()))


def cp(
    name: Annotated[str | None, typer.Argument(help="A bundled spec; without it, the list of them.")] = None,
    path: Annotated[Path | None, typer.Argument(help="Where to: a file or a folder. Default: here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Copy a bundled spec, with its data file if it has one, out of the package."""
    from gdcli.commands import specs
    from gdcli.spec import bundled

    if name is None:
        Output()("".join(f"{each}\n" for each in bundled.names()))
        return
    for new in specs.copy(name, path, force=force):
        note(f"wrote {shown_path(new)}")


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
        Output()(json_text([entry.data() for entry in found]))
    elif in_full:
        Output()("\n".join(entry.text() for entry in found))
    else:
        Output()(ingredients.listing(found))
    return 0
