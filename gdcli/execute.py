"""From a loaded spec to a finished run folder: the loop's events go to the style, the files and the plot."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pydantic
import torch
import yaml
from numpy.typing import NDArray

from gdcli import __version__, plots, store
from gdcli.engine.build import Built, build, resolve_threads
from gdcli.engine.train import Interrupt, keep_of, train
from gdcli.errors import RunError
from gdcli.records import Outcome, Start, StepBlock
from gdcli.spec import config
from gdcli.spec.document import write
from gdcli.spec.load import Loaded
from gdcli.styles import STYLES
from gdcli.zoo.data import generator

SUMMARY_SCALARS = 100
"""Parameters stand in summary.json up to this many scalars."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on: gets the style's text, each block's progress, and warnings. All may be left out."""

    text: Callable[[str], None] | None = None
    block: Callable[[StepBlock], None] | None = None
    warning: Callable[[str], None] | None = None


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
        return store.json_text(
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
class Origin:
    """Where a run came from: the spec's text as given, and the command line."""

    text: bytes
    arguments: tuple[str, ...]


def run(
    loaded: Loaded,
    folder: Path | None,
    origin: Origin,
    *,
    watch: Watch | None = None,
    interrupt: Interrupt | None = None,
    plot: bool = True,
    timing: Timing | None = None,
    built: Built | None = None,
) -> Finished:
    """Train one spec; with a folder, write its complete record there as the run goes.

    A caller that claims the folder builds first, so that what only torch can refuse leaves no folder behind.

    Raises SpecError for what only torch knows, MachineError for a file that cannot be written.
    """
    watch, timing, spec = watch or Watch(), timing or Timing(), loaded.spec
    threads = resolve_threads(loaded)
    torch.set_num_threads(threads)
    if built is None:
        built = build(loaded)
    keep = keep_of(built)
    for warning in loaded.warnings:
        if watch.warning is not None:
            watch.warning(warning)
    if folder is not None:
        _write_head(folder, loaded, built, origin, threads=threads, keep=keep)
    events = train(built, STYLES[spec.style].columns, interrupt)
    with timing.phase("train"):
        finished = _follow(built, events, folder, watch, keep)
    timing.steps = finished.outcome.steps
    if folder is not None:
        if plot:
            with timing.phase("plot"):
                _plot(loaded, finished, folder, watch)
        store.replace(folder / "timing.json", timing.text())
        store.replace(folder / "summary.json", store.json_text(finished.summary()))
    return finished


def _follow(built: Built, events: Iterator[Any], folder: Path | None, watch: Watch, keep: str) -> Finished:
    """Hand each event to the style, the files and the onlooker."""
    spec = built.loaded.spec
    hashes = _hashes(built)
    start = next(events)
    style = STYLES[spec.style].text
    losses: list[NDArray[np.float64]] = []
    outcome: Outcome | None = None
    recorder = None
    if folder is not None:
        recorder = store.Recorder(
            folder,
            start.parameters,
            values=keep == "values",
            gradients=keep != "none" and any(p.trained for p in start.parameters),
            every=spec.record.every,
        )

    def say(event: Any) -> None:
        text = style(event, start)
        if recorder is not None:
            recorder.text(text)
        if watch.text is not None and text:
            watch.text(text)

    try:
        say(start)
        for event in events:
            say(event)
            if isinstance(event, StepBlock):
                losses.append(event.loss.astype(np.float64))
                if recorder is not None:
                    recorder.block(event if keep != "norms" else _with_norms(event, start))
                if watch.block is not None:
                    watch.block(event)
            else:
                outcome = event
    finally:
        if recorder is not None:
            recorder.close()
    assert outcome is not None
    all_losses = np.concatenate(losses) if losses else np.empty(0)
    return Finished(start, outcome, all_losses, built.batches.per_epoch, *hashes, folder)


def _with_norms(block: StepBlock, start: Start) -> StepBlock:
    """Return the block with its norms worked out, where the style asked for the gradients themselves."""
    if block.norms is not None or block.gradients is None:
        return block
    sizes = np.cumsum([p.values.size for p in start.parameters if p.trained])[:-1]
    parts = np.split(block.gradients.astype(np.float64), sizes, axis=1)
    norms = np.stack([np.sqrt(np.add.reduce(part * part, axis=1)) for part in parts], axis=1)
    return StepBlock(**{**{name: getattr(block, name) for name in StepBlock.__slots__}, "norms": norms})


def _hashes(built: Built) -> tuple[str, str, str]:
    """Return 8 hex digits each of the start values, of the data, and of the first epoch's batches."""
    weights = hashlib.sha256(built.theta.values[0].cpu().numpy()[built.theta.model_order].tobytes())
    table, data, order = built.loaded.training, hashlib.sha256(), hashlib.sha256()
    if table is not None:
        data.update(np.ascontiguousarray(table.x).tobytes() + np.ascontiguousarray(table.y).tobytes())
        if built.batches.shuffle:
            order.update(generator(built.loaded.spec.settings.seed, "shuffle").permutation(len(table.x)).tobytes())
        order.update(str((built.batches.rows, built.batches.per_epoch)).encode())
    return weights.hexdigest()[:8], data.hexdigest()[:8], order.hexdigest()[:8]


# --- files ------------------------------------------------------------------------------------------------------------


def new_folder(output: Path, name: str, filled: Mapping[str, Any]) -> Path:
    """Claim the folder of a new record."""
    return store.claim(output, name, config.digest(dict(filled)), time.localtime())


def _write_head(folder: Path, loaded: Loaded, built: Built, origin: Origin, *, threads: int, keep: str) -> None:
    device = str(built.device)
    filled = config.resolved(loaded, device=device, threads=threads, engine=built.kernel_name, keep=keep)
    store.replace(folder / "spec.yaml", origin.text)
    store.replace(folder / "config.yaml", write(filled))
    store.replace(folder / "environment.json", store.json_text(environment(origin, built.device, threads)))


def environment(origin: Origin, device: torch.device, threads: int) -> dict[str, Any]:
    """Return what a result may depend on besides the spec."""
    loaded = {"torch": torch, "numpy": np, "pydantic": pydantic, "PyYAML": yaml, "orjson": orjson}
    return {
        "versions": {"gdcli": __version__, "python": platform.python_version()}
        | {name: str(module.__version__) for name, module in loaded.items()}
        | {"matplotlib": metadata.version("matplotlib")},  # not imported, it may not be needed
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": threads,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "command": ["gdcli", *origin.arguments],
        "git": _git(Path.cwd()),
    }


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


def _plot(loaded: Loaded, finished: Finished, folder: Path, watch: Watch) -> None:
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


def draw(path: Path, picture: Callable[[], bytes], watch: Watch) -> None:
    """Write a plot; whatever goes wrong in drawing is a warning."""
    try:
        content = picture()
    except Exception as error:  # a plot is a courtesy; the record is complete without it
        if watch.warning is not None:
            watch.warning(f"could not draw {path.name}: {type(error).__name__}: {error}")
        return
    store.replace(path, content)


# --- many runs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planned:
    """One run of a sweep or a comparison: its label, the values of its axes, and its spec."""

    label: str
    values: tuple[Any, ...]
    loaded: Loaded


@dataclass(frozen=True, slots=True)
class Result:
    """A planned run and how it ended; ``error`` says why it could not run."""

    planned: Planned
    finished: Finished | None
    error: str = ""

    @property
    def status(self) -> str:
        """The run's status; failed when it raised."""
        return self.finished.outcome.status if self.finished else "failed"

    @property
    def loss(self) -> float:
        """The final loss; not finite when the run diverged or failed."""
        if self.finished is None or self.status == "diverged":
            return float("nan")
        return self.finished.outcome.loss


FOLDERS = 100
"""Each run has a sub-folder up to this many runs."""


def run_all(
    planned: Sequence[Planned], folder: Path, origin: Origin, watch: Watch, interrupt: Interrupt, plot: bool
) -> Iterator[Result]:
    """Run one after the other, a sub-folder each; a run that fails does not stop the others."""
    for number, item in enumerate(planned, 1):
        if interrupt.requested:
            return
        sub = folder / _folder_name(number, item.label, len(planned)) if len(planned) <= FOLDERS else None
        try:
            if sub is not None:
                with store.naming(sub):
                    sub.mkdir()
            quiet = Watch(block=watch.block, warning=watch.warning)
            yield Result(item, run(item.loaded, sub, origin, watch=quiet, interrupt=interrupt, plot=plot))
        except (RunError, RuntimeError, ArithmeticError) as error:
            yield Result(item, None, f"{type(error).__name__}: {str(error).splitlines()[0]}")


def _folder_name(number: int, label: str, count: int) -> str:
    safe = "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "._=-" else "_" for letter in label)[
        :48
    ]
    return f"{number:0{len(str(count))}d}-{safe}"


def result_header(axes: Sequence[str]) -> list[str]:
    """Return the columns of results.csv."""
    return ["run", *axes, "status", "final_loss", "best_loss", "steps", "epochs", "weights", "data", "order"]


def result_row(number: int, result: Result) -> list[Any]:
    """Return one run's row of results.csv; no loss where the run diverged or failed."""
    finished = result.finished
    values = [value if isinstance(value, int | float | str) else str(value) for value in result.planned.values]
    if finished is None:
        return [number, *values, "failed", *[None] * 7]
    outcome, loss = finished.outcome, result.loss
    best = outcome.best_loss if np.isfinite(outcome.best_loss) else None
    shown = loss if np.isfinite(loss) else None
    row: list[Any] = [number, *values, outcome.status, shown, best, outcome.steps, outcome.epochs]
    return [*row, finished.weights_hash, finished.data_hash, finished.order_hash]
