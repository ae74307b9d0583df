"""The state of a fleet between two steps, taken out of its loop and put into one of the same runs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.fleet_loop import FleetLoop
from gdcli.errors import DamagedError
from gdcli.records import State

COLUMNS = ("open", "steps", "epochs", "best", "best_step", "bad_loss", "best_epoch_loss", "stale")
"""Arrays [R] of the loop."""


def capture(loop: FleetLoop) -> State:
    """Return the state after the last block. Synchronises with the device."""
    numbers = {
        "steps": loop.t,
        "status": list(loop.status),
        "message": list(loop.message),
        "shuffle": loop.fleet.batches.state(loop.t),
    }
    arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in _tensors(loop).items()}
    columns = {f"runs.{name}": getattr(loop, name).copy() for name in COLUMNS}
    ended = {f"ended.{run}": values for run, values in loop.kept_values.items()}
    return State(loop.t, numbers, arrays | columns | ended)


def fits(loop: FleetLoop, state: State) -> None:
    """Raise DamagedError for a state that is not one of these runs."""
    expected = capture(loop).arrays
    found = {name: array for name, array in state.arrays.items() if not name.startswith("ended.")}
    if {name: (a.dtype, a.shape) for name, a in expected.items()} != {n: (a.dtype, a.shape) for n, a in found.items()}:
        raise DamagedError("its tensors are not those of these runs")
    numbers, runs = state.numbers, loop.runs
    ended = {int(name.removeprefix("ended.")): array for name, array in state.arrays.items() if name not in found}
    shape, steps = loop.theta.values.shape[1:], loop.spec.settings.epochs * loop.per_epoch
    texts = all(
        isinstance(numbers.get(key), list) and len(numbers[key]) == runs and all(type(x) is str for x in numbers[key])
        for key in ("status", "message")
    )
    if not texts or not 0 <= state.steps <= steps or any(k >= runs or a.shape != shape for k, a in ended.items()):
        raise DamagedError("its position is not one of these runs")
    before = loop.fleet.batches.state(0)
    try:
        loop.fleet.batches.restore(numbers.get("shuffle"))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DamagedError("a generator cannot have the state that it says") from None
    finally:
        loop.fleet.batches.restore(before)


def restore(loop: FleetLoop, state: State) -> None:
    """Put a state that fits into a loop that has not begun."""
    with torch.no_grad():
        for name, tensor in _tensors(loop).items():
            tensor.copy_(torch.from_numpy(state.arrays[name]))
    for name in COLUMNS:
        setattr(loop, name, np.array(state.arrays[f"runs.{name}"]))
    loop.kept_values = {
        int(name.removeprefix("ended.")): np.array(array)
        for name, array in state.arrays.items()
        if name.startswith("ended.")
    }
    loop.fleet.batches.restore(state.numbers.get("shuffle"))
    loop.t = state.steps
    for run in np.flatnonzero(~loop.open).tolist():  # the others go on; an interrupted fleet calls them interrupted
        loop.status[run], loop.message[run] = state.numbers["status"][run], state.numbers["message"][run]


def size(loop: FleetLoop) -> int:
    """Return the bytes of a state's arrays at most, those of runs that have ended included."""
    tensors = [*_tensors(loop).values(), loop.theta.stored]
    return sum(int(tensor.nbytes) for tensor in tensors) + 8 * loop.runs * len(COLUMNS)


def _tensors(loop: FleetLoop) -> dict[str, Tensor]:
    found = {"theta": loop.theta.stored}
    for k, update in enumerate(loop.fleet.updates):
        found |= {f"rule{k}.{name}": tensor for name, tensor in update.bound.state.items()}
    return found
