"""Each style prints the document's bytes from records that plain programs make, cut into blocks anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gdcli.records import Event, Outcome, Parameter, Prediction, Start, StepBlock
from gdcli.report import styles
from tests.conftest import GOLDEN
from tests.documents import expected


@dataclass(frozen=True)
class Run:
    start: Start
    block: StepBlock
    outcome: Outcome

    def text(self, style: str, cuts: Iterable[int] = ()) -> str:
        edges = [0, *sorted(set(cuts)), len(self.block.step)]
        blocks = [rows(self.block, first, end) for first, end in pairwise(edges)]
        events: list[Event] = [self.start, *blocks, self.outcome]
        return "".join(styles.STYLES[style].text(event, self.start) for event in events)


def rows(block: StepBlock, first: int, end: int) -> StepBlock:
    columns = {each.name: getattr(block, each.name) for each in fields(block)}
    cut = {
        name: column[first:end]
        for name, column in columns.items()
        if column is not None and name not in ("sample", "ends", "diverged", "evaluated")
    }
    if block.sample is not None:
        cut["sample"] = tuple(side[first:end] for side in block.sample)
    return StepBlock(**cut)


def block_of(losses: Sequence[float], per_epoch: int = 1, **columns: Any) -> StepBlock:
    step = np.arange(len(losses), dtype=np.int64)
    batch = step % per_epoch + 1
    nothing = np.zeros(len(losses))
    return StepBlock(
        step=step + 1,
        epoch=step // per_epoch + 1,
        batch=batch,
        last=batch == per_epoch,
        loss=np.array(losses, np.float64),
        lr=nothing,
        gradient_norm=nothing,
        **columns,
    )


def start_of(model: Sequence[Parameter], **settings: Any) -> Start:
    known: dict[str, Any] = {"loss": "mse", "loss_grad_fn": "MseLoss", "output_grad_fn": "Sigmoid", "dtype": "float32"}
    return Start(parameters=tuple(model), samples=1, **(known | settings))


def outcome_of(block: StepBlock, model: Sequence[Parameter] = (), prediction: Prediction | None = None) -> Outcome:
    final = block.loss[-1].item()
    return Outcome("finished", "", len(block.step), 0, final, final, 0, tuple(model), prediction=prediction)


def named(module: nn.Module) -> list[Parameter]:
    return [Parameter(name, each.detach().numpy().copy()) for name, each in module.named_parameters()]


def flat(tensors: Iterable[torch.Tensor | None]) -> np.ndarray[Any, Any]:
    return torch.cat([each.detach().reshape(-1) for each in tensors if each is not None]).numpy().copy()


@cache
def linear_manual() -> Run:
    """w·x by hand in Python's float64: one sample a step."""
    w, losses, after, gradients, samples = 1.0, [], [], [], []
    for _ in range(10):
        for x, y in ((1.0, 2.0), (2.0, 4.0), (3.0, 6.0)):
            gradient = 2 * x * (x * w - y)
            losses.append((x * w - y) * (x * w - y))
            w = w - 0.01 * gradient
            after.append((x * w - y) * (x * w - y))
            gradients.append(gradient)
            samples.append((x, y))
    block = block_of(
        losses,
        per_epoch=3,
        sample=tuple(np.array(samples).T[:, :, None]),
        gradients=np.array(gradients)[:, None],
        loss_after=np.where(np.arange(30) % 3 == 2, after, math.nan),
    )
    weight = [Parameter("weight", np.array([[1.0]]))]
    start = start_of(weight, dtype="float64", prediction=Prediction(4, np.array([4 * 1.0])))
    return Run(start, block, outcome_of(block, weight, Prediction(4, np.array([4 * w]))))


