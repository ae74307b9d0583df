"""The backward pass by hand against torch: autograd's bits, and finite differences.

Bit-identical are all combinations of model, bias, activation and loss, in float32 and float64, and so are the
derivatives at kinks and far out: no exception is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from plain_torch import DTYPES, TORCHS_ACTIVATIONS, built, loaded, same_bits
from torch import Tensor

from gdcli.engine.problem import TrainingProblem, build
from gdcli.spec.load import Loaded
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import LOSSES, TARGETS, Loss
from gdcli.zoo.models import Affine, Chain

Call = Callable[..., Tensor]


class Case(NamedTuple):
    """A loss with settings, and what a plain script writes for it."""

    name: str
    settings: dict[str, float]
    plain: Call
    targets: str  # values, probabilities (each from 0 to 1), rows (of probabilities), classes

    @property
    def loss(self) -> Loss:
        return LOSSES[self.name](**self.settings)


def weighted_bce(o: Tensor, t: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(o, t, pos_weight=torch.tensor([2.7], dtype=o.dtype))


CASES = {
    "mse": Case("mse", {}, F.mse_loss, "values"),
    "mae": Case("mae", {}, F.l1_loss, "values"),
    "smooth_l1": Case("smooth_l1", {}, F.smooth_l1_loss, "values"),
    "smooth_l1 beta": Case("smooth_l1", {"beta": 0.3}, lambda o, t: F.smooth_l1_loss(o, t, beta=0.3), "values"),
    "huber": Case("huber", {}, F.huber_loss, "values"),
    "huber delta": Case("huber", {"delta": 0.7}, lambda o, t: F.huber_loss(o, t, delta=0.7), "values"),
    "bce": Case("bce", {}, F.binary_cross_entropy, "probabilities"),
    "bce_with_logits": Case("bce_with_logits", {}, F.binary_cross_entropy_with_logits, "probabilities"),
    "bce_with_logits pos_weight": Case("bce_with_logits", {"pos_weight": 2.7}, weighted_bce, "probabilities"),
    "cross_entropy": Case("cross_entropy", {}, F.cross_entropy, "classes"),
    "cross_entropy rows": Case("cross_entropy", {}, F.cross_entropy, "rows"),
    "nll": Case("nll", {}, F.nll_loss, "classes"),
    "kl_div": Case("kl_div", {}, lambda o, t: torch.kl_div(o, t, 1), "rows"),  # F.kl_div, less its warning
    "sse": Case("sse", {}, lambda o, t: ((o - t) ** 2).sum(), "values"),
    "half_sse": Case("half_sse", {}, lambda o, t: ((o - t) ** 2).sum() / 2, "values"),
    "half_mse": Case("half_mse", {}, lambda o, t: ((o - t) ** 2 / 2).mean(), "values"),
}
SHAPES = ((1, 1), (1, 7), (5, 3), (33, 17))


def test_every_ingredient_is_here() -> None:
    assert set(TORCHS_ACTIVATIONS) == set(ACTIVATIONS)
    assert {case.name for case in CASES.values()} == set(LOSSES)


def targets(kind: str, rows: int, outputs: int, dtype: torch.dtype) -> Tensor:
    if kind == "classes":
        return torch.randint(0, outputs, (rows,))
    if kind == "rows":
        return torch.softmax(torch.randn(rows, outputs, dtype=dtype), 1)
    if kind == "probabilities":
        return torch.rand(rows, outputs, dtype=dtype)
    return torch.randn(rows, outputs, dtype=dtype)


# --- whole models -----------------------------------------------------------------------------------------------------


def chain(sizes: Sequence[int], activation: str, output_activation: str, bias: bool) -> Chain:
    last = len(sizes) - 1
    return Chain(
        tuple(
            Affine(f"linear{k}.", sizes[k - 1], sizes[k], bias, output_activation if k == last else activation)
            for k in range(1, last + 1)
        )
    )


def assert_three_agree(
    model: Chain, case: Case, rows: int, dtype: torch.dtype, *, shared: bool = False, frozen: Sequence[str] = ()
) -> None:
    """By hand, engine=autograd and a plain torch script give the same loss and gradients, bit by bit."""
    shapes = {name: (1,) if shared and name.endswith("bias") else shape for name, shape in model.shapes.items()}
    values = {name: torch.randn(shape, dtype=dtype) * 0.7 for name, shape in shapes.items()}
    x = torch.randn(rows, model.layers[0].inputs, dtype=dtype) * 2
    y = targets(case.targets, rows, model.layers[-1].outputs, dtype)

    plain = {name: value.clone().requires_grad_(name not in frozen) for name, value in values.items()}
    a = x
    for layer in model.layers:
        a = F.linear(a, plain[f"{layer.name}weight"], plain.get(f"{layer.name}bias"))
        function = TORCHS_ACTIVATIONS[layer.activation]
        a = a if function is None else function(a)
    expected_loss = case.plain(a, y)
    expected_loss.backward()
    expected = torch.cat([p.grad.flatten() for p in plain.values() if p.grad is not None])
    assert expected.isfinite().all()

    found = {}
    for engine in ("by_hand", "autograd"):
        made = engine_for(model, case, x, y, engine=engine, shared=shared, frozen=frozen)
        for slot in made.theta.slots:
            made.theta.view(slot).copy_(values[slot.name])
        loss, output = made.kernel.step(made.batches.x, made.batches.y)
        what = f"{engine} {model} {case.name} rows {rows} shared {shared}"
        assert made.kernel_name == engine
        assert same_bits(made.kernel.losses([loss])[0, 0], expected_loss.detach()), what
        assert same_bits(output.detach(), a.detach()), what
        found[engine] = made.theta.gradient[0][made.theta.columns]
        assert torch.equal(found[engine], expected), what
        if all(layer.activation != "sign_ste" for layer in model.layers):  # hard tanh's zeros have other signs
            assert same_bits(found[engine], expected), what
    assert same_bits(found["by_hand"], found["autograd"])


@cache
def loaded_for(case: str, dtype: torch.dtype, engine: str) -> Loaded:
    probable = {"type": "mlp", "layers": [1, 1], "output_activation": "sigmoid"}
    spec = {
        "data": {"x": [[0]], "y": [0 if CASES[case].targets == "classes" else 1]},
        "model": probable if case == "bce" else "linear",
        "loss": {"name": CASES[case].name, **CASES[case].settings},
        "epochs": 0,
        "print": {"style": "loss"},
        "dtype": str(dtype).removeprefix("torch."),
        "engine": engine,
    }
    return loaded(spec)


def engine_for(
    model: Chain, case: Case, x: Tensor, y: Tensor, *, engine: str, shared: bool = False, frozen: Sequence[str] = ()
) -> TrainingProblem:
    """What a spec of this model would give, less the reading of its text, which takes longer than all the rest."""
    base = loaded_for(next(key for key in CASES if CASES[key] is case), x.dtype, engine)
    assert base.training is not None
    init = {name: [0.0] for name in model.shapes if shared and name.endswith("bias")}
    spec = replace(base.spec, model=replace(base.spec.model, init=init, freeze=tuple(frozen)))
    training = replace(base.training, x=x.double().numpy(), y=y.numpy() if y.ndim == 1 else y.double().numpy())
    return build(replace(base, spec=spec, training=training, architecture=model))


def output_activations(case: Case, activation: str) -> tuple[str, ...]:
    """What may come before a loss: probabilities for bce, log-probabilities for nll and kl_div."""
    fitting = {"bce": ("sigmoid", "softmax"), "nll": ("log_softmax",), "kl_div": ("log_softmax", "logsigmoid")}
    return fitting.get(case.name, ("none",) if activation == "none" else ("none", activation))


DEPTHS = ([4, 3], [5, 7, 3], [6, 9, 8, 2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_with_every_loss_has_autograds_bits(activation: str, dtype: str) -> None:
    torch.manual_seed(1)
    turn = 0
    for case in CASES.values():
        for output in output_activations(case, activation):
            turn += 1
            bias, shared = ((True, False), (True, True), (False, False))[turn % 3]
            model = chain(DEPTHS[1 + turn % 2], activation, output, bias)
            assert_three_agree(model, case, (1, 33)[turn // 2 % 2], DTYPES[dtype], shared=shared)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["mse", "cross_entropy", "half_sse"])
@pytest.mark.parametrize("bias", ["own", "shared", "none"])
@pytest.mark.parametrize("sizes", [*DEPTHS, [1, 1], [1, 1, 1], [17, 33, 20]], ids=str)
def test_every_depth_bias_and_batch_has_autograds_bits(sizes: list[int], bias: str, case: str, dtype: str) -> None:
    torch.manual_seed(2)
    for rows, activation in product((1, 2, 7, 64), ("tanh", "relu")):
        model = chain(sizes, activation, "none", bias != "none")
        assert_three_agree(model, CASES[case], rows, DTYPES[dtype], shared=bias == "shared")


@pytest.mark.parametrize("output", ["softmax", "log_softmax", "sigmoid"])
@pytest.mark.parametrize("case", CASES)
def test_an_output_activation_before_every_loss_that_takes_it_has_autograds_bits(case: str, output: str) -> None:
    if case == "bce" and output == "log_softmax":
        pytest.skip("bce takes probabilities")
    torch.manual_seed(3)
    for rows, dtype, sizes in product((1, 12), DTYPES.values(), DEPTHS):
        assert_three_agree(chain(sizes, "tanh", output, True), CASES[case], rows, dtype)


def test_any_set_of_frozen_parameters_leaves_the_bits_of_the_others() -> None:
    torch.manual_seed(4)
    model = chain(DEPTHS[2], "gelu", "none", True)
    names = list(model.shapes)
    for chosen in product((False, True), repeat=len(names)):
        frozen = [name for name, is_frozen in zip(names, chosen, strict=True) if is_frozen]
        if len(frozen) < len(names):
            assert_three_agree(model, CASES["mse"], 5, torch.float32, frozen=frozen)


@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
@pytest.mark.parametrize("case", ["mse", "bce", "cross_entropy rows", "smooth_l1 beta"])
def test_the_identity_is_a_loss_by_itself(case: str, engine: str) -> None:
    torch.manual_seed(5)
    loss, x = CASES[case], torch.rand(4, 3, dtype=torch.float64)
    y = targets(loss.targets, 4, 3, torch.float64)
    spec = {
        "data": {"x": x.tolist(), "y": y.tolist()},
        "model": "identity",
        "loss": {"name": loss.name, **loss.settings},
        "epochs": 0,
        "print": {"style": "loss"},
        "dtype": "float64",
        "engine": engine,
    }
    made = built(spec)
    value, output = made.kernel.step(made.batches.x, made.batches.y)
    assert same_bits(made.kernel.losses([value])[0, 0], loss.plain(x, y))
    assert torch.equal(output, x)
    assert made.theta.gradient.numel() == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_the_losses_of_many_steps_are_those_of_each_step_alone(case: str, dtype: str) -> None:
    """Whatever the engine puts off to the end of a block: bit by bit, for batches of equal and of different sizes."""
    torch.manual_seed(12)
    outputs = 1 if CASES[case].targets in ("values", "probabilities") else 3
    sizes = (1, 2, 3, 7, 8, 16, 17, 31, 64, 100, 129, 255, 256, 257, 1000)
    most = targets(CASES[case].targets, 1000, outputs, DTYPES[dtype])
    made = engine_for(Chain(()), CASES[case], torch.zeros(1, outputs, dtype=DTYPES[dtype]), most, engine="by_hand")
    mixed, alone = [], []
    for size in sizes:
        steps, expected = [], []
        for _ in range(150 if size < 4 else 5):
            o = (
                torch.rand(size, outputs, dtype=DTYPES[dtype])
                if case == "bce"
                else torch.randn(size, outputs, dtype=DTYPES[dtype])
            )
            t = targets(CASES[case].targets, size, outputs, DTYPES[dtype])
            steps.append(made.kernel.step(o, t)[0])
            expected.append(CASES[case].plain(o, t))
        assert same_bits(made.kernel.losses(steps)[:, 0], torch.stack(expected)), size
        mixed += steps[:1]
        alone += expected[:1]
    small = [k for k, size in enumerate(sizes) if size < 100]  # as the last batch of an epoch, which has fewer rows
    assert same_bits(made.kernel.losses([mixed[k] for k in small])[:, 0], torch.stack([alone[k] for k in small]))


# --- activations ------------------------------------------------------------------------------------------------------


def by_hand(name: str) -> Call:
    """The activation with its backward by hand as a node of autograd's graph."""
    activation = ACTIVATIONS[name]()
    forward, backward = activation.forward, activation.backward
    assert forward is not None
    assert backward is not None

    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            with torch.no_grad():
                a = forward(z)
            ctx.save_for_backward(z, a)
            return a

        @staticmethod
        def backward(ctx: Any, d: Tensor) -> Tensor:
            z, a = ctx.saved_tensors
            return backward(d, z, a, torch.empty_like(d))

    return ByHand.apply  # type: ignore[no-any-return]


