"""`gdcli export --format script`: the script prints the run's bytes and ends with its weights, bit for bit."""

from __future__ import annotations

import ast
import io
import itertools
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from gdcli.spec import bundled, document, schema
from gdcli.zoo.activations import ACTIVATIONS

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
    "warmup and plateau": {
        "name": "warmup",
        "total_iters": 3,
        "then": {"name": "reduce_on_plateau", "patience": 0, "threshold": 0.5},
    },
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
        exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), names)
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
            gdcli, scheduler=SCHEDULES[schedule], optimizer={"name": rule, **RULES[rule]}, batch={"size": 2}, epochs=7,
            print={"style": "tensor" if rule == "adam" else "epoch"},
        )  # fmt: skip


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


# --- data -------------------------------------------------------------------------------------------------------------

REGRESSION = {"model": "linear", "loss": "mse", "optimizer": {"name": "sgd", "lr": 0.05}, "epochs": 2}
CLASSES = {"model": "linear", "loss": "cross_entropy", "optimizer": {"name": "adam", "lr": 0.05}, "epochs": 2}
PATIENT = {"stop": {"patience": 1, "restore": True, "min_delta": 0.01}, "batch": {"size": 16}, "epochs": 5}
DATA: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "linear": ({"generate": {"kind": "linear", "weights": [2, -3.4], "bias": -1, "noise": 0.1}}, REGRESSION),
    "one weight": ({"generate": {"kind": "linear", "weights": [-2], "x": {"uniform": [0, 2]}}}, REGRESSION),
    "polynomial": ({"generate": {"kind": "polynomial", "coefficients": [1, -2, 0.5], "noise": 0.1}}, REGRESSION),
    "constant": ({"generate": {"kind": "polynomial", "coefficients": [1.5], "n": 7}}, REGRESSION),
    "sine": ({"generate": {"kind": "sine", "frequency": 2, "phase": 0.5, "noise": 0.1}, "seed": 5}, REGRESSION),
    "blobs": ({"generate": {"kind": "blobs", "features": 3}, "standardize": True}, CLASSES),
    "spirals": ({"generate": {"kind": "spirals", "classes": 3, "noise": 0.1}}, CLASSES),
    "moons": ({"generate": {"kind": "moons", "noise": 0.1}, "validation": 30}, CLASSES),
    "xor": ({"generate": {"kind": "xor"}}, CLASSES),
    "numbers of classes": ({"generate": {"kind": "xor", "n": 9, "noise": 0.2}}, REGRESSION),
    "wine": ({"dataset": "wine", "standardize": True, "test": 0.1}, CLASSES | PATIENT),
    "diabetes": ({"dataset": "diabetes", "standardize": ["age", "target"], "validation": 0.2}, REGRESSION | PATIENT),
    "breast_cancer": ({"dataset": "breast_cancer", "standardize": True, "folds": 3, "fold": 1}, CLASSES | PATIENT),
    "folds and test": ({"dataset": "iris", "test": 30, "folds": 4, "fold": 2, "stratify": True}, CLASSES | PATIENT),
    "inline": ({"x": X, "y": Y, "standardize": True, "validation": 1}, REGRESSION | PATIENT),
    "inline classes": ({"x": X, "y": [0, 1, 2, 1, 0], "test": 1}, CLASSES),
    "inline constant": ({"x": [[1, 2], [1, 3], [1, 5]], "y": [1, 2, 4], "standardize": True}, REGRESSION),
    "many rows": ({"x": [k / 7 for k in range(300)], "y": [k / 9 for k in range(300)]}, REGRESSION),
}


@pytest.mark.parametrize("name", DATA)
def test_each_source_of_rows_split_and_standardized(gdcli: Any, name: str) -> None:
    data, sections = DATA[name]
    require_same_of(gdcli, data=data, **sections)


TABLE = "size,colour,n,price\n" + "".join(
    f"{1 + k % 7}.5,{('red', 'blue', 'green')[k % 3]},{k % 4 or ''},{k * 0.75}\n" for k in range(20)
)


