"""Which metrics a spec has, and what its runs are chosen by: the loss or a metric, of the training or held-out rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gdcli.errors import Problem, nearest_or_own
from gdcli.records import Ranking
from gdcli.spec.sections import RunSpec
from gdcli.spec.signature import Path, got
from gdcli.zoo.metrics import (
    MATRICES,
    MAX_CLASSES,
    METRICS,
    Metric,
    defaults,
    highest_first,
    metric_of,
    require_installed,
)
from gdcli.zoo.python_objects import python_data
from gdcli.zoo.table import Table

if TYPE_CHECKING:
    from gdcli.spec.load import Loaded

LESSONS = ("inline", "generate")
"""Sources of rows that are not the user's own."""
OWN_ROWS = python_data.__name__


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at after each epoch, and at the end: the loss or a metric, on the training or validation rows."""

    rows: str  # training or validation
    metric: str  # loss, or a metric

    @property
    def name(self) -> str:
        """The name in epochs.csv."""
        return f"{self.rows}_{self.metric}"

    @property
    def best_names(self) -> tuple[str, str]:
        """The names of its best value and that one's epoch, in summary.json."""
        return f"best_{self.name}", f"best_{self.rows}_epoch"

    @property
    def highest_first(self) -> bool:
        """Whether more is better."""
        return highest_first(self.metric)

    @property
    def ranking(self) -> Ranking:
        """What runs are ranked by, as summary.json and results.csv name it."""
        at_end = self.name if self.rows == "validation" else "final_loss" if self.metric == "loss" else self.metric
        return Ranking(at_end, self.highest_first)


def names_of(spec: RunSpec, training: Table | None, *, held_out: bool) -> list[str]:
    """Return the metrics that a spec names, else its defaults; with them what its runs are chosen by."""
    given = spec.settings.metrics
    if given is None:
        data = spec.data
        own = held_out or (data is not None and (data.source not in LESSONS or data.arguments.get("kind") == OWN_ROWS))
        given = defaults(spec.loss.name if spec.loss else "", training, own=own)
    chosen = [_parts(name)[1] for name in (spec.settings.metric, spec.stop.metric) if name is not None]
    return list(dict.fromkeys([*given, *(name for name in chosen if name in METRICS)]))


def metrics_of(loaded: Loaded) -> dict[str, Metric]:
    """Return the metrics of a spec's runs, by name."""
    return metrics_on(loaded.spec, loaded.training, held_out=loaded.validation is not None)


def metrics_on(spec: RunSpec, table: Table | None, *, held_out: bool = True) -> dict[str, Metric]:
    """Return the metrics that a spec has on some rows, by name; ``held_out``: whether these, or others, are."""
    loss = spec.loss.name if spec.loss else ""
    found = {name: metric_of(name, loss, table) for name in names_of(spec, table, held_out=held_out)}
    return {name: metric for name, metric in found.items() if metric is not None}


def _parts(name: str) -> tuple[str, str]:
    """Return the rows, nothing where they are not said, and the metric."""
    for rows in ("training", "validation", "test"):
        if name.startswith(f"{rows}_"):
            return rows, name.removeprefix(f"{rows}_")
    return "", name


def _watched(name: str, *, held_out: bool) -> Watched:
    rows, metric = _parts(name)
    return Watched(rows or ("validation" if held_out else "training"), metric)


def watched_of(loaded: Loaded) -> Watched | None:
    """Return what is looked at after each epoch, of which the best is kept: that of patience, else of `metric`."""
    spec, held_out = loaded.spec, loaded.validation is not None
    if spec.stop.patience is not None:
        return _watched(spec.stop.metric or spec.settings.metric or "loss", held_out=held_out)
    return None if spec.settings.metric is None else _watched(spec.settings.metric, held_out=held_out)


def chosen_by(loaded: Loaded) -> Watched:
    """Return what runs are tuned and ranked by: `metric`, else the loss of the validation rows, or the final loss."""
    return _watched(loaded.spec.settings.metric or "loss", held_out=loaded.validation is not None)


def problems(spec: RunSpec, training: Table | None, *, held_out: bool) -> Iterator[Problem]:
    """Yield what the loss and the rows have no metric for. Raises MachineError where torchmetrics is missing."""
    loss = spec.loss.name if spec.loss else ""
    for index, name in enumerate(spec.settings.metrics or ()):
        yield from unfit(spec, ("metrics", index), name, loss, training)
    for path, given in ((("metric",), spec.settings.metric), (("stop", "metric"), spec.stop.metric)):
        if given is None:
            continue
        rows, metric = _parts(given)
        if rows == "test":
            yield spec.problem(path, f"test rows choose nothing, they are told of at the end {got(given)}")
        elif rows == "validation" and not held_out:
            yield spec.problem(path, f"there are no validation rows {got(given)}", "data.validation holds some out")
        elif metric in MATRICES:
            yield spec.problem(path, f"a matrix is not better or worse than another {got(given)}")
        elif metric not in ("loss", *METRICS):
            known = ("loss", *(name for name in METRICS if name not in MATRICES))
            names = [*known, *(f"{rows}_{name}" for rows in ("training", "validation") for name in known)]
            yield spec.problem(path, f"unknown metric {got(given)}", nearest_or_own(given, names))
        elif metric != "loss":
            yield from unfit(spec, path, metric, loss, training)


def unfit(spec: RunSpec, path: Path, name: str, loss: str, training: Table | None) -> Iterator[Problem]:
    """Yield why a loss and its rows cannot have a metric. Raises MachineError where torchmetrics is missing."""
    if name in MATRICES and training is not None and training.classes > MAX_CLASSES:
        yield spec.problem(path, f"{name} is for {MAX_CLASSES} classes at most, the data have {training.classes:,}")
    elif METRICS[name](loss, training) is None:
        have = [other for other, metric in METRICS.items() if metric(loss, training) is not None]
        hint = f"It has {', '.join(have)}" if have else ""
        what = f"the loss {loss} on these targets" if loss else "an objective"
        yield spec.problem(path, f"{what} has no {name}", hint)
    else:
        require_installed(name)
