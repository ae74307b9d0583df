"""Measure gdcli on a GPU: gpu.py [--dry-run]. No bar applies; gpu.md gets the table.

* Synchronisation: how often a step of the loop makes the host wait for the device. Torch itself counts, in its mode
  that warns of every such operation.
* Data: whether the rows lie on the device, and how many bytes a step copies from the host, by torch's profiler.
* CUDA graphs: a step of fixed shapes captured once and replayed, beside the same step given out operation by operation,
  from the same start to the same parameters. sgd only: a rule that counts steps would count those of the capture.
* Fleets of 1,000 to 100,000 runs of the 2-2-2 net, with all gradients kept on the device until a block's end.

--dry-run does the same on the CPU with small numbers, leaves out what only a GPU has, and writes no table. Exit code 3
without a GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from pairs import HERE, markdown, of_time, text

if TYPE_CHECKING:
    from engine import Loaded

MOST_SECONDS = 300.0
HEADER = ("what", "figure", "beside", "")

NORMAL = """
name: bench_normal
data: {generate: {kind: blobs, n: %d, classes: 10, features: 784}}
model: {type: mlp, layers: [784, 256, 10], activation: relu}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.01}
epochs: 1
batch: {mode: mini-batch, size: 64%s}
device: %s
threads: 1
print: {style: tensor}
"""


@dataclass(frozen=True)
class Sizes:
    """How much is measured: of a GPU, or of a dry run."""

    device: str
    steps: int  # of a timing
    rows: int
    fleets: tuple[int, ...]
    epochs: int  # of a fleet


GPU = Sizes("cuda", 500, 6400, (1_000, 10_000, 100_000), 100)
DRY = Sizes("cpu", 5, 640, (10, 20), 5)

Cells = tuple[str, str, str, str]


def small(sizes: Sizes, count: int) -> list[Loaded]:
    """Return so many learning rates of the 2-2-2 net on the device."""
    import numpy as np
    import specs

    text = specs.SMALL.replace("threads: 1", f"threads: 1\ndevice: {sizes.device}")
    text %= (specs.RULES["sgd"], sizes.epochs, "auto")
    return specs.many(text, [{"optimizer.lr": rate} for rate in np.geomspace(0.01, 2, count).tolist()])


def wait(sizes: Sizes) -> None:
    """Wait for the device."""
    import torch

    if sizes.device == "cuda":
        torch.cuda.synchronize()


def seconds(sizes: Sizes, work: Callable[[], object], times: int = 5) -> float:
    """Return the median of the seconds that some work takes, the device's included."""
    found = []
    for _ in range(times):
        wait(sizes)
        begun = time.perf_counter()
        work()
        wait(sizes)
        found.append(time.perf_counter() - begun)
    return median(found)


def kinds(sizes: Sizes) -> Iterator[tuple[str, Sequence[Loaded]]]:
    """Yield what single steps are looked at of."""
    import specs

    yield "mlp 784-256-10, batch 64", [specs.loaded(NORMAL % (sizes.rows, ", shuffle: false", sizes.device))]
    yield f"fleet of {sizes.fleets[0]:,} 2-2-2", small(sizes, sizes.fleets[0])


# --- a step -----------------------------------------------------------------------------------------------------------


def waits(sizes: Sizes) -> Iterator[Cells]:
    """How often a step waits for the device, and what it copies to it."""
    import engine
    import torch

    for name, runs in kinds(sizes):
        steps = engine.Steps(runs)
        steps.draw(sizes.steps)
        steps.make(1)
        on_device = all(table.device.type == sizes.device for table in steps.tables)
        yield f"{name}: rows lie on the device", "yes" if on_device else "NO", "", ""
        if sizes.device != "cuda":
            yield f"{name}: synchronisations and copies a step", "not measured: no GPU", "", ""
            continue
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                for t in range(2, sizes.steps + 2):
                    steps.make(t)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        count = sum("synchroniz" in str(each.message) for each in found)
        yield f"{name}: synchronisations a step", f"{count / sizes.steps:g}", "", ""
        activity = torch.profiler.ProfilerActivity
        with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
            for t in range(2, 22):
                steps.make(t)
            wait(sizes)
        copies = sum("HtoD" in event.name for event in profile.events())
        yield f"{name}: copies from the host a step", f"{copies / 20:g}", "", ""


