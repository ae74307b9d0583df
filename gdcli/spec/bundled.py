"""Where a spec comes from: a file, or the name of one that ships with the package."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.errors import Place, Problem, SpecError, nearest
from gdcli.spec.document import MAX_BYTES
from gdcli.spec.scalars import shown

if TYPE_CHECKING:
    from gdcli.spec.nodes import Node
    from gdcli.zoo.data_files import Moved

_RECORD = re.compile(r"last(~[0-9]+)?|.+~[0-9]+")  # how commands that take a record name one
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class SpecFile:
    """One of the files that a spec was merged from: its name, and the sha256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """A spec's text and where it was found."""

    path: Path
    shown: str  # as messages name it
    text: bytes
    moved: Moved | None = None  # of a record: where its data file may be now
    document: Node | None = None  # of the text, once it is read; of several files each value has its own place
    files: tuple[SpecFile, ...] = ()  # that the text was merged from

    @property
    def is_bundled(self) -> bool:
        """Whether it ships with the package."""
        return self.path.parent == folder()

    @property
    def name(self) -> str:
        """The experiment's name, where the spec gives none: the file's, in letters that a folder of records has.

        >>> Source(Path("Übung 3.yaml"), "", b"").name, Source(Path("упражнение.yaml"), "", b"").name
        ('Ubung_3', 'experiment')
        """
        letters = unicodedata.normalize("NFKD", self.path.stem).encode("ascii", "ignore").decode()
        return re.sub("[^A-Za-z0-9._-]", "_", letters).lstrip("._-")[:64] or "experiment"


def folder() -> Path:
    """Return the folder of the bundled specs: in the package once installed, at the top level in a checkout."""
    installed = _PACKAGE / "experiments"
    return installed if installed.is_dir() else _PACKAGE.parent / "experiments"


def names() -> list[str]:
    """Return the names of the bundled specs."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def find(spec: str) -> Source:
    """Return a spec by its path or its bundled name; a file in the current folder wins over a bundled name.

    Raises SpecError if there is neither, or if it is no readable file of at most 256 KiB.
    """
    found = read_file(spec)
    return find_bundled(spec) if found is None else found


def read_file(spec: str) -> Source | None:
    """Return a spec by its path; None where there is no such file, or a folder that has a bundled spec's name.

    Raises SpecError for what is no readable file of at most 256 KiB.
    """
    path, name = Path(spec), shown(spec, 200)
    if not spec or "\0" in spec or len(os.fsencode(path.name)) > 255:
        raise SpecError(f"this cannot be the name of a file (got '{name}')")
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            if spec in names():
                return None
            raise SpecError(f"'{name}' is a folder, not a spec")
        if not stat.S_ISREG(mode):  # a pipe would be waited for
            raise SpecError(f"'{name}' is not a regular file")
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SpecError(f"cannot read '{name}': {error.strerror}") from None
    if len(text) > MAX_BYTES:
        raise SpecError(
            Problem(Place(spec, 1, 1), "", f"larger than {MAX_BYTES:,} bytes", "Put the data in a CSV file")
        )
    return Source(path, spec, text)


def find_bundled(spec: str) -> Source:
    """Return a spec by its bundled name. Raises SpecError if there is none."""
    if spec in names():
        path = folder() / f"{spec}.yaml"
        return Source(path, path.name, path.read_bytes())
    name = shown(spec, 200)
    if "/" in spec or spec.endswith((".yaml", ".yml")):
        raise SpecError(f"cannot read '{name}': No such file or directory{_beside(Path(spec))}")
    if _RECORD.fullmatch(spec):
        raise SpecError(f"'{name}' is a record; here a spec is wanted: the record's own is spec.yaml in its folder")
    raise SpecError(f"there is no file '{name}' and no bundled spec of that name. {nearest(spec, names())}")


def _beside(path: Path) -> str:
    """Return a sentence with the YAML file of the same folder whose name is nearest; '' where none is near."""
    with suppress(OSError, ValueError):
        files = islice((each for each in path.parent.iterdir() if each.suffix in (".yaml", ".yml")), 1_000)
        near = nearest(path.name, [each.name for each in files])
        if near.startswith("Did"):
            return f". {shown(near, 200)}"
    return ""
