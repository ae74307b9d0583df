"""What every command on records prints: JSON and pairs of words that no text of a record can break out of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from gdcli.report.tables import number


def json_text(value: Any) -> str:
    r"""Return JSON in ASCII, so that no character of it means anything to a terminal; not finite becomes null.

    >>> json_text(["\x9b", float("nan")])
    '[\n  "\\u009b",\n  null\n]\n'
    """
    return json.dumps(_finite(value), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def section(title: str, pairs: Sequence[tuple[str, Any]]) -> str:
    """Return a title and indented lines of a word and what it is, aligned; nothing without pairs. Texts are safe."""
    width = max((len(name) for name, _ in pairs), default=0)
    lines = [f"  {name:{width}}  {number(value)}\n" for name, value in pairs]
    return "".join([f"{title}\n", *lines]) if pairs else ""
