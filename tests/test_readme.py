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
    for command, shown in commands(block):
        answer = gdcli(*shlex.split(command))
        assert answer.code == 0, answer.err
        if shown:
            assert answer.out == shown


def test_the_spec_shown_is_valid(gdcli) -> None:
    (spec,) = re.findall(r"^```yaml\n(.*?)^```", README, re.S | re.M)
    Path("line.yaml").write_text(spec)
    assert gdcli("validate", "line.yaml").out == "line.yaml: valid\n"
