"""Nets of torch's own layers: a plain torch loop's bits, sizes that are found, shapes as torch gives them, modes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gdcli.commands.context import Frontend
from gdcli.commands.summary import summary
from gdcli.engine.layers import flattened
from gdcli.engine.tracing import traced
from gdcli.zoo.torch_layers import LAYERS, has_two_modes
from tests.engine.plain_torch import batches, built, loaded, loop, same_bits, trained

Layers = list[Any]
RANDOM = random.Random(1)
SERIES = [[round(RANDOM.uniform(-1, 1), 3) for _ in range(12)] for _ in range(10)]
NUMBERS = [[RANDOM.randrange(5) for _ in range(12)] for _ in range(10)]
Y = [[round(RANDOM.uniform(-1, 1), 3)] for _ in range(10)]


def spec(layers: Layers, x: Any = SERIES, **more: Any) -> dict[str, Any]:
    data = {"x": x, "y": Y, **more.pop("data", {})}
    found = {"data": data, "model": {"type": "sequential", "layers": layers}, "loss": "mse", "seed": 7}
    return {**found, "optimizer": {"name": "adam", "lr": 0.02}, "epochs": 3, "batch": {"size": 4}, **more}


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **arguments: Any) -> None:
        super().__init__()
        self.reads = kind(3, 5, batch_first=True, **arguments)  # type: ignore[arg-type]  # torch's signature is open
        self.gives = nn.Linear(10 if arguments.get("bidirectional") else 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.gives(self.reads(x)[0][:, -1])
        return output


class WholeSequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.gives = (
            nn.GRU(3, 4, batch_first=True),
            nn.LSTM(4, 2, batch_first=True),
            nn.Linear(8, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.gives(self.second(self.first(x)[0])[0].flatten(1))
        return output


class Read(nn.Module):
    """Embedding, batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.first, self.norm = nn.Embedding(5, 3), nn.Linear(36, 6), nn.BatchNorm1d(6)
        self.drop, self.last = nn.Dropout(0.4), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(self.table(x.long()).flatten(1))
        output: Tensor = self.last(self.drop(torch.relu(self.norm(h))))
        return output


class Residuals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = x + self.c(torch.tanh(self.b(x)))
        output: Tensor = self.d(x)
        return output


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.c = nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.a(x)))  # [B, 3, 2, 3]
        output: Tensor = self.c(nn.functional.adaptive_avg_pool2d(self.b(x), (2, 1)).flatten(1))
        return output


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, dropout=0.1, batch_first=True)
        self.b, self.c = nn.MultiheadAttention(4, 1, batch_first=True), nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        output: Tensor = self.c(self.b(x, x, x)[0].flatten(1))
        return output


LAST = {"layer": "Linear", "out_features": 1}
STEPS = {"shape": [4, 3]}
NETS: dict[str, tuple[Callable[[], nn.Module], Layers, Any, dict[str, Any]]] = {
    **{
        f"{kind} {more}": (
            lambda kind=kind, more=more: Recurrent(getattr(nn, kind), **more),  # type: ignore[misc]  # a lambda with defaults
            [{"layer": kind, "hidden_size": 5, "last": True, **more}, LAST],
            SERIES,
            STEPS,
        )
        for kind, more in (
            ("RNN", {}),
            ("RNN", {"nonlinearity": "relu"}),
            ("GRU", {}),
            ("GRU", {"num_layers": 2, "dropout": 0.3}),
            ("LSTM", {}),
            ("LSTM", {"bidirectional": True}),
        )
    },
    "sequences": (
        WholeSequence,
        [{"layer": "GRU", "hidden_size": 4}, {"layer": "LSTM", "hidden_size": 2}, "Flatten", LAST],
        SERIES,
        STEPS,
    ),
    "embedding, batch norm and dropout": (
        Read,
        [
            {"layer": "Embedding", "num_embeddings": 5, "embedding_dim": 3},
            "Flatten",
            {"layer": "Linear", "out_features": 6},
            "BatchNorm1d",
            "ReLU",
            {"layer": "Dropout", "p": 0.4},
            LAST,
        ],
        NUMBERS,
        {},
    ),
    "residual": (
        Residuals,
        [
            {"layer": "Linear", "out_features": 8},
            {"residual": [{"layer": "Linear", "out_features": 8}, "Tanh", {"layer": "Linear", "out_features": 8}]},
            LAST,
        ],
        SERIES,
        {},
    ),
    "convolutions": (
        Convolutions,
        [
            {"layer": "Conv2d", "out_channels": 3, "kernel_size": 2},
            "BatchNorm2d",
            "ReLU",
            {"layer": "Conv2d", "out_channels": 2, "kernel_size": 1},
            {"layer": "AdaptiveAvgPool2d", "output_size": [2, 1]},
            "Flatten",
            LAST,
        ],
        SERIES,
        {"shape": [1, 3, 4]},
    ),
    "attention": (
        Attention,
        [
            {"layer": "TransformerEncoderLayer", "nhead": 2, "dim_feedforward": 8},
            {"layer": "MultiheadAttention", "num_heads": 1},
            "Flatten",
            LAST,
        ],
        SERIES,
        {"shape": [3, 4]},
    ),
}


