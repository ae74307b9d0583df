"""What is told of a record's size before it is written."""

from __future__ import annotations

from gdcli.commands.context import Context
from gdcli.spec import recorded_size
from gdcli.spec.load import Loaded


def tell_size(loaded: Loaded, context: Context, runs: int = 1) -> None:
    """Tell how large the gradients of so many runs will be, where there will be a record.

    Raises SpecError for values that have to be asked for.
    """
    values = recorded_size.require_room(loaded) if context.keeps else None
    if values is not None and values.size * runs >= recorded_size.TOLD and context.again is None:
        context.frontend.note(f"{values}, of each of {runs:,} runs" if runs > 1 else str(values))
