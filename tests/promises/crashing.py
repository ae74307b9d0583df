"""Runs that die: the command line in forked children of this process, which has torch, and system calls that fail."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gdcli.engine.loop
from gdcli.cli import main
from tests.timing import processor_seconds, wait_for

SAME = (
    "log.txt", "steps.csv", "gradients.csv", "gradients.parquet", "gradients.npy", "epochs.csv", "summary.json",
    "config.yaml", "spec.yaml", "request.json", "loss.png", "model.safetensors", "best.safetensors",
)  # fmt: skip
"""Files of a run whose bytes are promised."""

ROWS = """\
name: rows
data: {generate: {kind: linear, n: 30, weights: [2, -3.4, 1], bias: 0.5, noise: 0.1, x: {normal: [0, 1]}}}
model: {type: mlp, layers: [3, 4, 1], activation: tanh}
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 60
batch: {mode: mini-batch, size: 4}
checkpoint: {every_seconds: 0}
"""

LAYERS = """\
name: layers
data: {generate: {kind: blobs, n: 24, classes: 3}, validation: 0.25}
model:
  type: sequential
  layers:
    - {layer: Linear, in_features: 2, out_features: 6}
    - {layer: BatchNorm1d, num_features: 6}
    - ReLU
    - {layer: Dropout, p: 0.3}
    - {layer: Linear, in_features: 6, out_features: 3}
loss: cross_entropy
optimizer: {name: adam, lr: 0.01}
epochs: 80
batch: {mode: mini-batch, size: 6}
checkpoint: {every_seconds: 0}
"""

NUMBERS = """\
name: numbers
data:
  x: [[0, 1], [3, 2], [1, 1], [2, 0], [3, 3], [0, 2], [1, 3], [2, 2], [0, 0], [3, 1], [1, 0], [2, 1]]
  y: [0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1]
  validation: 0.25
model:
  type: sequential
  layers:
    - {layer: Embedding, num_embeddings: 4, embedding_dim: 3}
    - {layer: GRU, hidden_size: 4, num_layers: 2, dropout: 0.2, last: true}
    - BatchNorm1d
    - {residual: [{layer: Linear, out_features: 4}, {layer: Dropout, p: 0.3}]}
    - {layer: Linear, out_features: 2}
loss: cross_entropy
optimizer: {name: adam, lr: 0.01}
epochs: 60
batch: {mode: mini-batch, size: 3}
checkpoint: {every_seconds: 0}
"""

VALLEY = """\
name: valley
model: {type: objective, expression: "(1 - x)**2 + 100*(y - x**2)**2", start: {x: -1.2, y: 1}}
optimizer: {name: adam, lr: 0.02}
epochs: 400
dtype: float64
print: {style: trace}
checkpoint: {every_seconds: 0}
"""

LINE = """\
name: line
data: {x: [1, 2, 3], y: [2, 4, 6]}
model: {type: linear, bias: false, init: {weight: 1}}
loss: mse
optimizer: {name: sgd, lr: 0.0001}
epochs: 120
batch: stochastic
dtype: float64
print: {style: manual, predict: 4}
checkpoint: {every_seconds: 0}
"""

SPECS = {"rows": ROWS, "layers": LAYERS, "numbers": NUMBERS, "valley": VALLEY, "line": LINE}

MEMORY = Path("/dev/shm")
"""A file system in memory, where there is one: what a dead process leaves is the same there, and an fsync is free."""


@contextmanager
def emptied() -> Iterator[Path]:
    """Make a folder for a while."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="gdcli-test-", dir=memory) as folder:
        yield Path(folder)


# --- children ---------------------------------------------------------------------------------------------------------


