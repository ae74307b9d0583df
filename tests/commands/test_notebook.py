"""Runs, sweeps and comparisons in a notebook: as HTML, and in one that nbclient executes."""

from __future__ import annotations

import base64
import re
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import gdcli as api
from gdcli.commands.api import notebook

pytestmark = pytest.mark.filterwarnings("ignore:on this processor:UserWarning")  # fleets agree to rounding there

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Parsed(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.pictures: list[bytes] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(base64.b64decode((dict(attrs)["src"] or "").partition("base64,")[2]))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def test_a_run_shows_its_summary_and_its_curve() -> None:
    run = api.run("backprop_2x2", epochs=5)
    shown = Parsed(run._repr_html_())
    assert shown.pictures[0].startswith(PNG)
    assert "finished: all 5 epochs" in shown.text
    assert f"{run.summary['final_loss']:.6g}" in shown.text


def test_texts_are_shown_not_obeyed() -> None:
    found = api.sweep("backprop_2x2", {"description": ["<script>alert(1)</script>", "b\u00a0\u202f"]})
    shown = Parsed(found._repr_html_())
    assert "script" not in shown.tags
    assert "<script>alert(1)</script>" in shown.text
    assert "\u202f" not in shown.text
    for html in (notebook.of_pairs("<i>", {"<b>": "<u>"}), notebook.of_text("<i>"), notebook.of_rows([{"<i>": "<b>"}])):
        assert not {"i", "u"} & set(Parsed(html).tags)


def test_a_comparison_shows_its_table_and_its_picture() -> None:
    found = api.compare("backprop_2x2", optimizers=["sgd", "adam"], epochs=3)
    shown = Parsed(found._repr_html_())
    assert found.table.strip() in shown.text
    assert found["final_loss"].tolist() == [result.loss for result in found.results]
    assert shown.pictures[0].startswith(PNG)
    without = Parsed(api.compare("backprop_2x2", optimizers=["sgd"], plot=False)._repr_html_())
    assert without.pictures == []


def test_a_diverged_run_and_one_of_no_step_are_shown() -> None:
    for run in (api.run("linear_regression", lr=1e9, epochs=50), api.run("loss_mse")):
        assert run.status in Parsed(run._repr_html_()).text


def test_pictures_are_figures_with_the_bytes_of_the_command(gdcli: Any) -> None:
    import gdcli as package

    run = package.run("backprop_2x2", epochs=5, output="runs")
    assert run.folder is not None
    drawn = (run.folder / "loss.png").read_bytes()
    assert package.run("backprop_2x2", epochs=5).plot()._repr_png_() == drawn
    assert package.load("last").plot()._repr_png_() == drawn
    for kind in ("gradients", "network"):
        assert gdcli("plot", "last", "--kind", kind).code == 0
        assert package.load("last").plot(kind)._repr_png_() == Path(f"{kind}.png").read_bytes()
    found = package.compare("backprop_2x2", optimizers=["sgd", "adam"], output="kept", epochs=3)
    assert found.folder is not None
    assert found.plot()._repr_png_() == (found.folder / "compare.png").read_bytes()
    grid = package.sweep("linear_sweep", {"w": "0:4:1"}, output="kept")
    assert grid.folder is not None
    assert grid.plot()._repr_png_() == (grid.folder / "sweep.png").read_bytes()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: api.run("backprop_2x2").plot("curve"), "no kind of picture curve of a run. Did you mean 'curves'?"),
        (lambda: api.run("backprop_2x2").plot("fit", smooth=0.5), "smooth is not for the kind fit"),
        (lambda: api.run("backprop_2x2").plot(smooth=2), "smooth takes a number from 0 to below 1"),
        (lambda: api.run("backprop_2x2").plot("metrics"), "has no metric after each epoch"),
        (lambda: api.compare("backprop_2x2", optimizers=["sgd"]).plot("path"), "has no picture 'path'"),
    ],
)  # fmt: skip
def test_a_picture_that_there_is_not_is_told(wrong: Any, told: str) -> None:
    with pytest.raises(api.SpecError, match=re.escape(told)):
        wrong()


