"""Grids against closed forms, their lengths without their lists, and each error."""

from __future__ import annotations

import math
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdcli.errors import SpecError
from gdcli.spec.grids import from_spec, parse, parse_zip, zip_from_spec
from tests.timing import fastest


def typed(values: list[Any]) -> list[tuple[type, Any]]:
    return [(type(value), value) for value in values]


VALUES: dict[str, list[Any]] = {
    "0.1,0.01": [0.1, 0.01],
    "0.1": [0.1],
    " 1 , 2 ": [1, 2],
    "sgd,adam": ["sgd", "adam"],
    "true,false": [True, False],
    "full,mini-batch:32": ["full", "mini-batch:32"],
    "1e-3,0x10,1": [1e-3, 16, 1],
    "1:4:1": [1, 2, 3],
    "1:4": [1, 2, 3],
    "range(5, 0, -2)": [5, 3, 1],
    "range(0,1,0.25)": [0.0, 0.25, 0.5, 0.75],
    "range(0,3.0,1)": [0.0, 1.0, 2.0],
    "range(1,1.5,1e-1)": [1.0, 1.1, 1.2, 1.3, 1.4],
    "range(-0.1,0.25,.1)": [-0.1, 0.0, 0.1, 0.2],
    "range(0,0.3,0.1)": [0.0, 0.1, 0.2],
    "range(0,0.30000000000000001,0.1)": [0.0, 0.1, 0.2, 0.3],
    "linspace(0,1,5)": [0.0, 0.25, 0.5, 0.75, 1.0],
    "linspace(1,0,2)": [1.0, 0.0],
    "linspace(3,4,1)": [3.0],
    "linspace(2,2,2)": [2.0, 2.0],
    "logspace(-4,-1,4)": [1e-4, 1e-3, 1e-2, 1e-1],
    "logspace(0,308,2)": [1.0, 1e308],
    "geomspace(1e-4,1e-1,4)": [1e-4, 1e-3, 1e-2, 1e-1],
    "geomspace(1,16,5)": [1.0, 2.0, 4.0, 8.0, 16.0],
    "geomspace(3,5,1)": [3.0],
    "0.1,1:4:1": [0.1, 1, 2, 3],
    "logspace(-2,-1,2),0.5,range(1,3,1)": [0.01, 0.1, 0.5, 1, 2],
    "[2,4,2],[2, 8, 2]": [[2, 4, 2], [2, 8, 2]],
    "relu,null,~": ["relu", None, None],
}


@pytest.mark.parametrize(("text", "expected"), VALUES.items())
def test_values_of_each_form(text: str, expected: list[Any]) -> None:
    grid = parse(text)
    assert typed(grid.values()) == typed(expected)
    assert grid.length == len(expected)
    assert grid.text == text.strip()


@pytest.mark.parametrize("text", ["0:4.1:0.1", "range(0,4.1,0.1)", "linspace(0,4,41)"])
def test_the_documents_sweep_has_41_values_that_print_as_written(text: str) -> None:
    assert list(map(repr, parse(text).values())) == [f"{i // 10}.{i % 10}" for i in range(41)]


ERRORS = {
    "": "empty",
    " ": "empty",
    "0.1,": "missing beside a comma",
    ",": "missing beside a comma",
    "range(0,1,)": "missing beside a comma",
    "range()": "empty",
    "range(1)": "a start, a stop and a step",
    "1:2:3:4": "a start, a stop and a step",
    "range(0,1,0)": "must not be 0",
    "range(0,1,0e-999999999)": "must not be 0",
    "range(0,1,-1)": "the step leads away",
    "range(1,0,1)": "the step leads away",
    "1:1:1": "stop, which is excluded",
    "range(0,x,1)": "'x' is not a number",
    "range(0,1e999,1)": "beyond a float64",
    "range(0,1,1e-400)": "beyond a float64",
    "range(0,inf,1)": "must be finite",
    "0:nan:1": "must be finite",
    "nan,1": "must be finite",
    ".inf": "must be finite",
    "-inf": "must be finite",
    "1e999": "too large",
    "010": "leading zero",
    "linspace(0,1)": "a first value, a last value and a count",
    "linspace(0,1,0)": "integer of at least 1",
    "linspace(0,1,-3)": "integer of at least 1",
    "linspace(0,1,2.5)": "integer of at least 1",
    "linspace(0,1,many)": "not a number",
    "geomspace(0,1,3)": "above 0",
    "geomspace(1,-1,3)": "above 0",
    "logspace(0,309,3)": "between -307 and 308",
    "logspace(-400,0,3)": "between -307 and 308",
    "linspce(0,1,3)": "Did you mean 'linspace'",
    "eval(1)": "no grid is called 'eval'",
    "range(0,1,1": "'\\(' is not closed",
    "0.1)": "'\\)' closes nothing",
    "range(0,1],1)": "closes nothing",
    "[1,2": "'\\[' is not closed",
    "[1,nan]": "must be finite",
    "1,range(0,1)x": "neither a number nor a word",
    "1,0:4:0": "must not be 0",
    "a\x1b": r"U\+001B",
    "zip(a=1,b=2)": "several parameters",
    "x" * 10_001: "10,000",
    "range(0," + "1" * 101 + ",1)": "at most 100 characters",
}


