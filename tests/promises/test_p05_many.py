"""P5: a killed sweep or comparison resumes, never runs a finished run again, ends with the same bytes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import gdcli.engine.loop
from gdcli.cli import main
from gdcli.engine.kernels.base import FleetChain
from gdcli.engine.loop import Loop
from gdcli.runner import shards
from gdcli.storage import partial_results
from tests.promises import crashing
from tests.promises.crashing import Child, Ended, call, emptied, record_in, start
from tests.timing import wait_for
from tests.trials import trials

OTHER = {
    "timing.json", "environment.json", "checkpoint.safetensors", "checkpoint.previous.safetensors", "checkpoint.json",
    "gradients.rows",
}  # fmt: skip
"""Files that name times and the machine, and those that a process leaves which dies after a run's end."""

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # a test process may have threads

SWEEP = ("sweep", "{specs}/rows.yaml", "--no-plot")
VALLEY = ("compare", "{specs}/valley.yaml", "epochs=150", "--optimizers")

CASES: dict[str, tuple[str, ...]] = {
    "one by one": (*SWEEP, "--fleet", "off", "-p", "lr=0.01,0.02,0.03,0.04", "-p", "batch.size=4,6", "epochs=30"),
    "dropout": ("sweep", "{specs}/layers.yaml", "--no-plot", "epochs=20", "-p", "lr=geomspace(0.001,0.1,5)"),
    "fleets of layers": (
        "sweep", "{specs}/layers.yaml", "--fleet", "vmapped", "--no-plot", "epochs=20", "-p",
        "lr=geomspace(0.001,0.1,8)",
    ),
    "a fleet": (*SWEEP, "-p", "lr=linspace(0.01,0.1,12)", "epochs=30"),
    "a fleet with all tables": (
        *SWEEP, "-p", "lr=0.01,0.02,0.05", "epochs=20", "record.gradients=values", "record.format=parquet",
        "record.parameters=true", "record.layers=true",
    ),
    "a fleet of wide parquet": (
        *SWEEP, "-p", "lr=0.01,0.02,0.05", "epochs=20", "layers=[3,200,1]", "record.gradients=values",
        "record.format=parquet",
    ),
    "npy one by one": (
        *SWEEP, "--fleet", "off", "-p", "lr=0.01,0.02,0.05", "epochs=20", "record={gradients: values, format: npy}",
    ),
    "fleets that end early": (*SWEEP, "stop.loss=0.3", "-p", "lr=0.01,0.1,1e4,0.3", "-p", "momentum=0,0.5"),
    "beyond folders": (*SWEEP, "-p", "lr=linspace(0.01,0.1,101)", "epochs=12"),
    "with a picture": ("sweep", "{specs}/rows.yaml", "epochs=10", "-p", "lr=0.01,0.02,0.03", "--seeds", "2"),
    "a comparison": (
        "compare", "{specs}/rows.yaml", "--optimizers", "sgd,adam", "--tune", "3", "--seeds", "2", "--target", "5",
        "epochs=20", "--no-plot",
    ),
    "a comparison, full batch": (
        "compare", "{specs}/rows.yaml", "--optimizers", "sgd:lr=0.1,adam:lr=0.1", "--seeds", "2", "--target", "5",
        "batch=full", "epochs=200", "--no-plot",
    ),
    "a comparison in fleets": (
        "compare", "{specs}/rows.yaml", "--optimizers", "sgd,adam", "--tune", "4", "--seeds", "11", "--target", "5",
        "epochs=10", "--no-plot",
    ),
    "paths": (*VALLEY, "sgd:lr=1e-4,adam:lr=0.1,rmsprop:lr=0.01"),
    "jobs": (*SWEEP, "--fleet", "off", "-p", "lr=linspace(0.01,0.1,8)", "epochs=30", "--jobs", "2"),
    "jobs of fleets": (*SWEEP, "-p", "lr=linspace(0.01,0.1,12)", "epochs=30", "--jobs", "2"),
}  # fmt: skip


