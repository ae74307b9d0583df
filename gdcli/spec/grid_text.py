"""The words of a grid's text: its parts, names and numbers, and what is wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from gdcli.errors import SpecError
from gdcli.spec.document import read_value
from gdcli.spec.scalars import FLOAT, UnreadableError, bad_characters, named, resolve, shown

Value = float | int | str | bool | list[Any] | dict[str, Any] | None

FORMS = "Forms: 0.1,0.01 or 0:4.1:0.1 or range(0,4.1,0.1) or linspace(0,4,41) or logspace(-4,-1,4) or [2,4,2],[2,8,2]"
MAX_TEXT = 10_000
MAX_NUMBER = 100  # characters of one number, so that exact arithmetic stays instant
_NAMED = re.compile(r"\s*([A-Za-z0-9_*?][\w.:*?-]*(?:\[[^\]=]*\][\w.:*?-]*)*)\s*=(.*)", re.DOTALL)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_TOKENS = re.compile(r"""(?<![^\s(\[{,:=])(?:"(?:[^"\\]|\\.)*"|'[^']*')|.""", re.DOTALL)  # a quoted text, or a letter


def refusal(message: str, text: str, hint: str = "") -> SpecError:
    """Return the error of a grid's text, which it shows."""
    got = f" (got {shown(text)})" if text.strip() else ""
    return SpecError(message + got + (f". {hint}" if hint else ""))


def checked(text: str) -> str:
    """Return a text without blanks around it. Raises SpecError for one that is too long, empty, or no text."""
    if len(text) > MAX_TEXT:
        raise refusal(f"a grid's text has at most {MAX_TEXT:,} characters", text)
    if bad := sorted(bad_characters(text)):
        raise refusal(named(bad[0]), text)
    if not text.strip():
        raise refusal("the grid is empty", text, FORMS)
    return text.strip()


def split(text: str, whole: str) -> list[str]:
    """Split at the commas outside of brackets and quotes; the whole is what a message shows."""
    parts, opened = [""], ""
    for token in _TOKENS.finditer(text):
        character = token[0]
        if character in "([{":
            opened += character
        elif character in ")]}":
            if not opened.endswith(_CLOSES[character]):
                raise refusal(f"the bracket '{character}' closes nothing", whole)
            opened = opened[:-1]
        if character == "," and not opened:
            parts.append("")
        else:
            parts[-1] += character
    if opened:
        raise refusal(f"the bracket '{opened[-1]}' is not closed", whole)
    parts = [part.strip() for part in parts]
    if "" in parts:
        raise refusal("a value is missing beside a comma" if len(parts) > 1 else "the grid is empty", whole)
    return parts


def named_parts(text: str, whole: str) -> Iterator[tuple[str, str]]:
    """Yield name and grid of `a=0.1,0.2,b=1,2`: a comma that no NAME= follows belongs to the grid."""
    name, items = "", list[str]()
    for part in split(text, whole):
        if match := _NAMED.fullmatch(part):
            if items:
                yield name, ",".join(items)
            name, items = match[1], [match[2]]
        elif name:
            items.append(part)
        else:
            raise refusal("a zip begins with NAME=", whole, "Write zip(a=0.1,0.2,b=1,2)")
    yield name, ",".join(items)


def word(part: str, text: str) -> Value:
    """Return the value of a word as YAML has it, a list or a mapping in brackets and a text in quotes too."""
    if part[0] in "[{\"'":
        return scalar(read_value(part, "grid").plain(), text)
    if re.search(r"[()\[\]{}\"'=]", part):
        raise refusal(f"'{shown(part)}' is neither a number nor a word", text, FORMS)
    try:
        return scalar(resolve(part), text)
    except UnreadableError as problem:
        raise SpecError(problem.message) from None


def scalar(value: Any, text: str | None = None) -> Value:
    """Return a value that a grid can hold, as it is. Raises SpecError for any other."""
    got = str(value) if text is None else text
    if isinstance(value, list | tuple):
        return [scalar(item, text) for item in value]
    if isinstance(value, dict):
        return {key: scalar(item, text) for key, item in value.items()}
    if value is not None and not isinstance(value, bool | int | float | str):
        raise refusal("a grid holds numbers, words, true, false, null, lists and mappings of them", got)
    not_finite = isinstance(value, str) and value.lower() in ("nan", "inf", "+inf", "-inf", "infinity", "-infinity")
    if not_finite or (isinstance(value, float) and not math.isfinite(value)):
        raise refusal("a number must be finite", got)
    return value


def number(text: str, whole: str) -> Decimal:
    """Return the number exactly as written, once it is known to be one that a float64 holds."""
    if not FLOAT.fullmatch(text):
        finite = text.lower().lstrip("+-.") not in ("nan", "inf", "infinity")
        raise refusal(f"'{shown(text)}' is not a number" if finite else "a number must be finite", whole)
    if len(text) > MAX_NUMBER:
        raise refusal(f"a number has at most {MAX_NUMBER} characters", text)
    value = float(text)
    is_zero = not re.search("[1-9]", re.split("[eE]", text)[0])
    if math.isinf(value) or (value == 0) != is_zero:
        raise refusal(f"'{shown(text)}' is beyond a float64", whole)
    return Decimal(0) if is_zero else Decimal(text)  # 0e-999999999 would ask for as many digits


def count_of(text: str, whole: str) -> int:
    """Return a number of points."""
    count = number(text, whole)
    if count < 1 or count != int(count):
        raise refusal(f"the count must be an integer of at least 1, not {shown(text)}", whole)
    return int(count)
