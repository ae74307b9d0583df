"""What the functions of `gdcli` return: a run, a sweep, a comparison, as numpy arrays and plain rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdcli.errors import MachineError, SpecError

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

    from gdcli.commands.run import RunReport
    from gdcli.records import Floats, Result

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
    """[S, *shape] of each trained parameter, of the steps that are recorded; empty where only norms are, or nothing."""
    metrics: Mapping[str, float]
    summary: Mapping[str, Any] = field(repr=False)  # what summary.json holds
    folder: Path | None  # of the record; None where nothing was written
    trained: Callable[[], RunReport] = field(repr=False)
    """Returns the run with its model; a record's is trained again, which gives the same bits."""
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

    def predict(self, x: ArrayLike) -> Floats:
        """Return the trained model's output [N, O] for rows x [N, D], or numbers [N] where D is 1.

        Raises SpecError for a model without inputs, such as an objective, and for rows that do not fit.

        >>> import gdcli
        >>> gdcli.run("backprop_2x2").predict([[0.05, 0.10]]).round(3).astype(float).round(3).tolist()
        [[0.732, 0.766]]
        """
        import torch

        built = self.trained().built
        if built.loaded.training is None:
            raise SpecError(f"{self.name}: an objective has no inputs to predict from")
        rows = torch.as_tensor(np.asarray(x, np.float64)).to(built.device, built.dtype)
        rows = rows[:, None] if rows.ndim == 1 else rows
        wanted = built.batches.x.shape[1:]
        if rows.shape[1:] != wanted:
            raise SpecError(f"{self.name}: predict takes rows of shape {tuple(wanted)} (got {tuple(rows.shape[1:])})")
        with torch.no_grad():
            output: Floats = built.kernel.forward(rows).cpu().numpy()
        return output

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
