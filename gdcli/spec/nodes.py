"""A document as it was read: values that know their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gdcli.errors import Place
from gdcli.spec.scalars import Scalar


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the document, where it stands, and the text it was written as (empty for collections)."""

    place: Place
    value: Scalar | tuple[Node, ...] | dict[str, Entry]
    text: str = ""

    def plain(self) -> Any:
        """Return the value as nested lists, dicts and scalars.

        >>> from gdcli.spec.document import read
        >>> read("a: [1, {b: 1e-3}]", "f").plain()
        {'a': [1, {'b': 0.001}]}
        """
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: Sequence[str | int]) -> Node | None:
        """Return the node below this one at the path of keys and indices, or None.

        >>> from gdcli.spec.document import read
        >>> str(read("a: [1, {b: 2}]", "f").find(["a", 1, "b"]).place)
        'f:1:12'
        """
        node: Node = self
        for step in path:
            if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
                node = node.value[step].node
            elif isinstance(node.value, tuple) and isinstance(step, int) and 0 <= step < len(node.value):
                node = node.value[step]
            else:
                return None
        return node


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value, and where the key stands."""

    key: Place
    node: Node
