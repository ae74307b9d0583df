"""What a person sees at a terminal of some width, and what a pipe gets of the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import only_folder
from tests.terminals import on_terminal, plain


def shown(columns: int, *arguments: str) -> str:
    """Return what a command shows on a terminal of so many columns."""
    return plain(on_terminal(*arguments, columns=columns)[1])


@pytest.fixture
def records(gdcli) -> None:
    """Three runs of two experiments that differ in much, of which one diverges, and their folder as the current one."""
    for words in (
        ("linear_manual", "--tag", "baseline"), ("backprop_2x2", "--tag", "baseline", "--tag", "first"),
        ("gd_variants", "epochs=3", "optimizer.lr=1e30"),
    ):  # fmt: skip
        gdcli("run", *words, "--no-plot", "-q")


WIDTHS = (60, 80, 160)


@pytest.mark.slow
@pytest.mark.parametrize("columns", WIDTHS)
def test_no_line_is_wider_than_the_terminal_and_ids_are_whole(records, columns: int) -> None:
    ids = {folder.name for folder in Path("runs").glob("*/*")}
    for more in ((), ("--only-changed",), ("--tag", "baseline"), ("--sort-by", "optimizer.lr")):
        lines = shown(columns, "ls", *more).splitlines()
        assert all(len(line.rstrip()) <= columns for line in lines), lines
        whole = {word for line in lines for word in line.split() if word in ids}
        assert len(whole) == (2 if "--tag" in more else 3)
        assert "…" not in "".join(line[:24] for line in lines)


BROAD = (
    ("compare", "optimizers_2x2", "epochs=3", "--no-plot"), ("show", "linear_manual"), ("catalog", "optimizer"),
    ("cp",), ("check", "backprop_2x2"), ("explain", "why_cross_entropy"), ("diff", "linear_manual", "backprop_2x2"),
    ("run", "linear_manual", "optimizer.learning_rate=1"), ("sweep", "linear_manual", "-p", "x=1"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("words", BROAD, ids=" ".join)
def test_lines_break_between_words_on_a_terminal_and_nowhere_else(records, gdcli, words: tuple[str, ...]) -> None:
    text = shown(60, *words)
    assert not [line for line in text.splitlines() if len(line) > 60 and len(line.split()) > 2]
    if words[0] not in ("compare", "check", "explain"):  # a record has a name of its own, an import may be slow
        piped = gdcli(*words)
        assert text.split() == (piped.out + piped.err).split()
        assert any(len(line) > 60 for line in (piped.out + piped.err).splitlines())


@pytest.mark.slow
def test_keys_that_do_not_fit_are_counted(records, gdcli) -> None:
    text = shown(80, "ls", "--only-changed")
    header = gdcli("ls", "--only-changed", "--csv").out.splitlines()[0].split(",")
    told = re.search(r"(\d+) more columns: --csv prints all", text)
    assert told is not None
    keys = [name for name in header if "." in name or name in ("epochs", "loss", "dtype", "seed")]
    kept = [key for key in keys if key in text.splitlines()[0].split()]
    assert kept
    always = text.splitlines()[0].replace("final loss", "loss").split()[: -len(kept)]
    assert int(told[1]) + len(kept) + len(always) == len(header)


@pytest.mark.slow
def test_a_wide_terminal_has_the_descriptions(records) -> None:
    assert "Three ways to take a gradient step" in shown(160, "ls")
    assert "description" not in shown(100, "ls")
    (line,) = [line for line in shown(160, "ls").splitlines() if " backprop_2x2 " in line]
    said = "One step" + line.partition("One step")[2].rstrip()
    assert said.endswith("…")
    assert "One step of backpropagation through a 2-2-2 network".startswith(said[:-1])


@pytest.fixture
def many(gdcli) -> None:
    """A comparison, a sweep, a grid and a run."""
    assert gdcli("compare", "optimizers_2x2", "epochs=3", "--no-plot", "-q").code == 0
    assert gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.2", "--no-plot", "-q").code == 0
    assert gdcli("sweep", "linear_sweep", "-p", "w=0:4.1:0.3", "--no-plot", "-q").code == 0
    assert gdcli("run", "linear_manual", "--no-plot", "-q").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 80])
def test_a_sweep_and_a_comparison_have_their_loss_on_a_narrow_terminal(many, gdcli, columns: int) -> None:
    text = shown(columns, "ls")
    found = gdcli("ls", "--json").json
    assert {each["kind"] for each in found} == {"run", "sweep", "grid", "compare"}
    for each in found:
        (line,) = [line for line in text.splitlines() if line.startswith(each["id"])]
        loss = each["final_loss"] if each["kind"] == "run" else each["best_loss"]
        assert f"{loss:.6g}" in line.split()
    told = " ".join(text.splitlines()[5:]).split()
    assert " ".join(told).startswith("loss is the final one of a run, the best one of a sweep or comparison; ")
    left = len(found[0]) - 1 - len(text.splitlines()[0].split())  # without the folder
    assert " ".join(told).endswith(f"; {left} more columns: --csv prints all")
    assert " more columns: --csv prints all" in shown(columns, "ls", "linear_manual")
    assert "final loss" in shown(columns, "ls", "linear_manual")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 160])
@pytest.mark.parametrize("words", [("show", "optimizers_2x2"), ("diff", "optimizers_2x2", "linear_manual")])
def test_no_value_is_cut_on_a_terminal_nor_in_a_pipe(many, gdcli, words: tuple[str, ...], columns: int) -> None:
    whole = gdcli(*words).out
    assert "…" not in whole
    assert max(map(len, whole.splitlines())) > 160
    assert {*shown(columns, *words).split()} == {*whole.split()}  # of a table in parts not in one order


def test_records_are_found_by_their_tags(records, gdcli) -> None:
    found = gdcli("ls", "--tag", "baseline", "--json").json
    assert sorted((each["name"], each["tags"]) for each in found) == [
        ("backprop_2x2", "baseline first"),
        ("linear_manual", "baseline"),
    ]
    assert len(gdcli("ls", "--tag", "first", "--json").json) == 1
    assert gdcli("ls", "--tag", "nobody").err == "no records\n"
    assert "baseline first" in gdcli("show", "backprop_2x2").out
    assert gdcli("verify", "backprop_2x2").out == "bit-identical\n"


def test_the_best_comes_first_whatever_is_better(gdcli) -> None:
    for rate in ("1e-9", "0.1", "0.01"):
        words = ("run", "softmax_regression", f"optimizer.lr={rate}", "epochs=1", "--no-plot", "-q")
        assert gdcli(*words).code == 0
    found = gdcli("ls", "--sort-by", "accuracy", "--json").json
    accuracies = [each["accuracy"] for each in found]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(set(accuracies)) == 3
    assert [each["accuracy"] for each in gdcli("ls", "--sort-by", "accuracy", "-r", "--json").json] == accuracies[::-1]
    losses = [each["final_loss"] for each in gdcli("ls", "--sort-by", "loss", "--json").json]
    assert losses == sorted(losses)


def test_a_pipe_gets_all_of_a_record(gdcli) -> None:
    assert gdcli("run", "backprop_2x2", "--no-plot", "-q").code == 0
    text = gdcli("show", "last").out
    assert "[[0.4, 0.45], [0.5, 0.55]]" in text  # at the end of a long line
    assert "…" not in text


@pytest.mark.parametrize("command", [("run", "backprop_2x2"), ("sweep", "--param", "w"), ("compare",)])
@pytest.mark.parametrize("word", ["", "a b", "a\n"])
def test_a_tag_is_one_word(gdcli, command: tuple[str, ...], word: str) -> None:
    answer = gdcli(*command, "--tag", word)
    assert (answer.code, answer.out) == (2, "")
    assert "--tag takes a word without blanks" in answer.err
    assert not Path("runs").exists()


def test_a_record_that_is_enough_without_its_tag_says_so(gdcli) -> None:
    words = ("run", "backprop_2x2", "--no-plot", "--needed", "--tag")
    assert gdcli(*words, "one").code == 0
    assert "finished already: " in gdcli(*words, "one").err
    more = gdcli(*words, "two", "--tag", "three", "--tag", "one")
    assert "finished already, without the tag two, three: " in more.err


def test_a_duration_is_that_of_the_run_without_its_picture(gdcli) -> None:
    assert gdcli("run", "backprop_2x2", "-q").code == 0
    seconds = json.loads((only_folder(Path("runs")) / "timing.json").read_text())["seconds"]
    (found,) = gdcli("ls", "--json").json
    assert found["duration"] == pytest.approx(sum(value for name, value in seconds.items() if name != "plot"))
    assert seconds["plot"] > 0


def test_the_resolved_spec_is_the_config_of_its_run(gdcli) -> None:
    words = ("mlp", "optimizer.lr=0.25", "epochs=1")
    text = gdcli("show", *words, "--resolved").out
    assert gdcli("show", *words, "--cfg").out == text
    assert not Path("runs").exists()
    assert gdcli("run", *words, "--no-plot", "-q").code == 0
    assert (only_folder(Path("runs")) / "config.yaml").read_text() == text
    for record in ("last", only_folder(Path("runs")).name, str(only_folder(Path("runs")))):
        assert gdcli("show", record, "--resolved").out == text
    words = ("last", "optimizer.lr=0.5", "--resolved")
    assert gdcli("show", *words).out == text.replace("lr: 0.25", "lr: 0.5")
    assert "there is no file 'nobody' and no bundled spec" in gdcli("show", "nobody", "--resolved").err
    answer = gdcli("show", "last", "mlp")
    assert (answer.code, answer.err) == (2, "'mlp': show takes one record; --resolved takes a spec and its overrides\n")


BUSY = """
import sys, time
import gdcli.cli.output
from gdcli.engine import loop
step = loop.training_step
first = []

