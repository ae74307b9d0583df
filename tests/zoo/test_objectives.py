"""The expression grammar: Python's values and bits, torch's gradients, and an error with a column for all else."""

from __future__ import annotations

import ast
import math
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gdcli.zoo.expressions import FUNCTIONS, Expression, ExpressionError, attached, names, with_constants
from gdcli.zoo.objectives import compile_, parse

QUICK = settings(max_examples=150, deadline=None)
SMOOTH = ["exp", "sin", "cos", "tanh", "sigmoid", "softplus", "atan", "erf", "square"]


def expressions(leaves: st.SearchStrategy[str], functions: list[str]) -> st.SearchStrategy[str]:
    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("{} {} {}".format, inner, st.sampled_from("+-*/"), inner),
            st.builds("({}){}({})".format, inner, st.sampled_from("+-*/"), inner),
            st.builds("-{}".format, inner),
            st.builds("(0.0 + {})**{}".format, inner, st.integers(-3, 4)),
            st.builds("{}({})".format, st.sampled_from(functions), inner),
        )

    return st.recursive(leaves, larger, max_leaves=10)


# Whole numbers of products of at most ten digits, and powers of floats: below 2**53 int and float64 agree exactly.
numerals = st.one_of(st.integers(0, 9).map(str), st.floats(0, 1e6).map(repr))
constant_texts = expressions(
    numerals, ["exp", "log", "sqrt", "sin", "cos", "tan", "atan", "tanh", "abs", "erf", "log1p"]
)
variable_texts = expressions(st.one_of(numerals, st.sampled_from(["x", "y"])), SMOOTH)


def evaluate(expression: Expression, values: Mapping[str, torch.Tensor | float]) -> torch.Tensor:
    """An expression's value; of numbers alone in float64."""
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    tensors = tensors or {"?": torch.zeros((), dtype=torch.float64)}
    return compile_(expression, list(tensors), numbers)(list(tensors.values()))


