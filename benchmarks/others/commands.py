"""Whole sweeps of other programs, in turn with gdcli's. BENCH_PYTHON names an interpreter that has them."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from math import isclose
from pathlib import Path

import specs
from measured import Memory, TooLongError, cost_of
from pairs import HERE, Pairs, Row, Skipped
from processes import GDCLI, printed

PYTHON = os.environ.get("BENCH_PYTHON", sys.executable)
SCRIPTS = HERE / "others"
MOST = 300.0  # seconds that one command of another program may take
SWEEPS: Mapping[str, tuple[str, int]] = {
    "rates": ("1,000 lr of 2-2-2 x 100 epochs", 1000),
    "digits": ("8 lr x 8 seeds of 64-64-10 on digits x 20 epochs", 64),
}
FASTEST = 1 / 3  # of the sweep of 1,000 learning rates, to the fastest of the others


def ours(sweep: str, folder: Path) -> list[str]:
    """Return gdcli's command, which writes its record into the folder."""
    end = ["--no-plot", "--output", str(folder / "gdcli")]
    if sweep == "rates":
        return [GDCLI, "sweep", "backprop_2x2", "--param", "lr=geomspace(0.01,2,1000)", "epochs=100", *end]
    spec = folder / "digits.yaml"
    spec.write_text(specs.DIGITS % 1, encoding="utf-8")
    axes = ("lr=geomspace(0.0003,0.03,8)", "seed=range(0,8)")
    return [GDCLI, "sweep", str(spec), "--param", axes[0], "--param", axes[1], *end]


def programs(sweep: str, folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Return by name what has to be installed, and the command."""
    sys.path.insert(0, str(SCRIPTS))
    from task import SWEEPS as AXES

    given = [f"{name}={','.join(map(repr, values))}" for name, values in AXES[sweep][1].items()]
    multirun = [str(SCRIPTS / "hydra_multirun.py"), "--multirun", f"sweep={sweep}", *given]
    multirun.append(f"hydra.sweep.dir={folder}/hydra")
    joblib = [*multirun, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    return {
        "plain loops in one process": ("torch", [str(SCRIPTS / "in_turn.py"), sweep]),
        "a pool of 2 processes": ("torch", [str(SCRIPTS / "process_pool.py"), sweep]),
        "joblib's loky, 2 jobs": ("joblib", [str(SCRIPTS / "joblib_loky.py"), sweep]),
        "Dask, 2 processes": ("distributed", [str(SCRIPTS / "dask_cluster.py"), sweep]),
        "Optuna, GridSampler, one process": ("optuna", [str(SCRIPTS / "optuna_grid.py"), sweep]),
        "Hydra, --multirun, one process": ("hydra", multirun),
        "Hydra, --multirun with joblib, 2 jobs": ("hydra_plugins.hydra_joblib_launcher", joblib),
        "Ray Tune, 2 cores": ("ray.tune", [str(SCRIPTS / "ray_tune.py"), sweep]),
    }


def others(repetitions: int, steps: int) -> Iterator[Row | Memory]:
    for sweep, (what, count) in SWEEPS.items():
        with tempfile.TemporaryDirectory() as folder:
            yield from beside_others(sweep, what, count, Path(folder), 3 if repetitions > 2 else 1)


def require_same(sweep: str, folder: Path, count: int) -> None:
    """See that gdcli has a row for each run, and for the 2-2-2 nets the losses of the plain loops."""
    (table,) = folder.glob("gdcli/*/*/results.csv")
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == count
    if sweep == "rates":
        shown = printed([PYTHON, str(SCRIPTS / "in_turn.py"), sweep, "20"]).decode().splitlines()
        for row, line in zip(rows, shown, strict=False):
            lr, loss = map(float, line.split())
            assert isclose(float(row["lr"]), lr, rel_tol=1e-9)
            assert isclose(float(row["final_loss"]), loss, rel_tol=1e-4)


def beside_others(sweep: str, what: str, count: int, folder: Path, pairs: int) -> Iterator[Row | Memory]:
    """Yield wall time beside each program that is there, memory of all processes, and the fastest of them."""
    command = ours(sweep, folder)
    printed(command)
    require_same(sweep, folder, count)
    found: list[Pairs] = []
    memory: dict[str, float] = {}
    for name, (module, script) in programs(sweep, folder).items():
        label = f"gdcli sweep of {what} with files, process, to {name}"
        if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode:
            yield Skipped(label, f"{module.rpartition('.')[2]} is not installed")
            continue
        timed = Pairs(label, None)
        try:
            for _ in range(pairs):
                mine, other = cost_of(command, memory=True), cost_of([PYTHON, *script], memory=True, most=MOST)
                timed.add(mine.wall, other.wall)
                memory["gdcli"] = max(memory.get("gdcli", 0.0), mine.memory)
                memory[name] = max(memory.get(name, 0.0), other.memory)
                if other.wall > MOST / 10:
                    break  # one such pair says enough
        except TooLongError:
            yield Skipped(label, f"it was stopped after {MOST:.0f} s, where gdcli takes {mine.wall:.1f} s")
            continue
        yield timed
        found.append(timed)
    if sweep == "rates" and found:
        fastest = min(found, key=lambda pairs: sum(pairs.plain) / len(pairs.plain))
        yield Pairs(
            fastest.what.replace(", to ", ", to the fastest, "), FASTEST, ours=fastest.ours, plain=fastest.plain
        )
    for name, most in memory.items():
        yield Memory(f"{what}, {name}", most)
