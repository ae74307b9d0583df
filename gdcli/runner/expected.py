"""The numbers of a run's end that its spec expects, as they were found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gdcli.records import Outcome
from gdcli.spec.expectations import Expectation, ExpectedNumber, entry_of


def numbers_expected(expect: Mapping[str, Expectation], outcome: Outcome) -> tuple[ExpectedNumber, ...]:
    """Return each number that is expected with the one found; of a run that goes on later, or failed, none."""
    if outcome.status in ("interrupted", "failed"):
        return ()
    return tuple(ExpectedNumber(name, each, _found(name, outcome)) for name, each in expect.items())


def _found(name: str, outcome: Outcome) -> float | None:
    """Return a number of a run's end: of summary.json, or the scalar of a parameter in float64."""
    numbers: dict[str, float | None] = {
        "final_loss": outcome.loss, "best_loss": outcome.best_loss, "last_loss": outcome.last_loss,
        "steps": outcome.steps, "epochs": outcome.epochs, **outcome.metrics,
    }  # fmt: skip
    if name in numbers:
        return numbers[name]
    parameter, index = entry_of(name)
    values = next((each.values for each in outcome.parameters if each.name == parameter), None)
    return None if values is None else float(np.asarray(values[index], np.float64))
