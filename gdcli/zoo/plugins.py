"""Plugins: files and packages of the user's own code, loaded because a command line names them, for no other reason.

A plugin adds to the tables of the zoo with the decorators of `gdcli.zoo.registering`. It runs as the user, as any
Python program does. It is known by the sha256 of its source: of a file by that of the file, of a package by that of the
names and digests of all its .py files, in their order.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import stat
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gdcli.errors import PluginError, SpecError, nearest, visible
from gdcli.zoo import registering
from gdcli.zoo.origins import blamed, note_place

GROUP = "gdcli.plugins"
"""The entry point group by which installed packages offer theirs."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin as records have it, and what names it in another process."""

    name: str  # of the file or package
    sha256: str
    source: str  # the whole path, or the name of an installed package


@dataclass(frozen=True, slots=True)
class _Found:
    plugin: Plugin
    places: tuple[str, ...]  # of its code: a file, or a folder
    run: Callable[[], object]


_LOADED: dict[str, Plugin] = {}
"""The plugins of this process by their source, as sys.modules has the modules."""


def loaded() -> tuple[Plugin, ...]:
    """Return the plugins that this process has loaded."""
    return tuple(_LOADED.values())


def load(words: Sequence[str]) -> tuple[Plugin, ...]:
    """Load plugins, each named by a FILE.py, the folder of a package, an entry point or an installed package.

    One that is loaded already is not run again, unless it has changed. Raises SpecError for one that is not there or
    registers nothing, PluginError for what a plugin raises.
    """
    found = []
    for word in dict.fromkeys(words):
        each = _find(word)
        if _LOADED.get(each.plugin.source) != each.plugin:
            _run(word, each)
        found.append(each.plugin)
    return tuple(dict.fromkeys(found))


def _run(word: str, found: _Found) -> None:
    for place in found.places:
        note_place(place)
    registering.forget(found.places)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left beside the user's files
    try:
        found.run()
    except (SpecError, PluginError, MemoryError, KeyboardInterrupt):
        registering.forget(found.places)
        raise
    except BaseException as error:
        registering.forget(found.places)
        text = next(iter(str(error).splitlines()), "")
        raise blamed(error) or PluginError(f"--plugin {word}: {type(error).__name__}: {text}") from None
    finally:
        sys.dont_write_bytecode = writes
    if not registering.registered(found.places):
        raise SpecError(
            f"--plugin {visible(word)}: it registers nothing: put @gdcli.loss or the like before a function"
        )
    _LOADED[found.plugin.source] = found.plugin


def _find(word: str) -> _Found:
    path = Path(word)
    try:
        if not word:
            raise ValueError("it names no file and no package")
        if path.is_dir():
            return _folder(path)
        if path.suffix == ".py" or path.exists():
            return _file(path)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise SpecError(f"--plugin {visible(word)}: {what}") from None
    return _installed(word)


def _file(path: Path) -> _Found:
    content = _content(path)
    digest, source = hashlib.sha256(content).hexdigest(), str(path.absolute())

    def run() -> None:
        name = f"{registering.MODULES}{path.stem}_{digest[:16]}"
        module = types.ModuleType(name)
        module.__file__ = source
        sys.modules[name] = module  # where dataclasses and typing look for its names
        try:
            exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise

    return _Found(Plugin(path.name, digest, source), (str(path), source), run)


def _folder(path: Path) -> _Found:
    if not (path / "__init__.py").is_file():
        raise SpecError(f"--plugin {visible(str(path))}: a folder that is no package: it has no __init__.py")
    path = path.absolute()  # Python keeps what it finds by a path, whatever the working folder is then
    digest, source = _digest(path), str(path)

    def run() -> None:
        name = f"{registering.MODULES}{path.name}_{digest[:16]}"
        spec = importlib.util.spec_from_file_location(name, path / "__init__.py", submodule_search_locations=[source])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise

    return _Found(Plugin(path.name, digest, source), (source,), run)


def _installed(word: str) -> _Found:
    """Return the plugin of an entry point, or of a package or module that can be imported."""
    offered = metadata.entry_points(group=GROUP)
    module = next((entry.module for entry in offered if entry.name == word), word)
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top) if top.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        hint = nearest(word, [entry.name for entry in offered])
        what = f"--plugin {visible(word)}: there is no such file, and no package of that name is installed"
        raise SpecError(f"{what}. {hint}" if hint else what)
    if spec.submodule_search_locations:
        (folder, *_) = spec.submodule_search_locations
        digest, place = _digest(Path(folder)), str(folder)
    elif spec.origin is not None and spec.origin.endswith(".py"):
        digest, place = hashlib.sha256(_content(Path(spec.origin))).hexdigest(), spec.origin
    else:
        raise SpecError(f"--plugin {visible(word)}: is not written in Python")
    return _Found(Plugin(word, digest, word), (place,), lambda: importlib.import_module(module))


def _content(path: Path) -> bytes:
    """Return the bytes of a file. Raises ValueError for a pipe or a device, which would be waited for, OSError."""
    with open(path, "rb", opener=_open_at_once) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError(f"{visible(path.name)} is not a regular file")
        return stream.read()


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _digest(folder: Path) -> str:
    """Return the sha256 of a package: of the path and the sha256 of each .py file below it, in order."""
    found = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    for name in sorted(files):
        found.update(f"{name}\0{hashlib.sha256(_content(files[name])).hexdigest()}\n".encode())
    return found.hexdigest()
