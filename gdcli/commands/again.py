"""A record done again: gone on with where it was stopped or killed, `gdcli resume`, or compared to, `gdcli verify`."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gdcli import __version__
from gdcli.commands import older_records
from gdcli.commands.compare import compare
from gdcli.commands.context import Context, Ended, ExecutionOptions, Frontend, shown_path
from gdcli.commands.run import run
from gdcli.commands.sweep import sweep
from gdcli.errors import MachineError, RunError, SpecError
from gdcli.spec.bundled import Source
from gdcli.spec.document import MAX_BYTES
from gdcli.spec.scalars import shown
from gdcli.spec.world import command_for, counted
from gdcli.storage import config_reader, gradient_file, models
from gdcli.storage import request as requests
from gdcli.storage.files import existing, json_file, json_text, lines_of, required
from gdcli.storage.find import folders_in
from gdcli.storage.record import FLEETS, is_linked, status_of
from gdcli.storage.recorded_plugins import require_plugins
from gdcli.storage.request import Request, RunRequest, SweepRequest
from gdcli.storage.run_folder import Lock, scratch
from gdcli.zoo.data_files import Moved

if TYPE_CHECKING:
    from gdcli.commands.batch import BatchRun
    from gdcli.commands.loss_grid import LossGrid
    from gdcli.commands.run import RunReport
    from gdcli.engine.process_group import ProcessGroup

    Report = RunReport | BatchRun | LossGrid | Ended


def resume(
    folder: Path, options: ExecutionOptions, frontend: Frontend, *, force: bool, retry_failed: bool = False,
    arguments: tuple[str, ...] = (), group: ProcessGroup | None = None,
) -> Report:  # fmt: skip
    """Go on where a record was stopped or killed: the same bytes in the end as if it never had been.

    ``retry_failed`` also runs again what failed; ``group`` are the processes of a run that has several. Raises
    SpecError for a record that is not to be gone on with by itself, MachineError for one that was changed or begun
    elsewhere; ``force`` allows another machine or plugin.
    """
    left = (None, "interrupted", "failed") if retry_failed else (None, "interrupted")
    with opened(folder, frontend, group) as (request, status):
        if isinstance(request, RunRequest) and (options.jobs > 1 or options.cluster is not None):
            option = "--cluster" if options.cluster is not None else "--jobs"
            raise SpecError(
                f"{option} is for the runs of a sweep or a comparison; {shown_path(folder)} is a single run"
            )
        if status not in left:
            return Ended(folder, str(status))
        require_plugins(folder, force=force)
        requests.require_config(request, folder)
        _require_same_world(folder, request, "resume", group)
        if not force:
            _require_same_machine(folder, frontend)
        source = source_of(folder, request)
        context = Context(
            source, frontend, again=folder, recorded=request, arguments=arguments, options=options, group=group
        )
        if group is not None and not group.is_first:
            context = Context(source, frontend, None, group=group)
        return execute(request, context)


@contextmanager
def opened(folder: Path, frontend: Frontend, group: ProcessGroup | None = None) -> Iterator[tuple[Request, str | None]]:
    """Yield what a record was asked for and how it ended; it is locked meanwhile, by rank 0 of several processes.

    Raises SpecError for one run of many, its record is that of all, and for a folder that a link leads to.
    """
    if is_linked(folder):
        raise SpecError(f"{shown_path(folder)} is reached through a link: name the record where it is")
    if not (folder / "request.json").is_file() and (folder.absolute().parent / "request.json").is_file():
        above = shown_path(folder.absolute().parent)
        raise SpecError(f"{shown_path(folder)} is one of many runs: name the record of all, {above}")
    lock = Lock(folder) if group is None or group.is_first else None
    try:
        request, status = requests.read(folder), status_of(folder, frontend.warning)
        if group is not None:  # once rank 0 goes on with it
            status = group.said("status", status or "") or None
        yield request, status
    finally:
        if lock is not None:
            lock.release()


def execute(request: Request, context: Context, more: tuple[str, ...] = ()) -> Report:
    """Do what a record asked for; a run with ``more`` overrides. Those that it had are in its config.yaml already."""
    if isinstance(request, RunRequest):
        return run(request.model_copy(update={"overrides": more}), context)
    return sweep(request, context) if isinstance(request, SweepRequest) else compare(request, context)


def source_of(folder: Path, request: Request) -> Source:
    """Return the spec of a record: of a run the resolved one, where a run of many changes the spec as given."""
    name = "config.yaml" if request.command == "run" else "spec.yaml"
    text = required(folder / name, MAX_BYTES)
    base = folder if request.base is None or request.command == "run" else Path(request.base)
    return Source(base / name, str(folder / name), text, Moved(folder.absolute(), request.data_sha256))


def _require_same_world(folder: Path, request: Request, command: str, group: ProcessGroup | None) -> None:
    """Refuse to do again what another number of processes did: the bits would differ."""
    size, recorded = 1 if group is None else group.size, config_reader.read(folder).get("world_size", 1)
    if not isinstance(request, RunRequest):
        recorded = 1
    if recorded != size and type(recorded) is int:
        started = command_for(recorded, f"{command} {shown_path(folder)}")
        raise SpecError(f"{shown_path(folder)} is a run of {counted(recorded)}, and here there is {size:,}: {started}")


def _require_same_machine(folder: Path, frontend: Frontend) -> None:
    """Refuse to go on under another version, processor or device: the bits would differ."""
    frontend.engine()
    recorded = json_file(folder / "environment.json")
    if recorded is None:
        raise MachineError(f"{folder} has no environment.json")
    if found := machine_differences(recorded):
        what = "; ".join(found)
        raise MachineError(f"{folder} was begun elsewhere: {what}. --force goes on all the same, with other bits")


def machine_differences(recorded: Mapping[str, Any]) -> list[str]:
    """Return in what, that bits depend on besides the spec, a record's machine differs: 'torch 2.12, here 2.13'."""
    import torch

    versions = recorded.get("versions")
    then = dict(versions) if isinstance(versions, dict) else {}
    here = {
        "gdcli": __version__, "torch": torch.__version__, "numpy": metadata.version("numpy"),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip
    then["cpu_capability"] = recorded.get("cpu_capability")
    return [f"{name} {then.get(name)}, here {now}" for name, now in here.items() if str(then.get(name)) != str(now)]


# --- beside the record ------------------------------------------------------------------------------------------------

SAME = (
    "log.txt", "steps.csv", gradient_file.CSV, gradient_file.PARQUET, gradient_file.NPY, "parameters.csv", "layers.csv",
    "epochs.csv", "results.csv", "tuning.csv", "summary.json", "config.yaml", FLEETS,
    models.PREPROCESSING, models.NAME, models.BEST, models.ALL,
)  # fmt: skip
"""Files whose bytes are promised. Times stand in timing.json, the machine in environment.json."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which a record differs from the same done again."""

    run: str  # of many, else empty
    file: str
    where: str  # step 3, linear1.weight[0,0]
    recorded: str
    again: str
    step: float = float("inf")

    def __str__(self) -> str:
        run = f"{self.run}: " if self.run else ""
        return f"{run}{self.file}: {self.where}: recorded {self.recorded}, now {self.again}"

    def in_unicode(self) -> Difference:
        """Return it with bytes that are no UTF-8, which are compared as they are, as replacement characters."""
        texts = {name: getattr(self, name) for name in ("where", "recorded", "again")}
        words = {name: text.encode(errors="surrogateescape").decode(errors="replace") for name, text in texts.items()}
        return replace(self, **words)


SHOWN = 5  # differences


@dataclass(frozen=True, slots=True)
class Verification:
    """A record beside the same done again: where files first differ, and what differs in the machines."""

    folder: Path
    differences: Sequence[Difference]
    machine: Sequence[str]
    changes: Sequence[str] = ()  # since the version of the record, that explain the differences

    def text(self) -> str:
        """Return it for people."""
        if not self.differences:
            return "bit-identical\n"
        lines = [shown(str(difference), limit=500) for difference in self.differences[:SHOWN]]
        if len(self.differences) > SHOWN:
            lines.append(f"and {len(self.differences) - SHOWN:,} more files")
        lines += [f"changed since 0.1: {change}" for change in self.changes]
        lines.append("the machine: " + ("; ".join(self.machine) or "the same versions and processor"))
        return "".join(f"{line}\n" for line in lines)

    def json(self) -> str:
        """Return it as one JSON document."""
        names = ("run", "file", "where", "recorded", "again")
        listed = [{name: getattr(found, name) for name in names} for found in self.differences]
        found = {"folder": str(self.folder), "identical": not listed, "differences": listed}
        found |= {"changes": list(self.changes)} if self.changes else {}
        return json_text({**found, "machine": list(self.machine)})


def verify(
    folder: Path, frontend: Frontend, arguments: tuple[str, ...] = (), group: ProcessGroup | None = None
) -> Verification | None:
    """Run a record again, silently, and return where the two differ; None where a signal ended it.

    Of several processes rank 0 compares, and the others find no difference.

    Raises SpecError for a record that has not ended, or that cannot be run again by itself; MachineError for a changed
    one.
    """
    with opened(folder, frontend, group) as (request, status):
        if status in (None, "interrupted"):
            raise SpecError(f"{shown_path(folder)} has not ended: gdcli resume goes on with it")
        require_plugins(folder)
        requests.require_config(request, folder)
        _require_same_world(folder, request, "verify", group)
        _require_comparable(folder, request)
        if group is not None and not group.is_first:
            stopped = _interrupted(folder, request, None, frontend, arguments, group)
            return None if stopped else Verification(folder, (), ())
        with scratch("verify") as again:
            if _interrupted(folder, request, again, frontend, arguments, group):
                return None
            (new,) = (path for name in again.iterdir() for path in name.iterdir())
            changes: list[str] = []
            if is_older := older_records.is_of_0_1(folder):
                older_records.leave_out_newer(folder, new)
            found = differences(folder, new, by_time=_ended_by_time(folder))
            if is_older and found:
                text = source_of(folder, request).text
                changes = older_records.changes({each.file for each in found}, request, text, status)
            machine = machine_differences(json_file(folder / "environment.json") or {})
            return Verification(folder, found, machine, changes)


def _interrupted(
    folder: Path, request: Request, into: Path | None, frontend: Frontend, arguments: tuple[str, ...],
    group: ProcessGroup | None = None,
) -> bool:  # fmt: skip
    """Do what a record's request asks for in another folder, or in none; say whether a signal ended it."""
    left_out: dict[str, Any] = {"plot": False}
    if request.command == "sweep":
        left_out["trajectory"] = ()  # it is for the picture
    by_time = _ended_by_time(folder)
    more = (f"stop.max_steps={_steps_of(folder)}", "stop.max_seconds=1e9") if by_time else ()
    silent = Frontend(importing=frontend.importing, interruptible=frontend.interruptible)  # nobody is told
    context = Context(
        source_of(folder, request), silent, into,
        cores=None if request.command == "run" else _cores_of(folder),
        recorded=None if by_time or older_records.is_of_0_1(folder) else request,  # else another config.yaml
        arguments=arguments, group=group,
    )  # fmt: skip
    try:
        report = execute(request.model_copy(update=left_out), context, more)
    except RunError:
        if status_of(folder, frontend.warning) != "failed":
            raise
        return False
    return report.interrupted


def _ended_by_time(folder: Path) -> bool:
    """Say whether a run was stopped by stop.max_seconds, which comes after another step each time."""
    return str((json_file(folder / "summary.json") or {}).get("message", "")).startswith("max_seconds reached")


def _require_comparable(folder: Path, request: Request) -> None:
    """Refuse many runs of which time stopped one: together they cannot be given each its number of steps."""
    if request.command != "run":
        stopped = [path.parent.name for path in sorted(folder.glob("*/summary.json")) if _ended_by_time(path.parent)]
        if stopped:
            what = f"stop.max_seconds ended {len(stopped)} of its runs ({stopped[0]})"
            raise SpecError(f"{shown_path(folder)}: {what}, after another step each time: nothing to compare")


def _steps_of(folder: Path) -> int:
    steps = (json_file(folder / "summary.json") or {}).get("steps")
    if type(steps) is not int or steps < 1:
        raise MachineError(f"{folder / 'summary.json'} is damaged: it does not say how many steps there were")
    return steps


def _cores_of(folder: Path) -> int | None:
    """Return the cores that ``threads: auto`` found for the runs of a sweep or a comparison, wherever that was."""
    found = [(json_file(folder / "environment.json") or {}).get("threads")]
    found += [config_reader.read(path.parent).get("threads") for path in folder.glob("*/config.yaml")]
    return max((threads for threads in found if type(threads) is int), default=None)


def differences(recorded: Path, again: Path, *, by_time: bool = False) -> list[Difference]:
    """Return the first difference of each file, those of the earliest steps first; none where all bytes are equal.

    ``by_time`` is for a run that its time ended: it was done again with the same number of steps as the end, which
    config.yaml and the summary's message name otherwise.
    """
    folders = {path.name for root in (recorded, again) for path in folders_in(root)}
    found: list[Difference] = []
    for folder in ("", *sorted(folders)):
        for name in SAME:
            if by_time and name == "config.yaml":
                continue
            difference = _of_file(recorded / folder / name, again / folder / name, folder, by_time)
            if difference is not None:
                found.append(difference.in_unicode())
    return sorted(found, key=lambda difference: difference.step)


def _of_file(recorded: Path, again: Path, run: str, by_time: bool) -> Difference | None:
    there = [path.exists() or path.is_symlink() for path in (recorded, again)]
    name = recorded.name
    if not all(there):
        a, b = ("there" if each else "missing" for each in there)
        return Difference(run, name, "the file", a, b) if any(there) else None
    if recorded.suffix == ".safetensors":
        found = models.first_difference(recorded, again)
        return None if found is None else Difference(run, name, *found)
    if recorded.suffix in (".parquet", ".npy"):
        if models.digest(recorded) == models.digest(again):
            return None
        lines = (gradient_file.lines_of_csv(gradient_file.binary_columns(path)) for path in (recorded, again))
        return _of_table(run, name, *lines) or Difference(run, name, "its bytes", "others", "others")
    with existing(recorded) as ours, existing(again) as theirs:
        difference = _of_lines(run, name, _text(ours), _in_words(_text(theirs), by_time))
        if difference is not None and name.endswith(".csv"):
            for stream in (ours, theirs):
                stream.seek(0)
            with suppress(csv.Error):  # a quotation mark that never ends
                return _of_table(run, name, _text(ours), _text(theirs)) or difference
        return difference


def _text(stream: BinaryIO) -> Iterator[str]:
    return (line.decode(errors="surrogateescape") for line in lines_of(stream))


def _in_words(lines: Iterator[str], by_time: bool) -> Iterator[str]:
    if not by_time:
        return lines
    return (line.replace('"max_steps reached at step ', '"max_seconds reached at step ') for line in lines)


def _of_lines(run: str, name: str, ours: Iterable[str], theirs: Iterable[str]) -> Difference | None:
    pairs = itertools.zip_longest(ours, theirs, fillvalue="(no line)")
    for line, (a, b) in enumerate(pairs, 1):
        if a != b:
            return Difference(run, name, f"line {line}", a.strip(), b.strip())
    return None


def _of_table(run: str, name: str, ours: Iterable[str], theirs: Iterable[str]) -> Difference | None:
    header: list[str] = []
    nothing: list[str] = []
    pairs = itertools.zip_longest(csv.reader(ours), csv.reader(theirs), fillvalue=nothing)
    for line, (a, b) in enumerate(pairs, 1):
        header = header or b
        for column, (x, y) in enumerate(itertools.zip_longest(a, b, fillvalue="(nothing)")):
            if x != y:
                title = header[column] if column < len(header) else f"column {column + 1}"
                key = (b or a)[0]
                where = f"{header[0]} {key}, {title}" if line > 1 and header else f"line {line}"
                first = header[:1] == ["step"] and key.isdecimal()
                return Difference(run, name, where, x, y, float(key) if first else float("inf"))
    return None
