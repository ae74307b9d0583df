"""The commands as functions of Python: what they print is returned, as numpy arrays and plain rows.

Nothing is written unless it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdcli.commands import given
from gdcli.commands.compare import compare as compare_command
from gdcli.commands.context import Context, Ended
from gdcli.commands.predictors import Predictor, of_record, of_run
from gdcli.commands.run import RunReport
from gdcli.commands.run import run as run_command
from gdcli.commands.sweep import sweep as sweep_command
from gdcli.errors import DamagedError, MachineError, SpecError
from gdcli.records import Floats, Parameter, Result, StepBlock
from gdcli.spec.bundled import find
from gdcli.spec.watch import is_watched
from gdcli.storage import config_reader, models, record
from gdcli.storage.csv_reader import MixedColumns
from gdcli.storage.find import find as find_record
from gdcli.storage.gradient_file import gradients_of
from gdcli.storage.recorded_plugins import require_plugins
from gdcli.storage.request import CompareRequest, RunRequest, SweepRequest, recorded

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types
    import torch

Floats64 = NDArray[np.float64]

STEP_COLUMNS = np.dtype(
    [("step", "i8"), ("epoch", "i8"), ("batch", "i8"), ("loss", "f8"), ("lr", "f8"), ("gradient_norm", "f8")]
)
"""The columns of steps.csv."""


@dataclass(frozen=True)
class Run:
    """One run: what happened at each of its S steps, how it ended, and its trained model.

    >>> import gdcli
    >>> run = gdcli.run("backprop_2x2")
    >>> run.status, run.steps["gradient_norm"].shape, run.gradients["linear2.weight"].shape
    ('finished', (1,), (1, 2, 2))
    """

    name: str  # of the experiment
    status: str  # finished, stopped, diverged or interrupted
    message: str  # why it ended
    steps: NDArray[np.void] = field(repr=False)
    """[S] with the columns of steps.csv: step, epoch, batch, loss, lr, gradient_norm."""
    gradients: Mapping[str, Floats64] = field(repr=False)
    """[S, *shape] of each trained parameter, of the steps that are recorded; empty where only norms are, or nothing.

    Behind them are those at the values that the spec watches: [S, B, *shape], without B where a step has one row.
    """
    metrics: Mapping[str, float]
    summary: Mapping[str, Any] = field(repr=False)  # what summary.json holds
    folder: Path | None  # of the record; None where nothing was written
    trained: Callable[[], RunReport] = field(repr=False)
    """Returns the run with its model; a record's is trained again, which gives the same bits."""
    predictor: Callable[[], Predictor] = field(repr=False)
    """Returns the trained model: of a record by its file."""
    kept: Mapping[str, Floats] | None = field(default=None, repr=False)  # the parameters that a record has

    @property
    def losses(self) -> Floats64:
        """The loss of each step before its update [S]."""
        return np.ascontiguousarray(self.steps["loss"])

    @cached_property
    def parameters(self) -> Mapping[str, Floats]:
        """The parameters after training, by name, in the run's dtype. Of a large model's record: trained again."""
        if self.kept is not None:
            return self.kept
        return {parameter.name: parameter.values for parameter in self.trained().finished.outcome.parameters}

    @cached_property
    def model(self) -> torch.nn.Module:
        """The trained model as torch's own module, in evaluation mode; its input is standardized as the data were.

        Its state dict has the names of ``parameters``. Raises SpecError for an objective.
        """
        return self.predictor().module()

    def predict(self, x: ArrayLike) -> Floats:
        """Return the trained model's output [N, O] for rows x [N, D], or numbers [N] where D is 1.

        Rows are as the data are, text as columns of 0 and 1; the model gets them standardized where the spec says so,
        4,096 at a time, and outputs are in the units of the targets. A record's model is read from its file.
        Raises SpecError for a model without inputs, such as an objective, and for rows that do not fit.

        >>> import gdcli
        >>> gdcli.run("backprop_2x2").predict([[0.05, 0.10]]).round(3).astype(float).round(3).tolist()
        [[0.732, 0.766]]
        """
        return self.predictor().outputs(given.rows(x))

    def to_pandas(self) -> pd.DataFrame:
        """Return the steps as a table. Raises MachineError without pandas."""
        return _pandas().DataFrame(self.steps)


