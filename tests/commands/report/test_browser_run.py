"""The page of a run in a real browser, from a file and without a network, against the record's own files."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gdcli.cli import main
from tests.commands.report.browser import Opener, PageProbe
from tests.conftest import only_folder

pytestmark = pytest.mark.slow

BOWL = """\
name: bowl
model: {type: objective, expression: "(1 - x)**2 + 3*y**2 + x*y", start: {x: -0.5, y: 0.75}}
optimizer: {name: sgd, lr: 0.02}
epochs: 30
"""
LINE = """\
name: line
data: {x: [[1.0, 2.0], [2.0, -1.0], [3.0, 0.5]], y: [[3.0], [1.0], [5.0]]}
model: {type: linear}
loss: mse
optimizer: {name: adam, lr: 0.1}
batch: {mode: stochastic}
epochs: 10
"""
SPECS = {
    "2-2-2": ["backprop_2x2", "epochs=100", "record.parameters=true"],
    "trained again": ["backprop_2x2", "epochs=100"],
    "objective": ["bowl.yaml", "record.parameters=true"],
    "linear": ["line.yaml", "record.parameters=true"],
}

Made = dict[str, tuple[Path, Path]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, offline: Any) -> Iterator[Made]:
    """The record and the page of each kind."""
    root, found = tmp_path_factory.mktemp("pages"), dict[str, tuple[Path, Path]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        Path("bowl.yaml").write_text(BOWL)
        Path("line.yaml").write_text(LINE)
        for kind, words in SPECS.items():
            assert main(["run", *words, "-o", kind, "--no-plot", "-q"]) == 0
            folder = root / only_folder(Path(kind))
            assert main(["report", str(folder), "-o", f"{kind}.html", "-q"]) == 0
            found[kind] = folder, root / f"{kind}.html"
        yield found


def table(path: Path) -> dict[int, dict[str, str]]:
    with path.open(newline="") as stream:
        return {int(row.pop("step")): row for row in csv.DictReader(stream)}


def shown(probe: PageProbe) -> tuple[dict[str, str], dict[str, str]]:
    """The weights and the gradients in the table beside the drawing."""
    rows = probe.js(
        "[...document.querySelectorAll('.step-table tbody tr')].map(r => [...r.children].map(c => c.textContent))"
    )
    return {name: weight for name, weight, _ in rows}, {name: gradient for name, _, gradient in rows}


def step_of(probe: PageProbe) -> int:
    """The step that the page says to be at."""
    found = re.fullmatch(r"Step ([\d,]+) of [\d,]+", probe.texts(".step-told")[0])
    assert found, probe.texts(".step-told")
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize("kind", SPECS)
def test_at_each_step_weights_and_gradients_are_the_texts_of_the_record(made: Made, opened: Opener, kind: str) -> None:
    folder, page = made[kind]
    recorded = made["2-2-2"][0] if kind == "trained again" else folder
    weights, gradients = table(recorded / "parameters.csv"), table(recorded / "gradients.csv")
    assert (folder / "parameters.csv").exists() == (kind != "trained again")
    probe, slider = opened(page), ".step-bar input[type=range]"
    steps = list(gradients)
    for k in (0, 1, len(steps) // 2, len(steps) - 1):
        probe.page.locator(slider).fill(str(k))
        assert step_of(probe) == steps[k]
        assert shown(probe) == (weights[steps[k]], gradients[steps[k]])
        names = probe.js("[...document.querySelectorAll('.step-edge')].map(e => e.getAttribute('aria-label'))")
        for text in names:  # w5 (linear2.weight[0,0]) from h1 to o1: weight 0.4, gradient 0.08
            entry = re.fullmatch(r"\w+ \((.+)\) from .+: weight (\S+), gradient (\S+)", text)
            if kind != "objective":
                assert entry, text
                assert entry.groups()[1:] == (weights[steps[k]][entry[1]], gradients[steps[k]][entry[1]])
        assert probe.texts("tr[aria-current=true] th") == [str(steps[k])]  # the table of steps goes along
        assert probe.page.get_by_label("Step", exact=True).first.input_value() == str(k)  # and the bar above
    assert len(names) >= 2
    assert any("trained again for the weights" in note for note in probe.texts(".step-notes li")) == (
        kind == "trained again"
    )


def test_keys_buttons_and_play_move_the_step(made: Made, opened: Opener) -> None:
    folder, page = made["2-2-2"]
    gradients, probe = table(folder / "gradients.csv"), opened(page)

    def does(act: Any, argument: str, step: int) -> None:
        act(argument)
        assert step_of(probe) == step
        assert shown(probe)[1] == gradients[step]

    press, click = probe.page.keyboard.press, probe.page.click
    for key, step in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", 100), ("ArrowRight", 100),
                      ("Home", 1), ("ArrowLeft", 1)):  # fmt: skip
        does(press, key, step)
    for do, step in (("forward", 2), ("last", 100), ("back", 99), ("first", 1)):
        does(click, f"[data-do={do}]", step)
    probe.js("document.activeElement.blur()")
    press(" ")  # plays
    assert probe.page.get_attribute("[data-do=play]", "aria-label") == "Pause"
    probe.page.locator(".step-told").filter(has_not_text="Step 1 of").wait_for()
    press(" ")
    assert probe.page.get_attribute("[data-do=play]", "aria-label") == "Play"
    stopped = step_of(probe)
    assert stopped > 1
    assert shown(probe)[1] == gradients[stopped]


POINT = """() => {
  const line = document.querySelector(".step-edge[data-id='w5'] .step-hit");
  line.scrollIntoView({ block: "center" });
  const point = line.getPointAtLength(line.getTotalLength() * 0.2), m = line.getScreenCTM();
  return [m.a * point.x + m.c * point.y + m.e, m.b * point.x + m.d * point.y + m.f];
}"""


def test_a_weight_that_is_clicked_shows_its_derivation_as_explain_prints_it(
    made: Made, opened: Opener, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, page = made["2-2-2"]
    probe = opened(page)
    probe.page.mouse.click(*probe.js(POINT))
    assert probe.texts(".step-panel h4") == ["Derivation: w5"]
    explain = ["explain", str(folder / "config.yaml"), "--step"]
    for step in (1, 7):
        capfd.readouterr()
        assert main([*explain, str(step), "--only", "dw5,new_w5"]) == 0
        printed = capfd.readouterr().out.strip().splitlines()
        probe.page.locator(".step-bar input[type=range]").fill(str(step - 1))
        lines = [line for text in probe.texts(".step-panel pre") for line in text.splitlines()]
        assert printed == [line for line in lines if line.startswith(("dw5: ", "new_w5: "))]
        assert main([*explain, str(step)]) == 0
        whole = {re.sub(r"\s+", " ", line) for line in capfd.readouterr().out.splitlines()}
        assert len(printed) == 2
        assert len(lines) > 5
        assert [line for line in lines if line not in printed and re.sub(r"\s+", " ", line) not in whole] == []
    probe.page.focus(".step-node[data-id=h1]")
    probe.page.keyboard.press("Enter")
    assert probe.texts(".step-panel h4") == ["Derivation: h1"]
    assert probe.page.get_attribute(".step-node[data-id=h1]", "aria-pressed") == "true"
    assert probe.page.get_attribute(".step-edge[data-id=w5]", "aria-pressed") == "false"


def test_the_point_on_the_surface_stands_where_the_variables_are(made: Made, opened: Opener) -> None:
    folder, page = made["objective"]
    weights, probe = table(folder / "parameters.csv"), opened(page)
    places = {}
    for step in (1, 10, 30):
        probe.page.locator(".step-bar input[type=range]").fill(str(step - 1))
        places[step] = probe.js("['cx', 'cy'].map(n => Number(document.querySelector('.step-point').getAttribute(n)))")
    (x1, y1), (x2, y2), (x3, y3) = places.values()
    (u1, v1), (u2, v2), (u3, v3) = ((float(weights[k]["x"]), float(weights[k]["y"])) for k in places)
    assert (x3 - x1) / (x2 - x1) == pytest.approx((u3 - u1) / (u2 - u1), rel=1e-6)  # one scale for all steps
    assert (y3 - y1) / (y2 - y1) == pytest.approx((v3 - v1) / (v2 - v1), rel=1e-6)
    assert (x2 > x1) == (u2 > u1)
    assert (y2 < y1) == (v2 > v1)  # up is more


OVER = """() => {
  const over = document.createElement("p"), box = document.querySelector("h2").getBoundingClientRect();
  over.textContent = "over";
  document.body.append(over);
  Object.assign(over.style, { position: "absolute", top: `${box.top}px`, left: `${box.left}px` });
}"""


@pytest.mark.parametrize("kind", ["2-2-2", "objective"])
def test_a_phone_and_a_projector_show_all_and_every_control_has_a_name(made: Made, opened: Opener, kind: str) -> None:
    probe = opened(made[kind][1], 390)
    assert len(probe.texts("text, td, th, p, li, button")) > 50
    assert probe.fits(390)
    assert probe.names_controls()
    assert probe.fits(1920)
    assert probe.names_controls()
    assert {"button", "slider", "link"} <= {role for role, _ in probe.controls()}
    probe.js(OVER)
    assert any("over" in pair for pair in probe.overlaps())  # two that do are found


def test_a_zoom_is_that_of_all_charts_of_the_run_and_stays_when_one_is_drawn_anew(made: Made, opened: Opener) -> None:
    probe = opened(made["2-2-2"][1])
    page, charts = probe.page, probe.page.locator(".charts .u-over")

    def ends(k: int) -> tuple[int, int]:
        """The steps at both ends of a chart, as the slider tells them where the pointer is there."""
        charts.nth(k).scroll_into_view_if_needed()
        box, found = charts.nth(k).bounding_box(), list[int]()
        for x in (1, box["width"] - 2):
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
            page.mouse.move(box["x"] + x, box["y"] + 60)
            found.append(int(re.search(r"\d+", page.locator(".step-told").inner_text())[0]))
        return found[0], found[1]

    assert all(ends(k) == pytest.approx((1, 100), abs=1) for k in range(3))
    charts.first.scroll_into_view_if_needed()
    box = charts.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=5)
    page.mouse.up()
    zoomed = ends(0)
    assert zoomed == pytest.approx((30.7, 60.4), abs=2)
    page.locator(".charts .chart-head button").first.click()  # logarithms
    page.locator(".charts .chart-legend button").nth(1).click()  # a curve less
    assert all(ends(k) == pytest.approx(zoomed, abs=1) for k in range(3))
    charts.nth(1).dblclick(position={"x": 50, "y": 60})
    assert all(ends(k) == pytest.approx((1, 100), abs=1) for k in range(3))
