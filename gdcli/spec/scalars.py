"""What one scalar means: YAML 1.2's plain scalars, and the characters that no spec may hold."""

from __future__ import annotations

import math
import re
import unicodedata

from gdcli.errors import visible

MAX_DIGITS = 19

Scalar = None | bool | int | float | str

QUOTES = "Put it in quotes to make it text"


def with_point(text: object) -> str:
    """Return a number that has a comma where a point belongs with the point; nothing for anything else.

    >>> with_point("0,01"), with_point("1,2,3")
    ('0.01', '')
    """
    return text.replace(",", ".") if isinstance(text, str) and re.fullmatch(r"[+-]?\d+,\d+", text) else ""


NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASE = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SIXTIES = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)?"
)
_NO_SPACE = re.compile(r"""['"]?([A-Za-z_][\w.-]*)['"]?:([^\s:/]\S*)""")


class UnreadableError(ValueError):
    """A plain scalar that other readers of YAML take for something else, or that no number can hold."""

    def __init__(self, message: str, hint: str = QUOTES) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def resolve(text: str) -> Scalar:
    """Return what a plain scalar means: null, a boolean, a finite number or text. Raises UnreadableError.

    >>> [resolve(text) for text in ("1e-3", "0x1F", "-.5", "no", "True", "~")]
    [0.001, 31, -0.5, 'no', True, None]
    """
    if text in NULLS:
        return None
    if text in BOOLS:
        return BOOLS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INT.fullmatch(text):
        return _integer(text)
    if FLOAT.fullmatch(text):
        return _float(text)
    if _BASE.fullmatch(text):
        number = int(text, 0)
        if number >= 10**MAX_DIGITS:
            raise _too_many_digits(text)
        return number
    _refuse_lookalikes(text)
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0":
        raise _leading_zero(text)
    if len(digits) > MAX_DIGITS:  # before int(), whose time grows with the square of the length
        raise _too_many_digits(text)
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise UnreadableError(f"this number is too large for a float64 (got {shown(text)})", "The largest is 1.79e308")
    if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise UnreadableError(f"this number is too small for a float64 (got {shown(text)})", "Write 0")
    return value


def _too_many_digits(text: str) -> UnreadableError:
    hint = "Write a float such as 1e20, or put it in quotes to make it text"
    return UnreadableError(f"an integer has at most {MAX_DIGITS} digits (got {shown(text)})", hint)


def _leading_zero(text: str) -> UnreadableError:
    sign, digits = ("-" if text[0] == "-" else ""), text.lstrip("+-")
    number = sign + (digits.lstrip("0") or "0")
    if len(digits) > MAX_DIGITS:
        return _too_many_digits(text)
    if re.search("[89]", digits):
        readings, hint = f"as {number} or as text", f"Write {number}, or put it in quotes"
    else:
        readings = f"as {sign}{int(digits, 8)} (octal) or as {number}"
        hint = f"Write {number}" + ("" if sign else f" or 0o{digits.lstrip('0') or '0'}")
    return UnreadableError(f"a number with a leading zero could be read {readings} (got {shown(text)})", hint)


def _refuse_lookalikes(text: str) -> None:
    if _NOT_FINITE.fullmatch(text):
        raise UnreadableError(f"a number must be finite (got {text})", "")
    if _DATE.fullmatch(text):
        raise UnreadableError(f"this could be read as a date or as text (got {shown(text)})")
    if _SIXTIES.fullmatch(text):
        number = _sixties(text) if len(text) <= 60 else "a number"  # int() of thousands of digits is an error
        raise UnreadableError(f"this could be read as {number} (base sixty) or as text (got {shown(text)})")


def _sixties(text: str) -> str:
    whole, point, fraction = text.replace("_", "").lstrip("+-").partition(".")
    total = 0
    for digits in whole.split(":"):
        total = total * 60 + int(digits)
    return ("-" if text[0] == "-" else "") + f"{total}{point}{fraction}".rstrip(".")


def is_text(text: str) -> bool:
    """Say whether a plain scalar is text and nothing else."""
    try:
        return isinstance(resolve(text), str)
    except UnreadableError:
        return False


LINE_BREAK = re.compile(r"\r\n?|\n")
_BLANK = "\u115f\u1160\u3164\uffa0"  # letters by category, yet nothing is seen
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
BYTE = range(0xDC80, 0xDD00)  # what 'surrogateescape' makes of a byte that is not UTF-8


def is_bad(character: str) -> bool:
    """Say whether a character is a control, a bidirectional or an invisible one; tab and line breaks are not."""
    # Next line and the line and paragraph separators end a line for PyYAML, but not for an editor.
    return (
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or character in _BLANK + "\ufffe\uffff"
    ) and character not in "\t\n\r"


def bad_characters(text: str) -> frozenset[str]:
    """Return the characters of the text that no spec may hold."""
    return frozenset(c for c in set(text) if not " " <= c <= "~" and is_bad(c))


def named(character: str) -> str:
    """Return why a character is refused."""
    code = ord(character)
    if code in BYTE:
        return f"byte 0x{code - 0xDC00:02X} is not UTF-8"
    kind = (
        "the bidirectional control character"
        if character in _BIDIRECTIONAL
        else "the byte order mark"
        if character == "\ufeff"
        else "the control character"
        if unicodedata.category(character) == "Cc"
        else "the invisible character"
    )
    return f"{kind} U+{code:04X} is refused"


def shown(text: str, limit: int = 60) -> str:
    r"""Return the text safe to print on one line: what is not printable as an escape, long text cut.

    >>> print(shown("a\x1b[31m\nb"))
    a\x1b[31m\nb
    """
    safe = visible(text[:limit])
    return safe[:limit] + ("…" if len(text) > limit or len(safe) > limit else "")


def missing_space(text: str) -> str:
    """Return the question to ask where text such as `lr:0.1` stands instead of a mapping, else nothing.

    >>> missing_space("lr:0.1")
    "Is the space after the colon missing? Write 'lr: 0.1'"
    """
    match = _NO_SPACE.match(text)
    return f"Is the space after the colon missing? Write '{match[1]}: {shown(match[2], 40)}'" if match else ""
