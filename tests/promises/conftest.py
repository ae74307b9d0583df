"""What tests of promises share: an empty folder in memory, and specs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gdcli.cli import main
from tests.promises.crashing import SPECS, emptied


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder."""
    with emptied() as folder:
        yield folder


@pytest.fixture(scope="module")
def specs() -> Iterator[Path]:
    """A folder with the specs; this process has then imported and set up whatever a run needs."""
    with emptied() as folder:
        for name, text in SPECS.items():
            (folder / f"{name}.yaml").write_text(text)
        for name in SPECS:
            assert main(["run", str(folder / f"{name}.yaml"), "epochs=2", "-q", "-o", str(folder / "warm")]) == 0
        yield folder
