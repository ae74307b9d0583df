"""Plugins that tests load, and how a test's process gets rid of them."""

from __future__ import annotations

from gdcli.zoo import origins, plugins, registering

ONE_OF_EACH = '''\
"""One of each kind, as one writes them with torch and numpy."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from torch import nn

import gdcli


@gdcli.model
class Wide(nn.Module):
    """Two layers with a skip: o = W2 tanh(W1 x) + W0 x, and a count of the passes in training."""

    def __init__(self, inputs, outputs, *, width: Annotated[int, Ge(1)] = 4, dropout: float = 0.0):
        super().__init__()
        self.skip = nn.Linear(inputs, outputs)
        self.inner = nn.Linear(inputs, width)
        self.drop = nn.Dropout(dropout)
        self.outer = nn.Linear(width, outputs)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.passes += 1
        return self.outer(self.drop(torch.tanh(self.inner(x)))) + self.skip(x)


@gdcli.loss
def quartic(output, target, *, scale: Annotated[float, Ge(0)] = 1.0):
    """Mean of the fourth power of the error."""
    return scale * (output - target).pow(4).mean()


@gdcli.loss(targets="classes")
def focal(output, target, *, gamma: Annotated[float, Ge(0)] = 2.0):
    """Focal loss: cross-entropy is that with gamma 0."""
    log_p = torch.log_softmax(output, 1).gather(1, target[:, None])[:, 0]
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


@gdcli.optimizer
class Lion(torch.optim.Optimizer):
    """The sign of an average of gradients; a count of its steps as a number of Python."""

    def __init__(self, params, *, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.99)):
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            slow, fast = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["average"], state["count"] = torch.zeros_like(p), 0
                state["count"] += 1
                p.sub_(group["lr"] * torch.sign(slow * state["average"] + (1 - slow) * p.grad))
                state["average"] = fast * state["average"] + (1 - fast) * p.grad


@gdcli.activation
def square(z):
    """a = z squared."""
    return z * z


@gdcli.data
def staircase(rng, *, n: Annotated[int, Ge(1)] = 24, noise: float = 0.1):
    """y is the whole part of x, and noise."""
    x = rng.uniform(0, 3, n)
    return x, np.floor(x) + noise * rng.standard_normal(n)


@gdcli.metric
def largest_error(output, target):
    """The largest absolute error."""
    return (output - target).abs().max()
'''

SPEC = """\
name: own
data: {generate: {kind: staircase, n: 24}, validation: 0.25}
model: {type: Wide, width: 3, dropout: 0.1}
loss: {name: quartic, scale: 0.5}
optimizer: {name: Lion, lr: 0.01}
metrics: [largest_error]
epochs: 6
batch: {size: 6}
"""


def forget() -> None:
    """Take all plugins out of this process."""
    for table in registering.TABLES.values():
        files = [function.origin.file for function in table.values() if hasattr(function, "origin")]
        registering.forget(files)
    plugins._LOADED.clear()
    origins._PLACES.clear()
