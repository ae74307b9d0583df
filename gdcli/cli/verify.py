"""`gdcli verify`: run a record again and say whether it is bit-identical."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gdcli.cli import common, many
from gdcli.cli.resume import carried, require_whole, source_of, status_of
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.verifying import Difference

SHOWN = 5


def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A record: its folder, its id, a prefix, a name, last.")],
    output: common.OutputOption = Path("runs"),
    quiet: common.QuietOption = False,
    json: common.JsonOption = False,
) -> int:
    """Run a record again, and say 'bit-identical' or where it first differs; exit 1 if it does.

    Example: gdcli verify last
    """
    from gdcli.library.finding import find
    from gdcli.library.record import json_file
    from gdcli.spec import request as requests
    from gdcli.store import Lock

    folder = find(run, output)
    require_whole(folder)
    lock = Lock(folder)
    try:
        request, status = requests.read(folder), status_of(folder)
        if status in (None, "interrupted"):
            raise SpecError(f"{common.shown_path(folder)} has not ended: gdcli resume goes on with it")
        with tempfile.TemporaryDirectory(prefix="gdcli-verify-") as again:
            made = Path(again)
            job = common.Job(source_of(folder, request), made, silent=True, quiet=True)
            carried(request.model_copy(update={"plot": False}), job, many.How())
            from gdcli import verifying

            (new,) = (path for name in made.iterdir() for path in name.iterdir())
            found = verifying.compare(folder, new)
            machine = verifying.differences(json_file(folder / "environment.json") or {}, verifying.here())
        common.Output()(_json(folder, found, machine) if json else _text(found, machine))
        return int(bool(found))
    finally:
        lock.release()


def _text(found: list[Difference], machine: list[str]) -> str:
    from gdcli.spec.scalars import shown

    if not found:
        return "bit-identical\n"
    lines = [shown(str(difference), limit=500) for difference in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN:,} more files")
    lines.append("the machine: " + ("; ".join(machine) if machine else "the same versions and processor"))
    return "".join(f"{line}\n" for line in lines)


def _json(folder: Path, found: list[Difference], machine: list[str]) -> str:
    from gdcli.store import json_text

    listed: list[dict[str, Any]] = [
        {"run": d.run, "file": d.file, "where": d.where, "recorded": d.recorded, "again": d.again} for d in found
    ]
    return json_text({"folder": str(folder), "identical": not found, "differences": listed, "machine": machine})
