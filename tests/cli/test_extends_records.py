"""Specs of several files on the command line: the bytes of the spec written whole, and a record that needs no other."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import gdcli as api
from gdcli.spec.document import read
from tests.conftest import only_folder

WHOLE = """
name: both
data: {file: rows.csv, target: y, validation: 2}
model: linear
loss: mse
optimizer: {name: sgd, lr: 0.05, momentum: 0.5}
epochs: 4
seed: 3
sweep: {parameters: {lr: [0.01, 0.05, 0.1]}}
compare: {optimizers: {sgd: {lr: 0.1}, adam: {lr: 0.1}}}
"""
BASE = """
# what all have
name: both
data: {file: rows.csv, target: y}
model: {type: mlp, layers: [1, 3, 1]}
loss: mse
optimizer: {name: sgd, lr: 1, momentum: 0.5, weight_decay: 0.1}
epochs: 4
sweep: {parameters: {lr: [0.01, 0.05, 0.1]}}
compare: {optimizers: {sgd: {lr: 0.1}}}
"""
SPEC = """
extends: common/base.yaml
data: {validation: 2}
model: linear
optimizer: {lr: 0.05, weight_decay: null}
"""
MORE = """
seed: 3
compare: {optimizers: {adam: {lr: 0.1}}}
"""
ROWS = "x,y\n" + "".join(f"{x},{2 * x + (-1) ** x / 4}\n" for x in range(9))


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("common", "mine"):
        (tmp_path / folder).mkdir()
    (tmp_path / "common/rows.csv").write_text(ROWS)
    (tmp_path / "common/base.yaml").write_text(BASE)
    (tmp_path / "common/spec.yaml").write_text(SPEC.replace("common/", ""))
    (tmp_path / "common/whole.yaml").write_text(WHOLE)
    (tmp_path / "mine/spec.yaml").write_text(SPEC.replace("common/", "../common/"))
    (tmp_path / "more.yaml").write_text(MORE)


def record(gdcli: Any, output: str, *words: str) -> Path:
    answer = gdcli(*words, "--no-plot", "-q", "-o", output)
    assert answer.code == 0, answer.err
    return only_folder(Path(output))


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of a record's files, but of those that say when, where and from which files it was made."""
    others = ("timing.json", "environment.json", "spec.yaml", "request.json")
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in others)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


COMMANDS = (["run"], ["sweep"], ["sweep", "--jobs", "2"], ["compare"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_record_is_that_of_the_spec_written_whole(gdcli, command: list[str]) -> None:
    whole = record(gdcli, "a", command[0], "common/whole.yaml")
    merged = record(gdcli, "b", *command, "common/spec.yaml", "--config", "more.yaml")
    assert content(merged) == content(whole)
    assert merged.name.rpartition("-")[2] == whole.name.rpartition("-")[2]  # the spec's digest
    assert (whole / "spec.yaml").read_text() == WHOLE


@pytest.mark.parametrize("command", COMMANDS[::3], ids=" ".join)
def test_a_record_needs_none_of_the_files_again(gdcli, command: list[str]) -> None:
    folder = record(gdcli, "runs", *command, "mine/spec.yaml", "--config", "more.yaml", "epochs=3")
    made = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in map(Path, FILES)}
    environment = json.loads((folder / "environment.json").read_text())
    assert {each["file"]: each["sha256"] for each in environment["spec"]} == made
    comment, _, text = (folder / "spec.yaml").read_text().partition("\n")
    assert comment == "# Merged from base.yaml, spec.yaml, more.yaml, of which later ones count."
    assert "extends" not in read(text, "spec.yaml").plain()
    shutil.rmtree("mine")
    Path("more.yaml").unlink()
    Path("common/base.yaml").unlink()
    before = content(folder)
    assert gdcli("verify", "last").out == "bit-identical\n"
    for path in [folder / "summary.json", *folder.glob("*/summary.json")]:
        path.unlink()  # as if it had been killed
    assert gdcli("resume", "last", "-q").code == 0
    assert content(folder) == before


FILES = ("common/base.yaml", "mine/spec.yaml", "more.yaml")


def test_a_spec_of_one_file_is_kept_as_given(gdcli) -> None:
    folder = record(gdcli, "runs", "run", "common/whole.yaml", "epochs=1")
    assert (folder / "spec.yaml").read_text() == WHOLE
    assert "spec" not in json.loads((folder / "environment.json").read_text())


def test_later_files_count_and_overrides_most(gdcli) -> None:
    for k in (1, 2):
        Path(f"{k}.yaml").write_text(f"epochs: {k}\nseed: {k}")
    words = ("run", "common/whole.yaml", "--config", "1.yaml", "--config", "2.yaml", "seed=5")
    found = read((record(gdcli, "runs", *words) / "config.yaml").read_text(), "config.yaml").plain()
    assert (found["epochs"], found["seed"], found["optimizer"]["lr"]) == (2, 5, 0.05)


def test_needed_finds_the_record_of_the_spec_written_whole(gdcli) -> None:
    folder = record(gdcli, "runs", "run", "common/whole.yaml")
    record(gdcli, "runs", "run", "common/spec.yaml", "--config", "more.yaml", "--needed")
    assert only_folder(Path("runs")) == folder


def test_the_config_of_a_record_extends_nothing(gdcli) -> None:
    folder = record(gdcli, "runs", "run", "backprop_2x2", "epochs=2")
    config = folder / "config.yaml"
    config.write_text("extends: iris\n" + config.read_text())
    for words in (["plot", str(folder), "-o", "a.png"], ["show", str(folder), "--style", "loss"]):
        answer = gdcli(*words)
        assert (answer.code, "extends: unknown key" in answer.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "backprop_2x2", "--only", "loss,dw5"],
        ["check", "backprop_2x2", "--dtype", "float64"],
        ["validate", "backprop_2x2", "--summary"],
    ],
    ids=lambda words: words[0],
)
def test_a_file_of_config_says_what_overrides_say(gdcli, words: list[str]) -> None:
    Path("c.yaml").write_text("optimizer: {lr: 0.25}\nmodel: {init: {linear1.bias: [0.5, 0.5]}}")
    as_overrides = gdcli(*words, "lr=0.25", "model.init.linear1.bias=[0.5, 0.5]")
    assert (as_overrides.code, as_overrides.out != "") == (0, True)
    assert gdcli(*words, "--config", "c.yaml").out == as_overrides.out
    if words[0] != "validate":  # whose answer depends on shapes alone
        assert gdcli(*words).out != as_overrides.out


