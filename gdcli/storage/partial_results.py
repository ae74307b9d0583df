"""Results of runs that have ended, stored as files until all runs of a sweep or a comparison have.

Each file holds the results of one shard and is written by the process that ran it. A file that cannot be read back
whole does not count, so that nothing needs to be brought to the disk; no two processes write one file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import DamagedError
from gdcli.records import Parameter, Result
from gdcli.storage import files
from gdcli.storage.arrays import seal, unseal

LARGEST = 2**30  # bytes of a file that is read; the runs of a larger one are run again
_PLAIN = {"status": str, "message": str, "steps": int, "epochs": int, "to_target": int | None, "kernel": str}


def write(folder: Path, found: Sequence[Result]) -> None:
    """Store results under a name of their own; the folder is made."""
    arrays: dict[str, NDArray[Any]] = {}
    rows = [_row(result, arrays) for result in found]
    path = folder / f"{found[0].number:08d}-{os.urandom(4).hex()}"
    files.make_below(folder.parent)
    files.make_below(folder)
    with files.naming(path):
        files.write(path, seal({"results": rows}, arrays), sync=False)


def read(folder: Path) -> dict[int, Result]:
    """Return the results that are stored, by number, without label and values.

    A file that is not whole counts as none.
    """
    found: dict[int, Result] = {}
    if not folder.is_dir() or folder.is_symlink() or folder.parent.is_symlink():
        return found
    for path in sorted(folder.glob("[0-9]*")):
        with contextlib.suppress(DamagedError, FileNotFoundError, AttributeError, KeyError, TypeError, ValueError):
            data, arrays = unseal(files.read(path, LARGEST))
            results = [_result(row, arrays) for row in data["results"]]
            found |= {result.number: result for result in results}
    return found


def _row(result: Result, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    number = result.number
    for name in ("losses", "path"):
        if getattr(result, name) is not None:
            arrays[f"{number}.{name}"] = getattr(result, name)
    for parameter in result.parameters or ():
        arrays[f"{number}.parameter.{parameter.name}"] = parameter.values
    return {
        "number": number,
        **{name: getattr(result, name) for name in _PLAIN},
        "loss": _exact(result.loss),
        "best_loss": _exact(result.best_loss),
        "metrics": {name: _exact(value) for name, value in result.metrics.items()},
        "hashes": result.hashes and list(result.hashes),
        "parameters": None if result.parameters is None else [[p.name, p.trained] for p in result.parameters],
    }


def _result(row: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Result:
    number, names = int(row["number"]), row["parameters"]
    if not all(isinstance(row[name], kind) for name, kind in _PLAIN.items()):
        raise TypeError
    parameters = None
    if names is not None:
        parameters = tuple(Parameter(name, arrays[f"{number}.parameter.{name}"], trained) for name, trained in names)
    losses, path = (arrays.get(f"{number}.{name}") for name in ("losses", "path"))
    return Result(
        number,
        label="",
        values=(),
        **{name: row[name] for name in _PLAIN},
        loss=float(row["loss"]),
        best_loss=float(row["best_loss"]),
        metrics={name: int(value) if value.isdecimal() else float(value) for name, value in row["metrics"].items()},
        hashes=tuple(row["hashes"]) if row["hashes"] else None,
        parameters=parameters,
        losses=None if losses is None else np.asarray(losses, np.float64),
        path=None if path is None else np.asarray(path, np.float64),
    )


def _exact(value: float) -> str:
    """Return a number as text that reads back to the same bits, NaN and infinity too, which JSON has no words for."""
    return str(value) if type(value) is int else repr(float(value))
