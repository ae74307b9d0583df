"""gradients.csv, .parquet and .npy of a model of 1,001 scalars and of a small one: the same numbers, read by all."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import gdcli as package
from gdcli.engine import loop
from gdcli.spec import recorded_size
from tests.conftest import only_folder

RNG = np.random.default_rng(4)
X, Y = RNG.normal(size=(12, 3)).round(2), RNG.normal(size=(12, 1)).round(2)
SPEC = {
    "name": "t", "data": {"x": X.tolist(), "y": Y.tolist()}, "loss": "mse", "optimizer": {"name": "sgd", "lr": 0.001},
    "epochs": 3, "batch": {"size": 5},
}  # fmt: skip
WIDE, SMALL = [3, 200, 1], [3, 4, 1]
STEPS, FORMS = 9, ("csv", "parquet", "npy")


@pytest.fixture
def recorded(gdcli: Any) -> Callable[..., Path]:
    """Makes a record of a net of these widths in a format, in a folder of its own."""
    made = 0

    def make(form: str, layers: list[int] = WIDE, kept: str = "values", **changes: Any) -> Path:
        nonlocal made
        made += 1
        model = {"type": "mlp", "layers": layers, "activation": "tanh"}
        spec = {**SPEC, "model": model, "record": {"gradients": kept, "format": form}, **changes}
        Path("t.yaml").write_text(json.dumps(spec))
        answer = gdcli("run", "t.yaml", "--no-plot", "-q", "-o", f"made-{made}")
        assert answer.code == 0, answer.err
        return only_folder(Path(f"made-{made}"))

    return make


def by_autograd(dtype: torch.dtype, steps: int) -> list[list[np.ndarray]]:
    """Return the gradients of full batches as a plain loop has them."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 200), torch.nn.Tanh(), torch.nn.Linear(200, 1)).to(dtype)
    x, y = torch.tensor(X, dtype=dtype), torch.tensor(Y, dtype=dtype)
    rule, found = torch.optim.SGD(net.parameters(), lr=0.001), []
    for _ in range(steps):
        rule.zero_grad()
        torch.nn.functional.mse_loss(net(x), y).backward()
        found.append([p.grad.numpy().copy() for p in net.parameters()])
        rule.step()
    return found


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_a_row_has_the_gradients_of_a_plain_loop(recorded: Any, form: str) -> None:
    folder = recorded(form, batch="full", epochs=4)
    path, expected = folder / f"gradients.{form}", by_autograd(torch.float32, 4)
    table = np.load(path) if form == "npy" else pd.read_parquet(path)
    names = ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]
    assert list(table["step"]) == [1, 2, 3, 4]
    assert [*(table.dtype.names if form == "npy" else table.columns)] == ["step", *names]
    for step in range(4):
        for name, gradient in zip(names, expected[step], strict=True):
            np.testing.assert_allclose(np.ravel(table[name][step]), gradient.ravel(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layers", [WIDE, SMALL], ids=["wide", "small"])
@pytest.mark.parametrize(("kept", "dtype"), [("values", "float32"), ("values", "float64"), ("norms", "float32")])
def test_all_formats_have_the_numbers_of_the_csv(
    recorded: Any, gdcli: Any, layers: list[int], kept: str, dtype: str
) -> None:
    folders = [recorded(form, layers, kept, dtype=dtype, watch=["h1"]) for form in FORMS]
    tables = [gdcli("export", str(folder)).out for folder in folders]
    assert tables[0].count("\n") == STEPS + 1
    assert len(set(tables)) == 1
    runs = [package.load(str(folder.absolute())).gradients for folder in folders]
    assert len(runs[0]) == (5 if kept == "values" else 1)
    for run in runs[1:]:
        assert run.keys() == runs[0].keys()
        assert all(np.array_equal(run[name], runs[0][name], equal_nan=True) for name in run)
    for file in ("steps.csv", "log.txt", "epochs.csv", "summary.json"):
        assert len({(folder / file).read_bytes() for folder in folders}) == 1
    if kept == "norms":
        table = np.load(folders[2] / "gradients.npy")
        csv = pd.read_csv(folders[0] / "gradients.csv")
        assert all(table[name].tolist() == csv[name].tolist() for name in ("linear1.weight", "linear2.bias"))


@pytest.mark.parametrize("form", FORMS)
def test_the_bytes_do_not_depend_on_where_blocks_end(recorded: Any, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = recorded(form, epochs=60)  # 180 steps, of which 130 are a group
    monkeypatch.setattr(loop, "MAX_BLOCK_STEPS", 7)
    second = recorded(form, epochs=60)
    name = f"gradients.{form}"
    assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_of_every_fourth_step_and_the_last(recorded: Any, form: str) -> None:
    folder = recorded(form, record={"gradients": "values", "format": form, "every": 4}, epochs=4)
    path = folder / f"gradients.{form}"
    table = np.load(path) if form == "npy" else pd.read_parquet(path)
    assert list(table["step"]) == [1, 5, 9, 12]


@pytest.mark.parametrize("form", FORMS)
def test_verify_and_plot_read_them_and_verify_names_another_number(recorded: Any, gdcli: Any, form: str) -> None:
    folder = recorded(form)
    path = folder / f"gradients.{form}"
    assert gdcli("verify", str(folder)).out == "bit-identical\n"
    assert gdcli("plot", str(folder), "--kind", "gradients", "-o", "g.png").code == 0
    assert gdcli("show", str(folder)).out.count(f"gradients.{form}") == 1
    assert gdcli("diff", str(folder), str(folder)).code == 0
    content = bytearray(path.read_bytes())
    if form == "npy":
        row = 8 + 4 * 1001
        content[len(content) - 5 * row + 8 + 4 * 601] ^= 1  # of the fifth row the second bias
        place = "linear1.bias[1]"
    elif form == "parquet":
        table = pd.read_parquet(path)
        at = content.index(np.array(table["linear1.bias"].iloc[4], "<f4").tobytes())
        content[at + 4] ^= 1
        place = "linear1.bias[1]"
    else:
        lines = bytes(content).split(b"\n")
        cells = lines[5].split(b",")
        cells[602] = b"0.5"
        lines[5] = b",".join(cells)
        content, place = bytearray(b"\n".join(lines)), "linear1.bias[1]"
    path.write_bytes(content)
    answer = gdcli("verify", str(folder))
    assert answer.code == 1
    assert answer.out.startswith(f"gradients.{form}: step 5, {place}: recorded ")


@pytest.mark.parametrize("form", ["parquet", "npy"])
@pytest.mark.parametrize("damage", ["cut", "text", "link"])
def test_a_damaged_table_is_refused(recorded: Any, gdcli: Any, form: str, damage: str) -> None:
    folder = recorded(form)
    path = folder / f"gradients.{form}"
    content = path.read_bytes()
    if damage == "link":
        path.rename("elsewhere")
        path.symlink_to(Path("elsewhere").absolute())
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"step,a\n1,2\n")
    for words in (("export", str(folder)), ("verify", str(folder))):
        answer = gdcli(*words)
        assert answer.code == 3, answer
        assert path.name in answer.err
        assert "Traceback" not in answer.err


def test_the_share_of_recording_is_told_of_runs_that_take_long(
    recorded: Any, gdcli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recorded("csv")
    assert 0 < json.loads((folder / "timing.json").read_text())["recording_share"] <= 1
    words = ("run", "t.yaml", "--no-plot", "epochs=30")
    answer = gdcli(*words)
    assert re.search(r"^30 epochs in \S+ \S+$", answer.err, re.MULTILINE), answer.err
    monkeypatch.setattr(importlib.import_module("gdcli.commands.run"), "LONG", 0.0)
    again = gdcli(*words)
    assert re.search(r"^30 epochs in \S+ \S+, [1-9]\d?% of it recording$", again.err, re.MULTILINE), again.err
    assert again.out == answer.out


# --- the size ---------------------------------------------------------------------------------------------------------


def sized(steps: int, **changes: Any) -> None:
    spec = {**SPEC, "model": {"type": "mlp", "layers": WIDE}, "epochs": steps, "batch": "full", **changes}
    Path("t.yaml").write_text(json.dumps(spec))


@pytest.mark.parametrize(
    ("form", "dtype", "item"), [("npy", "float64", 8), ("parquet", "float32", 4), ("csv", "float32", 22)]
)
@pytest.mark.parametrize("every", [1, 10])
def test_a_gigabyte_of_values_is_the_most_without_being_asked_for(
    gdcli: Any, form: str, dtype: str, item: int, every: int
) -> None:
    most = 10**9 // (item * 1001) * every
    record = {"gradients": "values", "format": form, "every": every}
    sized(most, dtype=dtype, record=record)
    assert gdcli("validate", "t.yaml").code == 0
    sized(most + every, dtype=dtype, record=record)
    answer = gdcli("validate", "t.yaml")
    assert answer.code == 2
    what = f"record.gradients: 1,001 values in {most // every + 1:,} steps are about 1.0 GB of gradients.{form}"
    assert re.search(rf"^t\.yaml:1:\d+: {re.escape(what)}, more than 1\.0 GB\. .*--no-limits allows it$", answer.err)
    assert gdcli("run", "t.yaml").err == answer.err
    assert not Path("runs").exists()
    assert gdcli("validate", "t.yaml", "--no-limits").code == 0
    if form != "csv" and every == 1:
        sized(most + every, dtype=dtype, record={**record, "gradients": "norms"})
        assert gdcli("validate", "t.yaml").code == 0


@pytest.mark.parametrize(("units", "code"), [(49, 0), (50, 2)])
def test_a_row_of_two_gibibytes_is_the_most_of_npy(gdcli: Any, units: int, code: int) -> None:
    """4e7 + 1e7 units + 2 units + 1 numbers, of 4 bytes each; nothing is made of them."""
    sized(1, model={"type": "mlp", "layers": [3, 10**7, units, 1]}, record={"gradients": "values", "format": "npy"})
    answer = gdcli("validate", "t.yaml", "--no-limits")
    assert answer.code == code, answer.err
    if code:
        assert "record.format: a row would have 2.1 GB, more than gradients.npy can hold" in answer.err


def test_the_mlp_of_the_digits_would_write_four_gigabytes_an_epoch(gdcli: Any) -> None:
    data = {"generate": {"kind": "blobs", "n": 60_000, "classes": 10, "features": 784}}
    model = {"type": "mlp", "layers": [784, 256, 10]}
    sized(1, data=data, model=model, loss="cross_entropy", batch={"size": 64}, record={"gradients": "values"})
    words = ("data.generate.n=60",)  # as many steps of fewer rows: 938
    answer = gdcli("validate", "t.yaml", *words, "epochs=938")
    assert answer.code == 2
    assert "203,530 values in 938 steps are about 4.2 GB of gradients.csv, more than 1.0 GB" in answer.err


@pytest.mark.parametrize("frozen", [True, False])
def test_torch_layers_are_counted_once_they_are_built_and_frozen_ones_not(
    gdcli: Any, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_size, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(recorded_size, "TOLD", 400_000)
    layers = [{"layer": "Linear", "out_features": 1000}, "Tanh", {"layer": "Linear", "out_features": 1}]
    model = {"type": "sequential", "layers": layers, **({"freeze": ["0.*"]} if frozen else {})}
    sized(40, model=model, record={"gradients": "values"})
    answer = gdcli("run", "t.yaml", "--no-plot", "stop.max_steps=20")
    if frozen:  # 1,001 numbers of 22 bytes 20 times
        assert answer.code == 0
        assert answer.err.startswith("1,001 values in 20 steps are about 0.0 GB of gradients.csv\n")
    else:
        assert answer.code == 2
        assert "5,001 values in 20 steps are about 0.0 GB of gradients.csv, more than 0.0 GB" in answer.err
        assert not Path("runs").exists()


def test_the_size_is_told_before_the_run_and_python_without_a_record_is_not_asked(
    gdcli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_size, "TOLD", 100_000)
    monkeypatch.setattr(recorded_size, "MAX_BYTES", 120_000)
    sized(5, record={"gradients": "values"})
    answer = gdcli("run", "t.yaml", "--no-plot")
    assert answer.code == 0
    assert answer.err.startswith("1,001 values in 5 steps are about 0.0 GB of gradients.csv\n")
    answer = gdcli("sweep", "t.yaml", "-p", "lr=0.001,0.002", "epochs=3", "--no-plot")
    assert answer.code == 0
    assert answer.err.startswith("1,001 values in 3 steps are about 0.0 GB of gradients.csv, of each of 2 runs\n")
    assert gdcli("sweep", "t.yaml", "-p", "lr=0.001,0.002", "epochs=6", "--no-plot").code == 2
    sized(6, record={"gradients": "values"})
    assert gdcli("run", "t.yaml", "--no-plot").code == 2
    assert package.run("t.yaml").gradients["linear1.weight"].shape == (6, 200, 3)


def test_the_size_is_that_of_what_the_runs_change(gdcli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_size, "TOLD", 100_000)
    monkeypatch.setattr(recorded_size, "MAX_BYTES", 250_000)
    sized(3)
    sweep = ("sweep", "t.yaml", "--no-plot", "-p")
    answer = gdcli(*sweep, "record.gradients=values,norms", "epochs=5")
    assert answer.code == 0
    size = "1,001 values in 5 steps are about 0.0 GB of gradients.csv"
    assert answer.err.startswith(f"{size}, the most of 1 of 2 runs\n")
    assert gdcli(*sweep, "epochs=1,12", "record.gradients=values").code == 2
    layers = [{"layer": "Linear", "out_features": 200}, "LayerNorm", {"layer": "Linear", "out_features": 1}]
    sized(2, model={"type": "sequential", "layers": layers}, record={"gradients": "values"})
    told = "1,401 values in 2 steps are about 0.0 GB of gradients.csv, of each of 2 runs"
    for words in ((*sweep, "batch.size=9,10"), ("compare", "t.yaml", "--optimizers", "sgd,adam", "--no-plot")):
        monkeypatch.setattr(recorded_size, "TOLD", 10_000)
        assert told in gdcli(*words, "batch.mode=mini-batch", "stop.max_steps=2").err.splitlines(), words
    assert gdcli(*sweep, "lr=0.1,0.2", "epochs=9").code == 2


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_many_runs_and_python_can_ask_for_more_too_and_their_records_are_done_again(
    gdcli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_size, "MAX_BYTES", 120_000)
    sized(6, record={"gradients": "values"})
    sweep = ("sweep", "t.yaml", "-p", "lr=0.001,0.002", "--no-plot", "--no-limits")
    compare = ("compare", "t.yaml", "--optimizers", "sgd,adam", "--no-plot")
    assert gdcli(*compare).code == 2
    for k, words in enumerate((sweep, (*sweep, "--jobs", "2"), (*compare, "--no-limits"))):
        assert gdcli(*words, "-o", f"{k}").code == 0
        for run in only_folder(Path(f"{k}")).glob("?-*"):
            assert len((run / "gradients.csv").read_text().splitlines()) == 7
    assert gdcli("verify", str(only_folder(Path("0")))).out == "bit-identical\n"
    with pytest.raises(package.SpecError, match=r"more than 0\.0 GB"):
        package.sweep("t.yaml", {"lr": [0.001]}, output="no")
    assert package.run("t.yaml", output="a", no_limits=True).folder is not None
    assert package.sweep("t.yaml", {"lr": [0.001]}, output="b", no_limits=True, plot=False).folder is not None
    assert package.compare("t.yaml", optimizers="sgd", output="c", no_limits=True, plot=False).folder is not None


def test_a_request_without_the_option_has_no_word_of_it(gdcli: Any) -> None:
    """So that records of many runs have the bytes that they had."""
    sized(1)
    assert gdcli("sweep", "t.yaml", "-p", "lr=0.001,0.002", "--no-plot").code == 0
    assert "no_limits" not in (only_folder(Path("runs")) / "request.json").read_text()
    assert gdcli("run", "t.yaml", "--no-plot", "-o", "one").code == 0
    assert '"no_limits": false' in (only_folder(Path("one")) / "request.json").read_text()
