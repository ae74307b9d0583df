"""Files of a record: opened without following a link, read within bounds, replaced whole."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import IO, Any

import pytest

from gdcli.errors import DamagedError, MachineError
from gdcli.records import Result
from gdcli.storage import files, partial_results
from gdcli.storage.arrays import seal, unseal


def test_a_small_file_takes_little_memory_whatever_it_may_have(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"x" * 448)
    tracemalloc.start()
    try:
        assert files.read(path, 2**33) == b"x" * 448
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_results_of_runs_are_read_by_their_files_sizes(tmp_path: Path) -> None:
    result = Result(1, "lr=0.1", (0.1,), "finished", "", 0.5, 0.25, 3, 3)
    folder = tmp_path / ".results" / "runs"
    partial_results.write(folder, [result])
    partial_results.read(folder)  # imports what it needs
    tracemalloc.start()
    try:
        assert partial_results.read(folder)[1].loss == 0.5
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_larger_than_it_could_be_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 11)
    with pytest.raises(DamagedError, match=r"^it has 11 bytes, more than the 10 that it could need$"):
        files.read(path, 10)
    with pytest.raises(DamagedError, match=r"large: has 11 bytes, more than the 10 that it could need$"):
        files.content(path, 10)


@pytest.mark.parametrize(("kind", "why"), [("pipe", "it is no file"), ("folder", "it is no file"), ("link", "it can")])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, why: str) -> None:
    path = tmp_path / "x.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(__file__)
    with pytest.raises(DamagedError, match=f"^{why}"):
        files.read(path, 100)
    for read in (files.existing, files.content, files.json_file):
        with pytest.raises(DamagedError, match=r"x\.json: "):
            read(path)
    with pytest.raises(MachineError, match=r"x.json cannot be used: it "):
        files.required(path, 100)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert files.content(path) is files.json_file(path) is None
    with pytest.raises(FileNotFoundError):
        files.read(path, 1)
    with pytest.raises(DamagedError, match=r"x\.json: there is no such file"):
        files.existing(path)
    with pytest.raises(MachineError, match=r"has no x.json: hint$"):
        files.required(path, 1, ": hint")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    files.replace(path, "old")

    def fails(stream: IO[bytes]) -> None:
        stream.write(b"half")
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        files.replace(path, fails)
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "old"
    files.replace(path, b"new")
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    "change",
    [{"metrics": [0.5]}, {"metrics": {"a": 1}}, {"status": 1}, {"message": []}, {"steps": "3"}, {"to_target": "x"}, 7],
)
def test_kept_results_of_other_types_do_not_count(tmp_path: Path, change: Any) -> None:
    partial_results.write(tmp_path / "kept", [Result(1, "", (), "finished", "", 0.5, 0.25, 3, 3)])
    (path,) = (tmp_path / "kept").iterdir()
    data, arrays = unseal(path.read_bytes())
    (row,) = data["results"]
    assert list(partial_results.read(tmp_path / "kept")) == [1]
    path.write_bytes(seal({"results": [row | change if isinstance(change, dict) else change]}, arrays))
    assert partial_results.read(tmp_path / "kept") == {}
