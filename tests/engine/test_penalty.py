"""`penalty`: λ₁ Σ|w| + λ₂ Σw² over the trained weights, in the training loss and its gradients and nowhere else."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import Lasso, LogisticRegression, Ridge

from gdcli.engine.grid import losses
from gdcli.engine.loop import Loop
from gdcli.engine.problem import build_fleet
from gdcli.errors import SpecError
from gdcli.records import Outcomes
from tests.engine.plain_torch import batches, built, loaded, mlp, same_bits, trained

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(24, 3)).tolist(), RNG.normal(size=(24, 2)).tolist()
PENALTIES = [{"l2": 0.01}, {"l1": 0.003}, {"l1": 0.003, "l2": 0.01}]


def spec(penalty: Any, **more: Any) -> dict[str, Any]:
    found = {
        "data": {"x": X, "y": Y},
        "model": {"type": "mlp", "layers": [3, 5, 2], "activation": "tanh"},
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "epochs": 6,
        "batch": {"size": 7, "shuffle": False},
        "dtype": "float64",
        "penalty": penalty,
    }
    return {key: value for key, value in (found | more).items() if value is not None}


def of_autograd(penalty: dict[str, float], weights: list[torch.Tensor]) -> Any:
    l1, l2 = penalty.get("l1", 0), penalty.get("l2", 0)
    return sum(l1 * w.abs().sum() + l2 * w.square().sum() for w in weights)


@pytest.mark.parametrize("engine", ["auto", "autograd"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_loss_and_gradient_are_those_of_a_plain_loop(penalty: dict[str, float], engine: str) -> None:
    """Torch's autograd of the loss with the penalty added to it; biases have none."""
    x, y = torch.tensor(X, dtype=torch.float64), torch.tensor(Y, dtype=torch.float64)
    layers = mlp([3, 5, 2], torch.float64)
    parameters = list(chain.from_iterable(layer.parameters() for layer in layers))
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    found, gradients = [], []
    for xs, ys in batches(x, y, 7, 6):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(layers[1](torch.tanh(layers[0](xs))), ys)
        loss = loss + of_autograd(penalty, [layer.weight for layer in layers])
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]).numpy())  # type: ignore[union-attr]
        found.append(loss.item())
        optimizer.step()
    run = trained(spec(penalty, engine=engine))
    np.testing.assert_allclose(run.column("loss"), found, rtol=1e-13)
    np.testing.assert_allclose(run.column("gradients"), gradients, rtol=1e-11, atol=1e-14)
    output = layers[1](torch.tanh(layers[0](x)))
    whole = torch.nn.functional.mse_loss(output, y) + of_autograd(penalty, [layer.weight for layer in layers])
    assert run.outcome.loss == pytest.approx(whole.item(), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_run_has_the_bits_of_gradients_to_which_it_is_added(penalty: dict[str, float], dtype: str) -> None:
    """As an optimizer's weight decay is added: 2 λ₂ w, then λ₁ sign(w)."""
    kind = getattr(torch, dtype)
    x, y = torch.tensor(X, dtype=torch.float64).to(kind), torch.tensor(Y, dtype=torch.float64).to(kind)
    layers = mlp([3, 5, 2], kind)
    parameters = list(chain.from_iterable(layer.parameters() for layer in layers))
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for xs, ys in batches(x, y, 7, 6):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layers[1](torch.tanh(layers[0](xs))), ys).backward()
        for layer in layers:
            assert layer.weight.grad is not None
            if "l2" in penalty:
                layer.weight.grad.add_(layer.weight.detach(), alpha=2 * penalty["l2"])
            if "l1" in penalty:
                layer.weight.grad.add_(layer.weight.detach().sign(), alpha=penalty["l1"])
        optimizer.step()
    run = trained(spec(penalty, dtype=dtype))
    assert all(map(same_bits, run.weights.values(), (p.detach() for p in parameters)))


def test_at_zero_the_subgradient_is_zero() -> None:
    run = trained(
        spec(
            {"l1": 1.0},
            model={"type": "linear", "init": {"weight": 0, "bias": 0}},
            data={"x": X, "y": np.zeros((24, 2)).tolist()},
        )
    )
    assert not run.column("gradients").any()
    assert not run.weights["weight"].any()


@pytest.mark.parametrize("layers", [[3, 4, 2], [3, 9, 2]])  # written out, and by torch's products
@pytest.mark.parametrize("penalty", PENALTIES)
def test_fleets_have_it_too(penalty: dict[str, float], layers: list[int]) -> None:
    model = {"type": "mlp", "layers": layers, "activation": "tanh"}
    specs = [spec(penalty, model=model, optimizer={"name": "adam", "lr": lr}) for lr in (0.01, 0.1, 0.3)]

    def of(members: list[Any]) -> Outcomes:
        *_, outcome = Loop(build_fleet([loaded(each) for each in members])).events()
        assert isinstance(outcome, Outcomes)
        return outcome

    together = of(specs)
    for k, each in enumerate(specs):
        assert together.loss[k] == pytest.approx(trained(each).outcome.loss, rel=1e-11)
        of_one = of([each])
        assert np.array_equal(of_one.values[0], together.values[k])
        assert of_one.loss[0] == together.loss[k]


def test_rows_that_are_held_out_are_judged_without_it() -> None:
    run = trained(spec({"l2": 100.0}, optimizer={"name": "sgd", "lr": 1e-6}, data={"x": X, "y": Y, "validation": 0.5}))
    built_model = run.built
    held_out, rows = built_model.loaded.validation, built_model.loaded.training
    assert held_out is not None
    assert rows is not None
    weights = run.weights

    def error(table: Any) -> float:
        a = np.tanh(table.x @ weights["linear1.weight"].numpy().T + weights["linear1.bias"].numpy())
        o = a @ weights["linear2.weight"].numpy().T + weights["linear2.bias"].numpy()
        return float(np.mean((o - table.y) ** 2))

    size = sum(float(weights[f"linear{k}.weight"].square().sum()) for k in (1, 2))
    assert run.outcome.metrics["validation_loss"] == pytest.approx(error(held_out), rel=1e-12)
    assert run.outcome.loss == pytest.approx(error(rows) + 100 * size, rel=1e-12)


