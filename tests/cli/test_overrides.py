"""Overrides of the command line: the same whatever their order, in every row, gone where null, never without effect."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Answer, only_folder

SPEC = """
data: {generate: {kind: moons, n: 40, noise: 0.1}}
model: {type: mlp, layers: [2, 4, 2], activation: tanh}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.1, momentum: 0.5}
epochs: 3
batch: {mode: mini-batch, size: 16}
"""


@pytest.fixture(autouse=True)
def _spec(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SPEC)


def config_of(gdcli: Any, *overrides: str) -> dict[str, Any]:
    """The resolved spec of a run with these overrides."""
    answer: Answer = gdcli("run", "s.yaml", *overrides, "--no-plot", "--json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = yaml.safe_load((Path(answer.json["folder"]) / "config.yaml").read_text())
    return found


def rows_of(gdcli: Any, *words: str) -> list[dict[str, str]]:
    answer = gdcli(*words, "--no-plot", "-q")
    assert answer.code == 0, answer.err
    return list(csv.DictReader((only_folder(Path("runs")) / "results.csv").read_text().splitlines()))


def spec_of(label: str) -> dict[str, Any]:
    (folder,) = [path for path in only_folder(Path("runs")).iterdir() if path.is_dir() and label in path.name]
    found: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    return found


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "section", "expected"),
    [
        (["optimizer=adam", "lr=0.3"], "optimizer", {"name": "adam", "lr": 0.3}),
        (["batch=mini-batch", "batch.size=4"], "batch", {"mode": "mini-batch", "size": 4}),
        (["batch=mini-batch"], "batch", {"mode": "mini-batch", "size": 16}),  # the spec's choice keeps its settings
        (["optimizer=sgd"], "optimizer", {"name": "sgd", "lr": 0.1, "momentum": 0.5}),
        (["scheduler=step", "scheduler.step_size=1"], "scheduler", {"name": "step", "step_size": 1}),
        (["loss=huber", "loss.delta=2", "model.layers=[2,4,1]", "data.generate.kind=moons"], "loss", {"delta": 2.0}),
        (["model=linear", "model.bias=false"], "model", {"type": "linear", "bias": False}),
    ],
)
def test_choices_come_first_whatever_the_order(gdcli, overrides: list[str], section: str, expected: Any) -> None:
    for order in (overrides, overrides[::-1]):
        found = config_of(gdcli, *order)[section]
        assert {key: found[key] for key in expected} == expected


# --- rows -------------------------------------------------------------------------------------------------------------


def test_an_lr_reaches_every_row_of_a_sweep_over_optimizers(gdcli) -> None:
    rows_of(gdcli, "sweep", "s.yaml", "lr=0.5", "--param", "optimizer=sgd,adam")
    assert [spec_of(name)["optimizer"]["lr"] for name in ("sgd", "adam")] == [0.5, 0.5]
    assert spec_of("sgd")["optimizer"]["momentum"] == 0.5  # the spec's settings reach the row with its optimizer


def test_an_lr_reaches_every_row_of_a_comparison_that_names_none(gdcli) -> None:
    rows = rows_of(gdcli, "compare", "s.yaml", "lr=0.5", "--optimizers", "sgd,adam,slow=adam:lr=0.001")
    told = {row["label"]: (float(row["lr"]), row["lr_from"]) for row in rows}
    assert told == {"sgd": (0.5, "given"), "adam": (0.5, "given"), "slow": (0.001, "given")}
    assert spec_of("adam")["optimizer"]["lr"] == 0.5


def test_the_specs_settings_reach_the_row_that_has_its_optimizer(gdcli) -> None:
    Path("s.yaml").write_text(
        SPEC.replace("name: sgd, lr: 0.1, momentum: 0.5", "name: adam, lr: 0.01, betas: [0.8, 0.9]")
    )
    rows = rows_of(gdcli, "compare", "s.yaml", "--optimizers", "sgd,adam")
    assert {row["label"]: (float(row["lr"]), row["lr_from"]) for row in rows} == {
        "sgd": (0.001, "default"),
        "adam": (0.01, "spec"),
    }
    assert spec_of("adam")["optimizer"]["betas"] == [0.8, 0.9]


def test_a_setting_reaches_the_rows_whose_choice_takes_it(gdcli) -> None:
    rows_of(gdcli, "compare", "s.yaml", "momentum=0.9", "--optimizers", "sgd,adam,rmsprop")
    assert [spec_of(name)["optimizer"].get("momentum") for name in ("sgd", "adam", "rmsprop")] == [0.9, None, 0.9]


def test_a_batch_size_reaches_the_mini_batches_that_name_none(gdcli) -> None:
    rows = rows_of(gdcli, "compare", "s.yaml", "batch.size=4", "--batches", "full,mini-batch,mini-batch:8")
    assert [int(row["steps"]) for row in rows] == [3 * 1, 3 * 10, 3 * 5]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compare", "momentum=0.9", "--optimizers", "adam,adamw"], "momentum=0.9: no run takes it"),
        (["compare", "lr=1", "--optimizers", "a=adam:lr=0.1,s=sgd:lr=0.1"], "lr=1: no run takes it"),
        (["sweep", "momentum=0.9", "--param", "optimizer=adam,adamw"], "momentum=0.9: no run takes it"),
        (["compare", "lr=1", "--optimizers", "sgd,adam", "--tune", "3"], "lr has no effect"),
        (["run", "optimizer=adam", "momentum=0.9"], "optimizer.momentum: unknown key"),
        (["sweep", "lr=0.5", "--param", "lr=0.1,0.2"], "lr=0.5: no run takes it"),
        (["sweep", "optimizer=adam", "--param", "optimizer=sgd,adagrad"], "optimizer=adam: no run takes it"),
        (["sweep", "loss=mse", "--param", "loss=cross_entropy"], "loss=mse: no run takes it"),
        (["sweep", "--seed", "4", "--param", "seed=1,2"], "seed=4: no run takes it"),
        (["sweep", "--param", "seed=1,2", "epochs=5", "--param", "epochs=1,2"], "epochs=5: no run takes it"),
        (["compare", "optimizer=adam", "--optimizers", "sgd,rmsprop"], "optimizer=adam: no run takes it"),
        (["compare", "batch=full", "--batches", "full,stochastic"], "batch=full: no run takes it"),
        (["compare", "optimizer=adam", "momentum=0.9", "--batches", "full"], "momentum=0.9: no run takes it"),
        (["compare", "--optimizers", "sgd,adam:lr=0.5", "--tune", "2"], "lr has no effect"),
        (["sweep", "lr=5", "--param", "linear1.bias[0]=0,1"], "lr is for runs"),
        (["sweep", "stop.loss=5", "--param", "linear1.bias[0]=0,1"], "stop.loss is for runs"),
        (["run", "seed=5", "--seed", "4"], "--seed 4 and seed=5 are the same key"),
        (["run", "--device", "cpu", "device=auto"], "--device cpu and device=auto are the same key"),
    ],
)
def test_a_value_that_nothing_uses_is_refused(gdcli, words: list[str], told: str) -> None:
    command, *rest = words
    answer = gdcli(command, "s.yaml", *rest)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err


def test_of_one_key_given_twice_the_last_counts(gdcli) -> None:
    assert config_of(gdcli, "lr=0.2", "optimizer.lr=0.3")["optimizer"]["lr"] == 0.3


# --- a value that only other runs than the spec's own take ------------------------------------------------------------

FIRST = "optimizer: {name: sgd, lr: 0.1, momentum: 0.5}"


@pytest.mark.parametrize(
    ("changed", "words", "section", "expected"),
    [
        (["optimizer: sgd"], ["sweep", "dampening=0.5", "-p", "momentum=0,0.9"], "dampening", [None, 0.5]),
        (["optimizer: adam"], ["sweep", "momentum=0.9", "-p", "optimizer=sgd,adam"], "momentum", [0.9, None]),
        (["optimizer: adam"], ["compare", "momentum=0.9", "--optimizers", "adam,sgd"], "momentum", [None, 0.9]),
        ([], ["sweep", "nesterov=true", "-p", "momentum=0.5,0.9"], "nesterov", [True, True]),
        (["dtype: float32"], ["sweep", "lr=0.3", "-p", "optimizer=sgd,adam"], "lr", [0.3, 0.3]),
        (["dtype: float32"], ["compare", "lr=0.3", "--optimizers", "sgd,adam"], "lr", [0.3, 0.3]),
    ],
)
def test_a_value_for_other_runs_than_the_specs_own_reaches_them(
    gdcli, changed: list[str], words: list[str], section: str, expected: list[Any]
) -> None:
    """The spec alone has no place for it, or no optimizer; each run is a valid spec of its own."""
    Path("s.yaml").write_text(SPEC.replace(FIRST, changed[0]) if changed else SPEC)
    command, *rest = words
    rows_of(gdcli, command, "s.yaml", *rest)
    assert [spec_of(name)["optimizer"].get(section) for name in ("1-", "2-")] == expected


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        (["~scheduler", "-p", "scheduler=null,exponential", "scheduler.gamma=0.5"], "scheduler", [None, 0.5]),
        (["scheduler=step", "-p", "scheduler.step_size=1,2"], "scheduler", [1, 2]),
        (["~loss", "-p", "loss=mse,mae"], "loss", [None, None]),
        (["~loss", "-p", "loss=mse,huber", "loss.delta=2"], "loss", [None, 2]),
    ],
)
def test_a_spec_that_is_one_with_its_axes_alone_can_be_swept(
    gdcli, words: list[str], key: str, expected: list[Any]
) -> None:
    data, loss = "{x: [[1, 0], [0, 1]], y: [0, 1]}", "mse" if key == "scheduler" else "bce"
    Path("s.yaml").write_text(f"{{data: {data}, model: linear, loss: {loss}, optimizer: {{name: sgd, lr: 0.1}}}}")
    rows_of(gdcli, "sweep", "s.yaml", *words)
    found = [spec_of(f"{k}-").get(key) or {} for k, _ in enumerate(expected, 1)]
    told = ("step_size", "gamma", "delta")
    assert [next((each[name] for name in told if name in each), None) for each in found] == expected


def test_a_key_needs_its_effect_in_one_run_of_a_product(gdcli) -> None:
    words = ["--param", "model.layers=[2,4,2],[2,2]", "--param", "activation=relu,tanh"]
    rows = rows_of(gdcli, "sweep", "s.yaml", "epochs=1", *words)
    losses = [row["final_loss"] for row in rows]
    assert losses[2] == losses[3]  # a net without a hidden layer has no use for an activation
    answer = gdcli("sweep", "s.yaml", "model.layers=[2,2]", "--param", "activation=relu,tanh")
    assert answer.code == 2
    assert "model.activation: has no effect: it is for hidden layers" in answer.err


def test_a_run_of_a_product_that_is_no_spec_is_named(gdcli) -> None:
    answer = gdcli("sweep", "s.yaml", "--param", "optimizer=sgd,adam", "--param", "momentum=0.5,0.9")
    assert answer.code == 2
    assert "optimizer.momentum: unknown key" in answer.err
    assert "So it is in the run optimizer=adam,momentum=0.5" in answer.err


@pytest.mark.parametrize("values", ["sigmoid,none", "none,sigmoid"])
def test_a_value_that_another_key_does_not_go_with_names_its_run(gdcli, values: str) -> None:
    model = {"type": "mlp", "layers": [1, 1], "output_activation": "sigmoid"}
    spec = {"data": {"x": [1, 2], "y": [[0], [1]]}, "model": model, "loss": "bce", "optimizer": "sgd", "epochs": 1}
    Path("bce.yaml").write_text(json.dumps(spec))
    answer = gdcli("sweep", "bce.yaml", "--param", f"output_activation={values}")
    assert answer.code == 2
    assert "loss: bce takes outputs from 0 to 1" in answer.err
    assert "So it is in the run output_activation=none" in answer.err


def test_the_warnings_are_those_of_the_runs_each_once(gdcli) -> None:
    words = ["sweep", "s.yaml", "--param", "seed=0,1", "--no-plot", "--param"]
    answer = gdcli(*words, "output_activation=none,softmax")
    assert answer.err.count("cross_entropy takes scores") == 1
    answer = gdcli(*words, "output_activation=none,tanh")
    assert "cross_entropy takes scores" not in answer.err
    Path("s.yaml").write_text(SPEC.replace("activation: tanh", "activation: tanh, output_activation: softmax"))
    assert "cross_entropy takes scores" not in gdcli(*words, "output_activation=none,tanh").err
    answer = gdcli("compare", "s.yaml", "--batches", "mini-batch:16,mini-batch:64,full", "--no-plot")
    assert "64 rows a step, the data have 40" in answer.err
    assert "16 rows a step" not in answer.err


@pytest.mark.parametrize("option", [[], ["--jobs", "2"]])
def test_such_a_sweep_verifies_in_workers_too(gdcli, option: list[str]) -> None:
    Path("s.yaml").write_text(SPEC.replace(FIRST + "\n", ""))
    rows_of(gdcli, "sweep", "s.yaml", "lr=0.3", "-p", "optimizer=sgd,adam", *option)
    answer = gdcli("verify", "last")
    assert answer.out == "bit-identical\n", answer.err


def test_an_axis_can_go_over_mappings(gdcli) -> None:
    rows = rows_of(gdcli, "sweep", "s.yaml", "--param", "scheduler={name: step, step_size: 1, gamma: 0},null")
    once = gdcli("run", "s.yaml", "epochs=1", "--no-plot", "--json", "-o", "once").json["final_loss"]
    assert float(rows[0]["final_loss"]) == once != float(rows[1]["final_loss"])
    assert rows[0]["scheduler"] == "{name: step,step_size: 1,gamma: 0}"
    assert gdcli("verify", "last").out == "bit-identical\n"


def test_a_key_of_schedulers_is_told_with_its_path(gdcli) -> None:
    answer = gdcli("sweep", "s.yaml", "step_size=2", "--param", "scheduler=step")
    assert "Did you mean 'scheduler.step_size'?" in answer.err


# --- removal ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("removal", [["data.generate=null"], ["~data.generate"], ["generate=null"]])
def test_null_removes_a_key_and_so_a_choices_sibling(gdcli, removal: list[str]) -> None:
    config = config_of(gdcli, *removal, "data.dataset=iris", "model.layers=[4,4,3]")
    assert config["data"]["dataset"] == "iris"
    assert "generate" not in config["data"]


def test_a_removed_setting_has_its_default(gdcli) -> None:
    config = config_of(gdcli, "~momentum", "batch=null", "epochs=null")
    assert config["optimizer"]["momentum"] == 0
    assert config["batch"]["mode"] == "full"
    assert config["epochs"] == 1


def test_a_sweep_can_go_over_a_keys_absence(gdcli) -> None:
    rows = rows_of(gdcli, "sweep", "s.yaml", "--param", "stop.max_steps=2,null")
    assert [int(row["steps"]) for row in rows] == [2, 9]


def test_what_is_required_cannot_be_removed(gdcli) -> None:
    answer = gdcli("run", "s.yaml", "~loss")
    assert answer.code == 2
    assert "loss: is required" in answer.err


# --- paths ------------------------------------------------------------------------------------------------------------


def test_a_file_whose_path_has_an_equals_sign_is_a_spec(gdcli) -> None:
    rows_of(gdcli, "sweep", "s.yaml", "--param", "lr=0.1,0.2")
    (config,) = only_folder(Path("runs")).glob("*lr=0.1*/config.yaml")
    answer = gdcli("run", str(config), "--no-plot", "--json", "-o", "again")
    assert answer.code == 0, answer.err
    losses = [
        json.loads((folder / "summary.json").read_text())["final_loss"]
        for folder in (config.parent, Path(answer.json["folder"]))
    ]
    assert losses[0] == losses[1]
    assert gdcli("validate", str(config)).code == 0
    assert gdcli("explain", str(config), "--only", "b1").code == 0
