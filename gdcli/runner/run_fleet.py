"""Runs of one structure, trained as one fleet, with a checkpoint of all of them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gdcli.engine import checkpoint_state
from gdcli.engine.loop import Interrupt, Loop
from gdcli.engine.problem import build, build_fleet
from gdcli.errors import MachineError
from gdcli.records import Outcomes, Result, State
from gdcli.runner.collect import save_partial
from gdcli.runner.jobs import Advance, Capture, Layout, Run, Shard
from gdcli.runner.record_fleet import Members
from gdcli.runner.record_run import Timing
from gdcli.storage.checkpoints import Checkpoints, SavedState
from gdcli.storage.files import json_file

PREFIX = "fleet-"

_BUILDING = threading.Lock()  # start values are drawn from torch's one global generator


def run_fleet(
    runs: Sequence[Run], place: Layout, wish: Capture, interrupt: Interrupt, advance: Advance | None
) -> Iterator[Result]:
    """Train runs of one structure as one fleet, from its last checkpoint where there is one."""
    timing = Timing()
    with _BUILDING:
        fleet = build_fleet([run.loaded for run in runs])
        members = Members(fleet, runs, place, wish)
    loop = Loop(fleet, members.columns, members.keep, interrupt)
    saved = _Saved(loop, members)
    members.open(saved.begin())
    outcome: Outcomes | None = None
    try:
        with timing.phase("train"):
            for event in loop.events():
                if isinstance(event, Outcomes):
                    outcome = event
                    continue
                members.block(event)
                saved.after_block()
                if advance is not None:
                    advance(float(event.epoch[-1]) / loop.spec.settings.epochs)
    except BaseException:
        for member in members.members:
            member.writer.close()
        raise
    assert outcome is not None
    timing.steps = int(outcome.steps.sum())
    found = members.results(outcome)
    if not saved.to_be_gone_on_with():
        save_partial(place, found)
    for member, result in zip(members.members, found, strict=False):
        member.end(timing)
        yield result
    yield from found[len(members.members) :]
    saved.end()


class _Saved:
    """The checkpoints of a fleet, in the folder of the results; none where paths are kept, which are of tiny models."""

    def __init__(self, loop: Loop, members: Members) -> None:
        self._loop, self._members, place = loop, members, members.place
        self._checkpoints: Checkpoints | None = None
        if place.partial_results is not None and not members.wish.path:
            key = json.dumps([[run.number, repr(run.point.changes)] for run in members.runs])
            name = PREFIX + hashlib.sha256(key.encode()).hexdigest()[:16]
            every = loop.spec.checkpoint.every_seconds
            logs = place.folder or place.partial_results.parent  # runs without folders have none
            self._checkpoints = Checkpoints(place.partial_results, key, every, name=name, logs=logs)

    def begin(self) -> SavedState | None:
        """Put the last state into the loop and return it; None to begin at the start."""
        if self._checkpoints is None:
            return None
        steps = self._loop.spec.settings.epochs * self._loop.per_epoch
        at_most = checkpoint_state.size(self._loop) + 8 * self._loop.runs * steps
        found = self._checkpoints.latest(at_most, self._fit, lambda text: None)
        if found is not None:
            checkpoint_state.restore(self._loop, _of_loop(found.state))
        return found

    def _fit(self, state: State) -> None:
        checkpoint_state.fits(self._loop, _of_loop(state))
        self._members.fit(state)

    def after_block(self) -> None:
        """Write a checkpoint if it is time, or if the fleet was interrupted."""
        if self._checkpoints is None or not (self._loop.interrupted or self._checkpoints.due()):
            return
        state = checkpoint_state.capture(self._loop)
        numbers, arrays, logs = self._members.state()
        self._checkpoints.write(replace(state, numbers=state.numbers | numbers, arrays=state.arrays | arrays), logs)

    def to_be_gone_on_with(self) -> bool:
        """Say whether runs that have ended are in the checkpoint of an interrupted fleet, which goes on with all."""
        return self._checkpoints is not None and self._loop.interrupted

    def end(self) -> None:
        """Take the checkpoints away, unless the fleet was interrupted."""
        if self._checkpoints is not None and not self._loop.interrupted:
            self._checkpoints.remove()


def _of_loop(state: State) -> State:
    arrays = {name: array for name, array in state.arrays.items() if not name.startswith("losses.")}
    return replace(state, arrays=arrays)


def begun(kept: Path | None) -> list[tuple[int, ...]]:
    """Return the numbers of the runs of each fleet that has a checkpoint."""
    found = []
    for path in sorted(kept.glob(f"{PREFIX}*.json")) if kept is not None else []:
        try:
            numbers = (json_file(path) or {}).get("runs")
        except MachineError:
            continue
        if isinstance(numbers, list) and all(type(number) is int for number in numbers):
            found.append(tuple(numbers))
    return found


def matches_single(shard: Shard) -> bool:
    """Say whether the first gradient of a fleet's first run has the bits of `run`: the self-test of written-out layers.

    The products of a tiny layer are made by torch as a product and a sum on most processors, and by a fused operation
    on others; then fleets agree among themselves, and with `run` to rounding.
    """
    loaded = shard.runs[0].loaded
    fleet, single = build_fleet([loaded]), build(loaded)
    rows, alone = next(iter(fleet.batches.epoch())), next(iter(single.batches.epoch()))
    fleet.kernel.step(rows.x, rows.y)
    single.kernel.step(alone.x, alone.y)
    columns = single.theta.columns
    ours = fleet.theta.gradient[0].cpu().numpy()[fleet.theta.columns]
    return bool(ours.tobytes() == single.theta.gradient[0].cpu().numpy()[columns].tobytes())
