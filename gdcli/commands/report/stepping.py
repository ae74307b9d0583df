"""A small model's run step by step: weights, gradients, outputs and derivations of each, as data for the page.

The weights and gradients are the record's own texts, from parameters.csv and gradients.csv; where it has none the run
is trained again in memory, and compared with the record's steps.csv and gradients.csv. Derivations are those of
`gdcli explain`, worked out when the page is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from gdcli.commands import specs
from gdcli.commands.report.retrained import Retrained, cells, retrained, rows_of
from gdcli.commands.report.shared_lines import SharedLines
from gdcli.errors import DamagedError, GdcliError
from gdcli.spec.load import Loaded
from gdcli.storage import gradient_file
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.record import Record
from gdcli.storage.recorded_plugins import require_plugins
from gdcli.zoo.models import Stack

MOST_SCALARS = 60
"""Weights of a model that is drawn."""
MOST_STEPS = 1_000
"""Steps that are kept."""
MOST_NUMBERS = 500_000
"""Numbers of all derivations, about 3 MB and 8 s of work, beyond which fewer steps are kept."""
MOST_TRAINED = 100_000
"""Steps that are trained again."""
SIDE = 60
"""Points of the surface each way."""

_NOTES = {
    "en": {
        "recorded": "Weights and gradients are the record's own: {files}.",
        "again": "The run was trained again for {what}, with the same steps.csv and gradients.csv as the record's.",
        "weights": "the weights", "gradients": "the gradients", "derivations": "the derivations", "and": " and ",
        "differs": "Trained again, the run differs from the record first at {where}: {what} are of the run trained "
        "again, on this machine.",
        "thinned": "{kept} of the {all} recorded steps are kept, evenly spread.",
        "rows": "Of the {rows} rows of a batch the outputs of the first {shown} are shown.",
        "float64": "Before each step the run was trained in {dtype}, the spec's dtype; derivations go on in float64.",
        "none": "There are no derivations: {why}",
        "long": "the run has {steps} steps, more than the {most} that are trained again for a page.",
        "ends": "Derivations end before step {step}: {why}",
        "large": "one step's are too long.",
    },
    "zh": {
        "recorded": "权重和梯度即记录本身的数值：{files}。",
        "again": "为得到{what}，本次运行在内存中重新训练；其 steps.csv 和 gradients.csv 与记录一致。",
        "weights": "权重", "gradients": "梯度", "derivations": "推导", "and": "和",
        "differs": "重新训练的结果自 {where} 起与记录不同：{what}来自本机上的重新训练。",
        "thinned": "共 {all} 个已记录的步，均匀保留其中 {kept} 步。",
        "rows": "每批 {rows} 行，只显示前 {shown} 行的输出。",
        "float64": "每一步之前按 {dtype}（规格的数据类型）训练；推导以 float64 计算。",
        "none": "没有推导：{why}",
        "long": "运行共 {steps} 步，超过重新训练的上限 {most} 步。",
        "ends": "推导止于第 {step} 步之前：{why}",
        "large": "一步的推导过长。",
    },
}  # fmt: skip

Texts = dict[int, Sequence[str]]


def stepping_data(record: Record, lang: str = "en") -> dict[str, Any] | None:
    """Return what the page steps through; None for what is no run of a small net or objective.

    Where the run cannot be read or trained again, ``notes`` say why and ``steps`` is empty.
    """
    if record.kind != "run" or not (record.folder / "steps.csv").is_file():
        return None
    words = _NOTES.get(lang, _NOTES["en"])
    try:
        require_plugins(record.folder)
        loaded = _loaded(record)
        scalars = None if isinstance(loaded.architecture, Stack) else sum(map(prod, (loaded.shapes or {}).values()))
        if not scalars or scalars > MOST_SCALARS:
            return None
        return SteppedRun(record, loaded, words).data()
    except GdcliError as error:
        return {"steps": [], "notes": [words["none"].format(why=str(error))]}


def _loaded(record: Record) -> Loaded:
    """Return the spec of a run, as far as it came."""
    steps, loaded = record.steps, specs.of_record(record.folder, [], "report")
    if record.status in ("stopped", "interrupted") and type(steps) is int and steps and not loaded.spec.stop.restore:
        return specs.of_record(record.folder, [f"stop.max_steps={steps}", "stop.max_seconds=1e9"], "report")
    return loaded


def spread(steps: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the steps, evenly spread, the first and the last among them.

    >>> spread([1, 2, 3, 4, 5, 6, 7], 3), spread([1, 2], 3)
    ([1, 4, 7], [1, 2])
    """
    if len(steps) <= most:
        return list(steps)
    last = max(1, most - 1)
    return [steps[k * (len(steps) - 1) // last] for k in range(last + 1)]


class SteppedRun:
    """A run whose steps are put together: the tables of its record, the run trained again, and its derivations."""

    def __init__(self, record: Record, loaded: Loaded, words: Mapping[str, str]) -> None:
        self.folder, self.loaded, self.words, self.notes = record.folder, loaded, words, list[str]()
        shapes = loaded.shapes or {}
        self.weight_names, self.weights = table(self.folder / "parameters.csv", shapes)
        found = gradient_file.gradients_of(self.folder)
        self.gradient_names, self.gradients = ([], {}) if found is None else texts_of(found, shapes)
        recorded = sorted(step for step, _ in rows_of(NumberColumns(self.folder / "steps.csv")))
        every = self.gradients or self.weights
        self.recorded = [step for step in recorded if not every or step in every]
        self.is_short = len(recorded) <= MOST_TRAINED

    def note(self, key: str, **values: Any) -> None:
        """Add a sentence."""
        self.notes.append(self.words[key].format(**values))

    def data(self) -> dict[str, Any]:
        """Return all that the page shows."""
        what = [name for name, there in (("weights", self.weights), ("gradients", self.gradients)) if not there]
        own = [name for name, there in (("parameters.csv", self.weights), ("gradients.csv", self.gradients)) if there]
        if own:
            self.note("recorded", files=self.words["and"].join(own))
        if not self.is_short:
            self.note("none", why=self.words["long"].format(steps=f"{len(self.recorded):,}", most=f"{MOST_TRAINED:,}"))
            return {"steps": [], "notes": self.notes}
        again = retrained(self.loaded)
        self._compare(again, [*what, "derivations"])
        if not self.weights:
            self.weight_names, self.weights = again.names, dict(again.weights)
        if not self.gradients:
            self.gradient_names, self.gradients = again.trained, dict(again.gradients)
            self.recorded = self.recorded or sorted(again.gradients)
        return self._steps()

    def _compare(self, again: Retrained, what: Iterable[str]) -> None:
        named = self.words["and"].join(self.words[name] for name in what)
        if where := again.difference(self.folder):
            self.note("differs", where=where, what=named)
        else:
            self.note("again", what=named)

    def _steps(self) -> dict[str, Any]:
        from gdcli.commands.report.derivations import Derivations

        derived = Derivations(self.loaded)
        most, why = MOST_STEPS, derived.why
        if derived.diagram is not None:
            most = min(MOST_STEPS, MOST_NUMBERS // max(1, derived.numbers))
        if most < 2:
            most, why = MOST_STEPS, self.words["large"]
            derived.without_lines()
        if why:
            self.note("none", why=why)
        steps = spread([step for step in self.recorded if step in self.weights], most)
        if len(steps) < len(self.recorded):
            self.note("thinned", kept=f"{len(steps):,}", all=f"{len(self.recorded):,}")
        shared = SharedLines(len(steps))
        columns = {
            "weights": _columns(shared, steps, self.weight_names, self.weights),
            "gradients": _columns(shared, steps, self.gradient_names, self.gradients),
        }
        drawn: dict[str, Any] = {"nodes": [], "edges": [], "lines": {}}
        if derived.diagram is not None:
            drawn = derived.drawn(shared, steps, columns)
            if derived.ended:
                self.note("ends", step=f"{derived.ended[0]:,}", why=derived.ended[1])
            if derived.rows > derived.shown_rows:
                self.note("rows", rows=f"{derived.rows:,}", shown=derived.shown_rows)
            if self.loaded.spec.settings.dtype != "float64" and steps[-1:] > [1]:
                self.note("float64", dtype=self.loaded.spec.settings.dtype)
        return {
            "steps": steps, "total": len(self.recorded), "notes": self.notes, "entries": columns, **drawn,
            **shared.json(), "surface": self._surface(steps),
        }  # fmt: skip

    def _surface(self, steps: Sequence[int]) -> dict[str, Any] | None:
        """Return the loss over the two scalars of a model of two, losses with six digits; None of others."""
        if len(self.weight_names) != 2 or not steps:
            return None
        import numpy as np

        from gdcli.commands.compare.shown import grid_axis
        from gdcli.engine.grid import losses
        from gdcli.engine.problem import build

        path = np.array([[float(cell) for cell in self.weights[step]] for step in steps])
        path = path[np.isfinite(path).all(axis=1)]
        if not len(path):
            return None
        x, y = (grid_axis([path[:, k]], SIDE) for k in (0, 1))
        places = np.stack([mesh.ravel() for mesh in np.meshgrid(x, y, indexing="ij")], axis=1)
        with np.errstate(all="ignore"):
            found = losses(build(self.loaded), self.weight_names, places).reshape(SIDE, SIDE)
        rows = [[float(f"{value:.6g}") if np.isfinite(value) else None for value in row] for row in found.tolist()]
        return {
            "names": self.weight_names, "x": [float(f"{v:.9g}") for v in x], "y": [float(f"{v:.9g}") for v in y],
            "loss": rows,
        }  # fmt: skip


def _columns(shared: SharedLines, steps: Sequence[int], names: Sequence[str], texts: Texts) -> dict[str, int]:
    return {
        name: shared.column([texts[step][k] if step in texts else None for step in steps])
        for k, name in enumerate(names)
    }


def table(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[str], Texts]:
    """Return the names and texts of a table by step; none where it is not there or damaged."""
    try:
        return texts_of(NumberColumns(path), shapes) if path.is_file() else ([], {})
    except DamagedError:
        return [], {}


def texts_of(
    columns: NumberColumns | gradient_file.ParquetColumns, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[list[str], Texts]:
    """Return the scalars' names and texts by step; none where the table has norms of parameters in place of values."""
    count = sum(1 for name in columns.header[1:] if name in _scalars(shapes))
    names = columns.header[1 : count + 1]
    if not names or any(name not in _scalars(shapes) for name in names):
        return [], {}
    return names, {step: cells(line)[:count] for step, line in rows_of(columns)}


def _scalars(shapes: Mapping[str, tuple[int, ...]]) -> set[str]:
    """Return the names of all scalars as the tables have them: linear1.weight[0,1], or x of a variable."""
    import itertools

    found = set()
    for name, shape in shapes.items():
        places = itertools.product(*map(range, shape))
        found |= {f"{name}[{','.join(map(str, place))}]" if place else name for place in places}
    return found
