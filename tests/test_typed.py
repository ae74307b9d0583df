"""The package says its types: a program of a user's own is checked by mypy, strictly, as it would be once installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]

PROGRAM = """
import gdcli
import numpy as np
from numpy.typing import NDArray
import torch

def cubic(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).abs().pow(3).mean()

try:
    run: gdcli.Run = gdcli.run("backprop_2x2", {"optimizer.lr": 0.1}, epochs=3)
    losses: NDArray[np.float64] = run.losses
    module: torch.nn.Module = run.model
    mean: float = run.evaluate([[0.05, 0.1]], [[0.01, 0.99]])["loss"]
    found: gdcli.Sweep = gdcli.sweep("backprop_2x2", {"lr": [0.1, 0.5]})
    table: str = gdcli.compare("backprop_2x2", optimizers=["sgd"], model=torch.nn.Linear(2, 2), loss=cubic).table
    run.plot("curves").savefig("a.png")
    back = gdcli.load("last")
    reveal_type(back.predict(np.zeros((1, 2))))
except gdcli.SpecError as error:
    for problem in error.problems:
        text: str = problem.message
"""

CONFIG = """
[mypy]
[mypy-gdcli.*]
follow_imports = silent
[mypy-torch.*,matplotlib.*,pydantic.*,scipy.*,pandas.*]
follow_imports = skip
"""
"""As of an installed package, whose own lines are not told; torch's take most of a minute and say nothing of ours."""


def checked(folder: Path, text: str) -> tuple[int, str]:
    program = folder / "program.py"
    program.write_text(text)
    (folder / "mypy.ini").write_text(CONFIG)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), str(program)]
    paths = {**os.environ, "MYPYPATH": str(PACKAGE)}
    done = subprocess.run(command, cwd=folder, env=paths, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_mypy_knows_the_types_in_a_program(tmp_path: Path) -> None:
    code, told = checked(tmp_path, PROGRAM)
    assert "program.py" in told
    assert (code, told.count("error:")) == (0, 0), told
    assert "ndarray[tuple[Any, ...], dtype[floating[Any]]]" in told.replace("numpy.", "").replace("typing.", "")
    code, told = checked(tmp_path, 'import gdcli\nwrong: int = gdcli.run("backprop_2x2").losses\n')
    assert code == 1
    assert "Incompatible types in assignment" in told
