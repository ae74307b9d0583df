"""Records of 0.1 done again: the files that they have not, and the changes since that explain a difference."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from gdcli.storage import files, models
from gdcli.storage.files import json_file, json_text
from gdcli.storage.find import folders_in
from gdcli.storage.request import Request

NEWER = ("epochs.csv", models.PREPROCESSING, models.NAME, models.BEST, models.ALL)
"""Files that 0.1 did not write; it wrote preprocessing.json of some runs."""

_CONFIG = "config.yaml leaves out keys that have no effect, such as the size of full batches"
_METRICS = "values have the metrics r2 and mae; best_loss is that of all rows, start values included"
_SHUFFLED = "stochastic batches are shuffled; batch: {mode: stochastic, shuffle: false} is the order of 0.1"
_REACHES = "a row of a comparison has all settings of the spec that its optimizer or batch mode takes"
_OVERFLOW = "a run diverges by the entries of its gradient, not by a sum of their squares, which overflows earlier"


def is_of_0_1(folder: Path) -> bool:
    """Say whether 0.1 made a record. Raises DamagedError."""
    versions = (json_file(folder / "environment.json") or {}).get("versions")
    return isinstance(versions, dict) and str(versions.get("gdcli")).startswith("0.1.")


def leave_out_newer(recorded: Path, again: Path) -> None:
    """Take from what was done again what 0.1 did not write: files, and the digests in their summaries."""
    for folder in ("", *(path.name for path in folders_in(recorded))):
        for name in NEWER:
            if not (recorded / folder / name).exists():
                (again / folder / name).unlink(missing_ok=True)
        summary: dict[str, Any] | None = json_file(again / folder / "summary.json")
        if summary is not None and "sha256" in summary:
            text = json_text({key: value for key, value in summary.items() if key != "sha256"})
            files.replace(again / folder / "summary.json", text)


def changes(names: Collection[str], request: Request, text: bytes, status: str | None) -> list[str]:
    """Return the changes since 0.1 that may explain why these files differ, of a spec with this text."""
    steps = {"log.txt", "steps.csv", "gradients.csv", "tuning.csv", "results.csv", "summary.json"}.intersection(names)
    many, found = request.command != "run", []
    if "config.yaml" in names:
        found.append(_CONFIG)
    if {"summary.json", "results.csv"}.intersection(names):
        found.append(_METRICS)
    if steps and many and b"stochastic" in text:
        found.append(_SHUFFLED)
    if steps and request.command == "compare":
        found.append(_REACHES)
    if steps and (many or status == "diverged"):
        found.append(_OVERFLOW)
    return found
