"""A fleet whose runs differ in every setting: each run has the bits that it has where all runs share its settings."""

from __future__ import annotations

import inspect
import math
import zlib
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.zoo.arithmetic import Columns, Numbers, arithmetic_of
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.update_rule import Bound
from tests.zoo.test_optimizers import BITS, TORCH, _ids, _same_bits

STEPS = 30
PARAMETERS = 32  # and R a multiple of 32: no element falls into the remainder of a vector register
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
LAYOUTS = pytest.mark.parametrize("leading", [False, True], ids=["[P, R]", "[R, P]"])
VARIANTS = pytest.mark.parametrize(("name", "settings"), BITS, ids=_ids)
BETAS = (0.0, 0.3, 0.7, 0.85, 0.9, 0.95, 0.99, 0.999)  # 0 too: 1 − β is 1
# what else a setting may be; all others lie between half and one and a half times the variant's value
RANGES = {
    "momentum": (0.1, 0.99),
    "dampening": (-0.2, 0.9),
    "alpha": (0.3, 0.999),
    "rho": (0.0, 1.0),
    "lr_decay": (0.0, 0.1),
    "initial_accumulator_value": (0.0, 0.5),
    "momentum_decay": (0.0, 0.2),
    "lambd": (0.0, 0.3),
    "t0": (-2.0, 40.0),  # the average begins at another step in each run, or never in these
}
PAIRS = {"etas": ((0.1, 0.9), (1.01, 2.5)), "step_sizes": ((1e-6, 1e-3), (0.5, 50.0))}


def _values(name: str, value: float, rng: np.random.Generator, runs: int) -> NDArray[np.float64]:  # [R]
    low, high = RANGES.get(name, (value / 2, 1.5 * value))
    return rng.uniform(low, high, runs)


def _varied(name: str, settings: dict[str, Any], runs: int) -> dict[str, Any]:
    """The variant with every number drawn anew for each run; what decides the path stays zero where it is zero."""
    rng = np.random.default_rng(zlib.crc32(f"{name} {settings}".encode()))
    signature = inspect.signature(OPTIMIZERS[name]).parameters
    given = {key: settings.get(key, parameter.default) for key, parameter in signature.items()}
    varied: dict[str, Any] = {}
    for key, value in given.items():
        if key == "betas":
            varied[key] = tuple(rng.choice(BETAS, runs) for _ in value)
        elif isinstance(value, tuple):
            varied[key] = tuple(rng.uniform(*bounds, runs) for bounds in PAIRS[key])
        elif (
            isinstance(value, bool)
            or (key in ("momentum", "weight_decay") and value == 0)
            or (key == "dampening" and given["nesterov"])
        ):
            varied[key] = value
        else:
            varied[key] = _values(key, value, rng, runs)
    return varied


