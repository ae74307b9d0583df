"""The table of a comparison: a row per optimizer or batch mode, over one seed or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any

from gdcli.commands.stats import Interval, interval, paired
from gdcli.records import Effort, Result
from gdcli.report import tables


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its results over the seeds, in the order of the seeds."""

    label: str
    lr: float | None
    lr_from: str
    results: tuple[Result, ...]
    effort: Effort

    def final(self) -> Interval:
        """Return mean and interval of the final loss; infinite when a run diverged."""
        return interval([result.rank for result in self.results])

    def best(self) -> float:
        """Return the mean of the best losses."""
        return interval([result.best_loss if isfinite(result.best_loss) else inf for result in self.results]).mean

    def metric(self, name: str) -> float:
        """Return the mean of a metric; nan where a run failed or has none, inf where one diverged."""
        values = [result.metrics.get(name) for result in self.results]
        return interval([value for value in values if value is not None]).mean if None not in values else nan

    def reached(self) -> int:
        """Return how many runs reached the target."""
        return sum(result.to_target is not None for result in self.results)

    def to_target(self) -> tuple[Interval, Interval, Interval]:
        """Return steps, epochs and gradient evaluations to the target; infinite where a run missed it."""
        found = [self.effort.of(result.to_target) for result in self.results]
        columns = [[inf if value is None else float(value) for value in column] for column in zip(*found, strict=True)]
        steps, epochs, evaluations = map(interval, columns)
        return steps, epochs, evaluations

    def difference(self, first: Line) -> Interval:
        """Return mean and interval of the paired differences of final losses, over the seeds that both rows have."""
        of_first = {result.values[3:]: result.rank for result in first.results}  # by seed
        pairs = [(r.rank, of_first[r.values[3:]]) for r in self.results if r.values[3:] in of_first]
        ours, theirs = [loss for loss, _ in pairs], [loss for _, loss in pairs]
        if not pairs or not all(map(isfinite, [*ours, *theirs])):
            return Interval(nan, nan, nan, len(pairs))
        return paired(ours, theirs)


def one_seed(lines: Sequence[Line], metrics: Sequence[str], *, target: bool) -> str:
    """Return the table of one run per row."""
    names = ["optimizer", "lr", "lr from", "final loss", "best loss", "steps", "epochs", "status"]
    names += map(_short, metrics)
    names += _TO_TARGET if target else []
    rows = []
    for line in lines:
        (result,) = line.results
        row: list[Any] = [line.label, line.lr, line.lr_from, _finite(result.loss), _finite(result.best_loss)]
        row += [result.steps, result.epochs, result.status, *(result.metrics.get(name) for name in metrics)]
        if target:
            row += [_count(part.mean) for part in line.to_target()]
        rows.append([*row, *(value or "-" for value in result.hashes or ("", "", ""))])
    return tables.aligned([*names, "weights", "data", "order"], rows)


_TO_TARGET = ["to target: steps", "epochs", "evaluations"]


def several_seeds(lines: Sequence[Line], metrics: Sequence[str], *, target: bool) -> str:
    """Return the table of several runs per row: means, 95 % intervals, the paired difference to the first row."""
    names = ["optimizer", "lr", "lr from", "final loss", "best loss", *map(_short, metrics)]
    names += [*_TO_TARGET, "reached"] if target else []
    names += [f"minus {lines[0].label}", "ended"]
    rows = []
    for line in lines:
        final = line.final()
        row: list[Any] = [line.label, line.lr, line.lr_from, _with_half(final), _mean(line.best())]
        row += [_mean(line.metric(name)) for name in metrics]
        if target:
            row += [_count(part.mean) for part in line.to_target()]
            row.append(f"{line.reached()}/{len(line.results)}")
        row.append("" if line is lines[0] else _with_half(line.difference(lines[0])))
        rows.append([*row, _endings(line.results)])
    return tables.aligned(names, rows) + "± is half the 95 % interval of the mean over the seeds\n"


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _mean(value: float) -> str:
    return "∞" if value == inf else tables.number(value)


def _count(value: float) -> str:
    return "∞" if value == inf else f"{value:.6g}"


def _with_half(found: Interval) -> str:
    half = f" ± {(found.high - found.low) / 2:.2g}" if isfinite(found.low) else ""
    return _mean(found.mean) + half


def _short(metric: str) -> str:
    return metric.replace("validation", "val")


def _endings(results: Sequence[Result]) -> str:
    """Return how the runs ended: ``10 finished`` or ``8 finished, 2 diverged``."""
    names = dict.fromkeys(result.status for result in results)
    return ", ".join(f"{sum(r.status == name for r in results)} {name}" for name in names)


def as_data(lines: Sequence[Line], metrics: Sequence[str], *, target: bool) -> list[dict[str, Any]]:
    """Return the rows as data, for summary.json and --json."""
    found = []
    for line in lines:
        row: dict[str, Any] = {
            "label": line.label, "lr": line.lr, "lr_from": line.lr_from, "seeds": len(line.results),
            "final_loss": _ends(line.final()), "best_loss": line.best(),
        }  # fmt: skip
        row |= {name: line.metric(name) for name in metrics}
        if target:
            names, means = ("steps", "epochs", "evaluations"), [part.mean for part in line.to_target()]
            row["to_target"] = {"reached": line.reached(), **dict(zip(names, means, strict=True))}
        if line is not lines[0]:
            row["difference"] = _ends(line.difference(lines[0]))
        found.append(row)
    return found


def _ends(found: Interval) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}
