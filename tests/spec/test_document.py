"""RELIABILITY's YAML table row by row, the limits, and properties of reading and writing."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gdcli.errors import SpecError
from gdcli.spec.document import MAX_BYTES, MAX_PROBLEMS, read, read_value
from gdcli.spec.scalars import bad_characters, missing_space, shown
from gdcli.spec.writing import write
from tests.timing import fastest


def problems(text: bytes | str) -> list[tuple[str, str, str]]:
    """Each problem's line:column, path and message."""
    with pytest.raises(SpecError) as caught:
        read(text, "f")
    return [(f"{p.place.line}:{p.place.column}", p.path, f"{p.message}. {p.hint}") for p in caught.value.problems]


# One problem each: text, where, path, a fragment of message and hint.
BAD: dict[str, tuple[bytes | str, str, str, str]] = {
    "duplicate": ("a: 1\nb: 2\na: 3", "3:1", "a", "already given on line 1"),
    "duplicate, quoted": ('a: 1\n"a": 2', "2:1", "a", "already given on line 1"),
    "duplicate below": ("o: {lr: 1, lr: 2}", "1:12", "o.lr", "already given on line 1"),
    "octal of YAML 1.1": ("a: 010", "1:4", "a", "8 (octal) or as 10 (got 010). Write 10 or 0o10"),
    "negative octal": ("a: -010", "1:4", "a", "-8 (octal) or as -10"),
    "leading zero": ("a: 08", "1:4", "a", "as 8 or as text"),
    "base sixty": ("a: [1:30]", "1:5", "a[0]", "could be read as 90"),
    "base sixty, float": ("a: -1:30.5", "1:4", "a", "could be read as -90.5"),
    "base sixty, long": ("a: 1" + ":30" * 3000, "1:4", "a", "could be read as a number"),
    "no date": ("a: 2026-13-45", "1:4", "a", "a date or as text"),
    "a date": ("a: 2026-01-02", "1:4", "a", "Put it in quotes"),
    "a time": ("a: 2026-01-02 10:11:12", "1:4", "a", "a date or as text"),
    "tag int": ("a: !!int abc", "1:4", "a", "tags are refused (got !!int)"),
    "tag bool": ("a: !!bool maybe", "1:4", "a", "tags are refused"),
    "tag that constructs": ("a: !!python/object/apply:os.system [x]", "1:4", "a", "tags are refused"),
    "tag alone": ("a: ! x", "1:4", "a", "tags are refused (got !)"),
    "tag without its handle": ("a: !x!y 1", "1:4", "a", "tags are refused"),
    "5,000 digits": ("a: " + "1" * 5000, "1:4", "a", "at most 19 digits"),
    "20 digits": ("a: -" + "1" * 20, "1:4", "a", "at most 19 digits"),
    "20 digits in hex": ("a: 0xFFFFFFFFFFFFFFFF", "1:4", "a", "at most 19 digits"),
    "nan": ("a: .nan", "1:4", "a", "must be finite (got .nan)"),
    "inf": ("a: -.Inf", "1:4", "a", "must be finite"),
    "overflow": ("a: 1e400", "1:4", "a", "too large for a float64"),
    "underflow": ("a: -1e-400", "1:4", "a", "too small for a float64"),
    "integer key": ("1: a", "1:1", "", "a key must be text (got 1)"),
    "null key": ("null: a", "1:1", "", "a key must be text (got null)"),
    "boolean key": ("b: {true: a}", "1:5", "b", "a key must be text (got true)"),
    "no key": (": a", "1:1", "", "the key before ':' is missing"),
    "list key": ("? [a]\n: 1", "1:3", "", "a key must be text (got a list)"),
    "mapping key": ("{a: b}: 1", "1:1", "", "a key must be text (got a mapping)"),
    "documents": ("a: 1\n---\nb: 2", "2:1", "", "a second document begins here"),
    "empty": ("", "1:1", "", "the file is empty"),
    "only a comment": ("# x\n", "1:1", "", "the file is empty"),
    "only a marker": ("---\n", "1:1", "", "the file is empty"),
    "a list": ("\n- 1\n- 2", "2:1", "", "the document is a list"),
    "a text": ("hello", "1:1", "", "the document is text"),
    "a number": ("12", "1:1", "", "the document is a value"),
    "no space": ("lr:0.1", "1:1", "", "Write 'lr: 0.1'"),
    "no space, first": ("lr:0.1\nb: 2", "1:1", "", "Write 'lr: 0.1'"),
    "no space, inside": ("a: 1\nlr:0.1\nb: 2", "2:1", "", "Write 'lr: 0.1'"),
    "no space, last": ("a: 1\nlr:0.1", "2:1", "", "Write 'lr: 0.1'"),
    "no space, below": ("o:\n  lr:0.1\n  name: sgd", "2:3", "", "Write 'lr: 0.1'"),
    "no space, in braces": ("o: {lr:0.1, name: sgd}", "1:5", "o.lr:0.1", "Write 'lr: 0.1'"),
    "anchor": ("a: &x 1", "1:4", "a", "anchors are refused (got &x)"),
    "alias": ("a: [*x]", "1:5", "a[0]", "aliases are refused (got *x)"),
    "glob for an alias": ("a: *.weight", "1:4", "a", "begins with * or & needs quotes"),
    "merge key": ("a:\n  <<: {b: 1}", "2:3", "a", "merge keys are refused"),
    "directive": ("# x\n%YAML 1.1\n---\na: 1", "2:1", "", "directives are refused"),
    "unknown directive": ("%FOO\r\n---\r\na: 1", "1:1", "", "directives are refused"),
    "directive that overflows": ("%YAML 1." + "9" * 5000 + "\n---\na: 1", "1:1", "", "directives are refused"),
    "tab": ("a:\n\tb: 1", "2:1", "a", "a tab cannot stand here"),
    "reserved sign": ("a: @x", "1:4", "a", "cannot begin with '@'"),
    "two colons": ("a: b: c", "1:5", "", "cannot stand here"),
    "entry on a key's line": ("a: - b", "1:4", "a", "list entry"),
    "bad indentation": ("a:\n    b: 1\n  c: 2", "3:3", "", "does not fit what begins on line 1"),
    "indented start": (" a: 1\nb: 2", "2:1", "", "nothing can stand after the end"),
    "open bracket": ("x: 1\na: [1, 2\nb: 3", "2:4", "a", "not closed"),
    "open bracket at the end": ("a: {b: [1, 2\n\n", "1:8", "a.b", "not closed"),
    "comma missing": ("a: [[1, 2]\n    [3]]", "2:5", "a[1]", "missing in the list that opens on line 1"),
    "comma missing in braces": ("a: {b: [] c: 1}", "1:11", "a", "'}' is missing"),
    "value missing": ("a: [1,,2]", "1:7", "a[1]", "a value is missing"),
    "bracket too many": ("a: [1]]", "1:7", "", "closes nothing"),
    "open quote": ("a: 1\nb: 'x\nc: 2", "2:4", "b", "the quote that opens here is not closed"),
    "quote ended by the next": ('a: "x\nb: "y"', "1:4", "", "closes only on line 2"),
    "escape": ('a: "\\q"', "1:6", "a", "escape"),
    "escape beyond Unicode": ('a: "\\UFFFFFFFF"', "1:7", "a", "out of range"),
    "block text": ("a: |x\n  y", "1:5", "a", "begins on the next line"),
    "latin-1": ("ab: 1\na: é".encode("latin-1"), "2:4", "", "byte 0xE9 is not UTF-8"),
    "utf-16": ("a: 1".encode("utf-16"), "1:1", "", "UTF-16"),
    "utf-16 without a mark": ("name: x".encode("utf-16-be"), "1:1", "", "UTF-16"),
    "nul": ("a: 1\nb: x\0", "2:5", "", "control character U+0000"),
    "escape character": ("a: x\x1b[31m", "1:5", "", "control character U+001B"),
    "C1": ("a: x\x9b", "1:5", "", "control character U+009B"),
    "next line": ("a: x\x85b", "1:5", "", "U+0085"),
    "line separator": ("# x\u2028a: 1\nb: 1", "1:4", "", "U+2028"),
    "bidirectional": ("a: \u202ex", "1:4", "", "bidirectional control character U+202E"),
    "zero width": ("a: x\u200bx", "1:5", "", "invisible character U+200B"),
    "byte order mark inside": ("a: 1\n\ufeffb: 2", "2:1", "", "byte order mark"),
    "surrogate": ("a: \ud800", "1:4", "", "U+D800"),
    "filler": ("a: \u3164", "1:4", "", "U+3164"),
    "escaped control": ('a: "x\\e[31m"', "1:4", "a", "control character U+001B"),
    "escaped return": ('a: "x\\r"', "1:4", "a", "U+000D"),
    "escaped in a key": ('"a\\nb": 1', "1:1", "a\\nb", "U+000A"),
    "33 levels": ("a: " + "[" * 32 + "]" * 32, "1:35", "a" + "[0]" * 31, "nested deeper than 32 levels"),
    "long key": ("k" * 129 + ": 1", "1:1", "", "at most 128 characters"),
    "long text": ("a: " + "x" * 10_001, "1:4", "a", "at most 10,000 characters"),
    "many values": ("a: [" + "1, " * 20_000 + "]", "1:59999", "a[19998]", "more than 20,000 values"),
    "many bytes": ("#" * (MAX_BYTES + 1), "1:1", "", "262,145 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_each_bad_document_has_one_problem_at_the_offending_token(case: str) -> None:
    text, where, path, fragment = BAD[case]
    found = problems(text)
    assert [(w, p) for w, p, _ in found] == [(where, path)]
    assert fragment in found[0][2]
    assert all(c.isprintable() for c in found[0][2])


# What the core schema of YAML 1.2 says of plain scalars, and of those that only look like numbers.
SCALARS: dict[str, Any] = {
    "1e-3": 1e-3, "1e3": 1e3, "1E-3": 1e-3, "-.5": -0.5, "5.": 5.0, "+1": 1, "0x1F": 31, "0o17": 15, "-0": 0,
    "no": "no", "off": "off", "yes": "yes", "on": "on", "y": "y", "true": True, "False": False, "tRUE": "tRUE",
    "null": None, "~": None, "": None, "Null": None, "nan": "nan", "inf": "inf", "1_000": "1_000", "0b11": "0b11",
    "1e": "1e", "e3": "e3", "1.2.3": "1.2.3", "0:4.1:0.1": "0:4.1:0.1", "-": "-", "9999999999999999999": 10**19 - 1,
    "2026-13-45x": "2026-13-45x", "range(0,4.1,0.1)": "range(0,4.1,0.1)", "'010'": "010", '"1:30"': "1:30",
    "'2026-01-02'": "2026-01-02", "01.5": 1.5, "<<": "<<", "=": "=",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_plain_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    if text != "-":  # alone it is a list's entry
        found = read(f"a: {text}", "f").plain()["a"]
        assert (found, type(found)) == (value, type(value))


def test_all_problems_are_reported_in_the_order_of_the_file() -> None:
    text = "a: 010\nb: .nan\n1: [1:30, &x 2]\nc: \x1b\nd: !!str x\ne: [1"
    assert [where for where, _, _ in problems(text)] == ["1:4", "2:4", "3:1", "3:5", "3:11", "4:4", "5:4", "6:4"]


def test_the_problems_end_at_a_number_nobody_reads_beyond() -> None:
    assert len(problems("\n".join(f"{i}: x" for i in range(5000)))) == MAX_PROBLEMS + 1
    assert len(problems("- .nan\n" * (MAX_PROBLEMS - 1))) == MAX_PROBLEMS + 1
    assert len(problems(b"a: \xe9" + b"\n\xe9" * 1000)) == 21


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_text() -> None:
    assert read("\ufeffa: 1".encode(), "f").plain() == {"a": 1}


def test_places_are_those_of_keys_and_values_from_one() -> None:
    root = read("# é\na:\n  - b: 'x'\r\n    ü: 2\n", "dir/f.yaml")
    item = root.find(["a", 0])
    assert item is not None
    assert isinstance(item.value, dict)
    assert str(item.value["ü"].key) == "dir/f.yaml:4:5"
    assert str(item.value["ü"].node.place) == "dir/f.yaml:4:8"
    assert (root.find(["a", 1]), root.find(["a", "b"]), root.find(["a", 0, "b", 0])) == (None, None, None)


def test_the_text_of_a_scalar_is_kept_as_written() -> None:
    root = read("a: 1e-3\nb: off\nc: [1]", "f")
    assert [node.text for key in "abc" if (node := root.find([key]))] == ["1e-3", "off", ""]


def test_32_levels_are_read() -> None:
    read("a: " + "[" * 31 + "]" * 31, "f")


@pytest.mark.parametrize("deep", ["[", "{", "[{", "- ", "? ", "a: {", "\n["])
def test_100_000_levels_are_refused_at_once(deep: str) -> None:
    text = "x: " * (deep[0] in "[{") + deep * 20_000
    assert "32 levels" in " ".join(message for _, _, message in problems(text))
    assert "32 levels" in problems("[" * 100_000)[-1][2]
    assert fastest(lambda: (problems(text), problems("[" * 100_000)), 2) < 2


@pytest.mark.parametrize(
    "text",
    ["a: '" + "x " * 130_000, "\n" * 260_000, "&a " * 80_000],
    ids=["quote", "lines", "anchors"],
)
def test_256_kib_of_anything_are_answered(text: str) -> None:
    assert problems(text)
    assert fastest(lambda: problems(text), 10) < 10  # 1 to 2 s on a slow core


def test_a_billion_laughs_is_refused_without_expansion() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1},*a{i - 1}]\n" for i in range(1, 12))
    assert len(problems(text)) == 12 + 22


# ---- overrides --------------------------------------------------------------------------------------------------

OVERRIDES: dict[str, Any] = {
    "0.1": 0.1, "[1, 2]": [1, 2], "{mode: full}": {"mode": "full"}, "sgd": "sgd", "": None, " ": None, "null": None,
    "0.1,0.01": "0.1,0.01", "range(0,4.1,0.1)": "range(0,4.1,0.1)", "'010'": "010", "a=b": "a=b",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), OVERRIDES.items())
