"""The models of all runs of a sweep or a comparison in one file: ``RUN/PARAMETER``, in the order of the runs."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from gdcli.records import Result
from gdcli.storage import files, models
from gdcli.zoo.weight_files import Wanted


class AllModels:
    """Models as they come, in a file without a name; in the end those of all runs in order, in ``models.safetensors``.

    Memory holds no more than a run's. A process that dies leaves nothing: results that have ended are stored with their
    models, and bring them again.
    """

    def __init__(self, folder: Path, *, keep: bool) -> None:
        """With ``keep`` the results have their parameters still."""
        self._path, self._keep = folder / models.ALL, keep
        self._places: dict[int, tuple[int, int, Wanted]] = {}  # start, bytes and tensors of each run, by number
        self._end = 0
        with files.naming(self._path):
            self._waiting: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__

    def __enter__(self) -> AllModels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.close()

    def taken(self, result: Result) -> Result:
        """Take a result's model, and return the result."""
        if result.parameters is not None:
            tensors = {each.name: (each.values.dtype, each.values.shape) for each in result.parameters}
            content = b"".join(np.ascontiguousarray(each.values).tobytes() for each in result.parameters)
            with files.naming(self._path):
                self._waiting.seek(self._end)
                self._waiting.write(content)
            self._places[result.number] = self._end, len(content), tensors
            self._end += len(content)
        return result if self._keep else replace(result, parameters=None)

    def write(self) -> None:
        """Write them, whole or not at all. Raises MachineError for what the file system refuses."""
        ordered = sorted(self._places.items())
        named = {f"{run}/{name}": each for run, (_, _, tensors) in ordered for name, each in tensors.items()}

        def content(stream: IO[bytes]) -> None:
            stream.write(models.header_bytes(named))
            for _, (start, length, _) in ordered:
                self._waiting.seek(start)
                stream.write(self._waiting.read(length))

        files.replace(self._path, content)
