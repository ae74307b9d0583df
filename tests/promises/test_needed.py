"""`--needed`: nothing is done where a finished record of the same spec, request and version is there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdcli.cli import main
from tests.promises.crashing import Ended, call, emptied, start
from tests.timing import HANG, wait_for

SPEC = """\
data: {x: [1, 2, 3], y: [2, 4, 6]}
model: {type: linear}
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 5
compare: {optimizers: {sgd: {lr: 0.01}, adam: {lr: 0.1}}}
"""

FILE = """\
data: {file: rows.csv, features: [a], target: b}
model: {type: linear}
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 5
"""

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "line.yaml"),
    "sweep of keys": ("sweep", "line.yaml", "-p", "lr=0.01,0.02"),
    "sweep of parameters": ("sweep", "line.yaml", "-p", "weight[0,0]=0:4:0.5"),
    "compare": ("compare", "line.yaml"),
    "bundled": ("run", "linear_manual"),
    "bundled sweep": ("sweep",),
    "tuned": ("compare", "line.yaml", "--tune", "2", "--seeds", "2"),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # a test process may have threads


@pytest.fixture(scope="module", autouse=True)
def _warm() -> Iterator[None]:
    with emptied() as folder:
        assert main(["run", "linear_manual", "-q", "--no-plot", "-o", str(folder)]) == 0
        assert main(["compare", "epochs=1", "-q", "--no-plot", "-o", str(folder)]) == 0
        yield


@pytest.fixture
def folder(place: Path) -> Path:
    """A folder with two specs, and the data of one of them."""
    (place / "line.yaml").write_text(SPEC)
    (place / "file.yaml").write_text(FILE)
    (place / "rows.csv").write_text("a,b\n1,2\n2,4\n3,6\n")
    return place


def records(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("runs/*/*") if path.is_dir())


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("runs/**/*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def done(folder: Path, *command: str, codes: tuple[int, ...] = (0,)) -> Ended:
    ended = call(folder, *command, "--no-plot")
    assert ended.code in codes, ended
    return ended


def assert_not_needed(folder: Path, *command: str, text: str | None = None) -> None:
    """It is found, its text is printed, and nothing is made."""
    before, folders = tree(folder), sorted(folder.rglob("runs/**"))
    ended = call(folder, *command, "--needed")
    assert ended.code == 0, ended
    (told,) = ended.err.splitlines()
    assert told.startswith("not needed, it is finished already: runs/")
    assert (folder / told.partition("already: ")[2]) in records(folder)
    assert text is None or ended.out == text
    assert (tree(folder), sorted(folder.rglob("runs/**"))) == (before, folders)


def assert_needed(folder: Path, *command: str, codes: tuple[int, ...] = (0,)) -> None:
    """It is run: there is one record more."""
    before = len(records(folder))
    ended = done(folder, *command, "--needed", codes=codes)
    assert "not needed" not in ended.err
    assert len(records(folder)) == before + 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_time_nothing_is_done(folder: Path, name: str) -> None:
    command = COMMANDS[name]
    assert_needed(folder, *command)
    text = (records(folder)[0] / "log.txt").read_text()
    assert done(folder, *command).out == text  # what is printed without --needed
    assert_not_needed(folder, *command, text=text)
    assert len(records(folder)) == 2


def test_pictures_do_not_count(folder: Path) -> None:
    done(folder, "run", "line.yaml")
    assert_not_needed(folder, "run", "line.yaml")
    assert_not_needed(folder, "run", "line.yaml", "--no-plot")


def test_it_is_found_below_its_own_output_only(folder: Path) -> None:
    done(folder, "run", "line.yaml", "-o", "elsewhere/runs")
    assert_needed(folder, "run", "line.yaml")


CODE = """
import sys
from gdcli.cli import main
code = main(sys.argv[1:])
print(sorted({"torch", "matplotlib", "scipy"} & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "sweep of keys", "compare"])
def test_torch_is_not_imported_for_nothing(folder: Path, name: str) -> None:
    command = COMMANDS[name]
    done(folder, *command)
    words = [sys.executable, "-c", CODE, *command, "--needed"]
    answer = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True, timeout=HANG)
    told, modules = answer.stderr.splitlines()
    assert told.startswith("not needed")
    assert modules == "[]"


# --- what is another --------------------------------------------------------------------------------------------------

