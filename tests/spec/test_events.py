"""PyYAML's C parser and its Python parser tell the same of a text: events, places and the words of errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gdcli.errors import SpecError
from gdcli.spec import bundled, document
from gdcli.spec import events as parsers
from tests.mutations import mutated
from tests.trials import trials

BUNDLED = sorted(bundled.folder().glob("*.yaml"))
CORPUS = sorted((Path(__file__).parents[1] / "corpus").glob("*.yaml"))
FACTS = ("value", "tag", "anchor", "implicit")


def cleaned(content: bytes) -> str:
    """Return the text as it comes to the parser."""
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    bad = document.bad_characters(text)
    return re.sub(f"[{re.escape(''.join(bad))}]", "\ufffd", text) if bad else text


def facts(text: str) -> list[tuple[Any, ...]] | None:
    """Return the events with their marks down to the deepest level that is read; None for a text that is refused.

    The end of the text has no line and column here: the C parser counts as if a line break stood there.
    """
    read: list[tuple[Any, ...]] = []
    depth = 0
    try:
        for event in parsers.events(text):
            marks: list[Any] = [event.start_mark, event.end_mark]
            places = [(m.index, *((m.line, m.column) if m.index < len(text) else ())) for m in marks]
            style, flow = getattr(event, "style", None) or None, bool(getattr(event, "flow_style", False))
            read.append((type(event), *places, style, flow, *(getattr(event, name, None) for name in FACTS)))
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > document.MAX_DEPTH:
                break
    except (yaml.MarkedYAMLError, parsers.EscapeError):
        return None
    return read


def told(text: str) -> str:
    """Return what the user sees of a text: every place and value, or the problems."""
    try:
        return repr(document.read(text, "f.yaml"))
    except SpecError as error:
        return str(error)


def without_c(reader: Callable[[str], Any], text: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsers, "_C_LOADER", None)
        return reader(text)


def test_the_c_parser_is_there() -> None:
    assert parsers._C_LOADER is not None  # else all these tests would compare a parser with itself


@pytest.mark.parametrize("path", [*BUNDLED, *CORPUS], ids=lambda path: path.stem)
def test_both_parsers_tell_the_same_of_every_spec(path: Path) -> None:
    text = cleaned(path.read_bytes())
    assert facts(text) == without_c(facts, text)
    assert told(text) == without_c(told, text)


LINE_ENDS: dict[str, Callable[[str], str]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "none at the end": str.rstrip,
    "spaces at the end": lambda text: text + "   ",
    "byte order mark": lambda text: "\ufeff" + text,
}


@pytest.mark.parametrize("name", LINE_ENDS)
def test_both_parsers_tell_the_same_whatever_ends_a_line(name: str) -> None:
    for path in BUNDLED:
        text = LINE_ENDS[name](path.read_text())
        assert told(text) == without_c(told, text), path.name


PIECES = [
    "a", "b: ", "- ", "\n", "\n  ", "\n    ", "\r\n", "\r", " ", "'", '"', "[", "]", "{", "}", ",", ":", "#", " #c",
    "|", "|-\n", "|2\n", ">+\n", ">\n", "? ", "&a ", "*a", "!t ", "!!str ", "---", "...", "\u00e9", "\U0001f600", "\\",
    "\\x41", "%YAML 1.2\n", "<<", "@", "http://a", "a:b", "::", "-a", "\t", "1e-3", "010", "{b: }", "[a, b]",
]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_both_parsers_tell_the_same_of_pieces_of_yaml(text: str) -> None:
    assert facts(text) == without_c(facts, text)
    assert told(text) == without_c(told, text)


SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.floats() | st.text(max_size=20)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
LAYOUTS = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([True, False, None]),
        "default_style": st.sampled_from([None, "'", '"', "|", ">"]),
        "allow_unicode": st.booleans(),
        "indent": st.integers(2, 6),
        "width": st.integers(20, 100),
        "explicit_start": st.booleans(),
        "line_break": st.sampled_from(["\n", "\r\n", "\r"]),
    }
)


@pytest.mark.slow
@given(TREES, LAYOUTS)
def test_both_parsers_tell_the_same_of_any_tree(tree: Any, layout: dict[str, Any]) -> None:
    text = cleaned(yaml.safe_dump({"k": tree}, **layout).encode("utf-8", "surrogatepass"))
    assert facts(text) == without_c(facts, text)
    assert told(text) == without_c(told, text)


@pytest.mark.slow
def test_both_parsers_tell_the_same_of_every_mutation() -> None:
    texts = [path.read_text() for path in BUNDLED]
    for seed in range(trials(300, 40_000)):
        text = cleaned(mutated(seed, texts))
        assert facts(text) == without_c(facts, text), seed
        assert told(text) == without_c(told, text), seed


# --- long texts, of which only the C parser tells


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_long_text_is_refused_where_a_short_one_is(path: Path) -> None:
    """The words may be those of the C parser; the line of the first problem is the same."""
    text = cleaned(path.read_bytes())
    comments = ("" if text.endswith("\n") else "\n") + "# a comment\n" * (parsers.MAX_REREAD // 10)
    short, long = told(text), told(text + comments)
    if short.startswith("f.yaml:"):
        assert long.partition(": ")[0].rsplit(":", 1)[0] == short.partition(": ")[0].rsplit(":", 1)[0]
    else:
        assert long == short


@pytest.mark.parametrize("brackets", ["[", "{", "[{a: ", "- ", "? ", "{? "])
@pytest.mark.parametrize("levels", [33, 40, 999, 1_001, 5_000, 100_000])
@pytest.mark.parametrize("before", [10, 20_000])
def test_the_first_bracket_below_the_depth_is_named(brackets: str, levels: int, before: int) -> None:
    text = "# " + "c" * before + "\n" + brackets * levels
    column = 1 + document.MAX_DEPTH // (2 if brackets == "[{a: " else 1) * len(brackets)
    if len(text) <= document.MAX_BYTES:
        assert re.search(rf"^f\.yaml:2:{column}: .*nested deeper than 32 levels$", told(text), re.MULTILINE)
