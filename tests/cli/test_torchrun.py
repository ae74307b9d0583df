"""One run on several processes under torchrun: the numbers of one process, one voice, and what ends a run.

Most processes are forked, with what torchrun sets in the environment; what torchrun itself does, in its own process.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from torch import distributed
from torch.distributed import TCPStore

from gdcli.engine import loop, process_group
from gdcli.spec.world import VARIABLES
from tests.conftest import only_folder
from tests.promises.crashing import Child, Ended, blocks, call, contents, start
from tests.timing import HANG, wait_for
from tests.trials import mostly_slow, trials

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]

Spec = dict[str, Any]


def a_spec(**changes: Any) -> Spec:
    found = {
        "name": "t",
        "data": {"generate": {"kind": "linear", "n": 31, "weights": [2, -3.4], "noise": 0.1}},
        "model": {"type": "mlp", "layers": [2, 5, 1], "activation": "tanh"},
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.05},
        "epochs": 3,
        "batch": {"size": 8},
        "dtype": "float64",
    }
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


CLASSES = a_spec(
    data={"generate": {"kind": "blobs", "n": 31, "classes": 3}, "validation": 6},
    model={"type": "mlp", "layers": [2, 5, 3]},
    loss="cross_entropy",
    optimizer={"name": "adam", "lr": 0.02},
)
IMAGES = a_spec(
    data={
        "x": np.random.default_rng(0).normal(size=(21, 16)).round(3).tolist(),
        "y": [0, 1, 2] * 7,
        "shape": [1, 4, 4],
    },
    model={
        "type": "sequential",
        "layers": [
            {"layer": "Conv2d", "out_channels": 3, "kernel_size": 3},
            {"layer": "GroupNorm", "num_groups": 1},
            "ReLU",
            "Flatten",
            {"residual": [{"layer": "Linear", "out_features": 12}]},
            {"layer": "Linear", "out_features": 3},
        ],
    },
    loss="cross_entropy",
    optimizer={"name": "sgd", "lr": 0.05, "momentum": 0.9},
)
DROPOUT = {
    **IMAGES,
    "model": {
        "type": "sequential",
        "layers": ["Flatten", {"layer": "Dropout", "p": 0.5}, {"layer": "Linear", "out_features": 3}],
    },
    "epochs": 40,
    "checkpoint": {"every_seconds": 0},
}
SPECS: dict[str, Spec] = {
    "mini-batches, the last one short": a_spec(),
    "float32": a_spec(dtype="float32", batch={"size": 8, "accumulate": 2}),
    "full batch": a_spec(batch="full"),
    "full batch through autograd": a_spec(batch="full", engine="autograd"),
    "autograd": a_spec(engine="autograd", optimizer={"name": "adam", "lr": 0.05}),
    "rows one by one": a_spec(batch="stochastic", epochs=1),
    "in their order": a_spec(batch={"size": 5, "shuffle": False, "drop_last": True}, epochs=2),
    "a sum over the rows": a_spec(loss="sse", optimizer={"name": "sgd", "lr": 0.005}),
    "classes": CLASSES,
    "balanced class weights": {**CLASSES, "loss": {"name": "cross_entropy", "class_weights": "balanced"}},
    "a class that does not count": {
        **IMAGES,
        "loss": {"name": "cross_entropy", "class_weights": [0.0, 2.0, 1.0]},
        "batch": {"size": 2, "shuffle": False, "drop_last": True},  # each process has a row of class 0 alone in turn
    },
    "smoothed, by classes": {
        **IMAGES,
        "loss": {"name": "cross_entropy", "class_weights": [0.5, 2.0, 1.0], "label_smoothing": 0.1},
        "batch": {"size": 3, "shuffle": False},
    },
    "accumulated": a_spec(batch={"size": 3, "accumulate": 3}),
    "accumulated, by classes": {
        **CLASSES,
        "loss": {"name": "cross_entropy", "class_weights": [0.5, 2, 1]},
        "batch": {"size": 4, "accumulate": 2},
    },
    "clipped by norm, with a penalty": a_spec(clip={"norm": 0.1}, penalty={"l1": 0.01, "l2": 0.1}),
    "clipped by value": a_spec(clip={"value": 0.05}, scheduler={"name": "one_cycle"}),
    "a convolution": IMAGES,
    "plateau and patience": {
        **CLASSES,
        "epochs": 30,
        "scheduler": {"name": "reduce_on_plateau", "patience": 1},
        "stop": {"patience": 4, "min_delta": 0.01, "restore": True},
    },
    "one pass": a_spec(epochs=0, batch=None, print={"style": "loss"}),
    "a small gradient": a_spec(stop={"gradient_norm": 0.5}, epochs=40),
    "outputs printed": a_spec(print={"style": "backprop"}, epochs=1),
    "frozen": a_spec(model={"type": "mlp", "layers": [2, 5, 1], "freeze": ["linear1.*"]}),
}  # fmt: skip


@contextmanager
def rank(number: int, size: int, port: int, gone: float = 600.0) -> Iterator[None]:
    """What torchrun says to a process, in a child that ends with it; blocks are short, so that there are many."""
    values = (str(number), str(size), str(number), "localhost", str(port))
    os.environ |= {**dict(zip(VARIABLES, values, strict=True)), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    process_group.GONE_SECONDS = gone
    with blocks(7):
        yield


@contextmanager
def launched(folders: list[Path], *arguments: str, gone: float = 600.0) -> Iterator[list[Child]]:
    """Start a command in each folder, as processes of one run: forks of this process, which has torchrun's store.

    The store starts after the forks: its thread may hold the lock of the C library's resolver, which a fork would
    keep for ever.
    """
    listening = socket.create_server(("localhost", 0))
    port, size = listening.getsockname()[1], len(folders)
    children = [start(folder, *arguments, within=rank(k, size, port, gone)) for k, folder in enumerate(folders)]
    store = TCPStore("localhost", port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())
    try:
        yield children
    finally:
        for child in children:
            if child.ended is None:
                child.kill()
        del store  # and with it its thread, before the next fork


def together(folder: Path, size: int, *arguments: str) -> list[Ended]:
    """Run a command on so many processes to its end."""
    with launched([folder] * size, *arguments) as children:
        return [child.wait() for child in children]


def torchrun(folder: Path, *arguments: str, size: int = 2) -> subprocess.Popen[str]:
    """Start a command by torchrun."""
    command = [*TORCHRUN, str(size), "-m", "gdcli", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def table(path: Path) -> np.ndarray:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    return np.array([[float(cell or "nan") for cell in row] for row in rows[1:]])


def written(folder: Path, spec: Spec) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "t.yaml").write_text(json.dumps(spec))
    return "t.yaml"


# --- the numbers ------------------------------------------------------------------------------------------------------


def require_numbers(one: Path, many: Path, close: float) -> None:
    """All numbers of one process, within rounding: steps, gradients, epochs, the end."""
    for name in ("steps.csv", "gradients.csv", "epochs.csv"):
        a, b = table(one / name), table(many / name)
        assert a.shape == b.shape, name
        np.testing.assert_allclose(b, a, rtol=close, atol=close, err_msg=name)
    ends = [json.loads((folder / "summary.json").read_text()) for folder in (one, many)]
    for key in ("status", "steps", "epochs", "message"):
        assert ends[1][key] == ends[0][key]
    for key, value in {**ends[0], **ends[0]["metrics"]}.items():
        if isinstance(value, float):
            assert {**ends[1], **ends[1]["metrics"]}[key] == pytest.approx(value, rel=close, abs=close), key


def runs_of(spec: Spec, folder: Path, size: int) -> tuple[Path, Path]:
    """The records of a spec, trained by one process and by several."""
    one, many = folder / "one", folder / "many"
    alone = call(one, "run", written(one, spec), "--no-plot")
    assert alone.code == 0, alone.err
    first, *others = together(many, size, "run", written(many, spec), "--no-plot")
    assert first.code == 0, first.err
    assert others == [Ended(0, "", "")] * (size - 1)
    assert shown(first.out) == pytest.approx(shown(alone.out), abs=1e-4)
    return only_folder(one / "runs"), only_folder(many / "runs")


def shown(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]


@pytest.mark.parametrize("spec", mostly_slow(SPECS.values(), 5), ids=SPECS.keys())
def test_two_processes_have_the_numbers_of_one(tmp_path: Path, spec: Spec) -> None:
    float32 = spec["dtype"] == "float32"
    require_numbers(*runs_of(spec, tmp_path, 2), 1e-5 if float32 else 1e-10)


def test_tables_that_the_first_process_writes_do_not_part_it_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks end after the same steps in all of them, though a block of parameters takes room of its own."""
    monkeypatch.setattr(loop, "BLOCK_SCALARS", 100)  # of 21 gradients alone four steps, with 21 parameters two
    require_numbers(*runs_of(a_spec(record={"parameters": True, "layers": True}), tmp_path, 2), 1e-10)


