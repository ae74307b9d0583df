"""From loaded specs to tensors: theta, kernel, bound update rules, batches; of one run, or of a fleet."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.batches import Batches, Rows, as_tensors
from gdcli.engine.clipping import Clipping, after_clipping
from gdcli.engine.device import resolve_device, resolve_threads
from gdcli.engine.distributed import Distributed, draw_apart
from gdcli.engine.kernels.accumulated import Accumulated
from gdcli.engine.kernels.autograd import on_chain, on_module, on_objective
from gdcli.engine.kernels.base import FleetChain, Kernel
from gdcli.engine.kernels.batched import BATCHED
from gdcli.engine.kernels.elementwise import ELEMENTWISE, WIDTH, is_tiny
from gdcli.engine.kernels.single import Single
from gdcli.engine.kernels.stacked_layers import Draws
from gdcli.engine.kernels.vmapped import Vmapped
from gdcli.engine.loss_for import loss_for
from gdcli.engine.param_groups import GroupUpdate, param_groups
from gdcli.engine.penalty import Penalized
from gdcli.engine.process_group import ProcessGroup
from gdcli.engine.start_values import start_keys, start_values
from gdcli.engine.theta import Theta
from gdcli.engine.watched import WatchedGradients, gradients_of, taps_of
from gdcli.errors import SpecError
from gdcli.records import Floats, Parameter
from gdcli.spec.load import Loaded
from gdcli.spec.models import match
from gdcli.spec.sections import RunSpec
from gdcli.spec.sizes import too_many_recorded
from gdcli.zoo.expressions import ExpressionError, is_bare
from gdcli.zoo.losses import TARGETS, Loss
from gdcli.zoo.models import Chain, Objective, Stack, chain_of
from gdcli.zoo.objectives import compile_
from gdcli.zoo.optimizers import OPTIMIZERS


@dataclass(frozen=True, slots=True)
class TrainingProblem:
    """Everything that the loop needs of R runs of one structure, as tensors on the device.

    ``theta`` may have more rows than runs: padding, which is computed on and not looked at.
    """

    members: tuple[Loaded, ...]
    device: torch.device
    dtype: torch.dtype
    theta: Theta
    kernel: Kernel
    kernel_name: str  # by_hand or autograd; of a fleet elementwise, batched, objective or vmapped
    loss: Loss | None  # None for an objective
    updates: tuple[GroupUpdate, ...]
    batches: Batches
    validation: Rows | None
    test: Rows | None
    module: torch.nn.Module | None  # torch's layers of a sequential model, of one run
    penalized: Penalized | None  # the kernel, where there is a penalty
    group: ProcessGroup | None = None  # the processes that share its batches
    watched: WatchedGradients | None = None  # where its kernel puts gradients of inputs and intermediate values
    layers: Vmapped | None = None  # torch's layers of all runs of a fleet

    @property
    def loaded(self) -> Loaded:
        """The first run's spec and data: all runs have its structure."""
        return self.members[0]

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.members)

    @property
    def is_fleet(self) -> bool:
        """Whether a fleet's kernel serves it."""
        return self.kernel_name in FLEET_KERNELS

    def tensors(self) -> dict[str, Tensor]:
        """Return what the steps to come depend on, by name: writing to it changes the runs."""
        found = {"theta": self.theta.stored}
        for k, update in enumerate(self.updates):
            found |= {f"rule{k}.{name}": tensor for name, tensor in update.bound.state.items()}
        if self.module is not None:
            found |= {f"buffer.{name}": buffer for name, buffer in self.module.named_buffers()}
        return found

    def generators(self) -> dict[str, Tensor]:
        """Return the states of torch's generators, where torch's own layers may draw from them."""
        if self.layers is not None:
            return {"random.fleet": self.layers.state.draws.states()}
        if self.module is None:
            return {}
        found = {"random.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            found["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def all_generators(self) -> dict[str, Tensor]:
        """Return the same of all processes, a row each where there are several: all of them call it."""
        return self.generators() if self.group is None else self.group.gathered(self.generators())

    def set_generators(self, states: Mapping[str, Tensor]) -> None:
        """Put states that :meth:`generators` gave back."""
        if self.layers is not None:
            self.layers.state.draws.restore(states["random.fleet"])
        if "random.cpu" in states:
            torch.set_rng_state(states["random.cpu"])
        if "random.cuda" in states:
            torch.cuda.set_rng_state(states["random.cuda"], self.device)

    def snapshot(self) -> Callable[[], None]:
        """Return a function that puts everything that the next step depends on back to now."""
        tensors = list(self.tensors().values())
        copies, states = [tensor.clone() for tensor in tensors], self.generators()

        def restore() -> None:
            for tensor, copy in zip(tensors, copies, strict=True):
                tensor.copy_(copy)
            self.set_generators(states)

        return restore

    def full_gradient(self) -> None:
        """Write the gradient of the full data into theta; torch's own layers neither draw dropout nor learn from it."""
        modes = self.module or self.layers
        if modes is not None:
            modes.eval()
        whole = self.batches.whole()
        self.kernel.step(whole.x, whole.y)
        if modes is not None:
            modes.train()

    def values_of(self, run: int) -> Floats:
        """Return a run's row [P] of theta. Synchronises with the device."""
        values: Floats = self.theta.values[run].cpu().numpy().copy()
        return values

    def buffers(self) -> list[tuple[Parameter, ...]]:
        """Return each run's buffers of torch's own layers as records. Synchronises with the device."""
        if self.layers is not None:
            return [self.theta.as_buffers(self.values_of(run)) for run in range(self.runs)]
        named = self.module.named_buffers() if self.module is not None else ()
        found = tuple(Parameter(name, buffer.cpu().numpy().copy(), trained=False) for name, buffer in named)
        return [found] * self.runs


FLEET_OF_LAYERS = "vmapped"
FLEET_KERNELS = ("elementwise", "batched", "objective", FLEET_OF_LAYERS)


def build(loaded: Loaded, group: ProcessGroup | None = None) -> TrainingProblem:
    """Make every tensor of a run, as `run` trains it, alone or with the other processes of a group.

    Raises SpecError for what only torch can know.
    """
    by_hand = isinstance(loaded.architecture, Chain) and loaded.spec.settings.engine != "autograd"
    return _build([loaded], "by_hand" if by_hand else "autograd", group)


def build_fleet(members: Sequence[Loaded]) -> TrainingProblem:
    """Make the tensors of runs of one structure. Raises SpecError for what only torch can know."""
    torch.set_num_threads(resolve_threads(members[0]))
    return _build(members, kernel_name(members[0]))


def _build(members: Sequence[Loaded], name: str, group: ProcessGroup | None = None) -> TrainingProblem:
    first, spec = members[0], members[0].spec
    device = resolve_device(spec, None if group is None else group.local_rank)
    dtype = torch.float64 if spec.settings.dtype == "float64" else torch.float32
    is_fleet, loss = name in FLEET_KERNELS, loss_for(first)
    innermost = name in ("elementwise", "objective")
    padded = _padded(members, innermost) if is_fleet else list(members)
    theta, module, draws = _theta(padded, dtype, device, innermost=innermost, stacked=name == FLEET_OF_LAYERS)
    if first.bounded and (found := list(too_many_recorded(spec, sum(prod(slot.shape) for slot in theta.slots)))):
        raise SpecError(found)
    watched, layers = None if is_fleet else gradients_of(first, module, theta.stored), None
    if name == FLEET_OF_LAYERS:
        assert module is not None
        assert loss is not None
        assert draws is not None
        kernel: Kernel = (layers := Vmapped(theta, first, module, loss, draws))
    else:
        kernel = _kernel(name, first, theta, loss, module, watched)
    module = None if is_fleet else module
    if loss is not None and spec.batch.accumulate > 1 and spec.settings.epochs:
        axes = len(first.row_shape)
        kernel = Accumulated(kernel, theta, loss, spec.batch.pass_rows(first.samples), watched, axes)
    of = spec.loss.name if spec.loss else "", dtype, device, first.row_shape
    tables = as_tensors([loaded.training for loaded in padded], *of)
    if group is not None and loss is not None:
        x, y = tables[0]
        kernel = Distributed(kernel, theta, loss, group, (x[:1], y[:1]))
        draw_apart(spec.settings.seed, group.rank)
    penalized = Penalized(kernel, theta, spec.penalty) if spec.penalty.is_on else None
    kernel = penalized or kernel
    batches = Batches(kernel, tables, padded, reuses_memory=name == "by_hand")
    if isinstance(kernel, FleetChain) and not batches.shuffle:  # a shuffled epoch would draw its order
        kernel.prepare(next(iter(batches.epoch())).x)
    validation, test = (
        None if getattr(first, part) is None
        else _held_out(kernel, as_tensors([getattr(loaded, part) for loaded in padded], *of))
        for part in ("validation", "test")
    )  # fmt: skip
    updates = _updates(padded, theta) if spec.settings.epochs and spec.optimizer is not None else ()
    return TrainingProblem(
        tuple(members), device, dtype, theta, kernel, name, loss, updates, batches, validation, test, module,
        penalized, group, watched, layers,
    )  # fmt: skip


def kernel_name(loaded: Loaded) -> str:
    """Return which kernel serves a fleet of runs of a structure, however many they are."""
    chain = chain_of(loaded.architecture)
    if chain is None:
        return FLEET_OF_LAYERS if isinstance(loaded.architecture, Stack) else "objective"
    assert loaded.spec.loss is not None
    return "elementwise" if is_tiny(chain, TARGETS.get(loaded.spec.loss.name) == "classes") else "batched"


def _padded(members: Sequence[Loaded], innermost: bool) -> list[Loaded]:
    """Fill up with copies of the first run: to whole vectors, or to two, as the product of one matrix is another."""
    count = -(-len(members) // WIDTH) * WIDTH if innermost else max(2, len(members))
    return [*members, *[members[0]] * (count - len(members))]


def _theta(
    members: Sequence[Loaded], dtype: torch.dtype, device: torch.device, *, innermost: bool, stacked: bool
) -> tuple[Theta, torch.nn.Module | None, Draws | None]:
    """Return theta with every run's start values, drawn once for all runs of one seed and start; and torch's layers.

    With ``stacked`` it has the buffers of each run too, and what torch's generator draws from then on is each start's.
    """
    alike: dict[Hashable, list[int]] = {}
    for position, start in enumerate(start_keys(members)):
        alike.setdefault(start, []).append(position)
    like, theta, module = torch.empty(0, dtype=dtype, device=device), None, None
    states = []
    for positions in alike.values():
        values, module = start_values(members[positions[0]], dtype)
        states.append(torch.get_rng_state())
        moved = {name: value.to(device) for name, value in values.items()}
        buffers = dict(module.named_buffers()) if stacked and module is not None else {}
        if theta is None:
            frozen = {name for pattern in members[0].spec.model.freeze for name in match(pattern, values)}
            named = () if module is None else module.named_parameters()
            frozen |= {name for name, parameter in named if not parameter.requires_grad}  # by a plugin's module
            theta = Theta(moved, frozen, runs=len(members), innermost=innermost, like=like, buffers=buffers)
        else:
            theta.fill(positions, moved, buffers)
    assert theta is not None
    if not stacked:
        return theta, module, None
    start_of = {position: k for k, positions in enumerate(alike.values()) for position in positions}
    return theta, module, Draws(states, [start_of[k] for k in range(len(members))], torch.device("cpu"))


def _kernel(
    name: str, loaded: Loaded, theta: Theta, loss: Loss | None, module: torch.nn.Module | None,
    watched: WatchedGradients | None,
) -> Kernel:  # fmt: skip
    model = loaded.architecture
    if isinstance(model, Objective):
        return on_objective(theta, compiled(loaded.spec, model), bare=is_bare(model.expression))
    assert loss is not None
    if name == "by_hand":
        assert isinstance(model, Chain)
        return Single(theta, model, loss, watched)
    if name == "autograd":
        taps = taps_of(watched)
        if isinstance(model, Chain):
            return on_chain(theta, model, loss, taps)
        return on_module(theta, module, loss, model.own, taps)
    chain = chain_of(model)
    assert chain is not None
    return FleetChain(theta, chain, loss, ELEMENTWISE if name == "elementwise" else BATCHED)


def compiled(spec: RunSpec, model: Objective) -> Callable[..., Tensor]:
    """Return an objective's expression as a function of its variables. Raises SpecError for constants that fail."""
    try:
        return compile_(model.expression, tuple(model.start), model.constants)
    except ExpressionError as error:
        what = f"{error}, at character {error.column}"
        raise SpecError(spec.problem(("model", "expression"), what)) from None


def _held_out(kernel: Kernel, tables: Sequence[tuple[Tensor, Tensor]]) -> Rows:
    x, y = tables[0]
    if any(table is not tables[0] for table in tables):
        x, y = torch.stack([x for x, _ in tables]), torch.stack([y for _, y in tables])
    return Rows(*kernel.arranged(x, y), None)


def _updates(members: Sequence[Loaded], theta: Theta) -> tuple[GroupUpdate, ...]:
    """Bind one rule per group of neighbouring parameters, its settings columns where runs differ.

    Where gradients are clipped, the first one clips all of them.
    """
    spec = members[0].spec
    optimizer, clipping = spec.optimizer, Clipping(theta, spec.clip) if spec.clip.is_on else None
    assert optimizer is not None
    updates: list[GroupUpdate] = []
    for part in param_groups(spec, theta.trained):
        settings = _settings(members, part.group, theta.innermost)
        gradient = None if clipping is None else clipping.clipped
        bound = OPTIMIZERS[optimizer.name](**settings)(*theta.stretch(part.start, part.end, gradient))
        if clipping is not None and not updates:
            bound = after_clipping(bound, clipping)
        lr = settings["lr"]
        updates.append(GroupUpdate(bound, lr if isinstance(lr, np.ndarray) else float(lr), part.schedule))
    return tuple(updates)


def _settings(members: Sequence[Loaded], pattern: str | None, innermost: bool) -> dict[str, Any]:
    chosen = []
    for loaded in members:
        optimizer = loaded.spec.optimizer
        assert optimizer is not None
        chosen.append({**optimizer.arguments, **(optimizer.groups[pattern] if pattern else {})})
    return {name: _column([settings[name] for settings in chosen], innermost) for name in chosen[0]}


def _column(values: Sequence[Any], innermost: bool) -> Any:
    """Return a setting of all runs: the number that all share, else a column over them; entry by entry for a pair."""
    first = values[0]
    if isinstance(first, bool | str) or first is None:
        return first
    if isinstance(first, list | tuple):
        return tuple(_column([value[k] for value in values], innermost) for k in range(len(first)))
    if all(value == first for value in values):
        return first
    vector = np.array(values, dtype=np.float64)
    return vector if innermost else vector[:, None]
