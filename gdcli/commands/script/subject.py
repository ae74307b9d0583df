"""What a script is written of: the spec with its data, and what several parts of the script ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gdcli.engine.batches import each_step_has_the_whole_loss
from gdcli.engine.layers import TracedLayer, flattened
from gdcli.engine.start_values import start_values
from gdcli.engine.tracing import traced
from gdcli.spec.load import Loaded
from gdcli.spec.models import match
from gdcli.spec.sections import Ingredient, RunSpec
from gdcli.zoo.models import Chain, Objective, Stack


@dataclass(frozen=True, slots=True)
class ScriptSubject:
    """A spec that a script is written of."""

    loaded: Loaded
    shapes: Mapping[str, tuple[int, ...]]  # of each parameter by its full name, in the model's order
    layers: tuple[TracedLayer, ...] = ()  # of a sequential model
    beside: dict[str, bytes] = field(default_factory=dict)  # files that the script reads, by name

    @classmethod
    def of(cls, loaded: Loaded) -> ScriptSubject:
        """Return it, of a spec that torch can make. Raises SpecError for layers that do not fit."""
        values, _ = start_values(loaded, getattr(torch, loaded.spec.settings.dtype))
        model = loaded.architecture
        layers = traced(loaded) if isinstance(model, Stack) and model.own is None else ()
        return cls(loaded, {name: tuple(value.shape) for name, value in values.items()}, layers)

    @property
    def spec(self) -> RunSpec:
        """The spec."""
        return self.loaded.spec

    @property
    def trained(self) -> list[str]:
        """The names of the parameters that are trained."""
        frozen = {name for pattern in self.spec.model.freeze for name in match(pattern, self.shapes)}
        return [name for name in self.shapes if name not in frozen]

    @property
    def is_objective(self) -> bool:
        """Whether there are no data."""
        return isinstance(self.loaded.architecture, Objective)

    @property
    def has_model(self) -> bool:
        """Whether there is a module of torch: not for an objective, nor for a loss of the data alone."""
        model = self.loaded.architecture
        return isinstance(model, Stack) or (isinstance(model, Chain) and bool(model.layers))

    @property
    def has_two_modes(self) -> bool:
        """Whether the model gives other outputs in training."""
        model = self.loaded.architecture
        return isinstance(model, Stack) and model.trains_otherwise

    # --- steps --------------------------------------------------------------------------------------------------------

    @property
    def epochs(self) -> int:
        """How many there are at most."""
        return self.spec.settings.epochs

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.spec.batch.steps(self.loaded.samples)

    @property
    def rows(self) -> int:
        """Rows of a step."""
        return self.spec.batch.rows(self.loaded.samples)

    @property
    def shuffles(self) -> bool:
        """Whether each epoch draws an order."""
        return self.spec.batch.shuffles and self.loaded.samples > 0

    @property
    def takes_all(self) -> bool:
        """Whether a step takes all rows in their order, or there are none."""
        return self.is_objective or (self.rows >= self.loaded.samples and not self.shuffles)

    @property
    def accumulates(self) -> bool:
        """Whether a step adds up the gradients of several batches."""
        return self.spec.batch.accumulate > 1 and self.epochs > 0 and not self.is_objective

    @property
    def whole_loss(self) -> bool:
        """Whether a step's loss and gradient are those of all rows."""
        return each_step_has_the_whole_loss(self.loaded)

    # --- what is looked at after an epoch -----------------------------------------------------------------------------

    @property
    def schedules(self) -> list[Ingredient]:
        """All schedules of the learning rate."""
        given = self.spec.scheduler
        return [] if given is None else [each for each in (given.base, *given.groups.values()) if each is not None]

    @property
    def follows_loss(self) -> bool:
        """Whether a schedule is told the loss after each epoch."""
        return any(map(is_followed, self.schedules))

    @property
    def watched_rows(self) -> str:
        """The rows whose loss patience watches."""
        named = self.spec.stop.metric or self.spec.settings.metric or "loss"
        held_out = self.loaded.validation is not None and not named.startswith("training_")
        return "validation" if held_out else "training"

    @property
    def needs_validation(self) -> bool:
        """Whether the loss of the validation rows decides anything."""
        watches = self.spec.stop.patience is not None and self.watched_rows == "validation"
        return watches or (self.follows_loss and self.loaded.validation is not None)

    @property
    def needs_full_loss(self) -> bool:
        """Whether the loss of all training rows is worked out after each epoch."""
        stop = self.spec.stop
        watches = stop.patience is not None and self.watched_rows == "training"
        follows = self.follows_loss and self.loaded.validation is None
        printed = self.spec.style == "epoch" and self.epochs > 0
        return printed or stop.loss is not None or watches or follows

    @property
    def sample_columns(self) -> bool:
        """Whether single rows of the data are printed."""
        return self.spec.style in ("manual", "autograd") and self.epochs > 0

    @property
    def prints_unrounded(self) -> bool:
        """Whether rows are printed that the run's dtype does not hold."""
        table = self.loaded.training
        if not self.sample_columns or table is None or self.spec.settings.dtype == "float64":
            return False
        return any(bool((values != values.astype(np.float32)).any()) for values in (table.x, table.y))

    @property
    def has_buffers(self) -> bool:
        """Whether the model has tensors that are no parameters, such as the means of a batch norm."""
        return any("Norm" in layer.layer.layer for layer in flattened(self.layers))

    def mode(self, name: str) -> list[str]:
        """Return the line that puts the model into a mode, train or eval; none where both are one."""
        return [f"model.{name}()"] if self.has_two_modes else []

    def dtype(self) -> tuple[str, ...]:
        """Return the last argument of a tensor or a layer, where its dtype is not the one that it has anyway."""
        own = self.spec.settings.dtype
        return () if own == "float32" else (f"dtype=torch.{own}",)


def is_followed(schedule: Ingredient) -> bool:
    """Say whether a schedule is told the loss: reduce_on_plateau, alone or after a warm-up."""
    return "reduce_on_plateau" in (schedule.name, then_of(schedule).get("name"))


def then_of(schedule: Ingredient) -> dict[str, Any]:
    """Return the name and the arguments of the schedule after a warm-up; nothing where there is none."""
    then = schedule.arguments.get("then") if schedule.name == "warmup" else None
    return {"name": then} if isinstance(then, str) else dict(then or {})
