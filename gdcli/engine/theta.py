"""Theta: all parameters of R runs in one tensor, and the gradient of a step in one of the same layout.

The trained parameters come first, each a contiguous stretch, in the model's order; the frozen ones follow. A model's
weights are views of theta, so an update of the flat tensor is an update of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from gdcli.records import Floats, Parameter


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one parameter lies in theta."""

    name: str
    shape: tuple[int, ...]
    trained: bool
    start: int
    stop: int


class Theta:
    """Flat parameters [R, P] and flat gradient [R, T] of the T trained scalars, with a view per parameter."""

    def __init__(self, initial: Mapping[str, Tensor], frozen: Iterable[str] = (), *, runs: int = 1) -> None:
        frozen = frozenset(frozen)
        offset, places = 0, {}
        for name in (*(n for n in initial if n not in frozen), *(n for n in initial if n in frozen)):
            size = prod(initial[name].shape)
            places[name] = Slot(name, tuple(initial[name].shape), name not in frozen, offset, offset + size)
            offset += size
        self.slots: tuple[Slot, ...] = tuple(places[name] for name in initial)  # the model's order
        self.trained: tuple[Slot, ...] = tuple(slot for slot in self.slots if slot.trained)
        self.size = sum(slot.stop - slot.start for slot in self.trained)  # T
        example = next(iter(initial.values()), torch.empty(0))
        self.values: Tensor = example.new_empty((runs, offset))  # [R, P]
        self.gradient: Tensor = example.new_zeros((runs, self.size))  # [R, T]
        for name, slot in places.items():
            self.values[:, slot.start : slot.stop] = initial[name].reshape(-1)

    def view(self, slot: Slot, run: int = 0) -> Tensor:
        """Return one run's parameter in its own shape; writing to it writes to theta."""
        return self.values[run, slot.start : slot.stop].view(slot.shape)

    def gradient_view(self, slot: Slot, run: int = 0) -> Tensor | None:
        """Return where one run's gradient of a parameter is to be written; None for a frozen one."""
        return self.gradient[run, slot.start : slot.stop].view(slot.shape) if slot.trained else None

    @property
    def model_order(self) -> list[int]:
        """Positions in theta of all scalars in the model's order."""
        return [index for slot in self.slots for index in range(slot.start, slot.stop)]

    def parameters(self, run: int = 0) -> tuple[Parameter, ...]:
        """Return one run's parameters as records. Synchronises with the device."""
        flat: Floats = self.values[run].cpu().numpy()
        return tuple(
            Parameter(slot.name, np.array(flat[slot.start : slot.stop]).reshape(slot.shape), slot.trained)
            for slot in self.slots
        )


def segments(slots: Sequence[Slot], group_of: Sequence[int]) -> list[tuple[int, int, int]]:
    """Merge neighbouring trained slots of one group: (group, start, stop), as few stretches as there can be.

    >>> a, b = Slot("a", (2,), True, 0, 2), Slot("b", (3,), True, 2, 5)
    >>> segments([a, b], [0, 0]), segments([a, b], [0, 1])
    ([(0, 0, 5)], [(0, 0, 2), (1, 2, 5)])
    """
    merged: list[tuple[int, int, int]] = []
    for slot, group in zip(slots, group_of, strict=True):
        if merged and merged[-1][0] == group and merged[-1][2] == slot.start:
            merged[-1] = (group, merged[-1][1], slot.stop)
        else:
            merged.append((group, slot.start, slot.stop))
    return merged