def test_max_seconds_are_those_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clock on which a quarter of an hour goes by until the processes are connected."""
    clock = SimpleNamespace(
        perf_counter=lambda: 900.0 * distributed.is_initialized(), monotonic=time.monotonic, sleep=time.sleep
    )
    monkeypatch.setattr(process_group, "time", clock)
    first, _ = together(tmp_path, 2, "run", written(tmp_path, a_spec(stop={"max_seconds": 60})), "--no-plot", "-q")
    assert first.code == 0, first.err
    summary = json.loads((only_folder(tmp_path / "runs") / "summary.json").read_text())
    assert (summary["status"], summary["epochs"]) == ("finished", 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini-batches, the last one short", "accumulated, by classes", "a convolution"])
def test_so_do_five(tmp_path: Path, name: str) -> None:
    require_numbers(*runs_of(SPECS[name], tmp_path, 5), 1e-10)


@pytest.mark.slow
def test_they_diverge_at_the_same_step(tmp_path: Path) -> None:
    spec = a_spec(model="linear", optimizer={"name": "sgd", "lr": 50}, epochs=100, batch={"size": 10}, dtype="float32")
    one, many = tmp_path / "one", tmp_path / "many"
    alone = call(one, "run", written(one, spec), "--no-plot")
    first, second = together(many, 2, "run", written(many, spec), "--no-plot")
    assert alone.code == first.code == second.code == 1
    assert second.out == second.err == ""
    ends = [json.loads((only_folder(folder / "runs") / "summary.json").read_text()) for folder in (one, many)]
    assert ends[1]["status"] == "diverged"
    assert ends[1]["steps"] == ends[0]["steps"]


def test_each_process_draws_its_own_dropout(tmp_path: Path) -> None:
    """Of two equal rows each process has one; with p = 1/2 what it leaves out differs, and so do their gradients."""
    row = [1.0] * 40
    layers = [{"layer": "Dropout", "p": 0.5}, {"layer": "Linear", "out_features": 1, "bias": False}]
    model = {"type": "sequential", "layers": layers, "init": {"1.weight": 0.0}}
    spec = a_spec(data={"x": [row, row], "y": [1, 1]}, model=model, loss="sse", epochs=8, batch="full")
    first, _ = together(tmp_path, 2, "run", written(tmp_path, spec), "--no-plot")
    assert first.code == 0, first.err
    step = table(only_folder(tmp_path / "runs") / "gradients.csv")[0, 1:]
    # weights of 0 give outputs of 0, so -2 x for each row that keeps the number: 0, -4 or -8 for both
    assert set(step.tolist()) == {0.0, -4.0, -8.0}


# --- one voice --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_config_yaml_has_the_world_size_and_trains_with_as_many_only(tmp_path: Path) -> None:
    assert together(tmp_path, 2, "run", written(tmp_path, a_spec()), "--no-plot", "-q")[0].code == 0
    record = only_folder(tmp_path / "runs")
    config = yaml.safe_load((record / "config.yaml").read_text())
    assert config["world_size"] == 2
    again = tmp_path / "again"
    first, _ = together(again_in(again), 2, "run", str(record / "config.yaml"), "--no-plot", "-q")
    assert first.code == 0, first.err
    assert contents(only_folder(again / "runs")) == {
        **contents(record), "spec.yaml": (record / "config.yaml").read_bytes(),
        "request.json": (only_folder(again / "runs") / "request.json").read_bytes(),
    }  # fmt: skip
    alone = call(tmp_path, "run", str(record / "config.yaml"))
    assert alone.code == 2
    assert "config.yaml:" in alone.err
    assert "world_size: is 2, and this run has 1 process" in alone.err


def again_in(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_a_record_is_resumed_and_verified_with_its_own_world_size(tmp_path: Path) -> None:
    two = together(tmp_path, 2, "run", written(tmp_path, a_spec()), "stop.max_steps=5", "--no-plot", "-q")
    assert two[0].code == 0, two[0].err
    record = only_folder(tmp_path / "runs")
    (record / "summary.json").unlink()  # as if it had been killed
    for command in ("resume", "verify"):
        first, *others = together(tmp_path, 3, command, "last")
        assert first.code == 2
        assert [other.err for other in others] == ["", ""]
        if command == "resume":
            what = f"a run of 2 processes, and here there is 3: torchrun --nproc-per-node 2 -m gdcli resume {record}"
            assert re.sub(r"\S*runs/", "runs/", what) in re.sub(r"\S*runs/", "runs/", first.err)
    alone = call(tmp_path, "resume", "last")
    assert alone.code == 2
    assert "a run of 2 processes, and here there is 1: torchrun --nproc-per-node 2" in alone.err
    first, second = together(tmp_path, 2, "resume", "last", "-q")
    assert first.code == second.code == 0, first.err
    verified = together(tmp_path, 2, "verify", "last")
    assert [(ended.code, ended.out) for ended in verified] == [(0, "bit-identical\n"), (0, "")]


def layers(*given: Any) -> Spec:
    return {**IMAGES, "model": {"type": "sequential", "layers": ["Flatten", *given]}}


THREE = {"layer": "Linear", "out_features": 3}
REFUSED = {
    "BatchNorm": (
        layers("BatchNorm1d", THREE),
        "model.layers[1]: BatchNorm1d learns from all rows of a batch",
    ),
    "objective": (
        {"model": {"type": "objective", "expression": "x**2", "start": {"x": 1}}, "optimizer": "sgd"},
        "model: an objective has no rows that 2 processes could share",
    ),
    "device": (a_spec(device="cuda:1"), "device: cuda:1 is one device, and 2 processes have one each"),
    "typo": (a_spec(loss="msee"), "loss: unknown loss (got 'msee'). Did you mean 'mse'?"),
    "weight 0": (
        {**CLASSES, "loss": {"name": "cross_entropy", "class_weights": [1, 0, 1], "label_smoothing": 0.1}},
        "loss.class_weights: a class of weight 0 cannot be smoothed in parts",
    ),
    "world size": (a_spec(world_size=4), "world_size: is 4, and torchrun has started 2. Start it with torchrun"),
    "layers": (
        layers({"layer": "Linear", "out_features": 4}, {**THREE, "in_features": 5}),
        "in_features is 5, its input has 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_several_cannot_train_is_told_once(tmp_path: Path, spec: Spec, message: str) -> None:
    first, second = together(tmp_path, 2, "run", written(tmp_path, spec))
    assert (first.code, second.code) == (2, 2)
    assert first.err.count(message) == 1, first.err
    assert second.err == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["BatchNorm", "objective", "device", "weight 0"])
def test_validate_tells_what_the_processes_of_a_spec_cannot_train(gdcli: Any, tmp_path: Path, name: str) -> None:
    spec, message = REFUSED[name]
    Path("t.yaml").write_text(json.dumps({**spec, "name": "t", "world_size": 2}))
    answer = gdcli("validate", "t.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count(message) == 1, answer.err
    Path("t.yaml").write_text(json.dumps({**spec, "name": "t"}))
    if name != "device":  # which this machine may not have
        assert gdcli("validate", "t.yaml").code == 0
    Path("t.yaml").write_text(json.dumps(a_spec(world_size=2)))
    assert gdcli("validate", "t.yaml").code == 0


@pytest.mark.parametrize("command", ["sweep", "compare", "validate", "ls", "show"])
def test_other_commands_are_refused(tmp_path: Path, command: str) -> None:
    first, second = together(tmp_path, 2, command, "backprop_2x2")
    assert (first.code, second.code) == (2, 2)
    assert f"Start {command} without it: gdcli {command}" in first.err
    assert second.err == ""


def test_a_sweep_and_a_comparison_have_one_process(gdcli) -> None:
    for arguments in (("sweep", "backprop_2x2", "-p", "lr=1,2"), ("compare", "optimizers_2x2")):
        answer = gdcli(*arguments, "world_size=2")
        assert answer.code == 2
        assert "world_size: is 2, and this run has 1 process" in answer.err
        assert not Path("runs").exists()


def test_a_single_process_of_torchrun_is_a_run_as_any_other(tmp_path: Path) -> None:
    one, alone = tmp_path / "one", tmp_path / "alone"
    assert call(alone, "run", written(alone, a_spec()), "--no-plot").code == 0
    (ended,) = together(one, 1, "run", written(one, a_spec()), "--no-plot")
    assert ended.code == 0, ended.err
    assert contents(only_folder(one / "runs")) == contents(only_folder(alone / "runs"))


def test_needed_takes_a_record_of_as_many_processes(tmp_path: Path) -> None:
    command = ("run", written(tmp_path, a_spec()), "--no-plot", "--needed")
    assert call(tmp_path, *command).code == 0
    for _ in range(2):  # the second time the record of the first is there
        first, second = together(tmp_path, 2, *command)
        assert (first.code, second.code) == (0, 0), first.err
        assert second.out == second.err == ""
    assert "not needed" in first.err
    assert len(list(tmp_path.glob("runs/t/*"))) == 2


def apart(folder: Path, *specs: Spec | None) -> list[Ended]:
    """Run each process in a folder of its own, as on another machine."""
    folders = [folder / str(k) for k in range(len(specs))]
    for own, spec in zip(folders, specs, strict=True):
        own.mkdir()
        if spec is not None:
            written(own, spec)
    with launched(folders, "run", "t.yaml", "--no-plot") as children:
        return [child.wait() for child in children]


@pytest.mark.slow
def test_a_spec_that_one_process_has_not_is_told_by_it(tmp_path: Path) -> None:
    first, second = apart(tmp_path, a_spec(), None)
    assert second.code == 2
    assert "rank 1: cannot read 't.yaml'" in second.err
    assert first.code == 3
    assert "rank 1 ended: cannot read 't.yaml'" in first.err


def test_processes_with_other_data_do_not_train_together(tmp_path: Path) -> None:
    first, second = apart(tmp_path, a_spec(), a_spec(seed=1))
    assert (first.code, second.code) == (3, 3)
    assert "rank 1: its spec, start values or data are not those of rank 0" in second.err
    assert "rank 1 ended: its spec, start values or data" in first.err


# --- what ends a run --------------------------------------------------------------------------------------------------

ENDLESS = ("epochs=1000000", "checkpoint.every_seconds=0", "--no-plot")


def has_checkpoint(folder: Path) -> bool:
    return any(folder.glob("runs/t/*/checkpoint.json"))


@contextmanager
def waiting_for_ever() -> Iterator[None]:
    """A transfer that never fails, as one of gloo's may be whose other end is gone."""
    try:
        yield
    except RuntimeError:
        time.sleep(HANG)


