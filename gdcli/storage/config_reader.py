"""config.yaml of any number of records, read fast: what a config.yaml means, without the places of its keys.

PyYAML's C parser gives the events of a config fifteen times faster than its Python one, so that a thousand of them
take a third of a second. It is as safe: no constructor is called, nothing recurses, the limits are those of a spec.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gdcli.errors import DamagedError
from gdcli.spec.scalars import UnreadableError, resolve, shown
from gdcli.storage.files import content

MAX_BYTES, MAX_DEPTH, MAX_VALUES = 256 * 1024, 32, 20_000
WHOLE = 10_000
"""Letters up to which a value is shown whole where it is not one of many."""

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def read(folder: Path, name: str = "config.yaml") -> dict[str, Any]:
    """Return a record's resolved spec, or its spec.yaml; nothing for one that has none. Raises DamagedError."""
    path = folder / name
    text = content(path, MAX_BYTES)
    if text is None:
        return {}
    try:
        found = _value(text.decode())
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # also of what is not UTF-8
        reason = getattr(error, "problem", None) or str(error)
        raise DamagedError(f"{path}: {shown(str(reason), 200)}") from None
    if not isinstance(found, dict):
        raise DamagedError(f"{path}: is no mapping")
    return found


def _value(text: str) -> Any:
    """Build the value of a document's events on a stack of our own."""
    root: list[Any] = []
    stack: list[list[Any]] = [root]
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.AliasEvent):
            raise UnreadableError("aliases are refused")
        if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
            raise UnreadableError("anchors and tags are refused")
        if isinstance(event, yaml.ScalarEvent):
            is_plain = not event.style  # None of PyYAML's Python parser, empty of its C parser
            stack[-1].append(resolve(event.value) if is_plain else event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            stack.append([])
        elif isinstance(event, yaml.CollectionEndEvent):
            items = stack.pop()
            stack[-1].append(items if isinstance(event, yaml.SequenceEndEvent) else _mapping(items))
        if count > 3 * MAX_VALUES or len(stack) > MAX_DEPTH:
            raise UnreadableError("it is larger, or nested deeper, than a spec can be")
    return root[0] if len(root) == 1 else None


def _mapping(items: list[Any]) -> dict[str, Any]:
    keys = items[::2]
    if not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise UnreadableError("a key is no text, or given twice")
    return dict(zip(keys, items[1::2], strict=True))


def flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings under dotted keys; lists are values.

    >>> dict(flat({"optimizer": {"name": "sgd", "lr": 0.5}, "seed": 0}))
    {'optimizer.name': 'sgd', 'optimizer.lr': 0.5, 'seed': 0}
    """
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from flat(item, f"{path}{key}.")
        else:
            yield f"{path}{key}", item


def word(value: Any, limit: int = 60) -> Any:
    """Return a value for a table's cell: numbers and None as they are, anything else as one line of safe text.

    >>> word([0.5, None]), word(True), word(0.1)
    ('[0.5, null]', 'true', 0.1)
    """
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), limit)
