"""Penalty and clip in the worked backward pass: each number against torch's own, each line against its arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from gdcli.commands.explain import explain, quantities, render
from tests.commands.explain.helpers import evaluated, loaded_of

SPEC: dict[str, Any] = {
    "data": {"x": [[0.5, -1.0], [1.5, 0.25]], "y": [[0.75], [-0.5]]},
    "model": {
        "type": "mlp",
        "layers": [2, 2, 1],
        "activation": "tanh",
        "init": {
            "linear1.weight": [[0.5, -0.25], [0.0, 1.5]],
            "linear1.bias": [0.1, 0.2],
            "linear2.weight": [[0.75, -2.0]],
            "linear2.bias": [0.3],
        },
    },
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 0.5},
    "dtype": "float64",
}
NAMES = ("w1", "w2", "w3", "w4", "b1", "b2", "w5", "w6", "b3")


def of_torch(penalty: dict[str, float], clip: dict[str, float], freeze: bool = False) -> dict[str, float]:
    """Loss, gradient and the parameters after a step of torch's."""
    init = SPEC["model"]["init"]
    parameters = [torch.tensor(value, dtype=torch.float64).requires_grad_() for value in init.values()]
    first, one, second, two = parameters
    if freeze:
        first.requires_grad_(False)
    x, y = (torch.tensor(SPEC["data"][name], dtype=torch.float64) for name in "xy")
    data = torch.nn.functional.mse_loss(torch.tanh(x @ first.T + one) @ second.T + two, y)
    weights = [second] if freeze else [first, second]
    l1, l2 = penalty.get("l1", 0), penalty.get("l2", 0)
    size = torch.stack([l1 * w.abs().sum() + l2 * w.square().sum() for w in weights]).sum()
    (data + size).backward()
    trained = [p for p in parameters if p.requires_grad]
    found = {"loss": (data + size).item(), "data_loss": data.item(), "penalty": float(size.detach())}
    flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])
    found |= {f"d{name}": value for name, value in zip(NAMES, flat.tolist(), strict=True)}
    if "norm" in clip:
        found["gradient_norm"] = float(clip_grad_norm_(trained, clip["norm"]))
    elif clip:
        clip_grad_value_(trained, clip["value"])
    torch.optim.SGD(trained, lr=0.5).step()
    after = torch.cat([p.detach().flatten() for p in parameters]).tolist()
    return found | {f"new_{name}": value for name, value in zip(NAMES, after, strict=True)}


CASES = [
    ({"l1": 0.01, "l2": 0.1}, {"norm": 0.2}),
    ({"l2": 0.1}, {"value": 0.05}),
    ({"l1": 0.01}, {}),
    ({}, {"norm": 100.0}),
]


def spec(penalty: dict[str, float], clip: dict[str, float]) -> dict[str, Any]:
    return {**SPEC, **({"penalty": penalty} if penalty else {}), **({"clip": clip} if clip else {})}


@pytest.mark.parametrize(("penalty", "clip"), CASES)
def test_every_number_is_torchs(penalty: dict[str, float], clip: dict[str, float]) -> None:
    theirs = of_torch(penalty, clip)
    names = [name for name in theirs if penalty or name not in ("data_loss", "penalty")]
    found = quantities(loaded_of(spec(penalty, clip)), names)
    assert {one.key: one.value for one in found} == pytest.approx({name: theirs[name] for name in names}, rel=1e-12)


def test_frozen_weights_are_in_neither() -> None:
    model = {**SPEC["model"], "freeze": ["linear1.weight"]}
    theirs = of_torch({"l2": 0.1}, {"norm": 0.2}, freeze=True)
    names = ["loss", "penalty", "gradient_norm", "dw5", "new_w6", "new_b1"]
    found = quantities(loaded_of({**spec({"l2": 0.1}, {"norm": 0.2}), "model": model}), names)
    assert {one.key: one.value for one in found} == pytest.approx({name: theirs[name] for name in names}, rel=1e-12)


def test_the_lines_work_out_to_their_values() -> None:
    text = render(explain(loaded_of(spec({"l1": 0.01, "l2": 0.1}, {"norm": 0.2}))), "text")
    lines = " ".join(text.split())
    assert "P = λ1 · (|w1| + |w2| + |w3| + |w4| + |w5| + |w6|) + λ2 · (w1² + w2² + w3² + w4² + w5² + w6²)" in lines
    assert "L = E + P" in lines
    assert "+ 2 · λ2 · w3 + λ1 · sign(w3)" in lines  # w3 is 0, where the sign is 0
    row = next(line for line in text.splitlines() if line.startswith("c "))
    *_, worked, value = row.split(" = ")
    assert evaluated(worked) == float(value)


def test_without_either_nothing_is_told_of_them() -> None:
    text = render(explain(loaded_of(SPEC)), "text")
    assert "Clipping" not in text
    assert "λ" not in text
    for form in ("markdown", "latex"):
        assert render(explain(loaded_of(spec({"l2": 0.1}, {"norm": 0.2}))), form)