def graphs(sizes: Sizes) -> Iterator[Cells]:
    """A step given out operation by operation, and replayed from a CUDA graph."""
    import engine
    import torch

    for name, runs in kinds(sizes):
        steps = engine.Steps(runs)
        steps.draw(1)
        del steps.rows[1:]  # one batch: its place in memory is part of a graph
        start = steps.values.clone()

        def eagerly(steps: Any = steps) -> None:
            for t in range(1, sizes.steps + 1):
                steps.make(t)

        eager = seconds(sizes, eagerly) / sizes.steps
        if sizes.device != "cuda":
            yield f"{name}: a step", of_time(eager), "", "a CUDA graph: not measured: no GPU"
            continue
        steps.values.copy_(start)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # torch asks for steps on a stream aside before a capture
            for _ in range(3):
                steps.make(1)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                steps.make(1)
        except RuntimeError as error:
            yield f"{name}: a step", of_time(eager), "", f"no CUDA graph: {str(error).splitlines()[0][:80]}"
            torch.cuda.synchronize()
            continue

        def replayed(graph: Any = graph) -> None:
            for _ in range(sizes.steps):
                graph.replay()

        replay = seconds(sizes, replayed) / sizes.steps
        steps.values.copy_(start)
        for _ in range(10):
            graph.replay()
        found = steps.values.clone()
        steps.values.copy_(start)
        for t in range(1, 11):
            steps.make(t)
        same = (
            "same bits" if torch.equal(found, steps.values) else f"differ by {(found - steps.values).abs().max():.2g}"
        )
        yield f"{name}: a step, replayed from a CUDA graph", of_time(replay), of_time(eager), f"{same} after 10 steps"


# --- fleets -----------------------------------------------------------------------------------------------------------


def fleets(sizes: Sizes) -> Iterator[Cells]:
    """Fleets of the 2-2-2 net, all gradients kept, and on the processor beside them."""
    import engine
    import torch

    for count in sizes.fleets:
        runs = small(sizes, count)
        if sizes.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        fleet = engine.build_fleet(runs)
        taken = seconds(sizes, lambda fleet=fleet: engine.train_fleet(fleet, "none"), 1)
        beside, told = "", ""
        if sizes.device == "cuda":
            told = f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"
            if count <= 10_000:
                here = engine.build_fleet(small(Sizes("cpu", 0, 0, (), sizes.epochs), count))
                beside = of_time(seconds(sizes, lambda here=here: engine.train_fleet(here, "none"), 1) / count)
        yield f"{count:,} runs of 2-2-2 x {sizes.epochs} epochs, a run", of_time(taken / count), beside, told


PARTS = (waits, graphs, fleets)


def device_name(sizes: Sizes) -> str:
    import torch

    return torch.cuda.get_device_name() if sizes.device == "cuda" else "the processor, a dry run"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure gdcli on a GPU.")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU with small numbers, without a table's file")
    is_dry = parser.parse_args().dry_run
    import torch

    if not is_dry and not torch.cuda.is_available():
        print("there is no GPU that torch can use; --dry-run does without", file=sys.stderr)
        return 3
    sizes, begun, rows = DRY if is_dry else GPU, time.perf_counter(), []
    for part in PARTS:
        for row in part(sizes):
            rows.append(row)
            print(": ".join(filter(None, row)), file=sys.stderr, flush=True)
            if time.perf_counter() - begun > MOST_SECONDS:
                rows.append((f"stopped after {MOST_SECONDS:g} s, before the rest", "", "", ""))
                break
        else:
            continue
        break
    print(text(rows, HEADER), end="")
    if not is_dry:
        head = "# On a GPU\n\nWritten by benchmarks/gpu.py, which says how. 'beside' is a step given out operation by\n"
        head += "operation, or the processor of the same machine.\n\n"
        versions = f"{device_name(sizes)}, torch {torch.__version__}.\n\n"
        (HERE / "gpu.md").write_text(head + versions + markdown(rows, HEADER), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
