"""The command line: each command a thin function; :func:`main` is the one error boundary.

Nothing of others is imported before the signals are handled: that takes longer than many a command.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gdcli.cli.signals import STOPPING, Signals, handled_by, leave

# Neither pydantic nor torch is to look through all installed packages for plugins, and run what it finds: a spec is
# read the same way everywhere, and the search takes longer than the rest of a small run.
_NO_PLUGINS = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}


_NO_ROOM = re.compile("failed to map segment|annot allocate memory|_find_and_load")
"""What a library's import says where there is not enough memory; the last is Python's, of one that said nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; every foreseen error is one message on standard error."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    for variable, value in _NO_PLUGINS.items():
        os.environ.setdefault(variable, value)
    if shell := os.environ.get("_GDCLI_COMPLETE"):
        with suppress(Exception):  # a line that is being typed is no place for a message
            from gdcli.cli.application import app
            from gdcli.cli.completion import complete

            complete(shell, argv, app)
        return 0
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    elif argv == ["version"]:
        argv = ["--version"]
    elif argv in (["--install-completion"], ["--show-completion"]):
        argv.append("auto")
    _open_streams()
    if not _is_somewhere():
        return _told("the working folder is no longer there: cd to another one", 3)
    signals = Signals()
    try:
        with handled_by(leave):  # modules in C do not expect an exception in the middle
            import typer

            from gdcli.cli import application
        with signals.stoppable():
            command = typer.main.get_command(application.app())
            code = int(command(args=argv, prog_name="gdcli", standalone_mode=False, obj=signals) or 0)
            sys.stdout.flush()
        return signals.code if signals.came and code == 130 else code  # Typer returns 130 for any signal
    except BaseException as error:
        from gdcli.errors import GdcliError

        if signals.came and not isinstance(error, GdcliError):  # whatever a library has made of the signal
            return signals.code
        return _ended(error, argv)


def _ended(error: BaseException, argv: Sequence[str]) -> int:
    """Tell what ended a command, and return the exit code for it."""
    if isinstance(error, ImportError | SystemError) and _NO_ROOM.search(str(error)):
        return _told("there is not enough memory", 3)
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
        error = error.__context__  # Rich makes one of the other where it prints a help
    import typer

    from gdcli.cli.output import no_more_output
    from gdcli.errors import GdcliError, lacks_memory
    from gdcli.zoo.origins import blamed

    try:
        raise error
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return 130
    except (BrokenPipeError, SystemExit) as gone:
        if isinstance(gone, SystemExit) and not isinstance(gone.__context__, BrokenPipeError):  # Rich makes it of one
            return _bug()
        no_more_output()
        return 0
    except GdcliError as error:
        return _told(str(error) + _where_to_read(error, argv), error.exit_code)
    except OSError as error:
        return _told(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), 3)
    except BaseException as error:  # a plugin's may be no Exception
        if lacks_memory(error):
            return _told("there is not enough memory", 3)
        if (of_plugin := blamed(error)) is not None:
            return _told(str(of_plugin), of_plugin.exit_code)
        if not hasattr(error, "format_message"):  # Typer's usage errors have it; anything else is a bug of ours
            return _bug()
        from gdcli.spec.world import world_of

        return 2 if world_of(os.environ).rank else _told(_usage(error, argv), 2)  # the first of several tells it


def _where_to_read(error: Exception, argv: Sequence[str]) -> str:
    """Return where to read on for what is wrong with an option; nothing for what is wrong with a spec or a file."""
    from gdcli.errors import SpecError

    text = str(error)
    if not isinstance(error, SpecError) or error.problems or not text.startswith("--") or not argv:
        return ""
    return f"{'' if text.endswith(('.', '?')) else '.'} Try 'gdcli {argv[0]} --help'."


_SYNONYMS = {"train": "run", "fit": "run", "list": "ls", "delete": "rm", "tune": "compare", "init": "new", "copy": "cp"}
"""Commands of other programs, by ours."""


