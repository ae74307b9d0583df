"""P9: a full or read-only disk damages nothing that was saved, is named in one line, and the run goes on afterwards."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from gdcli.storage import arrays
from tests.promises import crashing
from tests.promises.crashing import Ended, call, failing, record_in, start, undisturbed
from tests.timing import wait_for
from tests.trials import trials


@pytest.fixture(scope="module")
def short(specs: Path) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """A run's command and bytes."""
    arguments = ("run", str(specs / "rows.yaml"), "epochs=8", "--no-plot")
    return arguments, undisturbed(specs / "short", *arguments)


def assert_one_line(ended: Ended, *parts: str, why: object = "") -> None:
    assert ended.code == 3, (why, ended)
    assert ended.err.count("\n") == 1, (why, ended)
    for part in parts:
        assert re.search(part, ended.err), (why, part, ended)


def assert_all_saved_is_whole(folder: Path) -> None:
    """Every checkpoint and model can be read, every JSON file parsed."""
    record = record_in(folder)
    for path in record.iterdir() if record else ():
        if path.name == "model.safetensors":
            assert load_file(path)
        elif path.suffix == ".safetensors" and not path.name.startswith("."):
            assert arrays.unseal(path.read_bytes())
        if path.suffix == ".json" and not path.name.startswith("."):
            assert json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [True, False], ids=["full from then on", "full once"])
def test_full_at_every_call(place: Path, short: tuple, for_good: bool) -> None:
    """Of the calls that need room each fails once, alone or with all that follow; then there is room again."""
    arguments, files = short
    places = 0
    with crashing.blocks(16):
        for at in range(0, 1000, trials(3, 1)):
            folder = place / str(at)
            folder.mkdir()
            ended = call(folder, *arguments, within=failing(folder, at, errno.ENOSPC, for_good=for_good))
            if ended.code == 0:
                break
            assert_one_line(ended, r"^cannot write (\.|runs|runs/.+): No space left", r"\(\d[\d,]* bytes free", why=at)
            assert_all_saved_is_whole(folder)
            again = crashing.gone_on_with(folder, arguments)
            assert again.code == 0, (at, again)
            assert "is not used" not in again.err, (at, again)
            crashing.assert_same(folder, files, at)
            places += 1
            shutil.rmtree(folder)
    assert places * trials(3, 1) >= 50


@pytest.mark.slow
def test_full_at_every_call_of_a_resume(place: Path, short: tuple) -> None:
    arguments, files = short
    begun, places = place / "begun", 0
    begun.mkdir()
    with crashing.blocks(16):
        assert call(begun, *arguments, within=crashing.ending_after_checkpoints(2)).code == 9
        for at in range(0, 1000, trials(3, 1)):
            folder = place / str(at)
            shutil.copytree(begun, folder)
            ended = call(folder, "resume", "last", within=failing(folder, at, errno.EDQUOT, for_good=True))
            if ended.code == 0:
                break
            assert_one_line(ended, "cannot write runs/", r"\d bytes free", why=at)
            assert_all_saved_is_whole(folder)
            assert call(folder, "resume", "last").code == 0
            crashing.assert_same(folder, files, at)
            places += 1
            shutil.rmtree(folder)
    assert places * trials(3, 1) >= 20


# --- real file systems ------------------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory; skip the test where this is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "gdcli-test", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_small_file_system(tmp_path: Path, short: tuple) -> None:
    """Of sizes from nothing to enough: full is one line; after it has grown, the run goes on to the same bytes."""
    arguments, files = short
    full = 0
    with crashing.blocks(16):
        for kilobytes in range(4, 84, 80 // trials(10, 80)):
            folder = tmp_path / str(kilobytes)
            with mounted(folder / "runs", f"size={kilobytes}k"):
                ended = call(folder, *arguments)
                if ended.code:
                    full += 1
                    assert_one_line(ended, "cannot write runs/", r"\(\d[\d,]* bytes free\)", why=kilobytes)
                    assert_all_saved_is_whole(folder)
                    subprocess.run(["mount", "-o", "remount,size=1m", str(folder / "runs")], check=True)
                    again = crashing.gone_on_with(folder, arguments)
                    assert again.code == 0, (kilobytes, again)
                crashing.assert_same(folder, files, kilobytes)
    assert full >= trials(6, 50)


def test_a_read_only_file_system(tmp_path: Path, short: tuple) -> None:
    arguments, files = short
    (tmp_path / "begun").mkdir()
    assert call(tmp_path / "begun", *arguments, within=crashing.ending_after_checkpoints(1)).code == 9
    with mounted(tmp_path / "runs", "size=1m"):
        shutil.copytree(tmp_path / "begun" / "runs", tmp_path / "runs", dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "runs")], check=True)
        assert_one_line(call(tmp_path, *arguments), "cannot write runs/rows: Read-only file system")
        assert_one_line(call(tmp_path, "resume", "last"), "cannot write runs/rows/.*Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw", str(tmp_path / "runs")], check=True)
        assert call(tmp_path, "resume", "last").code == 0
        crashing.assert_same(tmp_path, files)


# --- what is in the way -----------------------------------------------------------------------------------------------


def test_read_only_from_the_first_call(place: Path, short: tuple) -> None:
    ended = call(place, *short[0], within=failing(place, 0, errno.EROFS, for_good=True))
    assert_one_line(ended, "^cannot write runs/rows: Read-only file system")
    assert not (place / "runs").exists()


@pytest.mark.parametrize("where", ["runs", "runs/rows"])
def test_a_file_where_a_folder_should_be(place: Path, short: tuple, where: str) -> None:
    (place / where).parent.mkdir(exist_ok=True)
    (place / where).write_text("mine")
    ended = call(place, *short[0])
    assert_one_line(ended, "^cannot write runs/rows: (File exists|Not a directory)")
    assert (place / where).read_text() == "mine"


def test_the_folder_is_deleted_in_the_middle(place: Path, specs: Path) -> None:
    child = start(place, "run", str(specs / "rows.yaml"), "epochs=20000", "-q", "--no-plot")
    wait_for(lambda: list(place.glob("runs/*/*/checkpoint.json")), child.is_over)
    record = record_in(place)
    assert record is not None
    name = record.with_name("deleted")
    record.rename(name)  # at once, as a whole
    shutil.rmtree(name)
    assert_one_line(child.wait(), "cannot write runs/rows/.*: No such file or directory")
    assert record_in(place) is None
