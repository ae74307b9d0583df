"""Objects of a Python program in place of names of the zoo: a module of torch, a loss, arrays of data.

They stand in the tables under fixed names while a program's call is carried out, and never for a spec of a file: no
YAML can name them. Data are arrays or tensors, or the columns of a pandas DataFrame, which need not be installed.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import SpecError, nearest, visible
from gdcli.zoo import own_forms
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES, SCORES, TARGETS, Loss
from gdcli.zoo.metrics import ACCURACY, by_class
from gdcli.zoo.models import MODELS, Sizes, Stack
from gdcli.zoo.origins import Origin, note_place
from gdcli.zoo.table import MAX_INDEX, Table, numbered

PACKAGE = str(Path(__file__).parents[1])


@dataclass(frozen=True, slots=True, eq=False)
class PythonObjects:
    """What a call was given in place of the spec's model, loss and data; None where the spec's own stands."""

    model: Any = None  # a torch.nn.Module, or a function without arguments that makes one
    loss: Callable[..., Any] | None = None  # of output and target
    table: Table | None = None
    shape: tuple[int, ...] = ()  # of a row of data, where it has more than one axis
    in_place_of_classes: bool = False  # whether the spec's loss, which this one replaces, takes classes

    @property
    def names(self) -> tuple[str, ...]:
        """Which of the three there are."""
        given = {"model": self.model, "loss": self.loss, "data": self.table}
        return tuple(name for name, each in given.items() if each is not None)

    def of_classes(self) -> bool:
        """Say whether the loss takes the index of each row's class: torch's own say it, else the data or the spec."""
        name = _name_of(self.loss)
        if name in _OF_CLASSES or name in _OF_VALUES:
            return name in _OF_CLASSES
        return self.in_place_of_classes if self.table is None else self.table.y.ndim == 1

    @contextmanager
    def in_tables(self) -> Iterator[None]:
        """Put the objects into the tables of the zoo meanwhile; other threads that want to do so wait."""
        if not self.names:
            yield
            return
        with _LOCK:
            _HELD.append(self)
            _place(self)
            try:
                yield
            finally:
                _HELD.pop()
                _place(_HELD[-1] if _HELD else PythonObjects())


_OF_CLASSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "cross_entropy", "nll_loss", "multi_margin_loss")
_OF_VALUES = (
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss", "KLDivLoss", "PoissonNLLLoss",
    "SoftMarginLoss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss", "soft_margin_loss",
)  # fmt: skip
_LOCK = RLock()
_HELD: list[PythonObjects] = []
"""The objects of the calls that are being carried out, one inside the other: the last one's are in the tables."""


def _place(objects: PythonObjects) -> None:
    tables: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
        "model": (MODELS, python_model), "loss": (LOSSES, python_loss), "data": (GENERATORS, python_data),
    }  # fmt: skip
    for kind, (table, entry) in tables.items():
        table.pop(entry.__name__, None)
        if kind in objects.names:
            table[entry.__name__] = entry
    name = python_loss.__name__
    TARGETS.pop(name, None)
    ACCURACY.pop(name, None)
    SCORES.discard(name)
    if objects.loss is not None and objects.of_classes():
        TARGETS[name], ACCURACY[name] = "classes", by_class
        if _name_of(objects.loss) not in ("nll_loss", "NLLLoss"):
            SCORES.add(name)


# --- what the tables have ---------------------------------------------------------------------------------------------


def python_model(data: Sizes) -> Stack:
    """A module of torch from a Python program, each time a copy of it as it was given, in the run's dtype."""
    given, origin = _HELD[-1].model, _origin_of(_HELD[-1].model)

    def make(inputs: int, outputs: int) -> Any:
        import torch

        if isinstance(given, torch.nn.Module):
            return copy.deepcopy(given).to("cpu", torch.get_default_dtype()).train()
        found = given()
        if not isinstance(found, torch.nn.Module):
            return found
        return copy.deepcopy(found).to(torch.get_default_dtype())  # it may be one that the caller keeps

    found = own_forms.module(make, origin, data, {})
    assert found.own is not None
    return replace(found, own=replace(found.own, hint="Integers in y are classes, and numbers are given as floats"))


def python_loss() -> Loss:
    """A loss from a Python program: a function of output and target, or a module of torch, that gives one number."""
    given = _HELD[-1].loss
    assert given is not None
    reduction: own_forms.Reduction = "sum" if getattr(given, "reduction", "mean") == "sum" else "mean"
    return own_forms.loss(given, _origin_of(given), reduction, {})


def python_data(rng: Any, noise_rng: Any) -> Table:
    """Rows from a Python program."""
    found = _HELD[-1].table
    assert found is not None
    return found


python_loss.trains_alone = True  # type: ignore[attr-defined]  # as the losses of plugins
python_data.origin = Origin("data", "<Python>", 1, "")  # type: ignore[attr-defined]  # it has no n to count rows by


def _name_of(given: Any) -> str:
    """Return the name of a function, also of one with arguments bound, or of an object's class."""
    while isinstance(given, functools.partial):
        given = given.func
    return str(getattr(given, "__name__", type(given).__name__))


def _origin_of(given: Any) -> Origin:
    """Return where an object is from, for messages: the line of its code, or that of the call for one of torch's."""
    code = inspect.unwrap(given) if inspect.isfunction(given) else type(given)
    name = _name_of(given)
    try:
        if str(code.__module__).partition(".")[0] not in ("torch", "builtins", "functools"):
            file = inspect.getsourcefile(code) or inspect.getfile(code)
            note_place(file)
            return Origin(name, file, code.__code__.co_firstlineno if inspect.isfunction(code) else 1, code.__module__)
    except (TypeError, OSError):  # typed at a prompt
        pass
    frame = sys._getframe()
    while frame.f_back is not None and ("<" in frame.f_code.co_filename or is_ours(frame.f_code.co_filename)):
        frame = frame.f_back
    return Origin(name, frame.f_code.co_filename, frame.f_lineno, str(frame.f_globals.get("__name__", "")))


