"""`gdcli validate`: all problems of specs at once."""

from __future__ import annotations

from typing import Annotated

import typer

from gdcli.cli import common
from gdcli.errors import SpecError


def validate(
    words: Annotated[
        list[str], typer.Argument(metavar="SPEC... [KEY=VALUE]...", help="Specs, and overrides for them.")
    ],
    json: common.JsonOption = False,
    no_limits: common.NoLimitsOption = False,
) -> int:
    """Check specs without running them: every problem with file, line and column. Exit 2 if there is one."""
    specs = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    if not specs:
        common.split_spec(words)
    found: list[str] = []
    for name in specs:
        try:
            source, document = common.read_spec(name, overrides, None, None, "run")
            common.load(source, common.parse(source, document), bounded=not no_limits)
        except SpecError as error:
            found += str(error).splitlines()
    if json:
        from gdcli.storage.files import json_text

        common.Output()(json_text({"valid": not found, "problems": found}))
    elif found:
        raise SpecError("\n".join(found))
    else:
        common.Output()("".join(f"{name}: valid\n" for name in specs))
    return 2 if found else 0
