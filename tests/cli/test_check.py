"""`gdcli check`, `gdcli ema` and `gdcli catalog` as commands: what they print, write and return."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import GOLDEN, Answer, only_folder

Call = Callable[..., Answer]


def refused(answer: Answer, message: str) -> None:
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert "Traceback" not in answer.err


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_prints_a_table_and_ends_with_0(gdcli: Call) -> None:
    answer = gdcli("check", "backprop_2x2")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].startswith("backprop_2x2: gradients at the start values, 1 row of step 1")
    assert lines[1].split()[:3] == ["dtype", "parameter", "scalars"]
    assert len([line for line in lines if line.startswith(("float64", "float32"))]) == 10
    assert lines[-3].endswith("of the spec's dtype, float32, in float64 too")
    assert "worst: linear1.weight[0," in lines[-2]
    assert lines[-1] == "passed"
    assert not list(Path().iterdir())


def test_check_above_the_tolerance_ends_with_1_and_names_the_entry(gdcli: Call) -> None:
    answer = gdcli("check", "backprop_2x2", "--tolerance", "1e-14", "--dtype", "float64")
    assert answer.code == 1
    assert "failed: " in answer.out
    assert "above the tolerance of 1e-14, the worst linear1." in answer.out
    assert "\nfloat32" not in answer.out


def test_check_takes_overrides_and_gives_json(gdcli: Call) -> None:
    answer = gdcli("check", "backprop_2x2", "model.activation=tanh", "--json")
    assert answer.code == 0
    assert answer.json["passed"] is True
    assert {row["parameter"] for row in answer.json["rows"]} == {
        "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias",
    }  # fmt: skip
    assert set(answer.json["worst"]) == {"entry", "dtype", "values", "relative_error", "tolerance", "step_size"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["backprop_2x"], "Did you mean 'backprop_2x2'?"),
        (["backprop_2x2", "--tolerance", "-1"], "--tolerance takes a number of at least 0 (got -1.0)"),
        (["backprop_2x2", "--dtype", "float16"], "float16"),
        (["backprop_2x2", "epoch=1"], "command line:1:1: unknown key 'epoch'"),
        (["backprop_2x2", "model.freeze=['*']"], "every parameter is frozen"),
    ],
)
def test_check_refuses(gdcli: Call, words: Sequence[str], message: str) -> None:
    refused(gdcli("check", *words), message)


# --- ema --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [[], ["temperatures", "--column", "temperature", "--beta", "0.5", "--beta", "0.9"]], ids=["default", "all"]
)
def test_ema_prints_the_document_and_writes_a_record(gdcli: Call, words: Sequence[str]) -> None:
    answer = gdcli("ema", *words)
    assert (answer.code, answer.out) == (0, (GOLDEN / "ema.csv").read_text())
    folder = only_folder(Path("runs"))
    assert answer.err == f"record: {os.fspath(folder)}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["ema.csv", "ema.png", "summary.json"]
    assert (folder / "ema.csv").read_text() == answer.out
    assert json.loads((folder / "summary.json").read_text())["betas"] == [0.5, 0.9]


def test_ema_writes_a_file_and_the_plot_beside_it(gdcli: Call) -> None:
    assert gdcli("ema", "--output", "mine.csv", "--quiet").err == ""
    assert sorted(path.name for path in Path().iterdir()) == ["mine.csv", "mine.png"]


def test_ema_without_a_plot_and_as_json(gdcli: Call) -> None:
    answer = gdcli("ema", "house_price", "--column", "price", "--beta", "0.9", "--no-plot", "--json")
    assert answer.json["values"][0] == answer.json["ema"]["0.9"][0] == 611.1
    assert not list(Path().glob("runs/*/*/*.png"))


def test_ema_refuses_with_the_place(gdcli: Call) -> None:
    Path("a.csv").write_text("day,price\n1,2\n2,two\n")
    refused(gdcli("ema", "a.csv"), "a.csv:3:3: price: must be a number (got 'two')")
    refused(gdcli("ema", "a.csv", "--column", "prize"), "a.csv:1:1: there is no column 'prize'. Did you mean 'price'?")
    refused(gdcli("ema", "b.csv"), "there is no file 'b.csv'")
    refused(gdcli("ema", "--beta", "1"), "--beta takes a number from 0 to below 1 (got 1.0)")
    refused(gdcli("ema", "--beta", "x"), "Invalid value for '--beta'")
    Path("a.csv").write_text("day,price\n1,2\n")
    refused(gdcli("ema", "a.csv", "--output", "a.csv"), "--output is the file that is read")
    assert [path.name for path in Path().iterdir()] == ["a.csv"]


# --- catalog ----------------------------------------------------------------------------------------------------------


def test_catalog_lists_and_describes(gdcli: Call) -> None:
    assert "\nloss\n  mse " in gdcli("catalog").out
    assert gdcli("catalog", "style").out.startswith("style\n  manual ")
    answer = gdcli("catalog", "optimizer", "sgd")
    assert answer.code == 0
    assert "b ← μb + (1 − τ)g" in answer.out
    assert answer.out.endswith("in a spec: optimizer: {name: sgd}\n")


def test_catalog_as_json(gdcli: Call) -> None:
    (entry,) = gdcli("catalog", "loss", "huber", "--json").json
    assert entry["arguments"] == [{"name": "delta", "takes": "number, above 0", "default": "1"}]


def test_catalog_refuses_unknown_words(gdcli: Call) -> None:
    refused(gdcli("catalog", "optimizer", "adm"), "Did you mean 'adam'?")
    refused(gdcli("catalog", "a", "b", "c"), "catalog takes a kind and a name (got 3 words)")


def test_a_loss_that_is_not_finite_at_the_start_values_is_told(gdcli) -> None:
    """The logarithm has no value at -1, and goes to minus infinity at 0; at 1 its derivative is 1."""
    spec = "{model: {type: objective, expression: log(x) + x, start: {x: -1}}, optimizer: sgd, epochs: 1}"
    Path("logarithm.yaml").write_text(spec)
    for start, loss in ((-1, "nan"), (0, "-inf")):
        answer = gdcli("check", "logarithm.yaml", f"model.start.x={start}")
        assert (answer.code, answer.out) == (1, "")
        assert answer.err == f"logarithm: the loss is {loss} at the start values: no derivative can be checked there\n"
    assert gdcli("check", "logarithm.yaml", "model.start.x=1").code == 0
