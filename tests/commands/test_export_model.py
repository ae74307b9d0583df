"""`gdcli export --format state_dict|onnx` and `Run.model`: torch reads them, and they predict alike."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gdcli as package
from tests.commands.test_predict import LAYERS

X = np.random.default_rng(3).normal(size=(40, 3))
MODELS: dict[str, Any] = {
    "linear": "linear",
    "mlp": {"type": "mlp", "layers": [3, 5, 2], "activation": "gelu", "init": {"linear1.bias": [0.35]}},
    "softmax": {"type": "mlp", "layers": [3, 2], "output_activation": "softmax"},
    "sign": {"type": "mlp", "layers": [3, 4, 2], "activation": "sign_ste"},
    "layers": {"type": "sequential", "layers": LAYERS},
    "identity": {"type": "identity"},
    "sequence": {
        "type": "sequential",
        "layers": [{"layer": "GRU", "hidden_size": 4, "last": True}, {"layer": "Linear", "out_features": 2}],
    },
    "image": {
        "type": "sequential",
        "layers": [{"layer": "Conv2d", "out_channels": 2, "kernel_size": [1, 2]}, "BatchNorm2d", "Flatten"],
    },
}
SHAPES = {"sequence": [3, 1], "image": [1, 1, 3]}
"""Of a row, as the model takes it."""


def spec_of(name: str) -> dict[str, Any]:
    y = np.hstack([X, X])[:, : {"identity": 3, "layers": 3, "image": 4, "linear": 1}.get(name, 2)]
    data = {"x": X.tolist(), "y": y.tolist(), **({"shape": SHAPES[name]} if name in SHAPES else {})}
    found = {"name": "t", "data": data, "model": MODELS[name], "loss": "mse"}
    return {**found, "optimizer": "sgd", "epochs": 2, "batch": {"size": 10}}


def shaped(name: str) -> Any:
    return X.reshape(-1, *SHAPES.get(name, [3]))


@pytest.mark.parametrize("name", MODELS)
def test_torch_loads_the_state_dict_and_the_module_predicts_the_same(gdcli: Any, name: str) -> None:
    Path("t.yaml").write_text(json.dumps(spec_of(name)))
    assert gdcli("run", "t.yaml", "--no-plot", "-q").code == 0
    assert gdcli("export", "last", "--format", "state_dict", "-o", "t.pt", "-q").code == 0
    assert gdcli("export", "last", "-o", "u.pth", "-q").code == 0  # the ending is that of the format
    assert Path("t.pt").read_bytes() == Path("u.pth").read_bytes()
    state = torch.load("t.pt", weights_only=True)
    record, run = package.load("last"), package.run("t.yaml")
    for module in (record.model, run.model):
        module.load_state_dict(state)  # the names and shapes are the module's own
        assert not module.training
        with torch.no_grad():
            output = module(torch.tensor(shaped(name), dtype=torch.float32)).numpy()
        np.testing.assert_allclose(output, record.predict(X), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(run.predict(X), record.predict(X))


def test_a_linear_model_is_torchs_own(gdcli: Any) -> None:
    assert isinstance(package.run(spec_of("linear")).model, torch.nn.Linear)


def test_without_onnx_it_is_said_what_to_install(gdcli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert gdcli("run", "backprop_2x2", "--no-plot", "-q").code == 0
    answer = gdcli("export", "last", "-o", "m.onnx")
    assert answer.code == 3
    assert answer.err == "--format onnx needs onnx, which is not installed: pip install 'gradient-descent-cli[onnx]'\n"
    assert not Path("m.onnx").exists()


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_computes_what_the_model_does(gdcli: Any, name: str) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime, which runs the graph, is not installed")
    Path("t.yaml").write_text(json.dumps(spec_of(name)))
    assert gdcli("run", "t.yaml", "--no-plot", "-q").code == 0
    answer = gdcli("export", "last", "--format", "onnx", "-o", "m.onnx", "-q")
    assert answer.code == 0, answer.err
    (output,) = runtime.InferenceSession("m.onnx").run(None, {"x": shaped(name).astype(np.float32)})
    np.testing.assert_allclose(output, package.load("last").predict(X), rtol=0, atol=1e-5)


def test_an_objective_and_a_sweep_have_no_module(gdcli: Any) -> None:
    assert gdcli("run", "rosenbrock", "epochs=1", "--no-plot", "-q").code == 0
    assert gdcli("export", "last", "-o", "m.pt", "-q").code == 0  # its variables
    assert set(torch.load("m.pt", weights_only=True)) == {"x", "y"}
    with pytest.raises(package.SpecError, match="an objective"):
        _ = package.run("rosenbrock", epochs=1).model
    assert gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.2", "--no-plot", "-q").code == 0
    assert gdcli("export", "last", "-o", "n.pt").code == 2
