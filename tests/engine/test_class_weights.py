"""Label smoothing and class weights: torch's losses and gradients, in every kernel."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from sklearn.utils.class_weight import compute_class_weight

from gdcli.commands.check import check
from gdcli.commands.explain import explain, quantities, render
from gdcli.engine.grouping import structure
from gdcli.engine.loop import Loop
from gdcli.engine.problem import build_fleet
from gdcli.engine.tracing import traced
from gdcli.errors import SpecError
from gdcli.records import Outcomes
from gdcli.zoo.losses import cross_entropy
from tests.engine.plain_torch import DTYPES, batches, loaded, mlp, same_bits, trained

RNG = np.random.default_rng(5)
X, CLASSES = RNG.normal(size=(23, 3)).tolist(), [0, 2, 1, 1, 3, 1, 0, 1, 3, 1, 1, 2, 1, 0, 1, 1, 3, 1, 1, 1, 2, 1, 0]
ROWS = RNG.dirichlet(np.ones(4), 23).tolist()
WEIGHTS = [0.3, 1.7, 0.9, 2.1]
CASES: list[dict[str, Any]] = [
    {"label_smoothing": 0.1},
    {"class_weights": WEIGHTS},
    {"class_weights": "balanced"},
    {"label_smoothing": 0.3, "class_weights": WEIGHTS},
    {"label_smoothing": 1.0},
]


def spec(loss: dict[str, Any], y: Any = None, **more: Any) -> dict[str, Any]:
    found = {
        "data": {"x": X, "y": CLASSES if y is None else y},
        "model": {"type": "mlp", "layers": [3, 5, 4], "activation": "tanh"},
        "loss": {"name": "cross_entropy", **loss},
        "optimizer": {"name": "sgd", "lr": 0.3},
        "epochs": 4,
        "batch": {"size": 6, "shuffle": False},
        "dtype": "float64",
    }
    return found | more


def numbers(loss: dict[str, Any]) -> list[float] | None:
    given = loss.get("class_weights")
    if given == "balanced":
        return compute_class_weight("balanced", classes=np.unique(CLASSES), y=np.array(CLASSES)).tolist()
    return given


def plain(
    loss: dict[str, Any], y: Any, dtype: torch.dtype, nll: bool = False
) -> tuple[list[float], list[torch.Tensor]]:
    x, t = torch.tensor(X, dtype=torch.float64).to(dtype), torch.tensor(y)
    t = t if t.dtype == torch.int64 else torch.tensor(y, dtype=torch.float64).to(dtype)
    layers = mlp([3, 5, 4], dtype)
    parameters = list(chain.from_iterable(layer.parameters() for layer in layers))
    optimizer = torch.optim.SGD(parameters, lr=0.3)
    weights = numbers(loss)
    weight = None if weights is None else torch.tensor(weights, dtype=dtype)
    found = []
    for xs, ts in batches(x, t, 6, 4):
        optimizer.zero_grad()
        output = layers[1](torch.tanh(layers[0](xs)))
        if nll:
            value = F.nll_loss(F.log_softmax(output, -1), ts, weight=weight)
        else:
            value = F.cross_entropy(output, ts, weight=weight, label_smoothing=loss.get("label_smoothing", 0.0))
        value.backward()
        found.append(value.item())
        optimizer.step()
    return found, [p.detach() for p in parameters]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", ["auto", "autograd"])
@pytest.mark.parametrize("loss", CASES)
def test_a_run_has_the_bits_of_a_plain_loop(loss: dict[str, Any], engine: str, dtype: str) -> None:
    losses, weights = plain(loss, CLASSES, DTYPES[dtype])
    run = trained(spec(loss, engine=engine, dtype=dtype))
    assert run.column("loss").tolist() == losses
    assert all(map(same_bits, run.weights.values(), weights))


@pytest.mark.parametrize("engine", ["auto", "autograd"])
@pytest.mark.parametrize("loss", [case for case in CASES if case.get("class_weights") != "balanced"])
def test_rows_of_probabilities_too(loss: dict[str, Any], engine: str) -> None:
    losses, weights = plain(loss, ROWS, torch.float64)
    run = trained(spec(loss, ROWS, engine=engine))
    assert run.column("loss").tolist() == losses
    for ours, theirs in zip(run.weights.values(), weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "loss", [*CASES[:2], *CASES[3:], {"class_weights": [0.0, 1.0, 0.5, 2.0], "label_smoothing": 0.2}]
)
def test_loss_and_slope_from_one_log_softmax_have_torchs_bits(loss: dict[str, Any], dtype: str) -> None:
    draw = torch.Generator().manual_seed(3)
    once = cross_entropy(**loss).once
    assert once is not None
    for rows in (1, 5, 64, 257):
        output = (4 * torch.randn(rows, 4, generator=draw, dtype=getattr(torch, dtype))).requires_grad_()
        classes = torch.randint(1, 4, (rows,), generator=draw)
        weights = loss.get("class_weights") and output.new_tensor(loss["class_weights"])
        smoothing = loss.get("label_smoothing", 0.0)
        value = F.cross_entropy(output, classes, weight=weights, label_smoothing=smoothing)
        value.backward()
        found, slope = once(output.detach(), classes)
        assert torch.equal(found, value.detach())
        assert torch.equal(slope, output.grad)


def test_nll_has_weights() -> None:
    losses, weights = plain({"class_weights": WEIGHTS}, CLASSES, torch.float64, nll=True)
    model = {"type": "mlp", "layers": [3, 5, 4], "activation": "tanh", "output_activation": "log_softmax"}
    run = trained(spec({"name": "nll", "class_weights": WEIGHTS}, model=model))
    assert run.column("loss").tolist() == losses
    assert all(map(same_bits, run.weights.values(), weights))


@pytest.mark.parametrize("y", [CLASSES, ROWS], ids=["classes", "probabilities"])
@pytest.mark.parametrize("loss", [CASES[0], CASES[1], CASES[3]])
def test_fleets_have_them_too(loss: dict[str, Any], y: Any) -> None:
    specs = [spec(loss, y, optimizer={"name": "adam", "lr": lr}, seed=k) for k, lr in enumerate((0.01, 0.1, 0.3))]

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


@pytest.mark.parametrize("loss", CASES)
def test_passes_count_by_the_weights_of_their_rows(loss: dict[str, Any]) -> None:
    pieces = trained(spec(loss, batch={"size": 5, "accumulate": 4, "shuffle": False}))
    whole = trained(spec(loss, batch={"size": 20, "shuffle": False}))
    np.testing.assert_allclose(pieces.column("loss"), whole.column("loss"), rtol=1e-12)
    np.testing.assert_allclose(pieces.column("gradients"), whole.column("gradients"), rtol=1e-9, atol=1e-13)
    assert pieces.outcome.loss == pytest.approx(whole.outcome.loss, rel=1e-12)
    members = [loaded(spec(loss, batch={"size": 5, "accumulate": 4, "shuffle": False}, seed=seed)) for seed in (0, 1)]
    *_, outcome = Loop(build_fleet(members)).events()
    assert isinstance(outcome, Outcomes)
    assert outcome.loss[0] == pytest.approx(whole.outcome.loss, rel=1e-11)


@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
def test_a_pass_without_weight_adds_nothing(engine: str) -> None:
    """Rows 4 to 7, a pass of the first step, are all of class 1, whose weight is 0."""
    y, weights = [0, 2, 1, 3, 1, 1, 1, 1, 2, 1, 3, 0], [0.3, 0.0, 0.9, 2.1]
    loss, data = {"class_weights": weights}, {"x": X[:12], "y": y}
    one = spec(loss, data=data, batch={"size": 4, "accumulate": 3, "shuffle": False}, engine=engine, epochs=3)
    x, t, w = (torch.tensor(each, dtype=None if each is y else torch.float64) for each in (X[:12], y, weights))
    layers = mlp([3, 5, 4], torch.float64)
    parameters = [p for layer in layers for p in layer.parameters()]
    optimizer, losses = torch.optim.SGD(parameters, lr=0.3), []
    for _ in range(3):
        optimizer.zero_grad()
        value = F.cross_entropy(layers[1](torch.tanh(layers[0](x))), t, weight=w)
        value.backward()
        losses.append(value.item())
        optimizer.step()
    run = trained(one)
    assert run.outcome.status == "finished"
    np.testing.assert_allclose(run.column("loss"), losses, rtol=1e-12)
    for ours, theirs in zip(run.weights.values(), parameters, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-11, atol=1e-13)
    members = [loaded({**one, "engine": "auto", "seed": seed}) for seed in (0, 1)]
    *_, outcome = Loop(build_fleet(members)).events()
    assert isinstance(outcome, Outcomes)
    assert outcome.loss[0] == pytest.approx(run.outcome.loss, rel=1e-11)


@pytest.mark.parametrize("batch", ["full", {"size": 4, "accumulate": 3, "shuffle": False}])
@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
def test_a_step_without_weight_is_torchs_nan(batch: Any, engine: str) -> None:
    one = torch.nn.functional.cross_entropy(torch.ones(2, 2), torch.tensor([1, 1]), weight=torch.tensor([1.0, 0.0]))
    assert one.isnan()
    data = {"x": X[:12], "y": [1] * 12}
    run = trained(spec({"class_weights": [0.3, 0.0, 0.9, 2.1]}, data=data, batch=batch, engine=engine))
    assert run.outcome.status == "diverged"
    assert run.outcome.steps == 1
    assert np.isnan(run.column("loss")).all()


@pytest.mark.parametrize("loss", CASES)
@pytest.mark.parametrize("y", [CLASSES, ROWS], ids=["classes", "probabilities"])
def test_the_gradient_is_that_of_differences(loss: dict[str, Any], y: Any) -> None:
    if y is ROWS and loss.get("class_weights") == "balanced":
        with pytest.raises(SpecError, match="balanced counts rows of classes"):
            loaded(spec(loss, y))
        return
    report = check(loaded(spec(loss, y, batch="full")))
    assert report.passed, report.text()


@pytest.mark.parametrize("loss", CASES)
@pytest.mark.parametrize("y", [CLASSES, ROWS], ids=["classes", "probabilities"])
def test_explain_has_torchs_numbers(loss: dict[str, Any], y: Any) -> None:
    if y is ROWS and loss.get("class_weights") == "balanced":
        return
    one = spec(loss, y, batch={"size": 3, "shuffle": False}, epochs=1)
    run = trained(one)
    names = [
        "loss",
        *(f"dw{k}" for k in range(1, 16)),
        *(f"db{k}" for k in range(1, 6)),
        *(f"dw{k}" for k in range(16, 36)),
    ]
    found = [quantity.value for quantity in quantities(loaded(one), names)]
    theirs = [run.column("loss")[0], *run.column("gradients")[0][:40]]
    assert found == pytest.approx(theirs, rel=1e-9, abs=1e-14)
    assert render(explain(loaded(one)), "latex")


def test_explain_has_a_weighted_nll() -> None:
    loss = {"name": "nll", "class_weights": WEIGHTS}
    one = spec(loss, model={"type": "identity"}, batch="full", epochs=0, print={"style": "loss"},
               data={"x": RNG.normal(size=(2, 4)).tolist(), "y": [3, 1]})  # fmt: skip
    x = torch.tensor(one["data"]["x"], dtype=torch.float64).requires_grad_()
    value = F.nll_loss(x, torch.tensor([3, 1]), weight=torch.tensor(WEIGHTS, dtype=torch.float64))
    value.backward()
    assert x.grad is not None
    names = ["loss", *(f"do{j}[{b}]" for b in (1, 2) for j in (1, 2, 3, 4))]
    found = [quantity.value for quantity in quantities(loaded(one), names)]
    assert found == pytest.approx([value.item(), *x.grad.flatten().tolist()], rel=1e-13)


def test_balanced_weights_are_those_of_each_runs_own_rows() -> None:
    """Runs whose splits hold other numbers of rows of a class have other losses, and train apart."""
    data = {"x": X, "y": CLASSES, "validation": 0.4}
    first, second = (loaded(spec({"class_weights": "balanced"}, data=data, seed=seed)) for seed in (0, 1))
    assert structure(first) != structure(second)
    assert structure(first) == structure(loaded(spec({"class_weights": "balanced"}, data=data, seed=0)))


def test_a_class_without_weight_is_not_smoothed_in_several_passes() -> None:
    loss, batch = {"class_weights": [1, 0, 1, 1], "label_smoothing": 0.1}, {"size": 5, "accumulate": 2}
    with pytest.raises(SpecError, match=r"loss\.class_weights: a class of weight 0 cannot be smoothed"):
        loaded(spec(loss, batch=batch))
    loaded(spec(loss))
    loaded(spec({**loss, "class_weights": WEIGHTS}, batch=batch))


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ({"class_weights": [1, 2]}, r"loss\.class_weights: has 2 numbers, the model has 4 outputs"),
        ({"class_weights": [0, 0, 0, 0]}, "needs a weight above 0"),
        ({"class_weights": [1, 1, 1, -1]}, "at least 0"),
        ({"class_weights": "balance"}, "class_weights"),
        ({"label_smoothing": 1.5}, r"label_smoothing: must be at most 1"),
        ({"weight": [1, 1, 1, 1]}, r"loss\.weight: unknown key"),
    ],
)
def test_what_is_wrong_with_them_is_told(loss: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        loaded(spec(loss))


def test_a_model_of_more_outputs_than_classes_has_balanced_weights_too() -> None:
    run = trained(spec({"class_weights": "balanced", "label_smoothing": 0.1}, model={"type": "mlp", "layers": [3, 6]}))
    assert run.outcome.status == "finished"


def test_torch_layers_are_told_of_more_weights_than_outputs_when_they_are_tried() -> None:
    model = {"type": "sequential", "layers": [{"layer": "Linear", "out_features": 5}]}
    with pytest.raises(SpecError, match=r"loss\.class_weights: has 6 numbers, the model has 5 outputs"):
        traced(loaded(spec({"class_weights": [*WEIGHTS, 1, 1]}, model=model)))
    assert trained(spec({"class_weights": WEIGHTS}, model=model)).outcome.status == "finished"
