"""`gdcli plot` through the command line."""

from __future__ import annotations

import builtins
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gdcli.commands.loss_grid import trained
from gdcli.commands.plot.layers import gradients, network
from gdcli.commands.plot.planes import plane
from gdcli.commands.plot.runs import curves, sources
from gdcli.report import plots
from gdcli.runner import shards
from gdcli.runner.jobs import Capture

NET = """
data: {x: [[0, 0], [0, 1], [1, 0], [1, 1]], y: [0, 1, 1, 0]}
model: {type: mlp, layers: [2, 3, 3, 2], activation: sigmoid}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.5}
batch: stochastic
epochs: 5
"""


@pytest.fixture
def net(gdcli) -> Any:
    Path("net.yaml").write_text(NET)
    return gdcli


def recorded(gdcli, *overrides: str) -> str:
    """Train and return the record's folder."""
    there = set(Path("runs").glob("*/*"))
    assert gdcli("run", "net.yaml", "-q", "--no-plot", *overrides).code == 0
    (folder,) = set(Path("runs").glob("*/*")) - there
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["losses", "activations"])
def test_functions_need_no_run_and_nothing_is_overwritten(gdcli, kind: str) -> None:
    answer = gdcli("plot", "--kind", kind)
    assert (answer.code, answer.out, answer.err) == (0, "", f"wrote {kind}.png\n")
    content = Path(f"{kind}.png").read_bytes()
    again = gdcli("plot", "--kind", kind)
    assert (again.code, again.err) == (2, f"{kind}.png is there already. --force overwrites it\n")
    assert gdcli("plot", "--kind", kind, "--force", "--quiet").err == ""
    assert Path(f"{kind}.png").read_bytes() == content


@pytest.mark.parametrize("form", ["png", "svg", "pdf", "PNG"])
def test_the_endings_of_the_output_are_formats(gdcli, form: str) -> None:
    assert gdcli("plot", "-k", "activations", "--name", "tanh,sign_ste", "-o", f"a.{form}").code == 0
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert Path(f"a.{form}").read_bytes().startswith(starts[form.lower()])


def test_curves_of_a_record_and_of_a_spec_are_the_losses_of_steps_csv(net, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}

    def spy(form: str, curves: Any, title: str, loss_label: str, averages: Any) -> bytes:
        drawn.update(curves=curves, title=title, loss_label=loss_label, averages=averages)
        return b"x"

    monkeypatch.setattr(plots.loss_curves, "drawn", spy)
    folder = recorded(net)
    assert net("plot", folder, "net.yaml", "--smooth", "0.5").code == 0
    one, two = drawn["curves"]
    table = pd.read_csv(Path(folder) / "steps.csv")
    assert one.loss.tolist() == two.loss.tolist() == table["loss"].tolist()
    assert one.at.tolist() == two.at.tolist() == table["step"].tolist()
    expected = table["loss"].ewm(alpha=0.5, adjust=False).mean()
    np.testing.assert_allclose(drawn["averages"][0], expected, rtol=1e-12)
    assert (drawn["loss_label"], drawn["title"]) == ("loss (cross_entropy)", "net: moving average, β = 0.5")


def test_runs_of_one_spec_are_told_apart_by_what_differs(net) -> None:
    folders = [recorded(net, f"lr={lr}") for lr in ("0.5", "0.1")]
    assert [run.label for run in sources(folders, "curves")] == ["lr=0.5", "lr=0.1"]
    folders.append(recorded(net, "optimizer=adam", "optimizer.lr=0.1"))
    assert [run.label for run in sources(folders, "curves")] == ["sgd, lr=0.5", "sgd, lr=0.1", "adam, lr=0.1"]
    labels = [run.label for run in sources([folders[0], folders[0], folders[1]], "curves")]
    assert labels[0] == labels[1] == f"net {Path(folders[0]).name}"


