"""The state of a run between two steps: all that the steps to come depend on, taken out of a loop and put into one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine.loop import Loop
from gdcli.errors import DamagedError
from gdcli.records import State

COUNTS = ("steps", "epochs", "best_step", "stale_epochs")
REALS = ("best_loss", "best_epoch_loss", "seconds")


def capture(loop: Loop) -> State:
    """Return the state after the last event. Synchronises with the device."""
    numbers = {
        "steps": loop.steps,
        "epochs": loop.epochs,
        "best_loss": _written(loop.best),
        "best_step": loop.best_step,
        "best_epoch_loss": _written(loop.best_epoch_loss),
        "stale_epochs": loop.stale,
        "seconds": time.perf_counter() - loop.begun,
        "shuffle": loop.built.batches.state(loop.steps),
    }
    arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in _tensors(loop).items()}
    return State(loop.steps, numbers, arrays | _random(loop))


def fits(loop: Loop, state: State) -> None:
    """Raise DamagedError for a state that is not one of this run."""
    expected = {name: tensor.detach().cpu().numpy() for name, tensor in _tensors(loop).items()} | _random(loop)
    if {name: (a.dtype, a.shape) for name, a in expected.items()} != {
        name: (a.dtype, a.shape) for name, a in state.arrays.items()
    }:
        raise DamagedError("its tensors are not those of this run")
    numbers, per_epoch = state.numbers, loop.built.batches.per_epoch
    steps, epochs, _, _ = (_count(numbers, key) for key in COUNTS)
    for key in REALS:
        _real(numbers, key)
    if steps != state.steps or steps > loop.spec.settings.epochs * per_epoch or epochs != steps // per_epoch:
        raise DamagedError("its position is not one of this run")
    before = loop.built.batches.state(0), _random(loop)
    try:
        _set_generators(loop, numbers.get("shuffle"), state.arrays)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError):
        raise DamagedError("a generator cannot have the state that it says") from None
    finally:
        _set_generators(loop, *before)


def restore(loop: Loop, state: State) -> None:
    """Put a state that fits into a loop after its first event, the start."""
    with torch.no_grad():
        for name, tensor in _tensors(loop).items():
            tensor.copy_(torch.from_numpy(state.arrays[name]))
    _set_generators(loop, state.numbers.get("shuffle"), state.arrays)
    loop.steps, loop.epochs, loop.best_step, loop.stale = (_count(state.numbers, key) for key in COUNTS)
    loop.best, loop.best_epoch_loss, seconds = (_real(state.numbers, key) for key in REALS)
    loop.begun = time.perf_counter() - seconds


def size(loop: Loop) -> int:
    """Return the bytes of a state's arrays."""
    tensors = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(loop).values())
    return tensors + sum(array.nbytes for array in _random(loop).values())


def _tensors(loop: Loop) -> dict[str, Tensor]:
    """Return what the steps to come depend on, by name: writing to it changes the run."""
    built = loop.built
    found = {"theta": built.theta.values[0]}
    for k, update in enumerate(built.updates):
        found |= {f"rule{k}.{name}": tensor for name, tensor in update.bound.state.items()}
    if built.module is not None:
        found |= {f"buffer.{name}": buffer for name, buffer in built.module.named_buffers()}
    return found


def _random(loop: Loop) -> dict[str, NDArray[Any]]:
    """Return the states of torch's generators, where torch's own layers may draw from them."""
    if loop.built.module is None:
        return {}
    found = {"random.cpu": torch.get_rng_state().numpy()}
    if loop.built.device.type == "cuda":
        found["random.cuda"] = torch.cuda.get_rng_state(loop.built.device).numpy()
    return found


def _set_generators(loop: Loop, shuffle: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    loop.built.batches.restore(shuffle)
    if "random.cpu" in arrays:
        torch.set_rng_state(torch.from_numpy(arrays["random.cpu"]))
    if "random.cuda" in arrays:
        torch.cuda.set_rng_state(torch.from_numpy(arrays["random.cuda"]), loop.built.device)


def _written(value: float) -> float | str:
    """Return a loss as JSON has it: a word for one that is not finite, as it is before the first epoch has ended."""
    return value if math.isfinite(value) else str(value)


def _count(numbers: dict[str, Any], key: str) -> int:
    value = numbers.get(key)
    if type(value) is not int or value < 0:
        raise DamagedError(f"its {key} is no count")
    return value


def _real(numbers: dict[str, Any], key: str) -> float:
    value = numbers.get(key, "")
    if type(value) is not float and value not in ("inf", "-inf", "nan"):
        raise DamagedError(f"its {key} is no number")
    return float(value)
