"""`pos_weight` of bce_with_logits: torch's losses and weights to the bit, fleets, explain, and the spec's own hash."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name

from gdcli.commands.check import check
from gdcli.commands.explain import quantities
from gdcli.engine.loop import Loop
from gdcli.engine.problem import build_fleet
from gdcli.errors import SpecError
from gdcli.records import Outcomes
from gdcli.spec.config import filled_in
from tests.engine.plain_torch import DTYPES, batches, loaded, mlp, same_bits, trained

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(23, 3)).tolist(), (RNG.uniform(size=(23, 2)) > 0.8).astype(float).tolist()


def spec(weight: float | None = 3.7, **more: Any) -> dict[str, Any]:
    return {
        "data": {"x": X, "y": Y},
        "model": {"type": "mlp", "layers": [3, 5, 2], "activation": "tanh"},
        "loss": {"name": "bce_with_logits"} | ({} if weight is None else {"pos_weight": weight}),
        "optimizer": {"name": "sgd", "lr": 0.3},
        "epochs": 4,
        "batch": {"size": 6, "shuffle": False},
        "dtype": "float64",
    } | more


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
def test_a_run_has_the_bits_of_a_plain_loop(engine: str, dtype: str) -> None:
    x, t = (torch.tensor(each, dtype=torch.float64).to(DTYPES[dtype]) for each in (X, Y))
    layers, weight = mlp([3, 5, 2], DTYPES[dtype]), torch.tensor([3.7], dtype=DTYPES[dtype])
    parameters = [p for layer in layers for p in layer.parameters()]
    optimizer, losses = torch.optim.SGD(parameters, lr=0.3), []
    for xs, ts in batches(x, t, 6, 4):
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(layers[1](torch.tanh(layers[0](xs))), ts, pos_weight=weight)
        value.backward()
        losses.append(value.item())
        optimizer.step()
    run = trained(spec(engine=engine, dtype=dtype))
    assert run.column("loss").tolist() == losses
    assert all(map(same_bits, run.weights.values(), [p.detach() for p in parameters]))


def test_fleets_have_it_too() -> None:
    members = [loaded(spec(optimizer={"name": "adam", "lr": lr}, seed=k)) for k, lr in enumerate((0.01, 0.1, 0.3))]
    *_, outcome = Loop(build_fleet(members)).events()
    assert isinstance(outcome, Outcomes)
    for k, lr in enumerate((0.01, 0.1, 0.3)):
        alone = trained(spec(optimizer={"name": "adam", "lr": lr}, seed=k)).outcome
        assert outcome.loss[k] == pytest.approx(alone.loss, rel=1e-11)


def test_the_gradient_is_that_of_differences_and_explain_has_its_numbers() -> None:
    assert check(loaded(spec(batch="full"))).passed
    one = spec(batch={"size": 3, "shuffle": False}, epochs=1)
    run = trained(one)
    names = ["loss", *(f"dw{k}" for k in range(1, 16)), *(f"db{k}" for k in range(1, 6))]
    found = [quantity.value for quantity in quantities(loaded(one), names)]
    theirs = [run.column("loss")[0], *run.column("gradients")[0][:20]]
    assert found == pytest.approx(theirs, rel=1e-9, abs=1e-14)


def test_a_weight_of_1_is_the_loss_without_one_in_the_spec_too() -> None:
    assert filled_in(loaded(spec(1.0)).spec)["loss"] == filled_in(loaded(spec(None)).spec)["loss"]
    assert filled_in(loaded(spec()).spec)["loss"] == {"name": "bce_with_logits", "pos_weight": 3.7}
    assert trained(spec(1.0)).column("loss").tolist() == trained(spec(None)).column("loss").tolist()


@pytest.mark.parametrize("weight", [0, -1, "balanced"])
def test_what_is_no_weight_is_refused(weight: Any) -> None:
    with pytest.raises(SpecError, match=r"loss\.pos_weight: "):
        loaded(spec(weight))
