"""`gdcli grade`: exit codes, the table, JSON, and the names of `expect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

EXPECTING = """\
model: {type: objective, expression: w**2 + 1/w, start: {w: 2}}
optimizer: {name: sgd, lr: 0.25}
epochs: 3
expect: {final_loss: {at_most: 2}, w: {equals: 0.8, within: 0.05}}
"""


def answers(*lines: str) -> None:
    Path("answers.csv").write_text("".join(f"{line}\n" for line in ("name,value", *lines)))


def test_all_right_is_0_and_a_wrong_one_1_with_the_first_factor(gdcli: Any) -> None:
    answers("o1,0.7514", "dL/dw5,0.08217")
    right = gdcli("grade", "backprop_2x2", "answers.csv")
    assert (right.code, right.err) == (0, "")
    assert right.out.startswith("backprop_2x2: step 1: 2 of 2 right\n")
    assert "first wrong" not in right.out
    answers("dL/dw5,0.08217", "o1,0.9", "h1,0.5933")
    wrong = gdcli("grade", "backprop_2x2", "answers.csv")
    assert wrong.code == 1
    last = "first wrong: o1 = 1 / (1 + exp(−net_o1)) = 1 / (1 + exp(−1.10590596705977)) = 0.7513650695523157"
    assert wrong.out.splitlines()[-1] == f"{last} (answers.csv:3)"


def test_json_has_each_answer(gdcli: Any) -> None:
    answers("h1,0.7", "net_o1,1.1486", "h2,")  # 0.7 · 0.4 + 0.596884 · 0.45 + 0.6
    found = gdcli("grade", "backprop_2x2", "answers.csv", "--json")
    assert found.code == 1
    assert (found.json["right"], found.json["count"], found.json["first_wrong"]) == (0, 3, "h1")
    assert [(each["name"], each["result"], each["follows_from"]) for each in found.json["answers"]] == [
        ("h1", "wrong", []), ("h2", "missing", []), ("net_o1", "follows", ["h1"]),
    ]  # fmt: skip
    assert found.json["answers"][0]["expected"] == pytest.approx(0.5932699921071872)


def test_what_follows_and_is_near_the_right_value_is_not_wrong_by_a_rounding(gdcli: Any) -> None:
    answers("net_h1,0.41525", "h1,0.60235", "net_o2,1.2295", "o2,0.77372")  # 0.7737186; right is 0.7729285
    found = gdcli("grade", "backprop_2x2", "answers.csv", "--json")
    assert found.json["first_wrong"] == "net_h1"
    assert [each["result"] for each in found.json["answers"]] == ["wrong", "follows", "follows", "follows"]
    answers("net_h1,0.41525", "h1,0.60235", "net_o2,1.2295", "o2,0.77300")  # nearer to the right value
    found = gdcli("grade", "backprop_2x2", "answers.csv", "--json")
    assert [each["result"] for each in found.json["answers"]] == ["wrong", "follows", "follows", "wrong"]


def test_an_unknown_name_is_2_with_line_column_and_the_nearest(gdcli: Any) -> None:
    answers("h1,0.5933", "net_x1,1", "dw55,2")
    found = gdcli("grade", "backprop_2x2", "answers.csv")
    assert (found.code, found.out) == (2, "")
    first, second = found.err.splitlines()
    assert first.startswith("answers.csv:3:1: there is no 'net_x1' here. Did you mean 'net_")
    assert second == "answers.csv:4:1: there is no 'dw55' here. Did you mean 'dw5'?"


def test_one_number_under_two_names_is_told(gdcli: Any) -> None:
    answers("dw5,0.1", "dL/dw5,0.2")
    found = gdcli("grade", "backprop_2x2", "answers.csv")
    assert (found.code, found.err) == (2, "answers.csv:3:1: 'dL/dw5' is dw5, see line 2\n")


def test_answers_to_what_a_spec_expects_are_held_to_it(gdcli: Any) -> None:
    Path("t.yaml").write_text(EXPECTING)
    answers("w,0.82", "final_loss,1.89", "v1,4")
    found = gdcli("grade", "t.yaml", "answers.csv")
    assert found.code == 0
    assert "t: step 1: 3 of 3 right" in found.out
    answers("w,0.7", "final_loss,")
    found = gdcli("grade", "t.yaml", "answers.csv")
    assert found.code == 1
    rows = [line.split() for line in found.out.splitlines()]
    assert ["w", "0.7", "0.8", "within", "0.05", "wrong"] in rows
    assert ["final_loss", "at", "most", "2", "not", "answered"] in rows


def test_what_cannot_be_written_out_can_be_graded_by_expect_alone(gdcli: Any) -> None:
    Path("t.yaml").write_text(
        "data: {x: [1, 2], y: [2, 4]}\nmodel: {type: sequential, layers: [{layer: Linear, out_features: 1}]}\n"
        "loss: mse\noptimizer: sgd\nexpect: {final_loss: {at_most: 9}}\n"
    )
    answers("final_loss,3")
    assert gdcli("grade", "t.yaml", "answers.csv").code == 0
    answers("final_loss,3", "loss,4")
    found = gdcli("grade", "t.yaml", "answers.csv")
    assert found.code == 2
    assert "cannot be written out by hand" in found.err


def test_overrides_and_a_bad_file_are_as_elsewhere(gdcli: Any) -> None:
    answers("new_w1,0.149956143")  # with lr 0.1: 0.15 − 0.1 · 0.000438567734
    assert gdcli("grade", "backprop_2x2", "answers.csv", "lr=0.1").code == 0
    assert gdcli("grade", "backprop_2x2", "answers.csv", "optimizer.l=0.1").code == 2
    assert gdcli("grade", "backprop_2x2", "none.csv").err == "cannot read 'none.csv': No such file or directory\n"


def test_gaps_of_the_sheet_without_an_answer_are_told(gdcli: Any) -> None:
    Path("key.csv").write_text("name,value\no1,0.7513650695523157\ndL/dw5,0.08216704056423078\nh1,0.5932699921071872\n")
    answers("dw5,0.08217", "h1,0.59")
    found = gdcli("grade", "backprop_2x2", "answers.csv", "--key", "key.csv", "--json")
    assert (found.code, found.json["right"], found.json["count"]) == (1, 1, 3)
    assert {each["name"]: each["result"] for each in found.json["answers"]} == {
        "h1": "wrong", "dw5": "right", "o1": "missing",
    }  # fmt: skip
    Path("key.csv").write_text("name,value\no1,0.75\nh3,1\n")
    bad = gdcli("grade", "backprop_2x2", "answers.csv", "--key", "key.csv")
    assert (bad.code, bad.out) == (2, "")
    assert bad.err.startswith("key.csv:3:1: ")
