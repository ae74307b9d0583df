"""Theta: all parameters of R runs in one tensor, and the gradient of a step in one of the same layout.

The trained parameters come first, each a contiguous stretch, in the model's order; the frozen ones follow, and last
the buffers of torch's own layers where these train as a fleet. A model's weights are views of theta, so an update of
the flat tensor is an update of the model.

One run, and fleets whose runs lead, have theta as [R, P]; each parameter begins at a multiple of 64 bytes, as a tensor
of its own does, since matrix products round differently where their operands are not aligned. A fleet whose runs are
innermost has it as [P, R].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.records import Floats, Parameter
from gdcli.zoo.table import ALIGNMENT


@dataclass(frozen=True, slots=True)
class ParamSlice:
    """Where one parameter lies in theta: its scalars from start to stop, then a gap of zeros up to end."""

    name: str
    shape: tuple[int, ...]
    trained: bool
    start: int
    stop: int
    end: int


class Theta:
    """Parameters [R, P] and gradient [R, T] of the trained scalars, gaps included, with a view per parameter.

    ``stored`` and ``stored_gradient`` are the tensors as they lie in memory: the same two, or transposed.
    """

    def __init__(
        self, initial: Mapping[str, Tensor], frozen: Iterable[str] = (), *, runs: int = 1, innermost: bool = False,
        like: Tensor | None = None, buffers: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        """``like`` has the dtype and device of a model without parameters; ``buffers`` are those of each run."""
        example = next(iter(initial.values()), torch.empty(0) if like is None else like)
        self.innermost = innermost
        unit = 1 if innermost else ALIGNMENT // example.element_size()
        self.slots = _slots({name: tuple(value.shape) for name, value in initial.items()}, frozenset(frozen), unit)
        self.trained: tuple[ParamSlice, ...] = tuple(slot for slot in self.slots if slot.trained)
        self.size = sum(prod(slot.shape) for slot in self.trained)
        self.room = max((slot.end for slot in self.trained), default=0)  # T
        self.width = max((slot.end for slot in self.slots), default=0)  # of the parameters
        self._kinds = {name: value.dtype for name, value in (buffers or {}).items()}
        self._buffers = _buffer_slots(buffers or {}, self.width, unit, example.element_size())
        width = max((slot.end for slot in self._buffers), default=self.width)  # P
        self.stored: Tensor = example.new_zeros((width, runs) if innermost else (runs, width))
        self.stored_gradient: Tensor = example.new_zeros((self.room, runs) if innermost else (runs, self.room))
        self.values: Tensor = self.stored.t() if innermost else self.stored  # [R, P]
        self.gradient: Tensor = self.stored_gradient.t() if innermost else self.stored_gradient  # [R, T]
        self.fill(slice(None), initial, buffers)

    def fill(
        self, runs: slice | list[int], initial: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None
    ) -> None:
        """Set all parameters of some runs, and their buffers."""
        for slot in self.slots:
            self.values[runs, slot.start : slot.stop] = initial[slot.name].reshape(-1)
        for name, view in self.buffers().items():
            assert buffers is not None
            view[runs] = buffers[name]

    def buffers(self) -> dict[str, Tensor]:
        """Return the buffers of all runs by name, [R, *shape]: writing to them writes to theta.

        Not in autograd's eyes, to which the parameters beside them would else have changed within a step.
        """
        return {slot.name: _typed(self.stored.data, slot, self._kinds[slot.name]) for slot in self._buffers}

    def view(self, slot: ParamSlice) -> Tensor:
        """Return a parameter of all runs, [R, *shape] or [*shape, R]; of a single run in its own shape.

        Writing to it writes to theta.
        """
        return self._shaped(self.stretch(slot.start, slot.stop)[0], slot)

    def gradient_view(self, slot: ParamSlice) -> Tensor | None:
        """Return where the gradient of a parameter of all runs is to be written; None for a frozen one."""
        return self._shaped(self.stretch(slot.start, slot.stop)[1], slot) if slot.trained else None

    def _shaped(self, part: Tensor, slot: ParamSlice) -> Tensor:
        return part.view((*slot.shape, *part.shape[1:]) if self.innermost else (*part.shape[:-1], *slot.shape))

    def stretch(self, start: int, end: int, gradient: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return neighbouring parameters and their gradient as they lie in memory; of a single run without its axis.

        ``gradient`` is one of the same layout in place of theta's own.
        """
        runs = 0 if len(self.stored) == 1 else slice(None)
        part = slice(start, end) if self.innermost else (runs, slice(start, end))
        return self.stored[part], (self.stored_gradient if gradient is None else gradient)[part]

    def gradient_norms(self) -> Tensor:
        """Return the l2 norm [R] of each run's gradient."""
        norms: Tensor = torch.linalg.vector_norm(self.stored_gradient, 2, 0 if self.innermost else 1)
        return norms

    @cached_property
    def model_order(self) -> NDArray[np.int64]:
        """Positions in theta of all scalars in the model's order."""
        return _positions(self.slots)

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Positions in the gradient of the trained scalars, without the gaps."""
        return _positions(self.trained)

    def parameters(self, run: int = 0) -> tuple[Parameter, ...]:
        """Return one run's parameters as records. Synchronises with the device."""
        return self.as_parameters(self.values[run].cpu().numpy())

    def as_parameters(self, flat: Floats) -> tuple[Parameter, ...]:
        """Return a row [P] of theta as records."""
        return tuple(
            Parameter(slot.name, np.array(flat[slot.start : slot.stop]).reshape(slot.shape), slot.trained)
            for slot in self.slots
        )

    def as_buffers(self, flat: Floats) -> tuple[Parameter, ...]:
        """Return the buffers of a row [P] of theta as records."""
        row, found = torch.from_numpy(flat)[None], []
        for slot in self._buffers:
            value = _typed(row, slot, self._kinds[slot.name])[0]
            found.append(Parameter(slot.name, value.numpy().copy(), trained=False))
        return tuple(found)