@dataclass(frozen=True)
class Sweep:
    """A sweep: a row for each run or point, in the order asked for."""

    rows: Sequence[Mapping[str, Any]]  # as results.csv has them
    results: Sequence[Result]  # how each run ended; empty for the loss over parameters, which trains nothing
    folder: Path | None

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a table. Raises MachineError without pandas."""
        return _pandas().DataFrame(list(self.rows))


@dataclass(frozen=True)
class Comparison:
    """A comparison: a row for each optimizer or batch mode, and each of its runs."""

    table: str = field(repr=False)  # as the command prints it
    rows: Sequence[Mapping[str, Any]]
    results: Sequence[Result]
    folder: Path | None

    def __str__(self) -> str:
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a table. Raises MachineError without pandas."""
        return _pandas().json_normalize([dict(row) for row in self.rows])


def _pandas() -> Any:
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise MachineError("to_pandas needs pandas, which is not installed: pip install pandas") from None
    return pd


# --- functions --------------------------------------------------------------------------------------------------------


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Give torch's number of threads and its global generator back as the caller had them."""
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


@_torch_as_it_was()
def run(
    spec: given.Spec, overrides: Mapping[str, Any] | None = None, /, *, output: str | os.PathLike[str] | None = None,
    plot: bool = True, plugins: given.Plugins = (), **keys: Any,
) -> Run:  # fmt: skip
    """Train one experiment, as `gdcli run` does, with the same numbers to the bit.

    ``overrides`` and the other keywords put values into the spec, by dotted or unique names: ``{"optimizer.lr": 0.1}``
    or ``lr=0.1``. ``plugins`` are files or packages, as --plugin takes them. With ``output`` a record is written below
    that folder, with its picture if ``plot``; else nothing is. A run that diverges is returned, its status says so.
    Raises SpecError with all problems of the spec, RunError for a step that torch refuses or a plugin, MachineError for
    what the machine lacks.

    >>> import gdcli
    >>> run = gdcli.run("rosenbrock", {"optimizer.lr": 1e-3}, epochs=100)
    >>> run.losses.shape, run.message
    ((100,), 'all 100 epochs')
    """
    own = given.loaded(plugins)
    source, changed = given.source(spec), given.overrides(overrides, keys)
    request = given.request(RunRequest, name=source.name, overrides=changed, plot=plot, plugins=recorded(own))
    context = given.context("run", source, changed, output, own=own)
    blocks: list[StepBlock] = []
    report = run_command(request, context, blocks.append)
    assert not isinstance(report, Ended)
    return _run(report, blocks)


@_torch_as_it_was()
def sweep(
    spec: given.Spec, axes: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, /, *, seeds: int = 1,
    jobs: int = 1, output: str | os.PathLike[str] | None = None, plot: bool = True, plugins: given.Plugins = (),
    **keys: Any,
) -> Sweep:  # fmt: skip
    """Train one run per value of a key, or evaluate the loss over parameters of the model, as `gdcli sweep` does.

    ``axes`` has the values of each: a list, or a grid as the command takes it, such as ``"0:4.1:0.1"``; several give
    their product. For ``overrides``, ``output``, ``plugins`` and what is raised see :func:`run`.

    >>> import gdcli
    >>> [row["status"] for row in gdcli.sweep("backprop_2x2", {"lr": [0.1, 0.5]}).rows]
    ['finished', 'finished']
    >>> gdcli.sweep("linear_sweep", {"w": "0:3:1"}).rows[2]
    {'w': 2.0, 'loss': 0.0}
    """
    own = given.loaded(plugins)
    source, changed = given.source(spec), given.overrides(overrides, keys)
    param = given.params(axes)
    request = given.request(
        SweepRequest, name=source.name, overrides=changed, plot=_drawn(plot, output), param=param, seeds=seeds,
        plugins=recorded(own),
    )  # fmt: skip
    words = (*(f"--param={each}" for each in param), *changed)
    report = sweep_command(request, given.context("sweep", source, words, output, jobs, own))
    assert not isinstance(report, Ended)
    return Sweep(report.rows(), tuple(report.results), None if output is None else report.folder)


