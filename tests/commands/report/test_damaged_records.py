"""The page of records that were changed, cut off, damaged or are being written: told, and never a traceback."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import shutil
import time
import tracemalloc
import webbrowser
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gdcli.commands.report import run_page, spread_rows, stepping
from gdcli.commands.report.run_page import run_data, spec_rows
from gdcli.commands.report.thinning import thinned
from gdcli.storage import config_reader
from gdcli.storage.record import read
from tests.commands.report.test_stepping import NET, recorded, shown, stepped, table
from tests.conftest import only_folder

Edit = Callable[[Path], object]


def lines_of(name: str, edit: Callable[[list[str]], list[str]]) -> Edit:
    """Return what changes the lines of a file."""

    def done(folder: Path) -> None:
        path = folder / name
        path.write_text("".join(edit(path.read_text().splitlines(keepends=True))))

    return done


def cut(name: str, count: int) -> Edit:
    return lines_of(name, lambda lines: lines[:count])


def other_digit(name: str, k: int) -> Edit:
    """Return what changes the last digit of the k-th line's second cell."""

    def changed(lines: list[str]) -> list[str]:
        cells = lines[k].split(",")
        cells[3] = cells[3][:-1] + ("1" if cells[3][-1] != "1" else "2")
        return [*lines[:k], ",".join(cells), *lines[k + 1 :]]

    return lines_of(name, changed)


def page_of(gdcli, folder: Path, *words: str) -> dict[str, Any]:
    answer = gdcli("report", str(folder), "-o", "page.html", *words)
    assert answer.code == 0, answer.err
    found = re.search(r'type="application/json"[^>]*>(.*?)</script>', Path("page.html").read_text(), re.S)
    assert found is not None
    data = json.loads(found[1])
    if data.get("stepping"):
        data["stepping"] = json.loads(zlib.decompress(base64.b64decode(data["stepping"])))
    return data


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        (other_digit("steps.csv", 5), "steps.csv, step 5"),
        (other_digit("gradients.csv", 4), "gradients.csv, step 4"),
        (other_digit("parameters.csv", 3), "parameters.csv, step 3"),
        (lines_of("config.yaml", lambda lines: [one.replace("epochs: 6", "epochs: 2") for one in lines]), "step 5"),
    ],
    ids=["steps", "gradients", "parameters", "epochs"],
)
def test_a_row_that_the_run_does_not_give_is_told(gdcli, edit: Edit, where: str) -> None:
    folder = recorded(gdcli, NET, "record.parameters=true")
    edit(folder)
    data = stepped(folder)
    assert [note for note in data["notes"] if f"differs from the record first at {where}" in note or where in note]
    assert not any("with the same" in note for note in data["notes"])
    assert shown(data, "gradients") == table(folder / "gradients.csv")  # the record's, as it is
    weights = table(folder / "parameters.csv")
    assert shown(data, "weights") == {step: weights[step] for step in data["steps"]}


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_files_are_told_by_their_names(gdcli, form: str) -> None:
    plain = recorded(gdcli, NET, at="plain")
    data = stepped(recorded(gdcli, NET, f"record.format={form}"))
    assert f"gradients.{form}" in data["notes"][0]
    assert any(f"same steps.csv and gradients.{form} as" in note for note in data["notes"])
    assert shown(data, "gradients") == table(plain / "gradients.csv")


@pytest.mark.parametrize("words", [("record.gradients=none",), ("record.gradients=norms",)], ids=" ".join)
def test_what_is_not_there_is_not_said_to_be_the_same(gdcli, words: tuple[str, ...]) -> None:
    notes = stepped(recorded(gdcli, NET, *words))["notes"]
    assert any("with the same steps.csv as the record's" in note for note in notes)
    assert not any("gradients.csv" in note for note in notes)


def test_a_killed_run_is_trained_again_as_far_as_it_came(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "MOST_TRAINED", 20)
    folder = recorded(gdcli, NET)
    lines_of("config.yaml", lambda lines: [one.replace("epochs: 6", "epochs: 900000000") for one in lines])(folder)
    cut("steps.csv", 6)(folder)
    (folder / "summary.json").unlink()
    data = stepped(folder)
    assert data["steps"] == [1, 2, 3, 4, 5]
    assert any("with the same steps.csv and gradients.csv" in note for note in data["notes"])


