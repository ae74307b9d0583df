"""`--fleet vmapped`: what record and table tell, the same members again, one by one where a layer is for one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import gdcli as gdcli_package
from tests.conftest import only_folder
from tests.runner.many_runs import contents

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # a test process may have threads

LAYERS = """
data: {generate: {kind: blobs, n: 30, classes: 3}, validation: 0.2}
model:
  type: sequential
  layers:
    - {layer: Linear, out_features: 6}
    - BatchNorm1d
    - ReLU
    - {layer: Dropout, p: 0.3}
    - {layer: Linear, out_features: 3}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.01}
dtype: float64
epochs: 4
batch: {mode: mini-batch, size: 6}
"""
SWEEP = ("sweep", "layers.yaml", "--no-plot", "-p", "lr=0.01,0.02,0.05,0.1", "--seeds", "2")
HINT = "torch's layers train one by one, as gdcli run: --fleet vmapped trains them together, to rounding"
LINE = "kernel: vmapped, the numbers of gdcli run to rounding"


@pytest.fixture(autouse=True)
def _specs(gdcli) -> None:
    Path("layers.yaml").write_text(LAYERS)


def record(output: str) -> Path:
    return only_folder(Path(output))


def fleets_of(output: str) -> list[Any]:
    return json.loads((record(output) / "fleets.json").read_text())["runs"]


def test_the_record_names_kernel_and_members_and_the_table_the_kernel(gdcli) -> None:
    answer = gdcli(*SWEEP, "--fleet", "vmapped", "-o", "together")
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == LINE
    assert (record("together") / "log.txt").read_text().splitlines()[-1] == LINE
    assert HINT not in answer.err
    assert fleets_of("together") == [
        {"kernel": "vmapped", "runs": [1, 2, 3, 4]}, {"kernel": "vmapped", "runs": [5, 6, 7, 8]},
    ]  # fmt: skip


def test_by_default_and_with_off_the_bytes_are_those_of_single_runs_with_a_hint(gdcli) -> None:
    by_default, off = (gdcli(*SWEEP, "--fleet", fleet, "-o", fleet) for fleet in ("auto", "off"))
    assert by_default.code == off.code == 0
    assert HINT in by_default.err
    assert HINT not in off.err
    assert "kernel" not in by_default.out
    assert contents(Path("auto")) == contents(Path("off"))
    assert not (record("auto") / "fleets.json").exists()


def test_each_run_has_the_files_of_the_run_alone_its_numbers_to_rounding(gdcli) -> None:
    assert gdcli(*SWEEP, "record.gradients=norms", "--fleet", "vmapped", "-o", "together").code == 0
    assert gdcli(*SWEEP, "record.gradients=norms", "--fleet", "off", "-o", "off").code == 0
    folders = sorted(path.name for path in record("off").iterdir() if path.is_dir() and path.name[0] != ".")
    assert len(folders) == 8
    for name in folders:
        ours, alone = record("together") / name, record("off") / name
        assert {path.name for path in ours.iterdir()} == {path.name for path in alone.iterdir()}
        assert (ours / "config.yaml").read_bytes() == (alone / "config.yaml").read_bytes()
        for table in ("steps.csv", "gradients.csv", "epochs.csv"):
            pd.testing.assert_frame_equal(pd.read_csv(ours / table), pd.read_csv(alone / table), rtol=1e-9, atol=1e-12)
        found, expected = (load_file(each / "model.safetensors") for each in (ours, alone))
        assert list(found) == list(expected)
        for key, values in found.items():
            np.testing.assert_allclose(values, expected[key], rtol=1e-9, atol=1e-12)


def test_bytes_do_not_depend_on_processes_and_verify_repeats_the_fleets(gdcli) -> None:
    assert gdcli(*SWEEP, "--fleet", "vmapped", "-o", "one").code == 0
    assert gdcli(*SWEEP, "--fleet", "vmapped", "--jobs", "2", "-o", "two").code == 0
    assert contents(Path("one")) == contents(Path("two"))
    answer = gdcli("verify", str(record("one")))
    assert (answer.code, answer.out) == (0, "bit-identical\n")


def test_verify_of_some_runs_has_the_bound_of_layers(gdcli) -> None:
    answer = gdcli(*SWEEP, "--fleet", "vmapped", "--verify", "3", "-o", "runs")
    assert answer.code == 0
    assert "verified 3 runs alone: largest relative difference" in answer.err


def test_a_resumed_sweep_takes_the_members_that_are_recorded(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that would make other fleets goes on with those of the record; an edited one is refused."""
    assert gdcli(*SWEEP, "--fleet", "vmapped", "-o", "runs").code == 0
    folder, before = record("runs"), contents(Path("runs"))
    for path in folder.glob("*/summary.json"):
        path.unlink()
    (folder / "summary.json").unlink()
    monkeypatch.setattr("gdcli.runner.fixed_fleets.stacked_sizes", lambda loaded, runs: [runs])
    assert gdcli("resume", str(folder)).code == 0
    assert contents(Path("runs")) == before
    (folder / "summary.json").unlink()
    (folder / "fleets.json").write_text('{"runs": [{"kernel": "vmapped", "runs": [1, 2, 99]}]}')
    answer = gdcli("resume", str(folder))
    assert answer.code == 3
    assert "fleets.json does not name fleets of these runs" in answer.err


