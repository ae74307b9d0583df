"""P4: a run resumes to the same bytes after power loss, which takes what was not brought to the disk.

A model of a disk: of a file, what was written before its last fsync is kept, what came after is lost, kept, zeroed or
halved; of a folder's names, those at its last fsync are kept, and what changed later is lost or kept in any
combination, each change whole.
"""

from __future__ import annotations

import pickle
import random
import shutil
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.promises import crashing
from tests.promises.crashing import Call, call, intercepted, record_in, undisturbed
from tests.trials import trials

Event = tuple[Any, ...]


# --- what a run does --------------------------------------------------------------------------------------------------


def journalling(root: Path, into: Path) -> AbstractContextManager[None]:
    """Keep what a run does to the files below a folder; after each checkpoint, how long log.txt was then."""

    @contextmanager
    def context() -> Any:
        from gdcli.storage.checkpoints import Checkpoints

        events: list[Event] = []
        write = Checkpoints.write

        def handle(call: Call) -> Any:
            before = call.path.exists()
            found = call.do(*call.arguments)
            path = call.path.relative_to(root)
            if call.name == "open":
                events.append(("open", found, path, not before))
            elif call.name == "write":
                events.append(("write", call.arguments[0], bytes(call.arguments[1][:found])))
            elif call.name == "pwrite":
                events.append(("pwrite", call.arguments[0], (bytes(call.arguments[1][:found]), call.arguments[2])))
            elif call.name in ("fsync", "ftruncate"):
                events.append((call.name, *call.arguments))
            elif call.name in ("rename", "replace"):
                events.append(("rename", path, Path(call.arguments[1]).absolute().relative_to(root)))
            elif call.name in ("mkdir", "unlink"):
                events.append((call.name, path))
            return found

        def written(self: Checkpoints, state: Any, logs: Any) -> None:
            write(self, state, logs)
            events.append(("saved", logs["log.txt"][0]))

        Checkpoints.write = written  # type: ignore[method-assign]
        with intercepted(root, handle):
            yield
        into.write_bytes(pickle.dumps(events))

    return context()


# --- what a disk keeps of it ------------------------------------------------------------------------------------------


Later = bytes | int | tuple[bytes, int]
"""Bytes appended, a length that a file was cut to, or bytes written over those at a place."""


