"""CSV as a record has it: floats by the shortest text that reads back to the same bits, no spreadsheet formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from gdcli.errors import visible

if TYPE_CHECKING:  # a list of records needs no numpy
    import numpy as np
    from numpy.typing import NDArray

    from gdcli.records import Floats, StepBlock

STEPS_HEADER = "step,epoch,batch,loss,lr,gradient_norm\n"


def cell(text: str) -> str:
    """Return a text as a CSV cell: quoted where it must be, and no formula for a spreadsheet.

    >>> cell("weight[0,1]"), cell("=1+1")
    ('"weight[0,1]"', "'=1+1")
    """
    text = visible(text, keep="\n\t")
    if text[:1] in "=+-@\t" and text:
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


def step_rows(block: StepBlock) -> str:
    """Return a block's rows of steps.csv; floats by shortest round trip."""
    columns = (block.step, block.epoch, block.batch, block.loss, block.lr, block.gradient_norm)
    step, epoch, batch, loss, lr, norm = (column.tolist() for column in columns)
    lines = [
        f"{a},{b},{c},{d!r},{'' if e != e else repr(e)},{f!r}\n"
        for a, b, c, d, e, f in zip(step, epoch, batch, loss, lr, norm, strict=True)
    ]
    return "".join(lines)


def float_rows(steps: NDArray[Any], values: Floats) -> bytes:
    """Return CSV rows of a step number and floats, which read back to the same bits.

    orjson writes whole blocks by the shortest text that round-trips, ten times faster than Python's repr; it has no
    word for what is not finite, so a row with such a number goes through repr: how a row is written does not depend on
    the rows beside it.
    """
    import numpy as np

    wide = np.ascontiguousarray(values, dtype=np.float64)
    if not len(wide):
        return b""
    if not wide.shape[1]:
        return b"".join(b"%d\n" % step for step in steps.tolist())
    finite: NDArray[np.bool_] = np.all(np.isfinite(wide), axis=1)
    if not finite.all():
        return _apart(steps, wide, finite, repr)
    text = orjson.dumps(wide, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
    return b"".join(b"%d,%b\n" % pair for pair in zip(steps.tolist(), text, strict=True))


def number_rows(counts: NDArray[Any], values: Floats) -> bytes:
    """Return CSV rows of a whole number and floats, as :func:`float_rows`, with an empty cell for what is NaN."""
    import numpy as np

    complete: NDArray[np.bool_] = np.all(~np.isnan(values), axis=1)
    if complete.all():
        return float_rows(counts, values)
    return _apart(counts, values, complete, lambda value: "" if value != value else repr(value))


def _apart(counts: NDArray[Any], values: Floats, plain: NDArray[np.bool_], shown: Callable[[float], str]) -> bytes:
    """Return rows of which those that are ``plain`` are written by :func:`float_rows`, the others number by number."""
    lines = iter(float_rows(counts[plain], values[plain]).splitlines(keepends=True))
    rows = zip(counts.tolist(), values.tolist(), plain.tolist(), strict=True)
    return b"".join(
        next(lines) if is_plain else (",".join([str(count), *map(shown, row)]) + "\n").encode()
        for count, row, is_plain in rows
    )


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows of a CSV, its header as any other: floats by repr, texts escaped, None empty."""

    def shown(value: Any) -> str:
        if value is None:
            return ""
        return cell(value) if isinstance(value, str) else repr(value)

    return "".join(",".join(map(shown, row)) + "\n" for row in rows)
