"""From the data section to rows: read or made, mapped to classes, split, encoded and scaled by the training rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from gdcli.errors import SpecError, nearest, visible
from gdcli.spec import sizes
from gdcli.spec.data_sections import Data, HeldOutFile, names_of
from gdcli.spec.prepared import PARTS, Note, PreparedRows
from gdcli.spec.sections import RunSpec
from gdcli.spec.signature import Path as KeyPath
from gdcli.zoo import data as sources
from gdcli.zoo.columns import BadCellsError, RawTable, Rows, Words, is_missing, taken
from gdcli.zoo.csv_dialect import CsvFormat, Dialect, Kinds
from gdcli.zoo.data_files import Moved, read_columns
from gdcli.zoo.idx_files import read_idx
from gdcli.zoo.losses import TARGETS
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Feature, Preprocessing, scale
from gdcli.zoo.splits import Labels, parts_of
from gdcli.zoo.table import Floats, Indices, Inputs, Table, as_numbers, brief
from gdcli.zoo.targets import Targets, targets_of

KEPT = 8  # prepared files that stay at hand: the runs of a sweep ask for the same few again and again


def wants_classes(spec: RunSpec) -> bool:
    """Say whether the loss takes classes."""
    return _kind(spec) == "classes"


def _kind(spec: RunSpec) -> str:
    return TARGETS.get(spec.loss.name, "values") if spec.loss is not None else "values"


def width_from_data(spec: RunSpec) -> bool:
    """Say whether the model has as many outputs as the data have classes."""
    return spec.model.name == "linear" and spec.model.arguments.get("out_features") is None


def rows_of(spec: RunSpec, base: Path, moved: Moved | None) -> PreparedRows:
    """Return the rows of a spec with data; files are relative to ``base``, or found as ``moved`` says.

    Raises SpecError with the place of what cannot be used, MachineError if an optional package is missing.
    """
    data = spec.data
    assert data is not None
    prefix: KeyPath = ("data", "generate") if data.source == "generate" else ("data",)
    try:
        with np.errstate(all="ignore"):  # what overflows is refused
            return _from_files(spec, data, base, moved) if data.source in ("file", "idx") else _from_table(spec, data)
    except BadCellsError as error:
        raise SpecError([spec.problem(("data", *error.path), what) for what in error.messages]) from None
    except ArgumentError as error:
        raise SpecError(spec.problems_below(prefix, error)) from None
    except (ValueError, OverflowError) as error:  # a generator's: 'x: uniform needs low <= high', or numpy's
        key, _, what = str(error).partition(": ")
        named = key in data.arguments
        raise SpecError(spec.problem((*prefix, key) if named else prefix, what if named else str(error))) from None


# --- rows that are drawn, written in the spec, or scikit-learn's ------------------------------------------------------


def _from_table(spec: RunSpec, data: Data) -> PreparedRows:
    table, given = _made(spec, data), dict(data.arguments)
    for key in ("validation", "test"):
        if isinstance(getattr(data, key), HeldOutFile):
            raise ArgumentError((key,), "a file is for data that come from a file")
    if not np.isfinite(table.x).all() or not np.isfinite(table.y).all():
        raise ArgumentError((), "the data hold values that are not finite")
    labels = table.y.astype(np.int64) if table.y.ndim == 1 else None
    classes = table.class_names if labels is not None and wants_classes(spec) else ()
    if labels is not None and not wants_classes(spec):
        table = as_numbers(table)
    path: KeyPath = ("data", "generate") if "kind" in given else ("data",)
    try:
        rows = _split(data, len(table.x), spec.data_seed, labels)
        fitted = Preprocessing(tuple(map(Feature, table.features)), classes=classes)
        targets = Targets(table.y, table.targets, table.classes)
        return _finished(data, fitted, targets, table, rows, lambda part: table.x if part is None else table.x[part])
    except ArgumentError as error:
        raise SpecError(spec.problem(("data", *error.path) if error.path else path, error.message)) from None


def _made(spec: RunSpec, data: Data) -> Table:
    given = dict(data.arguments)
    if data.source == "inline":
        return sources.inline(given["x"], given["y"], wants_classes(spec))
    if data.source == "dataset":
        return _data_set(given["dataset"])
    make = sources.GENERATORS[given.pop("kind")]
    return make(sources.generator(spec.data_seed, "data"), sources.generator(spec.data_seed, "noise"), **given)


# The runs of a sweep ask for the same table again and again; no one writes into its arrays.
_data_set = lru_cache(maxsize=1)(sources.dataset)


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of files, told apart by the system's account of the files and by what is done with them."""

    data: Data = field(compare=False)
    files: tuple[tuple[str, Path], ...]  # by key
    stamps: tuple[tuple[int, ...], ...]
    done: str  # with them
    kind: str
    maps: bool
    seed: int


