"""What the README shows is what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", README, re.S | re.M)


def commands(block: str) -> list[tuple[str, str]]:
    """Each command of a console block with the output shown below it."""
    return re.findall(r"^\$ gdcli (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)


@pytest.mark.parametrize("block", BLOCKS)
def test_console_block(gdcli, block: str) -> None:
    assert commands(block)
    (plugin,) = re.findall(r"^```python\n((?:(?!```|>>>).*\n)*?.*@gdcli\.(?:(?!```).*\n)*)```", README, re.M)
    Path("mine.py").write_text(plugin)
    for command, shown in commands(block):
        answer = gdcli(*shlex.split(command))
        assert answer.code == 0, answer.err
        if shown:
            assert answer.out == shown


@pytest.mark.parametrize("spec", re.findall(r"^```yaml\n(.*?)^```", README, re.S | re.M))
def test_a_spec_shown_is_valid(gdcli, spec: str) -> None:
    Path("shown.yaml").write_text(spec)
    assert gdcli("cp", "titanic_small").code == 0  # with its table
    assert gdcli("validate", "shown.yaml").out == "shown.yaml: valid\n"


def options(gdcli, command: str) -> set[str]:
    """The long options that a command's help lists."""
    answer = gdcli(command, "--help")
    assert answer.code == 0
    return set(re.findall(r"--[a-z][a-z-]*", answer.out))


def test_the_options_it_names_are_those_of_the_commands(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    commands = (
        "run", "sweep", "compare", "explain", "check", "plot", "ema", "catalog", "cp", "validate", "schema",
        "ls", "show", "diff", "rm", "export", "resume", "verify", "predict", "evaluate",
    )  # fmt: skip
    known = {command: options(gdcli, command) for command in commands}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))
    assert named <= set().union(*known.values()) | {"--help", "--nproc-per-node"}  # torchrun's
    common = {"--output", "--seed", "--device", "--quiet", "--plot", "--help"}  # of every command that runs anything
    assert (known["sweep"] | known["compare"]) - common <= named


def test_the_map_of_the_code_has_every_module() -> None:
    (tree,) = re.findall(r"^```\n(experiments/.*?)^```", README, re.S | re.M)
    package = Path(__file__).parents[1] / "gdcli"
    modules = {path.name for path in package.glob("[a-z]*.py")}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert {name for name in modules | folders if name not in tree} == set()
