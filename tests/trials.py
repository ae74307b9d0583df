"""How many trials prove a promise: few in the normal suite, all of them when GDCLI_SOAK is set (`make soak`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest


def trials(small: int, full: int) -> int:
    """Return the number of trials of a promise."""
    return full if os.environ.get("GDCLI_SOAK") else small


def mostly_slow(values: Iterable[Any], every: int) -> list[Any]:
    """Return the values of a test's parameter, all marked slow but the first of each so many."""
    return [pytest.param(value, marks=[pytest.mark.slow] * (k % every > 0)) for k, value in enumerate(values)]
