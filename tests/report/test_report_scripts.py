"""The scripts and styles of the page, as far as they can be judged without running them."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from gdcli.report import page

ROOT = Path(__file__).parents[2]
HTML = page.FOLDER
SCRIPTS = sorted(HTML.glob("*.js"))
OWN = [*SCRIPTS, *sorted(HTML.glob("*.css")), *sorted(HTML.glob("*.html"))]
WIDEST, MOST_LINES = 120, 400
LEAST_OF_TEXT, LEAST_OF_LINES = 4.5, 3.0
"""Contrasts that the Web Content Accessibility Guidelines ask for, level AA."""

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)


def test_every_script_and_style_is_joined_into_the_page_once() -> None:
    assert sorted((*page.SCRIPTS[1:], page.LIVE)) == [path.name for path in SCRIPTS]
    assert sorted(page.STYLES[1:]) == sorted(path.name for path in HTML.glob("*.css"))
    assert all((HTML / name).is_file() for name in (page.SCRIPTS[0], page.STYLES[0]))


def test_the_types_of_every_script_are_checked() -> None:
    checked = json.loads((ROOT / ".jsconfig.json").read_text())["files"]
    assert {path.relative_to(ROOT).as_posix() for path in SCRIPTS} <= set(checked)
    assert all((ROOT / name).is_file() for name in checked)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_line_is_wider_than_120_characters(path: Path) -> None:
    assert [k for k, line in enumerate(path.read_text().splitlines(), 1) if len(line) > WIDEST] == []


@each_script
def test_no_script_has_more_than_400_lines(path: Path) -> None:
    assert path.read_text().count("\n") <= MOST_LINES


@each_script
def test_a_script_makes_no_code_or_tags_of_text_and_reaches_no_other_machine(path: Path) -> None:
    refused = (
        r"\.(inner|outer)HTML|insertAdjacentHTML|\beval\(|\bFunction\(|document\.write|\.on[a-z]+ = |set(Timeout|"
        r"Interval)\(\s*[\"'`]|javascript:|createContextualFragment|\bimport\(|https?://(?!www\.w3\.org/2000/svg)"
    )
    assert re.findall(f".*(?:{refused}).*", path.read_text()) == []


def parameters(text: str) -> int:
    """How many parameters stand in a function's head; one that is taken apart, as { title, x }, is one."""
    while (less := re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]|\([^()]*\)", "one", text)) != text:
        text = less
    return text.count(",") + 1 if text.strip() else 0


def untyped(text: str) -> list[str]:
    """The named functions and methods of a script whose comment does not have each parameter with its type."""
    comment, head = (
        r"(?:/\*\*((?:(?!\*/).)*)\*/\n *)?",
        r"(?:function (?!\()|(?!if|for|while|switch|catch))(\w+)\(([^\n]*)\) \{",
    )
    found = re.finditer(rf"\n *{comment}{head}\n", text, re.S)
    return [
        each[2] for each in found
        if len(re.findall(r"@param \{.+?\} \w+(?![\w.])", each[1] or "")) != parameters(each[3])
    ]  # fmt: skip


def test_functions_without_types_are_found() -> None:
    script = """
  /**
   * @param {string} a
   * @param {{x: number}} b
   * @param {number} b.x
   */
  function told(a, { x }) {
  }

  function untold(a) {
  }
  method(a) {
    if (a) {
    }
  }
  /** @param {string} a */
  half(a, b = [1, 2]) {
  }
  none() {
  }
"""
    assert untyped(script) == ["untold", "method", "half"]


@each_script
def test_every_named_function_tells_the_types_of_its_parameters(path: Path) -> None:
    """In the comment above it; the linter holds the others to it, which this suite cannot read."""
    text = path.read_text()
    assert untyped(text) == []
    assert text.startswith('"use strict";\n// @ts-check\n')


# --- the labels -------------------------------------------------------------------------------------------------------


def labels(lang: str) -> dict[str, str]:
    """The labels of a language with their texts; those of the step-through begin with stepping."""
    parts = re.split(r"^  (en|zh): \{\n", (HTML / "words.js").read_text(), flags=re.M)
    text = parts[parts.index(lang) + 1].partition("\n};\n")[0]
    text = re.sub(r"^    (?:names|values): \{(?:[^}]*)\},\n", "", text, flags=re.M)
    above, _, stepping = text.partition("    stepping: {\n")
    found = {name: "".join(re.findall(r'"([^"]*)"', line)) for name, line in texts_of(above)}
    return found | {f"stepping.{name}": "".join(re.findall(r'"([^"]*)"', line)) for name, line in texts_of(stepping)}


