"""A value to YAML text that every reader of YAML takes for the same value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

import yaml

from gdcli.spec.scalars import BOOLS, NULLS, is_bad

WIDTH = 100  # of a line

_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9 _./()*+=-]*[A-Za-z0-9_./()*+=-])?")
_OLD_BOOLS = frozenset({"y", "Y", "n", "N"})  # booleans in YAML 1.1 to some readers; never where they are keys


def write(value: Mapping[str, Any]) -> str:
    """Return YAML text that reads back as the same value, here and (floats such as 1e-07 apart) in YAML 1.1.

    Raises ValueError for a number that is not finite and TypeError for what YAML has no word for.

    >>> print(write({"name": "no", "model": {"layers": [2, 2]}, "optimizer": {"name": "sgd", "lr": 0.5}}), end="")
    name: "no"
    model:
      layers: [2, 2]
    optimizer: {name: sgd, lr: 0.5}
    """
    return "\n".join(_mapping(value)) + "\n" if value else "{}\n"


def _mapping(value: Mapping[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"a key must be text, not {type(key).__name__}")
        name = _text(key)
        if (short := _inline(item, len(name) + 2)) is not None:
            yield f"{name}: {short}"
        else:
            yield f"{name}:"
            yield from (f"  {line}" for line in _block(item))


def _block(value: Any) -> Iterator[str]:
    """Yield the lines of a list or a mapping that is not empty."""
    if isinstance(value, Mapping):
        yield from _mapping(value)
    elif all(type(item) in (int, float) for item in value):
        line = f"[{', '.join(map(_scalar, value))}]"
        yield from wrap(line, WIDTH, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False)
    else:
        for item in value:
            short = _inline(item, len("- "))
            lines = _block(item) if short is None else iter([short])
            yield f"- {next(lines)}"
            yield from (f"  {line}" for line in lines)


def _inline(value: Any, used: int) -> str | None:
    """Return the value on one line, unless it is a collection that does not fit beside the characters used."""
    short = _flow(value)
    fits = short is None or not _is_collection(value) or used + len(short) <= WIDTH
    return short if fits else None


def _flow(value: Any) -> str | None:
    """Return the value on one line, or None for a collection that is better read as a block."""
    if isinstance(value, Mapping):
        if any(_is_collection(item) for item in value.values()):
            return None
        return "{" + ", ".join(f"{_text(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if not _is_collection(value):
        return _scalar(value)
    parts = [None if isinstance(item, Mapping) and item else _flow(item) for item in value]
    return None if None in parts else "[" + ", ".join(map(str, parts)) + "]"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a number must be finite, not {value}")
        return repr(value)
    if isinstance(value, str):
        return f'"{value}"' if value in _OLD_BOOLS else _text(value)
    raise TypeError(f"no YAML for {type(value).__name__}")


def _text(text: str) -> str:
    """Return the text plain where every reader takes it for text, also in brackets, else in double quotes."""
    old_words = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], [])
    is_taken = text in NULLS | BOOLS.keys() or any(pattern.match(text) for _, pattern in old_words)
    if _PLAIN.fullmatch(text) and not is_taken:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + "".join(_escape(c) if c == "\r" or is_bad(c) else c for c in escaped) + '"'


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _is_collection(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)
