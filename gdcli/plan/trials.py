"""One run of many, as data, and its spec: what a run does not change is checked and read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Protocol

from gdcli.errors import Place, Problem, SpecError
from gdcli.spec.load import Loaded, respecified
from gdcli.spec.nodes import Node
from gdcli.spec.overrides import HERE, as_node, has_place, put, steps_of, takes
from gdcli.spec.schema import RESPECIFIED, respec, respecified_key
from gdcli.spec.sections import RunSpec

MADE_AT_ONCE = 10_000
"""Runs whose specs are made once and kept: of more, each is made again where it is needed. A spec has two kilobytes."""

KEPT = 8  # data sets of other seeds that stay at hand: the rows of a comparison ask for the same few seeds in turn


@dataclass(frozen=True, slots=True)
class ChangeOrigin:
    """Where the file asks for a change, for messages: the place, and the path of the key that stands there."""

    place: Place
    path: str


NO_ORIGINS: Mapping[str, ChangeOrigin] = {}


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a sweep or comparison: what it changes in the base document."""

    label: str
    values: tuple[Any, ...]  # of the axes, for results.csv
    changes: tuple[tuple[str, Any], ...]  # dotted path and plain value: ("optimizer.lr", 0.1), ("seed", 3)
    # by dotted path, of changes that the file asks for
    origins: Mapping[str, ChangeOrigin] = field(default_factory=lambda: NO_ORIGINS)  # one for all that have none

    def also(self, label: str, value: Any, *changes: tuple[str, Any]) -> Trial:
        """Return the run with more in its label, one more value and more changes."""
        return Trial(self.label + label, (*self.values, value), (*self.changes, *changes), self.origins)

    def put_into(self, document: Node) -> Node:
        """Return the document with the changes; choices come first: `optimizer=adam` does not undo `optimizer.lr`."""
        for path, value in sorted(self.changes, key=lambda change: change[0].count(".")):
            document = put(document, steps_of(path), as_node(value, HERE), HERE)
        return document

    def told(self, error: SpecError) -> SpecError:
        """Return an error of the run's spec with its problems at the keys of the file that ask for the changes."""
        if not self.origins or not error.problems:
            return error
        return SpecError([_moved(problem, self.origins) for problem in error.problems])


def in_folds(trials: Sequence[Trial], folds: Sequence[int], mark: str) -> list[Trial]:
    """Return each trial once for each fold, the folds fastest; as they are where there is none."""
    if not folds:
        return list(trials)
    return [trial.also(f"{mark}fold={fold}", fold, ("data.fold", fold)) for trial in trials for fold in folds]


def with_overrides(trials: Sequence[Trial], overrides: Sequence[tuple[str, str, Node]], document: Node) -> list[Trial]:
    """Return the trials with what the command line puts below their choices: `lr=0.1` reaches each optimizer's row.

    A value reaches every trial whose choice takes it and does not name it itself; where no trial changes anything there
    it stands in the document. Raises SpecError for one that reaches none.
    """
    found = list(trials)
    for key, path, node in overrides:
        value = node.plain()
        below = [_below(trial, path, value) for trial in trials]
        if None in below and has_place(document, path):
            continue
        if not any(below):
            raise SpecError(f"{key}={node.text}: no run takes it: each names its own, or has no such setting")
        found = [
            replace(trial, changes=(*trial.changes, (path, value))) if takes_it else trial
            for trial, takes_it in zip(found, below, strict=True)
        ]
    return found


def _below(trial: Trial, path: str, value: Any) -> bool | None:
    """Say whether the change at a path, or above it, takes a value there; None where there is no such change."""
    for changed, choice in trial.changes:
        if path == changed:
            return None if value is None else False  # to take a key away first, as ~loss does, is no value
        if path.startswith(f"{changed}."):
            head, *rest = steps_of(path)[len(steps_of(changed)) :]
            names_it = isinstance(choice, dict) and head in choice and not rest
            return choice[head] == value if names_it else takes(changed, choice, head)
    return None


class Parse(Protocol):
    """Makes a spec of a document, ``alone`` or one of many."""

    def __call__(self, document: Node, /, *, alone: bool) -> RunSpec:
        """Raise SpecError with every problem."""


class SpecFactory:
    """The runs of one document, each a spec with its data.

    ``base`` is the document as it is, loaded; ``parse`` and ``load`` make another one into that where a run changes
    more than its optimizer and its seeds.
    """

    def __init__(self, document: Node, base: Loaded, parse: Parse, load: Callable[[RunSpec], Loaded]) -> None:
        self._document, self._base, self._parse, self._load = document, base, parse, load
        self._drawn: OrderedDict[int, Loaded] = OrderedDict()  # by the data's seed
        self._drawing = Lock()  # shards are made in threads
        self.warnings: dict[str, None] = {}  # of all that were made, each once

    def of(self, point: Trial) -> Loaded:
        """Return a point's spec with its data. Raises SpecError with all problems, at the line that asks for them."""
        try:
            found = self.at(point.changes)
        except SpecError as error:
            raise point.told(error) from None
        self.warnings |= dict.fromkeys(found.warnings)
        return found

    def at(self, changes: Sequence[tuple[str, Any]]) -> Loaded:
        """Return the spec with these changes and its data.

        Raises SpecError with all problems, those of the changes at ``command line``.
        """
        document = Trial("", (), tuple(changes)).put_into(self._document)
        changed = [path for path, _ in changes]
        keys = set(map(respecified_key, changed))
        if not keys.issubset(RESPECIFIED) or (self._base.spec.data is None and "data.seed" in keys):
            return self._load(self._parse(document, alone=False))
        spec = respec(self._base.spec, document, changed)
        return respecified(self._with_data(spec), spec)

    def _with_data(self, spec: RunSpec) -> Loaded:
        """Return a loaded spec that has the data of this one."""
        seed = spec.data_seed
        if seed == self._base.spec.data_seed or not spec.draws_data:
            return self._base
        with self._drawing:
            if seed not in self._drawn:
                self._drawn[seed] = self._load(spec)
                if len(self._drawn) > KEPT:
                    self._drawn.popitem(last=False)
            self._drawn.move_to_end(seed)
            return self._drawn[seed]


def _moved(problem: Problem, origins: Mapping[str, ChangeOrigin]) -> Problem:
    """Return a problem of a change at the key of the file that asks for it."""
    for path, origin in origins.items():
        rest = problem.path.removeprefix(path)
        if problem.place == HERE and problem.path.startswith(path) and rest[:1] in ("", ".", "["):
            return replace(problem, place=origin.place, path=origin.path + rest)
    return problem