def test_values_of_overrides(text: str, value: Any) -> None:
    assert read_value(text, "command line").plain() == value


@pytest.mark.parametrize(
    ("text", "where", "fragment"),
    [
        ("010", "1:8", "leading zero"),
        ("{a: 1, a: 2}", "1:15", "already given"),
        ("[1,", "1:8", "not closed"),
        ("a: b", "1:8", "a block of YAML"),
        ("- 1", "1:8", "a block of YAML"),
        ("#1", "1:8", "a comment"),
        ("x\x1b", "1:9", "U+001B"),
        ("\ufeff1", "1:8", "byte order mark"),
        ("%x", "1:8", "directives"),
        ("*x", "1:8", "aliases"),
    ],
)
def test_problems_of_overrides_count_columns_from_the_word(text: str, where: str, fragment: str) -> None:
    with pytest.raises(SpecError, match=fragment.replace("+", r"\+")) as caught:
        read_value(text, "command line", 8)
    assert str(caught.value.problems[0].place) == f"command line:{where}"


def test_shown_is_one_printable_line_of_bounded_length() -> None:
    assert shown("a\x1b\n\u202eé") == r"a\x1b\n\u202eé"
    assert len(shown("\x1b" * 100)) == 61
    assert missing_space("http://x") == missing_space("a: 1") == missing_space("12:30") == ""


