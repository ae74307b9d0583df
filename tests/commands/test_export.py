"""`gdcli export`: the same numbers in CSV, Parquet and TensorBoard's files, read back by the programs they are for."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import Answer
from tests.hand_made import a_run, files


def read_csv(answer: Answer) -> pd.DataFrame:
    assert answer.code == 0, answer.err
    return pd.read_csv(io.StringIO(answer.out))


def test_a_run_is_its_steps_with_their_gradients(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000", lr=0.1)
    answer = gdcli("export", "last")
    assert answer == (
        0,
        'step,epoch,batch,loss,lr,gradient_norm,"gradient.weight[0,0]",gradient.bias[0]\n'
        "1,1,1,4.0,0.1,0.25,-0.5,0.1\n2,2,1,2.0,0.1,0.5,-1.0,0.2\n3,3,1,1.0,0.1,0.75,-1.5,0.30000000000000004\n",
        "",
    )


def test_real_numbers_read_back_to_the_bit_in_both_formats(gdcli) -> None:
    folder = Path(gdcli("run", "linear_regression", "dtype=float64", "--no-plot", "--json").json["folder"])
    steps, gradients = pd.read_csv(folder / "steps.csv"), pd.read_csv(folder / "gradients.csv")
    table = read_csv(gdcli("export", "last"))
    assert gdcli("export", "last", "--format", "parquet", "-o", "run.parquet").code == 0
    stored = parquet.read_table("run.parquet")
    assert [str(field.type) for field in stored.schema][:4] == ["int64", "int64", "int64", "double"]
    assert stored.column_names == list(table.columns)
    for name in steps.columns:
        for found in (table[name].to_numpy(), stored[name].to_numpy()):
            assert found.tobytes() == steps[name].to_numpy().tobytes(), name
    for name in gradients.columns[1:]:
        for found in (table[f"gradient.{name}"].to_numpy(), stored[f"gradient.{name}"].to_numpy()):
            assert found.tobytes() == gradients[name].to_numpy().tobytes(), name


def test_steps_without_recorded_gradients_have_empty_cells(gdcli) -> None:
    gdcli("run", "backprop_2x2", "epochs=5", "record.every=2", "--no-plot")
    table = read_csv(gdcli("export", "last"))
    assert table["gradient.linear1.bias[0]"].notna().tolist() == [True, False, True, False, True]
    gdcli("run", "backprop_2x2", "epochs=5", "record.gradients=none", "--no-plot")
    assert list(read_csv(gdcli("export", "last")).columns)[-1] == "gradient_norm"


def test_a_sweep_is_a_row_per_run_or_all_steps_of_all_runs(gdcli) -> None:
    runs = gdcli("sweep", "backprop_2x2", "-p", "optimizer=sgd,adam", "epochs=3", "--no-plot", "--json").json["runs"]
    table = read_csv(gdcli("export", "last"))
    assert table["final_loss"].tolist() == [run["final_loss"] for run in runs]
    assert table["optimizer"].tolist() == ["sgd", "adam"]
    long = read_csv(gdcli("export", "last", "--long"))
    assert long["run"].tolist() == [1, 1, 1, 2, 2, 2]
    assert long["step"].tolist() == [1, 2, 3, 1, 2, 3]
    for k, folder in enumerate(sorted(Path("runs").glob("*/*/*-*/")), 1):
        own = pd.read_csv(folder / "steps.csv")
        assert long[long["run"] == k]["loss"].to_numpy().tobytes() == own["loss"].to_numpy().tobytes()


def test_texts_of_a_sweep_stay_text_in_parquet(gdcli) -> None:
    runs = gdcli("compare", "--optimizers", "sgd,adam", "--no-plot", "--json").json["runs"]
    results = next(Path("runs").glob("*/*/results.csv"))
    results.write_text(results.read_text().replace(runs[0]["weights"], "01234567").replace(runs[0]["data"], "12345e67"))
    assert gdcli("export", "last", "-f", "parquet", "-o", "c.parquet").code == 0
    rows = parquet.read_table("c.parquet").to_pylist()
    assert [(row["label"], row["final_loss"]) for row in rows] == [(run["label"], run["final_loss"]) for run in runs]
    assert [(row["weights"], row["data"]) for row in rows] == [("01234567", "12345e67")] * 2
    assert rows[0]["steps"] == runs[0]["steps"]


def test_what_is_not_finite_stays_what_it_is(gdcli) -> None:
    assert gdcli("run", "linear_manual", "lr=1e3", "epochs=200", "--no-plot").code == 1
    recorded = pd.read_csv(next(Path("runs").glob("*/*/steps.csv")))
    assert not np.isfinite(recorded["loss"].to_numpy()[-1])
    gdcli("export", "last", "-f", "parquet", "-o", "d.parquet")
    stored = parquet.read_table("d.parquet")["loss"]
    assert stored.null_count == 0
    np.testing.assert_array_equal(stored.to_numpy(), recorded["loss"].to_numpy())


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    found = EventAccumulator(str(folder))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(tag)]


def test_tensorboard_reads_loss_lr_and_gradient_norm_of_every_step(gdcli) -> None:
    folder = Path(gdcli("run", "backprop_2x2", "epochs=30", "--no-plot", "--json").json["folder"])
    answer = gdcli("export", "last", "--format", "tensorboard", "-o", "tb")
    assert answer == (0, "", f"wrote 1 event file in tb/{folder.name}\n")
    steps = pd.read_csv(folder / "steps.csv")
    for tag in ("loss", "lr", "gradient_norm"):
        single = steps[tag].to_numpy().astype(np.float32).tolist()
        assert scalars(Path("tb") / folder.name, tag) == list(zip(steps["step"].tolist(), single, strict=True))
    found = EventAccumulator(str(Path("tb") / folder.name))
    found.Reload()
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"optimizer.lr" in content
    assert b"loss.name" in content


@pytest.mark.slow
def test_tensorboard_has_a_folder_for_each_run_of_many(gdcli) -> None:
    folder = Path(gdcli("compare", "--optimizers", "sgd,adam", "--no-plot", "--json").json["folder"])
    assert gdcli("export", "last", "-f", "tensorboard", "-q").code == 0
    assert {path.name for path in (Path("tensorboard") / folder.name).iterdir()} == {"1-sgd", "2-adam"}
    losses = pd.read_csv(folder / "2-adam" / "steps.csv")["loss"].to_numpy().astype(np.float32)
    found = scalars(Path("tensorboard") / folder.name / "2-adam", "loss")
    assert [value for _, value in found] == losses.tolist()


def test_the_same_bytes_again_and_nothing_is_overwritten_without_force(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000")
    for form, path in (("csv", "a.csv"), ("parquet", "a.parquet"), ("tensorboard", "tb")):
        words = ("export", "last", "--format", form, "-o", path)
        assert gdcli(*words).code == 0
        before = files(Path.cwd())
        answer = gdcli(*words)
        assert (answer.code, files(Path.cwd())) == (2, before)
        assert "is there already. --force overwrites it" in answer.err
        assert gdcli(*words, "--force").code == 0
        assert files(Path.cwd()) == before
    assert Path("a.csv").read_text() == gdcli("export", "last").out


def test_a_link_in_the_way_is_not_followed(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000")
    Path("precious.csv").write_text("years\n")
    Path("out.csv").symlink_to("precious.csv")
    Path("dangling.csv").symlink_to("nowhere.csv")
    for name in ("out.csv", "dangling.csv"):
        assert gdcli("export", "last", "-o", name).code == 2
    assert gdcli("export", "last", "-o", "out.csv", "--force").code == 0
    assert Path("precious.csv").read_text() == "years\n"
    assert not Path("nowhere.csv").exists()


@pytest.mark.parametrize(("form", "module"), [("parquet", "pyarrow"), ("tensorboard", "tensorboard.compat.proto")])
def test_a_missing_extra_is_named_with_its_command(
    gdcli, monkeypatch: pytest.MonkeyPatch, form: str, module: str
) -> None:
    a_run(Path("runs"), "20260101-120000")
    for name in [name for name in sys.modules if name.startswith(module)] + [f"{module}.event_pb2", module]:
        monkeypatch.setitem(sys.modules, name, None)
    answer = gdcli("export", "last", "--format", form, "-o", "out")
    assert answer.code == 3
    assert answer.err.endswith(f"which is not installed: pip install 'gradient-descent-cli[{form}]'\n")
    assert not [path for path in Path("out").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "rows", ["1,1,1,=cmd(),0.1,0.1\n", "1,1,1,0.1,0.1\n", "a,1,1,1,1,1\n", "1,1,1,0x1,1,1\n", "1,1,1,1_0,1,1\n"]
)
def test_a_damaged_record_is_refused_with_3(gdcli, rows: str) -> None:
    folder = a_run(Path("runs"), "20260101-120000")
    (folder / "steps.csv").write_text("step,epoch,batch,loss,lr,gradient_norm\n" + rows)
    for form in ("csv", "parquet", "tensorboard"):
        answer = gdcli("export", "last", "-f", form, "-o", f"out.{form}")
        assert answer.code == 3
        assert answer.err == f"{folder}/steps.csv: line 2 is no row of 6 numbers\n"
    assert not [path for path in Path.cwd().glob("out.*") if path.is_file()]


def test_a_line_that_was_being_written_is_left_out(gdcli) -> None:
    folder = a_run(Path("runs"), "20260101-120000", status=None)
    with (folder / "steps.csv").open("a") as stream:
        stream.write("4,4,1,0.2")
    assert len(read_csv(gdcli("export", "last"))) == 3


def test_what_has_no_steps_says_so(gdcli) -> None:
    gdcli("sweep", "--param", "w=0:4:1", "--no-plot")
    for words in (["--long"], ["-f", "tensorboard"]):
        assert gdcli("export", "last", *words).code == 2
    table = read_csv(gdcli("export", "last"))
    assert table["w"].tolist() == [0, 1, 2, 3]
    a_run(Path("runs"), "20990101-120000")
    assert gdcli("export", "last", "--long").code == 2
