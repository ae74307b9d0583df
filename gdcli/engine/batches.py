"""The batches of all epochs: the same rows for all runs, or each run's own where their orders or data differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.records import Effort
from gdcli.spec.load import Loaded
from gdcli.zoo.data import generator
from gdcli.zoo.losses import LOSSES, TARGETS
from gdcli.zoo.models import Stack
from gdcli.zoo.table import ALIGNMENT, Table, empty_rows

if TYPE_CHECKING:
    from gdcli.engine.kernels.base import Kernel


class Rows(NamedTuple):
    """One step's rows of the training data, as the kernel takes them."""

    x: Tensor  # [B, D], or [B, *data.shape]; a kernel of several runs has an axis for them
    y: Tensor  # [B, O] or [B]
    index: Any  # where they stand in the data: a slice, or positions [B] or [R, B]; None: held out


def aligned(tensor: Tensor) -> Tensor:
    """Return a tensor that begins where memory of its own would, as a batch does that a loader puts together.

    On some processors a matrix product rounds by another order where an operand begins elsewhere.
    """
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _rounded(values: NDArray[Any], dtype: torch.dtype) -> Tensor:
    """Return values in a dtype: the very memory of those that have it already and lie as tensors do."""
    found = torch.as_tensor(values)
    if found.dtype == dtype and found.data_ptr() % ALIGNMENT == 0:
        return found
    return torch.as_tensor(empty_rows(values.shape, np.float32 if dtype == torch.float32 else np.float64)).copy_(found)


def as_tensors(
    tables: Sequence[Table | None], loss: str, dtype: torch.dtype, device: torch.device, shape: Sequence[int]
) -> list[tuple[Tensor, Tensor]]:
    """Return each table's x [N, *shape] and y [N, O], or [N] for classes: the same object for the same table.

    Those of an objective, which has no table, are empty.
    """
    made: dict[Table | None, tuple[Tensor, Tensor]] = {None: (torch.empty(0, dtype=dtype, device=device),) * 2}
    for table in dict.fromkeys(tables):
        if table is not None:
            of_y = torch.int64 if TARGETS.get(loss) == "classes" and table.y.ndim == 1 else dtype
            x = _rounded(np.ascontiguousarray(table.x), dtype).to(device)
            y = torch.as_tensor(np.ascontiguousarray(table.y)).to(device, of_y)
            made[table] = aligned(x.view(-1, *shape)), aligned(y)
    return [made[table] for table in tables]


def effort_of(loaded: Loaded) -> Effort:
    """Return what a spec's steps cost."""
    spec, samples = loaded.spec, loaded.samples
    sums = spec.loss is not None and LOSSES[spec.loss.name](**spec.loss.arguments).sums
    return Effort(samples, spec.batch.rows(samples) if samples else 1, spec.batch.steps(samples), sums)


def each_step_has_the_whole_loss(loaded: Loaded) -> bool:
    """Say whether a step's loss is the whole set's before its update: of all rows in their order, as evaluated."""
    batch, samples, model = loaded.spec.batch, loaded.samples, loaded.architecture
    shuffled = batch.shuffles and samples > 0
    return batch.steps(samples) == 1 and not shuffled and not (isinstance(model, Stack) and model.trains_otherwise)


def draws_in_training(loaded: Loaded) -> bool:
    """Say whether the steps of a run depend on its seed: the order of its rows is drawn, or what dropout leaves out."""
    model = loaded.architecture
    return (loaded.spec.batch.shuffles and loaded.samples > 1) or (isinstance(model, Stack) and model.draws)


