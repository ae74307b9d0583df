"""The update rules against torch.optim, to the bit, and against closed forms."""

from __future__ import annotations

import inspect
import subprocess
import sys
from functools import cache
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor

from gdcli.zoo import optimizers
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.update_rule import Bound

SWITCHES = {"params", "foreach", "fused", "capturable", "differentiable"}
SHAPES = ((3, 5), (5,), (7, 3), (1,), ())
SIZES = [int(np.prod(shape)) for shape in SHAPES]
STEPS = 200

BITS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"lr": 1e3, "weight_decay": 1e-3}),
    ("sgd", {"momentum": 0.9, "maximize": True}),
    ("sgd", {"lr": 1.0, "momentum": 0.5, "dampening": 0.5, "weight_decay": 0.01, "maximize": True}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.3}),
    ("adagrad", {}),
    ("adagrad", {"lr": 10.0, "lr_decay": 0.1, "initial_accumulator_value": 0.3, "weight_decay": 0.01}),
    ("adagrad", {"lr_decay": 1e-3, "eps": 1e-3, "weight_decay": 0.01, "maximize": True}),
    ("rmsprop", {}),
    ("rmsprop", {"lr": 0.3, "momentum": 0.5, "alpha": 0.7}),
    ("rmsprop", {"centered": True, "eps": 1e-2, "maximize": True}),
    ("rmsprop", {"centered": True, "eps": 1e-2, "momentum": 0.9, "weight_decay": 0.1}),
    ("adam", {}),
    ("adam", {"lr": 1e4, "betas": (0.0, 0.0), "weight_decay": 0.1}),
    ("adam", {"amsgrad": True, "betas": (0.5, 0.9), "maximize": True}),
    ("adam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("adamw", {}),
    ("adamw", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.0, "maximize": True}),
    ("adadelta", {}),
    ("adadelta", {"lr": 30.0, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("adamax", {}),
    ("adamax", {"lr": 5.0, "betas": (0.3, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("nadam", {}),
    ("nadam", {"lr": 1.0, "betas": (0.99, 0.9), "momentum_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("nadam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("radam", {}),
    ("radam", {"lr": 1.0, "betas": (0.5, 0.7), "weight_decay": 0.1, "maximize": True}),  # ρ never above 5
    ("radam", {"lr": 0.1, "betas": (0.8, 0.99), "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("rprop", {}),
    ("rprop", {"lr": 1.0, "etas": (0.3, 1.9), "step_sizes": (1e-3, 2.0), "maximize": True}),
    ("asgd", {}),
    ("asgd", {"lr": 0.1, "lambd": 0.3, "alpha": 0.5, "t0": 50, "weight_decay": 0.1, "maximize": True}),
]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TORCH = {name.lower(): getattr(torch.optim, name) for name in torch.optim.__all__ if name.lower() in OPTIMIZERS}


@cache
def _start_and_gradients(dtype: torch.dtype) -> tuple[Tensor, Tensor]:  # [P], [steps, P]
    """Weights, and gradients of 16 orders of magnitude with zeros of both signs and whole steps of zeros."""
    generator = torch.Generator().manual_seed(7)
    size = sum(SIZES)
    scale = 10 ** (torch.rand(STEPS, size, generator=generator, dtype=torch.float64) * 16 - 12)
    gradients = torch.randn(STEPS, size, generator=generator, dtype=torch.float64) * scale
    gradients[torch.rand(STEPS, size, generator=generator) < 0.1] = 0.0
    gradients[torch.rand(STEPS, size, generator=generator) < 0.05] = -0.0
    gradients[[0, 17, 18]] = 0.0
    return torch.randn(size, generator=generator, dtype=torch.float64).to(dtype), gradients.to(dtype)


def _parts(flat: Tensor) -> list[Tensor]:
    """The parameters' pieces of a flat tensor, each in its shape."""
    ends = np.cumsum(SIZES)
    return [flat[end - size : end].reshape(shape) for end, size, shape in zip(ends, SIZES, SHAPES, strict=True)]


def _same_bits(a: Tensor, b: Tensor) -> bool:
    assert a.isfinite().all()
    as_integers = torch.int32 if a.dtype == torch.float32 else torch.int64
    return torch.equal(a.view(as_integers), b.view(as_integers))


def _lr(name: str, settings: dict[str, Any], t: int) -> float:
    first: float = settings.get("lr", inspect.signature(OPTIMIZERS[name]).parameters["lr"].default)
    return first if t <= STEPS // 2 else first / 3


def _bind(name: str, settings: dict[str, Any], start: Tensor) -> tuple[Tensor, Tensor, Bound]:
    p, g = start.clone(), torch.zeros_like(start)
    return p, g, OPTIMIZERS[name](**settings)(p, g)


def _ids(value: object) -> str | None:
    return " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None


def test_names_are_torchs_class_names_in_lower_case_and_each_has_its_bits_tested() -> None:
    assert set(TORCH) == set(OPTIMIZERS) == {name for name, _ in BITS}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_arguments_and_defaults_are_torchs(name: str) -> None:
    ours, theirs = inspect.signature(OPTIMIZERS[name]).parameters, inspect.signature(TORCH[name]).parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in ours.values())
    assert {k: p.default for k, p in ours.items()} == {k: p.default for k, p in theirs.items() if k not in SWITCHES}


def test_annotations_resolve_and_carry_bounds_without_torch() -> None:
    script = (
        "import sys; from typing import get_type_hints; from gdcli.zoo.optimizers import OPTIMIZERS\n"
        "hints = [get_type_hints(f, include_extras=True) for f in OPTIMIZERS.values()]\n"
        "assert all('Ge(ge=0)' in str(h['lr']) for h in hints); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert get_type_hints(optimizers.adam)["betas"] == tuple[float, float]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "settings"), BITS, ids=_ids)
def test_flat_rule_has_the_bits_of_torch_on_separate_parameters(
    name: str, settings: dict[str, Any], dtype: torch.dtype, device: str
) -> None:
    start, gradients = (tensor.to(device) for tensor in _start_and_gradients(dtype))
    parameters = [part.clone() for part in _parts(start)]
    theirs = TORCH[name](parameters, foreach=False, **settings)
    p, g, bound = _bind(name, settings, start)
    for t, row in enumerate(gradients, 1):
        lr = _lr(name, settings, t)
        for parameter, part in zip(parameters, _parts(row), strict=True):
            parameter.grad = part
        theirs.param_groups[0]["lr"] = lr
        theirs.step()
        g.copy_(row)
        bound.update(lr, t)
        if t in (1, STEPS // 2):
            assert _same_bits(p, torch.cat([parameter.reshape(-1) for parameter in parameters]))
        if t % 50 == 0:
            assert _same_bits(g, row)
    assert _same_bits(p, torch.cat([parameter.reshape(-1) for parameter in parameters]))
    states = [theirs.state[parameter] for parameter in parameters]
    assert set(bound.state) == set(states[0]) - {"step"}
    for key, value in bound.state.items():
        expected = states[0][key] if value.ndim == 0 else torch.cat([state[key].reshape(-1) for state in states])
        assert value.dtype == expected.dtype
        assert _same_bits(value, expected.to(value.device))


@pytest.mark.parametrize(("name", "settings"), BITS, ids=_ids)
def test_state_copied_into_a_fresh_rule_goes_on_with_the_same_bits(name: str, settings: dict[str, Any]) -> None:
    start, gradients = _start_and_gradients(torch.float32)
    stop, end = 1 + 7 * len(str(settings)) % 60, 70  # any step, another one per case
    p, g, bound = _bind(name, settings, start)
    q, h, fresh = _bind(name, settings, start)
    for t in range(1, end):
        if t == stop:
            q.copy_(p)
            for key, value in fresh.state.items():
                value.copy_(bound.state[key])
        g.copy_(gradients[t])
        bound.update(0.01, t)
        if t >= stop:
            h.copy_(gradients[t])
            fresh.update(0.01, t)
    assert _same_bits(p, q)
    assert all(_same_bits(bound.state[key], value) for key, value in fresh.state.items())


@pytest.mark.parametrize("name", ["rprop", "asgd"])
def test_the_first_step_size_is_the_lr_of_the_first_step_not_of_the_construction(name: str) -> None:
    """As in torch, where a scheduler with a warm-up has changed lr by then."""
    parameter = torch.tensor([1.0, -2.0])
    parameter.grad = torch.tensor([0.5, 0.25])
    theirs = TORCH[name]([parameter], lr=0.1, foreach=False)
    theirs.param_groups[0]["lr"] = 0.03
    theirs.step()
    p = torch.tensor([1.0, -2.0])
    OPTIMIZERS[name](lr=0.1)(p, parameter.grad).update(0.03, 1)
    assert _same_bits(p, parameter)


def test_scalar_state_follows_torchs_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        states = [OPTIMIZERS[name]()(torch.zeros(2), torch.zeros(2)).state for name in ("nadam", "asgd")]
    finally:
        torch.set_default_dtype(torch.float32)
    assert [states[0]["mu_product"].dtype, states[1]["eta"].dtype, states[1]["mu"].dtype] == [torch.float64] * 3


def test_sgd_on_a_parabola_follows_its_closed_form() -> None:
    """f(x) = kx²/2: x after n steps is (1 - lr·k)ⁿ x₀."""
    start, k, lr, steps = 3.0, 0.7, 0.4, 60
    x, g = torch.tensor([start], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    update = optimizers.sgd(lr=lr)(x, g).update
    for t in range(1, steps + 1):
        torch.mul(x, k, out=g)
        update(lr, t)
    assert x.item() == pytest.approx((1 - lr * k) ** steps * start, rel=4 * steps * 2**-53, abs=0)


def test_dampening_equal_to_momentum_is_the_exponential_average() -> None:
    """S ← βS + (1 - β)g, x ← x - lr·S, with S the gradient itself at the first step."""
    beta, lr = 0.9, 0.1
    gradients = np.random.default_rng(3).normal(size=(50, 4))
    p, g = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    bound = optimizers.sgd(lr=lr, momentum=beta, dampening=beta)(p, g)
    average, x = gradients[0], np.zeros(4)
    for t, row in enumerate(gradients, 1):
        average = beta * average + (1 - beta) * row
        x = x - lr * average
        g.copy_(torch.from_numpy(row))
        bound.update(lr, t)
    np.testing.assert_allclose(bound.state["momentum_buffer"].numpy(), average, rtol=0, atol=1e-15)
    np.testing.assert_allclose(p.numpy(), x, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sgd", {"nesterov": True}, "nesterov needs a momentum above 0 and a dampening of 0"),
        ("sgd", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov needs a momentum above 0"),
        ("rprop", {"etas": (1.0, 1.2)}, "first factor between 0 and 1 and a second above 1, not 1.0 and 1.2"),
        ("rprop", {"etas": (0.5, 1.0)}, "first factor between 0 and 1 and a second above 1, not 0.5 and 1.0"),
        ("rprop", {"step_sizes": (1.0, 0.5)}, "smallest before the largest, not 1.0 and 0.5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_in_a_sentence(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        OPTIMIZERS[name](**settings)
