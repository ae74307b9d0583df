"""What a page steps through: the record's own texts, and the lines of explain at each step."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from gdcli.commands.report import stepping
from gdcli.commands.report.shared_lines import MARK, SharedLines
from gdcli.commands.report.stepping import spread, stepping_data
from gdcli.storage.record import read
from tests.conftest import only_folder

NET = (
    "name: net\n"
    "data: {x: [[0.05, 0.1], [0.2, -0.3], [-0.4, 0.7]], y: [[0.01], [0.99], [0.5]], standardize: false}\n"
    "model: {type: mlp, layers: [2, 2, 1], activation: tanh}\n"
    "loss: mse\noptimizer: {name: sgd, lr: 0.3, momentum: 0.5}\nepochs: 6\nseed: 3\n"
    "batch: {mode: mini-batch, size: 2, shuffle: true}\n"
)
BOWL = (
    "name: bowl\n"
    'model: {type: objective, expression: "(1 - x)**2 + 3*y**2*x", start: {x: -0.5, y: 0.75}}\n'
    "optimizer: {name: sgd, lr: 0.05}\nepochs: 8\ndtype: float64\n"
)


def recorded(gdcli, text: str, *words: str, at: str = "runs") -> Path:
    Path("spec.yaml").write_text(text)
    gdcli("run", "spec.yaml", "-o", at, "--no-plot", *words)
    return only_folder(Path(at))


def table(path: Path) -> dict[int, dict[str, str]]:
    with path.open(newline="") as stream:
        return {int(row.pop("step")): row for row in csv.DictReader(stream)}


def stepped(folder: Path, lang: str = "en") -> dict[str, Any]:
    found = stepping_data(read(folder), lang)
    assert found is not None
    return json.loads(json.dumps(found))


def text_at(shared: dict[str, Any], text: dict[str, Any], k: int) -> str | None:
    """A text of the k-th step, put together as the page does it; None where it has none."""
    form = text["which"][k] if "which" in text else 0
    if form < 0 or not text["forms"]:
        return None
    template, columns = text["forms"][form]
    first, *parts = shared["templates"][template].split(MARK)
    cells = (cell_at(shared, column, k) for column in columns)
    return str(first + "".join(f"{cell}{part}" for cell, part in zip(cells, parts, strict=True)))


def cell_at(shared: dict[str, Any], column: int | None, k: int) -> str | None:
    """The text of a column at the k-th step."""
    found = None if column is None else shared["columns"][column]
    return found if found is None or isinstance(found, str) else found[k]


def shown(data: dict[str, Any], kind: str) -> dict[int, dict[str, str | None]]:
    columns = data["entries"][kind]
    return {
        step: {name: cell_at(data, column, k) for name, column in columns.items()}
        for k, step in enumerate(data["steps"])
    }


def lines_at(data: dict[str, Any], name: str, k: int) -> str:
    (line,) = (each for each in data["lines"] if each["name"] == name)
    found = text_at(data, line, k)
    assert found is not None
    return found


@pytest.mark.parametrize("text", [NET, BOWL], ids=["net", "objective"])
def test_weights_and_gradients_are_the_texts_of_the_record(gdcli, text: str) -> None:
    folder = recorded(gdcli, text, "record.parameters=true")
    data, weights, gradients = stepped(folder), table(folder / "parameters.csv"), table(folder / "gradients.csv")
    assert data["steps"] == list(gradients)
    assert shown(data, "gradients") == gradients
    assert shown(data, "weights") == {step: weights[step] for step in gradients}
    assert "parameters.csv and gradients.csv" in data["notes"][0]


@pytest.mark.parametrize("words", [(), ("record.gradients=norms",), ("record.every=3",)], ids=" ".join)
def test_what_the_record_has_not_is_trained_again(gdcli, words: tuple[str, ...]) -> None:
    whole = recorded(gdcli, NET, "record.parameters=true", at="whole")
    data = stepped(recorded(gdcli, NET, *words))
    weights, gradients = table(whole / "parameters.csv"), table(whole / "gradients.csv")
    assert data["steps"] == ([1, 4, 7, 10, 12] if "record.every=3" in words else list(gradients))
    assert shown(data, "weights") == {step: weights[step] for step in data["steps"]}
    assert shown(data, "gradients") == {step: gradients[step] for step in data["steps"]}
    assert any("trained again for the weights" in note and "same steps.csv" in note for note in data["notes"])


@pytest.mark.parametrize("text", [NET, BOWL], ids=["net", "objective"])
def test_derivations_are_those_of_explain(gdcli, text: str) -> None:
    folder = recorded(gdcli, text)
    data = stepped(folder)
    names = ["dw5", "new_w5", "db1", "dw1", "loss"] if text == NET else ["dx", "dy", "new_x", "v1", "loss"]
    for step in (1, 5):
        k = data["steps"].index(step)
        config = str(folder / "config.yaml")
        printed = gdcli("explain", config, "--step", str(step), "--only", ",".join(names)).out.splitlines()
        whole = gdcli("explain", config, "--step", str(step)).out
        for name, line in zip(names, printed, strict=False):
            first, *rest = lines_at(data, name, k).splitlines()
            assert first == line
            assert rest
            assert flat("\n".join(rest)) in flat(whole)


def flat(text: str) -> str:
    """Names are padded to the widest of their group in a whole explanation; the rest is the same."""
    return re.sub(r"\s+", " ", text)


def test_outputs_of_neurons_are_those_of_autograd(gdcli) -> None:
    folder = recorded(gdcli, NET + "dtype: float64\n")
    data = stepped(folder)
    x = [[0.05, 0.1], [0.2, -0.3], [-0.4, 0.7]]
    for k, step in enumerate(data["steps"]):
        cells = {name: float(text or "nan") for name, text in shown(data, "weights")[step].items()}
        node = {one["id"]: cell_at(data, one["value"], k) for one in data["nodes"]}
        row = torch.tensor([float(node[f"x{i}"] or "nan") for i in (1, 2)], dtype=torch.float64)
        assert row.tolist() in x
        inner = torch.tensor([[cells[f"linear1.weight[{j},{i}]"] for i in (0, 1)] for j in (0, 1)], dtype=torch.float64)
        bias = torch.tensor([cells[f"linear1.bias[{j}]"] for j in (0, 1)], dtype=torch.float64)
        hidden = torch.tanh(inner @ row + bias)
        assert [float(node[f"h{j}"] or "nan") for j in (1, 2)] == pytest.approx(hidden.tolist(), rel=1e-12)


def test_edges_join_the_neurons_of_their_weight(gdcli) -> None:
    data = stepped(recorded(gdcli, NET))
    edges = {(one["from"], one["to"]): one["entry"] for one in data["edges"]}
    assert edges[("x2", "h1")] == "linear1.weight[0,1]"
    assert edges[("h1", "o1")] == "linear2.weight[0,0]"
    assert edges[("1_1", "h2")] == "linear1.bias[1]"
    assert len(edges) == 9


def test_surface_is_the_loss_over_both_variables(gdcli) -> None:
    data = stepped(recorded(gdcli, BOWL))
    surface = data["surface"]
    assert surface["names"] == ["x", "y"]
    for i, x in list(enumerate(surface["x"]))[::7]:
        for j, y in list(enumerate(surface["y"]))[::7]:
            assert surface["loss"][i][j] == pytest.approx((1 - x) ** 2 + 3 * y**2 * x, rel=2e-5, abs=1e-6)
    for k in range(len(data["steps"])):
        point = [float(cell_at(data, data["entries"]["weights"][name], k) or "nan") for name in "xy"]
        assert surface["x"][0] < point[0] < surface["x"][-1]
        assert surface["y"][0] < point[1] < surface["y"][-1]


def test_a_record_that_was_changed_is_told(gdcli) -> None:
    folder = recorded(gdcli, NET)
    lines = (folder / "gradients.csv").read_text().splitlines()
    lines[4] = lines[4].rpartition(",")[0] + ",0.125"
    (folder / "gradients.csv").write_text("\n".join(lines) + "\n")
    data = stepped(folder)
    assert any("gradients.csv, step 4" in note for note in data["notes"])
    assert shown(data, "gradients")[4]["linear2.bias[0]"] == "0.125"  # of the record, as it is
    assert any("gradients.csv, step 4" in note and "推导" in note for note in stepped(folder, "zh")["notes"])


def test_more_steps_than_are_kept_are_thinned_and_told(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "MOST_STEPS", 5)
    folder = recorded(gdcli, BOWL, "epochs=41", "optimizer.lr=0.001")
    data = stepped(folder)
    assert data["steps"] == [1, 11, 21, 31, 41]
    assert "5 of the 41 recorded steps" in " ".join(data["notes"])
    assert shown(data, "gradients") == {step: table(folder / "gradients.csv")[step] for step in data["steps"]}
    assert spread(range(1, 1235), 1000)[::999] == [1, 1234]


@pytest.mark.parametrize(
    "words",
    [
        ("epochs=0", "print.style=loss"),
        ("optimizer.lr=1e30",),
        ("stop.max_steps=7",),
        ("model.freeze=[linear1.weight]",),
    ],
    ids=str,
)
def test_runs_that_end_otherwise(gdcli, words: tuple[str, ...]) -> None:
    folder = recorded(gdcli, NET.replace("tanh", "none"), *words)
    data, gradients = stepped(folder), table(folder / "gradients.csv")
    assert data["steps"] == list(gradients)
    found = shown(data, "gradients")
    assert {step: {name: found[step][name] for name in row} for step, row in gradients.items()} == gradients


def test_what_is_not_drawn(gdcli) -> None:
    folder = recorded(gdcli, NET, "model.layers=[2,20,1]")  # 81 weights
    assert stepping_data(read(folder)) is None


def test_texts_come_back_character_for_character() -> None:
    shared = SharedLines(3)
    texts = ["w1 = -0.5 · 3", "w1 = 1e-07 · 3", None]
    line = shared.text(texts)
    again = shared.text([None, "b2[7] = (−0.25)", "b2[7] = 1e-07"])
    found = shared.json()
    assert [text_at(found, line, k) for k in range(3)] == texts
    assert [text_at(found, again, k) for k in range(3)] == [None, "b2[7] = (−0.25)", "b2[7] = 1e-07"]
    assert len(found["columns"]) <= 2
