"""The run folder: complete, exact to the bit, the same bytes again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gdcli.engine.problem import build
from gdcli.records import StepBlock
from gdcli.spec import bundled, document, load, schema
from gdcli.storage import csv_writer, run_folder
from tests.conftest import GOLDEN, only_folder
from tests.engine.plain_torch import train

FILES = {
    "spec.yaml", "config.yaml", "log.txt", "steps.csv", "gradients.csv", "epochs.csv", "loss.png", "summary.json",
    "timing.json", "environment.json", "request.json", "model.safetensors",
}  # fmt: skip


def blocks_of(name: str) -> list[StepBlock]:
    source = bundled.find(name)
    spec = schema.parse(document.read(source.text, source.shown), name)
    events = train(build(load.load(spec, source.path.parent)), {"gradients"})
    return [event for event in events if isinstance(event, StepBlock)]


def test_all_files_of_a_run(gdcli) -> None:
    assert gdcli("run", "backprop_2x2").code == 0
    folder = only_folder(Path("runs"))
    assert {path.name for path in folder.iterdir()} == FILES
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", folder.name)
    assert (folder / "spec.yaml").read_bytes() == bundled.find("backprop_2x2").text
    assert (folder / "steps.csv").read_text().startswith("step,epoch,batch,loss,lr,gradient_norm\n1,1,1,0.29837")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["parameters"]["linear1.bias"] == [pytest.approx(0.3406, abs=5e-5)]  # the document's state dict


def test_gradients_of_linear_manual_are_the_documents_thirty(gdcli) -> None:
    assert gdcli("run", "linear_manual", "--no-plot").code == 0
    table = pd.read_csv(only_folder(Path("runs")) / "gradients.csv")
    printed = [line.split()[-1] for line in (GOLDEN / "linear_manual.txt").read_text().splitlines() if "grad:" in line]
    assert len(printed) == 30
    assert table["weight[0,0]"].tolist() == [float(text) for text in printed]


@pytest.mark.parametrize("name", ["linear_manual", "momentum_2x2", "rosenbrock", "linear_regression"])
def test_columns_read_by_pandas_have_the_engines_bits(gdcli, name: str) -> None:
    assert gdcli("run", name, "--no-plot").code == 0
    folder, blocks = only_folder(Path("runs")), blocks_of(name)
    steps = pd.read_csv(folder / "steps.csv")
    gradients = pd.read_csv(folder / "gradients.csv")
    for column in ("loss", "lr", "gradient_norm"):
        assert steps[column].to_numpy().tobytes() == np.concatenate([getattr(b, column) for b in blocks]).tobytes()
    engine = np.concatenate([block.gradients for block in blocks]).astype(np.float64)
    assert np.ascontiguousarray(gradients.iloc[:, 1:].to_numpy()).tobytes() == engine.tobytes()
    assert gradients["step"].tolist() == steps["step"].tolist()


def fresh(folder: Path, *arguments: str, **environment: str) -> None:
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "gdcli", *arguments]
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True, capture_output=True)


def contents(folder: Path, *without: str) -> dict[str, bytes]:
    root = only_folder(folder / "runs")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in ("timing.json", *without)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["backprop_2x2", "house_price"])
def test_the_same_bytes_in_fresh_processes_and_other_folders(tmp_path: Path, name: str) -> None:
    fresh(tmp_path / "one", "run", name, PYTHONHASHSEED="1", TZ="UTC", COLUMNS="40", LC_ALL="C")
    fresh(tmp_path / "two" / "deeper", "run", name, PYTHONHASHSEED="2", TZ="Asia/Tokyo", COLUMNS="200")
    first = contents(tmp_path / "one")
    fitted = {"preprocessing.json"} if name == "house_price" else set()  # which is standardized
    assert set(first) == FILES - {"timing.json"} | fitted
    assert first == contents(tmp_path / "two" / "deeper")
    config = only_folder(tmp_path / "one" / "runs") / "config.yaml"
    fresh(tmp_path / "three", "run", str(config))
    # the spec as given is another file now, and the command line names it
    told = ("spec.yaml", "environment.json")
    assert contents(tmp_path / "one", *told) == contents(tmp_path / "three", *told)


def test_comparison_has_the_same_bytes_again(gdcli) -> None:
    found = []
    for output in ("a", "b"):
        assert gdcli("compare", "--optimizers", "sgd,adam", "-o", output).code == 0
        root = only_folder(Path(output))
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        assert len(files) > 15
        kept = [path for path in files if path.name not in ("timing.json", "environment.json")]
        found.append({str(path.relative_to(root)): path.read_bytes() for path in kept})
    assert found[0] == found[1]


def test_a_folder_is_never_reused(tmp_path: Path) -> None:
    import time

    now = time.localtime(0)
    names = []
    for _ in range(3):
        folder, lock = run_folder.claim(tmp_path, "name", "0123abcd", now, {"spec.yaml": "x"})
        lock.release()
        names.append(folder.name)
    assert names[1:] == [f"{names[0]}-2", f"{names[0]}-3"]


def test_floats_are_written_as_text_that_reads_back_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((500, 4)) * 10.0 ** rng.integers(-300, 300, (500, 4))
    values[0] = [0.0, -0.0, 5e-324, 1.7976931348623157e308]
    text = csv_writer.float_rows(np.arange(500), values).decode()
    back = np.array([[float(cell) for cell in line.split(",")[1:]] for line in text.splitlines()])
    assert back.tobytes() == values.tobytes()


def test_rows_with_numbers_that_are_not_finite() -> None:
    text = csv_writer.float_rows(np.array([1, 2]), np.array([[1.5, np.nan], [np.inf, -np.inf]])).decode()
    assert text == "1,1.5,nan\n2,inf,-inf\n"


@pytest.mark.parametrize("rows_of", [csv_writer.float_rows, csv_writer.number_rows])
@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_a_row_has_the_same_bytes_whatever_its_block(rows_of: Any, length: int) -> None:
    """Python writes 1e-07 where orjson has 1e-7: a row has one of them, however its block was cut."""
    values = np.array(
        [[1e-7, 1e20], [0.5, np.nan], [1e-7, 1e20], [np.inf, 1e-7], [1e20, 2.0], [-np.inf, np.nan], [1, 2]]
    )
    steps = np.arange(1, len(values) + 1)
    blocks = [slice(k, k + length) for k in range(0, len(values), length)]
    found = b"".join(rows_of(steps[block], values[block]) for block in blocks)
    assert found == b"".join(rows_of(steps[k : k + 1], values[k : k + 1]) for k in range(len(values)))
    first, *_, last = found.decode().splitlines()
    assert (first, last) == ("1,1e-7,1e+20", "7,1.0,2.0")


def test_diverged_run_keeps_its_files_and_exits_with_1(gdcli) -> None:
    answer = gdcli("run", "linear_manual", "lr=1e3", "epochs=200")
    assert answer.code == 1
    assert re.search(r"diverged at step \d+ \(epoch \d+\).*weight", answer.err)
    folder = only_folder(Path("runs"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "diverged"
    assert summary["final_loss"] is None
    assert {path.name for path in folder.iterdir()} == FILES
    steps = pd.read_csv(folder / "steps.csv")
    assert len(steps) == summary["steps"]
    assert not np.isfinite(steps[["loss", "gradient_norm"]].iloc[-1]).all()
    assert np.isfinite(steps[["loss", "gradient_norm"]].iloc[:-1]).all(axis=None)


@pytest.mark.parametrize(
    ("more", "steps"),
    [
        (["epochs=10"], [1, 5, 9, 10]),
        (["epochs=9"], [1, 5, 9]),
        (["epochs=10", "stop.max_steps=7"], [1, 5, 7]),
        (["epochs=2"], [1, 2]),
        (["epochs=0"], [0]),
        (["epochs=10", "lr=1e30", "model.output_activation=none"], [1, 2]),  # the second step diverges
    ],
)
def test_record_every_keeps_the_first_each_fourth_and_the_last_gradient(
    gdcli, more: list[str], steps: list[int]
) -> None:
    gdcli("run", "backprop_2x2", "--no-plot", "print.style=tensor", "record.every=4", *more)
    kept = pd.read_csv(only_folder(Path("runs")) / "gradients.csv")["step"].tolist()
    assert kept == steps


STYLES = ["epoch", "tensor", "loss", "layers", "backprop", "parameters", "gradient"]


@pytest.mark.parametrize("style", STYLES)
def test_the_best_loss_does_not_depend_on_what_is_printed(gdcli, style: str) -> None:
    """L = w², w ← w − 1.5 · 2w = −2w from 1: losses 1, 4, 16, 64, the lowest before the first step."""
    spec = "{data: {x: [1], y: [0]}, model: {type: linear, bias: false, init: {weight: 1}}, loss: mse, epochs: 3}"
    Path("four.yaml").write_text(spec.replace("epochs", "optimizer: {name: sgd, lr: 1.5}, epochs"))
    assert gdcli("run", "four.yaml", f"print.style={style}", "--no-plot").code == 0
    summary = json.loads((only_folder(Path("runs")) / "summary.json").read_text())
    assert (summary["best_loss"], summary["best_step"], summary["final_loss"]) == (1.0, 0, 64.0)


@pytest.mark.parametrize("style", STYLES[1:])
def test_nor_does_it_with_mini_batches(gdcli, style: str) -> None:
    """Rows x = 1 and x = 2 of y = 0 in turn: w ← w(1 − 2 lr) and w ← w(1 − 8 lr), the whole set's loss is 2.5 w²."""
    rows = "{data: {x: [1, 2], y: [0, 0]}, model: {type: linear, bias: false, init: {weight: 1}}, loss: mse, "
    more = "optimizer: {name: sgd, lr: 0.3}, batch: {mode: mini-batch, size: 1, shuffle: false}, epochs: 3}"
    Path("rows.yaml").write_text(rows + more)
    assert gdcli("run", "rows.yaml", f"print.style={style}", "--no-plot").code == 0
    w, after = 1.0, []
    for _ in range(3):
        w = w * (1 - 2 * 0.3) * (1 - 8 * 0.3)
        after.append(2.5 * w * w)
    summary = json.loads((only_folder(Path("runs")) / "summary.json").read_text())
    assert summary["best_loss"] == pytest.approx(min(after), rel=1e-6)
    assert summary["best_step"] == 2 * (1 + after.index(min(after)))