def plain(
    make: Callable[[], nn.Module], x: Any, data: Any, dtype: torch.dtype, *, shuffle: bool
) -> tuple[Any, nn.Module]:
    rows = torch.tensor(x, dtype=dtype).reshape(10, *data.get("shape", [12]))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.manual_seed(7)
    net = make()
    torch.set_default_dtype(before)
    taken = batches(rows, torch.tensor(Y, dtype=dtype), 4, 3, shuffle=shuffle, seed=7)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    return loop([*net.parameters()], net, nn.functional.mse_loss, optimizer, taken), net


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("dtype", "shuffle"), [("float32", True), ("float64", False)])
def test_a_run_has_the_bits_of_a_plain_torch_loop(name: str, dtype: str, shuffle: bool) -> None:
    make, layers, x, data = NETS[name]
    run = trained(spec(layers, x, data=data, dtype=dtype, batch={"size": 4, "shuffle": shuffle}))
    expected, net = plain(make, x, data, getattr(torch, dtype), shuffle=shuffle)
    assert run.column("loss").tolist() == expected.losses
    for mine, torchs in zip(run.weights.values(), expected.weights[-1], strict=True):
        assert same_bits(mine, torchs)
    net.eval()
    with torch.no_grad():  # the end is evaluated without dropout, and with the running means of batch norms
        rows = torch.tensor(x, dtype=getattr(torch, dtype)).reshape(10, *data.get("shape", [12]))
        loss = nn.functional.mse_loss(net(rows), torch.tensor(Y, dtype=rows.dtype))
    assert run.outcome.loss == loss.item()


FOUND: dict[str, tuple[Any, Any]] = {
    "Linear": ({"out_features": 2}, {"in_features": 12}),
    "Conv1d": ({"out_channels": 2, "kernel_size": 2}, {"in_channels": 4}),
    "BatchNorm1d": ({}, {"num_features": 12}),
    "GRU": ({"hidden_size": 3, "last": True}, {"input_size": 3}),
    "LayerNorm": ({}, {"normalized_shape": 12}),
    "GroupNorm": ({"num_groups": 2}, {"num_channels": 4}),
}


@pytest.mark.parametrize("kind", FOUND)
def test_a_size_that_is_left_out_is_the_one_that_would_be_given(kind: str) -> None:
    arguments, size = FOUND[kind]
    data = STEPS if len(LAYERS[kind].ranks) == 1 or kind == "GroupNorm" else {}
    alike = [
        trained(spec([{"layer": kind, **arguments, **more}, "Flatten", LAST], data=data, batch={"size": 5}))
        for more in ({}, size)
    ]
    assert all(map(same_bits, alike[0].weights.values(), alike[1].weights.values()))
    assert alike[0].outcome.loss == alike[1].outcome.loss


# --- shapes, as torch gives them --------------------------------------------------------------------------------------

