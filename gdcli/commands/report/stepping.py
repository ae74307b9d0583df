"""A small model's run step by step: weights, gradients, outputs and derivations of each, as data for the page.

The weights and gradients are the record's own texts, from parameters.csv and gradients.csv; where it has none the run
is trained again in memory, and compared with the record's steps.csv and gradients.csv. Derivations are those of
`gdcli explain`, worked out when the page is made.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from gdcli.commands import specs
from gdcli.commands.explain.point import last_step
from gdcli.commands.report.retrained import Columns, Retrained, cells, retrained, rows_of
from gdcli.commands.report.run_page import told_of
from gdcli.commands.report.shared_lines import SharedLines
from gdcli.errors import GdcliError
from gdcli.spec.load import Loaded
from gdcli.storage import gradient_file
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.files import lenient
from gdcli.storage.record import Record
from gdcli.storage.recorded_plugins import require_plugins
from gdcli.zoo.models import Stack

MOST_SCALARS = 60
"""Weights of a model that is drawn."""
MOST_STEPS = 1_000
"""Steps that are kept."""
MOST_NUMBERS = 500_000
"""Numbers of all derivations, about 5 s of work, beyond which fewer of the steps have some."""
LEAST_STEPS = 10
"""Steps with derivations, below which none has some."""
MOST_TRAINED, MOST_ROWS_TRAINED = 50_000, 2 * 10**9
"""Steps that are trained again, and rows of data in all of them."""
SIDE = 60
"""Points of the surface each way."""

if TYPE_CHECKING:
    from gdcli.commands.report.derivations import Derivations

_NOTES = {
    "en": {
        "recorded": "From the record itself, to the digit: {files}.",
        "again": "The run was trained again for {what}, with the same {files} as the record's.",
        "weights": "the weights", "gradients": "the gradients", "derivations": "the derivations",
        "and": " and ", "comma": ", ",
        "differs": "Trained again, the run differs from the record first at {where}: {what} are of the run trained "
        "again, on this machine.",
        "thinned": "{kept} of the {all} recorded steps are kept, evenly spread.",
        "fewer": "{kept} of the {all} steps, evenly spread, have outputs and derivations.",
        "rows": "Of the {rows} rows of a batch the outputs of the first {shown} are shown.",
        "float64": "Before each step the run was trained in {dtype}, the spec's dtype; derivations go on in float64.",
        "none": "There are no derivations: {why}",
        "long": "the run has {steps} steps of {rows} rows, more than are trained again for a page "
        "({most} steps, {most_rows} rows in all).",
        "empty": "steps.csv has no steps that can be read.",
        "partly": "Of the {all} steps of steps.csv {kept} have their weights and gradients in the record.",
        "ends": "Derivations end before step {step}: {why}",
        "large": "one step's are too long.",
    },
    "zh": {
        "recorded": "以下数值逐位取自记录本身：{files}。",
        "again": "为得到{what}，本次运行在内存中重新训练；其 {files} 与记录一致。",
        "weights": "权重", "gradients": "梯度", "derivations": "推导", "and": "和", "comma": "、",
        "differs": "重新训练的结果自 {where} 起与记录不同：{what}来自本机上的重新训练。",
        "thinned": "共 {all} 个已记录的步，均匀保留其中 {kept} 步。",
        "fewer": "{all} 步中，均匀分布的 {kept} 步有输出和推导。",
        "rows": "每批 {rows} 行，只显示前 {shown} 行的输出。",
        "float64": "每一步之前按 {dtype}（规格的数据类型）训练；推导以 float64 计算。",
        "none": "没有推导：{why}",
        "long": "运行共 {steps} 步，每步 {rows} 行，超过重新训练的上限（{most} 步，共 {most_rows} 行）。",
        "empty": "steps.csv 中没有可读的步。",
        "partly": "steps.csv 的 {all} 步中，{kept} 步在记录中有权重和梯度。",
        "ends": "推导止于第 {step} 步之前：{why}",
        "large": "一步的推导过长。",
    },
}  # fmt: skip

Texts = Mapping[int, Sequence[str]]


def stepping_data(record: Record, lang: str = "en") -> dict[str, Any] | None:
    """Return what the page steps through; None for what is no run of a small net or objective.

    Where the run cannot be read or trained again, ``notes`` say why and ``steps`` is empty.
    """
    if record.kind != "run" or not (record.folder / "steps.csv").is_file():
        return None
    words = _NOTES[lang]
    try:
        require_plugins(record.folder)
        recorded = sorted({step for step, _ in rows_of(NumberColumns(record.folder / "steps.csv"))})
        loaded = _loaded(record, recorded)
        scalars = None if isinstance(loaded.architecture, Stack) else sum(map(prod, (loaded.shapes or {}).values()))
        if not scalars or scalars > MOST_SCALARS:
            return None
        return SteppedRun(record, recorded, loaded, words).data()
    except GdcliError as error:
        return {"steps": [], "notes": [told_of(record.folder, words["none"].format(why=str(error)))]}


def _loaded(record: Record, recorded: Sequence[int]) -> Loaded:
    """Return the spec of a run, as far as it came: in steps, whatever time they take here."""
    loaded, told = specs.of_record(record.folder, [], "report"), record.steps
    last = told if type(told) is int and told else max(recorded, default=0)
    words = ["stop.max_seconds=1e9"] if loaded.spec.stop.max_seconds is not None else []
    if 0 < last < total_steps(loaded) and not loaded.spec.stop.restore:
        words.append(f"stop.max_steps={last}")
    return specs.of_record(record.folder, words, "report") if words else loaded


def total_steps(loaded: Loaded) -> int:
    """Return the steps that a run makes at most."""
    last, most = last_step(loaded), loaded.spec.stop.max_steps
    return last if most is None else min(last, most)


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
    """A run whose steps are put together: the tables of its record, the run trained again, and its derivations.

    ``recorded`` are the steps that every table of the record has, ``all`` counts those of steps.csv.
    """

    def __init__(self, record: Record, recorded: Sequence[int], loaded: Loaded, words: Mapping[str, str]) -> None:
        self.folder, self.loaded, self.words, self.notes = record.folder, loaded, words, list[str]()
        shapes = loaded.shapes or {}
        path = self.folder / "parameters.csv"
        found = lenient(self._told, NumberColumns, path) if os.path.lexists(path) else None
        self.weights = of_scalars(found, shapes)
        self.gradients = of_scalars(lenient(self._told, gradient_file.gradients_of, self.folder), shapes)
        self.own = [each for each in (self.weights, self.gradients) if each is not None]
        there = set(recorded).intersection(*({step for step, _ in rows_of(each)} for each in self.own))
        self.last = recorded[-1] if recorded else 0
        self.recorded, self.all = [step for step in recorded if step in there], len(recorded)
        self.rows = max(1, loaded.spec.batch.rows(loaded.samples)) if loaded.samples else 1
        total = total_steps(loaded)
        self.is_short = total <= MOST_TRAINED and total * self.rows <= MOST_ROWS_TRAINED

    def _told(self, problem: str) -> None:
        self.notes.append(told_of(self.folder, problem))

    def note(self, key: str, **values: Any) -> None:
        """Add a sentence that is not there yet."""
        found = told_of(self.folder, self.words[key].format(**values))
        if found not in self.notes:
            self.notes.append(found)

    def data(self) -> dict[str, Any]:
        """Return all that the page shows."""
        if not self.all:
            self.note("none", why=self.words["empty"])
            return {"steps": [], "notes": self.notes}
        if self.own:
            self.note("recorded", files=self._and(each.path.name for each in self.own))
        if len(self.recorded) < self.all:
            self.note("partly", kept=f"{len(self.recorded):,}", all=f"{self.all:,}")
        from gdcli.commands.report.derivations import Derivations

        derived = Derivations(self.loaded)
        most, why = self._most_derived(derived)
        steps = spread(self.recorded, MOST_STEPS)
        again = self._again(steps, has_lines=not why)
        if why:
            self.note("none", why=why)
        if again is None and len(self.own) < 2:
            return {"steps": [], "notes": self.notes}
        last = total_steps(self.loaded)
        worked = [] if why or again is None else spread([step for step in steps if step <= last], most)
        return self._steps(steps, derived, again or Retrained(), worked)

    def _most_derived(self, derived: Derivations) -> tuple[int, str]:
        """Return how many steps can have derivations, and why none has; no reason where some have."""
        if derived.diagram is None or not self.is_short:
            return 0, derived.why
        most = MOST_NUMBERS // max(1, derived.numbers)
        return (0, self.words["large"]) if most < LEAST_STEPS else (most, derived.why)

    def _and(self, names: Iterable[str]) -> str:
        *before, last = names
        return (self.words["and"] if before else "").join([self.words["comma"].join(before), last])

    def _again(self, steps: Collection[int], *, has_lines: bool) -> Retrained | None:
        """Return the run trained again, compared with the record; None for one that is not, which is told."""
        if not self.is_short:
            self.note(
                "none", why=self.words["long"].format(
                    steps=f"{total_steps(self.loaded):,}", rows=f"{self.rows:,}", most=f"{MOST_TRAINED:,}",
                    most_rows=f"{MOST_ROWS_TRAINED:,}",
                ),
            )  # fmt: skip
            return None
        if not has_lines and len(self.own) == 2:
            return None  # all that is shown is the record's
        try:
            again = retrained(self.loaded, self.folder, self.weights, self.gradients, set(steps), self.last)
        except GdcliError as error:
            self.note("none", why=str(error))
            return None
        what = [name for name, found in (("weights", self.weights), ("gradients", self.gradients)) if found is None]
        if has_lines:
            what.append("derivations")
        named = self._and(self.words[name] for name in what)
        if again.difference:
            self.note("differs", where=again.difference, what=named)
        else:
            files = [each.path.name for each in (self.gradients, self.weights) if each is not None]
            self.note("again", what=named, files=self._and(["steps.csv", *files]))
        return again

    def _steps(
        self, steps: Sequence[int], derived: Derivations, again: Retrained, worked: Sequence[int]
    ) -> dict[str, Any]:
        if len(steps) < len(self.recorded):
            self.note("thinned", kept=f"{len(steps):,}", all=f"{len(self.recorded):,}")
        weight_names, weights = self._texts(self.weights, steps, (again.names, again.weights))
        gradient_names, gradients = self._texts(self.gradients, steps, (again.trained, again.gradients))
        shared = SharedLines(len(steps))
        columns = {
            "weights": _columns(shared, steps, weight_names, weights),
            "gradients": _columns(shared, steps, gradient_names, gradients),
        }
        drawn: dict[str, Any] = {"nodes": [], "edges": [], "lines": []}
        if derived.diagram is not None:
            drawn = derived.drawn(shared, steps, columns, worked)
            if derived.ended:
                self.note("ends", step=f"{derived.ended[0]:,}", why=derived.ended[1])
            elif len(worked) < len(steps) and worked:
                self.note("fewer", kept=f"{len(worked):,}", all=f"{len(steps):,}")
            if worked and derived.rows > derived.shown_rows:
                self.note("rows", rows=f"{derived.rows:,}", shown=derived.shown_rows)
            if worked and self.loaded.spec.settings.dtype != "float64" and steps[-1] > 1:
                self.note("float64", dtype=self.loaded.spec.settings.dtype)
        path = [[float(cell) for cell in weights[step]] for step in steps] if len(weight_names) == 2 else []
        return {
            "steps": steps, "total": len(self.recorded), "notes": self.notes, "entries": columns, **drawn,
            **shared.json(), "surface": self._surface(weight_names, path),
        }  # fmt: skip

    def _texts(
        self, columns: Columns | None, steps: Collection[int], again: tuple[Sequence[str], Texts]
    ) -> tuple[Sequence[str], Texts]:
        """Return the scalars' names and their texts at some steps: of a table, or of the run trained again."""
        if columns is None:
            return again
        names, kept = named_scalars(columns.header, self.loaded.shapes or {}), set(steps)
        return names, {step: cells(line)[: len(names)] for step, line in rows_of(columns) if step in kept}

    def _surface(self, names: Sequence[str], steps: Sequence[Sequence[float]]) -> dict[str, Any] | None:
        """Return the loss over the two scalars of a model of two, losses with six digits; None of others."""
        if not steps:
            return None
        import numpy as np

        from gdcli.commands.compare.shown import grid_axis
        from gdcli.engine.grid import losses
        from gdcli.engine.problem import build

        path = np.array(steps)
        path = path[np.isfinite(path).all(axis=1)]
        if not len(path):
            return None
        x, y = (grid_axis([path[:, k]], SIDE) for k in (0, 1))
        places = np.stack([mesh.ravel() for mesh in np.meshgrid(x, y, indexing="ij")], axis=1)
        try:
            built = build(self.loaded)
        except GdcliError:
            return None
        with np.errstate(all="ignore"):
            found = losses(built, names, places).reshape(SIDE, SIDE)
        rows = [[float(f"{value:.6g}") if np.isfinite(value) else None for value in row] for row in found.tolist()]
        return {
            "names": [*names], "x": [float(f"{v:.9g}") for v in x], "y": [float(f"{v:.9g}") for v in y],
            "loss": rows,
        }  # fmt: skip


def _columns(shared: SharedLines, steps: Sequence[int], names: Sequence[str], texts: Texts) -> dict[str, int]:
    return {
        name: shared.column([texts[step][k] if step in texts else None for step in steps])
        for k, name in enumerate(names)
    }


def of_scalars(columns: Columns | None, shapes: Mapping[str, tuple[int, ...]]) -> Columns | None:
    """Return a table that has values; None for one that has norms of parameters, or no row that can be read."""
    if columns is None or not named_scalars(columns.header, shapes) or next(rows_of(columns), None) is None:
        return None
    return columns


def named_scalars(header: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the columns of scalars, which stand first; none where others stand among them."""
    known = _scalars(shapes)
    count = sum(1 for name in header[1:] if name in known)
    names = [*header[1 : count + 1]]
    return names if all(name in known for name in names) else []


def _scalars(shapes: Mapping[str, tuple[int, ...]]) -> set[str]:
    """Return the names of all scalars as the tables have them: linear1.weight[0,1], or x of a variable."""
    import itertools

    found = set()
    for name, shape in shapes.items():
        places = itertools.product(*map(range, shape))
        found |= {f"{name}[{','.join(map(str, place))}]" if place else name for place in places}
    return found
