"""A live page in a real browser: it grows without a reload, keeps what its reader set, stays when its server ends."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gdcli.commands.report.live import LivePage
from gdcli.storage.run_folder import Lock
from tests.hand_made import a_run

TOLD = ".bar output"  # the step and the last one


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    folder = a_run(tmp_path / "runs", "20260101-120000", steps=40, status=None)
    lock = Lock(folder)
    yield folder
    lock.release()


@pytest.fixture
def following(running: Path, offline: Any, request: Any) -> Iterator[tuple[LivePage, Any, list[str]]]:
    """A server, a page of it in a browser that has a network, and what the page complained of."""
    locale = getattr(request, "param", "en-US")
    context = offline.context.browser.new_context(locale=locale, reduced_motion="reduce")
    server = LivePage(running)
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.goto(server.address)
    page.wait_for_selector("html[data-ready=true]", state="attached")
    yield server, page, complaints
    context.close()
    server.close()


def add(folder: Path, first: int, last: int) -> None:
    """Let the run take some more steps."""
    with (folder / "steps.csv").open("a") as steps, (folder / "gradients.csv").open("a") as gradients:
        steps.writelines(f"{k},{k},1,{1 / k!r},0.1,{1 / k!r}\n" for k in range(first, last + 1))
        gradients.writelines(f"{k},{1 / k!r},{1 / k!r}\n" for k in range(first, last + 1))


def grown(page: Any, text: str) -> None:
    page.locator(".bar output").filter(has_text=re.compile(f"{re.escape(text)}$")).wait_for()


def ended(page: Any) -> None:
    page.locator(".live[data-state=ended]").wait_for()


def test_it_grows_without_a_reload_and_keeps_what_was_set(running: Path, following: Any) -> None:
    _, page, complaints = following
    page.evaluate("window.sameDocument = true")
    assert page.inner_text(TOLD) == "Step 40 of 40"
    page.set_viewport_size({"width": 1280, "height": 700})
    page.get_by_role("button", name="Loss: logarithmic").click()
    page.get_by_role("button", name="training loss").first.click()
    box = page.locator(".u-over").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60, steps=3)
    page.mouse.up()
    page.mouse.move(5, 5)
    page.locator(".bar input").press("End")
    page.evaluate("scrollTo(0, 150)")
    page.get_by_role("button", name="Loss: logarithmic").focus()
    top = page.evaluate("scrollY")
    for last in (60, 90):
        add(running, last - 19 if last == 60 else 61, last)
        grown(page, f"of {last}")
    assert page.inner_text(TOLD) == "Step 90 of 90"  # who looks at the last step goes along
    assert page.evaluate("window.sameDocument && scrollY") == top
    log, loss = (page.get_by_role("button", name=name).first for name in ("Loss: logarithmic", "training loss"))
    assert (log.get_attribute("aria-pressed"), loss.get_attribute("aria-pressed")) == ("true", "false")
    assert log.evaluate("one => one === document.activeElement")
    box = page.locator(".u-over").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 50)  # the end of what was zoomed to
    assert 15 <= int(page.inner_text(TOLD).split()[1]) <= 25
    page.mouse.move(5, 5)
    page.locator(".bar input").press("Home")
    add(running, 91, 95)
    grown(page, "of 95")
    assert page.inner_text(TOLD) == "Step 1 of 95"
    assert page.locator(".chart").count() == 3  # loss, gradients, learning rate: none twice
    assert complaints == []


def test_it_is_held_on_demand(running: Path, following: Any) -> None:
    _, page, complaints = following
    hold = page.get_by_role("button", name="Hold the page")
    hold.click()
    add(running, 41, 50)
    page.wait_for_timeout(1500)
    assert page.inner_text(TOLD) == "Step 40 of 40"
    hold.click()
    grown(page, "of 50")
    assert complaints == []


def test_it_says_that_the_command_ended_and_stays_readable(running: Path, following: Any) -> None:
    server, page, complaints = following
    add(running, 41, 45)
    (running / "summary.json").write_text('{"status": "finished", "final_loss": 0.5}')
    server.close()
    ended(page)
    assert page.inner_text(".live [role=status]") == "The command has ended; this page stays as it is. (finished)"
    assert page.inner_text(TOLD) == "Step 45 of 45"
    page.locator(".bar input").press("Home")
    assert page.inner_text(TOLD) == "Step 1 of 45"
    assert complaints == []


@pytest.mark.parametrize("following", ["zh-CN"], indirect=True)
def test_a_reader_of_chinese_is_told_the_end_in_chinese_alone(running: Path, following: Any) -> None:
    server, page, _ = following
    (running / "summary.json").write_text('{"status": "finished", "final_loss": 0.5}')
    server.close()
    ended(page)
    told = page.inner_text(".live [role=status]")
    assert "完成" in told
    assert re.search("[A-Za-z]", told) is None


def test_a_comparison_whose_runs_train_together_says_when_they_show(tmp_path: Path, offline: Any) -> None:
    folder = tmp_path / "runs/comparison/20260101-120000-00000000"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: comparison\n")
    (folder / "request.json").write_text('{"format": 1, "command": "compare", "overrides": [], "options": {}}')
    lock = Lock(folder)
    context, server = offline.context.browser.new_context(locale="en-US"), LivePage(folder)
    page = context.new_page()
    page.goto(server.address)
    page.wait_for_selector("html[data-ready=true]", state="attached")
    assert page.inner_text("section p") == (
        "Nothing is recorded yet. Runs that are trained together, and those that tune, show when they have ended."
    )
    context.close()
    server.close()
    lock.release()


INJECTED = """async address => {
  const ran = window.ran = [], refused = new Set(), hold = document.createElement("div");
  document.addEventListener("securitypolicyviolation", told => refused.add(told.effectiveDirective));
  hold.innerHTML = `<img src=x onerror="ran.push('handler')"><img src="${address}/img"><iframe src="${address}/frame">
    </iframe><a href="javascript:ran.push('link')">x</a><form action="${address}/form"></form>
    <style>body { background: url(${address}/style) }</style><object data="${address}/object"></object>`;
  document.body.append(hold);
  for (const [name, value] of [["src", `${address}/script`], ["textContent", "ran.push('inline')"]]) {
    const script = document.createElement("script");
    script[name] = value;
    document.body.append(script);
  }
  hold.querySelector("a").click();
  hold.querySelector("form").requestSubmit();
  navigator.sendBeacon(`${address}/beacon`);
  await fetch(`${address}/fetch`).catch(() => null);
  for (let k = 0; refused.size < 8 && k < 200; k++) await new Promise(done => setTimeout(done, 10));
  return [ran, [...refused].sort()];
}"""


def test_what_would_be_injected_does_not_run_and_reaches_no_address(following: Any) -> None:
    _, page, complaints = following
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        ran, refused = page.evaluate(INJECTED, f"http://127.0.0.1:{elsewhere.getsockname()[1]}")
        assert ran == []
        assert refused == [
            "connect-src", "form-action", "frame-src", "img-src", "object-src", "script-src-attr", "script-src-elem",
            "style-src-elem",
        ]  # fmt: skip
        elsewhere.settimeout(0.2)
        with suppress(TimeoutError):
            while True:  # a browser may connect in advance, but asks for nothing
                connection, _ = elsewhere.accept()
                with connection:
                    connection.settimeout(0.2)
                    asked = b""
                    with suppress(TimeoutError):
                        asked = connection.recv(100)
                    assert asked == b""
    assert all("Content Security Policy" in each for each in complaints)
