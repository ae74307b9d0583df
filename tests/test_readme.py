"""What README.md and the pages of docs/ show is what the commands print: every fenced block is run.

Blocks of one page share a folder, in their order. A block whose first line is a comment with a file's name, or that has
a title, is written to that file, which a later block uses; where a command has made it, it is compared. `console`
blocks are commands with their output, where `...` stands for anything; `$ echo $?` after a command that fails shows its
exit code. `python` blocks are run, with `>>>` as doctests; a `yaml` block without a name is a whole spec. `text` is not
run; `bash` is for what needs a network or several processes.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from gdcli.cli.application import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


class Block(NamedTuple):
    language: str
    file: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text()
    found = re.findall(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', text, re.S | re.M)
    assert len(found) * 2 == text.count("```"), "a fence that is indented, or without a language"
    assert "~~~" not in text, "a fence of another kind"
    assert not [title for language, title, _ in found if title and language in ("console", "bash", "text")]
    assert not [body for language, _, body in found if language == "text" and re.search(r"^\$ ", body, re.M)]
    return [Block(language, title or named(body), body) for language, title, body in found]


def named(body: str) -> str | None:
    """The file that a block's first line, a comment, names."""
    found = re.match(r"# ([\w.-]+\.(?:yaml|py))$", body.partition("\n")[0])
    return found[1] if found else None


def commands(block: str) -> list[tuple[str, str]]:
    """Each command of a console block with the output shown below it."""
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)
    assert sum(shown.count("\n") + 1 for _, shown in found) == block.count("\n"), "output without a command"
    return found


def agrees(shown: str, printed: str) -> bool:
    """Whether a text is the one that is shown, in which `...` stands for anything."""
    return re.fullmatch(re.escape(shown).replace(r"\.\.\.", ".*"), printed, re.S) is not None


def run_console(gdcli: Any, text: str) -> None:
    lines = commands(text)
    for (command, shown), after in zip(lines, [*lines[1:], ("", "")], strict=True):
        if command == "echo $?":
            continue
        words, _, file = command.partition(" > ")
        program, *arguments = shlex.split(words)
        assert program == "gdcli", command
        answer = gdcli(*arguments)
        assert answer.code == int(after[1] if after[0] == "echo $?" else 0), f"{command}: {answer.err}"
        if file:
            Path(file).write_text(answer.out)
        elif shown:
            assert any(agrees(shown, printed) for printed in (answer.out, answer.err, answer.out + answer.err)), (
                f"$ {command}\n{answer.out}{answer.err}"
            )


def run_python(text: str, names: dict[str, Any]) -> None:
    if ">>>" not in text:
        exec(text, names)
        return
    test = doctest.DocTestParser().get_doctest(text, names, "block", None, 0)
    output: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=output.append, clear_globs=False)
    names.update(test.globs)
    assert output == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:on this processor:UserWarning")  # fleets agree to rounding there
@each_page
def test_every_block_runs_and_prints_what_is_shown(gdcli, page: Path) -> None:
    names: dict[str, Any] = {}
    found, ours = blocks(page), set[str]()
    for k, (language, file, text) in enumerate(found):
        if file is not None and Path(file).exists() and file not in ours:
            assert text == Path(file).read_text(), file
        elif file is not None:
            Path(file).write_text(text)
            ours.add(file)
            assert any(Path(file).stem in later.text for later in found[k + 1 :]), f"{file} is not used"
        elif language == "console":
            run_console(gdcli, text)
        elif language == "python":
            run_python(text, names)
        elif language == "yaml":
            Path("shown.yaml").write_text(text)
            assert gdcli("validate", "shown.yaml").out == "shown.yaml: valid\n"
        else:
            assert language in ("text", "bash"), language


def shell_lines() -> Iterator[list[str]]:
    for page in PAGES:
        for language, _, text in blocks(page):
            if language == "bash":
                yield from (shlex.split(line, comments=True) for line in text.splitlines() if line.strip())


def test_what_needs_a_network_names_what_there_is() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    extras = set(PROJECT["optional-dependencies"])
    for program, *words in shell_lines():
        assert program in ("make", "pip", "torchrun", "python3", "source"), program
        if program == "make":
            assert {word for word in words if "=" not in word} <= targets
        if program == "pip":
            assert words[0] == "install"
            assert all(
                re.fullmatch(r"-[ce]|constraints\.txt|(\.|gradient-descent-cli)(\[[a-z,]+\])?", w) for w in words[1:]
            )
            assert {extra for word in words for extra in re.findall(r"[a-z]+", word.partition("[")[2])} <= extras
            assert all((ROOT / word).exists() for word in words if word.endswith(".txt"))


@pytest.mark.slow
def test_the_runs_of_several_processes_run(tmp_path: Path) -> None:
    lines = [words for words in shell_lines() if words[0] == "torchrun"]
    assert lines
    for _, *words in lines:
        command = [sys.executable, "-m", "torch.distributed.run", *words, "stop.max_steps=2", "--no-plot", "--quiet"]
        subprocess.run(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


def options() -> dict[str, set[str]]:
    """The long options of each command, and of gdcli itself."""
    group: Any = typer.main.get_command(app())
    return {
        name: {word for each in command.params for word in (*each.opts, *each.secondary_opts) if word.startswith("--")}
        for name, command in {"gdcli": group, **group.commands}.items()
    }


NOT_OURS = {"--help", "--nproc-per-node", "--lr"}  # of every command; torchrun's; a mistake that is answered


@each_page
def test_the_options_it_names_are_those_of_the_commands(page: Path) -> None:
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page.read_text())) <= set().union(*options().values()) | NOT_OURS


def test_every_option_of_a_sweep_or_comparison_is_explained() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "".join(page.read_text() for page in PAGES)))
    common = {"--output", "--seed", "--device", "--quiet", "--plot"}  # of every command that runs anything
    assert (options()["sweep"] | options()["compare"]) - common <= named


def test_the_readme_has_every_command_in_its_table() -> None:
    assert set(re.findall(r"^\| `gdcli (\w+)", README.read_text(), re.M)) == set(options()) - {"gdcli"}


def test_the_map_of_the_code_has_every_module() -> None:
    (tree,) = re.findall(r"^```text\n(experiments/.*?)^```", (ROOT / "docs" / "internals.md").read_text(), re.S | re.M)
    package = ROOT / "gdcli"
    modules = {path.name for path in package.glob("[a-z]*.py")}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert {name for name in modules | folders if name not in tree} == set()


def words(text: str) -> int:
    """The words of a text; of Chinese, three characters are taken for two words, as translators do."""
    characters = re.findall(r"[\u4e00-\u9fff]", text)
    return len(re.findall(r"[^\s\u4e00-\u9fff]*\w[^\s\u4e00-\u9fff]*", text, re.A)) + len(characters) * 2 // 3


@each_page
def test_a_page_is_short(page: Path) -> None:
    assert words(page.read_text()) <= 1500


def test_the_readme_is_short() -> None:
    assert README.stat().st_size <= 8192


@each_page
def test_its_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        made = target.split("/")[0] in ("reference", "commands")  # by docs/generated.py; tests/test_docs_site.py
        assert made or (page.parent / target).exists(), target