def arguments_of(specs: Path, name: str) -> tuple[str, ...]:
    return tuple(word.replace("{specs}", str(specs)) for word in CASES[name])


@pytest.fixture(scope="module")
def specs() -> Iterator[Path]:
    """A folder with the specs; this process has then imported whatever many runs need."""
    with emptied() as folder:
        for name, text in crashing.SPECS.items():
            (folder / f"{name}.yaml").write_text(text)
        for words in (CASES["with a picture"], CASES["paths"], CASES["dropout"], CASES["a fleet with all tables"]):
            command = [word.replace("{specs}", str(folder)) for word in words]
            assert main([*command, "epochs=1", "-q", "-o", str(folder / "warm")]) == 0
        yield folder


# --- watching ---------------------------------------------------------------------------------------------------------


@contextmanager
def watched(folder: Path, at_a_time: int = 6) -> Iterator[None]:
    """Note each training and each block in files, end blocks soon, and cut fleets into small ones; in a child."""
    train, noted = shards.train_shard, folder / "trained"

    def noting(shard: Any, place: Any, *rest: Any) -> Any:
        with noted.open("a") as file:
            file.write(json.dumps([place.partial_results.name, [run.number for run in shard.runs]]) + "\n")
        return train(shard, place, *rest)

    shards.train_shard = noting
    shards.chunk_of = lambda loaded: at_a_time
    Loop.block = _noting_blocks(Loop.block, folder / "blocks")  # type: ignore[method-assign]
    with crashing.blocks(50):
        yield


def _noting_blocks(block: Any, path: Path) -> Any:
    def noting(*arguments: Any) -> Any:
        with path.open("ab") as file:
            file.write(b".")
        return block(*arguments)

    return noting


@contextmanager
def in_a_group(within: Any) -> Iterator[None]:
    os.setpgid(0, 0)
    with within:
        yield


def started(folder: Path, *arguments: str) -> Child:
    """Start a command line in a process group of its own."""
    return start(folder, *arguments, within=in_a_group(watched(folder)))


@contextmanager
def anew(*arguments: str) -> Iterator[None]:
    """Become a process of its own in a group of its own: a fork inherits the locks of clusters that tests had here."""
    os.setpgid(0, 0)
    os.execv(sys.executable, [sys.executable, "-m", "gdcli", *arguments])
    yield


def group_killed(child: Child) -> Ended:
    """Kill a command and all its workers at once, unless it has ended before."""
    for kill in (os.killpg, os.kill):  # it may not have its group yet
        try:
            kill(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        break
    return child.wait()


def blocks_in(folder: Path) -> int:
    """Return how many blocks of steps were trained."""
    path = folder / "blocks"
    return path.stat().st_size if path.exists() else 0


def until(child: Child, came: Callable[[], bool]) -> None:
    """Wait until something has come, or the child has ended."""
    wait_for(came, child.is_over)


def trained(folder: Path) -> list[tuple[str, int]]:
    """Return each run that was trained, in order, by its part and number."""
    path = folder / "trained"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(part, number) for part, numbers in map(json.loads, lines) for number in numbers]


Stamp = tuple[int, int, bytes]


def finished_in(record: Path) -> tuple[dict[Path, Stamp], set[tuple[str, int]]]:
    """Return the files of sub-folders with the mark of an end, and the runs whose results are kept."""
    files: dict[Path, Stamp] = {}
    for summary in record.glob("*/summary.json"):
        if json.loads(summary.read_text())["status"] == "interrupted":
            continue
        for path in summary.parent.iterdir():
            if path.name not in OTHER:
                files[path] = (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes())
    kept = {(part.name, number) for part in record.glob(".results/*") for number in partial_results.read(part)}
    has_folders = bool(list(record.glob("1-*"))) or bool(list(record.glob("0*1-*")))
    if has_folders:
        numbers = {int(path.parent.name.partition("-")[0]) for path in files}
        kept = {(part, number) for part, number in kept if part != "runs" or number in numbers}
    return files, kept


