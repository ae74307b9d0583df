"""How large a spec may be, and what its run takes of memory and disk at least, by arithmetic alone.

Work that no machine could do is refused before it starts; nothing is allocated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod

from gdcli.errors import Problem
from gdcli.spec.sections import Optimizer, RunSpec
from gdcli.spec.signature import Path
from gdcli.zoo.models import Chain, Objective
from gdcli.zoo.optimizers import state_tensors

# Scalars of one model: 4 GB in float32, and as much again for the gradient and each state of the optimizer.
MAX_PARAMETERS = 10**9
# Layers of a model, as many as a list of torch's may have; the names of its parameters are matched with globs.
MAX_LAYERS = 1_000
MAX_POINTS = 5 * 10**8  # scalars of generated data
MAX_ACTIVATIONS = 10**8  # scalars that a layer of torch's gives for one row
MAX_STEPS = 10**10  # optimizer steps of one run: days at ten microseconds each
MAX_RECORD = 10**12  # bytes of steps.csv, gradients.csv and the other tables of one run's steps
MAX_GRID = 10**7  # points of a sweep over a parameter of the model, evaluated at once
MAX_RUNS = 10_000  # runs of a sweep over keys, or of a comparison
RAISE = "gdcli run --no-limits allows it"

_INDICES = 16  # bytes a scalar: two orders of all scalars
_STEP_ROW = 60  # bytes of a row of steps.csv
_NUMBER = 20  # bytes of a number in gradients.csv, with its comma
MAX_VALUES_AUTO = 1_000  # trained scalars up to which `record.gradients: auto` keeps every value
MAX_RECORDED = 1_000  # scalars up to which `record.parameters` can be asked for


def parameters(model: Chain | Objective) -> int:
    """Return the scalars of a model."""
    return sum(map(prod, model.shapes.values()))


def states(optimizer: Optimizer | None) -> int:
    """Return how many numbers an optimizer keeps of each scalar."""
    return 0 if optimizer is None else state_tensors(optimizer.name, optimizer.arguments)


def memory(spec: RunSpec, model: Chain | Objective, rows: int, columns: int, runs: int = 1) -> int:
    """Return the bytes that a run needs at least: its model, its data and one step.

    Of every scalar there are the start value, the value, the gradient, the last finite value and twice the optimizer's
    state; the data stand in memory as read, counted in float64, and as the engine takes them. ``runs`` of a fleet share
    the data.

    Shapes: data of ``rows`` [rows, columns], targets counted as columns.
    """
    item = _item(spec)
    scalars = parameters(model)
    a_scalar = (4 + 2 * states(spec.optimizer)) * item + _INDICES
    if spec.clip.is_on:
        a_scalar += item
    if spec.record.gradients == "values":
        a_scalar += item + 8  # a row of the block, and as float64
    units = sum(layer.outputs for layer in model.layers) if isinstance(model, Chain) else 0
    step = step_memory(spec, rows, units) if rows else 0
    return runs * (scalars * a_scalar + step) + data_memory(spec, rows * columns)


def step_memory(spec: RunSpec, rows: int, units: int) -> int:
    """Return the bytes of a step: outputs, activations and their gradients, of so many units a row."""
    return 3 * spec.batch.pass_rows(rows) * units * _item(spec)


def data_memory(spec: RunSpec, numbers: int) -> int:
    """Return the bytes of that many numbers of data."""
    return numbers * (8 + _item(spec))


def record(spec: RunSpec, model: Chain | Objective, steps: int, watched: int = 0) -> int:
    """Return about how many bytes steps.csv, gradients.csv, parameters.csv and layers.csv will have after all steps.

    ``watched`` are the columns of gradients at watched values.
    """
    scalars = parameters(model)
    kept = spec.record.gradients
    if kept == "auto":
        kept = "values" if scalars <= MAX_VALUES_AUTO else "norms"
    columns = {"values": scalars, "norms": len(model.shapes), "none": 0}[kept]
    columns += watched + scalars * spec.record.parameters + 5 * len(model.shapes) * spec.record.layers
    return steps * _STEP_ROW + steps // spec.record.every * columns * _NUMBER


def too_many_recorded(spec: RunSpec, scalars: int) -> Iterator[Problem]:
    """Yield a problem where parameters.csv would have too many columns."""
    if spec.record.parameters and scalars > MAX_RECORDED:
        what = f"parameters.csv is for at most {MAX_RECORDED:,} scalars, the model has {scalars:,}"
        hint = "record.layers tells of each parameter as a whole"
        yield spec.problem(("record", "parameters"), what, hint)


def machine() -> int | None:
    """Return the bytes of memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def too_much_memory(spec: RunSpec, path: Path, what: str, needed: int, hint: str = RAISE) -> Iterator[Problem]:
    """Yield a problem where this machine has less memory than is needed."""
    there = machine()
    if there is not None and needed > there:
        what += f" at least {gigabytes(needed)} of memory, this machine has {gigabytes(there)}"
        yield spec.problem(path, what, hint)


def gigabytes(count: int) -> str:
    """Return bytes as people read them.

    >>> gigabytes(24 * 10**9), gigabytes(10**20)
    ('24.0 GB', '100,000,000,000.0 GB')
    """
    return f"{count // 10**8 / 10:,.1f} GB"


def _item(spec: RunSpec) -> int:
    return 8 if spec.settings.dtype == "float64" else 4
