"""What the engine is held against: plain torch loops, written with torch's public interface alone; and a way to run
a spec through the whole engine, from its text on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn

from gdcli.engine.evaluation import starts_of
from gdcli.engine.loop import Interrupt, Loop
from gdcli.engine.problem import TrainingProblem, build
from gdcli.records import Event, Outcome, Outcomes, Start, StepBlock
from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.schema import parse
from gdcli.zoo.data import generator

DTYPES = {"float32": torch.float32, "float64": torch.float64}
Spec = dict[str, Any]
Call = Callable[..., Any]
Layers = Sequence[tuple[nn.Linear, Call | None]]


# --- the engine -------------------------------------------------------------------------------------------------------


def train(problem: TrainingProblem, columns: Iterable[str] = (), interrupt: Interrupt | None = None) -> Iterator[Event]:
    """Train one run and yield Start, then StepBlocks, then Outcome.

    ``columns`` names the optional columns of StepBlock that the caller wants besides those of `record`.
    """
    (start,) = starts_of(problem)
    yield start
    for event in Loop(problem, columns, interrupt=interrupt).events():
        if isinstance(event, Outcomes):
            yield event.of_run(0, problem.theta.as_parameters)
        elif (block := event.of_run(0)) is not None:
            yield block


@dataclass
class Trained:
    """All that a run gave: its blocks' columns joined."""

    built: TrainingProblem
    start: Start
    blocks: list[StepBlock]
    outcome: Outcome

    def column(self, name: str) -> Any:
        parts = [getattr(block, name) for block in self.blocks]
        return np.concatenate(parts)

    @property
    def weights(self) -> dict[str, Tensor]:
        return {p.name: torch.from_numpy(p.values) for p in self.outcome.parameters}


def loaded(spec: Spec) -> Loaded:
    """From the document's text on. JSON is YAML."""
    return load(parse(read(json.dumps(spec), "test.yaml"), "test"), Path())


def built(spec: Spec) -> TrainingProblem:
    return build(loaded(spec))


def trained(spec: Spec, columns: Iterable[str] = (), interrupt: Interrupt | None = None) -> Trained:
    made = built(spec)
    start, *blocks, outcome = train(made, columns, interrupt)
    assert isinstance(start, Start)
    assert isinstance(outcome, Outcome)
    return Trained(made, start, blocks, outcome)  # type: ignore[arg-type]


# --- plain torch ------------------------------------------------------------------------------------------------------


@dataclass
class Plain:
    """What a plain loop gave: the loss and the gradient of each step, the weights after each."""

    losses: list[float]
    gradients: list[Tensor]  # flat, in the order of the parameters that are trained
    weights: list[list[Tensor]]


def straight_through_sign(z: Tensor) -> Tensor:
    """sign forward, hard tanh backward; the two differ from each other at -1 and 1 alone. torch's sign of NaN is 0."""
    through = F.hardtanh(z)
    return torch.sign(z).detach() + (through - through.detach()).nan_to_num(0.0)


TORCHS_ACTIVATIONS: dict[str, Call | None] = {
    "none": None,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "relu6": F.relu6,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "hardtanh": F.hardtanh,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "tanhshrink": F.tanhshrink,
    "softmax": lambda z: F.softmax(z, -1),
    "log_softmax": lambda z: F.log_softmax(z, -1),
    "sign_ste": straight_through_sign,
}


def mlp(sizes: Sequence[int], dtype: torch.dtype, seed: int = 0, bias: bool = True) -> list[nn.Linear]:
    torch.manual_seed(seed)
    return [nn.Linear(i, o, bias=bias, dtype=dtype) for i, o in pairwise(sizes)]


def chained(layers: Sequence[nn.Linear], activations: Sequence[Call | None]) -> Call:
    def forward(x: Tensor) -> Tensor:
        for layer, activation in zip(layers, activations, strict=True):
            x = layer(x) if activation is None else activation(layer(x))
        return x

    return forward


def loop(
    parameters: Sequence[Tensor],
    forward: Call,
    loss: Call,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
) -> Plain:
    result = Plain([], [], [])
    for x, y in batches:
        optimizer.zero_grad()
        value = loss(forward(x), y)
        value.backward()
        wanted = [p for p in parameters if p.requires_grad]
        result.gradients.append(torch.cat([p.grad.flatten() for p in wanted if p.grad is not None]))
        result.losses.append(value.item())
        optimizer.step()
        result.weights.append([p.detach().clone() for p in parameters])
    return result


def batches(
    x: Tensor, y: Tensor, size: int, epochs: int, *, shuffle: bool = False, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    drawn = generator(seed, "shuffle")
    for _ in range(epochs):
        order = torch.from_numpy(drawn.permutation(len(x))) if shuffle else torch.arange(len(x))
        for k in range(0, len(x), size):
            yield x[order[k : k + size]], y[order[k : k + size]]


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit, the sign of zero and the payload of NaN included."""
    whole = {torch.float32: torch.int32, torch.float64: torch.int64}[a.dtype]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(whole), b.view(whole))