def on_tensors_or_numbers(name: str) -> Any:
    """The function as a plain program has it: torch's on tensors; on numbers our own value, tested apart."""
    home = torch.nn.functional if name == "softplus" else torch

    def call(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return getattr(home, name)(value)
        return evaluate(parse(f"{name}(k)"), {"k": value}).item()

    return call


def python_values(text: str) -> list[float]:
    """The value of every part of the text in Python's own arithmetic, the whole first."""
    scope = {name: getattr(math, name) for name in FUNCTIONS if hasattr(math, name)} | {"abs": abs}
    parts = [node for node in ast.walk(ast.parse(text.strip(), mode="eval").body) if isinstance(node, ast.expr)]
    codes = [compile(ast.Expression(node), "", "eval") for node in parts if not isinstance(node, ast.Name)]
    return [float(eval(code, {"__builtins__": {}}, scope)) for code in codes]


@QUICK
@given(constant_texts)
def test_constants_are_computed_exactly_as_python_computes_them(text: str) -> None:
    try:
        values = python_values(text)
    except (ArithmeticError, ValueError, TypeError):  # TypeError: a complex power
        values = [math.inf]
    if all(map(math.isfinite, values)):
        assert evaluate(parse(text), {}).item() == values[0]
    else:  # infinite parts are refused too, where Python goes on
        with pytest.raises(ExpressionError):
            evaluate(parse(text), {})


def same_bits(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    if a is None or b is None:  # a variable that does not occur has no gradient
        return a is b
    return torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


@QUICK
@given(variable_texts, st.floats(-3, 3), st.floats(0.1, 3))
def test_value_and_gradient_have_the_bits_of_the_plain_program(text: str, x: float, y: float) -> None:
    plain = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, y)]
    ours = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, y)]
    scope = {name: on_tensors_or_numbers(name) for name in SMOOTH} | {"x": plain[0], "y": plain[1]}
    try:
        expected = eval(text, {"__builtins__": {}}, scope)
    except (ArithmeticError, ValueError, TypeError):  # an ExpressionError from a constant part too
        with pytest.raises(ExpressionError):
            compile_(parse(text), ["x", "y"], {})
        return
    try:
        value = compile_(parse(text), ["x", "y"], {})(ours)
    except ExpressionError:
        return  # a constant part that is inf or complex: refused, where Python goes on
    if not isinstance(expected, torch.Tensor):
        assert value.item() == pytest.approx(float(expected), rel=1e-15)
        return
    gradients = [torch.autograd.grad(v, i, allow_unused=True) for v, i in ((expected, plain), (value, ours))]
    for a, b in zip([expected, *gradients[0]], [value, *gradients[1]], strict=True):
        assert same_bits(a, b)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2**2", -4),
        ("2**-1", 0.5),
        ("(-8)**3", -512),
        ("2**-2*8", 2),
        ("-2*-3", 6),
        ("+-+2", -2),
        ("8/4/2", 1),
        ("8-4-2", 2),
        ("1 + 2*3", 7),
        ("(1 + 2)\n*3", 9),
        (".5 + 1. + 1e-1 + 2E+1", 21.6),
        ("2*pi", 2 * math.pi),
        ("e", math.e),
        ("atan2(1, -1)", math.atan2(1, -1)),
        ("maximum(2, minimum(3, 4))", 3),
        ("pow(2, 10)", 1024),
        ("hypot(3, 4)", 5),
        ("sign(-3) + sign(0) + relu(-1) + relu(2)", 1),
        ("sigmoid(0) + sigmoid(-1000) + sigmoid(1000)", 1.5),
        ("softplus(-1000) + softplus(1000)", 1000),
        ("+".join(["x"] * 250), 250),
        (" + ".join(["x"] * 250), 250),
        ("00 + 1", 1),
        ("00.5 + 1.", 1.5),
        ("(\r\n\tx\t)\n", 1),
        ("((x)+(x))*((x))", 2),
        ("(" * 64 + "x" + ")" * 64, 1),
    ],
)
def test_value(text: str, expected: float) -> None:
    assert evaluate(parse(text), {"x": 1.0}).item() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_is_torchs_on_tensors_and_agrees_with_its_value_on_numbers(name: str) -> None:
    home = torch.nn.functional if name == "softplus" else torch
    numbers = [1.25, 0.5] if name == "acosh" or FUNCTIONS[name] == 2 else [0.75]
    numbers = numbers[: FUNCTIONS[name]]
    tensors = [torch.tensor(number, dtype=torch.float64) for number in numbers]
    value = getattr(home, name)(*tensors)
    call = parse(f"{name}({', '.join('ab'[: len(numbers)])})")
    assert torch.equal(evaluate(call, dict(zip("ab", tensors, strict=False))), value)
    assert evaluate(call, dict(zip("ab", numbers, strict=False))).item() == pytest.approx(value.item(), rel=1e-14)
    if len(numbers) == 2:  # a number beside a tensor, on either side
        assert torch.equal(evaluate(call, {"a": numbers[0], "b": tensors[1]}), value)
        assert torch.equal(evaluate(call, {"a": tensors[0], "b": numbers[1]}), value)


@pytest.mark.parametrize(
    "text", ["0.1*x**2 + 2*y**2", "(1 - x)**2 + 100*(y - x**2)**2", "sin(pi*x)*exp(-y) / (1 + x**2)", "1/(exp(-x*y)+1)"]
)
def test_gradient_agrees_with_finite_differences(text: str) -> None:
    function = compile_(parse(text), ["x", "y"], {})
    start = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, -0.4)]
    assert torch.autograd.gradcheck(lambda *v: function(v), start)


def test_a_whole_grid_is_evaluated_at_once() -> None:
    grid = torch.linspace(-2, 2, 41, dtype=torch.float64)
    x, y = grid[:, None], grid[None, :]
    surface = compile_(parse("x**2 + a*y**2"), ["x", "y"], {"a": 3})([x, y])
    assert torch.equal(surface, x**2 + 3 * y**2)


