"""The state of R runs between two steps: all that the steps to come depend on, taken out of a loop and put into one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gdcli.engine.loop import Loop
from gdcli.engine.run_state import COLUMNS
from gdcli.errors import DamagedError
from gdcli.records import State

ENDED, KEPT, BUFFERS = "ended.", "kept.", "kept-buffer."
"""Begin the names of the parameters that a run had when it ended, or at its best epoch, and of the buffers then."""


def capture(loop: Loop) -> State:
    """Return the state after the last block. Synchronises with the device."""
    numbers = {
        "steps": loop.t,
        "epochs": loop.t // loop.per_epoch,
        "seconds": loop.now() - loop.begun,
        "status": list(loop.state.status),
        "message": list(loop.state.message),
        "shuffle": loop.problem.batches.state(loop.t),
    }
    if loop.schedules.follow_loss:
        numbers["schedules"] = loop.schedules.state()
    arrays, runs = _arrays(loop, loop.problem.all_generators()), loop.state
    for prefix, found in ((ENDED, runs.ended), (KEPT, runs.kept), (BUFFERS, runs.kept_buffers)):
        arrays |= {f"{prefix}{key}": array for key, array in found.items()}
    return State(loop.t, numbers, arrays)


def _arrays(loop: Loop, generators: dict[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    tensors = loop.problem.tensors() | generators
    found = {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}
    return found | {f"runs.{name}": getattr(loop.state, name).copy() for name in COLUMNS}


def fits(loop: Loop, state: State) -> None:
    """Raise DamagedError for a state that is not one of these runs."""
    found = {name: array for name, array in state.arrays.items() if not name.startswith((ENDED, KEPT, BUFFERS))}
    generators, group = loop.problem.generators(), loop.problem.group
    if group is not None:
        generators = {name: own.expand(group.size, -1) for name, own in generators.items()}
    if _kinds(_arrays(loop, generators)) != _kinds(found):
        raise DamagedError("its tensors are not those of this run")
    numbers, runs = state.numbers, loop.runs
    ended, kept, buffers = (_named(state, prefix) for prefix in (ENDED, KEPT, BUFFERS))
    rows = [*ended.items(), *kept.items()]
    texts = all(
        isinstance(numbers.get(key), list) and len(numbers[key]) == runs and all(type(x) is str for x in numbers[key])
        for key in ("status", "message")
    )
    shape = loop.theta.values.shape[1:]
    own = {} if loop.problem.module is None or not kept else dict(loop.problem.module.named_buffers())
    fit = _kinds(buffers) == _kinds({name: each.cpu().numpy() for name, each in own.items()})
    if not (texts and fit) or any(run not in map(str, range(runs)) or row.shape != shape for run, row in rows):
        raise DamagedError("its runs are not these")
    if not 0 <= state.steps <= loop.all_steps or numbers.get("epochs") != state.steps // loop.per_epoch:
        raise DamagedError("its position is not one of this run")
    if type(numbers.get("seconds")) is not float:
        raise DamagedError("its seconds are no number")
    if loop.schedules.follow_loss:
        before = loop.schedules.state()
        try:
            loop.schedules.restore(numbers.get("schedules"))
        except ValueError:
            raise DamagedError("its learning rates are not those of this run") from None
        loop.schedules.restore(before)
    _try_generators(loop, state)


def _named(state: State, prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): row for name, row in state.arrays.items() if name.startswith(prefix)}


def _kinds(arrays: dict[str, NDArray[Any]]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.dtype, array.shape) for name, array in arrays.items()}


def _try_generators(loop: Loop, state: State) -> None:
    before = loop.problem.batches.state(0), loop.problem.generators()
    try:
        _set_generators(loop, state)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError):
        raise DamagedError("a generator cannot have the state that it says") from None
    finally:
        loop.problem.batches.restore(before[0])
        loop.problem.set_generators(before[1])


def _set_generators(loop: Loop, state: State) -> None:
    loop.problem.batches.restore(state.numbers.get("shuffle"))
    found = {name: torch.from_numpy(state.arrays[name]) for name in loop.problem.generators()}
    if (group := loop.problem.group) is not None:  # torch crashes with a state that is part of another tensor
        found = {name: rows[group.rank].clone() for name, rows in found.items()}
    loop.problem.set_generators(found)


def restore(loop: Loop, state: State) -> None:
    """Put a state that fits into a loop that has not begun."""
    with torch.no_grad():
        for name, tensor in loop.problem.tensors().items():
            tensor.copy_(torch.from_numpy(state.arrays[name]))
    _set_generators(loop, state)
    runs, numbers = loop.state, state.numbers
    for name in COLUMNS:
        setattr(runs, name, np.array(state.arrays[f"runs.{name}"]))
    runs.ended, runs.kept = (
        {int(run): np.array(row) for run, row in _named(state, prefix).items()} for prefix in (ENDED, KEPT)
    )
    runs.kept_buffers = {name: np.array(array) for name, array in _named(state, BUFFERS).items()}
    for run in np.flatnonzero(~runs.open).tolist():  # the others go on; an interrupted loop calls them interrupted
        runs.status[run], runs.message[run] = numbers["status"][run], numbers["message"][run]
    if loop.schedules.follow_loss:
        loop.schedules.restore(numbers["schedules"])
    loop.t, loop.begun = state.steps, loop.now() - numbers["seconds"]


def size(loop: Loop) -> int:
    """Return the bytes of a state's arrays at most, those of runs that have ended included."""
    processes = 1 if loop.problem.group is None else loop.problem.group.size
    tensors = [*loop.problem.tensors().values(), *[*loop.problem.generators().values()] * processes, loop.theta.stored]
    tensors += [*loop.problem.tensors().values()] if loop.ends.watched is not None else []
    return sum(int(tensor.nbytes) for tensor in tensors) + 8 * loop.runs * len(COLUMNS)