def test_a_csv_goes_beside_the_script_and_is_read_there(gdcli: Any) -> None:
    Path("folder").mkdir()
    Path("folder/table.csv").write_text(TABLE)
    data = {"file": "folder/table.csv", "features": ["size"], "target": "price", "standardize": ["size", "price"]}
    script = require_same_of(gdcli, data=data, **REGRESSION)
    assert "csv.DictReader" in script
    assert Path("table.csv").read_text() == TABLE
    Path("table.csv").write_text("another\n")
    refused = gdcli("export", "t.yaml", "--format", "script", "-o", "u.py")
    assert refused.code == 2
    assert "table.csv is there already" in refused.err
    assert not Path("u.py").exists()
    printed = gdcli("export", "t.yaml", "--format", "script")
    assert printed.code == 2
    assert "the script reads table.csv" in printed.err


def test_names_of_any_letters_and_signs(gdcli: Any) -> None:
    Path('表 "1".csv').write_text('面积,"a\'\\b","c""d"\n1,2,3\n4,5,9\n', encoding="utf-8")
    data = {"file": '表 "1".csv', "features": ["面积", "a'\\b"], "target": 'c"d'}
    script = require_same_of(gdcli, data=data, **REGRESSION | {"optimizer": {"name": "sgd", "lr": 0.01}})
    assert 'row["面积"]' in script


def test_the_name_of_a_column_is_no_line_of_the_script(gdcli: Any) -> None:
    r"""To Python \r ends a comment as \n does."""
    hostile = "colour\rprint('hello')#"
    Path("table.csv").write_text(TABLE.replace("colour", f'"{hostile}"'), newline="")
    data = {"file": "table.csv", "target": "price", "missing": "most_frequent"}
    script = require_same_of(gdcli, data=data, **REGRESSION)
    assert "print('hello')" in script


TABLES: dict[str, dict[str, Any]] = {
    "text": {"features": ["size", "colour"]},
    "text alone": {"features": ["colour"], "validation": 0.3},
    "categories": {"missing": "mean", "categories": ["n"], "standardize": True, "test": 2},
    "filled in": {"missing": "median", "validation": 0.2, "standardize": ["n", "price"], "seed": 3},
    "numbers filled in": {"missing": "mean", "features": ["size", "n"], "standardize": True},
    "left out": {"missing": "drop", "validation": 0.2},
}


@pytest.mark.parametrize("name", TABLES)
def test_text_and_missing_cells_of_a_csv_are_encoded_in_the_script(gdcli: Any, name: str) -> None:
    Path("table.csv").write_text(TABLE)
    data = {"file": "table.csv", "target": "price", **TABLES[name]}
    sections = REGRESSION | (PATIENT if "validation" in data else {})
    assert "csv.DictReader" in require_same_of(gdcli, data=data, **sections)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits", "mse"])
def test_targets_of_a_csv_are_classes_words_or_numbers(gdcli: Any, loss: str) -> None:
    rows = [f"{1 + k % 7}.5;{k % 2};{('no', 'yes')[k % 3 // 2]}" for k in range(20)]
    Path("table.csv").write_text("size;bit;answer\n" + "\n".join(rows) + "\n")
    target = {"cross_entropy": "answer", "bce_with_logits": "answer", "mse": "bit"}[loss]
    data = {"file": "table.csv", "features": ["size"], "target": target, "validation": 4, "stratify": loss != "mse"}
    assert "delimiter=" in require_same_of(gdcli, data=data, **REGRESSION | PATIENT | {"loss": loss})


@pytest.mark.parametrize("kind", ["npz", "decimal comma", "most frequent"])
def test_rows_of_other_files_go_beside_as_they_are_prepared(gdcli: Any, kind: str) -> None:
    Path("table.csv").write_text(TABLE)
    data: dict[str, Any] = {"file": "table.csv", "target": "price", "validation": 0.2, "seed": 3, "standardize": True}
    if kind == "npz":
        np.savez("table.npz", size=np.arange(20.0), price=np.arange(20.0) / 3)
        data["file"] = "table.npz"
    elif kind == "decimal comma":
        Path("table.csv").write_text(TABLE.replace(",", ";").replace(".", ","))
        data |= {"features": ["size", "colour"], "separator": ";", "decimal": ","}
    else:
        data |= {"missing": "most_frequent"}
    script = require_same_of(gdcli, data=data, **REGRESSION | PATIENT)
    assert "np.load" in script
    assert set(np.load("t.npz")) == {"x", "y", "x_validation", "y_validation"}


