"""What a trained model says of a table: `gdcli predict`, as a CSV in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

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
    not_finite = 0
    header_is_told = False  # with the first rows: not before a table that is refused
    for chunk in chunks_of(record, stream, name, encoding.columns):
        with told_of(name):
            x = encoding.encode(chunk)
        output = model.predict(x)
        not_finite += int((~_is_finite(output)).sum())
        header = [] if header_is_told else [form.header(output.shape[1])]
        yield csv_rows([*header, *form.rows(output)])
        header_is_told = True
    if not header_is_told:
        yield csv_rows([form.header(encoding.count)])
    if not_finite:
        frontend.warning(f"{name}: the outputs of {not_finite:,} row{'s' * (not_finite != 1)} are not finite")


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

        Values are in the targets' own units. A row whose outputs are not finite has no class: the cell is empty.
        """
        decided: list[list[Any]]
        shares = probabilities(self.loss, self.encoding.fitted.in_units(output))
        numbers: list[list[Any]] = shares.astype(np.float64).tolist()
        if TARGETS.get(self.loss) == "classes":
            chosen, names = output.argmax(axis=1).tolist(), self._classes(output.shape[1])
            decided = [[names[k]] for k in chosen]
            return [[*yes, *row] for yes, row in zip(_or_none(decided, output), numbers, strict=True)]
        if self.loss in ("bce", "bce_with_logits"):
            decided = (output > (0.5 if self.loss == "bce" else 0)).astype(np.int64).tolist()
            if named := self.encoding.fitted.classes:
                decided = [[named[k] for k in row] for row in decided]
            return [[*yes, *row] for yes, row in zip(_or_none(decided, output), numbers, strict=True)]
        return numbers


def _or_none(decided: list[list[Any]], output: Floats) -> list[list[Any]]:
    """Return what is decided of each row, empty cells where an output [N, O] of the row is not finite."""
    return [
        row if finite else [""] * len(row) for row, finite in zip(decided, _is_finite(output).tolist(), strict=True)
    ]


def _is_finite(output: Floats) -> NDArray[np.bool_]:
    """Say of each row [N] of outputs [N, O] whether all are finite."""
    return np.asarray(np.isfinite(output).all(axis=1))


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
