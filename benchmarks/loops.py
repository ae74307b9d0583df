"""One run at a time: loops in this process, in turn with the loop one would write by hand."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairs import Pairs, Row
from specs import MLP, RULES, SMALL, loaded

if TYPE_CHECKING:
    from gdcli.spec.load import Loaded

WARM_UP = 300

Slice = Callable[[int], None]  # takes so many steps
Slices = Callable[[Slice], None]  # takes all its steps, calling back after each block with its length
Found = dict[str, Any]


def in_turn(ours: Callable[[Slice], None], plain: Slice, pairs: Pairs) -> None:
    """Add seconds per step, block by block; ``ours`` calls its argument after each, then the other side follows.

    What comes before the first block counts to the first, what comes after the last to the last.
    """
    begun, last = time.perf_counter(), 1

    def turn(steps: int) -> None:
        nonlocal begun, last
        last = steps
        half = time.perf_counter()
        plain(steps)
        end = time.perf_counter()
        pairs.add((half - begun) / steps, (end - half) / steps)
        begun = time.perf_counter()

    ours(turn)
    pairs.ours[-1] += (time.perf_counter() - begun) / last


def engine_alone(spec: Loaded) -> tuple[Found, Slices]:
    """Build and train; every gradient of every step stays in memory."""
    from gdcli.engine.loop import train
    from gdcli.engine.problem import build
    from gdcli.records import StepBlock

    found: Found = {}

    def run(turn: Slice) -> None:
        blocks = []
        for event in train(build(spec)):
            if isinstance(event, StepBlock):
                blocks.append(event)
                turn(len(event.step))
        found["steps"] = sum(len(block.gradients) for block in blocks)
        found["parameters"] = event.parameters

    return found, run


def whole_run(spec: Loaded, root: str) -> tuple[Found, Slices]:
    """Train with text and CSV files written and the text printed to nowhere."""
    from gdcli.runner import record_run
    from gdcli.storage import files

    found: Found = {}

    def run(turn: Slice) -> None:
        folder = Path(tempfile.mkdtemp(dir=root))
        built = record_run.prepared(spec)
        config, first = record_run.head(built, record_run.Provenance(b"", ()))
        for name, content in first.items():
            files.write(folder / name, content)
        with open(os.devnull, "w", encoding="utf-8") as sink:  # noqa: PTH123
            watch = record_run.Callbacks(text=sink.write, block=lambda block: turn(len(block.step)))
            finished = record_run.run(built, record_run.RecordFolder(folder, config), watch=watch, plot=False)
        with (folder / "gradients.csv").open() as stream:
            found["steps"] = sum(1 for _ in stream) - 1
        found["parameters"] = finished.outcome.parameters

    return found, run


def small_pairs(steps: int, pairs: Pairs, rule: str, make: Callable[[int], tuple[Found, Slices]]) -> Pairs:
    """Fill the pairs from one run of each side, after a short one that warms up; both must end at the same bits."""
    from plain_loops import Small

    for count in (WARM_UP, steps):
        del pairs.ours[:], pairs.plain[:]
        other = Small(rule)
        found, ours = make(count)
        in_turn(ours, other.train, pairs)
        state = other.model.state_dict()
        assert found["steps"] == count
        assert all((state[each.name].numpy() == each.values).all() for each in found["parameters"]), "other weights"
    return pairs


def engines(repetitions: int, steps: int) -> Iterator[Row]:
    for engine, bars in (("by_hand", (0.2, 0.2, 0.25)), ("autograd", (0.5, 0.5, 0.5))):
        for (rule, settings), bar in zip(RULES.items(), bars, strict=True):

            def make(count: int, settings: str = settings, engine: str = engine) -> tuple[Found, Slices]:
                return engine_alone(loaded(SMALL % (settings, count, engine)))

            pairs = Pairs(f"engine, 2-2-2, {rule}, {engine}, all gradients kept", bar)
            yield small_pairs(steps, pairs, rule, make)


def whole(repetitions: int, steps: int) -> Iterator[Row]:
    pairs = Pairs("whole run, 2-2-2, sgd, text and CSV written", 0.45)
    with tempfile.TemporaryDirectory() as root:

        def make(count: int) -> tuple[Found, Slices]:
            return whole_run(loaded(SMALL % (RULES["sgd"], count, "auto")), root)

        yield small_pairs(steps, pairs, "sgd", make)


def mlps(repetitions: int, steps: int) -> Iterator[Row]:
    from plain_loops import mlp_epoch

    from gdcli.engine.loop import train
    from gdcli.engine.problem import build

    spec = loaded(MLP)
    table = spec.training
    pairs = Pairs("engine, mlp 784-256-10, batch 64, norms every step", 0.8, informative=True)
    for repetition in range(3 * repetitions + 1):
        begun = time.perf_counter()
        *_, _ = train(build(spec))
        ours = time.perf_counter() - begun
        begun = time.perf_counter()
        mlp_epoch(table.x, table.y)
        if repetition:
            pairs.add(ours, time.perf_counter() - begun)
    yield pairs
