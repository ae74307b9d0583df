"""Parquet files to columns, by pyarrow: in batches, against the sizes that the file states of itself."""

from __future__ import annotations

from collections import Counter
from io import BufferedReader
from typing import Any

import numpy as np

from gdcli.errors import MachineError
from gdcli.zoo.columns import MAX_WORDS, MISSING, Column, TooManyWordsError, Words, by_number, not_a_word, number_of
from gdcli.zoo.csv_table import MAX_COLUMNS, Choose
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import brief

_BATCH = 65_536  # rows


def require_pyarrow(what: str) -> None:
    """Raise MachineError where pyarrow is not installed."""
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401  it ships no types
    except ImportError:
        command = "pip install 'gradient-descent-cli[parquet]'"
        raise MachineError(f"{what} needs pyarrow, which is not installed: {command}") from None


def read_parquet(stream: BufferedReader, choose: Choose, most_bytes: int) -> dict[str, Column]:
    """Return the columns that ``choose`` picks: numbers and booleans as float64, text as words; null is missing.

    Raises ArgumentError for a damaged file, one that states more than ``most_bytes`` or holds more rows than it
    states, and for columns of another type or of the same name; MachineError without pyarrow.
    """
    require_pyarrow("the Parquet file")
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(stream, memory_map=False, pre_buffer=False, page_checksum_verification=True)
        known = file.schema_arrow.names
        if len(known) > MAX_COLUMNS:
            raise ArgumentError(("file",), f"{len(known):,} columns, more than {MAX_COLUMNS:,}")
        wanted = choose(known)
        counts = Counter(known)
        if twice := [name for name in wanted if counts[name] > 1]:
            raise ArgumentError(("file",), f"the column {brief(twice[0])} stands twice in the file")
        _require_bounds(file.metadata, wanted, most_bytes)
        kinds = {name: _kind(file.schema_arrow.field(name).type, name) for name in wanted}
        words = [name for name in wanted if kinds[name] == "words"]
        _require_listed(file.metadata, words)
        # As numbers of a list of texts: a text that stands in the file once is not repeated for each of its rows.
        file = parquet.ParquetFile(
            stream, metadata=file.metadata, read_dictionary=words, memory_map=False, pre_buffer=False,
            page_checksum_verification=True,
        )  # fmt: skip
        return _columns(file, wanted, kinds, most_bytes)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(("file",), f"not a readable Parquet file ({type(error).__name__})") from None


def _require_bounds(metadata: Any, wanted: list[str], most_bytes: int) -> None:
    rows, size, names = metadata.num_rows, 0, set(wanted)
    for group in range(metadata.num_row_groups):
        chunks = metadata.row_group(group)
        for k in range(chunks.num_columns):
            chunk = chunks.column(k)
            if chunk.path_in_schema in names:
                size += max(chunk.total_uncompressed_size, 0)
    needed = max(8 * rows * len(wanted), size)
    if rows < 1:
        raise ArgumentError(("file",), "no rows")
    if needed > most_bytes:
        raise ArgumentError(("file",), f"{rows:,} rows of {len(wanted):,} columns take {needed:,} bytes, "
                            f"more than {most_bytes:,}")  # fmt: skip


def _require_listed(metadata: Any, words: list[str]) -> None:
    """Raise ArgumentError for text that is packed so that its size stands nowhere and it cannot be read as a list."""
    for group in range(metadata.num_row_groups):
        chunks = metadata.row_group(group)
        for k in range(chunks.num_columns):
            chunk = chunks.column(k)
            if chunk.path_in_schema in words and "DELTA_BYTE_ARRAY" in chunk.encodings:
                what = f"the text of column {brief(chunk.path_in_schema)} is packed as DELTA_BYTE_ARRAY"
                raise ArgumentError(("file",), f"{what}, which is not read: write it plain or as a dictionary")


def _kind(given: Any, name: str) -> str:
    from pyarrow import types

    inner = given.value_type if types.is_dictionary(given) else given
    if types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner) or types.is_decimal(inner):
        return "numbers"
    if types.is_null(inner):  # what pandas writes of a column without a cell
        return "numbers"
    if types.is_string(inner) or types.is_large_string(inner):
        return "words"
    raise ArgumentError(("file",), f"column {brief(name)} holds {brief(str(given))}, neither numbers nor text")


def _columns(file: Any, wanted: list[str], kinds: dict[str, str], most_bytes: int) -> dict[str, Column]:
    """Read batch by batch. Raises ArgumentError for more rows or text than there may be."""
    stated, row, text = file.metadata.num_rows, 0, 0
    numbers = {name: np.empty(stated) for name in wanted if kinds[name] == "numbers"}
    codes = {name: np.empty(stated, np.int32) for name in wanted if kinds[name] == "words"}
    words: dict[str, dict[str, int]] = {name: {} for name in codes}
    for batch in file.iter_batches(_BATCH, columns=wanted, use_threads=False):
        end, text = row + batch.num_rows, text + batch.nbytes
        if end > stated or text > 8 * most_bytes:
            raise ArgumentError(("file",), "holds more than it states")
        for name in wanted:
            column = batch.column(batch.schema.get_field_index(name))
            if name in numbers:
                numbers[name][row:end] = _floats(column)
            else:
                codes[name][row:end] = _codes(column, words[name], name, row)
        row = end
    if row != stated:
        raise ArgumentError(("file",), "holds fewer rows than it states")
    for name, column in numbers.items():
        if np.isinf(column).any():
            where = int(np.isinf(column).argmax()) + 1
            raise ArgumentError(("file",), f"row {where}, column {brief(name)}: not a finite number")
    return {name: numbers[name] if name in numbers else Words(codes[name], tuple(words[name])) for name in wanted}


def _floats(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _codes(column: Any, words: dict[str, int], name: str, first: int) -> Any:
    """Return the codes [n] of a batch of text from row ``first`` on; new words are added to ``words``."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if len(column.dictionary) > MAX_WORDS:
        raise TooManyWordsError(name, len(column.dictionary))
    found = [value.strip() for value in column.dictionary.to_pylist()]
    indices = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    for place, value in enumerate(found):
        if number_of(value) is None and value not in MISSING and (what := not_a_word(value)):
            row = by_number(first + int((indices == place).argmax()))
            raise ArgumentError(("file",), f"{row}, column {brief(name)}: {what}")
    again = [-1 if value in MISSING else words.setdefault(value, len(words)) for value in found]
    if len(words) > MAX_WORDS:
        raise TooManyWordsError(name, len(words))
    return np.array([*again, -1], np.int32)[indices]
