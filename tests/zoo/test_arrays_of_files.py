"""NPZ files: the values that numpy reads, in pieces, without a second copy of them."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
    assert peak < 1.15 * 8 * COUNT * (8 + 1) + 2**23


def test_missing_cells_of_a_large_array_are_found_row_by_row() -> None:
    cells = np.zeros((300_000, 5))
    rows = [0, 131_071, 209_715, 209_716, 299_999]
    cells[rows, [0, 1, 2, 3, 4]] = np.nan
    assert np.flatnonzero(is_missing(cells)).tolist() == rows
