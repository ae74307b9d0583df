"""`watch` in records: columns behind those of parameters, whole after every end, the same bytes again, bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gdcli as package
from gdcli.errors import SpecError
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.spec.schema import parse
from gdcli.spec.world_size import require_world
from tests.conftest import only_folder

RNG = np.random.default_rng(4)
SPEC = {
    "name": "t", "data": {"x": RNG.normal(size=(7, 2)).tolist(), "y": RNG.normal(size=(7, 1)).tolist()},
    "model": {"type": "mlp", "layers": [2, 3, 1], "activation": "tanh"}, "loss": "mse",
    "optimizer": {"name": "adam", "lr": 0.05}, "epochs": 3, "batch": {"size": 3},
}  # fmt: skip
WATCH = ["x", "h2", "net_h"]
NAMES = [
    *(f"x[{b},{i}]" for b in range(3) for i in range(2)), *(f"h2[{b}]" for b in range(3)),
    *(f"net_h[{b},{j}]" for b in range(3) for j in range(3)),
]  # fmt: skip


@pytest.fixture
def recorded(gdcli: Any) -> Callable[..., Path]:
    """Makes a record with these keys, in a folder of its own."""
    made = 0

    def make(code: int = 0, **changes: Any) -> Path:
        nonlocal made
        made += 1
        spec = {**SPEC, "watch": WATCH, **changes}
        Path("t.yaml").write_text(json.dumps({key: value for key, value in spec.items() if value is not None}))
        answer = gdcli("run", "t.yaml", "--no-plot", "-q", "-o", f"made-{made}")
        assert answer.code == code, answer.err
        return only_folder(Path(f"made-{made}"))

    return make


def test_without_watch_the_other_columns_and_files_have_the_same_bytes(recorded: Any) -> None:
    watched, plain = recorded(), recorded(watch=None)
    table, other = (pd.read_csv(folder / "gradients.csv", dtype=str) for folder in (watched, plain))
    assert table[other.columns].equals(other)
    assert table.columns[len(other.columns) :].tolist() == NAMES
    for name in ("steps.csv", "log.txt", "epochs.csv", "model.safetensors"):
        assert (watched / name).read_bytes() == (plain / name).read_bytes()
    assert "watch" not in (plain / "config.yaml").read_text()
    assert "watch" in (watched / "config.yaml").read_text()


@pytest.mark.parametrize("keep", ["norms", "none"])
def test_the_columns_do_not_depend_on_what_is_kept_of_the_parameters(recorded: Any, keep: str) -> None:
    whole = pd.read_csv(recorded() / "gradients.csv")[NAMES]
    folder = recorded(record={"gradients": keep})
    table = pd.read_csv(folder / "gradients.csv")
    assert table[NAMES].equals(whole)
    assert len(table.columns) == 1 + len(NAMES) + 4 * (keep == "norms")
    run = package.load(folder)
    assert list(run.gradients) == WATCH
    assert run.gradients["x"].shape == (9, 3, 2)


def test_parquet_has_the_numbers_of_the_csv(recorded: Any) -> None:
    pytest.importorskip("pyarrow")
    table = pd.read_parquet(recorded(record={"format": "parquet"}) / "gradients.parquet")
    assert np.array_equal(table.to_numpy(), pd.read_csv(recorded() / "gradients.csv").to_numpy(), equal_nan=True)


def test_the_last_smaller_batch_has_nan_for_the_rows_that_it_lacks(recorded: Any) -> None:
    table = pd.read_csv(recorded() / "gradients.csv")  # 7 rows in steps of 3
    assert table.loc[table["step"] % 3 == 0, ["x[1,0]", "h2[2]", "net_h[2,2]"]].isna().all().all()
    assert table.loc[table["step"] % 3 > 0, NAMES].notna().all().all()
    assert table[[name for name in NAMES if "[0" in name]].notna().all().all()


def test_a_run_that_is_resumed_ends_with_the_same_bytes_and_verifies(gdcli: Any, recorded: Any) -> None:
    from gdcli.engine.loop import Loop

    whole = recorded()
    original, made = Loop.after_update, []
    with pytest.MonkeyPatch.context() as patch:

        def interrupting(self: Loop, *arguments: Any) -> None:
            original(self, *arguments)
            made.append(1)
            self.interrupt.requested = len(made) == 4

        patch.setattr(Loop, "after_update", interrupting)
        cut = recorded(code=130)
    assert len(pd.read_csv(cut / "gradients.csv")) == 4
    assert gdcli("resume", str(cut)).code == 0
    assert (cut / "gradients.csv").read_bytes() == (whole / "gradients.csv").read_bytes()
    assert gdcli("verify", str(cut)).out == "bit-identical\n"


def test_a_run_that_diverges_keeps_its_rows(recorded: Any) -> None:
    folder = recorded(code=1, optimizer={"name": "sgd", "lr": 1e30}, model={"type": "mlp", "layers": [2, 3, 1]})
    table = pd.read_csv(folder / "gradients.csv")
    assert len(table) == len(pd.read_csv(folder / "steps.csv"))
    assert list(table.columns[-len(NAMES) :]) == NAMES


def test_each_run_of_a_sweep_has_the_columns_of_the_run_alone(gdcli: Any, recorded: Any) -> None:
    alone = recorded(optimizer={"name": "adam", "lr": 0.2})
    answer = gdcli("sweep", "t.yaml", "--param", "lr=0.1,0.2", "--no-plot", "-q", "-o", "many")
    assert answer.code == 0, answer.err
    (second,) = Path("many").glob("*/*/2-*")
    assert (second / "gradients.csv").read_bytes() == (alone / "gradients.csv").read_bytes()


def test_several_processes_are_refused_at_the_key() -> None:
    text = json.dumps({**SPEC, "watch": WATCH})
    with pytest.raises(SpecError, match=r"watch: .* each of 2 processes has only its own"):
        require_world(load(parse(read(text, "f"), "t"), Path()), 2)


def test_more_than_a_thousand_columns_are_refused_with_their_number(gdcli: Any) -> None:
    data = {"x": RNG.normal(size=(400, 2)).tolist(), "y": RNG.normal(size=(400, 1)).tolist()}
    Path("t.yaml").write_text(json.dumps({**SPEC, "data": data, "batch": "full", "watch": ["x", "o"]}))
    answer = gdcli("run", "t.yaml")
    assert answer.code == 2
    assert "3 numbers of each of 400 rows would be 1,200 columns of gradients.csv, more than 1,000" in answer.err
    assert gdcli("run", "t.yaml", "batch=stochastic", "epochs=1", "--no-plot", "-q").code == 0


@pytest.mark.parametrize(
    ("watch", "code", "told"),
    [
        (["h4"], 2, "watch[0]: there is no value of this name (got 'h4'). h has 3: h1 to h3"),
        (["x", "net_o"], 2, "watch[1]: there is no value of this name (got 'net_o'). Did you mean"),
        (["linear1.bias"], 2, "watch[0]: there is no value of this name (got 'linear1.bias'). It is a parameter"),
        (["x", "x"], 2, "watch[1]: 'x' stands there twice"),
        ([], 2, "watch: needs at least 1 entry"),
    ],
)
def test_what_cannot_be_watched_is_told_at_its_place(gdcli: Any, watch: list[str], code: int, told: str) -> None:
    Path("t.yaml").write_text(json.dumps({**SPEC, "watch": watch}))
    answer = gdcli("validate", "t.yaml")
    assert (answer.code, told in answer.out + answer.err) == (code, True), answer


def test_an_objective_has_nothing_to_watch(gdcli: Any) -> None:
    answer = gdcli("validate", "rosenbrock", "watch=[x]")
    assert answer.code == 2
    assert "an objective has no inputs and no layers" in answer.out + answer.err


def test_epochs_0_has_one_row_for_all_rows_of_the_data(recorded: Any) -> None:
    table = pd.read_csv(recorded(epochs=0, watch=["o"], print={"style": "loss"}) / "gradients.csv")
    assert table["step"].tolist() == [0]
    assert [name for name in table if name.startswith("o[")] == [f"o[{b},0]" for b in range(7)]
