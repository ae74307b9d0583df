"""What is known of R runs without a step: the loss on some rows, metrics, predictions, what a run starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.batches import Rows, aligned
from gdcli.engine.problem import TrainingProblem
from gdcli.records import Floats, Prediction, Start
from gdcli.spec.load import Loaded
from gdcli.spec.metrics import metrics_of, watched_of
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.metrics import MATRICES, Metric
from gdcli.zoo.models import Chain, Stack
from gdcli.zoo.preprocessing import Preprocessing

MOST_ROWS, PART_UNIT = 4096, 64
"""Rows that are evaluated at once, unless a step has more, and what their number is a multiple of."""
HELD_OUT = ("validation", "test")
IN_UNITS = "loss_in_units"
"""The loss as it is of targets in their own units, where those are standardized; without the penalty."""


def metric_names(loaded: Loaded) -> list[str]:
    """Return the numbers that a spec's outcome has as metrics, without running it."""
    names, watched = [name for name in metrics_of(loaded) if name not in MATRICES], watched_of(loaded)
    names += [] if unit_of(loaded) is None else [IN_UNITS]
    held_out = [part for part in HELD_OUT if getattr(loaded, part) is not None]
    found = names + [f"{part}_{name}" for part in held_out for name in ("loss", *names)]
    return found + ([*watched.best_names] if watched is not None else [])


def unit_of(loaded: Loaded) -> float | None:
    """Return what a loss is to be multiplied by to be that of targets in their own units, where those are scaled."""
    spec, fitted = loaded.spec, loaded.preprocessing
    return None if spec.loss is None or fitted is None else fitted.loss_unit(spec.loss.name)


def in_units(values: Tensor, fitted: Preprocessing | None) -> Tensor:
    """Return outputs or targets [B, O] as metrics take them: in float64 in their own units, where they are scaled."""
    if fitted is None or fitted.target_means is None or fitted.target_deviations is None:
        return values
    means, deviations = (
        torch.as_tensor(each).to(values.device) for each in (fitted.target_means, fitted.target_deviations)
    )
    return values.double() * deviations + means


