"""Every key of the schema changes something in a small spec, or is refused where it cannot.

The keys are those of the JSON Schema. One without a case fails: CASES says in which spec another value of it changes
what is told, or OTHER has a value for a setting that an ingredient's own default does not lead to.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import gdcli
from gdcli.commands.compare import compare
from gdcli.commands.context import Context, Frontend
from gdcli.commands.run import RunReport, run
from gdcli.commands.sweep import sweep
from gdcli.errors import GdcliError, SpecError
from gdcli.spec.bundled import Source
from gdcli.spec.json_schema import json_schema
from gdcli.storage.request import CompareRequest, RunRequest, SweepRequest
from gdcli.zoo.optimizers import OPTIMIZERS
from tests.conftest import only_folder

Spec = dict[str, Any]
X, Y = [[1, 2], [0.5, 1], [-1, 1], [0, 2], [3, 1]], [1, 2, 0.5, 3, -1]
MLP = {"type": "mlp", "layers": [2, 3, 1], "activation": "tanh"}


def a_spec(**changes: Any) -> Spec:
    found = {
        "name": "t",
        "data": {"x": X, "y": Y},
        "model": MLP,
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "epochs": 4,
        "batch": {"size": 2},
        "dtype": "float64",
    }
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


def at(spec: Spec, path: str, value: Any) -> Spec:
    """The spec with a value at a dotted path."""
    found = copy.deepcopy(spec)
    *above, last = path.split(".")
    place = found
    for step in above:
        place = place.setdefault(step, {})
    place[last] = value
    return found


def told(spec: Spec, folder: Path) -> str:
    """All that a run tells: its text, its steps with their gradients, its summary; or why there is none."""
    text: list[str] = []
    blocks: list[Any] = []
    source = Source(folder / "t.yaml", "t.yaml", json.dumps(spec).encode())
    frontend = Frontend(text=text.append, warning=text.append)
    report = run(RunRequest(name="t"), Context(source, frontend, output=None), blocks.append)
    assert isinstance(report, RunReport)
    steps = [
        np.asarray(each).tolist()
        for block in blocks
        for each in (block.step, block.loss, block.gradients, block.gradient_norm)
        if each is not None
    ]
    return f"{text} {steps} {report.json()}"


def keys() -> Iterator[str]:
    schema = json_schema()
    sections = schema["$defs"]
    yield from (key for key in schema["properties"] if key not in sections)
    for name, section in sections.items():
        for key, takes in section.get("properties", {}).items():
            if "const" not in takes:  # the name of an ingredient: the key that chooses among them has a case
                yield f"{name}.{key}"


GENERATE = {"kind": "linear", "weights": [1, 2], "n": 6}
OBJECTIVE = a_spec(
    data=None,
    loss=None,
    batch=None,
    model={"type": "objective", "expression": "c*x**2 + y**2", "start": {"x": 1, "y": 2}, "constants": {"c": 3}},
)
LINEAR = a_spec(model={"type": "linear"})
STACK = a_spec(
    model={"type": "sequential", "layers": ["Tanh", {"layer": "Linear", "in_features": 2, "out_features": 1}]}
)
SUM = {"layer": "Linear", "out_features": 1}
VALIDATED = a_spec(data={"x": X, "y": Y, "validation": 0.4})
FILE = a_spec(data={"file": "t.csv", "target": "y"}, model={"type": "linear"})
CLASSES = a_spec(
    data={"x": X, "y": [0, 1, 2, 1, 1]}, model={"type": "mlp", "layers": [2, 3]}, loss={"name": "cross_entropy"}
)
TEXT = a_spec(data={"file": "text.csv", "target": "y", "missing": "drop"}, model={"type": "linear"})
IDX = {"idx": {"images": "images", "labels": "labels"}}
WIDTHS = {"idx": 4, "dataset": 10}  # of a row, where it is not 2
ROWS_OF_CLASSES = {
    source: a_spec(data=data, model={"type": "linear"}, loss="cross_entropy")
    for source, data in {
        "inline": {"x": [[k, k * k] for k in range(12)], "y": [0, 0, 0, 1] * 3},
        "file": {"file": "classes.csv", "target": "y"},
        "idx": IDX,
        "generate": {"generate": {"kind": "blobs", "n": 31}},
        "dataset": {"dataset": "wine"},
    }.items()
}
STEP = {"name": "step", "step_size": 1}


CASES: dict[str, tuple[Spec, str, Any]] = {
    "epochs": (a_spec(), "epochs", 2),
    "dtype": (a_spec(), "dtype", "float32"),
    "seed": (a_spec(), "seed", 1),
    "metrics": (a_spec(), "metrics", ["rmse"]),
    "metric": (VALIDATED, "metric", "mae"),
    "data": (a_spec(), "data", {"x": X[::-1], "y": Y}),
    "model": (a_spec(), "model", "linear"),
    "loss": (a_spec(), "loss", "mae"),
    "optimizer": (a_spec(), "optimizer", "adam"),
    "scheduler": (a_spec(), "scheduler", "constant"),
    "data.inline.x": (a_spec(), "data.x", X[::-1]),
    "data.inline.y": (a_spec(), "data.y", Y[::-1]),
    "data.file.file": (FILE, "data.file", "u.csv"),
    "data.file.features": (FILE, "data.features", ["a"]),
    "data.file.ignore": (FILE, "data.ignore", "b"),
    "data.file.target": (FILE, "data.target", "b"),
    "data.file.header": (a_spec(data={"file": "v.csv", "target": "c3", "header": False}), "data.header", True),
    "data.file.sha256": (FILE, "data.sha256", "0" * 64),
    "data.file.separator": (FILE, "data.separator", ";"),
    "data.file.decimal": (at(FILE, "data.file", "comma.csv"), "data.decimal", "."),
    "data.file.categories": (FILE, "data.categories", ["a"]),
    "data.file.unknown": (
        at(at(TEXT, "data.validation", {"file": "new.csv"}), "data.unknown", "zero"),
        "data.unknown",
        "error",
    ),
    "data.file.missing": (TEXT, "data.missing", "mean"),
    "data.idx.idx": (LINEAR | {"data": IDX}, "data.idx", {"images": "others", "labels": "labels"}),
    "data.idx.sha256": (LINEAR | {"data": IDX}, "data.sha256", "0" * 64),
    "data.IdxFiles.images": (LINEAR | {"data": IDX}, "data.idx.images", "others"),
    "data.IdxFiles.labels": (LINEAR | {"data": IDX}, "data.idx.labels", "names"),
    "data.generate.generate": (a_spec(data={"generate": GENERATE}), "data.generate", {**GENERATE, "weights": [3, 4]}),
    "data.dataset.dataset": (LINEAR | {"data": {"dataset": "iris"}}, "data.dataset", "wine"),
    "model.linear.in_features": (LINEAR, "model.in_features", 3),
    "model.linear.out_features": (LINEAR, "model.out_features", 3),
    "model.linear.bias": (LINEAR, "model.bias", False),
    "model.mlp.layers": (a_spec(), "model.layers", [2, 4, 1]),
    "model.mlp.activation": (a_spec(), "model.activation", "sigmoid"),
    "model.mlp.output_activation": (a_spec(), "model.output_activation", "sigmoid"),
    "model.mlp.bias": (a_spec(), "model.bias", False),
    "model.sequential.layers": (STACK, "model.layers", [{"layer": "Linear", "in_features": 2, "out_features": 1}]),
    "model.objective.expression": (OBJECTIVE, "model.expression", "c*x**2 + y**4"),
    "model.objective.start": (OBJECTIVE, "model.start", {"x": 2, "y": 2}),
    "model.objective.constants": (OBJECTIVE, "model.constants", {"c": 4}),
    "batch.mode": (a_spec(batch={}), "batch.mode", "stochastic"),
    "batch.size": (a_spec(), "batch.size", 3),
    "batch.shuffle": (a_spec(), "batch.shuffle", False),
    "batch.drop_last": (a_spec(), "batch.drop_last", True),
    "batch.accumulate": (a_spec(), "batch.accumulate", 2),
    "penalty.l1": (a_spec(), "penalty.l1", 0.01),
    "penalty.l2": (a_spec(), "penalty.l2", 0.01),
    "clip.norm": (a_spec(), "clip.norm", 0.01),
    "clip.value": (a_spec(), "clip.value", 0.01),
    "loss.cross_entropy.label_smoothing": (CLASSES, "loss.label_smoothing", 0.1),
    "loss.bce_with_logits.pos_weight": (
        at(at(CLASSES, "loss", {"name": "bce_with_logits"}), "data.y", [0, 1, 1, 0, 1]) | {"model": "linear"},
        "loss.pos_weight",
        3.0,
    ),
    "loss.cross_entropy.class_weights": (CLASSES, "loss.class_weights", "balanced"),
    "loss.nll.class_weights": (at(CLASSES, "loss", {"name": "nll"}), "loss.class_weights", [1, 2, 3]),
    "stop.loss": (a_spec(), "stop.loss", 100),
    "stop.gradient_norm": (a_spec(), "stop.gradient_norm", 100),
    "stop.max_steps": (a_spec(), "stop.max_steps", 2),
    "stop.max_seconds": (a_spec(), "stop.max_seconds", 1e-9),
    "stop.patience": (at(VALIDATED, "optimizer.maximize", True), "stop.patience", 1),
    "stop.metric": (at(VALIDATED, "stop.patience", 3), "stop.metric", "training_loss"),
    "stop.min_delta": (a_spec(stop={"patience": 1, "metric": "training_loss"}), "stop.min_delta", 100),
    "stop.restore": (at(at(VALIDATED, "optimizer.maximize", True), "stop.patience", 1), "stop.restore", True),
    "print.style": (a_spec(), "print.style", "tensor"),
    "print.predict": (a_spec(), "print.predict", [1, 2]),
    "record.gradients": (a_spec(), "record.gradients", "none"),
    "expect.at_most": (a_spec(), "expect", {"final_loss": {"at_most": 9.0}}),
    "expect.at_least": (a_spec(), "expect", {"final_loss": {"at_least": 0.0}}),
    "expect.equals": (a_spec(), "expect", {"steps": {"equals": 12.0}}),
    "expect.within": (a_spec(expect={"steps": {"equals": 12}}), "expect.steps.within", 2.0),
}
for _source, _spec in {
    "inline": a_spec(),
    "file": FILE,
    "idx": LINEAR | {"data": IDX},
    "generate": a_spec(data={"generate": GENERATE}),
    "dataset": LINEAR | {"data": {"dataset": "diabetes"}},
}.items():
    CASES[f"data.{_source}.test"] = (_spec, "data.test", 0.4)
    CASES[f"data.{_source}.folds"] = (_spec, "data.folds", 2)
    CASES[f"data.{_source}.fold"] = (at(_spec, "data.folds", 2), "data.fold", 1)
    _split = at(at(ROWS_OF_CLASSES[_source], "data.validation", 0.4), "data.seed", 3)  # it draws two of the rare class
    CASES[f"data.{_source}.stratify"] = (_split, "data.stratify", True)
    CASES[f"data.{_source}.standardize"] = (_spec, "data.standardize", True)
    CASES[f"data.{_source}.validation"] = (_spec, "data.validation", 0.4)
    CASES[f"data.{_source}.seed"] = (at(_spec, "data.validation", 0.4), "data.seed", 5)
    _rows = {"type": "sequential", "layers": [{"layer": "GRU", "hidden_size": 2, "last": True}, SUM]}
    _columns = WIDTHS.get(_source, 2)  # steps of one number, or one step of several
    CASES[f"data.{_source}.shape"] = (
        {**_spec, "model": _rows, "data": {**_spec["data"], "shape": [_columns, 1]}}, "data.shape", [1, _columns],
    )  # fmt: skip
for _kind, _spec, _weight in (
    ("linear", LINEAR, "weight"),
    ("mlp", a_spec(), "linear1.weight"),
    ("sequential", STACK, "1.weight"),
    ("objective", OBJECTIVE, "x"),
):
    CASES[f"model.{_kind}.init"] = (_spec, "model.init", {"*": 0.5})
    CASES[f"model.{_kind}.freeze"] = (_spec, "model.freeze", [_weight])
    CASES[f"model.{_kind}.from"] = (_spec, "model.from", f"{_kind}.safetensors")
    CASES[f"model.{_kind}.sha256"] = (at(_spec, "model.from", f"{_kind}.safetensors"), "model.sha256", "0" * 64)

BESIDE: dict[str, Spec] = {
    "optimizer.sgd.dampening": {"momentum": 0.5},
    "optimizer.sgd.nesterov": {"momentum": 0.5},
    "optimizer.adam.decoupled_weight_decay": {"weight_decay": 0.5},
    "optimizer.nadam.decoupled_weight_decay": {"weight_decay": 0.5},
    "optimizer.radam.decoupled_weight_decay": {"weight_decay": 0.5},
    "optimizer.adam.amsgrad": {"betas": [0.1, 0.2]},
    "optimizer.adamw.amsgrad": {"betas": [0.1, 0.2]},
    "optimizer.rprop.step_sizes": {"lr": 1.0},
    "generate.xor.n": {"noise": 0.5},
    "scheduler.warmup.then": {"total_iters": 1},
    "scheduler.reduce_on_plateau.cooldown": {"patience": 0, "threshold": 0.9},
    "scheduler.reduce_on_plateau.eps": {"patience": 0, "threshold": 0.9},
    "scheduler.reduce_on_plateau.factor": {"patience": 0, "threshold": 0.9},
    "scheduler.reduce_on_plateau.min_lr": {"patience": 0, "threshold": 0.9},
    "scheduler.reduce_on_plateau.patience": {"threshold": 0.9},
    "scheduler.reduce_on_plateau.threshold": {"patience": 0},
    "scheduler.reduce_on_plateau.threshold_mode": {"patience": 0, "threshold": 0.9},
}
"""Settings beside which others have their effect."""

REQUIRED: dict[str, Any] = {
    "step_size": 2,
    "milestones": [2],
    "gamma": 0.5,
    "T_max": 3,
    "T_0": 2,
    "weights": [1, 2],
    "coefficients": [1, 2],
}
OTHER: dict[str, Any] = {
    "betas": [0.5, 0.6],
    "etas": [0.3, 1.5],
    "step_sizes": [1e-3, 0.01],
    "coefficients": [3, 1],
    "weights": [2, 3],
    "milestones": [1],
    "x": {"uniform": [0, 3]},
    "step_size": 1,
    "lr": 0.3,
    "total_iters": 2,
    "patience": 0,
    "threshold": 0.9,
    "threshold_mode": "abs",
    "min_lr": 0.05,
    "eps": 0.5,
    "anneal_strategy": "linear",
    "then": {"name": "step", "step_size": 1},
}

ELSEWHERE = {
    "watch": "columns of gradients.csv, engine/test_watched.py",
    "name": "of the folder",
    "description": "text for the reader",
    "engine": "by hand and autograd agree to the bit",
    "device": "another machine's",
    "threads": "the bits of large models",
    "world_size": "the number of processes that may train it, in tests/cli/test_torchrun.py",
    "optimizer.asgd.t0": "the average that a checkpoint holds, below",
    "checkpoint.every_seconds": "below",
    "sweep.parameters": "below",
    "record.every": "below",
    **{f"record.{key}": "files beside, runner/test_step_files.py" for key in ("format", "parameters", "layers")},
    **{
        f"compare.{key}": "below"
        for key in ("batches", "closed_form", "optimizers", "seeds", "target", "tune", "tune_range")
    },
    "model.identity.init": "refused: there are no parameters",
    "model.identity.freeze": "refused: there are no parameters",
    "model.identity.from": "refused: there are no parameters",
    "model.identity.sha256": "refused: there are no parameters",
}
"""Keys whose effect other tests show, or that no run's numbers depend on."""


