"""Train one experiment from Python: `gdcli.run`, and what comes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdcli.commands import given
from gdcli.commands.api import notebook
from gdcli.commands.api.objects import figure, pandas, shown, torch_as_it_was
from gdcli.commands.api.pictures import DrawRun, of_report, options
from gdcli.commands.context import Ended
from gdcli.commands.predictors import Predictor, of_run
from gdcli.commands.run import RunReport
from gdcli.commands.run import run as run_command
from gdcli.records import Floats, Parameter, StepBlock
from gdcli.storage.request import RunRequest, recorded
from gdcli.storage.wide_parquet import TableColumn, columns_of
from gdcli.zoo.python_objects import PythonObjects

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types
    import torch
    from matplotlib.figure import Figure

Floats64 = NDArray[np.float64]

STEP_COLUMNS = np.dtype(
    [("step", "i8"), ("epoch", "i8"), ("batch", "i8"), ("loss", "f8"), ("lr", "f8"), ("gradient_norm", "f8")]
)
"""The columns of steps.csv."""


@dataclass(frozen=True, eq=False)  # of arrays: each is equal to itself alone
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
    metrics: Mapping[str, Any]  # numbers; the confusion of classes as rows of counts
    summary: Mapping[str, Any] = field(repr=False)  # what summary.json holds
    folder: Path | None  # of the record; None where nothing was written
    trained: Callable[[], RunReport] = field(repr=False)
    """Returns the run with its model; a record's is trained again, which gives the same bits."""
    predictor: Callable[[], Predictor] = field(repr=False)
    """Returns the trained model: of a record by its file."""
    draw: DrawRun = field(repr=False)
    """Returns a picture of a kind; of a record, or of the run in memory."""
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

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs; none where the targets are numbers.

        >>> import gdcli
        >>> run = gdcli.run("iris", epochs=1)
        >>> run.classes, run.predict([[5.1, 3.5, 1.4, 0.2]]).shape
        (('setosa', 'versicolor', 'virginica'), (1, 3))
        """
        return self.predictor().classes

    def predict(self, x: ArrayLike) -> Floats:
        """Return the trained model's output [N, O] for rows x [N, D], or numbers [N] where D is 1.

        Rows are as the data are, text as columns of 0 and 1; the model gets them standardized where the spec says so,
        4,096 at a time, and outputs are in the units of the targets. A DataFrame's columns are taken by their names.
        A record's model is read from its file.
        Raises SpecError for a model without inputs, such as an objective, and for rows that do not fit.

        >>> import gdcli
        >>> gdcli.run("backprop_2x2").predict([[0.05, 0.10]]).round(3).astype(float).round(3).tolist()
        [[0.732, 0.766]]
        """
        predictor = self.predictor()
        return predictor.outputs(given.rows(x, predictor.features))

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> dict[str, float]:
        """Return the loss and the metrics of the trained model on other rows, as `gdcli evaluate` has them.

        Rows are as :meth:`predict` takes them; y are numbers [N] or [N, K] in their own units, the indices of classes,
        or their names. Raises SpecError for what does not fit.

        >>> import gdcli
        >>> run = gdcli.run("backprop_2x2")
        >>> round(run.evaluate([[0.05, 0.10]], [[0.01, 0.99]])["loss"], 4)
        0.2858
        """
        predictor = self.predictor()
        found = predictor.evaluated(given.rows(x, predictor.features), y)
        return {"loss": found.loss, **found.metrics}

    def to_pandas(self) -> pd.DataFrame:
        """Return the steps as a table. Raises MachineError without pandas."""
        return pandas().DataFrame(self.steps)

    def plot(
        self, kind: str = "curves", *, smooth: float | None = None, step: int | None = None, of: str | None = None
    ) -> Figure:
        """Return a picture as a matplotlib Figure, as `gdcli plot --kind` draws it.

        ``kind`` is curves, gradients, surface, network, fit, confusion or metrics; ``smooth`` adds the moving average
        with this beta to curves, ``step`` is the one before which the network is shown, or the gradient of an image.
        ``of`` is an input or intermediate value whose gradients are wanted: x, h1, net_o1. Raises SpecError for a kind
        that the run has no picture of.

        >>> import gdcli
        >>> gdcli.run("backprop_2x2", epochs=5).plot().axes[0].get_ylabel()
        'loss (half_sse)'
        """
        chosen = options(kind, smooth, step, of)
        return figure(lambda form: self.draw(self, chosen, form), self.name)

    def _repr_html_(self) -> str:
        """Show curve and summary in a notebook."""
        told = ("epochs", "steps", "final_loss", "best_loss")
        pairs: dict[str, Any] = {"ended": f"{self.status}: {self.message}" if self.message else self.status}
        pairs |= {name.replace("_", " "): self.summary[name] for name in told if name in self.summary}
        pairs |= {name: value for name, value in self.metrics.items() if isinstance(value, int | float)}
        pairs |= {} if self.folder is None else {"record": self.folder}
        picture = notebook.of_picture(lambda form: self.draw(self, options("curves"), form), f"loss of {self.name}")
        return notebook.of_pairs(self.name, pairs) + picture


@torch_as_it_was()
def run(
    spec: given.Spec, overrides: Mapping[str, Any] | None = None, /, *, model: given.Model | None = None,
    loss: given.Loss | None = None, data: given.Data | None = None, output: str | os.PathLike[str] | None = None,
    plot: bool = True, progress: bool = True, no_limits: bool = False, plugins: given.Plugins = (), **keys: Any,
) -> Run:  # fmt: skip
    """Train one experiment, as `gdcli run` does, with the same numbers to the bit.

    ``overrides`` and the other keywords put values into the spec, by dotted or unique names: ``{"optimizer.lr": 0.1}``
    or ``lr=0.1``. ``plugins`` are files or packages, as --plugin takes them. With ``output`` a record is written below
    that folder, with its picture if ``plot``; else nothing is. A notebook shows a bar meanwhile, if ``progress``. Sizes
    beyond the built-in limits are refused without ``no_limits``. A run that diverges is returned, its status says so.

    In place of the spec's own, ``model`` may be a torch.nn.Module, which is trained in a copy, or a function without
    arguments that makes one; ``loss`` a function of output [B, O] and target that gives one number; and ``data`` two
    arrays or tensors (x, y), or a DataFrame and its target, (frame, "price"). Texts in y are the names of classes;
    integers y [n] are their indices for torch's losses of classes and for functions of your own, which get them as
    indices [B]; so they are where a spec's own data stand, and the loss that is replaced takes classes. Other targets
    are numbers [B, K], as floats are always. A record of such a run says that it cannot be run again from files alone.

    Raises SpecError with all problems of the spec, RunError for a step that torch refuses or a plugin, MachineError for
    what the machine lacks.

    >>> import gdcli
    >>> run = gdcli.run("rosenbrock", {"optimizer.lr": 1e-3}, epochs=100)
    >>> run.losses.shape, run.message
    ((100,), 'all 100 epochs')
    >>> import torch
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> line = gdcli.run({"optimizer": {"name": "sgd", "lr": 0.5}, "epochs": 100},
    ...     model=torch.nn.Linear(1, 1), data=(x, 3 * x + 1), loss=torch.nn.functional.mse_loss)
    >>> line.parameters["weight"].round(3).tolist(), line.parameters["bias"].round(3).tolist()
    ([[3.0]], [1.0])
    """
    own, source = given.loaded(plugins), given.source(spec)
    objects, words = given.objects(source, model, loss, data)
    changed = given.overrides(overrides, {**words, **keys})
    request = given.request(
        RunRequest,
        name=source.name,
        overrides=changed,
        plot=plot,
        no_limits=no_limits,
        plugins=recorded(own),
        objects=objects.names,
    )
    context = given.context("run", source, changed, output, own=own, objects=objects, progress=shown(progress))
    blocks: list[StepBlock] = []
    with objects.in_tables():
        report = run_command(request, context, blocks.append)
    assert not isinstance(report, Ended)
    return _run(report, blocks, objects)


def _run(report: RunReport, blocks: Sequence[StepBlock], objects: PythonObjects) -> Run:
    finished, outcome = report.finished, report.finished.outcome
    spec = report.built.loaded.spec
    steps = np.empty(sum(len(block.step) for block in blocks), STEP_COLUMNS)
    for name in STEP_COLUMNS.names or () if blocks else ():
        steps[name] = np.concatenate([getattr(block, name) for block in blocks])
    gradients = _gradients(report, blocks)
    return Run(
        spec.name, outcome.status, outcome.message, steps, gradients, outcome.metrics, finished.summary(),
        report.folder, lambda: report, lambda: of_run(report, objects.in_tables), of_report(report, objects),
    )  # fmt: skip


def _gradients(report: RunReport, blocks: Sequence[StepBlock]) -> dict[str, Floats64]:
    """Return what `record.gradients` keeps: of every N-th step, each trained parameter's and watched value's."""
    from gdcli.engine.gradient_log import keep_of

    every, start = report.built.loaded.spec.record.every, report.finished.start
    watched = [b.watched[b.kept(every)] for b in blocks if b.watched is not None]
    found = by_column(start.watched, np.concatenate(watched).astype(np.float64)) if watched else {}
    if keep_of(report.built) != "values":
        return found
    rows = [b.gradients[b.kept(every)] for b in blocks if b.gradients is not None]
    trained = [parameter for parameter in start.parameters if parameter.trained]
    return (_split(np.concatenate(rows).astype(np.float64), trained) if rows and trained else {}) | found


def by_column(columns: Sequence[str], numbers: Floats64) -> dict[str, Floats64]:
    """Return numbers [S, C] by name: ``weight[0,1]`` is the place of a number in its parameter or value."""
    return of_columns(columns_of(columns), numbers)


def of_columns(columns: Sequence[TableColumn], numbers: Floats64) -> dict[str, Floats64]:
    """Return numbers [S, C] by the names of their columns, in the shapes of these."""
    return _split(numbers, [Parameter(column.name, np.empty(column.shape)) for column in columns])


def _split(rows: Floats64, parameters: Sequence[Parameter]) -> dict[str, Floats64]:
    """Return rows [S, P] by parameter, in their shapes."""
    ends = np.cumsum([parameter.values.size for parameter in parameters])[:-1]
    parts = np.split(rows, ends, axis=1)
    return {p.name: part.reshape(len(rows), *p.values.shape) for p, part in zip(parameters, parts, strict=True)}
