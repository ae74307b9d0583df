"""How large the gradients of a run will be on the disk where each value is asked for, by arithmetic on the spec."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gdcli.errors import Problem, SpecError
from gdcli.spec import sizes
from gdcli.spec.load import Loaded
from gdcli.spec.models import match

MAX_ROW = 2**31 - 1
"""Bytes of a row in formats that are no text."""
MAX_BYTES = 10**9
"""Of values of a model for which `auto` would keep norms; more has to be asked for."""
TOLD = 10**8
"""Bytes from which on the size is told."""
TEXT = 22
"""Bytes of a number of float32 in a CSV as a rule: 17 digits, sign, point, exponent or zeros, comma."""


@dataclass(frozen=True, slots=True)
class RecordedValues:
    """The values of gradients that a run is to record."""

    loaded: Loaded
    scalars: int  # that are trained
    steps: int  # that are recorded

    @property
    def row(self) -> int:
        """About how many bytes a row has."""
        spec = self.loaded.spec
        item = 8 if spec.settings.dtype == "float64" else 4
        return self.scalars * (TEXT if spec.record.format == "csv" else item)

    @property
    def size(self) -> int:
        """About how many bytes the table will have."""
        return self.steps * self.row

    def __str__(self) -> str:
        """Say how large the table will be, and of what."""
        steps, form = f"{self.steps:,} step{'s' * (self.steps != 1)}", self.loaded.spec.record.format
        return f"{self.scalars:,} values in {steps} are about {sizes.gigabytes(self.size)} of gradients.{form}"

    def problem(self) -> Problem:
        """Return what is said where they are too large."""
        spec = self.loaded.spec
        smaller = " record.format=npy," if spec.record.format == "csv" else ""
        hint = f"record.gradients=norms,{smaller} or record.every make it less; {sizes.RAISE}"
        return spec.problem(("record", "gradients"), f"{self}, more than {sizes.gigabytes(MAX_BYTES)}", hint)


def values_of(loaded: Loaded) -> RecordedValues | None:
    """Return the values that a run records of a model that is not small.

    None where it records none, for models up to 1,000 scalars, and for torch's layers that have not been built.
    """
    spec, shapes = loaded.spec, loaded.shapes
    if spec.record.gradients != "values" or shapes is None:
        return None
    frozen = {name for pattern in spec.model.freeze for name in match(pattern, shapes)}
    scalars = sum(prod(shape) for name, shape in shapes.items() if name not in frozen)
    if scalars <= sizes.MAX_VALUES_AUTO:
        return None
    steps = max(1, spec.settings.epochs * spec.batch.steps(loaded.samples))
    if spec.stop.max_steps is not None:
        steps = min(steps, spec.stop.max_steps)
    return RecordedValues(loaded, scalars, -(-steps // spec.record.every))


def require_room(loaded: Loaded) -> RecordedValues | None:
    """Return the values that a run records.

    Raises SpecError for those that have to be asked for, and for rows that the format cannot hold.
    """
    found, form = values_of(loaded), loaded.spec.record.format
    if found is not None and form != "csv" and found.row > MAX_ROW:
        what = f"a row would have {sizes.gigabytes(found.row)}, more than gradients.{form} can hold"
        raise SpecError([loaded.spec.problem(("record", "format"), what, "record.gradients=norms makes it less")])
    if found is not None and loaded.bounded and found.size > MAX_BYTES:
        raise SpecError([found.problem()])
    return found
