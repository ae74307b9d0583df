"""Models of many runs: the same bytes in any executor, after a kill, and those of the runs alone."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.promises.crashing import call, record_in, start
from tests.timing import children_seconds

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

SWEEP = ("-p", "lr=0.01,0.02,1e9", "-p", "model.layers=[3,4,1],[3,2,1]", "--keep-models", "--no-plot", "epochs=30")


def of_all(folder: Path) -> dict[str, bytes]:
    """The models of a sweep, of all and of each run, and the summaries with their digests."""
    record = record_in(folder)
    assert record is not None
    names = ("model.safetensors", "models.safetensors", "summary.json")
    return {str(path.relative_to(record)): path.read_bytes() for path in record.rglob("*") if path.name in names}


@pytest.mark.slow
def test_one_file_has_the_models_of_all_runs_in_any_executor(place: Path, specs: Path) -> None:
    sweep = ("sweep", str(specs / "rows.yaml"), *SWEEP)
    found = []
    for k, more in enumerate(((), ("--jobs", "2"), ("--fleet", "off"))):
        (place / str(k)).mkdir()
        assert call(place / str(k), *sweep, *more).code == 0
        found.append(of_all(place / str(k)))
    assert found[0] == found[1]
    record = record_in(place / "0")
    assert record is not None
    together = load_file(record / "models.safetensors")
    for run in (path for path in record.iterdir() if path.is_dir()):
        number = int(run.name.partition("-")[0])
        own = load_file(run / "model.safetensors")
        assert set(own) == {name.partition("/")[2] for name in together if name.startswith(f"{number}/")}
        for name, values in own.items():
            np.testing.assert_array_equal(together[f"{number}/{name}"], values)
            assert np.isfinite(values).all()  # of a run that diverged the last that were finite
    summary = json.loads((record / "summary.json").read_text())
    assert set(summary["sha256"]) == {"models.safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--fleet", "off")])
def test_a_killed_sweep_resumes_to_the_same_models(place: Path, specs: Path, more: tuple[str, ...]) -> None:
    sweep = ("sweep", str(specs / "rows.yaml"), *SWEEP, *more)
    (place / "whole").mkdir()
    begun = children_seconds()
    assert call(place / "whole", *sweep).code == 0
    seconds, expected, draw = children_seconds() - begun, of_all(place / "whole"), random.Random(7)
    for trial in range(4):
        folder = place / str(trial)
        folder.mkdir()
        if start(folder, *sweep).kill(draw.uniform(0.2, 1.0) * seconds).code == -signal.SIGKILL:
            again = ("resume", "last") if record_in(folder) else sweep
            assert call(folder, *again).code == 0
        assert of_all(folder) == expected
        record = record_in(folder)
        assert record is not None
        assert not [path.name for path in record.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_predictions(place: Path, specs: Path) -> None:
    """Of a net with a batch norm and dropout."""
    run = ("run", str(specs / "layers.yaml"), "--no-plot")
    (place / "rows.csv").write_text("x[0],x[1]\n" + "".join(f"{k},{-k / 3!r}\n" for k in range(9)))
    found = []
    for name in ("whole", "killed"):
        folder = place / name
        folder.mkdir()
        if name == "killed":
            start(folder, *run).kill(0.05)
            again = ("resume", "last") if record_in(folder) else run
            assert call(folder, *again).code == 0
        else:
            assert call(folder, *run).code == 0
        ended = call(folder, "predict", "last", str(place / "rows.csv"))
        assert ended.code == 0, ended.err
        found.append((ended.out, of_all(folder)))
    assert found[0] == found[1]
    assert found[0][0].splitlines()[0] == "prediction,p_0,p_1,p_2"


def apart(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own."""
    return subprocess.run([sys.executable, "-m", "gdcli", *words], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_models_beyond_100_mb_together_stay_out_and_the_summary_says_so(place: Path, specs: Path) -> None:
    """Two of 15 million float32: 120 MB. A forked process waits for ever for the threads that torch has for so many."""
    wide = ("model.layers=[3,3000000,1]", "epochs=1", "record.gradients=none", "batch=full", "--no-plot")
    ended = apart(place, "sweep", str(specs / "rows.yaml"), "-p", "lr=1e-9,2e-9", "--fleet", "off", *wide)
    assert ended.returncode == 0, ended.stderr
    assert "--keep-models writes one file of all" in ended.stderr
    found = of_all(place)
    assert {Path(name).name for name in found} == {"summary.json"}
    assert "more than 100.0 MB" in json.loads(found["summary.json"])["models"]
    record = record_in(place)
    assert record is not None
    run = min(path for path in record.iterdir() if path.is_dir())
    (place / "rows.csv").write_text("x\n1\n")
    ended = apart(place, "predict", str(run), "rows.csv")
    assert ended.returncode == 3
    assert "has no model.safetensors" in ended.stderr
