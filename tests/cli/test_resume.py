"""What stands in the way of `gdcli resume`, and what is told: edited records, planted links, closed streams."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import only_folder

LINE = """\
data: {file: line.csv, features: [x], target: y}
model: linear
loss: mse
optimizer: {name: sgd, lr: 0.01}
epochs: 5
"""


@pytest.fixture
def interrupted(gdcli) -> Path:
    """A sweep whose second and third run are still to come, with a data file beside the spec."""
    Path("line.csv").write_text("x,y\n1,2\n2,4\n")
    Path("line.yaml").write_text(LINE)
    assert gdcli("sweep", "line.yaml", "-p", "lr=0.01,0.02,0.03", "--fleet", "off", "--no-plot", "-q").code == 0
    folder = only_folder(Path("runs"))
    (folder / "summary.json").unlink()
    for number in ("2-lr=0.02", "3-lr=0.03"):
        (folder / number / "summary.json").unlink()
    return folder


def edited(path: Path, pattern: str, text: str) -> None:
    content, count = re.subn(pattern, text, path.read_text())
    assert count == 1
    path.write_text(content)


def refused(gdcli, folder: Path, words: str) -> None:
    before = (folder / "results.csv").read_bytes()
    answer = gdcli("resume", str(folder))
    assert answer.code == 3, answer.err
    assert words in answer.err
    assert len(answer.err.splitlines()) == 1
    assert (folder / "results.csv").read_bytes() == before


def test_a_data_file_that_has_changed_since_is_refused(gdcli, interrupted: Path) -> None:
    Path("line.csv").write_text("x,y\n1,2\n2,5\n")
    refused(gdcli, interrupted, "line.csv has changed after the record was begun")


def test_an_edited_request_is_refused(gdcli, interrupted: Path) -> None:
    edited(interrupted / "request.json", "0.01,0.02,0.03", "0.04,0.02,0.03")
    refused(gdcli, interrupted, "request.json was changed after the record was begun")


def test_an_edited_spec_is_refused(gdcli, interrupted: Path) -> None:
    edited(interrupted / "spec.yaml", "epochs: 5", "epochs: 6")
    refused(gdcli, interrupted, "its spec gives another config.yaml than it did")


def test_an_edited_config_of_a_run_is_refused(gdcli) -> None:
    assert gdcli("run", "backprop_2x2", "epochs=3", "--no-plot").code == 0
    folder = only_folder(Path("runs"))
    (folder / "summary.json").unlink()
    edited(folder / "config.yaml", "epochs: 3", "epochs: 4")
    answer = gdcli("resume", str(folder))
    assert answer.code == 3
    assert "config.yaml was changed after the record was begun" in answer.err
    assert len((folder / "steps.csv").read_text().splitlines()) == 4


def test_the_record_of_another_place_goes_on_with_its_own_data(gdcli, interrupted: Path) -> None:
    interrupted.rename("moved")
    assert gdcli("resume", "moved").code == 0
    assert json.loads(Path("moved/summary.json").read_text())["finished"] == 3


@pytest.mark.parametrize("link", [".results", ".results/runs"])
def test_results_are_not_kept_where_a_link_leads(gdcli, interrupted: Path, link: str) -> None:
    outside = Path("outside").absolute()
    (outside / "runs").mkdir(parents=True)
    path = interrupted / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(outside if link == ".results" else outside / "runs")
    refused_code = gdcli("resume", str(interrupted))
    assert refused_code.code == 3
    assert "is a link: nothing is written where it leads" in refused_code.err
    assert [each for each in outside.rglob("*") if each.is_file()] == []


def test_a_pipe_in_the_place_of_a_runs_config_is_not_waited_for(gdcli, interrupted: Path) -> None:
    config = interrupted / "2-lr=0.02" / "config.yaml"
    config.unlink()
    os.mkfifo(config)
    assert gdcli("resume", str(interrupted)).code == 0
    assert config.is_file()


def test_a_record_that_a_link_leads_to_is_refused(gdcli, interrupted: Path) -> None:
    Path("elsewhere").mkdir()
    link = Path("elsewhere") / interrupted.name
    link.symlink_to(interrupted.absolute())
    answer = gdcli("resume", str(link))
    assert (answer.code, "is reached through a link" in answer.err) == (2, True)


def test_one_of_many_runs_names_the_record_of_all(gdcli, interrupted: Path) -> None:
    answer = gdcli("resume", str(interrupted / "2-lr=0.02"))
    assert answer.code == 2
    assert f"is one of many runs: name the record of all, {interrupted}" in answer.err


def test_another_version_is_refused_unless_forced(gdcli, interrupted: Path) -> None:
    edited(interrupted / "environment.json", '"torch": "[^"]*"', '"torch": "1.0"')
    refused(gdcli, interrupted, "torch 1.0, here ")
    assert gdcli("resume", str(interrupted), "--force").code == 0


def test_an_ended_record_is_left_as_it_is(gdcli) -> None:
    assert gdcli("run", "backprop_2x2", "--no-plot").code == 0
    folder = only_folder(Path("runs"))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    answer = gdcli("resume", "last")
    assert (answer.code, answer.out) == (0, "")
    assert "nothing is left to do: finished" in answer.err
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    told = json.loads(gdcli("resume", "last", "--json").out)
    assert told == {"folder": str(folder), **json.loads((folder / "summary.json").read_text())}


@pytest.mark.parametrize("option", [("--jobs", "2"), ("--cluster", "local:2")])
def test_a_single_run_has_nothing_to_share_out(gdcli, option: tuple[str, str]) -> None:
    assert gdcli("run", "linear_manual", "--no-plot", "-q").code == 0
    answer = gdcli("resume", "last", *option)
    told = f"{option[0]} is for the runs of a sweep or a comparison; runs/linear_manual/"
    assert (answer.code, answer.err.startswith(told)) == (2, True), answer.err


def test_files_of_the_user_that_only_look_temporary_stay(gdcli) -> None:
    assert gdcli("run", "backprop_2x2", "--no-plot").code == 0
    folder = only_folder(Path("runs"))
    (folder / "summary.json").unlink()
    (folder / ".mine.deadbeef").write_text("x")
    (folder / ".x.json.deadbeef").mkdir()
    (folder / ".steps.csv.deadbeef").write_text("x")
    assert gdcli("resume", "last").code == 0
    assert {path.name for path in folder.glob(".*")} == {".mine.deadbeef", ".x.json.deadbeef"}


def test_a_record_that_is_gone_on_with_is_listed_as_running(gdcli, interrupted: Path) -> None:
    (interrupted / "summary.json").write_text('{"status": "interrupted", "runs": 1}\n')
    assert json.loads(gdcli("ls", "--json").out)[0]["status"] == "interrupted"
    holder = os.open(interrupted, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        assert json.loads(gdcli("ls", "--json").out)[0]["status"] == "running"
    finally:
        os.close(holder)


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lose_nothing(tmp_path: Path, closed: str) -> None:
    command = f"{sys.executable} -m gdcli run backprop_2x2 --no-plot {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    folder = only_folder(tmp_path / "runs")
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    assert (folder / "log.txt").read_text().startswith("tensor([[0.7514, 0.7729]]")


@pytest.mark.slow
def test_a_path_on_a_surface_is_the_same_from_any_folder(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gdcli("run", "rosenbrock", "epochs=5", "--no-plot").code == 0
    path = str(only_folder(Path("runs")).absolute())
    answer = gdcli("sweep", "rosenbrock", "-p", "x=0:2:1", "-p", "y=0:2:1", "--trajectory", "last", "-o", "s")
    assert answer.code == 0, answer.err
    folder = only_folder(Path("s")).absolute()
    assert json.loads((folder / "request.json").read_text())["trajectory"] == [path]
    picture = (folder / "sweep.png").read_bytes()
    (folder / "summary.json").unlink()
    (folder / "sweep.png").unlink()
    Path("other").mkdir()
    monkeypatch.chdir("other")
    assert gdcli("resume", str(folder)).code == 0
    assert (folder / "sweep.png").read_bytes() == picture
