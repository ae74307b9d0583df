"""A run's steps one by one: the net or the point of each step, and its derivations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gdcli.storage.record import Record


def stepping_data(record: Record, lang: str = "en") -> dict[str, Any] | None:
    """What the page steps through; None where the model is too large or of another kind."""
    return None
