"""Many runs on one page: a sweep, a comparison, or several records side by side, from their files alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from gdcli.commands import diff
from gdcli.commands.over_seeds import Line
from gdcli.commands.report import many_curves
from gdcli.commands.report.run_page import text, told_of
from gdcli.commands.stats import interval, mean_text, with_half
from gdcli.errors import DamagedError
from gdcli.records import Effort, Ranking, Result
from gdcli.storage.config_reader import WHOLE, word
from gdcli.storage.csv_reader import MixedColumns
from gdcli.storage.files import lenient
from gdcli.storage.find import run_number, runs_of
from gdcli.storage.record import Record
from gdcli.zoo.metrics import highest_first

MOST_RUNS = 4_000
"""Rows of a page's table, and lines of its pictures."""
BEST_RUNS = 1_000
"""Of more runs so many are the best ones; the others are spread evenly over the rest."""
FIXED = ("status", "final_loss", "best_loss", "steps", "epochs")
TARGET = ("steps_to_target", "epochs_to_target", "evaluations_to_target")
TRAINED = "epochs trained"
"""The column epochs of a sweep over epochs, which has another one before."""
HASHES = ("weights", "data", "order")


@dataclass(frozen=True, slots=True)
class RunTable:
    """results.csv: a row per run, with what its columns are."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    axes: Sequence[str]
    metrics: Sequence[str]
    repeated: frozenset[str]  # axes that only repeat a row: seed, fold
    by: Ranking
    is_comparison: bool

    def column(self, name: str) -> int:
        """Return where a column stands; -1 for one that is not there."""
        return self.header.index(name) if name in self.header else -1

    @property
    def epochs(self) -> str:
        """The column that has the epochs which a run has made."""
        return TRAINED if TRAINED in self.header else "epochs"

    def result(self, row: Sequence[Any]) -> Result:
        """Return a run as the tables of the commands take it."""
        cells = dict(zip(self.header, row, strict=True))
        loss, best = (_number(cells.get(name)) for name in ("final_loss", "best_loss"))
        hashes = tuple(None if (each := cells.get(name)) is None else str(each) for name in HASHES)
        assert len(hashes) == 3
        metrics = {name: _number(cells.get(name)) for name in self.metrics}
        values = tuple(cells.get(name) for name in self.axes)
        label, status = str(cells.get("label") or ""), str(cells.get("status"))
        steps, epochs = cells.get("steps"), cells.get(self.epochs)
        return Result(cells["run"], label, values, status, "", loss, best, steps, epochs, hashes, metrics)

    def groups(self) -> dict[str, list[Sequence[Any]]]:
        """Return the runs of each row, by its label: of a comparison its own, of a sweep the values of its axes."""
        own = [(name, self.column(name)) for name in self.axes if name not in self.repeated]
        found: dict[str, list[Sequence[Any]]] = {}
        for row in self.rows:
            label = str(row[own[0][1]]) if self.is_comparison else ", ".join(f"{n}={_plain(row[k])}" for n, k in own)
            found.setdefault(label, []).append(row)
        return found


def many_data(
    record: Record, lang: str = "en", reading: many_curves.Reading = many_curves.columns_of
) -> dict[str, Any]:
    """Return what the page shows of a sweep or a comparison as JSON has it; a file that cannot be read is told."""
    problems = list(record.problems)
    table = lenient(problems.append, run_table, record)
    if table is None:
        return {"kind": record.kind, "problems": [told_of(record.folder, each) for each in problems]}
    groups = table.groups()
    lines = {label: _line(table, label, rows) for label, rows in groups.items()}
    kept = _kept(lines, table.by)
    header, rows = _table(table, kept, {label: groups[label] for label in kept})
    folders = {number: folder for folder in runs_of(record.folder) if (number := run_number(folder)) is not None}
    drawn = [
        (text(label), [folders[result.number] for result in line.results if result.number in folders])
        for label, line in kept.items()
    ]
    ranks = {text(label): _rank(line, table.by) for label, line in kept.items()}
    curves = many_curves.of_rows([each for each in drawn if each[1]], ranks, problems.append, reading)
    repeated = max(map(len, groups.values()), default=1)
    shown = [row for label in kept for row in groups[label]]
    return {
        "kind": record.kind,
        "by": text(table.by.name),
        "seeds": repeated,
        "fold": "fold" in table.repeated,
        "rows": {"header": header, "rows": rows, "total": len(groups), "kept": len(kept)},
        "runs": _runs(table, kept, shown),
        "axes": [text(name) for name in table.axes if name != "lr_from"],
        "metrics": [text(name) for name in _measures(table)],
        "highest": [text(name) for name in _measures(table) if highest_first(name)],
        "curves": curves,
        "tuning": lenient(problems.append, _tuning, record, table, lines),
        "problems": [told_of(record.folder, each) for each in problems],
    }


def run_table(record: Record) -> RunTable:
    """Return the runs of a record. Raises DamagedError for a results.csv that is not as gdcli writes it."""
    columns = MixedColumns(record.folder / "results.csv")
    header = [*columns.header]
    if header.count("epochs") == 2:
        header[len(header) - 1 - header[::-1].index("epochs")] = TRAINED
    if header[:1] != ["run"] or "status" not in header or len(set(header)) < len(header):
        raise DamagedError(f"{columns.path}: is no table of runs")
    rows = [row for row in columns if isinstance(row[0], int)]
    axes = header[1 : header.index("status")]
    others = [name for name in axes if name not in ("seed", "fold")]
    repeated = frozenset(name for name in ("seed", "fold") if name in axes and others)
    metrics = [name for name in header if name not in ("run", *axes, *FIXED, TRAINED, *TARGET, *HASHES)]
    name = _ranked_by(record)
    by = Ranking(name, highest_first(name)) if name in metrics else Ranking()
    return RunTable(header, rows, axes, metrics, repeated, by, record.kind == "compare")


def best_run(record: Record) -> Path | None:
    """Return the folder of the best run of the best row that has folders; None where no run has one."""
    table = lenient(None, run_table, record)
    folders = {run_number(folder): folder for folder in runs_of(record.folder)}
    if table is None or not folders:
        return None
    lines = [_line(table, label, rows) for label, rows in table.groups().items()]
    lines = [line for line in lines if any(result.number in folders for result in line.results)]
    if not lines:
        return None
    runs = [each for each in min(lines, key=lambda line: _rank(line, table.by)).results if each.number in folders]
    return folders[min(runs, key=table.by.key).number]


def _ranked_by(record: Record) -> str:
    """Return what the runs were ranked by: the summary of a sweep has it, that of a comparison in its rows."""
    rows = record.summary.get("rows")
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    ranked = first.get("ranked")
    found = record.summary.get("ranked_by") if not isinstance(ranked, dict) else ranked.get("by")
    return found if isinstance(found, str) else "final_loss"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else nan


def _plain(value: Any) -> str:
    """Return a value as the record's file has it, safe to show."""
    return "" if value is None else repr(value) if isinstance(value, float) else text(value)