def slowly(*arguments):
    first.append(time.monotonic()) if not first else None
    time.sleep(0.03)
    return step(*arguments)

loop.training_step = slowly
bar = gdcli.cli.output.bar

def noted(total):
    shown.append(time.monotonic() - first[0])
    return bar(total)

shown = []
gdcli.cli.output.bar = noted
from gdcli.cli import main
code = main(sys.argv[1:])
print(f"steps before the bar: {shown[0] / 0.03:.1f}")
"""


@pytest.mark.slow
def test_a_bar_comes_soon_after_the_first_step_and_leaves_nothing_behind(gdcli) -> None:
    """Steps of 30 ms: the first block ends with the step in which 0.2 s are over."""
    text = plain(on_terminal("run", "backprop_2x2", "epochs=20", "print.style=loss", "--no-plot", code=BUSY)[1])
    told = re.search(r"steps before the bar: ([\d.]+)", text)
    assert told is not None
    assert "epoch 7/20" in text or "epoch 6/20" in text or "epoch 5/20" in text
    last = text.splitlines()[-3:]
    assert not any("steps/s" in line.split("\r")[-1] for line in last)


@pytest.mark.slow
def test_a_slow_import_is_told_on_a_terminal_alone() -> None:
    code = (
        "import sys, time\nfrom gdcli.cli import signals\nwith signals.importing():\n    time.sleep(1.3)\n"
        "print('done')\n"
    )
    text = plain(on_terminal(code=code)[1])
    assert text.startswith("importing torch ...\r")
    assert text.splitlines()[-1].split("\r")[-1] == "done"
    assert "importing" not in on_terminal(code=code.replace("1.3", "0.1"))[1]


@pytest.mark.slow
def test_a_signal_takes_what_is_told_of_a_slow_import_off_the_terminal() -> None:
    code = (
        "import os, time\nfrom gdcli.cli import signals\nwith signals.importing():\n    time.sleep(1.3)\n"
        "    os.kill(os.getpid(), 2)\n"
    )
    ended, text = on_terminal(code=code)
    told = "importing torch ..."
    assert (ended, plain(text)) == (130, f"{told}\r{' ' * len(told)}\r")
