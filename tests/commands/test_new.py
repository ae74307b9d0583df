"""`gdcli new`: specs with comments that are valid and run as they stand, and specs for a table."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from gdcli.commands.templates import TEMPLATES
from gdcli.spec.bundled import folder
from tests.conftest import only_folder


def spec_of(path: str) -> dict[str, Any]:
    """A spec as another reader of YAML reads it."""
    found: dict[str, Any] = yaml.safe_load(Path(path).read_text())
    return found


def summary() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((only_folder(Path("runs")) / "summary.json").read_text())
    return found


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_valid_and_runs_as_it_stands(gdcli, template: str) -> None:
    if template == "image" and importlib.util.find_spec("sklearn") is None:
        pytest.skip("its images are scikit-learn's")
    answer = gdcli("new", "mine", "--template", template)
    assert (answer.code, answer.out) == (0, "")
    command = answer.err.splitlines()[-1].removeprefix("run it: gdcli ").split()
    assert command == ["compare" if template == "compare" else "run", "mine.yaml"]
    assert gdcli("validate", "mine.yaml").err == ""  # no warning either
    assert gdcli(*command, "-q", "--no-plot").code == 0
    found = summary()
    if template == "objective":  # both derivatives are 0 at (4, -2): 2(x - 3) + y and 4(y + 1) + x
        assert found["final_loss"] == pytest.approx(-5, abs=1e-10)
    elif template in ("classification", "image"):
        assert found["metrics"]["validation_accuracy"] > 0.9
    elif template == "regression":
        assert found["metrics"]["validation_r2"] > 0.9


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_choice_of_a_template_has_a_comment(gdcli, template: str) -> None:
    assert gdcli("new", "-t", template, "-q").err == ""
    lines = Path(f"{template}.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=gdcli.schema.json"
    assert max(map(len, lines)) <= 120
    without = [line.partition(":")[0] for line in lines[3:] if line[:1].isalpha() and "#" not in line]
    assert set(without) <= {"description", "data", "model"}
    assert json.loads(Path("gdcli.schema.json").read_text()) == gdcli("schema").json


def test_a_file_that_is_there_stays(gdcli) -> None:
    Path("mine.yaml").write_text("mine")
    answer = gdcli("new", "mine")
    assert (answer.code, answer.err) == (2, "mine.yaml is there already. --force overwrites it\n")
    assert Path("mine.yaml").read_text() == "mine"
    Path("gdcli.schema.json").write_text("{}")
    assert gdcli("new", "mine", "--force").code == 0
    assert spec_of("mine.yaml")["name"] == "mine"
    assert Path("gdcli.schema.json").read_text() == "{}"  # somebody's own


def test_a_path_is_the_file(gdcli) -> None:
    Path("specs").mkdir()
    assert gdcli("new", "specs/a b.yml", "-t", "objective").code == 0
    assert gdcli("validate", "specs/a b.yml").code == 0
    assert gdcli("new", "specs/").code == 2


@pytest.mark.parametrize("name", ["123", "no", "1e5", "null", "a b'c", "Übung", "# c", "-1", "a: b\n{"])
def test_any_name_is_one(gdcli, name: str) -> None:
    answer = gdcli("new", "-t", "objective", "--", name)
    assert answer.code == 0
    (path,) = Path().glob("*.yaml")
    if "\n" not in name:
        *_, file = shlex.split(answer.err.splitlines()[-1])
        assert Path(file) == path
        assert not file.startswith("-")
    answer = gdcli("validate", f"./{path}")
    assert (answer.code, answer.err) == (0, "")


def test_few_rows_are_one_step(gdcli) -> None:
    table("t.csv", "a,y", [f"{k},{k + 0.5}" for k in range(9)])
    assert gdcli("new", "--data", "t.csv").code == 0
    answer = gdcli("validate", "t.yaml")
    assert (answer.code, answer.err) == (0, "")


def test_a_text_that_stands_once_is_no_obstacle(gdcli) -> None:
    """Whichever rows are held out, since each of the texts stands in one row of eleven."""
    table("t.csv", "town,a,y", [f"{'x' if k % 2 else f'town {k // 11}'},{k},{k * k}" for k in range(60)])
    assert gdcli("new", "--data", "t.csv").code == 0
    assert spec_of("t.yaml")["data"]["unknown"] == "zero"
    for seed in range(4):
        assert gdcli("validate", "t.yaml", f"seed={seed}").code == 0
    table("u.csv", "town,a,y", [f"{'x' if k % 2 else 'z'},{k},{k * k}" for k in range(60)])
    assert gdcli("new", "--data", "u.csv").code == 0
    assert "unknown" not in spec_of("u.yaml")["data"]


def test_of_a_wide_table_only_what_is_left_out_is_named(gdcli) -> None:
    names = [f"m{k}" for k in range(120)]
    table("wide.csv", f"id,{','.join(names)},y", [f"r{n}," + ",".join(str(n * k % 7) for k in range(1, 121)) + f",{n}"
                                                  for n in range(20)])  # fmt: skip
    assert gdcli("new", "--data", "wide.csv").code == 0
    data = spec_of("wide.yaml")["data"]
    assert "features" not in data
    assert data["ignore"][0] == "id"
    assert set(data["ignore"]) == {"id", *(f"m{k}" for k in range(6, 120, 7))}  # 7n mod 7: the same in every row
    assert gdcli("validate", "wide.yaml").code == 0


def table(name: str, header: str, rows: list[str]) -> None:
    Path(name).write_text("\n".join([header, *rows]) + "\n")


def test_a_number_to_predict_is_a_regression(gdcli) -> None:
    """y = 3a - 2b, so that a network explains nearly all of it; what is no feature is left out."""
    rows = [f"{k},row-{k},{a},{b},x,{300000 * a - 200000 * b}" for k in range(60) for a, b in [(k % 7, k % 5)]]
    rows[3] = rows[3].replace(",3,3,", ",,3,")
    table("flats.csv", ",id,a,b,same,price", rows)
    answer = gdcli("new", "--data", "flats.csv")
    assert answer.code == 0
    assert "60 rows; target price: numbers from -800000 to 1.8e+06" in answer.err
    for name in ("the column without a name", "id", "same"):
        assert f"left out: {name}, " in answer.err
    data = spec_of("flats.yaml")["data"]
    assert data["features"] == ["a", "b"]
    assert data["standardize"] == "all"
    assert data["missing"] == "median"
    assert gdcli("validate", "flats.yaml").code == 0
    assert gdcli("run", "flats.yaml", "-q", "--no-plot").code == 0
    assert summary()["metrics"]["validation_r2"] > 0.8


def test_words_to_predict_are_classes(gdcli) -> None:
    table("t.csv", "a,town,kind", [f"{k},{('Ulm', 'Bonn')[k % 2]},{('no', 'yes')[k % 2]}" for k in range(40)])
    assert gdcli("new", "spec", "--data", "t.csv").code == 0
    spec = spec_of("spec.yaml")
    assert spec["loss"] == "cross_entropy"
    assert spec["model"]["layers"] == [3, 16, 2]  # a column for each town
    assert gdcli("run", "spec.yaml", "-q", "--no-plot").code == 0
    assert summary()["metrics"]["validation_accuracy"] == 1


def test_integers_that_stand_in_many_rows_are_classes(gdcli) -> None:
    table("t.csv", "a,y", [f"{k},{k % 3}" for k in range(30)])
    assert "target y: 3 classes, 0, 1, 2" in gdcli("new", "--data", "t.csv").err
    assert spec_of("t.yaml")["model"]["layers"][-1] == 3
    assert "target a: numbers from 0 to 29" in gdcli("new", "b", "--data", "t.csv", "--target", "a").err
    assert gdcli("new", "c", "--data", "t.csv", "-t", "regression").code == 0
    assert spec_of("c.yaml")["loss"] == "mse"


@pytest.mark.parametrize("name", ["house_price", "titanic_small", "sine_series"])
def test_a_bundled_table_in_another_folder(gdcli, name: str) -> None:
    """The path in the spec goes on from the spec's folder."""
    Path("data").mkdir()
    (Path("data") / f"{name}.csv").write_bytes((folder() / f"{name}.csv").read_bytes())
    assert gdcli("new", "specs/mine", "--data", f"data/{name}.csv").code == 0
    assert spec_of("specs/mine.yaml")["data"]["file"] == f"../data/{name}.csv"
    answer = gdcli("validate", "specs/mine.yaml")
    assert (answer.code, answer.err) == (0, "")