@pytest.mark.slow
def test_rows_are_printed_as_the_spec_has_them(gdcli: Any) -> None:
    """0.1 is no float32: the run prints 0.1, not the nearest."""
    for style, dtype in itertools.product(("manual", "autograd"), ("float32", "float64")):
        for predict in (0.3, 12345.5, -1e-5):
            require_same_of(
                gdcli, data={"x": [0.1, 0.2], "y": [1, 2.3]}, batch="stochastic", dtype=dtype,
                print={"style": style, "predict": predict}, **REGRESSION | {"model": {"type": "linear", "bias": False}},
            )  # fmt: skip
    both = {"type": "linear", "freeze": ["weight"]}
    data: dict[str, Any] = {"x": X, "y": [1, 2, 3, 4, 5], "standardize": True}
    given = REGRESSION | {"data": data, "model": both, "batch": {"mode": "stochastic"}}
    require_same_of(gdcli, **given, print={"style": "manual", "predict": [1, 2]})


# --- models -----------------------------------------------------------------------------------------------------------

GROUPS = {"name": "adam", "lr": 0.05, "groups": {"*.bias": {"lr": 0.01, "betas": [0.5, 0.9]}, "linear2.*": {"lr": 1}}}
LINEAR2 = {"layer": "Linear", "out_features": 2}
OF_CLASSES = {"x": X, "y": [0, 1, 1, 0, 1]}
TENSOR = {"print": {"style": "tensor"}}
START = {"linear1.*": "xavier_uniform", "linear2.weight": {"uniform": [-1, 1]}}


def mlp(**arguments: Any) -> dict[str, Any]:
    return {"model": {"type": "mlp", "layers": [2, 3, 2], **arguments}}


def sequential(*layers: Any) -> dict[str, Any]:
    return {"model": {"type": "sequential", "layers": list(layers)}}


