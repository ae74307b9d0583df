"""What is known of R runs without a step: the loss on some rows, metrics, predictions, what a run starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from gdcli.engine.batches import Rows
from gdcli.engine.problem import TrainingProblem
from gdcli.records import Floats, Integers, Prediction, Start
from gdcli.spec.load import Loaded
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.metrics import Metric, metrics_of
from gdcli.zoo.models import Chain

BEST = ("best_validation_loss", "best_validation_epoch")
"""The lowest loss on the validation rows at the end of an epoch, and that epoch, where patience watches it."""


def metric_names(loaded: Loaded) -> list[str]:
    """Return the metrics that a spec's outcome has, without running it."""
    names = [*_metrics_of(loaded)]
    held_out = [] if loaded.validation is None else ["validation_loss", *(f"validation_{name}" for name in names)]
    return names + held_out + ([*BEST] if held_out and loaded.spec.stop.patience is not None else [])


def _metrics_of(loaded: Loaded) -> dict[str, Metric]:
    return metrics_of(loaded.spec.loss.name if loaded.spec.loss else "", loaded.training)


def loss_of(problem: TrainingProblem, rows: Rows) -> Floats:
    """Return the losses [R] on some rows. Synchronises with the device."""
    return _on(problem, rows, "", {})[0]


def final(problem: TrainingProblem) -> tuple[Floats, dict[str, Floats | Integers]]:
    """Return the losses [R] of the whole training set, and the metrics [R] there and on the validation rows."""
    metrics = _metrics_of(problem.loaded)
    loss, found = _on(problem, problem.batches.whole(), "training", metrics)
    if problem.validation is not None:
        held_out, more = _on(problem, problem.validation, "validation", metrics)
        found |= {"validation_loss": held_out} | {f"validation_{name}": values for name, values in more.items()}
    return loss, found


def _on(
    problem: TrainingProblem, rows: Rows, which: str, metrics: Mapping[str, Metric]
) -> tuple[Floats, dict[str, Floats | Integers]]:
    """Return loss and metrics on some rows, one forward pass for all."""
    kernel = problem.kernel
    with torch.no_grad():
        output = kernel.forward(rows.x)
        loss: Floats = kernel.loss_of(output, rows.y)[: problem.runs].cpu().numpy().astype(np.float64)
        if not metrics:
            return loss, {}
        tables = [getattr(loaded, which) for loaded in problem.members]
        targets = {  # on the device, once for all runs of the same data
            key: torch.as_tensor(np.ascontiguousarray(table.y)).to(output.device)
            for key, table in {id(table): table for table in tables}.items()
        }
        pairs = [(each, targets[id(table)]) for each, table in zip(kernel.by_run(output), tables, strict=False)]
        return loss, {name: np.array([metric(o, y) for o, y in pairs]) for name, metric in metrics.items()}


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
    return [Prediction(shown, output) for output in outputs]