# --- the table --------------------------------------------------------------------------------------------------------


def _line(table: RunTable, label: str, rows: Iterable[Sequence[Any]]) -> Line:
    results = tuple(map(table.result, rows))
    lr, lr_from = (table.axes.index(name) if name in table.axes else None for name in ("lr", "lr_from"))
    first = results[0].values
    found = None if lr is None or not isinstance(first[lr], int | float) else float(first[lr])
    return Line(label, found, "-" if lr_from is None else str(first[lr_from] or "-"), results, Effort(0, 1, 1))


def _rank(line: Line, by: Ranking) -> float:
    """Return what the best row has the least of; infinite for one without a value."""
    mean = line.ranked(by).mean
    return (-mean if by.highest_first else mean) if isfinite(mean) else inf


def _kept(lines: dict[str, Line], by: Ranking) -> dict[str, Line]:
    """Return the rows that a page has room for, in their order."""
    labels = [*lines]
    return {labels[k]: lines[labels[k]] for k in best_and_others([_rank(line, by) for line in lines.values()])}


def best_and_others(ranks: Sequence[float], most: int = MOST_RUNS, best: int = BEST_RUNS) -> list[int]:
    """Return which of many rows to keep, in their order: the best, which have the least rank, others evenly spread.

    All where there are no more than ``most``.

    >>> best_and_others([5.0, 4, 3, 2, 1, 9, 8, 7, 6, 0], most=5, best=2)
    [0, 3, 4, 8, 9]
    """
    if len(ranks) <= most:
        return [*range(len(ranks))]
    kept = set(sorted(range(len(ranks)), key=ranks.__getitem__)[:best])
    rest = [k for k in range(len(ranks)) if k not in kept]
    return sorted({*kept, *(rest[k] for k in np.linspace(0, len(rest) - 1, most - best).astype(int).tolist())})


