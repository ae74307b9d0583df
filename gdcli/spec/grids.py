"""The values of a sweep's axis, from the text of the command line or the spec.

A grid knows its length by arithmetic, so that one of 10^18 points is refused before a list is built. The arithmetic is
decimal, on the numbers as written: `range(0,4.1,0.1)` is 0.0, 0.1, ..., 4.0 and not 0.30000000000000004.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, localcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import SpecError, nearest
from gdcli.spec.grid_text import (
    FORMS,
    MAX_NUMBER,
    Value,
    checked,
    count_of,
    named_parts,
    number,
    refusal,
    scalar,
    split,
    word,
)
from gdcli.spec.scalars import FLOAT, shown

PRECISION = Context(prec=50)  # enough to round to the nearest float64, and the same on every machine
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\((.*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Grid:
    """The points of one axis: how many, the text that says them, and the list when it is asked for.

    >>> grid = parse("range(0,4.1,0.1)")
    >>> grid.length, grid.values()[:4], grid.values()[-1]
    (41, [0.0, 0.1, 0.2, 0.3], 4.0)
    """

    length: int
    text: str
    _build: Callable[[], list[Value]] = field(repr=False, compare=False)

    def values(self) -> list[Value]:
        """Build the list. Look at the length first."""
        return self._build()

    def array(self) -> NDArray[np.float64]:
        """Return the same values as float64, without a Python object for each where that can be."""
        found = _vectorised(self._build)
        return np.array(self.values(), dtype=np.float64) if found is None else found


def parse(text: str) -> Grid:
    """Read a grid: values, ranges, linspace, logspace or geomspace, one after the other. Raises SpecError.

    >>> [parse(text).values() for text in ("sgd,adam", "1:4:1", "logspace(-3,-1,3)", "geomspace(1,4,3)")]
    [['sgd', 'adam'], [1, 2, 3], [0.001, 0.01, 0.1], [1.0, 2.0, 4.0]]
    >>> [parse(text).values() for text in ("0.5,1:3", "[2,4,2],[2,8,2]", "5,null")]
    [[0.5, 1, 2], [[2, 4, 2], [2, 8, 2]], [5, None]]
    """
    text = checked(text)
    grids = [_part(part, text) for part in split(text, text)]
    if len(grids) == 1:
        return replace(grids[0], text=text)
    return Grid(sum(grid.length for grid in grids), text, partial(_joined, grids))


def _part(part: str, text: str) -> Grid:
    """Read what stands between two commas of a grid."""
    if call := _CALL.fullmatch(part):
        return _call(call[1], call[2], text)
    ends = [end.strip() for end in part.split(":")]
    return _range(ends, text) if len(ends) > 1 and FLOAT.fullmatch(ends[0]) else _list([word(part, text)], part)


def _joined(grids: Sequence[Grid]) -> list[Value]:
    return [value for grid in grids for value in grid.values()]


def as_text(value: Value) -> str:
    """Return a value as a label has it.

    >>> as_text([2, 4, 2]), as_text(None), as_text(0.1), as_text(True), as_text({"name": "step", "gamma": 0.5})
    ('[2,4,2]', 'null', '0.1', 'true', '{name: step,gamma: 0.5}')
    """
    if isinstance(value, list):
        return f"[{','.join(map(as_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}: {as_text(item)}' for key, item in value.items())}}}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def parse_zip(text: str) -> dict[str, Grid]:
    """Read grids that advance together: `zip(NAME=GRID,NAME=GRID,...)`, all of one length. Raises SpecError.

    >>> {name: grid.values() for name, grid in parse_zip("zip(a=0.1,0.2,b=1:3:1)").items()}
    {'a': [0.1, 0.2], 'b': [1, 2]}
    """
    text = checked(text)
    call = _CALL.fullmatch(text)
    if call is None or call[1] != "zip":
        raise refusal("not a zip", text, "Write zip(a=0.1,0.2,b=1,2)")
    grids: dict[str, Grid] = {}
    for name, grid in named_parts(call[2], text):
        if name in grids:
            raise refusal(f"the name '{shown(name)}' is given twice", text)
        grids[name] = parse(grid)
    return _of_one_length(grids, text)


def zip_from_spec(value: Any) -> dict[str, Grid]:
    """Read grids that advance together from a spec's sweep: a mapping of names and grids. Raises SpecError.

    >>> {name: grid.values() for name, grid in zip_from_spec({"lr": "0.1,0.2", "seed": [1, 2]}).items()}
    {'lr': [0.1, 0.2], 'seed': [1, 2]}
    """
    if not isinstance(value, dict) or not value:
        raise SpecError("a zip takes a mapping of names and grids. Write {zip: {lr: [0.1, 0.2], seed: [1, 2]}}")
    return _of_one_length({name: from_spec(grid) for name, grid in value.items()}, "")


def _of_one_length(grids: dict[str, Grid], text: str) -> dict[str, Grid]:
    if len({grid.length for grid in grids.values()}) > 1:
        lengths = ", ".join(f"{name} has {grid.length}" for name, grid in grids.items())
        raise refusal(f"the grids of a zip must have one length; {shown(lengths, 200)}", text)
    return grids


def from_spec(value: Any) -> Grid:
    """Read the value of a parameter in a spec's sweep: a grid's text, a list, or a mapping. Raises SpecError.

    The mapping is `{values: [...]}`, or `{min, max, count, distribution}` with evenly spaced points, both ends
    included: `grid` (the default) on the values, `log_grid` on their logarithms, `int_grid` rounded to integers (all
    of them where there is no count); or with so many random draws, of the generator with the key `seed` (default 0):
    `uniform`, `log_uniform_values`, `int_uniform`.

    >>> from_spec({"min": 1e-4, "max": 1, "distribution": "log_grid", "count": 5}).values()
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, dict):
        return _distribution(value) if "values" not in value else _values(value)
    return _list([scalar(item) for item in (value if isinstance(value, list | tuple) else [value])])


