"""What a command prints: its product on standard output, and what is told beside it on standard error."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, TextIO

from gdcli.cli.signals import Signals, importing
from gdcli.commands.context import Frontend, Show, ignore
from gdcli.errors import MachineError, visible
from gdcli.report.tables import folded
from gdcli.storage.files import existing, json_file, json_text


def wrapped(text: str, stream: TextIO) -> str:
    """Break lines that are longer than a terminal is wide: tables between columns, others between words.

    What is no terminal gets them whole.
    """
    if not stream.isatty():
        return text
    width, found, lines = get_terminal_size().columns, list[str](), text.split("\n")
    at = 0
    while at < len(lines):
        count, part = folded(lines, width, at) if "  " in lines[at] else (0, [])
        found += [_broken(line, width) if len(line) > width else line for line in part or [lines[at]]]
        at += count or 1
    return "\n".join(found)


def _broken(line: str, width: int) -> str:
    found = re.match(r" *(\S+  +)?", line)  # what goes on below stands under the second column of a list
    hanging = found[0] if found and len(found[0]) <= width // 2 else ""
    return textwrap.fill(
        line[len(hanging) :], width, initial_indent=hanging, subsequent_indent=" " * max(2, len(hanging)),
        expand_tabs=False, replace_whitespace=False, break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def say(text: str, *, wrap: bool = False) -> None:
    """Write to standard output as UTF-8 whatever the locale; once its reader is gone, what follows is dropped quietly.

    Raises MachineError for a full disk.
    """
    if wrap:
        text = wrapped(text, sys.stdout)
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
    except OSError as error:
        no_more_output()
        if not isinstance(error, BrokenPipeError):
            raise MachineError(f"cannot write standard output: {error.strerror}") from None


def no_more_output() -> None:
    """Let nothing more reach a closed standard output, not even Python's flush at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def arguments() -> tuple[str, ...]:
    """Return the command line without the program's own path."""
    return tuple(sys.argv[1:])


def note(text: str) -> None:
    """Print a line to standard error."""
    with contextlib.suppress(OSError):
        print(wrapped(visible(text, keep="\n"), sys.stderr), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    note(f"warning: {text}")


def print_file(path: Path) -> None:
    """Print a text of a record as it is; on a terminal control characters as escapes, of which gdcli writes none."""
    on_terminal = sys.stdout.isatty()
    with existing(path) as stream:
        log = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
        while text := log.read(2**20):
            say(visible(text, keep="\t\n") if on_terminal else text)


AFTER_SECONDS = 0.2


def bar(total: int) -> Any:
    """Return a Rich bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    texts = [TextColumn(f"{{task.fields[{name}]}}") for name in ("count", "loss", "rate")]
    columns = texts[0], BarColumn(), *texts[1:], TimeRemainingColumn()
    found = Progress(*columns, console=Console(stderr=True), transient=True)
    found.add_task("", total=total, count="", loss="", rate="")
    return found


class Console:
    """A command's text, notes, warnings and its bar, one not in the way of the other."""

    def __init__(self, signals: Signals, *, quiet: bool = False, json: bool = False, silent: bool = False) -> None:
        """``silent`` is that of a process beside the one that prints."""
        self.signals, self.quiet, self.json, self.silent = signals, quiet or silent, json, silent
        self._bar: Any = None  # on a terminal, while it is shown

    def frontend(self, opened: Callable[[Path], None] = ignore) -> Frontend:
        """Return what a command tells this console; ``opened`` takes the folder of its record."""
        text = None if self.json or self.silent else self.text
        engine = partial(importing, quiet=self.quiet)
        return Frontend(text, self.note, self.warn, self._progress, engine, self.signals.interruptible, opened)

    def text(self, text: str) -> None:
        """Print a part of the product as it is."""
        self.clear()
        if not self.silent:
            say(text)

    def report(self, text: str) -> None:
        """Print JSON, or text that a terminal may break between words."""
        self.clear()
        if not self.silent:
            say(text, wrap=not self.json)

    def note(self, text: str) -> None:
        """Print a line to standard error."""
        self.clear()
        if not self.silent:
            note(text)

    def warn(self, text: str) -> None:
        """Print a warning to standard error."""
        self.note(f"warning: {text}")

    @contextlib.contextmanager
    def _progress(self, unit: str, total: int) -> Iterator[Show]:
        """Yield what shows how much is done, the loss, and how fast it goes: steps a second, or runs.

        A bar is shown on a terminal only, within 0.3 seconds of the first step.
        """
        begun, wanted = time.perf_counter(), not self.quiet and sys.stderr.isatty()

        def show(done: float, loss: float, work: float) -> None:
            seconds = time.perf_counter() - begun
            if not wanted or seconds < AFTER_SECONDS:
                return
            if self._bar is None:
                self._bar = bar(total)
            name, rate = ("loss", f"{work / seconds:,.0f} steps/s") if unit == "epoch" else (
                "best", f"{work / seconds:,.1f} runs/s"
            )  # fmt: skip
            told = f"{name} {loss:.6g}" if isfinite(loss) or name == "loss" else ""
            (task,) = self._bar.task_ids
            self._bar.update(task, completed=done, count=f"{unit} {int(done):,}/{total:,}", loss=told, rate=rate)
            if not self._bar.live.is_started:
                self._bar.start()

        try:
            yield show
        finally:
            self.clear()
            self._bar = None

    def ended(self, folder: Path) -> None:
        """Print the text of a record that has ended, or its summary as JSON."""
        if self.silent:
            return
        if self.json:
            say(json_text({"folder": str(folder), **(json_file(folder / "summary.json") or {})}))
        else:
            print_file(folder / "log.txt")

    def clear(self) -> None:
        """Take the bar off the screen, for text or for good; what is shown next brings it back."""
        if self._bar is not None and self._bar.live.is_started:
            self._bar.stop()
