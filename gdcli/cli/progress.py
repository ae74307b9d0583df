"""The progress bar."""

from __future__ import annotations

import sys
import time
from math import isfinite
from typing import Any

AFTER_SECONDS = 1.0


class Progress:
    """A Rich bar on standard error, on a terminal only and for work over a second."""

    def __init__(self, unit: str, total: int, *, quiet: bool) -> None:
        self._unit, self._total = unit, total
        self._wanted = not quiet and sys.stderr.isatty()
        self._begun = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None

    def show(self, done: float, loss: float, work: float) -> None:
        """Show how much is done, the loss, and how fast it goes: steps a second, or runs."""
        seconds = time.perf_counter() - self._begun
        if not self._wanted or seconds < AFTER_SECONDS:
            return
        if self._bar is None:
            self._start()
        name, rate = ("loss", f"{work / seconds:,.0f} steps/s") if self._unit == "epoch" else (
            "best", f"{work / seconds:,.1f} runs/s"
        )  # fmt: skip
        count = f"{self._unit} {int(done):,}/{self._total:,}"
        told = f"{name} {loss:.6g}" if isfinite(loss) or name == "loss" else ""
        self._bar.update(self._task, completed=done, count=count, loss=told, rate=rate)
        if not self._bar.live.is_started:
            self._bar.start()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        texts = [TextColumn(f"{{task.fields[{name}]}}") for name in ("count", "loss", "rate")]
        columns = texts[0], BarColumn(), *texts[1:], TimeRemainingColumn()
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=self._total, count="", loss="", rate="")

    def hide(self) -> None:
        """Take the bar off the screen, for text or for good; what is shown next brings it back."""
        if self._bar is not None and self._bar.live.is_started:
            self._bar.stop()
