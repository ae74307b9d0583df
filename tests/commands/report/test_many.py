"""`gdcli report` of many runs: what the page has, against results.csv, SciPy and what the commands print."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gdcli.commands.report.many import best_and_others, best_run, many_data, side_by_side
from gdcli.storage.record import Record, read
from tests.hand_made import a_run, three
from tests.promises.texts import STRINGS, bad

LOSSES = {"sgd": [0.5, 0.7, 0.9], "adam": [0.1, 0.4, 0.25]}
LINE = """\
name: line
data: {generate: {kind: linear, n: 12, noise: 0.1, weights: [2.0], bias: 1.0}}
model: {type: linear}
loss: mse
optimizer: {name: sgd, lr: 0.1}
epochs: 3
"""


def of_seeds(root: Path) -> Record:
    """A comparison of two rows and three seeds, with a metric and the curve of every run."""
    folder = root / "runs" / "pair" / "20260101-120000-0123abcd"
    lines = ["run,label,lr,lr_from,seed,status,final_loss,best_loss,steps,epochs,accuracy,weights,data,order"]
    number = 0
    for label, losses in LOSSES.items():
        for seed, loss in enumerate(losses):
            number += 1
            lines.append(
                f"{number},{label},0.1,spec,{seed},finished,{loss!r},{loss!r},4,4,{1 - loss!r},a{number},b,c{number}"
            )
            inner = a_run(folder.parent / "x", "20260101-120000", digest=f"0000000{number}", steps=4)
            rows = [f"{k},{k},1,{loss * (5 - k)!r},0.1,1.0" for k in range(1, 5)]
            (inner / "steps.csv").write_text("step,epoch,batch,loss,lr,gradient_norm\n" + "\n".join(rows) + "\n")
            folder.mkdir(exist_ok=True)
            inner.rename(folder / f"{number}-{label}_seed={seed}")
    return written(folder, "compare", lines)


def written(folder: Path, kind: str, lines: list[str], **summary: Any) -> Record:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.csv").write_text("\n".join(lines) + "\n", "utf-8", "replace")
    (folder / "spec.yaml").write_text("name: pair\n")
    (folder / "config.yaml").write_text("name: pair\nepochs: 4\n")
    (folder / "request.json").write_text(json.dumps({"format": 1, "command": kind, "overrides": [], "options": {}}))
    (folder / "summary.json").write_text(json.dumps({"status": "finished", "runs": len(lines) - 1, **summary}))
    return read(folder)


def half(values: list[float]) -> float:
    """Half of Student's 95 % interval of the mean, by SciPy."""
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return float(high - low) / 2


def cells(data: dict[str, Any], row: int) -> dict[str, Any]:
    return dict(zip(["label", *data["rows"]["header"]], data["rows"]["rows"][row], strict=True))


def test_a_row_has_the_mean_its_interval_and_the_paired_difference(tmp_path) -> None:
    data = many_data(of_seeds(tmp_path))
    assert [row[0] for row in data["rows"]["rows"]] == ["sgd", "adam"]
    for k, losses in enumerate(LOSSES.values()):
        text, value = cells(data, k)["final_loss"]
        assert value == pytest.approx(np.mean(losses), abs=1e-15)
        assert text == f"{np.mean(losses):.6g} ± {half(losses):.2g}"
        assert cells(data, k)["accuracy"][1] == pytest.approx(1 - np.mean(losses))
        assert cells(data, k)["runs"] == ["3", 3]
    gaps = [a - b for a, b in zip(LOSSES["adam"], LOSSES["sgd"], strict=True)]
    assert cells(data, 1)["final_loss minus sgd"][0] == f"{np.mean(gaps):.6g} ± {half(gaps):.2g}"
    assert cells(data, 0)["final_loss minus sgd"] == ["", None]


def test_each_run_has_the_texts_of_results_csv(tmp_path) -> None:
    record = of_seeds(tmp_path)
    data = many_data(record)
    with (record.folder / "results.csv").open() as file:
        assert [data["runs"]["header"], *data["runs"]["rows"]] == [*csv.reader(file)]
    assert data["runs"]["of"] == [0, 0, 0, 1, 1, 1]
    assert data["axes"] == ["label", "lr", "seed"]
    assert data["metrics"] == ["final_loss", "best_loss", "accuracy", "steps", "epochs"]


