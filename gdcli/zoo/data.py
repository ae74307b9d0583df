"""Data sources: inline lists, generators, and the data sets inside scikit-learn's wheel; numpy only.

A generator is a function ``(rng, noise_rng, *, ...) -> Table`` with its name in `GENERATORS`; its keyword-only
arguments are its YAML keys. Points come from ``rng`` and noise from ``noise_rng``, so that the points of a seed are the
same with and without noise.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from annotated_types import Ge, Gt, Len
from numpy.random import Generator

from gdcli.errors import MachineError
from gdcli.zoo.naming import ArgumentError, Needs
from gdcli.zoo.table import MAX_INDEX, Floats, Indices, Table, brief, numbered

# --- random numbers -------------------------------------------------------------------------------------------------

Purpose: TypeAlias = Literal["data", "noise", "shuffle", "split", "ranks"]
_TAGS: dict[Purpose, int] = {"data": 1, "noise": 2, "shuffle": 3, "split": 4, "ranks": 5}


def generator(seed: int, purpose: Purpose) -> Generator:
    """Return the generator of one purpose: PCG64 seeded by ``SeedSequence([seed, tag])``.

    Tags: data 1, noise 2, shuffle 3, split 4, ranks 5 (the seeds of dropout in processes beside the first). So the
    purposes do not disturb each other, nor torch's generator, which draws the weights.

    >>> int(generator(0, "data").integers(100)), int(generator(0, "noise").integers(100))
    (52, 97)
    """
    return Generator(np.random.PCG64(np.random.SeedSequence([seed, _TAGS[purpose]])))


# --- generators -----------------------------------------------------------------------------------------------------

Count: TypeAlias = Annotated[int, Ge(1)]
Noise: TypeAlias = Annotated[float, Ge(0)]
Distribution: TypeAlias = Annotated[dict[Literal["uniform", "normal"], tuple[float, float]], Len(1, 1)]

_STANDARD_NORMAL: Distribution = {"normal": (0.0, 1.0)}
_UNIT: Distribution = {"uniform": (0.0, 1.0)}
_SYMMETRIC: Distribution = {"uniform": (-1.0, 1.0)}


def _drawn(rng: Generator, x: Distribution, shape: tuple[int, int]) -> Floats:
    """Draw x: ``{"uniform": [low, high]}`` or ``{"normal": [mean, standard deviation]}``."""
    if len(x) != 1:
        raise ValueError("x takes one distribution: {uniform: [low, high]} or {normal: [mean, deviation]}")
    ((name, (first, second)),) = x.items()
    if name == "uniform":
        if first > second:
            raise ValueError(f"x: uniform needs low <= high (got {first}, {second})")
        return rng.uniform(first, second, shape)
    if second < 0:
        raise ValueError(f"x: normal needs a deviation >= 0 (got {second})")
    return rng.normal(first, second, shape)


def _regression(x: Floats, y: Floats, noise: float, noise_rng: Generator) -> Table:
    noisy = y + noise * noise_rng.standard_normal(len(y))  # [n]
    return Table(x, noisy[:, None], numbered("x", x.shape[1]), ("y",))


def _classification(points: Floats, labels: Indices, classes: int, noise: float, noise_rng: Generator) -> Table:
    noisy = points + noise * noise_rng.standard_normal(points.shape)  # [n, d]
    return Table(noisy, labels, numbered("x", points.shape[1]), ("y",), classes)


def _labels(n: int, classes: int) -> Indices:
    """Classes in turn, so that each has its share and no batch in document order holds one class alone."""
    return np.arange(n, dtype=np.int64) % classes


def linear(
    rng: Generator,
    noise_rng: Generator,
    *,
    weights: Annotated[list[float], Len(1)],
    n: Count = 100,
    bias: float = 0.0,
    noise: Noise = 0.0,
    x: Distribution = _STANDARD_NORMAL,
) -> Table:
    """A plane: y = w1 x1 + ... + wd xd + bias + noise · N(0, 1).

    x is ``[n, d]`` with d the number of weights, y ``[n, 1]``.

    Raises:
        ValueError: a distribution of x that cannot be.

    >>> table = linear(generator(0, "data"), generator(0, "noise"), weights=[3.0], bias=4.0, n=5)
    >>> bool((table.y == 3 * table.x + 4).all())
    True
    """
    points = _drawn(rng, x, (n, len(weights)))
    y = np.zeros(n)
    for column, weight in enumerate(weights):  # a matrix product would round by the machine's instruction set
        y += weight * points[:, column]
    return _regression(points, y + bias, noise, noise_rng)


def polynomial(
    rng: Generator,
    noise_rng: Generator,
    *,
    coefficients: Annotated[list[float], Len(1)],
    n: Count = 100,
    noise: Noise = 0.0,
    x: Distribution = _SYMMETRIC,
) -> Table:
    """A polynomial: y = c0 + c1 x + c2 x² + ... + noise · N(0, 1), by Horner's rule.

    x and y are ``[n, 1]``; coefficients start with the constant.

    Raises:
        ValueError: a distribution of x that cannot be.
    """
    points = _drawn(rng, x, (n, 1))
    y = np.zeros(n)
    for coefficient in reversed(coefficients):
        y = y * points[:, 0] + coefficient
    return _regression(points, y, noise, noise_rng)


def sine(
    rng: Generator,
    noise_rng: Generator,
    *,
    n: Count = 100,
    amplitude: float = 1.0,
    frequency: Annotated[float, Needs("amplitude")] = 1.0,
    phase: Annotated[float, Needs("amplitude")] = 0.0,
    noise: Noise = 0.0,
    x: Distribution = _UNIT,
) -> Table:
    """A wave: y = amplitude · sin(2π · frequency · x + phase) + noise · N(0, 1).

    x and y are ``[n, 1]``; frequency in periods per unit of x, phase in radians.

    Raises:
        ValueError: a distribution of x that cannot be.
    """
    points = _drawn(rng, x, (n, 1))
    y = amplitude * np.sin(2 * math.pi * frequency * points[:, 0] + phase)
    return _regression(points, y, noise, noise_rng)


def blobs(
    rng: Generator,
    noise_rng: Generator,
    *,
    n: Count = 300,
    classes: Annotated[int, Ge(2)] = 3,
    features: Count = 2,
    spread: Noise = 1.0,
    box: Annotated[float, Gt(0)] = 10.0,
) -> Table:
    """Round clouds: x = centre of the class + spread · N(0, 1), the centres uniform in [-box, box].

    x is ``[n, features]``, y ``[n]`` class indices in turn.
    """
    centres = rng.uniform(-box, box, (classes, features))
    labels = _labels(n, classes)
    return _classification(centres[labels], labels, classes, spread, noise_rng)


def spirals(
    rng: Generator,
    noise_rng: Generator,
    *,
    n: Count = 300,
    classes: Annotated[int, Ge(2)] = 2,
    turns: Annotated[float, Gt(0)] = 1.0,
    noise: Noise = 0.0,
) -> Table:
    """Spiral arms: r uniform in [0, 1), angle = 2π (turns · r + class / classes), x = r (cos, sin) + noise · N(0, 1).

    x is ``[n, 2]``, y ``[n]`` class indices in turn.
    """
    labels = _labels(n, classes)
    radius = rng.random(n)
    angle = 2 * math.pi * (turns * radius + labels / classes)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return _classification(points, labels, classes, noise, noise_rng)


def moons(rng: Generator, noise_rng: Generator, *, n: Count = 200, noise: Noise = 0.0) -> Table:
    """Two half circles that interlock: (cos t, sin t) and (1 - cos t, 1/2 - sin t), t uniform in [0, π).

    x is ``[n, 2]``, y ``[n]`` class indices in turn.
    """
    labels = _labels(n, 2)
    t = math.pi * rng.random(n)
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    lower = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=1)
    return _classification(np.where(labels[:, None] == 0, upper, lower), labels, 2, noise, noise_rng)


def xor(rng: Generator, noise_rng: Generator, *, n: Count = 4, noise: Noise = 0.0) -> Table:
    """Exclusive or: x = (0, 0), (0, 1), (1, 0), (1, 1) in turn + noise · N(0, 1), y = 1 where the two bits differ.

    x is ``[n, 2]``, y ``[n]`` class indices.
    """
    corner = np.arange(n, dtype=np.int64) % 4
    bits = np.stack([corner // 2, corner % 2], axis=1)
    return _classification(bits.astype(np.float64), bits[:, 0] ^ bits[:, 1], 2, noise, noise_rng)


GENERATORS: dict[str, Callable[..., Table]] = {
    function.__name__: function for function in (blobs, linear, moons, polynomial, sine, spirals, xor)
}


def points(kind: str, arguments: Mapping[str, Any]) -> int:
    """Return how many scalars a generator makes at most, by arithmetic on its arguments; nothing is allocated.

    n rows of as many columns as there are weights or ``features`` (two where neither is an argument), and a target;
    for blobs the centres too. Of a plugin's generator with n, two columns are counted.

    >>> points("linear", {"n": 1000, "weights": [2, -3.4]})
    3000
    """
    parameters = inspect.signature(GENERATORS[kind]).parameters
    settings = {name: parameter.default for name, parameter in parameters.items()} | dict(arguments)
    if hasattr(GENERATORS[kind], "origin"):  # its other keys mean what it likes
        return 3 * settings["n"] if isinstance(settings.get("n"), int) else 0
    columns = len(settings["weights"]) if "weights" in settings else settings.get("features", 2)
    centres = settings["classes"] * columns if "features" in settings else 0
    return int(settings["n"] * (columns + 1) + centres)


# --- inline ---------------------------------------------------------------------------------------------------------


def inline(x: list[Any], y: list[Any], classes: bool) -> Table:
    """Make a table of nested lists: numbers are ``[n, 1]``, rows ``[n, d]``.

    With ``classes``, integers in y are class indices ``[n]`` and rows in y probabilities ``[n, k]``.

    Raises:
        ArgumentError: no data, ragged rows, deeper nesting, something that is no number, a negative class index, x
            and y of different length; its path leads to the row or number.

    >>> inline([1, 2], [2, 4], classes=False).x.shape
    (2, 1)
    """
    points = _matrix(x, "x")
    if classes and isinstance(y, list) and y and not isinstance(y[0], list):
        target: Floats | Indices = _indices(y)
        count = int(target.max()) + 1
    else:
        target = _matrix(y, "y")
        count = target.shape[1] if classes else 0
    if len(points) != len(target):
        raise ArgumentError(("y",), f"x has {len(points)} rows and y has {len(target)}")
    names = numbered("y", target.shape[1] if target.ndim == 2 else 1)
    return Table(points, target, numbered("x", points.shape[1]), names, count)


def _matrix(rows: list[Any], key: str) -> Floats:
    if not isinstance(rows, list) or not rows:
        raise ArgumentError((key,), "needs a list with at least one number or row")
    if not isinstance(rows[0], list):
        return np.array([[_number(value, (key, place))] for place, value in enumerate(rows)])
    width = len(rows[0])
    return np.array([_row(row, width, (key, place)) for place, row in enumerate(rows)])


def _row(row: Any, width: int, path: tuple[str | int, ...]) -> list[float]:
    if not isinstance(row, list):
        raise ArgumentError(path, "a number among rows")
    if not row:
        raise ArgumentError(path, "an empty row")
    if len(row) != width:
        raise ArgumentError(path, f"a row of {len(row)} numbers where the first has {width}")
    return [_number(value, (*path, place)) for place, value in enumerate(row)]


def _number(value: Any, path: tuple[str | int, ...]) -> float:
    if isinstance(value, list):
        raise ArgumentError(path, "a list where a number belongs")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentError(path, f"not a number (got {brief(value)})")
    try:
        return float(value)
    except OverflowError:
        raise ArgumentError(path, "a number too large for float64") from None


def _indices(values: list[Any]) -> Indices:
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ArgumentError(("y", place), f"a class index is a whole number (got {brief(value)})")
        if not 0 <= value < MAX_INDEX:
            raise ArgumentError(("y", place), "a class index counts from 0 and is below 2**53")
    return np.array(values, dtype=np.int64)


# --- data sets ------------------------------------------------------------------------------------------------------

DATASETS = {
    "iris": "Three kinds of iris by the sizes of their leaves: 150 rows, 4 features, 3 classes.",
    "wine": "Three growers by a chemical analysis of their wine: 178 rows, 13 features, 3 classes.",
    "digits": "Handwritten digits, 8 × 8 pixels from 0 to 16: 1,797 rows, 64 features, 10 classes.",
    "breast_cancer": "Malignant or benign by the cells' measures: 569 rows, 30 features, 2 classes.",
    "diabetes": "How a disease went on in a year: 442 rows, 10 features, a number.",
}
DatasetName: TypeAlias = Literal["iris", "wine", "digits", "breast_cancer", "diabetes"]


def dataset(name: DatasetName) -> Table:
    """Return one of the data sets inside scikit-learn's wheel; nothing is downloaded.

    Those of classes have class indices ``[n]``, diabetes a number ``[n, 1]``.

    Raises:
        MachineError: scikit-learn is not installed.

    https://scikit-learn.org/stable/datasets/toy_dataset.html
    """
    try:
        from sklearn import datasets  # type: ignore[import-untyped]  # scikit-learn ships no types
    except ImportError:
        command = 'pip install "gradient-descent-cli[datasets]"'
        raise MachineError(f"the data set {name} needs scikit-learn: {command}") from None
    bunch = getattr(datasets, f"load_{name}")()
    x = np.ascontiguousarray(bunch.data, dtype=np.float64)
    features = tuple(map(str, bunch.feature_names))
    if name == "diabetes":
        return Table(x, np.asarray(bunch.target, dtype=np.float64)[:, None], features, ("progression",))
    names = tuple(map(str, bunch.target_names))
    own = names if names != tuple(map(str, range(len(names)))) else ()
    return Table(x, np.asarray(bunch.target, dtype=np.int64), features, ("class",), len(names), class_names=own)
