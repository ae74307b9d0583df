"""SIGINT and SIGTERM: a command ends at once, or after the step that it is in."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gdcli.engine.loop import Interrupt

IMPORTING = "importing torch ..."
STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM, where nothing waits for the end of a step."""


@contextlib.contextmanager
def handled_by(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Have both signals handled so; only the main thread may say how."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def leave(number: int, frame: object) -> None:
    """End the process on the spot: nothing has been written."""
    os._exit(128 + number)


class Signals:
    """The signals that came since the command began: Typer, and others, make an exception of theirs of a signal's."""

    def __init__(self) -> None:
        self.came: list[int] = []

    @property
    def code(self) -> int:
        """The exit code: 130 for SIGINT and 143 for SIGTERM."""
        return 128 + self.came[0] if self.came else 130

    def stoppable(self, interrupt: Interrupt | None = None) -> contextlib.AbstractContextManager[None]:
        """Let a signal end the command by an exception, as long as it does not handle it itself.

        With a flag the first signal sets it, and the next one ends the command.
        """

        def handle(number: int, frame: object) -> None:
            self.came.append(number)
            if interrupt is None or interrupt.requested:
                raise Stopped(number)
            interrupt.requested = True

        return handled_by(handle)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[Interrupt]:
        """Yield the flag that the first signal sets; a second one stops at once."""
        from gdcli.engine.loop import Interrupt

        interrupt = Interrupt(requested=bool(self.came))
        with self.stoppable(interrupt):
            yield interrupt


def _has_plugins() -> bool:
    plugins = sys.modules.get("gdcli.zoo.plugins")
    return plugins is not None and bool(plugins.loaded())


@contextlib.contextmanager
def importing(*, quiet: bool = False, for_plugins: bool = False) -> Iterator[None]:
    """Import torch faster, and let a signal end the process on the spot meanwhile, before anything is written.

    On a terminal it is told when that takes over a second, unless quiet.

    Modules in C do not expect an exception in the middle: some abort, others make it look like a bug. Garbage
    collection would look again and again at a million objects that all stay: without it, and with them set aside for
    good, the command starts a quarter faster; the rules of torch's meta device are a sixth more, and are read where
    something is made there. Plugins, which may use all of torch, find it whole.
    """
    if "gdcli.runner.record_run" in sys.modules:
        yield
        return
    from gdcli.engine.meta_device import rules_later

    gc.disable()
    shown: list[str] = []

    def show(text: str) -> None:
        shown.append(text)
        print(text, end="\r", file=sys.stderr, flush=True)

    late = threading.Timer(1.0, show, [IMPORTING])
    late.daemon = True
    if sys.stderr.isatty() and not quiet:
        late.start()

    def clear() -> None:
        late.cancel()
        if late.is_alive():  # it may be about to show
            late.join()
        if shown:
            show(" " * len(IMPORTING))

    def clear_and_leave(number: int, frame: object) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # a terminal that is gone, a line half written
            clear()
        leave(number, frame)

    try:
        with handled_by(clear_and_leave), contextlib.nullcontext() if for_plugins or _has_plugins() else rules_later():
            yield
    finally:
        clear()
    gc.freeze()
    gc.enable()
