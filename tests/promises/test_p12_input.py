"""P12: a bad spec is told with file, line and column, never by a traceback, within half a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from gdcli.cli import main
from gdcli.errors import SpecError
from gdcli.spec import bundled, document, schema
from gdcli.spec.events import MAX_REREAD
from gdcli.spec.load import load
from gdcli.spec.sections import RunSpec
from gdcli.zoo import data
from gdcli.zoo.data_files import read_columns
from gdcli.zoo.naming import ArgumentError
from tests.adversarial import MANY_COMPLAINTS, SLOW_TO_SCAN
from tests.mutations import mutated
from tests.timing import fastest
from tests.trials import trials

SECONDS = 0.5
TEXTS = [path.read_text() for path in sorted(bundled.folder().glob("*.yaml"))]
BASE = bundled.folder()
CORPUS = Path(__file__).parents[1] / "corpus"


def validated(content: bytes) -> SpecError | None:
    """Do what `gdcli validate` does; large data are left out, since making a valid spec's data takes its time."""
    try:
        spec = schema.parse(document.read(content, "f.yaml"), "f")
        if spec.data is None or spec.data.source != "generate" or _points(spec) < 10**6 or _points(spec) > 5 * 10**8:
            load(spec, BASE)
    except SpecError as error:
        return error
    return None


def _points(spec: RunSpec) -> int:
    assert spec.data is not None
    given = dict(spec.data.arguments)
    return data.points(given.pop("kind"), given)


def seconds_of(content: bytes) -> float:
    """Return the processor time of a validation."""
    return fastest(lambda: validated(content), SECONDS)


def outside(error: SpecError, content: bytes) -> list[str]:
    """Return the problems whose place is not in the file: an empty answer is the promise."""
    lines = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    wrong = [] if error.problems else [f"no place: {error}"]
    for problem in error.problems:
        place = problem.place
        inside = 1 <= place.line <= len(lines) and 1 <= place.column <= len(lines[place.line - 1]) + 1
        if place.file != "f.yaml" or not inside:
            wrong.append(str(problem))
    return wrong


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    for text in TEXTS:  # what is imported only once is not the cost of a spec
        assert validated(text.encode()) is None


@pytest.mark.slow
def test_every_mutation_is_valid_or_told_at_its_place() -> None:
    count = trials(1_000, 100_000)
    wrong, slow, refused = [], [], 0
    begun = time.process_time()
    for seed in range(count):
        content = mutated(seed, TEXTS)
        started = time.process_time()
        try:
            error = validated(content)
        except Exception as bug:  # a traceback for the user
            wrong.append((seed, f"{type(bug).__name__}: {bug}"))
            continue
        if time.process_time() - started > SECONDS and seconds_of(content) > SECONDS:
            slow.append(seed)
        if error is not None:
            refused += 1
            wrong += [(seed, text) for text in outside(error, content)]
    assert not wrong
    assert not slow
    assert refused > 0.3 * count  # they are mutations that matter
    assert (time.process_time() - begun) / count < 0.05


@pytest.mark.parametrize("name", SLOW_TO_SCAN)
def test_a_text_that_is_slow_to_scan_is_told_in_half_a_second(name: str) -> None:
    content = SLOW_TO_SCAN[name].encode()
    assert 200_000 < len(content) <= document.MAX_BYTES
    assert seconds_of(content) < SECONDS
    error = validated(content)
    assert error is not None
    assert not outside(error, content)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_TO_SCAN)
def test_what_only_the_slow_parser_reads_is_told_in_half_a_second(name: str) -> None:
    """A tab at the end has a short text read by PyYAML's Python parser."""
    content = (SLOW_TO_SCAN[name][: MAX_REREAD - 2] + "\n\t").encode()
    assert seconds_of(content) < SECONDS
    error = validated(content)
    assert error is not None
    assert not outside(error, content)


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY_COMPLAINTS)
def test_a_spec_with_thousands_of_mistakes_is_told_in_half_a_second(name: str) -> None:
    content = MANY_COMPLAINTS[name].encode()
    assert seconds_of(content) < SECONDS
    error = validated(content)
    assert error is not None
    assert not outside(error, content)
    assert len(error.problems) <= document.MAX_PROBLEMS + 1


