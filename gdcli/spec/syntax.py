"""What PyYAML says of a text that is no YAML, and the same in plain words."""

from __future__ import annotations

from typing import NamedTuple

from gdcli.spec.scalars import QUOTES

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