def tree(record: Path) -> dict[str, bytes]:
    """Return all files of a record, but those that name times and the machine."""
    files = (path for path in sorted(record.rglob("*")) if path.is_file() and path.name not in OTHER)
    return {str(path.relative_to(record)): path.read_bytes() for path in files}


def of(folder: Path) -> Path:
    record = record_in(folder)
    assert record is not None
    return record


@dataclass(frozen=True)
class Undisturbed:
    blocks: int
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def expected(specs: Path) -> Callable[[str], Undisturbed]:
    """Bytes of a case that nobody disturbs, with the engine's own fleets, and the blocks of the same when watched."""
    found: dict[str, Undisturbed] = {}

    def get(name: str) -> Undisturbed:
        if name not in found:
            folder = specs / f"undisturbed-{len(found)}"
            folder.mkdir()
            ended = call(folder, *arguments_of(specs, name))
            assert ended.code == 0, ended
            files = tree(of(folder))
            shutil.rmtree(folder / "runs")
            assert started(folder, *arguments_of(specs, name)).wait().code == 0
            assert tree(of(folder)) == files
            found[name] = Undisturbed(blocks_in(folder), files)
        return found[name]

    return get


def assert_same(folder: Path, expected: dict[str, bytes], why: object) -> None:
    found = tree(of(folder))
    assert sorted(found) == sorted(expected), why
    for name in expected:
        assert found[name].decode("latin1").splitlines() == expected[name].decode("latin1").splitlines(), (name, why)
    assert json.loads((of(folder) / "timing.json").read_text()), why


class Disturbed:
    """A record under way: what had finished stays as it was, and is not trained again."""

    def __init__(self, folder: Path, arguments: tuple[str, ...]) -> None:
        self.folder, self._arguments = folder, arguments
        self.files: dict[Path, Stamp] = {}
        self.kept: set[tuple[str, int]] = set()
        self.counted = 0
        folder.mkdir()

    def go_on(self) -> Child:
        """Start it, or resume it if there is a record already."""
        again = ("resume", "last") if record_in(self.folder) else self._arguments
        return started(self.folder, *again)

    def somewhere(self, draw: random.Random, blocks: int, least: int = 0) -> Child:
        """Let it go on to a random place, in blocks and a moment, of those that are left."""
        done = blocks_in(self.folder)
        wanted = done + max(least, draw.randint(0, max(0, blocks - done - 1)))
        child = self.go_on()
        until(child, lambda: blocks_in(self.folder) >= wanted)
        time.sleep(draw.uniform(0.0, 0.02))
        return child

    def look(self, why: object) -> None:
        """See what has finished by now; what had before is as it was."""
        record = record_in(self.folder)
        if record is None:
            return
        again = set(trained(self.folder)[self.counted :]) & self.kept
        assert not again, (why, again)
        for path, stamp in self.files.items():
            assert (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) == stamp, (why, path)
        files, kept = finished_in(record)
        self.files |= files
        self.kept |= kept
        self.counted = len(trained(self.folder))

    def end(self, expected: dict[str, bytes], why: object) -> None:
        """Let it end, and hold it against the undisturbed one."""
        ended = self.go_on().wait()
        assert ended.code == 0, (why, ended)
        assert "Traceback" not in ended.err, (why, ended)
        kept, self.kept = self.kept, set()
        again = set(trained(self.folder)[self.counted :]) & kept
        assert not again, (why, again)
        self.look(why)
        assert_same(self.folder, expected, why)


