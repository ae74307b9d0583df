"""Pictures of pages of `gdcli report`, by a Chromium of the system: python docs/screenshots.py PAGE [options] PICTURE.

The browser is spoken to over a pipe, in its own protocol, without any package. Where there is none, a line says so and
the pictures stay as they are.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTH = 1280
"""Pixels of the window."""
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb",
    "--font-render-hinting=none", "--remote-debugging-pipe", "--no-first-run", "--disable-extensions",
)  # fmt: skip
READY = "document.documentElement?.dataset.ready === 'true' && location.protocol === 'file:'"
SECONDS = 30
"""Until a page must have drawn itself."""


class BrowserPipe:
    """A browser that is sent commands, one by one; `with` ends it."""

    def __init__(self, program: str, profile: str) -> None:
        """The browser reads commands from its file 3 and answers on its file 4."""
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def place() -> None:
            kept = [os.dup(to_read), os.dup(to_write)]
            os.dup2(kept[0], 3)
            os.dup2(kept[1], 4)

        self._process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            close_fds=False, preexec_fn=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._number, self._rest, self._session = 0, b"", ""
        page = next(each for each in self.send("Target.getTargets")["targetInfos"] if each["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]

    def __enter__(self) -> BrowserPipe:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer. Raises RuntimeError for an error, or a browser that has ended."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self._write,
            json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0",
        )
        while True:
            while b"\0" not in self._rest:
                if not (part := os.read(self._read, 1 << 16)):
                    raise RuntimeError("the browser has ended")
                self._rest += part
            line, _, self._rest = self._rest.partition(b"\0")
            found = json.loads(line)
            if found.get("id") != self._number:
                continue
            if "error" in found or "exceptionDetails" in found.get("result", {}):
                raise RuntimeError(f"{method}: {line.decode()[:500]}")
            result: dict[str, Any] = found["result"]
            return result

    def is_ready(self) -> bool:
        """Say whether the page has drawn itself; one that is only coming has not."""
        try:
            return self.run(READY) is True
        except RuntimeError:
            return False

    def run(self, script: str) -> Any:
        """Return what a script of the page gives, waited for."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")


def taken(browser: BrowserPipe, page: Path, at: str, step: int, choose: str, height: int) -> bytes:
    """Return a part of a page as PNG: a heading and what is below it, at a step, with a part of its net chosen."""
    browser.send("Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=1, mobile=False)
    browser.send("Page.navigate", url=page.absolute().as_uri())
    end = time.monotonic() + SECONDS
    while not browser.is_ready():
        if time.monotonic() > end:
            raise RuntimeError(f"{page} does not draw itself")
        time.sleep(0.05)
    if step:
        browser.run(
            f"(box => {{ box.value = '{step - 1}'; box.dispatchEvent(new Event('input')); }})"
            "(document.querySelector('.step-bar input'))"
        )
    if choose:
        browser.run(f"""document.querySelector("[data-id='{choose}']").dispatchEvent(new MouseEvent("click"))""")
    element = f"document.querySelector({json.dumps(at)})"
    browser.run(f"{element}.scrollIntoView()")
    browser.run("new Promise(done => requestAnimationFrame(() => setTimeout(done, 200)))")
    below = browser.run(f"{element}.parentElement.getBoundingClientRect().bottom")
    shot = browser.send("Page.captureScreenshot", format="png")
    return small(base64.b64decode(shot["data"]), min(height, int(below) + 12))


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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, BrowserPipe(program, profile) as browser:
        found = taken(browser, asked.page, asked.at, asked.step, asked.choose, asked.height)
    asked.picture.write_bytes(found)


if __name__ == "__main__":
    main()