def _table(
    table: RunTable, lines: dict[str, Line], groups: dict[str, list[Sequence[Any]]]
) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the table that the command prints; each cell its text, and what it is sorted by.

    A row of one run has the record's own texts; one of several means, with 95 % intervals where the command has them.
    """
    several = any(len(line.results) > 1 for line in lines.values())
    own = [name for name in table.axes if name not in table.repeated and not (table.is_comparison and name == "label")]
    target = [name for name in TARGET if name in table.header]
    columns = [*own, "final_loss", "best_loss", *table.metrics, *target]
    if not several:
        columns += ["steps", table.epochs, "status"]
        return [*map(text, columns)], [
            [text(label), *(_cell(row[table.column(name)]) for name in columns)] for label, (row,) in groups.items()
        ]
    first = next(iter(lines.values())) if table.is_comparison and len(lines) > 1 else None
    header = [*map(text, columns), *([f"{text(table.by.name)} minus {text(first.label)}"] if first else [])]
    rows = []
    for label, line in lines.items():
        members = groups[label]
        cells = [_cell(members[0][table.column(name)]) for name in own] + _means(table, line)
        cells += [_mean_to(table.column(name), members) for name in target]
        if first:
            gap = line.difference(first, table.by)
            cells.append(["", None] if line is first else [with_half(gap), _json(gap.mean)])
        ended = Counter(result.status for result in line.results)
        told = ", ".join(f"{count} {text(status)}" for status, count in ended.items())
        rows.append([text(label), *cells, [str(len(members)), len(members)], [told, None]])
    return [*header, "runs", "status"], rows


def _means(table: RunTable, line: Line) -> list[list[Any]]:
    """Return the cells of a row's losses and metrics; the final loss and what ranks have an interval."""
    final = line.final()
    cells: list[list[Any]] = [[with_half(final), _json(final.mean)], [mean_text(line.best()), _json(line.best())]]
    for name in table.metrics:
        mean = line.metric(name)
        shown = with_half(line.ranked(table.by)) if name == table.by.name else mean_text(mean)
        cells.append([shown, _json(mean)])
    return cells


