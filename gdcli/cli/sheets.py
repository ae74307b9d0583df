"""`gdcli grade`, and the files of a sheet to fill in: `gdcli explain --gaps`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.output import note, say
from gdcli.cli.signals import importing
from gdcli.commands.context import Frontend, shown_path
from gdcli.errors import SpecError
from gdcli.storage.files import replace


def grade(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file or a bundled name.")],
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS.csv", help="A CSV file with the columns name and value.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of the spec.")] = None,
    step: Annotated[int, typer.Option(min=1, help="Which step of the run the sheet is of.")] = 1,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE.csv", help="The sheet's key: its other gaps are not answered.")
    ] = None,
    seed: options.SeedOption = None,
    json: options.JsonOption = False,
    plugin: options.PluginOption = None,
    config: options.ConfigOption = None,
) -> int:
    """Check answers to a sheet of explain --gaps, or to what a spec expects. Exit 1 if one is not right.

    The first factor of the chain that is wrong is named; what follows from a wrong one is told so.

    Example: gdcli grade backprop_2x2 answers.csv
    """
    from gdcli.commands import grade as commands
    from gdcli.commands import specs

    options.load(plugin)
    name, overrides = options.spec_of([spec, *(words or [])], seed=seed)
    loaded = specs.loaded(name, overrides, "grade", configs=config or ())
    found = commands.grade(loaded, answers, step, Frontend(importing=importing), key)
    say(found.json() if json else found.text(), wrap=not json)
    return int(found.right < found.count)


# --- files of a sheet -------------------------------------------------------------------------------------------------

Format = Literal["text", "markdown", "latex"]


def form_of(path: Path | None) -> Format:
    """Return the format that the ending of a file's name means."""
    endings: dict[str, Format] = {".md": "markdown", ".markdown": "markdown", ".tex": "latex"}
    return "text" if path is None else endings.get(path.suffix.lower(), "text")


def sheet_files(sheet: str | None, key: str | None, *, force: bool, gaps: bool) -> tuple[Path | None, Path | None]:
    """Return the files of the sheet and its key, as far as they are asked for. Raises SpecError where one cannot be.

    The key of sheet.md is sheet.key.csv, unless it is named.
    """
    from gdcli.commands.export import require_free

    if key is not None and not gaps:
        raise SpecError("--key is for the numbers that --gaps N leaves out")
    found = None if sheet is None else Path(sheet)
    key_file = Path(key) if key is not None else found.with_name(f"{found.stem}.key.csv") if found and gaps else None
    for path in (found, key_file):
        if path is not None:
            require_free(path, force=force)
    if key_file is not None and found is not None and key_file.absolute() == found.absolute():
        raise SpecError(f"sheet and key are the same file, {shown_path(found)}")
    return found, key_file


def write_out(path: Path, content: str) -> None:
    """Write a file, and tell where."""
    replace(path, content)
    note(f"wrote {shown_path(path)}")
