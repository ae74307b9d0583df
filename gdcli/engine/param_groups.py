"""Groups of parameters: which stretch of theta has which settings and schedule, and the learning rates of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from gdcli.engine.theta import ParamSlice, segments
from gdcli.spec.models import match
from gdcli.spec.sections import Ingredient, RunSpec
from gdcli.zoo.arithmetic import Setting, Update
from gdcli.zoo.schedulers import SCHEDULERS, AnySchedule, Plateau, PlateauState, StepSchedule
from gdcli.zoo.update_rule import Bound

GroupStep = tuple[Update, Setting]
"""An update rule and the learning rate that it takes."""


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """Neighbouring trained parameters of one group of the optimizer and one of the scheduler."""

    start: int
    end: int
    group: str | None  # the pattern in optimizer.groups
    schedule: AnySchedule | None


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


def _schedule(spec: RunSpec, pattern: str | None) -> AnySchedule | None:
    if spec.scheduler is None:
        return None
    chosen: Ingredient | None = spec.scheduler.base if pattern is None else spec.scheduler.groups[pattern]
    if chosen is None:
        return None
    found: AnySchedule = SCHEDULERS[chosen.name](**chosen.arguments)
    return found


@dataclass(frozen=True, slots=True)
class GroupUpdate:
    """The update of one group's parameters: its bound rule, its learning rates, and how they change over the epochs."""

    bound: Bound
    lr: Setting  # one for all runs, or a column over them
    schedule: AnySchedule | None


class LrSchedules:
    """The learning rates as the steps go on; each epoch's are worked out from those of the epoch before.

    ``per_epoch`` and ``steps`` are the steps of an epoch and of the whole run.
    """

    def __init__(self, updates: Sequence[GroupUpdate], per_epoch: int = 1, steps: int = 1) -> None:
        self._updates, self._lrs = updates, [group.lr for group in updates]
        self._per_epoch, self._steps, self._epoch = per_epoch, steps, -1
        schedules = [group.schedule for group in updates]
        self.are_scheduled = any(schedule is not None for schedule in schedules)
        self._of_steps = any(isinstance(schedule, StepSchedule) for schedule in schedules)
        self._plateaus = {  # of one run: fleets have none
            k: PlateauState(float(group.lr)) for k, group in enumerate(updates) if isinstance(group.schedule, Plateau)
        }
        self._now: list[GroupStep] = []

    @property
    def follow_loss(self) -> bool:
        """Whether :meth:`observe` is to be told the loss after each epoch."""
        return bool(self._plateaus)

    def at(self, t: int) -> list[GroupStep]:
        """Return the rules with the learning rates of a step, counted from 1; steps are asked for in order."""
        epoch = (t - 1) // self._per_epoch
        if epoch > self._epoch or self._of_steps:
            while self._epoch < epoch:
                self._epoch += 1
                self._lrs = [self._of_epoch(k, lr) for k, lr in enumerate(self._lrs)]
            rates = [self._of_step(k, lr, t - 1) for k, lr in enumerate(self._lrs)]
            self._now = [(group.bound.update, lr) for group, lr in zip(self._updates, rates, strict=True)]
        return self._now

    def _of_epoch(self, k: int, lr: Setting) -> Setting:
        group = self._updates[k]
        schedule = group.schedule
        if isinstance(schedule, Plateau):
            if schedule.warm is None or self._epoch >= schedule.epochs:
                return self._plateaus[k].lr
            schedule = schedule.warm
        if schedule is None or isinstance(schedule, StepSchedule):
            return lr
        return _or_nan(lr, lambda: schedule(group.lr, lr, self._epoch))

    def _of_step(self, k: int, lr: Setting, step: int) -> Setting:
        schedule, base = self._updates[k].schedule, self._updates[k].lr
        return _or_nan(lr, lambda: schedule.at(base, step, self._steps)) if isinstance(schedule, StepSchedule) else lr

    def observe(self, loss: float) -> None:
        """Take the loss that schedules follow, after the epoch of the last step that was asked for."""
        for k, state in self._plateaus.items():
            plateau = self._updates[k].schedule
            if isinstance(plateau, Plateau) and self._epoch >= plateau.epochs:
                self._plateaus[k] = plateau.after(state, loss)

    def state(self) -> list[list[float | None]]:
        """Return what does not follow from the number of steps, as JSON holds it: infinity is null."""
        return [[None if value == inf else value for value in state] for state in self._plateaus.values()]

    def restore(self, found: Any) -> None:
        """Put back what :meth:`state` gave. Raises ValueError for what it never gives."""
        if not isinstance(found, list) or len(found) != len(self._plateaus):
            raise ValueError("not the states of these schedules")
        states = [_plateau_state(each) for each in found]
        self._plateaus = dict(zip(self._plateaus, states, strict=True))


def _plateau_state(found: Any) -> PlateauState:
    if not isinstance(found, list) or len(found) != 4:
        raise ValueError("not the state of a schedule")
    lr, best, bad, wait = found
    if type(lr) is not float or type(best) not in (float, type(None)) or not type(bad) is type(wait) is int:
        raise ValueError("not the state of a schedule")
    return PlateauState(lr, inf if best is None else best, bad, wait)


def _or_nan(lr: Setting, made: Callable[[], Setting]) -> Setting:
    """Return a learning rate, NaN where Python's arithmetic overflows or divides by zero."""
    try:
        return made()
    except ArithmeticError:
        return lr * np.nan