def _mean_to(column: int, members: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the cell of the mean effort to the target, infinite where a run missed it."""
    mean = interval([inf if row[column] is None else float(row[column]) for row in members]).mean
    return [mean_text(mean), _json(mean)]


def _cell(value: Any) -> list[Any]:
    """Return a cell's text and the number that it is sorted by; None for a text."""
    number = _number(value)
    return [_plain(value), number if isfinite(number) else None]


def _json(value: float) -> float | None:
    return value if isfinite(value) else None


def _runs(table: RunTable, lines: dict[str, Line], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the runs one by one: which row each belongs to, and its texts as results.csv has them."""
    of = {result.number: k for k, line in enumerate(lines.values()) for result in line.results}
    by, sign = table.column(table.by.name), -1 if table.by.highest_first else 1
    values = [sign * _number(row[by]) for row in rows]
    chosen = [rows[k] for k in best_and_others([value if isfinite(value) else inf for value in values])]
    return {
        "header": [text(name) for name in table.header],
        "rows": [[_plain(value) for value in row] for row in chosen],
        "of": [of[row[0]] for row in chosen],
        "total": len(table.rows),
        "kept": len(chosen),
    }


def _measures(table: RunTable) -> list[str]:
    """Return what a run can be drawn by, the first what the runs are ranked by."""
    found = ["final_loss", "best_loss", *table.metrics, "steps", table.epochs, *TARGET]
    return [table.by.name, *(name for name in found if name in table.header and name != table.by.name)]


# --- the search for learning rates ------------------------------------------------------------------------------------


def _tuning(record: Record, table: RunTable, lines: dict[str, Line]) -> list[dict[str, Any]] | None:
    """Return the mean score of each learning rate that was tried for each row, and the chosen one; None without any."""
    if not (record.folder / "tuning.csv").is_file():
        return None
    columns = MixedColumns(record.folder / "tuning.csv")
    places = {name: k for k, name in enumerate(columns.header)}
    if not {"label", "lr", "status", "final_loss"} <= places.keys():
        raise DamagedError(f"{columns.path}: is no table of what was tried")
    tried: dict[str, dict[float, list[float]]] = {}
    for row in columns:
        value = row[places.get(table.by.name, places["final_loss"])]
        ended = row[places["status"]] not in ("diverged", "failed")
        if isinstance(row[places["lr"]], int | float):
            scores = tried.setdefault(str(row[places["label"]]), {}).setdefault(float(row[places["lr"]]), [])
            scores.append(_number(value) if ended else nan)
    return [
        {"label": text(label), "lr": sorted(scores), "chosen": lines[label].lr if label in lines else None,
         "score": [_json(interval(scores[lr]).mean) for lr in sorted(scores)]}
        for label, scores in tried.items()
    ]  # fmt: skip


# --- several records --------------------------------------------------------------------------------------------------


def side_by_side(records: Sequence[Record]) -> dict[str, Any]:
    """Return several records side by side: where their specs, results and machines differ, and their curves."""
    names = _names(records)
    pairs = [diff.differences(records[0], other) for other in records[1:]]
    parts = {part: _differing([getattr(each, part) for each in pairs]) for part in ("spec", "results", "environment")}
    firsts = [
        [names[k], each.first.where, str(each.first.number), *map(diff.exact, each.first.losses)]
        for k, each in enumerate(pairs, 1)
        if each.first is not None
    ]
    problems = list(dict.fromkeys(problem for each in pairs for problem in each.problems))
    runs = [(name, [record.folder]) for name, record in zip(names, records, strict=True) if record.kind == "run"]
    return {
        "kind": "several",
        "names": names,
        "kinds": [record.kind for record in records],
        "status": [text(record.status) for record in records],
        **parts,
        "first": firsts,
        "curves": many_curves.of_rows(runs, dict.fromkeys(names, 0.0), problems.append),
        "problems": [text(each) for each in problems],
    }


def _names(records: Sequence[Record]) -> list[str]:
    """Return a name for each record: the experiment's, with the record's own where they are not told apart."""
    names = [text(record.name) for record in records]
    if len(set(names)) < len(names):
        names = [f"{text(record.name)} {text(record.id)}" for record in records]
    if len(set(names)) < len(names):
        names = [f"{k} {name}" for k, name in enumerate(names, 1)]
    return names


def _differing(found: Sequence[Any]) -> list[list[str]]:
    """Return a row for each key that differs anywhere: the key and its value in each record, all digits."""
    keys = dict.fromkeys(key for each in found for key in each)
    rows = []
    for key in keys:
        first = next(each[key][0] for each in found if key in each)
        values = [first, *(each[key][1] if key in each else first for each in found)]
        rows.append([text(word(key, WHOLE)), *(text(diff.exact(value)) for value in values)])
    return rows
