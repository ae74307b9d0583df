"""Groups of parameters: which stretch of theta has which settings and schedule, and the learning rates of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gdcli.engine.theta import ParamSlice, segments
from gdcli.spec.models import match
from gdcli.spec.sections import Ingredient, RunSpec
from gdcli.zoo.arithmetic import Setting, Update
from gdcli.zoo.schedulers import SCHEDULERS, Schedule
from gdcli.zoo.update_rule import Bound

GroupStep = tuple[Update, Setting]
"""An update rule and the learning rate that it takes."""


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """Neighbouring trained parameters of one group of the optimizer and one of the scheduler."""

    start: int
    end: int
    group: str | None  # the pattern in optimizer.groups
    schedule: Schedule | None


def param_groups(spec: RunSpec, slots: Sequence[ParamSlice]) -> list[ParamGroup]:
    """Return the stretches of theta, as few as there can be; of several patterns that match, the last one counts."""
    assert spec.optimizer is not None
    patterns = list(spec.optimizer.groups)
    scheduled = list(spec.scheduler.groups) if spec.scheduler else []
    pairs = [(_last(patterns, slot), _last(scheduled, slot)) for slot in slots]
    kinds = list(dict.fromkeys(pairs))
    found = []
    for kind, start, end in segments(slots, [kinds.index(pair) for pair in pairs]):
        group, plan = kinds[kind]
        found.append(ParamGroup(start, end, group, _schedule(spec, plan)))
    return found


def _last(patterns: Sequence[str], slot: ParamSlice) -> str | None:
    return next((pattern for pattern in reversed(patterns) if match(pattern, {slot.name: 0})), None)


def _schedule(spec: RunSpec, pattern: str | None) -> Schedule | None:
    if spec.scheduler is None:
        return None
    chosen: Ingredient | None = spec.scheduler.base if pattern is None else spec.scheduler.groups[pattern]
    return None if chosen is None else SCHEDULERS[chosen.name](**chosen.arguments)


@dataclass(frozen=True, slots=True)
class GroupUpdate:
    """The update of one group's parameters: its bound rule, its learning rates, and how they change over the epochs."""

    bound: Bound
    lr: Setting  # one for all runs, or a column over them
    schedule: Schedule | None


class LrSchedules:
    """The learning rates as the epochs go on; each epoch's are worked out from those of the epoch before."""

    def __init__(self, updates: Sequence[GroupUpdate]) -> None:
        self._updates, self._lrs = updates, [group.lr for group in updates]
        self._epoch = -1
        self.are_scheduled = any(group.schedule is not None for group in updates)

    def of_epoch(self, epoch: int) -> list[GroupStep]:
        """Return the rules with the learning rates of an epoch, counted from 0; epochs are asked for in order."""
        while self._epoch < epoch:
            self._epoch += 1
            self._lrs = [
                lr if group.schedule is None else _next(group.schedule, group.lr, lr, self._epoch)
                for lr, group in zip(self._lrs, self._updates, strict=True)
            ]
        return [(group.bound.update, lr) for group, lr in zip(self._updates, self._lrs, strict=True)]


def _next(schedule: Schedule, base: Setting, lr: Setting, epoch: int) -> Setting:
    """Return the learning rate of an epoch, NaN where Python's arithmetic overflows or divides by zero."""
    try:
        return schedule(base, lr, epoch)
    except ArithmeticError:
        return lr * np.nan
