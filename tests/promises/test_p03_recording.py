"""P3, P8 and P9 for the forms of gradients: what a dead run leaves is whole rows, and it resumes to the same bytes."""

from __future__ import annotations

import errno
import json
import re
import shutil
import signal
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from tests.promises import crashing
from tests.promises.crashing import call, dying, failing, record_in, start, undisturbed
from tests.trials import trials

FORMS = ("csv", "npy", "parquet")
NARROW, WIDE = ("layers=[3,4,1]",), ("layers=[3,200,1]",)  # 21 and 1,001 scalars
WIDTHS = {"narrow": NARROW, "wide": WIDE}


def command(specs: Path, width: str, form: str) -> tuple[str, ...]:
    record = f"record={{gradients: values, format: {form}}}"
    return ("run", str(specs / "rows.yaml"), *WIDTHS[width], record, "epochs=19", "--no-plot")


def rows_of(content: bytes, form: str) -> list[bytes]:
    """Return the whole rows of a table, those of Parquet where it has its end."""
    if form == "csv":
        return content[: content.rfind(b"\n") + 1].splitlines()[1:]
    if form == "npy":
        return [row.tobytes() for row in np.load(BytesIO(content))] if content else []
    if content[-4:] != b"PAR1" or len(content) < 12:
        return []
    return [repr(row).encode() for row in parquet.read_table(BytesIO(content)).to_pylist()]


@pytest.fixture(scope="module")
def expected(specs: Path) -> dict[tuple[str, str], dict[str, bytes]]:
    return {
        (width, form): undisturbed(specs / f"{width}-{form}", *command(specs, width, form))
        for width in WIDTHS
        for form in FORMS
    }


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("form", FORMS)
def test_dead_at_calls_of_a_run(place: Path, specs: Path, expected: dict, width: str, form: str) -> None:
    """Also halfway through writes, of rows and of the header that counts them."""
    arguments, files = command(specs, width, form), expected[width, form]
    name, seen = f"gradients.{form}", 0
    whole = rows_of(files[name], form)
    with crashing.blocks(16):
        (place / "count").mkdir()
        assert call(place / "count", *arguments, within=crashing.counting(place / "count", place / "calls")).code == 0
        calls = json.loads((place / "calls").read_text())
        assert len(calls) > 100
        for at in range(1, len(calls), trials(len(calls) // 12, 1)):
            folder = place / str(at)
            folder.mkdir()
            half = at % 2 == 1 and calls[at][0] in ("write", "pwrite")
            assert call(folder, *arguments, within=dying(folder, at, half=half)).code == 9
            record = record_in(folder)
            left = rows_of((record / name).read_bytes(), form) if record and (record / name).exists() else []
            assert left == whole[: len(left)], at  # a prefix of whole rows
            seen = max(seen, len(left))
            ended = crashing.gone_on_with(folder, arguments)
            assert ended.code == 0, (at, ended)
            assert "is not used" not in ended.err, (at, ended)
            crashing.assert_same(folder, files, at)
            shutil.rmtree(folder)
    assert seen > (0 if form == "parquet" else 100)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_beside_the_loop_is_one_line(place: Path, specs: Path, expected: dict, form: str) -> None:
    """Once, or for good: the user is told the file, and there is nothing behind the rows that are missing."""
    arguments, files, told = command(specs, "wide", form), expected["wide", form], set()
    with crashing.blocks(16):
        for at in range(14, 1000, trials(17, 1)):
            folder = place / str(at)
            folder.mkdir()
            ended = call(folder, *arguments, within=failing(folder, at, errno.ENOSPC, for_good=at % 2 == 0))
            if ended.code == 0:
                break
            assert ended.code == 3, (at, ended)
            assert ended.err.count("\n") == 1, (at, ended)
            assert re.search(r"^cannot write .+: No space left on device \(\d[\d,]* bytes free\)", ended.err), ended
            told |= {form} & set(re.findall(r"gradients\.(\w+)", ended.err))
            again = crashing.gone_on_with(folder, arguments)
            assert again.code == 0, (at, again)
            crashing.assert_same(folder, files, at)
            shutil.rmtree(folder)
    assert trials(1, 0) or told


@pytest.mark.parametrize("form", FORMS)
def test_an_interrupted_run_leaves_a_table_that_is_whole(place: Path, specs: Path, expected: dict, form: str) -> None:
    arguments = command(specs, "wide", form)
    with crashing.blocks(16):
        child = start(place, *arguments, "epochs=4000", "checkpoint.every_seconds=60")
        child.kill(0.5, signal.SIGINT)
    assert child.wait().code == 130, child.ended
    record = record_in(place)
    assert record is not None
    steps = len((record / "steps.csv").read_text().splitlines()) - 1
    rows, whole = rows_of((record / f"gradients.{form}").read_bytes(), form), expected["wide", form]
    assert len(rows) == steps > 0
    same = min(steps, len(rows_of(whole[f"gradients.{form}"], form)))
    assert rows[:same] == rows_of(whole[f"gradients.{form}"], form)[:same]
