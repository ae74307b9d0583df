"""Torch's own layers: what cannot be made, does not fit or takes no batch of one row is told at the layer's place."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gdcli.zoo.models import LAYERS, Stack, TorchLayer

ROWS = {"x": [[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.2, 0.9], [1, 2, 3, 4]], "y": [[1.0], [0.0], [1.0]]}


def written(layers: list[Any], **more: Any) -> str:
    spec = {
        "data": ROWS,
        "model": {"type": "sequential", "layers": layers},
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.01},
        "epochs": 2,
        **more,
    }
    Path("s.yaml").write_text(json.dumps(spec))
    return "s.yaml"


def layer(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"layer": kind, **arguments}


LINEAR = layer("Linear", in_features=4, out_features=1)
REFUSED: dict[str, tuple[list[Any], int, str]] = {
    "a tuple": (
        [
            layer("Unflatten", dim=1, unflattened_size=[1, 4]),
            layer("AdaptiveMaxPool1d", output_size=4, return_indices=True),
        ],
        1,
        "AdaptiveMaxPool1d gives a tuple with these settings, no tensor of numbers",
    ),
    "a tuple before a layer": (
        [
            layer("Unflatten", dim=1, unflattened_size=[1, 4]),
            layer("AdaptiveMaxPool1d", output_size=4, return_indices=True),
            "Flatten",
        ],
        1,
        "gives a tuple",
    ),
    "a constructor that divides by zero": (
        [layer("GroupNorm", num_groups=0, num_channels=4), LINEAR],
        0,
        "torch.nn.GroupNorm",
    ),
    "a constructor that asserts": ([layer("Hardtanh", min_val=10.0), LINEAR], 0, "torch.nn.Hardtanh: max_val"),
    "an argument that it has not": ([layer("Linear", in_features=4, out_features=1, bais=True)], 0, "bais"),
    "a width": (["ReLU", layer("Linear", in_features=5, out_features=1)], 1, "Linear does not fit"),
    "a channel axis": (
        [
            layer("Unflatten", dim=1, unflattened_size=[2, 2]),
            layer("Conv2d", in_channels=3, out_channels=1, kernel_size=1),
        ],
        1,
        "Conv2d does not fit",
    ),
}


@pytest.mark.parametrize("command", ["validate", "run", "check"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_told_at_its_layer(gdcli, name: str, command: str) -> None:
    layers, index, told = REFUSED[name]

    answer = gdcli(command, written(layers))
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("s.yaml:1:")
    assert f": model.layers[{index}]: " in line
    assert told in line


NORM = [layer("BatchNorm1d", num_features=4), LINEAR]


@pytest.mark.parametrize(
    ("batch", "hint"),
    [
        ("stochastic", "Set batch: full, or a larger batch.size"),  # it takes no drop_last, which would leave nothing
        ({"mode": "mini-batch", "size": 1}, "Set batch: full, or a larger batch.size"),
        ({"mode": "mini-batch", "size": 2}, "batch.drop_last: true leaves it out"),
    ],
    ids=str,
)
def test_a_batch_norm_with_a_batch_of_one_row_is_told_by_validate(gdcli, batch: Any, hint: str) -> None:
    answer = gdcli("validate", written(NORM, batch=batch))
    assert answer.code == 2
    assert "model.layers[0]: BatchNorm1d takes no batch of one row" in answer.err
    assert answer.err.rstrip().endswith(hint)


@pytest.mark.parametrize(
    "batch", ["full", {"mode": "mini-batch", "size": 2, "drop_last": True}, {"mode": "mini-batch", "size": 3}], ids=str
)
def test_a_batch_norm_without_one_is_valid_and_trains(gdcli, batch: Any) -> None:
    spec = written(NORM, batch=batch)
    assert gdcli("validate", spec).code == 0
    assert gdcli("run", spec, "--no-plot", "-q").code == 0


def test_no_layer_is_tried_on_one_row_where_nothing_is_trained(gdcli) -> None:
    spec = written(NORM, data={"x": [[1, 2, 3, 4]], "y": [[1]]}, epochs=0, print={"style": "loss"})
    assert gdcli("validate", spec).code == 0


def test_trying_layers_on_one_row_draws_nothing_from_the_runs_generator(gdcli) -> None:
    """Dropout's numbers of a run with a last batch of one row are those of a bare script."""
    import torch

    spec = written(
        [layer("Dropout", p=0.5), LINEAR], batch={"mode": "mini-batch", "size": 2, "shuffle": False}, epochs=1
    )
    answer = gdcli("run", spec, "--no-plot", "--json")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    net.train()
    first = torch.nn.functional.mse_loss(net(torch.tensor(ROWS["x"][:2])), torch.tensor(ROWS["y"][:2])).item()
    recorded = (Path(answer.json["folder"]) / "steps.csv").read_text().splitlines()[1].split(",")[3]
    assert float(recorded) == first


@pytest.mark.parametrize("style", ["manual", "autograd"])
def test_a_style_of_one_gradient_is_refused_where_the_layers_have_more(gdcli, style: str) -> None:
    answer = gdcli("validate", written([LINEAR], batch="stochastic", print={"style": style}))
    assert answer.code == 2
    assert f"print.style: the style {style} prints one gradient, the model has 5" in answer.err


