"""Loss and metrics of a trained model on another table: `gdcli evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gdcli.commands.context import Frontend, Tell
from gdcli.commands.trained import TrainedRecord, chunks_of, told_of, trained_record
from gdcli.errors import SpecError
from gdcli.spec.metrics import metrics_on
from gdcli.storage.files import json_text
from gdcli.zoo.preprocessing import Preprocessing
from gdcli.zoo.table import Floats, Table

if TYPE_CHECKING:
    from gdcli.engine.prediction import TrainedModel

MAX_NUMBERS = 2**29
"""Numbers of a table that is evaluated at once: 4 GiB."""


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Loss and metrics of a model on a table."""

    rows: int
    loss: float
    metrics: dict[str, float]

    def text(self) -> str:
        """Return it for people, all digits."""
        pairs = {"rows": f"{self.rows:,}", "loss": repr(self.loss)} | {k: repr(v) for k, v in self.metrics.items()}
        width = max(map(len, pairs))
        return "".join(f"{name:<{width}}  {value}\n" for name, value in pairs.items())

    def json(self) -> str:
        """Return it as one JSON document."""
        return json_text({"rows": self.rows, "loss": self.loss, "metrics": self.metrics})


def evaluate(
    folder: Path, stream: IO[bytes], name: str, frontend: Frontend, labels: IO[bytes] | None = None
) -> EvaluationReport:
    """Return loss and metrics of a record's model on all rows of a table with the columns of the training data.

    ``labels`` is an IDX file beside one of images. They are worked out in one pass over all rows, as those of the
    validation rows are in training. Raises SpecError for a table, or a record, that cannot be used, DamagedError for a
    record whose files were changed.
    """
    record = trained_record(folder, frontend)
    if record.spec.loss is None:
        raise SpecError(f"{record.spec.name}: an objective has no table to be evaluated on")
    import torch

    torch.set_num_threads(record.threads)
    table, model = table_of(record, stream, name, labels), record.model(frontend.warning)
    return evaluated(model, record.encoding.fitted, record.row_shape, table, name, frontend.warning)


def evaluated(
    model: TrainedModel, fitted: Preprocessing, row_shape: Sequence[int], table: Table, name: str, warning: Tell
) -> EvaluationReport:
    """Return loss and metrics of a model on a table of rows and targets as the model learns them."""
    import torch

    from gdcli.engine.batches import as_tensors
    from gdcli.engine.evaluation import IN_UNITS, in_units
    from gdcli.engine.prediction import dtype_of

    spec = model.spec
    assert spec.loss is not None
    ((x, y),) = as_tensors([table], spec.loss.name, dtype_of(spec), model.device, row_shape)
    output = model.kernel.forward(x)
    value = float(model.kernel.loss_of(output, y).cpu().numpy().astype(np.float64)[0])
    unit = fitted.loss_unit(spec.loss.name)
    outputs = in_units(model.kernel.by_run(output)[0], fitted)
    targets = in_units(torch.as_tensor(table.y).to(model.device), fitted)
    if bad := int((~outputs.isfinite().flatten(1).all(1)).sum()):
        what = f"the outputs of {bad:,} row{'s' * (bad != 1)} are not finite, which leaves the metrics undefined"
        warning(f"{name}: {what}")
    found = {key: metric(outputs, targets) for key, metric in metrics_on(spec, table).items()}
    found |= {} if unit is None else {IN_UNITS: value * unit}
    return EvaluationReport(len(table.x), value, found)


def table_of(record: TrainedRecord, stream: IO[bytes], name: str, labels: IO[bytes] | None = None) -> Table:
    """Return all rows of a table with their targets. Raises SpecError."""
    encoding, sides = record.encoding, record.sides
    wanted = list(dict.fromkeys((*encoding.columns, *encoding.targets)))
    xs: list[Floats] = []
    ys: list[Any] = []
    count = 0
    for chunk in chunks_of(record, stream, name, wanted, labels):
        with told_of(name):
            xs.append(encoding.encode(chunk))
            ys.append(encoding.encode_targets(chunk))
        count += xs[-1].size
        if count > MAX_NUMBERS:
            raise SpecError(f"{name}: has more than {MAX_NUMBERS:,} numbers")
    if not xs:
        raise SpecError(f"{name}: has no rows below the header")
    return Table(np.concatenate(xs), np.concatenate(ys), sides.features, sides.targets, sides.classes)
