"""A run as the text that a document prints, byte for byte.

A style is one function of an event and of the run's :class:`Start`, without state: a run may be cut into blocks
anywhere, in the middle of an epoch too. The records count epochs from 1, ``progress`` and ``tensor`` lines from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gdcli.records import Event, Outcome, Parameter, Prediction, Start, StepBlock, plain
from gdcli.report import torch_repr

Column = TypeVar("Column")


def manual(event: Event, start: Start) -> str:
    """Print sample and gradient per step, per epoch the last sample's loss after its update (document 1, by hand)."""
    if isinstance(event, StepBlock):
        return _grad_lines(event, " grad:  ", _given(event.loss_after))
    return _predict_line(event, plain)


def autograd(event: Event, start: Start) -> str:
    """Print the same with the loss before the update, the prediction as torch 0.3 did (document 1, with autograd)."""
    if isinstance(event, StepBlock):
        return _grad_lines(event, " grad: ", event.loss)
    head = "Variable containing:\n"
    return _predict_line(event, lambda output: head + torch_repr.legacy_tensor(*output, dtype=start.dtype))


def epoch(event: Event, start: Start) -> str:
    """Print the loss of the whole set after each epoch (document 2)."""
    if not isinstance(event, StepBlock):
        return ""
    rows = zip(event.epoch[event.last].tolist(), _given(event.full_loss)[event.last].tolist(), strict=True)
    return "".join([f"epoch {number}, loss {loss:f}\n" for number, loss in rows])


def tensor(event: Event, start: Start) -> str:
    """Print the loss of each epoch's last step, before its update (document 4's optimizers)."""
    if not isinstance(event, StepBlock):
        return ""
    numbers = np.maximum(event.epoch[event.last] - 1, 0).tolist()  # an evaluation without update is number 0 too
    rows = zip(numbers, event.loss[event.last].tolist(), strict=True)
    return "".join([f"{number} {_loss(loss, start)}\n" for number, loss in rows])


def loss(event: Event, start: Start) -> str:
    """Print the loss once, at the end (document 4's losses)."""
    return f"{torch_repr.scalar(event.loss, start.dtype)}\n" if isinstance(event, Outcome) else ""


def backprop(event: Event, start: Start) -> str:
    """Print per step output, loss, the gradient of each weight, the parameters after the update (document 4's Net)."""
    if not isinstance(event, StepBlock):
        return ""
    lines = []
    losses = event.loss.tolist()
    rows = zip(_given(event.output), losses, _gradients(event, start), _states(event, start), strict=True)
    for output, value, gradients, state in rows:
        lines.append(torch_repr.tensor(output, grad_fn=start.output_grad_fn))
        lines.append(_loss(value, start))
        lines.extend(_weights(gradients))
        lines.append(torch_repr.ordered_dict(state))
    return _text(lines)


def layers(event: Event, start: Start) -> str:
    """Print per step the loss and the gradient of each weight (document 4's two layers)."""
    if not isinstance(event, StepBlock):
        return ""
    lines = []
    for value, gradients in zip(event.loss.tolist(), _gradients(event, start), strict=True):
        lines.append(_loss(value, start))
        lines.extend(_weights(gradients))
    return _text(lines)


def parameters(event: Event, start: Start) -> str:
    """Print every parameter after training (document 3)."""
    if not isinstance(event, Outcome):
        return ""
    return _text([torch_repr.parameter(each.values, each.trained) for each in event.parameters])


def trace(event: Event, start: Start) -> str:
    """Print the variables after each epoch."""
    if not isinstance(event, StepBlock):
        return ""
    names = [name.replace("{", "{{").replace("}", "}}") for each in start.parameters for name in each.scalars]
    line = ", ".join(["epoch {}", *(f"{name}: {{:f}}" for name in names)]) + "\n"
    rows = zip(event.epoch[event.last].tolist(), _given(event.parameters)[event.last].tolist(), strict=True)
    return "".join([line.format(number, *values) for number, values in rows])


def gradient(event: Event, start: Start) -> str:
    """Print per step the gradient of each parameter that is trained (document 4's chain rule)."""
    if not isinstance(event, StepBlock):
        return ""
    return _text([torch_repr.tensor(values) for row in _gradients(event, start) for _, values in row])