SHAPES = {1: [16], 2: [4, 4], 3: [4, 2, 2], 4: [2, 2, 2, 2]}
NEEDED: dict[str, dict[str, Any]] = {
    "Linear": {"out_features": 3},
    "Unflatten": {"dim": 1, "unflattened_size": [2, 8]},
    "Unfold": {"kernel_size": 2},
    "Fold": {"output_size": [3, 3], "kernel_size": 2},
    "ChannelShuffle": {"groups": 2},
    "PixelShuffle": {"upscale_factor": 2},
    "PixelUnshuffle": {"downscale_factor": 2},
    "Upsample": {"scale_factor": 2.0},
    "GroupNorm": {"num_groups": 2},
    "LocalResponseNorm": {"size": 2},
    "MultiheadAttention": {"num_heads": 2},
    "TransformerEncoderLayer": {"nhead": 2, "dim_feedforward": 5},
    "Threshold": {"threshold": 0.1, "value": 0.2},
}
BY_WORD: list[tuple[str, dict[str, Any]]] = [
    ("Upsampling", {"scale_factor": 2}),
    ("Embedding", {"num_embeddings": 5, "embedding_dim": 3}),
    ("Conv", {"out_channels": 4, "kernel_size": 2}),
    ("ConstantPad", {"padding": 1, "value": 1.5}),
    ("Pad", {"padding": 1}),
    ("Adaptive", {"output_size": 2}),
    ("LPPool", {"norm_type": 2, "kernel_size": 2}),
    ("Pool", {"kernel_size": 2}),
    ("RNN", {"hidden_size": 3}),
    ("GRU", {"hidden_size": 3}),
    ("LSTM", {"hidden_size": 3}),
]


def needed(kind: str) -> dict[str, Any]:
    return NEEDED.get(kind) or next((given for word, given in BY_WORD if word in kind), {})


def rows_for(kind: str) -> list[int]:
    ranks = LAYERS[kind].ranks
    return SHAPES[max(ranks) if ranks else 2 if kind == "GroupNorm" else 1]


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_is_traced_with_torchs_shapes_and_trains(kind: str) -> None:
    layers = [{"layer": kind, **needed(kind)}, "Flatten", LAST]
    x = [[RANDOM.randrange(5) for _ in range(16)] for _ in range(10)]
    made = spec(layers, x, data={"shape": rows_for(kind)}, epochs=1, batch={"size": 5})
    before = torch.get_rng_state()
    found = traced(loaded(made))
    assert torch.equal(before, torch.get_rng_state())  # nothing is drawn
    run = trained(made)
    assert run.outcome.status == "finished"
    module, given = run.built.module, []
    assert module is not None
    assert isinstance(module[0], getattr(nn, kind))  # type: ignore[index]  # a Sequential
    h = run.built.batches.x[:3]
    with torch.no_grad():
        for part in module.eval():  # type: ignore[union-attr]  # a Sequential
            h = part(h)
            given.append(tuple(h.shape[1:]))
    assert [layer.output for layer in found] == given
    shapes = {name: shape for layer in found for name, shape in layer.shapes.items()}
    assert shapes == {name: tuple(p.shape) for name, p in module.named_parameters()}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_layers_that_differ_in_training_are_known(kind: str) -> None:
    """One that differs gives other numbers for the same rows in training; one that does not gives the same."""
    x = [[RANDOM.randrange(5) for _ in range(16)] for _ in range(10)]
    data = {"shape": rows_for(kind)}
    module = built(spec([{"layer": kind, **needed(kind)}, "Flatten", LAST], x, data=data, batch={"size": 5})).module
    assert module is not None
    layer = next(module.children())
    rows = torch.tensor(x, dtype=torch.float32).reshape(10, *data["shape"]) - (0 if "Embedding" in kind else 2)
    with torch.no_grad():
        evaluated, training = layer.eval()(rows), layer.train()(rows)
    differ = not torch.allclose(evaluated, training, atol=1e-5)
    assert differ == has_two_modes(kind, needed(kind)), kind