def _map(settings: dict[str, Any], change: Any) -> dict[str, Any]:
    """The settings with every array changed, those in tuples too."""

    def each(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(each(part) for part in value)
        return change(value) if isinstance(value, np.ndarray) else value

    return {key: each(value) for key, value in settings.items()}


@cache
def _start_and_gradients(runs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:  # [P, R], [steps, P, R]
    """Gradients of six orders of magnitude, with zeros of both signs and a first step of zeros."""
    generator = torch.Generator().manual_seed(11)
    shape = (STEPS, PARAMETERS, 64)
    gradients = torch.randn(shape, generator=generator, dtype=torch.float64)
    gradients *= 10 ** (torch.rand(shape, generator=generator, dtype=torch.float64) * 6 - 4)
    gradients[torch.rand(shape, generator=generator) < 0.1] = 0.0
    gradients[torch.rand(shape, generator=generator) < 0.05] = -0.0
    gradients[0, :, ::2] = 0.0
    start = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    return start[:, :runs].to(dtype).contiguous(), gradients[..., :runs].to(dtype).contiguous()


def _run(
    name: str, settings: dict[str, Any], runs: int, dtype: torch.dtype, leading: bool, scheduled: bool = True
) -> tuple[Tensor, Bound]:
    """The parameters [P, R] or [R, P] after all steps; the learning rate falls halfway where it is scheduled."""
    start, gradients = _start_and_gradients(runs, dtype)
    if leading:
        start, gradients = start.T.contiguous(), gradients.mT.contiguous()
    p, g = start.clone(), torch.zeros_like(start)
    bound = OPTIMIZERS[name](**settings)(p, g)
    for t, gradient in enumerate(gradients, 1):
        g.copy_(gradient)
        bound.update(settings["lr"] / 3 if scheduled and t > STEPS // 2 else settings["lr"], t)
    return p, bound


def _mixed(settings: dict[str, Any], leading: bool) -> dict[str, Any]:
    return _map(settings, lambda value: value[:, None]) if leading else settings


def _run_of(tensor: Tensor, r: int, leading: bool) -> Tensor:
    """Run r's part of a state or of the parameters; a state without runs is every run's."""
    if tensor.ndim == 0:
        return tensor
    return (tensor[r] if leading else tensor[..., r]).squeeze().contiguous()


@pytest.mark.parametrize("runs", [32, 64])
@LAYOUTS
@DTYPES
@VARIANTS
def test_a_run_has_the_bits_of_a_fleet_that_shares_its_settings(
    name: str, settings: dict[str, Any], dtype: torch.dtype, leading: bool, runs: int
) -> None:
    varied = _varied(name, settings, runs)
    p, bound = _run(name, _mixed(varied, leading), runs, dtype, leading)
    assert all(value.shape in (p.shape, (runs, 1) if leading else (runs,)) for value in bound.state.values())
    for r in range(0, runs, 5):
        q, shared = _run(name, _map(varied, lambda value, r=r: float(value[r])), runs, dtype, leading)
        assert _same_bits(_run_of(p, r, leading), _run_of(q, r, leading))
        assert list(bound.state) == list(shared.state)
        for key, value in bound.state.items():
            assert value.dtype == shared.state[key].dtype
            assert _same_bits(_run_of(value, r, leading), _run_of(shared.state[key], r, leading))


@VARIANTS
def test_a_run_is_that_of_torch(name: str, settings: dict[str, Any]) -> None:
    """In float64 and without a schedule. Relative to the way: a step may end anywhere near zero."""
    runs = 32
    varied = _varied(name, settings, runs)
    p, _ = _run(name, varied, runs, torch.float64, leading=False, scheduled=False)
    start, gradients = _start_and_gradients(runs, torch.float64)
    for r in range(0, runs, 3):
        parameter = start[:, r].clone()
        theirs = TORCH[name]([parameter], foreach=False, **_map(varied, lambda value, r=r: float(value[r])))
        largest = parameter.abs()
        for gradient in gradients[..., r]:
            parameter.grad = gradient.clone()
            theirs.step()
            largest = torch.maximum(largest, parameter.abs())
        assert ((p[:, r] - parameter).abs() <= 1e-12 * largest).all()


@LAYOUTS
@DTYPES
@VARIANTS
def test_a_run_has_the_same_bits_in_a_larger_fleet(
    name: str, settings: dict[str, Any], dtype: torch.dtype, leading: bool
) -> None:
    varied = _varied(name, settings, 64)
    p, _ = _run(name, _mixed(varied, leading), 64, dtype, leading)
    q, _ = _run(name, _mixed(_map(varied, lambda value: value[:32]), leading), 32, dtype, leading)
    assert _same_bits((p[:32] if leading else p[:, :32]).contiguous(), q)


@VARIANTS
def test_one_setting_may_differ_alone(name: str, settings: dict[str, Any]) -> None:
    """A fleet of equal runs, one setting at a time written as an array, has the bits of the numbers."""
    runs, given = 32, {"lr": inspect.signature(OPTIMIZERS[name]).parameters["lr"].default, **settings}
    expected, _ = _run(name, given, runs, torch.float32, leading=False)
    signature = inspect.signature(OPTIMIZERS[name]).parameters
    for key, parameter in signature.items():
        value = given.get(key, parameter.default)
        parts = value if isinstance(value, tuple) else (value,)
        for k, part in enumerate(parts):
            if isinstance(part, bool):
                continue
            array = np.full(runs, part, dtype=np.float64)
            array.flags.writeable = False  # as one who keeps arrays by identity may want it
            changed = (*value[:k], array, *value[k + 1 :]) if isinstance(value, tuple) else array
            p, _ = _run(name, {**given, key: changed}, runs, torch.float32, leading=False)
            assert _same_bits(p, expected), key


@pytest.mark.parametrize("name", ["nadam", "asgd"])
def test_states_that_torch_keeps_0_dim_are_one_number_per_run_in_its_default_dtype(name: str) -> None:
    p, lr = torch.zeros(3, 4, dtype=torch.float64), np.full(4, 0.1)
    state = OPTIMIZERS[name](lr=lr)(p, torch.zeros_like(p)).state
    scalars = {key: value for key, value in state.items() if value.shape != p.shape}
    assert set(scalars) == ({"mu_product"} if name == "nadam" else {"eta", "mu"})
    assert all(value.shape == (4,) and value.dtype == torch.float32 for value in scalars.values())


@VARIANTS
def test_state_copied_into_a_fresh_fleet_goes_on_with_the_same_bits(name: str, settings: dict[str, Any]) -> None:
    runs = 32
    varied = _varied(name, settings, runs)
    start, gradients = _start_and_gradients(runs, torch.float32)
    (p, g), (q, h) = ((start.clone(), torch.zeros_like(start)) for _ in range(2))
    bound, fresh = (OPTIMIZERS[name](**varied)(*buffers) for buffers in ((p, g), (q, h)))
    for t, gradient in enumerate(gradients, 1):
        if t == 9:
            q.copy_(p)
            for key, value in fresh.state.items():
                value.copy_(bound.state[key])
        g.copy_(gradient)
        bound.update(varied["lr"], t)
        if t >= 9:
            h.copy_(gradient)
            fresh.update(varied["lr"], t)
    assert _same_bits(p, q)


@pytest.mark.parametrize(
    ("name", "key"),
    [(name, key) for name in OPTIMIZERS for key in ("momentum", "weight_decay") if key in _varied(name, {}, 1)],
)
def test_a_setting_that_leaves_out_a_part_of_the_rule_is_zero_in_all_runs_or_in_none(name: str, key: str) -> None:
    p = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=f"^{key} is zero in some runs of the fleet and not in others"):
        OPTIMIZERS[name](**{key: np.array([0.0, 0.5])})(p, torch.zeros_like(p))
    zero = OPTIMIZERS[name](**{key: np.zeros(2)})(p, torch.zeros_like(p))
    assert list(zero.state) == list(OPTIMIZERS[name](**{key: 0.0})(p, torch.zeros_like(p)).state)


def test_settings_that_contradict_each_other_in_one_run_are_refused() -> None:
    mixed = np.array([0.9, 1.1])
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
        OPTIMIZERS["sgd"](momentum=np.array([0.9, 0.0]), nesterov=True)
    with pytest.raises(ValueError, match=r"nesterov needs .* dampening of 0"):
        OPTIMIZERS["sgd"](momentum=mixed, dampening=np.array([0.0, 0.1]), nesterov=True)
    with pytest.raises(ValueError, match="etas needs a first factor between 0 and 1"):
        OPTIMIZERS["rprop"](etas=(mixed, 1.2))
    with pytest.raises(ValueError, match="smallest before the largest"):
        OPTIMIZERS["rprop"](step_sizes=(mixed, 1.0))


def test_an_absurd_run_becomes_nan_or_infinite_and_leaves_the_others_their_bits() -> None:
    """Alone it would raise, OverflowError here and a learning rate beyond float32 there."""
    for name, settings in (
        ("asgd", {"lr": np.array([1e30, 0.1]), "lambd": 0.5, "alpha": np.array([300.0, 0.75])}),
        ("sgd", {"lr": np.array([1e300, 0.1])}),
    ):
        p, g = torch.ones(3, 2), torch.ones(3, 2)
        q = torch.ones(3, 1)
        fleet = OPTIMIZERS[name](**settings)(p, g)
        alone = OPTIMIZERS[name](**_map(settings, lambda value: float(value[1])))(q, torch.ones(3, 1))
        for t in range(1, 4):
            with np.errstate(all="ignore"):  # as the fleet's loop has it
                fleet.update(settings["lr"], t)
            alone.update(0.1, t)
        assert not p[:, 0].isfinite().any()
        assert _same_bits(p[:, 1:].contiguous(), q)


def test_numbers_keep_to_the_arithmetic_of_numbers() -> None:
    p = torch.zeros(3, 4)
    assert type(arithmetic_of(p, 0.1, 0, 1e-8)) is Numbers
    assert isinstance(arithmetic_of(p, 0.1, np.zeros(4)), Columns)


def test_powers_have_pythons_bits() -> None:
    rng = np.random.default_rng(5)
    bases, exponents = rng.uniform(0, 1, 500), rng.uniform(0, 3, 500)
    columns = arithmetic_of(torch.zeros(500), bases)
    expected = [base**exponent for base, exponent in zip(bases.tolist(), exponents.tolist(), strict=True)]
    assert np.asarray(columns.power(bases, exponents)).tolist() == expected
    each = columns.each(lambda base, t: (1 - base**t) ** 0.5, bases)
    assert np.asarray(each(7)).tolist() == [(1 - base**7) ** 0.5 for base in bases.tolist()]
    assert math.isnan(np.asarray(columns.each(lambda base, t: 1 / (base - base), bases)(1))[0])


def test_an_array_set_twice_is_sent_once_and_a_number_after_it_counts() -> None:
    lr = np.array([0.1, 0.2])
    p, g = torch.ones(1, 2), torch.ones(1, 2)
    update = OPTIMIZERS["sgd"](lr=lr)(p, g).update
    for t, rate in enumerate((lr, lr, 0.5, lr.copy(), lr), 1):
        before = p.clone()
        update(rate, t)
        torch.testing.assert_close(before - p, torch.as_tensor(rate).float().expand(1, 2))
