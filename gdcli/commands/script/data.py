"""The rows of a script: written out, drawn, out of scikit-learn, or of a file beside it; split and standardized."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from gdcli.commands.script import generators
from gdcli.commands.script.layout import call, comment, indented, layout, literal, text_of
from gdcli.commands.script.subject import ScriptSubject
from gdcli.commands.script.tables import csv_rows_of
from gdcli.errors import visible
from gdcli.spec.data_sections import Data
from gdcli.spec.prepared import PARTS
from gdcli.spec.rows import wants_classes
from gdcli.zoo.table import Table

INLINE_ROWS = 200
"""Rows up to which they are written out."""


def data_lines(subject: ScriptSubject, name: str) -> list[str]:
    """Return the lines that make x and y, tensors, and those of the rows held out where they decide anything.

    ``name`` is the script's, of which a file beside it has its own; files go into ``subject.beside``.
    """
    data = subject.spec.data
    if data is None:
        return []
    plain = not (data.held_out.draws or data.standardize)
    if data.source == "inline" and plain and _count(subject) <= INLINE_ROWS:
        return _inline(subject, data)
    if data.source == "file" and (rows := csv_rows_of(subject, data)) is not None:
        subject.beside[rows.name] = rows.content
        draws = data.held_out.draws
        order, parts = _order(subject, data, "len(rows)"), _parts(subject, data)
        x = rows.encoding(training=draws)
        # where cells are filled in, what is filled in follows from the training rows
        lines = [*rows.reading(), *order, *x, *parts] if rows.encodes else [*rows.reading(), *x, *order, *parts]
    else:
        source = _source(subject, data)
        if source is None:
            return _prepared(subject, data, name)
        lines = [*source, *_order(subject, data, "len(x)"), *_parts(subject, data)]
    return [*lines, *_standardized(subject, data), *_tensors(subject)]


def _count(subject: ScriptSubject) -> int:
    return sum(len(table.x) for table in subject.loaded.tables)


def _targets_dtype(subject: ScriptSubject) -> tuple[str, ...]:
    table = subject.loaded.training
    assert table is not None
    return () if table.y.ndim == 1 else subject.dtype()


# --- written out ------------------------------------------------------------------------------------------------------


def _inline(subject: ScriptSubject, data: Data) -> list[str]:
    table = subject.loaded.training
    assert table is not None
    if subject.prints_unrounded:
        double = ("dtype=torch.float64",)
        lines = layout("x = ", call("torch.tensor", literal(table.x.tolist()), *double))
        lines += layout("y = ", call("torch.tensor", literal(table.y.tolist()), *double))
        lines += ["samples = torch.cat([x, y], dim=1)  # as they are printed: not rounded to float32"]
        return [*lines, "x, y = x.float(), y.float()"]
    lines = layout("x = ", call("torch.tensor", literal(table.x.tolist()), *subject.dtype()), _shape(subject))
    return lines + layout("y = ", call("torch.tensor", literal(table.y.tolist()), *_targets_dtype(subject)))


def _shape(subject: ScriptSubject) -> str:
    """Return what gives rows the shape that the model takes them in."""
    shape = subject.loaded.row_shape
    return "" if len(shape) == 1 else f".reshape(-1, {', '.join(map(str, shape))})"


# --- sources ----------------------------------------------------------------------------------------------------------


def _source(subject: ScriptSubject, data: Data) -> list[str] | None:
    """Return the lines that make x [n, d] and y as numpy arrays; None where only the prepared rows can be given."""
    if data.source == "inline" and _count(subject) <= INLINE_ROWS:
        classes = wants_classes(subject.spec)
        x, y = data.arguments["x"], data.arguments["y"]
        x, y = ([[value] for value in part] if not isinstance(part[0], list) else part for part in (x, y))
        if classes and not isinstance(data.arguments["y"][0], list):
            y = data.arguments["y"]
        kind = () if classes and not isinstance(y[0], list) else ("dtype=np.float64",)
        lines = layout("x = ", call("np.array", literal(x), "dtype=np.float64"))
        return lines + layout("y = ", call("np.array", literal(y), *kind))
    if data.source == "dataset":
        lines = [f"x, y = load_{data.arguments['dataset']}(return_X_y=True)"]
        return lines + _as_numbers(subject)
    if data.source == "generate":
        lines = generators.lines(dict(data.arguments), subject.spec.data_seed)
        return lines + (_as_numbers(subject) if generators.makes_classes(data.arguments["kind"]) else [])
    return None


def _as_numbers(subject: ScriptSubject) -> list[str]:
    """Return what makes a column of numbers of one number a row, for a loss that takes no classes."""
    table = subject.loaded.training
    assert table is not None
    return [] if table.y.ndim == 1 else ["y = y[:, None].astype(np.float64)"]


# --- parts and scales -------------------------------------------------------------------------------------------------


def _order(subject: ScriptSubject, data: Data, count: str) -> list[str]:
    """Return the lines that draw which rows are held out: of one permutation the first, for test the last."""
    wanted = data.held_out
    if not wanted.draws:
        return []
    sizes = {name: len(table.x) for name in PARTS if (table := getattr(subject.loaded, name)) is not None}
    what = " and ".join(f"{sizes[name]:,} for {name}" for name in PARTS[1:] if name in sizes)
    lines = ["", *comment(f"rows are held out at random: {what}")]
    lines += [f"order = np.random.default_rng([{subject.spec.data_seed}, 4]).permutation({count})"]
    if data.stratify:
        labels = "y" if subject.loaded.training is not None and subject.loaded.training.y.ndim == 1 else "y[:, 0]"
        lines += [
            *comment(
                "of each class as many in every part: row j of the m of a class stands at (j + 1/2) / m of the way"
            ),
            f"way = np.empty({count})",
            f"for label in np.unique({labels}):",
            f"    of_class = order[{labels}[order] == label]",
            "    way[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)",
            'order = order[np.argsort(way[order], kind="stable")]',
        ]
    test, validation = sizes.get("test", 0), sizes.get("validation", 0)
    rest = f"order[:{-test}]" if test else "order"
    if wanted.folds:
        lines += [f"folds = np.array_split({rest}, {wanted.folds})"]
        lines += [f"training = np.sort(np.concatenate(folds[:{wanted.fold}] + folds[{wanted.fold + 1}:]))"]
        held_out = f"folds[{wanted.fold}]"
    else:
        end = f"{-test}" if test else ""
        lines += [f"training = np.sort(order[{validation or ''}:{end}])"]
        held_out = f"order[:{validation}]"
    return lines + ([f"validation = np.sort({held_out})"] if subject.needs_validation else [])


def _parts(subject: ScriptSubject, data: Data) -> list[str]:
    """Return the lines that take the rows that train, and those that validate where they decide anything."""
    if not data.held_out.draws:
        return []
    held_out = ["x_validation, y_validation = x[validation], y[validation]"] if subject.needs_validation else []
    return [*held_out, "x, y = x[training], y[training]"]


def _standardized(subject: ScriptSubject, data: Data) -> list[str]:
    """Return the lines that give columns mean 0 and deviation 1, by the training rows."""
    fitted = subject.loaded.preprocessing
    if not data.standardize or fitted is None or fitted.means is None or fitted.deviations is None:
        return []
    names = data.standardize if isinstance(data.standardize, list) else None
    of_columns = [feature for feature in fitted.features for _ in range(feature.width)]
    places = [
        place
        for place, feature in enumerate(of_columns)
        if feature.categories is None and (names is None or feature.name in names)
    ]
    lines = ["", *comment("mean 0 and standard deviation 1 of each column, by the training rows")] if places else [""]
    if places:
        lines += ["mean, deviation = x.mean(axis=0), x.std(axis=0)"]
        constant = [place for place in places if fitted.deviations[place] == 1.0]
        if constant:
            lines += ["constant = x.min(axis=0) == x.max(axis=0)  # they become 0"]
            lines += ["mean, deviation = np.where(constant, x[0], mean), np.where(constant, 1, deviation)"]
        chosen = "" if len(places) == fitted.width else f"[:, {places}]"
        for part in ("x", *(["x_validation"] if subject.needs_validation else [])):
            scaled = f"({part} - mean) / deviation"
            lines += [f"{part}{chosen} = {f'({scaled}){chosen}' if chosen else scaled}"]
    if fitted.target_means is None or fitted.target_deviations is None:
        return lines
    lines += ["y_mean, y_deviation = y.mean(axis=0), y.std(axis=0)"]
    for part in ("y", *(["y_validation"] if subject.needs_validation else [])):
        lines += [f"{part} = ({part} - y_mean) / y_deviation"]
    return lines


def _tensors(subject: ScriptSubject) -> list[str]:
    """Return the lines that make tensors of x and y."""
    table, kind = subject.loaded.training, subject.spec.settings.dtype
    assert table is not None
    lines = [""]
    if subject.prints_unrounded:
        lines += ["samples = torch.from_numpy(np.hstack([x, y]))  # as they are printed: not rounded to float32"]
    for suffix in ("", *(["_validation"] if subject.needs_validation else [])):
        shape = _shape(subject)
        lines += [f"x{suffix} = torch.tensor(x{suffix}, dtype=torch.{kind}){shape}"]
        target = "int64" if table.y.ndim == 1 else kind
        lines += [f"y{suffix} = torch.tensor(y{suffix}, dtype=torch.{target})"]
    return lines


# --- prepared rows beside the script ----------------------------------------------------------------------------------


def _prepared(subject: ScriptSubject, data: Data, name: str) -> list[str]:
    """Return the lines that read the rows as the model takes them, which go beside the script as NPZ."""
    parts: dict[str, Table] = {"": subject.loaded.training}  # type: ignore[dict-item]  # there are data
    if subject.needs_validation and subject.loaded.validation is not None:
        parts["_validation"] = subject.loaded.validation
    arrays: dict[str, Any] = {}
    for suffix, table in parts.items():
        arrays |= {f"x{suffix}": table.x.astype(np.float64, copy=False), f"y{suffix}": table.y}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    subject.beside[f"{name}.npz"] = stream.getvalue()
    lines = comment(_told(subject, data))
    lines += [f"with np.load(Path(__file__).with_name({text_of(f'{name}.npz')})) as rows:"]
    pairs = [[f"x{suffix}", f"y{suffix}"] for suffix in parts]
    lines += indented(f"{', '.join(pair)} = {', '.join(f'rows[{text_of(each)}]' for each in pair)}" for pair in pairs)
    return lines + _tensors(subject)[1:]


def _told(subject: ScriptSubject, data: Data) -> str:
    path, fitted = subject.loaded.data_file, subject.loaded.preprocessing
    of = "the spec" if path is None else visible(path.name)
    lines = [f"The training rows of {of} as the model takes them."]
    if fitted is not None and fitted.words:
        lines += [f"A 1 in the column of its value, 0 in the others: {', '.join(map(visible, fitted.words))}."]
    if data.arguments.get("missing"):
        lines += [f"Missing cells: {data.arguments['missing']}, of the training rows."]
    if data.standardize:
        lines += ["Numbers have mean 0 and standard deviation 1 by the training rows."]
    return "\n".join(lines)
