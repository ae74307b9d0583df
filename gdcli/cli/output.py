"""What a command prints: its product on standard output, and what is told beside it on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from gdcli.cli.progress import Progress
from gdcli.cli.signals import Signals, importing
from gdcli.commands.context import Frontend, Show
from gdcli.errors import MachineError, visible


class Output:
    """Standard output as UTF-8 whatever the locale; once its reader is gone, what follows is dropped quietly."""

    def __init__(self) -> None:
        self.closed = False

    def __call__(self, text: str) -> None:
        """Write a text; quietly nothing once the reader is gone. Raises MachineError for a full disk."""
        if self.closed:
            return
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
            sys.stdout.buffer.flush()
        except OSError as error:
            self.closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                raise MachineError(f"cannot write standard output: {error.strerror}") from None


def arguments() -> tuple[str, ...]:
    """Return the command line without the program's own path."""
    return tuple(sys.argv[1:])


def note(text: str) -> None:
    """Print a line to standard error."""
    with contextlib.suppress(OSError):
        print(visible(text, keep="\n"), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    note(f"warning: {text}")


def print_log(folder: Path) -> None:
    """Print log.txt as it is; on a terminal with control characters as escapes, of which gdcli writes none."""
    from gdcli.storage.files import existing

    out, on_terminal = Output(), sys.stdout.isatty()
    with existing(folder / "log.txt") as stream:
        while lines := stream.readlines(2**20):
            text = b"".join(lines).decode(errors="replace")
            out(visible(text, keep="\t\n") if on_terminal else text)


class Console:
    """A command's text, notes, warnings and its bar, one not in the way of the other."""

    def __init__(self, signals: Signals, *, quiet: bool = False, json: bool = False) -> None:
        self.signals, self.quiet, self.json = signals, quiet, json
        self._out = Output()
        self._bar: Progress | None = None

    def frontend(self) -> Frontend:
        """Return what a command tells this console."""
        text = None if self.json else self.text
        return Frontend(text, self.note, self.warn, self._progress, importing, self.signals.interruptible)

    def text(self, text: str) -> None:
        """Print a part of the product."""
        self._hide()
        self._out(text)

    def note(self, text: str) -> None:
        """Print a line to standard error."""
        self._hide()
        note(text)

    def warn(self, text: str) -> None:
        """Print a warning to standard error."""
        self.note(f"warning: {text}")

    @contextlib.contextmanager
    def _progress(self, unit: str, total: int) -> Iterator[Show]:
        self._bar = Progress(unit, total, quiet=self.quiet)
        try:
            yield self._bar.show
        finally:
            self._hide()

    def _hide(self) -> None:
        if self._bar is not None:
            self._bar.hide()


def say_ended(folder: Path, *, json: bool) -> None:
    """Print the text of a record that has ended, or its summary as JSON."""
    from gdcli.storage.files import json_file, json_text

    if json:
        Output()(json_text({"folder": str(folder), **(json_file(folder / "summary.json") or {})}))
    else:
        print_log(folder)
