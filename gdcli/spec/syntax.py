"""What PyYAML says of a text that is no YAML, and the same in plain words."""

from __future__ import annotations

from typing import NamedTuple

from gdcli.spec.scalars import QUOTES

STAR = "A text that begins with * or & needs quotes"
BANG = "A text that begins with ! needs quotes"


class Rule(NamedTuple):
    """PyYAML's 'context: problem', of its Python or its C parser, and the same in plain words."""

    pattern: str
    message: str
    hint: str = ""
    at_context: bool = False


RULES = (
    Rule(r"character '\\t' that cannot start|a tab character", "a tab cannot stand here", "Use spaces"),
    Rule(r"character (.+) that cannot start", "a value cannot begin with {0}", QUOTES),
    Rule("character that cannot start", "a value cannot begin with this character", QUOTES),
    Rule("could not find expected ':'", "a key needs ': ' and a value after it", "Write 'key: value'", True),
    Rule("sequence entries are not", "a list entry '- ' cannot stand here", "Begin the list on a line of its own"),
    Rule("mapping keys are not", "'? ' cannot stand here", QUOTES),
    Rule("mapping values are not", "': ' cannot stand here", "Check the indentation, or use quotes"),
    Rule("directive", "directives are refused", "Remove the line"),
    Rule("an anchor|an alias", "anchors and aliases are refused", STAR, True),
    Rule(r"a tag|tag handle", "tags are refused", BANG, True),
    Rule("block scalar", "after | or > the text begins on the next line", "Put the text in quotes"),
    Rule(
        "unknown escape|hexa?decimal",
        "this escape is not known in double quotes",
        "Use single quotes, or write a backslash twice",
    ),
    Rule("a quoted scalar", "the quote that opens here is not closed", at_context=True),
    Rule(r"<block end>, but found '([\]}}])'", "the bracket {0} closes nothing"),
    Rule("<block end>, but found ':'", "the key before ':' is missing"),
    Rule(
        "<block end>, but found|expected key|expected '-'",
        "this does not fit what begins on line {line}",
        "Check the indentation, and the quotes around a text",
    ),
    Rule("a flow sequence", "',' or ']' is missing in the list that opens on line {line}"),
    Rule("a flow mapping", "',' or '}}' is missing in the mapping that opens on line {line}"),
    Rule("node content", "a value is missing here"),
    Rule(
        "<document start>",
        "nothing can stand after the end of the document",
        "Check the indentation, brackets and quotes",
    ),
)