@pytest.mark.parametrize(("text", "message"), ERRORS.items())
def test_each_error_says_what_is_wrong_on_one_printable_line(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        parse(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_huge_grid_has_its_length_at_once() -> None:
    lengths = {
        "range(0,1e18,1)": 10**18,
        "range(0,1,1e-19)": 10**19,
        "range(0,1e300,1e-300)": 10**600,
        "linspace(0,1,1e18)": 10**18,
        "geomspace(1,2,1000000000)": 10**9,
    }
    assert {text: parse(text).length for text in lengths} == lengths
    uniform = {"min": 0, "max": 10**18, "distribution": "int_grid"}
    assert from_spec(uniform).length == 10**18 + 1
    assert fastest(lambda: ([parse(text).length for text in lengths], from_spec(uniform).length), 0.1) < 0.1


decimals = st.decimals(-100, 100, places=2)


@settings(max_examples=80, deadline=None)
@given(decimals, decimals, st.decimals("0.05", 10, places=2), st.booleans())
def test_a_range_is_start_plus_i_steps_before_the_stop(a: Decimal, b: Decimal, step: Decimal, down: bool) -> None:
    start, stop, step = (max(a, b), min(a, b), -step) if down else (min(a, b), max(a, b), step)
    if start == stop:
        return
    grid = parse(f"{start}:{stop}:{step}")
    count = math.ceil((stop - start) / step)
    assert grid.values() == [float(start + i * step) for i in range(count)]
    assert grid.length == count


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 40))
def test_linspace_is_numpys_with_exact_ends(start: float, stop: float, count: int) -> None:
    values = parse(f"linspace({start!r},{stop!r},{count})").values()
    assert (values[0], values[-1], len(values)) == (start, stop, count)
    np.testing.assert_allclose(np.array(values), np.linspace(start, stop, count), rtol=1e-12, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.integers(2, 20))
def test_geomspace_is_numpys_with_exact_ends(start: float, stop: float, count: int) -> None:
    values = parse(f"geomspace({start!r},{stop!r},{count})").values()
    assert (values[0], values[-1], len(values)) == (start, stop, count)
    np.testing.assert_allclose(np.array(values), np.geomspace(start, stop, count), rtol=1e-11)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20) | st.lists(st.sampled_from([*"0123456789.,:()-e ", "range(", "zip(a="])).map("".join))
def test_any_text_is_a_grid_or_an_error(text: str) -> None:
    for reader in (parse, parse_zip):
        try:
            grid = reader(text)
        except SpecError:
            continue
        assert not hasattr(grid, "length") or grid.length >= 1


@pytest.mark.parametrize(
    "name",
    [
        "optimizer.groups.linear*.lr",
        "optimizer.groups.linear[12].*.lr",
        "model.init.*.bias",
        "0.weight[0,0]",
        "a-b?.lr",
    ],
)
def test_a_zip_takes_the_names_that_a_single_parameter_takes(name: str) -> None:
    found = {key: grid.values() for key, grid in parse_zip(f"zip({name}=0.1,0.2,seed=1,2)").items()}
    assert found == {name: [0.1, 0.2], "seed": [1, 2]}
    assert list(parse_zip(f"zip(seed=1,2,{name}=0.1,0.2)")) == ["seed", name]