def _from_files(spec: RunSpec, data: Data, base: Path, moved: Moved | None) -> PreparedRows:
    given = {key: getattr(data, key) for key in ("validation", "test")}
    held_out = {key: each for key, each in given.items() if isinstance(each, HeldOutFile)}
    if data.source == "idx":
        named = {key: HeldOutFile(name) for key, name in data.arguments["idx"].items()}
        for key in held_out:
            raise ArgumentError((key,), "a file is for data of a CSV, Parquet or NPZ file")
    else:
        named = {"file": HeldOutFile(data.arguments["file"], data.arguments["sha256"]), **held_out}
    near = moved.near if moved else base.absolute()
    shown = {key: str((base / each.file).absolute()) for key, each in named.items()}
    files = {
        key: (moved if moved and key == "file" else Moved(near, each.sha256 or "")).find(Path(shown[key]))
        for key, each in named.items()
    }
    stamps = tuple(map(_stamp, files.values()))
    kept = repr(replace(data, arguments={**data.arguments, "sha256": None}))
    asked = _Asked(data, tuple(files.items()), stamps, kept, _kind(spec), width_from_data(spec), spec.data_seed)
    prepared = _prepared(asked)
    digests = {key: each.sha256 for key, each in prepared.files.items()} | {"sha256": prepared.training.sha256}
    expected = {key: each.sha256 for key, each in held_out.items()} | {"sha256": data.arguments["sha256"]}
    for key, digest in expected.items():
        if digest and digest != digests[key]:
            raise ArgumentError((key,), "the file has changed since this digest was taken")
    # where they are by the spec, not where one was found that was moved
    return replace(prepared, files={key: HeldOutFile(path, digests.get(key)) for key, path in shown.items()})


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except (OSError, ValueError):  # the reader has a message for it
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=KEPT)
def _prepared(asked: _Asked) -> PreparedRows:
    data, files = asked.data, dict(asked.files)
    given = data.arguments
    raw = (
        read_idx(files["images"], files["labels"]) if data.source == "idx" else _raw(asked, "file", Kinds(_words(data)))
    )
    names = given.get("categories") or ()
    for place, name in enumerate(names):
        if name not in raw.features and name not in raw.targets:
            raise ArgumentError(
                ("categories", place), f"no feature is called {brief(name)}", nearest(name, raw.features)
            )
    notes: list[Note] = [(("data", "file"), note) for note in raw.notes]
    raw = _complete(raw, given.get("missing"), notes)
    notes += [(("data", "features"), f"{visible(repr(name))} {_ROW_NAMES}") for name in _names_of_rows(raw, names)]
    targets = targets_of(raw.columns, raw.targets, asked.kind, maps=asked.maps, where=raw.where)
    if targets.note:
        notes.append((("data", "target") if data.source == "file" else ("data", "idx"), targets.note))
    rows = _split(data, len(raw), asked.seed, _labels(targets, asked.kind))
    fitted = _fitted(data, raw, rows["training"], names)
    fitted = replace(fitted, classes=targets.classes, separator=raw.separator, decimal=raw.decimal)
    whole = Table(np.empty((0, 0)), targets.y, fitted.columns, targets.names, targets.count, raw.sha256)
    _require_memory(len(raw), fitted.width)

    def encoded(part: Rows | None) -> Inputs:
        def where(row: int) -> str:
            return raw.where(row if part is None else int(part[row]))

        return fitted.encoded({name: taken(raw.columns[name], part) for name in raw.features}, where)

    prepared = _finished(data, fitted, targets, whole, rows, encoded, notes)
    for key in ("validation", "test"):
        if key in files:
            prepared = _with_file(asked, prepared, raw, targets, key)
    return prepared


_ROW_NAMES = "has a different text in every row, as a name of the row has: data.ignore can leave it out"


def _names_of_rows(raw: RawTable, categories: Collection[str]) -> list[str]:
    """Return the features of text in which no two of at least ten rows agree; those of `categories` are wanted so."""
    texts = [(name, raw.columns[name]) for name in raw.features if name not in categories]
    return [
        name
        for name, column in texts
        if isinstance(column, Words) and 10 <= len(raw) == len(np.unique(column.codes[column.codes >= 0]))
    ]


def _words(data: Data) -> tuple[str, ...]:
    return tuple(data.arguments.get("categories") or ())


def _raw(
    asked: _Asked, key: str, kinds: Kinds, features: tuple[str, ...] | None = None, like: Dialect | None = None
) -> RawTable:
    given, files = asked.data.arguments, dict(asked.files)
    form = CsvFormat(given["header"], given["separator"], given["decimal"])
    features = features or (None if given["features"] is None else tuple(given["features"]))
    ignored = names_of(given["ignore"]) if features is None else ()
    stamp, targets = asked.stamps[list(files).index(key)], names_of(given["target"])
    return _read(files[key], stamp, features, targets, form, kinds, like, ignored)