def _usage(error: Any, argv: Sequence[str]) -> str:
    """Return what is wrong with a command line, and where to read on: Typer's own words, and the key of an option."""
    from difflib import get_close_matches

    context = getattr(error, "ctx", None)
    words = error.format_message().replace("Value error, ", "").rstrip(".")
    if wanted := _number_wanted(error):
        words = words.partition(": Input should be")[0] + f": {wanted}"
    option = getattr(error, "option_name", "")
    name = words.partition("No such command '")[2].partition("'")[0]
    if context is not None and name and (close := get_close_matches(name, [*context.command.commands, *_SYNONYMS], 1)):
        words = f"No such command '{name}'. Did you mean '{_SYNONYMS.get(close[0], close[0])}'"
    elif option and context is not None and any(each.name == "words" for each in context.command.params):
        from gdcli.spec.overrides import key_of

        meant = option.lstrip("-").replace("-", "_")
        if key := key_of(meant):
            key = meant if f".{key}".endswith(f".{meant}") else key
            words = f"No such option: {option}. A key of the spec has no dashes: {key}={_value_of(option, argv)}"
    ends = "" if words.endswith("?") else "?" if "Did you mean" in words else "."
    # where an option lacks its value, the error does not know its command
    path = context.command_path if context is not None else " ".join(["gdcli", *argv[:1]])
    return f"{words}{ends} Try '{path} --help'."


def _value_of(option: str, argv: Sequence[str]) -> str:
    """Return the value that stands behind an option, or behind its equals sign; VALUE where there is none."""
    for word, after in zip(argv, [*argv[1:], ""], strict=True):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and after and not after.startswith("--"):
            return after
    return "VALUE"


def _number_wanted(error: Any) -> str:
    """Return what an option was given where it takes a number; nothing for other errors."""
    from gdcli.spec.scalars import shown, with_point

    kinds = {"float_parsing": "a number", "int_parsing": "an integer"}
    for each in error.__cause__.errors() if hasattr(error.__cause__, "errors") else ():  # pydantic's, which Typer asks
        if (kind := each["type"]) in kinds:
            point = with_point(each["input"]) if kind == "float_parsing" else ""
            hint = f". A number has a point: {point}" if point else ""
            return f"must be {kinds[kind]} (got '{shown(str(each['input']))}'){hint}"
    return ""


def _is_somewhere() -> bool:
    """Say whether the working folder is there: without one torch ends the process, with words of its own."""
    try:
        os.getcwd()  # noqa: PTH109  # before anything is imported
    except FileNotFoundError:
        return False
    return True


def _open_streams() -> None:
    """Give standard streams that are closed a place to go, so that no file of a record gets their number."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            file = os.open(os.devnull, os.O_RDWR)
            if file != number:
                os.dup2(file, number)
                os.close(file)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # to the end


def _told(message: str, code: int) -> int:
    from gdcli.cli.output import wrapped
    from gdcli.spec.scalars import shown

    lines = [shown(line, limit=2000) for line in message.splitlines()]
    with suppress(OSError):
        print(wrapped("\n".join(lines), sys.stderr), file=sys.stderr)
    return code


def _bug() -> int:
    import traceback

    traceback.print_exc()
    print("This is a bug in gdcli: please report the lines above with the spec and the command.", file=sys.stderr)
    return 70


def entry() -> None:
    """The console script. A signal that comes when all is done changes nothing."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    codes: list[int] = []
    atexit.register(_end_at_once, codes)  # the first that registers is the last that is called
    codes.append(main())
    sys.exit(codes[0])


def _end_at_once(codes: Sequence[int]) -> None:
    """End the process, once all that others had to do at its end is done: its memory goes with it.

    To take a million objects of torch apart first takes a tenth of a short run. What a plugin has left open is closed
    by Python's own way out.
    """
    plugins = sys.modules.get("gdcli.zoo.plugins")
    if codes and not (plugins is not None and plugins.loaded()):
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(codes[0])
