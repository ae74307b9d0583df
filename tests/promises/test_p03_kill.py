"""P3: a run killed at any moment resumes to the same bytes."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path

import pytest

from gdcli.storage import arrays as sealed
from gdcli.zoo.optimizers import OPTIMIZERS
from tests.promises import crashing
from tests.promises.crashing import call, dying, record_in, start, undisturbed
from tests.timing import children_seconds
from tests.trials import trials

WIDE = ("layers=[3,200,1]", "epochs=20")
"""1,001 scalars, of which 130 steps make a group of rows."""

CASES: dict[str, tuple[str, ...]] = {
    "full batch, sgd": ("rows", "batch=full", "epochs=400"),
    "stochastic, momentum": ("line", "optimizer={name: sgd, lr: 0.0001, momentum: 0.9}"),
    "shuffled, nesterov": ("rows", "optimizer={name: sgd, lr: 0.01, momentum: 0.9, nesterov: true}"),
    "shuffled stochastic": ("rows", "batch={mode: stochastic, shuffle: true}", "epochs=14"),
    "drop_last, float64": ("rows", "batch={mode: mini-batch, size: 4, drop_last: true}", "dtype=float64"),
    **{f"optimizer {name}": ("rows", f"optimizer.name={name}") for name in sorted(OPTIMIZERS)},
    "adam, amsgrad": ("rows", "optimizer={name: adam, lr: 0.01, amsgrad: true}"),
    "rmsprop, centered": ("rows", "optimizer={name: rmsprop, lr: 0.01, centered: true, momentum: 0.5}"),
    "groups": ("rows", "optimizer={name: adam, lr: 0.01, groups: {'linear1.*': {lr: 0.001}}}"),
    "scheduler step": ("rows", "scheduler={name: step, step_size: 7, gamma: 0.8}"),
    "scheduler cosine": ("rows", "scheduler={name: cosine_annealing, T_max: 20}", "optimizer={name: adam, lr: 0.01}"),
    "scheduler plateau": (
        "rows",
        "scheduler={name: reduce_on_plateau, patience: 1, threshold: 0.2}",
        "optimizer.lr=0.1",
    ),
    "plateau on held out rows": ("layers", "scheduler={name: reduce_on_plateau, patience: 0}"),
    "one cycle": ("rows", "scheduler={name: one_cycle}", "optimizer={name: adam, lr: 0.05}"),
    "warm-up": ("rows", "scheduler={name: warmup, then: {name: exponential, gamma: 0.95}}"),
    "clip and penalty": (
        "rows",
        "clip={norm: 0.05}",
        "penalty={l1: 0.001, l2: 0.01}",
        "optimizer={name: adam, lr: 0.01}",
    ),
    "accumulate": ("rows", "batch={size: 2, accumulate: 3}", "clip={value: 0.01}"),
    "accumulate with dropout": ("layers", "batch={size: 2, accumulate: 2, drop_last: true}", "penalty={l2: 0.01}"),
    "dropout and batch norm": ("layers",),
    "dropout, float64, scheduler": ("layers", "dtype=float64", "scheduler={name: exponential, gamma: 0.99}"),
    "dropout, gradient norm": ("layers", "stop={gradient_norm: 1e-9}"),
    "embedding, recurrent, batch norm, dropout": ("numbers",),
    "patience": ("rows", "stop={patience: 3}", "epochs=400", "optimizer.lr=0.1"),
    "patience on held out rows": ("layers", "stop={patience: 12}", "epochs=400"),
    "the best weights on held out rows": ("layers", "stop={patience: 12, restore: true}", "epochs=400"),
    "the best weights by accuracy": ("layers", "metric=validation_accuracy", "metrics=[accuracy, confusion]"),
    "stop at a loss": ("valley", "stop={loss: 1e-3}", "epochs=3000"),
    "stop after steps": ("rows", "stop={max_steps: 377}"),
    "trace": ("valley",),
    "trace, rprop": ("valley", "optimizer={name: rprop, lr: 0.01}"),
    "autograd": ("line", "print.style=autograd", "engine=autograd"),
    "tensor": ("rows", "print.style=tensor", "batch=full", "epochs=300"),
    "norms": ("rows", "record={gradients: norms}"),
    "no gradients": ("rows", "record={gradients: none}"),
    "parameters, layers, parquet": ("rows", "record={parameters: true, layers: true, format: parquet, every: 2}"),
    "npy": ("rows", "record={format: npy, every: 2}"),
    "a wide csv": ("rows", *WIDE, "record={gradients: values}"),
    "a wide parquet": ("rows", *WIDE, "record={gradients: values, format: parquet}"),
    "a wide npy": ("rows", *WIDE, "record={gradients: values, format: npy}"),
    "every third": ("rows", "record={every: 3}", "epochs=57"),
    "diverges": ("line", "optimizer.lr=0.3", "epochs=700", "print.style=epoch"),
}
PLOTTED = 4
"""One case in so many draws its loss curve, which takes longer than its training."""

BLOCK = 48  # steps between two checkpoints


def command(specs: Path, name: str) -> tuple[str, ...]:
    spec, *overrides = CASES[name]
    plot = () if list(CASES).index(name) % PLOTTED == 0 else ("--no-plot",)
    return ("run", str(specs / f"{spec}.yaml"), *overrides, *plot)


@pytest.fixture(scope="module")
def expected(specs: Path) -> dict[str, tuple[float, dict[str, bytes]]]:
    """Processor seconds and bytes of each case, undisturbed, with the engine's own block size."""
    found = {}
    for k, name in enumerate(CASES):
        begun = children_seconds()
        files = undisturbed(specs / f"undisturbed-{k}", *command(specs, name))
        found[name] = children_seconds() - begun, files
    return found


