"""A model in one dtype: its gradient in each way that it has, differences of its loss, what rounding does to both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.commands.check.report import AUTOGRAD, HAND, Array, Dtype, Slopes
from gdcli.engine.loss_for import loss_for
from gdcli.engine.problem import TrainingProblem, build
from gdcli.errors import SpecError
from gdcli.spec.load import Loaded
from gdcli.zoo.expressions import DETACH, Expression, Operation, operands_first, with_constants
from gdcli.zoo.models import Chain, Objective
from gdcli.zoo.objectives import compile_

ROWS = 1_000  # of the step's batch, at most
PERTURBATIONS = 8  # of the point, to see what rounding does


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A model at the point: its trained tensors, flat and in place, its loss, and its gradient in each way."""

    shapes: Mapping[str, tuple[int, ...]]
    sides: Sequence[Mapping[str, Tensor]]  # the trained tensors of each way; the first serve the loss
    data: Tensor  # x [B, D]
    loss: Callable[[], Tensor]
    gradients: Mapping[str, Callable[[], dict[str, Array]]]

    @property
    def samples(self) -> int:
        """Rows of the batch."""
        return len(self.data)

    @property
    def scalars(self) -> int:
        """Trained scalars."""
        return sum(map(prod, self.shapes.values()))


def model_of(loaded: Loaded, dtype: Dtype, point: Mapping[str, Tensor]) -> CheckedModel:
    """Build the model in a dtype, once per way, its parameters at the point."""
    model = loaded.architecture
    engines = {HAND: "by_hand", AUTOGRAD: "autograd"} if isinstance(model, Chain) else {AUTOGRAD: "autograd"}
    built = {
        way: build(replace(loaded, spec=loaded.spec.with_settings(dtype=dtype, engine=engine, epochs=0, watch=None)))
        for way, engine in engines.items()
    }
    first = next(iter(built.values()))
    rows = next(iter(first.batches.epoch()))
    x, y = rows.x[:ROWS].clone(), rows.y[:ROWS]
    if isinstance(model, Chain) and not model.layers:
        return _alone(loaded, x, y)
    if not first.theta.trained:
        raise SpecError(loaded.spec.problem(("model", "freeze"), "every parameter is frozen: there is no gradient"))
    of_loss = _with_constants(first, point)
    sides = [of_loss, *(each for each in built.values() if each is not of_loss)]
    for each in sides:
        each.theta.fill(slice(None), point)
    return CheckedModel(
        {slot.name: slot.shape for slot in first.theta.trained},
        [_flat(each, each.theta.values[0]) for each in sides],
        x,
        lambda: _loss(of_loss, x, y),
        {way: lambda each=each: _gradient(each, x, y) for way, each in built.items()},  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    )


def _with_constants(built: TrainingProblem, point: Mapping[str, Tensor]) -> TrainingProblem:
    """Return what the loss of differences is taken of: what an objective detaches stays as it is at the point."""
    model = built.loaded.architecture
    nodes = operands_first(model.expression) if isinstance(model, Objective) else []
    if not isinstance(model, Objective) or not any(isinstance(n, Operation) and n.symbol == DETACH for n in nodes):
        return built
    at = [point[name].double() for name in model.start]

    def value(part: Expression) -> float:
        return float(compile_(part, tuple(model.start), model.constants)(at))

    held = replace(model, expression=with_constants(model.expression, value))
    return build(replace(built.loaded, architecture=held))


def _flat(built: TrainingProblem, row: Tensor) -> dict[str, Tensor]:
    return {slot.name: row[slot.start : slot.stop] for slot in built.theta.trained}