def sweep_point(name: str, value: float, label: str, loss: float) -> str:
    """Print one value of a sweep and the loss there (document 1's loss over w).

    >>> print(sweep_point("w", 0.0, "MSE", 56 / 3), end="")
    w= 0.0
    MSE= 18.6666666667
    """
    return f"{name}= {torch_repr.twelve_digits(value)}\n{label}= {torch_repr.twelve_digits(loss)}\n"


def _given(column: Column | None) -> Column:
    if column is None:
        raise ValueError("the block lacks a column that its style names in STYLES")
    return column


def _text(lines: Sequence[str]) -> str:
    return "".join([f"{line}\n" for line in lines])


def _loss(value: float, start: Start) -> str:
    return torch_repr.scalar(value, start.dtype, grad_fn=start.loss_grad_fn)


def _grad_lines(block: StepBlock, head: str, losses: NDArray[Any]) -> str:
    """Return a line per step, and one with the loss where an epoch ends; ``losses`` [K]."""
    x, y = _given(block.sample)
    rows = np.hstack((x, y, _given(block.gradients))).tolist()  # [K, D + O + P], widened, which is exact
    lines = [f"\t{head}{plain(row)}\n" for row in rows]
    ends = np.flatnonzero(block.last & (block.epoch > 0))  # an evaluation without update makes no progress
    for end, number, value in zip(ends.tolist(), block.epoch[ends].tolist(), losses[ends].tolist(), strict=True):
        lines[end] += f"progress: {number - 1} {value!r}\n"
    return "".join(lines)


def _predict_line(event: Start | Outcome, output_text: Callable[[list[float]], str]) -> str:
    when = "before" if isinstance(event, Start) else "after"
    prediction: Prediction | None = event.prediction
    if prediction is None:
        return ""
    return f"{prediction.text(when, output_text)}\n"


Named = tuple[str, NDArray[Any]]


def _gradients(block: StepBlock, start: Start) -> Iterator[list[Named]]:
    trained = [each for each in start.parameters if each.trained]
    return _cut(_given(block.gradients), trained, start.dtype)


def _states(block: StepBlock, start: Start) -> Iterator[list[Named]]:
    return _cut(_given(block.parameters), start.parameters, start.dtype)


def _cut(rows: NDArray[Any], like: Sequence[Parameter], dtype: str) -> Iterator[list[Named]]:
    """Yield for each row [P] of scalars its tensors, with the names and shapes of ``like``."""
    edges = np.cumsum([0, *(each.values.size for each in like)]).tolist()
    spans = list(zip(like, pairwise(edges), strict=True))
    for row in rows.astype(dtype, copy=False):
        yield [(each.name, row[first:end].reshape(each.values.shape)) for each, (first, end) in spans]


def _weights(tensors: Sequence[Named]) -> list[str]:
    return [torch_repr.tensor(values) for name, values in tensors if name.endswith("weight")]


@dataclass(frozen=True, slots=True)
class Style:
    """A style's function, and what it asks of a run."""

    text: Callable[[Event, Start], str]
    columns: frozenset[str] = frozenset()  # the optional fields of StepBlock that it needs
    needs: str = ""  # what a spec must have for it, in words
    predicts: bool = False  # whether it has a place for the prediction


_ONE_WEIGHT = "batches of one sample, a model with one weight"

STYLES: dict[str, Style] = {
    "manual": Style(manual, frozenset({"sample", "gradients", "loss_after"}), _ONE_WEIGHT, predicts=True),
    "autograd": Style(autograd, frozenset({"sample", "gradients"}), _ONE_WEIGHT, predicts=True),
    "epoch": Style(epoch, frozenset({"full_loss"})),
    "tensor": Style(tensor),
    "loss": Style(loss),
    "backprop": Style(backprop, frozenset({"output", "gradients", "parameters"}), "a model with data"),
    "layers": Style(layers, frozenset({"gradients"})),
    "parameters": Style(parameters),
    "trace": Style(trace, frozenset({"parameters"})),
    "gradient": Style(gradient, frozenset({"gradients"})),
}
