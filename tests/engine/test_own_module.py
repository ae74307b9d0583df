"""A plugin's module is trained as a plain loop of torch trains it, to the bit, with all that a module may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gdcli
from gdcli.engine.grouping import why_alone
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.spec.schema import parse
from gdcli.zoo import plugins
from tests import own_plugins

pytestmark = pytest.mark.usefixtures("without_plugins")
X = np.linspace(-1, 1, 12).reshape(6, 2)
Y = X[:, :1] ** 2 - X[:, 1:]
SPEC: dict[str, Any] = {
    "name": "own",
    "data": {"x": X.tolist(), "y": Y.tolist()},
    "model": {"type": "Wide"},
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 0.05},
    "epochs": 5,
    "seed": 3,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(own_plugins.ONE_OF_EACH)


def module_of(code: str) -> type[torch.nn.Module]:
    """Write a plugin with the class Net, and return the class by itself."""
    text = f"import torch\nfrom torch import nn\nimport gdcli\n\n\n@gdcli.model\n{code}"
    Path("net.py").write_text(text)
    scope: dict[str, Any] = {}
    exec(compile(text.replace("@gdcli.model\n", ""), "plain", "exec"), scope)
    found: type[torch.nn.Module] = scope["Net"]
    return found


def trained(net: torch.nn.Module, dtype: torch.dtype, epochs: int, lr: float) -> tuple[list[float], Any]:
    """Train by a loop of torch's own: losses before each update."""
    x, y = torch.tensor(X, dtype=dtype), torch.tensor(Y, dtype=dtype)
    optimizer, losses = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=lr), []
    net.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: value.detach().numpy() for name, value in net.state_dict().items()}


def assert_same_as_plain(code: str, **changes: Any) -> gdcli.Run:
    """Train the class with gdcli and by a plain loop, in both dtypes: the same bits."""
    made = module_of(code)
    for dtype in ("float64", "float32"):
        torch_dtype = getattr(torch, dtype)
        torch.manual_seed(3)
        torch.set_default_dtype(torch_dtype)
        try:
            net = made(2, 1)
        finally:
            torch.set_default_dtype(torch.float32)
        losses, state = trained(net, torch_dtype, 5, 0.05)
        spec = {**SPEC, "model": {"type": "Net"}, "dtype": dtype, **changes}
        run = gdcli.run(spec, plugins="net.py")
        assert run.losses.tolist() == losses
        kept = run.model.state_dict()
        assert {name: value.tolist() for name, value in kept.items()} == {k: v.tolist() for k, v in state.items()}
        with torch.no_grad():
            expected = net.eval()(torch.tensor(X, dtype=torch_dtype)).numpy()
        assert np.array_equal(run.predict(X), expected)
    return run


def test_two_layers_and_a_skip() -> None:
    run = assert_same_as_plain(
        "class Net(nn.Module):\n"
        "    def __init__(self, inputs, outputs):\n"
        "        super().__init__()\n"
        "        self.skip, self.inner = nn.Linear(inputs, outputs), nn.Linear(inputs, 3)\n"
        "        self.outer = nn.Linear(3, outputs)\n"
        "    def forward(self, x):\n"
        "        return self.skip(x) + self.outer(torch.tanh(self.inner(x)))\n"
    )
    assert set(run.gradients) == {
        f"{part}.{what}" for part in ("skip", "inner", "outer") for what in ("weight", "bias")
    }


def test_parameters_of_its_own_that_are_shared_frozen_or_not_used() -> None:
    run = assert_same_as_plain(
        "class Net(nn.Module):\n"
        "    def __init__(self, inputs, outputs):\n"
        "        super().__init__()\n"
        "        self.first = nn.Linear(inputs, inputs)\n"
        "        self.again = self.first\n"
        "        self.last = nn.Linear(inputs, outputs)\n"
        "        self.fixed = nn.Parameter(torch.rand(inputs), requires_grad=False)\n"
        "        self.idle = nn.Parameter(torch.rand(3))\n"
        "        self.scale = nn.Parameter(torch.ones(()))\n"
        "    def forward(self, x):\n"
        "        return self.last(self.again(torch.relu(self.first(x))) * self.fixed) * self.scale\n"
    )
    assert "fixed" not in run.gradients
    assert not run.gradients["idle"].any()
    assert run.gradients["scale"].any()
    assert "again.weight" not in run.parameters


def test_buffers_and_batch_norms() -> None:
    run = assert_same_as_plain(
        "class Net(nn.Module):\n"
        "    def __init__(self, inputs, outputs):\n"
        "        super().__init__()\n"
        "        self.norm, self.last = nn.BatchNorm1d(inputs), nn.Linear(inputs, outputs)\n"
        "        self.register_buffer('passes', torch.zeros((), dtype=torch.int64))\n"
        "    def forward(self, x):\n"
        "        if self.training:\n"
        "            self.passes += 1\n"
        "        return self.last(self.norm(x))\n"
    )
    assert int(run.model.passes) == 5


