"""From many loaded specs of one structure to the tensors of a fleet; and which specs are of one structure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine.kernels.base import FleetKernel
from gdcli.engine.kernels.batched import Batched
from gdcli.engine.kernels.elementwise import WIDTH, Elementwise, is_tiny
from gdcli.engine.kernels.objective import Objectives
from gdcli.engine.param_groups import param_groups
from gdcli.engine.problem import Rows, aligned, compiled, resolve_device, resolve_threads, start_values, tensors_of
from gdcli.engine.theta import Theta
from gdcli.spec.load import Loaded
from gdcli.spec.schema import RunSpec
from gdcli.zoo import objectives
from gdcli.zoo.arithmetic import Setting
from gdcli.zoo.data import generator
from gdcli.zoo.losses import LOSSES, TARGETS, Loss
from gdcli.zoo.models import Affine, Chain, Objective, Stack
from gdcli.zoo.optimizers import OPTIMIZERS, Bound
from gdcli.zoo.schedulers import Schedule

CHUNK_SCALARS = 2**18
"""Numbers that one step of a chunk touches: they stay in the processor's cache."""

SWITCHES = ("momentum", "weight_decay")
"""Settings whose being zero makes another rule of it."""


# --- which runs train together ----------------------------------------------------------------------------------------


def why_alone(loaded: Loaded) -> str:
    """Return why a spec cannot be part of a fleet, one clause; nothing if it can."""
    spec, model = loaded.spec, loaded.architecture
    if spec.settings.epochs == 0:
        return "there are no updates"
    if spec.stop.max_seconds is not None:
        return "stop.max_seconds is about one run's time"
    if spec.settings.engine == "autograd" and isinstance(model, Chain):
        return "engine: autograd is for one run"
    if isinstance(model, Stack) and chain_of(loaded) is None:
        # vmap packs the runs without gaps: where a run lies decides how its products and its vectors' ends are rounded
        return "torch's own layers round by the runs beside them"
    if isinstance(model, Chain) and not model.layers:
        return "there are no parameters"
    return ""


def chain_of(loaded: Loaded) -> Chain | None:
    """Return a model as affine layers and activations: a chain, or torch's layers where they are no more than that."""
    model = loaded.architecture
    if not isinstance(model, Stack):
        return model if isinstance(model, Chain) else None
    layers: list[Affine] = []
    for layer in model.layers:
        arguments = dict(layer.arguments)
        if layer.layer == "Linear" and set(arguments) <= {"in_features", "out_features", "bias"}:
            bias = bool(arguments.get("bias", True))
            layers.append(Affine(f"{layer.name}.", arguments["in_features"], arguments["out_features"], bias, "none"))
        elif layer.layer in _ACTIVATIONS and not arguments and layers and layers[-1].activation == "none":
            layers[-1] = replace(layers[-1], activation=_ACTIVATIONS[layer.layer])
        elif layer.layer != "Identity":
            return None
    return Chain(tuple(layers)) if layers else None


_ACTIVATIONS = {
    "ReLU": "relu", "LeakyReLU": "leaky_relu", "ReLU6": "relu6", "ELU": "elu", "SELU": "selu", "CELU": "celu",
    "GELU": "gelu", "Sigmoid": "sigmoid", "Hardsigmoid": "hardsigmoid", "Tanh": "tanh", "Hardtanh": "hardtanh",
    "SiLU": "silu", "Hardswish": "hardswish", "Mish": "mish", "Softplus": "softplus", "Softsign": "softsign",
    "LogSigmoid": "logsigmoid", "Tanhshrink": "tanhshrink", "Softmax": "softmax", "LogSoftmax": "log_softmax",
}  # fmt: skip
"""Torch's classes without arguments of their own, by the activations that are written out by hand."""


def structure(loaded: Loaded) -> Hashable:
    """Return what the runs of a fleet have in common: all but numbers of the optimizer, seed, start values and data."""
    spec = loaded.spec
    assert spec.optimizer is not None
    settings = spec.settings
    groups = tuple((pattern, _shape_of(group)) for pattern, group in spec.optimizer.groups.items())
    loss = (spec.loss.name, _frozen(spec.loss.arguments)) if spec.loss else None
    common = (settings.epochs, settings.device, settings.dtype, settings.threads, settings.engine)
    sections = (spec.batch, spec.stop, spec.record, spec.style, spec.scheduler, _frozen(spec.print.predict))
    optimizer = (spec.optimizer.name, _shape_of(spec.optimizer.arguments), groups)
    rows = None if loaded.training is None else (loaded.training.x.shape, loaded.training.y.shape)
    held_out = None if loaded.validation is None else loaded.validation.x.shape
    sections_text = tuple(str(section) for section in sections)
    # a list may make a bias one number for the whole layer
    lists = tuple((name, np.shape(value)) for name, value in spec.model.init.items() if isinstance(value, list))
    return (_model(loaded), spec.model.freeze, lists, loss, optimizer, common, sections_text, rows, held_out)


