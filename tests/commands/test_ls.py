"""`gdcli ls`: what it lists, in which order, in which form, how fast."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.hand_made import a_run, three
from tests.terminals import on_terminal, plain
from tests.timing import children_seconds

GDCLI = [sys.executable, "-m", "gdcli"]


def ids(text: str) -> list[str]:
    """The digests of the ids of a table."""
    return [line.split()[0].split("-")[2] for line in text.splitlines()[1:]]


def test_the_newest_is_first(gdcli) -> None:
    three(Path("runs"))
    answer = gdcli("ls")
    assert answer.code == 0
    head, first, *_ = answer.out.splitlines()
    assert " ".join(head.split()) == "id kind name status final loss best loss steps when duration"
    assert " ".join(first.split()) == (
        "20260103-120000-bbcc0003 run line finished 0.125 0.125 3 2026-01-03 12:00:00 0.75 s"
    )
    assert ids(answer.out) == ["bbcc0003", "bbbb0002", "aaaa0001"]
    assert "\x1b" not in answer.out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--sort-by", "final_loss"], ["bbcc0003", "bbbb0002", "aaaa0001", "dddd0004"]),
        (["--sort-by", "loss", "--reverse"], ["aaaa0001", "bbbb0002", "bbcc0003", "dddd0004"]),  # none comes last
        (["--sort-by", "optimizer.lr"], ["aaaa0001", "bbbb0002", "bbcc0003", "dddd0004"]),
        (["--sort-by", "lr", "--reverse"], ["dddd0004", "bbcc0003", "bbbb0002", "aaaa0001"]),
        (["--sort-by", "accuracy"], ["dddd0004", "bbcc0003", "bbbb0002", "aaaa0001"]),
        (["--sort-by", "name"], ["bbbb0002", "dddd0004", "bbcc0003", "aaaa0001"]),
        (["--reverse"], ["aaaa0001", "bbbb0002", "bbcc0003", "dddd0004"]),
        (["--top", "2"], ["dddd0004", "bbcc0003"]),
        (["--sort-by", "loss", "--top", "1"], ["bbcc0003"]),
        (["--status", "diverged"], ["dddd0004"]),
        (["line", "--top", "2"], ["dddd0004", "bbcc0003"]),
        (["runs/curve"], ["bbbb0002"]),
    ],
)
def test_order_and_choice(gdcli, options: list[str], expected: list[str]) -> None:
    three(Path("runs"))
    a_run(
        Path("runs"), "20260104-120000", digest="dddd0004", lr=9.0, loss=None, status="diverged",
        metrics={"accuracy": 0.9},
    )  # fmt: skip
    answer = gdcli("ls", *options)
    assert answer.code == 0, answer.err
    assert ids(answer.out) == expected


def test_what_held_out_rows_say_is_shown_where_a_record_has_them(gdcli) -> None:
    three(Path("runs"))
    told = {"accuracy": 1.0, "validation_loss": 0.75, "validation_accuracy": 0.875}
    a_run(Path("runs"), "20260104-120000", digest="dddd0004", metrics=told)
    rows = json.loads(gdcli("ls", "--json").out)
    assert [(row["validation_loss"], row["validation_accuracy"]) for row in rows[:2]] == [(0.75, 0.875), (None, None)]
    assert "validation_r2" not in rows[0]
    shown = gdcli("ls", "--sort-by", "final_loss", "--top", "1", "--json").json[0]
    assert ("validation_loss" in shown) == (shown["id"].endswith("dddd0004"))


def test_the_column_that_it_is_sorted_by_is_shown(gdcli) -> None:
    three(Path("runs"))
    lines = gdcli("ls", "--sort-by", "lr").out.splitlines()
    assert [line.split()[-1] for line in lines] == ["optimizer.lr", "0.1", "0.2", "0.3"]


def test_only_changed_adds_the_keys_that_differ(gdcli) -> None:
    three(Path("runs"))
    a_run(Path("runs"), "20260104-120000", digest="dddd0004", lr=0.3, steps=7)
    every = gdcli("ls", "--only-changed", "--json").json
    common = {"id", "kind", "name", "status", "final_loss", "best_loss", "steps", "when", "duration", "folder"}
    assert set(every[0]) == common | {"optimizer.lr", "epochs"}
    assert [(row["optimizer.lr"], row["epochs"]) for row in every] == [(0.3, 7), (0.3, 3), (0.2, 3), (0.1, 3)]
    assert set(gdcli("ls", "--only-changed", "--json", "--top", "2").json[0]) == common | {"epochs"}


def test_json_csv_and_markdown_say_the_same(gdcli) -> None:
    three(Path("runs"))
    rows = gdcli("ls", "--json").json
    assert rows[2] == {
        "id": "20260101-120000-aaaa0001", "kind": "run", "name": "line", "status": "finished", "final_loss": 0.5,
        "best_loss": 0.5, "steps": 3, "when": "2026-01-01 12:00:00", "duration": 0.75,
        "folder": "runs/line/20260101-120000-aaaa0001",
    }  # fmt: skip
    table = pd.read_csv(io.StringIO(gdcli("ls", "--csv").out))
    assert table.to_dict("records") == [{k: v for k, v in row.items() if k != "folder"} for row in rows]
    markdown = gdcli("ls", "--md").out.splitlines()
    assert markdown[0].split(" | ")[4] == "final loss"
    assert markdown[4] == (
        "| 20260101-120000-aaaa0001 | run | line | finished | 0.5 | 0.5 | 3 | 2026-01-01 12:00:00 | 0.75 s |"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--status", "finnished"], "there is no status 'finnished'. Did you mean 'finished'?"),
        (["--sort-by", "optimizer.lrr"], "there is no column 'optimizer.lrr'. Did you mean 'optimizer.lr'?"),
        (["--sort-by", "name.x"], "there is no column 'name.x'"),
        (["--json", "--md"], "--json, --csv and --md exclude each other"),
        (["-o", "nowhere"], "there is no folder 'nowhere'"),
    ],
)
def test_refused_with_2(gdcli, words: list[str], message: str) -> None:
    three(Path("runs"))
    answer = gdcli("ls", *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(message)


def test_a_suffix_of_two_keys_lists_them(gdcli) -> None:
    folder = a_run(Path("runs"), "20260104-120000")
    (folder / "config.yaml").write_text("name: line\na: {x: 1}\nb: {x: 2}\n")
    answer = gdcli("ls", "--sort-by", "x")
    assert (answer.code, answer.err) == (2, "'x' could be any of a.x, b.x. Write the whole key\n")


def test_no_records_is_an_empty_list(gdcli) -> None:
    assert gdcli("ls") == (0, "", "no records\n")
    assert gdcli("ls", "--json").json == []


# --- how a record ended -----------------------------------------------------------------------------------------------


def test_running_and_unfinished_are_told_apart_by_the_lock(gdcli) -> None:
    dead = a_run(Path("runs"), "20260101-120000", status=None)
    (dead / "checkpoint.json").write_text('{"steps": 1200, "epochs": 12}')
    alive = a_run(Path("runs"), "20260102-120000", status=None)
    held = os.open(alive, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        rows = gdcli("ls", "--json").json
    finally:
        os.close(held)
    assert [(row["status"], row["steps"]) for row in rows] == [("running", None), ("unfinished", 1200)]
    assert [row["status"] for row in gdcli("ls", "--json").json] == ["unfinished", "unfinished"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"status": NaN}', b"{}", b'{"status": 3}', b'{"status": "\\u001b[2J"}',
     b'{"a":' * 900 + b"1" + b"}" * 900, b'{"status": "finished", "x": ' + b"[" * 600 + b"]" * 600 + b"}"],
)  # fmt: skip
def test_a_damaged_summary_is_a_status_not_a_traceback(gdcli, content: bytes) -> None:
    folder = a_run(Path("runs"), "20260101-120000")
    (folder / "summary.json").write_bytes(content)
    for command in (["ls"], ["ls", "--json"], ["show", "last"], ["show", "last", "--json"], ["diff", "last", "last"]):
        answer = gdcli(*command)
        assert answer.code == 0
        assert "Traceback" not in answer.err
        assert "\x1b" not in answer.out
    assert gdcli("ls", "--json").json[0]["status"] == "damaged"
    assert "summary.json" in gdcli("show", "last", "--json").json["problems"][0]


def test_values_of_the_wrong_type_are_left_out(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000", final_loss="low", best_loss=[1], steps=True, metrics={"a": "b"})
    (row,) = gdcli("ls", "--json").json
    assert (row["status"], row["final_loss"], row["best_loss"], row["steps"]) == ("finished", None, None, None)


def test_a_pipe_or_a_link_in_a_record_is_not_opened(gdcli, tmp_path: Path) -> None:
    folder = a_run(Path("runs"), "20260101-120000")
    (folder / "summary.json").unlink()
    os.mkfifo(folder / "summary.json")
    (folder / "timing.json").unlink()
    (tmp_path / "secret.json").write_text('{"start": "2000-01-01T00:00:00", "seconds": {"x": 77}}')
    (folder / "timing.json").symlink_to(tmp_path / "secret.json")
    (row,) = gdcli("ls", "--json").json
    assert (row["status"], row["duration"]) == ("damaged", None)


# --- real records -----------------------------------------------------------------------------------------------------


def test_kinds_and_numbers_of_real_records(gdcli) -> None:
    run = gdcli("run", "backprop_2x2", "epochs=3", "--no-plot", "--json").json
    sweep = gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.5", "epochs=2", "--no-plot", "--json").json
    grid = gdcli("sweep", "--param", "w=0:4:1", "--no-plot", "--json").json
    compared = gdcli("compare", "--optimizers", "sgd,adam", "--no-plot", "--json").json
    assert gdcli("ema", "--no-plot").code == 0
    rows = {row["kind"]: row for row in gdcli("ls", "--json").json}
    assert set(rows) == {"run", "sweep", "grid", "compare", "ema"}
    assert [rows["run"][key] for key in ("final_loss", "best_loss", "steps")] == [
        run["final_loss"], run["best_loss"], 3,
    ]  # fmt: skip
    assert rows["sweep"]["best_loss"] == min(each["final_loss"] for each in sweep["runs"])
    assert rows["compare"]["best_loss"] == min(each["final_loss"] for each in compared["runs"])
    assert rows["grid"]["best_loss"] == min(grid["loss"]) == 0
    inner = gdcli("ls", sweep["folder"], "--json").json
    assert sorted(row["id"] for row in inner) == ["1-lr=0.1", "2-lr=0.5"]
    assert [row["final_loss"] for row in sorted(inner, key=lambda row: row["id"])] == [
        each["final_loss"] for each in sweep["runs"]
    ]


# --- terminal and pipe ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_on_a_terminal_it_fits_the_width_and_keeps_the_ids(tmp_path: Path) -> None:
    three(tmp_path / "runs")
    for columns in (80, 200):
        _, shown = on_terminal("ls", columns=columns, folder=tmp_path)
        assert "\x1b[32m" in shown  # finished is green
        lines = plain(shown).splitlines()
        assert lines[4:] == ([] if columns == 200 else ["2 more columns: --csv prints all"])
        assert max(map(len, lines)) <= columns
        assert "20260103-120000-bbcc0003" in lines[1]
        assert ("2026-01-03 12:00:00" in lines[1]) == (columns == 200)
        assert "0.125" in lines[1]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [52, 54, 56, 80])
def test_on_a_terminal_a_number_is_whole_or_not_there(tmp_path: Path, columns: int) -> None:
    losses = [0.384648, 4.61581e19, 0.0125]
    for day, loss in enumerate(losses):
        a_run(tmp_path / "runs", f"2026010{day + 1}-120000", name="lin", lr=loss, loss=loss)
    _, shown = on_terminal("ls", "--only-changed", columns=columns, folder=tmp_path)
    head, *lines = plain(shown).split(" more column")[0].rstrip("0123456789").splitlines()
    assert len(lines) == 3
    names = [name for name in ("final loss", "best loss", "optimizer.lr") if name in head]
    assert ("optimizer.lr" in head) == (columns == 80)
    for line, loss in zip(lines, losses[::-1], strict=True):
        assert line.split().count(f"{loss:.6g}") == len(names)
    assert "finished" in lines[0]


def test_what_is_resolved_in_one_record_and_auto_in_another_has_not_changed(gdcli) -> None:
    for digest, lr, threads in (("aaaa0001", 0.1, "auto"), ("aaaa0002", 0.2, "1")):
        folder = a_run(Path("runs"), "20260101-120000", digest=digest, lr=lr)
        config = folder / "config.yaml"
        config.write_text(f"{config.read_text()}threads: {threads}\n")
    assert gdcli("ls", "--only-changed").out.splitlines()[0].split()[-1] == "optimizer.lr"
    folder = a_run(Path("runs"), "20260101-120000", digest="aaaa0003")
    config = folder / "config.yaml"
    config.write_text(f"{config.read_text()}threads: 2\n")
    assert gdcli("ls", "--only-changed").out.splitlines()[0].split()[-2:] == ["optimizer.lr", "threads"]


def test_piped_a_name_of_64_letters_is_whole(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000", name="n" * 64)
    assert "n" * 64 in gdcli("ls").out
    assert "n" * 64 in gdcli("ls", "--md").out


def test_piped_it_is_never_cut_whatever_the_width(tmp_path: Path) -> None:
    three(tmp_path / "runs")
    environment = {**os.environ, "COLUMNS": "20", "FORCE_COLOR": "1"}
    ended = subprocess.run([*GDCLI, "ls"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "20260103-120000-bbcc0003  run   line   finished" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert "…" not in ended.stdout


# --- without torch, and fast ------------------------------------------------------------------------------------------


def modules_after(folder: Path, *arguments: str) -> set[str]:
    code = (
        f"import sys; from gdcli.cli import main; code = main({[*arguments]!r}); "
        "print('\\n' + ' '.join(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["ls"], ["ls", "--sort-by", "lr"], ["show", "last"], ["diff", "last~1", "last"], ["rm", "--yes", "last"],
              ["export", "last"]],
)  # fmt: skip
def test_no_torch_no_matplotlib_no_validation(tmp_path: Path, words: list[str]) -> None:
    three(tmp_path / "runs")
    loaded = modules_after(tmp_path, *words)
    assert "gdcli.storage.record" in loaded
    assert not loaded & {"torch", "matplotlib", "gdcli.spec.schema"}  # Typer itself imports pydantic


@pytest.mark.slow
def test_a_thousand_runs_in_under_a_second(tmp_path: Path) -> None:
    """Processor time of the whole process, the best of several, so that other work does not count."""
    for k in range(1000):
        a_run(tmp_path / "runs", f"202601{k % 28 + 1:02d}-{k // 60:02d}{k % 60:02d}00", digest=f"{k:08x}")
    seconds = []
    for _ in range(3):
        before = children_seconds()
        listed = subprocess.run([*GDCLI, "ls", "--json"], cwd=tmp_path, capture_output=True, check=True)
        seconds.append(children_seconds() - before)
        assert len(json.loads(listed.stdout)) == 1000
    assert min(seconds) < 1, seconds


def test_seconds_whose_sum_is_no_number_are_no_duration(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000")
    (folder / "timing.json").write_text('{"seconds": {"a": 1e308, "b": 1e308}}')
    (row,) = gdcli("ls", "--json").json
    assert row["duration"] is None
    assert gdcli("ls").code == gdcli("show", "last").code == 0


def test_a_pipe_gets_long_values_whole(gdcli) -> None:
    for k in range(2):
        layers = ",".join(["2", *["3"] * (30 + k), "2"])
        assert gdcli("run", "backprop_2x2", f"layers=[{layers}]", "init=null", "--no-plot", "-q").code == 0
    for form in ((), ("--md",), ("--csv",)):
        text = gdcli("ls", "--only-changed", *form).out.replace("\\", "")
        assert f"[{', '.join(['2', *['3'] * 31, '2'])}]" in text
        assert "…" not in text
