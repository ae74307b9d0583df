"""What callers from Python give, as the words of the command line; SpecError for what is none of them."""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdcli.commands.context import Context, ExecutionOptions, Frontend, Progress
from gdcli.errors import SpecError
from gdcli.spec import document, grids
from gdcli.spec.bundled import Source, find
from gdcli.spec.extends import merged
from gdcli.spec.scalars import shown
from gdcli.spec.writing import write
from gdcli.storage.request import Made, checked
from gdcli.zoo import plugins, python_objects
from gdcli.zoo.plugins import Plugin
from gdcli.zoo.python_objects import PythonObjects, as_numpy_takes, is_ours, python_data, python_loss, python_model

Spec = str | os.PathLike[str] | Mapping[str, Any]
"""A bundled name, the path of a YAML file, or a spec as a dict."""

Plugins = Sequence[str | os.PathLike[str]] | str | os.PathLike[str]
"""Files and packages, as --plugin takes them."""

Loss = str | Mapping[str, Any] | Callable[..., Any]
"""A loss's name and keys, or a function of output and target."""

Model = Loss
"""A model's name and keys, or a module of torch, or a function that makes one."""

Data = Mapping[str, Any] | tuple[Any, Any]
"""The keys of the section, or arrays (x, y), or a DataFrame with its target."""

MOST_JOBS = 1024
MOST_NESTED = 100  # collections: more than a spec has


def source(spec: Spec) -> Source:
    """Return where a spec is from; a dict is written as YAML."""
    if not isinstance(spec, Mapping):
        return merged(find(path("spec", spec)))
    try:
        text = write(plain(spec))
    except ValueError as error:  # a number that is not finite
        raise SpecError(f"the spec: {error}") from None
    return merged(Source(Path("experiment"), "<dict>", text.encode()))


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value as YAML has it: arrays and tensors, their numbers, and tuples, as numbers and lists."""
    if depth > MOST_NESTED:
        raise SpecError(f"lists and dicts are nested deeper than {MOST_NESTED} levels")
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if callable(listed := getattr(value, "tolist", None)):  # of numpy, torch and pandas
        return plain(listed(), depth + 1)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [plain(item, depth + 1) for item in value]
    raise SpecError(f"a spec holds numbers, texts, lists and dicts (got {type(value).__name__})")


def overrides(given: Mapping[str, Any] | None, keys: Mapping[str, Any]) -> tuple[str, ...]:
    """Return KEY=VALUE of each value."""
    if given is not None and not isinstance(given, Mapping):
        raise SpecError(f"overrides are a dict of keys and values (got {type(given).__name__})")
    return tuple(f"{key}={_text(plain(value))}" for key, value in {**(given or {}), **keys}.items())


def _text(value: Any) -> str:
    """Return plain data as an override on the command line has it."""
    if isinstance(value, float):
        return repr(value).replace("inf", ".inf").replace("nan", ".nan")
    return json.dumps(value, ensure_ascii=False)


def objects(source: Source, model: Any, loss: Any, data: Any) -> tuple[PythonObjects, dict[str, Any]]:
    """Return what is given in place of the spec's model, loss and data, and the overrides that put it there.

    Names and dicts are overrides as they are: the spec's own kind of model, loss and data. Given rows replace where the
    spec's come from; what it does with rows of any source, as ``validation``, stays.
    """
    given = {"model": model, "loss": loss, "data": data}
    plain_ones = {key: each for key, each in given.items() if isinstance(each, str | Mapping)}
    own = {key: None if key in plain_ones else each for key, each in given.items()}
    written = _written(source) if callable(own["loss"]) or own["data"] is not None else {}
    found = python_objects.taken(**own, replaced_loss=_name(written.get("loss")) if callable(own["loss"]) else "")
    names = {"model": python_model.__name__, "loss": python_loss.__name__}
    words: dict[str, Any] = {key: names[key] for key in found.names if key in names}
    if found.table is not None:
        words["data"] = _of_any_source(written.get("data")) | {"generate": {"kind": python_data.__name__}}
        words["data"] |= {"shape": list(found.shape)} if found.shape else {}
    return found, {**words, **plain_ones}


def _written(source: Source) -> dict[str, Any]:
    """Return a spec's keys and values; none where it is no spec, which is told when it is read."""
    try:
        found = document.read(source.text, source.shown).plain()
    except SpecError:
        return {}
    return found if isinstance(found, dict) else {}


def _name(section: Any) -> str:
    """Return the name that a section of a spec is, or has."""
    return str(section.get("name") if isinstance(section, dict) else section)


