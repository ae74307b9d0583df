"""Gradients of watched inputs and intermediate values: where the kernels put them, and what finds them in a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import nan, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gdcli.errors import SpecError
from gdcli.records import Parameter
from gdcli.spec.load import Loaded
from gdcli.spec.watch import INPUT, WatchedValue, shaped, step_rows, too_many_columns, values_of
from gdcli.zoo.models import Stack

Place = tuple[int, bool] | str
"""Where a value is, as :class:`gdcli.spec.watch.WatchedValue` has it."""


class WatchedGradients:
    """The gradient of a step's loss at each watched value of its rows, flat [W]; NaN for rows that a step has not.

    A kernel begins a step with ``begin`` and calls ``put`` for each of ``places`` with the gradient there. Of a step in
    passes ``first`` is the first row of a pass.
    """

    def __init__(self, values: Sequence[WatchedValue], rows: int, like: Tensor) -> None:
        self._rows, self._begun, self.first, self.names = rows, rows, 0, names_of(values, rows)
        self.flat = like.new_full((rows * sum(prod(value.shape) for value in values),), nan)  # [W]
        self._into: dict[Place, list[tuple[Tensor, int | None]]] = {}
        start = 0
        for value in values:
            shape = (rows, *value.shape)
            self._into.setdefault(value.place, []).append(
                (self.flat[start : start + prod(shape)].view(shape), value.unit)
            )
            start += prod(shape)
        self.places = tuple(self._into)

    def begin(self, rows: int) -> None:
        """Begin a step, or a pass, of so many rows."""
        self._begun = rows
        if not self.first and rows < self._rows:
            self.flat.fill_(nan)

    def put(self, place: Place, gradient: Tensor | None) -> None:
        """Take the gradient [B, ...] at a place; None is that of a value which the loss does not depend on."""
        for view, unit in self._into[place]:
            into = view[self.first : self.first + self._begun]
            if gradient is None:
                into.zero_()
                continue
            found = gradient if unit is None else gradient[:, unit]
            into.copy_(found[: len(into)].view(into.shape))  # all rows, for a norm of theirs, may be more

    def at(self, place: Place) -> Callable[[Tensor], None] | None:
        """Return what takes the gradient at a place; None where it is not watched."""
        return partial(self.put, place) if place in self._into else None

    def count(self, rows: int, counted: Callable[[Tensor], Tensor]) -> None:
        """Give the gradients of a pass what its rows count in the step, and let the next pass be of the rows after."""
        for views in self._into.values():
            for view, _ in views:
                part = view[self.first : self.first + rows]
                part.copy_(counted(part))
        self.first += rows


def names_of(values: Sequence[WatchedValue], rows: int) -> tuple[str, ...]:
    """Return the column of each number, in the order of ``WatchedGradients.flat``.

    Of one row a step ``x[1]``, or ``h1`` for a single number; of several their place in the step comes first.

    >>> names_of([WatchedValue("x", "x", (2,)), WatchedValue("h1", (1, False), (), 0)], 1)
    ('x[0]', 'x[1]', 'h1')
    >>> names_of([WatchedValue("x", "x", (2,)), WatchedValue("h1", (1, False), (), 0)], 2)
    ('x[0,0]', 'x[0,1]', 'x[1,0]', 'x[1,1]', 'h1[0]', 'h1[1]')
    """
    shapes = [value.shape if rows == 1 else (rows, *value.shape) for value in values]
    parameters = [Parameter(value.name, np.empty(shape)) for value, shape in zip(values, shapes, strict=True)]
    return tuple(name for parameter in parameters for name in parameter.scalars)


def watched_values(loaded: Loaded, module: torch.nn.Module | None) -> tuple[WatchedValue, ...]:
    """Return what a spec watches with the shapes of a row. Raises SpecError for what its layers do not give."""
    values = values_of(loaded)
    if module is None or not values:
        return values
    shapes = _shapes_in(loaded, module, values)
    values = shaped(values, shapes)
    if loaded.bounded and (found := [*too_many_columns(loaded, values)]):
        raise SpecError(found)
    return values


def _shapes_in(loaded: Loaded, module: torch.nn.Module, values: Sequence[WatchedValue]) -> dict[str, tuple[int, ...]]:
    """Send a row through the layers and see what those that are watched give of it."""
    model, table, parts = loaded.architecture, loaded.training, dict(module.named_modules())
    assert isinstance(model, Stack)
    assert table is not None
    shapes = {INPUT: model.shape}
    watch = loaded.spec.settings.watch or []
    parameters = {name for name, _ in module.named_parameters()}
    for index, value in enumerate(values):
        if value.name in parameters:
            what = f"a parameter of the module has this name too (got '{value.name}')"
            raise SpecError(loaded.spec.problem(("watch", index), what))
        if value.place != INPUT and str(value.place).removesuffix(".output") not in parts:
            what = f"the module has no part of this name (got '{value.name}')"
            known = ", ".join([INPUT, *(f"{name}.output" for name in parts if name)][:20])
            raise SpecError(loaded.spec.problem(("watch", index), what, f"Known: {known}"))
    dtype = next(iter(module.parameters()), torch.empty(0, dtype=getattr(torch, loaded.spec.settings.dtype))).dtype
    device = next(iter(module.parameters()), torch.empty(0)).device
    x = torch.as_tensor(table.x[:2], dtype=dtype, device=device).reshape(-1, *model.shape)
    calls: dict[str, list[Any]] = {}
    with torch.random.fork_rng([]), torch.no_grad(), _evaluated(module):
        handles = [
            part.register_forward_hook(lambda _, __, found, name=name: calls.setdefault(name, []).append(found))
            for name, part in parts.items()
        ]
        try:
            (module if model.own is None else partial(model.own.call, module))(x)
        finally:
            for handle in handles:
                handle.remove()
    for index, value in enumerate(values):
        if value.place == INPUT:
            continue
        found, problem = calls.get(str(value.place).removesuffix(".output"), []), ""
        if len(found) != 1:
            problem = "works in no step" if not found else f"works {len(found)} times in a step"
        elif not isinstance(found[0], Tensor) or not found[0].is_floating_point() or found[0].shape[:1] != x.shape[:1]:
            problem = "gives no tensor of numbers with a row for each of its input"
        if problem:
            raise SpecError(loaded.spec.problem(("watch", index), f"the part '{watch[index]}' {problem}"))
        shapes[str(value.place)] = tuple(found[0].shape[1:])
    return shapes


@contextmanager
def _evaluated(module: torch.nn.Module) -> Iterator[None]:
    trains = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(trains)


# --- in autograd's graph ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class GraphTaps:
    """The tensors of one forward pass whose gradients are watched."""

    gradients: WatchedGradients
    found: dict[Place, Tensor]

    def input(self, x: Tensor) -> Tensor:
        """Begin a pass: return its rows as a leaf of the graph."""
        self.gradients.begin(len(x))
        self.found.clear()
        leaf = x.detach().requires_grad_()
        self.found[INPUT] = self.found[0, False] = leaf
        return leaf

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the tensors that this pass had, of ``places``."""
        return tuple(self.found[place] for place in self.gradients.places if place in self.found)

    def put(self, gradients: Sequence[Tensor | None]) -> None:
        """Take the gradients at :meth:`tensors`; at a place that the pass did not have it is 0."""
        left = iter(gradients)
        for place in self.gradients.places:
            self.gradients.put(place, next(left) if place in self.found else None)

    def listen(self, module: torch.nn.Module) -> None:
        """Find what the watched layers of a module give, from now on."""
        parts = dict(module.named_modules())
        for place in self.gradients.places:
            if place != INPUT:
                parts[str(place).removesuffix(".output")].register_forward_hook(partial(self._heard, place))

    def _heard(self, place: Place, module: torch.nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        """Note an output, and hand a copy on, which a layer that works in place may change."""
        if not torch.is_grad_enabled():
            return None
        if not output.requires_grad:  # of a layer with nothing trained below it, such as a frozen embedding
            output = output.detach().requires_grad_()
        self.found[place] = output
        return output.clone()


def taps_of(gradients: WatchedGradients | None) -> GraphTaps | None:
    """Return the taps of watched gradients, if there are any."""
    return None if gradients is None else GraphTaps(gradients, {})


def gradients_of(loaded: Loaded, module: torch.nn.Module | None, like: Tensor) -> WatchedGradients | None:
    """Return room for what a spec watches, with the dtype and device of ``like``; None for nothing.

    Raises SpecError.
    """
    values = watched_values(loaded, module)
    return WatchedGradients(values, step_rows(loaded.spec, loaded.samples), like) if values else None
