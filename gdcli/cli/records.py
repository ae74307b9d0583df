"""`gdcli ls`, `show`, `diff` and `rm`: the records."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from gdcli.cli import options
from gdcli.cli.output import Console, note, print_file, say
from gdcli.commands.context import shown_path
from gdcli.errors import SpecError
from gdcli.spec.scalars import shown

if TYPE_CHECKING:
    from gdcli.commands.list import Listing

RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A record: folder, id or its prefix, whole name, last, last~1, ..."),
]
DISPENSABLE = ("when", "duration", "best_loss", "kind", "steps")
"""Columns that a terminal too narrow for all does without, in this order; the id has the time in it.

Without a column of its own, the best loss of a sweep or a comparison stands where a run has its final one.
"""
WIDE = 160
"""Letters of a terminal from which on it shows what each spec says of itself."""
NAME = 8
"""Letters of a name that a narrow terminal has at least."""
CELL = 24
"""Letters of a key's values at most, on a terminal, where several keys are shown."""
COLOURS = {
    "finished": "green", "stopped": "green", "diverged": "red", "failed": "red", "damaged": "red",
    "interrupted": "yellow", "unfinished": "yellow", "running": "cyan",
}  # fmt: skip


def ls(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|NAME|FOLDER", help="A sweep or a comparison, for its runs; a spec's name, or a folder."
        ),
    ] = None,
    output: options.OutputOption = Path("runs"),
    sort_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A column, a metric, or a key of the spec: optimizer.lr.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round.")] = False,
    only_changed: Annotated[
        bool, typer.Option("--only-changed", help="Also show the keys of the spec that are not the same in all.")
    ] = False,
    top: Annotated[int | None, typer.Option(min=0, help="Only the first so many.")] = None,
    status: Annotated[str | None, typer.Option(help="Only those that ended so: finished, diverged, ...")] = None,
    tag: Annotated[str | None, typer.Option(metavar="WORD", help="Only those that have this tag.")] = None,
    json: options.JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print a CSV, all digits.")] = False,
    md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
) -> int:
    """List the records, the newest first. On a narrow terminal the time and other columns are left out.

    --sort-by puts the best first: the least, or the highest of a metric such as accuracy.

    Example: gdcli ls --sort-by final_loss --top 10 --only-changed
    """
    if json + csv + md > 1:
        raise SpecError("--json, --csv and --md exclude each other")
    from gdcli.commands.list import folders_of, listing

    folders = folders_of(folder, output)
    on_terminal = sys.stdout.isatty() and not (json or csv or md)
    found = listing(
        folders, status=status, tag=tag, sort_by=sort_by, reverse=reverse, only_changed=only_changed, top=top,
        described=on_terminal and get_terminal_size().columns >= WIDE,
    )  # fmt: skip
    if json or csv or md:
        say(found.json() if json else found.csv() if csv else found.markdown())
    elif not found.rows:
        note("no records")
    elif on_terminal:
        _on_terminal(found)
    else:
        say(found.text())
    return 0


def _on_terminal(found: Listing) -> None:
    """Print a table as wide as the terminal at most, and tell what has no room; texts of records are never markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gdcli.commands.list import COLUMNS
    from gdcli.report.tables import number

    console = Console(highlight=False, markup=False, emoji=False)
    columns, cells = found.columns, found.cells()
    lines = [found.header(), *[[number(value) for value in row] for row in cells]]
    merged, told = _with_best_losses(found, lines)
    widths = [max(map(len, column)) for column in zip(*merged, strict=True)]
    keys = range(len(COLUMNS), len(widths))
    for k in keys if len(keys) > 1 else ():
        widths[k] = min(widths[k], max(len(lines[0][k]), CELL))
    kept = _fitting(columns, widths, console.width)
    if columns.index("best_loss") in kept or columns.index("final_loss") not in kept:
        merged, told = lines, []
    _fit_names(columns, widths, kept, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for k in kept:
        numbers = all(not isinstance(row[k], str) for row in cells)
        table.add_column(
            Text(merged[0][k], style="bold"), justify="right" if numbers else "left",
            no_wrap=True, min_width=widths[k], max_width=widths[k],
        )  # fmt: skip
    status = columns.index("status")
    for line in merged[1:]:
        table.add_row(*(Text(line[k], style=COLOURS[line[k]] if k == status else "") for k in kept))
    console.print(table)
    if gone := len(columns) - len(kept):
        told.append(f"{gone} more column{'s' * (gone > 1)}: --csv prints all")
    if told:
        note("; ".join(told))


def _with_best_losses(found: Listing, lines: list[list[str]]) -> tuple[list[list[str]], list[str]]:
    """Return a table's lines with the best loss of sweeps and comparisons as their final one, and what is told then."""
    from gdcli.storage.record import MANY

    loss, best = found.columns.index("final_loss"), found.columns.index("best_loss")
    if all(record.kind not in MANY for record in found.records):
        return lines, []
    merged = [[*line] for line in lines]
    merged[0][loss] = "loss"
    for line, record in zip(merged[1:], found.records, strict=True):
        line[loss] = line[best] if record.kind in MANY else line[loss]
    return merged, ["loss is the final one of a run, the best one of a sweep or comparison"]


