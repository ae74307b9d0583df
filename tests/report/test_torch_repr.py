"""Our texts are those that torch prints, for any tensor."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from gdcli.report import torch_repr as reprs

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
SCALES = st.sampled_from([1e-40, 1e-6, 1e-4, 1e-3, 0.1, 1.0, 30.0, 1e3, 1e5, 1e8, 1e12, 1e38])
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-4, 1e8, 1000.0, 0.99995, -0.5]


@st.composite
def float_arrays(draw: st.DrawFn) -> NDArray[Any]:
    """Draw from a seed, so that a thousand entries cost one draw; then round some, and put special values in."""
    shape, seed = draw(SHAPES), draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    values = np.asarray(random.normal(size=shape) * draw(SCALES))
    if draw(st.booleans()):
        values = np.asarray(np.abs(values))
    if draw(st.booleans()):
        values = np.asarray(np.round(values))
    special = draw(st.lists(st.sampled_from(SPECIAL), max_size=4))
    if values.size:
        values.flat[random.integers(0, values.size, len(special))] = special
    with np.errstate(over="ignore"):
        return np.array(values, draw(st.sampled_from([np.float32, np.float64])))


def torch_repr(values: NDArray[Any], requires_grad: bool = False) -> str:
    return repr(torch.from_numpy(values.copy()).requires_grad_(requires_grad))


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(float_arrays(), st.booleans())
@example(np.array(1e-4, np.float32), False)
@example(np.full((3, 400), 1e8, np.float32), True)
@example(np.zeros((0, 3)), True)
@example(np.zeros((2, 0, 4), np.float32), False)
@example(np.zeros(1001, np.float32), False)
@example(np.zeros((500, 2, 7)), False)
@example(np.array([np.nan, np.inf, -0.0]), False)
def test_a_float_tensor_prints_as_torch_prints_it(values: NDArray[Any], requires_grad: bool) -> None:
    assert reprs.tensor(values, requires_grad=requires_grad) == torch_repr(values, requires_grad)


@settings(max_examples=80, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from([1, 10, 10**4, 2**63 - 1]))
def test_an_integer_tensor_prints_as_torch_prints_it(shape: tuple[int, ...], seed: int, high: int) -> None:
    values = np.asarray(np.random.default_rng(seed).integers(-high, high, shape))
    assert reprs.tensor(values) == torch_repr(values)


@settings(max_examples=200, deadline=None)
@given(st.floats() | st.floats(width=32) | st.sampled_from(SPECIAL), st.sampled_from(["float32", "float64"]))
def test_a_number_prints_as_torch_prints_it(value: float, dtype: str) -> None:
    with np.errstate(over="ignore"):
        values = np.array(value, dtype)
    assert reprs.tensor(values) == reprs.scalar(values.item(), dtype) == torch_repr(values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (8,), (5, 1), (2, 7, 3)])
@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("Sigmoid", torch.sigmoid),
        ("Mul", lambda x: x * 2),
        ("BinaryCrossEntropyWithLogits", lambda x: torch.nn.functional.binary_cross_entropy_with_logits(x, x.detach())),
    ],
)
def test_the_node_stands_behind_the_numbers(dtype: torch.dtype, shape: tuple[int, ...], name: str, node: Any) -> None:
    """The longest name reaches the end of the line behind some of the shapes."""
    generator = torch.Generator().manual_seed(3)
    result = node(torch.rand(shape, dtype=dtype, generator=generator).requires_grad_())
    assert reprs.tensor(result.detach().numpy(), grad_fn=name) == repr(result)


@pytest.mark.parametrize("length", range(1, 12))
def test_a_suffix_goes_to_a_new_line_where_torch_puts_it(length: int) -> None:
    values = np.linspace(-1.0, 1.0, length)
    assert reprs.tensor(values, requires_grad=True) == torch_repr(values, True)


@settings(max_examples=40, deadline=None)
@given(float_arrays(), st.booleans())
def test_a_parameter_prints_as_torch_prints_it(values: NDArray[Any], trained: bool) -> None:
    expected = repr(torch.nn.Parameter(torch.from_numpy(values), requires_grad=trained))
    assert reprs.parameter(values, trained) == expected


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text("ab.'\"1", min_size=1, max_size=4), float_arrays(), max_size=3))
def test_an_ordered_dict_prints_as_python_before_3_12_prints_it(arrays: dict[str, NDArray[Any]]) -> None:
    state = OrderedDict((name, torch.from_numpy(values)) for name, values in arrays.items())
    expected = f"OrderedDict({list(state.items())!r})" if state else "OrderedDict()"
    assert reprs.ordered_dict(arrays.items()) == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((4.0,), " 4\n"),
        ((-2.0,), "-2\n"),
        ((0.0,), " 0\n"),
        ((10.0,), " 10\n"),
        ((7.804864,), " 7.8049\n"),
        ((-7.804864,), "-7.8049\n"),
        ((0.25,), " 0.2500\n"),
        ((12345.5,), " 12345.5000\n"),
        ((123456.0,), " 1.2346e+05\n"),
        ((123456.5,), "1.00000e+05 *\n  1.2346\n"),
        ((0.00123,), "1.00000e-03 *\n  1.2300\n"),
        ((float("nan"),), "nan\n"),
        ((float("-inf"),), "-inf\n"),
        ((5e-324,), "4.94066e-324 *\n  1.0000\n"),
        ((1.0, 0.5), " 1.0000\n 0.5000\n"),
        ((1e6, 0.5), " 1.0000e+06\n 5.0000e-01\n"),
        ((1e120, 0.5), " 1.0000e+120\n  5.0000e-01\n"),
    ],
)
def test_old_torch_printed_a_block(values: tuple[float, ...], text: str) -> None:
    """By the rules of torch 0.3; documents attest the first and the fifth text."""
    assert reprs.legacy_tensor(*values) == f"{text}[torch.FloatTensor of size {len(values)}]\n"


def test_old_torch_named_its_double_tensors() -> None:
    assert reprs.legacy_tensor(4.0, dtype="float64") == " 4\n[torch.DoubleTensor of size 1]\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (18.666666666666668, "18.6666666667"),
        (0.30000000000000004, "0.3"),
        (0, "0.0"),
        (-0.0, "-0.0"),
        (1e-5, "1e-05"),
        (99999999999.0, "99999999999.0"),
        (1e11, "1e+11"),
        (1e22, "1e+22"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_twelve_digits_are_those_of_python_2(value: float, text: str) -> None:
    assert reprs.twelve_digits(value) == text
