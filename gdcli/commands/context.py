"""What a command works with: where its spec is from, where its record goes, and who is told meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.engine.loop import Interrupt
    from gdcli.engine.process_group import ProcessGroup
    from gdcli.runner.provenance import Provenance
    from gdcli.spec.bundled import Source
    from gdcli.spec.expectations import ExpectedNumber
    from gdcli.spec.load import Loaded
    from gdcli.storage.record import Record
    from gdcli.storage.request import Request
    from gdcli.zoo.plugins import Plugin

Tell = Callable[[str], None]
Show = Callable[[float, float, float], None]
"""Takes how much is done, the loss, and the work so far: steps of a run, runs of a sweep."""

Progress = Callable[[str, int], AbstractContextManager[Show]]
"""Takes what is counted, epochs or runs, and how many there will be."""


def shown_path(path: Path) -> str:
    """Return a path as the user would type it: relative where it lies below the current folder."""
    with suppress(ValueError):
        return os.fspath(path.absolute().relative_to(Path.cwd()))
    return os.fspath(path)


def ignore(*told: object) -> None:
    """Tell nobody."""


@contextmanager
def uninterruptible() -> Iterator[Interrupt]:
    """Yield a flag that nothing sets."""
    from gdcli.engine.loop import Interrupt

    yield Interrupt()


@dataclass(frozen=True, slots=True)
class Frontend:
    """Who is told what a command does while it does it, and what may stop it: by default nobody and nothing."""

    text: Tell | None = None  # a run's text in its style, as it comes
    note: Tell = ignore
    warning: Tell = ignore
    progress: Progress = lambda unit, total: nullcontext(ignore)
    importing: Callable[[], AbstractContextManager[None]] = nullcontext  # torch
    interruptible: Callable[[], AbstractContextManager[Interrupt]] = uninterruptible
    opened: Callable[[Path], None] = ignore  # takes the folder of a record that runs are trained into

    def engine(self) -> None:
        """Import torch and what trains."""
        with self.importing():
            import gdcli.runner.record_run  # noqa: F401


@dataclass(frozen=True, slots=True)
class Ended:
    """A record of which nothing is left to do, such as a finished one of the same, which made another needless."""

    folder: Path
    status: str = "finished"
    interrupted: bool = False
    lacking: tuple[str, ...] = ()  # tags that were asked for and it has not
    expected: tuple[ExpectedNumber, ...] = ()  # what its spec expects of its end


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """Who carries runs out, and what is looked at besides: nothing that changes a record."""

    jobs: int = 1
    cluster: str | None = None
    verify: int = 0  # runs that are trained again alone


@dataclass(frozen=True, slots=True)
class Context:
    """What a command is to do with its request: from where, to where, and who is told."""

    source: Source
    frontend: Frontend = field(default_factory=Frontend)
    output: Path | None = Path("runs")  # None: nothing is to be left there
    again: Path | None = None  # a record to go on with, whose lock is held
    needed: bool = False  # a finished record of the same is enough
    cores: int | None = None  # that `threads: auto` counts with; None: those of this machine
    recorded: Request | None = None  # what the record to go on with, or to verify, was asked for
    arguments: tuple[str, ...] = ()  # the command line, for the record
    tags: tuple[str, ...] = ()  # to find the record by
    plugins: tuple[Plugin, ...] = ()  # that the command line names
    objects: tuple[str, ...] = ()  # of a Python program, in place of parts of the spec
    options: ExecutionOptions = ExecutionOptions()
    group: ProcessGroup | None = None  # the processes that train one run together

    @property
    def processes(self) -> int:
        """How many processes train a run."""
        return 1 if self.group is None else self.group.size

    @property
    def keeps(self) -> bool:
        """Whether a record is left, and not files that are gone in the end."""
        return self.output is not None or self.again is not None

    def provenance(self) -> Provenance:
        """Return where a run comes from."""
        from gdcli.runner.provenance import Provenance

        return Provenance(self.source.text, self.arguments, self.tags, self.plugins, self.source.files, self.objects)

    def reused(self, loaded: Loaded, digest: str, request: Request) -> Ended | None:
        """Return the finished record of the same request, spec and version, if that is enough and there is one."""
        if not self.needed or self.again is not None:
            return None
        from gdcli.storage.record import read
        from gdcli.storage.request import finished

        folder = None
        if self.output is not None:
            parent = self.output / loaded.spec.name
            folder = finished(parent, digest, request, loaded.data_sha256, self.processes)
        if self.group is not None:  # rank 0 has looked
            told = self.group.said("finished", os.fspath(folder or ""))
            folder = Path(told) if told else None
        if folder is None:
            return None
        known = read(folder).tags
        return Ended(folder, lacking=tuple(tag for tag in self.tags if tag not in known))

    @contextmanager
    def folder(
        self, request: Request, loaded: Loaded, digest: str, head: tuple[str, dict[str, bytes | str]]
    ) -> Iterator[Path]:
        """Yield the record's folder, locked: the one to go on with, or a new one with the head's files.

        ``head`` is the text of config.yaml and the first files. Raises MachineError for a record whose spec or data
        have changed.
        """
        from gdcli.storage import request as requests
        from gdcli.storage.run_folder import claim, scratch

        config, files = head
        if self.recorded is not None:
            requests.require_same(self.recorded, self.again or self.source.path.parent, loaded, config)
        if self.again is not None:
            yield self.again
            return
        if self.output is None:
            with scratch("record") as temporary:
                yield temporary
            return
        files = files | {requests.NAME: requests.text(request, loaded, config, self.source.path.parent)}
        folder, lock = claim(self.output, loaded.spec.name, digest, time.localtime(), files)
        try:
            yield folder
        finally:
            lock.release()


def require_run(found: Record) -> None:
    """Raise SpecError for a record of something else than one run, with where its runs are if it has any."""
    if found.kind == "run":
        return
    from gdcli.storage.find import runs_of

    runs = runs_of(found.folder)
    name = f"Name one of its runs, as {shown_path(runs[0])}" if runs else "It has no runs"
    raise SpecError(f"{shown_path(found.folder)} is a record of {found.kind}, not of one run. {name}")
