"""`gdcli show`: one record at a glance, its text, or its text in another style."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gdcli.cli import common
from gdcli.errors import SpecError, nearest

if TYPE_CHECKING:
    from gdcli.storage.record import Record

RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A record: its folder, its id, a prefix, a spec's name, last, last~1, ..."),
]


def show(
    run: RunArgument,
    output: common.OutputOption = Path("runs"),
    top: Annotated[int, typer.Option(min=0, help="Of a sweep or a comparison: so many of its best runs.")] = 10,
    log: Annotated[bool, typer.Option("--log", help="Print its log.txt.")] = False,
    style: Annotated[
        str | None, typer.Option(help="Print the run in this style; one that is not recorded is trained again for it.")
    ] = None,
    json: common.JsonOption = False,
) -> int:
    """Show a record: how it ended, its spec, results, files and machine.

    Example: gdcli show last --style tensor
    """
    if log + (style is not None) + json > 1:
        raise SpecError("--log, --style and --json exclude each other")
    from gdcli.storage.find import find
    from gdcli.storage.record import read

    record = read(find(run, output))
    if log:
        return print_log(record.folder)
    if style is not None:
        return print_style(record, style)
    from gdcli.commands.show import RunOverview

    glance = RunOverview(record, top)
    common.Output()(glance.json() if json else glance.text())
    return 0


def print_log(folder: Path) -> int:
    """Print log.txt as it is; on a terminal with control characters as escapes, of which gdcli writes none."""
    from gdcli.storage.files import existing

    out, on_terminal = common.Output(), sys.stdout.isatty()
    with existing(folder / "log.txt") as stream:
        while lines := stream.readlines(2**20):
            text = b"".join(lines).decode(errors="replace")
            out(_harmless(text) if on_terminal else text)
    return 0


def _harmless(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\t\n" else c.encode("unicode_escape").decode() for c in text)


def print_style(record: Record, style: str) -> int:
    """Print a run in a style. Raises SpecError for one that there is not, or that the spec cannot supply."""
    from gdcli.report.styles import STYLES
    from gdcli.storage import config_reader

    if style not in STYLES:
        raise SpecError(f"there is no style '{style}'. {nearest(style, STYLES)}")
    if record.kind != "run":
        raise SpecError(f"--style is for a run; this is a record of {record.kind}: gdcli ls RUN lists its runs")
    recorded = config_reader.read(record.folder).get("print")
    if isinstance(recorded, dict) and recorded.get("style") == style:
        return print_log(record.folder)
    return _trained_again(record, style)


def _trained_again(record: Record, style: str) -> int:
    """Train a run again in memory, as far as it came, and print its style."""
    overrides = [f"print.style={style}"]
    if record.status in ("stopped", "interrupted") and record.steps:
        overrides.append(f"stop.max_steps={record.steps}")
    source, document = common.read_spec(str(record.folder / "config.yaml"), overrides, None, None, "run")
    loaded = common.load(source, common.parse(source, document), bounded=True)
    common.require_optimizer(loaded.spec)
    execute = common.engine()
    out = common.Output()
    with common.signals() as (interrupt, came):
        watch = execute.Callbacks(text=out, warning=common.warn)
        finished = execute.run(execute.prepared(loaded), None, watch=watch, interrupt=interrupt)
    if came:
        common.note(finished.outcome.message)
    return common.stopped_code(came) if came else 0
