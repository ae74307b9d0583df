"""A corpus of malformed specs: each file's first lines say what `gdcli run` must answer, and where.

``# expect: LINE:COLUMN: FRAGMENT`` stands for one problem: its place in this file, and a part of its path and message.
Files whose name begins with ``torch_`` need torch to be judged.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gdcli.cli import main

CORPUS = Path(__file__).parent.parent / "corpus"
MARK = "# expect: "

# What cannot hold a comment, or is better made here: name, bytes, the problems.
BYTES = [
    ("empty", b"", ["1:1: the file is empty. A spec is a mapping, one 'key: value' a line"]),
    ("blank", b"\n\n  \n", ["1:1: the file is empty"]),
    ("scalar", b"42", ["1:1: the document is a value, not a mapping of keys"]),
    ("null", b"null\n", ["1:1: the document is a value, not a mapping of keys"]),
    ("utf16", "loss: mse\n".encode("utf-16"), ["1:1: the text is not UTF-8 (it looks like UTF-16). Save it as UTF-8"]),
    (
        "latin1",
        "description: né\nseed: 010\n".encode("latin-1"),
        ["1:15: byte 0xE9 is not UTF-8", "2:7: seed: a number"],
    ),
    (
        "binary",
        bytes(range(128, 160)),
        ["1:1: byte 0x80 is not UTF-8", "1:21: more characters that are refused follow"],
    ),
    ("nul", b"loss: m\0se\n", ["1:8: the control character U+0000 is refused"]),
    ("escape", b"loss: \x1b[31mmse\n", ["1:7: the control character U+001B is refused"]),
    ("inner_bom", "loss: \ufeffmse\n".encode(), ["1:7: the byte order mark U+FEFF is refused"]),
    ("large", b"#" * (256 * 1024 + 1), ["1:1: larger than 262,144 bytes. Put the data in a CSV file"]),
    ("deep", b"data: " + b"[" * 100_000, ["1:38: data[0]", "nested deeper than 32 levels"]),
    ("carriage_return", b"loss: mse\rloss: mae\r", ["2:1: loss: this key is already given on line 1"]),
]
GOOD = "data: {x: [1, 2], y: [2, 4]}\nmodel: linear\nloss: mse\noptimizer: {name: sgd, lr: 0.01}\n"


def _files(*, torch: bool) -> list[Path]:
    return [path for path in sorted(CORPUS.glob("*.yaml")) if path.name.startswith("torch_") == torch]


def _expected(path: Path) -> list[tuple[str, str]]:
    lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    texts = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    return [(f"{line}:{column}: ", rest.strip()) for line, column, rest in (text.split(":", 2) for text in texts)]


def _answer(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run the spec in the current, empty folder and return its problems, the file's name taken off."""
    code = main(["run", str(path)])
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, ""), printed.err
    assert not list(Path.cwd().iterdir())  # no runs folder, nothing
    lines = printed.err.split("\n")[:-1]
    assert all(line.startswith(f"{path}:") for line in lines), printed.err
    return [line.removeprefix(f"{path}:") for line in lines]


def _check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = _expected(path)
    problems = _answer(path, capsys)
    assert expected
    assert len(problems) == len(expected), problems
    for problem, (place, fragment) in zip(problems, expected, strict=True):
        assert problem.startswith(place), problems
        assert fragment in problem, problems


def test_the_corpus_is_large() -> None:
    assert len(_files(torch=False)) + len(_files(torch=True)) >= 110


@pytest.mark.parametrize("path", _files(torch=False), ids=lambda path: path.stem)
def test_every_problem_is_told_at_its_place(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "gdcli.runner.record_run", None)  # these are known without torch
    _check(path, capsys)


@pytest.mark.parametrize("path", _files(torch=True), ids=lambda path: path.stem)
def test_what_only_torch_knows_is_told_too(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # a machine without accelerators
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    _check(path, capsys)


@pytest.mark.parametrize(("name", "text", "expected"), BYTES, ids=[name for name, _, _ in BYTES])
def test_files_that_hold_no_comment(
    name: str,
    text: bytes,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_bytes(text)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    problems = "\n".join(_answer(path, capsys))
    assert all(fragment in problems for fragment in expected), problems


def test_validate_tells_the_same_of_all_specs_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [
        path for path in _files(torch=False) if path.stem != "missing_optimizer_with_sweep"
    ]  # valid, but not to run
    assert main(["validate", *map(str, paths)]) == 2
    problems = capsys.readouterr().err.split("\n")[:-1]
    expected = [(f"{path}:{place}", fragment) for path in paths for place, fragment in _expected(path)]
    assert len(problems) == len(expected)
    for problem, (place, fragment) in zip(problems, expected, strict=True):
        assert problem.startswith(place)
        assert fragment in problem


def test_a_byte_order_mark_at_the_start_is_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert main(["validate", str(tmp_path / "bom.yaml")]) == 0
    assert capsys.readouterr().err == ""


def test_a_mini_batch_larger_than_the_data_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large_batch.yaml"
    path.write_text(GOOD + "batch: {mode: mini-batch, size: 32}\n")
    assert main(["run", str(path), "--output", str(tmp_path / "runs"), "--no-plot"]) == 0
    printed = capsys.readouterr()
    assert f"{path}:5:33: batch.size: 32 rows a step, the data have 2: one step an epoch" in printed.err
    assert printed.out.startswith("epoch 1, loss ")
