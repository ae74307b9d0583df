"""`gdcli report`: a record, or several, as one page that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gdcli.commands.report.run_page import run_data, text
from gdcli.errors import SpecError
from gdcli.report.page import deflated, page
from gdcli.spec.scalars import shown
from gdcli.storage.find import find
from gdcli.storage.record import MANY, Record, read

MOST_RECORDS = 20
"""Records side by side on one page."""


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page, and the damage that its records have."""

    html: str
    problems: tuple[str, ...]


def report(words: Sequence[str], root: Path = Path("runs"), *, lang: str = "en", curves: bool = False) -> RecordPage:
    """Return the page of the records that are meant; with ``curves`` none is trained again to be stepped through.

    Raises SpecError for words that mean no record, and for one of `gdcli ema`.
    """
    if len(words) > MOST_RECORDS:
        raise SpecError(f"report takes up to {MOST_RECORDS} records (got {len(words):,}); a sweep or comparison is one")
    records = [read(find(each, root)) for each in words]
    for record in records:
        if record.kind in ("ema", "grid"):
            raise SpecError(
                f"'{shown(record.id, 60)}' is a record of {record.kind}: report takes runs, sweeps and comparisons"
            )
    if len(records) > 1:
        from gdcli.commands.report.many import side_by_side

        data: dict[str, Any] = {"kind": "several", "several": side_by_side(records)}
        data["runs"] = [run_data(record) for record in records if record.kind not in MANY]
        names = list(dict.fromkeys(text(record.name) for record in records))
        title = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    else:
        (record,) = records
        title = f"{text(record.name)} {text(record.id)}"
        data = _of_many(record, lang, curves) if record.kind in MANY else _of_run(record, lang, curves)
    problems = [problem for record in records for problem in record.problems]
    return RecordPage(page(title, data, lang), tuple(problems))


def _of_run(record: Record, lang: str, curves: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "run", "runs": [run_data(record)]}
    if not curves:
        from gdcli.commands.report.stepping import stepping_data

        stepping = stepping_data(record, lang)
        found["stepping"] = None if stepping is None else deflated(stepping)
    return found


def _of_many(record: Record, lang: str, curves: bool) -> dict[str, Any]:
    """Return a sweep or comparison, and the page of its best run where that has a folder."""
    from gdcli.commands.report.many import best_run, many_data

    best = best_run(record)
    found = {"runs": []} if best is None else _of_run(read(best), lang, curves)
    return {**found, "kind": record.kind, "many": many_data(record, lang)}
