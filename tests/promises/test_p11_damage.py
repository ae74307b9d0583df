"""P11: a damaged or foreign checkpoint is refused, never half-loaded; the one before serves."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from gdcli.errors import DamagedError
from gdcli.storage import arrays as sealed
from tests.promises import crashing
from tests.promises.crashing import Ended, call, record_in, undisturbed
from tests.trials import trials

LATEST, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
LOGS = ("log.txt", "steps.csv", "gradients.csv", "epochs.csv")


@dataclass(frozen=True)
class Begun:
    """A record that died, and what its run gives undisturbed."""

    folder: Path
    arguments: tuple[str, ...]
    expected: dict[str, bytes]
    lengths: dict[str, dict[str, int]]  # of each log, by checkpoint

    def copied(self, into: Path) -> Path:
        """Copy it; return the record."""
        shutil.copytree(self.folder, into, symlinks=True)
        record = record_in(into)
        assert record is not None
        return record


@pytest.fixture(scope="module")
def begun(specs: Path) -> Begun:
    """With batch norm and dropout, so that there are arrays of every kind."""
    arguments = ("run", str(specs / "layers.yaml"), "epochs=20", "--no-plot")
    folder = specs / "begun"
    folder.mkdir()
    with crashing.blocks(16):
        assert call(folder, *arguments, within=crashing.ending_after_checkpoints(2)).code == 9
    record = record_in(folder)
    assert record is not None
    lengths = {}
    for name in (LATEST, PREVIOUS):
        data, _ = sealed.unseal((record / name).read_bytes())
        lengths[name] = {log: length for log, (length, _) in data["logs"].items()}
    assert 0 < lengths[PREVIOUS]["log.txt"] < lengths[LATEST]["log.txt"]
    return Begun(folder, arguments, undisturbed(specs / "expected", *arguments), lengths)


def assert_goes_on(begun: Begun, folder: Path, source: str | None, *refused: str, why: object = "") -> Ended:
    """Resume ends with the same bytes, from this checkpoint or from the start; a warning names each file refused."""
    ended = call(folder, "resume", "last")
    assert ended.code == 0, (why, ended)
    crashing.assert_same(folder, begun.expected, why)
    missing = 0 if source is None else begun.lengths[source]["log.txt"]
    assert len(ended.out.encode()) == len(begun.expected["log.txt"]) - missing, (why, ended)
    warnings = [line for line in ended.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == len(refused), (why, ended)
    for name, warning in zip(refused, warnings, strict=True):
        assert f"/{name} is not used: " in warning, (why, ended)
    return ended


@pytest.mark.slow
def test_bit_flips(place: Path, begun: Begun) -> None:
    """One bit anywhere: the same bytes from the checkpoint before; or the flip changed nothing that is read."""
    draw, harmless = random.Random(11), 0
    whole = (begun.copied(place / "whole") / LATEST).read_bytes()
    for trial in range(trials(100, 600)):
        folder, bit = place / str(trial), draw.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (begun.copied(folder) / LATEST).write_bytes(flipped)
        try:
            same = sealed.unseal(bytes(flipped))[0] == sealed.unseal(whole)[0]  # a space for another in its header
        except DamagedError:
            same = False
        harmless += same
        assert_goes_on(begun, folder, *((LATEST,) if same else (PREVIOUS, LATEST)), why=bit)
        shutil.rmtree(folder)
    assert harmless <= trials(5, 30)


def zeroed(content: bytes, start: int, count: int) -> bytes:
    return content[:start] + bytes(len(content[start : start + count])) + content[start + count :]


def resealed(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        data, arrays = sealed.unseal(content)
        change(data, arrays)
        return sealed.seal(data, arrays)

    return changed


def put(where: str, key: str, value: Any) -> Callable[[bytes], bytes]:
    return resealed(lambda data, arrays: (data[where] if where else data).__setitem__(key, value))


def array(name: str, change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    return resealed(lambda data, arrays: arrays.__setitem__(name, change(arrays.get(name))))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{f"cut to {k} bytes": lambda c, k=k: c[:k] for k in (0, 1, 7, 8, 9, 100)},  # type: ignore[misc]
    "cut before its header ends": lambda c: c[: int.from_bytes(c[:8], "little") + 7],
    "cut where its header ends": lambda c: c[: int.from_bytes(c[:8], "little") + 8],
    "cut in the middle": lambda c: c[: len(c) // 2],
    "cut by one byte": lambda c: c[:-1],
    "a byte more": lambda c: c + b"\0",
    "twice": lambda c: c + c,
    "first block zeroed": lambda c: zeroed(c, 0, 512),
    "block of its arrays zeroed": lambda c: zeroed(c, len(c) - 512, 512),
    "last bytes filled": lambda c: c[:-16] + b"\xff" * 16,
    "all zeroed": lambda c: bytes(len(c)),
    "random bytes": lambda c: random.Random(1).randbytes(len(c)),
    "header longer than the file": lambda c: (2**63 - 1).to_bytes(8, "little") + c[8:],
    "header of 2^64-1 bytes": lambda c: b"\xff" * 8 + c[8:],
    "foreign safetensors": lambda c: save({"a": np.ones(3)}),
    "foreign safetensors with metadata": lambda c: save({"a": np.ones(3)}, metadata={"gdcli": "x" * 64 + "{}"}),
    "no object": lambda c: sealed.seal([1], {}),
    "the format of 0.1": put("", "format", 1),
    "another config": put("", "config_sha256", "0" * 64),
    "no logs": put("", "logs", None),
    "a log's length below zero": put("logs", "log.txt", [-1, ""]),
    "a log elsewhere": put("logs", "../log.txt", [0, ""]),
    "steps beyond the last": put("state", "steps", 10**6),
    "steps between epochs": put("state", "epochs", 7),
    "steps below zero": put("state", "steps", -3),
    "steps as text": put("state", "steps", "30"),
    "seconds as text": put("state", "seconds", "few"),
    "a status as number": put("state", "status", [1]),
    "losses of another type": array("runs.best", lambda a: a.astype(np.float32)),
    "no state": put("", "state", None),
    "no generator": put("state", "shuffle", None),
    "a generator of another kind": put("state", "shuffle", {"bit_generator": "MT19937", "state": 1}),
    "weights of another size": array("theta", lambda a: a[:-1]),
    "weights of another type": array("theta", lambda a: a.astype(np.float64)),
    "an array more": array("more", lambda a: np.zeros(2)),
    "random numbers that are none": array("random.cpu", lambda a: np.full_like(a, 255)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_is_not_one_of_this_run(place: Path, begun: Begun, damage: str) -> None:
    """The one before serves; where that is damaged too, the run begins from its start."""
    for k, (names, source) in enumerate((((LATEST,), PREVIOUS), ((LATEST, PREVIOUS), None))):
        record = begun.copied(place / str(k))
        for name in names:
            (record / name).write_bytes(DAMAGES[damage]((record / name).read_bytes()))
        assert_goes_on(begun, place / str(k), source, *names)


def test_the_checkpoint_of_another_spec(place: Path, begun: Begun, specs: Path) -> None:
    """Of the same shapes: the learning rate is another one."""
    (place / "other").mkdir()
    with crashing.blocks(16):
        other = (*begun.arguments, "optimizer.lr=0.02")
        assert call(place / "other", *other, within=crashing.ending_after_checkpoints(2)).code == 9
    theirs = record_in(place / "other")
    assert theirs is not None
    ours = begun.copied(place / "ours")
    shutil.copy(theirs / LATEST, ours / LATEST)
    assert_goes_on(begun, place / "ours", PREVIOUS, LATEST)


def in_its_place(path: Path, kind: str, elsewhere: Path) -> None:
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(elsewhere)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_no_file_in_a_checkpoints_place(place: Path, begun: Begun, kind: str) -> None:
    """Nothing is waited for, no link is followed, though it leads to a good checkpoint."""
    record = begun.copied(place / "a")
    good = begun.copied(place / "good") / LATEST
    before = good.read_bytes()
    in_its_place(record / LATEST, kind, good)
    with crashing.blocks(16):
        assert_goes_on(begun, place / "a", PREVIOUS, LATEST)
    assert good.read_bytes() == before


def test_a_folder_in_a_checkpoints_place_is_one_line(place: Path, begun: Begun) -> None:
    record = begun.copied(place / "a")
    in_its_place(record / LATEST, "folder", record)
    ended = call(place / "a", "resume", "last")
    assert ended.code == 3, ended
    told = ended.err.splitlines()
    assert len(told) == 2, ended
    assert f"{LATEST} is not used" in told[0]
    assert told[1].startswith("cannot write runs/layers/")
    (record / LATEST).rmdir()
    assert call(place / "a", "resume", "last").code == 0
    crashing.assert_same(place / "a", begun.expected)


@pytest.mark.slow
def test_a_good_checkpoint_is_not_replaced_by_a_damaged_one(place: Path, begun: Begun) -> None:
    """Dead at any call until the next checkpoint is there: one that can be gone on with is always left."""
    for at in range(25):
        folder = place / str(at)
        record = begun.copied(folder)
        (record / LATEST).write_bytes(b"damaged")
        with crashing.blocks(16):
            assert call(folder, "resume", "last", within=crashing.dying(folder, at)).code == 9
        assert any(is_whole(record / name) for name in (LATEST, PREVIOUS)), at
        shutil.rmtree(folder)


def is_whole(path: Path) -> bool:
    try:
        return bool(sealed.unseal(path.read_bytes()))
    except (DamagedError, FileNotFoundError):
        return False


# --- logs -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("log", LOGS)
def test_edited_logs(place: Path, begun: Begun, log: str) -> None:
    """What comes after a checkpoint is cut; a byte that it vouches for makes that checkpoint useless."""
    first, second = (begun.lengths[name][log] for name in (PREVIOUS, LATEST))

    def edited(content: bytes, at: int) -> bytes:
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    edits: list[tuple[Callable[[bytes], bytes], str | None, tuple[str, ...]]] = [
        (lambda c: c + b"1,2,3\n", LATEST, ()),
        (lambda c: c[:second] + b"\xff" * 5000, LATEST, ()),
        (lambda c: edited(c, second - 1), PREVIOUS, (LATEST,)),
        (lambda c: c[: second - 1], PREVIOUS, (LATEST,)),
        (lambda c: c[:first], PREVIOUS, (LATEST,)),
        (lambda c: edited(c, first - 1), None, (LATEST, PREVIOUS)),
        (lambda c: edited(c, 0), None, (LATEST, PREVIOUS)),
        (lambda c: c[: first - 1], None, (LATEST, PREVIOUS)),
        (lambda c: b"", None, (LATEST, PREVIOUS)),
    ]
    for k, (edit, source, refused) in enumerate(edits):
        record = begun.copied(place / str(k))
        (record / log).write_bytes(edit((record / log).read_bytes()))
        assert_goes_on(begun, place / str(k), source, *refused, why=(log, k))
    record = begun.copied(place / "none")
    (record / log).unlink()
    assert_goes_on(begun, place / "none", None, LATEST, PREVIOUS)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
@pytest.mark.parametrize("log", LOGS)
def test_no_file_in_a_logs_place_is_refused(place: Path, begun: Begun, log: str, kind: str) -> None:
    record, elsewhere = begun.copied(place / "a"), place / "mine"
    elsewhere.write_text("mine")
    in_its_place(record / log, kind, elsewhere)
    ended = call(place / "a", "resume", "last")
    assert ended.code == 3, ended
    assert ended.err.splitlines()[-1].startswith("cannot write runs/layers/"), ended
    assert log in ended.err
    assert elsewhere.read_text() == "mine"


# --- the spec and the request -----------------------------------------------------------------------------------------


def replaced(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def request(**changes: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | changes)


REFUSED: dict[str, tuple[str, Callable[[str], str]]] = {
    "another learning rate": ("config.yaml", replaced("lr: 0.01", "lr: 0.02")),
    "a comment": ("config.yaml", lambda text: text + "# mine\n"),
    "cut": ("config.yaml", lambda text: text[: len(text) // 2]),
    "empty": ("config.yaml", lambda text: ""),
    "no text": ("config.yaml", lambda text: "\0\0\0"),
    "another digest": ("request.json", request(config_sha256="0" * 64)),
    "another command": ("request.json", request(command="sweep")),
    "an unknown command": ("request.json", request(command="rm")),
    "an unknown key": ("request.json", request(shell="rm")),
    "request cut": ("request.json", lambda text: text[: len(text) // 2]),
    "request empty": ("request.json", lambda text: ""),
    "request nested": ("request.json", lambda text: "[" * 100_000),
}


@pytest.mark.parametrize("edit", REFUSED)
def test_an_edited_spec_or_request_is_refused(place: Path, begun: Begun, edit: str) -> None:
    """Exit 3, one line that names the file, and nothing is written: once undone, the run goes on."""
    record = begun.copied(place / "a")
    name, change = REFUSED[edit]
    before = (record / name).read_text()
    (record / name).write_text(change(before))
    files = {path.name: path.read_bytes() for path in record.iterdir()}
    ended = call(place / "a", "resume", "last")
    assert ended.code == 3, ended
    assert ended.err.count("\n") == 1, ended
    assert str(record.relative_to(place / "a")) in ended.err
    assert {path.name: path.read_bytes() for path in record.iterdir()} == files
    (record / name).write_text(before)
    assert_goes_on(begun, place / "a", LATEST)


def test_an_edited_override_does_not_change_the_run(place: Path, begun: Begun) -> None:
    """It is refused, or not looked at: config.yaml has the overrides that the run was begun with."""
    record = begun.copied(place / "a")
    (record / "request.json").write_text(
        request(overrides=["optimizer.lr=0.02"])((record / "request.json").read_text())
    )
    ended = call(place / "a", "resume", "last")
    assert ended.code in (0, 3), ended
    if ended.code == 0:
        found = crashing.contents(record)
        assert [name for name in begun.expected if found[name] != begun.expected[name]] == ["request.json"]
