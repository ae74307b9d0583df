"""The names that `expect` may have in a spec: what stands in summary.json, and the scalars of the parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from gdcli.errors import Problem, nearest
from gdcli.spec.expectations import entry_of
from gdcli.spec.metrics import metrics_of, unfit
from gdcli.zoo.metrics import MATRICES, METRICS

if TYPE_CHECKING:
    from gdcli.spec.load import Loaded

NUMBERS = ("final_loss", "best_loss", "steps", "epochs")
"""What every run has."""
MAX_LISTED = 100  # of a large model's scalars: more are not compared with an unknown name

Shapes = Mapping[str, tuple[int, ...]]


def names(loaded: Loaded) -> list[str]:
    """Return the names that stand in summary.json, without those of the parameters."""
    metrics = [name for name in metrics_of(loaded) if name not in MATRICES]
    held_out = [rows for rows in ("validation", "test") if getattr(loaded, rows) is not None]
    last = ["last_loss"] if loaded.spec.stop.restore else []
    return [*NUMBERS, *last, *metrics, *(f"{rows}_{name}" for rows in held_out for name in ("loss", *metrics))]


def problems(loaded: Loaded, shapes: Shapes | None) -> Iterator[Problem]:
    """Yield the names of `expect` that the run's end has not; without shapes those of parameters are not checked."""
    if not loaded.spec.expect:
        return
    known = names(loaded)
    for name in loaded.spec.expect:
        parameter, index = entry_of(name)
        if name in known or (shapes is None and name not in METRICS):
            continue
        shape = (shapes or {}).get(parameter)
        if shape is None:
            yield _unknown(loaded, name, known, shapes or {})
        elif len(index) != len(shape) or any(k >= size for k, size in zip(index, shape, strict=True)):
            what = f"is no scalar of {parameter}, whose shape is {list(shape)}"
            yield loaded.spec.problem(("expect", name), what, nearest(name, _entries({parameter: shape})), at_key=True)


def _unknown(loaded: Loaded, name: str, known: Iterable[str], shapes: Shapes) -> Problem:
    spec = loaded.spec
    if name in METRICS:
        if name in MATRICES:
            return spec.problem(("expect", name), "a matrix is no number", f"Known: {', '.join(known)}", at_key=True)
        if found := [*unfit(spec, ("expect", name), name, spec.loss.name if spec.loss else "", loaded.training)]:
            return found[0]
        hint = f"Add it: metrics: [{', '.join([*(spec.settings.metrics or ()), name])}]"
        return spec.problem(("expect", name), "the run has no such metric", hint, at_key=True)
    hint = nearest(name, [*known, *_entries(shapes)])
    return spec.problem(("expect", name), "the end of the run has no such number", hint, at_key=True)


def _entries(shapes: Shapes) -> Iterator[str]:
    """Yield the names of the first scalars."""
    every = chain.from_iterable(
        (f"{name}[{','.join(map(str, index))}]" if shape else name for index in _indices(shape))
        for name, shape in shapes.items()
    )
    return islice(every, MAX_LISTED)


def _indices(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    count = min(prod(shape), MAX_LISTED)
    return (tuple(int(k) for k in np.unravel_index(place, shape)) if shape else () for place in range(count))