MODELS: dict[str, dict[str, Any]] = {
    "init": mlp(bias=False, init=START),
    "shared bias": mlp(init={"linear1.bias": [0.1], "*2.bias": 0.5}),
    "frozen": mlp(freeze=["linear1.*"]) | {"print": {"style": "backprop"}},
    "frozen parameters": {"model": {"type": "linear", "freeze": "bias"}, "print": {"style": "parameters"}},
    "groups": {"optimizer": GROUPS, "scheduler": {"groups": {"linear1.*": {"name": "exponential", "gamma": 0.5}}}},
    "one cycle of groups": {"optimizer": GROUPS, "scheduler": "one_cycle", "batch": {"size": 2}},
    "penalty": {"penalty": {"l1": 0.01, "l2": 0.1}, **TENSOR},
    "penalty of rows": {"penalty": {"l2": 0.1}, "batch": {"size": 2}, "stop": {"gradient_norm": 0.1}},
    "clipped": {"clip": {"norm": 0.01}, "print": {"style": "backprop"}, "penalty": {"l1": 0.1}},
    "zeros with a sign": {  # of a unit that is off: 0 times a negative number
        "model": {"type": "mlp", "layers": [2, 2], "output_activation": "relu", "init": {"*weight": 0, "*bias": -1}},
        "batch": {"size": 2, "accumulate": 2, "shuffle": False},
        "print": {"style": "gradient"},
    },
    "whole numbers": mlp(init={"linear1.weight": [[1, 2], [3, 4], [-5, 6]], "linear2.weight": -0.0}),
    "best epoch of a loss reached": {"stop": {"loss": 1000, "patience": 3, "restore": True}},
    "no best epoch": {"stop": {"max_steps": 1, "patience": 3, "restore": True}, "batch": {"size": 2}},
    "best epoch before the last steps": {
        "stop": {"max_steps": 4, "patience": 3, "restore": True},
        "batch": {"size": 2},
    },
    "names that Python writes otherwise": sequential(  # ﬁ is fi to Python, x² no name
        {"layer": "Linear", "out_features": 2, "name": "ﬁ"}, {"layer": "Linear", "out_features": 2, "name": "x²"},
        {"layer": "Linear", "out_features": 2, "name": "if"}, {"layer": "Linear", "out_features": 2, "name": "0"},
    ),
    "max steps": {"stop": {"max_steps": 5}, "batch": {"size": 2}},
    "max epochs": {"stop": {"max_steps": 6}, "batch": {"size": 2}, **TENSOR},
    "loss reached": {"stop": {"loss": 0.1}, "epochs": 50},
    "gradient norm": {"stop": {"gradient_norm": 0.05}, "epochs": 50},
    "patience": {"stop": {"patience": 2}, "optimizer": {"name": "sgd", "lr": 15}, "epochs": 50},
    "smoothed": {
        "data": OF_CLASSES,
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1, "class_weights": [1, 2.5]},
        **TENSOR,
    },
    "balanced": {"data": OF_CLASSES, "loss": {"name": "cross_entropy", "class_weights": "balanced"}},
    "positive weight": {
        "data": {"x": X, "y": [0, 1, 1, 0, 1]},
        "model": {"type": "mlp", "layers": [2, 1]},
        "loss": {"name": "bce_with_logits", "pos_weight": 1.5},
        **TENSOR,
    },
    "probabilities": {"data": {"x": X, "y": [[0.3, 0.7]] * 5}, "loss": "cross_entropy", **TENSOR},
    "no epochs": {"epochs": 0, "optimizer": None, **TENSOR},
    "identity": {"model": "identity", "epochs": 0, "optimizer": None, "print": {"style": "backprop"}},
    "dropout": {
        "batch": {"size": 2},
        "stop": {"patience": 3, "restore": True},
        "data": {"x": X, "y": Y, "validation": 1},
        **sequential(
            {"layer": "Linear", "out_features": 6}, "BatchNorm1d", "ReLU", {"layer": "Dropout", "p": 0.3},
            {"residual": [{"layer": "Linear", "out_features": 6}, "Tanh"]}, LINEAR2 | {"name": "last"},
        ),
    },
    "running means without parameters": {
        "dtype": "float64",
        **sequential(
            {"layer": "Linear", "out_features": 4}, {"layer": "BatchNorm1d", "affine": False},
            {"layer": "BatchNorm1d", "affine": False, "track_running_stats": False},
            {"layer": "Unflatten", "dim": 1, "unflattened_size": [2, 2]},
            {"layer": "InstanceNorm1d", "track_running_stats": True}, "Flatten", LINEAR2,
        ),
    },
    "no epochs of batch norm": {
        "epochs": 0,
        "optimizer": None,
        "print": {"style": "loss"},
        **sequential({"layer": "Linear", "out_features": 4}, "BatchNorm1d", LINEAR2),
    },
    "evaluated": {
        "batch": {"size": 2, "drop_last": True},
        "stop": {"gradient_norm": 1e-3},
        "print": {"style": "backprop"},
        **sequential({"layer": "Linear", "out_features": 4}, "BatchNorm1d", LINEAR2),
    },
    "lstm": {
        "data": {"x": X, "y": Y, "shape": [2, 1]},
        "dtype": "float64",
        **sequential(
            {"layer": "LSTM", "hidden_size": 3}, {"layer": "MultiheadAttention", "num_heads": 1},
            {"layer": "GRU", "hidden_size": 2, "last": True, "name": "end"},
        ),
    },
    "embedding": {
        "data": {"x": [[0, 1], [2, 2], [1, 0], [0, 2], [1, 1]], "y": Y},
        **sequential({"layer": "Embedding", "num_embeddings": 3, "embedding_dim": 3}, "Flatten", LINEAR2),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_groups_penalties_and_stops(gdcli: Any, name: str) -> None:
    require_same_of(gdcli, **{"epochs": 5, **MODELS[name]})


@pytest.mark.slow
def test_each_activation(gdcli: Any) -> None:
    for activation in ACTIVATIONS:
        model = {"type": "mlp", "layers": [2, 5, 2], "activation": activation, "output_activation": activation}
        style = {"style": "layers" if activation == "sign_ste" else "backprop"}
        require_same_of(gdcli, model=model, print=style, epochs=2)


@pytest.mark.parametrize(
    "expression",
    [
        "x", "-x**2 - y", "(1 - x)**2 + 100*(y - x**2)**2", "x**-2/y/(x - y) - (x - (y - 1))",
        "2**-x*e + pi*y**(x + 1)", "softplus(x) + sigmoid(y) + square(x - y)**2", "x*(y + 1)*-2 + +x", "2*3*x - 1/3*y",
        "(x**2)**1.5 + sqrt(y + 4)", "+x", "x*detach(x)", "sin(2)*x + abs(-2)*x - sigmoid(-3)**-2*y",
        "detach(3)*x*hypot(3, 4) + square(3)*maximum(y, 1/4)", "(9007199254740992 + 1 + 1)*1e-20*x + pow(2, 3)*x",
        "atan2(y, 1)*minimum(x, sin(4)**2)",
    ],
)  # fmt: skip
def test_expressions(gdcli: Any, expression: str) -> None:
    start = {name: value for name, value in (("x", 0.7), ("y", 0.3)) if name in expression.replace("exp", "")}
    model = {"type": "objective", "expression": expression, "start": start}
    for style, dtype in (
        ("trace", "float32"),
        ("gradient", "float64"),
        ("tensor", "float32"),
        ("parameters", "float32"),
    ):
        require_same_of(
            gdcli, data=None, loss=None, model=model, print={"style": style}, dtype=dtype, epochs=3,
            optimizer={"name": "sgd", "lr": 0.001},
        )  # fmt: skip


def test_an_objective_may_call_its_variables_and_constants_as_a_script_calls_modules(gdcli: Any) -> None:
    constants = {"load_x": 2, "Path": 3, "k": -4}
    model = {"type": "objective", "expression": "copy**load_x + csv*Path + square(k)*np", "constants": constants}
    start = {"copy": 1, "csv": 2, "np": 3}
    script = require_same_of(gdcli, data=None, loss=None, model=model | {"start": start}, print={"style": "trace"})
    assert [line for line in script.splitlines() if "import" in line] == ["import torch"]
    assert "k =" not in script  # 16 stands for square(k)


def test_a_description_ends_no_docstring(gdcli: Any) -> None:
    """Nor does one of several lines, as YAML's block of text is, leave its end on a line by itself."""
    model = {"type": "objective", "expression": "x**2", "start": {"x": 1}}
    text = 'Of "x" and """ with C:\\new\\\n' + 60 * "word " + ".\n"
    objective = {"data": None, "loss": None, "model": model, "print": {"style": "trace"}}
    tree = ast.parse(require_same_of(gdcli, description=text, **objective))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for docstring in (ast.get_docstring(tree), *map(ast.get_docstring, functions)):
        told = " ".join((docstring or "").split())
        assert told.startswith(f"Of 'x' and ''' with C:\\new\\ {60 * 'word '}".rstrip())


# --- records, refusals, and how scripts look --------------------------------------------------------------------------


def test_the_script_of_a_record_is_that_of_its_resolved_spec(gdcli: Any) -> None:
    run = gdcli("run", "house_price", "epochs=3", "optimizer.lr=0.1", "--no-plot")
    export = gdcli("export", "last", "--format", "script", "-o", "h.py")
    assert export.code == 0
    assert "house_price.csv, which the script reads" in export.err
    assert ran(Path("h.py"))[0] == run.out
    assert gdcli("export", "last", "-o", "h.py").code == 2  # the ending says the format; it is there already
    sweep = gdcli("sweep", "backprop_2x2", "--param", "lr=0.1,1", "--output", "sweeps")
    assert sweep.code == 0, sweep.err
    refused = gdcli("export", "last", "--format", "script", "--output", "sweeps")
    assert refused.code == 2
    assert "Name one of its runs" in refused.err


def test_the_script_of_a_spec_that_extends_another_is_of_both(gdcli: Any) -> None:
    Path("base.yaml").write_text(json.dumps(spec_of(optimizer={"name": "sgd", "lr": 0.5}, epochs=1)))
    Path("t.yaml").write_text("extends: base.yaml\noptimizer: {lr: 0.25}\nepochs: 3\n")
    script = require_same(gdcli, "t.yaml")
    assert "lr=0.25" in script
    assert "range(1, 4)" in script


def test_a_spec_that_extends_a_file_is_the_two_together(gdcli: Any) -> None:
    Path("base.yaml").write_text(json.dumps(spec_of()))
    Path("s.yaml").write_text("extends: base.yaml\noptimizer: {lr: 0.25}")
    assert "lr=0.25" in require_same(gdcli, "s.yaml")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("momentum_2x", "It is no spec either. Did you mean 'momentum_2x2'?"),
        ("missing.yaml", "cannot read 'missing.yaml'"),
        ("last", "there are no records"),
    ],
)
def test_a_name_of_nothing_is_told(gdcli: Any, name: str, said: str) -> None:
    answer = gdcli("export", name, "--format", "script")
    assert answer.code == 2
    assert said in answer.err


