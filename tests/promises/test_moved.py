"""A project that was moved or renamed: its records still verify, resume and show, and no other content is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import only_folder

LINE = """\
data: {file: ../data/line.csv, target: y}
model: linear
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 5
"""
COMMANDS = [
    ("run", "specs/line.yaml"),
    ("sweep", "specs/line.yaml", "-p", "lr=0.01,0.02"),
    ("sweep", "specs/line.yaml", "-p", "lr=0.01,0.02", "--jobs", "2"),
    ("sweep", "specs/line.yaml", "-p", "w=0:3:1"),
    ("compare", "specs/line.yaml", "--optimizers", "sgd,adam"),
]


@pytest.fixture
def project(gdcli, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("specs", "data"):
        Path("before", name).mkdir(parents=True)
    Path("before/data/line.csv").write_text("x,y\n1,2\n2,4\n3,5\n")
    Path("before/specs/line.yaml").write_text(LINE)
    monkeypatch.chdir("before")
    return Path.cwd()


def moved(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only record of a project that lies elsewhere now, one folder deeper."""
    elsewhere = project.parent / "archive" / "after"
    elsewhere.parent.mkdir()
    monkeypatch.chdir(project.rename(elsewhere))
    return only_folder(elsewhere / "runs")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_record_of_a_moved_project_verifies(
    command: tuple[str, ...], gdcli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gdcli(*command, "--no-plot").code == 0
    record = moved(project, monkeypatch)
    answer = gdcli("verify", "last")
    assert (answer.code, answer.out) == (0, "bit-identical\n"), answer.err
    assert gdcli("show", str(record)).code == 0


@pytest.mark.parametrize("command", [COMMANDS[0], COMMANDS[1], COMMANDS[4]], ids=" ".join)
def test_a_record_of_a_moved_project_is_gone_on_with(
    command: tuple[str, ...], gdcli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gdcli(*command, "--no-plot").code == 0
    record = moved(project, monkeypatch)
    before = {path: path.read_bytes() for path in record.rglob("*.csv")}
    for path in record.rglob("summary.json"):
        path.unlink()
    answer = gdcli("resume", "last")
    assert answer.code == 0, answer.err
    assert {path: path.read_bytes() for path in record.rglob("*.csv")} == before


def test_a_config_of_a_moved_project_runs_again(gdcli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = gdcli("run", "specs/line.yaml", "--no-plot")
    record = moved(project, monkeypatch)
    assert gdcli("run", str(record / "config.yaml"), "--no-plot", "-o", "again").out == first.out


@pytest.mark.parametrize("command", [COMMANDS[0], COMMANDS[1]], ids=" ".join)
def test_a_file_of_another_content_in_the_same_place_is_not_taken(
    command: tuple[str, ...], gdcli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gdcli(*command, "--no-plot").code == 0
    moved(project, monkeypatch)
    Path("data/line.csv").write_text("x,y\n1,2\n2,4\n3,6\n")
    answer = gdcli("verify", "last")
    assert answer.code != 0
    assert f"the file has changed: '{Path('data/line.csv').absolute()}' has another content" in answer.err
    assert gdcli("resume", "last").code == 0  # nothing is left to do
    Path("data/line.csv").unlink()
    assert "there is no file" in gdcli("verify", "last").err


@pytest.mark.parametrize("command", [COMMANDS[0], COMMANDS[1]], ids=" ".join)
def test_diff_compares_the_content_of_data_files(command: tuple[str, ...], gdcli, project: Path) -> None:
    for name, last in (("a", 5), ("b", 5), ("c", 6)):
        Path(f"data/{name}.csv").write_text(f"x,y\n1,2\n2,4\n3,{last}\n")
        assert gdcli(*command, f"data.file=../data/{name}.csv", "--no-plot", "-o", name).code == 0
    a, b, c = (str(only_folder(Path(name))) for name in "abc")
    assert gdcli("diff", a, b, "--json").json["spec"] == {}
    assert {*gdcli("diff", a, c, "--json").json["spec"]} == {"data.file", "data.sha256"}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my run.yaml", "my_run"),
        ("Übung 3.yaml", "Ubung_3"),
        ("a=b.yaml", "a_b"),
        ("-x.yaml", "x"),
        ("упр.yaml", "experiment"),
    ],
)
def test_the_name_of_an_experiment_is_made_of_the_files(file: str, name: str, gdcli, project: Path) -> None:
    """In the letters that the key `name` takes; a name that the spec gives is as it stands."""
    spec = Path("specs", file)
    spec.write_text(LINE)
    for command in ("run", "validate", "check"):
        assert gdcli(command, str(spec)).code == 0
    assert gdcli("sweep", str(spec), "-p", "lr=0.1,0.2").code == 0
    records = sorted(Path("runs", name).iterdir())
    assert len(records) == 2
    assert json.loads((records[0] / "request.json").read_text())["name"] == name
    assert gdcli("verify", "last").out == "bit-identical\n"
    spec.write_text(f"name: my run\n{LINE}")
    answer = gdcli("run", str(spec))
    assert answer.code == 2
    assert "name: must match" in answer.err
