"""`gdcli predict` and `evaluate`: the bits of `run.predict`, tables in any order, hostile tables and records."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import gdcli as package
from tests.conftest import only_folder

ROWS = 5000  # more than a chunk
RNG = np.random.default_rng(5)
X = RNG.normal(3, 2, (ROWS, 3))
NUMBERS = X @ [1.0, -2.0, 0.5] + RNG.normal(0, 0.1, ROWS)
CLASSES = (X[:, 0] > 3).astype(int) + (X[:, 1] > 4)

LAYERS = [
    {"layer": "Linear", "in_features": 3, "out_features": 8}, {"layer": "BatchNorm1d", "num_features": 8}, "ReLU",
    {"layer": "Dropout", "p": 0.4}, {"layer": "Linear", "in_features": 8, "out_features": 3},
]  # fmt: skip
MLP = {"type": "mlp", "layers": [3, 16, 3], "activation": "tanh"}
CASES: dict[str, dict[str, Any]] = {
    "mlp": {"model": MLP, "loss": "cross_entropy"},
    "log probabilities": {"model": MLP | {"output_activation": "log_softmax"}, "loss": "nll"},
    "batch norm and dropout": {"model": {"type": "sequential", "layers": LAYERS}, "loss": "cross_entropy"},
    "linear": {"model": "linear", "loss": "mse"},
    "linear, float64": {"model": "linear", "loss": "mse", "dtype": "float64"},
    "autograd": {"model": MLP | {"layers": [3, 4, 1]}, "loss": "mae", "engine": "autograd"},
    "yes or no": {"model": MLP | {"layers": [3, 4, 1]}, "loss": "bce_with_logits"},
}


def targets_of(case: str) -> np.ndarray:
    loss = CASES[case]["loss"]
    return CLASSES if loss in ("cross_entropy", "nll") else (CLASSES > 0) * 1 if loss.startswith("bce") else NUMBERS


def write(path: Path, columns: dict[str, Any], separator: str = ",") -> None:
    with path.open("w", newline="") as stream:
        table = csv.writer(stream, delimiter=separator)
        table.writerow(columns)
        table.writerows(zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True))


def spec_of(case: str, **changes: Any) -> dict[str, Any]:
    data = {"file": "rows.csv", "target": "y", "standardize": True}
    optimizer = {"name": "adam", "lr": 0.01}
    found = {"name": "t", "data": data, "optimizer": optimizer, "epochs": 1, "batch": {"size": 256}}
    return {**found, **CASES[case], **changes}


@pytest.fixture
def recorded(gdcli: Any) -> Callable[..., Path]:
    """Makes a record of a case."""

    def make(case: str, **changes: Any) -> Path:
        write(Path("rows.csv"), {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": targets_of(case)})
        Path("t.yaml").write_text(json.dumps(spec_of(case, **changes)))
        answer = gdcli("run", "t.yaml", "--no-plot", "--quiet")
        assert answer.code == 0, answer.err
        return only_folder(Path("runs"))

    return make


def table(text: str) -> tuple[list[str], np.ndarray]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, np.array(rows, dtype=np.float64)


@pytest.mark.parametrize("case", CASES)
def test_the_training_file_gives_the_bits_of_run_predict_in_memory(gdcli: Any, recorded: Any, case: str) -> None:
    recorded(case)
    header, found = table(gdcli("predict", "last", "rows.csv").out)
    run = package.run(str(Path("t.yaml").absolute()))
    output = run.predict(X)
    np.testing.assert_array_equal(package.load("last").predict(X), output)  # from the file, without training
    o, loss = torch.from_numpy(output), CASES[case]["loss"]
    if loss == "bce_with_logits":
        assert header == ["prediction", "p"]
        np.testing.assert_array_equal(found[:, 0], output[:, 0] > 0)
        expected = torch.sigmoid(o)
    elif loss in ("cross_entropy", "nll"):
        assert header == ["prediction", "p_0", "p_1", "p_2"]
        np.testing.assert_array_equal(found[:, 0], output.argmax(1))
        expected = torch.softmax(o, 1) if loss == "cross_entropy" else torch.exp(o)
    else:
        assert header == ["prediction"]
        expected = o
    np.testing.assert_array_equal(found[:, -expected.shape[1] :], expected.numpy().astype(np.float64))


def test_it_is_what_torch_makes_of_the_recorded_files_in_eval_mode(gdcli: Any, recorded: Any) -> None:
    """A whole forward pass of torch's own module, standardized by numpy, from the two files alone."""
    folder = recorded("batch norm and dropout")
    fitted = json.loads((folder / "preprocessing.json").read_text())
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.4), torch.nn.Linear(8, 3)
    )
    arrays = load_file(folder / "model.safetensors")
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    x = (X - fitted["means"]) / fitted["deviations"]
    with torch.no_grad():
        expected = torch.softmax(module.eval()(torch.tensor(x, dtype=torch.float32)), 1)
    _, found = table(gdcli("predict", "last", "rows.csv").out)
    np.testing.assert_allclose(found[:, 1:], expected.numpy(), rtol=0, atol=1e-6)
    assert arrays["1.num_batches_tracked"] == 20


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_stand_in_any_order_beside_others(gdcli: Any, recorded: Any, separator: str) -> None:
    recorded("linear")
    expected = gdcli("predict", "last", "rows.csv").out
    shuffled = {"c": X[:, 2], "note, long": ["x"] * ROWS, "a": X[:, 0], "": range(ROWS), "b": X[:, 1]}
    write(Path("other.csv"), shuffled, separator)
    assert gdcli("predict", "last", "other.csv").out == expected
    answer = gdcli("predict", "last", "other.csv", "-o", "p.csv")
    assert (answer.code, answer.out, Path("p.csv").read_text()) == (0, "", expected)
    assert gdcli("predict", "last", "other.csv", "-o", "p.csv").code == 2  # it is there already
    assert gdcli("predict", "last", "other.csv", "-o", "p.csv", "--force").code == 0


