"""Whole commands of other programs, in turn with gdcli's. BENCH_PYTHON names an interpreter that has them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from pairs import HERE, Pairs, Row, Skipped
from processes import printed, seconds_of, sweep_command

PYTHON = os.environ.get("BENCH_PYTHON", sys.executable)
RATES = "lr=" + ",".join(repr(0.01 * 200 ** (k / 99)) for k in range(100))


def programs(folder: str) -> dict[str, tuple[str, list[str]]]:
    """Return by name what has to be installed, and the command."""
    scripts = HERE / "others"
    multirun = [str(scripts / "hydra_multirun.py"), "--multirun", RATES, f"hydra.sweep.dir={folder}/hydra"]
    joblib = [*multirun, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    return {
        "a pool of 2 processes": ("torch", [str(scripts / "process_pool.py")]),
        "Optuna, GridSampler": ("optuna", [str(scripts / "optuna_grid.py")]),
        "Hydra, --multirun": ("hydra", multirun),
        "Hydra, --multirun with joblib, 2 jobs": ("hydra_plugins.hydra_joblib_launcher", joblib),
        "Dask, 2 processes": ("distributed", [str(scripts / "dask_cluster.py")]),
    }


def others(repetitions: int, steps: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        ours = sweep_command(100, folder)
        printed(ours)
        for name, (module, command) in programs(folder).items():
            what = f"gdcli sweep of 100 lr x 100 epochs with files, process, to {name}"
            if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode:
                yield Skipped(what, f"{module.rpartition('.')[2]} is not installed")
                continue
            pairs = Pairs(what, None)
            assert len(printed([PYTHON, *command]).splitlines()) >= 100
            for _ in range(max(1, repetitions // 2 + 1)):
                pairs.add(seconds_of(ours), seconds_of([PYTHON, *command]))
            yield pairs
