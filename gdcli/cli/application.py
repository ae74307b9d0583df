"""The Typer application: the name of every command."""

from __future__ import annotations

from shutil import get_terminal_size

import typer

from gdcli.cli import export, models, processes, records, specs, train

BOXED = 80
"""Columns of a terminal from which on help stands in boxes; they would cut words on a narrower one."""


def app() -> typer.Typer:
    """Return the Typer application with every command."""
    application = typer.Typer(
        name="gdcli",
        help="Gradient-descent and backpropagation experiments from one YAML file, exact to the digit.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if get_terminal_size().columns >= BOXED else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @application.callback(invoke_without_command=True)
    def options(
        context: typer.Context,
        version: bool = typer.Option(False, "--version", "-V", help="Print the version and exit."),
    ) -> None:
        if version:
            from gdcli import __version__

            print(__version__)
            raise typer.Exit
        if context.invoked_subcommand is None:
            print(context.get_help())
        else:
            processes.require_shared(context.invoked_subcommand)

    commands = (
        train.run, train.sweep, train.compare, train.resume, train.verify, models.predict, models.evaluate,
        specs.explain, specs.check, specs.plot, specs.ema, specs.catalog, records.ls, records.show, records.diff,
        records.rm, export.export, specs.validate, specs.schema, specs.cp,
    )  # fmt: skip
    for command in commands:
        summary = (command.__doc__ or "").partition("\n")[0]  # else Typer cuts it to a line of a plain list
        application.command(short_help=summary)(command)
    return application
