"""What several commands share: reading a spec, output that survives a closed pipe, signals, progress."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gdcli.errors import MachineError, SpecError, visible

if TYPE_CHECKING:
    from types import FrameType, ModuleType

    from gdcli.engine.loop import Interrupt
    from gdcli.records import StepBlock
    from gdcli.spec.bundled import Source
    from gdcli.spec.document import Node
    from gdcli.spec.load import Loaded
    from gdcli.spec.schema import RunSpec
    from gdcli.storage.request import Request

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for the records.")]
SeedOption = Annotated[int | None, typer.Option(help="Override the spec's seed.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N, mps or auto; overrides the spec's device.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the product only: no progress, no paths.")]
PlotOption = Annotated[bool, typer.Option("--plot/--no-plot", help="Draw the pictures.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
NeededOption = Annotated[
    bool, typer.Option("--needed", help="Do nothing where a finished record of the same is there.")
]
NoLimitsOption = Annotated[bool, typer.Option("--no-limits", help="Allow sizes beyond the built-in limits.")]


def engine() -> ModuleType:
    """Import and return `gdcli.runner.record_run`, and with it torch.

    Garbage collection during the import would look again and again at a million objects that all stay: without it,
    and with them set aside for good, the command starts a tenth faster.
    """
    gc.disable()
    with ending_at_once():
        from gdcli.runner import record_run
    gc.freeze()
    gc.enable()
    return record_run


def split_spec(words: Sequence[str], default: str | None = None) -> tuple[str, list[str]]:
    """Return SPEC and the overrides; a first word with ``=`` is an override, and then the default spec is meant."""
    if words and "=" not in words[0]:
        return words[0], list(words[1:])
    if default is None:
        raise SpecError("which spec? gdcli run SPEC [key=value ...]; 'gdcli cp' lists the bundled ones")
    return default, list(words)


def overriding(overrides: Sequence[str], seed: int | None, device: str | None) -> tuple[str, ...]:
    """Return all overrides, those of the options too. Raises SpecError for a word that is none."""
    for word in overrides:
        if "=" not in word:
            raise SpecError(f"an override is key=value (got '{word}')")
    extra = [f"seed={seed}"] if seed is not None else []
    extra += [f"device={device}"] if device is not None else []
    return (*overrides, *extra)


def document_of(source: Source, overrides: Sequence[str], command: str) -> Node:
    """Return a spec's document with the overrides put in."""
    from gdcli.spec import document
    from gdcli.spec.overrides import apply

    return apply(document.read(source.text, source.shown), overrides, command=command)


def read_spec(
    spec: str, overrides: Sequence[str], seed: int | None, device: str | None, command: str
) -> tuple[Source, Node]:
    """Return a spec's source and its document with the overrides put in."""
    from gdcli.spec import bundled

    source = bundled.find(spec)
    return source, document_of(source, overriding(overrides, seed, device), command)


def record_or_spec(word: str) -> str:
    """Return the folder of the record in ``runs`` that a word means, such as last; the word itself where there is none.

    What is a path, or the name of a bundled spec, means that.
    """
    from gdcli.spec import bundled
    from gdcli.storage.find import find

    if Path(word).exists() or word in bundled.names():
        return word
    try:
        return str(find(word, Path("runs")))
    except SpecError:
        return word


def lasting(word: str) -> str:
    """Return what names the same record or spec from any folder, later too: a whole path, or a bundled name."""
    from gdcli.spec import bundled

    path = Path(record_or_spec(word))
    return word if word in bundled.names() or not path.exists() else str(path.absolute())


def parse(source: Source, document: Node, name: str | None = None) -> RunSpec:
    """Check a document; its name is the one given, or the file's stem, when it has none."""
    from gdcli.spec import schema

    return schema.parse(document, source.path.stem if name is None else name)


def require_same_config(job: Context, loaded: Loaded, config: str) -> None:
    """Refuse a record to go on with, or to verify, whose spec or data have changed."""
    if job.recorded is not None:
        from gdcli.storage.request import require_same

        require_same(job.recorded, job.again or job.source.path.parent, loaded, config)


def load(source: Source, spec: RunSpec, *, bounded: bool, cores: int | None = None) -> Loaded:
    """Read the data of a spec and check everything against everything."""
    from gdcli.spec.load import load as load_spec

    return load_spec(spec, source.path.parent, bounded=bounded, cores=cores)


@dataclass(frozen=True, slots=True)
class Context:
    """What a command is to do with its request: where the record goes, and what is told."""

    source: Source
    output: Path = Path("runs")
    again: Path | None = None  # a record to go on with, whose lock is held
    quiet: bool = False
    json: bool = False
    silent: bool = False  # nothing is printed
    needed: bool = False  # a finished record of the same is enough
    cores: int | None = None  # that `threads: auto` counts with; None: those of this machine
    recorded: Request | None = None  # what the record to go on with, or to verify, was asked for

    def say(self, text: str) -> None:
        """Print the command's product."""
        if not self.silent:
            Output()(text)

    def note(self, text: str) -> None:
        """Tell on standard error."""
        if not self.silent:
            note(text)

    def warn(self, text: str) -> None:
        """Warn on standard error."""
        if not self.silent:
            warn(text)

    @contextlib.contextmanager
    def folder(self, name: str, filled: dict[str, Any], files: dict[str, bytes | str]) -> Iterator[Path]:
        """Yield the record's folder, locked: the one to go on with, or a new one with these files."""
        if self.again is not None:
            yield self.again
            return
        from gdcli.spec.config import digest
        from gdcli.storage.run_folder import claim

        folder, lock = claim(self.output, name, digest(filled), time.localtime(), files)
        try:
            yield folder
        finally:
            lock.release()


