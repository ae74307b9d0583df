"""What all sections of a spec are read by: values are checked by their types, and complaints are collected."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from gdcli.errors import SpecError, nearest, nearest_or_own
from gdcli.spec.document import MAX_KEY, MAX_PROBLEMS
from gdcli.spec.nodes import Node
from gdcli.spec.sections import MAX_GLOBS, Batch, is_glob, problems_at
from gdcli.spec.signature import Checked, Complaint, Path, Section, arguments, check, got, wrong_in_all


class SectionReader:
    """Complaints about a document, and the checks of any section."""

    def __init__(self, document: Node) -> None:
        self.document = document
        self.complaints: list[Complaint] = []

    def complain(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Complain of what stands at a path."""
        self.below(path, [Complaint((), message, hint, at_key)])

    def below(self, path: Path, complaints: list[Complaint]) -> None:
        """Take complaints of what stands below a path; of very many the reading ends. Raises SpecError then."""
        self.complaints += [item._replace(path=(*path, *item.path)) for item in complaints]
        if len(self.complaints) > MAX_PROBLEMS:
            self.end()

    def end(self) -> None:
        """Raise SpecError if anything was complained of."""
        if self.complaints:
            raise SpecError(problems_at(self.document, self.complaints))

    def section(self, path: Path, kind: type[Section], value: Any) -> Section | None:
        """Return a section of fixed keys; None for one that cannot be."""
        if isinstance(value, str) and kind is Batch:
            checked, complaints = check(kind, {"mode": value})
            self.below(path, [item._replace(path=()) for item in complaints])  # the short form has no key of its own
            return checked
        if isinstance(value, dict):
            return self.checked(kind, value, path)
        if value is not None or path[0] not in ("sweep", "compare"):
            of_rows = kind is Batch and isinstance(value, int) and not isinstance(value, bool)
            self.complain(
                path, f"must be a mapping {got(value)}", f"Rows a batch: {{size: {value}}}" if of_rows else ""
            )
        return None

    def checked(
        self, kind: type[Checked], values: dict[str, Any], path: Path, beside: Collection[str] = ()
    ) -> Checked | None:
        """Return values as their kind has them; None where one cannot be."""
        checked, complaints = check(kind, values, beside)
        self.below(path, complaints)
        return checked

    def arguments(
        self,
        function: Callable[..., Any],
        given: dict[str, Any],
        path: Path,
        beside: Collection[str],
        *,
        made: bool = False,
    ) -> dict[str, Any] | None:
        """Return all arguments of an ingredient; ``made`` makes it of them, which checks the rules between them."""
        values, complaints = arguments(function, given, beside=beside)
        self.below(path, complaints)
        try:
            if made and not complaints:
                function(**values)
        except ValueError as error:
            self.complain(path, str(error), at_key=True)
            return None
        return None if complaints else values

    def named(
        self, path: Path, value: Any, table: Mapping[str, Any], tag: str = "name"
    ) -> tuple[str, dict[str, Any]] | None:
        """Return the name of an ingredient and its other keys, from ``key: NAME`` or ``key: {tag: NAME, ...}``."""
        key, name = str(path[0]), value
        rest: dict[str, Any] = {}
        if isinstance(value, dict):
            path = (*path, tag)
            if tag not in value:
                self.complain(path, f"is required: the name of {_a(key)}", at_key=True)
                self.below(path[:-1], wrong_in_all(table, value))
                return None
            name, rest = value[tag], {k: v for k, v in value.items() if k != tag}
        elif not isinstance(value, str):
            self.complain(path, f"must be the name of {_a(key)}, or a mapping with '{tag}' {got(value)}")
            return None
        if not isinstance(name, str) or name not in table:
            hint = (nearest if key == "scheduler" else nearest_or_own)(str(name), table)
            self.complain(path, f"unknown {key} {got(name)}", hint)
            self.below(path[:-1], wrong_in_all(table, rest))
            return None
        return name, rest

    def by_name(self, path: Path, value: Any, keys: str = "parameter names or globs") -> dict[str, Any]:
        """Return what stands for parameters by name or glob; nothing of what is no mapping."""
        if not isinstance(value, dict):
            self.complain(path, f"must be a mapping of {keys} {got(value)}")
            return {}
        self.patterns(path, value)
        return value

    def patterns(self, path: Path, patterns: Collection[str]) -> None:
        """Check the size of names and globs of parameters, since every glob is matched with every name."""
        for index, pattern in enumerate(patterns):
            if len(pattern) > MAX_KEY:
                place = (*path, index if isinstance(patterns, list) else pattern)
                self.complain(place, f"a name has at most {MAX_KEY} characters {got(pattern)}")
        if (count := sum(map(is_glob, patterns))) > MAX_GLOBS:
            self.complain(path, f"more than {MAX_GLOBS} names with *, ? or [ (got {count:,})", "Use fewer, wider ones")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
