"""From a loaded spec to tensors: start values, theta, kernel, bound update rules, batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.kernels.single import Autograd, Kernel, Single, chain_on_leaves, leaves_on
from gdcli.engine.param_groups import param_groups
from gdcli.engine.theta import ALIGNMENT, Theta
from gdcli.errors import SpecError
from gdcli.spec import limits
from gdcli.spec.load import Loaded, match, name_problems
from gdcli.spec.schema import Batch, RunSpec
from gdcli.zoo import objectives
from gdcli.zoo.data import generator
from gdcli.zoo.losses import LOSSES, TARGETS, Loss
from gdcli.zoo.models import Chain, Objective, Stack, TorchLayer
from gdcli.zoo.optimizers import OPTIMIZERS, Bound
from gdcli.zoo.schedulers import Schedule

# A multiply-add is one weight seen by one row; below this a second thread costs more than it brings.
THREADS_FROM = 10**7

# The physical cores that this process may use, as torch counts them before anyone sets a number.
PHYSICAL_CORES = torch.get_num_threads()


def resolve_device(spec: RunSpec) -> torch.device:
    """Return the device, ``auto`` resolved to the first accelerator that is there. Raises SpecError if it is not."""
    wanted = spec.settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(wanted)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device.type]
    if there and device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        there = False
    if not there:
        raise SpecError(spec.problem(("device",), f"this machine has no device {wanted}", "Use cpu or auto"))
    if device.type == "mps" and spec.settings.dtype == "float64":
        raise SpecError(spec.problem(("dtype",), "mps has no float64", "Use float32"))
    return device


def cores_of(loaded: Loaded) -> int:
    """Return the cores that `threads: auto` counts with: those of a record that is run again, else this machine's."""
    return loaded.cores or PHYSICAL_CORES


def resolve_threads(loaded: Loaded) -> int:
    """Return the number of threads: 1 below 10^7 multiply-adds a step, the physical cores above."""
    threads = loaded.spec.settings.threads
    if threads != "auto":
        return threads
    if isinstance(loaded.architecture, Objective) or loaded.training is None:
        return 1
    rows = loaded.spec.batch.rows(loaded.samples)
    if isinstance(loaded.architecture, Stack):
        weights = sum(_weights(layer) for layer in loaded.architecture.layers)
    else:
        weights = sum(layer.inputs * layer.outputs for layer in loaded.architecture.layers)
    return cores_of(loaded) if rows * weights >= THREADS_FROM else 1


def _weights(layer: TorchLayer) -> int:
    sizes = [value for value in layer.arguments.values() if type(value) is int]
    return sizes[0] * sizes[1] if len(sizes) > 1 else 0


# --- start values -----------------------------------------------------------------------------------------------------


def start_values(loaded: Loaded, dtype: torch.dtype) -> tuple[dict[str, Tensor], torch.nn.Module | None]:
    """Return each parameter's start value in the model's order, and torch's module of a sequential model.

    ``torch.manual_seed(seed)``, then the layers are built in order, so that a bare torch script has the same weights;
    then ``init`` in its order, with the same generator. Raises SpecError for torch layers that do not fit.
    """
    torch.manual_seed(loaded.spec.settings.seed)
    model, module = loaded.architecture, None
    if isinstance(model, Objective):
        values = {name: torch.tensor(float(value), dtype=dtype) for name, value in model.start.items()}
    elif isinstance(model, Chain):
        values = {}
        for layer in model.layers:
            built = torch.nn.Linear(layer.inputs, layer.outputs, bias=layer.bias, dtype=dtype)
            values.update({f"{layer.name}{name}": p.detach() for name, p in built.named_parameters()})
    else:
        module = _module(loaded, model, dtype)
        values = {name: parameter.detach() for name, parameter in module.named_parameters()}
        shapes = {name: tuple(value.shape) for name, value in values.items()}
        if problems := name_problems(loaded.spec, shapes):  # the names of torch's layers are known only now
            raise SpecError(problems)
    for pattern, value in loaded.spec.model.init.items():
        for name in match(pattern, values):
            values[name] = _initialised(values[name], value)
    return values, module


def _module(loaded: Loaded, model: Stack, dtype: torch.dtype) -> torch.nn.Module:
    """Build torch's layers; first without memory, to learn their size."""
    spec = loaded.spec
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            size = sum(p.numel() for layer in model.layers for p in _layer(spec, layer).parameters())
        if loaded.bounded and size > limits.MAX_PARAMETERS:
            what = f"the model has {size:,} parameters, more than {limits.MAX_PARAMETERS:,}"
            raise SpecError(spec.problem(("model", "layers"), what, limits.RAISE))
        torch.manual_seed(spec.settings.seed)
        module = torch.nn.Sequential()
        for layer in model.layers:
            module.add_module(layer.name, _layer(spec, layer))
        _dry_run(loaded, model, module, dtype)
    finally:
        torch.set_default_dtype(default)
    return module


