"""The gradient of the loss at an input or an intermediate value: over a run's steps, or as images before one."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import torch

from gdcli.commands.plot.layers import of_blocks
from gdcli.commands.plot.runs import CurveSource, Floats, gradients_in
from gdcli.errors import SpecError
from gdcli.report import plots
from gdcli.spec.load import Loaded
from gdcli.spec.watch import is_watched, wrong
from gdcli.storage import record

if TYPE_CHECKING:
    from gdcli.engine.problem import TrainingProblem

MOST_IMAGES = 6


def watching(source: CurveSource, of: str) -> Loaded:
    """Return a run's spec that watches one value alone. Raises SpecError for a value that is not there."""
    if problem := wrong(of, source.loaded):
        what, hint = problem
        raise SpecError(f"--of: {source.label}: {what}. {hint}".removesuffix(". "))
    return replace(source.loaded, spec=source.loaded.spec.with_settings(watch=[of]))


def is_image(shape: tuple[int, ...]) -> bool:
    """Say whether the numbers of a row lie on a plane: [H, W] or [C, H, W].

    >>> is_image((1, 8, 8)), is_image((64,)), is_image((5, 1))
    (True, False, False)
    """
    return len(shape) in (2, 3) and min(shape[-2:]) > 1


def row_shape(loaded: Loaded) -> tuple[int, ...]:
    """Return the shape of the watched value in a row; () for a single number."""
    from gdcli.engine.start_values import start_values
    from gdcli.engine.watched import watched_values

    _, module = start_values(replace(loaded, bounded=False), getattr(torch, loaded.spec.settings.dtype))
    (value,) = watched_values(replace(loaded, bounded=False), module)
    return value.shape


def over_steps(source: CurveSource, of: str) -> tuple[Floats, list[tuple[str, Floats]]]:
    """Return steps [K] and the gradient [K] at each number of a value: as recorded, else trained for it."""
    if source.folder is not None and is_watched(of, source.loaded.spec.settings.watch):
        (_, *names), table = gradients_in(source.folder)
    else:
        names, table = of_blocks(watching(source, of))
    steps, values = table[:, 0], table[:, 1:]
    return steps, [(name, values[:, k]) for k, name in enumerate(names) if is_watched(name, [of])]


def images(source: CurveSource, of: str, step: int | None) -> tuple[int, list[plots.GradientImage]]:
    """Return a step and the gradients of its first rows as images, one a channel; of the inputs with the rows.

    Without a step it is the run's last.
    """
    from gdcli.commands.explain.point import problem_before

    loaded = replace(watching(source, of), bounded=False)
    step = _last(source) if step is None else step
    built, _, rows = problem_before(loaded, step)
    built.kernel.step(*built.kernel.arranged(built.batches.x[list(rows)], built.batches.y[list(rows)]))
    assert built.watched is not None
    shape = row_shape(loaded)
    gradient = built.watched.flat.double().cpu().numpy()[: len(rows) * prod(shape)]
    planes = gradient.reshape(len(rows), -1, *shape[-2:])  # [B, C, H, W]
    shown = max(1, MOST_IMAGES // planes.shape[1])
    return step, [image for b in range(min(shown, len(rows))) for image in _of_row(built, of, rows[b], planes[b])]


def _of_row(built: TrainingProblem, of: str, row: int, planes: Floats) -> list[plots.GradientImage]:
    table = built.loaded.training
    assert table is not None
    inputs = built.batches.x[row].double().cpu().numpy().reshape(planes.shape) if of == "x" else None
    label = f"row {row + 1}" + (f", class {_class(built.loaded, int(table.y[row]))}" if table.y.ndim == 1 else "")
    return [
        plots.GradientImage(
            label if len(planes) == 1 else f"{label}, channel {c}", plane, None if inputs is None else inputs[c]
        )
        for c, plane in enumerate(planes[:MOST_IMAGES])
    ]


def _class(loaded: Loaded, index: int) -> str:
    names = loaded.preprocessing.classes if loaded.preprocessing is not None else None
    return str(names[index]) if names else str(index)


def _last(source: CurveSource) -> int:
    spec = source.loaded.spec
    made = None if source.folder is None else record.read(source.folder).steps
    return max(1, made or spec.settings.epochs * spec.batch.steps(source.loaded.samples))
