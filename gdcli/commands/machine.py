"""The machine that a record was made on, and this one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from gdcli import __version__

VERSIONS = ("gdcli", "torch", "numpy")


def here() -> dict[str, Any]:
    """Return what bits depend on besides the spec, of this process."""
    import torch

    return {
        "versions": {"gdcli": __version__, "torch": torch.__version__, "numpy": metadata.version("numpy")},
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between a record's environment and this one: 'torch 2.12, here 2.13'."""
    versions = recorded.get("versions")
    old = dict(versions) if isinstance(versions, dict) else {}
    pairs: list[tuple[str, Any, Any]] = [(name, old.get(name), now["versions"][name]) for name in VERSIONS]
    pairs.append(("cpu_capability", recorded.get("cpu_capability"), now["cpu_capability"]))
    return [f"{name} {then}, here {value}" for name, then, value in pairs if str(then) != str(value)]
