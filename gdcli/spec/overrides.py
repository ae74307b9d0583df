"""Overrides from the command line: ``key=value`` puts a value into the document before it is checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path as FilePath
from typing import Any, get_args, get_origin, get_type_hints

from gdcli.errors import Place, Problem, SpecError, nearest
from gdcli.spec.data_sections import DATA_KEYS, SOURCES, DataCommon, IdxFiles
from gdcli.spec.document import read_value
from gdcli.spec.expectations import Expectation
from gdcli.spec.nodes import Entry, Node
from gdcli.spec.scalars import shown, with_point
from gdcli.spec.sections import EXPECT, INGREDIENTS, MODEL_KEYS, SECTIONS, Settings, mode_of
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.schedulers import SCHEDULERS

COMMAND_LINE = "command line"
HERE = Place(COMMAND_LINE, 1, 1)

# The key under which the short form `optimizer: sgd` holds its name, once another key joins it.
_SHORT = {"optimizer": "name", "scheduler": "name", "loss": "name", "batch": "mode", "model": "type"}


def _keys_of(functions: Iterable[Any]) -> set[str]:
    """Return all YAML keys of some functions of the zoo: their keyword-only arguments."""
    return {name for function in functions for name in inspect.getfullargspec(function).kwonlyargs}


def schema_keys() -> tuple[str, ...]:
    """Return the dotted path of every key of the spec, those under groups, sweep and compare not counted."""
    return _keys_with(*(tuple(table.values()) for table in (GENERATORS, MODELS, LOSSES, OPTIMIZERS)))


_Functions = tuple[Any, ...]


@cache
def _keys_with(
    generators: _Functions, models: _Functions, losses: _Functions, optimizers: _Functions
) -> tuple[str, ...]:
    sections = {key: kind.model_fields for key, kind in SECTIONS.items() if key not in ("sweep", "compare")}
    paths = {*Settings.model_fields, *INGREDIENTS, *sections, EXPECT}
    for section, names in {
        **sections,
        "data": DATA_KEYS,
        "data.idx": IdxFiles.model_fields,
        "data.generate": {"kind", *_keys_of(generators)},
        "model": {"type", *MODEL_KEYS, *_keys_of(models)},
        "loss": {"name", *_keys_of(losses)},
        "optimizer": {"name", "groups", *_keys_of(optimizers)},
    }.items():
        paths |= {f"{section}.{name}" for name in names}
    return tuple(sorted(paths))


_BELOW = (
    "sweep.", "compare.", "scheduler.", "optimizer.groups.", "model.init.", "model.start.", "model.constants.",
    "data.generate.x.", "expect.",
)  # fmt: skip
"""Whole paths below these are taken as they are; a name without its path never means one of them."""
_BY_PATH_ALONE = ("record.layers",)
"""Keys whose last part means another one, which had it before."""


def resolve(name: str, document: Node | None = None) -> str:
    """Return the full path of a key: exact, or the only one that ends in the name.

    Raises SpecError (text only), which suggests what the document can take.

    >>> resolve("lr"), resolve("optimizer.lr"), resolve("epochs")
    ('optimizer.lr', 'optimizer.lr', 'epochs')
    """
    keys, document = schema_keys(), document or Node(HERE, {})
    if name in keys or name.startswith(_BELOW):
        return name
    found = [key for key in keys if key.endswith(f".{name}") and key not in _BY_PATH_ALONE]
    if len(found) == 1:
        return found[0]
    if name == "extends":
        raise SpecError("extends stands in a spec. On the command line files are merged by --config FILE")
    numbers = _numbers(name, document)
    if found:
        raise SpecError(f"'{name}' could be {' or '.join([*found, *numbers])}. Write the whole path")
    if name.lower() in SYNONYMS:
        raise SpecError(f"unknown key '{shown(name)}'. Did you mean '{SYNONYMS[name.lower()]}'?")
    if name in _keys_of(SCHEDULERS.values()):
        raise SpecError(f"unknown key '{name}'. Did you mean 'scheduler.{name}'?")
    if not numbers and f".{name}".endswith((".weight", ".bias")):
        numbers = [f"model.init.{shown(name)}"]
    hint = f"Did you mean '{numbers[0]}'?" if numbers else _nearest_key(name, document)
    raise SpecError(f"unknown key '{shown(name)}'. {hint}")


def _numbers(name: str, document: Node) -> list[str]:
    """Return the paths of the model's start values and constants that a name may mean, whole or its last part."""
    found = []
    for key in ("init", "start", "constants"):
        node = document.find(("model", key))
        given = node.value if node is not None and isinstance(node.value, dict) else {}
        found += [f"model.{key}.{one}" for one in given if f".{one}".endswith(f".{name}")]
    return found[:MAX_SUGGESTED]


