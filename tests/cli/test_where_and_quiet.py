"""Where a command writes a single file, and what it does not say when it is asked to be quiet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import only_folder
from tests.terminals import on_terminal, plain

RUN = ("run", "backprop_2x2", "--no-plot", "-q")


def files() -> set[str]:
    """The files below the current folder, those of records left out."""
    return {str(path) for path in Path().rglob("*") if path.is_file() and path.parts[0] != "runs"}


def test_a_path_that_ends_in_a_slash_is_a_folder(gdcli) -> None:
    pytest.importorskip("pyarrow")
    assert gdcli(*RUN).code == 0
    identity = only_folder(Path("runs")).name
    for words in (
        ("cp", "house_price", "specs/new/"), ("plot", "--kind", "losses", "-o", "pictures/"),
        ("export", "last", "-o", "tables/"), ("export", "last", "-f", "parquet", "-o", "tables/"),
        ("ema", "-o", "averages.csv/", "--no-plot"),
    ):  # fmt: skip
        assert gdcli(*words).code == 0
    record = only_folder(Path("averages.csv")).relative_to(".")
    assert files() == {
        "specs/new/house_price.yaml", "specs/new/house_price.csv", "specs/new/gdcli.schema.json",
        "pictures/losses.png", f"tables/{identity}.csv", f"tables/{identity}.parquet",
        f"{record}/ema.csv", f"{record}/summary.json",
    }  # fmt: skip


def test_a_folder_that_is_there_is_used_with_a_slash_or_without(gdcli) -> None:
    Path("a").mkdir()
    assert gdcli("cp", "mlp", "a/").err.splitlines()[0] == "wrote a/mlp.yaml"
    assert gdcli("cp", "linear_manual", "a").err.splitlines()[0] == "wrote a/linear_manual.yaml"
    assert gdcli("cp", "mlp", "b").err.splitlines()[0] == "wrote b"


@pytest.mark.parametrize(
    "words", [("cp", "mlp"), ("plot", "backprop_2x2", "-o"), ("export", "last", "-o")], ids=lambda words: words[0]
)
def test_a_folder_that_cannot_be_leaves_nothing(gdcli, words: tuple[str, ...]) -> None:
    assert gdcli(*RUN).code == 0
    Path("file").write_text("kept")
    answer = gdcli(*words, "file/")
    assert (answer.code, answer.err) == (2, "file/ is there already, and no folder\n")
    bad = gdcli(words[0], "nobody", *words[2:], "new/")
    assert bad.code == 2
    assert not Path("new").exists()
    assert files() == {"file"}


def test_quiet_is_quiet_where_nothing_is_left_to_do(gdcli) -> None:
    sweep = "sweep", "backprop_2x2", "-p", "lr=0.1,0.2", "--fleet", "off", "--no-plot", "-q"  # fleets may warn
    for words in (RUN, sweep):
        first = gdcli(*words, "--tag", "one")
        assert (first.code, first.err) == (0, "")
        again = gdcli(*words, "--needed")
        assert (again.code, again.out, again.err) == (0, first.out, "")
        assert gdcli("resume", "last", "-q").err == ""
        assert gdcli(*words, "--needed", "--tag", "two").err == (
            "not needed, it is finished already, without the tag two\n"
        )


def test_what_failed_is_told_quietly_too(gdcli) -> None:
    words = ("run", "linear_manual", "lr=1e300", "--no-plot", "-q")
    assert gdcli(*words).code == 1
    answer = gdcli("resume", "last", "-q")
    assert (answer.code, answer.err) == (1, "nothing is left to do: diverged\n")


@pytest.mark.slow
def test_a_slow_import_is_progress() -> None:
    code = "import time\nfrom gdcli.cli import signals\nwith signals.importing(quiet=True):\n    time.sleep(1.3)\n"
    assert plain(on_terminal(code=code)[1]) == ""
