"""Time in tests: a figure is held to processor time, which other work leaves nearly alone, and what is to come is
waited for, with one limit so generous that only a hang meets it."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT = 20.0
"""Processor seconds of the waiting itself, some minutes on any machine, after which nothing will come: for a hang."""

HANG = 600.0
"""Seconds of the clock after which a process that is waited for hangs, however busy the machine is."""

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


YARDSTICK = 0.05
"""Processor seconds of `_yardstick` on an idle core, in between the least and the most of some dozens."""


def _yardstick() -> float:
    begun = time.process_time()
    made = {}
    for k in range(100_000):
        made[str(k)] = [k]
    return time.process_time() - begun


def fastest(action: Callable[[], object], bound: float, tries: int = 5) -> float:
    """Return the processor seconds of an action: the least of some tries where other work makes it slower.

    Beside other work a second of a processor does less, up to 2.5 times were seen: a try beyond the bound is scaled
    by work of a known length right after it.
    """
    best = float("inf")
    gc.freeze()  # a command's process has no objects of thousands of tests to look through for garbage
    try:
        for _ in range(tries):
            begun = time.process_time()
            action()
            used = time.process_time() - begun
            best = min(best, used if used < bound else used * min(1.0, YARDSTICK / _yardstick()))
            if best < bound:
                break
    finally:
        gc.unfreeze()
    return best


def ratio(ours: Callable[[], object], theirs: Callable[[], object], bound: float, tries: int = 9) -> float:
    """Return the processor seconds of one action over another's, both measured in turn: the least of each.

    One measurement of each says little beside other work, which may slow the one and leave the other alone: there
    are more pairs while the ratio is beyond the bound.
    """
    least = [float("inf"), float("inf")]
    for _ in range(tries):
        for side, action in enumerate((ours, theirs)):
            begun = time.process_time()
            action()
            least[side] = min(least[side], time.process_time() - begun)
        if least[0] < bound * least[1]:
            break
    return least[0] / least[1]


def processor_seconds(pid: int) -> float:
    """Return the processor seconds of another process so far, on Linux; it may have ended, unless it was waited for."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) returns


def children_seconds() -> float:
    """Return the processor seconds of all children of this process that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
