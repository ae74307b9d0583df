"""gradients.parquet of large models, and gradients.npy: what other readers see in them, however they grew."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from gdcli.errors import DamagedError
from gdcli.storage import gradient_file, wide_parquet
from gdcli.storage.npy_file import GrowingNpy, header_length
from gdcli.storage.wide_parquet import GrowingParquet, TableColumn

COLUMNS = [TableColumn("linear1.weight", (7, 3)), TableColumn("b", (1,)), TableColumn("Größe", ())]
WIDTH = 23


def numbers(rows: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, WIDTH)).astype(dtype)


def grown(table: Any, steps: np.ndarray, values: np.ndarray, at_once: int) -> bytes:
    found = table.header
    for first in range(0, len(steps), at_once):
        part = slice(first, first + at_once)
        found += b"".join(map(bytes, table.rows(steps[part], values[part])))
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", [1, 60, 10**6])  # numbers, of which a row has 23
@pytest.mark.parametrize("rows", [0, 1, 7, 40])
def test_pyarrow_reads_what_was_put_in(monkeypatch: pytest.MonkeyPatch, dtype: str, group: int, rows: int) -> None:
    monkeypatch.setattr(wide_parquet, "GROUP", group)
    steps, values = np.arange(rows) * 3 + 1, numbers(rows, dtype)
    table = GrowingParquet(COLUMNS, dtype)
    found = parquet.read_table(BytesIO(grown(table, steps, values, 3) + table.end()))
    assert found["step"].to_pylist() == steps.tolist()
    assert found["linear1.weight"].to_pylist() == values[:, :21].tolist()
    assert found["b"].to_pylist() == values[:, 21:22].tolist()
    assert found["Größe"].to_pylist() == values[:, 22].tolist()
    kinds = {str(field.type.value_type if "list" in str(field.type) else field.type) for field in found.schema}
    assert kinds == {"int64", {"float32": "float", "float64": "double"}[dtype]}


@pytest.mark.parametrize("group", [1, 60, 10**6])
def test_cut_anywhere_and_gone_on_with_it_has_the_same_bytes(monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr(wide_parquet, "GROUP", group)
    steps, values = np.arange(20), numbers(20, "float32")
    whole = GrowingParquet(COLUMNS, "float32")
    expected = grown(whole, steps, values, 20) + whole.end()
    for cut in range(21):
        first = GrowingParquet(COLUMNS, "float32")
        left = grown(first, steps[:cut], values[:cut], 4)
        second = GrowingParquet(COLUMNS, "float32")
        second.resume(len(left), first.pending())
        rest = grown(second, steps[cut:], values[cut:], 7)[len(second.header) :]
        assert left + rest + second.end() == expected, cut


def test_rows_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_parquet, "GROUP", 60)
    first = GrowingParquet(COLUMNS, "float32")
    left, pending = grown(first, np.arange(3), numbers(3, "float32"), 3), first.pending()
    assert pending.nbytes == 8 + 4 * WIDTH  # of two rows a group, one waits
    for length, waiting in [
        (len(left) - 1, pending), (len(left), pending[:-1]), (len(left), np.tile(pending, 2)), (3, pending),
        (len(left), pending.astype(np.int64)),
    ]:  # fmt: skip
        with pytest.raises(DamagedError):
            GrowingParquet(COLUMNS, "float32").resume(length, waiting)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [COLUMNS, [TableColumn("a", (200, 100)), *COLUMNS]])
def test_numpy_reads_whole_rows_whatever_lies_behind_them(tmp_path: Path, dtype: str, columns: list) -> None:
    width = sum(column.size for column in columns)
    values = np.random.default_rng(1).normal(size=(9, width)).astype(dtype)
    table = GrowingNpy(columns, dtype)
    content = grown(table, np.arange(9) + 1, values, 4)
    head, row = len(table.header), 8 + np.dtype(dtype).itemsize * width
    assert head % 64 == 0
    assert header_length(content) == head
    assert len(content) == head + 9 * row
    for length in (head, head + 1, head + row, head + 5 * row + 3, len(content)):
        rows = (length - head) // row
        left = table.stamp(length) + content[head:length]
        found = np.load(BytesIO(left))
        assert found["step"].tolist() == list(range(1, rows + 1))
        places = np.cumsum([column.size for column in columns])[:-1]
        for column, part in zip(columns, np.split(values[:rows], places, axis=1), strict=True):
            assert np.array_equal(found[column.name], part.reshape(rows, *column.shape))
        path = tmp_path / "gradients.npy"
        path.write_bytes(left)
        assert np.array_equal(gradient_file.binary_columns(path).numbers()[:, 1:], values[:rows].astype(float))


def test_a_column_of_the_name_of_the_steps_keeps_one_of_its_own() -> None:
    columns = [TableColumn("step", (2,)), TableColumn("step_", ())]
    npy = gradient_file.form_of("npy", columns, np.dtype("float32"), is_wide=False)
    rows = b"".join(map(bytes, npy.rows(np.array([7]), np.array([[1, 2, 3]], np.float32))))
    assert isinstance(npy, GrowingNpy)
    found = np.load(BytesIO(npy.stamp(len(npy.header) + len(rows)) + rows))
    assert found.dtype.names == ("step", "step_", "step__")
    assert found["step"].tolist() == [7]
    assert found["step_"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "head",
    [
        "{'descr': [('step', '<i8'), ('a', '<f4')], 'fortran_order': False, 'shape': (9,)}",  # more than there are
        "{'descr': [('step', '<f8'), ('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('step', '<i8'), ('a', '|O')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('step', '<i8'), ('a', '<f4', (-2,))], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('step', '<i8'), ('a', '<f4', (1000, 1001))], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}",
        "__import__('os')",
        "[" * 500,
    ],
)
def test_a_header_that_gdcli_does_not_write_is_refused(tmp_path: Path, head: str) -> None:
    path = tmp_path / "gradients.npy"
    content = head.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content + bytes(12))
    with pytest.raises(DamagedError, match=r"gradients\.npy: "):
        gradient_file.binary_columns(path).numbers()
