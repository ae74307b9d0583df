"""What all tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from gdcli.cli import main

settings.register_profile(
    "gdcli", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gdcli")

GOLDEN = Path(__file__).parent / "golden"


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def gdcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """The command line in an empty folder, within this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Answer:
        capfd.readouterr()
        code = main(arguments)
        return Answer(code, *capfd.readouterr())

    return call


def only_folder(root: Path) -> Path:
    """The one run folder below a `runs` folder."""
    folders = [path for path in root.glob("*/*") if path.is_dir()]
    assert len(folders) == 1, folders
    return folders[0]
