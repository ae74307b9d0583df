"""The data sources: closed forms, seeds, shapes, and an error with its place for data that cannot be used."""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
import sys
import typing
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdcli.errors import MachineError
from gdcli.zoo import data, data_files
from gdcli.zoo import table as tables
from gdcli.zoo.csv_dialect import CsvFormat
from gdcli.zoo.data import GENERATORS, dataset, generator, inline, points
from gdcli.zoo.data_files import read_columns
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Feature, Preprocessing, scale
from gdcli.zoo.splits import Wanted, parts_of
from gdcli.zoo.table import Table
from gdcli.zoo.targets import targets_of
from tests.timing import fastest


def read_file(
    path: Path, features: list[str] | None, target: str | list[str], classes: bool, header: bool | None = None
) -> Table:
    """A file of numbers as one table, of all rows."""
    targets = [target] if isinstance(target, str) else target
    raw = read_columns(path, features, targets, CsvFormat(header))
    fitted = Preprocessing.fit(raw.columns, raw.features)
    y = targets_of(raw.columns, raw.targets, "classes" if classes else "values", maps=False)
    return Table(fitted.encode(raw.columns), y.y, fitted.columns, y.names, y.count, raw.sha256)


HOUSES = Path(__file__).parents[2] / "experiments" / "house_price.csv"
REQUIRED: dict[str, dict[str, Any]] = {
    "linear": {"weights": [2.0, -3.4], "bias": 4.2},
    "polynomial": {"coefficients": [1.0, 0.0, -2.0]},
}


def made(kind: str, seed: int = 0, **arguments: Any) -> Table:
    settings = REQUIRED.get(kind, {}) | arguments
    return GENERATORS[kind](generator(seed, "data"), generator(seed, "noise"), **settings)


def noisy(kind: str, amount: float) -> dict[str, Any]:
    return {"spread" if kind == "blobs" else "noise": amount}


# --- generators


def test_without_noise_a_line_is_met_exactly() -> None:
    table = made("linear", n=1000)
    x1, x2 = table.x.T
    assert np.array_equal(table.y[:, 0], 2.0 * x1 + -3.4 * x2 + 4.2)
    assert table.x.shape == (1000, 2)
    assert table.y.shape == (1000, 1)


def test_without_noise_a_polynomial_is_met_exactly() -> None:
    table = made("polynomial")
    assert np.array_equal(table.y, (-2.0 * table.x + 0.0) * table.x + 1.0)


def test_without_noise_a_wave_is_met_exactly() -> None:
    table = made("sine", amplitude=2.0, frequency=3.0, phase=0.5)
    assert np.array_equal(table.y, 2.0 * np.sin(2 * math.pi * 3.0 * table.x + 0.5))


def test_the_noise_has_the_deviation_asked_for() -> None:
    residual = made("linear", n=20_000, noise=0.5).y - made("linear", n=20_000).y
    assert residual.std() == pytest.approx(0.5, rel=0.02)
    assert residual.mean() == pytest.approx(0, abs=0.02)


def test_spirals_without_noise_lie_on_their_arms() -> None:
    table = made("spirals", classes=3, turns=1.5)
    radius = np.hypot(*table.x.T)
    angle = np.arctan2(table.x[:, 1], table.x[:, 0])
    turned = angle - 2 * math.pi * (1.5 * radius + table.y / 3)
    assert np.allclose(np.cos(turned), 1)


def test_moons_without_noise_lie_on_two_half_circles() -> None:
    table = made("moons")
    upper, lower = table.x[table.y == 0], table.x[table.y == 1]
    assert np.allclose(np.hypot(*upper.T), 1)
    assert (upper[:, 1] >= 0).all()
    assert np.allclose(np.hypot(*(lower - [1, 0.5]).T), 1)
    assert (lower[:, 1] <= 0.5).all()


def test_xor_is_the_truth_table() -> None:
    table = made("xor")
    assert table.x.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert table.y.tolist() == [0, 1, 1, 0]


def test_blobs_without_spread_are_their_centres() -> None:
    table = made("blobs", classes=4, features=5, spread=0.0)
    assert table.x.shape == (300, 5)
    assert len(np.unique(table.x, axis=0)) == 4


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_seed_gives_the_same_data_and_another_seed_other_data(kind: str) -> None:
    first, again, other = (made(kind, seed, **noisy(kind, 0.1)) for seed in (7, 7, 8))
    assert first.x.tobytes() == again.x.tobytes()
    assert first.y.tobytes() == again.y.tobytes()
    assert first.x.tobytes() + first.y.tobytes() != other.x.tobytes() + other.y.tobytes()


