"""A run that raises in the middle: told by its layer, or by the line of a plugin, and written into its record."""

from __future__ import annotations

from traceback import walk_tb

from gdcli.engine.layers import first_line
from gdcli.engine.loop import Loop
from gdcli.errors import GdcliError, NoMemoryError, PluginError, RunError, lacks_memory
from gdcli.storage import files
from gdcli.storage.run_folder import RecordFolder
from gdcli.zoo.origins import blamed

REFUSALS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError)
"""What torch's layers raise for a step that they refuse."""


def failure_of(error: BaseException, loop: Loop) -> RunError | NoMemoryError | None:
    """Return what a plugin raised, torch's own layers refuse or the machine has no memory for, with the step.

    None for every other exception.
    """
    if isinstance(error, KeyboardInterrupt):
        return None
    if lacks_memory(error):
        return NoMemoryError(f"there is not enough memory for step {loop.t}")
    of_plugin = error if isinstance(error, PluginError) else blamed(error)
    if of_plugin is not None:
        return PluginError(f"{of_plugin}, at step {loop.t}")
    module = loop.problem.module
    if isinstance(error, GdcliError) or module is None or not isinstance(error, REFUSALS):
        return None
    layers = {id(part): name for name, part in module.named_children()}
    frames = (frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__))
    name = next((layers[id(owner)] for owner in frames if id(owner) in layers), "")
    where = f"layer {name} at step {loop.t}" if name else f"step {loop.t}"
    return RunError(
        f"torch refused {where}: {first_line(error)}. 'gdcli validate' tries the layers on rows of the data"
    )


def written(error: RunError | NoMemoryError, record: RecordFolder | None) -> RunError | NoMemoryError:
    """Write into a run's record, if it has one, that it failed, and return the error with the record's path."""
    if record is None:
        return error
    files.replace(record.folder / "summary.json", files.json_text({"status": "failed", "message": str(error)}))
    return type(error)(f"{error}. The record is {record.folder}")
