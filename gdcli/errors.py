"""Everything that can go wrong for a reason outside this program, and its exit code; texts made safe to show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: a file (or ``command line``), its line and its column, both from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a spec: where, which key, what, and how to mend it."""

    place: Place
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: {self.path}: " if self.path else f"{self.place}: "
        return where + self.message + (f". {self.hint}" if self.hint else "")


class GdcliError(Exception):
    """An error that the user, a file or the machine causes; printed as one message, never as a traceback."""

    exit_code = 1


class SpecError(GdcliError):
    """A spec, option, path or name that cannot be used. Carries every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: Problem | Iterable[Problem] | str) -> None:
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = () if isinstance(problems, str) else tuple(problems)
        super().__init__(problems if isinstance(problems, str) else "\n".join(map(str, self.problems)))


class RunError(GdcliError):
    """A run that started and failed."""


class PluginError(RunError):
    """What a plugin raised, with the line of the plugin that it came from."""


class MachineError(GdcliError):
    """What the machine lacks: room on the disk, a right to write, an optional package."""

    exit_code = 3


class NoMemoryError(MachineError):
    """A run for which the machine has not enough memory; others of a sweep may have."""


class DamagedError(MachineError):
    """A file that is not what was written, or does not hold what such a file holds."""


_NO_MEMORY = re.compile("can't allocate memory|annot allocate memory|not enough memory: you tried|out of memory")


def lacks_memory(error: BaseException) -> bool:
    """Say whether an exception is Python's, numpy's or torch's for memory that the machine does not have.

    >>> lacks_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."))
    True
    """
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error))))


MAX_KNOWN = 40
"""Names that are listed where none is near."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the known name nearest to a misspelled one, else the list of them.

    An index that is not there is told by one that is.

    >>> nearest("adm", ["sgd", "adam"])
    "Did you mean 'adam'?"
    >>> nearest("Relu", ["ReLU", "RReLU"])
    "Did you mean 'ReLU'?"
    >>> nearest("qqq", ["sgd", "adam"])
    'Known: adam, sgd'
    >>> nearest("a[1]", ["a[0]", "b[1]"])
    "Did you mean 'a[0]'?"
    """
    names: Sequence[str] = sorted(set(known))
    entries = [each for each in names if "[" in each and each.partition("[")[0] == name.partition("[")[0]]
    in_small = {known.lower(): known for known in reversed(names)}
    close = get_close_matches(name, entries, n=1, cutoff=0.0)
    if not close and name.lower() not in in_small:
        close = get_close_matches(name, names, n=1, cutoff=0.6)
    close = close or [in_small[each] for each in get_close_matches(name.lower(), in_small, n=1, cutoff=0.6)]
    if close:
        return f"Did you mean '{close[0]}'?"
    more = f" and {len(names) - MAX_KNOWN:,} more" if len(names) > MAX_KNOWN else ""
    return f"Known: {', '.join(names[:MAX_KNOWN])}{more}" if names else ""


def nearest_or_own(name: str, known: Iterable[str]) -> str:
    """Return :func:`nearest` for a name that a plugin may have, and how a command gets to know the plugin's.

    >>> nearest_or_own("adm", ["sgd", "adam"])
    "Did you mean 'adam'? One of your own: --plugin FILE.py"
    """
    hint, own = nearest(name, known), "One of your own: --plugin FILE.py"
    return f"{hint} {own}" if hint.endswith("?") else f"{hint}. {own}" if hint else own


_BLANK = frozenset("\u115f\u1160\u3164\uffa0")  # letters by category, yet nothing is seen


def visible(text: str, keep: str = "") -> str:
    r"""Return the text with an escape for each character that is not seen, or that would do something, but those kept.

    >>> print(visible("a\x1b[31m\nb\u202e"), visible("a\tb", keep="\t") == "a\tb")
    a\x1b[31m\nb\u202e True
    """
    if text.isprintable() and _BLANK.isdisjoint(text):
        return text
    return "".join(
        c if (c.isprintable() and c not in _BLANK) or c in keep else c.encode("unicode_escape").decode() for c in text
    )
