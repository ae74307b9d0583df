"""PyYAML's events of a text: from its C parser, and where that refuses, with the words of its Python parser; and what
those words mean in plain ones.

The C parser reads 256 KiB in 0.2 s and the Python parser in up to 3 s, but only the Python parser's errors say what was
found. A long text must do with the C parser's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import yaml

from gdcli.spec.scalars import QUOTES

MAX_REREAD = 16 * 1024
"""Characters up to which the Python parser reads a text; it takes up to 10 µs for each."""

# PyYAML has no C parser where it was built without libyaml; then all texts take the Python parser's time.
_C_LOADER: Any = getattr(yaml, "CSafeLoader", None)
_DIFFERENT = re.compile(r"[\t?]|[|>][-+0-9]*#")  # where the C parser accepts what the Python parser does not
_COLON = re.compile(" *:")


class EscapeError(Exception):
    """An escape or a number that is out of range, at PyYAML's mark."""

    def __init__(self, mark: Any) -> None:
        super().__init__(mark)
        self.mark = mark


def events(text: str) -> Iterator[yaml.Event]:
    """Yield the events of a text that has passed the check for bad characters, so that only CR and LF end a line.

    They come one by one, so the caller ends the work where a limit is reached. Of a text without a line break at its
    end, the C parser puts what stands there on a line of its own. Raises yaml.MarkedYAMLError, and EscapeError.
    """
    short, taken = len(text) <= MAX_REREAD, 0
    if _C_LOADER is not None and not (short and _DIFFERENT.search(text)):
        try:
            for event in _c_events(text):
                yield event
                taken += 1
            return
        except yaml.MarkedYAMLError as error:
            if "nesting depth" in str(error.problem) and error.problem_mark is not None:
                # It has read ahead: what it would have told of the brackets up to there, it tells without the rest.
                yield from islice(_c_events(text[: error.problem_mark.index - 1]), taken, None)
            if not short:
                raise
    yield from islice(_python_events(text), taken, None)


def _c_events(text: str) -> Iterator[yaml.Event]:
    """Yield the C parser's events, an empty value in brackets behind its colon and not before what follows."""
    before: Any = None
    for event in yaml.parse(text, Loader=_C_LOADER):
        start: Any = event.start_mark  # the stubs allow None, the parser always sets them
        end: Any = event.end_mark
        empty = isinstance(event, yaml.ScalarEvent) and start.index == end.index
        if empty and (colon := _COLON.match(text, before.index, start.index)):
            column = before.column + colon.end() - before.index
            end = event.start_mark = event.end_mark = yaml.Mark(end.name, colon.end(), before.line, column, None, 0)
        before = end
        yield event


def _python_events(text: str) -> Iterator[yaml.Event]:
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()  # type: ignore[no-untyped-call]  # the stubs lack it
    except (ValueError, OverflowError) as error:  # PyYAML does not check that "\UFFFFFFFF" is a character
        raise EscapeError(loader.get_mark()) from error
    finally:
        loader.dispose()


# --- what PyYAML says of a text that is no YAML -----------------------------------------------------------------------

STAR = "A text that begins with * or & needs quotes"
BANG = "A text that begins with ! needs quotes"


class Wording(NamedTuple):
    """PyYAML's 'context: problem', of its Python or its C parser, and the same in plain words."""

    pattern: str
    message: str
    hint: str = ""
    at_context: bool = False


RULES = (
    Wording(r"character '\\t' that cannot start|a tab character", "a tab cannot stand here", "Use spaces"),
    Wording(r"character (.+) that cannot start", "a value cannot begin with {0}", QUOTES),
    Wording("character that cannot start", "a value cannot begin with this character", QUOTES),
    Wording("could not find expected ':'", "a key needs ': ' and a value after it", "Write 'key: value'", True),
    Wording("sequence entries are not", "a list entry '- ' cannot stand here", "Begin the list on a line of its own"),
    Wording("mapping keys are not", "'? ' cannot stand here", QUOTES),
    Wording("mapping values are not", "': ' cannot stand here", "Check the indentation, or use quotes"),
    Wording("directive", "directives are refused", "Remove the line"),
    Wording("an anchor|an alias", "anchors and aliases are refused", STAR, True),
    Wording(r"a tag|tag handle", "tags are refused", BANG, True),
    Wording("block scalar", "after | or > the text begins on the next line", "Put the text in quotes"),
    Wording(
        "unknown escape|hexa?decimal",
        "this escape is not known in double quotes",
        "Use single quotes, or write a backslash twice",
    ),
    Wording("a quoted scalar", "the quote that opens here is not closed", at_context=True),
    Wording(r"<block end>, but found '([\]}}])'", "the bracket {0} closes nothing"),
    Wording("<block end>, but found ':'", "the key before ':' is missing"),
    Wording(
        "<block end>, but found|expected key|expected '-'",
        "this does not fit what begins on line {line}",
        "Check the indentation, and the quotes around a text",
    ),
    Wording("a flow sequence", "',' or ']' is missing in the list that opens on line {line}"),
    Wording("a flow mapping", "',' or '}}' is missing in the mapping that opens on line {line}"),
    Wording("node content", "a value is missing here"),
    Wording(
        "<document start>",
        "nothing can stand after the end of the document",
        "Check the indentation, brackets and quotes",
    ),
)