OTHERS: dict[str, tuple[str, ...]] = {
    "seed": ("run", "line.yaml", "--seed", "1"),
    "override": ("run", "line.yaml", "lr=0.02"),
    "epochs": ("run", "line.yaml", "epochs=6"),
    "style": ("run", "line.yaml", "print.style=tensor"),
    "record": ("run", "line.yaml", "record.every=2"),
    "grid": ("sweep", "line.yaml", "-p", "lr=0.01,0.03"),
    "axis": ("sweep", "line.yaml", "-p", "momentum=0.01,0.02"),
    "seeds of a sweep": ("sweep", "line.yaml", "-p", "lr=0.01,0.02", "--seeds", "2"),
    "override of a sweep": ("sweep", "line.yaml", "-p", "lr=0.01,0.02", "epochs=6"),
    "fleets": ("sweep", "line.yaml", "-p", "lr=0.01,0.02", "--fleet", "off"),
    "rows": ("compare", "line.yaml", "--optimizers", "sgd"),
    "settings of a row": ("compare", "line.yaml", "--optimizers", "sgd=sgd:lr=0.02,adam"),
    "batches": ("compare", "line.yaml", "--batches", "full,stochastic"),
    "seeds": ("compare", "line.yaml", "--seeds", "2"),
    "tuning": ("compare", "line.yaml", "--tune", "2"),
    "target": ("compare", "line.yaml", "--target", "1"),
    "closed form": ("compare", "line.yaml", "--closed-form"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_something_else_is_done(folder: Path, name: str) -> None:
    for command in ("run", "sweep of keys", "compare"):
        done(folder, *COMMANDS[command])
    assert_needed(folder, *OTHERS[name])
    assert_not_needed(folder, *OTHERS[name])


def test_another_command_is_done(folder: Path) -> None:
    done(folder, *COMMANDS["run"])
    for name in ("sweep of keys", "sweep of parameters", "compare"):
        assert_needed(folder, *COMMANDS[name])


EDITS: dict[str, Callable[[Path], object]] = {
    "another number": lambda folder: (folder / "file.yaml").write_text(FILE.replace("0.01", "0.02")),
    "a row of the data": lambda folder: (folder / "rows.csv").write_text("a,b\n1,2\n2,4\n3,7\n"),
}


@pytest.mark.parametrize("command", [("run", "file.yaml"), ("sweep", "file.yaml", "-p", "lr=0.01,0.02")], ids=" ".join)
@pytest.mark.parametrize("edit", EDITS)
def test_a_file_that_changed(folder: Path, command: tuple[str, ...], edit: str) -> None:
    done(folder, *command)
    assert_not_needed(folder, *command)
    EDITS[edit](folder)
    assert_needed(folder, *command)


def test_words_that_mean_nothing_may_change(folder: Path) -> None:
    """A comment, and the order of keys."""
    done(folder, "run", "file.yaml")
    data, *rest = FILE.splitlines(keepends=True)
    (folder / "file.yaml").write_text("# a line\n" + "".join(rest) + data)
    assert_not_needed(folder, "run", "file.yaml")


@pytest.mark.parametrize("package", ["gdcli", "torch"])
def test_another_version(folder: Path, package: str) -> None:
    done(folder, "run", "line.yaml")
    path = records(folder)[0] / "environment.json"
    environment = json.loads(path.read_text())
    environment["versions"][package] = "0.0.1"
    path.write_text(json.dumps(environment))
    assert_needed(folder, "run", "line.yaml")


# --- what is not enough -----------------------------------------------------------------------------------------------


def test_a_run_that_diverged_is_not_enough(folder: Path) -> None:
    command = ("run", "line.yaml", "lr=1e6", "epochs=100")
    done(folder, *command, codes=(1,))
    assert_needed(folder, *command, codes=(1,))


def test_a_sweep_with_a_run_that_failed_is_not_enough(folder: Path) -> None:
    command = ("sweep", "line.yaml", "-p", "device=cpu,cuda:99")
    done(folder, *command, codes=(1,))
    assert_needed(folder, *command, codes=(1,))


def test_a_run_that_was_stopped_as_the_spec_says_is_enough(folder: Path) -> None:
    done(folder, "run", "line.yaml", "stop.max_steps=2")
    assert_not_needed(folder, "run", "line.yaml", "stop.max_steps=2")


LONG = ("epochs=1000000", "--no-limits", "checkpoint.every_seconds=0", "record.gradients=none")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_one_that_did_not_end_is_not_enough(folder: Path, number: int) -> None:
    child = start(folder, "run", "line.yaml", *LONG, "--no-plot")
    wait_for(lambda: list(folder.glob("runs/*/*/checkpoint.json")), child.is_over)
    child.kill(number=number)
    again = start(folder, "run", "line.yaml", *LONG, "--no-plot", "--needed")
    wait_for(lambda: len(records(folder)) == 2, again.is_over)
    again.kill()
    assert len(records(folder)) == 2


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "cut": lambda path: path.write_text(path.read_text()[:20]),
    "no object": lambda path: path.write_text("[1, 2]"),
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("log.txt", "gone"),
        *((f"{name}.json", how) for name in ("summary", "environment", "request") for how in DAMAGES),
    ],
)
def test_a_damaged_record_is_not_enough(folder: Path, name: str, damage: str) -> None:
    done(folder, "run", "line.yaml")
    DAMAGES[damage](records(folder)[0] / name)
    assert_needed(folder, "run", "line.yaml")