KINKS = (-3.0, -1.0, 0.0, 1.0, 3.0, 6.0)


def away_from_kinks(z: Tensor, kinks: Sequence[float] = KINKS) -> Tensor:
    for kink in kinks:
        z = torch.where((z - kink).abs() < 0.02, z + 0.05, z)
    return z


WITH_DERIVATIVE = [name for name in ACTIVATIONS if name != "none"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", [name for name in WITH_DERIVATIVE if name != "sign_ste"])
def test_an_activations_backward_is_its_derivative(name: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(6)
    z = away_from_kinks(3 * torch.randn(shape, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(by_hand(name), (z,), fast_mode=z.numel() > 100)


def test_the_gradient_of_sign_ste_is_one_from_minus_one_to_one() -> None:
    """Its derivative is 0: no finite difference can show the straight-through estimate."""
    z = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.0001], requires_grad=True)
    by_hand("sign_ste")(z).backward(torch.full_like(z, 3.0))
    assert z.grad is not None
    assert z.grad.tolist() == [0, 3, 3, 3, 3, 3, 0]


def equal_or_both_nan(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(nan=7.0), b.nan_to_num(nan=7.0))


FAR = (*KINKS, -0.0, 20.0, 20.000002, -20.0, 90.0, -90.0, 800.0, -800.0, 1e-30, -1e-30, 1e30, -1e30)


@pytest.mark.parametrize("in_place", [False, True], ids=["own buffer", "in place"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WITH_DERIVATIVE)
def test_an_activations_backward_has_autograds_bits_at_kinks_and_far_out(name: str, dtype: str, in_place: bool) -> None:
    torch.manual_seed(7)
    numbers = [v for v in FAR if name != "sign_ste" or abs(v) != 1]  # there hard tanh has another convention
    activation, function = ACTIVATIONS[name](), TORCHS_ACTIVATIONS[name]
    assert activation.forward is not None
    assert activation.backward is not None
    assert function is not None
    for rows in (1, 4):
        z = torch.tensor([numbers] * rows, dtype=DTYPES[dtype]).requires_grad_()
        d = torch.randn(z.shape, dtype=z.dtype)
        a = function(z)
        (expected,) = torch.autograd.grad(a, z, d)
        a = activation.forward(z).detach()
        kept = d.clone()
        out = d if in_place else torch.empty_like(d)
        assert activation.backward(d, z.detach(), a, out) is out
        assert equal_or_both_nan(out, expected)
        assert in_place or torch.equal(d, kept)


# --- losses -----------------------------------------------------------------------------------------------------------


def outputs(case: Case, shape: tuple[int, int], t: Tensor) -> Tensor:
    """The model's output: where a loss is smooth, and within its domain."""
    if case.name == "bce":
        return torch.rand(shape, dtype=torch.float64) * 0.9 + 0.05
    o = torch.randn(shape, dtype=torch.float64) * 2
    if case.targets == "values":
        width = next(iter(case.settings.values()), 1.0)
        o = t + away_from_kinks(o, (-width, 0.0, width))
    return o


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_losss_derivative_is_its_derivative(name: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(8)
    case = CASES[name]
    t = targets(case.targets, *shape, torch.float64)
    loss = case.loss
    derivative = loss.derivative(torch.empty(shape, dtype=torch.float64))

    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, o: Tensor) -> Tensor:
            ctx.save_for_backward(o)
            return loss.value(o, t).detach()

        @staticmethod
        def backward(ctx: Any, d: Tensor) -> Tensor:
            return d * derivative(ctx.saved_tensors[0], t)

    o = outputs(case, shape, t).requires_grad_()
    assert torch.autograd.gradcheck(ByHand.apply, (o,), fast_mode=o.numel() > 100)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_loss_has_autograds_bits_also_at_its_kinks_and_far_out(name: str, dtype: str) -> None:
    torch.manual_seed(9)
    case = CASES[name]
    width = next(iter(case.settings.values()), 1.0)
    special = [0.0, -0.0, 1.0, -1.0, width, -width, 1e-20, 1e15, -1e15, 100.0, -100.0]
    if case.name == "bce":
        special = [0.0, 1.0, 1e-13, 1e-12, 1e-20, 1 - 1e-13, 0.5]
    for rows in (1, 3):
        o = torch.tensor([special] * rows, dtype=DTYPES[dtype]).requires_grad_()
        t = targets(case.targets, *o.shape, o.dtype)
        t = torch.zeros_like(t) if case.targets == "values" else t
        expected_loss = case.plain(o, t)
        (expected,) = torch.autograd.grad(expected_loss, o)
        assert same_bits(case.loss.value(o.detach(), t), expected_loss.detach())
        with torch.no_grad():
            assert equal_or_both_nan(case.loss.derivative(o)(o, t), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_loss_has_autograds_bits_whatever_the_number_of_elements(name: str, dtype: str) -> None:
    """Torch's loops treat whole vectors and the rest differently."""
    torch.manual_seed(10)
    case = CASES[name]
    for shape in ((1, 3), (2, 4), (3, 5), (8, 8), (67, 3), (640, 3), (5000, 3)):
        t = targets(case.targets, *shape, DTYPES[dtype])
        o = (torch.rand(shape) if case.name == "bce" else torch.randn(shape)).to(DTYPES[dtype]).requires_grad_()
        expected_loss = case.plain(o, t)
        (expected,) = torch.autograd.grad(expected_loss, o)
        assert same_bits(case.loss.value(o, t).detach(), expected_loss.detach())
        with torch.no_grad():
            assert same_bits(case.loss.derivative(o)(o, t), expected), shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WITH_DERIVATIVE)
def test_an_activation_has_autograds_bits_whatever_the_number_of_elements(name: str, dtype: str) -> None:
    torch.manual_seed(11)
    activation, function = ACTIVATIONS[name](), TORCHS_ACTIVATIONS[name]
    assert activation.forward is not None
    assert activation.backward is not None
    assert function is not None
    for shape in ((1, 3), (2, 4), (3, 5), (8, 8), (67, 3), (640, 3), (5000, 3)):
        z = (2 * torch.randn(shape, dtype=DTYPES[dtype])).requires_grad_()
        d = torch.randn(shape, dtype=DTYPES[dtype])
        expected_a = function(z)
        (expected,) = torch.autograd.grad(expected_a, z, d)
        a = activation.forward(z).detach()
        assert same_bits(a, expected_a.detach())
        assert torch.equal(activation.backward(d, z.detach(), a, torch.empty_like(d)), expected), shape


@pytest.mark.parametrize("name", ["bce", "bce_with_logits", "cross_entropy rows", "kl_div"])
def test_targets_of_exactly_zero_and_one(name: str) -> None:
    case = CASES[name]
    o = torch.tensor([[0.2, 0.7, 0.1], [1.0, 0.0, 0.5]], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    expected_loss = case.plain(o, t)
    (expected,) = torch.autograd.grad(expected_loss, o)
    assert expected.isfinite().all()
    assert same_bits(case.loss.value(o, t).detach(), expected_loss.detach())
    with torch.no_grad():
        assert torch.equal(case.loss.derivative(o)(o, t), expected)


@pytest.mark.parametrize("name", CASES)
def test_a_losss_closed_form(name: str) -> None:
    """Two rows by numpy alone, from the formulas of the docstrings."""
    case = CASES[name]
    o = np.array([[0.2, 0.7, 0.1], [0.6, 0.3, 0.4]])
    t = np.array([[0.5, 0.25, 0.25], [0.1, 0.7, 0.2]])
    c = np.array([2, 0])
    e, log_p = o - t, o - np.log(np.exp(o).sum(1, keepdims=True))
    w = next(iter(case.settings.values()), 1.0)
    size = np.abs(e)
    expected = {
        "mse": (e**2).mean(),
        "mae": size.mean(),
        "smooth_l1": np.where(size < w, e**2 / (2 * w), size - w / 2).mean(),
        "huber": np.where(size < w, e**2 / 2, w * (size - w / 2)).mean(),
        "bce": -(t * np.log(o) + (1 - t) * np.log(1 - o)).mean(),
        "bce_with_logits": -(w * t * np.log(1 / (1 + np.exp(-o))) + (1 - t) * np.log(1 / (1 + np.exp(o)))).mean(),
        "cross_entropy": -log_p[[0, 1], c].mean() if case.targets == "classes" else -(t * log_p).sum() / 2,
        "nll": -o[[0, 1], c].mean(),
        "kl_div": (t * (np.log(t) - o)).mean(),
        "sse": (e**2).sum(),
        "half_sse": (e**2).sum() / 2,
        "half_mse": (e**2).mean() / 2,
    }[case.name]
    target = torch.from_numpy(c if case.targets == "classes" else t)
    assert float(case.loss.value(torch.from_numpy(o), target)) == pytest.approx(expected, rel=1e-14)


def test_targets_are_of_the_kinds_that_the_table_names() -> None:
    for case in CASES.values():
        kind = "probabilities" if case.targets == "rows" and case.name == "kl_div" else case.targets
        assert TARGETS.get(case.name, "values") == ("classes" if case.name == "cross_entropy" else kind)


# --- names of nodes ---------------------------------------------------------------------------------------------------


def node(tensor: Tensor) -> str:
    return type(tensor.grad_fn).__name__.removesuffix("Backward0").removesuffix("Backward")


@pytest.mark.parametrize("name", WITH_DERIVATIVE)
def test_an_activations_grad_fn_is_torchs(name: str) -> None:
    z = torch.randn(3, 4, requires_grad=True)
    activation, function = ACTIVATIONS[name](), TORCHS_ACTIVATIONS[name]
    assert activation.forward is not None
    assert function is not None
    assert activation.grad_fn == node(activation.forward(z))
    assert name == "sign_ste" or activation.grad_fn == node(function(z))  # torch has no straight-through sign


@pytest.mark.parametrize("name", [name for name in CASES if name != "cross_entropy rows"])
def test_a_losss_grad_fn_is_that_of_a_plain_script(name: str) -> None:
    case = CASES[name]
    o = torch.rand(3, 4, requires_grad=True)
    t = targets(case.targets, 3, 4, torch.float32)
    assert case.loss.grad_fn == node(case.plain(o, t)) == node(case.loss.value(o, t))
