"""`gdcli explain`, `check`, `plot`, `ema`, `validate`, `schema`, `new`, `cp` and `catalog`: what trains no run."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from math import isfinite
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.output import note, say, warn
from gdcli.cli.signals import importing
from gdcli.commands import plot as plotting
from gdcli.commands.context import Frontend, shown_path
from gdcli.errors import SpecError
from gdcli.storage.csv_writer import csv_rows
from gdcli.storage.files import json_text


def explain(
    words: options.SpecArgument,
    step: Annotated[int, typer.Option(min=1, help="Which step of the run; the ones before are trained.")] = 1,
    only: Annotated[str | None, typer.Option(metavar="NAMES", help="Some values: h1,loss,dw5,db1,new_w5.")] = None,
    form: Annotated[
        Literal["text", "markdown", "latex"] | None,
        typer.Option("--format", help="text, markdown or latex. Default: by FILE's ending, .md or .tex; else text."),
    ] = None,
    gaps: Annotated[int | None, typer.Option(min=1, help="Leave so many numbers out, drawn by the seed.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Default: standard output.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="FILE.csv", help="With --gaps: their numbers. Default: FILE.key.csv of -o.")
    ] = None,
    force: options.ForceOption = False,
    seed: options.SeedOption = None,
    plugin: options.PluginOption = None,
    config: options.ConfigOption = None,
) -> int:
    """Write out one training step with its numbers: forward, loss, every derivative by the chain rule, update.

    With --gaps it is a sheet to fill in: some numbers are left out, and stand in a second file, the key.

    Examples: gdcli explain backprop_2x2 --only h1,o1,loss,dw5 · gdcli explain backprop_2x2 --gaps 5 -o sheet.md
    """
    from gdcli.cli.sheets import form_of, sheet_files, write_out
    from gdcli.commands import specs

    options.load(plugin)
    if only is not None and (gaps is not None or output is not None):
        raise SpecError(f"--only prints some values; --{'output' if gaps is None else 'gaps'} is for the whole step")
    sheet, key_file = sheet_files(output, key, force=force, gaps=gaps is not None)
    form = form or form_of(sheet)
    loaded = specs.loaded(*options.spec_of(words, seed=seed), "explain", configs=config or ())
    names = None if only is None else [part.strip() for part in only.split(",")]
    if names is not None and "" in names:
        raise SpecError(f"--only takes names with commas between: h1,o1,loss,dw5 (got '{only}')")
    Frontend(importing=importing).engine()
    from gdcli.commands import explain as explaining

    if names is not None:
        say(explaining.only(explaining.quantities(loaded, names, step), form), wrap=form == "text")
        if before := explaining.trained_before(loaded, step):
            note(before)
        return 0
    explanation = explaining.explain(loaded, step)
    if gaps is not None:
        left_out = explaining.gaps_of(explanation, gaps, loaded.spec.settings.seed)
        explanation = explaining.sheet(explanation, left_out)
        if key_file is None:
            note("the numbers are nowhere else: --key FILE.csv writes them")
        else:
            write_out(key_file, csv_rows(explaining.key_rows(left_out)))
    if sheet is not None:
        write_out(sheet, explaining.render(explanation, form))
        return 0
    width = get_terminal_size().columns if sys.stdout.isatty() else explaining.WIDTH
    say(explaining.render(explanation, form, width), wrap=form == "text")
    return 0


def check(
    words: options.SpecArgument,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Largest relative error. Default: 1e-12 by hand against autograd and 1e-6 against differences in "
            "float64, 1e-5 and 1e-3 in float32."
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float64", "both"],
        typer.Option(help="The dtype of the gradients; differences are taken in float64."),
    ] = "both",
    seed: options.SeedOption = None,
    device: options.DeviceOption = None,
    json: options.JsonOption = False,
    plugin: options.PluginOption = None,
    config: options.ConfigOption = None,
) -> int:
    """Check the gradients of step 1: by hand, by autograd, by differences. Exit 1 above the tolerance.

    Example: gdcli check backprop_2x2 --dtype float64
    """
    if tolerance is not None and not (isfinite(tolerance) and tolerance >= 0):
        raise SpecError(f"--tolerance takes a number of at least 0 (got {tolerance})")
    from gdcli.commands import specs

    options.load(plugin)
    loaded = specs.loaded(*options.spec_of(words, seed=seed, device=device), "check", configs=config or ())
    Frontend(importing=importing).engine()
    import torch

    from gdcli.commands import check
    from gdcli.engine.device import resolve_threads

    torch.set_num_threads(resolve_threads(loaded))
    dtypes: tuple[check.Dtype, ...] = ("float64", "float32") if dtype == "both" else (dtype,)
    report = check.check(loaded, dtypes, tolerance)
    say(report.json() if json else report.text(), wrap=not json)
    return 0 if report.passed else 1


def plot(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]... [KEY=VALUE]...", help="Records, or specs to train, and overrides."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", "-k", help=f"{', '.join(plotting.KINDS)}. Default: curves.")
    ] = None,
    smooth: Annotated[
        float | None, typer.Option(metavar="BETA", help="curves: the moving average, over the pale loss.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAMES", help="activations: some, on one pair of axes: sigmoid,tanh.")
    ] = None,
    of: Annotated[
        str | None, typer.Option(metavar="VALUE", help="gradients: at an input or intermediate value: x, h1, net_o1.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, help="network, gradients of an image: before which step of the run.")
    ] = None,
    animate: Annotated[bool, typer.Option("--animate", help="curves, surface: a GIF that grows.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="png, svg or pdf; default: KIND.png.")
    ] = None,
    force: options.ForceOption = False,
    quiet: options.QuietOption = False,
    plugin: options.PluginOption = None,
    config: options.ConfigOption = None,
) -> int:
    """Draw a picture: loss curves, activations, losses, gradients by layer, a surface with paths, a network.

    Examples: gdcli plot runs/a runs/b --smooth 0.9 · gdcli plot --kind activations · gdcli plot adam_2x2 -k surface
    """
    options.load(plugin)
    words = words or []
    names = [part.strip() for part in name.split(",")] if name is not None else []
    picture = plotting.PlotOptions(plotting.chosen(kind, words), smooth, names, step, animate, tuple(config or ()), of)
    picture.check(words)
    path = plotting.target(output, picture, force=force)
    from gdcli.commands import specs

    for line in specs.choices(words) if not quiet else ():
        note(line)
    Frontend(importing=partial(importing, quiet=quiet)).engine()
    told = plotting.plot(words, picture, path)
    for line in told if not quiet else ():
        note(line)
    if not quiet:
        note(f"wrote {shown_path(path)}")
    return 0


def ema(
    file: Annotated[
        str, typer.Argument(metavar="[FILE.csv]", help="A CSV file with a header, or a bundled one.")
    ] = "temperatures",
    column: Annotated[str | None, typer.Option(help="The column to average. Default: the last.")] = None,
    beta: Annotated[
        list[float] | None,
        typer.Option(help="How much of the average before is kept, 0 to below 1; may be repeated. Default: 0.5, 0.9."),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder for the records, or a .csv file: the plot goes beside it.")
    ] = "runs",
    quiet: options.QuietOption = False,
    plot: options.PlotOption = True,
    json: options.JsonOption = False,
) -> int:
    """Average a series of numbers: S = beta*S + (1 - beta)*y, the first S is the first y. Prints a CSV.

    Example: gdcli ema temperatures --column temperature --beta 0.5 --beta 0.9
    """
    from gdcli.commands import ema as commands

    found = commands.average(commands.read(file, column), beta or [0.5, 0.9])
    record = commands.record(found, output, Path(file), plot=plot, warning=warn)
    say(found.json(str(record)) if json else found.csv())
    if not quiet:
        note(f"record: {shown_path(record)}")
    return 0


def validate(
    words: Annotated[
        list[str], typer.Argument(metavar="SPEC... [KEY=VALUE]...", help="Specs, and overrides for them.")
    ],
    summary: Annotated[
        bool, typer.Option("--summary", help="Print each layer, what it gives of a row, and its parameters.")
    ] = False,
    json: options.JsonOption = False,
    no_limits: options.NoLimitsOption = False,
    plugin: options.PluginOption = None,
    config: options.ConfigOption = None,
) -> int:
    """Check specs without running them: every problem with file, line and column. Exit 2 if there is one."""
    from gdcli.commands import specs
    from gdcli.commands import summary as summaries
    from gdcli.spec.overrides import is_override
    from gdcli.spec.recorded_size import require_room
    from gdcli.spec.world_size import require_world

    options.load(plugin)
    overrides = [word for word in words if is_override(word)]
    names = [word for word in words if word not in overrides]
    if not names:
        options.spec_of(words)
    found: list[str] = []
    warnings: list[str] = []
    models: dict[str, summaries.ModelSummary] = {}
    frontend = Frontend(importing=importing)
    valid: list[str] = []
    for name in names:
        try:
            source = specs.source_of(name, config or ())
            node, loaded = specs.read(source, overrides, "run", bounded=not no_limits)
            loaded = specs.tried(loaded, frontend)
            require_world(loaded, loaded.spec.settings.world_size or 1)
            require_room(loaded)
            warnings += loaded.warnings
            specs.require_blocks(source, node, loaded)
            if summary:
                models[name] = summaries.summary(loaded, frontend)
            valid.append(name)
        except SpecError as error:
            found += str(error).splitlines()
    for warning in [] if json else warnings:
        warn(warning)
    if json:
        layers = {"summary": {name: model.plain() for name, model in models.items()}} if summary else {}
        say(json_text({"valid": not found, "problems": found, "warnings": warnings, **layers}))
    else:
        say("".join(f"{name}: valid\n{models[name].text() if summary else ''}" for name in valid))
        if found:
            raise SpecError("\n".join(found))
    return 2 if found else 0


def schema(plugin: options.PluginOption = None) -> None:
    """Print the JSON Schema of a spec, for editors: gdcli schema > gdcli.schema.json."""
    from gdcli.spec.json_schema import file_schema

    options.load(plugin)
    say(json_text(file_schema()))


def new(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Its name, or the path of its file. Default: the template's.")
    ] = None,
    template: Annotated[
        Literal["regression", "classification", "image", "objective", "compare"] | None,
        typer.Option(
            "--template",
            "-t",
            metavar="WHAT",
            help="regression, classification, image, objective or compare. Default: the first, or by the target.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table, whose features, classes and missing cells are found.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column to predict. Default: the table's last one.")
    ] = None,
    force: options.ForceOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Write a spec of your own to begin with, a comment for each choice; it runs as it stands.

    Examples: gdcli new mine --template classification · gdcli new --data table.csv --target price
    """
    from gdcli.commands.new import new as made

    found = made(name, template, data=data, target=target, force=force)
    for line in () if quiet else (*found.notes, *(f"wrote {shown_path(each)}" for each in found.files)):
        note(line)
    if not quiet:
        note(f"run it: {found.command}")


