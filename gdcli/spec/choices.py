"""What may be written on a command line: the keys that a spec takes, and the values of those that are a choice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from gdcli.report.styles import STYLES
from gdcli.spec.data_sections import SOURCES, DataCommon
from gdcli.spec.nodes import Node
from gdcli.spec.overrides import HERE, has_place, is_of_source, schema_keys, short_of
from gdcli.spec.sections import SECTIONS, Settings
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.data import DATASETS, GENERATORS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.metrics import METRICS
from gdcli.zoo.models import MODELS
from gdcli.zoo.naming import OneOf
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.schedulers import SCHEDULERS

_TABLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "model": ("type", MODELS),
    "loss": ("name", LOSSES),
    "optimizer": ("name", OPTIMIZERS),
    "scheduler": ("name", SCHEDULERS),
    "data.generate": ("kind", GENERATORS),
}
_NAMES: Mapping[str, Iterable[str]] = {
    "data.dataset": DATASETS,
    "device": ("auto", "cpu", "cuda", "mps"),
    "print.style": STYLES,
    "metrics": METRICS,
    "model.activation": ACTIVATIONS,
    "model.output_activation": ACTIVATIONS,
    "batch": ("full", "stochastic", "mini-batch"),
    **{f"{above}.{tag}": table for above, (tag, table) in _TABLES.items()},
    **{above: table for above, (_, table) in _TABLES.items() if above != "data.generate"},
}


_MAPPINGS = {"optimizer.groups", "data.generate", "data.idx", *SECTIONS, "data"} - {"batch"}
"""Keys whose value is a mapping: what stands below them is given by itself."""


def keys(document: Node | None = None) -> list[str]:
    """Return the keys that a spec can take, each by the shortest name that means it.

    >>> from gdcli.spec.document import read
    >>> found = keys(read("optimizer: adam", "f"))
    >>> [name in found for name in ("lr", "optimizer.lr", "momentum", "epochs", "data.x")]
    [True, False, False, True, True]
    """
    document = document or Node(HERE, {})
    taken = [key for key in schema_keys() if key not in _MAPPINGS and has_place(document, key)]
    found = [short_of(key) for key in taken if is_of_source(document, key)]
    return sorted(found, key=lambda name: ("." in name, name))


def values(key: str) -> list[str]:
    """Return what a key may be, where that is a choice: names, true and false; nothing for a number or a text.

    >>> values("print.style")[:2], values("batch.shuffle"), values("optimizer.lr")
    (['manual', 'autograd'], ['true', 'false'], [])
    """
    if key in _NAMES:
        return list(_NAMES[key])
    return list(dict.fromkeys(word for annotation in _annotations(key) for word in choices_in(annotation)))


def _annotations(key: str) -> Iterator[Any]:
    """Yield what a key is declared as, in each section or function that has it."""
    above, _, name = key.rpartition(".")
    if above in _TABLES:
        holders: list[Any] = list(_TABLES[above][1].values())
    elif above == "data":
        holders = [DataCommon, *SOURCES.values()]
    else:
        holders = [Settings if not above else SECTIONS.get(above)]
    for holder in filter(None, holders):
        hints = get_type_hints(holder, include_extras=True)
        if name in hints:
            yield hints[name]


def choices_in(annotation: Any) -> Iterator[str]:
    """Yield what a value declared so may be, as far as it is one of some words.

    >>> list(choices_in(Literal["text", "latex"] | None)), list(choices_in(float | bool))
    (['text', 'latex'], ['true', 'false'])
    """
    if annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is Literal:
        yield from (each for each in get_args(annotation) if isinstance(each, str))
    elif get_origin(annotation) is Annotated:
        kind, *marks = get_args(annotation)
        named = [mark for mark in marks if isinstance(mark, OneOf)]
        yield from named[0].names if named else choices_in(kind)
    elif get_origin(annotation) is not dict:
        for each in get_args(annotation):
            yield from choices_in(each)