@lru_cache(maxsize=2)
def _read(
    path: Path, stamp: tuple[int, ...], features: tuple[str, ...] | None, targets: tuple[str, ...], form: CsvFormat,
    kinds: Kinds, like: Dialect | None, ignored: tuple[str, ...],
) -> RawTable:  # fmt: skip
    """Read a file; the stamp only tells files apart."""
    return read_columns(path, features, targets, form, kinds, like, ignored)


def _complete(raw: RawTable, missing: str | None, notes: list[Note]) -> RawTable:
    """Return the rows without those that lack a cell, if they are to be dropped. Raises ArgumentError for the others.

    No target is ever filled in.
    """
    counts = {name: int(is_missing(column).sum()) for name, column in raw.columns.items()}
    lacking = {name: count for name, count in counts.items() if count}
    if missing not in (None, "drop"):
        lacking = {name: count for name, count in lacking.items() if name in raw.targets}
    if not lacking:
        return raw
    if missing != "drop":
        names = list(lacking)[:20]
        places = raw.places([int(is_missing(raw.columns[name]).argmax()) for name in names])
        each = [
            f"{visible(repr(name))} {lacking[name]:,} (the first in {place})"
            for name, place in zip(names, places, strict=True)
        ]
        what = f"missing cells: {', '.join(each)}{', ...' if len(lacking) > 20 else ''}"
        of_features = any(name not in raw.targets for name in lacking)
        ways = "drop, mean, median or most_frequent" if of_features else "drop; no target is filled in"
        raise ArgumentError(("file",), what, f"Set data.missing: {ways}")
    keep = np.flatnonzero(~np.any([is_missing(raw.columns[name]) for name in lacking], axis=0))
    if not len(keep):
        raise ArgumentError(("missing",), "every row has a missing cell")
    what = f"{len(raw) - len(keep):,} of {len(raw):,} rows have a missing cell and are left out"
    notes.append((("data", "missing"), what))
    return replace(raw, columns={name: taken(column, keep) for name, column in raw.columns.items()}, kept=keep)


def _labels(targets: Targets, kind: str) -> Labels | None:
    if targets.y.ndim == 1:
        return targets.y.astype(np.int64)
    return (
        np.unique(targets.y, return_inverse=True)[1].ravel()
        if kind == "probabilities" and targets.y.shape[1] == 1
        else None
    )


def _fitted(data: Data, raw: RawTable, training: Rows | None, names: tuple[str, ...]) -> Preprocessing:
    given = data.arguments
    missing = None if given.get("missing") == "drop" else given.get("missing")
    chosen = {name: taken(raw.columns[name], training) for name in raw.features}
    unknown = given.get("unknown")
    found = Preprocessing.fit(chosen, raw.features, categories=names, missing=missing, unknown=unknown or "error")
    if unknown is not None and not found.words:
        raise ArgumentError(("unknown",), "has no effect: no feature is text, or one of data.categories")
    return found


def _require_memory(rows: int, width: int) -> None:
    there, needed = sizes.machine(), 12 * rows * width
    if there is not None and needed > there:
        what = f"{rows:,} rows of {width:,} columns take at least {sizes.gigabytes(needed)} of memory"
        raise ArgumentError(("file",), f"{what}, this machine has {sizes.gigabytes(there)}")


def _with_file(asked: _Asked, prepared: PreparedRows, raw: RawTable, targets: Targets, key: str) -> PreparedRows:
    """Return the rows with those of another file for validation or test, which nothing is learned of."""
    fitted, notes = prepared.preprocessing, list(prepared.notes)
    words = {*fitted.words, *(targets.names if targets.classes else ())}
    kinds = Kinds(tuple(sorted(words)), tuple(name for name in (*raw.features, *raw.targets) if name not in words))
    like = Dialect(raw.separator, raw.decimal)
    try:
        held_out = _complete(_raw(asked, key, kinds, raw.features, like), asked.data.arguments["missing"], notes)
        found = targets_of(held_out.columns, held_out.targets, asked.kind, maps=asked.maps, classes=targets.classes,
                           where=held_out.where)  # fmt: skip
        if asked.maps and found.count > targets.count:
            raise ArgumentError((), f"class {found.count - 1} is none of the training rows' {targets.count} classes")
        x = fitted.encode(held_out.columns, held_out.where)
    except BadCellsError as error:
        raise BadCellsError([f"{brief(dict(asked.files)[key].name)}: {what}" for what in error.messages]) from None
    except ArgumentError as error:
        hint = (
            f"{error.hint}. data.unknown: zero takes it as none of them"
            if "no training row" in error.message
            else error.hint
        )
        raise ArgumentError((key,), error.message, hint) from None
    y = fitted.target_scaled(found.y)
    count = max(prepared.training.classes, found.count)
    table = Table(x, y, fitted.columns, found.names, count, held_out.sha256)
    files = {**prepared.files, key: HeldOutFile(str(dict(asked.files)[key]), held_out.sha256)}
    tables = {name: each and replace(each, classes=count) for name in PARTS if (each := getattr(prepared, name))}
    return replace(prepared, **{**tables, key: table}, files=files, notes=tuple(notes))


