"""Which specs a number of processes can train together."""

from __future__ import annotations

from collections.abc import Iterator

from gdcli.errors import Problem, SpecError
from gdcli.spec.load import Loaded
from gdcli.spec.world import command_for
from gdcli.zoo.models import Objective, Stack, all_layers
from gdcli.zoo.torch_layers import draws, has_two_modes


def require_world(loaded: Loaded, size: int) -> None:
    """Raise SpecError for a spec that is for another number of processes, or that so many cannot share."""
    spec, wanted = loaded.spec, loaded.spec.settings.world_size
    if wanted is not None and wanted != size:
        hint = f"Start it with {command_for(wanted, '...')}, or leave world_size out"
        raise SpecError(spec.problem(("world_size",), f"is {wanted}, and {_trained_by(size)}", hint))
    if size > 1 and (found := [*_not_shared(loaded, size)]):
        raise SpecError(found)


def _trained_by(size: int) -> str:
    return "this run has 1 process" if size == 1 else f"torchrun has started {size:,}"


def _not_shared(loaded: Loaded, size: int) -> Iterator[Problem]:
    spec, model, device = loaded.spec, loaded.architecture, loaded.spec.settings.device
    if isinstance(model, Objective):
        yield spec.problem(("model",), f"an objective has no rows that {size:,} processes could share")
    if device.startswith("cuda:") or device == "mps":
        what = f"{device} is one device, and {size:,} processes have one each"
        yield spec.problem(("device",), what, "Set device: cuda, or cpu")
    if spec.settings.watch is not None:
        what = f"gradients at values are of all rows of a step, and each of {size:,} processes has only its own"
        yield spec.problem(("watch",), what, "Leave watch out, or train it with one process")
    arguments = {} if spec.loss is None else spec.loss.arguments
    weights = arguments.get("class_weights")
    if isinstance(weights, list) and not all(weights) and arguments.get("label_smoothing"):
        what = f"a class of weight 0 cannot be smoothed in parts, and {size:,} processes have one of a batch each"
        yield spec.problem(("loss", "class_weights"), what, "Set label_smoothing: 0, or a weight above 0")
    for layer in all_layers(model.layers) if isinstance(model, Stack) else ():
        if has_two_modes(layer.layer, layer.arguments) and not draws(layer.layer, layer.arguments):
            what = f"{layer.layer} learns from all rows of a batch, and each of {size:,} processes has only its own"
            yield spec.problem(("model", *layer.path), what, "GroupNorm and LayerNorm take each row by itself")