def is_ours(file: str) -> bool:
    """Say whether a file of code is this package's, or one that calls it for it."""
    return file.startswith(PACKAGE) or file == contextmanager.__code__.co_filename


# --- what is given ----------------------------------------------------------------------------------------------------


def taken(model: Any, loss: Any, data: Any, replaced_loss: str = "") -> PythonObjects:
    """Return the objects of a call, whose loss replaces that of the spec. Raises SpecError for what can be none."""
    if model is not None:
        _require_model(model)
    if loss is not None and not callable(loss):
        raise SpecError(f"loss takes a name, or a function of output and target (got {type(loss).__name__})")
    if isinstance(loss, type):
        raise SpecError(
            f"loss takes a function of output and target, and {loss.__name__} is a class: {loss.__name__}()"
        )
    table, shape = (None, ()) if data is None else _table_of(data)
    return PythonObjects(model, loss, table, shape, TARGETS.get(replaced_loss) == "classes")


def _require_model(model: Any) -> None:
    import torch

    if isinstance(model, torch.nn.Module):
        return
    if not callable(model):
        raise SpecError(f"model takes a name, or a torch.nn.Module (got {type(model).__name__})")
    try:
        inspect.signature(model).bind()
    except (TypeError, ValueError):
        raise SpecError("model takes a torch.nn.Module, or a function without arguments that makes one") from None


def _table_of(data: Any) -> tuple[Table, tuple[int, ...]]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        hint = "(frame, 'price') takes a column of the frame as the target" if hasattr(data, "columns") else "(x, y)"
        raise SpecError(f"data takes two arrays, (x, y), or a DataFrame and its target: {hint}")
    x, y = data
    if isinstance(y, str):
        if not hasattr(x, "columns"):
            raise SpecError(f"data: a column can be named of a DataFrame (got {type(x).__name__})")
        if y not in list(x.columns):
            raise SpecError(f"data: no column {visible(repr(y))}. {nearest(y, map(str, x.columns))}")
        x, y = x.drop(columns=[y]), x[y]
    rows, names = _numbers("x", x), _column_names(x)
    target, of_target = (
        np.asarray(as_numpy_takes(y)),
        _column_names(y) or ([str(n)] if (n := getattr(y, "name", None)) else []),
    )
    if target.ndim and len(target) != len(rows):
        raise SpecError(f"data: x has {len(rows):,} rows and y has {len(target):,}")
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1))
    features = tuple(names) if names else numbered("x", flat.shape[1])
    return _with_targets(flat, features, y, target, of_target), rows.shape[1:] if rows.ndim > 2 else ()


def _with_targets(
    x: NDArray[np.float64], features: tuple[str, ...], y: Any, target: NDArray[Any], names: Sequence[str]
) -> Table:
    """Return the rows with their targets: integers, truths and texts [n] are classes, texts by their sorted names."""
    if target.ndim == 1 and target.dtype.kind in "OUTS":
        words = [*map(str, target)] if all(isinstance(each, str) for each in target) else None
        if words is None:
            raise SpecError("data: y is neither numbers nor texts, or some are missing")
        found, index = np.unique(words, return_inverse=True)
        texts = tuple(map(str, found))
        return Table(x, index.astype(np.int64), features, tuple(names) or ("y",), len(texts), class_names=texts)
    if (
        target.ndim == 1
        and target.dtype.kind in "biu"
        and len(target)
        and 0 <= target.min() <= target.max() < MAX_INDEX
    ):
        return Table(x, target.astype(np.int64), features, tuple(names) or ("y",), int(target.max()) + 1)
    numbers = _numbers("y", y)
    columns = numbers.reshape(len(numbers), -1)
    return Table(x, columns, features, tuple(names) or numbered("y", columns.shape[1]))


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    """Return an array [n, ...] in float64. Raises SpecError, with the column of a DataFrame."""
    if hasattr(values, "dtypes") and hasattr(values, "columns"):
        if not values.columns.is_unique:
            raise SpecError(f"data: two columns of {name} have one name")
        for column in values.columns:
            if values[column].dtype.kind not in "biuf":
                hint = "Only a data.file of the spec can have text as a feature"
                raise SpecError(f"data: the column {visible(repr(column))} of {name} is no column of numbers. {hint}")
            if (missing := int(values[column].isna().sum())) > 0:
                raise SpecError(f"data: the column {visible(repr(column))} of {name} has {missing:,} missing cells")
    try:
        given = np.asarray(as_numpy_takes(values))
        if given.dtype.kind == "c":
            raise TypeError
        found = given.astype(np.float64)  # a copy: the caller's may change after the run
    except (TypeError, ValueError):
        raise SpecError(f"data: {name} is no array of numbers") from None
    if found.ndim == 0 or not found.size:
        raise SpecError(f"data: {name} is no array of rows (its shape is {list(found.shape)})")
    return found[:, None] if found.ndim == 1 else found


def as_numpy_takes(values: Any) -> Any:
    """Return a tensor of torch without gradient, on the CPU, in a type of numpy; others as they are."""
    if not callable(getattr(values, "detach", None)):
        return values
    found = values.detach().cpu()
    return found.double() if found.is_floating_point() else found  # numpy has no bfloat16


def _column_names(values: Any) -> list[str]:
    return [str(name) for name in values.columns] if hasattr(values, "columns") else []
