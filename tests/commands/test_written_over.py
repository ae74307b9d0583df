"""What a command writes with --force takes the place of a file alone: of no pipe, no device and no link to one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def record(gdcli: Any) -> None:
    Path("t.csv").write_text("a,y\n1,2\n2,3\n3,5\n")
    Path("t.yaml").write_text("{data: {file: t.csv, target: y}, model: linear, loss: mse, optimizer: sgd}\n")
    assert gdcli("run", "t.yaml", "--no-plot", "-q").code == 0


COMMANDS = {
    "out.csv": [("predict", "last", "t.csv", "-o"), ("export", "last", "--format", "csv", "-o")],
    "out.pt": [("export", "last", "--format", "state_dict", "-o")],
    "out.png": [("plot", "last", "-o")],
    "out.yaml": [("cp", "house_price")],
}


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("name", list(COMMANDS))
def test_force_takes_the_place_of_a_file_alone(gdcli: Any, name: str) -> None:
    out = Path(name)
    for words in COMMANDS[name]:
        os.mkfifo(out)
        answer = gdcli(*words, name, "--force")
        assert (answer.code, stat.S_ISFIFO(out.lstat().st_mode)) == (2, True)
        assert f"{name} is a device or a pipe" in answer.err
        out.unlink()
        out.symlink_to(os.devnull)
        answer = gdcli(*words, name, "--force")
        assert (answer.code, out.is_symlink()) == (2, True)
        assert f"{name} is a device or a pipe" in answer.err
        out.unlink()
        out.write_text("earlier")
        assert gdcli(*words, name, "--force").code == 0
        assert out.read_bytes() != b"earlier"
        out.unlink()
