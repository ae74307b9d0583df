"""NPZ files: the values that numpy reads, in pieces, without a second copy of them."""

from __future__ import annotations

import hashlib
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gdcli.engine.problem import build
from gdcli.runner.provenance import data_hash
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.spec.schema import parse
from gdcli.zoo.columns import is_missing
from gdcli.zoo.data_files import read_columns
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Preprocessing

COUNT = 700_000  # more than a piece of every type


def saved(path: Path, x: Any, *, packed: bool = False) -> Path:
    (np.savez_compressed if packed else np.savez)(path, x=x, y=np.arange(len(x)))
    return path


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "u2", "i8", "<f16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_every_type_and_order_are_numpys(tmp_path: Path, dtype: str, order: Any) -> None:
    drawn = np.random.default_rng(1).normal(0, 30, (COUNT // 7, 7)).astype(dtype, order=order)
    path = saved(tmp_path / "a.npz", drawn, packed=dtype == "f4")
    found = read_columns(path, ["x"], ["y"]).columns["x"]
    assert isinstance(found, np.ndarray)
    assert found.flags.c_contiguous
    assert np.array_equal(found, np.load(path)["x"].astype(np.float64))


def test_a_number_that_is_not_finite_is_told_in_whatever_piece_it_stands(tmp_path: Path) -> None:
    x = np.zeros((COUNT, 2), np.float32)
    x[COUNT - 3, 1] = np.inf
    with pytest.raises(ArgumentError, match=rf"row {COUNT - 2:,}, column 'x\[1\]': not a finite number"):
        read_columns(saved(tmp_path / "a.npz", x), ["x"], ["y"])


def test_a_file_that_holds_less_than_it_states_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", np.zeros((COUNT, 2)))
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    whole = path.read_bytes()
    place = whole.index(content["x.npy"][:100])
    path.write_bytes(whole[: place + 200] + whole[place + 300 :])  # every later offset is wrong
    with pytest.raises(ArgumentError, match="not a readable NPZ archive"):
        read_columns(path, ["x"], ["y"])


def test_reading_takes_little_more_than_the_numbers_take(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", np.ones((COUNT, 8), np.float32))
    read_columns(path, ["x"], ["y"])  # imports what it needs
    tracemalloc.start()
    try:
        raw = read_columns(path, ["x"], ["y"])
        x = Preprocessing.fit(raw.columns, raw.features).encode(raw.columns)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert x.shape == (COUNT, 8)
    assert peak < 1.15 * COUNT * (4 * 8 + 8) + 2**23


SPEC = """
data: {file: %s, features: [x], target: y%s}
model: {type: mlp, layers: [3, 4, 2]}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.1}
batch: {mode: mini-batch, size: 8}
epochs: 3
record: {gradients: values, parameters: true}
%s"""


@pytest.mark.parametrize("keys", ["", ", standardize: true", ", validation: 0.3", ", missing: mean", ", missing: drop",
                                  ", validation: {file: t8.npz}"])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_in_float32_train_as_the_same_numbers_in_float64(gdcli: Any, keys: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 2, 40)
    if "missing" in keys:
        x[[4, 9], [0, 2]] = np.nan
    np.savez("t8.npz", x=x.astype(np.float64), y=y)
    np.savez("t4.npz", x=x, y=y)
    found = {}
    for name in ("t4", "t8"):
        Path("s.yaml").write_text(SPEC % (f"{name}.npz", keys, f"dtype: {dtype}\n"))
        assert gdcli("run", "s.yaml", "--no-plot", "--output", name).code == 0
        (record,) = Path(name).glob("*/*")
        files = (
            "steps.csv",
            "epochs.csv",
            "gradients.csv",
            "parameters.csv",
            "preprocessing.json",
            "model.safetensors",
        )
        found[name] = [gdcli("explain", "s.yaml", "--step", "2").out]
        found[name] += [(record / file).read_bytes() for file in files if (record / file).is_file()]
        found[name] += [gdcli(command, str(record), f"{name}.npz").out for command in ("predict", "evaluate")]
        found[name] += [gdcli("export", str(record), "--format", "script").out]
    assert len(found["t4"]) > 8
    assert found["t4"] == [text.replace("t8.npz", "t4.npz") if isinstance(text, str) else text for text in found["t8"]]


def test_training_in_float32_takes_the_very_memory_of_a_file_in_float32(tmp_path: Path) -> None:
    x = np.random.default_rng(3).normal(size=(300_000, 3))
    single, y, hashes = x.astype(np.float32), np.arange(len(x)) % 2, []
    for dtype in ("float32", "float64"):
        path = tmp_path / f"{dtype}.npz"
        np.savez(path, x=single.astype(dtype), y=y)
        loaded = load(parse(read(SPEC % (path, "", ""), "s"), "s"), tmp_path)
        assert loaded.training is not None
        taken = build(loaded).batches.whole().x
        assert (taken.data_ptr() == loaded.training.x.ctypes.data) == (dtype == "float32")
        hashes.append(data_hash(loaded))
    assert hashes == [hashlib.sha256(single.astype(float).tobytes() + y.tobytes()).hexdigest()[:8]] * 2


def test_missing_cells_of_a_large_array_are_found_row_by_row() -> None:
    cells = np.zeros((300_000, 5))
    rows = [0, 131_071, 209_715, 209_716, 299_999]
    cells[rows, [0, 1, 2, 3, 4]] = np.nan
    assert np.flatnonzero(is_missing(cells)).tolist() == rows