# ---- properties -------------------------------------------------------------------------------------------------

good_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: not bad_characters(text) and "\r" not in text
)
tricky = st.sampled_from(["no", "010", "1:30", "2026-01-01", "~", "", "null", "1e3", ".nan", "<<", "=", "y", "- a", "a: b", "a #b", " a", "a ", "*x", "&x", "!x", "%x", "@x", "`", "'", '"', "\\", "[", "{a", "a,b", "a]", "?", "-", "---", "...", "|", ">", "0x1F", "1_000", "\n", "\t"])  # fmt: skip  # noqa: E501
texts = good_text | tricky
keys = texts.filter(lambda key: not set(key) & {"\n", "\t"})
numbers = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.lists(numbers, max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def typed(value: Any) -> Any:
    """The value with the type of each scalar beside it, since 1 == 1.0 == True."""
    if isinstance(value, dict):
        return [(key, typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value), value


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.dictionaries(keys, values, max_size=4))
def test_what_is_written_reads_back_the_same(value: dict[str, Any]) -> None:
    assert typed(read(write(value).encode(), "f").plain()) == typed(value)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(keys, texts | st.lists(texts, max_size=3), max_size=4))
def test_text_that_is_written_is_text_for_readers_of_yaml_1_1_too(value: dict[str, Any]) -> None:
    assert yaml.safe_load(write(value)) == value