def test_a_curve_is_the_mean_over_the_seeds_with_its_band(tmp_path) -> None:
    data = many_data(of_seeds(tmp_path))
    (chart,) = data["curves"]["charts"]
    assert (chart["over"], chart["name"], data["curves"]["first"]) == ("steps", "loss", "steps")
    for series, losses in zip(chart["series"], LOSSES.values(), strict=True):
        table = np.outer(losses, [4.0, 3.0, 2.0, 1.0])  # [S, K]
        halves = [half(column.tolist()) for column in table.T]
        assert series["x"] == [1, 2, 3, 4]
        np.testing.assert_allclose(series["values"], table.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(series["low"], table.mean(axis=0) - halves, rtol=1e-12)
        np.testing.assert_allclose(series["high"], table.mean(axis=0) + halves, rtol=1e-12)


def test_the_table_is_the_one_that_the_command_prints(gdcli) -> None:
    """Means, intervals, differences and endings of a comparison that was trained, and of a sweep over seeds."""
    Path("line.yaml").write_text(LINE)
    said = gdcli("compare", "line.yaml", "--optimizers", "sgd,adam:lr=0.05", "--seeds", "3", "--no-plot")
    assert said.code == 0, said.err
    data = many_data(read(next(Path("runs/line").iterdir())))
    for k, line in enumerate(said.out.splitlines()[1:3]):
        printed = re.split(r"  +", line.strip())
        found = cells(data, k)
        mine = [found["label"], f"{found['lr'][1]:.6g}", found["lr_from"][0], found["final_loss"][0]]
        mine += [found["best_loss"][0], *([found["final_loss minus sgd"][0]] if k else []), found["status"][0]]
        assert mine == printed
    said = gdcli("sweep", "line.yaml", "-p", "lr=0.01,0.1", "--seeds", "3", "name=swept")
    assert said.code == 0, said.err
    data = many_data(read(next(Path("runs/swept").iterdir())))
    assert [row[0] for row in data["rows"]["rows"]] == ["lr=0.01", "lr=0.1"]
    for k in range(2):
        found = cells(data, k)
        assert re.search(rf"^ *{found['lr'][0]} +3 +{re.escape(found['final_loss'][0])}$", said.out, re.M)


def test_tuning_has_the_mean_of_each_learning_rate_and_the_chosen_one(tmp_path) -> None:
    record = of_seeds(tmp_path)
    tried = ["run,label,lr,seed,status,final_loss,best_loss,steps,epochs,weights,data,order"]
    for label in LOSSES:
        for k, (lr, losses) in enumerate({1.0: [None, 3.0], 0.1: [0.25, 0.75]}.items()):
            for seed, loss in enumerate(losses):
                ended = "diverged" if loss is None else "finished"
                tried.append(f"{2 * k + seed + 1},{label},{lr},{seed},{ended},{loss or ''},{loss or ''},4,4,a,b,c")
    (record.folder / "tuning.csv").write_text("\n".join(tried) + "\n")
    (sgd, adam) = many_data(record)["tuning"]
    assert sgd == {"label": "sgd", "lr": [0.1, 1.0], "chosen": 0.1, "score": [0.5, None]}
    assert adam["label"] == "adam"


def test_a_metric_that_ranks_comes_first_and_has_the_interval(tmp_path) -> None:
    record = of_seeds(tmp_path)
    lines = (record.folder / "results.csv").read_text().splitlines()
    data = many_data(written(record.folder, "compare", lines, rows=[{"ranked": {"by": "accuracy"}}]))
    assert (data["by"], data["highest"]) == ("accuracy", ["accuracy"])
    assert data["metrics"][0] == "accuracy"
    accuracies = [1 - loss for loss in LOSSES["sgd"]]
    assert cells(data, 0)["accuracy"][0] == f"{np.mean(accuracies):.6g} ± {half(accuracies):.2g}"


def test_of_a_score_more_is_better_and_of_an_error_less(tmp_path) -> None:
    header = "run,lr,status,final_loss,best_loss,steps,epochs,specificity,mae,test_cohen_kappa,mape,weights,data,order"
    rows = [f"{k},{k}.0,finished,0.5,0.5,4,4,0.5,0.5,0.5,0.5,a,b,c" for k in (1, 2)]
    data = many_data(written(tmp_path / "runs" / "x" / "20260101-120000-0123abcd", "sweep", [header, *rows]))
    assert data["highest"] == ["specificity", "test_cohen_kappa"]


def of_sweep(root: Path, count: int) -> Record:
    lines = ["run,lr,batch,status,final_loss,best_loss,steps,epochs,weights,data,order"]
    for k in range(1, count + 1):
        loss = "" if k == 7 else repr(abs(math.sin(k)) + 1e-9 * k)
        lines.append(f"{k},{k / 1000!r},8,{'diverged' if k == 7 else 'finished'},{loss},{loss},4,4,a,b,c")
    return written(root / "runs" / "swept" / "20260101-120000-0123abcd", "sweep", lines)


def test_a_run_that_diverged_has_no_number_to_sort_by(tmp_path) -> None:
    data = many_data(of_sweep(tmp_path, 9))
    assert cells(data, 6)["final_loss"] == ["", None]
    assert cells(data, 6)["status"] == ["diverged", None]
    assert cells(data, 0)["final_loss"] == [repr(math.sin(1) + 1e-9), math.sin(1) + 1e-9]


def test_10_000_runs_are_thinned_to_the_best_and_others_between_and_the_counts_are_told(tmp_path) -> None:
    record = of_sweep(tmp_path, 10_000)
    data = many_data(record)
    assert (data["rows"]["total"], data["rows"]["kept"], len(data["rows"]["rows"])) == (10_000, 4_000, 4_000)
    with (record.folder / "results.csv").open() as file:
        losses = sorted(float(row["final_loss"]) for row in csv.DictReader(file) if row["final_loss"])
    k = data["runs"]["header"].index("final_loss")
    assert set(losses[:1000]) <= {float(row[k]) for row in data["runs"]["rows"] if row[k]}
    assert len(json.dumps(data)) < 3_000_000


def test_what_is_kept_of_many_are_the_best_and_a_spread_of_the_rest() -> None:
    ranks = np.random.default_rng(0).permutation(1000).astype(float).tolist()
    kept = best_and_others(ranks, most=100, best=40)
    assert len(kept) == 100 == len(set(kept))
    assert {k for k, rank in enumerate(ranks) if rank < 40} <= set(kept)
    assert max(np.diff(kept)) < 40  # nowhere a large gap
    assert best_and_others([3.0, math.inf, 1.0]) == [0, 1, 2]


def test_several_records_have_their_differences_and_their_curves(tmp_path) -> None:
    folders = three(tmp_path / "runs")
    data = side_by_side([read(folder) for folder in folders])
    spec = {key: values for key, *values in data["spec"]}
    assert spec == {"name": ["line", "curve", "line"], "optimizer.lr": ["0.1", "0.2", "0.3"]}
    results = {key: values for key, *values in data["results"]}
    assert results["final_loss"] == ["0.5", "0.25", "0.125"]
    assert len(set(data["names"])) == 3
    (chart,) = data["curves"]["charts"]
    assert [series["label"] for series in chart["series"]] == data["names"]
    assert chart["series"][0]["values"] == [4.0, 2.0, 1.0]


def test_the_pages_open_by_the_command_and_need_no_torch(tmp_path) -> None:
    record = of_seeds(tmp_path)
    code = (
        "import sys; from gdcli.cli import main; code = main(['report', *sys.argv[1:], '--curves', '-o', 'a.html']); "
        "print(code, *sys.modules)"
    )
    inner = sorted(path for path in record.folder.iterdir() if path.is_dir())[:2]
    for words in ([record.folder], inner):
        called = [sys.executable, "-c", code, *map(str, words)]
        ended = subprocess.run(called, capture_output=True, text=True, check=True, cwd=tmp_path)
        status, *modules = ended.stdout.split()
        assert status == "0", ended.stderr
        assert not {"torch", "matplotlib"} & set(modules)
        (tmp_path / "a.html").unlink()


def test_hostile_texts_of_a_comparison_are_data_and_nothing_else(tmp_path) -> None:
    """Each as label, status, name of a metric and place of a learning rate: the page's numbers stay."""
    for text in STRINGS:
        quoted = '"' + text.replace('"', '""') + '"'
        header = f"run,label,lr,lr_from,status,final_loss,best_loss,steps,epochs,{quoted},weights,data,order"
        rows = [
            f"1,{quoted},0.1,{quoted},{quoted},0.5,0.5,4,4,2.0,{quoted},b,c",
            "2,sgd,0.1,spec,finished,1,1,4,4,,a,b,c",
        ]
        record = written(tmp_path / "runs" / "x" / "20260101-120000-0123abcd", "compare", [header, *rows])
        assert bad(json.dumps(many_data(record), ensure_ascii=False)) == [], text


def test_a_damaged_table_is_told(tmp_path) -> None:
    record = of_seeds(tmp_path)
    (record.folder / "results.csv").write_text("run,label\n1\n")
    data = many_data(record)
    assert any("results.csv" in problem for problem in data["problems"])


def test_the_best_run_is_of_the_row_with_the_best_mean_and_has_a_folder(tmp_path) -> None:
    record = of_seeds(tmp_path)
    assert best_run(record) == record.folder / "4-adam_seed=0"  # 0.1, of the mean 0.25
    lines = (record.folder / "results.csv").read_text().splitlines()
    closed = "7,closed_form,,,0,finished,0.01,0.01,0,0,1.0,,b,"  # it has none
    lucky = lines[1].replace(",0.5,0.5,", ",0.05,0.05,")  # the best of all runs, but not of the best row
    record = written(record.folder, "compare", [lines[0], lucky, *lines[2:], closed])
    assert best_run(record) == record.folder / "4-adam_seed=0"
