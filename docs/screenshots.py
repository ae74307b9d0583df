"""Pictures of pages of `gdcli report`, by a Chromium of the system: python docs/screenshots.py PAGE [options] PICTURE.

Where there is none, a line says so and the picture stays as it is.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", "--font-render-hinting=none")
WIDTH = 1280
"""Pixels of the window."""


def taken(program: str, page: Path, at: str, step: int, choose: str, height: int) -> bytes:
    """Return a part of a page as PNG: a heading and what is below it, at a step, with a part of its net chosen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, driver.chromium.launch(executable_path=program, args=[*FLAGS]) as browser:
        tab = browser.new_page(viewport={"width": WIDTH, "height": height})
        tab.goto(page.absolute().as_uri())
        tab.wait_for_selector("html[data-ready=true]", state="attached")
        if step:
            slider = tab.locator(".step-bar input")
            slider.fill(str(step - 1))
            slider.blur()
        if choose:
            tab.locator(f"[data-id='{choose}']").dispatch_event("click")
        heading: Any = tab.locator(at).first
        heading.evaluate("one => one.scrollIntoView()")
        tab.wait_for_timeout(200)  # milliseconds, until what came into sight is drawn
        below = heading.evaluate("one => one.parentElement.getBoundingClientRect().bottom")
        return small(tab.screenshot(), min(height, int(below) + 12))


def small(png: bytes, height: int) -> bytes:
    """Return the top of a picture with 256 colours, which is a third of the size."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").crop((0, 0, image.width, height)).quantize(
            256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        ).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Take one picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--at", default="h2", help="a selector of the heading at its top")
    parser.add_argument("--step", type=int, default=0)
    parser.add_argument("--choose", default="", help="the id of an edge or a node")
    parser.add_argument("--height", type=int, default=900, help="pixels at most")
    asked = parser.parse_args()
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        sys.stderr.write(f"{asked.picture} is not made anew: no Chromium is installed here\n")
        return
    asked.picture.write_bytes(taken(program, asked.page, asked.at, asked.step, asked.choose, asked.height))


if __name__ == "__main__":
    main()