def test_writing_is_readable() -> None:
    value = {
        "name": "x-1", "data": {"x": [[0.05, 0.1]], "y": []}, "optimizer": {"name": "sgd", "lr": 1e-07},
        "layers": [{"layer": "Linear", "out": 2}, "ReLU"], "long": [0.123456] * 30, "empty": {},
        "compare": {"sgd": {"lr": 1}, "b": {"c": {"d": None}}}, "on": True, "rows": [[1.25] * 12] * 2,
    }  # fmt: skip
    row = "[" + ", ".join(["1.25"] * 12) + "]"
    assert write(value).replace("0.123456", "n").splitlines() == [
        "name: x-1",
        "data:",
        "  x: [[0.05, 0.1]]",
        "  y: []",
        "optimizer: {name: sgd, lr: 1e-07}",
        "layers:",
        "  - {layer: Linear, out: 2}",
        "  - ReLU",
        "long:",
        "  [n, n, n, n, n, n, n, n, n, n,",
        "   n, n, n, n, n, n, n, n, n, n,",
        "   n, n, n, n, n, n, n, n, n, n]",
        "empty: {}",
        "compare:",
        "  sgd: {lr: 1}",
        "  b:",
        "    c: {d: null}",
        '"on": true',
        "rows:",
        f"  - {row}",
        f"  - {row}",
    ]
    assert write({}) == "{}\n"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: 2}, b"x"])
