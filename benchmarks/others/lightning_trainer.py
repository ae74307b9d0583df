"""Lightning's Trainer on what a plain loop trains: logger, progress bar, checkpoints and summary off."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from plain_loops import Trained

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class Module(lightning.LightningModule):
    """A module with its optimizer and the cross-entropy."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.net, self.criterion, self._optimizer = trained.model, nn.CrossEntropyLoss(), trained.optimizer

    def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
        loss: torch.Tensor = self.criterion(self.net(batch[0]), batch[1])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._optimizer


class Order:
    """Another program's batches, one epoch after the other, to compare what is computed."""

    def __init__(self, orders: Sequence[Any], batch: int) -> None:
        self._orders, self._batch = iter(orders), batch
        self._count = -(-len(orders[0]) // batch)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.as_tensor(next(self._orders))
        return (chosen.tolist() for chosen in order.split(self._batch))


def fit(trained: Trained, batch: int, epochs: int, orders: Sequence[Any] = ()) -> Callable[[], None]:
    """Return the training, prepared; without ``orders`` the rows are shuffled by the loader."""
    rows = TensorDataset(trained.x, trained.y)
    if len(orders):
        loader = DataLoader(rows, batch_sampler=Order(orders, batch))  # type: ignore[arg-type]
    else:
        loader = DataLoader(rows, batch_size=batch, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    module = Module(trained)
    return lambda: trainer.fit(module, loader)