@pytest.mark.slow
def test_a_killed_process_is_seen_where_the_transfer_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group.ProcessGroup, "_lost", lambda self: waiting_for_ever())
    with launched([tmp_path] * 2, "run", written(tmp_path, a_spec()), *ENDLESS) as (first, second):
        assert wait_for(lambda: has_checkpoint(tmp_path), first.is_over)
        assert second.kill().code == -signal.SIGKILL
        assert first.wait().code == 3
    told = re.findall("rank 1 of this run (.*)gdcli resume goes on", first.wait().err)
    assert told == ["is gone. "], first.wait().err


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_other_with_a_message(tmp_path: Path, killed: int) -> None:
    with launched([tmp_path] * 2, "run", written(tmp_path, a_spec()), *ENDLESS) as children:
        assert wait_for(lambda: has_checkpoint(tmp_path), children[0].is_over)
        assert children[killed].kill().code == -signal.SIGKILL
        other = children[1 - killed].wait()
    assert other.code == 3
    message = f"rank {killed} of this run is gone .*gdcli resume goes on"
    assert re.search(f"^{'rank 1: ' * (killed == 0)}{message}", other.err, re.M), other.err
    assert "Traceback" not in other.err


@pytest.mark.slow
def test_a_process_that_stands_still_ends_the_other_with_a_message(tmp_path: Path) -> None:
    """SIGSTOP closes no connection: the signs of life are missed. When it goes on it finds that it is alone."""
    with launched([tmp_path] * 2, "run", written(tmp_path, a_spec()), *ENDLESS, gone=5.0) as (first, second):
        assert wait_for(lambda: has_checkpoint(tmp_path), first.is_over)
        os.kill(second.pid, signal.SIGSTOP)
        assert first.wait().code == 3
        assert "rank 1 of this run has given no sign of life for" in first.wait().err
        os.kill(second.pid, signal.SIGCONT)
        assert second.wait().code == 3