@_torch_as_it_was()
def compare(
    spec: given.Spec = "optimizers_2x2", overrides: Mapping[str, Any] | None = None, /, *,
    optimizers: str | Sequence[str] | None = None, batches: str | Sequence[str] | None = None,
    seeds: int | None = None, redraw_data: bool = False, tune: int | None = None,
    tune_range: tuple[float, float] | None = None, target: float | None = None, closed_form: bool | None = None,
    x: Literal["steps", "epochs", "evaluations"] | None = None, jobs: int = 1,
    output: str | os.PathLike[str] | None = None, plot: bool = True, plugins: given.Plugins = (), **keys: Any,
) -> Comparison:  # fmt: skip
    """Train the runs of each optimizer or batch mode on the same data and start values, as `gdcli compare` does.

    The arguments are the command's options; what is None is as the spec's ``compare`` block has it. For
    ``overrides``, ``output``, ``plugins`` and what is raised see :func:`run`.

    >>> import gdcli
    >>> found = gdcli.compare("backprop_2x2", optimizers=["sgd", "adam"], epochs=2)
    >>> [row["label"] for row in found.rows], found.table.split()[0]
    (['sgd', 'adam'], 'optimizer')
    """
    own = given.loaded(plugins)
    source, changed = given.source(spec), given.overrides(overrides, keys)
    request = given.request(
        CompareRequest, name=source.name, overrides=changed, plot=_drawn(plot, output),
        optimizers=given.listed("optimizers", optimizers), batches=given.listed("batches", batches), seeds=seeds,
        redraw_data=redraw_data, tune=tune, tune_range=given.listed("tune_range", tune_range), target=target,
        closed_form=closed_form, x=x, plugins=recorded(own),
    )  # fmt: skip
    report = compare_command(request, given.context("compare", source, changed, output, jobs, own))
    assert not isinstance(report, Ended)
    results, folder = tuple(report.results), None if output is None else report.folder
    return Comparison(report.table(), report.data(), results, folder)


def _drawn(plot: object, output: object) -> object:
    """Return whether pictures are wanted, and have a folder to go to."""
    return False if plot is True and output is None else plot


def load(name: str | os.PathLike[str], output: str | os.PathLike[str] = "runs", *, plugins: given.Plugins = ()) -> Run:
    """Return a record of a run, read back, by the names that `gdcli show` takes: ``last``, an id, a folder.

    ``output`` is the folder of the records, ``plugins`` are those that it was made with, for its model. Raises
    SpecError for a name that means no record, or one that is not of a run; DamagedError, a MachineError, for a file
    that is not as it was written.
    """
    given.loaded(plugins)
    folder = find_record(given.path("name", name), Path(given.path("output", output)))
    found = record.read(folder)
    if found.kind != "run":
        raise SpecError(f"{folder} is a record of {found.kind}: name one of a run, such as a folder in it")
    config, summary = config_reader.read(folder), found.summary
    record_section = config.get("record")
    rows = MixedColumns(folder / "steps.csv")
    try:
        steps = np.fromiter((tuple(np.nan if cell is None else cell for cell in row) for row in rows), STEP_COLUMNS)
    except (TypeError, ValueError):
        raise DamagedError(f"{rows.path}: is no table of steps") from None
    keeps_values = isinstance(record_section, Mapping) and record_section.get("gradients") == "values"
    gradients = _recorded_gradients(folder, None if keeps_values else config.get("watch", ()))
    kept, dtype = summary.get("parameters"), np.dtype(str(config.get("dtype", "float32")))
    parameters = {key: np.array(value, dtype) for key, value in kept.items()} if isinstance(kept, dict) else None
    message, trained = str(summary.get("message", "")), _again(folder, found.steps)
    has_model = models.recorded(summary, models.NAME) is not None
    predictor = cache(lambda: of_record(folder) if has_model else of_run(trained()))
    return Run(
        found.name, found.status, message, steps, gradients, found.metrics, summary, folder, trained, predictor,
        parameters,
    )  # fmt: skip