def has_ended(pid: int) -> bool:
    """Say whether a child has ended; it can still be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit code, or the signal's number below zero."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Child:
    """A forked process that runs one command line in a folder."""

    pid: int
    folder: Path
    ended: Ended | None = None

    def wait(self) -> Ended:
        """Wait for its end."""
        if self.ended is None:
            _, status = os.waitpid(self.pid, 0)
            files = [self.folder / f"{name}-{self.pid}" for name in ("out", "err")]
            texts = [file.read_text() if file.exists() else "" for file in files]  # it may die before it has made them
            self.ended = Ended(os.waitstatus_to_exitcode(status), *texts)
        return self.ended

    def is_over(self) -> bool:
        """Say whether it has ended."""
        return has_ended(self.pid)

    def kill(self, after: float = 0.0, number: int = signal.SIGKILL) -> Ended:
        """Send a signal after so many seconds of its processor time, unless it has ended before."""
        wait_for(lambda: processor_seconds(self.pid) >= after, self.is_over)
        os.kill(self.pid, number)  # one that has ended, and is not waited for, takes it too
        return self.wait()


def start(folder: Path, *arguments: str, within: AbstractContextManager[Any] | None = None) -> Child:
    """Run a command line in a child whose current folder is this one, inside a context."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process may have threads
        pid = os.fork()
    if pid:
        return Child(pid, folder)
    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(folder)
        for name, number in (("out", 1), ("err", 2)):
            os.dup2(os.open(f"{name}-{os.getpid()}", os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        torch.set_num_threads(1)  # threads of before the fork are not here, and would be waited for; a run sets its own
        with within or nullcontext():
            code = main(arguments)
        sys.stdout.flush()
    except BaseException as error:
        os.write(2, f"Traceback: {error!r}\n".encode())
    finally:
        os._exit(code)


def call(folder: Path, *arguments: str, within: AbstractContextManager[Any] | None = None) -> Ended:
    """Run a command line in a child to its end."""
    return start(folder, *arguments, within=within).wait()


@contextmanager
def blocks(steps: int) -> Iterator[None]:
    """Let blocks end after so many steps, so that a short run has many checkpoints, on a busy machine no more."""
    engine = gdcli.engine.loop
    before = engine.MAX_BLOCK_STEPS, engine.BLOCK_SECONDS
    engine.MAX_BLOCK_STEPS, engine.BLOCK_SECONDS = steps, 60.0
    try:
        yield
    finally:
        engine.MAX_BLOCK_STEPS, engine.BLOCK_SECONDS = before


# --- records ----------------------------------------------------------------------------------------------------------


def record_in(folder: Path) -> Path | None:
    """Return the one record below a folder's `runs`, None where there is none."""
    found = [path for path in folder.glob("runs/*/*") if not path.name.startswith(".")]
    assert len(found) <= 1, found
    return found[0] if found else None


def contents(record: Path) -> dict[str, bytes]:
    """Return the files whose bytes are promised, and hidden ones, which there should be none of."""
    files = (path for path in record.iterdir() if path.name in SAME or path.name.startswith("."))
    return {path.name: path.read_bytes() for path in files}


def undisturbed(folder: Path, *arguments: str) -> dict[str, bytes]:
    """Return the bytes of a run in a folder of its own."""
    folder.mkdir(parents=True)
    ended = call(folder, *arguments)
    assert ended.code in (0, 1), ended.err
    record = record_in(folder)
    assert record is not None
    return contents(record)


def gone_on_with(folder: Path, arguments: tuple[str, ...]) -> Ended:
    """Resume the record in a folder; run anew where a process died before there was one."""
    return call(folder, "resume", "last") if record_in(folder) else call(folder, *arguments)


def assert_same(folder: Path, expected: dict[str, bytes], why: object = "") -> None:
    """The record in a folder has these bytes, no file is missing and none is left over."""
    record = record_in(folder)
    assert record is not None, why
    found = contents(record)
    assert sorted(found) == sorted(expected), why
    assert [name for name in expected if found[name] != expected[name]] == [], why
    assert json.loads((record / "timing.json").read_text()), why


# --- system calls -----------------------------------------------------------------------------------------------------

CALLS = ("open", "write", "pwrite", "fsync", "rename", "replace", "mkdir", "ftruncate", "unlink", "close")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that changes files below a folder, or may."""

    name: str
    path: Path
    arguments: tuple[Any, ...]
    do: Callable[..., Any]

    def half(self) -> None:
        """Do the first half of a write."""
        file, data, *at = self.arguments
        self.do(file, bytes(data)[: len(data) // 2], *at)


Handler = Callable[[Call], Any]


@contextmanager
def intercepted(root: Path, handle: Handler) -> Iterator[None]:
    """Hand each of the module os's calls that write below a folder to a handler, which makes it, fails it or dies.

    Files that are opened for reading are left alone; folders are not, for their names are brought to the disk.
    """
    real = {name: getattr(os, name) for name in CALLS}
    files: dict[int, Path] = {}
    inside = os.path.abspath(root) + os.sep  # noqa: PTH100

    def of(name: str) -> Callable[..., Any]:
        def called(first: Any, *rest: Any, **named: Any) -> Any:
            path = files.get(first) if isinstance(first, int) else Path(os.path.abspath(first))  # noqa: PTH100
            reads = name == "open" and not rest[0] & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY)
            if path is None or reads or not f"{path}{os.sep}".startswith(inside):
                return real[name](first, *rest, **named)
            found = handle(Call(name, path, (first, *rest), real[name]))
            if name == "open":
                files[found] = path
            elif name == "close":
                files.pop(first, None)
            return found

        return called

    for name in CALLS:
        setattr(os, name, of(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def counting(root: Path, into: Path) -> AbstractContextManager[None]:
    """Write the names of all calls below a folder, and the files they are about, to a file outside of it, as JSON."""

    @contextmanager
    def context() -> Iterator[None]:
        calls: list[tuple[str, str]] = []

        def handle(call: Call) -> Any:
            calls.append((call.name, call.path.name))
            return call.do(*call.arguments)

        with intercepted(root, handle):
            yield
        into.write_text(json.dumps(calls))

    return context()


def dying(root: Path, at: int, *, half: bool = False) -> AbstractContextManager[None]:
    """Die before the call of this number, from 0, or halfway through it."""
    made = 0

    def handle(call: Call) -> Any:
        nonlocal made
        if made == at:
            if half:
                call.half()
            os._exit(9)
        made += 1
        return call.do(*call.arguments)

    return intercepted(root, handle)


def failing(root: Path, at: int, number: int, *, for_good: bool) -> AbstractContextManager[None]:
    """Let the call of this number, of those that need room on the disk, fail; for good: all after it too."""
    made = 0

    def handle(call: Call) -> Any:
        nonlocal made
        needs_room = call.name not in ("close", "unlink", "ftruncate") and not (
            call.name == "open" and not call.arguments[1] & os.O_CREAT
        )
        if needs_room:
            made += 1
            if made == at + 1 or (for_good and made > at):
                raise OSError(number, os.strerror(number), str(call.path))
        return call.do(*call.arguments)

    return intercepted(root, handle)


@contextmanager
def ending_after_checkpoints(count: int) -> Iterator[None]:
    """Die right after so many checkpoints."""
    from gdcli.storage.checkpoints import Checkpoints

    write, left = Checkpoints.write, count

    def counted(self: Checkpoints, *arguments: Any) -> None:
        nonlocal left
        write(self, *arguments)
        left -= 1
        if not left:
            os._exit(9)

    Checkpoints.write = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Checkpoints.write = write  # type: ignore[method-assign]
