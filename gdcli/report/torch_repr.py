"""The texts that torch and Python print, written here so that they do not depend on the versions of either.

Layout and rules are those of ``torch.set_printoptions(profile="default")``: four digits, 80 columns, more than
1,000 entries summarised. The formatter's arithmetic is in float64, as torch's is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PREFIX = "tensor("
_LINE = 80
_THRESHOLD = 1000
_EDGE = 3
_LEGACY_DIGITS = 4
_FLOATS = {"f": "float32", "d": "float64"}  # dtype.char is an attribute; dtype.name is computed, in microseconds


def tensor(values: NDArray[Any], *, grad_fn: str | None = None, requires_grad: bool = False) -> str:
    """Return what ``repr`` of a torch tensor with these values is.

    ``grad_fn`` is the name of the node that made the tensor, without ``Backward0``; a leaf has none.

    >>> tensor(np.array([[0.5, -1.25], [2.0, 3.0]], dtype=np.float32))
    'tensor([[ 0.5000, -1.2500],\\n        [ 2.0000,  3.0000]])'
    >>> tensor(np.float64([1, 2]), requires_grad=True)
    'tensor([1., 2.], dtype=torch.float64, requires_grad=True)'
    """
    float_name = _FLOATS.get(values.dtype.char)
    if float_name and not values.shape:
        return scalar(values.item(), float_name, grad_fn=grad_fn, requires_grad=requires_grad)
    dtype = float_name or values.dtype.name
    implied = ("float32", "int64") if values.size else ("float32",)
    suffixes = [f"size={values.shape}"] if not values.size and values.ndim != 1 else []
    if dtype not in implied:
        suffixes.append(f"dtype=torch.{dtype}")
    return _with_suffixes(_PREFIX + _body(values), suffixes + _origin(grad_fn, requires_grad))


def scalar(value: float, dtype: str = "float32", *, grad_fn: str | None = None, requires_grad: bool = False) -> str:
    """Return :func:`tensor` of one number without axes, fast enough for a line per epoch.

    >>> scalar(0.2984, grad_fn="MseLoss")
    'tensor(0.2984, grad_fn=<MseLossBackward0>)'
    """
    suffixes = [] if dtype == "float32" else [f"dtype=torch.{dtype}"]
    return _with_suffixes(_PREFIX + _float_text(value), suffixes + _origin(grad_fn, requires_grad))


def parameter(values: NDArray[Any], requires_grad: bool = True) -> str:
    """Return what ``repr`` of a ``torch.nn.Parameter`` is.

    >>> print(parameter(np.array([[0.8332, 1.0521]], dtype=np.float32)))
    Parameter containing:
    tensor([[0.8332, 1.0521]], requires_grad=True)
    """
    return "Parameter containing:\n" + tensor(values, requires_grad=requires_grad)


def ordered_dict(items: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """Return what ``repr`` of an ``OrderedDict`` of tensors is in the Python of the documents (before 3.12).

    >>> ordered_dict([("bias", np.array([0.35], dtype=np.float32))])
    "OrderedDict([('bias', tensor([0.3500]))])"
    """
    pairs = ", ".join(f"({name!r}, {tensor(values)})" for name, values in items)
    return f"OrderedDict([{pairs}])" if pairs else "OrderedDict()"


def legacy_tensor(*values: float, dtype: str = "float32") -> str:
    """Return the block that torch 0.3 printed for a tensor with one axis, from its second line on.

    Many digits before the point, or zeros after it, become a factor on a line of its own.

    >>> print(legacy_tensor(4.0), end="")
     4
    [torch.FloatTensor of size 1]
    >>> print(legacy_tensor(0.0078049), end="")
    1.00000e-03 *
      7.8049
    [torch.FloatTensor of size 1]
    """
    kind = "Double" if dtype == "float64" else "Float"
    spec, scale = _legacy_format(values)
    lines = [f"{value:{spec}}" for value in values]
    if scale != 1.0:
        lines = [f"{scale:.5e} *", *(f" {value / scale:{spec}}" for value in values)]
    return "\n".join([*lines, f"[torch.{kind}Tensor of size {len(values)}]", ""])


def twelve_digits(value: float) -> str:
    """Return Python 2's ``str`` of a float: 12 significant digits, ``.0`` where there is no point or exponent.

    >>> twelve_digits(56 / 3), twelve_digits(0.1 + 0.2), twelve_digits(2), twelve_digits(1e11)
    ('18.6666666667', '0.3', '2.0', '1e+11')
    """
    return f"{float(value):.12}"


def _origin(grad_fn: str | None, requires_grad: bool) -> list[str]:
    if grad_fn:
        return [f"grad_fn=<{grad_fn}Backward0>"]
    return ["requires_grad=True"] if requires_grad else []


def _with_suffixes(text: str, suffixes: list[str]) -> str:
    """Append each suffix, on a new line where it would pass the line's end, and close the parenthesis."""
    used = len(text) - text.rfind("\n") + 1  # one or two more than the line has: torch's own count
    for suffix in suffixes:
        if used + len(suffix) + 2 > _LINE:
            text += ",\n" + " " * len(_PREFIX) + suffix
            used = len(_PREFIX) + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


