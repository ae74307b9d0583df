"""Where a run stands before its N-th step: parameters, the rules' state and the rows of the step, by the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gdcli.errors import RunError, SpecError
from gdcli.spec.load import Loaded
from gdcli.spec.models import match

if TYPE_CHECKING:
    from gdcli.engine.batches import Rows
    from gdcli.engine.param_groups import GroupStep, LrSchedules
    from gdcli.engine.problem import TrainingProblem

Nested = Any  # floats, or lists of them: a parameter's values in its shape


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """How one parameter is updated: its settings, the learning rate of the step, and the state of each scalar."""

    settings: Mapping[str, Any]
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
    from gdcli.engine.problem import build

    last = _last(loaded)
    if not 1 <= step <= last:
        raise SpecError(f"--step takes a step of the run, from 1 to {last:,} (got {step:,})")
    built = build(loaded)
    rates = built.schedules()
    rows = _advance(built, rates, step)
    parameters = _values(built)
    unchanged = {slot.name for slot in built.theta.slots if step == 1 or not slot.trained}
    parameters |= {name: value for name, value in _decimal(loaded, parameters).items() if name in unchanged}
    return EvaluationPoint(
        step,
        _positions(rows, loaded.samples),
        parameters,
        _rules(built, rates.of_epoch((step - 1) // built.batches.per_epoch)),
    )


def _last(loaded: Loaded) -> int:
    spec = loaded.spec
    return max(1, spec.settings.epochs * spec.batch.steps(loaded.samples)) if spec.optimizer is not None else 1


def _advance(built: TrainingProblem, rates: LrSchedules, step: int) -> Rows | None:
    """Train up to a step and return its rows; None for all of them."""
    from gdcli.engine.loop import training_step

    if built.loaded.spec.settings.epochs == 0:
        return None
    t = 0
    while True:
        for rows in built.batches.epoch():
            t += 1
            if t == step:
                return rows
            training_step(built.kernel.step, rows, rates.of_epoch((t - 1) // built.batches.per_epoch), t)
            if not bool(built.theta.values.isfinite().all()):
                raise RunError(f"the run diverges at step {t:,}, before step {step:,}")


def _positions(rows: Rows | None, samples: int) -> tuple[int, ...]:
    if rows is None or isinstance(rows.index, slice):
        return tuple(range(samples))[slice(None) if rows is None else rows.index]
    return tuple(rows.index.tolist())


def _values(built: TrainingProblem) -> dict[str, Nested]:
    return {slot.name: built.theta.view(slot).cpu().double().tolist() for slot in built.theta.slots}


def _decimal(loaded: Loaded, values: Mapping[str, Nested]) -> dict[str, Nested]:
    """Return the start values that stand in the spec as numbers, without rounding to its dtype."""
    from gdcli.zoo.models import Objective

    given: dict[str, Nested] = {}
    if isinstance(loaded.architecture, Objective):
        given.update({name: float(value) for name, value in loaded.architecture.start.items()})
    for pattern, value in loaded.spec.model.init.items():
        for name in match(pattern, values):
            given.pop(name, None)
            if isinstance(value, list):
                given[name] = _floats(value)
            elif isinstance(value, int | float):
                given[name] = _filled(values[name], float(value))
    return given


def _floats(value: Nested) -> Nested:
    return [_floats(part) for part in value] if isinstance(value, list) else float(value)


def _filled(like: Nested, value: float) -> Nested:
    return [_filled(part, value) for part in like] if isinstance(like, list) else value


def _rules(built: TrainingProblem, now: Sequence[GroupStep]) -> dict[str, ParameterRule]:
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
                rules[slot.name] = ParameterRule({**spec.optimizer.arguments, **own}, float(lr), state)
    return rules
