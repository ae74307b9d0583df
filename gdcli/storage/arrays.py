"""Arrays and plain data in one file that tells when a single bit of it has changed; no pickle.

The file is safetensors, readable by any reader of that format. Its one metadata key holds the data as canonical JSON
behind a sha256 of all that the file means: the JSON, and each array's name, type, shape and bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import DamagedError

Arrays = Mapping[str, NDArray[Any]]

KEY = "gdcli"
HEADER = 2**24  # bytes of names and data at most, beside the arrays


def seal(data: Any, arrays: Arrays) -> bytes:
    """Return a file's bytes, the same for the same content.

    >>> data, arrays = unseal(seal({"steps": 3}, {"theta": np.ones(2)}))
    >>> data, arrays["theta"].tolist()
    ({'steps': 3}, [1.0, 1.0])
    """
    from safetensors.numpy import save

    text = json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=True)
    laid_out = {name: np.array(array, order="C") for name, array in sorted(arrays.items())}
    return save(laid_out, metadata={KEY: _digest(text, laid_out) + text})


def unseal(content: bytes) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return the data and arrays of a file made by seal. Raises DamagedError for anything else."""
    from safetensors.numpy import load

    try:
        length = int.from_bytes(content[:8], "little")
        if length > HEADER:
            raise DamagedError("its header is too long")
        sealed = json.loads(content[8 : 8 + length])["__metadata__"][KEY]
        arrays = load(content)
        digest, text = sealed[:64], sealed[64:]
        if digest != _digest(text, arrays):
            raise DamagedError("its content does not have the sha256 that it says")
        return json.loads(text), arrays
    except DamagedError:
        raise
    except Exception as error:  # whatever a parser says of bytes that no one wrote like this
        raise DamagedError(f"it cannot be read ({type(error).__name__})") from None


def _digest(text: str, arrays: Arrays) -> str:
    found = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        found.update(np.ascontiguousarray(array).data if array.size else b"")
    return found.hexdigest()
