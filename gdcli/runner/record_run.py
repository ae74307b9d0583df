"""From a loaded spec to a finished run folder: the loop's events go to the style, the files and the plot."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pydantic
import torch
import yaml
from numpy.typing import NDArray

from gdcli import __version__
from gdcli.engine import checkpoint_state
from gdcli.engine.device import resolve_threads
from gdcli.engine.evaluation import starts_of
from gdcli.engine.loop import Interrupt, Loop, keep_of
from gdcli.engine.problem import TrainingProblem, build
from gdcli.errors import GdcliError, MachineError, RunError
from gdcli.records import Event, Floats, Outcome, Outcomes, Start, StepBlock
from gdcli.report import plots
from gdcli.report.styles import STYLES
from gdcli.spec import config
from gdcli.spec.load import Loaded
from gdcli.spec.sections import RunSpec
from gdcli.spec.writing import write
from gdcli.storage import csv_reader, files, run_folder
from gdcli.storage.checkpoints import Checkpoints, Logs, SavedState
from gdcli.zoo.data import generator
from gdcli.zoo.models import Stack

SUMMARY_SCALARS = 100
"""Parameters stand in summary.json up to this many scalars."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Who looks on: gets the style's text, each block's progress, and warnings. All may be left out."""

    text: Callable[[str], None] | None = None
    block: Callable[[StepBlock], None] | None = None
    warning: Callable[[str], None] | None = None
    columns: frozenset[str] = frozenset()  # of the blocks, besides those of the style


@dataclass(slots=True)
class Timing:
    """Seconds per phase; the only times of a record."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    phases: dict[str, float] = field(default_factory=dict)
    steps: int = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of a block of code to a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - begun

    def text(self) -> str:
        """Return timing.json."""
        training = self.phases.get("train", 0.0)
        return files.json_text(
            {
                "start": self.started.isoformat(),
                "end": datetime.now(UTC).isoformat(),
                "seconds": self.phases,
                "steps_per_second": self.steps / training if training else None,
            }
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """One run that ended, in memory."""

    start: Start
    outcome: Outcome
    losses: NDArray[np.float64]  # [steps] of every step, before its update
    steps_per_epoch: int
    weights_hash: str  # of the start values
    data_hash: str  # of the training rows
    order_hash: str  # of the first epoch's batches
    folder: Path | None = None

    def summary(self) -> dict[str, Any]:
        """Return what summary.json holds: no times."""
        outcome = self.outcome
        found: dict[str, Any] = {
            "status": outcome.status,
            "message": outcome.message,
            "final_loss": outcome.loss,
            "best_loss": outcome.best_loss,
            "best_step": outcome.best_step,
            "steps": outcome.steps,
            "epochs": outcome.epochs,
            "metrics": dict(outcome.metrics),
        }
        if sum(parameter.values.size for parameter in outcome.parameters) <= SUMMARY_SCALARS:
            found["parameters"] = {p.name: p.values.astype(np.float64).tolist() for p in outcome.parameters}
        return found


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a run came from: the spec's text as given, and the command line."""

    text: bytes
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordFolder:
    """A run's folder with its first files in it; ``again`` for one whose run is gone on with."""

    folder: Path
    config: str  # the text of config.yaml
    again: bool = False


def prepared(loaded: Loaded) -> TrainingProblem:
    """Set the number of threads that a run has, and build it."""
    torch.set_num_threads(resolve_threads(loaded))
    return build(loaded)


