"""The rows of a spec as its model takes them, each part by itself, and together again for checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from gdcli.spec.data_sections import HeldOutFile
from gdcli.spec.signature import Path as KeyPath
from gdcli.zoo.columns import Rows
from gdcli.zoo.preprocessing import Preprocessing
from gdcli.zoo.table import Table

PARTS = ("training", "validation", "test")

Note = tuple[KeyPath, str]
"""What should be known of the data, and of which key."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedRows:
    """The rows of a spec as its model takes them, and what was learned of the training rows."""

    training: Table
    validation: Table | None
    test: Table | None
    preprocessing: Preprocessing
    notes: tuple[Note, ...] = ()
    files: Mapping[str, HeldOutFile] = field(default_factory=dict)  # by key, where they are and their digests
    places: Mapping[str, Rows | None] = field(default_factory=dict)  # in the source, of each part that was drawn

    def sources(self, *, whole_rows: bool) -> list[Table]:
        """Return the table that the rows are from, in its order, and those of other files: for checks, and messages.

        Of one that was split the targets alone are put together again, unless ``whole_rows``.
        """
        if self.places.get("training") is None:
            return [table for table in (self.training, self.validation, self.test) if table is not None]
        drawn = [(table, at) for name, at in self.places.items() if (table := getattr(self, name)) and at is not None]
        others = [each for name in PARTS if (each := getattr(self, name)) and self.places.get(name) is None]
        n, first = sum(len(table.y) for table, _ in drawn), self.training
        y = np.empty((n, *first.y.shape[1:]), first.y.dtype)
        x = np.empty((n, *first.x.shape[1:])) if whole_rows else first.x
        for table, at in drawn:
            y[at] = table.y
            if whole_rows:
                x[at] = table.x
        return [replace(first, x=x, y=y), *others]
