"""Folders for temporary files: they go, and so do those that killed processes left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gdcli.storage.run_folder import scratch


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_goes_in_the_end_whatever_ends_it(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), scratch("x") as folder:
        (folder / "below").mkdir()
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
        raise KeyboardInterrupt
    assert not folder.exists()


def test_that_of_a_killed_process_goes_with_the_next_and_no_other(tmp_path: Path) -> None:
    lines = ("import time", "from gdcli.storage.run_folder import scratch", "with scratch('x') as folder:",
             "    print(folder, flush=True)", "    time.sleep(99)")  # fmt: skip
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", "\n".join(lines)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        (left / "file").touch()
        os.utime(left, (1, 1))
        with scratch("x"):
            assert left.exists()  # it is in use
        process.send_signal(signal.SIGKILL)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "gdcli-x-link").symlink_to(elsewhere)
    os.utime(tmp_path / "gdcli-x-link", (1, 1), follow_symlinks=False)
    (tmp_path / "gdcli-x-new").mkdir()  # its process has no lock yet
    with scratch("x"):
        assert not left.exists()
        assert elsewhere.exists()
        assert (tmp_path / "gdcli-x-new").exists()