BAD: dict[str, tuple[bytes, str]] = {
    "a missing column": (b"a,c\n1,2\n", "bad.csv: has no column 'b', which the model takes"),
    "text": (b"a,b,c\n1,2,3\n1,x,3\n", "bad.csv: line 3, column 'b': 'x' is not a number"),
    "an empty cell": (b"a,b,c\n1,,3\n", "bad.csv: column 'b': 1 cell is missing, the first in line 2"),
    "NaN": (b"a,b,c\n1,2,3\n1,nan,3\n", "bad.csv: column 'b': 1 cell is missing, the first in line 3"),
    "not finite": (b"a,b,c\n1,inf,3\n", "bad.csv: line 2, column 'b': 'inf' is not a finite number"),
    "digits of another script": ("a,b,c\n1,\u0665,3\n".encode(), "line 2, column 'b': '\\u0665' is not a number"),
    "an underscore": (b"a,b,c\n1,1_0,3\n", "line 2, column 'b': '1_0' is not a number"),
    "a short row": (b"a,b,c\n1,2\n", "bad.csv: line 2 has 2 cells, the header has 3"),
    "no rows and no header": (b"", "bad.csv: is empty"),
    "a column twice": (b"a,b,c,b\n1,2,3,4\n", "the column 'b' stands twice"),
    "latin-1": (b"a,b,c\n1,\xe9,3\n", "line 2, column 'b': 'é' is not a number"),
    "no text": (b"a,b,c\n1,\x81\x00,3\n", "bad.csv: not UTF-8 text"),
    "an open quote": (b'a,b,c\n1,"2,3\n', "bad.csv: line 2: "),
    "an escape": (b"a,b,c\n1,\x1b[31m,3\n", "line 2, column 'b': '\\x1b[31m' is not a number"),
    "NUL": (b"a,b,c\n1,\x00,3\n", "bad.csv: line 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_cannot_be_used_is_one_message(gdcli: Any, recorded: Any, name: str) -> None:
    recorded("linear")
    content, message = BAD[name]
    Path("bad.csv").write_bytes(content)
    for words in (("predict", "last", "bad.csv"), ("predict", "last", "bad.csv", "-o", "p.csv")):
        answer = gdcli(*words)
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err
        assert answer.err.count("\n") == 1
        assert answer.err.rstrip("\n").isprintable()
    assert not Path("p.csv").exists()


def test_a_file_that_is_none_is_refused(gdcli: Any, recorded: Any) -> None:
    recorded("linear")
    Path("link.csv").symlink_to("rows.csv")
    os.mkfifo("pipe.csv")
    for name in ("link.csv", "pipe.csv", "nothing.csv", "runs", "\0"):
        assert gdcli("predict", "last", name).code == 2


def test_header_false_takes_columns_by_their_place(gdcli: Any, recorded: Any) -> None:
    rows = [*X.T.tolist(), NUMBERS.tolist()]
    Path("plain.csv").write_text("".join(f"{a!r},{b!r},{c!r},{y!r}\n" for a, b, c, y in zip(*rows, strict=True)))
    data = {"file": "plain.csv", "target": "c4", "header": False, "standardize": True}
    recorded("linear", data=data)
    _, found = table(gdcli("predict", "last", "plain.csv").out)
    np.testing.assert_array_equal(found, package.load("last").predict(X).astype(np.float64))


@pytest.mark.parametrize("case", CASES)
def test_the_training_rows_evaluate_to_the_final_loss_to_the_bit(gdcli: Any, recorded: Any, case: str) -> None:
    folder = recorded(case)
    summary = json.loads((folder / "summary.json").read_text())
    found = gdcli("evaluate", "last", "rows.csv", "--json").json
    assert (found["rows"], found["loss"]) == (ROWS, summary["final_loss"])
    assert found["metrics"] == summary["metrics"]
    for run in (package.load("last"), package.run(str(Path("t.yaml").absolute()))):  # by its file, and in memory
        assert run.evaluate(X, targets_of(case)) == {"loss": found["loss"], **found["metrics"]}


def test_classes_by_name_and_targets_in_their_own_units_evaluate_as_the_command_has_it(gdcli: Any) -> None:
    rows = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}
    words = np.array(["x", "y", "z"])[CLASSES]
    for y, changes in (
        (words, {"model": "linear", "loss": "cross_entropy"}),
        (NUMBERS, {"model": "linear", "loss": "mse"}),
    ):
        write(Path("rows.csv"), {**rows, "y": y})
        data = {"file": "rows.csv", "target": "y", "standardize": ["a", "y"][: 1 + (y is NUMBERS)]}
        run = package.run(spec_of("mlp", data=data, **changes), output="runs", plot=False)
        found = gdcli("evaluate", "last", "rows.csv", "--json").json
        for each in (run, package.load("last")):
            assert each.evaluate(X, y) == {"loss": found["loss"], **found["metrics"]}
            assert each.classes == (("x", "y", "z") if y is words else ())
    with pytest.raises(package.SpecError, match="x has 2 rows and y has 1"):
        run.evaluate(X[:2], y[:1])
    with pytest.raises(package.SpecError, match="y has 2 columns, the model has 1 targets"):
        run.evaluate(X[:2], np.ones((2, 2)))


def test_the_validation_rows_evaluate_to_the_recorded_validation_loss(gdcli: Any, recorded: Any) -> None:
    """Which rows they are says numpy's generator, seeded as the split is."""
    data = {"file": "rows.csv", "target": "y", "standardize": True, "validation": 0.2}
    folder = recorded("mlp", data=data)
    from gdcli.zoo.data import generator

    held_out = np.sort(generator(0, "split").permutation(ROWS)[: ROWS // 5])
    columns = {"y": CLASSES[held_out], **{name: X[held_out, k] for k, name in enumerate("abc")}}
    write(Path("held_out.csv"), columns)
    found = gdcli("evaluate", "last", "held_out.csv", "--json").json
    metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    assert found["loss"] == metrics["validation_loss"]
    assert found["metrics"]["accuracy"] == metrics["validation_accuracy"]


@pytest.mark.parametrize("case", ["mlp", "batch norm and dropout", "linear"])
def test_the_weights_that_patience_restores_evaluate_to_the_recorded_validation_loss(
    gdcli: Any, recorded: Any, case: str
) -> None:
    rows = RNG.normal(3, 2, (300, 3))
    y = (rows[:, 0] > 3).astype(int) + (rows[:, 1] > 4) if case != "linear" else rows @ [1.0, -2.0, 0.5]
    write(Path("held_out.csv"), {"b": rows[:, 1], "a": rows[:, 0], "c": rows[:, 2], "y": y})
    data = {"file": "rows.csv", "target": "y", "standardize": True, "validation": "held_out.csv"}
    fast = {"optimizer": {"name": "adam", "lr": 0.5}, "epochs": 100}  # so that later epochs are worse
    folder = recorded(case, data=data, stop={"patience": 2, "restore": True}, **fast)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert summary["metrics"]["best_validation_epoch"] == summary["epochs"] - 2
    found = gdcli("evaluate", "last", "held_out.csv", "--json").json
    assert found["loss"] == summary["metrics"]["validation_loss"] == summary["metrics"]["best_validation_loss"]


def test_a_class_that_the_model_has_not_is_told(gdcli: Any, recorded: Any) -> None:
    recorded("mlp")
    Path("bad.csv").write_text("a,b,c,y\n1,2,3,1.0\n1,2,3,7\n")
    answer = gdcli("evaluate", "last", "bad.csv")
    assert answer.code == 2
    assert "line 3, column 'y': '7' is none of the 3 classes of the model" in answer.err


# --- hostile records --------------------------------------------------------------------------------------------------


def changed_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def other_shape(path: Path) -> None:
    arrays = load_file(path)
    save_file({**arrays, "weight": arrays["weight"].T}, path)


def huge_shape(path: Path) -> None:
    """A header that tells of a tebibyte: nothing of that size is made."""
    header = b'{"weight":{"dtype":"F32","shape":[1,274877906944],"data_offsets":[0,1099511627776]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + 2**40)


def linked(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def endless_header(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def nested(path: Path) -> None:
    text = b'{"a":' + b"[" * 10**6
    path.write_bytes(len(text).to_bytes(8, "little") + text)


GONE = (linked, Path.unlink, os.mkfifo)
DAMAGES = {
    f"{name}: {change.__name__}": (name, change)
    for name, changes in {
        "model.safetensors": (changed_bit, other_shape, huge_shape, endless_header, nested, *GONE),
        "preprocessing.json": (changed_bit, *GONE),
        "config.yaml": (changed_bit, linked),
        "summary.json": (linked, Path.unlink),
    }.items()
    for change in changes
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_that_was_changed_is_refused(gdcli: Any, recorded: Any, damage: str) -> None:
    folder = recorded("linear")
    name, change = DAMAGES[damage]
    if change is os.mkfifo:
        (folder / name).unlink()
    change(folder / name)
    for command in ("predict", "evaluate"):
        answer = gdcli(command, str(folder), "rows.csv")
        assert answer.out == ""
        assert answer.code in ((2, 3) if name == "config.yaml" else (3,)), answer.err
        assert answer.err.count("\n") == 1, answer.err
        assert "Traceback" not in answer.err


def test_a_record_through_a_link_and_one_of_many_runs_are_refused(gdcli: Any, recorded: Any) -> None:
    folder = recorded("linear")
    Path("link").symlink_to(folder)
    assert gdcli("predict", "link", "rows.csv").code == 2
    assert gdcli("sweep", "t.yaml", "-p", "lr=0.1,0.01", "--no-plot", "-q", "-o", "many").code == 0
    many = only_folder(Path("many"))
    assert "Name one of its runs" in gdcli("predict", str(many), "rows.csv").err
    run = min(path for path in many.iterdir() if path.is_dir())
    assert gdcli("predict", str(run), "rows.csv").code == 0


def test_an_objective_and_an_older_record_say_so(gdcli: Any, recorded: Any) -> None:
    folder = recorded("linear")
    summary = json.loads((folder / "summary.json").read_text())
    del summary["sha256"]
    (folder / "summary.json").write_text(json.dumps(summary))
    assert "an earlier version" in gdcli("predict", str(folder), "rows.csv").err
    assert gdcli("run", "rosenbrock", "epochs=1", "-q", "--no-plot").code == 0
    answer = gdcli("predict", "rosenbrock", "rows.csv")
    assert (answer.code, "an objective has no inputs" in answer.err) == (2, True)


# --- a long stream ----------------------------------------------------------------------------------------------------


def peak(record: Path, rows: int) -> tuple[int, int]:
    """Predict so many rows from a pipe; return the process's peak memory in bytes and the lines that it wrote."""
    code = (
        "import resource, sys; from gdcli.cli import main; code = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    words = [sys.executable, "-c", code, "predict", str(record), "-"]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Path("out.csv").open("wb") as out, subprocess.Popen(words, stdout=out, **pipes) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"a,b,c\n")
        part = b"".join(b"%d.25,2.5,3.75\n" % k for k in range(1000))
        for _ in range(rows // 1000):
            process.stdin.write(part)
        process.stdin.close()
        told = process.stderr.read()
    assert process.returncode == 0, told
    with Path("out.csv").open("rb") as stream:
        return int(told.split()[-1]) * 1024, sum(1 for _ in stream)


@pytest.mark.slow
def test_a_million_rows_take_no_more_memory_than_some_thousand(recorded: Any) -> None:
    folder = recorded("linear")
    few, lines = peak(folder, 10_000)
    assert lines == 10_001
    many, lines = peak(folder, 1_000_000)
    assert lines == 1_000_001
    assert many - few < 32 * 2**20