def finished_before(job: Context, loaded: Loaded, filled: dict[str, Any], request: Request) -> Path | None:
    """Return the finished record of the same request, spec and version, if the job asks for one and there is one."""
    if not job.needed or job.again is not None:
        return None
    from gdcli.spec.config import digest
    from gdcli.storage.reuse import finished

    folder = finished(job.output / loaded.spec.name, digest(filled), request, loaded.data_sha256)
    if folder is not None:
        say_ended(folder, json=job.json)
        job.note(f"not needed, it is finished already: {shown_path(folder)}")
    return folder


def say_ended(folder: Path, *, json: bool) -> None:
    """Print the text of a record that has ended, or its summary as JSON."""
    from gdcli.cli.show import print_log
    from gdcli.storage.record import json_file
    from gdcli.storage.run_folder import json_text

    if json:
        Output()(json_text({"folder": str(folder), **(json_file(folder / "summary.json") or {})}))
    else:
        print_log(folder)


def require_optimizer(spec: RunSpec) -> None:
    """Refuse a spec that cannot be trained: one for `sweep` or `compare` only."""
    if spec.optimizer is None and spec.settings.epochs > 0:
        hint = f"This spec is for: gdcli {'compare' if spec.compare else 'sweep'}" if spec.compare or spec.sweep else ""
        raise SpecError(spec.problem(("optimizer",), "is required to train", hint))


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
        except BrokenPipeError:
            self.closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            self.closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise MachineError(f"cannot write standard output: {error.strerror}") from None


def arguments() -> list[str]:
    """Return the command line without the program's own path."""
    return sys.argv[1:]


def note(text: str) -> None:
    """Print a line to standard error."""
    with contextlib.suppress(OSError):
        print(visible(text, keep="\n"), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    note(f"warning: {text}")


def shown_path(path: Path) -> str:
    """Return a path as the user would type it: relative where it lies below the current folder."""
    with contextlib.suppress(ValueError):
        return os.fspath(path.absolute().relative_to(Path.cwd()))
    return os.fspath(path)


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM, where nothing waits for the end of a step."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


STOPPING = (signal.SIGINT, signal.SIGTERM)


_came: list[int] = []
"""The signals since the command began: Typer, and others, make an exception of theirs of a signal's."""


@contextlib.contextmanager
def stoppable() -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM end the command by an exception, as long as it does not handle them itself.

    Yields the signals that came.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        _came.append(number)
        raise Stopped(number)

    _came.clear()
    if threading.current_thread() is not threading.main_thread():
        yield _came  # only the main thread may handle signals
        return
    old = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield _came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the process on the spot while modules in C are imported, before anything is written.

    They do not expect an exception in the middle: some abort, others make it look like a bug.
    """
    if "gdcli.runner.record_run" in sys.modules or threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, lambda number, frame: os._exit(128 + number)) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals() -> Iterator[tuple[Interrupt, list[int]]]:
    """Yield the flag that SIGINT and SIGTERM set, and the signals that came; a second one stops at once."""
    from gdcli.engine.loop import Interrupt

    interrupt = Interrupt(requested=bool(_came))

    def handle(number: int, frame: FrameType | None) -> None:
        _came.append(number)
        if interrupt.requested:
            raise Stopped(number)
        interrupt.requested = True

    old = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield interrupt, _came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def stopped_code(came: Sequence[int]) -> int:
    """Return 130 for SIGINT and 143 for SIGTERM."""
    return 128 + came[0] if came else 130


class Progress:
    """A Rich progress bar on standard error, on a terminal only and for work over a second."""

    AFTER_SECONDS = 1.0

    def __init__(self, total: int, *, quiet: bool, unit: str = "epoch") -> None:
        self._total, self._unit = total, unit
        self._wanted = not quiet and sys.stderr.isatty()
        self._begun = time.perf_counter()
        self._steps = 0
        self._bar: Any = None
        self._task: Any = None

    def block(self, block: StepBlock) -> None:
        """Show the state after a block."""
        self._steps += len(block.step)
        seconds = time.perf_counter() - self._begun
        if self._wanted and seconds > self.AFTER_SECONDS:
            self._show(int(block.epoch[-1]), float(block.loss[-1]), self._steps / seconds)

    def _show(self, done: int, loss: float, rate: float) -> None:
        if self._bar is None:
            self._start()
        self._bar.update(self._task, completed=done, loss=f"loss {loss:.6g}", rate=f"{rate:,.0f} steps/s")
        if not self._bar.live.is_started:
            self._bar.start()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn(self._unit), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=self._total, loss="", rate="")

    def hide(self) -> None:
        """Take the bar off the screen, for text or for good; the next block shows it again."""
        if self._bar is not None and self._bar.live.is_started:
            self._bar.stop()