MAX_SUGGESTED = 5


def _nearest_key(name: str, document: Node) -> str:
    """Return the nearest key: of those that the document's choices take, then of all but those of another source."""
    of_data = [key for key in schema_keys() if is_of_source(document, key)]
    for keys in ([key for key in of_data if has_place(document, key)], of_data):
        hint = nearest(name, {*keys, *(key.rsplit(".", 1)[-1] for key in keys)})
        if hint.startswith("Did"):
            return hint
    return nearest(name, [key for key in of_data if "." not in key])


def is_of_source(document: Node, key: str) -> bool:
    """Say whether a key is none of the data, or one that the source which the document has can take, if it has any."""
    section, _, name = key.partition(".")
    given = [kind for source, kind in SOURCES.items() if document.find(("data", source)) is not None]
    taken = {*DataCommon.model_fields, *(field for kind in given for field in kind.model_fields)}
    return section != "data" or not given or not name or name.partition(".")[0] in taken


SYNONYMS = {
    "learning_rate": "optimizer.lr", "learningrate": "optimizer.lr", "lrate": "optimizer.lr", "eta": "optimizer.lr",
    "batch_size": "batch.size", "batchsize": "batch.size", "num_epochs": "epochs", "n_epochs": "epochs",
    "max_epochs": "epochs", "iterations": "stop.max_steps", "max_iter": "stop.max_steps", "criterion": "loss",
    "loss_fn": "loss", "optim": "optimizer", "lr_scheduler": "scheduler", "schedule": "scheduler", "net": "model",
    "network": "model", "random_state": "seed", "random_seed": "seed", "precision": "dtype",
}  # fmt: skip
"""What other programs call our keys."""


def key_of(name: str) -> str:
    """Return the whole key that a name stands for, by its last part or in other programs; nothing for none, or many.

    >>> key_of("lr"), key_of("learning_rate"), key_of("colour")
    ('optimizer.lr', 'optimizer.lr', '')
    """
    try:
        return SYNONYMS.get(name.lower()) or resolve(name)
    except SpecError:
        return ""


def short_of(key: str) -> str:
    """Return the shortest name that means a whole key.

    >>> short_of("optimizer.lr"), short_of("batch.size"), short_of("data.x")
    ('lr', 'size', 'data.x')
    """
    last = key.rpartition(".")[2]
    return last if key_of(last) == key else key


def steps_of(path: str) -> list[str]:
    """Return the keys of a dotted path; the name of a parameter is one key, dots and all.

    >>> steps_of("optimizer.lr"), steps_of("model.init.linear1.weight"), steps_of("optimizer.groups.linear1.*.lr")
    (['optimizer', 'lr'], ['model', 'init', 'linear1.weight'], ['optimizer', 'groups', 'linear1.*', 'lr'])
    """
    if path.startswith("expect."):
        name, _, last = path.removeprefix("expect.").rpartition(".")
        is_key = bool(name) and last in Expectation.model_fields
        return ["expect", *([name, last] if is_key else [path.removeprefix("expect.")])]
    for prefix in ("model.init.", "optimizer.groups.", "scheduler.groups."):
        if path.startswith(prefix):
            name, dot, last = path.removeprefix(prefix).rpartition(".")
            tail = [name + dot + last] if prefix == "model.init." else [part for part in (name, last) if part]
            return [*prefix.rstrip(".").split("."), *tail]
    return path.split(".")


