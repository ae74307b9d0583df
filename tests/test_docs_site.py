"""The site of docs/: built without a complaint, complete, and without a word to another host."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gdcli.spec.json_schema import json_schema
from tests.test_readme import ROOT, options, words

SPECIFICATION = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
generated: Any = importlib.util.module_from_spec(SPECIFICATION)  # type: ignore[arg-type]
SPECIFICATION.loader.exec_module(generated)  # type: ignore[union-attr]

PAGES = {**generated.spec_pages(), **generated.command_pages()}


def described(schema: Any) -> set[tuple[str, str]]:
    """Every key anywhere in a schema, with its description."""
    if isinstance(schema, list):
        return set().union(*map(described, schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties", {}) if isinstance(schema.get("properties"), dict) else {}
    found = {
        (key, inner["description"]) for key, inner in own.items() if isinstance(inner, dict) and "description" in inner
    }
    return found.union(*map(described, schema.values()))


def test_the_reference_has_every_key_of_the_schema_with_its_description() -> None:
    schema = json_schema()
    reference = "\n".join(text for name, text in PAGES.items() if name.startswith("reference/"))
    keys = described({**schema, "properties": schema["properties"]})
    assert len(keys) > 150
    for key, text in keys:
        assert f"`{key}`" in reference or f"## {key}\n" in reference, key
        assert text.replace("|", "\\|") in reference or text in reference, key
    assert "gdcli catalog tells more" not in reference, "a key without a description of its own"


def test_the_commands_have_a_page_and_their_options_stand_on_it() -> None:
    man = generated.man_page().replace("\\-", "-")
    for name, found in options().items():
        page = PAGES[f"commands/{name}.md"]
        assert {option for option in found if option not in page} == set()
        assert {option for option in found if option not in man} == set()


def test_the_made_pages_are_short() -> None:
    assert {name: words(text) for name, text in PAGES.items() if words(text) > 1500} == {}


def test_the_man_page_is_troff_without_a_line_that_means_something_else() -> None:
    page = generated.man_page()
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests == {".TH", ".SH", ".SS", ".PP", ".TP", ".B"}


class Resources(HTMLParser):
    """What a browser loads to show a page, and the classes of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert "mermaid" not in given.get("class", ""), "Material fetches what draws it"
        if tag != "a":
            self.loaded += [given[name] for name in ("src", "href", "srcset", "data", "poster") if name in given]
        self.loaded += re.findall(r"url\(([^)]*)\)", given.get("style", ""))


@pytest.mark.slow
def test_the_site_is_built_strictly_and_loads_nothing_from_another_host(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the site is built by mkdocs-material, extra 'docs'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr + built.stdout
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    elsewhere = re.compile(r"^\s*(?:[a-z]+:)?//", re.I)
    for page in pages:
        found = Resources()
        found.feed(page.read_text())
        assert found.loaded, page
        assert [url for url in found.loaded if elsewhere.match(url)] == [], page
    assert '<html lang="zh-Hans"' in (tmp_path / "tutorial.zh.html").read_text()
    for sheet in tmp_path.rglob("*.css"):
        urls = re.findall(r"url\(['\"]?([^)'\"]*)|@import\s+['\"]([^'\"]*)", sheet.read_text())
        assert [url for pair in urls for url in pair if elsewhere.match(url)] == [], sheet
    index = json.loads((tmp_path / "search" / "search_index.json").read_text())
    assert {"tutorial.html", "tutorial.zh.html"} <= {entry["location"].partition("#")[0] for entry in index["docs"]}