@pytest.mark.parametrize("kind", ["linear", "polynomial", "sine"])
def test_the_points_are_the_same_with_and_without_noise(kind: str) -> None:
    assert np.array_equal(made(kind, noise=0.0).x, made(kind, noise=3.0).x)


@pytest.mark.parametrize("kind", ["blobs", "spirals", "moons", "xor"])
def test_noise_moves_the_same_points(kind: str) -> None:
    still, small, large = (made(kind, **noisy(kind, amount)).x for amount in (0.0, 1.0, 2.0))
    assert np.allclose(large - still, 2 * (small - still))


@pytest.mark.parametrize(("kind", "classes"), [("blobs", 3), ("spirals", 2), ("moons", 2), ("xor", 2)])
def test_every_class_has_its_share(kind: str, classes: int) -> None:
    table = made(kind, n=302)
    assert table.classes == classes
    assert table.y.dtype == np.int64
    counts = np.bincount(table.y.astype(np.int64))
    assert len(counts) == classes
    assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize("kind", GENERATORS)
def test_points_bounds_what_is_made_and_names_are_complete(kind: str) -> None:
    table = made(kind, n=50)
    assert table.x.size + table.y.size <= points(kind, REQUIRED.get(kind, {}) | {"n": 50}) <= 3 * 50 + 6
    assert len(table.features) == table.x.shape[1]
    assert table.targets == ("y",)


def test_points_allocates_nothing() -> None:
    assert points("blobs", {"n": 10**18, "features": 10**6, "classes": 2}) == 10**18 * (10**6 + 1) + 2 * 10**6


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generators_signature_is_resolvable(kind: str) -> None:
    hints = typing.get_type_hints(GENERATORS[kind], include_extras=True)
    assert hints["n"].__metadata__
    assert hints["return"] is Table


@pytest.mark.parametrize(("x", "low", "high"), [({"uniform": (0, 2)}, 0, 2), ({"normal": (5, 0)}, 5, 5)])
def test_x_follows_its_distribution(x: Any, low: float, high: float) -> None:
    drawn = made("linear", weights=[1.0], n=1000, x=x).x
    assert low <= drawn.min() <= drawn.max() <= high


@pytest.mark.parametrize(
    "x", [{}, {"uniform": (0, 1), "normal": (0, 1)}, {"uniform": (1, 0)}, {"normal": (0, -1)}], ids=str
)
def test_a_distribution_that_cannot_be_is_refused(x: Any) -> None:
    with pytest.raises(ValueError, match=r"^x"):
        made("linear", x=x)


def test_the_purposes_of_a_seed_are_independent() -> None:
    first = {generator(seed, purpose).bytes(8) for seed in (0, 1, 2**40, 2**63 - 1) for purpose in data._TAGS}
    assert len(first) == 4 * len(data._TAGS)


# --- inline


def test_inline_numbers_are_one_column_and_rows_are_rows() -> None:
    table = inline([1, 2.5], [[1, 2], [3, 4]], classes=False)
    assert table.x.tolist() == [[1.0], [2.5]]
    assert table.y.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert (table.features, table.targets, table.classes) == (("x",), ("y[0]", "y[1]"), 0)


def test_inline_classes_are_indices_or_probabilities() -> None:
    indices = inline([[1, 2], [3, 4]], [2, 0], classes=True)
    assert (indices.y.tolist(), indices.y.dtype.name, indices.classes) == ([2, 0], "int64", 3)
    soft = inline([1], [[0.2, 0.8]], classes=True)
    assert (soft.y.tolist(), soft.classes) == ([[0.2, 0.8]], 2)