def test_a_summary_counts_torchs_parameters_and_says_what_is_frozen() -> None:
    _, layers, x, data = NETS["residual"]
    made = loaded(spec(layers, x, data=data) | {"model": {"type": "sequential", "layers": layers, "freeze": "0.*"}})
    told, net = summary(made, Frontend()), Residuals()
    assert told.parameters == sum(p.numel() for p in net.parameters()) == 257
    assert told.trained == told.parameters - 12 * 8 - 8
    assert [(row.layer, row.output, row.parameters) for row in told.rows] == [
        ("", (12,), None), ("0", (8,), 104), ("1.0", (8,), 72), ("1.1", (8,), 0), ("1.2", (8,), 72), ("1", (8,), 0),
        ("2", (1,), 9),
    ]  # fmt: skip


def test_the_multiply_adds_of_a_row_are_those_of_its_products() -> None:
    """A convolution of 3 × 3 with 6 filters on 1 × 8 × 8, padded: 64 places, 6 · 9 products each."""
    layers = [{"layer": "Conv2d", "out_channels": 6, "kernel_size": 3, "padding": 1}, "Flatten", LAST]
    x = [[0.5] * 64 for _ in range(10)]
    found = [layer.multiply_adds for layer in flattened(traced(loaded(spec(layers, x, data={"shape": [1, 8, 8]}))))]
    assert found == [64 * 6 * 9, 0, 6 * 64]
    recurrent = [{"layer": "GRU", "hidden_size": 5, "last": True}, LAST]
    (gru, last) = traced(loaded(spec(recurrent, data=STEPS)))
    assert (gru.multiply_adds, last.multiply_adds) == (4 * 3 * (5 * 3 + 5 * 5), 5)


# --- modes ------------------------------------------------------------------------------------------------------------


def test_with_dropout_the_best_loss_of_full_batches_is_one_of_an_evaluation() -> None:
    """The step's own loss, with some numbers left out, is not the whole set's."""
    layers = [{"layer": "Linear", "out_features": 8}, {"layer": "Dropout", "p": 0.9}, LAST]
    run = trained(spec(layers, batch="full", epochs=40), columns=["full_loss"])
    evaluated = run.column("full_loss")
    assert run.outcome.best_loss == evaluated.min()
    assert min(run.column("loss")) != run.outcome.best_loss


def test_validation_is_evaluated_with_the_running_means() -> None:
    make, layers, x, data = NETS["embedding, batch norm and dropout"]
    run = trained(spec(layers, x, data={**data, "validation": 0.4}, batch={"size": 3}, epochs=2))
    net = make()
    with torch.no_grad():
        for mine, torchs in zip(net.parameters(), run.weights.values(), strict=True):
            mine.copy_(torchs)
        buffers = {name: buffer for name, buffer in run.built.tensors().items() if name.startswith("buffer.")}
        for mine, torchs in zip(net.buffers(), buffers.values(), strict=True):
            mine.copy_(torchs)
        held_out = run.built.validation
        assert held_out is not None
        loss = nn.functional.mse_loss(net.eval()(held_out.x), held_out.y)
    assert run.outcome.metrics["validation_loss"] == loss.item()


# --- what does not fit ------------------------------------------------------------------------------------------------


def conv(**more: Any) -> dict[str, Any]:
    return {"layer": "Conv2d", "out_channels": 2, "kernel_size": 1, **more}


