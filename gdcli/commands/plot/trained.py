"""What a trained model does with its rows: the fitted curve, regions of classes, the confusion matrix, metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gdcli.commands import specs
from gdcli.commands.plot.runs import CurveSource, Floats
from gdcli.errors import SpecError
from gdcli.report import plots
from gdcli.spec.load import Loaded
from gdcli.storage.files import json_file, lenient
from gdcli.storage.record import number
from gdcli.zoo.metrics import ACCURACY, MAX_CLASSES, metric_of
from gdcli.zoo.table import Inputs, Table

if TYPE_CHECKING:
    from gdcli.engine.problem import TrainingProblem
    from gdcli.report.plots import Form
    from gdcli.runner.run_recorder import Finished

CHUNK = 4096  # rows at once
SIDE = 300  # points of a curve, and of a plane's grid each way


@dataclass(frozen=True, slots=True)
class FittedRun:
    """A run done again in memory, which gives the same bits: its problem, with the final weights in it."""

    problem: TrainingProblem
    finished: Finished

    @property
    def loaded(self) -> Loaded:
        """Its spec and data."""
        return self.problem.loaded

    def outputs(self, x: Floats) -> Floats:
        """Return the model's output [n, O] in float64 for rows [n, D], both in the units of the data."""
        import torch

        rows = torch.as_tensor(self.loaded.prepared(x)).to(self.problem.device, self.problem.dtype)
        parts = [self.problem.kernel.forward(rows[k : k + CHUNK]) for k in range(0, len(rows), CHUNK)]
        return self.loaded.in_units(torch.cat(parts).double().cpu().numpy())

    def rows(self, x: Inputs) -> Floats:
        """Return the features of a table [n, D], which are standardized, in the units of the data."""
        fitted, wide = self.loaded.preprocessing, x.astype(np.float64, copy=False)
        return wide if fitted is None else fitted.unscaled(wide)


def trained(source: CurveSource) -> FittedRun:
    """Train a spec, or a record again, as far as it came."""
    if source.report is not None:
        return FittedRun(source.report.built, source.report.finished)
    from gdcli.runner import provenance, record_run

    loaded = source.loaded
    if source.folder is not None:
        summary = lenient(None, json_file, source.folder / "summary.json") or {}
        steps = summary.get("steps")
        if summary.get("status") in ("stopped", "interrupted") and type(steps) is int and not loaded.spec.stop.restore:
            words = [f"stop.max_steps={steps}", "stop.max_seconds=1e9"]
            loaded = specs.of_record(source.folder, words, "plot", trained=True)
    problem = provenance.prepared(loaded)
    return FittedRun(problem, record_run.run(problem, None))


def one_run(source: CurveSource, curve: plots.Curve, form: Form) -> bytes:
    """Return the picture of one run, as its record has it: with validation rows over its epochs."""
    from gdcli.runner import run_picture

    if source.folder is None:
        return run_picture.picture(source.loaded, curve, {}, None, form)
    summary = lenient(None, json_file, source.folder / "summary.json") or {}
    epochs, last_loss = run_picture.epochs_of(source.folder), number(summary.get("last_loss"))
    return run_picture.picture(source.loaded, curve, epochs, last_loss, form)


def fit(source: CurveSource, form: Form) -> bytes:
    """Return the picture of a curve through the rows, for one feature and values, or of regions, for two and classes.

    Raises SpecError for other models.
    """
    table, loaded = source.loaded.training, source.loaded
    classes = table is not None and loaded.spec.loss is not None and _classes_of(loaded) is not None
    features = 0 if table is None or table.x.ndim != 2 else table.x.shape[1]
    if table is None or (features, classes) not in ((1, False), (2, True)):
        have = "an objective" if table is None else f"{features} features and {'classes' if classes else 'values'}"
        what = "--kind fit draws one feature and values, or two features and classes"
        raise SpecError(f"{source.label}: {what} (got {have})")
    model = trained(source)
    return _curve(model, table, form) if features == 1 else _regions(model, table, form)


def _parts(model: FittedRun) -> list[tuple[Table, bool]]:
    tables = ((model.loaded.training, False), (model.loaded.validation, True))
    return [(table, held_out) for table, held_out in tables if table is not None]


