"""Imports go one way, and torch, matplotlib and pydantic come in only where they belong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gdcli"
FILES = sorted(PACKAGE.rglob("*.py"))

# each layer may import itself and those before it
LAYERS = (
    ("errors", "texts"),
    ("records",),
    ("zoo", "reprs", "styles", "store", "tables", "plots", "stats", "results", "sealed", "keeping"),
    ("spec",),
    ("plan", "engine", "ema", "catalog", "library"),
    ("export",),
    ("checkpoints", "verifying"),
    ("execute", "explain", "checking"),
    ("shards",),
    ("lanes",),
    ("executors",),
    ("many",),
    ("sweeps", "surface", "comparison"),
    ("pictures",),
    ("cli",),
    ("__main__",),
)
KNOWS_ONLY = {"errors", "texts", "records", "reprs"}  # of styles, store, tables, plots


def layer_of(module: str) -> int:
    return next(k for k, names in enumerate(LAYERS) if module in names)


def imported(path: Path, *, top_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def own(names: set[str]) -> set[str]:
    return {parts[1] for name in names if (parts := name.split("."))[0] == "gdcli" and len(parts) > 1} - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_direction_of_imports(path: Path) -> None:
    module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if module == "__init__":
        return
    for other in own(imported(path)):
        assert layer_of(other) <= layer_of(module), f"{module} imports {other}"
    if module in ("styles", "store", "tables", "plots"):
        assert own(imported(path)) <= KNOWS_ONLY


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_at_the_top_of_a_file(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0]
    heavy = {name.split(".")[0] for name in imported(path, top_only=True)} & {"torch", "matplotlib", "pydantic"}
    allowed = {
        "engine": {"torch"},
        "execute.py": {"torch", "pydantic"},
        "checking": {"torch"},
        "executors.py": {"torch"},
        "lanes.py": {"torch"},
        "many.py": {"torch"},
        "surface.py": {"torch"},
        "spec": {"pydantic"},
    }.get(part, set())
    assert heavy <= allowed
