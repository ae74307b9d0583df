"""What a plugin writes with torch and numpy, as the tables of the zoo hold it: against closed forms and torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gdcli.errors import PluginError
from gdcli.zoo import own_forms
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.origins import Origin
from gdcli.zoo.update_rule import Bound

HERE = Origin("mine", "mine.py", 7, "mine")
TOLD = "mine.py:7: mine: "


def rows(seed: int = 0, shape: tuple[int, ...] = (5, 2)) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- losses and activations -------------------------------------------------------------------------------------------


def test_a_loss_of_output_and_target_has_its_derivative() -> None:
    """Mean of e⁴: 4 e³ / N."""
    loss = own_forms.loss(lambda o, t, *, scale: scale * (o - t).pow(4).mean(), HERE, "mean", {"scale": 0.5})
    o, t = rows(1), rows(2)
    assert float(loss.value(o, t)) == pytest.approx(0.5 * float(((o - t) ** 4).mean()), rel=1e-15)
    torch.testing.assert_close(loss.derivative(o)(o, t), 0.5 * 4 * (o - t) ** 3 / o.numel(), rtol=1e-14, atol=0)
    assert not loss.sums


def test_a_loss_that_is_a_sum_says_so() -> None:
    assert own_forms.loss(lambda o, t: (o - t).square().sum(), HERE, "sum", {}).sums


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda o, t: o - t, "returns a tensor of shape [5, 2], float64; a loss is one number"),
        (lambda o, t: 3, "returns an int; a loss is one number"),
        (lambda o, t: (o > t).sum(), "returns a tensor of shape [], int64"),
        (lambda o, t: (o - t).detach().mean(), "does not depend on the output"),
        (lambda o: o.mean(), "TypeError: "),
    ],
)
def test_what_is_no_loss_is_told(function: Callable[..., Any], what: str) -> None:
    loss = own_forms.loss(function, HERE, "mean", {})
    with pytest.raises(PluginError) as error:
        loss.derivative(rows())(rows(), rows(1))
    assert str(error.value).startswith(TOLD + what)


@pytest.mark.parametrize(("place", "name"), [(0, "output"), (1, "target")])
def test_a_loss_or_metric_that_changes_what_the_next_step_needs_is_told(place: int, name: str) -> None:
    def changes(*given: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            given[place].mul_(2)
        return (given[0] - given[1]).square().mean()

    table: Any = object()
    metric: Any = own_forms.metric(changes, HERE)("mse", table)
    for number in (own_forms.loss(changes, HERE, "mean", {}).value, metric):
        with pytest.raises(PluginError) as error:
            number(rows(), rows(1))
        assert str(error.value).startswith(f"{TOLD}changes its {name} in place")


def test_an_activation_has_its_derivative_also_into_the_gradient_that_came() -> None:
    """a = z³, da/dz = 3 z²."""
    cube = own_forms.activation(lambda z: z**3, HERE)
    z, d = rows(1), rows(2)
    assert cube.forward is not None
    assert cube.backward is not None
    assert torch.equal(cube.forward(z), z**3)
    expected = d * 3 * z**2
    torch.testing.assert_close(cube.backward(d, z, z**3, d), expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(d, expected, rtol=1e-14, atol=0)


def test_an_activation_that_changes_the_shape_is_told() -> None:
    with pytest.raises(PluginError, match="returns a tensor of shape \\[\\], float64 of a tensor of shape \\[5, 2\\]"):
        own_forms.activation(lambda z: z.sum(), HERE).forward(rows())  # type: ignore[misc]  # there is one


# --- optimizers -------------------------------------------------------------------------------------------------------

CLASSES: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {"lr": 0.1}),
    "adam of floats": (torch.optim.Adam, {"lr": 0.1, "betas": (0.5, 0.7), "weight_decay": 0.1, "amsgrad": True}),
    "adamw": (torch.optim.AdamW, {"lr": 0.1}),
    "sgd": (torch.optim.SGD, {"lr": 0.1}),
    "sgd with momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.1, "momentum": 0.5, "centered": True}),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.5}),
    "adadelta": (torch.optim.Adadelta, {"lr": 0.1}),
    "adamax": (torch.optim.Adamax, {"lr": 0.1}),
    "nadam": (torch.optim.NAdam, {"lr": 0.1}),
    "radam": (torch.optim.RAdam, {"lr": 0.1}),
    "rprop": (torch.optim.Rprop, {"lr": 0.1}),
    "asgd": (torch.optim.ASGD, {"lr": 0.1}),
}
STEPS = 8


def gradients() -> list[torch.Tensor]:
    return [rows(100 + t, (6,)) for t in range(STEPS)]


def bound(name: str) -> tuple[torch.Tensor, torch.Tensor, Bound]:
    kind, keys = CLASSES[name]
    p, g = rows(3, (6,)), torch.zeros(6, dtype=torch.float64)
    return p, g, own_forms.rule(kind, HERE, keys)(p, g)


def stepped(p: torch.Tensor, g: torch.Tensor, rule: Bound, steps: range) -> list[torch.Tensor]:
    found = []
    for t in steps:
        g.copy_(gradients()[t - 1])
        rule.update(0.1 / t, t)
        found.append(p.clone())
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_torch_has_the_steps_that_it_has_by_itself(name: str) -> None:
    kind, keys = CLASSES[name]
    parameter = torch.nn.Parameter(rows(3, (6,)))
    plain = kind([parameter], **keys)
    expected = []
    for t, gradient in enumerate(gradients(), 1):
        parameter.grad = gradient.clone()
        plain.param_groups[0]["lr"] = 0.1 / t
        plain.step()
        expected.append(parameter.detach().clone())
    found = stepped(*bound(name), range(1, STEPS + 1))
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("name", CLASSES)
def test_its_state_and_parameters_are_all_that_the_next_step_depends_on(name: str) -> None:
    p, g, rule = bound(name)
    stepped(p, g, rule, range(1, 4))
    middle, state = p.clone(), {key: tensor.clone() for key, tensor in rule.state.items()}
    expected = stepped(p, g, rule, range(4, STEPS + 1))
    other, its_g, its_rule = bound(name)
    stepped(other, its_g, its_rule, range(1, 3))  # whatever it did before
    for key, tensor in its_rule.state.items():
        tensor.copy_(state[key])
    other.copy_(middle)
    assert all(map(torch.equal, stepped(other, its_g, its_rule, range(4, STEPS + 1)), expected))


@pytest.mark.parametrize("name", CLASSES)
def test_from_the_first_step_on_it_begins_anew(name: str) -> None:
    p, g, rule = bound(name)
    start = p.clone()
    expected = stepped(p, g, rule, range(1, STEPS + 1))
    p.copy_(start)
    assert all(map(torch.equal, stepped(p, g, rule, range(1, STEPS + 1)), expected))


def test_a_class_has_the_bits_of_the_built_in_rule() -> None:
    p, g = rows(3, (6,)), torch.zeros(6, dtype=torch.float64)
    built_in = OPTIMIZERS["adam"](lr=0.1)(p, g)
    found = stepped(*bound("adam"), range(1, STEPS + 1))
    assert all(map(torch.equal, stepped(p, g, built_in, range(1, STEPS + 1)), found))


class Counting(torch.optim.Optimizer):
    """Keeps what it is asked for."""

    def __init__(self, params: Any, *, lr: float, keeps: Callable[[Any, Any, dict[str, Any]], None]) -> None:
        super().__init__(params, {"lr": lr, "count": 0})
        self.keeps = keeps

    def step(self) -> None:  # type: ignore[override]  # without a closure
        for group in self.param_groups:
            for p in group["params"]:
                self.keeps(self, p, group)


def _list(optimizer: Any, p: Any, group: dict[str, Any]) -> None:
    optimizer.state[p]["history"] = [1]


def _of_group(optimizer: Any, p: Any, group: dict[str, Any]) -> None:
    group["count"] += 1


def _of_all(optimizer: Any, p: Any, group: dict[str, Any]) -> None:
    optimizer.state["all"] = {"count": 1}


def _writes_gradient(optimizer: Any, p: Any, group: dict[str, Any]) -> None:
    p.grad.mul_(2)
    p.sub_(group["lr"] * p.grad)


@pytest.mark.parametrize(
    ("keeps", "what"),
    [
        (_list, "its state has a list for 'history': only tensors and numbers can be kept"),
        (_of_group, "a step changes the settings of its group"),
        (_of_all, "its state has entries that are not of a parameter"),
    ],
)
def test_state_that_could_not_be_resumed_is_refused(keeps: Callable[..., None], what: str) -> None:
    p = rows(0, (3,))
    with pytest.raises(PluginError) as error:
        own_forms.rule(Counting, HERE, {"lr": 0.1, "keeps": keeps})(p, p.clone())
    assert str(error.value).startswith(TOLD + what)


def test_state_that_comes_later_is_refused_then() -> None:
    def late(optimizer: Any, p: Any, group: dict[str, Any]) -> None:
        count = optimizer.state[p].get("count", 0) + 1
        optimizer.state[p]["count"] = count
        if count == 3:
            optimizer.state[p]["more"] = 1.0

    p, g = rows(0, (3,)), torch.zeros(3, dtype=torch.float64)
    rule = own_forms.rule(Counting, HERE, {"lr": 0.1, "keeps": late})(p, g)
    rule.update(0.1, 1)
    rule.update(0.1, 2)
    with pytest.raises(PluginError, match="other entries than after the first step: more"):
        rule.update(0.1, 3)


def test_the_gradient_stays_as_it_is() -> None:
    p, g = torch.zeros(3), torch.ones(3)
    rule = own_forms.rule(Counting, HERE, {"lr": 0.1, "keeps": _writes_gradient})(p, g)
    rule.update(0.5, 1)
    assert torch.equal(g, torch.ones(3))
    assert torch.equal(p, torch.full((3,), -1.0))


def test_an_optimizer_that_needs_a_closure_is_told() -> None:
    class Searching(torch.optim.Optimizer):
        def __init__(self, params: Any, *, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
            return closure()

    with pytest.raises(PluginError, match=r"mine\.py:7: mine: TypeError: .*'closure'"):
        own_forms.rule(Searching, HERE, {"lr": 0.1})(torch.zeros(2), torch.zeros(2))


# --- data and metrics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "shapes", "classes"),
    [
        ([1.0, 2, 3], [0.5, 1, 2], ((3, 1), (3, 1)), 0),
        ([[1, 2], [3, 4], [5, 6]], [0, 2, 1], ((3, 2), (3,)), 3),
        (np.zeros((3, 1, 4, 4)), [[0.1, 0.2]] * 3, ((3, 16), (3, 2)), 0),
        (torch.zeros(3, 2), torch.tensor([0, 1, 1]), ((3, 2), (3,)), 2),
        ([1, 2, 3], [-1, 0, 1], ((3, 1), (3, 1)), 0),
        ([1, 2, 3], [[0], [1], [1]], ((3, 1), (3, 1)), 0),
    ],
)
def test_two_arrays_are_a_table(x: Any, y: Any, shapes: Any, classes: int) -> None:
    found = own_forms.table((x, y), HERE)
    assert (found.x.shape, found.y.shape) == shapes
    assert found.classes == classes
    assert np.array_equal(found.x.ravel(), np.asarray(x, np.float64).ravel())
    assert np.array_equal(found.y.ravel(), np.asarray(y, np.float64).ravel())


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (([1, 2], [1, 2, 3]), "x has 2 rows and y has 3"),
        (([], []), "its x is no array of numbers: shape [0]"),
        ((["a"], [1]), "its x is no array of numbers"),
        (([1], 1), "its y is no array of numbers: shape []"),
        ([1, 2, 3], "returns a list; data are two arrays, x and y"),
        (None, "returns nothing; data are two arrays, x and y"),
    ],
)
def test_what_is_no_table_is_told(found: Any, what: str) -> None:
    with pytest.raises(PluginError) as error:
        own_forms.table(found, HERE)
    assert str(error.value).startswith(TOLD + what)


def test_a_metric_is_a_number_of_output_and_target_and_an_objective_has_none() -> None:
    made = own_forms.metric(lambda o, t: (o - t).abs().max(), HERE)
    table = own_forms.table(([1.0], [2.0]), HERE)
    metric = made("mse", table)
    assert metric is not None
    assert metric(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.5], [1.0]])) == 2.0
    assert made("objective", None) is None
    with pytest.raises(PluginError, match=TOLD):
        own_forms.metric(lambda o, t: o - t, HERE)("mse", table)(torch.zeros(2, 1), torch.zeros(2, 1))  # type: ignore[misc]


def test_a_copy_of_a_module_is_made_of_the_sizes_and_the_keys() -> None:
    from gdcli.zoo.models import Sizes

    model = own_forms.module(lambda i, o, *, bias: torch.nn.Linear(i, o, bias=bias), HERE, Sizes(3, 2), {"bias": False})
    assert model.own is not None
    made = model.own.make()
    assert {name: tuple(p.shape) for name, p in made.named_parameters()} == {"weight": (2, 3)}
    assert tuple(model.own.call(copy.deepcopy(made), torch.zeros(4, 3)).shape) == (4, 2)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda i, o: 3, "returns an int, no torch.nn.Module"),
        (lambda i, o: torch.nn.LazyLinear(o), "weight has no size yet"),
        (lambda i, o: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_is_no_module_is_told(make: Callable[..., Any], what: str) -> None:
    from gdcli.zoo.models import Sizes

    own = own_forms.module(make, HERE, Sizes(3, 2), {}).own
    assert own is not None
    with pytest.raises(PluginError) as error:
        own.make()
    assert str(error.value).startswith(TOLD + what)