@pytest.mark.slow
def test_killed_at_random_again_and_again(place: Path, specs: Path, expected: dict) -> None:
    """Kill, resume, kill, resume, ... until it ends by itself: the bytes of the undisturbed run."""
    draw, names, kills = random.Random(3), list(CASES), 0
    for trial in range(trials(100, 1000)):
        name = names[trial % len(names)]
        arguments, folder = command(specs, name), place / str(trial)
        seconds, files = expected[name]
        folder.mkdir()
        with crashing.blocks(BLOCK):
            child = start(folder, *arguments)
            for _ in range(draw.randint(1, 4)):
                if child.kill(draw.uniform(0.0, 1.0) * seconds).code != -signal.SIGKILL:
                    break
                kills += 1
                again = ("resume", "last") if record_in(folder) else arguments
                child = start(folder, *again)
            ended = child.wait()
        assert ended.code in (0, int(name == "diverges")), (trial, name, ended)
        assert "Traceback" not in ended.err, (trial, name, ended)
        assert "is not used" not in ended.err, (trial, name, ended)
        crashing.assert_same(folder, files, (trial, name))
        shutil.rmtree(folder)
    assert kills > trials(100, 1000)


# --- every call -------------------------------------------------------------------------------------------------------

SHORT = ("layers", "epochs=32", "record.every=3", "scheduler={name: step, step_size: 3, gamma: 0.9}")


@pytest.fixture(scope="module")
def short(specs: Path) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """A run's command and bytes."""
    arguments = ("run", str(specs / f"{SHORT[0]}.yaml"), *SHORT[1:], "--no-plot")
    return arguments, undisturbed(specs / "short", *arguments)


def points(calls: list[list[str]]) -> list[tuple[int, bool]]:
    """Return each call as a place to die before, and each write to die halfway through as well."""
    found = [(k, False) for k in range(len(calls))]
    return sorted(found + [(k, True) for k, (name, _) in enumerate(calls) if name in ("write", "pwrite")])


def calls_of(folder: Path, *arguments: str) -> list[list[str]]:
    folder.mkdir(exist_ok=True)
    into = folder.parent / f"{folder.name}.json"
    assert call(folder, *arguments, within=crashing.counting(folder, into)).code == 0
    found: list[list[str]] = json.loads(into.read_text())
    return found


@pytest.mark.slow
def test_dead_at_every_call_of_a_run(place: Path, short: tuple) -> None:
    arguments, files = short
    with crashing.blocks(8):
        places = points(calls_of(place / "count", *arguments))
        assert len(places) >= 300
        for at, half in places[:: trials(8, 1)]:
            folder = place / f"{at}-{half}"
            folder.mkdir()
            assert call(folder, *arguments, within=dying(folder, at, half=half)).code == 9, (at, half)
            ended = crashing.gone_on_with(folder, arguments)
            assert ended.code == 0, (at, half, ended)
            assert "is not used" not in ended.err, (at, half, ended)
            crashing.assert_same(folder, files, (at, half))
            shutil.rmtree(folder)


