"""The checkpoints of a run on several processes: rank 0 has the files, the others have their part in the state."""

from __future__ import annotations

from collections.abc import Callable

from gdcli.engine.process_group import ProcessGroup
from gdcli.records import State
from gdcli.storage.arrays import seal, unseal
from gdcli.storage.checkpoints import Checkpoints, Logs


class SharedCheckpoints:
    """Checkpoints as every process of a group has them; all call the same methods in the same order."""

    def __init__(self, own: Checkpoints | None, group: ProcessGroup) -> None:
        """``own`` are those of rank 0, where the run has a record; the others have none."""
        self._own, self._group = own, group

    def due(self) -> bool:
        """Say whether one is due, by the clock of rank 0."""
        return self._group.agreed(self._own is not None and self._own.due())

    def write(self, state: State, logs: Logs) -> None:
        """Write one, which holds the generators of all processes."""
        if self._own is not None:
            self._own.write(state, logs)

    def latest(
        self, at_most: int, fits: Callable[[State], None], refused: Callable[[str], None]
    ) -> tuple[State, Logs] | None:
        """Return what rank 0 resumes from, to all; the others have no logs."""
        found = None if self._own is None else self._own.latest(at_most, fits, refused)
        content = self._group.from_first(b"" if found is None else seal(found[0].numbers, found[0].arrays))
        if found is not None or not content:
            return found
        numbers, arrays = unseal(content)
        return State(numbers["steps"], numbers, arrays), {}

    def remove(self) -> None:
        """Remove all."""
        if self._own is not None:
            self._own.remove()