def test_what_yaml_cannot_say_is_not_written(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        write({"a": [value]})


def check_fuzz(text: bytes | str) -> None:
    """Nothing but a SpecError with problems, each on one printable line and at a place inside the text."""
    found = None
    try:
        read(text, "f")
    except SpecError as error:
        found = error.problems
    assert found is None or found
    decoded = text.decode("latin-1") if isinstance(text, bytes) else text
    lines = decoded.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    for problem in found or ():
        assert 1 <= problem.place.line <= lines
        assert problem.place.column >= 1
        assert str(problem).isprintable()
        assert len(problem.message) < 200


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_and_any_bytes_are_read_or_refused(text: bytes | str) -> None:
    check_fuzz(text)


SEED = "name: a\ndata:\n  x: [[0.05, 0.10]]\n  y: &y [1]\noptimizer: {name: sgd, lr: 1e-3}\n# c\nt: \"q\\n\"\nu: 'v'\n"
pieces = st.sampled_from([*"[]{},:#&*!|>'\"%@`?-\n\t \\\r0aé", ": ", "- ", "? ", "---\n", "...\n", "<<: ", "\\x1b"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SEED)), st.integers(0, 3), pieces), min_size=1, max_size=6))
def test_any_mutation_of_a_spec_is_read_or_refused(edits: list[tuple[int, int, str]]) -> None:
    text = SEED
    for position, removed, piece in edits:
        text = text[:position] + piece + text[position + removed :]
    check_fuzz(text)


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=30).map("".join))
def test_any_run_of_indicators_is_read_or_refused(text: str) -> None:
    check_fuzz(text)


def test_every_character_that_the_parser_refuses_is_refused_by_us() -> None:
    everything = "".join(map(chr, [*range(0x10000), *range(0x10000, 0x110000, 99)]))
    left = everything.translate(dict.fromkeys(map(ord, bad_characters(everything))))
    assert not yaml.SafeLoader.NON_PRINTABLE.search(left)
