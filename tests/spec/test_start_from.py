"""`model.from`: a run that starts with the weights of a record, or of a safetensors file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import gdcli as package
from tests.conftest import only_folder

X, Y = [[1.0, 2.0], [0.5, 1.0], [-1.0, 1.0], [0.0, 2.0]], [1.0, 2.0, 0.5, 3.0]
MLP = {"type": "mlp", "layers": [2, 3, 1], "activation": "tanh"}
STACK = {
    "type": "sequential",
    "layers": [
        {"layer": "Linear", "in_features": 2, "out_features": 4}, {"layer": "BatchNorm1d", "num_features": 4}, "Tanh",
        {"layer": "Linear", "in_features": 4, "out_features": 1},
    ],
}  # fmt: skip
MODELS: dict[str, Any] = {"linear": {"type": "linear"}, "mlp": MLP, "sequential": STACK}


def spec_of(model: Any, **changes: Any) -> dict[str, Any]:
    found = {"name": "t", "data": {"x": X, "y": Y}, "model": model, "loss": "mse", "epochs": 3}
    return {**found, "optimizer": {"name": "sgd", "lr": 0.05}, **changes}


def written(spec: dict[str, Any], name: str = "t.yaml") -> str:
    Path(name).write_text(json.dumps(spec))
    return name


def first(gdcli: Any, model: Any, **changes: Any) -> Path:
    """A record to start from, below `first`."""
    answer = gdcli("run", written(spec_of(model, **changes), "first.yaml"), "--no-plot", "-q", "-o", "first")
    assert answer.code == 0, answer.err
    return only_folder(Path("first"))


@pytest.mark.parametrize("name", MODELS)
def test_three_epochs_and_three_more_are_six(gdcli: Any, name: str) -> None:
    """sgd keeps nothing besides the parameters; a batch norm's buffers go on too."""
    folder = first(gdcli, MODELS[name])
    again = spec_of({"from": str(folder)})
    six = package.run(spec_of(MODELS[name], epochs=6))
    found = package.run(again)
    np.testing.assert_array_equal(found.losses, six.losses[3:])
    for key, value in six.parameters.items():
        np.testing.assert_array_equal(found.parameters[key], value)
    assert gdcli("run", written(again), "--no-plot", "-q").code == 0
    assert gdcli("run", written(spec_of(MODELS[name], epochs=6), "s.yaml"), "--no-plot", "-q", "-o", "six").code == 0
    ours, theirs = (load_file(only_folder(Path(root)) / "model.safetensors") for root in ("runs", "six"))
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


@pytest.mark.parametrize("named", ["folder", "file", "last"])
def test_a_record_is_named_by_its_folder_its_file_or_its_name(gdcli: Any, named: str) -> None:
    folder = first(gdcli, MLP)
    expected = load_file(folder / "model.safetensors")
    if named == "last":
        os.rename("first", "runs")  # noqa: PTH104
    start = {"folder": folder, "file": folder / "model.safetensors", "last": "last"}[named]
    model = {**MLP, "from": str(start)} if named == "file" else {"from": str(start)}
    run = package.run(written(spec_of(model, epochs=0, print={"style": "loss"})))
    for name, value in expected.items():
        np.testing.assert_array_equal(run.parameters[name], value)