# --- what comes out ---------------------------------------------------------------------------------------------------


def _run(report: RunReport, blocks: Sequence[StepBlock]) -> Run:
    finished, outcome = report.finished, report.finished.outcome
    spec = report.built.loaded.spec
    steps = np.empty(sum(len(block.step) for block in blocks), STEP_COLUMNS)
    for name in STEP_COLUMNS.names or () if blocks else ():
        steps[name] = np.concatenate([getattr(block, name) for block in blocks])
    gradients = _gradients(report, blocks)
    return Run(
        spec.name, outcome.status, outcome.message, steps, gradients, outcome.metrics, finished.summary(),
        report.folder, lambda: report, lambda: of_run(report),
    )  # fmt: skip


def _gradients(report: RunReport, blocks: Sequence[StepBlock]) -> dict[str, Floats64]:
    """Return what `record.gradients` keeps: of every N-th step, each trained parameter's."""
    from gdcli.engine.gradient_log import keep_of

    every, start = report.built.loaded.spec.record.every, report.finished.start
    watched = [b.watched[b.kept(every)] for b in blocks if b.watched is not None]
    found = _by_column(start.watched, np.concatenate(watched).astype(np.float64)) if watched else {}
    if keep_of(report.built) != "values":
        return found
    rows = [b.gradients[b.kept(every)] for b in blocks if b.gradients is not None]
    trained = [parameter for parameter in start.parameters if parameter.trained]
    return (_split(np.concatenate(rows).astype(np.float64), trained) if rows and trained else {}) | found


def _split(rows: Floats64, parameters: Sequence[Parameter]) -> dict[str, Floats64]:
    """Return rows [S, P] by parameter, in their shapes."""
    ends = np.cumsum([parameter.values.size for parameter in parameters])[:-1]
    parts = np.split(rows, ends, axis=1)
    return {p.name: part.reshape(len(rows), *p.values.shape) for p, part in zip(parameters, parts, strict=True)}


def _recorded_gradients(folder: Path, watch: Sequence[str] | None) -> dict[str, Floats64]:
    """Return the table of gradients by parameter and watched value; with ``watch`` those of such values alone."""
    columns = gradients_of(folder) if watch is None or watch else None
    if columns is None:
        return {}
    chosen = [k for k, name in enumerate(columns.header[1:], 1) if watch is None or is_watched(name, watch)]
    return _by_column([columns.header[k] for k in chosen], columns.numbers()[:, chosen])


def _by_column(columns: Sequence[str], numbers: Floats64) -> dict[str, Floats64]:
    """Return numbers [S, C] by name: ``weight[0,1]`` is the place of a number in its parameter or value."""
    shapes: dict[str, tuple[int, ...]] = {}
    for column in columns:  # the last index of each is the largest
        name, _, index = column.partition("[")
        shapes[name] = tuple(int(k) + 1 for k in index.rstrip("]").split(",")) if index else ()
    return _split(numbers, [Parameter(name, np.empty(shape)) for name, shape in shapes.items()])


def _again(folder: Path, steps: int | None) -> Callable[[], RunReport]:
    """Return what trains a record's run again, once, as far as it came."""

    @cache
    @_torch_as_it_was()
    def trained() -> RunReport:
        require_plugins(folder)
        source = find(str(folder / "config.yaml"))
        overrides = (f"stop.max_steps={steps}", "stop.max_seconds=1e9") if steps else ()
        request = RunRequest(name=source.name, overrides=overrides)
        report = run_command(request, Context(source, output=None))
        assert isinstance(report, RunReport)
        return report

    return trained