def _buffer_slots(buffers: Mapping[str, Tensor], start: int, unit: int, size: int) -> tuple[ParamSlice, ...]:
    """Return where buffers lie from ``start`` on: in as many numbers of ``size`` bytes as their own bytes fill."""
    found = []
    for name, value in buffers.items():
        stop = start + -(-value.numel() * value.element_size() // size)
        end = -(-stop // unit) * unit
        found.append(ParamSlice(name, tuple(value.shape), False, start, stop, end))
        start = end
    return tuple(found)


def _typed(rows: Tensor, slot: ParamSlice, dtype: torch.dtype) -> Tensor:
    """Return a buffer in rows [R, P] of theta as [R, *shape]: whole numbers lie there by their bytes."""
    return rows[:, slot.start : slot.stop].view(dtype).view(len(rows), *slot.shape)


def _positions(slots: Sequence[ParamSlice]) -> NDArray[np.int64]:
    parts = [np.arange(slot.start, slot.stop, dtype=np.int64) for slot in slots]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _slots(shapes: Mapping[str, tuple[int, ...]], frozen: frozenset[str], unit: int) -> tuple[ParamSlice, ...]:
    offset, places = 0, {}
    for name in (*(n for n in shapes if n not in frozen), *(n for n in shapes if n in frozen)):
        stop = offset + prod(shapes[name])
        end = -(-stop // unit) * unit
        places[name] = ParamSlice(name, shapes[name], name not in frozen, offset, stop, end)
        offset = end
    return tuple(places[name] for name in shapes)  # the model's order


def segments(slots: Sequence[ParamSlice], group_of: Sequence[int]) -> list[tuple[int, int, int]]:
    """Merge neighbouring trained slots of one group: (group, start, end), as few stretches as there can be.

    >>> a, b = ParamSlice("a", (2,), True, 0, 2, 16), ParamSlice("b", (3,), True, 16, 19, 32)
    >>> segments([a, b], [0, 0]), segments([a, b], [0, 1])
    ([(0, 0, 32)], [(0, 0, 16), (1, 16, 32)])
    """
    merged: list[tuple[int, int, int]] = []
    for slot, group in zip(slots, group_of, strict=True):
        if merged and merged[-1][0] == group and merged[-1][2] == slot.start:
            merged[-1] = (group, merged[-1][1], slot.end)
        else:
            merged.append((group, slot.start, slot.end))
    return merged
