"""The optimizers' steps against torch.optim, and the trained state before a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gdcli.commands.explain import explain, quantities, render
from gdcli.commands.explain.expression import text
from gdcli.commands.explain.point import point_of
from gdcli.commands.explain.updates import RULES, updated
from gdcli.commands.explain.worked import Network, subject_of
from gdcli.zoo.optimizers import OPTIMIZERS
from tests.commands.explain.helpers import evaluated, loaded_of

SETTINGS: list[dict[str, Any]] = [
    *({"name": name, "lr": 0.05} for name in sorted(OPTIMIZERS)),
    {"name": "sgd", "lr": 0.5, "momentum": 0.5},
    {"name": "sgd", "lr": 0.5, "momentum": 0.5, "dampening": 0.5},
    {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"name": "sgd", "lr": 0.1, "maximize": True},
    {"name": "rmsprop", "lr": 0.01, "momentum": 0.5, "centered": True},
    {"name": "adam", "lr": 0.01, "amsgrad": True, "weight_decay": 0.1},
    {"name": "adagrad", "lr": 1, "lr_decay": 0.1, "initial_accumulator_value": 0.2},
    {"name": "radam", "lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True},
    {"name": "asgd", "lr": 0.05, "t0": 1, "lambd": 0.01},
]
_CLASSES = {name.lower(): getattr(torch.optim, name) for name in dir(torch.optim) if name[0].isupper()}


def spec(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": {"x": [[1.0], [2.0], [-1.5]], "y": [[2.0], [3.0], [0.5]]},
        "model": {"type": "linear", "init": {"weight": [[0.3]], "bias": [-0.2]}},
        "loss": "mse", "optimizer": settings, "epochs": 12, "dtype": "float64",
    }  # fmt: skip


def torch_run(settings: dict[str, Any], steps: int) -> tuple[list[float], list[dict[str, Any]]]:
    layer = torch.nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(0.3)
        layer.bias.fill_(-0.2)
    arguments = {key: value for key, value in settings.items() if key != "name"}
    optimizer = _CLASSES[settings["name"]](layer.parameters(), foreach=False, **arguments)
    x = torch.tensor([[1.0], [2.0], [-1.5]], dtype=torch.float64)
    y = torch.tensor([[2.0], [3.0], [0.5]], dtype=torch.float64)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layer(x), y).backward()
        optimizer.step()
    return [layer.weight.item(), layer.bias.item()], [dict(optimizer.state[p]) for p in layer.parameters()]


@pytest.mark.parametrize("step", [1, 2, 8])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_the_step_and_the_state_after_are_torchs(settings: dict[str, Any], step: int) -> None:
    loaded = loaded_of(spec(settings))
    subject = subject_of(loaded, point_of(loaded, step))
    assert isinstance(subject, Network)
    values, states = torch_run(settings, step)
    for name, value, state in zip(("weight", "bias"), values, states, strict=True):
        (one,) = (one for one in subject.scalars() if one.parameter == name)
        (scalar,) = updated(subject.point.rules, [one])
        assert scalar.new.key == f"new_{one.symbol.name.text}"
        assert scalar.new.value == pytest.approx(value, rel=1e-6 if settings["name"] in ("nadam", "asgd") else 1e-12)
        for key, after in scalar.after.items():  # torch keeps nadam's and asgd's scalars in float32
            assert after == pytest.approx(
                float(state[key]), rel=1e-6 if key in ("mu_product", "eta", "mu", "ax") else 1e-12
            )
        for line in scalar.lines:
            assert evaluated(text(line.worked, numbers=True)) == line.value, line.name


def test_every_optimizer_has_its_rule() -> None:
    assert set(RULES) == set(OPTIMIZERS)


def test_momentum_stands_beside_its_average_only_where_they_differ() -> None:
    def titles(settings: dict[str, Any]) -> list[str]:
        update = explain(loaded_of(spec(settings)), 3).sections[-1]
        return [group.title for group in update.groups]

    assert "Momentum as an average" in titles(SETTINGS[11])
    assert "Momentum as an average" not in titles(SETTINGS[12])
    assert "Momentum as an average" not in titles(SETTINGS[0])


@pytest.mark.parametrize("step", [0, 13])
def test_a_step_that_the_run_has_not_is_refused(step: int) -> None:
    from gdcli.errors import SpecError

    with pytest.raises(SpecError, match="from 1 to 12"):
        explain(loaded_of(spec(SETTINGS[0])), step)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_later_step_says_where_those_before_were_trained_in_float32(dtype: str) -> None:
    loaded = loaded_of(spec(SETTINGS[0]) | {"dtype": dtype})
    after, before = quantities(loaded, ["new_w1"], 1)[0].value, quantities(loaded, ["w1"], 2)[0].value
    assert before == (torch.tensor(after, dtype=getattr(torch, dtype)).item())
    assert (before == after) == (dtype == "float64")
    assert ("trained in float32, the spec's dtype" in render(explain(loaded, 2))) == (dtype == "float32")
    assert "dtype" not in render(explain(loaded, 1))