def test_a_run_too_long_to_be_trained_again_shows_its_own_numbers(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "MOST_TRAINED", 11)
    folder = recorded(gdcli, NET, "record.parameters=true")
    data, weights = stepped(folder), table(folder / "parameters.csv")
    assert shown(data, "gradients") == table(folder / "gradients.csv")
    assert shown(data, "weights") == {step: weights[step] for step in data["steps"]}
    assert len(data["edges"]) == 9
    assert data["lines"] == []
    assert any("12 steps of 2 rows" in note and "11 steps" in note for note in data["notes"])
    assert stepped(recorded(gdcli, NET, at="without"))["steps"] == []


def test_rows_whose_derivations_are_too_long_leave_them_out(gdcli) -> None:
    rows = "\n".join(f"{k % 7 / 8},{k % 5 / 4},{k % 3}" for k in range(6000))
    Path("many.csv").write_text(f"a,b,y\n{rows}\n")
    text = "name: many\ndata: {file: many.csv, target: y}\nmodel: linear\nloss: mse\noptimizer: sgd\nepochs: 30\n"
    folder = recorded(gdcli, text, "record.parameters=true")
    data = stepped(folder)
    assert len(data["steps"]) == 30
    assert [one["id"] for one in data["edges"]] == ["w1", "w2", "b1"]
    assert any("too long" in note for note in data["notes"])
    assert shown(data, "gradients") == table(folder / "gradients.csv")


def test_tables_that_end_early_are_told(gdcli) -> None:
    folder = recorded(gdcli, NET, "record.parameters=true")
    cut("parameters.csv", 6)(folder)
    data = stepped(folder)
    assert data["steps"] == [1, 2, 3, 4, 5]
    assert any("Of the 12 steps of steps.csv 5 have" in note for note in data["notes"])
    assert not any("evenly spread" in note for note in data["notes"])


def directory(name: str) -> Edit:
    return lambda folder: ((folder / name).unlink(), (folder / name).mkdir())


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (cut("steps.csv", 0), "steps.csv: has no header"),
        (lines_of("steps.csv", lambda lines: [*lines[:3], lines[3].replace(",1,", ",,", 1), *lines[4:]]), None),
        (lines_of("steps.csv", lambda lines: [*lines, lines[2]]), "steps.csv: step 2 comes after 12"),
        (lines_of("steps.csv", lambda lines: [lines[0].replace("loss", "lost"), *lines[1:]]), "is no table of steps"),
        (lines_of("steps.csv", lambda lines: [lines[0], re.sub("^1,1,", "1,1e400,", lines[1])]), "lacks an epoch"),
        (cut("epochs.csv", 0), "epochs.csv: has no header"),
        (directory("epochs.csv"), "epochs.csv: is no file"),
        (directory("parameters.csv"), "parameters.csv: is no file"),
        (cut("parameters.csv", 0), None),
        (cut("gradients.csv", 1), None),
    ],
    ids=lambda each: str(each) if isinstance(each, str) else "",
)
def test_damage_is_told_by_the_name_of_the_file(gdcli, edit: Edit, told: str | None) -> None:
    folder = recorded(gdcli, NET, "record.parameters=true")
    edit(folder)
    data = page_of(gdcli, folder)
    problems = [*data["runs"][0]["problems"], *data["stepping"]["notes"]]
    assert told is None or any(told in each for each in problems)
    assert not any(str(folder) in each for each in problems)  # a page is the same wherever it is made


def test_a_run_of_a_sweep_marks_its_own_keys(gdcli) -> None:
    Path("spec.yaml").write_text(NET)
    gdcli("sweep", "spec.yaml", "-p", "lr=0.1,0.2", "momentum=0.25", "-o", "runs", "--no-plot")
    child = only_folder(Path("runs")) / "2-lr=0.2"
    rows = spec_rows(read(child), config_reader.read(child))
    assert {name: (value, before) for name, value, marked, before in rows if marked} == {
        "optimizer.lr": ("0.2", "0.3"), "optimizer.momentum": ("0.25", "0.5"),
    }  # fmt: skip