def _loss(built: TrainingProblem, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss as a step has it: torch's layers in training, dropout with the same mask each time."""
    if built.module is not None:
        torch.manual_seed(built.loaded.spec.settings.seed)
    with torch.no_grad():
        output = built.kernel.forward(x) if built.module is None else built.module(x)
        if built.loss is None:
            return output
        loss = built.loss.value(output, y)
        return loss if built.penalized is None else loss + built.penalized.value().squeeze(0)


def _gradient(built: TrainingProblem, x: Tensor, y: Tensor) -> dict[str, Array]:
    torch.manual_seed(built.loaded.spec.settings.seed)
    built.kernel.step(x, y)
    return {name: _host(part) for name, part in _flat(built, built.theta.gradient[0]).items()}


def _alone(loaded: Loaded, x: Tensor, y: Tensor) -> CheckedModel:
    """Return a loss by itself: the model is the identity, and its gradient that at the output, x."""
    loss = loss_for(loaded)
    assert loss is not None

    def by_autograd() -> dict[str, Array]:
        leaf = x.detach().clone().requires_grad_()
        return {"x": _host(torch.autograd.grad(loss.value(leaf, y), leaf)[0])}

    def value() -> Tensor:
        with torch.no_grad():
            return loss.value(x, y)

    ways = {HAND: lambda: {"x": _host(loss.derivative(x)(x, y))}, AUTOGRAD: by_autograd}
    return CheckedModel({"x": tuple(x.shape)}, [{"x": x.view(-1)}], x, value, ways)


def _host(tensor: Tensor) -> Array:
    return np.array(tensor.detach().double().cpu().numpy()).reshape(-1)


def perturbed(model: CheckedModel, size: float, measure: Callable[[], Any]) -> list[Any]:
    """Return what is measured at points next to this one: parameters and data smaller by up to ``size``, relative."""
    generator = np.random.default_rng(0)
    tensors = [*(tensor for side in model.sides for tensor in side.values()), model.data]
    saved, found = [tensor.clone() for tensor in tensors], []
    for _ in range(PERTURBATIONS):
        for tensor, old in zip(tensors, saved, strict=True):
            factor = 1 - size * generator.random(tuple(old.shape))
            tensor.copy_(old * torch.as_tensor(factor, dtype=old.dtype, device=old.device))
        found.append(measure())
    for tensor, old in zip(tensors, saved, strict=True):
        tensor.copy_(old)
    return found


def noise_of(model: CheckedModel, dtype: Dtype) -> dict[str, Array]:
    """Return how far rounding to a dtype may take the gradient of each parameter from its value, [entries]."""
    gradient, eps = model.gradients[AUTOGRAD], float(np.finfo(dtype).eps)
    here = gradient()
    near = perturbed(model, 2 * eps, gradient)
    with np.errstate(invalid="ignore"):
        return {
            name: 4 * np.max([np.abs(each[name] - centre) for each in near], axis=0)
            + 4 * eps * np.abs(centre).max(initial=0.0)
            for name, centre in here.items()
        }


# --- central differences of the loss, the best of a sweep over step sizes ---------------------------------------------

STEPS = 10.0 ** -np.arange(2, 8)
"""The sweep of step sizes h, times max(1, |parameter|)."""

LARGE = 2_000  # trained scalars from which on differences are taken of a sample
SAMPLE = 100  # entries of a parameter in the sample
MULTIPLY_ADDS = 2e11  # that all differences together may take


def slopes_at(loaded: Loaded, exact: CheckedModel) -> dict[str, Slopes]:
    """Return the differences of every parameter, of a sample of its entries where the model is large."""
    model = loaded.architecture
    if isinstance(model, Chain) and any(layer.activation == "sign_ste" for layer in model.layers):
        return {}
    noise = _loss_noise(exact)
    generator, count = np.random.default_rng(loaded.spec.settings.seed), _sample_size(exact)
    found = {}
    for name, tensor in exact.sides[0].items():
        entries = np.arange(len(tensor))
        if exact.scalars > LARGE and len(entries) > count:
            entries = np.sort(generator.choice(len(tensor), count, replace=False))
        found[name] = _slopes_of(tensor, entries, exact.loss, noise)
    return found


def _sample_size(exact: CheckedModel) -> int:
    """Return the entries of a parameter whose differences are taken, fewer where a loss takes long."""
    each = 2 * len(STEPS) * max(1, exact.samples) * exact.scalars * len(exact.shapes)
    return int(min(SAMPLE, max(4, MULTIPLY_ADDS / each)))


def _loss_noise(exact: CheckedModel) -> float:
    """Return how far rounding may take the loss from its value."""
    here, eps = float(exact.loss()), float(np.finfo(np.float64).eps)
    near = perturbed(exact, 2 * eps, lambda: float(exact.loss()))
    spread: float = max(abs(value - here) for value in near)
    return 4 * eps * abs(here) + 4 * spread


def _slopes_of(tensor: Tensor, entries: NDArray[np.int64], loss: Callable[[], Tensor], noise: float) -> Slopes:
    """Take the central difference of each entry at each step size h, and keep that which a smaller h changes least."""
    here = value_of(loss)
    width, above, below = (np.zeros((len(entries), len(STEPS))) for _ in range(3))
    for row, index in enumerate(entries.tolist()):
        centre = float(tensor[index])
        for k, h in enumerate((STEPS * max(1.0, abs(centre))).tolist()):
            tensor[index] = centre + h
            above[row, k] = value_of(loss)
            tensor[index] = centre - h
            below[row, k] = value_of(loss)
            width[row, k] = (centre + h) - (centre - h)  # what it is after rounding
        tensor[index] = centre
    with np.errstate(all="ignore"):
        central = (above - below) / width  # [E, H]
        bend = np.abs(above - here - (here - below)) / (width / 2)  # slope on the right less that on the left
        doubt = np.abs(np.diff(central)) + noise / (width[:, 1:] / 2)
    doubt[~np.isfinite(doubt)] = np.inf
    best, row_of = doubt.argmin(axis=1), np.arange(len(entries))
    picked = (row_of, best + 1)
    return Slopes(entries, central[picked], doubt[row_of, best], width[picked] / 2, _kinks(bend, noise / (width / 2)))


def value_of(loss: Callable[[], Tensor]) -> float:
    """Return the loss; NaN where a step leaves what it is defined on. Synchronises with the device."""
    try:
        return float(loss())
    except RuntimeError:  # bce of an output beyond 0 and 1
        return float("nan")


def _kinks(bend: Array, noise: Array) -> NDArray[np.bool_]:
    """Say where the slopes on both sides differ however near: a smooth loss has a tenth of it at a tenth of h."""
    with np.errstate(all="ignore"):
        seen = (bend > 20 * noise) & np.isfinite(bend)
        stays = seen[:, 1:] & seen[:, :-1] & (bend[:, 1:] > 0.3 * bend[:, :-1])  # [E, H - 1]
    last = stays.shape[1] - 1 - seen[:, :0:-1].argmax(axis=1)  # the smallest h at which a bend is seen
    kinks: NDArray[np.bool_] = stays[np.arange(len(stays)), last]
    return kinks
