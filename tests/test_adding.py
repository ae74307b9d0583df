"""What is added from outside the package, through the table that a contributor would use, works in every command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import Generator

from gdcli.commands import plot as plotting
from gdcli.records import Event, Outcome, Start
from gdcli.report.styles import STYLES, Style
from gdcli.spec.signature import arguments_model
from gdcli.zoo.activations import ACTIVATIONS, Activation
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES, Loss
from gdcli.zoo.metrics import METRICS
from gdcli.zoo.models import MODELS, Sizes, Stack, TorchLayer
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.table import Table
from gdcli.zoo.update_rule import Bound, Rule
from tests.conftest import only_folder
from tests.promises import crashing

X, Y = [[0.5, 1.0], [1.5, -1.0], [-0.5, 2.0]], [1.0, -0.5, 2.0]
SPEC: dict[str, Any] = {
    "name": "added",
    "data": {"x": X, "y": Y},
    "model": {"type": "mlp", "layers": [2, 3, 1], "activation": "tanh"},
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 0.05},
    "epochs": 4,
}


def signed(*, lr: float = 0.1) -> Rule:
    """Step of a fixed length: θ ← θ − γ sign(g)."""

    def bind(p: torch.Tensor, g: torch.Tensor) -> Bound:
        def update(rate: Any, t: int) -> None:
            p.sub_(torch.as_tensor(rate, dtype=p.dtype) * torch.sign(g))

        return Bound(update, {})

    return bind


def quartic() -> Loss:
    """Mean of e⁴, e = o − t; dL/do = 4 e³ / N."""

    def terms(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (o - t) ** 4

    return Loss(lambda o, t: terms(o, t).mean(), lambda o: lambda out, t: 4 * (out - t) ** 3 / o.numel(), "Mean", terms)


def square() -> Activation:
    """a = z², da/dz = 2z."""
    return Activation(torch.square, lambda d, z, a, out: torch.mul(d, 2 * z, out=out), "Pow")


def bottleneck(data: Sizes, *, width: int = 1) -> Stack:
    """Two of torch's layers with few units between."""
    down = TorchLayer("down", "Linear", {"in_features": data.inputs, "out_features": width}, ("width",))
    up = TorchLayer("up", "Linear", {"in_features": width, "out_features": data.outputs}, ("width",))
    return Stack((down, up))


def staircase(rng: Generator, noise_rng: Generator, *, n: int = 6) -> Table:
    """y is the whole part of x = 0, 1/2, 1, ..."""
    x = np.arange(n, dtype=np.float64)[:, None] / 2
    return Table(x, np.floor(x), ("x",), ("y",))


def largest_error(loss: str, training: Table | None) -> Callable[..., float] | None:
    """The largest |o − t|, for values."""
    is_of_values = loss in ("mse", "quartic") and training is not None
    return (lambda output, y: float((output - y).abs().max())) if is_of_values else None


def terse(event: Event, start: Start) -> str:
    """One word at the end."""
    return f"{event.status} after {event.steps}\n" if isinstance(event, Outcome) else ""


ADDED: dict[str, tuple[dict[str, Any], Any]] = {
    "optimizer": (OPTIMIZERS, signed),
    "loss": (LOSSES, quartic),
    "activation": (ACTIVATIONS, square),
    "model": (MODELS, bottleneck),
    "data": (GENERATORS, staircase),
    "metric": (METRICS, largest_error),
    "style": (STYLES, Style(terse, frozenset())),
}
CHANGES: dict[str, dict[str, Any]] = {
    "optimizer": {"optimizer": {"name": "new", "lr": 0.05}},
    "loss": {"loss": "new"},
    "activation": {"model": {**SPEC["model"], "activation": "new"}},
    "model": {"model": {"type": "new", "width": 2}},
    "data": {"data": {"generate": {"kind": "new", "n": 5}}, "model": {"type": "mlp", "layers": [1, 3, 1]}},
    "metric": {"metrics": ["new"]},
    "style": {"print": {"style": "new"}},
}


