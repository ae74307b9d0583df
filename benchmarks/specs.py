"""The specs of the benchmarks, and many of them from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import engine
from pairs import HERE

if TYPE_CHECKING:
    from engine import Loaded

SMALL = """
name: bench
data: {x: [[0.05, 0.10]], y: [[0.01, 0.99]]}
model:
  type: mlp
  layers: [2, 2, 2]
  activation: sigmoid
  output_activation: sigmoid
  init:
    linear1.weight: [[0.15, 0.20], [0.25, 0.30]]
    linear1.bias: [0.35]
    linear2.weight: [[0.40, 0.45], [0.50, 0.55]]
    linear2.bias: [0.60]
loss: mse
optimizer: %s
epochs: %d
engine: %s
threads: 1
print: {style: tensor}
"""

MLP = """
name: bench_mlp
data: {generate: {kind: blobs, n: 6000, classes: 10, features: 784}}
model: {type: mlp, layers: [784, 256, 10], activation: relu}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.01}
epochs: 1
batch: {mode: mini-batch, size: 64}
record: {gradients: norms}
threads: 1
print: {style: tensor}
"""

MIDDLE = """
name: bench_middle
data: {file: %s, features: [x], target: y}
model: {type: mlp, layers: [784, 256, 10], activation: relu}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.01}
epochs: %d
batch: {mode: mini-batch, size: %d}
record: {gradients: norms}
threads: 1
"""

TORCH_LAYERS = """
name: bench_layers
data: {dataset: digits, shape: %s}
model: {type: sequential, layers: [%s]}
loss: cross_entropy
optimizer: {name: adam, lr: 0.001}
epochs: 20
batch: {mode: mini-batch, size: 64}
record: {gradients: norms}
threads: 1
"""
_CONVOLUTION = "{layer: Conv2d, out_channels: %d, kernel_size: 3}, ReLU"
CNN = TORCH_LAYERS % (
    "[1, 8, 8]",
    f"{_CONVOLUTION % 8}, {_CONVOLUTION % 16}, Flatten, {{layer: Linear, out_features: 10}}",
)
GRU = TORCH_LAYERS % ("[8, 8]", "{layer: GRU, hidden_size: 32, last: true}, {layer: Linear, out_features: 10}")

DIGITS = """
name: bench_digits
data: {dataset: digits}
model: {type: mlp, layers: [64, 64, 10], activation: relu}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.01}
epochs: 20
batch: {mode: mini-batch, size: 64}
threads: %d
print: {style: tensor}
"""

LINE = """
name: bench_line
data:
  x: [1, 2, 3]
  y: [2, 4, 6]
model: {type: linear, bias: false}
loss: mse
dtype: float64
epochs: 0
print: {style: loss}
"""

RULES = {
    "sgd": "{name: sgd, lr: 0.5}",
    "momentum": "{name: sgd, lr: 0.5, momentum: 0.9}",
    "adam": "{name: adam, lr: 0.01}",
}


def loaded(text: str) -> Loaded:
    """Return a spec with its data."""
    return engine.loaded(text, HERE)


def many(text: str, changes: list[dict[str, Any]]) -> list[Loaded]:
    """Return a spec for each set of changes, by dotted path."""
    return engine.many(text, changes, HERE)


def small(rule: str, rates: list[float], epochs: int) -> list[Loaded]:
    """Return the 2-2-2 net's spec for each learning rate."""
    return many(SMALL % (RULES[rule], epochs, "auto"), [{"optimizer.lr": rate} for rate in rates])
