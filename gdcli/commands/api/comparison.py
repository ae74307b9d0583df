"""Optimizers and batch modes beside each other, from Python: `gdcli.compare`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gdcli.commands import given
from gdcli.commands.api import notebook
from gdcli.commands.api.objects import column, figure, pandas, require_one_process, shown, torch_as_it_was
from gdcli.commands.compare import compare as compare_command
from gdcli.commands.context import Ended
from gdcli.errors import SpecError, nearest
from gdcli.records import Result
from gdcli.storage.request import CompareRequest, recorded

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types
    from matplotlib.figure import Figure

    from gdcli.report.plots import Form


@dataclass(frozen=True, eq=False)  # of arrays: each is equal to itself alone
class Comparison:
    """A comparison: a row for each optimizer or batch mode, and each of its runs.

    >>> import gdcli
    >>> found = gdcli.compare("backprop_2x2", optimizers=["sgd", "adam"], epochs=3)
    >>> found.losses["adam"].shape, found["label"].tolist()
    ((1, 3), ['sgd', 'adam'])
    """

    table: str = field(repr=False)  # as the command prints it
    rows: Sequence[Mapping[str, Any]]
    results: Sequence[Result] = field(repr=False)
    folder: Path | None
    name: str = ""  # of the experiment
    pictures: Mapping[str, Callable[[Form], bytes]] = field(default_factory=dict, repr=False)
    """What draws each picture: compare, tuning, paths, as far as there are any."""

    def __str__(self) -> str:
        return self.table

    @cached_property
    def losses(self) -> Mapping[str, NDArray[np.float64]]:
        """The loss of each step before its update, of each label's runs [S, K]; NaN after a run's last step.

        Empty without ``plot``, which has them kept.
        """
        found: dict[str, list[NDArray[np.float64]]] = {}
        for result in self.results:
            if result.losses is not None:
                found.setdefault(str(result.values[0]), []).append(result.losses)
        return {label: _stacked(runs) for label, runs in found.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column of the rows [R]: float64 or int64 of numbers, of intervals their means, else objects.

        Raises KeyError."""
        return column(self.rows, name)

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a table. Raises MachineError without pandas."""
        return pandas().json_normalize([dict(row) for row in self.rows])

    def plot(self, kind: str = "compare") -> Figure:
        """Return a picture as a matplotlib Figure: compare, tuning or paths, as the command draws them.

        Raises SpecError for one that this comparison has not.
        """
        if kind not in self.pictures:
            raise SpecError(f"this comparison has no picture '{kind}'. {nearest(kind, self.pictures)}")
        return figure(self.pictures[kind], self.name)

    def _repr_html_(self) -> str:
        """Show table and picture in a notebook."""
        draw = self.pictures.get("compare")
        picture = "" if draw is None else notebook.of_picture(draw, f"comparison of {self.name}")
        return notebook.of_text(self.table) + picture


def _stacked(runs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    found = np.full((len(runs), max(map(len, runs))), np.nan)
    for row, losses in zip(found, runs, strict=True):
        row[: len(losses)] = losses
    return found


@torch_as_it_was()
def compare(
    spec: given.Spec = "optimizers_2x2", overrides: Mapping[str, Any] | None = None, /, *,
    optimizers: str | Sequence[str] | None = None, batches: str | Sequence[str] | None = None,
    seeds: int | None = None, redraw_data: bool = False, tune: int | None = None,
    tune_range: tuple[float, float] | None = None, target: float | None = None, closed_form: bool | None = None,
    x: Literal["steps", "epochs", "evaluations"] | None = None, model: given.Model | None = None,
    loss: given.Loss | None = None, data: given.Data | None = None, jobs: int = 1,
    output: str | os.PathLike[str] | None = None, plot: bool = True, progress: bool = True,
    no_limits: bool = False, plugins: given.Plugins = (), **keys: Any,
) -> Comparison:  # fmt: skip
    """Train the runs of each optimizer or batch mode on the same data and start values, as `gdcli compare` does.

    The arguments are the command's options; what is None is as the spec's ``compare`` block has it. Without ``plot``
    no curves are kept, and there are no pictures. For the others and what is raised see :func:`run`.

    >>> import gdcli
    >>> found = gdcli.compare("backprop_2x2", optimizers=["sgd", "adam"], epochs=2)
    >>> [row["label"] for row in found.rows], found.table.split()[0]
    (['sgd', 'adam'], 'optimizer')
    """
    own, source = given.loaded(plugins), given.source(spec)
    objects, words = given.objects(source, model, loss, data)
    require_one_process(objects, jobs)
    changed = given.overrides(overrides, {**words, **keys})
    request = given.request(
        CompareRequest, name=source.name, overrides=changed, plot=plot,
        optimizers=given.listed("optimizers", optimizers), batches=given.listed("batches", batches), seeds=seeds,
        redraw_data=redraw_data, tune=tune, tune_range=given.listed("tune_range", tune_range), target=target,
        closed_form=closed_form, x=x, no_limits=no_limits, plugins=recorded(own), objects=objects.names,
    )  # fmt: skip
    context = given.context("compare", source, changed, output, jobs, own, objects, shown(progress))
    with objects.in_tables():
        report = compare_command(request, context)
        assert not isinstance(report, Ended)
        table, rows = report.table(), report.data()
        drawn = report.pictures() if plot and report.results else {}

    def draws(picture: Callable[[Form], bytes]) -> Callable[[Form], bytes]:
        @torch_as_it_was()
        def draw(form: Form) -> bytes:
            with objects.in_tables():
                return picture(form)

        return draw

    pictures = {name: draws(picture) for name, picture in drawn.items()}
    folder = None if output is None else report.folder
    return Comparison(table, rows, tuple(report.results), folder, source.name, pictures)
