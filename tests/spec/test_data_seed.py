"""``data.seed``: the seed of the rows and of their split apart from that of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdcli.spec import config
from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.schema import parse
from gdcli.spec.writing import write

DRAWN = "data: {generate: {kind: linear, weights: [3], noise: 1, n: 8}%s}\nmodel: linear\nloss: mse\noptimizer: sgd\n"
SPLIT = "data: {x: [1, 2, 3, 4, 5, 6], y: [1, 2, 3, 4, 5, 6], validation: 0.5%s}\nmodel: linear\nloss: mse\n"


def loaded(text: str) -> Loaded:
    return load(parse(read(text, "f"), "s"), Path())


def rows(text: str) -> tuple[list[float], list[float]]:
    table = loaded(text).training
    assert table is not None
    return table.x.ravel().tolist(), table.y.ravel().tolist()


@pytest.mark.parametrize("text", [DRAWN, SPLIT + "optimizer: sgd\n"], ids=["generated", "split"])
def test_rows_of_a_data_seed_are_those_of_that_seed(text: str) -> None:
    assert rows(text % "" + "seed: 3\n") == rows(text % ", seed: 3" + "seed: 0\n")
    assert rows(text % ", seed: 3" + "seed: 1\n") == rows(text % ", seed: 3" + "seed: 2\n")
    assert rows(text % "" + "seed: 3\n") != rows(text % "")


def test_the_weights_seed_stays_the_specs() -> None:
    assert loaded(DRAWN % ", seed: 3" + "seed: 5\n").spec.settings.seed == 5


def test_config_has_it_only_when_it_is_given() -> None:
    assert "seed" not in config.filled_in(loaded(DRAWN % "").spec)["data"]
    given = config.filled_in(loaded(DRAWN % ", seed: 3" + "seed: 5\n").spec)
    assert (given["data"]["seed"], given["seed"]) == (3, 5)
    assert config.filled_in(loaded(write(given)).spec) == given


def test_a_file_with_a_data_seed_runs_again_from_its_config(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{k},{k}\n" for k in range(8)))
    text = "data: {file: rows.csv, target: y, validation: 0.25, seed: 3}\nmodel: linear\nloss: mse\noptimizer: sgd\n"
    one = load(parse(read(text, "f"), "s"), tmp_path)
    first = config.resolved(one, device="cpu", threads=1, engine="by_hand", keep="values")
    again = load(parse(read(write(first), "f"), "s"), Path("/"))
    assert write(config.resolved(again, device="cpu", threads=1, engine="by_hand", keep="values")) == write(first)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    text = "data: {file: rows.csv, target: y}\nmodel: linear\nloss: mse\noptimizer: sgd\n"
    for value in (1, 22):
        (tmp_path / "rows.csv").write_text(f"x,y\n{value},1\n2,3\n")
        table = load(parse(read(text, "f"), "s"), tmp_path).training
        assert table is not None
        assert table.x.tolist() == [[value], [2]]


def test_keys_of_a_comparison_stand_in_config_only_when_they_are_given() -> None:
    text = DRAWN % ""
    plain = config.filled_in(loaded(f"{text}compare: {{batches: [full]}}\n").spec)["compare"]
    assert plain == {"optimizers": {}, "batches": ["full"], "seeds": 1, "closed_form": False}
    keys = "seeds: 3, closed_form: true, target: 0.5, tune: 4, tune_range: [0.01, 1]"
    given = config.filled_in(loaded(f"{text}compare: {{batches: [full], {keys}}}\n").spec)
    assert given["compare"] == {
        "optimizers": {}, "batches": ["full"], "seeds": 3, "closed_form": True, "target": 0.5, "tune": 4,
        "tune_range": [0.01, 1.0],
    }  # fmt: skip
    assert config.filled_in(loaded(write(given)).spec) == given
