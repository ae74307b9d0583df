"""Tables as they come, against pandas: separators, decimal signs, encodings, text, missing cells; Parquet and IDX."""

from __future__ import annotations

import gzip
import io
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from gdcli.zoo import csv_table
from gdcli.zoo.columns import BadCellsError, RawTable, Words
from gdcli.zoo.csv_dialect import CsvFormat, Kinds
from gdcli.zoo.data_files import read_columns
from gdcli.zoo.idx_files import read_idx
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Preprocessing
from gdcli.zoo.targets import targets_of
from tests.timing import ratio


@pytest.fixture(params=["pyarrow", "cell by cell"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both readers, of small files too."""
    monkeypatch.setattr(csv_table, "ARROW_BYTES", 0 if request.param == "pyarrow" else 10**12)
    return str(request.param)


def values(raw: RawTable, name: str) -> list[Any]:
    column = raw.columns[name]
    if isinstance(column, Words):
        return [column.values[code] if code >= 0 else None for code in column.codes]
    return [None if np.isnan(value) else value for value in column]


def read(path: Path, text: str | bytes, *, target: str = "y", **given: Any) -> RawTable:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_columns(path, None, [target], CsvFormat(**given))


def table(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    found = pd.DataFrame(rng.normal(size=(rows, 2)) * [[1, 1e9]], columns=["a", "b"])
    found["town"] = rng.choice(["Ulm, Donau", "Köln", 'the "Hague"', "x;y"], rows)
    found["y"] = rng.normal(size=rows)
    found.loc[rng.choice(rows, 20, replace=False), "a"] = np.nan
    found.loc[rng.choice(rows, 20, replace=False), "town"] = np.nan
    return found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", ","), (";", "."), ("\t", "."), ("\t", ","), ("|", ".")]
)
def test_what_pandas_writes_is_read_as_it_was(
    tmp_path: Path, reader: str, separator: str, decimal: str, encoding: str
) -> None:
    written = table()
    text = written.to_csv(index=False, sep=separator, decimal=decimal).encode(encoding)
    found = read(tmp_path / "t.csv", text)
    for name in ("a", "b", "y"):
        assert values(found, name) == [None if np.isnan(value) else value for value in written[name]]
    assert values(found, "town") == [None if isinstance(word, float) else word for word in written["town"]]
    assert bool(found.notes) == (encoding == "cp1252")


@pytest.mark.parametrize("cell", ["", " ", "NA", "NaN", "null", "n/a", "<NA>", "None"])
def test_missing_cells_are_those_of_pandas(tmp_path: Path, reader: str, cell: str) -> None:
    text = f"a,town,y\n1,Ulm,2\n{cell},{cell},3\n"
    expected = pd.read_csv(io.StringIO(text), skipinitialspace=True)
    found = read(tmp_path / "t.csv", text)
    assert expected.a.isna().tolist() == [value is None for value in values(found, "a")] == [False, True]
    assert values(found, "town") == ["Ulm", None]


@pytest.mark.parametrize("text", ["a,y\n1,2\n3,5\n", "town,y\nUlm,2\nBonn,5\n", "é;y\n1,5;2\n2,5;5\n"])
def test_a_mark_of_utf_8_is_no_part_of_the_table(tmp_path: Path, reader: str, text: str) -> None:
    marked = read(tmp_path / "marked.csv", text.encode("utf-8-sig"))
    plain = read(tmp_path / "plain.csv", text)
    assert marked.features == plain.features
    assert len(marked) == len(plain) == 2
    for name in plain.columns:
        assert values(marked, name) == values(plain, name)


@pytest.mark.parametrize(
    "text",
    [
        'y, town, a\n1, "Ulm", 3\n2, "", NA\n',
        'y,town,a\n1, "Ulm, Donau",3\n2,"the ""Hague""", NA\n',
        "y, town, a\n1, Ulm, 3\n2, NA, NA\n",
    ],
)
def test_blanks_before_a_cell_are_no_part_of_it(tmp_path: Path, reader: str, text: str) -> None:
    expected = pd.read_csv(io.StringIO(text), skipinitialspace=True)
    found = read(tmp_path / "t.csv", text)
    for name in ("y", "town", "a"):
        assert values(found, name) == [None if pd.isna(value) else value for value in expected[name]]