# --- for all ----------------------------------------------------------------------------------------------------------


def _split(data: Data, n: int, seed: int, labels: Labels | None) -> dict[str, Rows | None]:
    if data.stratify and labels is None:
        raise ArgumentError(("stratify",), "is for classes, and the targets are numbers")
    if not data.held_out.draws:
        return dict.fromkeys(PARTS)
    parts = parts_of(n, data.held_out, sources.generator(seed, "split"), labels if data.stratify else None)
    return {name: getattr(parts, name) for name in PARTS}


def _finished(
    data: Data, fitted: Preprocessing, targets: Targets, table: Table, rows: Mapping[str, Rows | None],
    encoded: Callable[[Rows | None], Inputs], notes: list[Note] | None = None,
) -> PreparedRows:  # fmt: skip
    """Return each part of the table, standardized by what its training rows say."""
    notes = notes or []
    parts = {"training": encoded(rows["training"])}
    try:
        parts |= {name: encoded(part) for name in PARTS[1:] if (part := rows[name]) is not None}
    except ArgumentError as error:
        hint = "unknown: zero leaves all its columns 0; stratify, or another data.seed, splits otherwise"
        hint = next((text for _, text in notes if text.endswith(_ROW_NAMES)), hint)
        raise ArgumentError(
            ("validation" if rows["validation"] is not None else "test",), error.message, hint
        ) from None
    ys = {name: table.y if rows[name] is None else table.y[rows[name]] for name in parts}
    if data.standardize:
        wide = {name: x.astype(np.float64, copy=False) for name, x in parts.items()}
        fitted = _standardized(data, fitted, targets, wide["training"], ys["training"], notes)
        ys = {name: fitted.target_scaled(y) for name, y in ys.items()}
        parts = {name: fitted.scaled(x) for name, x in wide.items()}
    tables = {name: replace(table, x=x, y=ys[name]) for name, x in parts.items()}
    if not data.standardize and rows["training"] is None and parts["training"] is table.x:
        tables["training"] = table  # the same for all runs
    held_out = tables.get("validation"), tables.get("test")
    return PreparedRows(tables["training"], *held_out, fitted, tuple(notes), places=rows)


def _standardized(
    data: Data, fitted: Preprocessing, targets: Targets, x: Floats, y: Floats | Indices, notes: list[Note]
) -> Preprocessing:
    """Return the preprocessing with means and deviations of the columns that are to have them."""
    numbers = [feature.name for feature in fitted.features if feature.categories is None]
    names = list(data.standardize) if isinstance(data.standardize, list) else None
    known = {*numbers, *targets.names, "target"}
    for place, name in enumerate(names or ()):
        if name in fitted.words:
            raise ArgumentError(("standardize", place), f"{brief(name)} is text: it becomes columns of 0 and 1")
        if name not in known:
            raise ArgumentError(("standardize", place), f"no column is called {brief(name)}", nearest(name, known))
    fitted = fitted.standardized(x, names)
    assert fitted.means is not None
    assert fitted.deviations is not None
    if not np.isfinite([fitted.means, fitted.deviations]).all():
        raise ArgumentError(("standardize",), "the data are too large to standardize")
    chosen = [
        f.categories is None and (names is None or f.name in names) for f in fitted.features for _ in range(f.width)
    ]
    constant = [
        name for name, same, wanted in zip(fitted.columns, x.min(0) == x.max(0), chosen, strict=True) if same and wanted
    ]
    if constant:
        shown = ", ".join(map(brief, constant[:10])) + (
            f" and {len(constant) - 10:,} more" if len(constant) > 10 else ""
        )
        notes.append((("data", "standardize"), f"constant in the training rows, and 0 when standardized: {shown}"))
    scaled = [place for place, name in enumerate(names or ()) if name not in numbers]
    every = data.standardize == "all" or "target" in (names or ())
    if not scaled and not every:
        return fitted
    if y.ndim == 1 or targets.classes:
        raise ArgumentError(("standardize", *scaled[:1]), "the target is a class, which has no mean")
    means, deviations = scale(y.astype(np.float64))
    wanted = np.array([every or name in (names or ()) for name in targets.names])
    return replace(
        fitted, target_means=np.where(wanted, means, 0.0), target_deviations=np.where(wanted, deviations, 1.0)
    )