def test_the_moving_average_is_drawn() -> None:
    lines = [len(api.run("backprop_2x2", epochs=9).plot(smooth=beta).axes[0].lines) for beta in (None, 0.5)]
    assert lines[1] > lines[0]


class Display:
    """Stands for IPython: what was shown, and what it was changed into."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, html: str, display_id: bool) -> Display:
        self.update(html)
        return self

    def update(self, html: str) -> None:
        self.shown.append(html)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Display:
    """A process that is a notebook's kernel, as far as we look."""
    found, package, module = Display(), types.ModuleType("IPython"), types.ModuleType("IPython.display")
    vars(package)["get_ipython"] = lambda: types.SimpleNamespace(kernel=object())
    vars(module).update(HTML=str, display=found.display)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return found


def test_a_bar_is_shown_meanwhile_and_goes(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(notebook, "time", types.SimpleNamespace(monotonic=lambda: next(now)))
    api.run("backprop_2x2", epochs=9000)
    assert re.fullmatch(
        r'<progress value="\d+" max="9000"></progress> epoch [\d,]+/9,000, loss 0\.\d+', display.shown[0]
    )
    assert display.shown[-1] == ""
    api.sweep("backprop_2x2", {"lr": [0.1, 0.5]})
    assert any("run 2/2, best " in shown for shown in display.shown)
    shown = len(display.shown)
    api.run("backprop_2x2", epochs=9000, progress=False)
    assert len(display.shown) == shown


def test_what_is_quick_shows_no_bar(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "time", types.SimpleNamespace(monotonic=lambda: 0.0))
    api.run("backprop_2x2")
    assert display.shown == []


# --- a notebook that is executed --------------------------------------------------------------------------------------

CELLS = (
    "import warnings\nimport gdcli\nwarnings.filterwarnings('ignore', 'on this processor')",
    "run = gdcli.run('backprop_2x2', epochs=20)\nrun",
    "run.plot('network')",
    "gdcli.sweep('backprop_2x2', {'lr': [0.1, 0.5]}, epochs=3)",
    "gdcli.compare('backprop_2x2', optimizers=['sgd', 'adam'], epochs=3)",
    "run.predict([[0.05, 0.10]]).shape",
    "import torch\nx = torch.linspace(-1, 1, 20)[:, None]\n"
    "line = gdcli.run({'optimizer': {'name': 'sgd', 'lr': 0.5}, 'epochs': 50},\n"
    "                 model=torch.nn.Linear(1, 1), data=(x, 3 * x + 1), loss=lambda o, t: (o - t).pow(2).mean())\n"
    "line.parameters['weight'].round(2).tolist()",
    "import sys\nsys.modules['pandas'] = None\nrun.to_pandas()",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook's own packages
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets to the kernel
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_notebook_runs_sweeps_compares_draws_and_predicts(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra dev has it")
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(
        book, timeout=300, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [cell.outputs for cell in book.cells]
    told = [[each.get("name", each.output_type) for each in cell] for cell in outputs]
    assert told == [[], *[["execute_result"]] * 6, ["error"]]  # nothing is printed
    run, network, sweep, comparison, shape, weight = (cell[0]["data"] for cell in outputs[1:7])
    assert "finished: all 20 epochs" in Parsed(run["text/html"]).text
    for shown in (run, sweep, comparison):
        assert Parsed(shown["text/html"]).pictures[0].startswith(PNG)
    assert base64.b64decode(network["image/png"]).startswith(PNG)
    assert "optimizer" in Parsed(comparison["text/html"]).text
    assert shape["text/plain"] == "(1, 2)"
    assert weight["text/plain"] == "[[3.0]]"
    assert outputs[7][0]["ename"] == "MachineError"
    assert "pip install pandas" in outputs[7][0]["evalue"]
    assert list(tmp_path.iterdir()) == []