def run(
    built: TrainingProblem,
    record: RecordFolder | None,
    *,
    watch: Callbacks | None = None,
    interrupt: Interrupt | None = None,
    plot: bool = True,
    timing: Timing | None = None,
    ended: Callable[[Finished], None] | None = None,
) -> Finished:
    """Train what is built; with a record, write all of it there as the run goes.

    ``ended`` is called before the summary, the mark of a run that ended, is written. Raises RunError for a step that
    torch's own layers refuse, MachineError for a file that cannot be written.
    """
    watch, timing, loaded = watch or Callbacks(), timing or Timing(), built.loaded
    for warning in loaded.warnings:
        if watch.warning is not None:
            watch.warning(warning)
    loop = Loop(built, STYLES[loaded.spec.style].columns | watch.columns, interrupt=interrupt)
    following = _Following(loop, record, watch)
    try:
        with timing.phase("train"):
            finished = following.to_the_end()
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        if isinstance(error, GdcliError) or not isinstance(loaded.architecture, Stack):
            raise
        raise _refused(error, record) from None
    timing.steps = finished.outcome.steps
    timing.phases["train"] += following.seconds_before
    if ended is not None:
        ended(finished)
    if record is not None:
        if plot and finished.outcome.status != "interrupted":  # it is drawn by the run that goes on
            with timing.phase("plot"):
                _plot(loaded, finished, record.folder, watch)
        write_end(record.folder, finished, timing)
        following.end()
    return finished


def _refused(error: Exception, record: RecordFolder | None) -> RunError:
    """Return what torch's own layers refuse in the middle of a run, such as one row for a batch norm."""
    message = f"torch refused a step: {str(error).splitlines()[0]}"
    if record is not None:
        files.replace(record.folder / "summary.json", files.json_text({"status": "failed", "message": message}))
    return RunError(message)


class _Following:
    """Hands each event of a loop to the style, the files, the checkpoints and the onlooker."""

    def __init__(self, loop: Loop, record: RecordFolder | None, watch: Callbacks) -> None:
        self._loop, self._record, self._watch = loop, record, watch
        self._spec, self._keep = loop.spec, keep_of(loop.problem)
        self._losses: list[NDArray[np.float64]] = []
        self.seconds_before = 0.0  # of training, up to the checkpoint
        self._ended_by_itself = False
        self._checkpoints = None
        if record is not None:
            every = self._spec.checkpoint.every_seconds
            self._checkpoints = Checkpoints(record.folder, record.config, every)

    def to_the_end(self) -> Finished:
        """Train, from the last checkpoint where the run is gone on with."""
        problem = self._loop.problem
        hashes = _hashes(problem)
        (start,) = starts_of(problem)
        found = self._found()
        if found is not None:
            checkpoint_state.restore(self._loop, found.state)
            self.seconds_before = time.perf_counter() - self._loop.begun
        writer = self._writer(start, found)
        outcome: Outcome | None = None
        try:
            if found is None:
                writer.text(start)
            for event in self._loop.events():
                if isinstance(event, Outcomes):
                    outcome = event.of_run(0, problem.theta.as_parameters)
                    writer.text(outcome)
                elif (block := event.of_run(0)) is not None:
                    writer.text(block)
                    self._block(block, writer)
            writer.sync()
        finally:
            writer.close()
        assert outcome is not None
        losses = np.concatenate(self._losses) if self._losses else np.empty(0)
        self._ended_by_itself = outcome.status not in ("diverged", "interrupted")
        per_epoch = self._loop.per_epoch
        folder = None if self._record is None else self._record.folder
        return Finished(start, outcome, losses, per_epoch, *hashes, folder)

    def end(self) -> None:
        """Take the checkpoints of a run away that needs them no more."""
        if self._checkpoints is None or not self._ended_by_itself:
            return
        try:
            self._checkpoints.remove()
        except MachineError as error:  # the record is complete
            if self._watch.warning is not None:
                self._watch.warning(str(error))

    def _found(self) -> SavedState | None:
        if self._record is None or not self._record.again:
            return None
        assert self._checkpoints is not None

        def refused(text: str) -> None:
            if self._watch.warning is not None:
                self._watch.warning(text)

        size = checkpoint_state.size(self._loop)
        return self._checkpoints.latest(size, lambda state: checkpoint_state.fits(self._loop, state), refused)

    def _writer(self, start: Start, found: SavedState | None) -> Writer:
        folder, lengths = None, None
        if self._record is not None:
            folder = self._record.folder
            if found is not None:
                lengths = {name: length for name, (length, _) in found.logs.items()}
                self._losses.append(csv_reader.losses(folder / "steps.csv", found.state.steps))
            elif self._record.again:
                lengths = {}
        return Writer(self._spec, start, folder, self._keep, self._watch.text, lengths)

    def _block(self, block: StepBlock, writer: Writer) -> None:
        self._losses.append(block.loss.astype(np.float64))
        writer.block(block)
        if self._watch.block is not None:
            self._watch.block(block)
        loop, kept = self._loop, self._checkpoints
        if kept is not None and (loop.interrupted or (loop.is_open and kept.due())):
            kept.write(checkpoint_state.capture(self._loop), writer.state())