def test_a_picture_of_a_spec_with_a_file_of_config(gdcli) -> None:
    Path("c.yaml").write_text("optimizer: {lr: 0.25}\nepochs: 3")
    drawn = []
    for k, words in enumerate((["--config", "c.yaml"], ["lr=0.25", "epochs=3"], ["epochs=3"])):
        assert gdcli("plot", "backprop_2x2", *words, "-o", f"{k}.png").code == 0
        drawn.append(Path(f"{k}.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_record_is_plotted_as_it_was_run(gdcli) -> None:
    folder = record(gdcli, "runs", "run", "backprop_2x2", "epochs=2")
    answer = gdcli("plot", str(folder), "--config", "more.yaml")
    assert (answer.code, answer.err) == (
        2, "--config is for a spec; a record is as it was run. Try 'gdcli plot --help'.\n"
    )  # fmt: skip


WRONG = [
    ["run", "S"], ["sweep", "S"], ["compare", "S"], ["explain", "S"], ["check", "S"], ["validate", "S"], ["plot", "S"],
]  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=lambda words: words[0])
def test_what_is_wrong_is_told_with_the_file_that_it_stands_in(gdcli, words: list[str]) -> None:
    Path("common/base.yaml").write_text(BASE.replace("weight_decay", "weight_dekay"))
    Path("more.yaml").write_text("\nepochs: ten")
    spec = Path("common/spec.yaml")
    spec.write_text(spec.read_text().replace("weight_decay: null", "momentum: x"))
    answer = gdcli(words[0], "common/spec.yaml", "--config", "more.yaml", "sede=3")
    assert (answer.code, "Did you mean 'seed'?" in answer.err) == (2, True)
    answer = gdcli(words[0], "common/spec.yaml", "--config", "more.yaml")
    assert answer.code == 2
    assert [line.removeprefix("error: ").strip() for line in answer.err.splitlines()] == [
        "common/spec.yaml:5:33: optimizer.momentum: must be a number (got 'x')",
        "common/base.yaml:7:46: optimizer.weight_dekay: unknown key. Did you mean 'weight_decay'?",
        "more.yaml:2:9: epochs: must be an integer (got 'ten')",
    ]


def test_extends_is_no_override(gdcli) -> None:
    answer = gdcli("run", "common/whole.yaml", "extends=base.yaml")
    assert (answer.code, "--config FILE" in answer.err) == (2, True)


def test_python_takes_specs_that_extend_another() -> None:
    whole = api.run("backprop_2x2", lr=0.25, epochs=3)
    extended = api.run({"extends": "backprop_2x2", "optimizer": {"lr": 0.25}, "epochs": 3})
    assert extended.losses.tobytes() == whole.losses.tobytes()
    Path("s.yaml").write_text("extends: backprop_2x2\noptimizer: {lr: 0.25}")
    assert api.run("s.yaml", epochs=3).losses.tobytes() == whole.losses.tobytes()