def _vectorised(build: Callable[[], list[Value]]) -> NDArray[np.float64] | None:
    """Return the points of an even grid as a quotient of integers, where float64 holds both of them exactly.

    The quotient of two such numbers is rounded correctly, by numpy as by Python.
    """
    if not isinstance(build, partial) or build.func not in (_even, _decimals):
        return None
    start, other, count, exponent = build.args  # the last value of an even grid, else the step
    scale, even = 10 ** abs(exponent), build.func is _even
    gaps = max(count - 1, 1) if even else 1
    largest = max(abs(start), abs(other)) * gaps if even else abs(start) + abs(other) * count
    if max(largest * 2, largest * (scale if even or exponent > 0 else 1), gaps * scale) >= 2**53:
        return None
    numerators = np.arange(count, dtype=np.int64)
    numerators *= other - start if even else other
    numerators += start * gaps
    found = numerators.astype(np.float64)
    found *= scale if exponent > 0 else 1
    found /= gaps if exponent > 0 else gaps * scale
    return found


# ---- forms ------------------------------------------------------------------------------------------------------


def _list(values: list[Value], text: str = "") -> Grid:
    if not values:
        raise SpecError(f"the grid is empty. {FORMS}")
    return Grid(len(values), text or ",".join(map(as_text, values)), partial(list, values))


def _call(name: str, inside: str, text: str) -> Grid:
    if name == "zip":
        raise refusal("a zip gives several parameters at once", text, "Give it alone, without a parameter's name")
    if name not in _FUNCTIONS:
        raise refusal(f"no grid is called '{shown(name)}'", text, nearest(name, _FUNCTIONS))
    return _FUNCTIONS[name](split(inside, text), text)