def test_a_run_of_a_sweep_began_at_the_same_time_everywhere(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("spec.yaml").write_text(NET)
    gdcli("sweep", "spec.yaml", "-p", "lr=0.1,0.2", "-o", "runs", "--no-plot")
    child = read(only_folder(Path("runs")) / "1-lr=0.1")
    found = []
    with monkeypatch.context() as zoned:
        for zone in ("UTC", "Asia/Tokyo"):
            zoned.setenv("TZ", zone)
            time.tzset()
            found.append(run_data(child)["record"])
    time.tzset()
    assert found[0] == found[1]
    assert ["started", json.loads((child.folder / "timing.json").read_text())["start"]] in found[0]


def test_a_sweep_over_epochs_has_its_page(gdcli) -> None:
    Path("spec.yaml").write_text(NET)
    gdcli("sweep", "spec.yaml", "-p", "epochs=2,3", "stop.max_steps=5", "-o", "runs", "--no-plot")
    many = page_of(gdcli, only_folder(Path("runs")), "--curves")["many"]
    assert many["problems"] == []
    header = ["label", *many["rows"]["header"]]
    rows = [dict(zip(header, [row[0], *(cell[0] for cell in row[1:])], strict=True)) for row in many["rows"]["rows"]]
    assert [(row["epochs"], row["steps"], row["epochs trained"]) for row in rows] == [("2", "4", "2"), ("3", "5", "2")]


def test_the_page_of_a_copied_record_is_the_same(gdcli) -> None:
    folder = recorded(gdcli, NET)
    page_of(gdcli, folder)
    first = Path("page.html").read_bytes()
    Path("elsewhere/net").mkdir(parents=True)
    copied = shutil.copytree(folder, Path("elsewhere") / "net" / folder.name)
    page_of(gdcli, copied)
    assert Path("page.html").read_bytes() == first


def test_curves_that_cannot_be_read_are_told(gdcli) -> None:
    Path("spec.yaml").write_text(NET)
    gdcli("sweep", "spec.yaml", "-p", "lr=0.1,0.2", "-o", "runs", "--no-plot")
    folder = only_folder(Path("runs"))
    (folder / "1-lr=0.1" / "steps.csv").write_text("")
    (folder / "2-lr=0.2" / "epochs.csv").write_text("")
    (folder / "summary.json").write_text("{")
    problems = page_of(gdcli, folder, "--curves")["many"]["problems"]
    assert [each.partition(":")[0] for each in problems] == [
        "summary.json", "1-lr=0.1/steps.csv", "2-lr=0.2/epochs.csv",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "parquet", "npy"])
def test_tables_read_in_parts_give_the_same_page(gdcli, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    folder = recorded(gdcli, NET, f"record.format={form}", "metrics=[mae]")
    whole = run_data(read(folder))
    monkeypatch.setattr(run_page, "_AT_ONCE", 25)  # two or three rows
    assert run_data(read(folder)) == whole
    assert whole["gradients"]["total"] == whole["steps"]["total"] == 12


def test_a_table_that_grows_between_two_readings_keeps_each_number_at_its_step(gdcli, monkeypatch) -> None:
    folder = recorded(gdcli, NET)
    (folder / "gradients.csv").write_text("step,b[0]\n" + "".join(f"{k},-{k}.5\n" for k in range(1, 3001)))
    monkeypatch.setattr(spread_rows, "WHOLE_BYTES", 1000)

    def grown(values: Any) -> Any:
        with (folder / "gradients.csv").open("a") as stream:
            stream.writelines(f"{k},-{k}.5\n" for k in range(3001, 9001))
        return thinned(values)

    monkeypatch.setattr(run_page, "thinned", grown)
    rows = run_data(read(folder), spread=True)["gradients"]["rows"].split("\n")
    assert len(rows) > 100
    assert [row for row in rows if row != "{0},{0}.5".format(row.partition(",")[0])] == []


def test_a_pipe_is_not_waited_for(gdcli) -> None:
    folder = recorded(gdcli, NET)
    os.mkfifo("page.html")
    answer = gdcli("report", str(folder), "--curves", "-o", "page.html")
    assert answer.code == 2
    assert "page.html is a device or a pipe" in answer.err


@pytest.mark.parametrize("opens", [True, False])
def test_a_browser_that_is_not_there_is_told(gdcli, monkeypatch: pytest.MonkeyPatch, opens: bool) -> None:
    folder, asked = recorded(gdcli, NET), list[str]()
    monkeypatch.setattr(webbrowser, "open", lambda address: asked.append(address) or opens)
    answer = gdcli("report", str(folder), "--curves", "-o", "page.html", "--open")
    assert answer.code == 0
    assert asked == [Path("page.html").absolute().as_uri()]
    assert ("no browser was found to open page.html" in answer.err) is not opens


def test_what_is_none_of_the_steps_is_empty(gdcli) -> None:
    folder = recorded(gdcli, NET)
    cut("steps.csv", 1)(folder)
    data = stepped(folder)
    assert data["steps"] == []
    assert any("no steps that can be read" in note for note in data["notes"])


def test_one_long_cell_takes_no_memory_of_its_length_for_each_of_the_others() -> None:
    lines = ["1,0.5"] * 1_000 + ["1," + "9" * 20_000]
    tracemalloc.start()
    try:
        found = run_page.numbers(lines, 2)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.shape, found[0].tolist(), found[-1, 1]) == ((1_001, 2), [1.0, 0.5], math.inf)
    assert most < 2_000_000  # bytes
