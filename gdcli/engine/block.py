"""A block while it grows: what is noted of each step, and how all of it comes to the host at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.param_groups import GroupStep
from gdcli.engine.problem import TrainingProblem
from gdcli.records import Block, Floats, Integers


@dataclass(slots=True)
class GrowingBlock:
    """What was noted of each step so far. Its rows are not kept: a step is made again from where they stand."""

    places: list[Any] = field(default_factory=list)  # `Rows.index` of each
    losses: list[Any] = field(default_factory=list)  # of which the kernel makes the losses
    outputs: list[Tensor] = field(default_factory=list)  # [R, B, O] each
    parameters: list[Tensor] = field(default_factory=list)  # [R, P] each, after the update
    loss_after: list[Floats] = field(default_factory=list)  # [R] each
    full_loss: list[Floats] = field(default_factory=list)  # [R] each
    evaluated: list[tuple[int, Floats]] = field(default_factory=list)  # position of an epoch's last step, [M, R]
    rates: list[list[GroupStep]] = field(default_factory=list)  # where there is a schedule

    def on_host(
        self, problem: TrainingProblem, wanted: Collection[str], first: int, losses: Floats, kept: Floats, kind: str,
        lr: Floats,
    ) -> Block:  # fmt: skip
        """Return the block from step ``first`` on; ``kept`` are gradients where ``kind`` is values, else norms."""
        made, per_epoch, order = len(self.losses), problem.batches.per_epoch, problem.theta.model_order
        step = np.arange(first, first + made, dtype=np.int64)
        epoch, batch = (step - 1) // per_epoch + 1, (step - 1) % per_epoch + 1
        if first == 0:  # the evaluation, which belongs to no epoch
            epoch, batch = np.zeros(1, np.int64), np.zeros(1, np.int64)
        return Block(
            step=step,
            epoch=epoch,
            batch=batch,
            last=(batch == per_epoch) | (step == 0),
            count=np.full(problem.runs, made),
            ended=np.zeros(problem.runs, dtype=bool),
            loss=losses,
            lr=lr if not self.rates else np.stack([lr_column(problem, groups[0][1]) for groups in self.rates]),
            gradients=kept if kind == "values" else None,
            norms=kept if kind != "values" else None,
            loss_after=np.array(self.loss_after) if self.loss_after else None,
            full_loss=np.array(self.full_loss) if self.full_loss else None,
            evaluated=self._evaluated(),
            sample=self._samples(problem) if "sample" in wanted else None,
            output=tuple(output.cpu().numpy() for output in self.outputs) if self.outputs else None,
            parameters=torch.stack(self.parameters).cpu().numpy()[:, :, order] if self.parameters else None,
        )

    def _evaluated(self) -> tuple[Integers, Floats] | None:
        """Return the positions of the epochs' last steps [E], and what was worked out after them [E, M, R]."""
        if not self.evaluated:
            return None
        return np.array([k for k, _ in self.evaluated]), np.array([values for _, values in self.evaluated])

    def _samples(self, problem: TrainingProblem) -> tuple[Floats, Floats]:
        """Return the rows of x and y as the spec has them, unrounded: of steps whose rows are the same for all runs."""
        table = problem.loaded.training
        assert table is not None
        places = [place.cpu().numpy() if isinstance(place, Tensor) else place for place in self.places]
        index = np.concatenate([np.arange(len(table.x))[place] for place in places])
        y = table.y[index].astype(np.float64)
        return table.x[index].astype(np.float64, copy=False), y if y.ndim == 2 else y[:, None]


def lr_column(problem: TrainingProblem, lr: Any) -> Floats:
    """Return a learning rate as one per run [R]."""
    width = problem.theta.values.shape[0]
    return np.broadcast_to(np.asarray(lr, dtype=np.float64).reshape(-1), (width,))[: problem.runs]