def test_twenty_thousand_numbers_are_read_in_half_a_second() -> None:
    numbers = ", ".join(f"{k / 7:.5f}" for k in range(9_900))
    text = f"data: {{x: [{numbers}], y: [{numbers}]}}\nmodel: linear\nloss: mse\noptimizer: {{name: sgd, lr: 0.01}}\n"
    assert validated(text.encode()) is None
    assert seconds_of(text.encode()) < SECONDS


PROGRAM = """
import json, sys
from pathlib import Path
from gdcli.errors import SpecError
from gdcli.spec import bundled, document, schema
from gdcli.spec.load import load
from tests.adversarial import MANY_COMPLAINTS, SLOW_TO_SCAN
from tests.timing import fastest

def is_refused(content, base):
    try:
        load(schema.parse(document.read(content, "f.yaml"), "f"), base)
    except SpecError:
        return True
    return False

def seconds(content, base):
    return fastest(lambda: is_refused(content, base), 0.5) if is_refused(content, base) else 9

texts = [(text.encode(), Path()) for text in [*SLOW_TO_SCAN.values(), *MANY_COMPLAINTS.values()]]
bad = sorted(Path(sys.argv[1]).glob("[!t]*.yaml"))
found = {path.name: seconds(path.read_bytes(), path.parent) for path in bad}
[is_refused(*each) for each in texts]
status = Path("/proc/self/status").read_text()  # getrusage would count the memory of the process that began this one
peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
print(json.dumps({"seconds": found, "peak": peak, "torch": "torch" in sys.modules}))
"""


@pytest.mark.slow
def test_no_bad_spec_takes_more_than_half_a_second_200_megabytes_or_torch() -> None:
    """The whole corpus and all that is slow to scan, in a process of their own."""
    program = [sys.executable, "-c", PROGRAM, str(CORPUS)]
    environment = {**os.environ, "PYTHONPATH": str(CORPUS.parents[1]), "OMP_NUM_THREADS": "1"}
    answer = json.loads(subprocess.run(program, env=environment, capture_output=True, check=True).stdout)
    valid_to_read = {"missing_optimizer_with_sweep.yaml"}
    slow = {name: seconds for name, seconds in answer["seconds"].items() if seconds > SECONDS}
    assert set(slow) <= valid_to_read
    assert len(answer["seconds"]) > 300
    assert answer["peak"] < 200 * 10**6
    assert not answer["torch"]


# --- paths: what cannot lie in a checkout


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    os.mkfifo(tmp_path / "pipe.yaml")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "link.csv").symlink_to("/etc/passwd")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    zero, memory = Path("/dev/zero"), Path("/proc/self/mem")
    return {"zero": zero, "memory": memory, "root": Path("/"), "long": Path("a/" * 3000 + "x.yaml")} | {
        path.name: path for path in tmp_path.iterdir()
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pipe.yaml", "is not a regular file"),
        ("loop.yaml", "cannot read"),
        ("folder.yaml", "is a folder, not a spec"),
        ("gone.yaml", "cannot read"),
        ("zero", "is not a regular file"),
        ("memory", "cannot read"),
        ("root", "is a folder, not a spec"),
        ("long", "cannot read"),
    ],
)
def test_a_spec_that_is_no_file_is_told_and_never_waited_for(
    places: dict[str, Path], name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(places[name])]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert message in printed.err


@pytest.mark.parametrize(
    ("name", "message"),
    [("pipe.csv", "is not a regular file"), ("loop.csv", "it is a link"), ("link.csv", "it is a link")],
)
def test_data_that_are_no_file_are_told_at_their_place(
    places: dict[str, Path], name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"data: {{file: {places[name]}, target: y}}\nmodel: linear\nloss: mse\noptimizer: sgd\n")
    assert main(["validate", str(spec)]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"{spec}:1:14: data.file: ")
    assert message in printed


@pytest.mark.slow
def test_an_archive_with_a_huge_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """40,000 names take 2 MB in the archive and would take 20 MB as objects; files may have 512 MB of them."""
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for k in range(40_000):
            archive.writestr(f"{k}.npy", b"")
    with pytest.raises(ArgumentError, match="a directory of more than 1,048,576 bytes"):
        read_columns(tmp_path / "many.npz", ["x"], ["y"])


def test_the_corpus_holds_what_it_should() -> None:
    """At least 325 bad specs by hand, at least 100 of them hostile."""
    names = [path.name for path in CORPUS.glob("*.yaml")]
    assert len(names) >= 325
    assert sum(name.startswith("hostile_") for name in names) >= 100
