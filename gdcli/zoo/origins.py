"""Where a plugin's ingredients come from: what they raise is told by the plugin's own file and line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from traceback import walk_tb
from typing import ParamSpec, TypeVar

from gdcli.errors import GdcliError, PluginError, SpecError, lacks_memory
from gdcli.zoo.naming import ArgumentError

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

_PLACES: set[str] = set()
"""The files of plugins that this process has, and the folders of those that are packages, by their whole paths."""


def note_place(path: str) -> None:
    """Note a plugin's file, or the folder of a package, as a place whose lines are told."""
    _PLACES.add(os.path.abspath(path))  # noqa: PTH100 - a name of code, which need not be a path


def is_of_plugin(file: str) -> bool:
    """Say whether a file of code is a plugin's."""
    path = os.path.abspath(file)  # noqa: PTH100
    return any(path == place or path.startswith(place + os.sep) for place in _PLACES)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plugin defines an ingredient."""

    name: str  # of the ingredient
    file: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f": {self.name}" if self.name else "")

    def misuse(self, what: str) -> SpecError:
        """Return the error for an ingredient that cannot be registered."""
        return SpecError(f"{self}: {what}")

    def failure(self, what: str) -> PluginError:
        """Return the error for an ingredient that gives what it should not."""
        return PluginError(f"{self}: {what}")


def guarded(call: Callable[Given, Returned], origin: Origin) -> Callable[Given, Returned]:
    """Return a function of a plugin whose errors are PluginErrors with the plugin's line."""

    @wraps(call)
    def calling(*given: Given.args, **keys: Given.kwargs) -> Returned:
        try:
            return call(*given, **keys)
        except (GdcliError, ArgumentError, MemoryError):  # an ArgumentError has its place in the spec
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if lacks_memory(error):
                raise
            raise blamed(error) or origin.failure(_said(error)) from None

    return calling


def blamed(error: BaseException) -> PluginError | None:
    """Return an exception that came out of a plugin, told by the plugin's last line on its way; None for any other."""
    if isinstance(error, SyntaxError) and error.filename is not None and is_of_plugin(error.filename):
        return PluginError(f"{error.filename}:{error.lineno or 1}: {type(error).__name__}: {error.msg}")
    found = None
    for frame, line in walk_tb(error.__traceback__):
        if is_of_plugin(frame.f_code.co_filename):
            found = frame.f_code, line
    if found is None:
        return None
    code, line = found
    inside = "" if code.co_name == "<module>" else f"{code.co_qualname}: "
    return PluginError(f"{code.co_filename}:{line}: {inside}{_said(error)}")


def _said(error: BaseException) -> str:
    text = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
