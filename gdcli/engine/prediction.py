"""A trained model without its data: what it holds, by arithmetic or on the meta device, and its outputs in chunks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine import own_module
from gdcli.engine.batches import aligned
from gdcli.engine.kernels.autograd import on_module
from gdcli.engine.kernels.base import Kernel
from gdcli.engine.kernels.single import Single
from gdcli.engine.theta import Theta
from gdcli.engine.tracing import empty_layers
from gdcli.errors import SpecError
from gdcli.records import Floats
from gdcli.spec import sizes
from gdcli.spec.sections import RunSpec
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import Architecture, Objective, Stack
from gdcli.zoo.weight_files import Wanted

CHUNK = 4096
"""Rows that are predicted at once: the memory of a prediction does not grow with the file."""

TorchDtype = torch.dtype


def dtype_of(spec: RunSpec) -> TorchDtype:
    """Return the dtype of a run's parameters."""
    return torch.float64 if spec.settings.dtype == "float64" else torch.float32


def tensors_of(spec: RunSpec, model: Architecture) -> Wanted:
    """Return dtype and shape of each parameter and buffer of a model; nothing is allocated.

    Raises SpecError for layers that torch does not make, and for more parameters than any machine has.
    """
    own = np.dtype(spec.settings.dtype)
    if isinstance(model, Stack):
        named = own_module.tensors(empty_layers(spec, model))
        found = {name: (_numpy(tensor.dtype), tuple(tensor.shape)) for name, tensor in named.items()}
    else:
        found = {name: (own, shape) for name, shape in model.shapes.items()}
    count = sum(prod(shape) for _, shape in found.values())
    if count > sizes.MAX_PARAMETERS:
        what = f"the model has {count:,} parameters, more than {sizes.MAX_PARAMETERS:,}"
        raise SpecError(spec.problem(("model",), what))
    return found


def _numpy(dtype: TorchDtype) -> np.dtype[Any]:
    return np.dtype(str(dtype).removeprefix("torch."))


def bytes_of(spec: RunSpec, model: Architecture) -> int:
    """Return how many bytes the parameters and buffers of a model have; 0 of one that torch does not make."""
    try:
        return sum(dtype.itemsize * prod(shape) for dtype, shape in tensors_of(spec, model).values())
    except SpecError:
        return 0


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model with the weights of a run: it only predicts."""

    spec: RunSpec
    kernel: Kernel
    device: torch.device
    module: torch.nn.Module | None  # torch's own layers
    shape: tuple[int, ...] = (-1,)  # of a row as they take it

    def predict(self, x: Floats) -> Floats:
        """Return the output [N, O] for rows x [N, D] as the model takes them, in chunks."""
        return in_chunks(self.kernel, x.reshape(len(x), *self.shape), self.device, dtype_of(self.spec))


def trained_model(
    spec: RunSpec, model: Architecture, arrays: Mapping[str, NDArray[Any]], device: torch.device
) -> TrainedModel:
    """Return a model with these parameters and buffers, which fit: :func:`tensors_of` says what they are.

    Raises SpecError for an objective, which has no inputs.
    """
    if isinstance(model, Objective) or spec.loss is None:
        raise SpecError(f"{spec.name}: an objective has no inputs to predict from")
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    loss = LOSSES[spec.loss.name](**spec.loss.arguments)
    like = torch.empty(0, dtype=dtype_of(spec), device=device)
    if not isinstance(model, Stack):
        return TrainedModel(spec, Single(Theta(tensors, like=like), model, loss), device, None)
    if model.own is not None:
        module = own_module.filled(spec, model, tensors)
        theta = Theta({name: tensors[name] for name, _ in module.named_parameters()}, like=like)
        return TrainedModel(spec, on_module(theta, module, loss, model.own), device, module, model.shape)
    module = empty_layers(spec, model)
    theta = Theta({name: tensors[name] for name, _ in module.named_parameters()}, like=like)
    module.load_state_dict(tensors, assign=True)
    return TrainedModel(spec, on_module(theta, module, loss), device, module, model.shape)


def in_chunks(kernel: Kernel, x: Floats, device: torch.device, dtype: TorchDtype) -> Floats:
    """Return the output [N, O] of one run's kernel for rows [N, D], by chunks in their order; no graph, no dropout.

    A chunk has the bits that it has by itself, whatever stands before and behind it.
    """
    found = [_of_chunk(kernel, x[k : k + CHUNK], device, dtype) for k in range(0, max(len(x), 1), CHUNK)]
    return np.concatenate([part.cpu().numpy() for part in found])


def _of_chunk(kernel: Kernel, x: Floats, device: torch.device, dtype: TorchDtype) -> Tensor:
    with torch.no_grad():
        return kernel.forward(aligned(torch.as_tensor(np.ascontiguousarray(x)).to(device, dtype)))
