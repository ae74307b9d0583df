"""The loops one would write by hand, as the other side of the ratios: they print nothing and keep nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn, optim


class Net(nn.Module):
    """Document 4's 2-2-2 net."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(2, 2)
        self.linear2 = nn.Linear(2, 2)
        self.linear1.weight.data = torch.tensor([[0.15, 0.20], [0.25, 0.30]])
        self.linear2.weight.data = torch.tensor([[0.40, 0.45], [0.50, 0.55]])
        self.linear1.bias.data = torch.tensor([0.35])
        self.linear2.bias.data = torch.tensor([0.60])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(self.linear1(x))
        return torch.sigmoid(self.linear2(x))


OPTIMIZERS = {
    "sgd": lambda parameters, lr=0.5: optim.SGD(parameters, lr=lr),
    "momentum": lambda parameters, lr=0.5: optim.SGD(parameters, lr=lr, momentum=0.9),
    "adam": lambda parameters, lr=0.01: optim.Adam(parameters, lr=lr),
}


class Small:
    """The 2-2-2 net with one sample, to be trained in slices."""

    def __init__(self, optimizer: str, **settings: float) -> None:
        self.x = torch.tensor([[0.05, 0.10]])
        self.y = torch.tensor([[0.01, 0.99]])
        self.model = Net()
        self.criterion = nn.MSELoss()
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters(), **settings)

    def train(self, steps: int) -> None:
        x, y, model, criterion, optimizer = self.x, self.y, self.model, self.criterion, self.optimizer
        for _ in range(steps):
            output = model(x)
            loss = criterion(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def loss(self) -> float:
        with torch.no_grad():
            return float(self.criterion(self.model(self.x), self.y))


def small_sweep(optimizer: str, rates: Iterable[float], epochs: int) -> list[float]:
    """Train the 2-2-2 net with one learning rate after the other; return the last losses."""
    found = []
    for rate in rates:
        small = Small(optimizer, lr=rate)
        small.train(epochs)
        found.append(small.loss())
    return found


class Trained:
    """A module and its optimizer on a spec's rows and classes, to be trained for some epochs of shuffled batches."""

    def __init__(self, model: nn.Module, optimizer: optim.Optimizer, spec: Any) -> None:
        self.model, self.optimizer = model, optimizer
        self.x = torch.tensor(spec.training.x, dtype=torch.float32).view(-1, *spec.row_shape)
        self.y = torch.tensor(spec.training.y)

    def train(self, batch: int, epochs: int = 1, orders: Sequence[Any] = ()) -> None:
        """Make the steps; ``orders`` are another program's, to compare what is computed."""
        model, optimizer, criterion, x, y = self.model, self.optimizer, nn.CrossEntropyLoss(), self.x, self.y
        for epoch in range(epochs):
            order = torch.as_tensor(orders[epoch]) if len(orders) else torch.randperm(len(x))
            for chosen in order.split(batch):
                loss = criterion(model(x.index_select(0, chosen)), y.index_select(0, chosen))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


def sgd(make: Callable[[], nn.Module], lr: float, spec: Any) -> Trained:
    model = make()
    return Trained(model, optim.SGD(model.parameters(), lr=lr), spec)


def adam(make: Callable[[], nn.Module], spec: Any) -> Trained:
    model = make()
    return Trained(model, optim.Adam(model.parameters()), spec)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def cnn() -> nn.Module:
    """Two convolutions over images of 8 x 8."""
    convolutions = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU()
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(256, 10))


class Gru(nn.Module):
    """The last output of a recurrent layer over eight steps of eight numbers, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.linear = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(self.recurrent(x)[0][:, -1])
        return found


class Digits:
    """A 64-64-10 perceptron on scikit-learn's digits, to be trained with one learning rate and seed."""

    def __init__(self, rows: Any, classes: Any) -> None:
        self.x, self.y = torch.as_tensor(rows, dtype=torch.float32), torch.as_tensor(classes)

    def train(self, lr: float, seed: int, epochs: int, orders: Sequence[Any] = (), start: Any = None) -> float:
        """Return the last loss; ``orders`` and ``start`` are another program's, to compare what is computed."""
        torch.manual_seed(seed)
        x, y = self.x, self.y
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        if start is not None:
            nn.utils.vector_to_parameters(start, model.parameters())
        criterion = nn.CrossEntropyLoss()
        optimizer = optim.SGD(model.parameters(), lr=lr)
        for epoch in range(epochs):
            order = torch.as_tensor(orders[epoch]) if len(orders) else torch.randperm(len(x))
            for chosen in order.split(64):
                loss = criterion(model(x[chosen]), y[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            return float(criterion(model(x), y))
