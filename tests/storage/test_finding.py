"""Which record a word means, on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gdcli.errors import SpecError
from gdcli.storage.find import below, find
from tests.hand_made import a_run, three


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("last", 2),
        ("last~0", 2),
        ("last~2", 0),
        ("20260102-120000-bbbb0002", 1),
        ("20260101", 0),
        ("aaaa", 0),
        ("bbcc0003", 2),
        ("line", 2),  # the newest of the experiment
        ("curve", 1),
    ],
)
def test_what_a_word_means(tmp_path: Path, text: str, which: int) -> None:
    folders = three(tmp_path)
    assert find(text, tmp_path) == folders[which]


def test_a_run_of_a_sweep_is_named_behind_a_slash(tmp_path: Path) -> None:
    sweep = a_run(tmp_path, "20260104-120000", name="fan")
    runs = [sweep / name for name in ("1-sgd_seed=0", "2-adam_seed=0", "12-adam_seed=1")]
    for run in runs:
        a_run(tmp_path / "other", "20260101-120000", name=run.name).rename(run)
    for text in ("last", "fan", "fan~0", sweep.name, str(sweep)):
        assert [find(f"{text}/{name}", tmp_path) for name in ("1", "2", "12", runs[1].name)] == [*runs, runs[1]]
    for text in ("last/3", "last/adam", "last/", "fan/0", "lost/1", "/1"):
        with pytest.raises(SpecError):
            find(text, tmp_path)


def test_a_path_is_a_record_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = three(tmp_path / "elsewhere")[0]
    monkeypatch.chdir(folder.parent)
    for text in (str(folder), f"{folder}/", folder.name, f"./{folder.name}"):
        assert find(text, tmp_path / "runs").resolve() == folder


@pytest.mark.parametrize("text", ["bb", "2026"])
def test_a_prefix_of_several_lists_them(tmp_path: Path, text: str) -> None:
    three(tmp_path)
    with pytest.raises(SpecError, match="could be any of") as caught:
        find(text, tmp_path)
    assert "curve/20260102-120000-bbbb0002" in str(caught.value)
    assert "line/20260103-120000-bbcc0003" in str(caught.value)
    assert ("line/20260101-120000-aaaa0001" in str(caught.value)) == (text == "2026")


def test_a_name_is_given_whole(tmp_path: Path) -> None:
    """A spec may be called as another's name begins: the record of the other is not its own."""
    folder = a_run(tmp_path, "20260101-120000", name="line_2")
    with pytest.raises(SpecError, match=r"there is no record 'line' in .*Did you mean 'line_2'"):
        find("line", tmp_path)
    for text in ("line_", "line~0", ""):
        with pytest.raises(SpecError):
            find(text, tmp_path)
    own = a_run(tmp_path, "20250101-120000", name="line")
    assert (find("line", tmp_path), find("line_2", tmp_path)) == (own, folder)


def test_the_nearest_is_named(tmp_path: Path) -> None:
    three(tmp_path)
    with pytest.raises(SpecError, match=r"there is no record 'lime' in .*Did you mean 'line'"):
        find("lime", tmp_path)
    with pytest.raises(SpecError, match=r"there are 3 records in"):
        find("last~3", tmp_path)
    with pytest.raises(SpecError, match="there are no records in"):
        find("last", tmp_path / "nothing")
    with pytest.raises(SpecError, match="is no record"):
        find(str(tmp_path), tmp_path)


def test_within_one_second_the_environment_tells_which_came_last(tmp_path: Path) -> None:
    stamp = "20260101-120000"
    folders = [a_run(tmp_path, stamp, digest=digest) for digest in ("cccc0001", "aaaa0002", "bbbb0003")]
    for k, folder in enumerate(folders):
        os.utime(folder / "environment.json", (1000 + k, 1000 + k))
    assert below(tmp_path) == folders[::-1]


def test_hidden_folders_links_and_other_folders_are_no_records(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "runs", "20260101-120000")
    folder.rename(folder.with_name(".deadbeef"))
    other = a_run(tmp_path / "other", "20260101-120000")
    (tmp_path / "runs" / "line" / "20260101-120000-0123abcd").symlink_to(other)
    (tmp_path / "runs" / "linked").symlink_to(other.parent)
    (tmp_path / "runs" / "line" / "notes").mkdir()
    assert below(tmp_path / "runs") == []


def test_every_command_refuses_an_unknown_record_with_2(gdcli) -> None:
    three(Path("runs"))
    for command in (["show"], ["rm", "--yes"], ["export"], ["ls"], ["diff", "last"], ["resume"], ["verify"]):
        for word in ("lime", "lin"):
            answer = gdcli(*command, word)
            assert (answer.code, answer.out) == (2, "")
            assert answer.err == f"there is no record '{word}' in runs. Did you mean 'line'?\n"
