"""Many runs trained together, in turn with the same runs one after the other."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import engine
import numpy as np
import specs
from pairs import HERE, PROCESSOR, Figure, Pairs, Row, Skipped, seconds
from processes import printed

if TYPE_CHECKING:
    from engine import Loaded

RATES = np.geomspace(0.01, 2, 100)
EPOCHS = 100
NAMES = "100 lr x 2-2-2 x 100 epochs"


def built_and_trained(runs: list[Loaded]) -> tuple[float, float]:
    """Return the seconds of the training, and with those of the tensors' making."""
    fleets: list[Any] = []
    building = seconds(lambda: fleets.append(engine.build_fleet(runs)), PROCESSOR)
    training = seconds(partial(engine.train_fleet, fleets[0]), PROCESSOR)
    return training, building + training


def median_of(count: int, runs: list[Loaded]) -> tuple[float, float]:
    """Return the medians of several: one alone is short beside the other side's."""
    trained, both = zip(*(built_and_trained(runs) for _ in range(count)), strict=True)
    return median(trained), median(both)


# --- 100 learning rates of the 2-2-2 net ------------------------------------------------------------------------------


def rates(repetitions: int, steps: int) -> Iterator[Row]:
    from plain_loops import small_sweep

    for rule in specs.RULES:
        runs = specs.small(rule, RATES.tolist(), EPOCHS)
        found = engine.train_fleet(engine.build_fleet(runs))
        close = 1e-5 if rule == "sgd" else 1e-3  # rounding grows where a rule overshoots
        plain = np.array(small_sweep(rule, RATES.tolist(), EPOCHS))
        np.testing.assert_allclose(found.last, plain, rtol=close, atol=1e-9)
        alone = Pairs(f"{NAMES}, {rule}, to torch.optim in turn", 1 / 300, PROCESSOR)
        whole = Pairs(f"{NAMES}, {rule}, its tensors' making included", None, PROCESSOR)
        for _ in range(repetitions if rule == "sgd" else 2):
            trained, both = median_of(5, runs)
            other = seconds(partial(small_sweep, rule, RATES.tolist(), EPOCHS), PROCESSOR)
            alone.add(trained, other)
            whole.add(both, other)
        yield alone
        yield whole


def in_c(folder: str) -> Callable[[], np.ndarray]:
    """Compile the loop in C; return what runs it and gives its losses. Its memory is there, and touched, before."""
    library = Path(folder) / "fleet.so"
    source = HERE / "fleet_2x2.c"
    subprocess.run(["cc", "-O3", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"], check=True)
    function = ctypes.CDLL(str(library)).train
    start = np.array([0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60], np.float32)
    shapes = (len(RATES), EPOCHS, 10), (len(RATES), EPOCHS), (len(RATES), 10)
    gradients, losses, end = (np.full(shape, np.nan, np.float32) for shape in shapes)
    arrays = RATES.astype(np.float32), start, gradients, losses, end
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]

    def run() -> np.ndarray:
        assert arrays  # what the pointers point at
        function(len(RATES), EPOCHS, *pointers)
        return losses

    return run


def against_c(repetitions: int, steps: int) -> Iterator[Row]:
    pairs = Pairs(f"{NAMES}, sgd, to the loop in C with cc -O3", 5, PROCESSOR)
    if shutil.which("cc") is None:
        yield Skipped(pairs.what, "there is no compiler cc")
        return
    runs = specs.small("sgd", RATES.tolist(), EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        plain = in_c(folder)
        losses = engine.train_fleet(engine.build_fleet(runs)).losses
        np.testing.assert_allclose(losses.T, plain(), rtol=1e-5)
        for _ in range(10 * repetitions):
            pairs.add(built_and_trained(runs)[0], seconds(plain, PROCESSOR), seconds(plain, PROCESSOR))
    yield pairs


# --- 64 perceptrons on the digits -------------------------------------------------------------------------------------

DIGIT_RATES = np.geomspace(0.0003, 0.03, 8).tolist()
SEEDS = range(8)
DIGIT_EPOCHS = 20


def digits(repetitions: int, steps: int) -> Iterator[Row]:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        yield Skipped("64 perceptrons on the digits", "scikit-learn is not installed")
        return
    for threads in (2, 1):
        yield from digits_on(threads, max(2, repetitions // 2 + 1))


def digits_on(threads: int, repetitions: int) -> Iterator[Row]:
    import torch
    from plain_loops import Digits

    changes = [{"optimizer.lr": lr, "seed": seed} for seed in SEEDS for lr in DIGIT_RATES]
    runs = specs.many(specs.DIGITS % 1, changes)  # a thread each; it is the parts that share the cores
    table = runs[0].training
    assert table is not None
    plain = Digits(table.x, table.y)
    alike(runs, plain)
    label = f"8 lr x 8 seeds, 64-64-10 on digits, 20 epochs, {threads} threads, to plain loops (8 timed, x 8)"
    kept, bare = Pairs(label, 1 / 8 if threads == 2 else None), Pairs(f"{label}, no norms kept", None)
    for _ in range(repetitions):
        ours, without = side_by_side(runs, threads, "norms"), side_by_side(runs, threads, "none")
        torch.set_num_threads(threads)
        other = 8 * seconds(lambda: [plain.train(lr, 0, DIGIT_EPOCHS) for lr in DIGIT_RATES])
        kept.add(ours, other)
        bare.add(without, other)
    yield kept
    yield bare


def side_by_side(runs: list[Loaded], lanes: int, keep: Any) -> float:
    """Return the seconds of a heavy fleet in parts, a thread each, as sweeps and comparisons have it on so many cores.

    Such models keep the norm of each parameter's gradient of every step, as `run` does beyond 1,000 scalars.
    """
    import torch

    def trained() -> None:
        parts = [engine.build_fleet(runs[k::lanes]) for k in range(lanes)]
        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(partial(engine.train_fleet, keep=keep), parts))

    torch.set_num_threads(1)
    return seconds(trained)


def alike(runs: list[Loaded], plain: Any) -> None:
    """See that both sides compute the same, from the same start and with the same orders."""
    import torch

    outcome = engine.train_fleet(engine.build_fleet(runs), "none")
    for k in (0, 19, 60):
        seed = runs[k].spec.settings.seed
        start = torch.cat([value.flatten() for value in engine.start_values(runs[k])])
        orders = engine.orders(seed, len(plain.x), DIGIT_EPOCHS)
        found = plain.train(DIGIT_RATES[k % 8], seed, DIGIT_EPOCHS, orders, start)
        np.testing.assert_allclose(outcome.last[k], found, rtol=1e-2)


# --- 1,000 to 100,000 runs --------------------------------------------------------------------------------------------


def many(repetitions: int, steps: int) -> Iterator[Row]:
    command = [sys.executable, str(HERE / "peak.py"), sys.executable, str(HERE / "many_runs.py"), str(repetitions)]
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times"
        peak = float(printed([*command, str(times)]).split()[1])
        costs = [[float(word) for word in line.split()] for line in times.read_text().splitlines()]
    for column, count in ((1, 10_000), (2, 100_000)):
        pairs = Pairs(f"{count:,} runs of 2-2-2 x 20 epochs, cost per run, to that of 1,000", 1.3)
        for line in costs:
            pairs.add(line[column], line[0])
        yield pairs
    yield Figure("100,000 runs of 2-2-2 x 20 epochs, peak memory", peak, 2, "GiB")
