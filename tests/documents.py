"""What the documents' programs print: the golden texts, and on processors that round otherwise, torch's own."""

from __future__ import annotations

import torch

from tests.conftest import GOLDEN

OF_TORCH = {
    "momentum_2x2": lambda parameters: torch.optim.SGD(parameters, lr=1, momentum=0.5),
    "adagrad_2x2": lambda parameters: torch.optim.Adagrad(parameters, lr=1),
    "rmsprop_2x2": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.5),
    "adam_2x2": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
}


def printed_by_torch(name: str) -> str:
    """What the document's program of 100 epochs prints on this processor: torch's own network and optimizer."""
    torch.set_num_threads(1)
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[0.15, 0.20], [0.25, 0.30]]))
        second.weight.copy_(torch.tensor([[0.40, 0.45], [0.50, 0.55]]))
    first.bias, second.bias = (torch.nn.Parameter(torch.tensor([bias])) for bias in (0.35, 0.60))
    optimizer = OF_TORCH[name]([*first.parameters(), *second.parameters()])
    x, y = torch.tensor([[0.05, 0.10]]), torch.tensor([[0.01, 0.99]])
    lines = []
    for epoch in range(100):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(torch.sigmoid(second(torch.sigmoid(first(x)))), y)
        loss.backward()
        optimizer.step()
        lines.append(f"{epoch} {loss!r}\n")
    return "".join(lines)


def expected(name: str) -> str:
    """The golden text; where this processor's products round otherwise, what torch's own program prints on it.

    A processor whose small products are fused and one that multiplies and then adds differ in the last digit of a few
    of the 400 lines of the optimizers' programs; then gdcli has to print what torch prints here.
    """
    golden = (GOLDEN / f"{name}.txt").read_text()
    if name not in OF_TORCH:
        return golden
    here = printed_by_torch(name)
    differ = [pair for pair in zip(here.splitlines(), golden.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(differ) <= 4, "torch's own program is not the golden one"
    return here
