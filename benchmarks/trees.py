"""Checkouts of two versions, side by side: copies of what runs, at paths of one length on one disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLD, NEW = "a checkout of the version to compare with", "NEW_TREE: default is this checkout"
PARTS = "gdcli", "experiments"


def tree(text: str) -> Path:
    """Return a checkout given on the command line, the whole path."""
    if not (Path(text) / "gdcli" / "cli").is_dir():
        raise SystemExit(f"{text} is no checkout of gdcli")
    return Path(text).resolve()


def copied(tree: Path, to: Path) -> Path:
    """Copy what a tree runs, so that it may be changed meanwhile; return the copy.

    Raises RuntimeError where another gdcli is imported instead.
    """
    for part in PARTS:
        shutil.copytree(tree / part, to / part, ignore=shutil.ignore_patterns("__pycache__", "pictures"))
    shown = [sys.executable, "-c", "import gdcli; print(gdcli.__file__)"]
    found = subprocess.run(shown, env=variables(to), cwd=to.parent, check=True, capture_output=True, text=True).stdout
    if Path(found.strip()).parent.parent.resolve() != to.resolve():
        raise RuntimeError(f"gdcli comes from {found.strip()}, not from {to}")
    return to


def variables(tree: Path) -> dict[str, str]:
    """Return the environment in which gdcli is a tree's."""
    return os.environ | {"PYTHONPATH": str(tree), "COLUMNS": "80"}