def is_override(word: str) -> bool:
    """Say whether a word is an override, ``key=value`` or ``~key``: nothing that is the path of a file is one."""
    return ("=" in word or word.startswith("~")) and not FilePath(word).exists()


def split_override(text: str) -> tuple[str, str]:
    """Return key and value text of ``key=value``; ``~key`` is ``key=null``. Raises SpecError without a key."""
    key, equals, value = text.partition("=")
    if not equals and key.startswith("~"):
        key, value = key[1:], "null"
    if not key.strip() or not (equals or value):
        raise SpecError(f"an override is key=value (got '{text}')")
    return key.strip(), value


def parsed(
    overrides: Sequence[str], *, command: str = "run", document: Node | None = None
) -> list[tuple[str, str, Node]]:
    """Return key, whole path and value of each ``key=value``, choices before the values below them.

    So `lr=0.1 optimizer=adam` is `optimizer=adam lr=0.1`. Raises SpecError with all problems of the overrides: an
    unknown or ambiguous key, a value that is no YAML, and a comma-separated list of values, which is a sweep, or lacks
    the brackets of a list. What is suggested is what the document can take.
    """
    problems: list[Problem] = []
    found: list[tuple[str, str, Node]] = []
    for text in overrides:
        key, value = split_override(text)
        try:
            path = resolve(key, document)
            column = len(text) - len(value) + 1
            if path in _SIGNS and len(value) == 1 and value != "~":  # , and | mean something else in YAML
                found.append((key, path, Node(Place(COMMAND_LINE, 1, column), value, value)))
                continue
            node = read_value(value, COMMAND_LINE, column=column)
            if _is_list_of_values(path, value):
                point = f". A number has a point: {key}={with_point(value)}" if with_point(value) else ""
                written = f"A list is written {key}=[{value}]"
                hint = written if _takes_list(path) else f"gdcli sweep --param {text} runs each"
                raise SpecError(f"{key} has several values: gdcli {command} takes one. {hint}{point}")
            found.append((key, path, node))
        except SpecError as error:
            problems += [replace(each, path=_below(key, each.path)) for each in error.problems]
            problems += [] if error.problems else [Problem(HERE, "", str(error))]
    if problems:
        raise SpecError(problems)
    return sorted(found, key=lambda item: len(steps_of(item[1])))


def apply(document: Node, overrides: Sequence[str], *, command: str = "run", alone: bool = True) -> Node:
    """Return the document with each ``key=value`` put in, at places on the command line. For errors see `parsed`.

    One that is not ``alone``, of which many runs are made, does without those that its choices do not take.
    """
    problems: list[Problem] = []
    for _, path, node in parsed(overrides, command=command, document=document):
        if not (alone or has_place(document, path)):
            continue
        try:
            document = put(document, steps_of(path), node, HERE)
        except SpecError as error:
            problems.append(Problem(HERE, "", str(error)))
    if problems:
        raise SpecError(problems)
    return document


def _below(key: str, path: str) -> str:
    return f"{shown(key)}.{path}" if path and path[0] != "[" else f"{shown(key)}{path}"


def _is_list_of_values(path: str, value: str) -> bool:
    return "," in value and not value.lstrip().startswith(("[", "{", '"', "'")) and path not in _TEXTS


_OF_OTHER_MODES = {("full", "shuffle"), ("stochastic", "shuffle"), ("stochastic", "accumulate")}
_SIGNS = ("data.separator", "data.decimal")
_TEXTS = ("description", "model.expression", "data.file")


