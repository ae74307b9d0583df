"""parameters.csv, layers.csv and gradients.parquet: against shorter runs, numpy and the CSV, whole after every end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gdcli as package
from tests.conftest import only_folder

RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(12, 2)).round(2), RNG.normal(size=(12, 1)).round(2)
MLP = {"type": "mlp", "layers": [2, 3, 1], "activation": "relu"}
LAYERS = {
    "type": "sequential",
    "layers": [{"layer": "Linear", "out_features": 3}, "Tanh", {"layer": "Linear", "out_features": 1}],
}
SPEC = {
    "name": "t", "data": {"x": X.tolist(), "y": Y.tolist()}, "model": MLP, "loss": "mse",
    "optimizer": {"name": "adam", "lr": 0.05}, "epochs": 3, "batch": {"size": 5},
}  # fmt: skip
STEPS = 9
ALL = {"parameters": True, "layers": True}


@pytest.fixture
def recorded(gdcli: Any) -> Callable[..., Path]:
    """Makes a record with these keys of `record`, in a folder of its own."""
    made = 0

    def make(record: dict[str, Any] | None = None, *words: str, code: int = 0, **changes: Any) -> Path:
        nonlocal made
        made += 1
        Path("t.yaml").write_text(json.dumps({**SPEC, "record": record or ALL, **changes}))
        answer = gdcli("run", "t.yaml", *words, "--no-plot", "-q", "-o", f"made-{made}")
        assert answer.code == code, answer.err
        return only_folder(Path(f"made-{made}"))

    return make


def flat(run: package.Run) -> list[float]:
    return np.concatenate([np.ravel(each) for each in run.parameters.values()]).astype(np.float64).tolist()


@pytest.mark.parametrize("model", [MLP, LAYERS, "linear"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_of_parameters_has_those_of_a_run_of_so_many_steps(recorded: Any, model: Any, dtype: str) -> None:
    table = pd.read_csv(recorded(model=model, dtype=dtype) / "parameters.csv")
    assert table["step"].tolist() == list(range(1, STEPS + 2))
    for step, *values in table.to_numpy().tolist()[1:]:
        shorter = {**SPEC, "model": model, "dtype": dtype, "stop": {"max_steps": int(step) - 1}}
        assert values == flat(package.run(shorter))
    assert table.iloc[0, 1:].tolist() != table.iloc[1, 1:].tolist()


def test_of_every_third_step_and_the_last_with_the_frozen(recorded: Any) -> None:
    folder = recorded({"parameters": True, "every": 3}, model={**MLP, "freeze": "linear1.bias"})
    table = pd.read_csv(folder / "parameters.csv")
    assert table["step"].tolist() == [1, 4, 7, 9, 10]
    assert table["linear1.bias[0]"].nunique() == 1
    assert pd.read_csv(folder / "gradients.csv")["step"].tolist() == [1, 4, 7, 9]


def test_norms_ratios_and_zeros_are_those_of_parameters_and_gradients(recorded: Any) -> None:
    folder = recorded(dtype="float64", optimizer={"name": "sgd", "lr": 0.1}, batch={"size": 1})
    layers = pd.read_csv(folder / "layers.csv")
    values, gradients = (
        pd.read_csv(folder / name).drop(columns="step") for name in ("parameters.csv", "gradients.csv")
    )
    assert layers["step"].tolist() == [step for step in range(1, 37) for _ in range(4)]
    for name, part in layers.groupby("parameter"):
        columns = [column for column in values if column.startswith(f"{name}[")]
        w, g = values[columns].to_numpy(), gradients[columns].to_numpy()
        norm = np.linalg.norm(w, axis=1)
        wanted = {
            "weight_norm": norm[:-1],
            "gradient_norm": np.linalg.norm(g, axis=1),
            "update_ratio": np.linalg.norm(np.diff(w, axis=0), axis=1) / norm[:-1],
            "gradient_zeros": (g == 0).mean(axis=1),
        }
        for column, expected in wanted.items():
            np.testing.assert_allclose(part[column], expected, rtol=1e-12, atol=1e-15)
    assert layers["gradient_zeros"].max() > 0  # a unit of relu is off for some rows


def test_the_update_of_a_zero_has_no_ratio(recorded: Any) -> None:
    folder = recorded({"layers": True}, model={**MLP, "init": {"linear2.bias": 0}}, epochs=1)
    ratios = pd.read_csv(folder / "layers.csv").set_index(["parameter", "step"])["update_ratio"]
    assert np.isnan(ratios["linear2.bias", 1])
    assert ratios["linear2.bias", 2] > 0


def test_runs_of_a_fleet_have_theirs(recorded: Any, gdcli: Any) -> None:
    alone = recorded(dtype="float64")
    words = ("sweep", "t.yaml", "-p", "lr=0.05,0.1", "--no-plot", "-q", "-o", "many", "record.gradients=values")
    assert gdcli(*words, "record.format=parquet").code == 0
    runs = sorted(Path("many").glob("t/*/*/"))
    assert len(runs) == 2
    for name in ("parameters.csv", "layers.csv"):
        ours, theirs = pd.read_csv(runs[0] / name), pd.read_csv(alone / name)
        assert ours.columns.equals(theirs.columns)
        np.testing.assert_allclose(ours.select_dtypes("number"), theirs.select_dtypes("number"), rtol=1e-9, atol=1e-12)
    ours = pd.read_parquet(runs[0] / "gradients.parquet")
    np.testing.assert_allclose(ours, pd.read_csv(alone / "gradients.csv"), rtol=1e-9, atol=1e-12)
    assert {path.name for path in runs[0].iterdir()} & {"gradients.csv", "gradients.rows"} == set()
    assert gdcli("verify", "last", "--output", "many").out == "bit-identical\n"


@pytest.mark.parametrize("kept", ["values", "norms"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parquet_has_the_numbers_of_the_csv(recorded: Any, gdcli: Any, kept: str, dtype: str) -> None:
    csv = recorded({"gradients": kept}, dtype=dtype)
    parquet = recorded({"gradients": kept, "format": "parquet"}, dtype=dtype)
    assert {path.name for path in csv.iterdir()} ^ {path.name for path in parquet.iterdir()} == {
        "gradients.csv",
        "gradients.parquet",
    }
    table = pd.read_parquet(parquet / "gradients.parquet")
    assert table.astype(np.float64).equals(pd.read_csv(csv / "gradients.csv").astype(np.float64))
    assert set(table.dtypes[1:].astype(str)) == {dtype if kept == "values" else "float64"}
    assert gdcli("export", str(parquet)).out == gdcli("export", str(csv)).out
    ours, theirs = (package.load(str(folder.absolute())).gradients for folder in (parquet, csv))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert gdcli("plot", str(parquet), "--kind", "gradients", "-o", "g.png").code == 0
    again = recorded({"gradients": kept, "format": "parquet"}, dtype=dtype)
    assert (again / "gradients.parquet").read_bytes() == (parquet / "gradients.parquet").read_bytes()


def test_verify_tells_the_step_of_another_number_in_parquet(recorded: Any, gdcli: Any) -> None:
    folder = recorded({"format": "parquet"})
    table = pd.read_parquet(folder / "gradients.parquet")
    table.iloc[4, 2] += 1
    table.to_parquet(folder / "gradients.parquet", index=False)
    answer = gdcli("verify", str(folder))
    assert answer.code == 1
    assert answer.out.startswith("gradients.parquet: step 5, linear1.weight[0,1]: recorded ")


def test_without_steps_there_is_one_row(recorded: Any) -> None:
    folder = recorded({**ALL, "format": "parquet"}, epochs=0, print={"style": "loss"})
    assert pd.read_csv(folder / "parameters.csv")["step"].tolist() == [0]
    layers = pd.read_csv(folder / "layers.csv")
    assert layers["update_ratio"].tolist() == [0] * 4
    assert pd.read_parquet(folder / "gradients.parquet")["step"].tolist() == [0]


def test_a_step_that_diverges_has_no_update(recorded: Any) -> None:
    folder = recorded({**ALL, "format": "parquet"}, code=1, optimizer={"name": "sgd", "lr": 1e12}, epochs=20)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "diverged"
    table = pd.read_csv(folder / "parameters.csv")
    assert table["step"].tolist() == list(range(1, summary["steps"] + 1))
    kept = np.concatenate([np.ravel(values) for values in summary["parameters"].values()])
    assert np.array_equal(table.iloc[-1, 1:].to_numpy(np.float64), kept)  # those before the step
    layers = pd.read_csv(folder / "layers.csv").set_index("step")["update_ratio"]
    assert layers[summary["steps"]].isna().all()
    assert len(pd.read_parquet(folder / "gradients.parquet")) == summary["steps"]


def test_norms_of_layers_neither_overflow_nor_vanish_where_squares_do(recorded: Any) -> None:
    """Of mae on rows below their targets, dL/dw is minus the mean of x: (-1.5e20, -2e20); ‖w‖ is 5e-25."""
    data = {"x": [[1e20, 1e20], [2e20, 3e20]], "y": [1e12, 2e12]}
    model = {"type": "linear", "init": {"weight": [[3e-25, 4e-25]], "bias": 0}}
    folder = recorded(
        {"layers": True},
        data=data,
        model=model,
        loss="mae",
        optimizer={"name": "sgd", "lr": 1e-44},
        epochs=1,
        batch="full",
    )
    row = pd.read_csv(folder / "layers.csv").set_index("parameter").loc["weight"]
    assert row["gradient_norm"] == pytest.approx(2.5e20, rel=1e-6)
    assert row["weight_norm"] == pytest.approx(5e-25, rel=1e-6)


def test_the_last_row_is_that_of_the_last_step_though_the_best_weights_are_restored(recorded: Any) -> None:
    stop = {"patience": 2, "restore": True}
    data = {**SPEC["data"], "validation": 0.5}  # type: ignore[dict-item]
    folder = recorded(data=data, stop=stop, epochs=60, optimizer={"name": "sgd", "lr": 0.3})
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["last_loss"] != summary["final_loss"]
    last = pd.read_csv(folder / "parameters.csv").iloc[-1]
    run = package.run({**SPEC, "data": data, "optimizer": {"name": "sgd", "lr": 0.3}, "epochs": summary["epochs"]})
    assert last["step"] == summary["steps"] + 1
    assert last[1:].tolist() == flat(run)


def test_an_objective_has_its_variables(recorded: Any, gdcli: Any) -> None:
    assert gdcli("run", "rosenbrock", "epochs=3", "record.parameters=true", "--no-plot", "-q").code == 0
    table = pd.read_csv(only_folder(Path("runs")) / "parameters.csv")
    assert table.columns.tolist() == ["step", "x", "y"]
    assert table["step"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("model", ["mlp", "sequential"])
def test_more_than_a_thousand_scalars_are_refused(gdcli: Any, model: str) -> None:
    layers: list[Any] = (
        [2, 250, 1]
        if model == "mlp"
        else [{"layer": "Linear", "out_features": 334}, {"layer": "Linear", "out_features": 1}]
    )
    Path("t.yaml").write_text(
        json.dumps({**SPEC, "model": {"type": model, "layers": layers}, "record": {"parameters": True}})
    )
    answer = gdcli("run", "t.yaml", "--no-plot", "-q")
    count = "1,001" if model == "mlp" else "1,337"
    assert answer.code == 2
    assert f"record.parameters: parameters.csv is for at most 1,000 scalars, the model has {count}" in answer.err
    assert not Path("runs").exists()


def test_at_their_defaults_the_keys_are_not_written(recorded: Any) -> None:
    folder = recorded({"parameters": False, "layers": False, "format": "csv"})
    assert "record: {gradients: values, every: 1}\n" in (folder / "config.yaml").read_text()
    assert not {"parameters.csv", "layers.csv"} & {path.name for path in folder.iterdir()}


def test_parquet_without_pyarrow_says_what_to_install(gdcli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    Path("t.yaml").write_text(json.dumps({**SPEC, "record": {"format": "parquet"}}))
    answer = gdcli("run", "t.yaml", "--no-plot", "-q")
    assert answer.code == 3
    assert answer.err == (
        "record.format: parquet needs pyarrow, which is not installed: pip install 'gradient-descent-cli[parquet]'\n"
    )


@pytest.mark.parametrize("damage", ["cut", "text", "other types", "link"])
def test_a_damaged_parquet_file_of_a_record_is_refused(recorded: Any, gdcli: Any, damage: str) -> None:
    folder = recorded({"format": "parquet"})
    path = folder / "gradients.parquet"
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("step,a\n1,2\n")
    elif damage == "other types":
        pd.DataFrame({"step": ["one"], "a": [1.0]}).to_parquet(path, index=False)
    else:
        path.rename("elsewhere")
        path.symlink_to(Path("elsewhere").absolute())
    for words in (("export", str(folder)), ("verify", str(folder))):
        answer = gdcli(*words)
        assert answer.code == 3, answer
        assert "gradients.parquet" in answer.err
        assert "Traceback" not in answer.err
