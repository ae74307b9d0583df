"""P15: the size of the work is known by arithmetic before it starts; what is too large is refused with its number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import pytest

from gdcli.cli import main
from gdcli.errors import SpecError
from gdcli.spec import document, load, schema, sizes
from tests.timing import fastest

SECONDS = 0.5
GOOD = "data: {x: [1, 2], y: [2, 4]}\nmodel: linear\nloss: mse\noptimizer: {name: sgd, lr: 0.01}\n"
GENERATE = "data: {generate: {%s}}\nmodel: linear\nloss: %s\noptimizer: {name: sgd, lr: 0.01}\n"
MACHINE = 10**15  # bytes: a machine on which memory is no matter


class Bound(NamedTuple):
    """A size just allowed, the same and one more, and what the refusal says: number, limit, place."""

    allowed: str
    refused: str
    number: str
    limit: str
    place: str


def _values(count: int) -> str:
    return GOOD.replace("x: [1, 2], y: [2, 4]", f"x: [{_row(count)}, {_row(count)}], y: [2, 4]")


def _row(count: int) -> str:
    return "[" + ", ".join(["1"] * count) + "]"


BOUNDS = {
    # the whole data at once: a step an epoch
    "steps": Bound(
        GOOD + "epochs: 10000000000\n", GOOD + "epochs: 10000000001\n", "10,000,000,001 steps", "10,000,000,000", "5:9"
    ),
    # two rows, one at a time: two steps an epoch
    "steps of batches": Bound(
        GOOD + "batch: stochastic\nepochs: 5000000000\n",
        GOOD + "batch: stochastic\nepochs: 5000000001\n",
        "5,000,000,001 epochs are 10,000,000,002 steps",
        "10,000,000,000",
        "6:9",
    ),
    # 1 - n - m - 1 without bias has (n + 1)(m + 1) - 1 weights: 999,001 · 1,001 - 1 and 3,875,969 · 258 - 1 of them
    "parameters": Bound(
        GOOD.replace("model: linear", "model: {type: mlp, layers: [1, 999000, 1000, 1], bias: false}"),
        GOOD.replace("model: linear", "model: {type: mlp, layers: [1, 3875968, 257, 1], bias: false}"),
        "1,000,000,001 parameters",
        "1,000,000,000",
        "2:28",
    ),
    "layers": Bound(
        GOOD.replace("model: linear", f"model: {{type: mlp, layers: {_row(1001)}}}"),
        GOOD.replace("model: linear", f"model: {{type: mlp, layers: {_row(1002)}}}"),
        "1,001 layers",
        "1,000",
        "2:28",
    ),
    # 500 weights and a bias at 20 bytes, 60 for the row of steps.csv: 10,080 bytes a step
    "recorded gradients": Bound(
        _values(500) + "epochs: 99206349\n", _values(500) + "epochs: 99206350\n", "1,000.0 GB of", "1,000.0 GB", "5:9"
    ),
}


def loaded(text: str, *, bounded: bool = True) -> SpecError | None:
    """Read and check a spec as every command does before it imports the engine."""
    try:
        load.load(schema.parse(document.read(text, "f.yaml"), "f"), Path(), bounded=bounded)
    except SpecError as error:
        return error
    return None


def refused(text: str) -> str:
    """Return the message of a refusal, which takes half a second at most and allocates nothing to speak of."""
    loaded(GOOD)  # what is imported once is no cost of the check
    error = loaded(text)
    assert error is not None
    assert fastest(lambda: loaded(text), SECONDS) < SECONDS
    tracemalloc.start()
    try:
        loaded(text)
        assert tracemalloc.get_traced_memory()[1] < 20 * 10**6
    finally:
        tracemalloc.stop()
    return str(error)


@pytest.fixture(autouse=True)
def _large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "machine", lambda: MACHINE)


@pytest.mark.parametrize("name", BOUNDS)
def test_one_more_than_the_limit_is_refused_with_the_number_and_the_option(name: str) -> None:
    bound = BOUNDS[name]
    assert loaded(bound.allowed) is None
    message = refused(bound.refused)
    assert message.startswith(f"f.yaml:{bound.place}: ")
    assert bound.number in message
    assert f"more than {bound.limit}" in message
    assert "--no-limits allows it" in message


def test_a_label_as_large_as_an_integer_is_refused_without_memory_for_its_classes(tmp_path: Path) -> None:
    """2³¹ classes of one feature are 2³¹ weights and as many biases; twelve characters of a spec ask for them."""
    rest = "model: linear\nloss: cross_entropy\noptimizer: sgd\n"
    message = refused(f"data: {{x: [1, 2], y: [0, 2147483647]}}\n{rest}")
    assert "4,294,967,296 parameters, more than 1,000,000,000" in message
    file = tmp_path / "d.csv"
    file.write_text("a,y\n1,0\n2,2147483647\n")
    assert loaded(f"data: {{file: {file}, target: y}}\n{rest}") is None  # labels of a file are names: two classes


@pytest.mark.parametrize("name", ["steps", "steps of batches", "parameters", "layers", "recorded gradients"])
def test_the_option_that_is_named_allows_it(name: str) -> None:
    assert loaded(BOUNDS[name].refused, bounded=False) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (GOOD + "epochs: 1e18\n", "1,000,000,000,000,000,000 steps"),
        (GOOD.replace("model: linear", "model: {type: mlp, layers: [1, 1e6, 1e6, 1]}"), "1,000,004,000,001 parameters"),
        (GENERATE % ("kind: linear, weights: [1], n: 1e9", "mse"), "2,000,000,000 numbers"),
        (GENERATE % ("kind: blobs, n: 3, features: 1, classes: 1e9", "cross_entropy"), "1,000,000,006 numbers"),
        (GENERATE % ("kind: blobs, n: 3, features: 1e12", "cross_entropy"), "6,000,000,000,003 numbers"),
        (GENERATE % ("kind: sine, n: 1e18", "mse"), "3,000,000,000,000,000,000 numbers"),
    ],
)
def test_what_no_machine_could_do_is_refused(text: str, number: str) -> None:
    message = refused(text)
    assert number in message
    assert "--no-limits allows it" in message


def test_a_million_layers_do_not_fit_into_a_spec() -> None:
    text = GOOD.replace("model: linear", f"model: {{type: mlp, layers: {_row(10**6)}}}")
    error = loaded(text)
    assert fastest(lambda: loaded(text), SECONDS) < SECONDS
    assert "the text has 3,000," in str(error)
    assert "takes at most 1000 entries" in str(
        loaded(GOOD.replace("model: linear", f"model: {{type: sequential, layers: [{', '.join(['ReLU'] * 1001)}]}}"))
    )


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [  # rows of the features and a target; blobs have their centres too
        ("kind: linear, weights: [1, 2, 3], n: %d", 4),
        ("kind: polynomial, coefficients: [1, 2, 3], n: %d", 3),
        ("kind: moons, n: %d", 3),
    ],
)
def test_generated_numbers_are_counted_to_the_last(kind: str, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit itself would be made in memory, so a smaller one stands for it."""
    monkeypatch.setattr(sizes, "MAX_POINTS", 60_000)
    loss = "cross_entropy" if "moons" in kind else "mse"
    assert loaded(GENERATE % (kind % (60_000 // numbers), loss)) is None
    message = refused(GENERATE % (kind % (60_000 // numbers + 1), loss))
    assert f"{60_000 + numbers:,} numbers, more than 60,000" in message


# --- memory


# A 10-1000-1 net has 10·1000 + 1000 weights; start value, value, gradient and the last finite value of each take
# 4 bytes, as do twice its two states in Adam; two indices take 16 more. Two rows of 10 features and a target stand in
# float64 and float32; the step has outputs, activations and their gradients of 2 rows and 1,001 units.
NET = 11_000 * (4 * 4 + 2 * 2 * 4 + 16) + 2 * 11 * 12 + 3 * 2 * 1001 * 4
NET_SPEC = (
    _values(10)
    .replace("model: linear", "model: {type: mlp, layers: [10, 1000, 1], bias: false}")
    .replace("sgd", "adam")
)


def test_memory_is_refused_from_the_first_byte_that_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "machine", lambda: NET)
    assert loaded(NET_SPEC) is None
    monkeypatch.setattr(sizes, "machine", lambda: NET - 1)
    message = refused(NET_SPEC)
    assert message.startswith("f.yaml:2:28: model.layers: a run of 11,000 parameters takes at least 0.0 GB of memory")
    assert "this machine has 0.0 GB. gdcli run --no-limits allows it" in message
    assert loaded(NET_SPEC, bounded=False) is None


def test_runs_that_are_trained_together_take_their_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load.load(schema.parse(document.read(NET_SPEC, "f.yaml"), "f"), Path())
    data = 2 * 11 * 12
    fleet = 16 * (NET - data) + data
    monkeypatch.setattr(sizes, "machine", lambda: fleet)
    load.require_memory(found, 16)
    monkeypatch.setattr(sizes, "machine", lambda: fleet - 1)
    with pytest.raises(SpecError, match=r"16 runs at once take at least 0.0 GB of memory.*--fleet off"):
        load.require_memory(found, 16)


def test_data_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """10^8 rows of two numbers are 2.4 GB: 8 bytes as made and 4 as the engine has them."""
    monkeypatch.setattr(sizes, "machine", lambda: 2 * 10**9)
    message = refused(GENERATE % ("kind: linear, weights: [1], n: 1e8", "mse"))
    assert (
        "f.yaml:1:50: data.generate.n: 200,000,000 numbers take at least 2.4 GB of memory, this machine has 2.0 GB"
        in (message)
    )


@pytest.mark.parametrize(
    "optimizer", ["sgd", "{name: sgd, lr: 0.1, momentum: 0.9}", "adam", "radam", "rprop", "rmsprop"]
)
def test_the_states_of_optimizers_are_those_of_the_engine(optimizer: str) -> None:
    """What is counted is what the update rule makes for each scalar."""
    import torch

    from gdcli.engine.problem import build

    found = load.load(schema.parse(document.read(GOOD.replace("{name: sgd, lr: 0.01}", optimizer), "f"), "f"), Path())
    (update,) = build(found).updates
    each = [tensor for tensor in update.bound.state.values() if tensor.numel() > 1 or tensor.dim()]
    assert sizes.states(found.spec.optimizer) == len([tensor for tensor in each if isinstance(tensor, torch.Tensor)])


# --- sweeps and comparisons


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["sweep", "--param", "w=range(0,1e18,1)"], "1,000,000,000,000,000,000 points are more than 10,000,000"),
        (["sweep", "--param", "w=linspace(0,1,10000001)"], "10,000,001 points are more than 10,000,000"),
        (["sweep", "linear_manual", "-p", "lr=linspace(1,2,10001)"], "10,001 runs are more than 10,000"),
        (["sweep", "linear_manual", "-p", "lr=linspace(1,2,101)", "-p", "seed=0:100:1"], "10,100 runs are more than"),
        (["sweep", "linear_manual", "-p", "lr=1,2", "--seeds", "5001"], "10,002 runs are more than 10,000"),
        (["compare", "--optimizers", "sgd,adam", "--seeds", "5001"], "10,002 runs are more than 10,000"),
        (["compare", "--optimizers", "sgd", "--seeds", "1000000000000000000"], "1,000,000,000,000,000,000 runs"),
        (["compare", "--optimizers", "sgd,adam", "--tune", "5000"], "10,002 runs are more than 10,000"),
        (["sweep", "--param", "w=1:5:1", "--max-runs", "3"], "4 points are more than 3"),
    ],
)
def test_sweeps_and_comparisons_are_counted_before_anything_is_made(
    words: list[str], number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "gdcli.runner.record_run", None)  # known without torch
    assert main(words) == 2
    printed = capsys.readouterr()
    assert fastest(lambda: main(words), 2 * SECONDS) < 2 * SECONDS  # with all commands' options, which are read first
    assert number in printed.err
    assert "--max-runs raises it" in printed.err
    assert (printed.out, list(tmp_path.iterdir())) == ("", [])


@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "--param", "w=linspace(0,1,2000)", "--dry-run", "--max-runs", "2000"],
        ["sweep", "linear_manual", "-p", "lr=linspace(1,2,10000)", "--dry-run"],
    ],
)
def test_the_last_allowed_size_is_allowed(words: list[str], gdcli) -> None:
    answer = gdcli(*words)
    assert answer.code == 0
    assert answer.out.count("\n") in (2_000, 10_000)


