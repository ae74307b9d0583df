"""What is told of a record's size before it is written."""

from __future__ import annotations

from collections.abc import Sequence

from gdcli.commands.context import Context
from gdcli.errors import GdcliError
from gdcli.spec import recorded_size
from gdcli.spec.load import Loaded


def tell_size(loaded: Loaded, context: Context) -> None:
    """Tell how large the gradients of a run will be, where there will be a record.

    Raises SpecError for values that have to be asked for.
    """
    values = recorded_size.require_room(loaded) if context.keeps else None
    if values is not None and values.size >= recorded_size.TOLD and context.again is None:
        context.frontend.note(str(values))


def tell_size_of_many(runs: Sequence[Loaded], total: int, context: Context) -> None:
    """Tell the same of runs, of which one may stand for all of the total.

    Raises SpecError for a run's values that have to be asked for.
    """
    found = [values for each in runs if (values := recorded_size.require_room(_with_shapes(each))) is not None]
    each_of, largest = total // max(1, len(runs)), max(found, key=lambda values: values.size, default=None)
    if largest is None or context.again is not None:
        return
    if each_of * sum(values.size for values in found) < recorded_size.TOLD:
        return
    alike = len(found) == len(runs) and len({str(values) for values in found}) == 1
    which = f"of each of {total:,} runs" if alike else f"the most of {each_of * len(found):,} of {total:,} runs"
    context.frontend.note(f"{largest}, {which}" if total > 1 else str(largest))


def _with_shapes(loaded: Loaded) -> Loaded:
    """Return a spec whose torch layers are known where they count; one that cannot be built fails in its turn."""
    if loaded.spec.record.gradients != "values" or loaded.shapes is not None:
        return loaded
    from gdcli.engine.start_values import with_layers

    try:
        return with_layers(loaded)
    except GdcliError:
        return loaded
