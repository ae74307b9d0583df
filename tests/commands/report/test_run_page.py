"""`gdcli report` of a run: the record's digits, the same bytes each time, one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gdcli.commands.report.thinning import thinned
from tests.hand_made import a_run
from tests.promises.texts import STRINGS, bad


class PageParser(HTMLParser):
    """The tags of a page with their attributes, and what stands in its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inner: dict[str, list[str]] = {"script": [], "style": [], "title": [], "h1": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag in self.inner:
            self.inner[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.inside in self.inner:
            self.inner[self.inside][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    @property
    def data(self) -> Any:
        return json.loads(self.inner["script"][0])


def made(gdcli: Any, *words: str) -> PageParser:
    assert gdcli("report", *words, "--curves").code == 0
    return PageParser(Path("report.html").read_text())


def table(found: Any) -> list[list[str]]:
    return [found["header"], *(line.split(",") for line in found["rows"].split("\n"))]


def csv_of(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


def test_the_tables_are_the_records_own_texts(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000", steps=5)
    (run,) = made(gdcli, "last").data["runs"]
    assert table(run["steps"]) == csv_of(folder / "steps.csv")
    gradients = [["step", "weight", "bias"], *([str(k), repr(0.5 * k), repr(0.1 * k)] for k in range(1, 6))]
    assert table(run["gradients"]) == gradients
    assert ["final loss", "0.5"] in run["results"]
    assert ["steps.csv", f"{(folder / 'steps.csv').stat().st_size} B"] in run["files"]
    assert ["torch", "2.13.0"] in run["machine"]


def test_the_norm_of_a_layer_is_that_of_its_recorded_numbers(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000", steps=1)
    (folder / "gradients.csv").write_text('step,"w[0,0]","w[0,1]",b[0]\n1,3.0,-4.0,-1e-05\n')
    (run,) = made(gdcli, "last").data["runs"]
    assert table(run["gradients"]) == [["step", "w", "b"], ["1", "5.0", "1e-05"]]


def test_an_epoch_stands_at_its_last_step(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000", steps=4)
    rows = ["1,1,1,4.0,0.1,1.0", "2,1,2,3.0,0.1,1.0", "3,2,1,2.0,0.1,1.0", "4,2,2,1.0,0.1,1.0"]
    (folder / "steps.csv").write_text("step,epoch,batch,loss,lr,gradient_norm\n" + "\n".join(rows) + "\n")
    (folder / "epochs.csv").write_text("epoch,training_loss,validation_loss,lr\n1,3.5,3.7,0.1\n2,1.5,,0.1\n")
    (run,) = made(gdcli, "last").data["runs"]
    assert table(run["epochs"])[1:] == [["2", "1", "3.5", "3.7", "0.1"], ["4", "2", "1.5", "", "0.1"]]


def overridden(run: Any) -> set[str]:
    return {key for key, _, is_marked, _ in run["spec"] if is_marked}


def test_overrides_are_marked_with_what_the_spec_has(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000", lr=0.25)
    (folder / "spec.yaml").write_text("name: line\noptimizer: {name: sgd, lr: 0.5}\n")
    request = {"format": 1, "command": "run", "overrides": ["lr=0.25", "epochs=3"], "options": {}}
    (folder / "request.json").write_text(json.dumps(request))
    (run,) = made(gdcli, "last").data["runs"]
    marked = {key: (value, before) for key, value, overridden, before in run["spec"] if overridden}
    assert marked == {"optimizer.lr": ("0.25", "0.5"), "epochs": ("3", None)}


def test_a_run_of_a_sweep_has_its_own_axis_marked_and_not_the_file_that_all_runs_read(gdcli) -> None:
    Path("rows.csv").write_text("x,y\n1,2\n2,4\n3,6\n")
    Path("other.csv").write_text("x,y\n1,3\n2,6\n3,9\n")
    Path("rows.yaml").write_text(
        "name: rows\ndata: {file: rows.csv, target: y}\nmodel: linear\nloss: mse\noptimizer: {name: sgd, lr: 0.5}\n"
    )
    assert gdcli("sweep", "rows.yaml", "--param", "lr=0.01,0.02", "--no-plot", "--quiet").code == 0
    (best,) = made(gdcli, "last").data["runs"]
    assert overridden(best) == {"optimizer.lr"}
    assert gdcli("sweep", "rows.yaml", "--param", "data.file=rows.csv,other.csv", "--no-plot", "--quiet").code == 0
    (other,) = Path("runs/rows").glob("*/2-data.file=other.csv")
    (run,) = made(gdcli, str(other)).data["runs"]
    assert overridden(run) == {"data.file", "data.sha256"}


def test_a_page_has_the_same_bytes_each_time_and_is_written_over_but_no_other_file(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000")
    gdcli("report", "last", "--curves")
    first = Path("report.html").read_bytes()
    assert gdcli("report", "last", "--curves").code == 0
    assert Path("report.html").read_bytes() == first
    Path("mine.html").write_text("mine")
    refused = gdcli("report", "last", "--curves", "-o", "mine.html")
    assert (refused.code, Path("mine.html").read_text()) == (2, "mine")


def test_one_script_and_one_style_are_let_through_by_their_hashes_and_nothing_is_loaded(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000")
    page = made(gdcli, "last")
    policy = next(str(a["content"]) for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    (style,), (_, script) = page.inner["style"], page.inner["script"]
    for kind, text in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not [a for _, a in page.tags if a.keys() & {"src", "href", "style", "action", "data"}]
    assert not [name for _, a in page.tags for name in a if name.startswith("on")]
    assert "uPlot" in script
    assert not re.search(r"\beval\(|new Function|innerHTML|url\(", script + style)


def test_hostile_texts_are_data_and_nothing_else(gdcli) -> None:
    """Each stands in the name, the description, a column, a key of the spec and the message: none makes a tag."""
    plain = len(_hostile(gdcli, "text").tags)
    shown = []
    for text in STRINGS:
        page = _hostile(gdcli, text)
        assert len(page.tags) == plain, text
        assert bad(Path("report.html").read_text()) == [], text
        shown.append(page.data["runs"][0]["record"])
    assert ["description", "<script>alert(1)</script>"] in shown[STRINGS.index("<script>alert(1)</script>")]


def _hostile(gdcli: Any, text: str) -> PageParser:
    root = Path("runs")
    folder = next(root.rglob("config.yaml"), None)
    place = a_run(root, "20260101-120000") if folder is None else folder.parent
    config = {"name": text, "description": text, "data": {"x": text}, "model": {"type": text}}
    (place / "config.yaml").write_text(json.dumps(config))
    (place / "steps.csv").write_text(f"step,epoch,batch,loss,{_quoted(text)}\n1,1,1,0.5,2\n", "utf-8", "replace")
    (place / "gradients.csv").write_text(f"step,{_quoted(text)}\n1,0.5\n", "utf-8", "replace")
    summary = {
        "status": "finished",
        "message": text,
        "final_loss": 0.5,
        "metrics": {text: 1.0},
        "parameters": {text: [1.0]},
    }
    (place / "summary.json").write_text(json.dumps(summary | {text: text}))
    request = {"format": 1, "command": "run", "overrides": [text, f"{text}={text}"], "options": {}}
    (place / "request.json").write_text(json.dumps(request))
    return made(gdcli, "last")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def test_a_damaged_table_is_told_on_the_page_and_the_rest_is_shown(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000")
    (folder / "steps.csv").write_text("step,loss\n1,x\n")
    (run,) = made(gdcli, "last").data["runs"]
    assert run["steps"] is None
    assert any("steps.csv" in problem for problem in run["problems"])
    assert ["final loss", "0.5"] in run["results"]


def test_100_000_steps_are_thinned_to_their_extremes() -> None:
    """A spike of one step is kept, on a curve of each column; the rest is what 6,000 rows have."""
    values = np.random.default_rng(0).normal(size=(100_000, 3))
    values[54_321, 0], values[12_345, 1], values[99_998, 2], values[7] = 100.0, -100.0, np.inf, np.nan
    kept = thinned(values)
    assert {0, 54_321, 12_345, 99_998, 99_999} <= set(kept.tolist())
    assert 3_000 < len(kept) <= 6_000
    assert np.all(np.diff(kept) > 0)
    for column in range(3):
        for part in np.array_split(np.arange(100_000), 50):
            inside = kept[(kept >= part[0]) & (kept <= part[-1])]
            assert np.nanmax(values[inside, column]) == np.nanmax(values[part, column])
            assert np.nanmin(values[inside, column]) == np.nanmin(values[part, column])


@pytest.mark.slow
def test_a_page_of_100_000_steps_has_less_than_10_mb(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000", steps=100_000)
    page = made(gdcli, "last")
    assert Path("report.html").stat().st_size < 2_000_000
    (run,) = page.data["runs"]
    assert run["steps"]["total"] == 100_000
    assert run["steps"]["kept"] <= 6_000


def test_curves_need_neither_torch_nor_matplotlib_nor_a_second_of_processor_time(tmp_path, monkeypatch) -> None:
    a_run(tmp_path / "runs", "20260101-120000", steps=1000)
    code = (
        "import sys, time; from gdcli.cli import main; code = main(['report', 'last', '--curves']); "
        "print(code, time.process_time(), *sys.modules)"
    )
    seconds = []
    for _ in range(3):  # the first may compile the modules, and other work makes any slower
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        status, used, *modules = ended.stdout.split()
        assert status == "0"
        assert not {"torch", "matplotlib"} & set(modules)
        seconds.append(float(used))
    assert min(seconds) <= 1.0  # of processor time


def test_labels_in_chinese_and_the_language_of_the_page(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000")
    page = made(gdcli, "last", "--lang", "zh")
    assert page.tags[0] == ("html", {"lang": "zh-Hans"})
    assert page.data["lang"] == "zh"


def test_what_is_no_run_is_refused(gdcli) -> None:
    assert gdcli("report", "nothing").code == 2
    assert gdcli("report").code == 2
