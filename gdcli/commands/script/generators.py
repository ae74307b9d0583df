"""Made-up rows in numpy, drawn by the same generators of random numbers as `gdcli.zoo.data` draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Arguments = Mapping[str, Any]

_POINTS, _NOISE = "points", "noise"


def lines(arguments: dict[str, Any], seed: int) -> list[str]:
    """Return the lines that make x [n, d] and y, ``[n, 1]`` numbers or ``[n]`` classes, of a generator's arguments."""
    kind = arguments.pop("kind")
    noisy = arguments.get("noise", arguments.get("spread", 0)) != 0
    head = [f"{_POINTS} = np.random.default_rng([{seed}, 1])  # draws the rows"] if kind != "xor" else []
    if noisy:
        head += [f"{_NOISE} = np.random.default_rng([{seed}, 2])  # and what is added"]
    return head + _WRITTEN[kind](arguments, noisy)


def makes_classes(kind: str) -> bool:
    """Say whether a generator gives class indices."""
    return kind in ("blobs", "moons", "spirals", "xor")


def can_write(kind: str) -> bool:
    """Say whether a generator can be written."""
    return kind in _WRITTEN


def _drawn(x: Mapping[str, Any], shape: str) -> str:
    ((name, (first, second)),) = x.items()
    return f"x = {_POINTS}.{name}({first!r}, {second!r}, {shape})"


def _regression(arguments: Arguments, noisy: bool, y: str) -> list[str]:
    if noisy:
        y += f" + {arguments['noise']!r} * {_NOISE}.standard_normal(len(x))"
    return [f"y = {y}", "y = y[:, None]  # [n, 1]"]


def _linear(arguments: Arguments, noisy: bool) -> list[str]:
    weights, bias = arguments["weights"], arguments["bias"]
    terms = [f"{weight!r} * x[:, {place}]" for place, weight in enumerate(weights)]
    y = terms[0] + "".join(f" - {term[1:]}" if term.startswith("-") else f" + {term}" for term in terms[1:])
    if bias:
        y += f" - {-bias!r}" if bias < 0 else f" + {bias!r}"
    drawn = _drawn(arguments["x"], f"({arguments['n']}, {len(weights)})")
    return [drawn, *_regression(arguments, noisy, y)]


def _polynomial(arguments: Arguments, noisy: bool) -> list[str]:
    coefficients = arguments["coefficients"]
    *before, y = coefficients
    text = repr(y) if before else f"np.full(len(x), {y!r})"
    for coefficient in reversed(before):
        inner = text if text.replace(".", "").isalnum() else f"({text})"
        text = f"{inner} * x[:, 0] + {coefficient!r}".replace("+ -", "- ")
    return [_drawn(arguments["x"], f"({arguments['n']}, 1)"), *_regression(arguments, noisy, text)]


def _sine(arguments: Arguments, noisy: bool) -> list[str]:
    amplitude, frequency, phase = (arguments[name] for name in ("amplitude", "frequency", "phase"))
    y = f"{amplitude!r} * np.sin(2 * math.pi * {frequency!r} * x[:, 0] + {phase!r})"
    return [_drawn(arguments["x"], f"({arguments['n']}, 1)"), *_regression(arguments, noisy, y)]


def _labels(arguments: Arguments, classes: int) -> str:
    return f"y = np.arange({arguments['n']}) % {classes}  # the classes in turn"


def _noisy(arguments: Arguments, noisy: bool, key: str = "noise") -> list[str]:
    return [f"x = x + {arguments[key]!r} * {_NOISE}.standard_normal(x.shape)"] if noisy else []


def _blobs(arguments: Arguments, noisy: bool) -> list[str]:
    box, shape = arguments["box"], (arguments["classes"], arguments["features"])
    centres = f"centres = {_POINTS}.uniform({-box!r}, {box!r}, {shape})"
    return [centres, _labels(arguments, shape[0]), "x = centres[y]", *_noisy(arguments, noisy, "spread")]


def _spirals(arguments: Arguments, noisy: bool) -> list[str]:
    classes = arguments["classes"]
    return [
        _labels(arguments, classes),
        f"radius = {_POINTS}.random(len(y))",
        f"angle = 2 * math.pi * ({arguments['turns']!r} * radius + y / {classes})",
        "x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)",
        *_noisy(arguments, noisy),
    ]


def _moons(arguments: Arguments, noisy: bool) -> list[str]:
    return [
        _labels(arguments, 2),
        f"t = math.pi * {_POINTS}.random(len(y))",
        "upper = np.stack([np.cos(t), np.sin(t)], axis=1)",
        "lower = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=1)",
        "x = np.where(y[:, None] == 0, upper, lower)",
        *_noisy(arguments, noisy),
    ]


def _xor(arguments: Arguments, noisy: bool) -> list[str]:
    return [
        f"corner = np.arange({arguments['n']}) % 4",
        "x = np.stack([corner // 2, corner % 2], axis=1)",
        "y = x[:, 0] ^ x[:, 1]",
        "x = x.astype(np.float64)",
        *_noisy(arguments, noisy),
    ]


_WRITTEN: dict[str, Callable[[Arguments, bool], list[str]]] = {
    "blobs": _blobs, "linear": _linear, "moons": _moons, "polynomial": _polynomial, "sine": _sine,
    "spirals": _spirals, "xor": _xor,
}  # fmt: skip