def test_a_module_that_cannot_be_made_without_memory() -> None:
    assert_same_as_plain(
        "class Net(nn.Module):\n"
        "    def __init__(self, inputs, outputs):\n"
        "        super().__init__()\n"
        "        self.last = nn.Linear(inputs, outputs)\n"
        "        self.factor = float(torch.ones(1))\n"
        "    def forward(self, x):\n"
        "        return self.last(x) * self.factor if x.abs().max() < 10 else self.last(x)\n"
    )


def test_a_function_that_returns_a_module_and_a_shape_of_rows() -> None:
    Path("net.py").write_text(
        "from torch import nn\nimport gdcli\n\n\n@gdcli.model\ndef small(inputs, outputs, *, channels: int = 2):\n"
        "    return nn.Sequential(nn.Conv2d(1, channels, 2), nn.Flatten(), nn.Linear(channels, outputs))\n"
    )
    rows = np.random.default_rng(0).normal(size=(5, 4))
    spec = {**SPEC, "data": {"x": rows.tolist(), "y": [[1.0]] * 5, "shape": [1, 2, 2]}, "model": "small"}
    run = gdcli.run(spec, {"model.channels": 3}, plugins="net.py")
    assert tuple(run.parameters["0.weight"].shape) == (3, 1, 2, 2)
    assert run.predict(rows).shape == (5, 1)


def test_init_and_freeze_know_its_parameters_by_their_names() -> None:
    spec = {**SPEC, "model": {"type": "Wide", "init": {"skip.weight": 0.5, "inner.*": 0}, "freeze": ["outer.*"]}}
    run = gdcli.run(spec, plugins="mine.py", epochs=1)
    assert "outer.weight" not in run.gradients
    spec["model"]["freeze"] = ["skip.wieght"]
    with pytest.raises(gdcli.SpecError, match=r"skip\.weight"):
        gdcli.run(spec, plugins="mine.py")


def test_weights_of_a_record_start_another_run() -> None:
    first = gdcli.run(SPEC, plugins="mine.py", output="runs", plot=False)
    spec = {**SPEC, "model": {"type": "Wide", "from": str(first.folder)}, "epochs": 0, "print": {"style": "loss"}}
    again = gdcli.run(spec, plugins="mine.py")
    assert all(np.array_equal(again.parameters[name], value) for name, value in first.parameters.items())


def test_dropout_draws_from_the_seed_and_is_off_in_evaluation() -> None:
    spec = {**SPEC, "model": {"type": "Wide", "dropout": 0.5}}
    runs = [gdcli.run(spec, plugins="mine.py", seed=seed) for seed in (1, 1, 2)]
    assert runs[0].losses.tolist() == runs[1].losses.tolist() != runs[2].losses.tolist()
    assert np.array_equal(runs[0].predict(X), runs[0].predict(X))


def loaded_of(**changes: Any) -> Any:
    return load(parse(read(json.dumps({**SPEC, **changes}), "f"), "own"), Path())


def test_what_sees_one_run_at_a_time_is_trained_alone() -> None:
    plugins.load(["mine.py"])
    mlp = {"type": "mlp", "layers": [2, 3, 1], "activation": "tanh"}
    assert why_alone(loaded_of(model=mlp)) == ""
    assert "quartic" in why_alone(loaded_of(model=mlp, loss="quartic"))
    assert "Lion" in why_alone(loaded_of(model=mlp, optimizer="Lion"))
    assert "square" in why_alone(loaded_of(model={**mlp, "activation": "square"}))
    assert why_alone(loaded_of())


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("self.last(x).sum()", "gives [] of 2 rows: it mixes them"),
        ("torch.cat([self.last(x)] * 2, 1)", "the output of Net has shape [2] a row, the data need [1]"),
        ("self.last(x).unsqueeze(1)", "the output of Net has shape [1, 1] a row, the data need [1]"),
    ],
)
def test_an_output_that_does_not_fit_is_told_before_a_run(output: str, told: str) -> None:
    module_of(
        "class Net(nn.Module):\n    def __init__(self, inputs, outputs):\n        super().__init__()\n"
        f"        self.last = nn.Linear(inputs, outputs)\n    def forward(self, x):\n        return {output}\n"
    )
    with pytest.raises(gdcli.SpecError) as error:
        gdcli.run({**SPEC, "model": {"type": "Net"}}, plugins="net.py")
    assert told in str(error.value)


def test_more_parameters_than_any_machine_has_are_refused_before_they_are_made() -> None:
    module_of(
        "class Net(nn.Module):\n    def __init__(self, inputs, outputs):\n        super().__init__()\n"
        "        self.large, self.one = nn.Parameter(torch.empty(10**7, 10**6)), nn.Parameter(torch.empty(1))\n"
        "    def forward(self, x):\n        return x\n"
    )
    with pytest.raises(gdcli.SpecError, match="10,000,000,000,001 parameters, more than 1,000,000,000"):
        gdcli.run({**SPEC, "model": {"type": "Net"}}, plugins="net.py")