def _curve(model: FittedRun, table: Table, form: Form) -> bytes:
    rows = [
        plots.DrawnRows(model.rows(each.x)[:, 0], model.loaded.in_units(each.y.astype(np.float64)), held_out)
        for each, held_out in _parts(model)
    ]
    together = np.concatenate([part.x for part in rows])
    at = _along(together)
    output = model.outputs(at[:, None])
    one = output.shape[1] == 1
    curves = [("model" if one else name, output[:, k]) for k, name in enumerate(table.targets)]
    names = table.features[0], table.targets[0] if one else ", ".join(table.targets)
    return plots.fitted_curve.drawn(form, rows, at, curves, names, model.loaded.spec.name)


def _along(values: Floats) -> Floats:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * ((high - low) or 1.0)
    return np.linspace(low - margin, high + margin, SIDE)


def _regions(model: FittedRun, table: Table, form: Form) -> bytes:
    rows = [
        plots.DrawnRows(model.rows(each.x), _labels(each).astype(np.float64), held_out)
        for each, held_out in _parts(model)
    ]
    together = np.concatenate([part.x for part in rows])
    x, y = _along(together[:, 0]), _along(together[:, 1])
    places = np.stack([mesh.ravel() for mesh in np.meshgrid(x, y)], axis=1)
    output = model.outputs(places)
    regions = _predicted(model.loaded, output).reshape(len(y), len(x))
    count = max(2, output.shape[1], *(int(part.y.max()) + 1 for part in rows))
    names = table.features[0], table.features[1]
    labels = class_names(model.loaded, count)
    return plots.decision_regions.drawn(form, rows, x, y, regions, labels, names, model.loaded.spec.name)


def class_names(loaded: Loaded, count: int) -> list[str]:
    """Return the names of classes, in the order of their numbers."""
    fitted = loaded.preprocessing
    return [str(k) if fitted is None else fitted.class_name(k) for k in range(count)]


def _classes_of(loaded: Loaded) -> Any:
    """Return what counts pairs of true and predicted classes; None where the targets are none."""
    loss = loaded.spec.loss.name if loaded.spec.loss else ""
    return metric_of("confusion", loss, loaded.training) if loss in ACCURACY else None


def _labels(table: Table) -> NDArray[np.int64]:
    return table.y.astype(np.int64) if table.y.ndim == 1 else (table.y[:, 0] > 0.5).astype(np.int64)


def _predicted(loaded: Loaded, output: Floats) -> NDArray[np.int64]:
    if output.shape[1] > 1:
        return np.asarray(output.argmax(axis=1))
    border = 0.0 if loaded.spec.loss is not None and loaded.spec.loss.name == "bce_with_logits" else 0.5
    return (output[:, 0] > border).astype(np.int64)


def confusion_of(source: CurveSource, form: Form) -> bytes:
    """Return the picture of the confusion matrix, of the validation rows where there are some.

    Raises SpecError for targets that are no classes, or too many.
    """
    loaded, count = source.loaded, _classes_of(source.loaded)
    if count is None:
        raise SpecError(f"{source.label}: --kind confusion draws models of classes")
    import torch

    model = trained(source)
    table, held_out = _parts(model)[-1]
    output = model.outputs(model.rows(table.x))
    counts = count(torch.from_numpy(output), torch.as_tensor(np.ascontiguousarray(table.y)))
    if not np.isfinite(output).all():
        raise SpecError(f"{source.label}: --kind confusion draws the classes of outputs, and some here are not finite")
    if not isinstance(counts, list):
        raise SpecError(f"{source.label}: --kind confusion draws up to {MAX_CLASSES} classes (got {output.shape[1]:,})")
    matrix = np.array(counts, np.float64)
    rows, right = "validation" if held_out else "training", float(np.trace(matrix) / matrix.sum())
    heading = f"{len(table.x):,} {rows} rows, accuracy {right:.4g}"
    return plots.confusion_matrix.drawn(form, matrix, class_names(loaded, len(matrix)), loaded.spec.name, heading)


def metrics_over_epochs(source: CurveSource, form: Form) -> bytes:
    """Return the picture of all metrics after each epoch. Raises SpecError for a run that works none out."""
    from gdcli.runner import run_picture

    epochs = run_picture.epochs_of(source.folder) if source.folder is not None else trained(source).finished.epochs
    names = run_picture.metrics_in(epochs)
    if not names or not len(epochs["epoch"]):
        hint = "metrics: [...] in the spec, or data.validation, has them worked out"
        raise SpecError(f"{source.label}: has no metric after each epoch: {hint}")
    panels = [run_picture.panel(source.loaded, name, epochs) for name in names]
    return plots.metric_curves.drawn(form, panels, f"{source.loaded.spec.name}: metrics")