@pytest.mark.parametrize(
    ("x", "y", "classes", "path", "message"),
    [
        ([], [1], False, ("x",), "at least one"),
        ([1], [], True, ("y",), "at least one"),
        (3, [1], False, ("x",), "needs a list"),
        ([[]], [1], False, ("x", 0), "empty row"),
        ([[1, 2], [3]], [1, 2], False, ("x", 1), "a row of 1 numbers where the first has 2"),
        ([[1, 2], 3], [1, 2], False, ("x", 1), "a number among rows"),
        ([1, [2]], [1, 2], False, ("x", 1), "a list where"),
        ([[[1]]], [1], False, ("x", 0, 0), "a list where"),
        ([1, "a\x1b"], [1, 2], False, ("x", 1), r"\x1b"),
        ([1, None], [1, 2], False, ("x", 1), "not a number"),
        ([1, True], [1, 2], False, ("x", 1), "not a number"),
        ([10**5000], [1], False, ("x", 0), "too large"),
        ([1, 2], [1], False, ("y",), "x has 2 rows and y has 1"),
        ([1, 2], [0, -1], True, ("y", 1), "from 0"),
        ([1], [10**5000], True, ("y", 0), "from 0"),
        ([1, 2], [0, 1.0], True, ("y", 1), "whole number"),
        ([1, 2], [0, True], True, ("y", 1), "whole number"),
    ],
)
def test_inline_data_that_cannot_be_is_refused_at_its_place(
    x: Any, y: Any, classes: bool, path: tuple[str | int, ...], message: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        inline(x, y, classes)
    assert caught.value.path == path
    assert message in str(caught.value)


nested = st.recursive(
    st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(nested, max_size=4), st.lists(nested, max_size=4), st.booleans())
def test_inline_gives_a_table_or_a_data_error(x: list[Any], y: list[Any], classes: bool) -> None:
    try:
        table = inline(x, y, classes)
    except ArgumentError:
        return
    assert len(table.x) == len(table.y) == len(x)


# --- files


def csv_file(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_house_price_reads() -> None:
    table = read_file(HOUSES, ["area", "age"], "price", classes=False)
    assert (table.x.shape, table.y.shape) == ((200, 2), (200, 1))
    design = np.column_stack([table.x, np.ones(200)])
    area, age, _ = np.linalg.lstsq(design, table.y[:, 0], rcond=None)[0]
    assert area == pytest.approx(3.1, abs=0.1)
    assert age == pytest.approx(-1.4, abs=0.3)


def test_csv_takes_a_byte_order_mark_quotes_blanks_and_any_line_end(tmp_path: Path) -> None:
    path = csv_file(tmp_path, '\ufeffa, b ,"c"\r\n1, 2,"3"\r\n\r\n4e0,5,-6\r\n')
    table = read_file(path, None, "b", classes=False)
    assert (table.features, table.targets) == (("a", "c"), ("b",))
    assert table.x.tolist() == [[1, 3], [4, -6]]
    assert table.y.tolist() == [[2], [5]]


def test_a_csv_column_that_is_not_wanted_may_hold_text(tmp_path: Path) -> None:
    table = read_file(csv_file(tmp_path, 'a,town,y\n1,"Ulm, Donau",2\n3,Kiel,4.5\n'), ["a"], "y", classes=False)
    assert (table.x.tolist(), table.y.tolist()) == ([[1], [3]], [[2], [4.5]])


def test_features_keep_the_order_asked_for(tmp_path: Path) -> None:
    table = read_file(csv_file(tmp_path, "a,b,c\n1,2,3\n"), ["c", "a"], ["b", "a"], classes=False)
    assert (table.x.tolist(), table.y.tolist()) == ([[3, 1]], [[2, 1]])


def test_a_class_column_becomes_indices_and_several_probabilities(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,k,p,q\n1,0,.5,.5\n2,2,1,0\n")
    indices = read_file(path, ["a"], "k", classes=True)
    assert (indices.y.tolist(), indices.y.dtype.name, indices.classes) == ([0, 2], "int64", 3)
    assert read_file(path, ["a"], ["p", "q"], classes=True).classes == 2


@pytest.mark.parametrize(
    ("text", "features", "target", "message"),
    [
        ("", None, "y", "is empty"),
        ("x,y\n", None, "y", "no rows"),
        ("x,y\n1,2\n\n3,abc\n", None, "y", "line 4, column 'y': 'abc' is not a number"),
        ("x,y\n1,2\nNAN,3\n", None, "y", "line 3, column 'x': 'NAN' is not a finite number"),
        ('x,y\n1,2\n"7,4",3\n', None, "y", "line 3, column 'x': '7,4' is not a number: a decimal comma?"),
        ("a;y\n7,4;2\n7.5;2\n", None, "y", "line 2, column 'a': '7,4' is not a number: a decimal comma?"),
        ("a;y\n7,400;2\n", None, "y", "'7,400' could be a thousand or a bit more than one"),
        ("1.5,2\n3,4\n", None, "2", "line 1 holds numbers"),
        (",x,y\n0,1,2\n", None, "y", "column 1 has no name, like the index that pandas writes"),
        ("x,y\n1_000,2\n", None, "y", "'1_000' is not a number"),
        ("x,y\n\x1b[2J,2\n", None, "y", r"'\x1b[2J' is not a number"),
        ("x,y\n1,2\n3\n", None, "y", "line 3 has 1 cells, the header has 2"),
        ("x,y\n1,2,3\n", None, "y", "line 2 has 3 cells"),
        ("x,x,y\n1,2,3\n", None, "y", "'x' stands twice"),
        ("area,price\n1,2\n", ["aera"], "price", "Did you mean 'area'?"),
        ("area,price\n1,2\n", ["area"], "prize", "Did you mean 'price'?"),
        ("y\n1\n", None, "y", "no column is left"),
        ("x,y\n1,2\n", [], "y", "no column is left"),
        (b"x,y\n1,\xff\x00\n", None, "y", "not UTF-8"),
        (b"\xff\xfex,y", None, "y", "not UTF-16 text"),
        ('x,y\n1,"2', None, "y", "line 2: unexpected end of data"),
        ('"x,y\n1,2\n', None, "y", "line 1: unexpected end of data"),
        ("x,y\n١,2\n", None, "y", "line 2, column 'x'"),
        ("x," * 10_000 + "y\n", None, "y", "10,001 columns"),
        ("x,y\n" + "a" * 200_000 + ",2\n", None, "y", "line 2"),
    ],
)
def test_a_csv_file_that_cannot_be_used_says_where(
    tmp_path: Path, text: str | bytes, features: list[str] | None, target: str, message: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_file(csv_file(tmp_path, text), features, target, classes=False)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_of_many_missing_columns_all_are_told_and_the_first_are_compared(tmp_path: Path) -> None:
    """Comparing takes a millisecond per column of the file: with 9,000 it would be an hour."""
    wanted = [f"c_{k}" for k in range(9_000)]
    path = csv_file(tmp_path, ",".join(name.replace("_", "") for name in [*wanted, "y"]) + "\n" + "1," * 9_000 + "2\n")
    with pytest.raises(ArgumentError) as caught:
        read_file(path, wanted, "why", classes=False)
    errors = [caught.value, *caught.value.others]
    assert [error.path for error in errors] == [*(("features", k) for k in range(9_000)), ("target",)]
    assert [error.hint for error in errors[:5]] == [f"Did you mean 'c{k}'?" for k in range(5)]
    assert {error.hint for error in errors[5:]} == {""}


@pytest.mark.parametrize("label", ["1.5", "-1", "1e300"])
def test_a_label_that_is_no_class_index_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(ArgumentError, match="row 2, column 'k': a class index") as caught:
        read_file(csv_file(tmp_path, f"x,k\n1,0\n2,{label}\n"), None, "k", classes=True)
    assert caught.value.path == ("target",)


def test_a_name_may_hold_line_breaks_and_the_lines_below_are_counted_on(tmp_path: Path) -> None:
    path = csv_file(tmp_path, '"size\n(m2)",y\n7.5,1\n8,x\n')
    with pytest.raises(ArgumentError, match="line 4, column 'y': 'x' is not a number"):
        read_file(path, None, "y", classes=False)
    good = csv_file(tmp_path, '"size\n(m2)",y\n7.5,1\n8,2\n')
    assert read_file(good, None, "y", classes=False).x.tolist() == [[7.5], [8.0]]


@pytest.mark.parametrize("cells", ["1,2\n3,4\n", '1,"2"\n3,4\n'])  # numpy's reader, and cell by cell
def test_a_file_without_a_header_has_columns_by_number(tmp_path: Path, cells: str) -> None:
    table = read_file(csv_file(tmp_path, cells), None, "c2", classes=False, header=False)
    assert (table.x.tolist(), table.y.tolist()) == ([[1.0], [3.0]], [[2.0], [4.0]])
    named = read_file(csv_file(tmp_path, cells), None, "2", classes=False, header=True)
    assert (named.x.tolist(), named.y.tolist()) == ([[3.0]], [[4.0]])


def test_listed_features_leave_an_unnamed_column_out(tmp_path: Path) -> None:
    path = csv_file(tmp_path, ",x,y\n0,1,2\n1,3,4\n")
    assert read_file(path, ["x"], "y", classes=False).x.tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_numpy_does_not_write_is_refused_unread(tmp_path: Path, compression: int) -> None:
    np.savez(tmp_path / "plain.npz", x=np.zeros(10**6), y=np.zeros(10**6))
    with zipfile.ZipFile(tmp_path / "plain.npz") as plain, zipfile.ZipFile(tmp_path / "b.npz", "w", compression) as b:
        for name in plain.namelist():
            b.writestr(name, plain.read(name))
    with pytest.raises(ArgumentError, match="packed by another way"):
        read_file(tmp_path / "b.npz", None, "y", classes=False)


def test_integers_of_one_byte_that_are_too_many_in_float64_are_told_as_such(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "u.npz", x=np.zeros((25_000, 3_072), np.uint8), y=np.zeros(25_000))
    with pytest.raises(ArgumentError, match="614,400,000 bytes in float64, more than 536,870,912"):
        read_file(tmp_path / "u.npz", None, "y", classes=False)


def test_a_missing_feature_is_named_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_file(csv_file(tmp_path, "a,b\n1,2\n"), ["a", "c"], "b", classes=False)
    assert caught.value.path == ("features", 1)


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(csv_file(tmp_path, "x,y\n1,2\n"))
    monkeypatch.setattr(data_files, "MAX_FILE_BYTES", 10)
    csv_file(tmp_path, "x,y\n1,2\n3,4\n", "large.csv")
    cases = {
        "none.csv": "there is no file",
        "folder.csv": "directory",
        "pipe.csv": "not a regular file",
        "link.csv": "it is a link",
        "large.csv": "12 bytes, more than 10",
        "t.txt": "must end in .csv, .tsv, .npz or .parquet",
        "\0.csv": "cannot read",
    }
    for name, message in cases.items():
        with pytest.raises(ArgumentError, match=message):
            read_file(tmp_path / name, None, "y", classes=False)


@pytest.mark.slow
def test_a_hundred_thousand_rows_read_in_a_moment(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((100_000, 3))
    text = "a,b,y\n" + "".join(f"{a!r},{b!r},{y!r}\n" for a, b, y in values.tolist())
    path = csv_file(tmp_path, text)
    table = read_file(path, None, "y", classes=False)
    assert np.array_equal(np.column_stack([table.x, table.y]), values)
    assert fastest(lambda: read_file(path, None, "y", classes=False), 3) < 3  # a third of a second on a slow idle core


def npz_file(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "t.npz", **arrays)
    return folder / "t.npz"


def test_npz_arrays_are_columns_or_matrices(tmp_path: Path) -> None:
    path = npz_file(tmp_path, x=np.arange(6, dtype=np.int32).reshape(3, 2), a=np.ones(3), y=np.array([0, 1, 1]))
    table = read_file(path, None, "y", classes=True)
    assert table.features == ("x[0]", "x[1]", "a")
    assert table.x.tolist() == [[0, 1, 1], [2, 3, 1], [4, 5, 1]]
    assert (table.y.tolist(), table.classes) == ([0, 1, 1], 2)
    assert read_file(path, ["x"], "a", classes=False).x.shape == (3, 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones(3), "y": np.ones(2)}, "the features have 3 rows"),
        ({"x": np.ones(3), "a": np.ones(2), "y": np.ones(3)}, "columns of different length"),
        ({"x": np.array([print, None, 1], dtype=object), "y": np.ones(3)}, "holds object"),
        ({"x": np.array([["a"]]), "y": np.ones(1)}, "of text has shape (1, 1), not [n]"),
        ({"x": np.ones(3) * 1j, "y": np.ones(3)}, "not real numbers"),
        (
            {"x": np.ones((2, 2, 2)), "y": np.ones(2)},
            "not [n] or [n, d]. Rows are flat: reshape it to [n, d]; data.shape",
        ),
        ({"x": np.ones((0, 2)), "y": np.ones(0)}, "not [n] or [n, d]"),
        ({"x": np.ones(3), "z": np.ones(3)}, "no column 'y'"),
    ],
)
def test_an_npz_file_that_cannot_be_used_is_refused(tmp_path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_file(npz_file(tmp_path, **arrays), None, "y", classes=False)
    assert message in str(caught.value)


def test_an_array_that_claims_a_huge_shape_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    with pytest.raises(ArgumentError, match="larger than the file may hold"):
        read_file(tmp_path / "bomb.npz", ["x"], "y", classes=False)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_npz_file_gives_a_table_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int
) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.arange(4.0), y=np.arange(4.0))
    content = bytearray(stream.getvalue())
    content[place % len(content)] ^= flip
    path = csv_file(tmp_path_factory.getbasetemp(), bytes(content), "damaged.npz")
    try:
        assert read_file(path, ["x"], "y", classes=False).x.shape == (4, 1)
    except ArgumentError as error:
        assert str(error).isprintable()  # noqa: PT017  either outcome is right


# --- data sets


@pytest.mark.parametrize(
    ("name", "rows", "columns", "classes"),
    [
        ("iris", 150, 4, 3),
        ("wine", 178, 13, 3),
        ("digits", 1797, 64, 10),
        ("breast_cancer", 569, 30, 2),
        ("diabetes", 442, 10, 0),
    ],
)
def test_a_data_set_has_its_known_size(name: Any, rows: int, columns: int, classes: int) -> None:
    table = dataset(name)
    assert table.x.shape == (rows, columns)
    assert (table.x.dtype.name, table.classes, len(table.features)) == ("float64", classes, columns)
    assert table.y.shape == ((rows,) if classes else (rows, 1))
    if classes:
        assert np.unique(table.y).tolist() == list(range(classes))


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MachineError, match=r'pip install "gradient-descent-cli\[datasets\]"'):
        dataset("iris")


