"""Imports go one way, and torch, matplotlib and pydantic come in only where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gdcli"
FILES = sorted(PACKAGE.rglob("*.py"))

# each floor may import itself and those below it
FLOORS = (
    ("errors", "records"),
    ("zoo", "report"),
    ("spec",),
    ("plan", "engine", "storage"),
    ("runner",),
    ("commands",),
    ("cli",),
)
# what a room may import of the package besides itself, where that is less than its floor allows
KNOWS_ONLY = {"errors": set(), "report": {"errors", "records"}, "zoo": {"errors", "records"}}
MOST_ROOMS = 12


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    return next(k for k, rooms in enumerate(FLOORS) if room in rooms)


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


def test_rooms_of_the_house() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__", "__main__"}
    assert rooms == {room for floor in FLOORS for room in floor}
    assert len(rooms) <= MOST_ROOMS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_direction_of_imports(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    others = own(imported(path)) - {room}
    for other in others:
        assert floor_of(other) <= floor_of(room), f"{room} imports {other}"
    assert others <= KNOWS_ONLY.get(room, others)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_at_the_top_of_a_file(path: Path) -> None:
    heavy = {name.split(".")[0] for name in imported(path, top_only=True)} & {"torch", "matplotlib", "pydantic"}
    allowed = {
        "engine": {"torch"},
        "runner": {"torch", "pydantic"},
        "commands": {"torch"},
        "spec": {"pydantic"},
        "storage": {"pydantic"},
    }.get(room_of(path), set())
    assert heavy <= allowed


# --- circles ----------------------------------------------------------------------------------------------------------

DOTTED = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES}
MODULES = {name.removesuffix(".__init__"): path for path, name in DOTTED.items()}


def at_run_time(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports below a node, those in functions too, but none that is for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from at_run_time(child)


def modules_imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in at_run_time(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            above = path.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            below = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else base for name in below}  # a package is there before its modules
    return found & set(MODULES)


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The sets of modules that import each other, by whatever way."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [*graph[start]]
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += graph[module]
        return seen

    reach = {module: reached(module) for module in graph}
    found = [frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]]
    return [set(each) for each in dict.fromkeys(found)]


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [{"b", "c"}, {"d"}]


def test_no_module_imports_one_that_imports_it() -> None:
    graph = {name: modules_imported(path) for name, path in MODULES.items()}
    assert circles(graph) == []