class Batches:
    """The steps of each epoch: in document order, or shuffled by a generator for each seed.

    ``x`` and ``y`` are the rows of the first run's data.
    """

    CACHED = 4096  # unshuffled batches kept from epoch to epoch

    def __init__(
        self, kernel: Kernel, tables: Sequence[tuple[Tensor, Tensor]], members: Sequence[Loaded], *,
        reuses_memory: bool = False,
    ) -> None:  # fmt: skip
        """``tables`` holds each run's rows; the same object for runs of the same data.

        With ``reuses_memory`` a shuffled batch is overwritten by the next one, where one run has them for itself.
        """
        spec = members[0].spec
        self._kernel, self._runs = kernel, len(members)
        self.samples = members[0].samples
        self.rows = spec.batch.rows(self.samples) if self.samples else 1
        self.per_epoch = spec.batch.steps(self.samples)
        self.shuffle = spec.batch.shuffles and self.samples > 0
        self.x, self.y = tables[0]
        distinct = {id(x): (x, y) for x, y in tables}
        self._same_data = len(distinct) == 1
        places = {key: index for index, key in enumerate(distinct)}
        self._table_of = np.array([places[id(x)] for x, _ in tables], dtype=np.int64)  # [R]
        self._x = self.x if self._same_data else torch.cat([x for x, _ in distinct.values()])
        self._y = self.y if self._same_data else torch.cat([y for _, y in distinct.values()])
        seeds = [loaded.spec.settings.seed for loaded in members]
        distinct_seeds = list(dict.fromkeys(seeds))
        self._order_of = np.array([distinct_seeds.index(seed) for seed in seeds], dtype=np.int64)  # [R]
        self._generators = [generator(seed, "shuffle") for seed in distinct_seeds]
        self._before: Any = None
        self._cached: list[Rows] = []
        self._whole: Rows | None = None
        self._memory: dict[int, tuple[Tensor, Tensor]] | None = {} if reuses_memory else None  # by rows of a batch

    def epoch(self) -> Iterable[Rows]:
        """Return the steps of the next epoch; a shuffled epoch draws its order when it starts."""
        if self.shuffle:
            return self._shuffled()
        if self.per_epoch > self.CACHED:
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
            if self._same_data:
                self._whole = Rows(*self._kernel.arranged(self._x, self._y), slice(None))
            else:
                self._whole = self._gathered(np.arange(self.samples)[None])._replace(index=slice(None))
        return self._whole

    def again(self, index: Any) -> Rows:
        """Return the rows of a step once more, from where they stand in the data."""
        if not isinstance(index, slice):
            return self._picked(index) if index.ndim == 1 else self._gathered(index.numpy())
        return self.whole() if index == slice(None) else self._cut(index.start // self.rows)

    def _cut(self, k: int) -> Rows:
        if self.rows >= self.samples:
            return self.whole()
        part = slice(k * self.rows, (k + 1) * self.rows)
        if self._same_data:
            return Rows(*self._kernel.arranged(aligned(self._x[part]), aligned(self._y[part])), part)
        return self._gathered(np.arange(self.samples)[part][None].repeat(self._runs, 0))

    def _shuffled(self) -> Iterable[Rows]:
        self._before = self.state(0)
        orders = np.stack([drawn.permutation(self.samples) for drawn in self._generators])  # [S, N]
        if len(orders) == 1 and self._same_data:
            order = torch.from_numpy(orders[0]).to(self._x.device)
            return map(self._picked, torch.split(order, self.rows)[: self.per_epoch])
        parts = (orders[:, k * self.rows : (k + 1) * self.rows] for k in range(self.per_epoch))
        return (self._gathered(part[self._order_of]) for part in parts)

    def _picked(self, index: Tensor) -> Rows:
        if self._memory is None:
            return Rows(*self._kernel.arranged(self._x.index_select(0, index), self._y.index_select(0, index)), index)
        x, y = self._memory.get(len(index)) or self._memory.setdefault(len(index), self._room(len(index)))
        torch.index_select(self._x, 0, index, out=x)
        torch.index_select(self._y, 0, index, out=y)
        return Rows(*self._kernel.arranged(x, y), index)

    def _room(self, rows: int) -> tuple[Tensor, Tensor]:
        """Return memory for a batch: that of the batch before is at hand, new memory comes page by page."""
        return self._x.new_empty((rows, *self._x.shape[1:])), self._y.new_empty((rows, *self._y.shape[1:]))

    def _gathered(self, rows: NDArray[np.int64]) -> Rows:
        index = torch.from_numpy(rows + self._table_of[:, None] * self.samples).to(self._x.device)  # [R, B]
        x, y = (part.index_select(0, index.view(-1)).view(*index.shape, *part.shape[1:]) for part in (self._x, self._y))
        return Rows(*self._kernel.arranged(x, y), torch.from_numpy(rows))