def _layer(spec: RunSpec, layer: TorchLayer) -> torch.nn.Module:
    kind: Callable[..., torch.nn.Module] = getattr(torch.nn, layer.layer)
    arguments = dict(layer.arguments)
    if layer.layer in ("Softmax", "LogSoftmax"):
        arguments.setdefault("dim", -1)  # torch guesses, and warns
    try:
        return kind(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        text = str(error).replace(f"{layer.layer}.__init__() ", "").splitlines()[0]
        raise SpecError(spec.problem(("model", *layer.path), f"torch.nn.{layer.layer}: {text}")) from None


def _dry_run(loaded: Loaded, model: Stack, module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Send two rows through the layers, so that a shape that does not fit is told by the layer's own place."""
    assert loaded.training is not None
    spec, table = loaded.spec, loaded.training
    x = torch.as_tensor(table.x[:2], dtype=dtype)
    was_training = module.training
    module.eval()
    with torch.no_grad():
        for layer, part in zip(model.layers, module.children(), strict=True):
            try:
                x = part(x)
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                text = str(error).splitlines()[0]
                raise SpecError(spec.problem(("model", *layer.path), f"{layer.layer} does not fit: {text}")) from None
    module.train(was_training)
    wanted = (len(x), table.classes) if table.y.ndim == 1 else (len(x), table.y.shape[1])
    fits = x.ndim == 2 and (x.shape[1] >= wanted[1] if table.y.ndim == 1 else tuple(x.shape) == wanted)
    if not fits:
        last = len(model.layers) - 1
        what = f"the model's output has shape {[*x.shape[1:]]} a row, the data need [{wanted[1]}]"
        raise SpecError(spec.problem(("model", "layers", last), what))


def _initialised(tensor: Tensor, value: Any) -> Tensor:
    if isinstance(value, list):
        return torch.tensor(value, dtype=tensor.dtype)
    tensor = tensor.clone()
    if isinstance(value, str):
        getattr(torch.nn.init, f"{value}_")(tensor)
    elif isinstance(value, dict):
        ((name, (first, second)),) = value.items()
        getattr(torch.nn.init, f"{name}_")(tensor, first, second)
    else:
        tensor.fill_(value)
    return tensor


# --- batches ----------------------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """One step's rows of the training data."""

    x: Tensor  # [B, D]
    y: Tensor  # [B, O] or [B]
    index: Any  # where they stand in the data: a slice, or positions [B]


class Batches:
    """The batches of all epochs: in document order, or shuffled by a generator of their own."""

    CACHED = 4096  # views of unshuffled batches kept from epoch to epoch

    def __init__(self, x: Tensor, y: Tensor, batch: Batch, seed: int) -> None:
        self.x, self.y = x, y
        samples = len(x)
        self.rows = batch.rows(samples) if samples else 1
        self.per_epoch = batch.steps(samples)
        self.shuffle = batch.shuffles
        self._generator = generator(seed, "shuffle")
        self._before: Any = None
        self._views: list[Rows] = []

    def epoch(self) -> Iterable[Rows]:
        """Return the steps of the next epoch; a shuffled epoch draws its order when it starts."""
        if self.shuffle and len(self.x):
            self._before = self._generator.bit_generator.state
            order = torch.from_numpy(self._generator.permutation(len(self.x))).to(self.x.device)
            return map(self._picked, torch.split(order, self.rows)[: self.per_epoch])
        if self.per_epoch > self.CACHED:
            return map(self._cut, range(self.per_epoch))
        if not self._views:
            self._views = [self._cut(k) for k in range(self.per_epoch)]
        return self._views

    def state(self, steps: int) -> Any:
        """Return the generator's state at the start of the epoch that the next step is in, after so many steps."""
        if not self.shuffle:
            return None
        return self._generator.bit_generator.state if steps % self.per_epoch == 0 else self._before

    def restore(self, state: Any) -> None:
        """Begin an epoch with this state of the generator."""
        if self.shuffle:
            self._generator.bit_generator.state = state

    def _picked(self, index: Tensor) -> Rows:
        return Rows(self.x.index_select(0, index), self.y.index_select(0, index), index)

    def _cut(self, k: int) -> Rows:
        part = slice(k * self.rows, (k + 1) * self.rows)
        if self.rows >= len(self.x):
            return Rows(self.x, self.y, slice(None))
        return Rows(aligned(self.x[part]), aligned(self.y[part]), part)


def aligned(tensor: Tensor) -> Tensor:
    """Return a tensor that begins where memory of its own would, as a batch does that a loader puts together.

    On some processors a matrix product rounds by another order where an operand begins elsewhere.
    """
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


# --- the whole --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Update:
    """One group's stretch of theta: its bound rule, its learning rate, and how that changes over the epochs."""

    bound: Bound
    lr: float
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """Everything that the loop needs, as tensors on the device."""

    loaded: Loaded
    device: torch.device
    dtype: torch.dtype
    theta: Theta
    kernel: Kernel
    kernel_name: str  # by_hand or autograd
    loss: Loss | None  # None for an objective
    updates: tuple[Update, ...]
    batches: Batches
    validation: tuple[Tensor, Tensor] | None
    module: torch.nn.Module | None  # torch's layers of a sequential model


def build(loaded: Loaded) -> Built:
    """Make every tensor of a run. Raises SpecError for what only torch can know: layers' shapes, the device."""
    spec = loaded.spec
    device = resolve_device(spec)
    dtype = torch.float64 if spec.settings.dtype == "float64" else torch.float32
    values, module = start_values(loaded, dtype)
    frozen = [name for name in values if any(fnmatchcase(name, f) or name == f for f in spec.model.freeze)]
    empty = torch.empty(0, dtype=dtype, device=device)
    theta = Theta({name: value.to(device) for name, value in values.items()} or {"": empty}, frozen)
    if not values:
        theta.slots = theta.trained = ()
    loss = LOSSES[spec.loss.name](**spec.loss.arguments) if spec.loss else None
    kernel, name = _kernel(loaded, theta, module, loss)
    x, y = tensors_of(loaded.training, dtype, device, spec)
    validation = None if loaded.validation is None else tensors_of(loaded.validation, dtype, device, spec)
    updates = () if spec.settings.epochs == 0 or spec.optimizer is None else _updates(spec, theta)
    batches = Batches(x, y, spec.batch, spec.settings.seed)
    return Built(loaded, device, dtype, theta, kernel, name, loss, updates, batches, validation, module)


def tensors_of(table: Any, dtype: torch.dtype, device: torch.device, spec: RunSpec) -> tuple[Tensor, Tensor]:
    """Return rows as tensors x [N, D] and y [N, O], or [N] for classes; empty ones without data."""
    if table is None:
        empty = torch.empty(0, dtype=dtype, device=device)
        return empty, empty
    classes = TARGETS.get(spec.loss.name if spec.loss else "") == "classes" and table.y.ndim == 1
    x = torch.as_tensor(np.ascontiguousarray(table.x)).to(device, dtype)
    y = torch.as_tensor(np.ascontiguousarray(table.y)).to(device, torch.int64 if classes else dtype)
    return aligned(x), aligned(y)


def _kernel(loaded: Loaded, theta: Theta, module: torch.nn.Module | None, loss: Loss | None) -> tuple[Kernel, str]:
    model, engine = loaded.architecture, loaded.spec.settings.engine
    if isinstance(model, Chain) and engine != "autograd":
        assert loss is not None
        return Single(theta, model, loss), "by_hand"
    if engine == "by_hand":
        what = f"the backward pass of a {loaded.spec.model.name} model is not written out by hand"
        raise SpecError(loaded.spec.problem(("engine",), what, "Use auto or autograd"))
    leaves = leaves_on(theta, transposed=isinstance(model, Chain))
    if isinstance(model, Objective):
        value = compiled(loaded.spec, model)
        bare = isinstance(model.expression, objectives.Name)  # x by itself: the loss must not be theta's own memory
        objective = (lambda x: value(leaves).clone()) if bare else (lambda x: value(leaves))
        return Autograd(theta, leaves, objective, lambda output, y: output), "autograd"
    assert loss is not None
    if isinstance(model, Chain):
        named = {slot.name: leaf for slot, leaf in zip(theta.slots, leaves, strict=True)}
        return Autograd(theta, leaves, chain_on_leaves(model, named), loss.value), "autograd"
    assert module is not None
    _bind(module, theta, leaves)
    return Autograd(theta, leaves, module, loss.value, module), "autograd"


def compiled(spec: RunSpec, model: Objective) -> Callable[..., Tensor]:
    """Return an objective's expression as a function of its variables. Raises SpecError for constants that fail."""
    try:
        return objectives.compile_(model.expression, tuple(model.start), model.constants)
    except objectives.ExpressionError as error:
        what = f"{error}, at character {error.column}"
        raise SpecError(spec.problem(("model", "expression"), what)) from None


def _bind(module: torch.nn.Module, theta: Theta, leaves: list[Tensor]) -> None:
    """Let torch's layers use the leaves of theta as their parameters."""
    module.to(device=theta.values.device)
    for index, slot in enumerate(theta.slots):
        owner, _, attribute = slot.name.rpartition(".")
        leaves[index] = torch.nn.Parameter(leaves[index], requires_grad=slot.trained)
        setattr(module.get_submodule(owner), attribute, leaves[index])


def _updates(spec: RunSpec, theta: Theta) -> tuple[Update, ...]:
    """Bind one rule per stretch of theta whose parameters share their settings and their schedule."""
    assert spec.optimizer is not None
    updates = []
    for part in param_groups(spec, theta.trained):
        settings = {**spec.optimizer.arguments, **(spec.optimizer.groups[part.group] if part.group else {})}
        rule = OPTIMIZERS[spec.optimizer.name](**settings)
        bound = rule(theta.values[0, part.start : part.end], theta.gradient[0, part.start : part.end])
        updates.append(Update(bound, float(settings["lr"]), part.schedule))
    return tuple(updates)
