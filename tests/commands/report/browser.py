"""A real browser for the pages of `gdcli report`, without a network: what a page asks for or complains of is kept.

It is the system's Chromium or Chrome, driven by Playwright; where either is not there the tests say so and skip.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_MS = 30_000  # for what comes at once where a machine is idle
CONTROLS = "button, input, select, textarea, summary, a[href], [role=button]"
ROLES = {"button", "checkbox", "slider", "combobox", "link", "textbox", "spinbutton", "radio", "switch", "tab"}


class PageProbe:
    """A page that is open, and all that it asked for, wrote to the console or tried to show."""

    def __init__(self, page: Any, path: Path, width: int, height: int) -> None:
        self.page, self.path, self.is_open = page, path, True
        self.asked, self.complaints = list[str](), list[str]()
        self.listeners = {"console": self._console, "pageerror": self._error, "dialog": self._dialog}
        for event, listener in self.listeners.items():
            page.on(event, listener)
        page.route("**/*", self._request)
        page.set_viewport_size({"width": width, "height": height})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=true]", state="attached")

    def end(self) -> None:
        """Turn from a page, which has to have been quiet."""
        if not self.is_open:
            return
        self.is_open = False
        for event, listener in self.listeners.items():
            self.page.remove_listener(event, listener)
        self.page.unroute("**/*", self._request)
        assert self.is_quiet()

    def _error(self, error: Any) -> None:
        self.complaints.append(str(error))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(message.text)

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, route: Any) -> None:
        """Let the file itself through and nothing else."""
        self.asked.append(route.request.url)
        if route.request.url == self.path.as_uri():
            route.continue_()
        else:
            route.abort()

    def is_quiet(self) -> bool:
        """Say whether the page opened its own file alone, complained of nothing and ran no text of a record."""
        assert self.asked == [self.path.as_uri()]
        assert not self.complaints, self.complaints
        assert self.js("window.__hit === undefined")
        return True

    def js(self, expression: str, argument: Any = None) -> Any:
        """Return what an expression or a function of one argument gives."""
        return self.page.evaluate(expression, argument)

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element of a selector."""
        return list(self.page.locator(selector).all_text_contents())

    def controls(self) -> list[tuple[str, str]]:
        """Return role and name of every control of the accessibility tree."""
        session = self.page.context.new_cdp_session(self.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        session.detach()
        found = [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]
        ]
        return [(role, name) for role, name in found if role in ROLES]

    def fits(self, width: int) -> bool:
        """Say whether the page in a window of a width is not scrolled sideways and no text lies over another."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.js("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert self.js("document.scrollingElement.scrollWidth") <= width == self.js("innerWidth")
        assert self.overlaps() == []
        return True

    def names_controls(self) -> bool:
        """Say whether the accessibility tree has every control that is to be seen, each with a name."""
        found = self.controls()
        assert [role for role, name in found if not name.strip()] == []
        there = "s => [...document.querySelectorAll(s)].filter(each => each.checkVisibility()).length"
        assert len(found) == self.js(there, CONTROLS)
        return True

    def overlaps(self) -> list[list[str]]:
        """Return the pairs of texts, none within the other, whose boxes lie over each other by more than 2 pixels."""
        return list(self.js(OVERLAPS))


OVERLAPS = """() => {
  const boxes = [];
  const add = (rect, element, text, node) => {
    let box = { left: rect.left, right: rect.right, top: rect.top, bottom: rect.bottom };
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.visibility === "hidden" || style.opacity === "0") return;
      if (style.overflowX === "visible" || style.display === "inline") continue;
      const edge = at.getBoundingClientRect();
      box = { left: Math.max(box.left, edge.left), right: Math.min(box.right, edge.right),
        top: Math.max(box.top, edge.top), bottom: Math.min(box.bottom, edge.bottom) };
    }
    if (box.right - box.left > 1 && box.bottom - box.top > 1) boxes.push({ ...box, text, node });
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const around = node.parentElement;
    if (!node.data.trim() || around.closest("script, style, noscript, title, option")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) add(rect, around, node.data, node);
  }
  for (const each of document.querySelectorAll("button, input, select")) {
    add(each.getBoundingClientRect(), each, `<${each.localName}> ${each.textContent.slice(0, 30)}`, each);
  }
  boxes.sort((a, b) => a.top - b.top);
  const found = [];
  boxes.forEach((a, k) => {
    for (let j = k + 1; j < boxes.length && boxes[j].top < a.bottom - 2; j++) {
      const b = boxes[j];
      if (a.node === b.node || a.node.contains(b.node) || b.node.contains(a.node)) continue;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left), down = Math.min(a.bottom, b.bottom) - b.top;
      if (across > 2 && down > 2) found.push([a.text, b.text]);
    }
  });
  return found;
}"""


def found_browser() -> str | None:
    """Return the path of the system's browser; None where it has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="package")
def offline() -> Iterator[Any]:
    """A tab of a browser without a network, the same for all tests of these pages."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make test installs it")
    path = found_browser()
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)}")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=path, args=[*flags, "--disable-gpu"])
        except playwright.Error as error:  # such as a script that only says how to install one
            pytest.skip(f"{path} does not start: {str(error).strip().splitlines()[0]}")
        context = browser.new_context(reduced_motion="reduce", color_scheme="light", locale="en-US")
        context.set_offline(True)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        yield page
        browser.close()


Opener = Callable[..., PageProbe]


@pytest.fixture
def opened(offline: Any) -> Iterator[Opener]:
    """A function that opens a page in place of the one before; each has to have been quiet until then."""
    probes: list[PageProbe] = []

    def call(path: Path, width: int = 1280, height: int = 900) -> PageProbe:
        if probes:
            probes[-1].end()
        probes.append(PageProbe(offline, path, width, height))
        return probes[-1]

    yield call
    for probe in probes:
        probe.end()
