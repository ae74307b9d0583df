"""Time in tests: a figure is held to processor time, which other work leaves nearly alone, and what is to come is
waited for, with one limit so generous that only a hang meets it."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT = 20.0
"""Processor seconds of the waiting itself, some minutes on any machine, after which nothing will come: for a hang."""

T = TypeVar("T")


def wait_for(seen: Callable[[], T], over: Callable[[], object] = lambda: False) -> T:
    """Return what has been seen, once it is true, or its last value when nothing more can come."""
    until = time.thread_time() + LIMIT
    while True:
        ended = over()  # before the last look
        found = seen()
        if found or ended:
            return found
        assert time.thread_time() < until, "what is waited for does not come"
        time.sleep(0.001)


def fastest(action: Callable[[], object], bound: float, tries: int = 5) -> float:
    """Return the processor seconds of an action: the least of some tries where other work makes it slower."""
    best = float("inf")
    for _ in range(tries):
        begun = time.process_time()
        action()
        best = min(best, time.process_time() - begun)
        if best < bound:
            break
    return best


def processor_seconds(pid: int) -> float:
    """Return the processor seconds of another process so far, on Linux; it may have ended, unless it was waited for."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) returns


def children_seconds() -> float:
    """Return the processor seconds of all children of this process that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
