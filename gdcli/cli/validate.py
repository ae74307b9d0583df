"""`gdcli validate`: all problems of specs at once."""

from __future__ import annotations

from typing import Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Output
from gdcli.commands import specs
from gdcli.errors import SpecError


def validate(
    words: Annotated[
        list[str], typer.Argument(metavar="SPEC... [KEY=VALUE]...", help="Specs, and overrides for them.")
    ],
    json: options.JsonOption = False,
    no_limits: options.NoLimitsOption = False,
) -> int:
    """Check specs without running them: every problem with file, line and column. Exit 2 if there is one."""
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
        from gdcli.storage.files import json_text

        Output()(json_text({"valid": not found, "problems": found}))
    elif found:
        raise SpecError("\n".join(found))
    else:
        Output()("".join(f"{name}: valid\n" for name in names))
    return 2 if found else 0
