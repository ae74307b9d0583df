"""Torch's meta device, on which tensors have shapes and no numbers, and its rules, read where they are needed.

`import torch` reads the rules by which some thousand operators work on it, for a sixth of its time. A run of
perceptrons makes nothing there: a command imports torch without that one module, which reads itself when something of
it is asked for, and before anything is made on the device.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

RULES = "torch._meta_registrations"

_READING = RLock()


class _Later(Loader):
    """Makes the module empty, to be read when something of it is asked for that is no name of Python's own."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Read nothing yet."""
        module.__getattr__ = partial(self._asked, module)  # type: ignore[method-assign]  # PEP 562's

    def _asked(self, module: ModuleType, name: str) -> Any:
        if name.startswith("__"):  # whoever looks through all modules, as `inspect` does, needs nothing of it
            raise AttributeError(name)
        self.read(module)
        return getattr(module, name)

    def read(self, module: ModuleType) -> None:
        """Read it, once."""
        with _READING:
            if "__getattr__" not in module.__dict__:
                return
            del module.__getattr__
            collects = gc.isenabled()
            gc.disable()  # all that it makes stays
            try:
                self._loader.exec_module(module)
            finally:
                if collects:
                    gc.enable()


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != RULES or (spec := PathFinder.find_spec(name, path, target)) is None or spec.loader is None:
            return None
        spec.loader = _Later(spec.loader)
        return spec


@contextmanager
def rules_later() -> Iterator[None]:
    """Import torch without the rules of the meta device meanwhile; where it is imported already, nothing changes."""
    sys.meta_path.insert(0, _Finder)
    try:
        yield
    finally:
        sys.meta_path.remove(_Finder)


def read_rules() -> None:
    """Read the rules of the meta device, unless they are read."""
    module = sys.modules.get(RULES)
    if module is not None and isinstance(loader := getattr(module.__spec__, "loader", None), _Later):
        loader.read(module)


@contextmanager
def on_meta() -> Iterator[None]:
    """Make tensors on the meta device meanwhile."""
    import torch

    read_rules()
    with torch.device("meta"):
        yield