@pytest.fixture(params=ADDED)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The kind of ingredient, added to its table as `new`, with a spec that has it in the working folder."""
    table, entry = ADDED[request.param]
    monkeypatch.setitem(table, "new", entry)
    arguments_model.cache_clear()  # of models, whose activations it knows by name: an addition comes before it
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(json.dumps({**SPEC, **CHANGES[request.param]}))
    yield str(request.param)
    arguments_model.cache_clear()


def summary_of(root: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((only_folder(Path(root)) / "summary.json").read_text())
    return found


def test_it_validates_and_is_listed(kind: str, gdcli: Any) -> None:
    assert gdcli("validate", "spec.yaml").code == 0
    if kind in ("optimizer", "loss", "activation", "model"):
        assert "new" in gdcli("catalog").out.split()
        assert "new" in json.dumps(json.loads(gdcli("schema").out))
    unknown = gdcli("validate", "spec.yaml", "optimizer.name=nwe", "loss=nwe", "print.style=nwe")
    if kind in ("optimizer", "loss", "style"):
        assert "Did you mean 'new'?" in unknown.err


def test_it_runs(kind: str, gdcli: Any) -> None:
    answer = gdcli("run", "spec.yaml", "--no-plot")
    assert answer.code == 0, answer.err
    found = summary_of("runs")
    assert (found["status"], found["steps"]) == ("finished", 4)
    if kind == "style":
        assert answer.out == "finished after 4\n"
    if kind == "metric":
        assert found["metrics"]["new"] >= found["final_loss"] ** 0.5  # the largest error is above their mean square


def test_its_gradient_is_checked(kind: str, gdcli: Any) -> None:
    """By hand, by autograd and by finite differences the same, for what has a derivative of its own."""
    assert gdcli("check", "spec.yaml").code == 0


def test_explain_shows_it_or_says_that_it_is_not_written_out(kind: str, gdcli: Any) -> None:
    answer = gdcli("explain", "spec.yaml")
    assert answer.code in (0, 2)
    if kind in ("optimizer", "loss", "activation"):
        assert (answer.code, answer.out) == (2, "")
        assert f"the {kind} new is not written out" in answer.err


def test_a_sweep_of_it_has_the_losses_of_single_runs(kind: str, gdcli: Any) -> None:
    for fleet in ("auto", "off"):
        answer = gdcli(
            "sweep", "spec.yaml", "--param", "lr=0.01,0.05", "--fleet", fleet, "--no-plot", "-o", fleet, "-q"
        )
        assert answer.code == 0, answer.err
    rows = [sorted(Path(fleet).glob("*/*/*/summary.json")) for fleet in ("auto", "off")]
    losses = [[json.loads(path.read_text())["final_loss"] for path in paths] for paths in rows]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][0] != losses[0][1]


@pytest.mark.slow
def test_a_killed_run_of_it_resumes_to_the_same_bytes(kind: str, gdcli: Any, tmp_path: Path) -> None:
    command = ("run", "spec.yaml", "epochs=200", "checkpoint.every_seconds=0", "--no-plot", "-q")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        (folder / "spec.yaml").write_bytes(Path("spec.yaml").read_bytes())
    with crashing.blocks(20):
        assert crashing.call(whole, *command).code == 0
        assert crashing.call(killed, *command, within=crashing.ending_after_checkpoints(2)).code == 9
        assert crashing.call(killed, "resume", "last", "-q").code == 0
    records = [only_folder(folder / "runs") for folder in (whole, killed)]
    for name in ("summary.json", "steps.csv", "gradients.csv", "log.txt", "config.yaml"):
        assert (records[0] / name).read_bytes() == (records[1] / name).read_bytes(), name


def test_a_signed_step_has_its_length(monkeypatch: pytest.MonkeyPatch, gdcli: Any) -> None:
    """One weight from 0, targets far above: after four steps of 0.05 it is 0.2."""
    monkeypatch.setitem(OPTIMIZERS, "new", signed)
    spec = {**SPEC, "data": {"x": [1.0, 2.0], "y": [10.0, 20.0]}, "optimizer": {"name": "new", "lr": 0.05}}
    spec["model"] = {"type": "linear", "bias": False, "init": {"weight": 0}}
    Path("spec.yaml").write_text(json.dumps({**spec, "dtype": "float64"}))
    assert gdcli("run", "spec.yaml", "--no-plot", "-q").code == 0
    assert summary_of("runs")["parameters"]["weight"] == [[pytest.approx(0.2, rel=1e-12)]]


def test_a_kind_of_picture_is_drawn_offered_and_refuses_what_it_does_not_take(
    monkeypatch: pytest.MonkeyPatch, gdcli: Any
) -> None:
    drawn = plotting.PlotKind(lambda runs, options, form: f"{form} of {options.names}".encode(), False, ("name",))
    monkeypatch.setitem(plotting.KINDS, "new", drawn)
    assert gdcli("plot", "--kind", "new", "--name", "a,b", "-o", "picture.svg").code == 0
    assert Path("picture.svg").read_bytes() == b"svg of ['a', 'b']"
    assert "--smooth is not for --kind new" in gdcli("plot", "--kind", "new", "--smooth", "0.5").err
    assert "Did you mean 'new'?" in gdcli("plot", "--kind", "nwe").err


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of the stand-ins for other values
def test_runs_that_differ_in_a_key_that_no_one_foresaw_do_not_share_a_fleet() -> None:
    """Everything of a spec is compared but what is known to be a number of each run's own."""
    from dataclasses import replace

    from gdcli.engine.grouping import structure
    from gdcli.spec.document import read
    from gdcli.spec.load import load
    from gdcli.spec.schema import parse

    loaded = load(parse(read(json.dumps(SPEC), "spec.yaml"), "spec"), Path())
    spec, base = loaded.spec, structure(loaded)
    own = {"seed": 3, "name": "other", "description": "other"}
    assert structure(replace(loaded, spec=replace(spec, settings=spec.settings.model_copy(update=own)))) == base
    for section in ("settings", "batch", "stop", "print", "record", "checkpoint"):
        for key in type(getattr(spec, section)).model_fields:
            if key not in own:
                other = getattr(spec, section).model_copy(update={key: "other"})
                assert structure(replace(loaded, spec=replace(spec, **{section: other}))) != base, (section, key)
    texts = {**spec.optimizer.arguments, "variant": "a"}
    for variant in ("b", True, None):
        runs = [replace(spec.optimizer, arguments=texts | {"variant": value}) for value in ("a", variant)]
        kinds = {structure(replace(loaded, spec=replace(spec, optimizer=optimizer))) for optimizer in runs}
        assert len(kinds) == 2, variant
