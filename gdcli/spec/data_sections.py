"""The data section of a spec: its keys, checked and frozen, and what they say of the rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from gdcli.spec.signature import Integer, Path, Section
from gdcli.zoo.csv_dialect import can_separate
from gdcli.zoo.data import DatasetName
from gdcli.zoo.naming import MAX_WIDTH
from gdcli.zoo.splits import Wanted
from gdcli.zoo.table import brief

MAX_SEED = 2**63 - 1
Seed = Annotated[Integer, Ge(0), Le(MAX_SEED)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class HeldOutFile:
    """A file whose rows validate or test, and the digest that it must have."""

    file: str
    sha256: str | None = None


def _held_out(value: Any) -> Any:
    """Return a share, a number of rows or a file of one's own. Raises what pydantic tells of anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and (0 < value < 1 or (value >= 1 and float(value).is_integer())):
        return float(value) if value < 1 else int(value)
    given = {"file": value} if isinstance(value, str) else value
    if isinstance(given, dict) and {"file"} <= set(given) <= {"file", "sha256"}:
        file, sha256 = given["file"], given.get("sha256")
        if isinstance(file, str) and file and (sha256 is None or re.fullmatch("[0-9a-f]{64}", str(sha256))):
            return HeldOutFile(file, sha256)
    raise PydanticCustomError("held_out", "must be a share below 1, a number of rows, or a file")


_SHARE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "integer", "minimum": 1},
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"file": {"type": "string", "minLength": 1}, "sha256": {"type": "string"}},
            "required": ["file"],
            "additionalProperties": False,
        },
        {"type": "null"},
    ],
}
HeldOut = Annotated[
    Any, BeforeValidator(lambda value: None if value is None else _held_out(value)), WithJsonSchema(_SHARE_SCHEMA)
]


Standardized = Annotated[
    bool | list[str],
    WrapValidator(lambda value, of_others: value if value == "all" else of_others(value)),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"const": "all"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""Features that are numbers, ``all`` of them and the target, or the columns named."""


@dataclass(frozen=True, slots=True)
class Data:
    """Where the rows come from: ``inline``, ``file``, ``idx``, ``generate`` (arguments hold its kind), ``dataset``."""

    source: str
    arguments: Mapping[str, Any]
    standardize: bool | str | list[str] = False
    validation: float | int | HeldOutFile | None = None  # a share, a number of rows, or rows of their own
    seed: int | None = None  # of the rows and of the split; None: the spec's
    test: float | int | HeldOutFile | None = None
    stratify: bool = False
    folds: int | None = None
    fold: int | None = None
    shape: list[int] | None = None  # of a row, as torch's layers take it

    @property
    def held_out(self) -> Wanted:
        """What is drawn from the rows for validation and test."""
        validation, test = (None if isinstance(each, HeldOutFile) else each for each in (self.validation, self.test))
        return Wanted(validation, test, self.folds, self.fold or 0)


class DataCommon(Section):
    """What every source of data takes."""

    standardize: Standardized = False
    validation: HeldOut = None
    seed: Seed | None = None
    test: HeldOut = None
    stratify: bool = False
    folds: Annotated[Integer, Ge(2), Le(1000)] | None = None
    fold: Annotated[Integer, Ge(0)] | None = None
    shape: Annotated[list[Annotated[Integer, Ge(1), Le(MAX_WIDTH)]], Len(1, 8)] | None = None

    def contradictions(self) -> Iterator[tuple[Path, str]]:
        """Yield what two keys say against each other."""
        if self.folds is not None and self.validation is not None:
            yield ("folds",), "each fold validates in its turn: leave data.validation out"
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            yield ("fold",), f"{self.folds} folds are numbered from 0 to {self.folds - 1} (got {self.fold})"


class InlineData(Section):
    """Data that stand in the spec."""

    x: list[Any]
    y: list[Any]


def _a_sign(separator: str) -> str:
    if not can_separate(separator):
        raise ValueError("must be one sign between two cells, such as ; or a tab")
    return separator


def names_of(columns: str | list[str] | None) -> tuple[str, ...]:
    """Return the names of columns, of which one may stand without a list.

    >>> names_of("id"), names_of(["id", "date"]), names_of(None)
    (('id',), ('id', 'date'), ())
    """
    return (columns,) if isinstance(columns, str) else tuple(columns or ())


class FileData(Section):
    """Data of a file beside the spec."""

    file: Annotated[str, Len(1)]
    features: list[str] | None = None
    ignore: str | Annotated[list[str], Len(1)] | None = None
    target: str | list[str]
    header: bool | None = None
    separator: Annotated[str, AfterValidator(_a_sign)] | None = None
    decimal: Literal[".", ","] | None = None
    categories: Annotated[list[str], Len(1)] | None = None
    unknown: Literal["error", "zero"] | None = None
    missing: Literal["drop", "mean", "median", "most_frequent"] | None = None
    sha256: Digest | None = None

    def contradictions(self) -> Iterator[tuple[Path, str]]:
        """Yield what two keys say against each other."""
        if self.ignore is None:
            return
        if self.features is not None:
            yield ("ignore",), "has no effect beside data.features, which names every column to take"
        one = isinstance(self.ignore, str)
        for place, name in enumerate(names_of(self.ignore)):
            if name in names_of(self.target):
                yield ("ignore",) if one else ("ignore", place), f"{brief(name)} is the target, which has to be read"


class IdxFiles(Section):
    """Two IDX files, gzipped or not."""

    images: Annotated[str, Len(1)]
    labels: Annotated[str, Len(1)]


class IdxData(Section):
    """Images and their labels, as the handwritten digits of MNIST come in."""

    idx: IdxFiles
    sha256: Digest | None = None


class NamedDataset(Section):
    """One of the data sets inside scikit-learn."""

    dataset: DatasetName


class GeneratedData(Section):
    """Data that a generator draws."""

    generate: Any


SOURCES: dict[str, type[Section]] = {
    "x": InlineData, "file": FileData, "idx": IdxData, "generate": GeneratedData, "dataset": NamedDataset,
}  # fmt: skip
"""By the key that gives a source away."""
DATA_KEYS = set(DataCommon.model_fields).union(*(kind.model_fields for kind in SOURCES.values()))