def test_the_program_itself_refuses_in_half_a_second_without_torch(tmp_path: Path) -> None:
    """Through `main`, in a process of its own: what the check takes, and what it has imported by then."""
    (tmp_path / "spec.yaml").write_text(GOOD)
    program = (
        "import sys, json\nfrom gdcli.cli import main\nfrom tests.timing import fastest\n"
        "main(['validate', 'spec.yaml'])\n"
        "code = main(['run', 'spec.yaml', 'epochs=1e18'])\n"
        "seconds = fastest(lambda: main(['run', 'spec.yaml', 'epochs=1e18']), 0.5)\n"
        "print(json.dumps([code, seconds, 'torch' in sys.modules]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    code, seconds, torch = json.loads(answer.stdout.splitlines()[-1])
    assert (code, torch) == (2, False)
    assert seconds < SECONDS
    assert "--no-limits allows it" in answer.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spec.yaml"]


CHANNELS = "{layer: Unflatten, dim: 1, unflattened_size: [1, 4]}, {layer: Conv1d, in_channels: 1, "
ROOM = {
    "pool": ("{layer: AdaptiveAvgPool1d, output_size: 300000000}", 1, "300,000,000 numbers"),
    "padding": (f"{CHANNELS}out_channels: 1, kernel_size: 3, padding: 150000000}}", 2, "300,000,002 numbers"),
    "channels": (f"{CHANNELS}out_channels: 30000000, kernel_size: 1}}", 2, "120,000,000 numbers"),
    "stride": (
        f"{CHANNELS.replace('Conv1d', 'ConvTranspose1d')}out_channels: 1, kernel_size: 1, stride: 100000000}}",
        2,
        "300,000,001 numbers",
    ),
    "outputs": ("{layer: Linear, in_features: 4, out_features: 200000000, bias: false}", 1, "200,000,000 numbers"),
}
"""Layers for rows of four numbers, which of them is too large, and what it gives: 4 + 2 p - 2 with a padding of p,
(4 - 1) s + 1 with a transposed stride of s."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ROOM)
def test_what_layers_of_torch_make_of_a_row_is_counted_before_it_is_made(name: str, tmp_path: Path) -> None:
    """In a process that takes less than a row of 300,000,000 numbers would."""
    layers, last, number = ROOM[name]
    spec = tmp_path / "big.yaml"
    spec.write_text(
        "data: {x: [[1, 2, 3, 4], [2, 3, 4, 5]], y: [1, 2]}\n"
        f"model: {{type: sequential, layers: [{layers}, Flatten]}}\n"
        "loss: mse\noptimizer: sgd\n"
    )
    code = f"import re, torch; from gdcli.cli import main; code = main(['validate', {str(spec)!r}]); "
    # of this process alone: the system's other figure begins with that of the process that started it
    code += "print(code, re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refused, peak = map(int, ended.stdout.split())
    assert refused == 2
    assert f"model.layers[{last - 1}]: gives {number} a row, more than 100,000,000" in ended.stderr
    assert peak < 1_000_000  # kB