@pytest.mark.parametrize("row", ['"Ulm" ,1,2', '"Ulm"x,1,2'])
def test_characters_behind_a_quoted_cell_are_refused_however_it_is_read(tmp_path: Path, reader: str, row: str) -> None:
    with pytest.raises(ArgumentError, match=r"^line 2: "):
        read(tmp_path / "t.csv", f'town,a,y\n{row}\n"Bonn",,3\n')


def test_a_separator_may_be_any_sign(tmp_path: Path, reader: str) -> None:
    found = read(tmp_path / "t.csv", "a§y\n1§2\n3§5\n", separator="§")
    assert values(found, "a") == [1.0, 3.0]


def prepared(path: Path) -> Preprocessing:
    raw = read_columns(path, None, ["y"], kinds=Kinds(words=("town",)))
    return Preprocessing.fit(raw.columns, raw.features)


@pytest.mark.parametrize(("word", "message"), [("x" * 129, "128 characters"), ("\x1b[31m", "not seen")])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_word_that_no_record_keeps_is_refused(tmp_path: Path, ending: str, word: str, message: str) -> None:
    path, frame = tmp_path / f"t.{ending}", pd.DataFrame({"town": [word, "Ulm"], "y": [1.0, 2.0]})
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    with pytest.raises(ArgumentError, match=message):
        prepared(path)


def test_a_tsv_file_is_parted_by_tabs(tmp_path: Path) -> None:
    found = read(tmp_path / "t.tsv", "a, b\ty\n1\t2\n")
    assert values(found, "a, b") == [1]


def test_separator_and_decimal_sign_can_be_given(tmp_path: Path, reader: str) -> None:
    found = read(tmp_path / "t.csv", "a:y\n1,234:2\n", separator=":", decimal=",")
    assert values(found, "a") == [1.234]


def test_at_most_twenty_bad_cells_are_told_and_the_rest_is_counted_by_column(tmp_path: Path, reader: str) -> None:
    rows = [f"{'x' if k % 2 else k},{'?' if k % 5 == 1 else k}" for k in range(100)]
    with pytest.raises(BadCellsError) as caught:
        read(tmp_path / "t.csv", "\n".join(["a,y", "", *rows]))
    *told, last = caught.value.messages
    bad = [(k + 3, name) for k in range(100) for name, wrong in (("a", k % 2), ("y", k % 5 == 1)) if wrong]
    assert [message.split(":")[0] for message in told] == [f"line {line}, column '{name}'" for line, name in bad[:20]]
    assert last.startswith("these are the first 20 of 70 cells that cannot be used: 'a' 50, 'y' 20. data.categories")


