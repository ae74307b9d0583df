"""`gdcli check`: gradients by hand, by autograd and by differences, beside each other."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.output import Output
from gdcli.cli.signals import import_engine
from gdcli.commands import specs
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.commands.check import Dtype

Which = Literal["float32", "float64", "both"]


def check(
    words: Annotated[
        list[str], typer.Argument(metavar="SPEC [KEY=VALUE]...", help="A YAML file or a bundled name, and overrides.")
    ],
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Largest relative error. Default: 1e-12 by hand against autograd and 1e-6 against differences in "
            "float64, 1e-5 and 1e-3 in float32."
        ),
    ] = None,
    dtype: Annotated[
        Which, typer.Option(help="The dtype of the gradients; differences are taken in float64.")
    ] = "both",
    seed: options.SeedOption = None,
    device: options.DeviceOption = None,
    json: options.JsonOption = False,
) -> int:
    """Check the gradients of step 1: by hand, by autograd, by differences. Exit 1 above the tolerance.

    Example: gdcli check backprop_2x2 --dtype float64
    """
    if tolerance is not None and not (isfinite(tolerance) and tolerance >= 0):
        raise SpecError(f"--tolerance takes a number of at least 0 (got {tolerance})")
    name, overrides = options.split_spec(words)
    loaded = specs.loaded(name, options.overriding(overrides, seed, device), "check")
    import_engine()
    import torch

    from gdcli.commands import check
    from gdcli.engine.device import resolve_threads

    torch.set_num_threads(resolve_threads(loaded))
    dtypes: tuple[Dtype, ...] = ("float64", "float32") if dtype == "both" else (dtype,)
    report = check.check(loaded, dtypes, tolerance)
    Output()(report.json() if json else report.text())
    return 0 if report.passed else 1