@cache
def linear_autograd() -> Run:
    w = torch.tensor([1.0], requires_grad=True)
    before = Prediction(4, (4 * w).detach().numpy())
    weight = [Parameter("weight", np.ones((1, 1), np.float32))]
    losses, gradients = [], []
    for _ in range(10):
        for x, y in ((1.0, 2.0), (2.0, 4.0), (3.0, 6.0)):
            loss = (x * w - y) * (x * w - y)
            (gradient,) = torch.autograd.grad(loss, [w])
            losses.append(loss.item())
            gradients.append(flat([gradient]))
            w.data = w.data - 0.01 * gradient
    column = np.tile([1.0, 2.0, 3.0], 10)[:, None]
    block = block_of(losses, per_epoch=3, sample=(column, 2 * column), gradients=np.array(gradients))
    after = Prediction(4, (4 * w).detach().numpy())
    return Run(start_of(weight, prediction=before), block, outcome_of(block, weight, after))


def train(model: nn.Module, criterion: Callable[..., torch.Tensor], optimizer: torch.optim.Optimizer, epochs: int,
          x: torch.Tensor, y: torch.Tensor, batch: int, **settings: Any) -> Run:  # fmt: skip
    """Train with a plain torch loop, batches in order, and keep every column."""
    start = start_of(named(model), **settings)
    losses, outputs, gradients, states, full = [], [], [], [], []
    for _ in range(epochs):
        for first in range(0, len(x), batch):
            output = model(x[first : first + batch])
            loss = criterion(output, y[first : first + batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.item())
            outputs.append(output.detach().numpy())
            gradients.append(flat(each.grad for each in model.parameters()))
            states.append(flat(model.parameters()))
            full.append(criterion(model(x), y).item())
    columns = {"gradients": np.array(gradients), "parameters": np.array(states), "output": tuple(outputs)}
    block = block_of(losses, per_epoch=len(x) // batch, full_loss=np.array(full), **columns)
    return Run(start, block, outcome_of(block, named(model)))


class Net(nn.Module):
    """The 2-2-2 net, with one bias per layer for both of its neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(2, 2), nn.Linear(2, 2)
        self.linear1.weight.data = torch.tensor([[0.15, 0.20], [0.25, 0.30]])
        self.linear1.bias.data = torch.tensor([0.35])
        self.linear2.weight.data = torch.tensor([[0.40, 0.45], [0.50, 0.55]])
        self.linear2.bias.data = torch.tensor([0.60])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.linear2(torch.sigmoid(self.linear1(x))))


def net_run(
    criterion: Callable[..., torch.Tensor], make: Callable[..., torch.optim.Optimizer], epochs: int, **settings: Any
) -> Run:
    net = Net()
    x, y = torch.tensor([[0.05, 0.10]]), torch.tensor([[0.01, 0.99]])
    return train(net, criterion, make(net.parameters()), epochs, x, y, 1, **settings)


@cache
def backprop_2x2() -> Run:
    return net_run(lambda o, t: torch.sum((o - t) ** 2) / 2, lambda p: torch.optim.SGD(p, 0.5), 1, loss_grad_fn="Div")


@cache
def backprop_2x2_layers() -> Run:
    return net_run(nn.MSELoss(), lambda p: torch.optim.SGD(p, 0.0), 1)


@cache
def momentum_2x2() -> Run:
    return net_run(nn.MSELoss(), lambda p: torch.optim.SGD(p, 1.0, momentum=0.5), 100)


@cache
def adagrad_2x2() -> Run:
    return net_run(nn.MSELoss(), lambda p: torch.optim.Adagrad(p, 1.0), 100)


@cache
def nn_linear() -> Run:
    model = nn.Linear(2, 1)
    for each in model.parameters():
        nn.init.zeros_(each)
    x, y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[3.0], [7.0]])
    return train(model, nn.MSELoss(), torch.optim.SGD(model.parameters(), 0.01), 100, x, y, 2)


@cache
def price_small() -> Run:
    model = nn.Linear(2, 1)
    for each in model.parameters():
        nn.init.zeros_(each)
    x = torch.tensor([[1.2, 0.5], [0.4, 1.5], [0.9, 0.3], [1.6, 0.8], [0.2, 0.1], [0.7, 1.1]])
    y = torch.tensor([[4.1], [0.9], [5.0], [4.6], [4.3], [2.0]])
    optimizer = torch.optim.SGD(model.parameters(), 0.03)
    return train(model, lambda o, t: ((o - t) ** 2 / 2).mean(), optimizer, 5, x, y, 2)


@cache
def bowl_momentum() -> Run:
    """0.5·x1² + 2·x2² by hand."""
    x, velocity, losses, states = np.array([3.0, -1.0]), np.zeros(2), [], []
    for _ in range(10):
        losses.append(0.5 * x[0] ** 2 + 2 * x[1] ** 2)
        velocity = 0.4 * velocity + np.array([1.0, 4.0]) * x
        x = x - 0.2 * velocity
        states.append(x)
    variables = [Parameter("x1", np.array(3.0)), Parameter("x2", np.array(-1.0))]
    block = block_of(losses, parameters=np.array(states))
    return Run(start_of(variables, loss="objective", dtype="float64"), block, outcome_of(block))


@cache
def chain_rule() -> Run:
    """1/(exp(-(wx+b)+1)) at w = b = 0, with b frozen; an evaluation without update."""
    w, b = torch.tensor(0.0, requires_grad=True), torch.tensor(0.0)
    y = 1 / torch.exp(-(w * 1.0 + b) + 1)
    torch.autograd.backward(y)
    variables = [Parameter("w", np.zeros((), np.float32)), Parameter("b", np.zeros((), np.float32), trained=False)]
    block = evaluation(block_of([y.item()], gradients=flat([w.grad])[None]))
    return Run(start_of(variables, loss="objective"), block, outcome_of(block))


def evaluation(block: StepBlock) -> StepBlock:
    nothing = np.zeros(1, np.int64)
    return replace(block, step=nothing, epoch=nothing, batch=nothing)


def losses() -> list[float]:
    values = [
        nn.L1Loss()(torch.tensor([4.0, 5.0, 6.0]), torch.tensor([1.0, 2.0, 3.0])),
        nn.MSELoss()(torch.tensor([6.0, 3.0, 2.0]), torch.tensor([1.0, 4.0, 5.0])),
        nn.SmoothL1Loss()(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([3.0, 2.5, 3.5, 4.5])),
        nn.CrossEntropyLoss()(torch.tensor([[1.5, 2.0, 0.5], [0.5, 1.0, 1.5]]), torch.tensor([1, 2])),
        nn.BCELoss()(torch.tensor([0.7, 0.2, 0.9, 0.7]), torch.tensor([1.0, 0.0, 1.0, 0.0])),
    ]
    mae, mse, smooth, entropy, bce = [value.item() for value in values]
    return [mae, mse, smooth, smooth, entropy, bce, bce]


PROGRAMS: dict[str, tuple[Callable[[], Run], str]] = {
    "linear_manual": (linear_manual, "manual"),
    "linear_autograd": (linear_autograd, "autograd"),
    "nn_linear": (nn_linear, "parameters"),
    "momentum_2x2": (momentum_2x2, "tensor"),
    "adagrad_2x2": (adagrad_2x2, "tensor"),
    "backprop_2x2": (backprop_2x2, "backprop"),
    "backprop_2x2_layers": (backprop_2x2_layers, "layers"),
    "chain_rule": (chain_rule, "gradient"),
    "bowl_momentum": (bowl_momentum, "trace"),
    "price_small": (price_small, "epoch"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_its_document(name: str) -> None:
    make, style = PROGRAMS[name]
    assert make().text(style) == expected(name)


def test_each_loss_prints_once() -> None:
    runs = [
        Run(start_of([]), block, outcome_of(block)) for block in (evaluation(block_of([each])) for each in losses())
    ]
    assert "".join(run.text("loss") for run in runs).encode() == (GOLDEN / "losses.txt").read_bytes()


def test_the_loss_over_w_prints_its_document() -> None:
    text = ""
    for index in range(41):
        w = index / 10
        loss = sum((x * w - y) * (x * w - y) for x, y in ((1.0, 2.0), (2.0, 4.0), (3.0, 6.0))) / 3
        text += styles.sweep_point("w", w, "MSE", loss)
    assert text.encode() == (GOLDEN / "linear_sweep.txt").read_bytes()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PROGRAMS)), st.lists(st.integers(0, 100), max_size=6))
def test_the_cuts_between_blocks_do_not_show(name: str, cuts: list[int]) -> None:
    make, style = PROGRAMS[name]
    run = make()
    assert run.text(style, [cut for cut in cuts if cut <= len(run.block.step)]) == run.text(style)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_style_needs_no_column_that_it_does_not_name(name: str) -> None:
    make, style = PROGRAMS[name]
    optional = {each.name for each in fields(StepBlock) if each.default is None}
    missing: dict[str, Any] = dict.fromkeys(optional - styles.STYLES[style].columns)
    run = make()
    assert replace(run, block=replace(run.block, **missing)).text(style) == run.text(style)


@pytest.mark.parametrize("style", [name for name, each in styles.STYLES.items() if each.columns])
def test_a_missing_column_is_named_as_the_fault(style: str) -> None:
    with pytest.raises(ValueError, match="lacks a column"):
        styles.STYLES[style].text(block_of([1.0]), start_of([]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("style", styles.STYLES)
def test_a_diverged_run_prints(style: str, bad: float) -> None:
    model = [Parameter("weight", np.full((1, 1), bad, np.float32))]
    column = np.full((1, 1), bad, np.float32)
    block = block_of(
        [bad],
        gradients=column,
        parameters=column,
        output=(column,),
        sample=(np.ones((1, 1)), np.ones((1, 1))),
        loss_after=np.array([bad]),
        full_loss=np.array([bad]),
    )
    end = outcome_of(block, model, Prediction((4, 1.5), column[0]))
    assert str(bad) in Run(start_of(model), block, end).text(style)


def test_several_features_stand_side_by_side() -> None:
    x, y = np.array([[1.0, 0.1]]), np.array([[2.0]])
    gradients = np.array([[0.5, -0.1, 0.25]], np.float32)
    block = block_of([2.0], sample=(x, y), gradients=gradients, loss_after=np.array([1.0]))
    model = [Parameter("weight", np.zeros((1, 2))), Parameter("bias", np.zeros(1))]
    start = start_of(model, prediction=Prediction((4, 0.5), np.array([0.25, 1.0], np.float32)))
    assert styles.manual(start, start) == "predict (before training) 4 0.5 0.25 1.0\n"
    assert styles.manual(block, start) == "\t grad:  1.0 0.1 2.0 0.5 -0.10000000149011612 0.25\nprogress: 0 1.0\n"


def test_a_frozen_parameter_prints_without_requires_grad() -> None:
    model = [
        Parameter("weight", np.zeros((1, 1), np.float32)),
        Parameter("bias", np.zeros(1, np.float32), trained=False),
    ]
    end = outcome_of(block_of([1.0]), model)
    expected = "Parameter containing:\ntensor([[0.]], requires_grad=True)\nParameter containing:\ntensor([0.])\n"
    assert styles.parameters(end, start_of(model)) == expected


def test_an_evaluation_without_update_counts_as_epoch_0() -> None:
    run = linear_manual()
    block = evaluation(rows(run.block, 2, 3))
    assert styles.tensor(block, start_of([])).startswith("0 tensor(7.3159")
    assert "progress" not in styles.manual(block, run.start)


def test_a_name_with_braces_prints_as_it_is() -> None:
    block = block_of([1.0], parameters=np.ones((1, 1)))
    assert styles.trace(block, start_of([Parameter("{0}", np.array(1.0))])) == "epoch 1, {0}: 1.000000\n"
