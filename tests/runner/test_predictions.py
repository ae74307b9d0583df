"""`print.predict`: through the same preparation as the rows, in every style, alone and in fleets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gdcli as api
from tests.conftest import only_folder

HUNDREDS = """
name: hundreds
data: {x: [100, 200, 300, 400], y: [1, 2, 3, 4], standardize: true}
model: linear
loss: mse
optimizer: {name: sgd, lr: 0.1}
epochs: 200
dtype: float64
print: {style: epoch, predict: 400}
"""

DRAWN = """
name: drawn
data: {generate: {kind: linear, n: 12, weights: [3], bias: 4, noise: 1, x: {uniform: [100, 900]}}, standardize: true}
model: {type: linear, bias: false, init: {weight: 1}}
loss: mse
optimizer: {name: sgd, lr: 0.1}
epochs: 1
print: {style: loss, predict: 500}
"""


@pytest.fixture(autouse=True)
def _specs(gdcli) -> None:
    Path("hundreds.yaml").write_text(HUNDREDS)
    Path("drawn.yaml").write_text(DRAWN)


def summary_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_a_number_is_standardized_as_the_rows_are(gdcli) -> None:
    """y = x / 100 is learned exactly; 400 as it is would be 627.69 where the model has seen −1.34 to 1.34."""
    answer = gdcli("run", "hundreds.yaml", "--no-plot")
    assert answer.code == 0
    found = summary_in(only_folder(Path("runs")))["prediction"]
    assert found["asked"] == 400
    assert found["output"] == [pytest.approx(4, abs=1e-9)]
    assert f"predict (after training) 400 {found['output'][0]!r}" in answer.err.splitlines()


def test_means_and_deviations_are_kept(gdcli) -> None:
    assert gdcli("run", "hundreds.yaml", "--no-plot", "-q").code == 0
    kept = json.loads((only_folder(Path("runs")) / "preprocessing.json").read_text())
    x = np.array([100.0, 200, 300, 400])
    assert kept == {"columns": ["x"], "means": [x.mean()], "deviations": [x.std()]}
    assert (
        gdcli("run", "hundreds.yaml", "data.standardize=false", "optimizer.lr=1e-6", "--no-plot", "-o", "o").code == 0
    )
    assert not (only_folder(Path("o")) / "preprocessing.json").exists()


def test_python_predicts_as_well() -> None:
    run = api.run("hundreds.yaml", output=None)
    np.testing.assert_allclose(run.predict([400, 100, 250]), [[4], [1], [2.5]], atol=1e-9)


@pytest.mark.parametrize("fleet", ["auto", "off"])
def test_each_of_many_runs_by_the_rows_of_its_own(gdcli, fleet: str) -> None:
    """Each data seed has rows of its own, and so a scale of its own: in a fleet as in single runs."""
    sweep = ("sweep", "drawn.yaml", "-p", "data.seed=1,2,3", "--fleet", fleet, "--no-plot")
    assert gdcli(*sweep, "-o", "many").code == 0
    folders = sorted(path for path in only_folder(Path("many")).iterdir() if path.is_dir())
    found = [summary_in(folder)["prediction"]["output"] for folder in folders]
    for seed, output in zip((1, 2, 3), found, strict=True):
        assert gdcli("run", "drawn.yaml", f"data.seed={seed}", "--no-plot", "-o", f"one{seed}").code == 0
        alone = summary_in(only_folder(Path(f"one{seed}")))
        assert output == pytest.approx(alone["prediction"]["output"], rel=1e-6)
        scale = json.loads((only_folder(Path(f"one{seed}")) / "preprocessing.json").read_text())
        (weight,) = alone["parameters"]["weight"][0]
        expected = weight * (500 - scale["means"][0]) / scale["deviations"][0]
        assert alone["prediction"]["output"] == [pytest.approx(expected, rel=1e-6)]
    assert len({round(output[0], 6) for output in found}) == 3


@pytest.mark.parametrize("style", ["epoch", "tensor", "loss", "layers", "parameters", "gradient"])
def test_a_style_without_a_place_for_it_has_it_on_standard_error(gdcli, style: str) -> None:
    answer = gdcli("run", "linear_manual", f"print.style={style}", "batch=full", "--no-plot")
    lines = [line for line in answer.err.splitlines() if line.startswith("predict")]
    w = summary_in(only_folder(Path("runs")))["parameters"]["weight"][0][0]
    assert lines == ["predict (before training) 4 4.0", f"predict (after training) 4 {4 * w!r}"]  # w begins at 1
    assert "predict" not in answer.out
    assert "predict" not in gdcli("run", "linear_manual", f"print.style={style}", "batch=full", "-q", "--no-plot").err


def test_a_style_with_a_place_says_it_there_alone(gdcli) -> None:
    answer = gdcli("run", "linear_manual", "--no-plot")
    assert "predict" in answer.out
    assert "predict" not in answer.err
    assert "prediction" not in summary_in(only_folder(Path("runs")))
