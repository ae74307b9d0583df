"""P6: one bad run never takes a sweep down: it is named at once, kept and counted; the others are as if run alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from gdcli.runner import provenance, shards
from gdcli.spec.load import Loaded
from tests.conftest import Answer, only_folder
from tests.runner import many_runs

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # a test process may have threads

NET = """
data: {x: [[0.05, 0.1], [0.3, -0.2]], y: [[1], [0]]}
model: {type: mlp, layers: [2, 2, 1]}
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 30
"""
"""Its runs train as fleets."""

KILLS, RAISES, DIVERGES, LARGE = many_runs.VICTIM, 7, 11, 15
LRS = [(10 + k) / 1000 for k in range(1, 21)]
LRS[DIVERGES - 1] = 1e30
LARGE_LR, RAISING_LR = LRS[LARGE - 1], LRS[RAISES - 1]
SIZES = [1 if k == RAISES else 4 - 2 * (k % 2) for k in range(1, 21)]
GOOD = [k for k in range(1, 21) if k not in (KILLS, RAISES, DIVERGES, LARGE)]

OF_LAYERS = ("-p", f"zip(lr={','.join(map(str, LRS))},batch.size={','.join(map(str, SIZES))})")
OF_NET = ("-p", f"lr={','.join(map(str, LRS))}")


@pytest.fixture(autouse=True)
def _bad(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies at one run, and one run that asks for more memory than there is, of torch itself."""
    Path("layers.yaml").write_text(many_runs.NORMED)
    Path("net.yaml").write_text(NET)
    prepared, build_fleet = provenance.prepared, shards.build_fleet

    def spoiled(members: Iterable[Loaded]) -> None:
        for loaded in members:
            assert loaded.spec.optimizer is not None
            lr = loaded.spec.optimizer.arguments["lr"]
            if lr == LARGE_LR:
                torch.empty(2**55)
            if lr == RAISING_LR and loaded.spec.name == "net":
                raise ValueError("a run's own fault")

    def prepared_unless(loaded: Loaded, *group: Any) -> Any:
        spoiled([loaded])
        return prepared(loaded, *group)

    def build_unless(members: Any) -> Any:
        spoiled(members)
        return build_fleet(members)

    monkeypatch.setattr(provenance, "prepared", prepared_unless)
    monkeypatch.setattr(shards, "build_fleet", build_unless)
    monkeypatch.setattr("gdcli.runner.executors.worker.run_task", many_runs.dies_always)


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a run, but those that name times, the machine and the request."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in many_runs.OTHER}


def assert_only_these_are_bad(answer: Answer, told: dict[int, str], labels: list[str]) -> Path:
    """Return the record: each bad run is named on standard error with its reason, kept in the table, and counted."""
    assert answer.code == 1, answer.err
    assert "Traceback" not in answer.err
    lines = [line for line in answer.err.splitlines() if ": failed: " in line]
    assert sorted(lines) == sorted(f"{labels[k - 1]}: failed: {why}" for k, why in told.items())
    assert "3 of 20 runs failed" in answer.err.splitlines()
    record = only_folder(Path("runs"))
    with (record / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["run"]) for row in rows] == [*range(1, 21)]
    statuses = {int(row["run"]): row["status"] for row in rows}
    assert {k for k, status in statuses.items() if status == "finished"} == set(GOOD)
    assert {k for k, status in statuses.items() if status == "failed"} == set(told)
    assert statuses[DIVERGES] == "diverged"
    assert all(row["final_loss"] == "" for row in rows if row["status"] != "finished")
    summary = json.loads((record / "summary.json").read_text())
    counts = {key: summary[key] for key in ("status", "runs", "finished", "diverged", "failed")}
    assert counts == {"status": "failed", "runs": 20, "finished": 16, "diverged": 1, "failed": 3}
    assert summary["best"] in {labels[k - 1] for k in GOOD}
    return record


NO_MEMORY = "RuntimeError: [enforce fail at alloc_cpu.cpp"


def reasons(answer: Answer, raised: str) -> dict[int, str]:
    """Return why each failed; torch's own words for the memory it did not get are taken from the answer."""
    (line,) = [line for line in answer.err.splitlines() if NO_MEMORY in line or "not enough memory" in line]
    return {
        KILLS: "its worker process died 3 times",
        RAISES: raised,
        LARGE: line.partition(": failed: ")[2],
    }


@pytest.mark.slow
def test_twenty_runs_one_by_one(gdcli) -> None:
    answer = gdcli("sweep", "layers.yaml", *OF_LAYERS, "--jobs", "2", "--no-plot")
    refused = (  # at its place in the document that the worker was sent
        "spec:14:7: model.layers[1]: BatchNorm1d takes no batch of one row, which each is: Expected more than 1 value "
        "per channel when training, got input size torch.Size([1, 3]). Set batch: full, or a larger batch.size"
    )
    labels = [f"lr={lr:g},batch.size={size}" for lr, size in zip(LRS, SIZES, strict=True)]
    record = assert_only_these_are_bad(answer, reasons(answer, refused), labels)
    for k in GOOD:
        overrides = (f"lr={LRS[k - 1]}", f"batch.size={SIZES[k - 1]}")
        assert gdcli("run", "layers.yaml", *overrides, "--no-plot", "-o", f"alone-{k}").code == 0
        (ours,) = record.glob(f"{k:02d}-*")
        assert files_of(ours) == files_of(only_folder(Path(f"alone-{k}"))), k


@pytest.mark.slow
def test_twenty_runs_in_fleets(gdcli) -> None:
    """Each good run has the bytes of a fleet of one."""
    answer = gdcli("sweep", "net.yaml", *OF_NET, "--jobs", "2", "--no-plot")
    told = reasons(answer, "ValueError: a run's own fault")
    record = assert_only_these_are_bad(answer, told, [f"lr={lr:g}" for lr in LRS])
    for k in GOOD:
        assert gdcli("sweep", "net.yaml", "-p", f"lr={LRS[k - 1]}", "--no-plot", "-o", f"alone-{k}").code == 0
        (ours,) = record.glob(f"{k:02d}-*")
        (alone,) = only_folder(Path(f"alone-{k}")).glob("1-*")
        assert files_of(ours) == files_of(alone), k


@pytest.mark.slow
def test_a_sweep_with_bad_runs_has_ended(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume says so and trains nothing."""
    gdcli("sweep", "layers.yaml", *OF_LAYERS, "--jobs", "2", "--no-plot")
    monkeypatch.setattr(shards, "train_shard", None)
    before = {path: path.stat().st_mtime_ns for path in only_folder(Path("runs")).rglob("*")}
    answer = gdcli("resume", "last")
    assert answer.code == 1
    assert "nothing is left to do: failed, --retry-failed runs again what failed" in answer.err
    assert before == {path: path.stat().st_mtime_ns for path in only_folder(Path("runs")).rglob("*")}
