"""Comparisons, sweeps and long runs in a real browser: sorting, switching, and what is thinned, against their files."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gdcli.cli import main
from tests.commands.report.browser import Opener, PageProbe
from tests.conftest import only_folder
from tests.hand_made import a_run

pytestmark = pytest.mark.slow

STAMP = "20260101-120000-0123abcd"
LOSSES = {"sgd": 10.0, "adam": 9.5e-05, "momentum": 2.0, "rmsprop": 0.25, "adagrad": 100.0, "nesterov": None}
STEPS, RUNS = 100_000, 10_000

Pages = dict[str, tuple[Path, Path]]


def many_runs(folder: Path, kind: str, header: str, rows: Sequence[str]) -> Path:
    folder.mkdir(parents=True)
    (folder / "results.csv").write_text("\n".join([header, *rows]) + "\n")
    for name in ("spec.yaml", "config.yaml"):
        (folder / name).write_text(f"name: {folder.parent.name}\nepochs: 4\n")
    (folder / "request.json").write_text(json.dumps({"format": 1, "command": kind, "overrides": [], "options": {}}))
    (folder / "summary.json").write_text(json.dumps({"status": "finished", "runs": len(rows)}))
    return folder


def compared(root: Path) -> Path:
    """Six rows with a curve each; one diverged."""
    rows, folder = [], root / "runs" / "six" / STAMP
    inner = {}
    for k, (label, loss) in enumerate(LOSSES.items(), 1):
        ended = "finished" if loss else "diverged"
        rows.append(f"{k},{label},{0.1 * k!r},{ended},{loss or ''},{loss or ''},4,4,a{k},b,c")
        inner[k, label] = a_run(root / "apart", f"2026010{k}-120000", name=label, steps=4)
        losses = [f"{j},{j},1,{(loss or 300.0) * (5 - j)!r},0.1,1.0" for j in range(1, 5)]
        (inner[k, label] / "steps.csv").write_text(
            "step,epoch,batch,loss,lr,gradient_norm\n" + "\n".join(losses) + "\n"
        )
    many_runs(folder, "compare", "run,label,lr,status,final_loss,best_loss,steps,epochs,weights,data,order", rows)
    for (k, label), run in inner.items():
        run.rename(folder / f"{k}-{label}")
    return folder


def swept(root: Path) -> Path:
    """Ten thousand runs of a sweep over two axes."""
    rows = []
    for k in range(1, RUNS + 1):
        loss = repr(abs(math.sin(k)) + 1e-9 * k)
        rows.append(f"{k},{k / 1000!r},{1 + k % 7},finished,{loss},{loss},4,4,a,b,c")
    header = "run,lr,batch,status,final_loss,best_loss,steps,epochs,weights,data,order"
    return many_runs(root / "runs" / "swept" / STAMP, "sweep", header, rows)


def long_run(root: Path) -> Path:
    """A hundred thousand steps, with one spike, and the gradients of two numbers."""
    folder = a_run(root / "runs", "20260101-120000", name="long", steps=1)
    losses, gradients = [], []
    for k in range(1, STEPS + 1):
        loss = 55.5 if k == 54_321 else 2.0 + math.sin(k / 700) + 0.1 * math.sin(17.0 * k)
        losses.append(f"{k},{(k + 9) // 10},{1 + (k - 1) % 10},{loss!r},{0.1 / (1 + k)!r},{math.cos(k / 900) + 2!r}\n")
        gradients.append(f"{k},{math.sin(k / 300)!r},{math.sin(3.0 * k)!r}\n")
    (folder / "steps.csv").write_text("step,epoch,batch,loss,lr,gradient_norm\n" + "".join(losses))
    (folder / "gradients.csv").write_text('step,"weight[0,0]",bias[0]\n' + "".join(gradients))
    return folder


MAKERS = {"compared": compared, "swept": swept, "long": long_run}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, offline: Any) -> Iterator[Pages]:
    root = tmp_path_factory.mktemp("pages")
    found = {}
    for kind, make in MAKERS.items():
        folder, page = make(root), root / f"{kind}.html"
        assert main(["report", str(folder), "-o", str(page), "--curves", "-q"]) == 0
        found[kind] = folder, page
    return found


COLUMN = """([title, name]) => {
  const table = document.querySelector(`table[aria-label="${title}"]`);
  const k = [...table.querySelectorAll("thead th")].findIndex(each => each.textContent.replace(/ [▲▼]$/, "") === name);
  return [...table.querySelectorAll("tbody tr")].map(row => row.children[k].textContent);
}"""


def column(probe: PageProbe, title: str, name: str) -> list[str]:
    """The cells of a column of a table, from the top."""
    return list(probe.js(COLUMN, [title, name]))


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as stream:
        return [*csv.DictReader(stream)]


def test_a_column_of_numbers_sorts_as_numbers_and_one_of_words_as_words(pages: Pages, opened: Opener) -> None:
    folder, page = pages["compared"]
    probe, rows = opened(page), results(folder)
    table = probe.page.get_by_role("table", name="Table", exact=True)
    assert column(probe, "Table", "label") == [row["label"] for row in rows]
    finished = sorted((row for row in rows if row["final_loss"]), key=lambda row: float(row["final_loss"]))
    for turn, expected in (("ascending", finished), ("descending", finished[::-1])):
        table.get_by_role("button", name="final_loss").click()
        assert column(probe, "Table", "final_loss") == [row["final_loss"] for row in expected] + [""]
        assert column(probe, "Table", "label") == [row["label"] for row in expected] + ["nesterov"]
        assert table.get_by_role("columnheader", name="final_loss").get_attribute("aria-sort") == turn
    table.get_by_role("button", name="label").focus()
    probe.page.keyboard.press("Enter")
    assert column(probe, "Table", "label") == sorted(LOSSES)


PIXELS = """k => {
  const canvas = document.querySelector(".chart canvas"), line = document.querySelectorAll(".chart-legend line")[k];
  const [r, g, b] = getComputedStyle(line).stroke.match(/\\d+/g).map(Number);
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) found += data[i] === r && data[i + 1] === g && data[i + 2] === b;
  return found;
}"""


def test_rows_and_buttons_switch_curves_on_and_off_together(pages: Pages, opened: Opener) -> None:
    probe = opened(pages["compared"][1])
    names = [*legend(probe, 0)]
    assert names == [*LOSSES]
    k = names.index("adagrad")
    boxes = [probe.page.get_by_label(f"shown: {name}", exact=True) for name in names]
    button = probe.page.locator(".chart-legend button").nth(k)
    assert probe.js(PIXELS, k) > 20
    boxes[k].uncheck()
    assert button.get_attribute("aria-pressed") == "false"
    assert probe.js(PIXELS, k) == 0
    assert probe.js(PIXELS, names.index("sgd")) > 20
    button.click()
    assert boxes[k].is_checked()
    assert probe.js(PIXELS, k) > 20
    probe.page.get_by_role("button", name="hide all rows").click()
    assert [box.is_checked() for box in boxes] == [False] * 6
    assert [probe.js(PIXELS, j) for j in range(6)] == [0] * 6
    probe.page.get_by_role("button", name="show all rows").click()
    assert all(probe.js(PIXELS, j) > 0 for j in range(6))


def test_a_link_leads_to_the_best_run(pages: Pages, opened: Opener) -> None:
    probe = opened(pages["compared"][1])
    target = probe.js("document.querySelector('section a').hash")
    assert probe.texts(target) == ["The best run"]
    first = probe.texts("table[aria-label=Steps] tbody tr:first-child td")
    assert first[2] == repr(4 * LOSSES["adam"])  # of four steps the first


def test_a_row_that_is_off_has_no_tried_learning_rates_in_the_picture(tmp_path: Path, opened: Opener) -> None:
    words = ["compare", "backprop_2x2", "epochs=2", "--optimizers", "sgd,adam", "--tune", "3", "-o", str(tmp_path)]
    assert main([*words, "--no-plot", "-q"]) == 0
    page = tmp_path / "tuned.html"
    assert main(["report", str(only_folder(tmp_path)), "-o", str(page), "--curves", "-q"]) == 0
    probe = opened(page)
    circles = "[...document.querySelectorAll('circle.try, circle.chosen')].map(each => each.getAttribute('stroke'))"
    both = probe.js(circles)
    assert len(set(both)) == 2
    probe.page.get_by_label("shown: sgd", exact=True).uncheck()
    assert probe.js(circles) == [each for each in both if each != both[0]]
    probe.page.get_by_role("button", name="show all rows").click()
    assert probe.js(circles) == both


@pytest.mark.parametrize("kind", ["compared", "swept"])
def test_many_runs_fit_a_phone_and_a_projector_and_every_control_has_a_name(
    pages: Pages, opened: Opener, kind: str
) -> None:
    probe = opened(pages[kind][1], 390)
    assert probe.fits(390)
    assert probe.names_controls()
    assert probe.fits(1920)
    assert {"button", "combobox", "checkbox"} <= {role for role, _ in probe.controls()}


# --- long records -----------------------------------------------------------------------------------------------------


def legend(probe: PageProbe, chart: int) -> dict[str, str]:
    return dict(probe.js("""k => [...document.querySelectorAll(".chart")[k].querySelectorAll(".chart-legend button")]
      .map(each => [...each.querySelectorAll("span")].map(one => one.textContent))""", chart))  # fmt: skip


def test_of_100_000_steps_each_value_at_the_cursor_is_the_records_at_the_step_that_is_told(
    pages: Pages, opened: Opener
) -> None:
    folder, page = pages["long"]
    assert page.stat().st_size < 10_000_000
    with (folder / "steps.csv").open() as stream:
        steps = {row["step"]: row for row in csv.DictReader(stream)}
    with (folder / "gradients.csv").open() as stream:
        gradients = {row["step"]: row for row in csv.DictReader(stream)}
    probe = opened(page)
    (told,) = [text for text in probe.texts(".note") if text.startswith("Of 100,000 rows")]
    kept = int(told.split()[3].replace(",", ""))
    assert 1_000 < kept <= 6_000
    assert any("moving average is over the rows that are kept" in text for text in probe.texts(".note"))
    seen = set()
    for chart in range(3):  # loss, gradient norms, learning rate
        over = probe.page.locator(".chart .u-over").nth(chart)
        over.scroll_into_view_if_needed()
        box = over.bounding_box()
        assert box
        for share in (0.03, 0.21, 0.5432, 0.77, 0.999):
            probe.page.mouse.move(box["x"] + share * box["width"], box["y"] + 40)
            found = re.match(r"Step ([\d,]+) of 100,000", probe.texts(".bar output")[0])
            assert found
            step = found[1].replace(",", "")
            assert abs(int(step) - share * STEPS) < 500  # near the pointer
            seen.add(step)
            values = legend(probe, 0) | legend(probe, 1) | legend(probe, 2)
            own = {"training loss": "loss", "Learning rate": "lr", "all": "gradient_norm"}
            assert_shown({name: values[name] for name in own}, steps, step, own)
            sizes = {s: {name: text.lstrip("-") for name, text in row.items()} for s, row in gradients.items() if s in
                     {step, *re.findall(r"\(Step ([\d,]+)\)", " ".join(values.values()).replace(",", ""))}}  # fmt: skip
            columns = {"weight": "weight[0,0]", "bias": "bias[0]"}
            assert_shown({name: values[name] for name in columns}, sizes, step, columns)
    assert len(seen) > 5
    rows = probe.js("JSON.parse(document.getElementById('data').textContent).runs[0].steps.rows").split("\n")
    assert len(rows) == kept
    probe.page.locator(".bar input").fill(str(next(k for k, row in enumerate(rows) if row.startswith("54321,"))))
    assert legend(probe, 0)["training loss"] == "55.5"  # the spike of one step
    assert probe.texts("tr[aria-current=true] th") == ["54321"]


def assert_shown(values: dict[str, str], table: dict[str, dict[str, str]], step: str, columns: dict[str, str]) -> None:
    """A value without a step of its own is that of the step told; one with it is that of its own."""
    for name, text in values.items():
        found = re.fullmatch(r"(\S+)(?: \(Step ([\d,]+)\))?", text)
        assert found, text
        at = found[2].replace(",", "") if found[2] else step
        assert found[1] == table[at][columns[name]], (name, step, text)


def test_of_10_000_runs_what_is_kept_is_told_and_each_value_at_the_pointer_is_of_results_csv(
    pages: Pages, opened: Opener
) -> None:
    folder, page = pages["swept"]
    assert page.stat().st_size < 10_000_000
    rows = {row["run"]: row for row in results(folder)}
    probe = opened(page)
    assert any(text.startswith("4,000 of 10,000 are kept") for text in probe.texts(".note"))
    drawn = probe.js("[...document.querySelectorAll('.picture')].map(one => [...one.querySelectorAll('[data-runs]')]"
                     ".reduce((sum, path) => sum + Number(path.dataset.runs), 0))")  # fmt: skip
    assert drawn == [4_000, 4_000]
    seen = set()
    for k in range(2):  # parallel coordinates, scatter
        picture = probe.page.locator(".picture svg").nth(k)
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        assert box
        for across, down in ((0.2, 0.3), (0.5, 0.5), (0.8, 0.7)):
            probe.page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
            told = dict(part.split(" ", 1) for part in probe.texts(".told")[k].split(" · "))
            assert {"run", "lr", "final_loss"} <= told.keys()
            assert {name: rows[told["run"]][name] for name in told} == told
            seen.add(told["run"])
    assert len(seen) > 3
    best = min(rows.values(), key=lambda row: float(row["final_loss"]))
    probe.page.get_by_role("table", name="Table", exact=True).get_by_role("button", name="final_loss").click()
    assert column(probe, "Table", "final_loss")[0] == best["final_loss"]