@pytest.mark.slow
@pytest.mark.parametrize("spec", [a_spec(epochs=40, checkpoint={"every_seconds": 0}), DROPOUT], ids=["rows", "dropout"])
def test_killed_processes_resume_to_the_same_bytes(tmp_path: Path, spec: Spec) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert together(whole, 2, "run", written(whole, spec), "--no-plot")[0].code == 0
    command: tuple[str, ...] = ("run", written(cut, spec), "--no-plot")
    for _ in range(trials(4, 40)):
        with launched([cut] * 2, *command) as (first, _second):
            wait_for(lambda: has_checkpoint(cut), first.is_over)
        for path in cut.glob("runs/t/*/checkpoint.json"):
            path.unlink()  # the next one tells that there is another
        command = ("resume", "last")
    ends = together(cut, 2, *command)
    assert [ended.code for ended in ends] == [0, 0], ends[0].err
    assert contents(only_folder(cut / "runs")) == contents(only_folder(whole / "runs"))


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_a_signal_to_one_process_ends_all_after_the_same_step(tmp_path: Path, which: int) -> None:
    with launched([tmp_path] * 2, "run", written(tmp_path, a_spec()), *ENDLESS) as children:
        assert wait_for(lambda: has_checkpoint(tmp_path), children[0].is_over)
        os.kill(children[which].pid, signal.SIGINT)
        first, second = (child.wait() for child in children)
    assert (first.code, second.code) == (130, 130), first.err
    record = only_folder(tmp_path / "runs")
    summary = json.loads((record / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert len(table(record / "steps.csv")) == summary["steps"]
    assert "go on with: gdcli resume" in first.err
    assert second.err == ""


@pytest.mark.slow
def test_a_full_disk_of_the_first_ends_all(tmp_path: Path) -> None:
    """The first process cannot write its record; it alone tells so."""
    (tmp_path / "runs").write_text("a file where a folder should be")
    first, second = together(tmp_path, 2, "run", written(tmp_path, a_spec()), "--no-plot")
    assert (first.code, second.code) == (3, 3)
    assert "runs" in first.err
    assert second.err == ""


# --- torchrun itself --------------------------------------------------------------------------------------------------


def worker(process: subprocess.Popen[str], number: int) -> int:
    """The process of a rank, by its environment."""

    def found() -> int | None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in children:
            if f"\0RANK={number}\0".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes():
                return int(pid)
        return None

    pid = wait_for(found, lambda: process.poll() is not None)
    assert pid is not None
    return pid


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini-batches, the last one short", "balanced class weights", "a convolution"])
def test_torchrun_has_the_steps_of_one_process(tmp_path: Path, name: str) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    assert call(one, "run", written(one, SPECS[name])).code == 0
    process = torchrun(many_in(many, SPECS[name]), "run", "t.yaml")
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 0, err
    assert err.count("record: ") == err.count("picture: ") == 1
    assert len(out.splitlines()) == SPECS[name]["epochs"]
    require_numbers(only_folder(one / "runs"), only_folder(many / "runs"), 1e-10)


def many_in(folder: Path, spec: Spec) -> Path:
    written(folder, spec)
    return folder


@pytest.mark.slow
def test_a_process_killed_under_torchrun_ends_all_and_resume_goes_on(tmp_path: Path) -> None:
    spec = {**DROPOUT, "epochs": 600}
    whole, cut = many_in(tmp_path / "whole", spec), many_in(tmp_path / "cut", spec)
    ended = torchrun(whole, "run", "t.yaml")
    _, err = ended.communicate(timeout=HANG)
    assert ended.returncode == 0, err
    process = torchrun(cut, "run", "t.yaml")
    assert wait_for(lambda: has_checkpoint(cut), lambda: process.poll() is not None)
    os.kill(worker(process, 1), signal.SIGKILL)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode != 0
    assert "rank 1 of this run is gone" in err
    resumed = torchrun(cut, "resume", "last")
    _, err = resumed.communicate(timeout=HANG)
    assert resumed.returncode == 0, err
    assert contents(only_folder(cut / "runs")) == contents(only_folder(whole / "runs"))


@pytest.mark.slow
def test_ctrl_c_ends_torchrun_with_a_record_that_resumes(tmp_path: Path) -> None:
    process = torchrun(many_in(tmp_path, a_spec()), "run", "t.yaml", *ENDLESS)
    assert wait_for(lambda: has_checkpoint(tmp_path), lambda: process.poll() is not None)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG)
    record = only_folder(tmp_path / "runs")
    summary = json.loads((record / "summary.json").read_text())
    assert summary["status"] == "interrupted", err
    assert len(table(record / "steps.csv")) == summary["steps"]
    assert (record / "checkpoint.safetensors").is_file()
