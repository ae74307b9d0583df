"""What a trained model says of a table: `gdcli predict`, as a CSV in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from gdcli.commands.context import Frontend
from gdcli.commands.encoding import ColumnEncoding
from gdcli.commands.trained import TrainedRecord, told_at, trained_record
from gdcli.errors import SpecError
from gdcli.records import Floats
from gdcli.spec.sections import RunSpec
from gdcli.storage.csv_writer import csv_rows
from gdcli.storage.table_stream import chunks


def predict(folder: Path, stream: IO[bytes], name: str, frontend: Frontend) -> Iterator[str]:
    """Yield a CSV of predictions, a row for each of the table, in pieces as its rows come.

    The table has the columns of the training data by name, in any order; others are passed over. Raises SpecError for a
    table, or a record, that cannot be used, DamagedError for a record whose files were changed.
    """
    record = trained_record(folder, frontend)
    import torch

    from gdcli.engine.prediction import CHUNK

    torch.set_num_threads(record.threads)
    model, encoding = record.model(frontend.warning), record.encoding
    form = PredictionForm.of(record.spec, encoding)
    header = csv_rows([form.header()])  # comes with the first rows: not before a table that is refused
    for chunk in chunks(stream, name, encoding.columns, CHUNK, header=has_header(record)):
        with told_at(name, chunk.lines):
            x = encoding.encode(chunk.cells)
        yield header + csv_rows(form.rows(model.predict(x)))
        header = ""
    if header:
        yield header


def has_header(record: TrainedRecord) -> bool:
    """Say whether tables like the training data name their columns in the first line."""
    data = record.spec.data
    return data is None or data.arguments.get("header") is not False


@dataclass(frozen=True, slots=True)
class PredictionForm:
    """The columns of a prediction: classes with their probabilities, yes or no with its own, or numbers."""

    loss: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]

    @classmethod
    def of(cls, spec: RunSpec, encoding: ColumnEncoding) -> PredictionForm:
        """Return the form of a model's predictions. Raises SpecError for an objective."""
        if spec.loss is None:
            raise SpecError(f"{spec.name}: an objective has no inputs to predict from")
        return cls(spec.loss.name, encoding.classes, encoding.targets)

    def header(self) -> list[str]:
        """Return the names of the columns."""
        if self.loss in ("cross_entropy", "nll"):
            return ["prediction", *(f"p_{name}" for name in self.classes)]
        if self.loss in ("bce", "bce_with_logits"):
            return [*self._of_targets("prediction"), *self._of_targets("p")]
        return self._of_targets("prediction")

    def _of_targets(self, word: str) -> list[str]:
        return [word] if len(self.targets) == 1 else [f"{word}_{name}" for name in self.targets]

    def rows(self, output: Floats) -> list[list[Any]]:
        """Return a row of cells for each output [N, O]: softmax or sigmoid where the loss has it inside."""
        shares = probabilities(self.loss, output)
        numbers: list[list[Any]] = shares.astype(np.float64).tolist()
        if self.loss in ("cross_entropy", "nll"):
            chosen = output.argmax(axis=1).tolist()
            return [[self.classes[k], *row] for k, row in zip(chosen, numbers, strict=True)]
        if self.loss in ("bce", "bce_with_logits"):
            decided = (output > (0.5 if self.loss == "bce" else 0)).astype(np.int64).tolist()
            return [[*yes, *row] for yes, row in zip(decided, numbers, strict=True)]
        return numbers


def probabilities(loss: str, output: Floats) -> Floats:
    """Return the probabilities that outputs [N, O] stand for under a loss of probabilities; others as they are.

    cross_entropy: softmax(o); nll and kl_div: exp(o); bce_with_logits: 1 / (1 + exp(−o)); bce: o.
    """
    import torch

    o = torch.from_numpy(output)
    if loss == "cross_entropy":
        return torch.softmax(o, 1).numpy()
    if loss in ("nll", "kl_div"):
        return torch.exp(o).numpy()
    return torch.sigmoid(o).numpy() if loss == "bce_with_logits" else output
