"""A command on a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path
from typing import IO

CODE = "from gdcli.cli import entry; entry()"


def on_terminal(
    *arguments: str, columns: int = 80, folder: Path | None = None, code: str = CODE, out: IO[bytes] | None = None
) -> tuple[int, str]:
    """Return the exit code of a command and what it shows, colours included; `out` has what it prints, where given."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    without = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment["TERM"] = "xterm-256color"
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(
        command, cwd=folder, stdin=theirs, stdout=out or theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        found = b""
        try:
            while part := os.read(ours, 2**16):
                found += part
        except OSError:  # Linux's end of a terminal
            os.close(ours)
    return process.returncode, found.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    """Return what was shown without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