def test_the_runs_of_a_comparison_are_those_below_its_folder(net) -> None:
    assert net("compare", "net.yaml", "--optimizers", "sgd,adam", "--no-plot", "-q").code == 0
    (folder,) = Path("runs").glob("*/*")
    assert [run.label for run in sources([str(folder)], "curves")] == ["sgd", "adam"]
    assert net("plot", str(folder)).code == 0


def test_of_an_experiment_the_runs_are_drawn_and_the_others_counted(net) -> None:
    for rate in ("0.5", "0.1"):
        assert net("run", "net.yaml", f"lr={rate}", "--no-plot", "-q").code == 0
    for _ in range(2):
        assert net("sweep", "net.yaml", "-p", "lr=0.1,0.2", "--no-plot", "-q").code == 0
    assert net("compare", "net.yaml", "--optimizers", "sgd,adam", "--no-plot", "-q").code == 0
    assert {run.label for run in sources(["runs/net"], "curves")} == {"lr=0.5", "lr=0.1"}
    answer = net("plot", "runs/net")
    told = "1 comparison and 2 sweeps in runs/net left out: name one to draw its runs"
    assert (answer.code, answer.err.splitlines()) == (0, [told, "wrote curves.png"])
    assert net("plot", "runs/net", "--force", "-q").err == ""
    for folder in Path("runs/net").glob("*/steps.csv"):
        shutil.rmtree(folder.parent)
    answer = net("plot", "runs/net", "--force")
    assert answer.code == 2
    assert answer.err.endswith("nor in one below it. Name one of its records: 1 comparison and 2 sweeps\n")


LINE_OF_SEVEN = "data: {x: [1, 2, 3, 4, 5, 6, 7], y: [1, 2, 3, 4, 5, 6, 9]}\nmodel: {type: linear}\nloss: mse\n"
ROOT = "model: {type: objective, expression: sqrt(x) + y * y, start: {x: 2, y: 1}}\ndtype: float64\nepochs: 5\n"