@pytest.mark.parametrize("command", ["validate", "sweep"])
def test_groups_of_names_that_the_layers_lack_are_told_before_anything_runs(gdcli, command: str) -> None:
    spec = written([LINEAR], optimizer={"name": "sgd", "groups": {"9.*": {"lr": 1.0}}})
    answer = gdcli(command, spec, *(["--param", "seed=0,1"] if command == "sweep" else []))
    assert (answer.code, answer.out) == (2, "")
    assert "optimizer.groups.9.*: no parameter of that name. Known: 0.bias, 0.weight" in answer.err
    assert not Path("runs").exists()


def test_a_layer_that_raises_in_the_middle_of_a_run_is_told_with_step_and_record(
    gdcli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    trained: list[int] = []

    def forward(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad:
            trained.append(len(x))
            if len(trained) == 3:
                raise RuntimeError("no more\nthan two")
        return x

    monkeypatch.setattr(torch.nn.Tanh, "forward", forward)
    last = layer("Linear", in_features=1, out_features=1)
    answer = gdcli("run", written([LINEAR, "Tanh", layer("Dropout", p=0.1), last], epochs=5), "--no-plot", "-q")
    (folder,) = Path("runs/s").iterdir()
    assert answer.code == 1
    told = answer.err.splitlines()[-1]
    assert told.startswith("torch refused layer 1 at step 3: no more. ")
    message, _, where = told.partition(". The record is ")
    assert where == str(folder)
    assert json.loads((folder / "summary.json").read_text()) == {"status": "failed", "message": message}


# --- layers that train otherwise than they evaluate -------------------------------------------------------------------


def test_the_layers_that_train_otherwise_than_they_evaluate_are_those_that_ask_in_torchs_source() -> None:
    import torch

    def asks(kind: str) -> bool:
        bases = [base for base in getattr(torch.nn, kind).__mro__ if base not in (torch.nn.Module, object)]
        return any("self.training" in inspect.getsource(base) for base in bases)

    of_both = {"dropout": 0.5, "track_running_stats": True}  # arguments without which some are the same in both
    told = {kind for kind in LAYERS if Stack((TorchLayer("0", kind, of_both, ()),)).trains_otherwise}
    assert told == {kind for kind in LAYERS if asks(kind)}


DROPPED = [
    layer("Linear", in_features=4, out_features=8),
    layer("Dropout", p=0.5),
    layer("Linear", in_features=8, out_features=1),
]


@pytest.mark.parametrize("style", ["epoch", "layers"])
@pytest.mark.parametrize("size", ["full", {"mode": "mini-batch", "size": 2}], ids=["full", "mini-batch"])
def test_the_best_loss_is_evaluated_where_dropout_draws_other_losses_in_training(gdcli, size: Any, style: str) -> None:
    spec = written(DROPPED, optimizer={"name": "sgd", "lr": 0}, epochs=30, batch=size, print={"style": style})
    found = gdcli("run", spec, "--no-plot", "--json").json
    assert found["best_loss"] == found["final_loss"]  # nothing moves


def test_a_target_is_reached_by_the_evaluated_loss_where_dropout_draws_lower_ones_in_training(gdcli) -> None:
    spec = written(DROPPED, epochs=30)
    evaluated = gdcli("run", spec, "optimizer.lr=0", "--no-plot", "--json").json["final_loss"]
    losses = next(Path("runs/s").iterdir()).joinpath("steps.csv").read_text().splitlines()[1:]
    lowest = min(float(row.split(",")[3]) for row in losses)
    target = (lowest + evaluated) / 2
    assert lowest < target
    answer = gdcli("compare", spec, "--optimizers", "sgd:lr=0,adam:lr=0", "--target", str(target), "--json")
    assert [row["to_target"]["reached"] for row in answer.json["rows"]] == [0, 0]


@pytest.mark.slow
def test_layers_of_usual_sizes_are_tried_without_the_computer_algebra_that_torch_has(tmp_path: Path) -> None:
    """torch imports sympy, 500 modules and a second of a command, where it works shapes out without numbers."""
    channels = layer("Conv1d", in_channels=1, out_channels=2, kernel_size=3, padding=1)
    model = [layer("Unflatten", dim=1, unflattened_size=[1, 4]), channels, "ReLU", layer("MaxPool1d", kernel_size=2)]
    model += [
        layer("ConvTranspose1d", in_channels=2, out_channels=2, kernel_size=3),
        layer("AdaptiveAvgPool1d", output_size=4),
        "Flatten",
        layer("Linear", in_features=8, out_features=4),
        layer("BatchNorm1d", num_features=4),
        LINEAR,
    ]
    spec = {"data": ROWS, "model": {"type": "sequential", "layers": model}, "loss": "mse", "optimizer": "sgd"}
    (tmp_path / "s.yaml").write_text(json.dumps(spec))
    program = (
        "import sys\n"
        "from gdcli.cli import main\n"
        "codes = main(['validate', 's.yaml']), main(['run', 's.yaml', '--no-plot', '-q'])\n"
        "print(codes, 'torch' in sys.modules, 'sympy' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == "(0, 0) True False", answer.stderr
