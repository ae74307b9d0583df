"""The rows of a comparison and the values of an axis: none is lost, none is merged with another."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import only_folder

LINE = {
    "data": {"x": [1, 2, 3, 4, 5, 6, 7, 8, 9], "y": [1, 2, 3, 4, 5, 6, 7, 8, 9]},
    "model": "linear",
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 0.001},
    "epochs": 2,
}


def written(**more: Any) -> str:
    Path("s.yaml").write_text(json.dumps({**LINE, **more}))
    return "s.yaml"


def rows_of(gdcli: Any, *words: str) -> list[dict[str, str]]:
    answer = gdcli(*words, "--no-plot", "-q")
    assert answer.code == 0, answer.err
    return list(csv.DictReader((only_folder(Path("runs")) / "results.csv").read_text().splitlines()))


def test_batches_that_differ_in_shuffle_alone_are_two_rows(gdcli) -> None:
    batches = [{"mode": "mini-batch", "size": 2, "shuffle": shuffle} for shuffle in (False, True)]
    rows = rows_of(gdcli, "compare", written(compare={"batches": batches}))
    assert [row["label"] for row in rows] == ["mini-batch:2 unshuffled", "mini-batch:2 shuffled"]
    assert len({row["order"] for row in rows}) == 2


def test_batches_that_differ_in_drop_last_alone_are_two_rows(gdcli) -> None:
    batches = [{"size": 2, "drop_last": drop} for drop in (False, True)]
    rows = rows_of(gdcli, "compare", written(compare={"batches": batches}))
    assert [(row["label"], row["steps"]) for row in rows] == [("mini-batch:2", "10"), ("mini-batch:2 drop_last", "8")]


def test_a_row_that_is_not_shuffled_beside_one_that_is_says_so(gdcli) -> None:
    spec = written(batch={"mode": "mini-batch", "size": 2, "shuffle": False})
    rows = rows_of(gdcli, "compare", spec, "--batches", "full,stochastic,mini-batch")
    assert [row["label"] for row in rows] == ["full", "stochastic shuffled", "mini-batch unshuffled"]


def test_the_same_batch_twice_is_refused(gdcli) -> None:
    answer = gdcli("compare", written(compare={"batches": ["full", {"size": 2}, {"mode": "mini-batch", "size": 2}]}))
    assert answer.code == 2
    assert "compare.batches[2]: stands there twice" in answer.err
    spec = written(compare={"batches": ["mini-batch", {"mode": "mini-batch", "size": 32}]})
    assert "compare.batches[1]: stands there twice" in gdcli("compare", spec).err
    answer = gdcli("compare", written(batch={"size": 2}), "--batches", "full,mini-batch,mini-batch:2")
    assert answer.code == 2
    assert "--batches: 'mini-batch:2' is the batch of 'mini-batch'" in answer.err


@pytest.mark.parametrize("own", [{"size": 2, "shuffle": False}, {"mode": "mini-batch", "size": 2, "shuffle": False}])
def test_the_mode_of_a_lone_size_keeps_the_settings_beside_it(gdcli, own: dict[str, Any]) -> None:
    spec = written(batch=own)
    config = Path(gdcli("run", spec, "batch=mini-batch", "--no-plot", "--json").json["folder"]) / "config.yaml"
    batch = yaml.safe_load(config.read_text())["batch"]
    assert (batch["size"], batch["shuffle"]) == (2, False)
    sweep = ["sweep", spec, "--param", "batch=mini-batch,full,stochastic", "-o", "sweeps", "--no-plot", "--json"]
    rows = gdcli(*sweep).json["runs"]
    assert [row["steps"] for row in rows] == [10, 2, 18]
    assert gdcli("compare", spec, "--batches", "mini-batch:3,mini-batch", "-o", "rows", "--no-plot").code == 0
    configs = [yaml.safe_load(path.read_text()) for path in sorted(only_folder(Path("rows")).glob("*/config.yaml"))]
    assert [(each["batch"]["size"], each["batch"]["shuffle"]) for each in configs] == [(3, False), (2, False)]


@pytest.mark.parametrize("grid", ["0.1,0.1", "1,1.0", "0.5,0:1:0.1", "sgd,adam,sgd", "[1,2],[1, 2]", "null,~"])
def test_a_value_that_stands_twice_in_a_grid_is_refused(gdcli, grid: str) -> None:
    name = {"s": "optimizer", "[": "model.layers", "n": "stop.loss"}.get(grid[0], "lr")
    answer = gdcli("sweep", written(), "--param", f"{name}={grid}")
    assert answer.code == 2
    assert " twice" in answer.err


def test_a_row_that_names_the_command_lines_lr_itself_has_it_from_the_spec(gdcli) -> None:
    spec = written(compare={"optimizers": {"own": {"name": "sgd", "lr": 0.5}, "bare": {"name": "sgd"}}})
    rows = rows_of(gdcli, "compare", spec, "lr=0.5")
    assert [(row["label"], row["lr_from"]) for row in rows] == [("own", "spec"), ("bare", "given")]


def test_the_points_of_a_dry_run_are_those_of_the_labels(gdcli) -> None:
    words = ["momentum=0.5", "--param", "nesterov=true", "--param", "stop.loss=null,1", "--param", "data.x=[1,2],[2,3]"]
    answer = gdcli("sweep", written(), "--dry-run", *words)
    assert answer.out.splitlines()[:2] == [
        "nesterov=true stop.loss=null data.x=[1,2]",
        "nesterov=true stop.loss=null data.x=[2,3]",
    ]
    assert answer.out.splitlines()[2].startswith("nesterov=true stop.loss=1 ")


# --- batch: every key has an effect, every order is drawn -------------------------------------------------------------


def test_a_size_alone_means_mini_batch(gdcli) -> None:
    rows = rows_of(gdcli, "sweep", written(epochs=1, batch={"size": 9}), "--param", "batch.size=1,2,3")
    assert [int(row["steps"]) for row in rows] == [9, 5, 3]


@pytest.mark.parametrize(
    ("batch", "key"),
    [
        ({"mode": "stochastic", "size": 2}, "size"),
        ({"mode": "full", "size": 2}, "size"),
        ({"mode": "stochastic", "drop_last": True}, "drop_last"),
        ({"drop_last": True}, "drop_last"),
    ],
)
def test_a_key_of_a_batch_without_effect_is_refused(gdcli, batch: dict[str, Any], key: str) -> None:
    for spec in (written(batch=batch), written(compare={"batches": ["full", batch], "optimizers": {"sgd": {}}})):
        answer = gdcli("validate", spec)
        assert answer.code == 2
        assert f"{key}: has no effect: it is for mode mini-batch, and mode is {batch.get('mode', 'full')}" in answer.err


def test_a_configs_batch_has_the_keys_that_its_mode_reads(gdcli) -> None:
    for mode, keys in (("full", {"mode", "shuffle"}), ("mini-batch", {"mode", "size", "shuffle", "drop_last"})):
        answer = gdcli("run", written(batch=mode), "--no-plot", "--json")
        config = Path(answer.json["folder"]) / "config.yaml"
        assert set(yaml.safe_load(config.read_text())["batch"]) == keys
        assert gdcli("run", str(config), "--no-plot", "-q").code == 0


@pytest.mark.parametrize("batch", ["stochastic", {"mode": "stochastic", "shuffle": True}])
def test_stochastic_draws_the_order_of_each_epoch(gdcli, batch: Any) -> None:
    """y = x from weight 0: the loss of a row's first visit is x², which tells the row."""
    model = {"type": "linear", "bias": False, "init": {"weight": 0}}
    optimizer = {"name": "sgd", "lr": 1e-12}
    spec = written(batch=batch, model=model, optimizer=optimizer)
    assert gdcli("run", spec, "--no-plot", "-q").code == 0
    losses = [
        float(row["loss"]) for row in csv.DictReader((only_folder(Path("runs")) / "steps.csv").read_text().splitlines())
    ]
    visited = [round(loss**0.5) for loss in losses]
    first, second = visited[:9], visited[9:]
    assert sorted(first) == sorted(second) == list(range(1, 10))
    assert first != second
    assert first != sorted(first)
