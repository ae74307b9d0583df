"""What a run takes, also of an optimizer that comes from outside the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import torch

from gdcli.spec import document, load, schema, sizes
from gdcli.zoo.optimizers import OPTIMIZERS, sgd, state_tensors
from gdcli.zoo.update_rule import Bound, Keeps, Rule

SPEC = """
data: {x: [1, 2], y: [2, 4]}
model: linear
loss: mse
optimizer: {name: mine, lr: 0.1, heavy: %s}
"""


def silent(*, lr: float = 0.1, heavy: bool = False) -> Rule:
    """Plain steps, by a rule that does not say what it keeps."""
    return sgd(lr=lr)


def spoken(*, lr: float = 0.1, heavy: bool = False) -> Annotated[Rule, Keeps(3, "heavy")]:
    """Plain steps, with a note of what is kept."""
    return sgd(lr=lr)


@pytest.mark.parametrize(
    ("rule", "heavy", "expected"), [(silent, "true", 0), (spoken, "false", 3), (spoken, "true", 4)]
)
def test_an_optimizer_from_outside_says_what_it_keeps(
    rule: Any, heavy: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPTIMIZERS, "mine", rule)
    found = load.load(schema.parse(document.read(SPEC % heavy, "f"), "f"), Path())
    assert sizes.states(found.spec.optimizer) == expected


def test_a_run_without_an_optimizer_keeps_no_state() -> None:
    assert sizes.states(None) == 0


SETTINGS: dict[str, list[dict[str, Any]]] = {
    "sgd": [{"momentum": 0.9}, {"momentum": 0.0}],
    "rmsprop": [{"momentum": 0.9}, {"centered": True}, {"momentum": 0.9, "centered": True}],
    "adam": [{"amsgrad": True}],
    "adamw": [{"amsgrad": True}],
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_a_rule_says_is_what_it_keeps(name: str) -> None:
    for given in [{}, *SETTINGS.get(name, [])]:
        bound: Bound = OPTIMIZERS[name](**given)(torch.zeros(5), torch.zeros(5))
        assert state_tensors(name, given) == sum(tensor.numel() == 5 for tensor in bound.state.values()), given
