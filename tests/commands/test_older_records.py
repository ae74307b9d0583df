"""Records of 0.1: what they have is compared, what has changed since is named, none is gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gdcli.storage import request as requests
from tests.conftest import only_folder

NEWER = ("epochs.csv", "model.safetensors", "preprocessing.json")


def as_of_0_1(record: Path) -> None:
    """Make of a record what 0.1 would have left of it: fewer files, no digests, batch with all its keys."""
    for folder in (record, *(path for path in record.iterdir() if path.is_dir())):
        for name in NEWER:
            (folder / name).unlink(missing_ok=True)
        summary = json.loads((folder / "summary.json").read_text())
        summary.pop("sha256", None)
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        environment = json.loads((folder / "environment.json").read_text())
        environment["versions"]["gdcli"] = "0.1.0"
        (folder / "environment.json").write_text(json.dumps(environment))


def with_size(record: Path) -> None:
    """Write the size of full batches into config.yaml, as 0.1 did, and its digest into the request."""
    config = record / "config.yaml"
    before = config.read_text()
    after = before.replace("{mode: full, shuffle: false}", "{mode: full, size: 32, shuffle: false, drop_last: false}")
    assert after != before
    config.write_text(after)
    found = requests.read(record).model_copy(update={"config_sha256": requests.digest(after), "sha256": ""})
    sealed = found.model_copy(update={"sha256": requests._sha256(found)})
    (record / "request.json").write_text(sealed.model_dump_json())


COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "backprop_2x2", "epochs=3"),
    "mini-batches": ("run", "softmax_regression", "epochs=1"),
    "sweep": ("sweep", "backprop_2x2", "-p", "lr=0.1,0.5"),
    "comparison": ("compare", "epochs=3"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_files_that_it_has_are_compared(gdcli: Any, name: str) -> None:
    assert gdcli(*COMMANDS[name], "--no-plot", "-q").code == 0
    as_of_0_1(only_folder(Path("runs")))
    answer = gdcli("verify", "last")
    assert (answer.code, answer.out, answer.err) == (0, "bit-identical\n", "")


def test_what_has_changed_since_is_named(gdcli: Any) -> None:
    assert gdcli(*COMMANDS["run"], "--no-plot", "-q").code == 0
    record = only_folder(Path("runs"))
    as_of_0_1(record)
    with_size(record)
    answer = gdcli("verify", "last")
    assert answer.code == 1
    difference, change, machine = answer.out.splitlines()
    assert difference.startswith("config.yaml: line ")
    assert (
        change == "changed since 0.1: config.yaml leaves out keys that have no effect, such as the size of full batches"
    )
    assert machine.startswith("the machine: gdcli 0.1.0, here ")
    told = json.loads(gdcli("verify", "last", "--json").out)
    assert told["changes"] == [change.removeprefix("changed since 0.1: ")]


def test_a_number_that_differs_is_told_and_no_change_excuses_it(gdcli: Any) -> None:
    assert gdcli(*COMMANDS["run"], "--no-plot", "-q").code == 0
    record = only_folder(Path("runs"))
    as_of_0_1(record)
    rows = (record / "gradients.csv").read_text().splitlines()
    rows[2] = rows[2].replace(rows[2].split(",")[1], "0.25", 1)
    (record / "gradients.csv").write_text("\n".join(rows) + "\n")
    answer = gdcli("verify", "last")
    assert answer.code == 1
    assert answer.out.startswith("gradients.csv: step 2, linear1.weight[0,0]: recorded 0.25, now ")
    assert "changed since" not in answer.out


def test_one_that_has_not_ended_is_refused_with_its_version(gdcli: Any) -> None:
    assert gdcli(*COMMANDS["run"], "--no-plot", "-q").code == 0
    record = only_folder(Path("runs"))
    as_of_0_1(record)
    (record / "summary.json").unlink()
    answer = gdcli("resume", "last")
    assert (answer.code, answer.out) == (3, "")
    assert "was begun elsewhere: gdcli 0.1.0, here " in answer.err


@pytest.mark.parametrize(
    "words", [("ls",), ("show", "last"), ("export", "last"), ("plot", "last", "-o", "x.png"), ("diff", "last", "last")]
)
def test_it_can_be_looked_at(gdcli: Any, words: tuple[str, ...]) -> None:
    assert gdcli(*COMMANDS["mini-batches"], "--no-plot", "-q").code == 0
    as_of_0_1(only_folder(Path("runs")))
    answer = gdcli(*words)
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    "words", [("predict", "last", "t.csv"), ("evaluate", "last", "t.csv"), ("export", "last", "-o", "m.pt")]
)
def test_it_has_no_model(gdcli: Any, words: tuple[str, ...]) -> None:
    assert gdcli(*COMMANDS["mini-batches"], "--no-plot", "-q").code == 0
    as_of_0_1(only_folder(Path("runs")))
    Path("t.csv").write_text("a\n1\n")
    answer = gdcli(*words)
    assert answer.code == 3
    assert "has no model.safetensors: it is of an earlier version" in answer.err