def test_lines_are_counted_through_cells_with_line_breaks(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text('town,a,y\n"Bad\nEms",1,1\nUlm,2,2\nKiel,3,?\n')
    with pytest.raises(BadCellsError, match=r"^line 5, column 'y': '\?' is not a number$"):
        read_columns(path, ["a"], ["y"])
    with pytest.raises(BadCellsError, match="no word with characters that are not seen"):
        read_columns(path, ["town"], ["a"])


def test_text_that_is_no_text_in_the_first_rows_is_text_all_the_same(tmp_path: Path, reader: str) -> None:
    found = read(tmp_path / "t.csv", "town,y\n" + ",1\n" * 200_00 + "Ulm,2\n")
    assert values(found, "town")[-2:] == [None, "Ulm"]


def test_a_number_late_in_a_column_of_text_makes_the_text_bad(tmp_path: Path, reader: str) -> None:
    with pytest.raises(BadCellsError, match="'town' 20,000") as caught:
        read(tmp_path / "t.csv", "town,y\n" + "Ulm,1\n" * 20_000 + "7,2\n")
    assert caught.value.messages[0] == "line 2, column 'town': 'Ulm' is not a number"
    path = tmp_path / "t.csv"
    assert values(read_columns(path, None, ["y"], kinds=Kinds(words=("town",))), "town")[-2:] == ["Ulm", "7"]


def test_text_of_too_many_values_is_refused(tmp_path: Path, reader: str) -> None:
    with pytest.raises(ArgumentError, match=r"column 'id' has 10,00\d different values, more than 10,000"):
        read(tmp_path / "t.csv", "id,y\n" + "".join(f"n{k},1\n" for k in range(10_001)))


@pytest.mark.parametrize("wanted", ["id", "y"])
def test_too_many_values_of_a_target_are_told_as_of_classes(tmp_path: Path, wanted: str, reader: str) -> None:
    (tmp_path / "t.csv").write_text("id,y\n" + "".join(f"n{k},1\n" for k in range(10_001)))
    said = r"more than 10,000, the most classes that a target may have: are they numbers .* or ids of the rows\?$"
    with pytest.raises(ArgumentError, match=said if wanted == "id" else "of a column of text: leave it out") as caught:
        read_columns(tmp_path / "t.csv", None, [wanted])
    assert caught.value.path == (("target",) if wanted == "id" else ("file",))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_too_many_numbers_as_classes_are_told_as_of_a_target() -> None:
    with pytest.raises(ArgumentError, match=r"has 10,001 different values, .*values for a loss such as mse"):
        targets_of({"y": np.arange(10_001) + 7.0}, ["y"], "classes", maps=True)


# --- large files


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("large") / "large.csv"
    pd.DataFrame(rng.normal(size=(1_000_000, 10)).round(6), columns=[*"abcdefghi", "y"]).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_million_rows_are_read_in_twice_the_time_of_pandas(large: Path) -> None:
    """Processor time, side by side; with half of it more for a machine that is not idle."""
    ours = read_columns(large, None, ["y"])
    theirs = pd.read_csv(large)
    assert all(np.array_equal(ours.columns[name], theirs[name]) for name in theirs)  # type: ignore[arg-type]
    assert ratio(lambda: read_columns(large, None, ["y"]), lambda: pd.read_csv(large), 2.5) < 2.5


@pytest.mark.slow
def test_a_bad_cell_in_the_last_line_of_100_mb_is_told_in_the_same_bounds(large: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(large.read_bytes() + b"1,2,3,4,5,6,7,8,9,oops\n")

    def refused() -> None:
        with pytest.raises(BadCellsError, match=r"^line 1000002, column 'y': 'oops' is not a number$"):
            read_columns(path, None, ["y"])

    assert ratio(refused, lambda: pd.read_csv(large), 2.5) < 2.5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process's memory is read there")
def test_a_million_rows_take_less_than_a_gibibyte(large: Path) -> None:
    program = (
        "import re, sys\nfrom pathlib import Path\nfrom gdcli.spec.document import read\n"
        "from gdcli.spec.load import load\nfrom gdcli.spec.schema import parse\n"
        "data = '{file: %s, target: y, standardize: true, validation: 0.2}' % sys.argv[1]\n"
        "spec = '{data: %s, model: linear, loss: mse, optimizer: sgd}' % data\n"
        "load(parse(read(spec, 'f'), 't'), Path())\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    answer = subprocess.run([sys.executable, "-c", program, large], capture_output=True, text=True, check=True)
    assert int(answer.stdout) * 1024 < 1024**3


# --- Parquet


def test_parquet_columns_are_numbers_and_words(tmp_path: Path) -> None:
    written = table()
    written["whole"] = np.arange(len(written), dtype=np.int32)
    written["flag"] = written.a > 0
    written["kind"] = pd.Categorical(np.where(written.b > 0, "up", "down"))
    written.to_parquet(tmp_path / "t.parquet", row_group_size=37)
    found = read_columns(tmp_path / "t.parquet", None, ["y"])
    for name in ("a", "b", "y", "whole", "flag"):
        assert values(found, name) == [None if value != value else float(value) for value in written[name]]
    assert values(found, "kind") == written["kind"].tolist()
    assert values(found, "town") == [None if isinstance(word, float) else word for word in written["town"]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1.0], [2.0]]), "neither numbers nor text"),
        (pa.array([b"a", b"b"]), "neither numbers nor text"),
        (pa.array([1.0, float("inf")]), "row 2, column 'a': not a finite number"),
        (pa.array(["up", "\x1b[31m"]), "row 2, column 'a': '\\x1b[31m' is not a number, and no word with characters"),
        (pa.array(["up", "u" * 129]), "row 2, column 'a': 'uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu... is not a number"),
    ],
)
def test_parquet_columns_of_another_type_are_refused(tmp_path: Path, column: Any, message: str) -> None:
    parquet.write_table(pa.table({"a": column, "y": [1.0, 2.0]}), tmp_path / "t.parquet")
    with pytest.raises(ArgumentError) as caught:
        read_columns(tmp_path / "t.parquet", None, ["y"])
    assert message in str(caught.value)


