"""PyYAML's events of a text, in bounded time: the same events and marks, less work for each.

PyYAML looks at every character by itself, and asks about every possible key anew for each question of its parser. A
spec of 256 KiB is to be read, or refused, within half a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml


def events(text: str, depth: int) -> Iterator[yaml.Event]:
    """Yield the events of a text that has passed the check for bad characters, so that only CR and LF end a line.

    Below ``depth`` brackets the events are not to be relied on: the caller refuses what nests deeper. Raises
    yaml.MarkedYAMLError, and EscapeError.
    """
    loader = _Loader(text, depth)
    try:
        while loader.check_event():
            yield loader.get_event()  # type: ignore[no-untyped-call]  # the stubs lack it
    except (ValueError, OverflowError) as error:  # PyYAML does not check that "\UFFFFFFFF" is a character
        raise EscapeError(loader.get_mark()) from error
    finally:
        loader.dispose()


class EscapeError(Exception):
    """An escape or a number that is out of range, at PyYAML's mark."""

    def __init__(self, mark: Any) -> None:
        super().__init__(mark)
        self.mark = mark


_SKIPPED = re.compile(r"(?:[ ]*(?:#[^\r\n\0]*)?(?:\r\n?|\n))*[ ]*(?:#[^\r\n\0]*)?")
_WORD = re.compile(r"[A-Za-z0-9_.+-]+(?=:[ \r\n]|([,\]}]))")  # its end is certain; the group: where brackets are open
_ENTRY = re.compile(r" *((?!- )[A-Za-z0-9_.+-]+|\"[^\"\\\r\n]*\"|'[^'\r\n]*'(?!')) *,")


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str, depth: int) -> None:
        self._depth, self._filled = depth, False
        super().__init__(text)

    def save_possible_simple_key(self) -> None:
        # A bracket may begin a key, so PyYAML reads 1,024 characters on and keeps a list of all brackets there, in
        # quadratic time. Those below the depth limit will be refused, whatever they begin.
        if self.flow_level <= self._depth:
            super().save_possible_simple_key()

    def _fill(self) -> None:
        """Scan until the next token is certain; only taking it changes that."""
        while self.need_more_tokens():
            self.fetch_more_tokens()
        self._filled = True

    def check_token(self, *choices: Any) -> bool:
        if not self._filled:
            self._fill()
        return bool(self.tokens) and (not choices or isinstance(self.tokens[0], choices))

    def peek_token(self) -> Any:
        if not self._filled:
            self._fill()
        return self.tokens[0] if self.tokens else None

    def get_token(self) -> Any:
        if not self._filled:
            self._fill()
        self._filled = False
        self.tokens_taken += 1
        return self.tokens.pop(0)

    def forward(self, length: int = 1) -> None:
        end = self.pointer + length
        passed = self.buffer[self.pointer : end]
        if "\n" in passed or "\r" in passed:
            super().forward(length)
        else:
            self._move(end, self.line, self.column + length)

    def _move(self, end: int, line: int, column: int) -> None:
        self.index += end - self.pointer
        self.pointer, self.line, self.column = end, line, column

    def scan_to_next_token(self) -> None:
        if self.buffer[self.pointer] not in " #\r\n":
            return
        match = _SKIPPED.match(self.buffer, self.pointer)
        assert match is not None  # it may be empty
        passed = match[0]
        breaks = passed.count("\n") + passed.count("\r") - passed.count("\r\n")
        if breaks:
            self._move(match.end(), self.line + breaks, len(passed) - 1 - max(passed.rfind("\n"), passed.rfind("\r")))
            self.allow_simple_key = self.allow_simple_key or not self.flow_level
        else:
            self._move(match.end(), self.line, self.column + len(passed))

    def scan_plain(self) -> yaml.ScalarToken:
        match = _WORD.match(self.buffer, self.pointer)
        if match is None or (match[1] and not self.flow_level):
            return super().scan_plain()
        start = self.get_mark()
        self._move(match.end(), self.line, self.column + len(match[0]))
        self.allow_simple_key = False
        return yaml.ScalarToken(match[0], True, start, self.get_mark())

    def parse_flow_sequence_entry(self, first: bool = False) -> yaml.Event:
        # Long lists are of numbers or short texts: from one comma to the next without tokens. The comma before waits
        # in the queue, and the one behind takes its place.
        waits = not first and len(self.tokens) == 1 and isinstance(self.tokens[0], yaml.FlowEntryToken)
        match = _ENTRY.match(self.buffer, self.pointer) if waits and not self.possible_simple_keys else None
        if match is None:
            event: yaml.Event = super().parse_flow_sequence_entry(first=first)
            return event
        text, line, first_column = match[1], self.line, self.column + match.start(1) - self.pointer
        self._move(match.start(1), line, first_column)
        start = self.get_mark()
        self._move(match.end(1), line, first_column + len(text))
        end = self.get_mark()
        self._move(match.end(), line, first_column + match.end() - match.start(1))
        if text[0] in "'\"":
            return yaml.ScalarEvent(None, None, (False, True), text[1:-1], start, end, text[0])
        return yaml.ScalarEvent(None, None, (True, False), text, start, end)
