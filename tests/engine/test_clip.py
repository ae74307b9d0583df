"""`clip`: the update takes torch's clipped gradient, to the bit; what is recorded is the gradient before."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from gdcli.engine.loop import Loop
from gdcli.engine.problem import build_fleet
from gdcli.errors import SpecError
from gdcli.records import Outcomes
from tests.engine.plain_torch import batches, loaded, mlp, same_bits, trained

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(20, 3)).tolist(), (5 * RNG.normal(size=(20, 2))).tolist()
CLIPS = [{"norm": 0.5}, {"norm": 1e6}, {"value": 0.02}]


def spec(clip: Any, **more: Any) -> dict[str, Any]:
    found = {
        "data": {"x": X, "y": Y},
        "model": {"type": "mlp", "layers": [3, 7, 2], "activation": "tanh"},
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
        "epochs": 4,
        "batch": {"size": 6, "shuffle": False},
        "clip": clip,
    }
    return {key: value for key, value in (found | more).items() if value is not None}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ["auto", "autograd"])
@pytest.mark.parametrize("clip", CLIPS)
def test_a_run_has_the_bits_of_a_plain_loop(clip: dict[str, float], engine: str, dtype: str) -> None:
    kind = getattr(torch, dtype)
    x, y = torch.tensor(X, dtype=torch.float64).to(kind), torch.tensor(Y, dtype=torch.float64).to(kind)
    layers = mlp([3, 7, 2], kind)
    parameters = list(chain.from_iterable(layer.parameters() for layer in layers))
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    norms, before = [], []
    for xs, ys in batches(x, y, 6, 4):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layers[1](torch.tanh(layers[0](xs))), ys).backward()
        before.append(torch.cat([p.grad.flatten() for p in parameters]).numpy())  # type: ignore[union-attr]
        if "norm" in clip:
            norms.append(float(clip_grad_norm_(parameters, clip["norm"])))
        else:
            clip_grad_value_(parameters, clip["value"])
        optimizer.step()
    run = trained(spec(clip, engine=engine, dtype=dtype))
    assert all(map(same_bits, run.weights.values(), (p.detach() for p in parameters)))
    assert np.array_equal(run.column("gradients"), np.array(before))  # gradients.csv: before the clip
    if norms:
        np.testing.assert_allclose(run.column("gradient_norm"), norms, rtol=1e-6 if dtype == "float32" else 1e-12)
        assert max(norms) > 0.5


@pytest.mark.parametrize("layers", [[3, 4, 2], [3, 9, 2]])  # written out, and by torch's products
@pytest.mark.parametrize("clip", CLIPS)
def test_each_run_of_a_fleet_is_clipped_by_its_own_norm(clip: dict[str, float], layers: list[int]) -> None:
    model = {"type": "mlp", "layers": layers, "activation": "tanh"}
    specs = [spec(clip, model=model, dtype="float64", optimizer={"name": "adam", "lr": lr}) for lr in (0.01, 0.1, 0.5)]

    def of(members: list[Any]) -> Outcomes:
        *_, outcome = Loop(build_fleet([loaded(each) for each in members])).events()
        assert isinstance(outcome, Outcomes)
        return outcome

    together = of(specs)
    for k, each in enumerate(specs):
        alone = trained(each)
        theirs = torch.cat([w.flatten() for w in alone.weights.values()])
        problem = build_fleet([loaded(specs[0])])
        ours = together.values[k][problem.theta.model_order]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        assert np.array_equal(of([each]).values[0], together.values[k])


def test_groups_and_frozen_parameters_share_one_norm_of_what_is_trained() -> None:
    layers = mlp([3, 7, 2], torch.float64)
    layers[0].bias.requires_grad_(False)
    trained_ones = [layers[0].weight, *layers[1].parameters()]
    optimizer = torch.optim.SGD(
        [{"params": [layers[0].weight]}, {"params": list(layers[1].parameters()), "lr": 0.01}], lr=0.1
    )
    x, y = torch.tensor(X, dtype=torch.float64), torch.tensor(Y, dtype=torch.float64)
    for xs, ys in batches(x, y, 6, 4):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layers[1](torch.tanh(layers[0](xs))), ys).backward()
        clip_grad_norm_(trained_ones, 0.5)
        optimizer.step()
    rule = {"name": "sgd", "lr": 0.1, "groups": {"linear2.*": {"lr": 0.01}}}
    model = {"type": "mlp", "layers": [3, 7, 2], "activation": "tanh", "freeze": ["linear1.bias"]}
    run = trained(spec({"norm": 0.5}, optimizer=rule, model=model, dtype="float64"))
    for name, theirs in zip(("linear1.weight", "linear2.weight"), (layers[0].weight, layers[1].weight), strict=True):
        torch.testing.assert_close(run.weights[name], theirs.detach(), rtol=1e-13, atol=0)


def test_the_norm_that_stops_a_run_is_that_before_the_clip() -> None:
    quick = spec({"value": 1e-9}, batch="full", epochs=50, stop={"gradient_norm": 1e-3}, dtype="float64")
    assert trained(quick).outcome.status == "finished"


def test_an_objective_is_clipped_too() -> None:
    steep = {"type": "objective", "expression": "100*x**2", "start": {"x": 3}}
    run = trained(
        spec({"norm": 1}, model=steep, data=None, loss=None, batch=None, optimizer={"name": "sgd", "lr": 0.5})
    )
    assert run.weights["x"].item() == pytest.approx(3 - 4 * 0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("clip", "told"),
    [
        ({"norm": 1, "value": 2}, "clip: takes norm or value, not both"),
        ({"norm": 0}, r"clip\.norm: must be more than 0"),
        ({"nrom": 1}, r"clip\.nrom: unknown key\. Did you mean 'norm'"),
        (3, "clip: must be a mapping"),
    ],
)
def test_what_is_wrong_with_it_is_told(clip: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        loaded(spec(clip))


def test_at_its_default_it_is_not_written() -> None:
    from gdcli.spec.config import filled_in

    assert "clip" not in filled_in(loaded(spec(None)).spec)
    assert "accumulate" not in filled_in(loaded(spec(None)).spec)["batch"]
    assert filled_in(loaded(spec({"norm": 1})).spec)["clip"] == {"norm": 1.0}
