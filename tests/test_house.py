"""The house that the package is built as: names, sizes of files, the way of imports to the command line, one loop."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gdcli"
FILES = sorted(PACKAGE.rglob("*.py"))

MOST_LINES = 400
REASON = "over 400 lines because"


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def nodes_of(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{name_of(path)}:{node.lineno}")
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert twice == {}


def test_a_file_over_400_lines_gives_its_reason_at_the_top() -> None:
    """In its docstring: 'Over 400 lines because ...'."""
    without = {}
    for path in FILES:
        text = path.read_text()
        top = " ".join((ast.get_docstring(ast.parse(text)) or "").lower().split())
        if text.count("\n") > MOST_LINES and REASON not in top:
            without[name_of(path)] = text.count("\n")
    assert without == {}


def test_nothing_imports_the_command_line() -> None:
    """Only `python -m gdcli` does; what it does is in commands/, for Python and the command line alike."""
    found = set()
    for path in FILES:
        if name_of(path).startswith("cli/") or name_of(path) == "__main__.py":
            continue
        for node in nodes_of(path):
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                continue
            if any(module == "gdcli.cli" or module.startswith("gdcli.cli.") for module in modules):
                found.add(name_of(path))
    assert found == set()


def test_one_function_makes_a_training_step_and_one_class_is_the_loop() -> None:
    """A step is whatever calls an optimizer's `update` with a learning rate, wherever it stands."""
    steps, loops = [], []
    for path in FILES:
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Loop"):
                loops.append(f"{name_of(path)}: {node.name}")
            elif isinstance(node, ast.FunctionDef):
                calls = (each.func for each in ast.walk(node) if isinstance(each, ast.Call))
                if any(isinstance(function, ast.Name) and function.id == "update" for function in calls):
                    steps.append(f"{name_of(path)}: {node.name}")
    assert steps == ["engine/loop.py: training_step"]
    assert loops == ["engine/loop.py: Loop"]
