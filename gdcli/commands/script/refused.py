"""What a script cannot be written of: each key is named, with what to set instead where there is anything."""

from __future__ import annotations

import keyword
from collections.abc import Iterator

from gdcli.commands.script import generators
from gdcli.commands.script.model import CALLS
from gdcli.commands.script.rules import FORMULAS, OF_TORCH, RULES, SCHEDULES
from gdcli.engine.device import resolve_device
from gdcli.errors import Problem, SpecError
from gdcli.spec.load import Loaded
from gdcli.spec.sections import Ingredient
from gdcli.spec.signature import Path
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import Chain, Objective, Stack

PLUGIN = "is a plugin's: a script would need its code"
RESERVED = ("__debug__", "math", "nn", "torch")
"""What the function of an objective uses besides its variables, and the one name that none can have."""


def require_writable(loaded: Loaded) -> None:
    """Raise SpecError with all that cannot be written as a script."""
    spec = loaded.spec
    found = [
        spec.problem(path, f"a script cannot be written: {what}", hint)
        for part in (_settings, _data, _model, _rules, _stops, _prints)
        for path, what, hint in part(loaded)
    ]
    if found:
        raise SpecError(list[Problem](dict.fromkeys(found)))


Refusal = tuple[Path, str, str]


def _settings(loaded: Loaded) -> Iterator[Refusal]:
    settings = loaded.spec.settings
    if (device := resolve_device(loaded.spec).type) != "cpu":
        yield ("device",), f"its bits are those of the CPU, not of {device}", "Set device: cpu"
    if settings.world_size not in (None, 1):
        yield ("world_size",), "it is one process", "Leave world_size out"


def _data(loaded: Loaded) -> Iterator[Refusal]:
    data = loaded.spec.data
    if data is not None and data.source == "generate" and not generators.can_write(data.arguments["kind"]):
        yield ("data", "generate", "kind"), f"{data.arguments['kind']} {PLUGIN}", ""


def _model(loaded: Loaded) -> Iterator[Refusal]:
    spec, model = loaded.spec, loaded.architecture
    if spec.model.weights is not None:
        yield ("model", "from"), "the start weights are another model's", "model.init takes numbers"
    if isinstance(model, Stack) and model.own is not None:
        yield ("model",), f"{model.own.name} {PLUGIN}", ""
    if isinstance(model, Chain):
        written = {*CALLS, *(name for name in ACTIVATIONS if not hasattr(ACTIVATIONS[name], "origin"))}
        for name in dict.fromkeys(layer.activation for layer in model.layers):
            if name not in written:
                key = "activation" if spec.model.arguments.get("activation") == name else "output_activation"
                yield ("model", key), f"{name} {PLUGIN}", ""
        if spec.model.name not in ("linear", "mlp", "identity"):
            yield ("model",), f"{spec.model.name} {PLUGIN}", ""
    if isinstance(model, Objective):
        for name in (*model.start, *model.constants):
            if keyword.iskeyword(name) or name in RESERVED:
                key = "start" if name in model.start else "constants"
                yield ("model", key, name), f"'{name}' has a meaning in Python", "Give it another name"


def _rules(loaded: Loaded) -> Iterator[Refusal]:
    spec = loaded.spec
    if spec.loss is not None and spec.loss.name not in (*OF_TORCH, *FORMULAS):
        yield ("loss",), f"{spec.loss.name} {PLUGIN}", ""
    if spec.settings.epochs == 0:
        return
    if spec.optimizer is None:
        yield ("optimizer",), "the spec is not trained", "An optimizer, or epochs: 0"
    elif spec.optimizer.name not in RULES:
        yield ("optimizer",), f"{spec.optimizer.name} {PLUGIN}", ""
    if loaded.shapes is not None and not loaded.shapes:
        yield ("model",), "it has no parameters to train", "Set epochs: 0"
    if spec.batch.accumulate > 1 and spec.loss is not None and spec.loss.arguments.get("class_weights") is not None:
        yield ("batch", "accumulate"), "each batch would count by the weights of its classes", "Set batch.size"
    given = spec.scheduler
    schedules: list[tuple[Path, Ingredient]] = (
        [] if given is None or given.base is None else [(("scheduler",), given.base)]
    )
    schedules += [] if given is None else [(("scheduler", "groups", key), each) for key, each in given.groups.items()]
    for path, schedule in schedules:
        if schedule.name not in SCHEDULES:
            yield path, f"{schedule.name} {PLUGIN}", ""


