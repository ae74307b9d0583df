"""benchmarks/gpu.py: its dry run anywhere, what it promises of a step where there is a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")


def script(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_dry_run_measures_on_the_processor_and_writes_no_table() -> None:
    before = sorted(path.name for path in BENCHMARKS.glob("*.md"))
    done = script("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "20 runs of 2-2-2 x 5 epochs, a run" in done.stdout
    assert "NO" not in done.stdout.split()
    assert sorted(path.name for path in BENCHMARKS.glob("*.md")) == before


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which it would measure")
def test_without_a_gpu_it_says_so_and_what_does_without_one() -> None:
    done = script()
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "there is no GPU that torch can use; --dry-run does without\n"


@needs_a_gpu
@pytest.mark.slow
def test_a_step_on_a_gpu_waits_for_nothing_and_its_graph_has_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    sizes = gpu.Sizes("cuda", 50, 640, (100,), 5)
    for what, figure, *_ in gpu.waits(sizes):
        assert figure == ("yes" if "lie on the device" in what else "0"), what
    for what, *_, told in gpu.graphs(sizes):
        assert told == "same bits after 10 steps", what
