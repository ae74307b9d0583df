"""The Typer application: the name of every command, in groups as help shows them."""

from __future__ import annotations

from collections.abc import Callable
from shutil import get_terminal_size
from typing import Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from gdcli.cli import export, models, processes, records, report, sheets, specs, train

BOXED = 80
"""Columns of a terminal from which on help stands in boxes; they would cut words on a narrower one."""

GROUPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Train": (train.run, train.sweep, train.compare, train.resume),
    "Look": (records.ls, records.show, records.diff, specs.plot, report.report),
    "Understand": (specs.explain, sheets.grade, specs.check, specs.ema),
    "Records": (models.predict, models.evaluate, train.verify, export.export, records.rm),
    "Specs": (specs.new, specs.cp, specs.validate, specs.catalog, specs.schema),
}


class Command(TyperCommand):
    """A command of which the parameters are read from its function once one asks for them.

    Those of all commands take longer to read than most commands take; help and completion need names and summaries.
    """

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        summary = (function.__doc__ or "").partition("\n")[0]  # else Typer cuts it to a line of a plain list
        super().__init__(function.__name__, short_help=summary, **settings)
        self.function = function
        del self.params, self.callback, self.help  # asked for, they are not there, and so are read

    def __getattr__(self, name: str) -> Any:
        """Return what is not read yet, having read it."""
        if name not in ("params", "callback", "help"):
            raise AttributeError(name)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command()(self.function)
        whole = typer.main.get_command(alone)
        self.params, self.callback, self.help = whole.params, whole.callback, whole.help
        return getattr(self, name)


class CommandGroups(TyperGroup):
    """The group of all commands, whose help has their groups without boxes too: Typer has them in boxes alone."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for group, functions in GROUPS.items():
            for each in functions:
                command = Command(each, rich_help_panel=group, rich_markup_mode=self.rich_markup_mode)
                self.commands[each.__name__] = command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands below the names of their groups."""
        width = max(map(len, self.commands))
        for name in GROUPS:
            with formatter.section(name):
                of_group = [each for each in self.commands.values() if getattr(each, "rich_help_panel", "") == name]
                formatter.write_dl([(f"{each.name:<{width}}", each.short_help or "") for each in of_group])


def app() -> typer.Typer:
    """Return the Typer application with every command."""
    application = typer.Typer(
        name="gdcli",
        cls=CommandGroups,
        help="Gradient-descent and backpropagation experiments from one YAML file, exact to the digit.",
        epilog="A spec is the YAML file of an experiment, a record the folder of files that a run leaves. "
        "gdcli help COMMAND tells more of a command.",
        add_completion=False,  # ours knows specs, records and keys
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if get_terminal_size().columns >= BOXED else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @application.callback(invoke_without_command=True)
    def options(
        context: typer.Context,
        version: bool = typer.Option(False, "--version", "-V", help="Print the versions of gdcli and torch, devices."),
        install_completion: Literal["bash", "zsh", "fish", "auto"] | None = typer.Option(
            None, metavar="[SHELL]", help="Let the shell complete commands, specs, records and keys: bash, zsh or fish."
        ),
        show_completion: Literal["bash", "zsh", "fish", "auto"] | None = typer.Option(
            None, metavar="[SHELL]", help="Print the script that does so, and install nothing."
        ),
    ) -> None:
        from gdcli.cli import shells

        if version:
            shells.print_versions()
        elif show_completion is not None:
            shells.show(show_completion)
        elif install_completion is not None:
            shells.install(install_completion)
        elif context.invoked_subcommand is None:
            print(context.get_help())
        else:
            processes.require_shared(context.invoked_subcommand)
            return
        raise typer.Exit

    return application
