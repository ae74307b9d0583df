"""The options that several commands have, and what their words mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from gdcli.cli.signals import importing
from gdcli.errors import SpecError
from gdcli.spec.scalars import shown

if TYPE_CHECKING:
    from gdcli.zoo.plugins import Plugin

SpecArgument = Annotated[
    list[str], typer.Argument(metavar="SPEC [KEY=VALUE]...", help="A YAML file or a bundled name, and overrides.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for the records.")]
SeedOption = Annotated[int | None, typer.Option(help="Override the spec's seed.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N, mps or auto; overrides the spec's device.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="The result only: no progress, summary or paths.")]
PlotOption = Annotated[bool, typer.Option("--plot/--no-plot", help="Draw the pictures.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
NeededOption = Annotated[
    bool, typer.Option("--needed", help="Do nothing where a finished record of the same is there.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")]
LiveOption = Annotated[
    bool, typer.Option("--live", help="Serve the page of gdcli report on 127.0.0.1 while it trains.")
]
NoLimitsOption = Annotated[bool, typer.Option("--no-limits", help="Allow sizes beyond the built-in limits.")]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=1, max=1024, help="Processes to train in.")]
ClusterOption = Annotated[
    str | None, typer.Option(help="Train on a Dask cluster: a scheduler's address, or local:N processes.")
]


ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="FILE.yaml", help="A file merged over the spec, before overrides; repeatable."),
]

PluginOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="FILE.py|PACKAGE", help="Python code of your own that adds models, losses, ...; repeatable."
    ),
]

TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="WORD", help="A word to find the record by: gdcli ls --tag WORD; repeatable."),
]


@dataclass(frozen=True, slots=True)
class ManyRuns:
    """The options that `sweep` and `compare` have alike."""

    max_runs: Annotated[int | None, typer.Option(min=1, help="Most runs, or points, to allow.")] = None
    fleet: Annotated[
        Literal["auto", "off", "vmapped"],
        typer.Option(help="off trains the runs one by one, exactly as run does; vmapped torch's layers together too."),
    ] = "auto"
    verify: Annotated[int, typer.Option(min=0, help="Train so many runs again alone; tell the largest difference.")] = 0
    jobs: JobsOption = 1
    cluster: ClusterOption = None
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")] = False
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Write the models of all runs into one file.")] = (
        False
    )
    no_limits: NoLimitsOption = False
    output: OutputOption = Path("runs")
    seed: SeedOption = None
    device: DeviceOption = None
    quiet: QuietOption = False
    plot: PlotOption = True
    json: JsonOption = False
    needed: NeededOption = False
    tag: TagOption = None
    plugin: PluginOption = None
    config: ConfigOption = None
    live: LiveOption = False


def spread(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command whose parameter ``shared`` is made of an option for each of its fields, as Typer reads them."""
    own, hints = signature(command, eval_str=True), get_type_hints(ManyRuns, include_extras=True)
    given = [parameter for name, parameter in own.parameters.items() if name != "shared"]
    more = [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]) for f in fields(ManyRuns)
    ]

    @wraps(command)
    def spreading(**values: Any) -> int:
        shared = ManyRuns(**{each.name: values.pop(each.name) for each in more})
        return command(**values, shared=shared)

    spreading.__signature__ = own.replace(parameters=[*given, *more])  # type: ignore[attr-defined]  # that inspect reads
    return spreading


def load(words: Sequence[str] | None) -> tuple[Plugin, ...]:
    """Load the plugins that the options of a command name. Raises what :func:`gdcli.zoo.plugins.load` raises."""
    if not words:
        return ()
    from gdcli.zoo import plugins

    with importing(for_plugins=True):  # which most do with torch
        return plugins.load(words)


def tags_of(words: Sequence[str] | None) -> tuple[str, ...]:
    """Return the words of --tag. Raises SpecError for one that is empty or has blanks in it."""
    for word in words or ():
        if not word or any(letter.isspace() for letter in word):
            raise SpecError(f"--tag takes a word without blanks (got '{shown(word, 60)}')")
    return tuple(words or ())


def spec_of(
    words: Sequence[str], default: str | None = None, *, seed: int | None = None, device: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return SPEC and all overrides, those of the options too.

    A first word that is an override means the default spec.
    """
    from gdcli.spec.overrides import is_override

    options = [f"{key}={value}" for key, value in (("seed", seed), ("device", device)) if value is not None]
    for option in options:  # which of the two is later the words do not tell
        if other := [word for word in words if word.startswith(option.partition("=")[0] + "=") and word != option]:
            raise SpecError(f"--{option.replace('=', ' ')} and {other[0]} are the same key: give one of them")
    if words and not is_override(words[0]):
        return words[0], (*words[1:], *options)
    if default is None:
        raise SpecError("which spec? gdcli run SPEC [key=value ...]; 'gdcli cp' lists the bundled ones")
    return default, (*words, *options)
