"""The options that several commands have, and what their words mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from gdcli.errors import SpecError

SpecArgument = Annotated[
    list[str], typer.Argument(metavar="SPEC [KEY=VALUE]...", help="A YAML file or a bundled name, and overrides.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for the records.")]
SeedOption = Annotated[int | None, typer.Option(help="Override the spec's seed.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N, mps or auto; overrides the spec's device.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the product only: no progress, no paths.")]
PlotOption = Annotated[bool, typer.Option("--plot/--no-plot", help="Draw the pictures.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
NeededOption = Annotated[
    bool, typer.Option("--needed", help="Do nothing where a finished record of the same is there.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")]
NoLimitsOption = Annotated[bool, typer.Option("--no-limits", help="Allow sizes beyond the built-in limits.")]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=1, max=1024, help="Processes to train in.")]
ClusterOption = Annotated[
    str | None, typer.Option(help="Train on a Dask cluster: a scheduler's address, or local:N processes.")
]
FailFastOption = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")]
MaxRunsOption = Annotated[int | None, typer.Option(min=1, help="Most runs, or points, to allow.")]
FleetOption = Annotated[
    Literal["auto", "off"], typer.Option(help="off trains the runs one by one, exactly as run does.")
]
VerifyOption = Annotated[int, typer.Option(min=0, help="Train so many runs again alone; tell the largest difference.")]


def spec_of(
    words: Sequence[str], default: str | None = None, *, seed: int | None = None, device: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return SPEC and all overrides, those of the options too.

    A first word that is an override means the default spec.
    """
    from gdcli.spec.overrides import is_override

    options = [f"{key}={value}" for key, value in (("seed", seed), ("device", device)) if value is not None]
    if words and not is_override(words[0]):
        return words[0], (*words[1:], *options)
    if default is None:
        raise SpecError("which spec? gdcli run SPEC [key=value ...]; 'gdcli cp' lists the bundled ones")
    return default, (*words, *options)