def forward_by_parts(problem: TrainingProblem, x: Any) -> Any:
    """Return the output for rows as the kernel takes them, a part of them after the other: what layers hold is bounded.

    No part is smaller than a step's batch, and each begins at a multiple of 64 rows: on one thread the bits are those
    of all rows at once. Where rows may depend on each other, or the kernel has cut them already, they stay together.
    """
    kernel, model, axis = problem.kernel, problem.loaded.architecture, 1 if problem.is_fleet else 0
    rows = x.shape[axis] if isinstance(x, Tensor) and x.ndim > 1 else 0
    count = -(-rows // max(MOST_ROWS, problem.batches.rows))
    if count < 2 or (isinstance(model, Stack) and model.mixes_rows):
        return kernel.forward(x)
    size = -(-rows // (count * PART_UNIT)) * PART_UNIT
    parts = (kernel.forward(aligned(part)) for part in torch.split(x, size, axis))
    return torch.cat([part.clone() if problem.is_fleet else part for part in parts], axis)  # a fleet's is overwritten


def loss_of(problem: TrainingProblem, rows: Rows) -> Floats:
    """Return the losses [R] on some rows. Synchronises with the device."""
    return Evaluation(problem, rows, "", {})()[0]


def final(problem: TrainingProblem, outputs: Mapping[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
    """Return the losses [R] of the whole training set, and the metrics [R] there and on the rows held out.

    ``outputs`` are those of the parameters as they are, as far as they are known already.
    """
    metrics, known = metrics_of(problem.loaded), outputs or {}
    loss, found = Evaluation(problem, problem.batches.whole(), "training", metrics)(known.get("training"))
    for which in HELD_OUT:
        if (rows := getattr(problem, which)) is not None:
            held_out, more = Evaluation(problem, rows, which, metrics)(known.get(which))
            found |= {f"{which}_{name}": values for name, values in {"loss": held_out, **more}.items()}
    return loss, found


class Evaluation:
    """Loss and metrics on some rows, of the parameters as they are: one forward pass for all."""

    def __init__(self, problem: TrainingProblem, rows: Rows, which: str, metrics: Mapping[str, Metric]) -> None:
        """``which`` names the runs' tables of these rows, whose targets the metrics are of."""
        self._problem, self._rows, self._metrics = problem, rows, metrics
        tables = [getattr(loaded, which) for loaded in problem.members] if metrics else []
        self._fitted = [loaded.preprocessing for loaded in problem.members]
        made = {  # on the device, once for all runs of the same data
            id(table): in_units(torch.as_tensor(np.ascontiguousarray(table.y)).to(problem.device), fitted)
            for table, fitted in zip(tables, self._fitted, strict=False)
        }
        has_units = bool(which) and unit_of(problem.loaded) is not None
        self._units = np.array([unit_of(loaded) for loaded in problem.members], np.float64) if has_units else None
        self._targets = [made[id(table)] for table in tables]
        self.output: Any = None  # for all rows, of the last evaluation

    def __call__(self, output: Any = None) -> tuple[Floats, dict[str, Any]]:
        """Return the losses [R] and each metric [R], of matrices a list. Synchronises with the device.

        ``output`` is :attr:`output` after another evaluation of the same rows and parameters.
        """
        kernel, rows = self._problem.kernel, self._rows
        with torch.no_grad():
            self.output = output = forward_by_parts(self._problem, rows.x) if output is None else output
            losses, penalized = kernel.loss_of(output, rows.y), self._problem.penalized
            own = {} if self._units is None else {IN_UNITS: self._numbers(losses) * self._units}
            if penalized is not None and rows.index is not None:  # of training rows
                losses = losses + penalized.value()
            loss = self._numbers(losses)
            if not self._metrics:
                return loss, own
            outputs = [o.contiguous() for o in kernel.by_run(output)[: self._problem.runs]]
        found: dict[str, Any] = {}
        scaled_back = [in_units(o, fitted) for o, fitted in zip(outputs, self._fitted, strict=True)]
        rows_of = list(zip(scaled_back, self._targets, strict=True))
        for name, metric in self._metrics.items():
            values = [metric(o, y) for o, y in rows_of]
            found[name] = values if name in MATRICES else np.array(values, np.float64)
        return loss, found | own

    def _numbers(self, losses: Tensor) -> Floats:
        found: Floats = losses[: self._problem.runs].cpu().numpy().astype(np.float64)
        return found


def starts_of(problem: TrainingProblem) -> list[Start]:
    """Return what is known of each run before its first step."""
    spec, model = problem.loaded.spec, problem.loaded.architecture
    last = model.layers[-1] if isinstance(model, Chain) and model.layers else None
    node = "" if last is None else ACTIVATIONS[last.activation]().grad_fn or ("Addmm" if last.bias else "Mm")
    return [
        Start(
            loss=spec.loss.name if spec.loss else "objective",
            loss_grad_fn=problem.loss.grad_fn if problem.loss else "",
            output_grad_fn=node,
            dtype=spec.settings.dtype,
            parameters=problem.theta.parameters(run),
            samples=problem.loaded.samples,
            watched=() if problem.watched is None else problem.watched.names,
            prediction=prediction,
        )
        for run, prediction in enumerate(predictions_of(problem))
    ]


def predictions_of(problem: TrainingProblem) -> list[Prediction | None]:
    """Return each run's output for the number or row that the spec asks for."""
    asked = problem.loaded.spec.print.predict
    if asked is None:
        return [None] * problem.runs
    row = np.array([asked if isinstance(asked, list) else [asked]], np.float64)
    rows = [loaded.prepared(row) for loaded in problem.members]  # as the data of each run
    same = all(np.array_equal(rows[0], other) for other in rows)
    x = torch.as_tensor(rows[0] if same else np.stack(rows)).to(problem.device, problem.dtype)  # [1, D] or [R, 1, D]
    arranged, _ = problem.kernel.arranged(x, x)
    shown = tuple(asked) if isinstance(asked, list) else asked
    with np.errstate(all="ignore"):
        outputs: Any = problem.kernel.by_run(problem.kernel.forward(arranged))[: problem.runs, 0].cpu().numpy().copy()
    return [Prediction(shown, loaded.in_units(output)) for loaded, output in zip(problem.members, outputs, strict=True)]