def _fit_names(columns: tuple[str, ...], widths: list[int], kept: list[int], room: int) -> None:
    """Give the names what the other columns leave, and the description what they leave, if that is enough for one."""
    name = columns.index("name")
    last = columns.index("description") if "description" in columns else None
    free = room - sum(widths[k] + 2 for k in kept if k not in (name, last))
    widths[name] = min(widths[name], max(NAME, free))
    if last is not None and last in kept:
        widths[last] = min(widths[last], free - widths[name] - 2)
        if widths[last] < NAME:
            kept.remove(last)


def _fitting(columns: tuple[str, ...], widths: list[int], room: int) -> list[int]:
    """Return which columns to show: without those that can be spared, then the widest keys, as far as is needed.

    Last goes the loss, where a short name does not leave it its room: a number is never cut.
    """
    from gdcli.commands.list import COLUMNS

    kept = list(range(len(columns)))
    keys = sorted(range(len(COLUMNS), len(columns)), key=lambda k: widths[k], reverse=True)
    name, loss = columns.index("name"), columns.index("final_loss")
    for k in (*map(columns.index, DISPENSABLE), *keys, loss):
        spare = max(0, widths[name] - NAME) if k == loss else 0
        if sum(widths[j] + 2 for j in kept if columns[j] != "description") - 2 - spare > room:
            kept.remove(k)
    return kept


def show(
    ctx: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|SPEC [KEY=VALUE]...",
            help="A record: folder, id or its prefix, whole name, last, last~1, ...",
        ),
    ],
    output: options.OutputOption = Path("runs"),
    top: Annotated[int, typer.Option(min=0, help="Of a sweep or a comparison: so many of its best runs.")] = 10,
    resolved: Annotated[
        bool,
        typer.Option(
            "--resolved", "--cfg", help="Print the config.yaml that a run of a spec would have, or a record's."
        ),
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Print its log.txt.")] = False,
    style: Annotated[
        str | None, typer.Option(help="Print the run in this style; one that is not recorded is trained again for it.")
    ] = None,
    json: options.JsonOption = False,
    plugin: options.PluginOption = None,
) -> int:
    """Show a record: how it ended, its spec, results, files and machine.

    Examples: gdcli show last --style tensor · gdcli show mlp lr=0.1 --resolved
    """
    if log + (style is not None) + json + resolved > 1:
        raise SpecError("--log, --style, --json and --resolved exclude each other")
    from gdcli.commands import show as commands
    from gdcli.storage.find import find
    from gdcli.storage.record import read

    options.load(plugin)
    if resolved:
        _print_config(*options.spec_of(words), output, Console(ctx.obj))
        return 0
    run, *rest = words
    if rest:
        raise SpecError(f"'{shown(rest[0], 60)}': show takes one record; --resolved takes a spec and its overrides")
    record = read(find(run, output))
    if log or (style is not None and commands.has_style(record, style)):
        print_file(record.folder / "log.txt")
        return 0
    console = Console(ctx.obj, json=json)
    if style is None:
        overview = commands.RunOverview(record, top)
        console.report(overview.json() if json else overview.text())
        return 0
    stopped = commands.trained_again(record, style, console.frontend())
    if stopped is not None:
        console.note(stopped)
    return 0 if stopped is None else console.signals.code


def _print_config(spec: str, overrides: tuple[str, ...], output: Path, console: Console) -> None:
    """Print the config.yaml that a run of a spec would have, or that of a record where there is no such spec."""
    from gdcli.commands.show import resolved
    from gdcli.commands.specs import choices
    from gdcli.spec import bundled
    from gdcli.storage.find import find

    try:
        bundled.find(spec)
    except SpecError:
        try:
            config = find(spec, output) / "config.yaml"
        except SpecError:
            config = None
        if config is None:
            raise
        if not overrides:
            print_file(config)
            return
        spec = str(config)
    for line in choices([spec], output):
        note(line)
    say(resolved(spec, overrides, console.frontend()))


def diff(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A record: folder, id or its prefix, whole name, last, last~1, ...")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    output: options.OutputOption = Path("runs"),
    json: options.JsonOption = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 1 where anything differs, as git diff does; 0 otherwise.")
    ] = False,
) -> int:
    """Show where two records differ: spec, results with the first loss that is not the same, environment.

    Example: gdcli diff last~1 last
    """
    from gdcli.commands.diff import differences
    from gdcli.storage.find import find
    from gdcli.storage.record import read

    found = differences(*(read(find(text, output)) for text in (a, b)))
    say(found.json() if json else found.text(), wrap=not json)
    return int(exit_code and bool(found))


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
        say("".join(f"{told(folder)}\n" for folder in folders))
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
