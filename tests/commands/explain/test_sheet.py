"""Sheets with gaps: the key solves them, nothing shows what is left out, the same seed gives the same sheet."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gdcli.commands.explain import explain, gaps_of, render, sheet
from gdcli.commands.explain.answers import Answer, checked, places
from gdcli.commands.explain.expression import evaluated
from gdcli.commands.explain.formats import Format
from gdcli.commands.explain.tree import Explanation
from gdcli.errors import SpecError
from gdcli.storage.answers_file import read_answers
from tests.commands.explain.helpers import bundled_of
from tests.commands.explain.helpers import evaluated as by_python
from tests.commands.explain.test_formats import READABLE

SMALL = [name for name in READABLE if name not in ("linear_regression", "house_price")]
EVERY = [*READABLE, "gd_variants", "rosenbrock_optimizers", "momentum_average", "optimizers_2x2"]


@cache
def explained(name: str) -> Explanation:
    return explain(bundled_of(name))


def most(explanation: Explanation) -> int:
    """As many gaps as there can be: what a wish for too many is answered with."""
    with pytest.raises(SpecError, match=r"from 1 to ([\d,]+) here") as raised:
        gaps_of(explanation, 10**9, 0)
    return int(re.findall(r"to ([\d,]+)", str(raised.value))[0].replace(",", ""))


@pytest.mark.parametrize("name", EVERY)
def test_the_key_solves_the_sheet(name: str) -> None:
    explanation = explained(name)
    gaps, known = gaps_of(explanation, min(8, most(explanation)), 3), places(explanation)
    answers = {
        known[gap.quantity.key]: Answer(gap.quantity.key, k, Decimal(repr(float(gap.quantity.value))))
        for k, gap in enumerate(gaps, 2)
    }
    assert {each.verdict for each in checked(explanation, answers)} == {"right"}
    assert len(answers) == len(gaps)


@pytest.mark.parametrize("name", SMALL)
def test_lines_with_the_key_put_in_are_true(name: str) -> None:
    """Each line of the sheet that ends in numbers, with the gaps filled by their values, holds to Python."""
    explanation = explained(name)
    gaps = gaps_of(explanation, min(6, most(explanation)), 1)
    text = render(sheet(explanation, gaps))
    for gap in gaps:
        value = f"({gap.quantity.value!r})"
        text = text.replace(f"[{gap.number}] ________", value).replace(f"[{gap.number}]", value)
    body = text.partition("\nForward\n")[2].partition("\nAnswers\n")[0].replace("\n   ", " ")
    checked_lines = 0
    for line in body.splitlines():
        *_, worked, value = ["", "", *line.partition("   (")[0].split(" = ")]
        is_number = re.fullmatch(r"\(?-?[\d.e+-]+\)?", value.strip()) and re.search(r"\d", worked)
        if is_number and not re.search("[a-zL]", worked):
            assert by_python(worked) == pytest.approx(by_python(value), rel=1e-12), line
            checked_lines += 1
    assert checked_lines or name.startswith(("loss", "why"))


LONG = ["backprop_2x2", "adam_2x2", "momentum_2x2", "loss_cross_entropy", "linear_regression"]


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
@pytest.mark.parametrize("name", LONG)
def test_a_number_that_is_left_out_stands_nowhere(name: str, form: Format) -> None:
    explanation = explained(name)
    for seed in range(3):
        gaps = gaps_of(explanation, 5, seed)
        text = render(sheet(explanation, gaps), form)
        longest = [digits for gap in gaps if len(digits := repr(float(gap.quantity.value)).lstrip("-")) > 8]
        assert longest
        for digits in longest:
            head = digits.partition("e")[0]  # LaTeX has a power of ten in place of the e
            assert head in render(explanation, form)
            assert head not in text


def test_the_gaps_are_those_of_the_seed() -> None:
    explanation = explained("backprop_2x2")
    first, again, other = (gaps_of(explanation, 5, seed) for seed in (1, 1, 2))
    assert [gap.quantity.key for gap in first] == [gap.quantity.key for gap in again]
    assert [gap.quantity.key for gap in first] != [gap.quantity.key for gap in other]
    assert [gap.number for gap in first] == [1, 2, 3, 4, 5]


def test_more_gaps_keep_those_that_there_were() -> None:
    explanation = explained("backprop_2x2")
    few, many = ({gap.quantity.key for gap in gaps_of(explanation, count, 4)} for count in (3, 9))
    assert few < many


def test_no_line_of_latex_after_a_line_break_begins_with_a_bracket() -> None:
    """LaTeX would read the number of a gap in the table of answers as the height of the line before."""
    explanation = explained("loss_cross_entropy")
    text = render(sheet(explanation, gaps_of(explanation, 6, 1)), "latex")
    assert "{}[2] & " in text
    assert not re.search(r"\\\\\s*\[", text)


def test_each_part_of_the_step_has_gaps() -> None:
    explanation = explained("backprop_2x2")
    parts = {one.key: section.title for section in explanation.sections for g in section.groups for one in g.quantities}
    for seed in range(5):
        found = [parts[gap.quantity.key] for gap in gaps_of(explanation, 4, seed)]
        assert found == ["Forward", "Loss", "Backward", "Update"]


def test_all_numbers_can_be_left_out() -> None:
    for name in ("backprop_2x2", "himmelblau", "linear_manual"):
        explanation = explained(name)
        gaps = gaps_of(explanation, most(explanation), 0)
        assert "________" in render(sheet(explanation, gaps))


@pytest.mark.parametrize("name", EVERY)
def test_each_quantity_is_what_its_formula_and_its_chain_give(name: str) -> None:
    """By the same arithmetic, so that the formula gives the very bits; the chain multiplies in another order."""
    for one in explained(name).quantities():
        assert repr(float(evaluated(one.formula, lambda symbol: None))) == repr(float(one.formula.value))
        if one.chain is not None:
            assert evaluated(one.chain, lambda symbol: None) == pytest.approx(one.value, rel=1e-9, abs=1e-300)


# --- on the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "words"), [("md", "```math"), ("tex", r"\section*"), ("txt", "Forward\n-------")])
def test_sheet_and_key_are_two_files(gdcli: Any, ending: str, words: str) -> None:
    answer = gdcli("explain", "backprop_2x2", "--gaps", "5", "--seed", "7", "-o", f"sheet.{ending}")
    assert (answer.code, answer.out) == (0, "")
    assert words in Path(f"sheet.{ending}").read_text()
    rows = read_answers(Path("sheet.key.csv"))
    assert len(rows) == 5
    graded = gdcli("grade", "backprop_2x2", "sheet.key.csv", "--seed", "7")
    assert (graded.code, graded.out.splitlines()[0]) == (0, "backprop_2x2: step 1: 5 of 5 right")
    assert gdcli("explain", "backprop_2x2", "--gaps", "5", "-o", f"sheet.{ending}").code == 2  # it is there
    again = gdcli("explain", "backprop_2x2", "--gaps", "5", "--seed", "7", "-o", f"again.{ending}", "--force")
    assert again.code == 0
    assert Path(f"again.{ending}").read_bytes() == Path(f"sheet.{ending}").read_bytes()


def test_on_standard_output_the_key_s_file_is_named(gdcli: Any) -> None:
    answer = gdcli("explain", "himmelblau", "--gaps", "3", "--key", "k.csv", "--format", "latex", "--step", "2")
    assert answer.code == 0
    assert answer.out.count(r"\qquad\qquad") == 3
    assert gdcli("grade", "himmelblau", "k.csv", "--step", "2").code == 0
    assert gdcli("grade", "himmelblau", "k.csv").code == 1  # another step
    assert "--key FILE.csv writes them" in gdcli("explain", "himmelblau", "--gaps", "3").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gaps", "1000"], "--gaps takes a number from 1 to "),
        (["--gaps", "0"], "--gaps"),
        (["--gaps", "2", "--only", "h1"], "--only prints some values; --gaps is for the whole step"),
        (["-o", "a.md", "--only", "h1"], "--only prints some values; --output is for the whole step"),
        (["--key", "k.csv"], "--key is for the numbers that --gaps N leaves out"),
        (["--gaps", "2", "-o", "a.csv", "--key", "a.csv"], "sheet and key are the same file"),
        (["--gaps", "2", "-o", "no/a.md"], "there is no folder 'no'"),
    ],
)
def test_what_cannot_be_is_told(gdcli: Any, words: list[str], message: str) -> None:
    answer = gdcli("explain", "backprop_2x2", *words)
    assert answer.code == 2
    assert message in answer.err
    assert not list(Path.cwd().iterdir())


def test_each_student_has_numbers_of_their_own_where_weights_are_drawn(gdcli: Any) -> None:
    Path("net.yaml").write_text(
        "data: {x: [[1, 2]], y: [1]}\nmodel: {type: mlp, layers: [2, 2, 1], activation: tanh}\nloss: mse\n"
        "optimizer: {name: sgd, lr: 0.1}\n"
    )
    for seed in ("1", "2"):
        assert gdcli("explain", "net.yaml", "--gaps", "4", "--seed", seed, "-o", f"{seed}.md").code == 0
    assert gdcli("grade", "net.yaml", "1.key.csv", "--seed", "1").code == 0
    assert gdcli("grade", "net.yaml", "1.key.csv", "--seed", "2").code == 1
    answer = gdcli("grade", "net.yaml", "1.key.csv", "--seed", "1", "--json")
    assert json.loads(answer.out)["right"] == 4
