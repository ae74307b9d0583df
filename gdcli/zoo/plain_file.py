"""Opening a file that a spec names: a regular one within bounds; no link is followed, and no pipe is waited for."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import brief


def open_plain(path: Path, most_bytes: int) -> BufferedReader:
    """Open a file for reading. Raises ArgumentError for a link, a device, no byte, or more than so many."""
    try:
        stream = open(path, "rb", opener=_without_following)  # noqa: SIM115  the caller closes it
    except FileNotFoundError:
        raise ArgumentError(("file",), f"there is no file {path_shown(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        is_link = isinstance(error, OSError) and error.errno == errno.ELOOP
        why = "it is a link" if is_link else getattr(error, "strerror", None) or str(error)
        raise ArgumentError(("file",), f"cannot read {brief(str(path))}: {why}") from None
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode):
        what = f"{brief(str(path))} is not a regular file"
    elif not status.st_size:
        what = f"{brief(path.name)} is empty"
    elif status.st_size > most_bytes:
        what = f"{brief(path.name)} has {status.st_size:,} bytes, more than {most_bytes:,}"
    else:
        return stream
    stream.close()
    raise ArgumentError(("file",), what)


def _without_following(path: str, flags: int) -> int:
    # A system without these flags goes without.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def path_shown(path: Path) -> str:
    """Return a path as messages show it, in ASCII; of a long one the end, which tells files apart."""
    text = ascii(str(path))
    return text if len(text) <= 150 else f"'...{text[-140:]}"
