"""From raw columns to the model's rows, and from its outputs to names: fitted on training rows, kept with the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import nearest
from gdcli.zoo.columns import (
    MAX_WORD,
    MAX_WORDS,
    Column,
    Where,
    Words,
    as_words,
    by_number,
    in_order,
    is_missing,
    number_of,
    used,
)
from gdcli.zoo.csv_dialect import can_separate
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import Floats, Indices, Inputs, brief, numbered

MAX_COLUMNS = 1_000_000
"""Columns of the model's rows."""
MAX_NUMBERS = 5 * 10**8
"""Numbers of all rows."""

LOSS_POWERS = {"mse": 2, "half_mse": 2, "sse": 2, "half_sse": 2, "mae": 1}
"""By which power of the targets' unit a loss grows."""

Fill: TypeAlias = Literal["mean", "median", "most_frequent"]
Unknown: TypeAlias = Literal["error", "zero"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One raw column: numbers, or words of which each category becomes a column of the model's rows."""

    name: str
    width: int = 1  # of an array [n, d]; of words the number of categories
    categories: tuple[str, ...] | None = None
    fill: tuple[float, ...] | str | None = None  # what stands for a missing cell

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns: area, x[0], town=Bonn."""
        if self.categories is not None:
            return tuple(f"{self.name}={value}" for value in self.categories)
        return numbered(self.name, self.width)


@dataclass(frozen=True, slots=True, eq=False)
class Preprocessing:
    """What was learned of the training rows, and is done with all others.

    A row of D numbers is, feature after feature, its number or a 1 in the column of its category and 0 in the others
    of the feature; then x' = (x − mean) / deviation, where there are any.
    """

    features: tuple[Feature, ...]
    unknown: Unknown = "error"
    means: Floats | None = None  # [D]; 0 for columns that are not standardized
    deviations: Floats | None = None  # [D]; 1 for them
    classes: tuple[str, ...] = ()  # names of the classes, where they are not 0, 1, 2, ...
    target_means: Floats | None = None  # [K]
    target_deviations: Floats | None = None  # [K]
    separator: str = ","  # of the training file, for a CSV that does not show its own
    decimal: str = "."

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the D columns of x."""
        return tuple(name for feature in self.features for name in feature.columns)

    @property
    def width(self) -> int:
        """D."""
        return sum(feature.width for feature in self.features)

    @property
    def words(self) -> tuple[str, ...]:
        """The raw columns that hold words."""
        return tuple(feature.name for feature in self.features if feature.categories is not None)

    @property
    def is_fitted(self) -> bool:
        """Whether there is more to it than the order of the columns."""
        plain = all(each.categories is None and each.fill is None for each in self.features)
        return not plain or bool(self.classes) or self.means is not None or self.target_means is not None

    def is_of(self, features: Sequence[str], targets: Sequence[str], classes: int, kind: str) -> bool:
        """Say whether it is of a model of these columns, with targets of a kind: values, probabilities, classes."""
        outputs = len(targets) if self.target_means is None else len(self.target_means)
        names = len(self.classes) in (0, 2 if kind == "probabilities" else classes)
        of_values = self.target_means is None or (kind == "values" and not self.classes and not classes)
        return self.columns == tuple(features) and outputs == len(targets) and names and of_values

    @classmethod
    def fit(
        cls, columns: Mapping[str, Column], features: Sequence[str], *, categories: Collection[str] = (),
        missing: Fill | None = None, unknown: Unknown = "error",
    ) -> Preprocessing:  # fmt: skip
        """Return what the training rows say of their columns, and what stands for their missing cells.

        ``mean`` and ``median`` are for numbers; words are filled with the most frequent one, the first in order of
        several. Raises ArgumentError for a column without a cell, and words of more than 10,000 values.
        """
        found = []
        for name in features:
            column = columns[name]
            of_words = name in categories or isinstance(column, Words)
            column = as_words(column, name) if of_words else column
            if missing is not None and bool(is_missing(column).all()):
                raise ArgumentError(("missing",), f"column {brief(name)} has no cell in the training rows")
            if isinstance(column, Words):
                values = used(column, name)
                fill = None if missing is None else _most_frequent(column)
                found.append(Feature(name, len(values), values, fill))
            else:
                width = 1 if column.ndim == 1 else column.shape[1]
                found.append(Feature(name, width, None, None if missing is None else _fills(column, missing, name)))
        return cls(tuple(found), unknown)

    def standardized(self, x: Floats, names: Collection[str] | None = None) -> Preprocessing:
        """Return it with mean and deviation of the training rows x [n, D]: of all numbers, or of some raw columns."""
        chosen = [
            feature.categories is None and (names is None or feature.name in names)
            for feature in self.features
            for _ in range(feature.width)
        ]
        means, deviations = scale(x)
        return replace(self, means=np.where(chosen, means, 0.0), deviations=np.where(chosen, deviations, 1.0))

    def scaled(self, x: Floats) -> Floats:
        """Return encoded rows [..., D] as the model takes them: standardized."""
        if self.means is None or self.deviations is None:
            return x
        with np.errstate(all="ignore"):  # of a row beyond all training rows: infinite, as IEEE 754 has it
            return (x - self.means) / self.deviations

    def unscaled(self, x: Floats) -> Floats:
        """Return standardized rows [..., D] in the units of the data."""
        return x if self.means is None or self.deviations is None else x * self.deviations + self.means

    def encoded(self, columns: Mapping[str, Column], where: Where = by_number) -> Inputs:
        """Return a table of raw columns as numbers [n, D], not yet standardized. For errors see :meth:`encode`."""
        lacking = [feature.name for feature in self.features if feature.name not in columns]
        if lacking:
            what = f"the table has no column {', '.join(map(brief, lacking[:10]))}"
            raise ArgumentError((), what, nearest(lacking[0], list(columns)))
        rows = len(columns[self.features[0].name])
        if rows * self.width > MAX_NUMBERS:
            raise ArgumentError((), f"{rows:,} rows of {self.width:,} columns, more than {MAX_NUMBERS:,} numbers")
        if (only := self._only_column(columns)) is not None:
            return only
        x, place = np.zeros((rows, self.width)), 0
        for feature in self.features:
            block = x[:, place : place + feature.width]
            write = _write_words if feature.categories is not None else _write_numbers
            write(feature, columns[feature.name], block, self.unknown, where)
            place += feature.width
        return x

    def _only_column(self, columns: Mapping[str, Column]) -> Floats | None:
        """Return the one column of numbers that a table has, as [n, D]: complete, it is the table, without a copy."""
        (feature, *others), column = self.features, columns[self.features[0].name]
        if others or feature.categories is not None or isinstance(column, Words) or not column.flags.c_contiguous:
            return None
        x = column.reshape(len(column), -1)
        return x if x.dtype.kind == "f" and x.shape[1] == feature.width and not is_missing(column).any() else None

    def encode(self, columns: Mapping[str, Column], where: Where = by_number) -> Inputs:
        """Return a table of raw columns, in any order and among others, as the model's rows x [n, D].

        Raises ArgumentError for a missing column, a missing cell without anything to fill it, words in a column of
        numbers, and words that no training row has, unless ``unknown`` is zero.
        """
        return self.scaled(self.encoded(columns, where))  # type: ignore[arg-type]  # of float32 too: means are in float64

    def decode(self, outputs: NDArray[Any], threshold: float = 0.5) -> list[str]:
        """Return the name of each row's class: the largest output of [n, C]; of [n, 1] by the threshold."""
        found = outputs[:, 0] > threshold if outputs.shape[1] == 1 else outputs.argmax(axis=1)
        return [self.class_name(int(index)) for index in found]

    def class_name(self, index: int) -> str:
        """Return what a class is called: its name, or its number where there is none."""
        return self.classes[index] if index < len(self.classes) else str(index)

    def target_scaled(self, y: Floats | Indices) -> Floats | Indices:
        """Return targets [n, K] as the model learns them; classes [n] as they are."""
        if self.target_means is None or self.target_deviations is None or y.ndim == 1:
            return y
        return (y - self.target_means) / self.target_deviations

    def in_units(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return outputs [..., K] of a model of values in the units of the data, in their own dtype."""
        if self.target_means is None or self.target_deviations is None:
            return outputs
        with np.errstate(all="ignore"):
            return (outputs * self.target_deviations + self.target_means).astype(outputs.dtype)

    def loss_unit(self, loss: str) -> float | None:
        """Return what a loss of standardized targets is to be multiplied by, to be that of targets in their own units.

        σ² for squared losses, σ for the absolute one; None for other losses, and where the deviations σ differ.
        """
        deviations = [] if self.target_deviations is None else np.unique(self.target_deviations).tolist()
        power = LOSS_POWERS.get(loss)
        return None if power is None or len(deviations) != 1 else float(deviations[0] ** power)

    # --- as a file ----------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, what is not there left out."""
        found: dict[str, Any] = {"columns": self.columns}
        for key, array in _arrays(self).items():
            found |= {key: array.tolist()}
        if any(each != Feature(each.name) for each in self.features):
            found["features"] = [_feature_to_json(each) for each in self.features]
        if self.unknown != "error":
            found["unknown"] = self.unknown
        if self.classes:
            found["classes"] = self.classes
        found |= {key: getattr(self, key) for key, usual in _SIGNS.items() if getattr(self, key) != usual}
        return found

    @classmethod
    def from_json(cls, value: Any) -> Preprocessing:
        """Return it from data that :meth:`to_json` made; of nobody known, so that everything is checked.

        Raises ArgumentError for what :meth:`to_json` does not make: other keys, types or lengths, numbers that are not
        finite, deviations that are not above 0, more than 10,000 categories of a column.
        """
        known = {"columns", *_ARRAYS, *_SIGNS, "features", "unknown", "classes"}
        _require(isinstance(value, dict) and set(value) <= known, "other keys than it has")
        columns = _texts(value.get("columns"), "columns", MAX_COLUMNS)
        given = value.get("features", [{"name": name} for name in columns])
        _require(isinstance(given, list) and 0 < len(given) <= MAX_COLUMNS, "features is no list")
        features = tuple(map(_feature_from_json, given))
        width = sum(feature.width for feature in features)
        _require(width == len(columns), "columns are not those of the features")
        unknown = value.get("unknown", "error")
        _require(unknown in ("error", "zero"), "unknown is neither error nor zero")
        arrays: dict[str, Any] = {key: _floats(value[key], key) for key in _ARRAYS if key in value}
        for mean, deviation, length in (("means", "deviations", width), ("target_means", "target_deviations", None)):
            _require((mean in arrays) == (deviation in arrays), f"{mean} and {deviation} do not belong together")
            if mean in arrays:
                sizes = {len(arrays[mean]), len(arrays[deviation]), length or len(arrays[mean])}
                _require(len(sizes) == 1 and bool((arrays[deviation] > 0).all()), f"{deviation} do not fit")
        classes = _texts(value.get("classes", []), "classes", MAX_WORDS)
        signs = {key: value.get(key, sign) for key, sign in _SIGNS.items()}
        _require(isinstance(signs["separator"], str) and can_separate(signs["separator"]), "separator is none")
        _require(signs["decimal"] in (".", ","), "decimal is neither a point nor a comma")
        found = cls(features, unknown, classes=classes, **signs, **arrays)
        _require(found.columns == columns, "columns are not those of the features")
        return found


def scale(x: Floats) -> tuple[Floats, Floats]:
    """Return mean and deviation of each column of x [n, D], both ``[D]``, with divisor n; a constant has deviation 1.

    A constant's mean is the constant itself, since a rounded mean would leave a remainder where 0 belongs.
    """
    constant = x.min(axis=0) == x.max(axis=0)
    mean = np.where(constant, x[0], x.mean(axis=0))
    return mean, np.where(constant, 1.0, x.std(axis=0))


# --- fills ------------------------------------------------------------------------------------------------------------


def _fills(column: Floats, how: Fill, name: str) -> tuple[float, ...]:
    matrix = column.reshape(len(column), -1)
    found = []
    for cells in matrix.T:
        cells = cells[~np.isnan(cells)].astype(np.float64)
        if not len(cells):
            raise ArgumentError(("missing",), f"column {brief(name)} has no cell in the training rows")
        if how == "most_frequent":
            values, counts = np.unique(cells, return_counts=True)
            found.append(float(values[counts.argmax()]))  # the first of equals is the smallest
        else:
            found.append(float(cells.mean() if how == "mean" else np.median(cells)))
    return tuple(found)


def _most_frequent(column: Words) -> str:
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
    most = counts.max()
    return in_order(value for value, count in zip(column.values, counts, strict=True) if count == most)[0]


# --- one feature of a table -------------------------------------------------------------------------------------------


def _write_numbers(feature: Feature, column: Column, block: Floats, unknown: Unknown, where: Where) -> None:
    if isinstance(column, Words):
        word = next((value for value in column.values if number_of(value) is None), "")
        raise ArgumentError((), f"column {brief(feature.name)} holds numbers in training, and text here: {brief(word)}")
    cells = column.reshape(len(column), -1)
    if cells.shape[1] != feature.width:
        what = f"column {brief(feature.name)} has {cells.shape[1]} numbers a row, and {feature.width} in training"
        raise ArgumentError((), what)
    block[:] = cells
    missing = np.isnan(block)
    if missing.any():
        if feature.fill is None:
            raise _lacking(feature, is_missing(block), where)
        np.copyto(block, np.array(feature.fill), where=missing)


def _write_words(feature: Feature, column: Column, block: Floats, unknown: Unknown, where: Where) -> None:
    words, categories = as_words(column, feature.name), feature.categories or ()
    fill = categories.index(feature.fill) if isinstance(feature.fill, str) else -1
    if fill < 0 and (words.codes < 0).any():
        raise _lacking(feature, words.codes < 0, where)
    places = {value: place for place, value in enumerate(categories)}
    at = np.array([*(places.get(value, -1) for value in words.values), fill])[words.codes]  # [n]
    if unknown == "error" and (at < 0).any():
        new = dict.fromkeys(words.values[code] for code in words.codes[at < 0][:10_000].tolist())
        named = ", ".join(map(brief, list(new)[:10])) + (", ..." if len(new) > 10 else "")
        first, few = where(int((at < 0).argmax())), ", ".join(map(brief, categories[:5]))
        what = f"{first}, column {brief(feature.name)}: no training row has {named}"
        others = f"They have {few}{', ...' if len(categories) > 5 else ''}"
        raise ArgumentError((), what, f"{others}. data.unknown: zero, in training, takes any other for none of these")
    block[np.flatnonzero(at >= 0), at[at >= 0]] = 1.0


def _lacking(feature: Feature, missing: NDArray[np.bool_], where: Where) -> ArgumentError:
    cells = "1 cell is" if (count := int(missing.sum())) == 1 else f"{count:,} cells are"
    what = f"column {brief(feature.name)}: {cells} missing, the first in {where(int(missing.argmax()))}"
    return ArgumentError((), what, "data.missing: median, in training, says what fills them")


# --- plain data -------------------------------------------------------------------------------------------------------

_SIGNS = {"separator": ",", "decimal": "."}
_ARRAYS = ("means", "deviations", "target_means", "target_deviations")


def _arrays(preprocessing: Preprocessing) -> dict[str, Floats]:
    return {key: array for key in _ARRAYS if (array := getattr(preprocessing, key)) is not None}


def _feature_to_json(feature: Feature) -> dict[str, Any]:
    found: dict[str, Any] = {"name": feature.name}
    if feature.categories is not None:
        found["categories"] = feature.categories
    elif feature.width != 1:
        found["width"] = feature.width
    if feature.fill is not None:
        found["fill"] = feature.fill
    return found


def _feature_from_json(value: Any) -> Feature:
    known = {"name", "categories", "width", "fill"}
    _require(isinstance(value, dict) and set(value) <= known, "a feature has other keys")
    (name,) = _texts([value.get("name")], "a feature's name", 1, longest=10_000)
    fill = value.get("fill")
    if "categories" in value:
        categories = _texts(value["categories"], "categories", MAX_WORDS)
        _require("width" not in value and (fill is None or fill in categories), "a fill is none of the categories")
        return Feature(name, len(categories), categories, fill)
    width = value.get("width", 1)
    _require(type(width) is int and 0 < width <= MAX_COLUMNS, "a width is no whole number from 1 on")
    fills = None if fill is None else tuple(_floats(fill, "fill").tolist())
    _require(fills is None or len(fills) == width, "a fill is not as long as its column is wide")
    return Feature(name, width, None, fills)


def _texts(value: Any, key: str, most: int, longest: int = MAX_WORD) -> tuple[str, ...]:
    of_text = isinstance(value, list) and len(value) <= most and all(isinstance(item, str) for item in value)
    _require(of_text, f"{key} is no list of at most {most:,} texts")
    bound = 10_000 if key == "columns" else longest
    _require(all(len(item) <= bound for item in value) and len(set(value)) == len(value), f"{key} has a bad text")
    return tuple(value)


def _floats(value: Any, key: str) -> Floats:
    numbers = isinstance(value, list) and len(value) <= MAX_COLUMNS
    _require(numbers and all(type(item) in (int, float) for item in value), f"{key} is no list of numbers")
    try:
        array = np.array(value, np.float64)
    except OverflowError:
        array = np.array([np.inf])
    _require(bool(np.isfinite(array).all()), f"{key} has a number that is not finite")
    return array


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ArgumentError((), f"not a description of a preprocessing: {what}")