def _body(values: NDArray[Any]) -> str:
    """Return the nested brackets, every entry padded to the widest that is shown."""
    if not values.size:
        return "[]"
    elided = tuple(values.size > _THRESHOLD and length > 2 * _EDGE for length in values.shape)
    for axis, cut in enumerate(elided):
        if cut:
            values = np.take(values, [*range(_EDGE), *range(-_EDGE, 0)], axis=axis)
    write, width = _format(values)
    return _nested(values.tolist(), elided, len(_PREFIX), write, width)


def _format(values: NDArray[Any]) -> tuple[Callable[[Any], str], int]:
    """Return how an entry is written, and the width of the widest. Zeros, nan and inf do not count for either."""
    flat = values.ravel().tolist()
    if values.dtype.kind != "f":
        return str, max(map(len, map(str, flat)))
    counted = [value for value in flat if value and math.isfinite(value)]
    if not counted:
        return _whole, 1
    sizes = [abs(value) for value in counted]
    write = _notation(min(sizes), max(sizes), all(map(float.is_integer, counted)))
    return write, max(map(len, map(write, counted)))


def _notation(smallest: float, largest: float, integers: bool) -> Callable[[float], str]:
    if largest / smallest > 1000.0 or largest > 1e8 or smallest < 1e-4:
        return "{:.4e}".format
    return _whole if integers else "{:.4f}".format


def _whole(value: float) -> str:
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


def _float_text(value: float) -> str:
    """Return ``_notation`` of one number, which never needs padding."""
    size = abs(value)
    if 1e-4 <= size <= 1e8:
        return f"{value:.0f}." if value.is_integer() else f"{value:.4f}"
    return f"{value:.4e}" if value and math.isfinite(value) else _whole(value)


def _nested(part: Any, elided: tuple[bool, ...], indent: int, write: Callable[[Any], str], width: int) -> str:
    if not elided:
        return write(part).rjust(width)
    if len(elided) == 1:
        cells = [write(value).rjust(width) for value in part]
        return _row([*cells[:_EDGE], " ...", *cells[_EDGE:]] if elided[0] else cells, indent, width)
    blocks = [_nested(inner, elided[1:], indent + 1, write, width) for inner in part]
    if elided[0]:
        blocks.insert(_EDGE, "...")
    between = "," + "\n" * (len(elided) - 1) + " " * (indent + 1)
    return f"[{between.join(blocks)}]"


def _row(cells: list[str], indent: int, width: int) -> str:
    each = max(1, (_LINE - indent) // (width + 2))
    lines = [", ".join(cells[first : first + each]) for first in range(0, len(cells), each)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _legacy_format(values: tuple[float, ...]) -> tuple[str, float]:
    """Return torch 0.3's format of an entry, and the factor in front of the block."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    least = 2 if len(finite) == len(values) else 3  # room for 'nan' and 'inf'
    sizes = finite or [0.0]
    high, low = _digits(max(sizes)), _digits(min(sizes))
    if all(map(float.is_integer, sizes)):
        return ("11.4e" if high > _LEGACY_DIGITS + 1 else f"{max(least, high + 1)}.0f"), 1.0
    if high - low > _LEGACY_DIGITS:
        return ("12.4e" if max(abs(high), abs(low)) > 99 else "11.4e"), 1.0
    if high > _LEGACY_DIGITS + 1 or high < 0:
        return "7.4f", math.pow(10, high - 1) or math.ulp(0.0)  # the smallest float is below 10**-323
    return f"{max(7, high + 6)}.4f", 1.0


def _digits(size: float) -> int:
    """Return the number of digits before the point; 0 or less where the number starts after it."""
    return math.floor(math.log10(size)) + 1 if size else 1