def cp(
    name: Annotated[str | None, typer.Argument(help="A bundled spec; without it, all of them, a line each.")] = None,
    path: Annotated[str | None, typer.Argument(help="Where to: a file, or a folder/. Default: here.")] = None,
    force: options.ForceOption = False,
) -> None:
    """Copy a bundled spec, with its data file and the JSON Schema that editors check it with, out of the package."""
    from gdcli.commands import specs

    if name is None:
        say(specs.listing(), wrap=True)
        return
    for new in specs.copy(name, path, force=force):
        note(f"wrote {shown_path(new)}")


def catalog(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND] [NAME]",
            help="model, loss, activation, optimizer, scheduler, data, metric, style, dataset or layer; a name of one.",
        ),
    ] = None,
    json: options.JsonOption = False,
    plugin: options.PluginOption = None,
) -> int:
    """List every model, loss, activation, optimizer, scheduler, generator, metric, style, data set and torch layer.

    With a name it is described.

    Examples: gdcli catalog · gdcli catalog loss · gdcli catalog optimizer adam
    """
    from gdcli.commands import catalog as ingredients

    options.load(plugin)
    words = words or []
    if len(words) > 2:
        raise SpecError(f"catalog takes a kind and a name (got {len(words)} words)")
    found, in_full = ingredients.find(words)
    if json:
        say(json_text(list(map(asdict, found))))
    elif in_full:
        say("\n".join(entry.text() for entry in found), wrap=True)
    else:
        say(ingredients.listing(found), wrap=True)
    return 0