def test_float32_variables_give_float32() -> None:
    assert evaluate(parse("2*sin(x) + maximum(x, pi)"), {"x": torch.tensor(1.0)}).dtype is torch.float32


def test_an_objective_without_its_variables_is_constant_in_their_shape() -> None:
    assert torch.equal(compile_(parse("2*3"), ["x"], {})([torch.zeros(2)]), torch.full((2,), 6.0))


def test_a_variable_named_e_is_the_variable() -> None:
    assert evaluate(parse("e + 1"), {"e": torch.tensor(1.0)}).item() == 2


def test_a_word_of_python_is_a_name_like_any_other() -> None:
    values = {"lambda": torch.tensor(2.0), "is": torch.tensor(3.0), "None": 1.0}
    assert evaluate(parse("lambda*is**2 - None"), values).item() == 17


def test_names() -> None:
    assert names(parse("exp(x1) + k*pi")) == {"x1", "k", "pi"}


INVALID = [
    ("", 1, "empty"),
    ("  ", 1, "empty"),
    ("__import__('os')", 12, "text"),
    ("__import__(os)", 1, "unknown function"),
    ("x.y", 2, "attributes"),
    ("x[0]", 2, "indexing"),
    ('"a"', 1, "text"),
    ("x < y", 3, "comparison"),
    ("x == y", 3, "comparison"),
    ("x = 1", 3, "assignment"),
    ("x^2", 2, "power is written"),
    ("lambda x: x", 9, "unknown character"),
    ("x if y else z", 3, "operator is missing"),
    ("cose(x)", 1, "Did you mean 'cos'"),
    ("eval(x)", 1, "unknown function"),
    ("exp(x, y)", 1, "takes 1 argument (got 2)"),
    ("atan2(x)", 1, "takes 2 arguments (got 1)"),
    ("exp()", 1, "got 0"),
    ("exp", 1, "is a function"),
    ("exp + 1", 1, "is a function"),
    ("1 +", 3, "incomplete"),
    ("*x", 1, "operand is missing"),
    ("x * / y", 5, "operand is missing"),
    ("x // y", 4, "operand is missing"),
    ("2x", 2, "operator is missing"),
    ("2(x)", 2, "operator is missing"),
    ("1_000", 2, "operator is missing"),
    ("1j", 2, "operator is missing"),
    ("(x", 1, "never closed"),
    ("exp(x", 4, "never closed"),
    ("(x y)", 4, "operator is missing"),
    ("(x, y)", 3, "outside the arguments"),
    ("x)", 2, "without its opening"),
    ("x, y", 2, "without its opening"),
    ("exp(x,)", 7, "operand is missing"),
    ("x + \x1b[31m", 5, r"'\x1b'"),
    ("x + π", 5, r"'\u03c0'"),
    ("x + ١", 5, "unknown character"),
    ("x; y", 2, "unknown character"),
    ("x # y", 3, "unknown character"),
    ("x \\\n+ y", 3, "unknown character"),
    ("\uff58 + y", 1, r"'\uff58'"),
    ("(x := 2)", 4, "unknown character"),
    ("x @ y", 3, "unknown character"),
    ("x or y", 3, "operator is missing before 'or'"),
    ("not x", 5, "operator is missing before 'x'"),
    ("0x10", 2, "operator is missing before 'x10'"),
    ("0b1", 2, "operator is missing"),
    ("1if x", 2, "operator is missing"),
    ("exp(*x)", 5, "operand is missing"),
    ("exp(x)(y)", 7, "operator is missing"),
    ("()", 2, "operand is missing"),
    ("x" + "**x" * 600, 194, "nested deeper"),
    ("1e400", 1, "too large"),
    ("9" * 400, 1, "too large"),
    ("010", 1, "leading zero"),
    ("9**9**9", 5, "tower"),
    ("9**(1 + 9**9)", 10, "tower"),
    ("pow(9, pow(9, 9))", 8, "tower"),
    ("x**1001", 4, "larger than 1000"),
    ("x**-1001", 4, "larger than 1000"),
    ("x**(40*40)", 7, "larger than 1000"),
    ("(" * 65 + "x" + ")" * 65, 65, "nested deeper"),
    ("-" * 65 + "x", 65, "nested deeper"),
    ("exp(" * 400 + "x", 260, "nested deeper"),
    ("x" + "+x" * 300, 500, "more than 500 parts"),
    ("x" * 2001, 2001, "longer than 2,000"),
]


