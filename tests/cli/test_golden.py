"""Every training program of the documents prints the golden text, on standard output and in log.txt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import GOLDEN, only_folder
from tests.documents import expected

TRAINING = (
    "linear_manual",
    "linear_autograd",
    "backprop_2x2",
    "backprop_2x2_layers",
    "momentum_2x2",
    "adagrad_2x2",
    "rmsprop_2x2",
    "adam_2x2",
    "nn_linear",
)

PRICE = """
name: price_small
data:
  x: [[1.2, .5], [.4, 1.5], [.9, .3], [1.6, .8], [.2, .1], [.7, 1.1]]
  y: [4.1, .9, 5.0, 4.6, 4.3, 2.0]
model: {type: linear, init: {weight: 0, bias: 0}}
loss: half_mse
optimizer: {name: sgd, lr: 0.03}
epochs: 5
batch: {mode: mini-batch, size: 2, shuffle: false}
print: {style: epoch}
"""

BOWL = """
name: bowl_momentum
model: {type: objective, expression: "0.5*x1**2 + 2*x2**2", start: {x1: 3, x2: -1}}
optimizer: {name: sgd, lr: 0.2, momentum: 0.4}
epochs: 10
dtype: float64
"""


def check(gdcli, golden: str, *arguments: str) -> None:
    answer = gdcli("run", *arguments, "--no-plot")
    assert answer.code == 0, answer.err
    assert answer.out == golden
    assert (only_folder(Path("runs")) / "log.txt").read_text() == golden


@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
@pytest.mark.parametrize("name", TRAINING)
def test_program(gdcli, name: str, engine: str) -> None:
    check(gdcli, expected(name), name, f"engine={engine}")


def test_chain_rule(gdcli) -> None:
    check(gdcli, (GOLDEN / "chain_rule.txt").read_text(), "chain_rule")


@pytest.mark.parametrize(("name", "line"), [("mae", 0), ("mse", 1), ("smooth_l1", 2), ("cross_entropy", 4), ("bce", 5)])
def test_loss(gdcli, name: str, line: int) -> None:
    check(gdcli, (GOLDEN / "losses.txt").read_text().splitlines(keepends=True)[line], f"loss_{name}")


@pytest.mark.parametrize(("text", "name"), [(PRICE, "price_small"), (BOWL, "bowl_momentum")])
def test_spec_of_the_user(gdcli, text: str, name: str) -> None:
    Path(f"{name}.yaml").write_text(text)
    check(gdcli, (GOLDEN / f"{name}.txt").read_text(), f"{name}.yaml")


def test_sweep_over_w(gdcli) -> None:
    answer = gdcli("sweep", "--param", "w")
    assert answer.code == 0, answer.err
    assert answer.out == (GOLDEN / "linear_sweep.txt").read_text()
    folder = only_folder(Path("runs"))
    assert (folder / "log.txt").read_text() == answer.out
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert len((folder / "results.csv").read_text().splitlines()) == 42