# --- killed -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_random_again_and_again(place: Path, specs: Path, expected: Callable[[str], Undisturbed]) -> None:
    draw, names, kept, kills = random.Random(5), list(CASES), 0, 0
    for trial in range(trials(26, 250)):
        name = names[trial % len(names)]
        disturbed = Disturbed(place / str(trial), arguments_of(specs, name))
        for _ in range(draw.randint(1, 3)):
            code = group_killed(disturbed.somewhere(draw, expected(name).blocks)).code
            disturbed.look((trial, name))
            kills += code == -signal.SIGKILL
            if code != -signal.SIGKILL:
                break
        kept += len(disturbed.kept)
        disturbed.end(expected(name).files, (trial, name))
        shutil.rmtree(disturbed.folder)
    assert kills >= trials(26, 250)
    assert kept >= trials(26, 250)  # or there was nothing to prove


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_killed_on_a_cluster(place: Path, specs: Path, expected: Callable[[str], Undisturbed]) -> None:
    """A cluster's scheduler and workers die with the command; what they had sent is not done again here."""
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    draw, kept = random.Random(6), 0
    for trial in range(trials(2, 20)):
        name = ("one by one", "a fleet")[trial % 2]
        arguments = (*arguments_of(specs, name), "--cluster", "local:2")
        disturbed = Disturbed(place / str(trial), arguments)
        child = start(disturbed.folder, within=anew(*arguments))
        until(child, lambda at=disturbed.folder: bool(list(at.glob("runs/*/*/*/summary.json"))))  # type: ignore[misc]
        time.sleep(draw.uniform(0.0, 0.05))
        ended = group_killed(child)
        assert ended.code in (0, -signal.SIGKILL), ended
        disturbed.look((trial, name))
        kept += len(disturbed.kept)
        disturbed.end(expected(name).files, (trial, name))
    assert kept


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one by one", "a fleet", "beyond folders", "a comparison", "jobs"])
def test_ctrl_c_and_then_resume(place: Path, specs: Path, expected: Callable[[str], Undisturbed], name: str) -> None:
    draw, stopped = random.Random(7), 0
    for trial in range(trials(2, 20)):
        disturbed = Disturbed(place / str(trial), arguments_of(specs, name))
        for _ in range(2):
            ended = disturbed.somewhere(draw, expected(name).blocks, least=1).kill(number=signal.SIGINT)
            assert ended.code in (0, 130), ended
            assert "Traceback" not in ended.err, ended
            stopped += ended.code == 130
            disturbed.look((trial, name))
        disturbed.end(expected(name).files, (trial, name))
    assert stopped


# --- in the middle ----------------------------------------------------------------------------------------------------


@contextmanager
def counted(into: Path, deaths: int = 0) -> Iterator[None]:
    """Count a fleet's steps, a byte each, with a checkpoint every 50; die after so many checkpoints."""
    step = FleetChain.step

    def counting(self: FleetChain, *rest: Any) -> Any:
        with into.open("ab") as file:
            file.write(b".")
        return step(self, *rest)

    FleetChain.step = counting  # type: ignore[method-assign]
    gdcli.engine.loop.MAX_BLOCK_STEPS = 50
    with ExitStack() as stack:
        if deaths:
            stack.enter_context(crashing.ending_after_checkpoints(deaths))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("count", [12, 110], ids=["folders", "beyond folders"])
def test_a_fleet_goes_on_in_its_middle(place: Path, specs: Path, count: int) -> None:
    """The steps up to the checkpoint are not made again: together as many as undisturbed."""
    rows = "8 steps an epoch, 60 epochs"
    command = (*SWEEP, "-p", f"lr=linspace(0.01,0.05,{count})", "model.layers=[3,2,1]")
    sweep = tuple(word.replace("{specs}", str(specs)) for word in command)
    for name in ("whole", "killed"):
        (place / name).mkdir()
    assert call(place / "whole", *sweep, within=counted(place / "whole" / "steps")).code == 0
    assert call(place / "killed", *sweep, within=counted(place / "killed" / "steps", 3)).code == 9
    before = (place / "killed" / "steps").stat().st_size
    assert not list(of(place / "killed").glob("*/summary.json"))
    assert call(place / "killed", "resume", "last", within=counted(place / "killed" / "again")).code == 0
    whole, again = (place / "whole" / "steps").stat().st_size, (place / "killed" / "again").stat().st_size
    extra = whole - 8 * 60  # what is made before the first step, to look at the kernel
    assert 0 <= extra <= 4, rows
    assert before == 150 + extra
    assert again == 8 * 60 - 150 + extra
    assert_same(place / "killed", tree(of(place / "whole")), rows)