@dataclass(eq=False)
class File:
    synced: bytes = b""
    later: list[Later] = field(default_factory=list)

    def content(self, later: list[Later], *, zeroed: bool = False) -> bytes:
        found = self.synced
        for each in later:
            if isinstance(each, int):
                found = found[:each].ljust(each, b"\0")
            elif isinstance(each, tuple):
                data, at = each
                found = found[:at].ljust(at, b"\0") + (bytes(len(data)) if zeroed else data) + found[at + len(data) :]
            else:
                found += bytes(len(each)) if zeroed else each
        return found

    def sync(self) -> None:
        self.synced, self.later = self.content(self.later), []

    def left(self, draw: random.Random) -> bytes:
        how = draw.choice(("lost", "kept", "zeroed", "halved"))
        if how == "halved" and self.later:
            first, last = self.later[: len(self.later) // 2], self.later[len(self.later) // 2]
            return self.content([*first, _half(last)])
        return self.content([] if how == "lost" else self.later, zeroed=how == "zeroed")


def _half(change: Later) -> Later:
    if isinstance(change, tuple):
        return change[0][: len(change[0]) // 2], change[1]
    return change if isinstance(change, int) else change[: len(change) // 2]


Node = Any  # File or Folder


@dataclass(eq=False)
class Folder:
    synced: dict[str, Node] = field(default_factory=dict)
    now: dict[str, Node] = field(default_factory=dict)
    later: list[dict[str, Node | None]] = field(default_factory=list)  # each change whole: names set, or taken away

    def change(self, names: dict[str, Node | None]) -> None:
        self.later.append(names)
        self.now = self._after(self.now, names)

    @staticmethod
    def _after(names: dict[str, Node], change: dict[str, Node | None]) -> dict[str, Node]:
        return {name: node for name, node in {**names, **change}.items() if node is not None}

    def sync(self) -> None:
        self.synced, self.later = self.now, []

    def left(self, draw: random.Random) -> dict[str, Node]:
        how, names = draw.choice(("lost", "kept", "first", "any")), self.synced
        until = draw.randint(0, len(self.later))
        for k, change in enumerate(self.later):
            if how == "kept" or (how == "first" and k < until) or (how == "any" and draw.random() < 0.5):
                names = self._after(names, change)
        return names

    def at(self, path: Path) -> Node:
        node: Node = self
        for part in path.parts:
            node = node.now[part]
        return node


def read_in(folder: Path) -> Folder:
    """Return what lies on the disk."""
    names = {
        path.name: read_in(path) if path.is_dir() else File(path.read_bytes()) for path in sorted(folder.iterdir())
    }
    return Folder(dict(names), dict(names))


def played(root: Folder, events: list[Event]) -> Folder:
    """Do what a run did, up to some moment."""
    files: dict[int, Node] = {}
    for name, *what in events:
        if name == "open":
            number, path, new = what
            if new:
                root.at(path.parent).change({path.name: File()})
            files[number] = root.at(path)
        elif name == "mkdir":
            root.at(what[0].parent).change({what[0].name: Folder()})
        elif name == "rename":
            old, new = what
            assert old.parent == new.parent
            root.at(old.parent).change({old.name: None, new.name: root.at(old)})
        elif name == "unlink":
            root.at(what[0].parent).change({what[0].name: None})
        elif name == "fsync":
            files[what[0]].sync()
        elif name in ("write", "ftruncate", "pwrite"):
            files[what[0]].later.append(what[1])
    return root


def written_out(folder: Folder, path: Path, draw: random.Random) -> None:
    path.mkdir()
    for name, node in folder.left(draw).items():
        if isinstance(node, File):
            (path / name).write_bytes(node.left(draw))
        else:
            written_out(node, path / name, draw)


# --- the promise ------------------------------------------------------------------------------------------------------

RUNS = {
    "with a plot": ("line", "epochs=40"),
    "shuffled, dropout": ("layers", "epochs=30", "--no-plot"),
    "gone on with": ("rows", "epochs=16", "--no-plot", "optimizer={name: adam, lr: 0.01}"),
    "npy": ("rows", "epochs=10", "--no-plot", "record={gradients: values, format: npy}"),
    "a wide parquet": (
        "rows",
        "epochs=20",
        "--no-plot",
        "layers=[3,200,1]",
        "record={gradients: values, format: parquet}",
    ),
}


@dataclass(frozen=True)
class Played:
    arguments: tuple[str, ...]
    before: Path
    events: list[Event]
    expected: dict[str, bytes]


@pytest.fixture(scope="module")
def journals(specs: Path) -> list[Played]:
    """What runs did, one of them a resume, from the files before."""
    found = []
    for name, (spec, *overrides) in RUNS.items():
        arguments = ("run", str(specs / f"{spec}.yaml"), *overrides)
        root, before, into = (specs / f"{what}-{len(found)}" for what in ("power", "before", "events"))
        root.mkdir()
        doing = arguments
        with crashing.blocks(8):
            if name == "gone on with":
                assert call(root, *arguments, within=crashing.ending_after_checkpoints(5)).code == 9
                doing = ("resume", "last")
            shutil.copytree(root, before)
            assert call(root, *doing, within=journalling(root, into)).code == 0
        expected = undisturbed(specs / f"expected-{len(found)}", *arguments)
        crashing.assert_same(root, expected)
        found.append(Played(arguments, before, pickle.loads(into.read_bytes()), expected))
    return found


@pytest.mark.slow
def test_the_model_keeps_all_when_nothing_is_lost(place: Path, journals: list[Played]) -> None:
    """The model itself: with every change kept it builds the files that the run left."""
    for k, run in enumerate(journals):
        played_ = played(read_in(run.before), run.events)
        _sync(played_)
        written_out(played_, place / str(k), random.Random(0))
        crashing.assert_same(place / str(k), run.expected)


def _sync(node: Node) -> None:
    node.sync()
    for each in node.now.values() if isinstance(node, Folder) else ():
        _sync(each)


def moment(draw: random.Random, events: list[Event]) -> int:
    """Return a moment to lose power at: anywhere, in the beginning, just after a file got its name, one of the last."""
    names = [k + 1 for k, event in enumerate(events) if event[0] == "rename"]
    return draw.choice((draw.randint(0, len(events)), draw.randint(0, 60), draw.choice(names), names[-1]))


@pytest.mark.slow
def test_power_loss_at_random(place: Path, journals: list[Played]) -> None:
    draw, resumed = random.Random(4), 0
    for trial in range(trials(40, 500)):
        run = journals[trial % len(journals)]
        cut, folder = moment(draw, run.events), place / str(trial)
        done = run.events[:cut]
        written_out(played(read_in(run.before), done), folder, draw)
        record = record_in(folder)
        if record is not None and (record / "summary.json").exists():
            crashing.assert_same(folder, run.expected, (trial, cut))  # its mark of the end is there: it is whole
        ended = crashing.gone_on_with(folder, run.arguments)
        assert ended.code == 0, (trial, cut, ended)
        crashing.assert_same(folder, run.expected, (trial, cut))
        if any(event[0] == "saved" for event in done):
            saved = next(event[1] for event in reversed(done) if event[0] == "saved")
            assert record is not None, (trial, cut)
            assert len(ended.out.encode()) <= len(run.expected["log.txt"]) - saved, (trial, cut)
            resumed += 1
        shutil.rmtree(folder)
    assert resumed > trials(9, 150)