def test_a_comparison_of_a_table(gdcli) -> None:
    table("t.csv", "a,y", [f"{k},{2 * k + 0.5}" for k in range(50)])
    assert gdcli("new", "c", "-t", "compare", "--data", "t.csv").code == 0
    assert gdcli("compare", "c.yaml", "epochs=2", "-q", "--no-plot").code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--data", "missing.csv"), "missing.csv: there is no file"),
        (("--data", "t.txt"), "t.txt: it must end in one of .csv, .tsv, .npz, .parquet"),
        (("--data", "t.csv", "--target", "prise"), "t.csv has no column 'prise' to predict. Did you mean 'price'?"),
        (("--data", "t.csv", "--target", "id"), "the target 'id' cannot be predicted: it is text that differs"),
        (("--data", "t.csv", "--target", "kind", "-t", "regression"), "the target 'kind' is text, which no regression"),
        (("--data", "t.csv", "-t", "image"), "the template image has no table"),
        (("--target", "price"), "--target is a column of the table that --data names"),
        (("--template", "imgae"), "Try 'gdcli new --help'"),
        (("--data", "empty.csv"), "empty.csv: 'empty.csv' is empty"),
    ],
)
def test_what_cannot_be_made_is_told(gdcli, words: tuple[str, ...], told: str) -> None:
    table("t.csv", "id,kind,price", [f"row-{k},{'ab'[k % 2]},{k * 0.7}" for k in range(30)])
    Path("t.txt").write_text("a")
    Path("empty.csv").write_text("")
    answer = gdcli("new", "mine", *words)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert not Path("mine.yaml").exists()
