"""P1: the same spec gives the same bytes in every file, whatever the process, the folder and the environment."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from gdcli.cli import main
from gdcli.zoo.optimizers import OPTIMIZERS
from tests.promises.crashing import blocks, contents, emptied, record_in, start
from tests.timing import HANG
from tests.trials import mostly_slow, trials

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SPECS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(EXPERIMENTS.glob("*.yaml"))}
TRAINED = [name for name, spec in SPECS.items() if "optimizer" in spec]
RUN = [name for name in SPECS if name != "linear_sweep"]  # which has no optimizer, it is for `sweep`

ELSEWHERE = (
    {"TZ": "UTC", "LC_ALL": "C", "COLUMNS": "40", "PYTHONHASHSEED": "1"},
    {"TZ": "Asia/Kolkata", "LC_ALL": "C.UTF-8", "COLUMNS": "200", "PYTHONHASHSEED": "2"},
)

MANY: dict[str, tuple[str, ...]] = {
    "a surface": ("sweep", "rosenbrock_optimizers", "-p", "x=-1:1:0.5", "-p", "y=-1:1:0.5"),
    "a curve": ("sweep", "linear_sweep"),
    "a fleet": ("sweep", "backprop_2x2", "-p", "lr=linspace(0.1,1,9)", "epochs=20", "print.style=tensor"),
    "beyond folders": ("sweep", "himmelblau", "-p", "lr=geomspace(1e-4,1e-2,101)", "epochs=5"),
    "activations": ("sweep", "vanishing_gradient", "epochs=2"),
    "optimizers": ("compare", "optimizers_2x2", "epochs=20"),
    "batches": ("compare", "gd_variants", "epochs=3"),
    "averages": ("compare", "momentum_average", "epochs=20"),
    "paths": ("compare", "rosenbrock_optimizers", "epochs=50"),
    "tuned": (
        "compare", "mlp_digits", "epochs=1", "--tune", "2", "--seeds", "2", "--target", "2", "model.layers=[64,4,10]",
    ),
}  # fmt: skip


def tree(record: Path) -> dict[str, bytes]:
    """All files but those that name times and the machine: request.json, and pictures, are the same too."""
    files = (path for path in sorted(record.rglob("*")) if path.is_file())
    other = ("timing.json", "environment.json")
    return {str(path.relative_to(record)): path.read_bytes() for path in files if path.name not in other}


def short(name: str) -> tuple[str, ...]:
    """The command of a bundled spec, with fewer epochs where it has many."""
    epochs = SPECS[name].get("epochs", 1)
    return ("run", name, *(("epochs=2",) if epochs > 2 else ()))


def combinations() -> Iterator[tuple[str, ...]]:
    """Every bundled spec as it is and with each optimizer, in both types."""
    for name in RUN:
        for dtype in ("float32", "float64"):
            yield (*short(name), f"dtype={dtype}")
            for optimizer in sorted(OPTIMIZERS) if name in TRAINED else ():
                yield (*short(name), f"dtype={dtype}", f"optimizer={{name: {optimizer}, lr: 0.01}}")


ALL = list(combinations())


@pytest.fixture(scope="module", autouse=True)
def _warm() -> Iterator[None]:
    """This process has then imported whatever its children need."""
    with emptied() as folder:
        assert main(["run", "softmax_regression", "epochs=1", "-q", "-o", str(folder)]) == 0
        assert main(["compare", "rosenbrock_optimizers", "epochs=1", "-q", "-o", str(folder)]) == 0
        yield


@contextmanager
def elsewhere(environment: dict[str, str]) -> Iterator[None]:
    os.environ.update(environment)
    time.tzset()
    yield


def twice(place: Path, command: tuple[str, ...]) -> list[dict[str, bytes]]:
    """The files of a command in two children at once, in other folders and environments."""
    folders = [place / "one", place / "two" / "a deeper folder"]
    for folder in folders:
        folder.mkdir(parents=True)
    children = [
        start(folder, *command, within=elsewhere(environment))
        for folder, environment in zip(folders, ELSEWHERE, strict=True)
    ]
    found = []
    for folder, child in zip(folders, children, strict=True):
        ended = child.wait()
        assert ended.code in (0, 1), (command, ended)  # 1: it diverged
        record = record_in(folder)
        assert record is not None
        found.append({**tree(record), "standard output": ended.out.encode()})
    for folder in folders:
        shutil.rmtree(folder)
    return found


def assert_same(files: list[dict[str, bytes]], why: object) -> None:
    one, two = files
    assert sorted(one) == sorted(two), why
    assert [name for name in one if one[name] != two[name]] == [], why


@pytest.mark.slow
def test_specs_optimizers_and_types(place: Path) -> None:
    """The bundled specs as they are, and a draw of the product with optimizers and types, or all of it."""
    assert len(ALL) == 2 * (len(RUN) + len(TRAINED) * len(OPTIMIZERS))
    drawn = random.Random(1).sample(ALL, trials(20, len(ALL)))
    for k, command in enumerate([*map(short, RUN), *drawn]):
        plot = () if k % 8 == 0 else ("--no-plot",)  # it takes longer than the training
        files = twice(place, (*command, *plot))
        assert {"request.json", "config.yaml", "steps.csv", "summary.json"} <= set(files[0])
        assert ("loss.png" in files[0]) != bool(plot)
        assert_same(files, command)


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_many_runs(place: Path, name: str) -> None:
    files = twice(place, MANY[name])
    assert {"request.json", "results.csv", "summary.json", "log.txt"} <= set(files[0])
    assert [name for name in files[0] if name.endswith(".png")]
    assert_same(files, name)


FRESH = {
    "a run": ("run", "softmax_regression", "epochs=2"),
    "a tuned comparison": (*MANY["tuned"], "--no-plot"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_slow(FRESH, 2))
def test_fresh_processes_with_other_seeds_of_the_hash(tmp_path: Path, name: str) -> None:
    folders = [tmp_path / "one", tmp_path / "two" / "a deeper folder"]
    for folder in folders:
        folder.mkdir(parents=True)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "gdcli", *FRESH[name]],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for folder, environment in zip(folders, ELSEWHERE, strict=True)
    ]
    found = []
    for folder, process in zip(folders, processes, strict=True):
        out, err = process.communicate(timeout=HANG)
        assert process.returncode == 0, err
        record = record_in(folder)
        assert record is not None
        found.append({**tree(record), "standard output": out})
    assert_same(found, name)


SEVEN = "data={x: [[0], [3], [4], [5], [6], [7], [9]], y: [1, 2, 3, 5, 8, 9, 4]}"
THREE = "data={x: [[0], [3], [4]], y: [[1, 2], [2, 5], [3, 8]]}"
BLOCKS: dict[str, tuple[str, ...]] = {
    "linear, one output": ("model={type: linear}", SEVEN),
    "an mlp, two outputs": ("model={type: mlp, layers: [1, 3, 2]}", THREE),
    "mini-batches": ("model={type: linear}", "batch={size: 4}", SEVEN),
}


@pytest.mark.parametrize("case", BLOCKS)
@pytest.mark.parametrize("runs", ["0.003", "0.003,0.011", "0.003,0.011,0.007"])
def test_where_the_clock_ends_a_block_changes_no_byte(tmp_path: Path, case: str, runs: str) -> None:
    """A block ends after some time, so that a busy machine has shorter ones, of one step too."""
    (tmp_path / "t.yaml").write_text("name: t\nloss: mse\noptimizer: {name: sgd, lr: 0.1}\nepochs: 7\n")
    found = []
    for steps in (1000, 1, 2, 3):
        output = tmp_path / f"{steps}"
        with blocks(steps):
            words = ("sweep", str(tmp_path / "t.yaml"), "-p", f"lr={runs}", *BLOCKS[case], "--no-plot", "-q")
            assert main((*words, "-o", str(output))) == 0
        (record,) = output.glob("*/*")
        found.append({str(run.relative_to(record)): contents(run) for run in sorted(record.glob("*-lr=*"))})
    assert all(each == found[0] for each in found[1:])
