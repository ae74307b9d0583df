"""Which record is meant: by its path, its id or a prefix of it, the experiment's name, or how long ago it was."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gdcli.errors import SpecError, nearest
from gdcli.spec.scalars import shown
from gdcli.storage.record import STAMP, is_record

_LAST = re.compile(r"last(?:~(\d{1,9}))?")
_AGO = re.compile(r"(.+)~(\d{1,9})")
CANDIDATES = 10


def below(root: Path) -> list[Path]:
    """Return the records below a folder, the newest first: of an output folder, of one experiment, or of a sweep.

    Hidden folders are no records, links are not followed.
    """
    found: list[Path] = []
    for folder in folders_in(root):
        found += [folder] if is_record(folder) else runs_of(folder)
    return sorted(found, key=started, reverse=True)


def runs_of(folder: Path) -> list[Path]:
    """Return the folders of the runs of a sweep or a comparison, in the order of their numbers."""
    found = [inner for inner in folders_in(folder) if is_record(inner)]
    return sorted(found, key=lambda inner: (run_number(inner) or 0, inner.name))


def run_number(folder: Path) -> int | None:
    """Return the number of a sweep's run by its folder's name, such as ``07-lr=0.1``."""
    number = folder.name.partition("-")[0]
    return int(number) if number.isdecimal() and len(number) < 10 else None


def folders_in(root: Path) -> Iterator[Path]:
    """Yield the folders in a folder but hidden ones and links."""
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    yield root / entry.name
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return


def started(folder: Path) -> tuple[str, int, int]:
    """Return what orders records by their start: the folder's stamp, within its second the environment's time."""
    match = STAMP.fullmatch(folder.absolute().name)
    try:
        written = (folder / "environment.json").lstat().st_mtime_ns
    except OSError:
        written = 0
    return ("".join(match.groups()[:6]), written, int(match[8] or 1)) if match else ("", written, 0)


def find(text: str, root: Path) -> Path:
    """Return the folder of the record that is meant; ``root`` is where ids and names are looked up.

    ``last`` and ``last~1`` count from the newest; then a path; ``name~1``, from the newest of an experiment; an id; an
    experiment's whole name, whose newest record it is; a prefix of an id, or of its 8 hex digits. What stands behind
    a slash is a run of the sweep or comparison that is meant, or its number: ``last/2``.
    Raises SpecError, with the nearest, for anything else.
    """
    record, slash, name = text.rpartition("/")
    if slash and not Path(text).exists() and (run := _run_in(record, name, root)) is not None:
        return run
    records = [] if is_record(Path(text)) and not _LAST.fullmatch(text) else below(root)
    if match := _LAST.fullmatch(text):
        return _ago(int(match[1] or 0), records, root)
    if is_record(Path(text)) and text:
        return Path(text)
    if (match := _AGO.fullmatch(text)) and not Path(text).exists():
        of_name = [folder for folder in records if folder.absolute().parent.name == match[1]]
        if of_name:
            return _ago(int(match[2]), of_name, root / match[1])
    newest: dict[str, Path] = {}
    for folder in records:
        newest.setdefault(folder.absolute().parent.name, folder)
    exact = [folder for folder in records if folder.name == text] or [newest[name] for name in newest if name == text]
    if exact:
        return exact[0]
    return _by_prefix(text, root, records, newest)


def _run_in(text: str, name: str, root: Path) -> Path | None:
    """Return the run of a record by its folder's name, or its beginning up to a sign; None where it is not one run."""
    try:
        runs = runs_of(find(text, root))
    except SpecError:
        return None
    found = [run for run in runs if run.name == name or re.match(rf"{re.escape(name)}[-_]", run.name)] if name else []
    return found[0] if len(found) == 1 else None


def _ago(count: int, records: list[Path], root: Path) -> Path:
    if count < len(records):
        return records[count]
    there = f"there {'is' if len(records) == 1 else 'are'} {len(records) or 'no'} record{'s' * (len(records) != 1)}"
    raise SpecError(f"{there} in {shown(str(root), 200)}{'' if records else _WHERE}")


_WHERE = ". --output says where the records are"


def _by_prefix(text: str, root: Path, records: list[Path], experiments: Iterable[str]) -> Path:
    found = [folder for folder in records if text and (folder.name.startswith(text) or _digest(folder, text))]
    if len(found) == 1:
        return found[0]
    if found:
        listed = "".join(f"\n  {folder.parent.name}/{folder.name}" for folder in found[:CANDIDATES])
        rest = f"\n  and {len(found) - CANDIDATES:,} more" if len(found) > CANDIDATES else ""
        raise SpecError(f"'{shown(text)}' could be any of {len(found):,} records:{_lines(listed + rest)}")
    if Path(text).is_dir():
        raise SpecError(f"'{shown(text, 200)}' is no record: it has no spec.yaml and config.yaml")
    hint = _nearest(text, [folder.name for folder in records], experiments) if records else _WHERE[2:]
    raise SpecError(f"there is no record '{shown(text, 200)}' in {shown(str(root), 200)}. {hint}")


def _lines(text: str) -> str:
    return "\n".join(shown(line, 300) for line in text.split("\n"))


def _nearest(text: str, ids: list[str], names: Iterable[str]) -> str:
    """Name the nearest of the newest ids and the experiments' names; if none is near, the experiments."""
    names = [shown(name, 300) for name in names]
    longer = [name for name in names if text and name.startswith(text)]
    if len(longer) == 1:
        return f"Did you mean '{longer[0]}'?"
    hint = nearest(shown(text), [*(shown(each, 300) for each in ids[:1000]), *names])
    return hint if hint.startswith("Did you mean") else nearest(shown(text), names)


def _digest(folder: Path, text: str) -> bool:
    match = STAMP.fullmatch(folder.name)
    return match is not None and match[7].startswith(text)
