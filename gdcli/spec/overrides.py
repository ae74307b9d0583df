"""Overrides from the command line: ``key=value`` puts a value into the document before it is checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from gdcli.errors import Place, Problem, SpecError, nearest
from gdcli.spec.document import read_value
from gdcli.spec.nodes import Entry, Node
from gdcli.spec.scalars import shown
from gdcli.spec.sections import DATA_KEYS, INGREDIENTS, SECTIONS, Settings
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS

COMMAND_LINE = "command line"

# The key under which the short form `optimizer: sgd` holds its name, once another key joins it.
_SHORT = {"optimizer": "name", "scheduler": "name", "loss": "name", "batch": "mode", "model": "type"}


def _keys_of(functions: Iterable[Any]) -> set[str]:
    """Return all YAML keys of some functions of the zoo: their keyword-only arguments."""
    return {name for function in functions for name in inspect.getfullargspec(function).kwonlyargs}


@cache
def schema_keys() -> tuple[str, ...]:
    """Return the dotted path of every key of the spec, those under groups, sweep and compare not counted."""
    sections = {key: kind.model_fields for key, kind in SECTIONS.items() if key not in ("sweep", "compare")}
    paths = {*Settings.model_fields, *INGREDIENTS, *sections}
    for section, names in {
        **sections,
        "data": DATA_KEYS,
        "data.generate": {"kind", *_keys_of(GENERATORS.values())},
        "model": {"type", "init", "freeze", *_keys_of(MODELS.values())},
        "loss": {"name", *_keys_of(LOSSES.values())},
        "optimizer": {"name", "groups", *_keys_of(OPTIMIZERS.values())},
    }.items():
        paths |= {f"{section}.{name}" for name in names}
    return tuple(sorted(paths))


_BELOW = (
    "sweep.", "compare.", "scheduler.", "optimizer.groups.", "model.init.", "model.start.", "model.constants.",
    "data.generate.x.",
)  # fmt: skip
"""Whole paths below these are taken as they are; a name without its path never means one of them."""


def resolve(name: str) -> str:
    """Return the full path of a key: exact, or the only one that ends in the name. Raises SpecError (text only).

    >>> resolve("lr"), resolve("optimizer.lr"), resolve("epochs")
    ('optimizer.lr', 'optimizer.lr', 'epochs')
    """
    keys = schema_keys()
    if name in keys or name.startswith(_BELOW):
        return name
    found = [key for key in keys if key.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise SpecError(f"'{name}' could be {' or '.join(found)}. Write the whole path")
    hint = nearest(name, {*keys, *(key.rsplit(".", 1)[-1] for key in keys)})
    if not hint.startswith("Did"):
        hint = nearest(name, [key for key in keys if "." not in key])
    raise SpecError(f"unknown key '{shown(name)}'. {hint}")


def steps_of(path: str) -> list[str]:
    """Return the keys of a dotted path; the name of a parameter is one key, dots and all.

    >>> steps_of("optimizer.lr"), steps_of("model.init.linear1.weight"), steps_of("optimizer.groups.linear1.*.lr")
    (['optimizer', 'lr'], ['model', 'init', 'linear1.weight'], ['optimizer', 'groups', 'linear1.*', 'lr'])
    """
    for prefix in ("model.init.", "optimizer.groups.", "scheduler.groups."):
        if path.startswith(prefix):
            name, dot, last = path.removeprefix(prefix).rpartition(".")
            tail = [name + dot + last] if prefix == "model.init." else [part for part in (name, last) if part]
            return [*prefix.rstrip(".").split("."), *tail]
    return path.split(".")


def is_override(word: str) -> bool:
    """Say whether a word is an override, ``key=value``: nothing that is the path of a file is one."""
    return "=" in word and not FilePath(word).exists()


def split_override(text: str) -> tuple[str, str]:
    """Return key and value text of ``key=value``. Raises SpecError without a key."""
    key, _, value = text.partition("=")
    if not key.strip():
        raise SpecError(f"an override is key=value (got '{text}')")
    return key.strip(), value


def apply(document: Node, overrides: Sequence[str], *, command: str = "run") -> Node:
    """Return the document with each ``key=value`` put in, at places on the command line.

    Raises SpecError with all problems of the overrides: an unknown or ambiguous key, a value that is no YAML, and a
    comma-separated list of values, which is a sweep.
    """
    problems: list[Problem] = []
    for text in overrides:
        key, value = split_override(text)
        try:
            path = resolve(key)
            node = read_value(value, COMMAND_LINE, column=len(text) - len(value) + 1)
            if _is_list_of_values(path, value):
                raise SpecError(
                    f"{key} has several values: gdcli {command} takes one. gdcli sweep --param {text} runs each"
                )
            document = put(document, steps_of(path), node, Place(COMMAND_LINE, 1, 1))
        except SpecError as error:
            problems += [replace(each, path=_below(key, each.path)) for each in error.problems]
            problems += [] if error.problems else [Problem(Place(COMMAND_LINE, 1, 1), "", str(error))]
    if problems:
        raise SpecError(problems)
    return document


def _below(key: str, path: str) -> str:
    return f"{shown(key)}.{path}" if path and path[0] != "[" else f"{shown(key)}{path}"


def _is_list_of_values(path: str, value: str) -> bool:
    return "," in value and not value.lstrip().startswith(("[", "{", '"', "'")) and path not in _TEXTS


_TEXTS = ("description", "model.expression", "data.file")


def put(node: Node, path: Sequence[str], value: Node, key: Place) -> Node:
    """Return a copy of a mapping node with the value at a path; a short form on the way becomes a mapping.

    Raises SpecError where a list or a number is in the way.
    """
    head, rest = path[0], path[1:]
    if not isinstance(node.value, dict):
        raise SpecError(f"'{head}' cannot be set below a value that is not a mapping")
    old = node.value.get(head)
    if rest:
        below = old.node if old is not None else Node(key, {})
        if not isinstance(below.value, dict):
            below = Node(below.place, {_SHORT[head]: Entry(below.place, below)} if head in _SHORT else {})
        value = put(below, rest, value, key)
    return replace(node, value={**node.value, head: Entry(old.key if old is not None else key, value)})


def as_node(value: Any, place: Place) -> Node:
    """Return plain data as a node, all of it at one place."""
    if isinstance(value, dict):
        return Node(place, {key: Entry(place, as_node(item, place)) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return Node(place, tuple(as_node(item, place) for item in value))
    return Node(place, value, str(value))
