"""Lines of Python as a formatter would lay them out: values, calls, blocks, and the imports that they need."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 120
"""Letters of a line at most, of those that can be broken."""
INDENT = "    "

IMPORTS = {
    "copy": "import copy",
    "csv": "import csv",
    "math": "import math",
    "OrderedDict": "from collections import OrderedDict",
    "Path": "from pathlib import Path",
    "np": "import numpy as np",
    "torch": "import torch",
    "load_": "from sklearn.datasets import {}",
    "nn": "from torch import nn",
}
"""By the name that a script uses, in the order in which they stand."""
_OF_PYTHON = 5  # the first ones


@dataclass(frozen=True, slots=True)
class Brackets:
    """A call or a list: what opens it, its items and what closes it; an item is a text or brackets again."""

    opening: str
    items: tuple[str | Brackets, ...]
    closing: str

    def flat(self) -> str:
        """Return it on one line."""
        return f"{self.opening}{_joined(self.items)}{self.closing}"


def literal(value: Any) -> str | Brackets:
    """Return a number, a text or a nested list as Python has it.

    >>> layout("x = ", literal([[0.05, 0.1]]))
    ['x = [[0.05, 0.1]]']
    """
    if isinstance(value, list):
        return Brackets("[", tuple(map(literal, value)), "]")
    return text_of(value) if type(value) is str else repr(value)


def text_of(value: str) -> str:
    """Return a text as Python has it, in double quotes; letters that do not show are escaped.

    >>> text_of("面积")
    '"面积"'
    """
    shown = repr if value.isprintable() else ascii
    if '"' in value:
        return shown(value)
    return f'"{shown(f"{chr(39)}{value}")[2:-1]}"'  # the single quote makes Python choose double ones


def call(name: str, *items: str | Brackets, **keywords: Any) -> Brackets:
    """Return a call with its positional arguments, and with the values of its keyword arguments.

    >>> call("torch.optim.SGD", "model.parameters()", lr=0.1).flat()
    'torch.optim.SGD(model.parameters(), lr=0.1)'
    """
    return Brackets(f"{name}(", (*items, *(_keyword(key, literal(value)) for key, value in keywords.items())), ")")


def _keyword(key: str, value: str | Brackets) -> str | Brackets:
    if isinstance(value, Brackets):
        return Brackets(f"{key}={value.opening}", value.items, value.closing)
    return f"{key}={value}"


def _joined(items: Iterable[str | Brackets]) -> str:
    return ", ".join(item if isinstance(item, str) else item.flat() for item in items)


def layout(head: str, value: str | Brackets, tail: str = "", depth: int = 0) -> list[str]:
    """Return a value after its head on one line, or broken at its outermost brackets where it is too long."""
    indent = INDENT * depth
    line = f"{indent}{head}{value if isinstance(value, str) else value.flat()}{tail}"
    if isinstance(value, str) or not value.items or len(line) <= WIDTH:
        return [line]
    inner, within = _joined(value.items), INDENT * (depth + 1)
    if len(within) + len(inner) <= WIDTH:
        lines = [within + inner]
    else:
        lines = [line for item in value.items for line in layout("", item, ",", depth + 1)]
    return [f"{indent}{head}{value.opening}", *lines, f"{indent}{value.closing}{tail}"]


def indented(lines: Iterable[str], depth: int = 1) -> list[str]:
    """Return lines one or several levels further in."""
    return [INDENT * depth + line if line else line for line in lines]


def comment(text: str) -> list[str]:
    """Return a text as a comment, line by line."""
    return [f"# {line}".rstrip() for line in text.splitlines()]


def sentence(text: str) -> list[str]:
    """Return a text as the lines of a docstring, that end with a full stop; no sign of it ends the docstring.

    >>> sentence("Minimise\\nthe loss.\\n")
    ['Minimise the loss.']
    """
    told = text.strip().rstrip(".").replace("\\", "\\\\").replace('"', "'")
    return textwrap.wrap(f"{told}.", WIDTH - len(INDENT) - 6, break_long_words=False, break_on_hyphens=False)


def module(docstring: Sequence[str], blocks: Iterable[Sequence[str]]) -> str:
    """Return a script: its docstring, the imports that its blocks use, and the blocks with blank lines between."""
    kept = [list(block) for block in blocks if block]
    body = ""
    for before, block in zip([None, *kept], kept, strict=False):
        defines = any(_defines(each) for each in (before, block) if each)
        body += ("" if before is None else "\n" * (3 if defines else 2)) + "\n".join(block)
    imports = _imports(ast.parse(body))
    between = "\n\n\n" if kept and _defines(kept[0]) else "\n\n"
    head = [f'"""{docstring[0]}', *docstring[1:], '"""'] if len(docstring) > 1 else [f'"""{docstring[0]}"""']
    return "\n".join(head) + "\n\n" + imports + between + body + "\n"


def _defines(block: Sequence[str]) -> bool:
    first = next((line for line in block if not line.startswith("#")), "")
    return first.startswith(("class ", "def ", "@"))


def _imports(tree: ast.Module) -> str:
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}  # as an objective calls its variables
    own |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    used = {node.id for node in names} - own
    found: Mapping[str, list[str]] = {"python": [], "others": []}
    for place, (name, line) in enumerate(IMPORTS.items()):
        of_name = sorted(each for each in used if each == name or (name.endswith("_") and each.startswith(name)))
        if of_name:
            found["python" if place < _OF_PYTHON else "others"].append(line.format(", ".join(of_name)))
    return "\n\n".join("\n".join(lines) for lines in found.values() if lines)
