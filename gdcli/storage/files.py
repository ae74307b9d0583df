"""Files and folders on the disk: opened without following a link, read within bounds, replaced whole; JSON both ways.

Every call that writes goes through ``os``, where a test can let it fail.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import isfinite
from pathlib import Path
from typing import IO, Any, BinaryIO, ParamSpec, TypeVar

import orjson

from gdcli.errors import DamagedError, MachineError, SpecError

MOST_JSON = 2**24  # bytes: orjson takes thirty times as many
MOST_LINE = 2**26
MOST_LEVELS = 50

Content = bytes | str | Callable[[IO[bytes]], None]
"""What a file holds, or a function that writes it to a stream."""


Found = TypeVar("Found")
Where = ParamSpec("Where")


class UnfitError(OSError):
    """A file that is there and must not be used: it is no regular file, or it is too large."""


@contextlib.contextmanager
def naming(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn what the file system refuses into one line with the path, and the free bytes when the disk is full."""
    try:
        yield
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            above = next((folder for folder in path.parents if folder.is_dir()), path)
            with contextlib.suppress(OSError):
                reason += f" ({shutil.disk_usage(above).free:,} bytes free)"
        raise MachineError(f"cannot {doing} {path}: {reason}") from error


# --- reading ----------------------------------------------------------------------------------------------------------


