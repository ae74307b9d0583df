"""One run carried out as `gdcli run` does, in a folder of its own."""

from __future__ import annotations

from gdcli.engine.loop import Interrupt
from gdcli.errors import MachineError
from gdcli.records import Result, StepBlock
from gdcli.runner import record_run
from gdcli.runner.collect import Collector, result_of, save_partial
from gdcli.runner.jobs import CALL, Advance, Capture, Layout, Run, failed_run, recorded
from gdcli.runner.record_run import Callbacks, Finished


def run_single(run: Run, place: Layout, wish: Capture, interrupt: Interrupt, advance: Advance | None) -> Result:
    """Run as `run` does, in a folder of its own."""
    epochs = max(1, run.loaded.spec.settings.epochs)
    kept = Collector(wish, run.loaded)

    def block(block: StepBlock) -> None:
        kept.block(block)
        if advance is not None:
            advance(float(block.epoch[-1]) / epochs)

    watch = Callbacks(block=block, columns=frozenset(kept.columns))
    found: list[Result] = []

    def ended(finished: Finished) -> None:
        name = "single" if built.kernel_name == "by_hand" else built.kernel_name
        found.append(result_of(run, finished, kept, name))
        save_partial(place, found)

    try:
        built = record_run.prepared(run.loaded)
        record = recorded(place.of(run), *record_run.head(built, place.origin), again=not kept.columns)
        record_run.run(built, record, watch=watch, interrupt=interrupt, plot=False, ended=ended)
    except MachineError:
        raise
    except CALL as error:
        return failed_run(run, error)
    return found[0]
