"""Texts made safe to show: nothing in them acts on a terminal, and every character is seen."""

from __future__ import annotations

_BLANK = frozenset("\u115f\u1160\u3164\uffa0")  # letters by category, yet nothing is seen


def visible(text: str, keep: str = "") -> str:
    r"""Return the text with an escape for each character that is not seen, or that would do something, but those kept.

    >>> print(visible("a\x1b[31m\nb\u202e"), visible("a\tb", keep="\t") == "a\tb")
    a\x1b[31m\nb\u202e True
    """
    if text.isprintable() and _BLANK.isdisjoint(text):
        return text
    return "".join(
        c if (c.isprintable() and c not in _BLANK) or c in keep else c.encode("unicode_escape").decode() for c in text
    )
