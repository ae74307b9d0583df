"""Text, Markdown and LaTeX."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gdcli.cli.specs import explain as command
from gdcli.commands.explain import explain, render
from gdcli.commands.explain.formats import WIDTH
from gdcli.spec import bundled
from tests.commands.explain.helpers import bundled_of, evaluated
from tests.conftest import GOLDEN
from tests.trials import mostly_slow

READABLE = [
    "adagrad_2x2", "adam_2x2", "backprop_2x2", "backprop_2x2_layers", "chain_rule", "himmelblau", "house_price",
    "linear_autograd", "linear_manual", "linear_regression", "linear_sweep", "loss_bce", "loss_cross_entropy",
    "loss_mae", "loss_mse", "loss_smooth_l1", "momentum_2x2", "nn_linear", "quadratic_bowl", "rmsprop_2x2",
    "rosenbrock", "why_cross_entropy",
]  # fmt: skip


def run(*arguments: str) -> str:
    application = typer.Typer()
    application.command()(command)
    result = CliRunner().invoke(application, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_document_s_numbers_by_hand() -> None:
    text = run("backprop_2x2", "--only", "h1,h2,o1,o2,loss,dw5,dw7,dw1")
    assert text == (GOLDEN / "backprop_2x2_by_hand.txt").read_text()


@pytest.mark.parametrize(
    ("y", "loss", "line"),
    [
        ("[3, 0, 4]", "mse", "MSE Loss: 8.333333333333334"),
        ("[3, 0, 4]", "half_mse", "Half MSE Loss: 4.166666666666667"),
        ("[3, 0, 4]", "sse", "SSE Loss: 25.0"),
        ("[3, 0, 4]", "half_sse", "Half SSE Loss: 12.5"),
        ("[3, 4]", "half_sse", "MSE Loss: 12.5"),  # of two errors it is their mean, as the document calls it
        ("[3, 4]", "half_mse", "Half MSE Loss: 6.25"),
        ("[3]", "half_sse", "Half SSE Loss: 4.5"),
        ("[3, 4]", "mae", "MAE Loss: 3.5"),
    ],
)
def test_a_loss_is_called_what_it_is(tmp_path: Path, y: str, loss: str, line: str) -> None:
    """Outputs 0, so that the errors are the targets: of 3, 0 and 4 the squares have the sum 25."""
    x, spec = [1] * len(y.split(",")), tmp_path / "loss.yaml"
    model = "{type: linear, init: {'*': 0}}"
    spec.write_text(f"data: {{x: {x}, y: {y}}}\nmodel: {model}\nloss: {loss}\noptimizer: sgd\n")
    assert run(str(spec), "--only", "loss") == f"{line}\n"


def test_a_derivative_is_chain_then_symbols_then_numbers_then_value() -> None:
    lines = render(explain(bundled_of("backprop_2x2"))).splitlines()
    first = lines.index("dL/dw5 = dL/do1 · do1/dnet_o1 · dnet_o1/dw5")
    assert lines[first + 1 : first + 4] == [
        "       = (o1 − t1) · o1(1 − o1) · h1",
        "       = 0.7413650695523157 · 0.18681560180895948 · 0.5932699921071872",
        "       = 0.08216704056423078",
    ]


@pytest.mark.parametrize("name", READABLE)
def test_lines_of_text_are_short(name: str) -> None:
    for line in render(explain(bundled_of(name))).splitlines():
        assert len(line) <= WIDTH or " = " not in line, line


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("name", READABLE)
def test_a_narrow_text_has_the_same_words_and_breaks_no_number(name: str, width: int) -> None:
    found = explain(bundled_of(name))
    text = render(found, width=width)
    assert text.replace("=", " ").split() == render(found).replace("=", " ").split()
    for line in text.splitlines():
        assert len(line) <= width or " = " not in line or width == 40, line


@pytest.mark.parametrize("name", READABLE)
def test_every_product_in_the_text_gives_the_value_printed_below_it(name: str) -> None:
    """Read back from the text alone: the line of numbers before a value, its continuations joined."""
    sides: list[str] = []
    for line in render(explain(bundled_of(name))).splitlines():
        found = re.match(r"^(\S*) *= (.*)$", line)
        if found is None:
            if sides and re.match(r"^ +[·+−] ", line):
                sides[-1] += " " + line.strip()
            continue
        sides = sides if not found.group(1) else []
        sides += re.sub(r"   \(.*\)$", "", found.group(2)).split(" = ")
        if len(sides) > 1 and re.fullmatch(r"[-0-9.e+]+", sides[-1]) and not re.search("[a-zβδγμ]", sides[-2]):
            assert evaluated(sides[-2]) == pytest.approx(float(sides[-1]), rel=1e-15), sides


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_slow(READABLE, 5))
def test_every_formula_in_latex_is_one_that_matplotlib_reads(name: str) -> None:
    from matplotlib.mathtext import MathTextParser

    parser = MathTextParser("path")
    text = render(explain(bundled_of(name)), "latex")
    formulas = re.findall(r"^\\noindent(\$.*\$)\\par$", text, re.MULTILINE)
    assert len(formulas) > 2
    for formula in set(formulas):
        parser.parse(formula)
    assert text.isascii()
    assert text.count("{") == text.count("}")


def test_markdown_has_headings_tables_and_math() -> None:
    text = render(explain(bundled_of("backprop_2x2")), "markdown")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Given", "## Forward", "## Loss", "## Backward", "## Update",
    ]  # fmt: skip
    assert (
        text.count("```math") == text.count(r"\begin{aligned}") == text.count(r"\end{aligned}") == text.count("```") / 2
    )
    assert "| w1 | linear1" in text


def test_what_a_user_writes_is_text_in_every_format(tmp_path: Path) -> None:
    source = bundled.find("backprop_2x2").text.decode()
    hostile = r"\input{/etc/passwd} $x$ <script> **b** 50% & # _ 网络"
    path = tmp_path / "s.yaml"
    path.write_text(re.sub("description: .*", lambda _: f"description: '{hostile}'", source))
    latex, markdown = run(str(path), "--format", "latex"), run(str(path), "--format", "markdown")
    assert r"\textbackslash{}input\{/etc/passwd\} \$x\$ $<$script$>$ **b** 50\% \& \# \_ ??" in latex
    assert r"\\input\{/etc/passwd\} \$x\$ \<script\> \*\*b\*\*" in markdown


def test_single_quantities_in_latex_are_worked_out() -> None:
    text = run("backprop_2x2", "--only", "dw5", "--format", "latex")
    assert r"\dfrac{\partial L}{\partial o_{1}} \cdot \dfrac{\partial o_{1}}{\partial \mathrm{net}_{o_{1}}}" in text
