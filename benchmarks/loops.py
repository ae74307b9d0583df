"""One run at a time: loops in this process, in turn with the loop one would write by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import engine
from pairs import PROCESSOR, Pairs, Row
from specs import RULES, SMALL, loaded

if TYPE_CHECKING:
    from engine import Loaded

WARM_UP = 300

Slice = Callable[[int], None]  # takes so many steps
Slices = Callable[[Slice], engine.Single]  # takes all its steps, calling back after each block with its length


def in_turn(ours: Slices, plain: Slice, again: Slice, pairs: Pairs) -> engine.Single:
    """Add seconds per step, block by block; ``ours`` calls its argument after each, then the other side follows, twice.

    What comes before the first block counts to the first, what comes after the last to the last.
    """
    now = PROCESSOR.now
    begun, last = now(), 1

    def turn(steps: int) -> None:
        nonlocal begun, last
        last = steps
        half = now()
        plain(steps)
        end = now()
        again(steps)
        pairs.add((half - begun) / steps, (end - half) / steps, (now() - end) / steps)
        begun = now()

    found = ours(turn)
    pairs.ours[-1] += (now() - begun) / last
    return found


def engine_alone(spec: Loaded) -> Slices:
    """Build and train; every gradient of every step stays in memory."""
    return partial(engine.train, spec)


def whole_run(spec: Loaded, root: str) -> Slices:
    """Train with text and CSV files written and the text printed to nowhere."""

    def run(turn: Slice) -> engine.Single:
        found, folder = engine.whole_run(spec, root, turn)
        with (folder / "gradients.csv").open() as stream:
            assert sum(1 for _ in stream) - 1 == found.steps
        return found

    return run


def small_pairs(steps: int, pairs: Pairs, rule: str, make: Callable[[int], Slices]) -> Pairs:
    """Fill the pairs from one run of each side, after a short one that warms up; both must end at the same bits."""
    from plain_loops import Small

    for count in (WARM_UP, steps):
        del pairs.ours[:], pairs.plain[:], pairs.again[:]
        other = Small(rule)
        found = in_turn(make(count), other.train, Small(rule).train, pairs)
        state = other.model.state_dict()
        assert found.steps == count
        assert all((state[name].numpy() == values).all() for name, values in found.weights.items()), "other weights"
    return pairs


def engines(repetitions: int, steps: int) -> Iterator[Row]:
    for way, bars in (("by_hand", (0.2, 0.2, 0.25)), ("autograd", (0.5, 0.5, 0.5))):
        for (rule, settings), bar in zip(RULES.items(), bars, strict=True):

            def make(count: int, settings: str = settings, way: str = way) -> Slices:
                return engine_alone(loaded(SMALL % (settings, count, way)))

            pairs = Pairs(f"engine, 2-2-2, {rule}, {way}, all gradients kept", bar, PROCESSOR)
            yield small_pairs(steps, pairs, rule, make)


def whole(repetitions: int, steps: int) -> Iterator[Row]:
    pairs = Pairs("whole run, 2-2-2, sgd, text and CSV written", 0.45, PROCESSOR)
    with tempfile.TemporaryDirectory() as root:

        def make(count: int) -> Slices:
            return whole_run(loaded(SMALL % (RULES["sgd"], count, "auto")), root)

        yield small_pairs(steps, pairs, "sgd", make)