@cache
def _lists() -> frozenset[str]:
    """Return the paths of the keys that take a list."""
    tables = {"data.generate": GENERATORS, **_TABLES}
    hints = [(above, get_type_hints(each)) for above, table in tables.items() for each in table.values()]
    found = {
        f"{above}.{name}"
        for above, types in hints
        for name, kind in types.items()
        if name != "return" and _is_list(kind)
    }
    return frozenset(
        {
            "data.x",
            "data.y",
            "data.features",
            "data.ignore",
            "data.target",
            "metrics",
            "model.freeze",
            "print.predict",
            "watch",
            *found,
        }
    )


def _is_list(kind: Any) -> bool:
    return get_origin(kind) in (list, tuple) or any(map(_is_list, get_args(kind)))


def _takes_list(path: str) -> bool:
    return path in _lists() or path.startswith("model.init.")


def takes(path: str, choice: Any, key: str) -> bool:
    """Say whether a choice, such as `optimizer` with adam or {name: adam, lr: 0.1}, has a key of that name.

    >>> takes("optimizer", "adam", "momentum"), takes("optimizer", {"name": "sgd"}, "momentum")
    (False, True)
    """
    if choice is None:
        return False
    tag = _SHORT.get(path, "name")
    name = str(choice.get(tag) if isinstance(choice, dict) else choice)
    if path == "batch":
        return name in ("mini-batch", "None") or (name, key) in _OF_OTHER_MODES
    table: Mapping[str, Any] = _TABLES.get(path, {})
    return name not in table or key in {"groups", *MODEL_KEYS, *_keys_of([table[name]])}


def has_place(document: Node, path: str) -> bool:
    """Say whether a document can hold a key: always, but for one that the choice above it, if any, does not take.

    >>> from gdcli.spec.document import read
    >>> [has_place(read("optimizer: adam", "f"), path) for path in ("optimizer.lr", "optimizer.momentum", "epochs")]
    [True, False, True]
    """
    above, *below = steps_of(path)
    if above not in _TABLES or not below or below[0] == _SHORT[above]:
        return True
    choice = document.find((above,))
    return takes(above, None if choice is None else choice.plain(), below[0])


_TABLES: dict[str, Mapping[str, Any]] = {
    "optimizer": OPTIMIZERS, "scheduler": SCHEDULERS, "loss": LOSSES, "model": MODELS,
}  # fmt: skip


def put(node: Node, path: Sequence[str], value: Node, key: Place) -> Node:
    """Return a copy of a mapping node with the value at a path; a short form on the way becomes a mapping.

    A choice that the node has already, as `optimizer: adam`, leaves the settings beside it; null removes the key.
    Raises SpecError where a list or a number is in the way.
    """
    head, rest = path[0], path[1:]
    if not isinstance(node.value, dict):
        raise SpecError(f"'{head}' cannot be set below a value that is not a mapping")
    old = node.value.get(head)
    if value.value is None and value.text and (not rest or old is None):
        return replace(node, value={key: entry for key, entry in node.value.items() if key != head})
    if not rest and old is not None and _chosen(head, old.node) == value.value:
        return node
    if rest:
        below = old.node if old is not None else Node(key, {})
        if not isinstance(below.value, dict):
            below = Node(below.place, {_SHORT[head]: Entry(below.place, below)} if head in _SHORT else {})
        value = put(below, rest, value, key)
    return replace(node, value={**node.value, head: Entry(old.key if old is not None else key, value)})


def _chosen(key: str, node: Node) -> object:
    """Return the name in a mapping of a choice and its settings; a batch without one has the mode of its keys."""
    named = node.find((_SHORT[key],)) if key in _SHORT else None
    if named is None and key == "batch" and isinstance(node.value, dict):
        return mode_of(node.value)
    return _NONE if named is None else named.value


_NONE = object()


def as_node(value: Any, place: Place) -> Node:
    """Return plain data as a node, all of it at one place."""
    if isinstance(value, dict):
        return Node(place, {key: Entry(place, as_node(item, place)) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return Node(place, tuple(as_node(item, place) for item in value))
    return Node(place, value, str(value))
