"""A trained model as torch's own module, for programs that know torch and not gdcli."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gdcli.engine.meta_device import on_meta
from gdcli.engine.own_module import filled
from gdcli.engine.prediction import tensors_of
from gdcli.engine.tracing import empty_layers
from gdcli.errors import SpecError
from gdcli.spec.sections import RunSpec
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.models import ACTIVATION_LAYERS, Architecture, Chain, Objective, Stack

_CLASSES = {name: layer for layer, name in ACTIVATION_LAYERS.items()}


def module_of(spec: RunSpec, model: Architecture, arrays: Mapping[str, NDArray[Any]]) -> nn.Module:
    """Return the model in evaluation mode; its state dict has the names of the record's parameters and buffers.

    A linear model is an nn.Linear, a plugin's module itself, any other an nn.Sequential. Raises SpecError for an
    objective.

    >>> from gdcli.spec.document import read
    >>> from gdcli.spec.schema import parse
    >>> spec = parse(read("{data: {x: [1], y: [2]}, model: linear, loss: mse, optimizer: sgd}", "f"), "line")
    >>> from gdcli.zoo.models import Affine
    >>> weights = {"weight": np.ones((1, 2), np.float32), "bias": np.zeros(1, np.float32)}
    >>> module_of(spec, Chain((Affine("", 2, 1, True, "none"),)), weights)
    Linear(in_features=2, out_features=1, bias=True)
    """
    if isinstance(model, Objective):
        raise SpecError(f"{spec.name}: an objective is no module: it has no inputs")
    state = state_of(spec, model, arrays)
    if isinstance(model, Stack) and model.own is not None:
        return filled(spec, model, state).eval()
    module = empty_layers(spec, model) if isinstance(model, Stack) else _chain(model)
    module.load_state_dict(state, assign=True)
    return module.eval()


def state_of(spec: RunSpec, model: Architecture, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Return parameters and buffers as torch's own module has them: a bias for a whole layer once for each unit."""
    shapes = {name: shape for name, (_, shape) in tensors_of(spec, model).items()}
    return {name: torch.from_numpy(np.array(np.broadcast_to(each, shapes[name]))) for name, each in arrays.items()}


def _chain(model: Chain) -> nn.Module:
    with on_meta():
        parts: list[tuple[str, nn.Module]] = []
        for k, layer in enumerate(model.layers, 1):
            parts.append((layer.name.rstrip("."), nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)))
            if layer.activation != "none":
                parts.append((f"{layer.activation}{k}", _activation(layer.activation)))
    return parts[0][1] if [name for name, _ in parts] == [""] else nn.Sequential(OrderedDict(parts))


def _activation(name: str) -> nn.Module:
    if name not in _CLASSES:
        return _Elementwise(name)
    kind = getattr(nn, _CLASSES[name])
    module: nn.Module = kind(dim=-1) if name in ("softmax", "log_softmax") else kind()
    return module


class _Elementwise(nn.Module):
    """An activation that torch has no class for."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.activation = name

    def forward(self, x: Tensor) -> Tensor:
        forward = ACTIVATIONS[self.activation]().forward
        return x if forward is None else forward(x)
