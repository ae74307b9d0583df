"""`extends: base.yaml` and `--config more.yaml`: one document of several files, each value with its own place.

Later files count: the base, the spec, then the files of the command line in their order. Mappings are merged key by
key; lists and scalars replace; null takes a key away, as ``~key`` does. What belongs to another choice goes with it: a
mapping that names another optimizer, model or source of data replaces the one below it.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from gdcli.errors import Place, Problem, SpecError, nearest
from gdcli.spec import bundled
from gdcli.spec.bundled import Source, SpecFile
from gdcli.spec.data_sections import SOURCES, DataCommon
from gdcli.spec.document import MAX_BYTES, MAX_COUNTS, MAX_LINES, read
from gdcli.spec.nodes import Entry, Node
from gdcli.spec.overrides import as_node, put, resolve
from gdcli.spec.scalars import shown
from gdcli.spec.sections import mode_of
from gdcli.spec.writing import write

KEY = "extends"
KeyPath = tuple[str, ...]

_NAMED: dict[KeyPath, str] = {
    ("model",): "type", ("loss",): "name", ("optimizer",): "name", ("batch",): "mode", ("data", "generate"): "kind",
    ("scheduler",): "name", ("scheduler", "groups", "*"): "name",
    ("compare", "optimizers", "*"): "name",
}  # fmt: skip
"""The key under which a mapping has the name of its choice; * stands for any key. For `then` see `_tag`."""
_WHOLE: tuple[KeyPath, ...] = (
    ("data", "validation"), ("data", "test"), ("model", "init", "*"), ("sweep", "parameters", "*"), ("clip",),
    ("expect", "*"),
)  # fmt: skip
"""Mappings that are one value, of which no part means anything beside a part of another."""
_FILES: tuple[KeyPath, ...] = (
    ("data", "file"), ("data", "validation"), ("data", "test"), ("data", "validation", "file"),
    ("data", "test", "file"), ("data", "idx", "images"), ("data", "idx", "labels"), ("model", "from"),
)  # fmt: skip
"""Keys whose text is the path of a file, relative to the file that it stands in."""


def merged(source: Source, configs: Sequence[str] = ()) -> Source:
    """Return a spec with its document, and with what it extends and the files of ``--config`` merged into that.

    The text of a merged one is YAML that needs no other file, below a comment that names those it is of. Paths in it
    are relative to the spec's folder. Raises SpecError for a text that is no spec, a file that cannot be read, a base
    that extends another one, and files that are too much for one spec together.
    """
    document = read(source.text, source.shown)
    layers = [] if document.find((KEY,)) is None else [_base(source, document)]
    layers += [(source, _without(document))]
    layers += [_config(word) for word in configs]
    if len(layers) == 1 and KEY not in _entries(document):
        return replace(source, document=document)
    found, *rest = [_moved(node, layer, source) for layer, node in layers]
    for node in rest:
        found = merge(found, node)
    found = replace(found, place=document.place)
    return replace(source, document=found, text=_text(found, layers), files=_files(layers))


def _files(layers: Sequence[tuple[Source, Node]]) -> tuple[SpecFile, ...]:
    return tuple(SpecFile(layer.path.name, hashlib.sha256(layer.text).hexdigest()) for layer, _ in layers)


def _text(document: Node, layers: Sequence[tuple[Source, Node]]) -> bytes:
    """Return a merged document as YAML. Raises SpecError for one that is larger than a spec can be."""
    names = ", ".join(shown(layer.path.name, 200) for layer, _ in layers)
    text = f"# Merged from {names}, of which later ones count.\n{write(document.plain())}".encode()
    sizes = {"bytes": len(text), "lines": text.count(b"\n"), **_counts(document)}
    limits = {"bytes": MAX_BYTES, "lines": MAX_LINES, **MAX_COUNTS}
    for what, limit in limits.items():  # a record's spec has to be read again
        if sizes[what] > limit:
            raise SpecError(Problem(document.place, "", f"merged from {names}: more than {limit:,} {what}"))
    return text


def _counts(document: Node) -> Counter[str]:
    """Count what a reading counts."""
    found, left = Counter[str](), [document]
    while left:
        value = left.pop().value
        found["values"] += 1
        if isinstance(value, dict):
            found["keys"] += len(value)
            left += [entry.node for entry in value.values()]
        elif isinstance(value, tuple):
            left += value
        found["lists and mappings"] += isinstance(value, dict | tuple)
    return found


# --- the files --------------------------------------------------------------------------------------------------------


def _base(source: Source, document: Node) -> tuple[Source, Node]:
    """Return what a spec extends. Raises SpecError at the place of the key for what is none, and at a second one."""
    node = document.find((KEY,))
    assert node is not None
    if not isinstance(node.value, str) or not node.value.strip():
        raise _wrong(node.place, "must be the path of a spec, or the name of a bundled one")
    folder = source.path.parent
    base = _opened(node.value, folder, node.place)
    if base.path.resolve() == source.path.resolve():
        raise _wrong(node.place, f"this file extends itself (got {shown(node.value)})")
    below = read(base.text, base.shown)
    if (second := below.find((KEY,))) is not None:
        key = _entries(below)[KEY].key
        is_circle = isinstance(second.value, str) and (
            os.path.realpath(base.path.parent / second.value) == os.path.realpath(source.path)
        )
        what = "the two extend each other" if is_circle else "a file that is extended cannot extend another one"
        hint = "" if is_circle else "Write those keys out, or use --config FILE"
        raise _wrong(key, f"{what} (it is extended at {node.place})", hint)
    return base, below


def _config(word: str) -> tuple[Source, Node]:
    """Return a file of ``--config``. Raises SpecError for one that extends another."""
    config = _opened(word, Path(), None)
    node = read(config.text, config.shown)
    if node.find((KEY,)) is not None:
        what = "a file of --config cannot extend another one"
        raise _wrong(_entries(node)[KEY].key, what, "Give both: --config ONE --config OTHER")
    return config, node


def _wrong(place: Place, message: str, hint: str = "") -> SpecError:
    return SpecError(Problem(place, KEY, message, hint))


def _opened(word: str, folder: Path, place: Place | None) -> Source:
    """Return a file by its path, relative to a folder, or else a bundled spec by its name.

    Raises SpecError, at a place of a document if there is one, else for the option.
    """
    try:
        is_bundled = word in bundled.names() and not (folder / word).is_file()
        found = bundled.find_bundled(word) if is_bundled else bundled.read_file(str(folder / word))
        if found is not None:
            return found
        what = f"there is no file '{shown(word, 200)}', and no bundled spec of that name"
        hint = nearest(word, [*_beside(word, folder), *bundled.names()])
    except SpecError as error:
        if error.problems:  # of a file that is too large
            raise
        what, hint = str(error), ""
    if place is not None:
        raise _wrong(place, what, hint)
    raise SpecError(f"--config: {what}. {hint}".removesuffix(". "))


_MOST_NAMES = 1_000
"""Files of a folder among which the nearest name is looked for."""


def _beside(word: str, folder: Path) -> list[str]:
    """Return the paths, written as the word is, of the YAML files in the folder that a word names."""
    above = Path(word).parent
    try:
        with os.scandir(folder / above) as entries:
            names = [entry.name for entry in islice(entries, _MOST_NAMES)]
    except (OSError, ValueError):
        return []
    return [str(above / name) for name in names if name.endswith((".yaml", ".yml")) and name.isprintable()]


def _moved(document: Node, layer: Source, source: Source) -> Node:
    """Return a document whose paths are relative to the folder of the spec, not to that of its own file."""
    folder, home = (each.path.parent.resolve() for each in (layer, source))
    if folder == home:
        return document
    found = [(path, path, document.find(path)) for path in _FILES]
    for path, key, node in (*found, *_grids_of_files(document, folder)):
        if node is not None and isinstance(node.value, str | tuple):
            document = put(document, path, _moved_paths(node, key, layer, home), node.place)
    return document


def _grids_of_files(document: Node, folder: Path) -> Iterator[tuple[KeyPath, KeyPath, Node]]:
    """Yield where a sweep has the values of a key that takes a file, that key, and the list of values.

    A grid that is written as a text, `a.csv,b.csv`, is one of paths where each part is there.
    """
    for above in (("sweep", "parameters"), ("sweep", "parameters", "zip")):
        grids = document.find(above)
        for name, entry in grids.value.items() if grids is not None and isinstance(grids.value, dict) else ():
            try:
                key = tuple(resolve(name.removeprefix("key:")).split("."))
            except SpecError:  # a scalar of the model, or a key that there is not
                continue
            node = entry.node
            if key not in _FILES:
                continue
            if isinstance(node.value, str):
                parts = [part.strip() for part in node.value.split(",")]
                if not all(_is_there(folder / part) for part in parts):
                    continue
                node = as_node(parts, node.place)
            yield (*above, name), key, node


def _moved_paths(node: Node, key: KeyPath, layer: Source, home: Path) -> Node:
    """Return the path of a file, or a list of paths, as it is from another folder."""
    if isinstance(node.value, tuple):
        return replace(node, value=tuple(_moved_paths(each, key, layer, home) for each in node.value))
    if not isinstance(node.value, str) or not node.value:
        return node
    folder = layer.path.parent.resolve()
    whole = folder / node.value
    if key == ("model", "from") and not node.value.endswith(".safetensors") and not _is_there(whole):
        return node  # the name of a record
    near = Path(os.path.relpath(folder, home)) / node.value  # the value itself where it is a whole path
    new = str(whole if layer.is_bundled else near)
    return Node(node.place, new, new)


def _is_there(path: Path) -> bool:
    return "\0" not in str(path) and os.path.lexists(path)


# --- merging ----------------------------------------------------------------------------------------------------------


def merge(base: Node, over: Node, path: KeyPath = ()) -> Node:
    """Return what stands at a path in two documents as one: the second counts, with its place.

    >>> base = read("{optimizer: {name: adam, lr: 0.1}, epochs: 5, seed: 1}", "base.yaml")
    >>> merge(base, read("{optimizer: {lr: 0.2}, seed: null}", "spec.yaml")).plain()
    {'optimizer': {'name': 'adam', 'lr': 0.2}, 'epochs': 5}
    >>> merge(base, read("optimizer: {name: sgd}", "spec.yaml")).plain()["optimizer"]
    {'name': 'sgd'}
    """
    tag = _tag(path)
    if not isinstance(over.value, dict):
        is_same = tag is not None and isinstance(base.value, dict) and _choice(base.value, tag, path) == over.value
        return base if is_same else over
    if any(_matches(pattern, path) for pattern in _WHOLE):
        return over
    entries = dict(_kept(_mapping(base, tag), over.value, tag, path))
    for key, entry in over.value.items():
        if entry.node.value is None and entry.node.text:
            entries.pop(key, None)
            continue
        below = entries[key].node if key in entries else Node(entry.node.place, {})
        entries[key] = Entry(entry.key, merge(below, entry.node, (*path, key)))
    return Node(over.place, entries)


def _mapping(base: Node, tag: str | None) -> Mapping[str, Entry]:
    """Return the entries of a node: of the short form of a choice, `sgd`, those of `{name: sgd}`; else none."""
    if isinstance(base.value, dict):
        return base.value
    return {tag: Entry(base.place, base)} if tag is not None and isinstance(base.value, str) else {}


def _kept(base: Mapping[str, Entry], over: Mapping[str, Entry], tag: str | None, path: KeyPath) -> Mapping[str, Entry]:
    """Return the entries of the base that stay: of another choice none, of another source of data what all take."""
    if path == ("data",):
        before, now = (entries.keys() & SOURCES.keys() for entries in (base, over))
        return _only(base, DataCommon.model_fields) if before and now and before.isdisjoint(now) else base
    if tag is None or tag not in over:
        return base
    name = _choice(base, tag, path)
    return base if name in (None, over[tag].node.value) else {}


def _choice(entries: Mapping[str, Entry], tag: str, path: KeyPath) -> object:
    """Return the name of the choice in a mapping; None where it has none."""
    if tag in entries:
        return entries[tag].node.value
    if path == ("batch",) and entries:
        return mode_of(entries)
    return path[-1] if path[0] == "compare" and entries else None


def _only(entries: Mapping[str, Entry], keys: Iterable[str]) -> dict[str, Entry]:
    return {key: entries[key] for key in entries if key in set(keys)}


def _tag(path: KeyPath) -> str | None:
    """Return the key under which a mapping at a path has the name of its choice; None where it is none."""
    if path[:1] == ("scheduler",) and path[-1] == "then":  # what follows a warmup may be one
        return "name"
    return next((tag for pattern, tag in _NAMED.items() if _matches(pattern, path)), None)


def _matches(pattern: KeyPath, path: KeyPath) -> bool:
    return len(pattern) == len(path) and all(mark in ("*", key) for mark, key in zip(pattern, path, strict=True))


def _without(document: Node) -> Node:
    """Return a document without the key ``extends``."""
    return replace(document, value={key: entry for key, entry in _entries(document).items() if key != KEY})


def _entries(node: Node) -> dict[str, Entry]:
    assert isinstance(node.value, dict)
    return node.value
