"""Specs as commands name them: a file, a bundled name, a record, with overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.spec.bundled import Source
    from gdcli.spec.load import Loaded
    from gdcli.spec.nodes import Node
    from gdcli.spec.sections import RunSpec


def document_of(source: Source, overrides: Sequence[str], command: str) -> Node:
    """Return a spec's document with the overrides put in. Raises SpecError for one that is not key=value."""
    from gdcli.spec import document
    from gdcli.spec.overrides import apply

    for word in overrides:
        if "=" not in word:
            raise SpecError(f"an override is key=value (got '{word}')")
    return apply(document.read(source.text, source.shown), overrides, command=command)


def parse(source: Source, document: Node, name: str | None = None) -> RunSpec:
    """Check a document; its name is the one given, or the file's stem, when it has none."""
    from gdcli.spec import schema

    return schema.parse(document, source.path.stem if name is None else name)


def load(source: Source, spec: RunSpec, *, bounded: bool = True, cores: int | None = None) -> Loaded:
    """Read the data of a spec and check everything against everything."""
    from gdcli.spec.load import load as load_spec

    return load_spec(spec, source.path.parent, bounded=bounded, cores=cores)


def loaded(spec: str, overrides: Sequence[str], command: str, *, bounded: bool = True, trained: bool = False) -> Loaded:
    """Return a spec by its path or its bundled name, checked, with its data; one that is ``trained`` can be."""
    from gdcli.spec import bundled

    source = bundled.find(spec)
    found = load(source, parse(source, document_of(source, overrides, command)), bounded=bounded)
    if trained:
        require_optimizer(found.spec)
    return found


def require_optimizer(spec: RunSpec) -> None:
    """Refuse a spec that cannot be trained: one for `sweep` or `compare` only."""
    if spec.optimizer is None and spec.settings.epochs > 0:
        hint = f"This spec is for: gdcli {'compare' if spec.compare else 'sweep'}" if spec.compare or spec.sweep else ""
        raise SpecError(spec.problem(("optimizer",), "is required to train", hint))


def record_or_spec(word: str) -> str:
    """Return the folder of the record in ``runs`` that a word means, such as last; the word itself where there is none.

    What is a path, or the name of a bundled spec, means that.
    """
    from gdcli.spec import bundled
    from gdcli.storage.find import find

    if Path(word).exists() or word in bundled.names():
        return word
    try:
        return str(find(word, Path("runs")))
    except SpecError:
        return word


def lasting(word: str) -> str:
    """Return what names the same record or spec from any folder, later too: a whole path, or a bundled name."""
    from gdcli.spec import bundled

    path = Path(record_or_spec(word))
    return word if word in bundled.names() or not path.exists() else str(path.absolute())
