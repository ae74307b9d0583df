"""What the functions for Python share: torch left as it was, tables of pandas, columns as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.context import Progress
from gdcli.errors import MachineError, SpecError, nearest
from gdcli.zoo.python_objects import PythonObjects

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gdcli.report.plots import Form


@contextmanager
def torch_as_it_was() -> Iterator[None]:
    """Give torch's number of threads and its global generator back as the caller had them.

    Gradients are computed meanwhile, inside of ``torch.no_grad()`` and ``torch.inference_mode()`` too.
    """
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


def shown(progress: bool) -> Progress | None:
    """Return the bar of a notebook, if it is wanted and this is one."""
    from gdcli.commands.api.notebook import bar, is_notebook

    return bar if progress and is_notebook() else None


def figure(draw: Callable[[Form], bytes], name: str) -> Figure:
    """Return the figure of a picture. Raises SpecError where there is nothing to draw."""
    from gdcli.report.plots import figure_of

    try:
        return figure_of(draw)
    except ValueError as error:
        raise SpecError(f"{name}: {error}") from None


def require_one_process(objects: PythonObjects, jobs: int) -> None:
    """Refuse objects of Python in other processes, which have specs alone."""
    if objects.names and jobs != 1:
        raise SpecError(f"jobs: {' and '.join(objects.names)} of Python stay in this process: jobs=1")


def pandas() -> Any:
    """Return the package. Raises MachineError without it."""
    try:
        import pandas as pd  # type: ignore[import-untyped]  # it ships no types
    except ModuleNotFoundError:
        raise MachineError("to_pandas needs pandas, which is not installed: pip install pandas") from None
    return pd


def column(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[Any]:
    """Return a column of rows [R]; of intervals their means. Raises KeyError, with the nearest name."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    if name not in names:
        raise KeyError(f"no column '{name}'. {nearest(name, names)}")
    found = [row.get(name) for row in rows]
    values = [each["mean"] if isinstance(each, Mapping) and "mean" in each else each for each in found]
    if all(each is None or (isinstance(each, int | float) and not isinstance(each, bool)) for each in values):
        return np.array([np.nan if each is None else each for each in values])
    return np.array(values, dtype=object)