WRONG: dict[str, tuple[Layers, dict[str, Any], str, str]] = {
    "a convolution on flat rows": (
        [conv(), "Flatten", LAST],
        {},
        "layers[0]",
        "data.shape: [3, 2, 2] gives each",
    ),
    "a recurrent layer on flat rows": ([{"layer": "GRU", "hidden_size": 2}], {}, "layers[0]", "data.shape: [12, 1]"),
    "a convolution behind flat ones": (
        [{"layer": "Linear", "out_features": 16}, conv(), "Flatten", LAST],
        {},
        "layers[1]",
        "Put {layer: Unflatten, dim: 1, unflattened_size: [1, 4, 4]} before it",
    ),
    "a width": ([{"layer": "Linear", "in_features": 9, "out_features": 1}], {}, "layers[0]", "Set in_features: 12"),
    "channels": ([conv(in_channels=2), "Flatten", LAST], {"shape": [3, 2, 2]}, "layers[0]", "Set in_channels: 3"),
    "no Flatten": (
        [conv(), {"layer": "Linear", "in_features": 8, "out_features": 1}],
        {"shape": [3, 2, 2]},
        "layers[1]",
        "Put Flatten before it",
    ),
    "a sequence as output": ([{"layer": "RNN", "hidden_size": 1}], STEPS, "layers[0]", "last: true gives its last"),
    "an image as output": ([conv()], {"shape": [3, 2, 2]}, "layers[0]", "Flatten makes one axis of several"),
    "two outputs": ([{"layer": "Linear", "out_features": 2}], {}, "layers[0]", "Set out_features: 1"),
    "a residual of another width": (
        [{"residual": [{"layer": "Linear", "out_features": 1}]}, LAST],
        {},
        "layers[0]",
        "Its last layer must give [12]",
    ),
    "inside a residual": ([{"residual": ["ReLU", conv()]}, LAST], {}, "layers[0].residual[1]", "Conv2d does not fit"),
    "an embedding of fractions": (
        [{"layer": "Embedding", "num_embeddings": 5, "embedding_dim": 1}, "Flatten", LAST],
        {},
        "layers[0]",
        "Embedding takes whole numbers from 0 on, x[0] has",
    ),
    "an embedding behind others": (
        ["ReLU", {"layer": "Embedding", "num_embeddings": 5, "embedding_dim": 1}],
        {},
        "layers[1]",
        "Put it first",
    ),
    "layers without end": (
        [{"layer": "GRU", "hidden_size": 1, "num_layers": 10**9}],
        STEPS,
        "layers[0].num_layers",
        "1,000",
    ),
    "rows as steps": (
        [{"layer": "GRU", "hidden_size": 1, "batch_first": False}],
        STEPS,
        "layers[0].batch_first",
        "first",
    ),
    "sparse": ([{"layer": "Embedding", "sparse": True}], {}, "layers[0].sparse", "gradients are not sparse"),
    "a norm": ([{"layer": "Embedding", "max_norm": 1.0}], {}, "layers[0].max_norm", "by validation rows too"),
    "in place": ([{"layer": "ReLU", "inplace": True}, LAST], {}, "layers[0].inplace", "overwrite its input"),
    "last of another": (["ReLU", {**LAST, "last": True}], {}, "layers[1].last", "it is for RNN, GRU, LSTM"),
    "two inputs": (["Bilinear"], {}, "layers[0]", "unknown torch layer (got 'Bilinear'). It takes two inputs"),
    "a lazy one": ([{"layer": "LazyConv2d"}], {}, "layers[0]", "Conv2d finds its sizes by itself"),
    "a loss": (["MSELoss"], {}, "layers[0]", "It is a loss"),
    "a shape of another size": ([LAST], {"shape": [5, 2]}, "data.shape", "makes 10 numbers, a row of the data has 12"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_told_with_what_would(gdcli, tmp_path, name: str) -> None:
    layers, data, place, told = WRONG[name]
    (tmp_path / "s.yaml").write_text(json.dumps(spec(layers, data=data)))
    answer = gdcli("validate", "s.yaml")
    (line,) = answer.err.splitlines()
    assert answer.code == 2
    assert f"{place}: " in line
    assert told in line


@pytest.mark.parametrize(("highest", "told"), [(5, "num_embeddings is 5, the data go up to 5. Set 6"), (4, "")])
def test_an_embedding_has_a_vector_for_every_number_of_the_data(gdcli, tmp_path, highest: int, told: str) -> None:
    """In the last row too, which no layer is tried on, and in those held out."""
    x = [*NUMBERS[:-1], [0] * 11 + [highest]]
    layers = [{"layer": "Embedding", "num_embeddings": 5, "embedding_dim": 1}, "Flatten", LAST]
    (tmp_path / "s.yaml").write_text(json.dumps(spec(layers, x, data={"validation": 0.5})))
    answer = gdcli("validate", "s.yaml")
    assert (answer.code, told in answer.err) == (2 if told else 0, True)


def test_a_row_to_predict_that_an_embedding_lacks_is_told(gdcli, tmp_path) -> None:
    layers = [{"layer": "Embedding", "num_embeddings": 5, "embedding_dim": 1}, "Flatten", LAST]
    (tmp_path / "s.yaml").write_text(json.dumps(spec(layers, NUMBERS, print={"predict": [0] * 11 + [5]})))
    answer = gdcli("run", "s.yaml", "--no-plot")
    assert answer.code == 2
    assert "print.predict: the layers do not take it: index out of range" in answer.err


def test_a_label_without_an_output_is_told_with_the_width_that_fits(gdcli, tmp_path) -> None:
    labels = [0, 1, 2, 3] * 2 + [0, 1]
    made = spec([{"layer": "Linear", "out_features": 3}], loss="cross_entropy")
    made["data"]["y"] = labels
    (tmp_path / "s.yaml").write_text(json.dumps(made))
    answer = gdcli("validate", "s.yaml")
    assert "a class for each label from 0 to 3. Set out_features: 4" in answer.err
    assert answer.code == 2


@pytest.mark.parametrize("last", [{"layer": "BatchNorm1d"}, "residual"], ids=str)
def test_bce_behind_a_layer_of_any_numbers_is_a_problem(gdcli, tmp_path, last: Any) -> None:
    last = {"residual": ["Sigmoid"]} if last == "residual" else last
    made = spec([LAST, "Sigmoid", last], loss="bce")
    made["data"]["y"] = [[0], [1]] * 5
    (tmp_path / "s.yaml").write_text(json.dumps(made))
    answer = gdcli("validate", "s.yaml")
    assert answer.code == 2
    assert "bce takes outputs from 0 to 1" in answer.err
    assert "bce_with_logits" in answer.err


def test_the_steps_of_a_sequence_are_as_long_as_the_data_say() -> None:
    """Of a long one only a step is traced, and all are counted."""
    x = [[0.1] * 1500 for _ in range(10)]
    layers = [{"layer": "RNN", "hidden_size": 2}, {"layer": "RNN", "hidden_size": 1, "last": True}]
    first, last = traced(loaded(spec(layers, x, data={"shape": [1500, 1]})))
    assert (first.output, last.output) == ((1500, 2), (1,))
    assert first.multiply_adds == 1500 * (2 + 4)


def test_names_of_parameters_are_those_of_nn_sequential() -> None:
    _, layers, x, data = NETS["residual"]
    names = [*trained(spec(layers, x, data=data, epochs=1)).weights]
    inner = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    assert names == [*nn.Sequential(nn.Linear(12, 8), inner, nn.Linear(8, 1)).state_dict()]
    assert len({*names}) == len(names)
    assert all(a != b for a, b in pairwise(names))


def test_validate_prints_each_layer_its_shape_and_its_parameters(gdcli, tmp_path) -> None:
    """A convolution of 3 filters of 2 × 2 on one channel has 3 · 4 + 3 parameters, and gives 2 × 3 places of 3 × 4."""
    layers = [{"layer": "Conv2d", "name": "see", "out_channels": 3, "kernel_size": 2}, "Flatten", LAST]
    (tmp_path / "s.yaml").write_text(json.dumps(spec(layers, data={"shape": [1, 3, 4]})))
    answer = gdcli("validate", "s.yaml", "--summary")
    assert [line.split() for line in answer.out.splitlines()] == [
        ["s.yaml:", "valid"],
        ["layer", "kind", "output", "shape", "parameters"],
        ["a", "row", "of", "the", "data", "[1,", "3,", "4]", "-"],
        ["see", "Conv2d", "[3,", "2,", "3]", "15"],
        ["1", "Flatten", "[18]", "0"],
        ["2", "Linear", "[1]", "19"],
        ["34", "parameters,", "all", "of", "them", "trained"],
    ]
    told = gdcli("validate", "s.yaml", "--summary", "--json").json["summary"]["s.yaml"]
    assert (told["parameters"], [row["parameters"] for row in told["rows"]]) == (34, [None, 15, 0, 19])
    assert not (tmp_path / "runs").exists()