def test_a_run_that_diverged_has_no_script(gdcli: Any) -> None:
    assert gdcli("run", "nn_linear", "optimizer.lr=100", "--no-plot").code == 1
    answer = gdcli("export", "last", "--format", "script")
    assert answer.code == 2
    assert "diverged: a script would go on where gdcli stops" in answer.err


REFUSED: dict[str, dict[str, Any]] = {
    "stop.max_seconds": {"stop": {"max_seconds": 5}},
    "stop.metric": {"stop": {"metric": "r2", "patience": 2}},
    "stop.restore": {"stop": {"restore": True}, "metric": "loss"},
    "metric": {"stop": {"patience": 2}, "metric": "r2"},
    "batch.accumulate": {
        "batch": {"size": 2, "accumulate": 2},
        "data": {"x": X, "y": [0, 1, 1, 0, 1]},
        "loss": {"name": "cross_entropy", "class_weights": [1, 2]},
    },
    "print.style": {"print": {"style": "backprop"}, "batch": {"size": 2, "accumulate": 2}},
    "model.start.lambda": {
        "data": None,
        "loss": None,
        "model": {"type": "objective", "expression": "lambda**2", "start": {"lambda": 1}},
        "print": None,
    },
    "optimizer": {"optimizer": None, "sweep": {"parameters": {"optimizer.name": {"values": ["sgd"]}}}},
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_cannot_be_written_is_said_in_one_message_that_names_the_key(gdcli: Any, key: str) -> None:
    Path("t.yaml").write_text(json.dumps(spec_of(**REFUSED[key])))
    answer = gdcli("export", "t.yaml", "--format", "script")
    assert answer.code == 2
    assert not answer.out
    assert f": {key}: " in answer.err
    assert len(answer.err.strip().splitlines()) == 1


FORMULAS = ("sse", "half_mse", "huber")
WARMUPS = tuple(SCHEDULES[name] for name in ("warmup and then", "warmup and plateau", "one_cycle"))
CHECKS = "E,F,W,I,N,UP,B,A,C4,PIE,RET,SIM,RUF,PTH,PERF,D1"


@pytest.mark.slow
def test_ruff_finds_nothing_in_the_scripts_and_leaves_their_layout(gdcli: Any) -> None:
    """The signs of mathematics are meant, as in this project; a line of a comment or a text may be long."""
    for name in filter(trains, bundled.names()):
        assert gdcli("export", name, "--format", "script", "-o", f"{name}.py", "-q", "--force").code == 0
    rows = [{"data": data, **sections} for data, sections in DATA.values()]
    others = [{"loss": loss, "scheduler": schedule} for loss, schedule in zip(FORMULAS, WARMUPS, strict=False)]
    for k, sections in enumerate([*MODELS.values(), *rows, *others]):
        Path("t.yaml").write_text(json.dumps(spec_of(**sections)))
        assert gdcli("export", "t.yaml", "--format", "script", "-o", f"m{k}.py", "-q").code == 0
    given = ["--isolated", "--line-length", "120", "--target-version", "py311", "."]
    ruff = [sys.executable, "-m", "ruff"]
    checked = subprocess.run(
        [*ruff, "check", "--select", CHECKS, "--ignore", "RUF001,RUF002,RUF003,D102,D107", *given], capture_output=True
    )
    assert checked.returncode == 0, checked.stdout.decode()
    formatted = subprocess.run([*ruff, "format", "--diff", *given], capture_output=True)
    assert formatted.returncode == 0, formatted.stdout.decode()
    known = {"torch", "numpy", "csv", "math", "copy", "collections", "pathlib", "sklearn"}
    for path in Path().glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        nodes = ast.walk(ast.parse(path.read_text()))
        imported |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
        assert {name.partition(".")[0] for name in imported} <= known


@pytest.mark.slow
def test_a_script_needs_no_gdcli(gdcli: Any) -> None:
    """In a process of its own, without this project on its path."""
    run = gdcli("run", "titanic_small", "--no-plot")
    assert gdcli("export", "last", "--format", "script", "-o", "folder/").code == 0
    block = "import sys; sys.modules['gdcli'] = None; import runpy; runpy.run_path(sys.argv[1])"
    script = "folder/titanic_small.py"
    answer = subprocess.run([sys.executable, "-I", "-c", block, script], capture_output=True, text=True, check=True)
    assert answer.stdout == run.out
