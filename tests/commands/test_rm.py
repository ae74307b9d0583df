"""`gdcli rm`: what it takes away, and what it leaves alone."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hand_made import a_run, files, three
from tests.timing import HANG


def test_it_removes_whole_records_and_the_name_folder_that_is_left_empty(gdcli) -> None:
    three(Path("runs"))
    answer = gdcli("rm", "--yes", "curve", "last")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == ("removed runs/curve/20260102-120000-bbbb0002\nremoved runs/line/20260103-120000-bbcc0003\n")
    assert [path.name for path in Path("runs").iterdir()] == ["line"]
    assert [path.name for path in Path("runs/line").iterdir()] == ["20260101-120000-aaaa0001"]


def test_a_folder_of_the_users_is_left_though_it_is_empty(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000")
    Path("mine").mkdir()
    folder.rename("mine/best")
    assert gdcli("rm", "--yes", "mine/best").code == 0
    assert list(Path("mine").iterdir()) == []


def test_dry_run_removes_nothing(gdcli) -> None:
    three(Path("runs"))
    before = files(Path("runs"))
    answer = gdcli("rm", "--dry-run", "last", "last~1")
    assert answer.out == "runs/line/20260103-120000-bbcc0003\nruns/curve/20260102-120000-bbbb0002\n"
    assert files(Path("runs")) == before


def test_without_a_terminal_it_wants_yes(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    three(Path("runs"))
    before = files(Path("runs"))
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        answer = gdcli("rm", "last")
    assert (answer.code, files(Path("runs"))) == (2, before)
    assert "--yes" in answer.err


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "left"), [(b"y\n", 2), (b"n\n", 3), (b"\n", 3), (b"yes\n", 2)])
def test_on_a_terminal_it_asks(tmp_path: Path, typed: bytes, left: int) -> None:
    three(tmp_path / "runs")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "gdcli", "rm", "last"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(master, 1024)
    assert b"runs/line/20260103-120000-bbcc0003" in shown
    os.write(master, typed)
    assert process.wait(timeout=HANG) == 0
    os.close(master)
    assert len(list((tmp_path / "runs").glob("*/*"))) == left


def test_a_record_in_use_is_refused_with_3_and_none_is_removed(gdcli) -> None:
    folders = three(Path("runs"))
    held = os.open(folders[0], os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        answer = gdcli("rm", "--yes", "last", "aaaa")
    finally:
        os.close(held)
    assert answer.code == 3
    assert "is in use by another process" in answer.err
    assert all(folder.is_dir() for folder in folders)


def test_a_run_of_a_sweep_in_use_is_refused(gdcli) -> None:
    sweep = Path(gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.5", "epochs=2", "--no-plot", "--json").json["folder"])
    held = os.open(sweep, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        assert gdcli("rm", "--yes", str(sweep / "1-lr=0.1")).code == 3
    finally:
        os.close(held)
    assert gdcli("rm", "--yes", str(sweep / "1-lr=0.1"), "last").code == 0  # the one is inside the other
    assert list(Path("runs").iterdir()) == []


def test_what_is_no_record_is_refused(gdcli) -> None:
    Path("precious").mkdir()
    Path("precious/spec.yaml").write_text("a: 1\n")
    three(Path("runs"))
    for word in ("precious", "runs", "runs/line/..", ".", "/", "precious/spec.yaml"):
        answer = gdcli("rm", "--yes", "last", word)
        assert answer.code == 2, word
    assert Path("precious/spec.yaml").is_file()
    assert len(list(Path("runs").glob("*/*"))) == 3


def test_a_record_reached_through_a_link_is_refused_as_by_resume_and_verify(gdcli) -> None:
    folder = a_run(Path("elsewhere"), "20260101-120000")
    Path("runs").mkdir()
    Path("runs/line").symlink_to(folder.parent.absolute())
    linked = str(Path("runs/line") / folder.name)
    for words in (["rm", "--yes", linked], ["resume", linked], ["verify", linked]):
        answer = gdcli(*words)
        assert answer.code == 2, words
        assert answer.err == f"{linked} is reached through a link: name the record where it is\n"
    assert folder.exists()
    assert gdcli("rm", "--yes", str(folder)).code == 0


def test_links_are_not_followed(gdcli, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    folder = a_run(Path("runs"), "20260101-120000")
    (folder / "inside").symlink_to(precious)
    (folder / "inside.txt").symlink_to(precious / "thesis.txt")
    Path("link").symlink_to(folder)
    answer = gdcli("rm", "--yes", "link")
    assert answer.code == 2
    assert "is reached through a link" in answer.err
    assert gdcli("rm", "--yes", "link/").code == 2
    assert folder.is_dir()
    assert gdcli("rm", "--yes", str(folder)).code == 0
    assert not folder.exists()
    assert (precious / "thesis.txt").read_text() == "years"
