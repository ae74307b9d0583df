"""Plugins' ingredients as one writes them with torch and numpy, made into what the tables of the zoo hold.

A loss of output and target, an activation of z, a class of torch.optim, a module, a function that draws rows: their
derivatives are autograd's, and they see one run at a time, so that runs with them are not trained in fleets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gdcli.zoo.activations import Activation
from gdcli.zoo.losses import Loss
from gdcli.zoo.metrics import Metric
from gdcli.zoo.models import Chain, Objective, OwnModule, Sizes, Stack
from gdcli.zoo.origins import Origin, guarded
from gdcli.zoo.table import MAX_INDEX, Table, numbered
from gdcli.zoo.update_rule import Bound, Rule

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["mean", "sum"]
Keys = Mapping[str, Any]


def _unchanged(function: Callable[..., Any], origin: Origin, output: Any, target: Any, keys: Keys) -> Any:
    """Call a function of output and target. Raises PluginError where it changes these: the next step needs them."""
    given = {"output": output, "target": target}
    before = {name: getattr(each, "_version", 0) for name, each in given.items()}  # torch counts changes in place
    found = function(output, target, **keys)
    for name, each in given.items():
        if getattr(each, "_version", 0) != before[name]:
            raise origin.failure(f"changes its {name} in place: return what is worked out of a copy")
    return found


# --- losses -----------------------------------------------------------------------------------------------------------


def loss(function: Callable[..., Any], origin: Origin, reduction: Reduction, keys: Keys) -> Loss:
    """Return the loss of a function of output and target that gives one number; dL/do is autograd's."""
    import torch

    def value(o: Tensor, t: Tensor) -> Tensor:
        found = _unchanged(function, origin, o, t, keys)
        if not isinstance(found, torch.Tensor) or found.ndim or not found.is_floating_point():
            raise origin.failure(f"returns {_kind(found)}; a loss is one number, such as .mean() of what each row has")
        if o.requires_grad and torch.is_grad_enabled() and not found.requires_grad:
            raise origin.failure("does not depend on the output as autograd sees it: it has no gradient")
        return found

    def derivative(output: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        def at(o: Tensor, t: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = o.detach().requires_grad_()
                return torch.autograd.grad(value(leaf, t), leaf)[0]

        return guarded(at, origin)

    divisor: Callable[[int], float] = float if reduction == "mean" else lambda n: 1
    return Loss(guarded(value, origin), derivative, "Mean" if reduction == "mean" else "Sum", value, divisor)


def made_loss(make: Callable[..., Any], origin: Origin, keys: Keys) -> Loss:
    """Return the Loss that a function makes of its keys, as those of the zoo do."""
    found = guarded(make, origin)(**keys)
    if not isinstance(found, Loss):
        raise origin.failure(f"returns {_kind(found)}, no Loss; a loss of output and target takes these two")

    def bound(output: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        return guarded(guarded(found.derivative, origin)(output), origin)

    return replace(found, value=guarded(found.value, origin), derivative=bound, terms=guarded(found.terms, origin))


# --- activations ------------------------------------------------------------------------------------------------------


def activation(function: Callable[..., Any], origin: Origin) -> Activation:
    """Return the activation of a function of z, entry by entry; its derivative is autograd's."""
    import torch

    def forward(z: Tensor) -> Tensor:
        found = function(z)
        if not isinstance(found, torch.Tensor) or found.shape != z.shape:
            raise origin.failure(f"returns {_kind(found)} of a tensor of shape {list(z.shape)}; an activation keeps it")
        return found

    def backward(d: Tensor, z: Tensor, a: Tensor, out: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(forward(leaf), leaf, d)
        return out.copy_(gradient)

    return Activation(guarded(forward, origin), guarded(backward, origin), "")


def made_activation(make: Callable[..., Any], origin: Origin) -> Activation:
    """Return the Activation that a function makes, as those of the zoo do."""
    found = guarded(make, origin)()
    if not isinstance(found, Activation):
        raise origin.failure(f"returns {_kind(found)}, no Activation; an activation as a function takes z")
    forward, backward = (None if part is None else guarded(part, origin) for part in (found.forward, found.backward))
    return Activation(forward, backward, found.grad_fn)


# --- models -----------------------------------------------------------------------------------------------------------


def module(make: Callable[..., Any], origin: Origin, data: Sizes, keys: Keys) -> Stack:
    """Return the model of a class of torch.nn.Module, or of a function that returns one: (inputs, outputs, *, keys)."""
    of_sizes = guarded(partial(make, data.inputs, data.outputs, **keys), origin)

    def made() -> Any:
        found = of_sizes()
        import torch

        if not isinstance(found, torch.nn.Module):
            raise origin.failure(f"returns {_kind(found)}, no torch.nn.Module")
        for name, parameter in found.named_parameters():
            if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
                raise origin.failure(f"{name} has no size yet: give its layer all sizes, no lazy ones")
            if not parameter.is_floating_point():
                raise origin.failure(f"{name} is of {parameter.dtype}: parameters are real numbers")
        return found

    def call(part: Any, x: Any) -> Any:
        import torch

        found = part(x)
        if not isinstance(found, torch.Tensor) or not found.is_floating_point():
            raise origin.failure(f"gives {_kind(found)}, no tensor of numbers")
        return found

    return Stack((), own=OwnModule(origin.name, made, guarded(call, origin)))


def made_model(make: Callable[..., Any], origin: Origin, data: Sizes, keys: Keys) -> Chain | Stack | Objective:
    """Return the Chain, Stack or Objective that a function makes of the data's sizes, as those of the zoo do."""
    found = guarded(make, origin)(data, **keys)
    if not isinstance(found, Chain | Stack | Objective):
        what = f"returns {_kind(found)}, no Chain, Stack or Objective"
        raise origin.failure(f"{what}; a module takes the numbers of inputs and of outputs")
    return found


# --- optimizers -------------------------------------------------------------------------------------------------------


def rule(kind: Callable[..., Any], origin: Origin, keys: Keys) -> Rule:
    """Return the rule of a class of torch.optim.Optimizer, whose one parameter is the flat tensor of those of a group.

    All that its next step depends on is to be in its ``state``, tensors and numbers by name, from the first step on.
    """
    import torch

    make = guarded(kind, origin)
    make([torch.nn.Parameter(torch.zeros(1))], **keys)  # settings that it refuses are told before a run

    def bind(p: Tensor, g: Tensor) -> Bound:
        parameter, gradient = torch.nn.Parameter(p, requires_grad=False), torch.zeros_like(g)
        entries = [_Entry(name, value, origin) for name, value in _first_state(make, origin, p, keys).items()]
        optimizer = make([parameter], **keys)
        step, state, (group,) = guarded(optimizer.step, origin), optimizer.state, optimizer.param_groups
        parameter.grad, made_with = gradient, deepcopy(dict(state))
        names = {entry.name for entry in entries}

        def update(lr: Any, t: int) -> None:
            group["lr"] = lr
            gradient.copy_(g)  # a step may write to it
            state.clear()
            if t > 1:
                state[parameter] = {entry.name: entry.value() for entry in entries}
            elif made_with:
                state[parameter] = deepcopy(next(iter(made_with.values())))
            step()
            found = state[parameter]
            if found.keys() != names:
                other = ", ".join(sorted(map(str, found.keys() ^ names)))
                raise origin.failure(f"its state has other entries than after the first step: {other}")
            for entry in entries:
                entry.keep(found[entry.name])

        return Bound(update, {entry.name: entry.held for entry in entries})

    return bind


def made_rule(make: Callable[..., Any], origin: Origin, keys: Keys) -> Rule:
    """Return the Rule that a function makes of its settings, as those of the zoo do."""
    found = guarded(make, origin)(**keys)
    if not callable(found):
        raise origin.failure(f"returns {_kind(found)}, no Rule; a class of torch.optim.Optimizer takes its parameters")

    def bind(p: Tensor, g: Tensor) -> Bound:
        bound = guarded(found, origin)(p, g)
        if not isinstance(bound, Bound):
            raise origin.failure(f"binds to {_kind(bound)}, no Bound")
        return Bound(guarded(bound.update, origin), bound.state)

    return bind


def _first_state(make: Callable[..., Any], origin: Origin, p: Tensor, keys: Keys) -> dict[str, Any]:
    """Return what an optimizer keeps of a parameter after a first step, which is tried on a copy."""
    import torch

    parameter = torch.nn.Parameter(p.clone(), requires_grad=False)
    parameter.grad = torch.zeros_like(p)
    optimizer = make([parameter], **keys)
    before = [_settings(group) for group in optimizer.param_groups]
    guarded(optimizer.step, origin)()
    if [_settings(group) for group in optimizer.param_groups] != before:
        raise origin.failure("a step changes the settings of its group: what it counts belongs into its state")
    if any(key is not parameter for key in optimizer.state):
        raise origin.failure("its state has entries that are not of a parameter")
    return dict(optimizer.state[parameter])


def _settings(group: Keys) -> dict[str, Any]:
    return {key: value for key, value in group.items() if isinstance(value, int | float | str | tuple)}


class _Entry:
    """One entry of an optimizer's state, held in a tensor of ours from step to step: a number as one of float64."""

    def __init__(self, name: str, value: Any, origin: Origin) -> None:
        import torch

        self.name, self._origin = name, origin
        self._number = type(value) if isinstance(value, int | float) else None
        if self._number is None and not isinstance(value, torch.Tensor):
            raise origin.failure(f"its state has {_kind(value)} for '{name}': only tensors and numbers can be kept")
        self.held = torch.zeros_like(value) if self._number is None else torch.zeros((), dtype=torch.float64)

    def value(self) -> Any:
        """Return it as the optimizer has it."""
        return self.held if self._number is None else self._number(self.held.item())

    def keep(self, value: Any) -> None:
        """Take the value after a step."""
        if self._number is not None:
            self.held.fill_(value)
        elif value is not self.held:
            if value.shape != self.held.shape or value.dtype != self.held.dtype:
                raise self._origin.failure(f"'{self.name}' of its state changes its shape or its type")
            self.held.copy_(value)


# --- data and metrics -------------------------------------------------------------------------------------------------


def table(found: Any, origin: Origin) -> Table:
    """Return what a generator gives as a table: itself, or arrays x [n, ...] and y [n, ...].

    Whole numbers from 0 on in y [n] are classes.
    """
    if isinstance(found, Table):
        return found
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise origin.failure(f"returns {_kind(found)}; data are two arrays, x and y")
    x, y = (np.asarray(each) for each in found)
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "biuf" or array.ndim == 0 or not array.size:
            raise origin.failure(f"its {name} is no array of numbers: shape {list(array.shape)}, {array.dtype}")
    if len(x) != len(y):
        raise origin.failure(f"x has {len(x):,} rows and y has {len(y):,}")
    points = x.reshape(len(x), -1).astype(np.float64)
    features = numbered("x", points.shape[1])
    if y.ndim == 1 and y.dtype.kind in "biu" and y.min() >= 0 and y.max() < MAX_INDEX:
        return Table(points, y.astype(np.int64), features, ("y",), int(y.max()) + 1)
    targets = y.reshape(len(y), -1).astype(np.float64)
    return Table(points, targets, features, numbered("y", targets.shape[1]))


def metric(function: Callable[..., Any], origin: Origin) -> Callable[[str, Table | None], Metric | None]:
    """Return the metric of a function of output and target that gives a number; an objective has none."""
    number = guarded(lambda output, y: float(_unchanged(function, origin, output, y, {})), origin)
    return lambda loss, training: None if training is None else number


def _kind(value: Any) -> str:
    """Return what a value is, in words."""
    shape = getattr(value, "shape", None)
    if shape is None or not hasattr(value, "dtype"):
        name = type(value).__name__
        return "nothing" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return f"a tensor of shape {list(shape)}, {str(value.dtype).removeprefix('torch.')}"
