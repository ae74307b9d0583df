"""What is known of R runs without a step: the loss on some rows, metrics, predictions, what a run starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.batches import Rows
from gdcli.engine.problem import TrainingProblem
from gdcli.records import Floats, Prediction, Start
from gdcli.spec.load import Loaded
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import accuracy_of
from gdcli.zoo.models import Affine, Chain


def metric_names(loaded: Loaded) -> list[str]:
    """Return the metrics that a spec's outcome has, without running it."""
    has_accuracy = accuracy_of(loaded.spec.loss.name if loaded.spec.loss else "", loaded.training) is not None
    found = ["accuracy"] if has_accuracy else []
    if loaded.validation is not None:
        found += ["validation_loss", *(["validation_accuracy"] if has_accuracy else [])]
    return found


def loss_of(problem: TrainingProblem, rows: Rows) -> Floats:
    """Return the losses [R] on some rows. Synchronises with the device."""
    kernel = problem.kernel
    with torch.no_grad():
        return _on_host(problem, kernel.loss_of(kernel.forward(rows.x), rows.y))


def _on_host(problem: TrainingProblem, column: Tensor) -> Floats:
    found: Floats = column[: problem.runs].cpu().numpy().astype(np.float64)
    return found


def final(problem: TrainingProblem) -> tuple[Floats, dict[str, Floats]]:
    """Return the losses [R] of the whole training set, and the metrics: accuracy, and both on the validation rows."""
    kernel, loaded, found = problem.kernel, problem.loaded, {}
    accuracy = accuracy_of(loaded.spec.loss.name if loaded.spec.loss else "", loaded.training)
    whole = problem.batches.whole()
    with torch.no_grad():
        output = kernel.forward(whole.x)
        loss = _on_host(problem, kernel.loss_of(output, whole.y))
        if accuracy is not None:
            found["accuracy"] = _accuracies(problem, accuracy, output, "training")
        if problem.validation is not None:
            held_out = problem.validation
            output = kernel.forward(held_out.x)
            found["validation_loss"] = _on_host(problem, kernel.loss_of(output, held_out.y))
            if accuracy is not None:
                found["validation_accuracy"] = _accuracies(problem, accuracy, output, "validation")
    return loss, found


def _accuracies(
    problem: TrainingProblem, accuracy: Callable[[Tensor, Tensor], float], output: Tensor, which: str
) -> Floats:
    outputs = problem.kernel.by_run(output)
    targets: dict[int, Tensor] = {}  # on the device, once for all runs of the same data
    found = []
    for run, loaded in enumerate(problem.members):
        table = getattr(loaded, which)
        if id(table) not in targets:
            targets[id(table)] = torch.as_tensor(np.ascontiguousarray(table.y)).to(outputs.device)
        found.append(accuracy(outputs[run], targets[id(table)]))
    return np.array(found)


def starts_of(problem: TrainingProblem) -> list[Start]:
    """Return what is known of each run before its first step."""
    spec, model = problem.loaded.spec, problem.loaded.architecture
    last = model.layers[-1] if isinstance(model, Chain) and model.layers else None
    return [
        Start(
            loss=spec.loss.name if spec.loss else "objective",
            loss_grad_fn=problem.loss.grad_fn if problem.loss else "",
            output_grad_fn="" if last is None else ACTIVATIONS[last.activation]().grad_fn or _product(last),
            dtype=spec.settings.dtype,
            parameters=problem.theta.parameters(run),
            samples=problem.loaded.samples,
            prediction=prediction,
        )
        for run, prediction in enumerate(predictions_of(problem))
    ]


def _product(layer: Affine) -> str:
    """Return torch's node of a layer without activation."""
    return "Addmm" if layer.bias else "Mm"


def predictions_of(problem: TrainingProblem) -> list[Prediction | None]:
    """Return each run's output for the number or row that the spec asks for."""
    asked = problem.loaded.spec.print.predict
    if asked is None:
        return [None] * problem.runs
    row = asked if isinstance(asked, list) else [asked]
    x = torch.tensor([row], dtype=problem.dtype, device=problem.device)
    arranged, _ = problem.kernel.arranged(x, x)
    shown = tuple(asked) if isinstance(asked, list) else asked
    with np.errstate(all="ignore"):
        outputs: Any = problem.kernel.by_run(problem.kernel.forward(arranged))[: problem.runs, 0].cpu().numpy().copy()
    return [Prediction(shown, output) for output in outputs]
