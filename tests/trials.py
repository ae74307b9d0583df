"""How many trials prove a promise: few in the normal suite, all of them when GDCLI_SOAK is set (`make soak`)."""

from __future__ import annotations

import os


def trials(small: int, full: int) -> int:
    """Return the number of trials of a promise."""
    return full if os.environ.get("GDCLI_SOAK") else small
