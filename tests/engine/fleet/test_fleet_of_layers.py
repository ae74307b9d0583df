"""Torch's own layers in fleets: each run is `gdcli run` to rounding, dropout and buffers included; what is for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from many import alone, flat, gap, joined, varied
from plain_torch import Spec, Trained, loaded
from test_layer_networks import needed, rows_for

from gdcli.engine import checkpoint_state
from gdcli.engine.grouping import structure, why_alone
from gdcli.engine.loop import Loop
from gdcli.engine.problem import TrainingProblem, build_fleet
from gdcli.records import Block, Outcomes
from gdcli.spec.load import Loaded
from gdcli.zoo.torch_layers import LAYERS, unmapped

CLOSE = {"float32": 1e-4, "float64": 1e-10}
ONE_BY_ONE = ("LSTMCell", "RReLU", "TransformerEncoderLayer")
"""The layers that see one run at a time with their usual arguments."""


def layer(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"layer": kind, **arguments}


def conv(channels: int, size: int, **more: Any) -> dict[str, Any]:
    return layer("Conv2d", out_channels=channels, kernel_size=size, **more)


IMAGES, STEPS, PLAIN = [1, 6, 6], [4, 3], [12]
END = layer("Linear", out_features=3)
NETS: dict[str, tuple[list[int], list[Any]]] = {
    "convolutions": (IMAGES, [conv(4, 3), "ReLU", conv(3, 2, stride=2, padding=1), "Tanh", "Flatten", END]),
    "pools": (
        [2, 6, 6],
        [
            conv(4, 3, padding="same", dilation=2, bias=False), layer("MaxPool2d", kernel_size=2), "BatchNorm2d",
            layer("AdaptiveAvgPool2d", output_size=2), "Flatten", END,
        ],
    ),
    "a filter over channels": (
        IMAGES, [layer("AvgPool2d", kernel_size=2), conv(8, 2, padding=1), conv(8, 2, groups=4), "GELU", "Flatten", END]
    ),
    "sequences": (STEPS, [layer("Conv1d", out_channels=5, kernel_size=2, padding=1), "SiLU", "Flatten", END]),
    "dropout": (PLAIN, [layer("Linear", out_features=8), "ReLU", layer("Dropout", p=0.4), "BatchNorm1d", END]),
    "dropout of channels": (
        IMAGES,
        [
            conv(6, 2), layer("Dropout2d", p=0.3), layer("AlphaDropout", p=0.2), layer("FeatureAlphaDropout", p=0.2),
            {"residual": [conv(6, 3, padding=1), "ReLU", layer("Dropout", p=0.2)]}, "Flatten", END,
        ],
    ),
    "batch norms": (
        [2, 6],
        [
            "BatchNorm1d", layer("Conv1d", out_channels=4, kernel_size=2), layer("BatchNorm1d", momentum=None),
            layer("Flatten", start_dim=1), layer("BatchNorm1d", affine=False), "ReLU", END,
        ],
    ),
    "gru": (STEPS, [layer("GRU", hidden_size=5, last=True), layer("Dropout", p=0.5), END]),
    "lstm": (
        STEPS,
        [layer("LSTM", hidden_size=4, num_layers=2, bidirectional=True), layer("Dropout", p=0.5), "Flatten", END],
    ),
    "rnn": (STEPS, [layer("RNN", hidden_size=5, nonlinearity="relu", bias=False), "LayerNorm", "Flatten", END]),
    "over the rows of a batch": (
        PLAIN, [layer("Linear", out_features=8), layer("Softmax", dim=0), layer("LogSoftmax", dim=-2), END]
    ),
    "attention": (STEPS, [layer("MultiheadAttention", num_heads=1), layer("PReLU"), "Flatten", END]),
}  # fmt: skip


def spec(shape: list[int], layers: list[Any], **more: Any) -> Spec:
    """A net of classes on eighteen rows, in batches of five and a last one of three."""
    draw = np.random.default_rng(4)
    x = draw.normal(size=(18, int(np.prod(shape)))).round(3)
    return {
        "data": {"x": x.tolist(), "y": draw.permutation([0, 1, 2] * 6).tolist(), "shape": shape},
        "model": {"type": "sequential", "layers": layers},
        "loss": "cross_entropy",
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
        "batch": {"mode": "mini-batch", "size": 5, "shuffle": True},
        "epochs": 3,
        **more,
    }


ADAM = {"name": "adam", "lr": 0.01}
SHIFTED = ("batch norms", "over the rows of a batch", "attention")
"""Nets with a bias that changes nothing: its gradient is rounding alone, which Adam blows up to steps."""
CHANGES = [{"optimizer.lr": lr, "seed": seed} for lr, seed in ((0.01, 0), (0.02, 1), (0.05, 0), (0.1, 2), (0.02, 2))]


def fleet_of(runs: list[Loaded]) -> TrainingProblem:
    assert {why_alone(run, vmapped=True) for run in runs} == {""}
    assert len({structure(run) for run in runs}) == 1
    fleet = build_fleet(runs)
    assert fleet.kernel_name == "vmapped"
    return fleet


def trained(fleet: TrainingProblem) -> tuple[list[Block], Outcomes]:
    *blocks, outcome = Loop(fleet, ("full_loss", "epochs"), "norms").events()
    assert isinstance(outcome, Outcomes)
    return blocks, outcome  # type: ignore[return-value]  # all but the last are blocks


def assert_as_run(fleet: TrainingProblem, blocks: list[Block], outcome: Outcomes, k: int, single: Trained) -> None:
    found, allowed = outcome.of_run(k, fleet.theta.as_parameters), CLOSE[fleet.loaded.spec.settings.dtype]
    expected = single.outcome
    assert (found.status, found.steps, found.epochs) == (expected.status, expected.steps, expected.epochs)
    assert gap(flat(found.parameters), flat(expected.parameters)) <= allowed
    assert [(each.name, each.values.shape, each.values.dtype) for each in found.buffers] == [
        (each.name, each.values.shape, each.values.dtype) for each in expected.buffers
    ]
    for ours, theirs in zip(found.buffers, expected.buffers, strict=True):
        assert gap(ours.values, theirs.values) <= allowed, ours.name
    parts = [part for block in blocks if (part := block.of_run(k)) is not None]
    assert gap(joined(parts, "loss"), single.column("loss")) <= allowed
    numbers = [found.loss, found.best_loss, *found.metrics.values()]
    wanted = [expected.loss, expected.best_loss, *expected.metrics.values()]
    assert gap(np.array(numbers, float), np.array(wanted, float)) <= allowed


@pytest.mark.parametrize("name", NETS)
def test_a_run_of_a_fleet_is_the_run_alone_to_rounding(name: str) -> None:
    made = spec(*NETS[name], dtype="float64", **({} if name in SHIFTED else {"optimizer": ADAM}))
    runs = varied(made, CHANGES)
    fleet = fleet_of(runs)
    blocks, outcome = trained(fleet)
    for k, run in enumerate(runs):
        assert_as_run(fleet, blocks, outcome, k, alone(run, ("full_loss", "epochs")))


@pytest.mark.parametrize("name", ["convolutions", "dropout", "gru"])
def test_in_float32_too(name: str) -> None:
    runs = varied(spec(*NETS[name]), [{**change, "optimizer.lr": change["optimizer.lr"] / 10} for change in CHANGES])
    fleet = fleet_of(runs)
    blocks, outcome = trained(fleet)
    for k, run in enumerate(runs):
        assert_as_run(fleet, blocks, outcome, k, alone(run, ("full_loss", "epochs")))


SETTINGS: dict[str, Spec] = {
    "frozen": {"freeze": "0.*"},
    "accumulated": {"batch": {"mode": "mini-batch", "size": 2, "accumulate": 3, "shuffle": True}},
    "in order": {"batch": {"mode": "mini-batch", "size": 5, "shuffle": False}},
    "one batch": {"batch": {"mode": "full"}},
    "clipped": {"clip": {"norm": 0.1}},
    "with a penalty": {"penalty": {"l1": 0.01, "l2": 0.02}},
    "smoothed": {"loss": {"name": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"}},
    "scheduled": {"scheduler": {"name": "step", "step_size": 2}},
    "the best weights": {"stop": {"patience": 1, "restore": True}, "epochs": 6},
    "by its gradient": {"stop": {"gradient_norm": 0.5}, "epochs": 6},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_training_is_that_of_the_run_alone(name: str) -> None:
    more = dict(SETTINGS[name])
    freeze = {"freeze": more.pop("freeze")} if "freeze" in more else {}
    made = spec(*NETS["dropout"], dtype="float64", **more)
    made["model"] |= freeze
    made["data"] |= {"validation": 0.25} if "stop" in more else {}
    runs = varied(made, CHANGES)
    fleet = fleet_of(runs)
    blocks, outcome = trained(fleet)
    singles = [alone(run, ("full_loss", "epochs")) for run in runs]
    for k, single in enumerate(singles):
        assert_as_run(fleet, blocks, outcome, k, single)
    if name in ("the best weights", "by its gradient"):
        assert len({single.outcome.steps for single in singles}) > 1, "no run stops before another"


@pytest.mark.parametrize("arguments", [{"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True}])
def test_an_embedding_learns_nothing_for_padding_in_any_run(arguments: dict[str, Any]) -> None:
    layers = [layer("Embedding", num_embeddings=5, embedding_dim=3, **arguments), "Flatten", END]
    made = spec([4], layers, dtype="float64")
    made["data"]["x"] = np.random.default_rng(2).integers(0, 5, size=(18, 4)).tolist()
    runs = varied(made, CHANGES)
    fleet = fleet_of(runs)
    blocks, outcome = trained(fleet)
    for k, run in enumerate(runs):
        assert_as_run(fleet, blocks, outcome, k, alone(run, ("full_loss", "epochs")))


@pytest.mark.parametrize("middle", [layer("BatchNorm1d", track_running_stats=False), layer("Softmax", dim=0)])
def test_many_rows_that_depend_on_each_other_are_evaluated_together(middle: dict[str, Any]) -> None:
    """More rows than a fleet evaluates at once otherwise."""
    draw = np.random.default_rng(1)
    made = spec(PLAIN, [layer("Linear", out_features=6), middle, END], dtype="float64", epochs=1, batch={"size": 100})
    made["data"] |= {"x": draw.normal(size=(300, 12)).round(3).tolist(), "y": draw.integers(0, 3, size=300).tolist()}
    runs = varied(made, CHANGES[:2])
    fleet = fleet_of(runs)
    blocks, outcome = trained(fleet)
    for k, run in enumerate(runs):
        assert_as_run(fleet, blocks, outcome, k, alone(run, ("full_loss", "epochs")))


def test_squared_losses_and_values() -> None:
    made = spec(*NETS["convolutions"], dtype="float64", loss="mse")
    made["data"]["y"] = np.random.default_rng(1).normal(size=(18, 3)).tolist()
    runs = varied(made, CHANGES)
    fleet = fleet_of(runs)
    blocks, outcome = trained(fleet)
    for k, run in enumerate(runs):
        assert_as_run(fleet, blocks, outcome, k, alone(run, ("full_loss", "epochs")))


def test_a_run_that_diverges_leaves_the_others_as_they_are() -> None:
    made = spec(*NETS["batch norms"], dtype="float64", loss="mse")
    made["data"]["y"] = np.random.default_rng(1).normal(size=(18, 3)).tolist()
    runs = varied(made, [{"optimizer.lr": lr, "seed": 1} for lr in (0.01, 1e200, 0.02)])
    fleet = fleet_of(runs)
    blocks, outcome = trained(fleet)
    assert outcome.status == ("finished", "diverged", "finished")
    for k in (0, 2):
        assert_as_run(fleet, blocks, outcome, k, alone(runs[k], ("full_loss", "epochs")))
    assert outcome.steps[1] == alone(runs[1]).outcome.steps


def test_runs_of_one_seed_leave_out_the_same_numbers_and_others_do_not() -> None:
    runs = varied(
        spec(*NETS["dropout"]), [{"optimizer.lr": lr, "seed": seed} for lr, seed in ((0.1, 3), (0.2, 3), (0.1, 4))]
    )
    fleet = fleet_of(runs)
    assert fleet.layers is not None
    kept = fleet.layers.state.draws.kept(fleet.theta.stored, (4, 50), 0.5, (0, 1))
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    before = torch.get_rng_state()
    trained(fleet)
    assert torch.equal(torch.get_rng_state(), before)  # torch's own generator is nobody's


@pytest.mark.parametrize("name", ["dropout", "lstm", "dropout of channels"])
def test_a_fleet_goes_on_from_a_checkpoint_to_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gdcli.engine.loop.MAX_BLOCK_STEPS", 3)
    runs = varied(spec(*NETS[name]), CHANGES)
    _, whole = trained(fleet_of(runs))
    loop = Loop(fleet_of(runs), ("full_loss", "epochs"), "norms")
    events = loop.events()
    next(events), next(events)
    state = checkpoint_state.capture(loop)
    after = Loop(fleet_of(runs), ("full_loss", "epochs"), "norms")
    checkpoint_state.fits(after, state)
    checkpoint_state.restore(after, state)
    *_, outcome = after.events()
    assert isinstance(outcome, Outcomes)
    assert outcome.values.tobytes() == whole.values.tobytes()  # parameters and buffers
    assert outcome.loss.tobytes() == whole.loss.tobytes()


# --- every layer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind not in ONE_BY_ONE])
def test_every_layer_that_takes_several_runs_has_the_gradients_of_each(kind: str) -> None:
    """One step on rows that are whole numbers, which embeddings take."""
    shape = rows_for(kind)
    made = spec(shape, [layer(kind, **needed(kind)), "Flatten", END], dtype="float64", epochs=1, batch={"size": 6})
    draw = np.random.default_rng(2)
    made["data"]["x"] = draw.integers(0, 5, size=(18, int(np.prod(shape)))).tolist()
    runs = varied(made, [{"optimizer.lr": 0.01, "seed": 0}, {"optimizer.lr": 0.02, "seed": 1}])
    if not why_alone(runs[0]):  # no more than affine layers, which have kernels by hand
        return
    fleet = fleet_of(runs)
    blocks, outcome = trained(fleet)
    for k, run in enumerate(runs):
        assert_as_run(fleet, blocks, outcome, k, alone(run, ("full_loss", "epochs")))


ALONE: dict[str, tuple[dict[str, Any], str]] = {
    "a random slope": (layer("RReLU"), "torch maps no RReLU over runs"),
    "one step of an lstm": (layer("LSTMCell", hidden_size=3), "torch maps no LSTMCell over runs"),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_layer_for_one_run_is_named(name: str) -> None:
    each, why = ALONE[name]
    made = loaded(spec(PLAIN, [layer("Linear", out_features=4), "LayerNorm", each, END]))
    assert why_alone(made, vmapped=True) == why


def test_by_default_torchs_layers_train_alone() -> None:
    assert why_alone(loaded(spec(*NETS["convolutions"]))) == "torch's own layers round by the runs beside them"


def test_dropout_inside_a_layer_and_running_means_of_rows_are_for_one_run() -> None:
    assert unmapped("GRU", {"num_layers": 2, "dropout": 0.1}) == "GRU draws its dropout inside"
    assert unmapped("InstanceNorm1d", {"track_running_stats": True}) == "InstanceNorm1d keeps running means"
    assert unmapped("LSTM", {"proj_size": 2}) == "torch maps no LSTM with proj_size over runs"
    assert unmapped("TransformerEncoderLayer", {"dropout": 0.0}) == ""


def test_a_large_convolution_is_torchs_own_in_groups_or_run_by_run() -> None:
    """Filters of 7 × 7 over 11 × 11 places are too many numbers for products of patches."""
    for channels in (8, 3):
        shape = [channels, 11, 11]
        layers = [conv(channels, 7, padding=3), "ReLU", layer("AvgPool2d", kernel_size=5), "Flatten", END]
        runs = varied(spec(shape, layers, dtype="float64", epochs=1), CHANGES[:3])
        fleet = fleet_of(runs)
        blocks, outcome = trained(fleet)
        for k, run in enumerate(runs):
            assert_as_run(fleet, blocks, outcome, k, alone(run, ("full_loss", "epochs")))
