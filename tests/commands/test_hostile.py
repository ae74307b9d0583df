"""Records whose texts are meant to harm the terminal, a spreadsheet, a table of Markdown or Rich's markup."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest

from tests.hand_made import a_run, files
from tests.terminals import on_terminal

EVIL = (
    "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\x7f\x08\r", "[/red] [bold]x[/bold]", ":smiley: [link=http://x]y[/link]",
    "=cmd|' /C calc'!A0", "+1+1", "@sum", "-1+2", "\t=1", "a|b|c", "<script>alert(1)</script>", "\u202eabc",
    "line\nbreak", "\u2028", "$$", "`rm -rf`", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
)  # fmt: skip


def evil_run(root: Path, text: str) -> Path:
    """A record with a text wherever one can stand: folder, message, metric, spec, environment, a file's name."""
    safe = text.replace("/", "_")
    folder = a_run(root, "20260101-120000", name=f"n{safe}", metrics={text: 0.5}, message=text, extra={text: text})
    quoted = json.dumps(text)
    (folder / "config.yaml").write_text(f"name: {quoted}\noptimizer: {{name: {quoted}, {quoted}: {quoted}}}\n")
    environment = {"versions": {text: text, "torch": text}, "device": text, "command": [text], "git": {"commit": text}}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / safe).write_text("")
    return folder


def harmless(text: str) -> bool:
    """No control, bidirectional or invisible character but line breaks."""
    return all(character.isprintable() for character in text.replace("\n", ""))


@pytest.mark.slow
@pytest.mark.parametrize("text", EVIL)
def test_no_text_of_a_record_reaches_the_terminal_as_it_is(gdcli, text: str) -> None:
    folder = evil_run(Path("runs"), text)
    a_run(Path("runs"), "20260102-120000")
    for words in (
        ["ls"], ["ls", "--md"], ["ls", "--json"], ["ls", "--csv"], ["ls", "--only-changed"], ["ls", "--sort-by", text],
        ["ls", "--only-changed", "--csv"], ["ls", "--status", text], ["ls", "--sort-by", f"x{text}"],
        ["show", str(folder)], ["show", str(folder), "--json"], ["show", f"x{text}"],
        ["show", str(folder), "--style", text],
        ["diff", str(folder), "last"], ["diff", str(folder), "last", "--json"], ["rm", "--dry-run", str(folder)],
        ["export", str(folder)], ["rm", "--yes", str(folder)],
    ):  # fmt: skip
        answer = gdcli(*words)
        assert answer.code in (0, 2), (words, answer.err)
        assert harmless(answer.out), words
        assert harmless(answer.err), words
        assert "Traceback" not in answer.err


@pytest.mark.slow
@pytest.mark.parametrize("text", EVIL[:5])
def test_on_a_terminal_neither(tmp_path: Path, text: str) -> None:
    evil_run(tmp_path / "runs", text)
    for words in (["ls", "--sort-by", text], ["show", "last"]):
        code, shown = on_terminal(*words, columns=250, folder=tmp_path)
        assert code == 0
        assert harmless(re.sub(r"\x1b\[[0-9;]*m|\r", "", shown)), words
    assert ("[bold]x[/bold]" in shown) == ("[bold]" in text)  # printed, not taken for markup


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+2", "@sum", "\t=1", "\r=1"])
def test_no_cell_of_a_csv_is_a_formula(gdcli, text: str) -> None:
    evil_run(Path("runs"), text)
    folder = Path(gdcli("compare", "--optimizers", "sgd,adam", "--no-plot", "--json").json["folder"])
    results = folder / "results.csv"
    results.write_text(results.read_text().replace(",adam,", f',"{text}",'))
    for words in (["ls", "--csv", "--only-changed"], ["ls", "--csv", "--sort-by", text], ["export", str(folder)]):
        for row in csv.reader(io.StringIO(gdcli(*words).out, newline="")):
            for cell in row:
                assert re.fullmatch(r"-?[0-9.e+-]+", cell) or cell[:1] not in tuple("=+-@\t\r"), (words, cell)


def test_markdown_cells_do_not_break_their_row(gdcli) -> None:
    evil_run(Path("runs"), "a|b<i>`x`[y](z)")
    head, dashes, row = gdcli("ls", "--md", "--sort-by", "a|b<i>`x`[y](z)").out.splitlines()
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", head)) == dashes.count("|")
    assert "<" not in row
    assert r"\`x\`\[y\](z)" in head


def test_names_that_are_not_utf8(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000")
    folder.parent.rename(os.fsdecode(b"runs/\xff\xfe"))
    folder = next(Path("runs").glob("*/*"))
    for words in (["ls"], ["ls", "--json"], ["ls", "--csv"], ["show", "last"], ["rm", "--yes", str(folder)]):
        answer = gdcli(*words)
        assert answer.code == 0, answer.err
        assert harmless(answer.out + answer.err)
    assert not folder.exists()


def test_reading_changes_nothing(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000")
    before = files(Path.cwd())
    for words in (["ls", "--only-changed"], ["show", "last"], ["show", "last", "--log"], ["diff", "last", "last"],
                  ["export", "last"]):  # fmt: skip
        assert gdcli(*words).code == 0
    assert files(Path.cwd()) == before
    assert len(list(folder.iterdir())) == 9


def test_a_planted_log_is_escaped_on_a_terminal_and_exact_in_a_pipe(gdcli, tmp_path: Path) -> None:
    folder = a_run(tmp_path / "runs", "20260101-120000")
    (folder / "log.txt").write_text("a\tb\n\x1b[2Jc\n")
    assert gdcli("show", "last", "--log").out == "a\tb\n\x1b[2Jc\n"
    assert "\x1b" not in on_terminal("show", "last", "--log", columns=100, folder=tmp_path)[1]


def test_a_config_as_deep_or_large_as_no_spec_is_damaged_not_a_crash(gdcli) -> None:
    for k, text in enumerate(
        ("a: " + "[" * 100_000, "a: [" + "1, " * 100_000 + "1]", "a: &x [*x]", "a: !!python/x 1", "a")
    ):
        folder = a_run(Path("runs"), f"2026010{k + 1}-120000")
        (folder / "config.yaml").write_text(text)
        answer = gdcli("show", "last")
        assert answer.code == 0
        assert "config.yaml" in answer.out.split("\ndamaged\n")[1]
    assert gdcli("ls", "--sort-by", "lr").code == 2