# --- damaged ----------------------------------------------------------------------------------------------------------


def killed_with_results(folder: Path, arguments: tuple[str, ...]) -> Disturbed:
    """A record killed when results of some runs were kept."""
    disturbed = Disturbed(folder, arguments)
    child = disturbed.go_on()
    until(child, lambda: len(list(folder.glob("runs/*/*/.results/runs/[0-9]*"))) >= 3)
    group_killed(child)
    disturbed.look(arguments)
    assert disturbed.kept
    return disturbed


def flipped(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one by one", "beyond folders"])
def test_damaged_results_are_not_believed(
    place: Path, specs: Path, expected: Callable[[str], Undisturbed], name: str
) -> None:
    """A bit of a file of results is flipped: those runs are trained again, to the same bytes."""
    draw = random.Random(8)
    disturbed = killed_with_results(place / "killed", arguments_of(specs, name))
    killed, before = disturbed.folder, {number for _, number in disturbed.kept}
    for trial in range(trials(3, 60)):
        folder = place / str(trial)
        shutil.copytree(killed, folder)
        (part,) = of(folder).glob(".results/runs")
        files = [path for path in part.glob("[0-9]*") if path.stat().st_size]
        read = set(partial_results.read(part))
        flipped(draw.choice(files), draw)
        assert read - set(partial_results.read(part)), "a flipped bit was not seen"
        lost = before - set(partial_results.read(part))
        so_far = len(trained(folder))
        ended = started(folder, "resume", "last").wait()
        assert ended.code == 0, ended
        again = {number for _, number in trained(folder)[so_far:]}
        assert lost <= again
        assert not again & (before - lost)
        assert_same(folder, expected(name).files, trial)


@pytest.mark.slow
def test_a_run_whose_folder_is_gone_is_run_again(
    place: Path, specs: Path, expected: Callable[[str], Undisturbed]
) -> None:
    name = "one by one"
    disturbed = killed_with_results(place / "killed", arguments_of(specs, name))
    folder, record = disturbed.folder, of(disturbed.folder)
    gone, *others = sorted({path.parent for path in disturbed.files})
    shutil.rmtree(gone)
    so_far = len(trained(folder))
    assert started(folder, "resume", "last").wait().code == 0
    again = {number for _, number in trained(folder)[so_far:]}
    assert int(gone.name.partition("-")[0]) in again
    assert not {int(path.name.partition("-")[0]) for path in others} & again
    assert (record / gone.name / "summary.json").exists()
    assert_same(folder, expected(name).files, name)


@pytest.mark.slow
def test_a_killed_sweep_without_training_is_done_again(place: Path) -> None:
    """The loss over parameters is cheap: it dies before each of its files in turn."""
    sweep = ("sweep", "linear_sweep", "-p", "w", "--no-plot")
    (place / "whole").mkdir()
    count = place / "calls.json"
    assert call(place / "whole", *sweep, within=crashing.counting(place / "whole", count)).code == 0
    calls = json.loads(count.read_text())
    for at in range(0, len(calls), trials(3, 1)):
        folder = place / str(at)
        folder.mkdir()
        assert call(folder, *sweep, within=crashing.dying(folder, at)).code == 9
        ended = crashing.gone_on_with(folder, sweep)
        assert ended.code == 0, (at, calls[at], ended)
        assert_same(folder, tree(of(place / "whole")), (at, calls[at]))
