"""Many runs on one page: a sweep, a comparison, or several records side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...storage.record import Record


def many_data(record: Record, lang: str = "en") -> dict[str, Any]:
    """What the page shows of a sweep or a comparison."""
    return {}


def side_by_side(records: Sequence[Record]) -> dict[str, Any]:
    """What the page shows of several records: their numbers and the differences of their specs."""
    return {}