def test_the_path_is_relative_to_the_spec_and_its_digest_recorded(gdcli: Any) -> None:
    Path("deep").mkdir()
    save_file({"weight": np.array([[2.0, 3.0]], np.float32), "bias": np.array([1.0], np.float32)}, "deep/w.safetensors")
    spec = written(spec_of({"type": "linear", "from": "w.safetensors"}, epochs=1), "deep/t.yaml")
    assert gdcli("run", spec, "--no-plot", "-q").code == 0
    record = only_folder(Path("runs"))
    import hashlib

    digest = hashlib.sha256(Path("deep/w.safetensors").read_bytes()).hexdigest()
    assert f'sha256: "{digest}"' in (record / "config.yaml").read_text()
    loss = np.mean((np.array(X) @ [2.0, 3.0] + 1 - Y) ** 2)
    assert package.load(record).losses[0] == pytest.approx(loss, rel=1e-6)
    assert gdcli("verify", "last").out == "bit-identical\n"
    save_file({"weight": np.array([[2.0, 4.0]], np.float32), "bias": np.array([1.0], np.float32)}, "deep/w.safetensors")
    answer = gdcli("verify", "last")
    assert answer.code == 2
    assert "has changed since this digest was taken" in answer.err
    assert gdcli("run", spec, "--no-plot", "-q").code == 0  # another experiment, another folder
    assert len({path.name[-8:] for path in Path("runs/t").iterdir()}) == 2


def test_init_and_freeze_come_after_the_weights(gdcli: Any) -> None:
    folder = first(gdcli, MLP)
    expected = load_file(folder / "model.safetensors")
    model = {"from": str(folder), "init": {"linear2.*": 0.5}, "freeze": ["linear1.*"]}
    run = package.run(spec_of(model))
    np.testing.assert_array_equal(run.parameters["linear1.weight"], expected["linear1.weight"])
    assert not np.array_equal(run.parameters["linear2.weight"], np.full((1, 3), 0.5))
    start = package.run(spec_of(model, epochs=0, print={"style": "loss"}))
    np.testing.assert_array_equal(start.parameters["linear2.weight"], np.full((1, 3), 0.5))


def test_weights_of_float32_start_a_run_in_float64_and_not_the_other_way(gdcli: Any) -> None:
    weights = {"weight": np.array([[0.1, 0.2]], np.float32), "bias": np.array([0.3], np.float32)}
    save_file(weights, "w.safetensors")
    spec = spec_of({"type": "linear", "from": "w.safetensors"}, epochs=0, dtype="float64", print={"style": "loss"})
    run = package.run(written(spec))
    np.testing.assert_array_equal(run.parameters["weight"], weights["weight"].astype(np.float64))
    save_file({name: value.astype(np.float64) for name, value in weights.items()}, "w.safetensors")
    answer = gdcli("validate", written({**spec, "dtype": "float32"}))
    assert answer.code == 2
    assert "'weight' has 'F64', the model's has F32" in answer.err


def test_a_fleet_starts_with_them_too(gdcli: Any) -> None:
    folder = first(gdcli, MLP)
    found = package.sweep(spec_of({"from": str(folder)}), {"lr": [0.01, 0.05]})
    alone = package.run(spec_of({"from": str(folder)}))
    assert found.results[1].loss == pytest.approx(float(alone.summary["final_loss"]), rel=1e-6)
    assert len({row["weights"] for row in found.rows}) == 1


def test_a_shared_bias_stays_one_number(gdcli: Any) -> None:
    model = {"type": "mlp", "layers": [2, 2, 1], "init": {"linear1.bias": [0.35]}}
    folder = first(gdcli, model)
    run = package.run(spec_of({"from": str(folder)}))
    assert run.parameters["linear1.bias"].shape == (1,)
    six = package.run(spec_of(model, epochs=6))
    np.testing.assert_array_equal(run.losses, six.losses[3:])


