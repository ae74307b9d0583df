"""gdcli from inside, for the benchmarks that time its loops: the one place that knows which module has what.

Every other file of the benchmarks uses this one, or goes through the command line. Two layouts are known: that of 0.1,
with a loop for one run and another for a fleet, and the one with a single loop. What differs between them is in
``_Old`` and ``_New``, which have the same methods; the rest of the file is the same for both.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gdcli.spec.load import Loaded

Floats = NDArray[Any]
Turn = Callable[[int], None]  # called after each block with the number of its steps


def no_turn(steps: int) -> None:
    """Do nothing after a block."""


@dataclass(frozen=True)
class Single:
    """What one run came to: the steps whose gradients were kept, and the weights by name."""

    steps: int
    weights: dict[str, Floats]


@dataclass(frozen=True)
class Together:
    """What runs trained together came to: blocks of steps, and how the runs ended. Nothing is worked out in time."""

    blocks: Sequence[Any]
    outcome: Any

    @property
    def losses(self) -> Floats:
        """The loss [K, R] of each step before its update."""
        return np.concatenate([block.loss for block in self.blocks])

    @property
    def last(self) -> Floats:
        """The loss [R] at the end."""
        return self.outcome.loss


class _Layout(Protocol):
    """What differs from one layout to the other."""

    def specs(self, *made_of: Any) -> Any: ...
    def train(self, spec: Loaded, turn: Turn) -> Single: ...
    def steps(self, spec: Loaded) -> Callable[[], object]: ...
    def run(self, spec: Loaded, folder: Path, turn: Turn) -> Single: ...
    def build_fleet(self, runs: Sequence[Loaded]) -> Any: ...
    def train_fleet(self, fleet: Any, keep: str) -> Together: ...
    def chunk(self, spec: Loaded) -> int: ...
    def start_values(self, spec: Loaded) -> list[Any]: ...
    def grid_losses(self, spec: Loaded, along: Any) -> Floats: ...


class _Old:
    """0.1: engine/build.py and engine/train.py for one run, engine/fleet/ for many."""

    def specs(self, *made_of: Any) -> Any:
        from gdcli.plan import Specs

        return Specs(*made_of)

    def train(self, spec: Loaded, turn: Turn) -> Single:
        from gdcli.engine.build import build
        from gdcli.engine.train import train

        return _followed(train(build(spec)), turn)

    def steps(self, spec: Loaded) -> Callable[[], object]:
        raise NotImplementedError("0.1 evaluates at the end of its loop")

    def run(self, spec: Loaded, folder: Path, turn: Turn) -> Single:
        from gdcli import execute, store

        built = execute.prepared(spec)
        config, files = execute.head(built, execute.Origin(b"", ()))
        for name, content in files.items():
            store.write(folder / name, content)
        with open(os.devnull, "w", encoding="utf-8") as sink:  # noqa: PTH123
            watch = execute.Watch(text=sink.write, block=lambda block: turn(len(block.step)))
            finished = execute.run(built, execute.Record(folder, config), watch=watch, plot=False)
        return Single(finished.outcome.steps, _weights(finished.outcome))

    def build_fleet(self, runs: Sequence[Loaded]) -> Any:
        from gdcli.engine.fleet.build import build_fleet

        return build_fleet(runs)

    def train_fleet(self, fleet: Any, keep: str) -> Together:
        from gdcli.engine.fleet.train import train_fleet

        *blocks, outcome = train_fleet(fleet, keep=keep)
        return Together(blocks, outcome)

    def chunk(self, spec: Loaded) -> int:
        from gdcli.engine.fleet.build import chunk_of

        return chunk_of(spec)

    def start_values(self, spec: Loaded) -> list[Any]:
        import torch

        from gdcli.engine.build import start_values

        return list(start_values(spec, torch.float32)[0].values())

    def grid_losses(self, spec: Loaded, along: Any) -> Floats:
        from gdcli import surface

        return surface.evaluate(spec, along).loss


class _New:
    """One loop, engine/loop.py, of one problem, engine/problem.py, with one run or many."""

    def specs(self, *made_of: Any) -> Any:
        from gdcli.plan import SpecFactory

        return SpecFactory(*made_of)

    def train(self, spec: Loaded, turn: Turn) -> Single:
        from gdcli.engine.loop import Loop
        from gdcli.engine.problem import build
        from gdcli.records import Block

        problem = build(spec)
        as_parameters = problem.theta.as_parameters
        events = Loop(problem).events()
        return _followed((e.of_run(0) if isinstance(e, Block) else e.of_run(0, as_parameters) for e in events), turn)

    def steps(self, spec: Loaded) -> Callable[[], object]:
        from gdcli.engine.loop import Loop
        from gdcli.engine.problem import build

        loop = Loop(build(spec))
        return lambda: next(None for _ in loop.events() if loop.t == loop.all_steps)

    def run(self, spec: Loaded, folder: Path, turn: Turn) -> Single:
        from gdcli.runner import provenance, record_run
        from gdcli.storage import run_folder

        built = provenance.prepared(spec)
        config, files = provenance.head(built, provenance.Provenance(b"", ()))
        for name, content in files.items():
            run_folder.write(folder / name, content)
        with open(os.devnull, "w", encoding="utf-8") as sink:  # noqa: PTH123
            record = run_folder.RecordFolder(folder, config)
            finished = record_run.run(
                built, record, text=sink.write, block=lambda block: turn(len(block.step)), plot=False
            )
        return Single(finished.outcome.steps, _weights(finished.outcome))

    def recording_loop(self, spec: Loaded, folder: Path) -> Callable[[], int]:
        """Return what trains a run and writes its files, without evaluations of all rows; it returns the steps."""
        from gdcli.engine.evaluation import starts_of
        from gdcli.engine.gradient_log import keep_of
        from gdcli.engine.loop import Loop
        from gdcli.engine.problem import build
        from gdcli.records import Block
        from gdcli.runner.background import BackgroundWriter
        from gdcli.runner.run_recorder import RunRecorder
        from gdcli.storage.run_folder import RecordFolder

        problem, writer = build(spec), BackgroundWriter()
        keep, (start,) = keep_of(problem), starts_of(problem)
        recorder = RunRecorder(spec.spec, start, RecordFolder(folder, ""), keep)
        recorder.open(writer)

        def train() -> int:
            steps = 0
            for event in Loop(problem, keep=keep).events():
                block = event.of_run(0) if isinstance(event, Block) else None
                if block is not None:
                    recorder.block(block)
                    steps += len(block.step)
                    if block.ends:
                        break
            recorder.end()
            writer.close()
            return steps

        return train

    def build_fleet(self, runs: Sequence[Loaded]) -> Any:
        from gdcli.engine.problem import build_fleet

        return build_fleet(runs)

    def train_fleet(self, fleet: Any, keep: str) -> Together:
        from gdcli.engine.loop import Loop

        *blocks, outcome = Loop(fleet, keep=keep).events()
        return Together(blocks, outcome)

    def chunk(self, spec: Loaded) -> int:
        from gdcli.engine.grouping import chunk_of

        return chunk_of(spec)

    def start_values(self, spec: Loaded) -> list[Any]:
        import torch

        from gdcli.engine.start_values import start_values

        return list(start_values(spec, torch.float32)[0].values())

    def grid_losses(self, spec: Loaded, along: Any) -> Floats:
        from gdcli.commands import loss_grid

        return loss_grid.evaluate(spec, along).loss


@cache
def layout() -> _Layout:
    """Return the layout of the gdcli that this process imports."""
    return _New() if find_spec("gdcli.engine.loop") else _Old()


def _followed(events: Iterable[Any], turn: Turn) -> Single:
    """Keep the blocks of steps of a run as they come."""
    from gdcli.records import StepBlock

    blocks = []
    for event in events:
        if isinstance(event, StepBlock):
            blocks.append(event)
            turn(len(event.step))
    kept = sum(0 if block.gradients is None else len(block.gradients) for block in blocks)
    return Single(kept, _weights(event))


def _weights(outcome: Any) -> dict[str, Floats]:
    return {parameter.name: parameter.values for parameter in outcome.parameters}


# --- specs ------------------------------------------------------------------------------------------------------------


def loaded(text: str, base: Path) -> Loaded:
    """Return a spec with its data."""
    from gdcli.spec import document

    return _load(_parse(document.read(text, "bench.yaml")), base)


def many(text: str, changes: list[dict[str, Any]], base: Path) -> list[Loaded]:
    """Return a spec for each set of changes, by dotted path."""
    from gdcli.spec import document

    node = document.read(text, "bench.yaml")
    specs = layout().specs(node, _load(_parse(node), base), _parse, lambda spec: _load(spec, base))
    return [specs.at(tuple(change.items())) for change in changes]


def _parse(node: Any, **how: Any) -> Any:
    from gdcli.spec import schema

    return schema.parse(node, "bench", **how)


def _load(spec: Any, base: Path) -> Loaded:
    from gdcli.spec.load import load

    return load(spec, base)


# --- runs -------------------------------------------------------------------------------------------------------------


def train(spec: Loaded, turn: Turn = no_turn) -> Single:
    """Build and train one run; every gradient of every step that the spec keeps stays in memory."""
    return layout().train(spec, turn)


def steps(spec: Loaded) -> Callable[[], object]:
    """Build one run, and return what makes its steps with all that is kept of them, without the last evaluation."""
    return layout().steps(spec)


def whole_run(spec: Loaded, root: str, turn: Turn = no_turn) -> tuple[Single, Path]:
    """Train with text and CSV files written, below ``root``, and the text printed to nowhere; return the folder too."""
    folder = Path(tempfile.mkdtemp(dir=root))
    return layout().run(spec, folder, turn), folder


def recording_loop(spec: Loaded, root: str) -> Callable[[], int]:
    """Return what trains a run, whose model is made, and writes its files below ``root``; it returns the steps.

    The loop is the one of `gdcli run`, its files' ends and their way to the disk counted, without evaluations of all
    rows.
    """
    return _New().recording_loop(spec, Path(tempfile.mkdtemp(dir=root)))


def build_fleet(runs: Sequence[Loaded]) -> Any:
    """Make the tensors of runs that train together."""
    return layout().build_fleet(runs)


def train_fleet(fleet: Any, keep: str = "values") -> Together:
    """Train a fleet once; what is kept of the gradients of every step stays in memory until the end."""
    return layout().train_fleet(fleet, keep)


def chunk(spec: Loaded) -> int:
    """Return how many runs of a kind a sweep trains at once."""
    return layout().chunk(spec)


def start_values(spec: Loaded) -> list[Any]:
    """Return the tensors that training starts from, in float32."""
    return layout().start_values(spec)


def orders(seed: int, samples: int, epochs: int) -> list[Any]:
    """Return the order of the rows in each epoch."""
    from gdcli.zoo.data import generator

    drawn = generator(seed, "shuffle")
    return [drawn.permutation(samples) for _ in range(epochs)]


# --- grids ------------------------------------------------------------------------------------------------------------


def axes(spec: Loaded, grid: str) -> Any:
    """Return what a grid such as ``w=linspace(0,4,9)`` goes along."""
    from gdcli import plan

    return plan.axes(spec, [grid])


def points(along: Any) -> Floats:
    """Return the points [R, k] of a grid."""
    from gdcli import plan

    return plan.grid_points(along)


def grid_losses(spec: Loaded, along: Any) -> Floats:
    """Return the loss [R] at each point of a grid, without training."""
    return layout().grid_losses(spec, along)


# --- single steps -----------------------------------------------------------------------------------------------------


class Steps:
    """Steps of one problem, one at a time, without what the loop does once a block: 0.2's layout alone."""

    def __init__(self, runs: Sequence[Loaded]) -> None:
        from gdcli.engine.param_groups import LrSchedules
        from gdcli.engine.problem import build, build_fleet

        self.problem = build_fleet(runs) if len(runs) > 1 else build(runs[0])
        self.updates = LrSchedules(self.problem.updates).at(1)
        self.rows: list[Any] = []

    @property
    def values(self) -> Any:
        """All parameters of all runs, the tensor itself."""
        return self.problem.theta.values

    @property
    def tables(self) -> tuple[Any, Any]:
        """The rows that are trained on."""
        return self.problem.batches.x, self.problem.batches.y

    def draw(self, count: int) -> None:
        """Have the rows of so many steps ready, as a loop has them at hand from its epoch's order."""
        while len(self.rows) < count:
            self.rows += self.problem.batches.epoch()

    def make(self, t: int) -> Any:
        """Make step t, from 1, of those that are drawn; return what the loss is made of."""
        from gdcli.engine.loop import training_step

        return training_step(self.problem, self.rows[(t - 1) % len(self.rows)], self.updates, t)[0]
