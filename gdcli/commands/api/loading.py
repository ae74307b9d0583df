"""A record read back as the Run that it was: `gdcli.load`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from gdcli.commands import given
from gdcli.commands.api.objects import torch_as_it_was
from gdcli.commands.api.pictures import of_folder
from gdcli.commands.api.runs import STEP_COLUMNS, Floats64, Run, by_column, of_columns
from gdcli.commands.context import Context, require_run
from gdcli.commands.predictors import of_record, of_run
from gdcli.commands.run import RunReport
from gdcli.commands.run import run as run_command
from gdcli.errors import DamagedError
from gdcli.spec.bundled import find
from gdcli.spec.watch import is_watched
from gdcli.storage import config_reader, models, record
from gdcli.storage.csv_reader import MixedColumns
from gdcli.storage.find import find as find_record
from gdcli.storage.gradient_file import BinaryColumns, gradients_of
from gdcli.storage.recorded_plugins import require_plugins
from gdcli.storage.request import RunRequest


def load(name: str | os.PathLike[str], output: str | os.PathLike[str] = "runs", *, plugins: given.Plugins = ()) -> Run:
    """Return a record of a run, read back, by the names that `gdcli show` takes: ``last``, an id, a folder.

    Of a sweep or a comparison each run is a record in its folder: `gdcli ls RECORD` names them.

    ``output`` is the folder of the records, ``plugins`` are those that it was made with, for its model. Raises
    SpecError for a name that means no record, or one that is not of a run; DamagedError, a MachineError, for a file
    that is not as it was written.

    >>> import gdcli, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = gdcli.run("backprop_2x2", output=folder, plot=False)
    ...     gdcli.load("last", folder).losses.tolist() == run.losses.tolist()
    True
    """
    given.loaded(plugins)
    folder = find_record(given.path("name", name), Path(given.path("output", output)))
    found = record.read(folder)
    require_run(found)
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
    kept_metrics = summary.get("metrics")
    metrics = kept_metrics if isinstance(kept_metrics, dict) else {}
    metrics = {key: np.nan if value is None else value for key, value in metrics.items()}
    return Run(
        found.name, found.status, message, steps, gradients, metrics, summary, folder, trained, predictor,
        of_folder(folder), parameters,
    )  # fmt: skip


def _recorded_gradients(folder: Path, watch: Sequence[str] | None) -> dict[str, Floats64]:
    """Return the table of gradients by parameter and watched value; with ``watch`` those of such values alone."""
    columns = gradients_of(folder) if watch is None or watch else None
    if columns is None:
        return {}
    if watch is None and isinstance(columns, BinaryColumns) and any(column.shape for column in columns.columns):
        return of_columns(columns.columns, columns.numbers()[:, 1:])  # not by the names of 200,000 numbers
    chosen = [k for k, name in enumerate(columns.header[1:], 1) if watch is None or is_watched(name, watch)]
    return by_column([columns.header[k] for k in chosen], columns.numbers()[:, chosen])


def _again(folder: Path, steps: int | None) -> Callable[[], RunReport]:
    """Return what trains a record's run again, once, as far as it came."""

    @cache
    @torch_as_it_was()
    def trained() -> RunReport:
        require_plugins(folder)
        source = find(str(folder / "config.yaml"))
        overrides = (f"stop.max_steps={steps}", "stop.max_seconds=1e9") if steps else ()
        request = RunRequest(name=source.name, overrides=overrides)
        report = run_command(request, Context(source, output=None))
        assert isinstance(report, RunReport)
        return report

    return trained