BAD: dict[str, tuple[Any, str]] = {
    "other names": ({"w": (1, 2), "bias": (1,)}, "has no 'weight' [1, 2]"),
    "another shape": ({"weight": (2, 1), "bias": (1,)}, "'weight' has shape [2, 1], the model's has [1, 2]"),
    "more": ({"weight": (1, 2), "bias": (1,), "more": (1,)}, "has 'more', which the model has not"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", ["linear", "sequential"])
def test_weights_of_another_model_are_told_at_their_place(gdcli: Any, name: str, kind: str) -> None:
    shapes, message = BAD[name]
    model = {"type": "linear", "from": "w.safetensors"}
    if kind == "sequential":
        layer = {"layer": "Linear", "in_features": 2, "out_features": 1}
        model = {"type": "sequential", "layers": [layer], "from": "w.safetensors"}
        shapes, message = {f"0.{key}": shape for key, shape in shapes.items()}, message.replace("'", "'0.", 1)
    save_file({key: np.zeros(shape, np.float32) for key, shape in shapes.items()}, "w.safetensors")
    answer = gdcli("validate", written(spec_of(model)))
    assert (answer.code, message in answer.err) == (2, True), answer.err
    assert answer.err.startswith("t.yaml:1:")
    assert "model.from" in answer.err


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "text": b"weights",
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    "a header of 2^62 bytes": (2**62).to_bytes(8, "little") + b"{}",
    "no object": (2).to_bytes(8, "little") + b"[]",
    "no offsets": (32).to_bytes(8, "little") + b'{"weight":{"dtype":"F32"}}      ',
    "beyond the end": b"",
    "overlapping": b"",
    "nested": (10**6).to_bytes(8, "little") + b"[" * 10**6,
}


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


WEIGHT = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
HOSTILE["beyond the end"] = header(weight=WEIGHT, bias={"dtype": "F32", "shape": [1], "data_offsets": [8, 12]})
HOSTILE["overlapping"] = header(weight=WEIGHT, bias={"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}) + b"\0" * 8
HOSTILE["negative"] = header(weight={"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}) + b"\0" * 8
HOSTILE["2^60 rows"] = header(weight={"dtype": "F32", "shape": [2**50, 2**10], "data_offsets": [0, 2**52]}) + b"\0" * 8
HOSTILE["an escape"] = header(**{"\x1b[31m": WEIGHT}) + b"\0" * 8


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_weights_is_one_message(gdcli: Any, name: str) -> None:
    Path("w.safetensors").write_bytes(HOSTILE[name])
    answer = gdcli("run", written(spec_of({"type": "linear", "from": "w.safetensors"})), "--no-plot")
    assert (answer.code, answer.out) == (2, "")
    assert "model.from" in answer.err
    assert answer.err.isascii()
    assert "\x1b" not in answer.err
    assert not Path("runs").exists()


def test_links_pipes_and_what_is_not_there_are_refused(gdcli: Any) -> None:
    folder = first(gdcli, {"type": "linear"})
    Path("link.safetensors").symlink_to(folder / "model.safetensors")
    Path("linked").symlink_to(folder)
    os.mkfifo("pipe.safetensors")
    for name in ("link.safetensors", "linked", "pipe.safetensors", "nothing.safetensors", "nothing", "first"):
        answer = gdcli("run", written(spec_of({"type": "linear", "from": name})), "--no-plot")
        assert answer.code == 2, name
        assert "model.from" in answer.err
        assert answer.err.count("\n") == 1


def test_a_records_model_that_was_changed_is_refused(gdcli: Any) -> None:
    folder = first(gdcli, {"type": "linear"})
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    answer = gdcli("run", written(spec_of({"from": str(folder)})), "--no-plot")
    assert answer.code == 2
    assert "'model.safetensors' was changed: its record has another sha256" in answer.err


def test_torch_reads_the_file_into_its_own_module(gdcli: Any) -> None:
    folder = first(gdcli, STACK)
    module = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    found = load_file(folder / "model.safetensors")
    module.load_state_dict({name: torch.from_numpy(value) for name, value in found.items()})
    assert module[1].num_batches_tracked == 3


def test_a_shape_of_more_axes_than_an_array_has_is_refused_before_it_is_multiplied(gdcli: Any) -> None:
    entry = {"dtype": "F32", "shape": [2**52] * 200_000, "data_offsets": [0, 4]}  # a product of ten million bits
    text = json.dumps({"weight": entry}).encode()
    Path("w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    answer = gdcli("validate", written(spec_of({"type": "linear", "from": "w.safetensors"})))
    assert (answer.code, "does not say what tensors there are" in answer.err) == (2, True), answer.err