# --- preparation


def test_standardize_by_hand() -> None:
    x = np.array([[1, 0.1], [3, 0.1], [5, 0.1]])
    mean, deviation = scale(x)
    assert mean.tolist() == [3, 0.1]
    assert deviation.tolist() == [math.sqrt(8 / 3), 1]
    fitted = Preprocessing((Feature("a"), Feature("b"))).standardized(x)
    assert fitted.scaled(x).tolist() == [[-2 / math.sqrt(8 / 3), 0], [0, 0], [2 / math.sqrt(8 / 3), 0]]


def test_other_rows_take_the_training_rows_scale() -> None:
    fitted = Preprocessing((Feature("a"),)).standardized(np.array([[0.0], [2.0]]))
    assert fitted.scaled(np.array([[4.0]])).tolist() == [[3]]


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 2**63 - 1))
def test_a_split_is_a_partition_in_the_tables_order(n: int, fraction: float, seed: int) -> None:
    if not 1 <= round(fraction * n) < n:
        with pytest.raises(ArgumentError, match="leaves no row"):
            parts_of(n, Wanted(fraction), generator(seed, "split"))
        return
    parts = parts_of(n, Wanted(fraction), generator(seed, "split"))
    assert parts.validation is not None
    assert len(parts.validation) == round(fraction * n)
    for part in (parts.training, parts.validation):
        assert (np.diff(part) > 0).all()
    assert sorted([*parts.training, *parts.validation]) == list(range(n))


def test_class_indices_become_a_column_of_numbers() -> None:
    table = tables.as_numbers(made("xor"))
    assert (table.y.tolist(), table.classes) == ([[0.0], [1.0], [1.0], [0.0]], 0)


def test_a_data_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ArgumentError(("x", 1), "an empty row")))
    assert (error.path, str(error)) == (("x", 1), "an empty row")


def test_the_digest_is_of_the_bytes_that_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is opened once: what is put in its place meanwhile, a link too, is not what is hashed."""
    path, content = csv_file(tmp_path, "x,y\n1,2\n3,4\n"), b"x,y\n1,2\n3,4\n"
    other = tmp_path / "other"
    other.write_bytes(b"x,y\n9,9\n")
    opened = os.open

    def replaced(*arguments: Any, **more: Any) -> int:
        file = opened(*arguments, **more)
        if str(arguments[0]) == str(path):
            path.unlink()
            path.symlink_to(other)
        return file

    monkeypatch.setattr(os, "open", replaced)
    table = read_file(path, None, "y", classes=False)
    assert table.x.tolist() == [[1], [3]]
    assert table.sha256 == hashlib.sha256(content).hexdigest()
