"""The pictures of docs/pictures.md: all of them shown, small, and made by the commands of `make pictures`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from gdcli.cli.application import app
from gdcli.commands import plot
from gdcli.spec import bundled
from gdcli.spec.overrides import is_override

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
FILES = sorted(FOLDER.iterdir())
SHOWN = re.findall(r"!\[([^\]]*)\]\(pictures/([^)]+)\)", (ROOT / "docs" / "pictures.md").read_text())


def recipe() -> list[list[str]]:
    """The words of each line of the Makefile's target `pictures`, its variables put in."""
    text = (ROOT / "Makefile").read_text()
    values = dict(re.findall(r"^([A-Z]+) := (.*)$", text, re.M))
    (lines,) = re.findall(r"^pictures:.*\n((?:\t.*\n)+)", text, re.M)
    while "$(" in lines:
        lines = re.sub(r"\$\(([A-Z]+)\)", lambda found: values[found[1]], lines)
    return [shlex.split(line) for line in lines.splitlines()]


COMMANDS = [words[1:] for words in recipe() if words[0].endswith("/gdcli")]


def test_the_page_shows_each_picture_once_and_says_what_it_is() -> None:
    assert sorted(name for _, name in SHOWN) == [path.name for path in FILES]
    assert all(said for said, _ in SHOWN)


def test_the_target_makes_the_pictures_there_are() -> None:
    made = {Path(word).name for words in recipe() for word in words[-1:] if word.startswith("docs/pictures/")}
    assert made == {path.name for path in FILES}
    assert {words[words.index("--kind") + 1] for words in COMMANDS if "--kind" in words} == set(plot.KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_picture_opens_and_is_small(path: Path) -> None:
    assert path.stat().st_size < 300_000
    image: Any
    with Image.open(path) as image:
        assert image.width >= 640
        assert (getattr(image, "n_frames", 1) > 10) == (path.suffix == ".gif")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_target_parses_and_names_bundled_specs(words: list[str]) -> None:
    command, *arguments = words[: words.index(">")] if ">" in words else words
    group: Any = typer.main.get_command(app())
    asked = group.commands[command].make_context(command, arguments).params
    specs = [word for word in asked.get("words") or [] if not is_override(word)]
    assert specs or command in ("ema", "report") or not plot.KINDS[asked["kind"]].of_runs
    assert {spec for spec in specs if not spec.startswith("build/pictures/")} <= set(bundled.names())
    if command == "plot":
        plot.PlotOptions(plot.chosen(asked["kind"], specs), asked["smooth"], [], asked["step"], asked["animate"]).check(
            specs
        )
