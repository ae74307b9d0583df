"""Trained models on the disk: safetensors files, written whole; their sha256 stands in summary.json."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.storage import files

NAME, BEST = "model.safetensors", "best.safetensors"
"""The final weights of a run, and those of its best epoch."""


def save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write tensors as a safetensors file, whole or not at all, the same bytes for the same; return its sha256."""
    from safetensors.numpy import save as as_bytes

    content = as_bytes({name: np.array(array, order="C") for name, array in arrays.items()})
    files.replace(path, content)
    return hashlib.sha256(content).hexdigest()