@pytest.mark.parametrize(("text", "column", "message"), INVALID, ids=[repr(case[0][:30]) for case in INVALID])
def test_an_invalid_text_is_refused_at_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("x + 1/0", 6, "by zero"),
        ("x + 0**-1", 6, "by zero"),
        ("x + log(-1)", 5, "no finite real value"),
        ("x + exp(1000)", 5, "no finite real value"),
        ("x * (-8)**0.5", 9, "no finite real value"),
        ("x * 10**308 * 10**308 + 1e308*1e308", 30, "no finite real value"),
        ("((9**999)**999)**999", 4, "no finite real value"),
        ("x + large", 5, "unknown name"),
        ("x**huge", 2, "larger than 1000"),
        ("2**huge", 2, "larger than 1000"),
    ],
)
def test_a_constant_part_without_a_value_is_refused(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError, match=message) as caught:
        compile_(parse(text), ["x"], {"huge": 10**9})
    assert caught.value.column == column


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ExpressionError("an operand is missing", 3)))
    assert (str(error), error.column) == ("an operand is missing", 3)


def problem_of(text: str) -> ExpressionError | None:
    try:
        expression = parse(text)
        evaluate(expression, dict.fromkeys(names(expression), 1.5))
    except ExpressionError as error:
        return error
    return None


def assert_value_or_error(text: str) -> None:
    problem = problem_of(text)
    if problem is not None:
        assert 1 <= problem.column <= max(1, len(text))
        assert str(problem).isprintable()


@QUICK
@given(st.text(max_size=60))
def test_arbitrary_text_gives_an_expression_error_or_a_value(text: str) -> None:
    assert_value_or_error(text)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from([*"xy()+-*/,. 19e'", "**", "exp(", "pow(", "1e9", "atan2("]), max_size=30).map("".join))
def test_text_of_the_grammars_own_pieces_gives_an_expression_error_or_a_value(text: str) -> None:
    assert_value_or_error(text)


def test_no_name_of_the_grammar_reaches_pythons_objects() -> None:
    for name in ("__class__", "__builtins__", "open", "getattr", "torch", "nn", "manual_seed", "load"):
        with pytest.raises(ExpressionError):
            evaluate(parse(f"{name}(x)"), {"x": 1.0})


def test_what_is_detached_is_a_constant_to_the_gradient_as_torchs() -> None:
    x, y = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.5, -0.5))
    function = compile_(parse("detach(x*y)*x**2 + exp(detach(y))*y + detach(3)"), ["x", "y"], {})
    value = function([x, y])
    assert value.item() == 1.5 * -0.5 * 1.5**2 + math.exp(-0.5) * -0.5 + 3
    found = torch.autograd.grad(value, [x, y])
    assert [each.item() for each in found] == [1.5 * -0.5 * 2 * 1.5, math.exp(-0.5)]


def test_a_long_sum_with_something_detached_gets_its_constant() -> None:
    expression = parse(" + ".join(["x"] * 240 + ["detach(x)"]))
    constant = with_constants(expression, lambda part: 7.0)
    x = torch.tensor(2.0, dtype=torch.float64)
    assert compile_(constant, ["x"], {})([x]).item() == 240 * 2.0 + 7.0
    assert attached(constant) == {"x"}
