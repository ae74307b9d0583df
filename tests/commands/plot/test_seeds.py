"""Curves of a comparison over several seeds: their mean and its interval, by the t distribution's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gdcli.commands.plot.runs import curves, epoch_curves, sources
from gdcli.commands.plot.seeds import over_seeds
from tests.conftest import only_folder

T_975_OF_2 = 4.302652729911275  # the 97.5 % point of Student's t with 2 degrees of freedom, from tables

SPEC = "model: {type: mlp, layers: [1, 4, 1]}\ndata: {x: [[1.0], [2.0], [3.0]], y: [[2.0], [3.0], [5.0]]}\nloss: mse\n"
SPEC += "optimizer: {name: sgd, lr: 0.05}\nepochs: 20\n"


@pytest.fixture
def comparison(gdcli: Any) -> Path:
    Path("net.yaml").write_text(SPEC)
    assert gdcli("compare", "net.yaml", "--optimizers", "sgd,adam", "--seeds", "3", "--no-plot", "-q").code == 0
    return only_folder(Path("runs"))


def losses_of(folder: Path) -> np.ndarray:
    return np.genfromtxt(folder / "steps.csv", delimiter=",", names=True)["loss"]


def test_a_curve_is_the_mean_of_the_seeds_losses(comparison: Path) -> None:
    found = sources([str(comparison)], "curves")
    drawn, band = over_seeds(found, epoch_curves(found, curves(found))[0])
    assert band == "band: 95 % interval of the mean, 3 seeds"
    assert [curve.label for curve in drawn] == ["sgd", "adam"]
    for curve in drawn:
        losses = np.stack([losses_of(folder) for folder in sorted(comparison.glob(f"*-{curve.label}_seed=*"))])
        assert losses.shape == (3, 20)
        half = T_975_OF_2 * losses.std(axis=0, ddof=1) / np.sqrt(3)
        np.testing.assert_allclose(curve.loss, losses.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(curve.low, losses.mean(axis=0) - half, rtol=1e-9)
        np.testing.assert_allclose(curve.high, losses.mean(axis=0) + half, rtol=1e-9)


def test_runs_that_are_named_one_by_one_are_drawn_one_by_one(comparison: Path) -> None:
    folders = sorted(map(str, comparison.glob("*_seed=*")))[:2]
    found = sources(folders, "curves")
    drawn, band = over_seeds(found, curves(found))
    assert (len(drawn), band) == (2, "")
