"""Runs put into shards, and a shard carried out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gdcli.engine.grouping import chunk_of, structure, why_alone
from gdcli.engine.loop import Interrupt
from gdcli.errors import MachineError
from gdcli.records import Result, StepBlock
from gdcli.report.styles import STYLES
from gdcli.runner import provenance, record_run
from gdcli.runner.collect import Collector, save_partial
from gdcli.runner.jobs import CALL, Advance, Capture, Layout, PlannedRun, Shard, clear, failed_run, recorded
from gdcli.runner.record_run import Callbacks, Finished
from gdcli.runner.run_fleet import run_fleet


def shards_of(
    runs: Sequence[PlannedRun],
    *,
    fleets: bool,
    workers: int = 1,
    folders: bool = True,
    begun: Sequence[tuple[int, ...]] = (),
) -> list[Shard]:
    """Return runs as shards: those of one structure together, in chunks that stay in cache and feed all workers.

    The chunks do not change a run's bits. Fleets that have ``begun``, by their runs' numbers, stay as they are.
    """
    together: dict[Any, list[PlannedRun]] = {}
    found = []
    for run in runs:
        if not fleets or why_alone(run.loaded) or (folders and "sample" in STYLES[run.loaded.spec.style].columns):
            found.append(Shard((run,), together=False))
        else:
            together.setdefault(structure(run.loaded), []).append(run)
    for members in together.values():
        members = _without(members, begun, found)
        if not members:
            continue
        size = min(chunk_of(members[0].loaded), -(-len(members) // workers))
        chunks = [tuple(members[k : k + size]) for k in range(0, len(members), size)]
        found += [Shard(chunk, together=True) for chunk in chunks]
    return sorted(found, key=lambda shard: shard.runs[0].number)


def _without(members: list[PlannedRun], begun: Sequence[tuple[int, ...]], found: list[Shard]) -> list[PlannedRun]:
    """Move the members of fleets that have begun, all of which are there, to shards; return the others."""
    by_number = {run.number: run for run in members}
    for numbers in filter(None, begun):
        if by_number.keys() >= set(numbers):
            fleet = tuple(by_number.pop(number) for number in numbers)
            found.append(Shard(fleet, together=True))
    return [*by_number.values()]


def run_single(
    run: PlannedRun, layout: Layout, capture: Capture, interrupt: Interrupt, advance: Advance | None = None
) -> Result:
    """Run as `run` does, in a folder of its own."""
    epochs = max(1, run.loaded.spec.settings.epochs)
    collector = Collector(capture, run.loaded)

    def block(block: StepBlock) -> None:
        collector.block(block)
        if advance is not None:
            advance(float(block.epoch[-1]) / epochs)

    def ended(finished: Finished) -> None:
        kernel = "single" if built.kernel_name == "by_hand" else built.kernel_name
        results.append(collector.result(run, finished, kernel))
        save_partial(layout, results)

    callbacks, results = Callbacks(block=block, columns=frozenset(collector.columns)), list[Result]()
    try:
        built = provenance.prepared(run.loaded)
        head = provenance.head(built, layout.origin)
        record = recorded(layout.of(run), *head, again=not collector.columns)
        record_run.run(built, record, callbacks=callbacks, interrupt=interrupt, plot=False, ended=ended)
    except MachineError:
        raise
    except CALL as error:
        return failed_run(run, error)
    return results[0]


def run_shard(
    shard: Shard, layout: Layout, capture: Capture, interrupt: Interrupt, advance: Advance | None = None
) -> Iterator[Result]:
    """Carry out a shard and yield the results; a run that fails does not stop the others.

    Runs of a fleet that cannot be made, or that raises, are tried one by one: only the bad one fails.
    """
    if shard.together:
        try:
            yield from run_fleet(shard.runs, layout, capture, interrupt, advance)
            return
        except MachineError:
            raise
        except CALL as error:
            if len(shard.runs) == 1:
                yield failed_run(shard.runs[0], error)
                return
            for run in shard.runs:
                clear(layout.of(run))
    for run in shard.runs:
        if interrupt.requested:
            return
        if shard.together:
            yield from run_shard(Shard((run,), together=True), layout, capture, interrupt)
        else:
            yield run_single(run, layout, capture, interrupt, advance)
