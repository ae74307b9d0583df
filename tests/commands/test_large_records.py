"""Records with files larger than gdcli writes: read by pieces or refused in one line, in bounded memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from gdcli.cli import output
from gdcli.commands import export
from gdcli.errors import DamagedError
from gdcli.storage import csv_reader, files
from gdcli.storage.csv_reader import MixedColumns, NumberColumns

GIB = 2**30
READING = {
    "steps.csv": ("export last", "export last -f parquet", "diff last last", "plot last", "verify last"),
    "summary.json": ("ls", "show last --json", "resume last"),
    "timing.json": ("ls", "show last"),
    "log.txt": ("show last", "verify last"),
    "results.csv": ("show last", "export last", "diff last last", "verify last"),
}


def within_8_gib(*words: str) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (8 * GIB, 8 * GIB))

    command = [sys.executable, "-m", "gdcli", *words]
    return subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(READING))
def test_a_file_that_goes_on_with_ten_gigabytes_of_zeros(gdcli, name: str) -> None:
    """A sparse file takes no room on the disk, and its last line has no end."""
    words = ("sweep", "linear_manual", "-p", "lr=0.01,0.02") if name == "results.csv" else ("run", "linear_manual")
    folder = Path(gdcli(*words, "epochs=3", "--no-plot", "--json").json["folder"])
    os.truncate(folder / name, 10 * GIB)
    for command in READING[name]:
        answer = within_8_gib(*command.split())
        assert answer.returncode in (0, 1, 2, 3), (command, answer.stderr)
        summary = 6 if command == "resume last" else 0  # at most so many lines at the end of a run
        assert len(answer.stderr.splitlines()) <= 2 + summary, (command, answer.stderr)
        assert len(answer.stdout) < 20_000, command


@pytest.mark.slow
def test_kept_results_beyond_a_gigabyte_do_not_count(gdcli) -> None:
    words = ("sweep", "linear_manual", "-p", "lr=0.01,0.02", "--no-plot", "--json")
    folder = Path(gdcli(*words).json["folder"])
    results = (folder / "results.csv").read_bytes()
    (folder / "summary.json").unlink()
    (folder / ".results/runs").mkdir(parents=True)
    kept = folder / ".results/runs/00000001-0123abcd"
    kept.touch()
    os.truncate(kept, 5 * GIB)
    answer = within_8_gib("resume", "last")
    assert answer.returncode == 0, answer.stderr
    assert (folder / "results.csv").read_bytes() == results


@pytest.mark.slow
def test_rows_are_read_one_by_one(tmp_path: Path) -> None:
    path, count = tmp_path / "results.csv", 100_000
    path.write_text("run,label,final_loss\n" + "".join(f"{k},a b,{1 / k!r}\n" for k in range(1, count + 1)))
    tracemalloc.start()
    try:
        rows = MixedColumns(path)
        assert rows.best(2) == [[count, "a b", 1 / count], [count - 1, "a b", 1 / (count - 1)]]
        assert rows.count == count
        assert tracemalloc.get_traced_memory()[1] < 2**18
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_column_takes_eight_bytes_a_row_and_some_to_grow(tmp_path: Path) -> None:
    path, count = tmp_path / "steps.csv", 100_000
    path.write_text("step,loss\n" + "".join(f"{k},{1 / k!r}\n" for k in range(1, count + 1)))
    np.zeros(1)
    tracemalloc.start()
    try:
        assert NumberColumns(path).numbers((1,))[-1, 0] == 1 / count
        assert tracemalloc.get_traced_memory()[1] < 20 * count  # the list that grows and the array
    finally:
        tracemalloc.stop()


def test_a_row_without_an_end_is_refused_by_both_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_LINE", 1000)
    monkeypatch.setattr(csv_reader, "MOST_LINE", 1000)
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n" + "3" * 2000)
    for kind in (MixedColumns, NumberColumns):
        with pytest.raises(DamagedError, match=r"x\.csv: has a line of more than 1,000 bytes$"):
            list(kind(path))
    path.write_text("a,b\n1,2\n" + '"\n",' * 2000 + "\n")  # one row over 2,000 lines
    with pytest.raises(DamagedError, match=r"x\.csv: has a row of more than 1,000 bytes$"):
        list(MixedColumns(path))
    path.write_text("a,b\n1,2\n3,")  # it was being written
    assert list(MixedColumns(path)) == [[1, 2]]
    assert list(NumberColumns(path)) == [(1, b"1,2")]


def test_a_log_is_printed_by_pieces_and_whole_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "x" + "\u00e9" * 1_500_000 + "\r\n" + "y\n" * 10  # a letter of two bytes lies over each megabyte's end
    (tmp_path / "log.txt").write_bytes(text.encode())
    longest: list[int] = []
    say = output.say
    monkeypatch.setattr(output, "say", lambda piece: (longest.append(len(piece)), say(piece)))
    output.print_file(tmp_path / "log.txt")
    assert capfd.readouterr().out.encode() == text.encode()
    assert max(longest) <= 2**20


def test_parquet_is_written_by_pieces(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(gdcli("run", "linear_manual", "epochs=40", "--no-plot", "--json").json["folder"])
    monkeypatch.setattr(export, "CHUNK", 8)  # 64 times that is some ten rows
    assert gdcli("export", "last", "-f", "parquet", "-o", "x.parquet").code == 0
    found, steps = parquet.ParquetFile("x.parquet"), pd.read_csv(folder / "steps.csv")
    assert found.num_row_groups > 3
    assert found.read()["loss"].to_numpy().tobytes() == steps["loss"].to_numpy().tobytes()