def test_a_parquet_file_of_few_bytes_and_many_rows_is_refused_before_they_are_made(tmp_path: Path) -> None:
    many = pa.array(np.zeros(70_000_000, np.int8))
    parquet.write_table(pa.table({"a": many, "y": many}), tmp_path / "t.parquet", compression="zstd")
    assert (tmp_path / "t.parquet").stat().st_size < 1_000_000
    with pytest.raises(ArgumentError, match=r"70,000,000 rows of 2 columns take 1,120,000,000 bytes, more than"):
        read_columns(tmp_path / "t.parquet", None, ["y"])


def test_a_text_that_a_parquet_file_has_once_is_not_repeated_for_its_rows(tmp_path: Path) -> None:
    long = pa.array(["A" * 100_000]).dictionary_encode().take(pa.array(np.zeros(30_000, np.int64)))  # 3 GB as text
    columns = pa.table({"a": long, "y": np.zeros(30_000)})
    parquet.write_table(columns, tmp_path / "t.parquet", store_schema=False)
    assert (tmp_path / "t.parquet").stat().st_size < 100_000
    program = (
        "import re, sys\nfrom pathlib import Path\nfrom gdcli.zoo.data_files import read_columns\n"
        "try:\n    read_columns(Path(sys.argv[1]), None, ['y'])\nexcept ValueError as error:\n    print(error)\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "t.parquet")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "row 1, column 'a'" in answer[0]
    assert "a word has at most 128 characters" in answer[0]
    assert int(answer[1]) * 1024 < 512 * 1024**2


def test_text_of_a_parquet_file_whose_size_it_does_not_state_is_refused(tmp_path: Path) -> None:
    columns = pa.table({"a": ["u", "v"], "y": [1.0, 2.0]})
    packed = {"a": "DELTA_BYTE_ARRAY"}
    parquet.write_table(columns, tmp_path / "t.parquet", use_dictionary=False, column_encoding=packed)
    with pytest.raises(ArgumentError, match=r"the text of column 'a' is packed as DELTA_BYTE_ARRAY"):
        read_columns(tmp_path / "t.parquet", None, ["y"])


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    one = pa.array([1.0, 2.0])
    parquet.write_table(pa.table([one, one, one], names=["a", "a", "y"]), tmp_path / "t.parquet")
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive, warnings.catch_warnings(action="ignore"):
        np.save(content := io.BytesIO(), np.ones(2))
        for name in ("a.npy", "a.npy", "y.npy"):
            archive.writestr(name, content.getvalue())
    for name, what in (("t.parquet", "column"), ("t.npz", "array")):
        with pytest.raises(ArgumentError, match=f"the {what} 'a' stands twice in the file"):
            read_columns(tmp_path / name, None, ["y"])
        assert read_columns(tmp_path / name, ["y"], ["y"]).columns.keys() == {"y"}


def test_an_array_that_is_not_finite_is_told_with_its_row(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", a=[[1.0, 2.0], [3.0, np.inf]], y=[1.0, 2.0])
    with pytest.raises(ArgumentError, match=r"row 2, column 'a\[1\]': not a finite number"):
        read_columns(tmp_path / "t.npz", None, ["y"])


@pytest.mark.parametrize("place", range(0, 600, 23))
def test_a_damaged_parquet_file_gives_a_table_or_a_data_error(tmp_path: Path, place: int) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": [1.0, 2.0], "y": [1.0, 2.0]}), path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 255
    path.write_bytes(content)
    try:
        assert len(read_columns(path, ["a"], ["y"])) == 2
    except ArgumentError as error:
        assert str(error).isprintable()  # noqa: PT017  either outcome is right


# --- IDX


def idx(array: np.ndarray[Any, Any], kind: int = 8) -> bytes:
    head = bytes([0, 0, kind, array.ndim]) + b"".join(size.to_bytes(4) for size in array.shape)
    return head + array.tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 2), np.uint8)