def test_a_layer_for_one_run_is_told_and_trains_as_run_does(gdcli) -> None:
    Path("random.yaml").write_text(LAYERS.replace("ReLU", "RReLU"))
    sweep = ("sweep", "random.yaml", "--no-plot", "-p", "lr=0.01,0.02")
    answer = gdcli(*sweep, "--fleet", "vmapped", "-o", "together")
    assert answer.code == 0
    assert "kernel: single, not vmapped: torch maps no RReLU over runs" in answer.err
    assert "kernel" not in answer.out
    assert gdcli(*sweep, "--fleet", "off", "-o", "off").code == 0
    assert contents(Path("together")) == contents(Path("off"))


def test_nets_of_several_widths_and_depths_are_fleets_by_structure(gdcli) -> None:
    end = "LayerNorm, {layer: Linear, out_features: 3}]"
    small, large = (f"[{{layer: Linear, out_features: {n}}}, {end}" for n in (4, 9))
    grid = f"model.layers={small},{large}"
    answer = gdcli("sweep", "layers.yaml", "--no-plot", "-p", grid, "-p", "lr=0.01,0.02,0.05", "--fleet", "vmapped")
    assert answer.code == 0, answer
    assert [fleet["runs"] for fleet in fleets_of("runs")] == [[1, 2, 3], [4, 5, 6]]


def test_a_comparison_of_layers_takes_fleets_where_it_is_asked_to(gdcli) -> None:
    compare = ("compare", "layers.yaml", "--no-plot", "--optimizers", "sgd:lr=0.1,adam:lr=0.01", "--seeds", "12")
    answer = gdcli(*compare, "--fleet", "vmapped", "-o", "together")
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == LINE
    assert sorted(number for fleet in fleets_of("together") for number in fleet["runs"]) == [*range(1, 25)]


def test_a_parameter_of_the_model_trains_nothing(gdcli) -> None:
    answer = gdcli("sweep", "linear_sweep", "--param", "w=0,1", "--fleet", "vmapped")
    assert answer.code == 2
    assert "--fleet vmapped is for runs" in answer.err


def test_python_asks_for_it_too() -> None:
    found = gdcli_package.sweep("layers.yaml", {"lr": [0.01, 0.02, 0.05, 0.1]}, fleet="vmapped", progress=False)
    assert {result.kernel for result in found.results} == {"vmapped"}
    alone = gdcli_package.sweep("layers.yaml", {"lr": [0.01, 0.02, 0.05, 0.1]}, progress=False)
    assert {result.kernel for result in alone.results} == {"autograd"}
    np.testing.assert_allclose(found["final_loss"], alone["final_loss"], rtol=1e-10)
    with pytest.raises(gdcli_package.SpecError, match="fleet"):
        gdcli_package.sweep("layers.yaml", {"lr": [0.01]}, fleet="all")  # type: ignore[arg-type]  # it is told


def test_fleets_without_memory_are_refused_before_anything_is_told(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nets of layers, which train one by one with a hint, beside one of affine layers, which is a fleet."""
    linear = "{layer: Linear, out_features: 3}"
    nets = f"[BatchNorm1d,{linear}],[LayerNorm,{linear}],[{linear}]"
    words = ("sweep", "layers.yaml", "--no-plot", "-p", f"model.layers={nets}", "-p", "lr=0.01,0.02")
    answer = gdcli(*words)
    assert answer.code == 0, answer.err
    assert HINT in answer.err
    monkeypatch.setattr("gdcli.commands.batch.require_memory", refusing)
    answer = gdcli(*words)
    assert answer.code == 2
    assert answer.err.startswith("2 runs at once take too much")


def refusing(loaded: Any, runs: int) -> None:
    raise gdcli_package.SpecError(f"{runs} runs at once take too much")


def test_a_plan_of_no_runs_is_looked_at_too() -> None:
    from gdcli.commands.batch import look_ahead
    from gdcli.commands.context import Frontend
    from gdcli.runner.batch import Plan

    nothing: Any = None
    plan = Plan(
        loaded=nothing, measured=nothing, source=nothing, runs=(), axes=(), origin=nothing, fleets=True, vmapped=True,
        executor=nothing, workers=1, fail_fast=False, capture=nothing, folders=False,
    )  # fmt: skip
    assert look_ahead(plan, Frontend()).shards == []