@pytest.mark.slow
def test_dead_at_every_call_round_the_plot(place: Path, specs: Path) -> None:
    arguments = ("run", str(specs / "line.yaml"), "epochs=5")
    files = undisturbed(place / "expected", *arguments)
    assert "loss.png" in files
    calls = calls_of(place / "count", *arguments)
    first = next(k for k, (_, path) in enumerate(calls) if "loss.png" in path)
    for at, half in [point for point in points(calls) if point[0] >= first][:: trials(3, 1)]:
        folder = place / f"{at}-{half}"
        folder.mkdir()
        assert call(folder, *arguments, within=dying(folder, at, half=half)).code == 9
        assert crashing.gone_on_with(folder, arguments).code == 0
        crashing.assert_same(folder, files, (at, half))


@pytest.mark.slow
def test_dead_at_every_call_of_a_resume(place: Path, short: tuple) -> None:
    """The record of a run that died in its middle is gone on with, dies at each call, and is gone on with again."""
    arguments, files = short
    begun = place / "begun"
    begun.mkdir()
    with crashing.blocks(24):
        assert call(begun, *arguments, within=crashing.ending_after_checkpoints(2)).code == 9
        shutil.copytree(begun, place / "count")
        places = points(calls_of(place / "count", "resume", "last"))
        crashing.assert_same(place / "count", files)
        for at, half in places[:: trials(4, 1)]:
            folder = place / f"{at}-{half}"
            shutil.copytree(begun, folder)
            assert call(folder, "resume", "last", within=dying(folder, at, half=half)).code == 9
            ended = call(folder, "resume", "last")
            assert ended.code == 0, (at, half, ended)
            crashing.assert_same(folder, files, (at, half))
            shutil.rmtree(folder)


# --- the state is complete --------------------------------------------------------------------------------------------

VARIANTS = [
    *({"name": name} for name in OPTIMIZERS),
    {"name": "sgd", "lr": 0.01, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
    {"name": "adam", "lr": 0.01, "amsgrad": True},
    {"name": "adamw", "lr": 0.01, "amsgrad": True},
    {"name": "rmsprop", "lr": 0.01, "centered": True, "momentum": 0.9},
    {"name": "nadam", "lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1},
    {"name": "asgd", "lr": 0.01, "t0": 5, "lambd": 0.1},
]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def test_the_checkpoint_of_a_resumed_run_is_that_of_one_never_stopped(
    place: Path, specs: Path, optimizer: dict
) -> None:
    """Every number and every array, bit for bit, the seconds left out."""
    spec, dtype = ("layers", "float32") if VARIANTS.index(optimizer) % 2 else ("rows", "float64")
    overrides = f"optimizer={json.dumps(optimizer)}", f"dtype={dtype}", "epochs=12"
    arguments = ("run", str(specs / f"{spec}.yaml"), *overrides)
    states = []
    with crashing.blocks(7):  # in the middle of an epoch
        for dies in ((4,), (1, 1, 2)):
            folder = place / str(len(dies))
            folder.mkdir()
            for k, count in enumerate(dies):
                again = ("resume", "last") if k else arguments
                ended = call(folder, *again, within=crashing.ending_after_checkpoints(count))
                assert ended.code == 9, ended
            record = record_in(folder)
            assert record is not None
            data, arrays = sealed.unseal((record / "checkpoint.safetensors").read_bytes())
            assert data["state"].pop("seconds") > 0
            states.append((data, {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}))
    assert states[0][0]["state"]["steps"] == 28
    assert states[0] == states[1]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0.1 + 0.2, 5e-324])
def test_numbers_of_a_state_keep_their_bits(specs: Path, value: float) -> None:
    """NaN, too: that of an epoch's validation loss, after which no loss is lower."""
    from gdcli.engine import checkpoint_state
    from gdcli.engine.loop import Loop
    from gdcli.engine.problem import build
    from gdcli.spec import bundled, document, load, schema

    source = bundled.find(str(specs / "rows.yaml"))
    loaded = load.load(schema.parse(document.read(source.text, source.shown), "rows"), source.path.parent)
    first, second = Loop(build(loaded)), Loop(build(loaded))
    first.state.best_epoch_loss[:], first.state.best[:] = value, value
    state = checkpoint_state.capture(first)
    data, arrays = sealed.unseal(sealed.seal(state.numbers, state.arrays))
    again = checkpoint_state.State(data["steps"], data, arrays)
    checkpoint_state.fits(second, again)
    checkpoint_state.restore(second, again)
    assert repr((second.state.best.item(), second.state.best_epoch_loss.item())) == repr((value, value))