LABELS = np.array([3, 1, 3, 9, 1], np.uint8)


@pytest.mark.parametrize("packed", [False, True])
def test_images_are_rows_of_pixels(tmp_path: Path, packed: bool) -> None:
    pack = gzip.compress if packed else bytes
    (tmp_path / "images").write_bytes(pack(idx(IMAGES)))
    (tmp_path / "labels").write_bytes(pack(idx(LABELS)))
    found = read_idx(tmp_path / "images", tmp_path / "labels")
    pixels = found.columns["pixel"]
    assert isinstance(pixels, np.ndarray)
    assert np.array_equal(pixels, IMAGES.reshape(5, 6))
    assert values(found, "label") == LABELS.tolist()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (idx(IMAGES)[:-1], "states the shape [5, 3, 2], and holds less"),
        (idx(IMAGES) + b"1", "states the shape [5, 3, 2], and holds more"),
        (gzip.compress(idx(IMAGES))[:-12], "is damaged (EOFError)"),
        (gzip.compress(idx(IMAGES) + bytes(10**7)), "and holds more"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "more than 536,870,912 bytes in float64"),
        (bytes([0, 0, 8, 3]) + bytes(12), "without a number"),
        (b"\x89PNG", "not an IDX file"),
        (bytes([0, 0, 7, 1, 0, 0, 0, 1, 0]), "not an IDX file"),
        (idx(LABELS), "has shape [5], not [n, height, width]"),
        (idx(IMAGES[:4]), "there are 4 images and 5 labels"),
        (idx(np.full((5, 1, 1), np.nan, ">f4"), 0x0D), "not finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_idx_files_that_cannot_be_used_are_refused(tmp_path: Path, images: bytes, message: str) -> None:
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(idx(LABELS))
    with pytest.raises(ArgumentError) as caught:
        read_idx(tmp_path / "images", tmp_path / "labels")
    assert message in str(caught.value)


def test_no_link_to_an_idx_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(idx(LABELS))
    (tmp_path / "images").symlink_to(tmp_path / "labels")
    with pytest.raises(ArgumentError, match="it is a link") as caught:
        read_idx(tmp_path / "images", tmp_path / "labels")
    assert caught.value.path == ("idx", "images")


@pytest.mark.parametrize("last", ["Köln,y", "Ulm,ö"])
@pytest.mark.parametrize("ignored", [(), ("note",)])
def test_what_is_not_utf_8_far_below_the_beginning_is_met_all_the_same(
    tmp_path: Path, last: str, ignored: tuple[str, ...]
) -> None:
    rows = "".join(f"{k},{k / 2},Ulm,x\n" for k in range(100_000))
    for encoding in ("utf-8", "cp1252"):
        file = tmp_path / f"{encoding}.csv"
        file.write_text(f"a,b,town,note\n{rows}1,2,{last}\n", encoding=encoding)
        found = read_columns(file, None, ["a"], ignored=ignored)
        assert bool(found.notes) == (encoding == "cp1252")
        towns, notes = found.columns["town"], found.columns.get("note")
        assert isinstance(towns, Words)
        assert towns.values[towns.codes[-1]] == last.partition(",")[0]
        assert ignored or (isinstance(notes, Words) and notes.values[notes.codes[-1]] == last.partition(",")[2])
