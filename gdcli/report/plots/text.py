"""Text of pictures: cleaned, cut to its width, and numbers as they stand at ticks and in legends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font
    from matplotlib.ticker import Formatter

Array = NDArray[np.float64]

TEXT, TITLE = 11.0, 14.0  # points


def formatter(log: bool = False) -> Formatter:
    """Labels of an axis that belong together: as many decimals as the ticks need, powers of ten for a wide log axis."""
    from matplotlib.ticker import Formatter

    class Together(Formatter):
        def __call__(self, value: float, pos: int | None = None) -> str:
            return number(value)

        def format_ticks(self, values: Any) -> list[str]:
            return tick_texts(np.asarray(values, np.float64), log)

    return Together()


def tick_texts(values: Array, log: bool) -> list[str]:
    """The labels of ticks that stand on one axis."""
    largest = float(np.abs(values).max(initial=0.0))
    if log:
        if values.min(initial=1.0) > 1e-4 and largest < 1e6:
            return [f"{value:,.15f}".rstrip("0").rstrip(".").replace("-", "−") for value in values.round(12)]
        powers = [f"{value:.0e}".split("e") for value in values]
        return [
            ("" if head == "1" else f"{head}·") + "10" + str(int(power)).translate(_RAISED) for head, power in powers
        ]
    gap = float(np.diff(values).min()) if len(values) > 1 else largest / 10
    values = np.where(np.abs(values) < 1e-6 * abs(gap), 0.0, values)
    small_or_large = largest >= 1e7 or 0 < largest < 1e-3
    for digits in range(10):
        texts = [f"{value:.{digits}e}" if small_or_large and value else f"{value:,.{digits}f}" for value in values]
        if all(
            abs(float(text.replace(",", "")) - value) <= 0.01 * abs(gap)
            for text, value in zip(texts, values, strict=True)
        ):
            break
    return [_tidy(text) if value else "0" for text, value in zip(texts, values, strict=True)] if len(values) else []


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 4) -> str:
    """The number to so many significant digits."""
    return _tidy(f"{value:.{digits}g}")


def _tidy(text: str) -> str:
    """``1.50e-05`` as ``1.5e-5``, with the sign of a typeset number."""
    head, mark, power = text.partition("e")
    if mark:
        head = head.rstrip("0").rstrip(".") if "." in head else head
        text = f"{head}e{int(power)}"
    return text.replace("-", "−")


def _font() -> FT2Font:
    import matplotlib
    from matplotlib.font_manager import get_font

    return get_font(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")


def clean(text: str) -> str:
    """The text on one line: no control or invisible characters, '?' for each that the font cannot show."""
    font = _font()
    kept = []
    for character in text if len(text) <= 500 else text[:300] + text[-200:]:  # two lines have room for less
        kind = unicodedata.category(character)
        if character.isspace() or kind in ("Zl", "Zp"):
            kept.append(" ")
        elif kind not in ("Cc", "Cf"):
            kept.append(character if kind != "Cs" and font.get_char_index(ord(character)) else "?")
    text = " ".join("".join(kept).split())
    return "\u200a" + text if text.startswith("_") else text  # matplotlib hides what begins with an underscore


def width_of(text: str, size: float) -> float:
    """The width in points of a text that is clean."""
    font = _font()
    font.set_size(size, 72)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64


def fit(text: str, size: float, width: float) -> str:
    """The text, its middle left out where it is wider than so many points: labels often differ at their ends."""
    text = clean(text)
    most = int(width / size * 4)  # no letter is narrower than a quarter of its size
    if len(text) <= most and width_of(text, size) <= width:
        return text
    return _cut(text, _longest(lambda keep: _cut(text, keep), 0, min(len(text), most), size, width))


_PAIR = re.compile(r"([A-Za-z*][^=]*?)=([^=]*?)(?:, |,|_(?=[A-Za-z*][^=, ]*=)|$)")  # a folder's name has _ for a comma


def shorter(labels: Sequence[str]) -> list[tuple[list[str], str]]:
    """Ways to say what differs between labels, each shorter, with a heading: whole, without what all share, as values.

    >>> shorter(["lr=0.1_seed=0_epochs=9", "lr=0.2_seed=1_epochs=9"])[1:3]
    [(['lr=0.1, seed=0', 'lr=0.2, seed=1'], ''), (['0.1, 0', '0.2, 1'], 'lr, seed')]
    """
    whole = [(list(labels), "")]
    found = [_PAIR.findall(re.sub("^([^=]*): ", r"experiment=\1, ", label)) for label in labels]
    keys, *others = ([key for key, _ in pairs] for pairs in found)
    lengths = [sum(len(key) + len(value) + 2 for key, value in pairs) for pairs in found]  # less where one is no pair
    if any(other != keys for other in others) or min(np.subtract(lengths, [len(label) for label in labels])) < 0:
        return whole
    columns = [[pairs[k][1] for pairs in found] for k in range(len(keys))]
    differ = [k for k, column in enumerate(columns) if len(set(column)) > 1]
    if not differ:
        return whole
    with_keys = [", ".join(f"{keys[k]}={pairs[k][1]}" for k in differ) for pairs in found]
    values = [", ".join(pairs[k][1] for k in differ) for pairs in found]
    ends = [keys[k].rpartition(".")[2] for k in differ]
    return [*whole, (with_keys, ""), (values, ", ".join(keys[k] for k in differ)), (values, ", ".join(ends))]


def _cut(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (keep - head) :].lstrip()}"


def two_lines(text: str, size: float, width: float) -> list[str]:
    """The text on one line or two, broken at a space where it has one in reach."""
    text = clean(text)
    if len(text) <= width / size * 4 and width_of(text, size) <= width:
        return [text]
    end = _longest(lambda keep: text[:keep], 1, min(len(text), int(width / size * 4)), size, width)
    space = text.rfind(" ", end // 2, end + 1)
    end = space if space > 0 else end
    return [text[:end].rstrip(), fit(text[end:], size, width)]


def _longest(cut: Callable[[int], str], low: int, high: int, size: float, width: float) -> int:
    """How many characters may be kept, at least ``low`` and fewer than ``high``, for the cut text to fit."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if width_of(cut(middle), size) <= width else (low, middle)
    return low