def texts_of(text: str) -> list[tuple[str, str]]:
    return re.findall(r'(\w+): ("[^"]*"(?: \+\s*"[^"]*")*)', text)


def test_both_languages_have_the_same_labels() -> None:
    english, chinese = labels("en"), labels("zh")
    assert english.keys() == chinese.keys()
    assert len(english) > 80


def test_a_label_fills_in_the_same_names_in_both_languages() -> None:
    english, chinese = labels("en"), labels("zh")
    for name, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese[name])), name


def test_every_chinese_label_is_chinese() -> None:
    """Names of files, of keys of the keyboard and what is filled in apart."""
    kept = r"\{\w+\}|spec\.yaml|gdcli report|Home|End|95 %|[\W\d_]"
    for name, text in labels("zh").items():
        rest = re.sub(kept, "", text)
        assert not re.search(r"[A-Za-z]", rest), (name, text)
        assert re.search(r"[\u4e00-\u9fff]", text) or text == "/", (name, text)


STEPPING = ("net.js", "stepping.js", "surface.js")
"""The scripts whose words are the labels of the step-through."""


def test_every_label_is_used() -> None:
    stepping = "".join((HTML / name).read_text() for name in STEPPING)
    others = "".join(path.read_text() for path in SCRIPTS if path.name not in (*STEPPING, "words.js"))
    for name in labels("en"):
        part, _, key = name.rpartition(".")
        word = rf"\bwords\.{key}\b"
        if part:  # that of a button by its key
            assert re.search(rf'{word}|\bbutton\("{key}"|const key = .*"{key}"', stepping), name
        else:
            assert re.search(word, others), name


def test_every_class_with_a_style_is_given_to_an_element() -> None:
    comments = r"/\*.*?\*/|(?<!:)//[^\n]*"
    given = "".join(re.sub(comments, "", path.read_text(), flags=re.S) for path in SCRIPTS)
    for path in sorted(HTML.glob("*.css")):
        selectors = re.sub(r"\{[^{}]*\}", "{}", path.read_text())
        for name in set(re.findall(r"\.([a-z][\w-]*)", selectors)) - {"uplot"}:  # the library's own
            stem = name.rstrip("0123456789")  # a number is put behind it
            assert re.search(rf"[\"` ]{stem}(?:[\"` ]|\$\{{)", given), (path.name, name)


# --- colours ----------------------------------------------------------------------------------------------------------


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root(?::not\(\.printing\))? \{([^}]*)\}", (HTML / "page.css").read_text())[:2]
    return {
        "light": dict(re.findall(r"--(\w+): (#\w{6})", light)),
        "dark": dict(re.findall(r"--(\w+): (#\w{6})", dark)),
    }


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_lines_stand_out_from_their_ground(theme: str) -> None:
    colours = palettes()[theme]
    for ink, ground in (("ink", "ground"), ("ink", "soft"), ("ink", "mark"), ("faint", "ground"), ("faint", "soft"),
                        ("accent", "ground")):  # fmt: skip
        assert contrast(colours[ink], colours[ground]) >= LEAST_OF_TEXT, (ink, ground)
    for name in ("edge", "accent", *(f"c{k}" for k in range(8))):
        assert contrast(colours[name], colours["ground"]) >= LEAST_OF_LINES, name


def test_paper_has_no_dark_ground_and_no_controls() -> None:
    style = (HTML / "page.css").read_text()
    assert "@media screen and (prefers-color-scheme: dark)" in style
    (printed,) = re.findall(r"^@media print \{\n(.*?)^\}", style, re.M | re.S)
    hidden = next(line for line in printed.splitlines() if "display: none" in line)
    assert {"nav", "button", "select", ".slider", ".bar"} <= set(re.findall(r"[.\w][\w.-]*", hidden.split("{")[0]))


def test_no_two_curves_of_the_first_64_have_the_same_colour_and_dashes() -> None:
    script = (HTML / "charts.js").read_text()
    (dashes,) = re.findall(r"const DASHES = (\[.*\]);", script)
    (colours,) = re.findall(r"const COLOURS = (\d+);", script)
    assert "DASHES[(k + Math.floor(k / COLOURS)) % DASHES.length]" in script
    patterns, count = json.loads(dashes), int(colours)
    looks = [(k % count, str(patterns[(k + k // count) % len(patterns)])) for k in range(64)]
    assert len(set(looks)) == 64
    assert all(one[1] != other[1] for one, other in pairwise(looks))  # neighbours differ without their colours