def of_ingredient(key: str) -> tuple[Spec, str, Any]:
    """The case of a setting of an optimizer, scheduler, loss or generator: its default, and another value."""
    kind, name, setting = key.split(".")
    schema = json_schema()["$defs"][f"{kind}.{name}"]
    properties, (tag, *required) = schema["properties"], schema["required"]
    given = {tag: name, **{each: REQUIRED[each] for each in required}, **BESIDE.get(key, {})}
    spec, path = a_spec(**{kind: given}), kind
    if kind == "generate":
        spec, path = a_spec(data={"generate": given}, model={"type": "linear"}), "data.generate"
        spec |= {"loss": "cross_entropy"} if name in ("blobs", "moons", "spirals", "xor") else {}
    if setting == "groups":
        of_group = {"linear1.*": {"lr": 3.0} if kind == "optimizer" else {"name": "exponential", "gamma": 0.9}}
        return spec, f"{path}.groups", of_group
    if setting in OTHER:
        return spec, f"{path}.{setting}", OTHER[setting]
    default = properties[setting].get("default", REQUIRED.get(setting))
    value = (
        not default if isinstance(default, bool) else default + 1 if isinstance(default, int) else default / 2 or 0.5
    )
    return spec, f"{path}.{setting}", value


WEIGHTS: dict[str, dict[str, tuple[int, ...]]] = {
    "linear": {"weight": (1, 2), "bias": (1,)},
    "mlp": {"linear1.weight": (3, 2), "linear1.bias": (3,), "linear2.weight": (1, 3), "linear2.bias": (1,)},
    "sequential": {"1.weight": (1, 2), "1.bias": (1,)},
    "objective": {"x": (), "y": ()},
}
"""Files of weights to start with, by model."""

