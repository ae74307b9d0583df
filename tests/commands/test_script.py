"""`gdcli export --format script`: the script prints the run's bytes and ends with its weights, bit for bit."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from gdcli.spec import bundled, document, schema

RULES = {
    "sgd": {"lr": 0.5},
    "momentum": {"name": "sgd", "lr": 0.5, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
    "nesterov": {"name": "sgd", "lr": 0.5, "momentum": 0.9, "nesterov": True},
    "adagrad": {"lr": 0.1, "lr_decay": 0.1},
    "rmsprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "adam": {"lr": 0.05, "amsgrad": True},
    "adamw": {"lr": 0.05},
    "adadelta": {},
    "adamax": {"weight_decay": 0.1},
    "nadam": {"lr": 0.05},
    "radam": {"lr": 0.05, "betas": [0.8, 0.9]},
    "rprop": {"lr": 0.05, "etas": [0.4, 1.3]},
    "asgd": {"lr": 0.5, "t0": 3, "maximize": True},
}
BATCHES: dict[str, Any] = {
    "full": "full",
    "shuffled": {"mode": "full", "shuffle": True},
    "stochastic": "stochastic",
    "in order": {"mode": "stochastic", "shuffle": False},
    "mini-batch": {"mode": "mini-batch", "size": 2},
    "last one left out": {"size": 3, "drop_last": True},
    "accumulated": {"size": 2, "accumulate": 2},
}
SCHEDULES: dict[str, Any] = {
    "none": None,
    "step": {"name": "step", "step_size": 2},
    "multi_step": {"name": "multi_step", "milestones": [1, 3], "gamma": 0.5},
    "constant": "constant",
    "linear": {"name": "linear", "total_iters": 3},
    "exponential": {"name": "exponential", "gamma": 0.9},
    "polynomial": {"name": "polynomial", "power": 2},
    "cosine_annealing": {"name": "cosine_annealing", "T_max": 3},
    "cosine_annealing_warm_restarts": {"name": "cosine_annealing_warm_restarts", "T_0": 2, "T_mult": 2},
    "reduce_on_plateau": {"name": "reduce_on_plateau", "patience": 0, "threshold": 0.5},
    "one_cycle": {"name": "one_cycle", "anneal_strategy": "linear"},
    "warmup": {"name": "warmup", "total_iters": 2},
    "warmup and then": {"name": "warmup", "total_iters": 2, "then": {"name": "exponential", "gamma": 0.5}},
    "of groups": {"groups": {"linear1.*": {"name": "exponential", "gamma": 0.5}}},
}
LOSSES: dict[str, Any] = {
    **dict.fromkeys(("mse", "mae", "huber", "sse", "half_sse", "half_mse", "smooth_l1")),
    "bce": {"model.output_activation": "sigmoid"},
    "bce_with_logits": None,
    "kl_div": {"model.output_activation": "log_softmax"},
    "cross_entropy": None,
    "nll": {"model.output_activation": "log_softmax"},
}
X = [[0.05, 0.1], [0.9, -0.4], [0.3, 0.7], [-0.2, 0.6], [0.8, 0.2]]
Y = [[0.01, 0.99], [0.9, 0.2], [0.4, 0.6], [0.3, 0.8], [0.7, 0.1]]


def spec_of(**sections: Any) -> dict[str, Any]:
    """A 2-2-2 network on five rows."""
    model = {"type": "mlp", "layers": [2, 2, 2], "activation": "sigmoid"}
    spec = {
        "name": "t",
        "data": {"x": X, "y": Y},
        "model": model,
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.5},
    }
    spec |= {"epochs": 4, "print": {"style": "epoch"}} | sections
    return {key: value for key, value in spec.items() if value is not None}


def ran(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """What a script prints, and its parameters and buffers at the end, run in this process."""
    names: dict[str, Any] = {"__file__": str(path), "__name__": "__main__"}
    threads, out = torch.get_num_threads(), io.StringIO()
    with redirect_stdout(out):
        exec(compile(path.read_text(), path.name, "exec"), names)
    torch.set_num_threads(threads)
    found = names["model"].state_dict() if "model" in names else names.get("parameters", {})
    return out.getvalue(), {name: tensor.detach().numpy() for name, tensor in found.items()}


def require_same(gdcli: Any, spec: str) -> str:
    """The run of a spec and its script print the same and end with the same bits; return the script."""
    run = gdcli("run", spec, "--no-plot", "--output", "runs")
    assert run.code == 0, run.err
    export = gdcli("export", spec, "--format", "script", "-o", "t.py", "-q", "--force")
    assert export.code == 0, export.err
    out, weights = ran(Path("t.py"))
    assert out == run.out
    (folder,) = Path("runs").glob("*/*")
    recorded = load_file(folder / "model.safetensors")
    shutil.rmtree("runs")
    assert list(weights) == list(recorded) or set(weights) == set(recorded)
    for name, values in recorded.items():
        assert weights[name].tobytes() == values.tobytes(), name
    return Path("t.py").read_text()


def require_same_of(gdcli: Any, **sections: Any) -> str:
    Path("t.yaml").write_text(json.dumps(spec_of(**sections)))
    return require_same(gdcli, "t.yaml")


def trains(name: str) -> bool:
    source = bundled.find(name)
    spec = schema.parse(document.read(source.text, source.shown), name, alone=False)
    return spec.optimizer is not None or spec.settings.epochs == 0


@pytest.mark.parametrize("name", list(filter(trains, bundled.names())))
def test_of_each_bundled_spec_bytes_and_bits_are_the_same(gdcli: Any, name: str) -> None:
    require_same(gdcli, name)


# --- each rule, batch mode, schedule and loss on a small network ------------------------------------------------------


def turn(table: dict[str, Any], k: int) -> Any:
    return list(table.values())[k % len(table)]


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_with_each_batch_mode(gdcli: Any, rule: str) -> None:
    """And each with another schedule, other clipping, another number format."""
    k, settings = list(RULES).index(rule), {"name": rule, **RULES[rule]}
    for place, batch in enumerate(BATCHES):
        sections: dict[str, Any] = {"scheduler": turn(SCHEDULES, k + place)} if place % 2 else {}
        if batch == "accumulated" and rule == "sgd":
            sections["stop"] = {"loss": 0.01}
        clip = [None, {"norm": 0.01}, {"value": 0.005}][(k + place) % 3]
        dtype = "float64" if (k + place) % 4 == 3 else "float32"
        style = {"style": "tensor"} if place % 3 == 0 else {"style": "epoch"}
        require_same_of(
            gdcli, optimizer=settings, batch=BATCHES[batch], clip=clip, dtype=dtype, print=style, **sections
        )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_schedule_by_epochs_of_several_steps(gdcli: Any, schedule: str) -> None:
    for rule in ("momentum", "adam"):
        require_same_of(
            gdcli, scheduler=SCHEDULES[schedule], optimizer={"name": rule, **RULES[rule]}, batch={"size": 2}, epochs=7
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_printed_as_torch_shows_it(gdcli: Any, loss: str) -> None:
    classes = loss in ("cross_entropy", "nll")
    y = [[0.2, 0.8], [0.5, 0.5], [1, 0], [0, 1], [0.4, 0.6]] if loss == "kl_div" else Y
    model = {"type": "mlp", "layers": [2, 3, 2], "activation": "tanh"}
    for key, value in (LOSSES[loss] or {}).items():
        model[key.removeprefix("model.")] = value
    data = {"x": X, "y": [0, 1, 1, 0, 1] if classes else y}
    for style in ("tensor", "backprop", "layers", "loss", "parameters", "epoch"):
        require_same_of(gdcli, data=data, model=model, loss=loss, print={"style": style}, epochs=2)
    require_same_of(gdcli, data=data, model=model, loss=loss, print={"style": "tensor"}, dtype="float64", epochs=2)