def descriptor(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file: no link is followed, nothing waits for a pipe's other end. Raises OSError."""
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise UnfitError(errno.EINVAL, "it is no file")
    return file


def opened(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError."""
    return open(descriptor(path), "rb")


def _bounded(path: Path, at_most: int) -> bytes:
    with opened(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > at_most:
            raise UnfitError(errno.EFBIG, f"it has {size:,} bytes, more than the {at_most:,} that it could need")
        return stream.read(size)  # not at_most: Python sets as many bytes aside as it is asked for


def read(path: Path, at_most: int) -> bytes:
    """Return a file's bytes: of a regular file no larger than stated, links not followed.

    Raises FileNotFoundError where there is none, DamagedError for another; the error does not name the path.
    """
    try:
        return _bounded(path, at_most)
    except FileNotFoundError:
        raise
    except UnfitError as error:
        raise DamagedError(str(error.strerror)) from None
    except OSError as error:
        raise DamagedError(f"it cannot be opened: {error.strerror}") from None


def required(path: Path, at_most: int, hint: str = "") -> bytes:
    """Return the bytes of a file that a record has to have. Raises MachineError."""
    try:
        return read(path, at_most)
    except FileNotFoundError:
        raise MachineError(f"{path.parent} has no {path.name}{hint}") from None
    except DamagedError as error:
        raise MachineError(f"{path} cannot be used: {error}") from None


def content(path: Path, at_most: int = MOST_JSON) -> bytes | None:
    """Return a file's bytes, None where there is none. Raises DamagedError for what is no file, or larger."""
    try:
        return _bounded(path, at_most)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, error) from None


def existing(path: Path) -> BinaryIO:
    """Open a file that a record has to have. Raises DamagedError where there is none, and for what is no file."""
    try:
        return opened(path)
    except FileNotFoundError:
        raise DamagedError(f"{path}: there is no such file") from None
    except OSError as error:
        raise _damaged(path, error) from None


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Return a stream's lines with their ends; one longer than any that gdcli writes comes in pieces."""
    return iter(partial(stream.readline, MOST_LINE), b"")


def _damaged(path: Path, error: OSError) -> DamagedError:
    return DamagedError(f"{path}: {str(error.strerror).removeprefix('it ')}")


def lenient(
    told: Callable[[str], object] | None, read: Callable[Where, Found], *where: Where.args, **how: Where.kwargs
) -> Found | None:
    """Return what is read; None where the file is damaged, which is told."""
    try:
        return read(*where, **how)
    except DamagedError as error:
        if told is not None:
            told(str(error))
        return None


def json_file(path: Path) -> dict[str, Any] | None:
    """Return a file's JSON object, None where there is no file. Raises DamagedError for anything else."""
    text = content(path)
    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DamagedError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{path}: is no JSON object")
    if text.count(b"[") + text.count(b"{") > MOST_LEVELS and _levels(value) > MOST_LEVELS:
        raise DamagedError(f"{path}: is nested deeper than {MOST_LEVELS} levels")
    return value


def _levels(value: Any) -> int:
    """Return how deep lists and objects are nested, without recursion, of which Python has less than JSON."""
    level, inner = 0, [value]
    while inner:
        level += 1
        lists = [each.values() if isinstance(each, dict) else each for each in inner]
        inner = [item for items in lists for item in items if isinstance(item, dict | list)]
    return level


# --- writing ----------------------------------------------------------------------------------------------------------


def json_text(value: Any, *, ascii_only: bool = False) -> str:
    r"""Return JSON with a final line break; a number that is not finite becomes null.

    A character that is not seen is written as an escape, or with ``ascii_only`` every one beyond ASCII, so that none
    means anything to a terminal.

    >>> json_text({"loss": float("nan")}), json_text(["é\x9b"]), json_text(["é\x9b"], ascii_only=True)
    ('{\n  "loss": null\n}\n', '[\n  "é\\u009b"\n]\n', '[\n  "\\u00e9\\u009b"\n]\n')
    """
    text = json.dumps(_finite(value), indent=2, ensure_ascii=ascii_only, allow_nan=False)
    if not ascii_only and not text.replace("\n", "").isprintable():
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    return text + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def write_all(file: int, data: bytes | memoryview) -> None:
    """Write all bytes to a descriptor: the system may take them in parts."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def write(path: Path, content: Content, *, sync: bool = True) -> None:
    """Write a new file and bring it to the disk. Raises FileExistsError for one that is there."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        if callable(content):
            with open(file, "wb", closefd=False) as stream:
                content(stream)
        else:
            write_all(file, content.encode() if isinstance(content, str) else content)
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def replace(path: Path, content: Content, *, previous: Path | None = None) -> None:
    """Write a file whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder.

    What was replaced before is on the disk when this is: the mark of an end never without what it is the end of. With
    ``previous`` the file that was there gets that name.
    """
    temporary = path.with_name(f".{path.name[:100]}.{os.urandom(4).hex()}")
    with naming(path):
        try:
            write(temporary, content)
            if previous is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(path, previous)  # noqa: PTH105
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def is_folder(text: str) -> bool:
    """Say whether a path as it is written means a folder: it ends in a slash."""
    return text.endswith(("/", os.sep))


def in_folder(text: str, name: str) -> Path:
    """Return the path of a file as it is written: of one that ends in a slash, the file of this name in that folder.

    Raises SpecError where a file has the folder's name.
    """
    if is_folder(text) and Path(text).exists() and not Path(text).is_dir():
        raise SpecError(f"{text} is there already, and no folder")
    return Path(text) / name if is_folder(text) else Path(text)


def require_file(path: Path) -> None:
    """Raise SpecError where a device or a pipe stands, or a link to one: a renamed file would take its place."""
    with contextlib.suppress(OSError, ValueError):  # nothing is there, or nothing can be written there
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise SpecError(f"{path} is a device or a pipe: only a file is written over")


def draw(path: Path, picture: Callable[[], bytes], warn: Callable[[str], None]) -> None:
    """Write a plot; whatever goes wrong in drawing is a warning."""
    try:
        content = picture()
    except Exception as error:  # a plot is a courtesy; the record is complete without it
        warn(f"could not draw {path.name}: {type(error).__name__}: {error}")
        return
    replace(path, content)


_TEMPORARY = re.compile(r"\.[\w.-]+\.(?:json|csv|parquet|png|txt|yaml|safetensors)\.[0-9a-f]{8}")


def remove_temporaries(folder: Path) -> None:
    """Remove what a process left that died while it replaced a file; nobody else writes into the folder."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            with naming(path, "remove"):
                path.unlink()


def open_folder(folder: Path) -> int:
    """Return the descriptor of a folder. Raises OSError."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    with naming(folder):
        file = open_folder(folder)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def make_below(folder: Path) -> None:
    """Make a folder in one that is there. Raises MachineError for a link, or a file, of that name."""
    with naming(folder):
        folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise MachineError(f"{folder} is a link: nothing is written where it leads")