def test_a_zip_splits_at_the_commas_before_names() -> None:
    found = {name: grid.values() for name, grid in parse_zip("zip(weight[0,0]=0.1,0.2, key:lr=1:3:1)").items()}
    assert found == {"weight[0,0]": [0.1, 0.2], "key:lr": [1, 2]}
    assert parse_zip("zip(a=linspace(0,1,3),b=1:4:1)")["a"].values() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zip(a=1,2,b=1)", "one length; a has 2, b has 1"),
        ("zip(a=1,a=2)", "given twice"),
        ("zip(1,2)", "begins with NAME="),
        ("zip()", "empty"),
        ("zip(a=,b=1)", "empty"),
        ("zip(a=1", "not a zip"),
        ("1,2", "not a zip"),
    ],
)
def test_errors_of_zip(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_zip(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("range(0,3,1)", [0, 1, 2]),
        (0.5, [0.5]),
        ([1, 2.5, "a", True], [1, 2.5, "a", True]),
        ({"values": [1, 2]}, [1, 2]),
        ({"min": 0, "max": 1, "count": 3}, [0.0, 0.5, 1.0]),
        ({"min": 0, "max": 1, "count": 3, "distribution": "grid"}, [0.0, 0.5, 1.0]),
        ({"min": 1e-4, "max": 1, "count": 5, "distribution": "log_grid"}, [1e-4, 1e-3, 1e-2, 0.1, 1.0]),
        ({"min": 1, "max": 10, "count": 4, "distribution": "int_grid"}, [1, 4, 7, 10]),
        ({"min": 1, "max": 4, "count": 3, "distribution": "int_grid"}, [1, 3, 4]),
        ({"min": 1, "max": 3, "distribution": "int_grid"}, [1, 2, 3]),
        ({"values": [[2, 4, 2], [2, 8, 2]]}, [[2, 4, 2], [2, 8, 2]]),
        ([None, "relu"], [None, "relu"]),
        ('"a,b",c,"1"', ["a,b", "c", "1"]),
        ("""'d, "e"',"don't",0:2""", ['d, "e"', "don't", 0, 1]),
        ("{name: step, step_size: 1},null", [{"name": "step", "step_size": 1}, None]),
        ('["a,b", c],{d: "e,f"}', [["a,b", "c"], {"d": "e,f"}]),
    ],
)
def test_grids_of_the_spec(value: Any, expected: list[Any]) -> None:
    grid = from_spec(value)
    assert typed(grid.values()) == typed(expected)
    assert grid.length == len(expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "empty"),
        ([{"a": float("nan")}], "finite"),
        ([float("nan")], "finite"),
        ({"values": 3}, "takes a list"),
        ({"values": [1], "min": 0}, "no key beside"),
        ({"mn": 0}, "Did you mean 'min'"),
        ({"min": 0, "count": 2}, "'max' is missing"),
        ({"min": 0, "max": 1}, "'count' is missing"),
        ({"min": 2, "max": 1, "count": 2}, "min is above max"),
        ({"min": "a", "max": 1, "count": 2}, "'min' takes a number"),
        ({"min": 0, "max": True, "count": 2}, "'max' takes a number"),
        ({"min": 0, "max": 1, "count": 1.5}, "integer of at least 1"),
        ({"min": 0, "max": 1, "count": 3, "distribution": "int_grid"}, "only 2 integers"),
        ({"min": 0.5, "max": 1, "distribution": "int_grid"}, "must be integers"),
        ({"min": 0, "max": 1, "count": 3, "distribution": "log_uniform_values"}, "above 0"),
        ({"min": 0, "max": 1, "count": 3, "distribution": ["x"]}, "no distribution is called"),
    ],
)
def test_errors_of_grids_of_the_spec(value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        from_spec(value)


numbers = st.decimals(-1000, 1000, allow_nan=False, places=3).map(str) | st.integers(-(10**17), 10**17).map(str)


@given(numbers, numbers, st.integers(1, 200))
def test_the_array_of_a_linspace_has_the_values_to_the_bit(start: str, stop: str, count: int) -> None:
    grid = parse(f"linspace({start},{stop},{count})")
    assert grid.array().tolist() == [float(value) for value in grid.values()]


@given(st.integers(-(10**6), 10**6), st.integers(1, 300), st.integers(1, 999), st.integers(-9, 9))
def test_the_array_of_a_range_has_the_values_to_the_bit(start: int, count: int, step: int, exponent: int) -> None:
    grid = parse(f"range({start}e{exponent},{start + step * count}e{exponent},{step}e{exponent})")
    assert grid.array().tolist() == [float(value) for value in grid.values()]
    assert grid.length == count


DRAWS = {
    "uniform": lambda g: g.uniform(0.5, 8, 1000),
    "log_uniform_values": lambda g: np.exp(g.uniform(np.log(0.5), np.log(8), 1000)),
    "int_uniform": lambda g: g.integers(1, 10**15, 1000, endpoint=True),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("seed", [0, 7])
def test_draws_are_numpys_generators(name: str, seed: int) -> None:
    low = 1 if name == "int_uniform" else 0.5
    high = 10**15 if name == "int_uniform" else 8  # so far that none is drawn twice
    value = {"min": low, "max": high, "count": 1000, "distribution": name, **({"seed": seed} if seed else {})}
    np.testing.assert_allclose(from_spec(value).values(), DRAWS[name](np.random.default_rng(seed)), rtol=1e-15)
    assert len(set(from_spec(value).values())) > 5  # not an even grid


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"min": 1, "max": 2, "count": 2, "seed": 1}, "draws nothing"),
        ({"min": 0, "max": 2, "count": 2, "distribution": "log_uniform_values"}, "above 0"),
        ({"min": 0.5, "max": 2, "count": 2, "distribution": "int_uniform"}, "must be integers"),
        ({"min": 1, "max": 2, "distribution": "uniform"}, "'count' is missing"),
        ({"min": 1, "max": 2, "count": 2, "distribution": "uniform", "seed": -1}, "seed must be"),
        ({"min": 1, "max": 1e19, "count": 2, "distribution": "int_uniform"}, "integers of 64 bits"),
        ({"min": -(2**63) - 1, "max": 1, "count": 2, "distribution": "int_uniform"}, "integers of 64 bits"),
        ({"min": 1, "max": 4, "count": 6, "distribution": "int_uniform"}, "only 4 integers.*int_grid"),
        ({"min": -1.7e308, "max": 1.7e308, "count": 2, "distribution": "uniform"}, "further than a float64"),
    ],
)
def test_errors_of_draws(value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        from_spec(value)


@pytest.mark.parametrize(("count", "most"), [(4, 4), (30, 40), (500, 500)])
def test_no_integer_is_drawn_twice(count: int, most: int) -> None:
    drawn = from_spec({"min": 1, "max": most, "count": count, "distribution": "int_uniform", "seed": 3}).values()
    assert len(set(drawn)) == count
    assert set(drawn) <= set(range(1, most + 1))
    assert drawn != sorted(drawn)


@pytest.mark.parametrize("end", [9007199254740993, 2**63 - 1, -(2**63), 0])
def test_integers_are_drawn_between_their_exact_ends(end: int) -> None:
    assert from_spec({"min": end, "max": end, "count": 1, "distribution": "int_uniform"}).values() == [end]


def test_a_zip_in_yaml_is_that_of_the_command_line() -> None:
    ours = zip_from_spec({"a": "0.1,0.2", "b": {"min": 1, "max": 2, "count": 2}})
    theirs = parse_zip("zip(a=0.1,0.2,b=linspace(1,2,2))")
    assert {name: grid.values() for name, grid in ours.items()} == {name: g.values() for name, g in theirs.items()}
    with pytest.raises(SpecError, match="one length"):
        zip_from_spec({"a": [1, 2], "b": [1]})
    with pytest.raises(SpecError, match="takes a mapping"):
        zip_from_spec([1])


@settings(max_examples=200, deadline=None)
@given(st.decimals(-300, 300, places=4), st.decimals(-300, 300, places=4), st.integers(2, 3000), st.integers(0, 3000))
def test_every_point_of_a_logspace_is_the_nearest_float(low: Decimal, high: Decimal, count: int, point: int) -> None:
    """Each worked out by itself with 80 digits, where the grid goes from point to point."""
    k = point % count
    with localcontext(Context(prec=80)):
        exact = Decimal(10) ** (low + (high - low) * k / (count - 1))
    assert parse(f"logspace({low},{high},{count})").values()[k] == float(exact)