def _of_any_source(data: Any) -> dict[str, Any]:
    """Return the keys of a spec's data that are for every source; the shape of a row is that of the rows given."""
    from gdcli.spec.data_sections import DataCommon

    keys = DataCommon.model_fields.keys() - {"shape"}
    return {key: value for key, value in data.items() if key in keys} if isinstance(data, dict) else {}


def params(axes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return NAME=GRID of each axis.

    >>> params({"lr": [0.1, 1], "optimizer": "sgd,adam", "description": ["a,b", "1", None]})
    ('lr=0.1,1', 'optimizer=sgd,adam', 'description="a,b","1",null')
    """
    if not isinstance(axes, Mapping):
        raise SpecError(f"axes are a dict of names and values (got {type(axes).__name__})")
    return tuple(f"{name}={_grid(str(name), values)}" for name, values in axes.items())


def _grid(name: str, values: Any) -> str:
    if isinstance(values, str):
        return values
    found = grids.from_spec(plain(values)).values() if isinstance(values, Mapping) else plain(values)
    if not isinstance(found, list):
        raise SpecError(f"{shown(name)}: an axis takes a list of values, or a grid's text (got {shown(str(found))})")
    return ",".join(map(_word, found))


def _word(value: Any) -> str:
    """Return a value as a grid has it: plain where that means the same, else as JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # the grid refuses it
    if isinstance(value, str):
        try:
            if grids.parse(value).values() == [value]:
                return value
        except SpecError:
            pass
    return _text(value)


def listed(name: str, values: Any) -> str | None:
    """Return texts or numbers with commas between; a text as it is."""
    if values is None or isinstance(values, str):
        return values
    found = plain(values)
    if not isinstance(found, list) or not all(isinstance(item, str | int | float) for item in found):
        raise SpecError(f"{name} takes a text or a list (got {shown(str(values))})")
    return ",".join(map(str, found))


def request(kind: type[Made], **asked: Any) -> Made:
    """Return what is asked for, checked."""
    return checked(kind, {key: each if isinstance(each, tuple) else plain(each) for key, each in asked.items()})


def warn(text: str) -> None:
    """Warn as Python does, of the first line outside of this package."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def context(
    command: str, source: Source, words: Sequence[str], output: str | os.PathLike[str] | None, jobs: int = 1,
    own: Sequence[Plugin] = (), objects: PythonObjects | None = None, progress: Progress | None = None,
) -> Context:  # fmt: skip
    """Return the context of a command that tells its warnings, and its progress where that is shown."""

    count = plain(jobs)
    if type(count) is not int or not 1 <= count <= MOST_JOBS:
        raise SpecError(f"jobs takes an integer from 1 to {MOST_JOBS} (got {shown(str(jobs))})")
    folder = None if output is None else Path(path("output", output))
    arguments = (command, source.shown, *words)
    execution = ExecutionOptions(count)
    frontend = Frontend(warning=warn) if progress is None else Frontend(warning=warn, progress=progress)
    names = () if objects is None else objects.names
    return Context(source, frontend, folder, arguments=arguments, plugins=tuple(own), objects=names, options=execution)


def loaded(given: Plugins) -> tuple[Plugin, ...]:
    """Return plugins by their files or packages, loaded. Raises what :func:`gdcli.zoo.plugins.load` raises."""
    words = [given] if isinstance(given, str | os.PathLike) else given
    return plugins.load([path("plugins", each) for each in words])


def path(name: str, given: Any) -> str:
    """Return the text of a path."""
    try:
        return os.fsdecode(given)
    except TypeError:
        raise SpecError(f"{name}: this is no path (got {type(given).__name__})") from None


def rows(x: ArrayLike, names: Sequence[str] = ()) -> NDArray[np.float64]:
    """Return rows of numbers [N, ...]; numbers [N] are rows of one, and a DataFrame has the columns by ``names``."""
    if (columns := getattr(x, "columns", None)) is not None:
        if missing := [name for name in names if name not in columns]:
            raise SpecError(f"predict takes the columns that the model was trained on: no {', '.join(missing)}")
        frame: Any = x
        x = frame[list(names)]
    try:
        found = np.asarray(as_numpy_takes(x))
        if found.dtype.kind == "c":
            raise TypeError
        found = found.astype(np.float64)
    except (TypeError, ValueError):
        raise SpecError("predict takes rows of numbers, all of one length") from None
    if found.ndim == 0:
        raise SpecError("predict takes rows of numbers (got one number)")
    return found[:, None] if found.ndim == 1 else found