class Writer:
    """Turns a run's events into the text of its style and, with a folder, into its files."""

    def __init__(
        self, spec: RunSpec, start: Start, folder: Path | None, keep: str, say: Callable[[str], None] | None = None,
        lengths: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self._style, self._start, self._keep, self._say = STYLES[spec.style].text, start, keep, say
        self._recorder = None
        if folder is not None:
            self._recorder = run_folder.Recorder(
                folder,
                start.parameters,
                values=keep == "values",
                gradients=keep != "none" and any(p.trained for p in start.parameters),
                every=spec.record.every,
                lengths=lengths,
            )

    def text(self, event: Event) -> None:
        """Write what the style says of an event."""
        if self._recorder is None and self._say is None:
            return
        text = self._style(event, self._start)
        if self._recorder is not None:
            self._recorder.text(text)
        if self._say is not None and text:
            self._say(text)

    def block(self, block: StepBlock) -> None:
        """Append a block's rows to the CSV files."""
        if self._recorder is not None:
            self._recorder.block(block if self._keep != "norms" else _with_norms(block, self._start))

    def state(self) -> Logs:
        """Return the files' lengths and digests, once they are on the disk."""
        return {} if self._recorder is None else self._recorder.state()

    def sync(self) -> None:
        """Bring the files to the disk."""
        if self._recorder is not None:
            self._recorder.sync()

    def close(self) -> None:
        """Flush and close the files."""
        if self._recorder is not None:
            self._recorder.close()


def write_end(folder: Path, finished: Finished, timing: Timing) -> None:
    """Write the times, and last the summary, which is the mark of a run that ended."""
    files.replace(folder / "timing.json", timing.text())
    files.replace(folder / "summary.json", files.json_text(finished.summary()))
    files.sync_folder(folder)


def _with_norms(block: StepBlock, start: Start) -> StepBlock:
    """Return the block with its norms worked out, where the style asked for the gradients themselves."""
    if block.norms is not None or block.gradients is None:
        return block
    sizes = np.cumsum([p.values.size for p in start.parameters if p.trained])[:-1]
    parts = np.split(block.gradients.astype(np.float64), sizes, axis=1)
    norms = np.stack([np.sqrt(np.add.reduce(part * part, axis=1)) for part in parts], axis=1)
    return StepBlock(**{**{name: getattr(block, name) for name in StepBlock.__slots__}, "norms": norms})


def _hashes(built: TrainingProblem) -> tuple[str, str, str]:
    """Return 8 hex digits each of the start values, of the data, and of the first epoch's batches."""
    weights = weights_hash(built.theta.values[0].cpu().numpy()[built.theta.model_order])
    return weights, data_hash(built.loaded), order_hash(built.loaded)


def weights_hash(values: Floats) -> str:
    """Return 8 hex digits of start values in the model's order."""
    return hashlib.sha256(values.tobytes()).hexdigest()[:8]


def data_hash(loaded: Loaded) -> str:
    """Return 8 hex digits of the training rows; nothing for an objective."""
    table, data = loaded.training, hashlib.sha256()
    if table is not None:
        data.update(np.ascontiguousarray(table.x).tobytes() + np.ascontiguousarray(table.y).tobytes())
    return data.hexdigest()[:8] if table is not None else ""


def order_hash(loaded: Loaded) -> str:
    """Return 8 hex digits of the first epoch's batches; nothing for an objective."""
    order, batch, samples = hashlib.sha256(), loaded.spec.batch, loaded.samples
    if samples:
        if batch.shuffles:
            order.update(generator(loaded.spec.settings.seed, "shuffle").permutation(samples).tobytes())
        order.update(str((batch.rows(samples), batch.steps(samples))).encode())
    return order.hexdigest()[:8] if samples else ""


# --- files ------------------------------------------------------------------------------------------------------------


def head(built: TrainingProblem, origin: Provenance) -> tuple[str, dict[str, bytes | str]]:
    """Return the text of config.yaml, and the first files of a run: the specs, as given and resolved, environment."""
    loaded, threads = built.loaded, resolve_threads(built.loaded)
    return head_of(loaded, origin, built.device, threads, built.kernel_name, keep_of(built))


def head_of(
    loaded: Loaded, origin: Provenance, device: torch.device, threads: int, engine: str, keep: str
) -> tuple[str, dict[str, bytes | str]]:
    """Return :func:`head` of a run that is built with others."""
    text = write(config.resolved(loaded, device=str(device), threads=threads, engine=engine, keep=keep))
    machine = files.json_text(environment(origin, device, threads))
    return text, {"spec.yaml": origin.text, "environment.json": machine, "config.yaml": text}  # last: all are there


def environment(origin: Provenance, device: torch.device, threads: int) -> dict[str, Any]:
    """Return what a result may depend on besides the spec."""
    loaded = {"torch": torch, "numpy": np, "pydantic": pydantic, "PyYAML": yaml, "orjson": orjson}
    return {
        "versions": {"gdcli": __version__, "python": platform.python_version()}
        | {name: str(module.__version__) for name, module in loaded.items()}
        | {name: metadata.version(name) for name in ("matplotlib", "scipy")},  # not imported, they may not be needed
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": threads,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "command": ["gdcli", *origin.arguments],
        "git": _git(Path.cwd()),
    }


@cache
def _git(folder: Path) -> dict[str, Any] | None:
    """Return commit and dirtiness of the checkout that the command ran in, None outside of one."""
    git = shutil.which("git")
    if git is None or not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None

    def ask(*arguments: str) -> str | None:
        try:
            answer = subprocess.run([git, *arguments], cwd=folder, capture_output=True, timeout=5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.decode(errors="replace").strip() if answer.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    status = ask("status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit, "dirty": None if status is None else bool(status)}


def loss_label(loaded: Loaded) -> str:
    """Return how plots name the loss."""
    return "objective" if loaded.spec.loss is None else f"loss ({loaded.spec.loss.name})"


def _plot(loaded: Loaded, finished: Finished, folder: Path, watch: Callbacks) -> None:
    """Draw the loss curve. A plot that fails never fails the run: it is told."""
    steps = np.arange(1, len(finished.losses) + 1) if loaded.spec.settings.epochs else np.zeros(1)
    curve = plots.Curve(loaded.spec.name, steps.astype(np.float64), finished.losses)
    draw(
        folder / "loss.png",
        lambda: plots.loss_curve(
            curve, title=loaded.spec.name, loss_label=loss_label(loaded), steps_per_epoch=finished.steps_per_epoch
        ),
        watch,
    )


def draw(path: Path, picture: Callable[[], bytes], watch: Callbacks) -> None:
    """Write a plot; whatever goes wrong in drawing is a warning."""
    try:
        content = picture()
    except Exception as error:  # a plot is a courtesy; the record is complete without it
        if watch.warning is not None:
            watch.warning(f"could not draw {path.name}: {type(error).__name__}: {error}")
        return
    files.replace(path, content)
