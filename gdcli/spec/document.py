"""YAML to nodes that know their place: every key and value with its line and column, within fixed limits.

The events come from PyYAML's parser, which is exact about marks; what they mean is decided here, by the core
schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema). PyYAML's own constructors follow YAML 1.1 (`no` is
false, `1e-3` is text), let the last of two equal keys win, and recurse.
"""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from gdcli.errors import Place, Problem, SpecError
from gdcli.spec.events import BANG, RULES, STAR, EscapeError, events
from gdcli.spec.nodes import Entry, Node
from gdcli.spec.scalars import (
    BYTE,
    LINE_BREAK,
    QUOTES,
    Scalar,
    UnreadableError,
    bad_characters,
    is_text,
    missing_space,
    named,
    resolve,
    shown,
)

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_LINES = 40_000
MAX_VALUES = 20_000
# each list or mapping costs as much as two numbers
MAX_COUNTS = {"values": MAX_VALUES, "lists and mappings": 10_000, "keys": 5_000}
MAX_KEY = 128
MAX_TEXT = 10_000
MAX_PROBLEMS = 100  # a file with more is another kind of file; nobody reads on
MAX_BAD_CHARACTERS = 20
_DATA = "Put data into a file of its own"


def read(text: bytes | str, file: str) -> Node:
    """Read a whole document, which must be a mapping.

    Raises SpecError with every problem that can be found, in the order of the file.

    >>> read("lr: 1e-3", "spec.yaml").plain()
    {'lr': 0.001}
    >>> read("a: 1\\na: 010", "spec.yaml")
    Traceback (most recent call last):
    gdcli.errors.SpecError: spec.yaml:2:1: a: this key is already given on line 1. Keep one of them
    spec.yaml:2:4: a: a number with a leading zero could be read as 8 (octal) or as 10 (got 010). Write 10 or 0o10
    """
    return _Reader(file).read(text)


def read_value(text: str, file: str, column: int = 1) -> Node:
    """Read the value of an override such as `0.1`, `[1, 2]`, `{mode: full}` or `sgd`, which begins at the column.

    Raises SpecError with every problem that can be found.

    >>> read_value("[1, 2e-3]", "command line").plain()
    [1, 0.002]
    """
    return _Reader(file, column - 1, override=True).read(text)


class _StopError(Exception):
    """Raised after a problem behind which nothing more can be said."""


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    place: Place
    value: list[Node] | dict[str, Entry]  # so far
    in_flow: bool
    is_key: bool  # stands where a key should: read for its problems, not kept
    key: tuple[Place, str | None] | None = None  # the key that waits for its value; None: one that cannot be used


