"""Gradient-descent and backpropagation experiments from one YAML file, exact to the digit.

>>> import gdcli
>>> gdcli.run("backprop_2x2", lr=0.5, epochs=3).losses.round(4).tolist()
[0.2984, 0.2858, 0.2728]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gdcli.commands.api import Comparison, Run, Sweep, compare, load, run, sweep
    from gdcli.errors import GdcliError, MachineError, PluginError, RunError, SpecError
    from gdcli.zoo.registering import activation, data, loss, metric, model, optimizer

__version__ = "0.2.0.dev0"

__all__ = [
    "Comparison",
    "GdcliError",
    "MachineError",
    "PluginError",
    "Run",
    "RunError",
    "SpecError",
    "Sweep",
    "activation",
    "compare",
    "data",
    "load",
    "loss",
    "metric",
    "model",
    "optimizer",
    "run",
    "sweep",
]  # fmt: skip

_MODULES = {
    "gdcli.commands.api": ("Comparison", "Run", "Sweep", "compare", "load", "run", "sweep"),
    "gdcli.errors": ("GdcliError", "MachineError", "PluginError", "RunError", "SpecError"),
    "gdcli.zoo.registering": ("activation", "data", "loss", "metric", "model", "optimizer"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: the package itself costs neither torch nor numpy."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'gdcli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
