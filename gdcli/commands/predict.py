"""What a trained model says of a table: `gdcli predict`, as a CSV in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from gdcli.commands.context import Frontend
from gdcli.commands.encoding import ColumnEncoding
from gdcli.commands.trained import chunks_of, told_of, trained_record
from gdcli.errors import SpecError
from gdcli.records import Floats
from gdcli.spec.sections import RunSpec
from gdcli.storage.csv_writer import csv_rows
from gdcli.zoo.losses import SCORES, TARGETS


def predict(folder: Path, stream: IO[bytes], name: str, frontend: Frontend) -> Iterator[str]:
    """Yield a CSV of predictions, a row for each of the table, in pieces as its rows come.

    The table has the columns of the training data by name, in any order; others are passed over. Raises SpecError for a
    table, or a record, that cannot be used, DamagedError for a record whose files were changed.
    """
    record = trained_record(folder, frontend)
    import torch

    torch.set_num_threads(record.threads)
    model, encoding = record.model(frontend.warning), record.encoding
    form = PredictionForm.of(record.spec, encoding)
    header_is_told = False  # with the first rows: not before a table that is refused
    for chunk in chunks_of(record, stream, name, encoding.columns):
        with told_of(name):
            x = encoding.encode(chunk)
        output = model.predict(x)
        header = [] if header_is_told else [form.header(output.shape[1])]
        yield csv_rows([*header, *form.rows(output)])
        header_is_told = True
    if not header_is_told:
        yield csv_rows([form.header(encoding.count)])


@dataclass(frozen=True, slots=True)
class PredictionForm:
    """The columns of a prediction: classes with their probabilities, yes or no with its own, or numbers."""

    loss: str
    encoding: ColumnEncoding

    @classmethod
    def of(cls, spec: RunSpec, encoding: ColumnEncoding) -> PredictionForm:
        """Return the form of a model's predictions. Raises SpecError for an objective."""
        if spec.loss is None:
            raise SpecError(f"{spec.name}: an objective has no inputs to predict from")
        return cls(spec.loss.name, encoding)

    def header(self, outputs: int) -> list[str]:
        """Return the names of the columns, of a model of so many outputs."""
        if TARGETS.get(self.loss) == "classes":
            return ["prediction", *(f"p_{name}" for name in self._classes(outputs))]
        if self.loss in ("bce", "bce_with_logits"):
            named = self.encoding.fitted.classes
            return [*self._of_targets("prediction"), *([f"p_{named[1]}"] if named else self._of_targets("p"))]
        return self._of_targets("prediction")

    def _classes(self, outputs: int) -> list[str]:
        targets = self.encoding.targets  # of rows of probabilities: each a class
        return list(targets) if len(targets) == outputs > 1 else self.encoding.names(outputs)

    def _of_targets(self, word: str) -> list[str]:
        targets = self.encoding.targets
        return [word] if len(targets) == 1 else [f"{word}_{name}" for name in targets]

    def rows(self, output: Floats) -> list[list[Any]]:
        """Return a row of cells for each output [N, O]: softmax or sigmoid where the loss has it inside.

        Values are in the targets' own units.
        """
        shares = probabilities(self.loss, self.encoding.fitted.in_units(output))
        numbers: list[list[Any]] = shares.astype(np.float64).tolist()
        if TARGETS.get(self.loss) == "classes":
            chosen, names = output.argmax(axis=1).tolist(), self._classes(output.shape[1])
            return [[names[k], *row] for k, row in zip(chosen, numbers, strict=True)]
        if self.loss in ("bce", "bce_with_logits"):
            decided: list[list[Any]] = (output > (0.5 if self.loss == "bce" else 0)).astype(np.int64).tolist()
            if named := self.encoding.fitted.classes:
                decided = [[named[k] for k in row] for row in decided]
            return [[*yes, *row] for yes, row in zip(decided, numbers, strict=True)]
        return numbers


def probabilities(loss: str, output: Floats) -> Floats:
    """Return the probabilities that outputs [N, O] stand for under a loss of probabilities; others as they are.

    cross_entropy and a plugin's loss of classes: softmax(o); nll, kl_div: exp(o); bce_with_logits: 1 / (1 + exp(−o)).
    """
    import torch

    o = torch.from_numpy(output)
    if loss in SCORES:
        return torch.softmax(o, 1).numpy()
    if loss in ("nll", "kl_div"):
        return torch.exp(o).numpy()
    return torch.sigmoid(o).numpy() if loss == "bce_with_logits" else output
