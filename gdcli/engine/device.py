"""The device of a run, and how many threads it trains with."""

from __future__ import annotations

import torch

from gdcli.engine.layers import flattened
from gdcli.engine.tracing import traced
from gdcli.errors import SpecError
from gdcli.spec.load import Loaded
from gdcli.spec.sections import RunSpec
from gdcli.zoo.models import Chain, Objective

# A multiply-add is one weight seen by one row; below this a second thread costs more than it brings.
THREADS_FROM = 10**7

# The physical cores that this process may use, as torch counts them before anyone sets a number.
PHYSICAL_CORES = torch.get_num_threads()


def resolve_device(spec: RunSpec, local_rank: int | None = None) -> torch.device:
    """Return the device, ``auto`` resolved to the first accelerator that is there. Raises SpecError if it is not.

    Of several processes of a machine the one of ``local_rank`` has the CUDA device of that number.
    """
    wanted = spec.settings.device
    if wanted == "auto":
        has_mps = torch.backends.mps.is_available() and local_rank is None  # one device, which processes cannot share
        wanted = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    if wanted == "cuda" and local_rank is not None:
        wanted = f"cuda:{local_rank}"
    device = torch.device(wanted)
    cuda = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if not {"cpu": True, "cuda": cuda, "mps": torch.backends.mps.is_available()}[device.type]:
        raise SpecError(spec.problem(("device",), f"this machine has no device {wanted}", "Use cpu or auto"))
    if device.type == "mps" and spec.settings.dtype == "float64":
        raise SpecError(spec.problem(("dtype",), "mps has no float64", "Use float32"))
    return device


def torch_version() -> str:
    """Return torch's version."""
    return str(torch.__version__)


def devices_here() -> list[str]:
    """Return the devices that this machine has, as a spec names them, CUDA's with the name of the card."""
    cards = [f"cuda:{k} ({torch.cuda.get_device_name(k)})" for k in range(torch.cuda.device_count())]
    return ["cpu", *cards, *(["mps"] if torch.backends.mps.is_available() else [])]


def cores_of(loaded: Loaded) -> int:
    """Return the cores that `threads: auto` counts with: those of a record that is run again, else this machine's."""
    return loaded.cores or PHYSICAL_CORES


def resolve_threads(loaded: Loaded) -> int:
    """Return the number of threads: 1 below 10^7 multiply-adds a step, the physical cores above."""
    threads = loaded.spec.settings.threads
    if threads != "auto":
        return threads
    return cores_of(loaded) if multiply_adds(loaded) >= THREADS_FROM else 1


def multiply_adds(loaded: Loaded) -> int:
    """Return the multiply-adds of a step of a run; 0 for an objective."""
    model, rows = loaded.architecture, loaded.spec.batch.rows(loaded.samples)
    if isinstance(model, Objective) or loaded.training is None:
        return 0
    if isinstance(model, Chain):
        return rows * sum(layer.inputs * layer.outputs for layer in model.layers)
    try:
        return rows * sum(layer.multiply_adds for layer in flattened(traced(loaded)))
    except SpecError:  # told when it is built; the other runs of a sweep may be sound
        return 0