def _model(loaded: Loaded) -> Hashable:
    model = loaded.architecture
    if isinstance(model, Chain):
        return model
    arguments = {key: value for key, value in loaded.spec.model.arguments.items() if key != "start"}
    order = tuple(model.start) if isinstance(model, Objective) else ()
    return (loaded.spec.model.name, _frozen(arguments), order)


def _shape_of(settings: Mapping[str, Any]) -> Hashable:
    """Return switches and zeros of an optimizer's settings, without their numbers."""
    return tuple(
        (name, value if isinstance(value, bool) or value is None else name in SWITCHES and value == 0)
        for name, value in settings.items()
    )


def _frozen(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return tuple((key, _frozen(item)) for key, item in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def fleets(runs: Sequence[Loaded]) -> tuple[list[list[int]], list[int]]:
    """Return the positions of runs that train together, fleet by fleet, and of those that train alone."""
    together: dict[Hashable, list[int]] = {}
    alone = []
    for position, loaded in enumerate(runs):
        if why_alone(loaded):
            alone.append(position)
        else:
            together.setdefault(structure(loaded), []).append(position)
    return list(together.values()), alone


def chunk_of(loaded: Loaded) -> int:
    """Return how many runs of a structure are trained at once: what a step touches stays in cache."""
    model = chain_of(loaded) or loaded.architecture
    assert not isinstance(model, Stack)
    scalars = sum(int(np.prod(shape)) for shape in model.shapes.values())
    units = sum(layer.outputs + layer.inputs for layer in model.layers) if isinstance(model, Chain) else 1
    rows = loaded.spec.batch.rows(loaded.samples) if loaded.samples else 1
    return max(WIDTH, CHUNK_SCALARS // (4 * scalars + 3 * rows * units) // WIDTH * WIDTH)


# --- batches ----------------------------------------------------------------------------------------------------------


class FleetBatches:
    """The batches of all runs: the same rows for all, or each run's own where their orders or data differ."""

    def __init__(self, kernel: FleetKernel, tables: Sequence[tuple[Tensor, Tensor]], members: Sequence[Loaded]) -> None:
        """``tables`` holds each run's rows; the same object for runs of the same data."""
        spec = members[0].spec
        self._kernel, self._runs = kernel, len(members)
        self.samples = members[0].samples
        self.rows = spec.batch.rows(self.samples) if self.samples else 1
        self.per_epoch = spec.batch.steps(self.samples)
        self.shuffle = spec.batch.shuffles and self.samples > 0
        distinct = {id(x): (x, y) for x, y in tables}
        self._same_data = len(distinct) == 1
        places = {key: index for index, key in enumerate(distinct)}
        self._table_of = np.array([places[id(x)] for x, _ in tables], dtype=np.int64)  # [R]
        self._x = torch.cat([x for x, _ in distinct.values()]) if not self._same_data else tables[0][0]
        self._y = torch.cat([y for _, y in distinct.values()]) if not self._same_data else tables[0][1]
        seeds = [loaded.spec.settings.seed for loaded in members]
        self._seeds = list(dict.fromkeys(seeds))
        self._order_of = np.array([self._seeds.index(seed) for seed in seeds], dtype=np.int64)  # [R]
        self._generators = [generator(seed, "shuffle") for seed in self._seeds]
        self._before: Any = None
        self._cached: list[Rows] = []
        self._whole: Rows | None = None

    def epoch(self) -> Iterable[Rows]:
        """Return the steps of the next epoch."""
        if self.shuffle:
            return self._shuffled()
        if self.per_epoch > 4096:
            return map(self._cut, range(self.per_epoch))
        if not self._cached:
            self._cached = [self._cut(k) for k in range(self.per_epoch)]
        return self._cached

    def state(self, steps: int) -> Any:
        """Return the generators' states at the start of the epoch that the next step is in, after so many steps."""
        if not self.shuffle:
            return None
        now = [drawn.bit_generator.state for drawn in self._generators]
        return now if steps % self.per_epoch == 0 else self._before

    def restore(self, states: Any) -> None:
        """Begin an epoch with these states of the generators."""
        if self.shuffle:
            for drawn, state in zip(self._generators, states, strict=True):
                drawn.bit_generator.state = state

    def whole(self) -> Rows:
        """Return all rows of all runs."""
        if self._whole is None:
            x, y = self._x, self._y
            if not self._same_data:
                index = torch.from_numpy(self._offset(np.arange(self.samples)[None])).to(x.device)
                x, y = x[index], y[index]
            self._whole = Rows(*self._kernel.arranged(x, y), slice(None))
        return self._whole

    def _cut(self, k: int) -> Rows:
        if self.rows >= self.samples:
            return self.whole()
        part = slice(k * self.rows, (k + 1) * self.rows)
        if self._same_data:
            return Rows(*self._kernel.arranged(aligned(self._x[part]), aligned(self._y[part])), part)
        return self._gathered(np.arange(self.samples)[part][None].repeat(self._runs, 0))

    def _shuffled(self) -> Iterator[Rows]:
        self._before = self.state(0)
        orders = np.stack([drawn.permutation(self.samples) for drawn in self._generators])  # [S, N]
        for k in range(self.per_epoch):
            chosen = orders[:, k * self.rows : (k + 1) * self.rows]
            if len(orders) == 1 and self._same_data:
                index = torch.from_numpy(chosen[0]).to(self._x.device)
                rows = self._x.index_select(0, index), self._y.index_select(0, index)
                yield Rows(*self._kernel.arranged(*rows), index)
            else:
                yield self._gathered(chosen[self._order_of])

    def _gathered(self, rows: NDArray[np.int64]) -> Rows:
        index = torch.from_numpy(self._offset(rows)).to(self._x.device)  # [R, B]
        x, y = (part.index_select(0, index.view(-1)).view(*index.shape, *part.shape[1:]) for part in (self._x, self._y))
        return Rows(*self._kernel.arranged(x, y), torch.from_numpy(rows))

    def _offset(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows + self._table_of[:, None] * self.samples


# --- the whole --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FleetUpdate:
    """One group's stretch of theta: its bound rule and its learning rates."""

    bound: Bound
    lr: Setting
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that the fleet's loop needs. ``width`` counts the rows of theta, padding included."""

    members: tuple[Loaded, ...]
    device: torch.device
    theta: Theta
    kernel: FleetKernel
    kernel_name: str  # written_out, batched or objective
    loss: Loss | None
    updates: tuple[FleetUpdate, ...]
    batches: FleetBatches
    validation: Rows | None

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.members)


def build_fleet(members: Sequence[Loaded]) -> Fleet:
    """Make the tensors of runs of one structure. Raises SpecError for what only torch can know."""
    first = members[0]
    spec = first.spec
    torch.set_num_threads(resolve_threads(first))
    device = resolve_device(spec)
    dtype = torch.float64 if spec.settings.dtype == "float64" else torch.float32
    loss = LOSSES[spec.loss.name](**spec.loss.arguments) if spec.loss else None
    name = kernel_name(first)
    innermost = name in ("written_out", "objective")
    padded = _padded(members, innermost)
    theta = _theta(padded, dtype, device, innermost)
    kernel = _kernel(name, first, theta, loss)
    tables = _Tables(dtype, device)
    batches = FleetBatches(kernel, [tables.training(loaded) for loaded in padded], padded)
    if not batches.shuffle:  # a shuffled epoch would draw its order
        kernel.prepare(next(iter(batches.epoch())).x)
    return Fleet(
        tuple(members), device, theta, kernel, name, loss, _updates(padded, theta), batches,
        _validation(kernel, [tables.validation(loaded) for loaded in padded]),
    )  # fmt: skip


def kernel_name(loaded: Loaded) -> str:
    """Return which kernel serves runs of a structure, however many they are."""
    chain = chain_of(loaded)
    if chain is None:
        return "objective"
    assert loaded.spec.loss is not None
    return "written_out" if is_tiny(chain, TARGETS.get(loaded.spec.loss.name) == "classes") else "batched"


def _padded(members: Sequence[Loaded], innermost: bool) -> list[Loaded]:
    """Fill up with copies of the first run: to whole vectors, or to two, as the product of one matrix is another."""
    count = -(-len(members) // WIDTH) * WIDTH if innermost else max(2, len(members))
    return [*members, *[members[0]] * (count - len(members))]


def _theta(members: Sequence[Loaded], dtype: torch.dtype, device: torch.device, innermost: bool) -> Theta:
    """Return theta with every run's start values, drawn once for all runs of one seed and start."""
    alike: dict[Hashable, list[int]] = {}
    for position, loaded in enumerate(members):
        spec = loaded.spec
        model = loaded.architecture
        start = _frozen(model.start) if isinstance(model, Objective) else None
        alike.setdefault((spec.settings.seed, _frozen(spec.model.init), start), []).append(position)
    theta = None
    for positions in alike.values():
        values, _ = start_values(members[positions[0]], dtype)
        if theta is None:
            frozen = [n for n in values if any(fnmatchcase(n, f) or n == f for f in members[0].spec.model.freeze)]
            moved = {name: value.to(device) for name, value in values.items()}
            theta = Theta(moved, frozen, runs=len(members), innermost=innermost)
        else:
            theta.fill(positions, {name: value.to(device) for name, value in values.items()})
    assert theta is not None
    return theta


def _kernel(name: str, loaded: Loaded, theta: Theta, loss: Loss | None) -> FleetKernel:
    model = loaded.architecture
    if isinstance(model, Objective):
        bare = isinstance(model.expression, objectives.Name)
        return Objectives(theta, compiled(loaded.spec, model), bare=bare)
    chain = chain_of(loaded)
    assert loss is not None
    assert chain is not None
    return Elementwise(theta, chain, loss) if name == "written_out" else Batched(theta, chain, loss)


class _Tables:
    """The data of runs as tensors, once for all runs of the same data."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._made: dict[int, tuple[Tensor, Tensor]] = {}
        self._dtype, self._device = dtype, device

    def training(self, loaded: Loaded) -> tuple[Tensor, Tensor]:
        return self._of(loaded.training, loaded.spec)

    def validation(self, loaded: Loaded) -> tuple[Tensor, Tensor] | None:
        return None if loaded.validation is None else self._of(loaded.validation, loaded.spec)

    def _of(self, table: Any, spec: RunSpec) -> tuple[Tensor, Tensor]:
        if id(table) not in self._made:
            self._made[id(table)] = tensors_of(table, self._dtype, self._device, spec)
        return self._made[id(table)]


def _validation(kernel: FleetKernel, tables: Sequence[tuple[Tensor, Tensor] | None]) -> Rows | None:
    first = tables[0]
    if first is None:
        return None
    if all(table is not None and table[0] is first[0] for table in tables):
        return Rows(*kernel.arranged(*first), slice(None))
    pairs = [table for table in tables if table is not None]
    return Rows(*kernel.arranged(torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])), slice(None))


def _updates(members: Sequence[Loaded], theta: Theta) -> tuple[FleetUpdate, ...]:
    """Bind one rule per stretch of theta whose parameters share a group, its settings vectors where runs differ."""
    optimizer = members[0].spec.optimizer
    assert optimizer is not None
    updates = []
    for part in param_groups(members[0].spec, theta.trained):
        settings = _settings(members, part.group, theta.innermost)
        bound = OPTIMIZERS[optimizer.name](**settings)(*theta.stretch(part.start, part.end))
        updates.append(FleetUpdate(bound, settings["lr"], part.schedule))
    return tuple(updates)


def _settings(members: Sequence[Loaded], pattern: str | None, innermost: bool) -> dict[str, Any]:
    chosen = []
    for loaded in members:
        optimizer = loaded.spec.optimizer
        assert optimizer is not None
        chosen.append({**optimizer.arguments, **(optimizer.groups[pattern] if pattern else {})})
    return {name: _column([settings[name] for settings in chosen], innermost) for name in chosen[0]}


def _column(values: Sequence[Any], innermost: bool) -> Any:
    """Return a setting of all runs: the number that all share, else a vector; entry by entry for a pair."""
    first = values[0]
    if isinstance(first, bool) or first is None:
        return first
    if isinstance(first, list | tuple):
        return tuple(_column([value[k] for value in values], innermost) for k in range(len(first)))
    if all(value == first for value in values):
        return first
    vector = np.array(values, dtype=np.float64)
    return vector if innermost else vector[:, None]