def test_a_run_that_ends_below_zero_has_its_cross_at_its_last_step(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """x ← x − 1/(2√x) from 2 is 1.65, 1.26, 0.81, 0.26, −0.73: the losses of all five steps are finite."""
    Path("root.yaml").write_text(ROOT + "optimizer: {name: sgd, lr: 1}\n")
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(plots, "comparison", lambda curves, **settings: drawn.update(curves=curves) or b"a")
    monkeypatch.setattr(plots, "plane", lambda shown, **settings: drawn.update(shown=shown) or b"b")
    assert gdcli("compare", "root.yaml", "--optimizers", "sgd,adam", "-q").code == 0
    (gone, calm) = drawn["curves"]
    assert (gone.diverged, calm.diverged) == ("diverged after step 5", "")
    assert np.isfinite(gone.loss).tolist() == [True] * 5 + [False]  # before each update, and after the last
    path = drawn["shown"].trails[0].points
    assert path[5, 0] == pytest.approx(-0.73, abs=0.01)
    assert np.isnan(path[6:]).all(axis=1).tolist() == [True]
    assert np.isfinite(drawn["shown"].trails[1].points).all()
    assert gdcli("run", "root.yaml", "-q").code == 1
    (folder,) = Path("runs").glob("*/*/steps.csv")
    for run in (str(folder.parent), "root.yaml"):
        (curve,) = curves(sources([run], "curves"))
        assert (curve.diverged, curve.at[-1]) == ("diverged after step 5", 5)


def test_runs_of_few_steps_are_drawn_with_what_their_last_update_did(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """L = w², ∂L/∂w = 2w: each update takes w to (1 − 2 lr) w, and the loss to (1 − 2 lr)² of what it was."""
    Path("a.yaml").write_text(
        "data: {x: [1], y: [0]}\nmodel: {type: linear, bias: false, init: {weight: 1}}\nloss: mse\nepochs: 2\n"
        "dtype: float64\noptimizer: {name: sgd, lr: 0.1}\n"
    )
    drawn: list[Any] = []
    monkeypatch.setattr(plots.comparison, "drawn", lambda form, curves, *rest: drawn.append((curves, rest)) or b"x")
    assert gdcli("plot", "a.yaml", "a.yaml", "lr=0.25").code == 0
    monkeypatch.setattr(
        plots, "comparison", lambda curves, **settings: drawn.append((curves, ("", "", settings["x_label"]))) or b"x"
    )
    assert gdcli("compare", "a.yaml", "--optimizers", "sgd,rprop", "lr=0.25", "--seeds", "2").code == 0
    for few, (_, _, x_label, *_) in drawn:
        assert x_label == "updates"
        assert few[0].at.tolist() == [0, 1, 2]
        np.testing.assert_allclose(few[0].loss, [1, 0.5**2, 0.5**4], rtol=1e-12)
    assert gdcli("compare", "a.yaml", "--optimizers", "sgd,adam", "epochs=6").code == 0
    many, (_, _, x_label, *_) = drawn[-1]
    assert (x_label, many[0].at.tolist()) == ("step", [1, 2, 3, 4, 5, 6])


def test_a_run_that_has_not_ended_is_not_drawn_as_one_that_diverged(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.yaml").write_text(LINE_OF_SEVEN + "epochs: 2\noptimizer: {name: sgd, lr: 0.01}\n")
    assert gdcli("run", "a.yaml", "-q", "--no-plot").code == 0
    (folder,) = Path("runs").glob("a/*")
    (folder / "summary.json").unlink()
    drawn: list[Any] = []
    monkeypatch.setattr(plots.comparison, "drawn", lambda form, curves, *rest: drawn.extend(curves) or b"x")
    assert gdcli("plot", str(folder), "a.yaml").code == 0
    assert [len(curve.loss) for curve in drawn] == [2, 3]
    assert all(np.isfinite(curve.loss).all() for curve in drawn)


def test_an_epoch_cut_short_is_no_point_of_a_comparison(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 7 rows 13 steps are 13 epochs, 6 of two batches and half of one, 1 of seven rows and 6 rows of the next."""
    Path("a.yaml").write_text(LINE_OF_SEVEN + "epochs: 99\nstop: {max_steps: 13}\noptimizer: {name: sgd, lr: 0.01}\n")
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "comparison", lambda curves, **settings: drawn.extend(curves) or b"x")
    assert gdcli("compare", "a.yaml", "--batches", "full,mini-batch:4,stochastic", "-q").code == 0
    assert [len(curve.loss) for curve in drawn] == [13, 6, 1]
    assert gdcli("compare", "a.yaml", "--batches", "full,stochastic", "stop.max_steps=5", "-q").code == 0
    assert [len(curve.loss) for curve in drawn[3:]] == [5, 1]  # the first epoch is all there is


def test_runs_of_batches_are_drawn_by_epochs(net, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third batch of three has one row of seven: its loss counts a third of the others'."""
    data = LINE_OF_SEVEN + "epochs: 4\n"
    Path("a.yaml").write_text(data + "batch: {mode: mini-batch, size: 3}\noptimizer: {name: sgd, lr: 0.01}\n")
    Path("b.yaml").write_text(data + "optimizer: {name: sgd, lr: 0.02}\n")
    drawn: dict[str, Any] = {}

    def spy(form: str, curves: Any, title: str, loss_label: str, x_label: str, band: str) -> bytes:
        assert band == ""
        drawn.update(curves=curves, title=title, labels=(loss_label, x_label))
        return b"x"

    monkeypatch.setattr(plots.comparison, "drawn", spy)
    assert net("run", "a.yaml", "-q", "--no-plot").code == 0
    (folder,) = Path("runs").glob("a/*")
    assert net("plot", str(folder), "b.yaml").code == 0
    one, two = drawn["curves"]
    steps = pd.read_csv(folder / "steps.csv")["loss"].to_numpy().reshape(4, 3)
    np.testing.assert_allclose(one.loss, steps @ [3, 3, 1] / 7, rtol=1e-12)
    assert one.at.tolist() == two.at.tolist() == [1, 2, 3, 4]
    assert (drawn["title"], drawn["labels"]) == ("a · b", ("loss (mse), epoch mean", "epoch"))
    assert net("plot", "b.yaml", "b.yaml", "epochs=6", "--force").code == 0
    assert (drawn["title"], drawn["labels"]) == ("b", ("loss (mse)", "step"))


def test_labels_say_which_experiment_a_run_is_of_where_there_are_several(net) -> None:
    Path("other.yaml").write_text(NET)
    for name in ("net", "other"):
        assert net("sweep", f"{name}.yaml", "--param", "lr=0.1,0.5", "--no-plot", "-q").code == 0
    folders = [str(next(Path("runs").glob(f"{name}/*"))) for name in ("net", "other")]
    assert [run.label for run in sources(folders[:1], "curves")] == ["lr=0.1", "lr=0.5"]
    expected = ["net: lr=0.1", "net: lr=0.5", "other: lr=0.1", "other: lr=0.5", "net"]
    assert [run.label for run in sources([*folders, "net.yaml"], "curves")] == expected


def test_runs_of_one_structure_are_trained_together_to_the_same_paths(net, monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[int] = []
    carried = shards.run_shard

    def spy(shard: Any, *args: Any) -> Any:
        together.append(len(shard.runs))
        return carried(shard, *args)

    runs = [run for lr in ("0.1", "0.5", "2") for run in sources(["net.yaml", f"lr={lr}"], "surface")]
    alone = [trained([(run.label, run.loaded)], Capture(path=True))[0].path for run in runs]
    monkeypatch.setattr(shards, "run_shard", spy)
    found = trained([(run.label, run.loaded) for run in runs], Capture(path=True))
    assert together == [3]
    for result, path in zip(found, alone, strict=True):
        np.testing.assert_allclose(result.path, path, rtol=1e-4, atol=1e-6)  # by another kernel, to rounding
        assert np.shape(path) == (21, 29)  # 9 + 12 + 8 parameters, at the start and after 20 steps


def test_one_run_alone_is_drawn_as_its_own_picture_is(net) -> None:
    assert net("run", "net.yaml", "-q").code == 0
    (folder,) = Path("runs").glob("*/*")
    assert net("plot", str(folder)).code == net("plot", "net.yaml", "-o", "spec.png").code == 0
    assert Path("curves.png").read_bytes() == Path("spec.png").read_bytes() == (folder / "loss.png").read_bytes()


def test_gradients_of_a_record_and_of_its_spec_are_the_same(net) -> None:
    folder = recorded(net)
    found = [gradients(run) for run in sources([folder, "net.yaml"], "gradients")]
    assert [name for name, _ in found[0][1]] == ["linear1", "linear2", "linear3"]
    table = pd.read_csv(Path(folder) / "gradients.csv").filter(regex=r"^linear1\.")
    np.testing.assert_allclose(found[0][1][0][1], np.sqrt((table**2).sum(axis=1)))
    for (_, one), (_, two) in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, two)
    assert all(each[2] is not None for each in found)
    norms = recorded(net, "record.gradients=norms")
    (run,) = sources([norms], "gradients")
    _, layers, histogram = gradients(run)
    np.testing.assert_allclose(layers[0][1], found[0][1][0][1])
    assert histogram is None
    assert net("plot", folder, "-k", "gradients").code == 0


def test_a_surface_of_two_parameters_is_the_loss_itself(gdcli) -> None:
    shown = plane(sources(["rosenbrock", "epochs=20"], "surface"))
    assert shown.names == ("x", "y")
    assert shown.note == ""
    x, y = np.meshgrid(shown.x, shown.y)
    np.testing.assert_allclose(shown.loss, (1 - x) ** 2 + 100 * (y - x**2) ** 2, rtol=1e-4, atol=1e-4)
    assert shown.trails[0].points.shape == (21, 2)


@pytest.mark.slow
def test_a_surface_of_a_net_is_a_plane_and_says_how_far_it_is_off(net) -> None:
    shown = plane(sources([recorded(net), "net.yaml", "lr=2"], "surface"))
    assert shown.names[0].startswith("principal component 1: ")
    assert shown.names[0].endswith(" % of the variance")
    assert shown.note.startswith("plane − true loss: end ")
    assert len(shown.trails) == 2
    assert np.isfinite(shown.loss).all()
    assert net("plot", "net.yaml", "-k", "surface", "--animate").err == "wrote surface.gif\n"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_that_diverges_leaves_the_plane_to_the_others(net, dtype: str) -> None:
    line = "data: {x: [1, 2, 3], y: [2, 4, 6]}\nmodel: {type: mlp, layers: [1, 2, 1], activation: none}\nloss: mse\n"
    for name, lr in (("wild", 10), ("calm", 0.01)):
        Path(f"{name}.yaml").write_text(f"{line}optimizer: {{name: sgd, lr: {lr}}}\nepochs: 50\n")
    runs = sources(["wild.yaml", "calm.yaml", f"dtype={dtype}"], "surface")
    shown = plane(runs)
    assert np.isfinite(shown.x).all()
    assert np.abs(shown.x).max() < 10
    assert np.isnan(shown.trails[0].points[-1]).all()
    assert np.isfinite(shown.trails[1].points).all()
    assert shown.note.startswith("plane − true loss: end ")
    assert plane(runs[:1]).note == ""  # none of them has an end
    assert net("plot", "wild.yaml", "calm.yaml", f"dtype={dtype}", "-k", "surface").code == 0
    assert net("plot", "wild.yaml", f"dtype={dtype}", "-k", "surface", "-o", "alone.png").code == 0
    assert net("plot", "wild.yaml", f"dtype={dtype}", "-k", "gradients").code == 0
    assert net("plot", "wild.yaml", "calm.yaml", "--smooth", "0.9", "--animate").code == 0


def test_the_net_of_document_4_has_its_weights_and_gradients(gdcli) -> None:
    (run,) = sources(["backprop_2x2"], "network")
    layers, neurons = network(run, 1)
    assert layers[0].weight.tolist() == [[0.15, 0.20], [0.25, 0.30]]
    assert layers[1].gradient[0, 0] == pytest.approx(0.08216704, rel=1e-6)
    assert layers[0].gradient[0, 0] == pytest.approx(0.00043857, rel=1e-4)
    assert [[neuron.name for neuron in layer] for layer in neurons] == [["x1", "x2"], ["h1", "h2"], ["o1", "o2"]]
    assert neurons[2][0].value == pytest.approx(0.75136507)
    assert gdcli("plot", "backprop_2x2", "-k", "network").code == 0
    after, _ = network(*sources(["backprop_2x2", "epochs=5"], "network"), 2)
    assert after[1].weight[0, 0] == pytest.approx(0.4 - 0.5 * 0.08216704, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which picture? gdcli plot RUN..."),
        (["-k", "actvations"], "Did you mean 'activations'?"),
        (["-k", "surface"], "--kind surface needs a RUN"),
        (["lr=0.1"], "--kind curves needs a RUN"),
        (["adam_2x2", "-k", "losses"], "--kind losses takes no RUN (got 'adam_2x2')"),
        (["empty"], "empty: no steps.csv in this folder"),
        (["adam_2x2", "rosenbrock"], "one figure has one loss"),
        (["adam_2x2", "rosenbrock", "-k", "surface"], "rosenbrock is not on the surface of adam_2x2"),
        (["nn_linear", "adam_2x2", "-k", "network"], "--kind network draws one run (got 2)"),
        (["mlp_digits", "-k", "network"], "at most 60 edges"),
        (["rosenbrock", "-k", "network"], "a network is drawn of linear, mlp and softmax models"),
        (["adam_2x2", "-k", "network", "--step", "99999"], "--step takes a step of the run"),
        (["adam_2x2", "--smooth", "1"], "--smooth takes a number from 0 to below 1"),
        (["adam_2x2", "--smooth", "nan"], "--smooth takes a number from 0 to below 1"),
        (["adam_2x2", "-k", "surface", "--smooth", "0.5"], "--smooth is not for --kind surface"),
        (["-k", "activations", "--name", "sigmoit"], "Did you mean 'sigmoid'?"),
        (["-k", "activations", "--name", "softmax"], "softmax has no curve"),
        (["-k", "losses", "--animate"], "--animate is not for --kind losses"),
        (["adam_2x2", "-o", "a.jpg"], "--output takes a file that ends in .png, .svg, .pdf (got 'a.jpg')"),
        (["adam_2x2", "--animate", "-o", "a.png"], "--output takes a file that ends in .gif"),
        (["adam_2x2", "-o", "no/a.png"], "there is no folder 'no'"),
        (["adam_2xx"], "Did you mean 'adam_2x2'?"),
    ],
)
def test_what_cannot_be_drawn_is_one_message(gdcli, words: list[str], said: str) -> None:
    Path("empty").mkdir()
    answer = gdcli("plot", *words)
    assert (answer.code, answer.out) == (2, ""), answer.err
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["empty"]


def test_a_damaged_record_is_one_message(net) -> None:
    folder = Path(recorded(net))
    assert net("plot", str(folder), "lr=0.1").err.startswith("'lr=0.1': an override is for a spec")
    for text, said in (("step,loss\nnonsense\n", "not as gdcli writes it"), ("step\n", "no steps in it")):
        (folder / "steps.csv").write_text(text)
        answer = net("plot", str(folder))
        assert (answer.code, said in answer.err) == (2, True), answer.err
    (folder / "gradients.csv").unlink()
    assert "no gradients.csv" in net("plot", str(folder), "-k", "gradients").err


def test_an_animation_without_pillow_says_what_to_install(net, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name == "matplotlib.animation":
            raise ImportError("No module named 'PIL'")
        return real(name, *more, **named)

    monkeypatch.delitem(sys.modules, "matplotlib.animation", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    answer = net("plot", "net.yaml", "--animate")
    assert answer.code == 3
    assert "needs Pillow" in answer.err
    assert not Path("curves.gif").exists()


def test_a_name_of_a_spec_and_of_a_record_is_the_spec_and_the_command_says_so(gdcli) -> None:
    assert gdcli("run", "backprop_2x2", "epochs=7", "print.style=tensor", "--no-plot", "-q").code == 0
    (record,) = Path("runs/backprop_2x2").iterdir()
    told = f"backprop_2x2 is the spec here; its newest run is backprop_2x2~0, {record}\n"
    plot = ("plot", "backprop_2x2", "--force")
    assert gdcli(*plot).err == told + "wrote curves.png\n"
    assert gdcli(*plot, "--quiet").err == ""
    assert gdcli("plot", "backprop_2x2~0", "--force").err == "wrote curves.png\n"
    spec, newest = (gdcli("show", word, "--resolved") for word in ("backprop_2x2", "backprop_2x2~0"))
    assert (spec.err, newest.err) == (told, "")
    assert ("\nepochs: 1\n" in spec.out, "\nepochs: 7\n" in newest.out) == (True, True)


def test_a_path_on_a_surface_is_of_the_spec_before_the_record(gdcli) -> None:
    assert gdcli("run", "rosenbrock", "epochs=2", "--no-plot", "-q").code == 0
    surface = ("sweep", "rosenbrock", "-p", "x=0:2:1", "-p", "y=0:2:1", "-o", "s", "--no-plot", "--trajectory")
    told = "rosenbrock is the spec here; its newest run is rosenbrock~0, runs/rosenbrock/"
    assert gdcli(*surface, "rosenbrock").err.startswith(told)
    assert told not in gdcli(*surface, "rosenbrock~0").err
    assert gdcli(*surface, "rosenbrock", "--quiet").err == ""