class _Reader:
    """One pass over the events with a stack of its own; problems are collected, not raised."""

    def __init__(self, file: str, offset: int = 0, *, override: bool = False) -> None:
        self.file = file
        self.offset = offset  # columns before the first line
        self.override = override
        self.problems: list[Problem] = []
        self.stack: list[_Open] = []
        self.counts: Counter[str] = Counter()
        self.root: Node | None = None
        self.lines: list[str] = []
        self.quoted: tuple[Place, int] | None = None  # the last text in quotes, and the line of its end

    def read(self, text: bytes | str) -> Node:
        """Return the root, or raise SpecError with all problems."""
        with contextlib.suppress(_StopError):
            self._parse(self._without_directives(self._checked(text)))
            if not self.override:
                self._check_document()
            elif self.root is None and text.strip() and not self.problems:
                self.complain(self._place(0, 0), f"this is a comment, not a value (got {shown(str(text))})", QUOTES)
        if self.problems:
            raise SpecError(sorted(self.problems, key=lambda problem: (problem.place.line, problem.place.column)))
        return self.root or Node(self._place(0, 0), None)

    def _check_document(self) -> None:
        root, hint = self.root, "A spec is a mapping, one 'key: value' a line"
        if root is None or (root.value is None and not root.text):
            if not self.problems:
                self.complain(self._place(0, 0), "the file is empty", hint)
        elif not isinstance(root.value, dict) and not (self.problems and root.text):
            kind = "a list" if isinstance(root.value, tuple) else "text" if isinstance(root.value, str) else "a value"
            hint = missing_space(root.text) or hint
            self.complain(root.place, f"the document is {kind}, not a mapping of keys", hint)

    def complain(self, place: Place, message: str, hint: str = "", key: str | None = None) -> None:
        """Note a problem at the place, at the key given or else the one that is being read."""
        self.problems.append(Problem(place, self._path(key), message, hint))
        if len(self.problems) == MAX_PROBLEMS:
            self.problems.append(Problem(place, "", f"these are {MAX_PROBLEMS} problems, and the reading stops here"))
            raise _StopError

    def _fail(self, place: Place, message: str, hint: str = "") -> NoReturn:
        self.complain(place, message, hint)
        raise _StopError

    def _place(self, line: int, column: int) -> Place:
        """Return the place of a line and a column counted from 0."""
        return Place(self.file, line + 1, column + 1 + (self.offset if line == 0 else 0))

    def _at(self, mark: Any) -> Place:  # the stubs allow None, PyYAML's parser always sets it
        if mark.line >= len(self.lines):  # the C parser's end of a text without a line break there
            return self._place(len(self.lines) - 1, len(self.lines[-1]))
        return self._place(mark.line, mark.column)

    def _path(self, key: str | None) -> str:
        path = ""
        for open_ in self.stack:
            if isinstance(open_.value, list):
                path += f"[{len(open_.value)}]"
            elif open_.key is not None and open_.key[1] is not None:
                path += ("." if path else "") + shown(open_.key[1])
        return path if key is None else path + ("." if path else "") + shown(key)

    # -- before the parser

    def _checked(self, text: bytes | str) -> str:
        """Return the text without its byte order mark, every bad character named and replaced."""
        start = self._place(0, 0)
        size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_BYTES:
            self._fail(start, f"the text has {size:,} bytes; the limit is {MAX_BYTES:,}", _DATA)
        if isinstance(text, bytes):
            if text[:2] in (b"\xff\xfe", b"\xfe\xff") or 3 * text[:64].count(0) > len(text[:64]):
                self._fail(start, "the text is not UTF-8 (it looks like UTF-16)", "Save it as UTF-8")
            text = text.decode("utf-8", "surrogateescape")
        if not self.override:
            text = text.removeprefix("\ufeff")
        if bad := bad_characters(text):
            text = self._without_bad(text, bad)
        self.lines = LINE_BREAK.split(text)
        if len(self.lines) > MAX_LINES:
            self._fail(self._place(MAX_LINES, 0), f"more than {MAX_LINES:,} lines", _DATA)
        return text

    def _without_bad(self, text: str, bad: frozenset[str]) -> str:
        pattern = re.compile("[" + re.escape("".join(bad)) + "]")
        starts = [0, *(match.end() for match in LINE_BREAK.finditer(text))]
        for count, match in enumerate(pattern.finditer(text)):
            line = bisect_right(starts, match.start()) - 1
            place = self._place(line, match.start() - starts[line])
            if count == MAX_BAD_CHARACTERS:
                self._fail(place, "more characters that are refused follow", "Is this a text file, saved as UTF-8?")
            hint = "Save the file as UTF-8" if ord(match[0]) in BYTE else "Remove it"
            self.complain(place, named(match[0]), hint)
        return pattern.sub("\ufffd", text)  # of the same length, so that the places below stay right

    def _without_directives(self, text: str) -> str:
        """Name the directives before the document and make comments of them, so that the rest can be read."""
        position = 0
        for number, line in enumerate(self.lines):
            if line.startswith("%"):
                self.complain(self._place(number, 0), f"directives are refused (got {shown(line)})", "Remove the line")
                text = text[:position] + "#" + text[position + 1 :]
            elif line.strip() and not line.lstrip().startswith("#"):
                break
            position += len(line) + (2 if text.startswith("\r\n", position + len(line)) else 1)
        return text

    # -- the events

    def _parse(self, text: str) -> None:
        try:
            for event in events(text):
                self._event(event)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except EscapeError as error:
            self._fail(self._at(error.mark), "this escape or number is out of range")

    def _event(self, event: yaml.Event) -> None:
        place = self._at(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            if self.root is not None:
                hint = "Keep one, and remove the line '---'"
                self._fail(place, "a second document begins here; a spec is one document", hint)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._refuse_properties(place, event.anchor, event.tag)
            self._open(place, event)
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self.stack.pop()
            if closed.is_key:
                self.stack[-1].key = (closed.place, None)
            else:
                value = closed.value
                self._add(Node(closed.place, tuple(value) if isinstance(value, list) else value))
        elif isinstance(event, yaml.AliasEvent):
            self.complain(place, f"aliases are refused (got *{shown(str(event.anchor))})", STAR)
            self._take(place, "alias", "", plain=False)
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_properties(place, event.anchor, event.tag)
            if event.style in ("'", '"'):
                self.quoted = place, self._at(event.end_mark).line
            self._take(place, "scalar", event.value, plain=not event.style)  # '' in C, None in Python

    def _refuse_properties(self, place: Place, anchor: str | None, tag: str | None) -> None:
        if anchor is not None:
            self.complain(place, f"anchors are refused (got &{shown(anchor)})", STAR)
        if tag is not None:
            name = shown(tag.replace("tag:yaml.org,2002:", "!!"))
            self.complain(place, f"tags are refused (got {name})", BANG)

    def _expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def _open(self, place: Place, event: yaml.CollectionStartEvent) -> None:
        is_list = isinstance(event, yaml.SequenceStartEvent)
        if self.override and not self.stack and not event.flow_style:
            hint = "Write a mapping as {key: value}, a list as [1, 2], and text with ': ' in quotes"
            self._fail(place, "this value is a block of YAML", hint)
        if len(self.stack) == MAX_DEPTH:
            self._fail(place, f"nested deeper than {MAX_DEPTH} levels")
        self._count("lists and mappings", place)
        is_key = self._expects_key()
        if is_key:
            kind = "a list" if is_list else "a mapping"
            self.complain(place, f"a key must be text (got {kind})", "A key is one word before ': '")
        else:
            self._count("values", place)
        self.stack.append(_Open(place, [] if is_list else {}, bool(event.flow_style), is_key))

    def _count(self, what: str, place: Place) -> None:
        self.counts[what] += 1
        if self.counts[what] > MAX_COUNTS[what]:
            self._fail(place, f"more than {MAX_COUNTS[what]:,} {what}", _DATA)

    def _take(self, place: Place, kind: str, text: str, *, plain: bool) -> None:
        """Take a scalar, or an alias in its place, as the key or the value that comes next."""
        if self._expects_key():
            self._count("keys", place)
            self.stack[-1].key = (place, self._key(place, text, plain=plain) if kind == "scalar" else None)
            return
        self._count("values", place)
        if text == "" and plain and self.stack and self.stack[-1].in_flow:
            self._ask_about_space()
        self._add(Node(place, self._meaning(place, text, plain=plain), text))

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(node)
            return
        assert top.key is not None
        (place, name), top.key = top.key, None
        if name is not None:
            top.value.setdefault(name, Entry(place, node))

    def _ask_about_space(self) -> None:
        """Notice `{lr:0.1}`, which YAML takes for a key without a value."""
        key = self.stack[-1].key
        if key is not None and key[1] is not None and (hint := missing_space(key[1])):
            self.complain(key[0], "this key has no value", hint)

    def _key(self, place: Place, text: str, *, plain: bool) -> str | None:
        """Return the key if it is one; a duplicate is one, so that its value is read under its name."""
        if plain and text == "":
            self.complain(place, "the key before ':' is missing")
        elif plain and text == "<<":
            self.complain(place, "merge keys are refused (got <<)", "Write the keys out")
        elif plain and not is_text(text):
            self.complain(
                place, f"a key must be text (got {shown(text)})", "Put it in quotes; a number has a point, 0.5"
            )
        elif len(text) > MAX_KEY:
            self.complain(place, f"a key has at most {MAX_KEY} characters (got {len(text):,}: {shown(text)})")
        elif bad := sorted(bad_characters(text) | set(text) & {"\t", "\n", "\r"}):
            self.complain(place, f"in this key {named(bad[0])}", "Remove it", text)
        else:
            entries = self.stack[-1].value
            if isinstance(entries, dict) and text in entries:
                message = f"this key is already given on line {entries[text].key.line}"
                self.complain(place, message, "Keep one of them", text)
            return text
        return None

    def _meaning(self, place: Place, text: str, *, plain: bool) -> Scalar:
        if len(text) > MAX_TEXT:
            self.complain(place, f"a text has at most {MAX_TEXT:,} characters (got {len(text):,})", _DATA)
        elif plain:
            try:
                return resolve(text)
            except UnreadableError as problem:
                self.complain(place, problem.message, problem.hint)
        elif bad := sorted(bad_characters(text) | set(text) & {"\r"}):  # by an escape in double quotes
            self.complain(place, f"in this text {named(bad[0])}", "Remove its escape")
        return None if plain else text

    # -- what PyYAML says of a text that is no YAML

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        context, problem = str(error.context), str(error.problem)
        place = self._at(error.problem_mark or error.context_mark)
        at_end = place.line == len(self.lines) and not self._rest(place)
        ended = "'<stream end>'" in problem or (at_end and "did not find expected ',' or" in problem)
        if ended and self.stack and self.stack[-1].in_flow:
            self._unclosed(self.stack[-1].place)
        if "mapping values" in problem and (key := self._text_before(place)):
            self._fail(*key)
        if self.quoted and self.quoted[0].line < self.quoted[1] == place.line:  # ended by the next text's quote
            self._fail(self.quoted[0], f"the quote that opens here closes only on line {place.line}")
        if "while parsing a flow" in context and self._is_left(place, self._at(error.context_mark)):
            self._unclosed(self._at(error.context_mark))
        for rule in RULES:
            if match := re.search(rule.pattern, f"{context}: {problem}"):
                opened = self._at(error.context_mark) if error.context_mark else place
                where = opened if rule.at_context else place
                hint = missing_space(self._rest(where)) if "key needs" in rule.message else ""
                self._fail(where, rule.message.format(*match.groups(), line=opened.line), hint or rule.hint)
        self._fail(place, f"this is not valid YAML ({shown(problem)})")

    def _unclosed(self, opened: Place) -> NoReturn:
        while self.stack and self.stack.pop().place != opened:
            pass  # so that the problem is one of the key that holds the bracket
        self._fail(opened, "the bracket that opens here is not closed")

    def _is_left(self, place: Place, opened: Place) -> bool:
        """Say whether the line of the place is a later one and no deeper than the line of a bracket."""
        line, first = self.lines[place.line - 1], self.lines[opened.line - 1]
        return place.line > opened.line and len(line) - len(line.lstrip()) <= len(first) - len(first.lstrip())

    def _rest(self, place: Place) -> str:
        """Return the line from the place on."""
        return self.lines[place.line - 1][place.column - 1 - (self.offset if place.line == 1 else 0) :]

    def _text_before(self, place: Place) -> tuple[Place, str, str] | None:
        """Find `lr:0.1` on the line above: YAML reads on to the next colon and complains only there."""
        for number in range(place.line - 2, -1, -1):
            line = self.lines[number]
            if text := line.strip():
                hint = missing_space(text) if ": " not in text else ""
                where = self._place(number, len(line) - len(line.lstrip()))
                return (where, "a key needs ': ' and a value after it", hint) if hint else None
        return None