def _stops(loaded: Loaded) -> Iterator[Refusal]:
    spec, stop = loaded.spec, loaded.spec.stop
    if stop.max_seconds is not None:
        yield ("stop", "max_seconds"), "when it stops depends on the machine", "stop.max_steps is the same everywhere"
    named = stop.metric or (spec.settings.metric if stop.patience is not None or stop.restore else None)
    if named is not None and named.removeprefix("training_").removeprefix("validation_") != "loss":
        yield ("stop", "metric") if stop.metric else ("metric",), f"{named} is no loss", "Set stop.metric: loss"
    if stop.restore and stop.patience is None:
        yield ("stop", "restore"), "the best epoch is looked for by patience alone", "Set stop.patience"
    if stop.gradient_norm is not None and spec.batch.accumulate > 1:
        yield ("stop", "gradient_norm"), "the gradient of all rows is added up batch by batch", ""
    if stop.restore and isinstance(loaded.architecture, Objective):
        yield ("stop", "restore"), "an objective has no module whose weights are kept", ""


LONG_NODE = 18
"""Letters of a node's name from which on torch breaks the line of a loss in float64."""


def shows_node(loaded: Loaded) -> bool:
    """Say whether a loss that is printed by hand, with the name of its node, fits into a line as torch has it."""
    spec = loaded.spec
    if spec.loss is None or spec.settings.dtype == "float32" or spec.style not in ("tensor", "backprop", "layers"):
        return True
    by_hand = spec.batch.accumulate > 1 or not loaded.shapes
    return not (by_hand and len(LOSSES[spec.loss.name](**spec.loss.arguments).grad_fn) >= LONG_NODE)


def _prints(loaded: Loaded) -> Iterator[Refusal]:
    spec, model, table = loaded.spec, loaded.architecture, loaded.training
    path: Path = ("print", "style")
    if spec.style in ("manual", "autograd") and spec.settings.epochs == 0:
        yield path, f"the style {spec.style} prints steps, and epochs is 0", "Set print.style: loss"
    if spec.style == "backprop" and spec.batch.accumulate > 1:
        yield path, "the outputs of a step come batch by batch", "Set print.style: epoch"
    if (
        spec.style == "backprop"
        and isinstance(model, Chain)
        and model.layers
        and model.layers[-1].activation == "sign_ste"
    ):
        yield path, "torch names the node of sign_ste otherwise", "Set print.style: layers"
    if not shows_node(loaded):
        yield path, "torch breaks the line of such a loss", "Set dtype: float32, or print.style: epoch"
    if spec.print.predict is None or spec.style not in ("manual", "autograd") or table is None:
        return
    outputs = model.layers[-1].outputs if isinstance(model, Chain) and model.layers else table.x.shape[1]
    path = ("print", "predict")
    if spec.style == "autograd" and (outputs != 1 or isinstance(model, Stack)):
        yield path, "torch 0.3 printed a prediction of several numbers in columns", "Set print.style: manual"
    if isinstance(model, Stack) and (model.trains_otherwise or len(model.shape) != 1):
        yield path, "the model takes its rows in another shape, or in two modes", ""
    if loaded.preprocessing is not None and loaded.preprocessing.target_means is not None:
        yield path, "the prediction is in the units of the target", "Leave the target out of data.standardize"