REFUSING = (
    "data.file.sha256", "data.file.header", "data.file.separator", "data.file.decimal", "data.file.unknown",
    "data.idx.sha256", "model.linear.in_features", "model.linear.out_features",
    *(f"model.{name}.sha256" for name in ("linear", "mlp", "sequential", "objective")),
)  # fmt: skip
"""Keys of which another value is not what the data or the model have."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = ["a,b,y", *(f"{a},{b},{y}" for (a, b), y in zip(X, Y, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    (tmp_path / "v.csv").write_text("\n".join(rows[1:]))
    (tmp_path / "u.csv").write_text("\n".join(rows[:4]))
    for name, shapes in WEIGHTS.items():
        arrays = {key: np.full(shape, 0.25) for key, shape in shapes.items()}
        save_file(arrays, tmp_path / f"{name}.safetensors")
    (tmp_path / "comma.csv").write_text("a;b;y\n1,5;2;3\n2,5;4;5\n")
    (tmp_path / "text.csv").write_text("a,town,y\n1,Ulm,2\n2,Bonn,3\n,Ulm,4\n4,Ulm,4\n")
    (tmp_path / "new.csv").write_text("a,town,y\n1,Rom,2\n")
    (tmp_path / "classes.csv").write_text("a,b,y\n" + "".join(f"{k},{k * k},{k % 4 // 3}\n" for k in range(12)))
    numbers = np.random.default_rng(0).integers(0, 9, (12, 2, 2), np.uint8)
    for name, array in {
        "images": numbers, "others": numbers[::-1], "labels": np.arange(12, dtype=np.uint8) % 4 // 3,
        "names": np.arange(12, dtype=np.uint8) % 2,
    }.items():  # fmt: skip
        sizes = b"".join(size.to_bytes(4) for size in array.shape)
        (tmp_path / name).write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())
    return tmp_path


@pytest.mark.parametrize("key", [key for key in keys() if key not in ELSEWHERE])
def test_another_value_changes_what_a_run_tells(key: str, folder: Path) -> None:
    spec, path, value = CASES[key] if key in CASES else of_ingredient(key)
    before = told(spec, folder)
    try:
        after = told(at(spec, path, value), folder)
    except GdcliError:
        if key not in REFUSING:
            raise
        return
    assert before != after


def test_no_case_is_of_a_key_that_there_is_not() -> None:
    assert {*CASES, *BESIDE, *ELSEWHERE} <= {*keys()}


def test_every_keeps_fewer_gradients() -> None:
    kept = [gdcli.run(at(a_spec(), "record.every", every)).gradients["linear1.weight"] for every in (1, 3)]
    assert [len(rows) for rows in kept] == [12, 5]  # of 12 steps the 1st, 4th, 7th, 10th and the last


@pytest.mark.parametrize("seconds", [0, 1e6])
def test_every_seconds_writes_checkpoints(seconds: float, folder: Path) -> None:
    """Looked for when a block of steps comes: those of the block before have their checkpoint."""
    seen: list[bool] = []
    source = Source(
        folder / "t.yaml", "t.yaml", json.dumps(a_spec(epochs=1000, checkpoint={"every_seconds": seconds})).encode()
    )
    request = RunRequest(name="t", plot=False)
    run(request, Context(source, output=folder), lambda block: seen.append(any(folder.glob("t/*/checkpoint*"))))
    assert len(seen) > 2
    assert any(seen) == (seconds == 0)


def test_the_average_that_asgd_keeps_starts_at_t0() -> None:
    averages = []
    for t0 in (0.0, 1e6):
        p, g = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
        bound = OPTIMIZERS["asgd"](t0=t0)(p, g)
        for t in range(1, 5):
            bound.update(0.1, t)
        averages.append(bound.state["ax"].tolist())
    assert averages[0] != averages[1]


def of_many(command: str, spec: Spec, folder: Path) -> str:
    source = Source(folder / "t.yaml", "t.yaml", json.dumps(spec).encode())
    if command == "sweep":
        return sweep(SweepRequest(name="t", plot=False), Context(source, output=folder)).json()  # type: ignore[union-attr]  # not ended before
    return compare(CompareRequest(name="t", plot=False), Context(source, output=folder)).json()  # type: ignore[union-attr]


COMPARED = a_spec(model={"type": "linear"}, compare={"optimizers": {"sgd": {"lr": 0.1}, "adam": {}}})


@pytest.mark.parametrize(
    ("spec", "path", "value"),
    [
        (a_spec(sweep={"parameters": {"lr": [0.1, 0.2]}}), "sweep.parameters", {"lr": [0.1, 0.3]}),
        (COMPARED, "compare.optimizers", {"sgd": {"lr": 0.2}}),
        (COMPARED, "compare.batches", ["full", "stochastic"]),
        (COMPARED, "compare.seeds", 2),
        (COMPARED, "compare.closed_form", True),
        (COMPARED, "compare.target", 3),
        (COMPARED, "compare.tune", 3),
        (at(COMPARED, "compare.tune", 3), "compare.tune_range", [0.01, 0.1]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_value_changes_what_many_runs_tell(spec: Spec, path: str, value: Any, folder: Path) -> None:
    command = path.split(".")[0]
    first, second = (json.loads(of_many(command, each, folder)) for each in (spec, at(spec, path, value)))
    assert {**first, "folder": ""} != {**second, "folder": ""}


WITHOUT: list[tuple[Spec, str]] = [
    (
        a_spec(data={"x": X, "y": Y, "shape": [2]}),
        "data.shape: has no effect: the model mlp takes rows of numbers; it is for sequential",
    ),
    (
        a_spec(optimizer={"name": "sgd", "dampening": 0.5}),
        "optimizer.dampening: has no effect: it is for momentum other than 0",
    ),
    (a_spec(optimizer={"name": "adam", "decoupled_weight_decay": True}), "it is for weight_decay other than 0"),
    (a_spec(optimizer={"name": "asgd", "lambd": 0, "alpha": 0.5}), "optimizer.alpha: has no effect"),
    (
        a_spec(optimizer={"name": "sgd", "momentum": 0.5, "groups": {"*.bias": {"momentum": 0, "dampening": 0.5}}}),
        "optimizer.groups.*.bias.dampening: has no effect",
    ),
    (
        a_spec(optimizer={"name": "sgd", "groups": {"linear1.weight": {"lr": 1}, "linear1.*": {"lr": 2}}}),
        "optimizer.groups.linear1.weight: has no effect: linear1.* below counts",
    ),
    (
        a_spec(optimizer={"name": "sgd", "groups": {"linear1.*": {"lr": 1}}}, model={**MLP, "freeze": ["linear1.*"]}),
        "optimizer.groups.linear1.*: has no effect: all of it is frozen",
    ),
    (
        a_spec(scheduler={"groups": {"linear1.*": STEP}}, model={**MLP, "freeze": ["linear1.*"]}),
        "scheduler.groups.linear1.*: has no effect: all of it is frozen",
    ),
    (a_spec(scheduler={"groups": {"linear3.*": STEP}}), "scheduler.groups.linear3.*: no parameter of that name"),
    (
        a_spec(model={**MLP, "init": {"linear1.bias": 1, "*": 2}}),
        "model.init.linear1.bias: has no effect: * below counts",
    ),
    (a_spec(model={**MLP, "layers": [2, 1]}), "model.activation: has no effect: it is for hidden layers"),
    (a_spec(data={"x": X, "y": Y, "seed": 0}), "data.seed: has no effect: it is for data that are drawn"),
    (
        a_spec(data={"generate": {"kind": "xor"}, "seed": 1}, loss="cross_entropy", model={"type": "linear"}),
        "data.seed: has no effect",
    ),
    (
        a_spec(data={"generate": {"kind": "sine", "amplitude": 0, "phase": 1}}, model={"type": "linear"}),
        "data.generate.phase: has no effect: it is for amplitude",
    ),
    (a_spec(data={"file": "t.npz", "header": True, "target": "y"}), "data.header: has no effect: it is for CSV files"),
    (at(OBJECTIVE, "model.constants.d", 1), "model.constants.d: 'd' does not occur in the expression"),
    (a_spec(stop={"loss": 1, "restore": True}), "stop.restore: has no effect: it is for patience"),
    (a_spec(stop={"metric": "loss"}), "stop.metric: has no effect: it is for patience"),
    (a_spec(stop={"min_delta": 0.1}), "stop.min_delta: has no effect: it is for patience"),
    (a_spec(record={"gradients": "none", "every": 2}), "record.every: has no effect: it is for gradients"),
    (
        a_spec(model="identity", loss="sse", data={"x": [1], "y": [2]}, record={"every": 2}),
        "record.every: has no effect",
    ),
    (
        a_spec(model="identity", loss="sse", data={"x": [1], "y": [2]}, record={"parameters": True}),
        "record.parameters: has no effect: it is for parameters",
    ),
    (
        a_spec(record={"gradients": "none", "format": "parquet"}),
        "record.format: has no effect: it is for gradients, and record.gradients is none",
    ),
    (at(COMPARED, "compare.optimizers.sgd.dampening", 0.5), "compare.optimizers.sgd.dampening: has no effect"),
]


@pytest.mark.parametrize(("spec", "message"), WITHOUT, ids=[message.partition(":")[0] for _, message in WITHOUT])
def test_a_key_without_effect_is_refused_and_says_when_it_has_one(spec: Spec, message: str, folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        told(spec, folder)
    assert message in str(caught.value)


def test_a_range_of_tuning_without_tuning_is_refused(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"compare\.tune_range: has no effect"):
        of_many("compare", at(COMPARED, "compare.tune_range", [0.01, 0.1]), folder)


@pytest.mark.parametrize("epochs", [0, 1])
def test_what_trains_may_stand_there_where_nothing_is_trained(epochs: int, folder: Path) -> None:
    spec = a_spec(
        epochs=epochs, scheduler=STEP, stop={"loss": 0.1}, checkpoint={"every_seconds": 5}, print={"style": "loss"}
    )
    assert told(spec, folder)


def test_a_key_with_an_effect_in_another_run_of_a_sweep_stays_and_is_left_out_of_the_configs_without(
    folder: Path,
) -> None:
    """Of layers with a hidden one and without, the activation is for the first; the config of the other runs too."""
    spec = a_spec(sweep={"parameters": {"model.layers": [[2, 1], [2, 3, 1]]}})
    of_many("sweep", spec, folder)
    configs = [path.read_text() for path in sorted(only_folder(folder).rglob("*/config.yaml"))]
    assert ["activation: tanh" in text for text in configs] == [False, True]


@pytest.mark.parametrize(
    "axis", ["optimizer.dampening=0.5,0.9", "model.activation=relu,tanh", "batch.size=1,2", "record.every=1,2"]
)
def test_a_sweep_over_a_key_without_effect_is_refused(axis: str, gdcli: Any) -> None:
    spec = a_spec(model={"type": "mlp", "layers": [2, 1]}, batch={"mode": "full"}, record={"gradients": "none"})
    Path("t.yaml").write_text(json.dumps(spec))
    answer = gdcli("sweep", "t.yaml", "--param", axis)
    assert answer.code == 2
    assert "has no effect: it is for" in answer.err


@pytest.mark.parametrize(
    "option", ["--jobs 2", "--verify 1", "--cluster local:1", "--fleet off", "--fail-fast", "--seeds 2"]
)
def test_options_of_runs_are_refused_where_a_sweep_trains_nothing(option: str, gdcli: Any) -> None:
    answer = gdcli("sweep", "--param", "w", *option.split())
    assert answer.code == 2
    assert "is for runs: a sweep over parameters of the model trains nothing" in answer.err


@pytest.mark.parametrize("option", [(), ("--seeds", "2")])
def test_data_that_are_not_drawn_are_not_drawn_anew(option: tuple[str, ...], gdcli: Any) -> None:
    answer = gdcli("compare", "optimizers_2x2", "--redraw-data", *option)
    assert (answer.code, answer.out) == (2, "")
    assert "--redraw-data is for several seeds" in answer.err
