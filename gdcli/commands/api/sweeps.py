"""Runs over the values of keys, or the loss over parameters, from Python: `gdcli.sweep`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from gdcli.commands import given
from gdcli.commands.api import notebook
from gdcli.commands.api.objects import column, figure, pandas, require_one_process, shown, torch_as_it_was
from gdcli.commands.context import Ended
from gdcli.commands.sweep import sweep as sweep_command
from gdcli.errors import SpecError
from gdcli.records import Result
from gdcli.report.tables import aligned
from gdcli.storage.request import SweepRequest, recorded

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types
    from matplotlib.figure import Figure

    from gdcli.report.plots import Form


@dataclass(frozen=True, eq=False)  # of arrays: each is equal to itself alone
class Sweep:
    """A sweep: a row for each run or point, in the order asked for.

    >>> import gdcli
    >>> found = gdcli.sweep("linear_sweep", {"w": "0:4:1"})
    >>> found["w"].tolist(), found["loss"].min()
    ([0.0, 1.0, 2.0, 3.0], np.float64(0.0))
    """

    rows: Sequence[Mapping[str, Any]] = field(repr=False)  # as results.csv has them
    results: Sequence[Result] = field(repr=False)
    """How each run ended; empty for the loss over parameters, which trains nothing."""
    folder: Path | None
    name: str = ""  # of the experiment
    draw: Callable[[Form], bytes] | None = field(default=None, repr=False)
    """Returns the picture; None where there is none, of three axes or more of parameters."""

    def __str__(self) -> str:
        """Return the first rows as a table."""
        first = self.rows[: notebook.MOST_ROWS]
        names = list(dict.fromkeys(name for row in first for name in row))
        more = len(self.rows) - len(first)
        text = aligned(names, [[row.get(name) for name in names] for row in first])
        return text + (f"and {more:,} more rows\n" if more else "")

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column of the rows [R]: float64 or int64 of numbers, else objects. Raises KeyError."""
        return column(self.rows, name)

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a table. Raises MachineError without pandas."""
        return pandas().DataFrame(list(self.rows))

    def plot(self) -> Figure:
        """Return the picture that the command draws, as a matplotlib Figure. Raises SpecError where there is none."""
        return figure(self._picture, self.name)

    def _picture(self, form: Form) -> bytes:
        if self.draw is None:
            raise SpecError(f"{self.name}: a picture has one or two axes of parameters")
        return self.draw(form)

    def _repr_html_(self) -> str:
        """Show picture and rows in a notebook."""
        return notebook.of_rows(self.rows) + notebook.of_picture(self._picture, f"sweep of {self.name}")


@torch_as_it_was()
def sweep(
    spec: given.Spec, axes: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, /, *, seeds: int = 1,
    model: given.Model | None = None, loss: given.Loss | None = None, data: given.Data | None = None, jobs: int = 1,
    fleet: Literal["auto", "off", "vmapped"] = "auto", output: str | os.PathLike[str] | None = None,
    plot: bool = True, progress: bool = True, no_limits: bool = False, plugins: given.Plugins = (), **keys: Any,
) -> Sweep:  # fmt: skip
    """Train one run per value of a key, or evaluate the loss over parameters of the model, as `gdcli sweep` does.

    ``axes`` has the values of each: a list, or a grid as the command takes it, such as ``"0:4.1:0.1"``; several give
    their product. ``fleet="vmapped"`` trains torch's own layers together too. For the other arguments and what is
    raised see :func:`run`.

    >>> import gdcli
    >>> [row["status"] for row in gdcli.sweep("backprop_2x2", {"lr": [0.1, 0.5]}).rows]
    ['finished', 'finished']
    >>> gdcli.sweep("linear_sweep", {"w": "0:3:1"}).rows[2]
    {'w': 2.0, 'loss': 0.0}
    """
    own, source = given.loaded(plugins), given.source(spec)
    objects, words = given.objects(source, model, loss, data)
    require_one_process(objects, jobs)
    changed = given.overrides(overrides, {**words, **keys})
    param = given.params(axes)
    request = given.request(
        SweepRequest, name=source.name, overrides=changed, plot=plot, param=param, seeds=seeds,
        fleet=fleet, no_limits=no_limits, plugins=recorded(own), objects=objects.names,
    )  # fmt: skip
    arguments = (*(f"--param={each}" for each in param), *changed)
    arguments += () if fleet == "auto" else (f"--fleet={fleet}",)
    context = given.context("sweep", source, arguments, output, jobs, own, objects, shown(progress))
    with objects.in_tables():
        report = sweep_command(request, context)
        assert not isinstance(report, Ended)
        rows = report.rows()
    picture = report.picture

    @torch_as_it_was()
    def draw(form: Form) -> bytes:
        assert picture is not None
        with objects.in_tables():
            return picture(form)

    folder = None if output is None else report.folder
    return Sweep(rows, tuple(report.results), folder, source.name, None if picture is None else draw)
