"""What all tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from gdcli.cli import main
from tests import own_plugins

settings.register_profile(
    "gdcli", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gdcli")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, metavar="N", help="run at most N >= 2 cases of each test, the first and last")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep N cases of each test, evenly spaced from its first to its last, where `--cases N` is given."""
    most = config.getoption("--cases")
    if most is None:
        return
    if most < 2:
        raise pytest.UsageError("--cases takes a number of at least 2")
    tests: dict[str, list[str]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item.nodeid)
    kept: set[str] = set()
    for cases in tests.values():
        last = len(cases) - 1
        kept.update(cases[k * last // (most - 1)] for k in range(most))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
    items[:] = [item for item in items if item.nodeid in kept]


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def without_plugins() -> Iterator[None]:
    """Plugins of a test are forgotten at its end."""
    yield
    own_plugins.forget()


@pytest.fixture
def gdcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], without_plugins: None):
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
