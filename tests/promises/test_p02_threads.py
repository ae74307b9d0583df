"""P2: the number of threads is part of the resolved spec: a record runs the same on a machine with other cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from gdcli.engine import problem
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.spec.schema import parse
from tests.conftest import only_folder
from tests.timing import HANG

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that it may choose from")

SMALL = ("run", "softmax_regression", "epochs=2")

LARGE = """
data: {generate: {kind: blobs, n: 400, classes: 3}}
model: {type: mlp, layers: [2, 200, 200, 3]}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.1}
epochs: 3
print: {style: tensor}
"""
"""400 rows times 2·200 + 200·200 + 200·3 weights: 16,400,000 multiply-adds a step."""

THRESHOLD = """
data: {generate: {kind: blobs, n: ROWS, classes: 3}}
model: {type: mlp, layers: [2, 1000, 3]}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.1}
epochs: 1
"""
"""5,000 weights: 10,000,000 multiply-adds a step with 2,000 rows."""


def under(cores: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process that may use so many cores."""
    code = "from gdcli.cli import entry; entry()"
    command, environment = python(cores, code)
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=HANG, check=False
    )


def python(cores: int, code: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a Python that may use so many cores, and chooses threads by itself."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "MKL_"))}
    confined = f"import os; os.sched_setaffinity(0, {set(CORES[:cores])}); {code}"
    return [sys.executable, "-c", confined], environment


def torch_threads(cores: int) -> int:
    """What torch counts by itself: the physical cores, of which two processors may share one."""
    command, environment = python(cores, "import torch; print(torch.get_num_threads())")
    return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


def record_of(folder: Path, cores: int, arguments: Sequence[str]) -> Path:
    answer = under(cores, folder, *arguments, "--no-plot", "-o", str(cores))
    assert answer.returncode == 0, answer.stderr
    return only_folder(folder / str(cores))


def threads_of(record: Path) -> int:
    found: int = yaml.safe_load((record / "config.yaml").read_text())["threads"]
    assert json.loads((record / "environment.json").read_text())["threads"] == found
    return found


def tree(record: Path) -> dict[str, bytes]:
    files = (path for path in record.iterdir() if path.name not in ("timing.json", "environment.json"))
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.slow
@two_cores
def test_a_small_model_has_one_thread_and_the_same_bytes(tmp_path: Path) -> None:
    one, two = (record_of(tmp_path, cores, SMALL) for cores in (1, 2))
    assert threads_of(one) == threads_of(two) == 1
    assert tree(one) == tree(two)


@two_cores
@pytest.mark.slow
def test_a_large_model_s_threads_are_kept_and_it_verifies_elsewhere(tmp_path: Path) -> None:
    """A record of one thread verifies under two cores, and one of the threads of two cores under one."""
    (tmp_path / "large.yaml").write_text(LARGE)
    records = {cores: record_of(tmp_path, cores, ("run", "large.yaml")) for cores in (1, 2)}
    assert threads_of(records[1]) == 1
    assert threads_of(records[2]) == torch_threads(2)
    for made, elsewhere in ((1, 2), (2, 1)):
        answer = under(elsewhere, tmp_path, "verify", str(records[made]))
        assert (answer.returncode, answer.stdout) == (0, "bit-identical\n"), (made, answer)


@pytest.mark.slow
@two_cores
def test_a_sweep_of_large_models_verifies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text(LARGE)
    record = record_of(tmp_path, 1, ("sweep", "large.yaml", "-p", "lr=0.1,0.2", "--fleet", "off"))
    assert {threads_of(path) for path in record.glob("*-lr=*")} == {1}
    answer = under(2, tmp_path, "verify", str(record))
    assert (answer.returncode, answer.stdout) == (0, "bit-identical\n"), answer


@pytest.mark.parametrize(("rows", "threads"), [(1999, 1), (2000, 7)])
def test_the_stated_size(rows: int, threads: int) -> None:
    """10^7 multiply-adds are large, one row less is not; a number is taken as it is."""
    for asked, expected in (("auto", threads), (3, 3)):
        text = f"{THRESHOLD}threads: {asked}\n".replace("ROWS", str(rows))
        loaded = load(parse(read(text, "size.yaml"), "size"), Path(), cores=7)
        assert problem.resolve_threads(loaded) == expected


@pytest.mark.slow
@two_cores
@pytest.mark.filterwarnings("ignore")
def test_workers_of_a_cluster_take_the_threads_of_who_gives_the_work(tmp_path: Path) -> None:
    """Dask starts its workers with OMP_NUM_THREADS=1, and those of another machine have other cores."""
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    (tmp_path / "large.yaml").write_text(LARGE)
    sweep = ("sweep", "large.yaml", "-p", "lr=0.1,0.2", "--fleet", "off", "--cluster", "local:1")
    record = record_of(tmp_path, 2, sweep)
    assert {threads_of(path) for path in record.glob("*-lr=*")} == {torch_threads(2)}
