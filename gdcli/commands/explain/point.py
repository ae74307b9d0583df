"""Where a run stands before its N-th step: parameters, the rules' state and the rows of the step, by the engine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gdcli.errors import RunError, SpecError
from gdcli.spec.load import Loaded
from gdcli.spec.models import match

if TYPE_CHECKING:
    from gdcli.engine.param_groups import GroupStep, LrSchedules
    from gdcli.engine.problem import TrainingProblem

Nested = Any  # floats, or lists of them: a parameter's values in its shape


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """How one parameter is updated: the rule, its settings, the step and its learning rate, each scalar's state."""

    optimizer: str
    settings: Mapping[str, Any]
    step: int
    lr: float
    state: tuple[Mapping[str, float], ...]


@dataclass(frozen=True, slots=True)
class EvaluationPoint:
    """A run before a step. ``rows`` are positions in the training data; ``rules`` is empty where nothing is updated."""

    step: int
    rows: tuple[int, ...]
    parameters: Mapping[str, Nested]
    rules: Mapping[str, ParameterRule] = field(default_factory=dict)


def point_of(loaded: Loaded, step: int) -> EvaluationPoint:
    """Return the run before its step-th step: N − 1 steps are trained in the spec's dtype, then widened.

    Before the first step the parameters are the spec's own decimal numbers where it gives them. Raises SpecError for a
    step that the run does not have, RunError where it diverges before.
    """
    built, rates, rows = problem_before(loaded, step)
    return _point(built, rates, rows, step)


def points_of(loaded: Loaded, steps: Collection[int]) -> Iterator[EvaluationPoint]:
    """Yield the run before each of some steps, in their order, as :func:`point_of` does; it is trained once.

    Raises as :func:`point_of`, of a run that diverges after the steps before.
    """
    if not steps:
        return
    last = last_step(loaded)
    for step in (min(steps), max(steps)):
        _require_step(step, last)
    built, rates = _begun(loaded, last)
    for step, rows in _advanced(built, rates, max(steps)):
        if step in steps:
            yield _point(built, rates, rows, step)


def _point(built: TrainingProblem, rates: LrSchedules, rows: tuple[int, ...], step: int) -> EvaluationPoint:
    loaded = built.loaded
    parameters = {slot.name: built.theta.view(slot).cpu().double().tolist() for slot in built.theta.slots}
    unchanged = {slot.name for slot in built.theta.slots if step == 1 or not slot.trained}
    parameters |= {name: value for name, value in _decimal(loaded, parameters).items() if name in unchanged}
    now = rates.at(step)
    return EvaluationPoint(step, rows, parameters, _rules(built, step, now))


def problem_before(loaded: Loaded, step: int) -> tuple[TrainingProblem, LrSchedules, tuple[int, ...]]:
    """Return the training as it is before a step, torch's generator too, its learning rates and the step's rows.

    Raises as :func:`point_of`.
    """
    last = last_step(loaded)
    _require_step(step, last)
    built, rates = _begun(loaded, last)
    rows: tuple[int, ...] = ()
    for _, now in _advanced(built, rates, step):
        rows = now
    return built, rates, rows


def last_step(loaded: Loaded) -> int:
    """Return the number of the last step of a run that nothing stops earlier; 1 for a pass without an update."""
    spec = loaded.spec
    return 1 if spec.optimizer is None else max(1, spec.settings.epochs * spec.batch.steps(loaded.samples))


def _require_step(step: int, last: int) -> None:
    if not 1 <= step <= last:
        raise SpecError(f"--step takes a step of the run, from 1 to {last:,} (got {step:,})")


def _begun(loaded: Loaded, last: int) -> tuple[TrainingProblem, LrSchedules]:
    from gdcli.engine.param_groups import LrSchedules
    from gdcli.engine.problem import build

    built = build(loaded)
    return built, LrSchedules(built.updates, built.batches.per_epoch, last)


def trained_before(loaded: Loaded, step: int) -> str:
    """Return what is to be known of the numbers of a step; nothing of the first, which begins at the spec's own."""
    dtype = loaded.spec.settings.dtype
    if step == 1 or dtype == "float64":
        return ""
    before = "Step 1 was" if step == 2 else "The steps before were"
    return f"{before} trained in {dtype}, the spec's dtype; this one is in float64 from there."


def _advanced(built: TrainingProblem, rates: LrSchedules, until: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Train up to a step, and yield each with its rows before it is made. Raises RunError where the run diverges."""
    from gdcli.engine.evaluation import loss_of
    from gdcli.engine.loop import training_step

    every, t = range(built.loaded.samples), 0
    if built.loaded.spec.settings.epochs == 0:
        yield 1, tuple(every)
        return
    while True:
        for rows in built.batches.epoch():
            t += 1
            yield t, tuple(every[rows.index] if isinstance(rows.index, slice) else rows.index.tolist())
            if t == until:
                return
            training_step(built, rows, rates.at(t), t)
            if rates.follow_loss and t % built.batches.per_epoch == 0:
                rates.observe(float(loss_of(built, built.validation or built.batches.whole())[0]))
            if not bool(built.theta.values.isfinite().all()):
                raise RunError(f"the run diverges at step {t:,}, before step {until:,}")


def _decimal(loaded: Loaded, values: Mapping[str, Nested]) -> dict[str, Nested]:
    """Return the start values that stand in the spec as numbers, without rounding to its dtype."""
    from gdcli.zoo.models import Objective

    start = loaded.architecture.start if isinstance(loaded.architecture, Objective) else {}
    given: dict[str, Nested] = {name: float(value) for name, value in start.items()}
    for pattern, value in loaded.spec.model.init.items():
        for name in match(pattern, values):
            given.pop(name, None)
            if isinstance(value, list | int | float):
                given[name] = np.broadcast_to(np.asarray(value, np.float64), np.shape(values[name])).tolist()
    return given


def _rules(built: TrainingProblem, step: int, now: Sequence[GroupStep]) -> dict[str, ParameterRule]:
    """Return each trained parameter's settings and state; the stretches of theta are in the order of its slots."""
    spec, theta = built.loaded.spec, built.theta
    if not built.updates or spec.optimizer is None:
        return {}
    from gdcli.engine.param_groups import param_groups

    rules = {}
    for update, part, (_, lr) in zip(built.updates, param_groups(spec, theta.trained), now, strict=True):
        own = spec.optimizer.groups[part.group] if part.group else {}
        flat = {name: tensor.cpu().double().tolist() for name, tensor in update.bound.state.items()}
        for slot in theta.trained:
            if part.start <= slot.start < part.end:
                state = tuple(
                    {name: value[k - part.start] if isinstance(value, list) else value for name, value in flat.items()}
                    for k in range(slot.start, slot.stop)
                )
                settings = {**spec.optimizer.arguments, **own}
                rules[slot.name] = ParameterRule(spec.optimizer.name, settings, step, float(lr), state)
    return rules