def test_frozen_weights_and_vectors_have_none() -> None:
    layers = [{"layer": "Linear", "in_features": 3, "out_features": 2}, {"layer": "LayerNorm", "normalized_shape": 2}]
    run = trained(spec({"l2": 5.0}, model={"type": "sequential", "layers": layers}, epochs=1, batch="full"))
    start = {parameter.name: parameter.values for parameter in run.start.parameters}
    bare = trained(spec(None, model={"type": "sequential", "layers": layers}, epochs=1, batch="full"))
    added = run.column("gradients")[0] - bare.column("gradients")[0]
    np.testing.assert_allclose(added[:6], 10 * start["0.weight"].ravel(), rtol=1e-12)
    assert not added[6:].any()  # of the bias, and of the norm's scale
    frozen = spec(
        {"l2": 5.0}, model={"type": "mlp", "layers": [3, 5, 2], "activation": "tanh", "freeze": ["linear1.*"]}
    )
    only = trained(frozen)
    assert only.column("loss")[0] == pytest.approx(
        trained(spec(None)).column("loss")[0] + 5 * float(np.square(only.start.parameters[2].values).sum()), rel=1e-12
    )


def test_a_swept_weight_has_its_penalty() -> None:
    """The loss over a grid is the one that is trained: by the tiny kernel, and by the other."""
    for sizes in ([3, 4, 2], [3, 9, 2]):
        model = {"type": "mlp", "layers": sizes, "activation": "tanh"}
        name, points = "linear1.weight[0,0]", np.array([[-1.0], [0.0], [2.0]])
        bare = losses(built(spec(None, model=model)), [name], points)
        full = losses(built(spec({"l1": 0.5, "l2": 0.1}, model=model)), [name], points)
        added = full - bare
        assert added[0] - added[1] == pytest.approx(0.6, rel=1e-10)
        assert added[2] - added[1] == pytest.approx(1.4, rel=1e-10)


@pytest.mark.parametrize(
    ("penalty", "more", "told"),
    [
        ({"l2": -1}, {}, r"penalty\.l2: must be at least 0"),
        ({"l3": 1}, {}, r"penalty\.l3: unknown key"),
        ({"l2": 1}, {"model": {"type": "mlp", "layers": [3, 2], "freeze": ["*weight"]}}, "and none is trained"),
        (
            {"l2": 1},
            {"model": {"type": "identity"}, "data": {"x": Y, "y": Y}, "epochs": 0, "print": {"style": "loss"}},
            "penalty: has no effect",
        ),
        (
            {"l2": 1},
            {
                "model": {"type": "objective", "expression": "x**2", "start": {"x": 1}},
                "data": None,
                "loss": None,
                "batch": None,
            },
            "Write it into the expression",
        ),
    ],
)
def test_what_is_wrong_with_it_is_told(penalty: Any, more: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        loaded(spec(penalty, **more))


def test_a_mean_squared_error_with_it_is_ridge_and_lasso() -> None:
    """sklearn's Ridge minimises Σe² + α Σw², Lasso Σe²/2n + α Σ|w|."""
    y = [row[0] for row in Y]
    linear = {"type": "linear", "init": {"weight": 0, "bias": 0}}
    rule = {"name": "sgd", "lr": 0.05}
    ridge = trained(spec({"l2": 0.2}, model=linear, data={"x": X, "y": y}, optimizer=rule, batch="full", epochs=2000))
    theirs = Ridge(alpha=0.2 * 24, tol=1e-12).fit(np.array(X), np.array(y))
    np.testing.assert_allclose(ridge.weights["weight"].numpy().ravel(), theirs.coef_, rtol=1e-6)
    np.testing.assert_allclose(ridge.weights["bias"].numpy(), theirs.intercept_, rtol=1e-6)
    rule = {"name": "sgd", "lr": 0.01}
    lasso = trained(spec({"l1": 0.2}, model=linear, data={"x": X, "y": y}, optimizer=rule, batch="full", epochs=2000))
    sparse = Lasso(alpha=0.1, tol=1e-12).fit(np.array(X), np.array(y))
    np.testing.assert_allclose(
        lasso.weights["weight"].numpy().ravel(), sparse.coef_, atol=3e-3
    )  # steps of 0.01 · 0.2 round 0


@pytest.mark.parametrize("l2", [1e-3, 0.05])
def test_softmax_regression_is_sklearns_logistic_regression(l2: float) -> None:
    """mean loss + l2 Σw² is Σw²/2 + C Σ loss with C = 1/(2 l2 n): sklearn has no penalty on the intercept either."""
    x, y = load_iris(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    theirs = LogisticRegression(C=1 / (2 * l2 * len(x)), tol=1e-10, max_iter=10_000).fit(x, y)
    run = trained(
        {
            "data": {"dataset": "iris", "standardize": True},
            "model": {"type": "linear"},
            "loss": "cross_entropy",
            "optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.9},
            "epochs": 2000,
            "dtype": "float64",
            "penalty": {"l2": l2},
        }
    )
    logits = torch.from_numpy(x) @ run.weights["weight"].T + run.weights["bias"]
    np.testing.assert_allclose(torch.softmax(logits, 1).numpy(), theirs.predict_proba(x), atol=1e-3)
