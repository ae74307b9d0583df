"""What `make` would do in a fresh checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def planned(folder: Path, target: str) -> list[str]:
    """The commands of a target, none of them carried out."""
    if (make := shutil.which("make")) is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    done = subprocess.run(
        [make, "-n", "--no-print-directory", target], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_running_installs_no_tools_of_the_tests_and_says_so_first(tmp_path: Path) -> None:
    first, *commands, last = planned(tmp_path, "run")
    assert first.startswith("echo ")
    installing = [command for command in commands if "pip install" in command]
    assert [command.split()[-2:] for command in installing] == [["-e", "."]]
    assert not {"--quiet", "-q"} & set(installing[0].split())  # pip tells what it does
    assert last.endswith("gdcli run experiments/backprop_2x2.yaml")


def test_testing_installs_all(tmp_path: Path) -> None:
    assert [command.split()[-1] for command in planned(tmp_path, "test") if "pip install" in command] == ['".[dev]"']


def test_measuring_installs_the_programs_it_measures_and_goes_on_without_the_one_that_installs_nowhere(
    tmp_path: Path,
) -> None:
    commands = planned(tmp_path, "bench")
    installing = [command for command in commands if "pip install" in command]
    assert [command.split(" || ")[0].split()[-1] for command in installing] == ['".[dev]"', '".[bench]"', '"ray[tune]"']
    assert " || echo " in installing[-1]
    assert commands[-1].endswith("benchmarks/bench.py")