def _range(parts: Sequence[str], text: str) -> Grid:
    """start, stop, step: start + i * step for i = 0, 1, ... before stop; step is 1 if it is not given."""
    if not 2 <= len(parts) <= 3:
        raise refusal("a range has a start, a stop and a step", text, "Write range(0,4.1,0.1) or 0:4.1:0.1")
    parts = parts if len(parts) == 3 else [*parts, "1"]
    (start, stop, step), exponent = _aligned([number(part, text) for part in parts])
    if step == 0:
        raise refusal("the step of a range must not be 0", text)
    if start == stop:
        raise refusal("the grid is empty: its start is its stop, which is excluded", text)
    if (stop > start) != (step > 0):
        raise refusal("the grid is empty: the step leads away from the stop", text, "Change the sign of the step")
    length = -((start - stop) // step)
    if all(re.fullmatch(r"[-+]?[0-9]+", part) for part in parts):
        return Grid(length, text, partial(list[Value], range(start, start + step * length, step)))
    return Grid(length, text, partial(_decimals, start, step, length, exponent))


def _decimals(start: int, step: int, length: int, exponent: int) -> list[Value]:
    return [float(f"{start + i * step}e{exponent}") for i in range(length)]


def _aligned(numbers: Sequence[Decimal]) -> tuple[list[int], int]:
    """Return integers and one power of ten that make up the numbers exactly."""
    exponents = [int(number.as_tuple().exponent) for number in numbers]
    lowest = min(exponents)
    digits = [int(number.scaleb(-exponent, _WIDE)) for number, exponent in zip(numbers, exponents, strict=True)]
    return [d * 10 ** (e - lowest) for d, e in zip(digits, exponents, strict=True)], lowest


_WIDE = Context(prec=MAX_NUMBER)  # no number has more digits, so that nothing is rounded


def _linspace(parts: Sequence[str], text: str) -> Grid:
    """start, stop, count: start + (stop - start) * i / (count - 1), rounded once."""
    start, stop, count = _ends(parts, text, "linspace(0,4,41)")
    (first, last), exponent = _aligned([start, stop])
    return Grid(count, text, partial(_even, first, last, count, exponent))


def _ends(parts: Sequence[str], text: str, example: str) -> tuple[Decimal, Decimal, int]:
    if len(parts) != 3:
        raise refusal("a first value, a last value and a count are needed", text, f"Write {example}")
    return number(parts[0], text), number(parts[1], text), count_of(parts[2], text)


def _even(start: int, stop: int, count: int, exponent: int) -> list[Value]:
    gaps = max(count - 1, 1)
    up, down = 10 ** max(exponent, 0), gaps * 10 ** max(-exponent, 0)
    # the quotient of two integers is rounded correctly, so that 0.1 prints as 0.1
    return [(start * (gaps - i) + stop * i) * up / down for i in range(count)]


def _logspace(parts: Sequence[str], text: str) -> Grid:
    """low, high, count: ten to the powers of linspace(low, high, count)."""
    low, high, count = _ends(parts, text, "logspace(-4,-1,4)")
    if max(low, high) > 308 or min(low, high) < -307:
        raise refusal("the exponents of a logspace lie between -307 and 308", text)
    return Grid(count, text, partial(_powers, low, high, count))


def _geomspace(parts: Sequence[str], text: str) -> Grid:
    """start, stop, count: start * (stop / start) ** (i / (count - 1)), the ends exact."""
    start, stop, count = _ends(parts, text, "geomspace(1e-4,1e-1,4)")
    if start <= 0 or stop <= 0:
        raise refusal("the values of a geomspace must be above 0", text)
    return Grid(count, text, partial(_geometric, start, stop, count))


def _geometric(start: Decimal, stop: Decimal, count: int) -> list[Value]:
    values = _powers(start.log10(PRECISION), stop.log10(PRECISION), count)
    return [float(start), *values[1:-1], float(stop)][:count]


def _powers(low: Decimal, high: Decimal, count: int) -> list[Value]:
    """Return ten to evenly spaced exponents, each from the one before: 10⁷ products lose 7 of the 60 digits."""
    values: list[Value] = []
    with localcontext(Context(prec=PRECISION.prec + 10)):
        ratio, power = Decimal(10) ** ((high - low) / max(count - 1, 1)), Decimal(10) ** low
        for _ in range(count):
            values.append(float(power))
            power *= ratio
    return values


_FUNCTIONS: dict[str, Callable[[Sequence[str], str], Grid]] = {
    "range": _range,
    "linspace": _linspace,
    "logspace": _logspace,
    "geomspace": _geomspace,
}


# ---- the spec's mapping -----------------------------------------------------------------------------------------

_KEYS = ("min", "max", "count", "distribution", "seed")


def _values(value: dict[str, Any]) -> Grid:
    if len(value) > 1 or not isinstance(value["values"], list | tuple):
        raise SpecError("'values' takes a list, and no key beside it. Write {values: [0.1, 0.01]}")
    return from_spec(value["values"])


def _distribution(value: dict[str, Any]) -> Grid:
    for key in value:
        if key not in _KEYS:
            raise SpecError(f"a grid has no key '{shown(str(key))}'. {nearest(str(key), (*_KEYS, 'values'))}")
    name = value.get("distribution", "grid")
    if not isinstance(name, str) or name not in _DISTRIBUTIONS:
        raise SpecError(f"no distribution is called '{shown(str(name))}'. {nearest(str(name), _DISTRIBUTIONS)}")
    make, called = _DISTRIBUTIONS[name]
    needed = _KEYS[:2] if name == "int_grid" else _KEYS[:3]
    if missing := [key for key in needed if key not in value]:
        raise SpecError(f"the grid's key '{missing[0]}' is missing. Write {{min: 0, max: 1, count: 11}}")
    if "seed" in value and name not in _DRAWN:
        raise SpecError(f"a {name} draws nothing: no 'seed' beside it. Draws: {', '.join(_DRAWN)}")
    parts = [_number_text(value[key], key) for key in ("min", "max", "count") if key in value]
    seed = [_number_text(value.get("seed", 0), "seed")] if name in _DRAWN else []
    text = f"{called}({','.join([*parts, *(f'seed={each}' for each in seed)])})"
    if number(parts[0], text) > number(parts[1], text):
        raise refusal("min is above max", text)
    return make([*parts, *seed], text)


def _number_text(value: Any, key: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpecError(f"the grid's key '{key}' takes a number (got {shown(str(value))})")
    return repr(value)


def _int_grid(parts: Sequence[str], text: str) -> Grid:
    """min, max, count: evenly spaced and rounded; all integers without a count."""
    first, last, count = _integers(parts, text)
    return Grid(count, text, partial(_rounded, first, last, count))


def _integers(parts: Sequence[str], text: str) -> tuple[int, int, int]:
    """Return the ends and how many integers of those between them."""
    low, high = (number(part, text) for part in parts[:2])
    if low != int(low) or high != int(high):
        raise refusal("min and max must be integers", text)
    there = int(high) - int(low) + 1
    count = count_of(parts[2], text) if len(parts) > 2 else there
    if count > there:
        raise refusal(f"there are only {there:,} integers from min to max", text, "An int_grid without a count has all")
    return int(low), int(high), count


def _rounded(first: int, last: int, count: int) -> list[Value]:
    gaps = max(count - 1, 1)
    return [first + (2 * (last - first) * i + gaps) // (2 * gaps) for i in range(count)]


def _uniform(parts: Sequence[str], text: str, *, log: bool = False) -> Grid:
    """min, max, count, seed: random draws, even on the values, or on their logarithms."""
    low, high, count = _ends(parts[:3], text, "")
    if log and low <= 0:
        raise refusal("min must be above 0", text)
    if math.isinf(float(high) - float(low)):
        raise refusal("from min to max is further than a float64 goes", text)
    return Grid(count, text, partial(_draws, float(low), float(high), count, _seed(parts[3], text), log=log))


def _int_uniform(parts: Sequence[str], text: str) -> Grid:
    """min, max, count, seed: random integers, none twice."""
    low, high, count = _integers(parts[:3], text)
    if low < -(2**63) or high >= 2**63:
        raise refusal("min and max must be integers of 64 bits", text)
    return Grid(count, text, partial(_int_draws, low, high, count, _seed(parts[3], text)))


def _seed(part: str, text: str) -> int:
    seed = number(part, text)
    if seed < 0 or seed != int(seed):
        raise refusal("the seed must be an integer of at least 0", text)
    return int(seed)


def _draws(low: float, high: float, count: int, seed: int, *, log: bool) -> list[Value]:
    generator = np.random.default_rng(seed)
    if not log:
        return [*generator.uniform(low, high, count).tolist()]
    return [*np.clip(np.exp(generator.uniform(math.log(low), math.log(high), count)), low, high).tolist()]


def _int_draws(low: int, high: int, count: int, seed: int) -> list[Value]:
    generator, found = np.random.default_rng(seed), dict[Value, None]()
    while len(found) < count:  # what was drawn before is drawn again
        found |= dict.fromkeys(generator.integers(low, high, count, endpoint=True).tolist())
    return list(found)[:count]


_DISTRIBUTIONS: dict[str, tuple[Callable[[Sequence[str], str], Grid], str]] = {
    "grid": (_linspace, "linspace"), "log_grid": (_geomspace, "geomspace"), "int_grid": (_int_grid, "int_grid"),
    "uniform": (_uniform, "uniform"), "log_uniform_values": (partial(_uniform, log=True), "log_uniform_values"),
    "int_uniform": (_int_uniform, "int_uniform"),
}  # fmt: skip
"""By name, what makes the grid of the numbers' texts, and what its own text calls it."""
_DRAWN = ("uniform", "log_uniform_values", "int_uniform")
