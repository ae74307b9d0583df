"""A module, a loss and arrays of a Python program in place of names: the numbers of a torch script, and no record."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import gdcli as api
from gdcli.zoo import python_objects
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES, TARGETS
from gdcli.zoo.models import MODELS

SGD: dict[str, Any] = {"optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 20}
WRONG: Any = api  # to call with what the types forbid

pytestmark = pytest.mark.filterwarnings("ignore:on this processor:UserWarning")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(n, 2, generator=rng), torch.randn(n, 1, generator=rng)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))


def trained(module: nn.Module, loss: Any, x: torch.Tensor, y: torch.Tensor) -> list[float]:
    optimizer, losses = torch.optim.SGD(module.parameters(), lr=0.1), []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(module(x), y)
        value.backward()
        losses.append(value.item())
        optimizer.step()
    return losses


def fourth_power(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).pow(4).mean()


def test_a_module_trains_as_in_a_torch_script_and_is_left_as_it_was() -> None:
    (x, y), module, twin = rows(), network(), network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run = api.run(SGD, model=module, data=(x, y), loss=fourth_power)
    np.testing.assert_allclose(run.losses, trained(twin, fourth_power, x, y), rtol=1e-5)
    for name, value in twin.state_dict().items():
        np.testing.assert_allclose(run.parameters[name], value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(run.predict(x.tolist()), twin(x).detach(), rtol=1e-4)
    np.testing.assert_allclose(run.model(x).detach(), twin(x).detach(), rtol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert run.evaluate(x.numpy(), y.numpy())["loss"] == pytest.approx(fourth_power(twin(x), y).item(), rel=1e-4)


def test_a_module_that_a_function_gives_again_is_left_as_it_was_too() -> None:
    (x, y), module = rows(), network()
    losses = [api.run(SGD, model=lambda: module, data=(x, y), loss=fourth_power).losses.tolist() for _ in range(2)]
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), network().parameters(), strict=True))


def test_rows_may_be_of_bfloat16() -> None:
    """Numpy has no such type; each of its numbers is one of float64."""
    x, y = (each.bfloat16() for each in rows())
    found, expected = (
        api.run(SGD, model=network(), data=data, loss=fourth_power) for data in ((x, y), (x.float(), y.float()))
    )
    assert found.losses.tolist() == expected.losses.tolist()
    assert found.predict(x).tolist() == expected.predict(x.float()).tolist()


def test_classes_are_integers_or_texts_by_their_sorted_names() -> None:
    x, _ = rows()
    index = torch.arange(12) % 3
    names = np.array(["ant", "bee", "cat"])[index.numpy()]
    spec = {**SGD, "seed": 5}

    def made() -> nn.Module:
        return nn.Linear(2, 3)

    torch.manual_seed(5)
    expected = trained(made(), nn.functional.cross_entropy, x, index)
    for y in (index, index.numpy(), names, pd.Series(names)):
        for loss in (nn.CrossEntropyLoss(), nn.functional.cross_entropy, "cross_entropy"):
            run = api.run(spec, model=made, data=(x, y), loss=loss)
            np.testing.assert_allclose(run.losses, expected, rtol=1e-5)
            share = (run.predict(x).argmax(1) == index.numpy()).mean()
            assert run.metrics["accuracy"] == pytest.approx(share)
            assert run.evaluate(x.numpy(), y)["accuracy"] == pytest.approx(share)
            assert run.classes == tuple(map(str, np.unique(np.asarray(y))))


def test_a_loss_of_ones_own_gets_what_the_data_have() -> None:
    x, _ = rows()
    seen: list[torch.Tensor] = []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(target)
        return output.sum() * 0

    api.run(SGD, model=nn.Linear(2, 3), data=(x, np.arange(12) % 3), loss=loss, epochs=1)
    assert (seen[-1].dtype, seen[-1].shape) == (torch.int64, (12,))
    api.run(SGD, model=nn.Linear(2, 1), data=(x, np.arange(12.0)), loss=loss, epochs=1)
    assert (seen[-1].dtype, seen[-1].shape) == (torch.float32, (12, 1))
    api.run(SGD, model=nn.Linear(2, 1), data=(x, np.arange(12)), loss=nn.MSELoss(), epochs=1)  # integers, yet values


def test_a_loss_in_place_of_one_of_classes_gets_classes() -> None:
    own = api.run("iris", loss=lambda o, t: nn.functional.cross_entropy(o, t), epochs=2)
    np.testing.assert_allclose(own.losses, api.run("iris", epochs=2).losses, rtol=1e-5)


def test_a_loss_with_arguments_bound_takes_what_the_loss_takes() -> None:
    """To torch's huber_loss whole numbers are values [B, 1], not classes [B] that would be spread to [B, B]."""
    huber = functools.partial(nn.functional.huber_loss, delta=0.5)
    data = (np.arange(12.0) / 12, np.arange(12))
    by_name = api.run(SGD, model="linear", loss={"name": "huber", "delta": 0.5}, data=data)
    assert api.run(SGD, model="linear", loss=huber, data=data).losses.tolist() == by_name.losses.tolist()


def test_a_frame_has_its_columns_names() -> None:
    x, y = rows()
    frame = pd.DataFrame({"a": x[:, 0].numpy(), "b": x[:, 1].numpy(), "price": y[:, 0].numpy()})
    spec = {**SGD, "model": "linear", "loss": "mse"}
    arrays = api.run(spec, data=(x, y))
    run = api.run(spec, data=(frame, "price"))
    assert run.losses.tobytes() == arrays.losses.tobytes()
    assert run.predict(frame[["price", "b", "a"]]).tobytes() == arrays.predict(x).tobytes()  # by name
    with pytest.raises(api.SpecError, match="no b"):
        run.predict(frame[["a"]])
    standardized = api.run(spec, {"data.standardize": True, "data.validation": 0.25}, data=(frame[["a", "b"]], y))
    assert "validation_loss" in standardized.metrics


def test_what_the_spec_does_with_its_rows_it_does_with_given_ones(tmp_path: Path) -> None:
    x, y = rows()
    spec = {**SGD, "model": "linear", "loss": "mse"}
    wanted = {"standardize": True, "validation": 0.25}
    dotted = api.run(spec, {f"data.{key}": value for key, value in wanted.items()}, data=(x, y))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    for own in (wanted, {"file": "t.csv", "target": "b", "missing": "mean", **wanted}):
        run = api.run({**spec, "data": own}, data=(x, y))
        assert (run.metrics, run.losses.tolist()) == (dotted.metrics, dotted.losses.tolist())
    assert "validation_loss" in dotted.metrics
    without = api.run({**spec, "data": wanted}, {"data.validation": None}, data=(x, y))
    assert "validation_loss" not in without.metrics


def test_images_keep_their_shape() -> None:
    images = np.random.default_rng(0).normal(size=(6, 1, 4, 4))
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    run = api.run(SGD, model=model, data=(images, [0, 1, 0, 1, 0, 1]), loss="cross_entropy", epochs=1)
    assert run.predict(images).shape == (6, 2)
    np.testing.assert_allclose(run.predict(images), run.model(torch.tensor(images).float()).detach(), rtol=1e-5)


def test_sweeps_and_comparisons_take_them_too() -> None:
    x, y = rows()
    runs = api.sweep(SGD, {"lr": [0.1, 0.01]}, model=network, data=(x, y), loss=fourth_power)
    alone = [api.run(SGD, lr=lr, model=network, data=(x, y), loss=fourth_power) for lr in (0.1, 0.01)]
    assert runs["final_loss"].tolist() == [run.summary["final_loss"] for run in alone]
    found = api.compare(SGD, optimizers=["sgd", "adam"], model=network, data=(x, y), loss=fourth_power)
    assert found.losses["sgd"][0].tolist() == alone[0].losses.tolist()
    assert found.plot().axes
    assert runs.plot().axes


def test_the_tables_are_as_they_were_even_after_an_error() -> None:
    before = [dict(table) for table in (MODELS, LOSSES, GENERATORS, TARGETS)]

    def failing(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("no such loss")

    with pytest.raises(api.RunError, match=r"test_python_objects\.py:\d+: .*ZeroDivisionError: no such loss"):
        api.run(SGD, model=network(), data=rows(), loss=failing)
    assert before == [dict(table) for table in (MODELS, LOSSES, GENERATORS, TARGETS)]
    with pytest.raises(api.SpecError, match="python_loss"):  # no spec can name one
        api.run("linear_regression", loss="python_loss")


def test_a_call_inside_another_gives_the_tables_back_to_the_outer_one() -> None:
    outer, inner = python_objects.taken(None, fourth_power, None), python_objects.taken(None, nn.NLLLoss(), None)
    with outer.in_tables():
        with inner.in_tables():
            assert TARGETS["python_loss"] == "classes"
        assert "python_loss" in LOSSES
        assert "python_loss" not in TARGETS
    assert "python_loss" not in LOSSES


def test_ctrl_c_raises_keyboard_interrupt() -> None:
    def interrupted(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.run(SGD, model=network(), data=rows(), loss=interrupted)
    assert api.run("backprop_2x2").status == "finished"


def test_a_record_says_that_files_alone_do_not_run_it_again(gdcli: Any) -> None:
    run = api.run(SGD, model=network(), data=rows(), loss=fourth_power, output="runs")
    assert run.folder is not None
    told = "its model, loss, data came from a Python program: it cannot be run again from files alone"
    for command in (["verify", "last"], ["plot", "last", "--kind", "gradients"], ["evaluate", "last", "steps.csv"]):
        Path("steps.csv").write_text("x,y\n1,2\n")
        answer = gdcli(*command)
        assert (answer.code, told in answer.err) == (2, True), command
    assert gdcli("ls").code == 0
    assert "model, loss, data: it cannot be run again from files alone" in gdcli("show", "last").out
    back = api.load("last")
    assert back.losses.tobytes() == run.losses.tobytes()
    assert back.parameters["0.weight"].tobytes() == run.parameters["0.weight"].tobytes()
    assert back.plot().axes[0].get_ylabel() == "loss"
    assert "<img" in back._repr_html_()
    for call in (lambda: back.predict([[1, 2]]), lambda: back.model, lambda: back.plot("gradients")):
        with pytest.raises(api.SpecError, match="it cannot be run again from files alone"):
            call()
    (run.folder / "summary.json").unlink()  # as after a crash
    answer = gdcli("resume", str(run.folder))
    assert (answer.code, told in answer.err) == (2, True)


REFUSED: dict[str, Any] = {
    "model takes a name, or a torch.nn.Module (got int)": lambda: WRONG.run(SGD, model=3),
    "model takes a torch.nn.Module, or a function without arguments": lambda: api.run(SGD, model=nn.Linear),
    "loss takes a name, or a function of output and target (got int)": lambda: WRONG.run(SGD, loss=3),
    "MSELoss is a class: MSELoss()": lambda: api.run(SGD, loss=nn.MSELoss),
    "data takes two arrays, (x, y)": lambda: WRONG.run(SGD, data=[1, 2, 3]),
    "(frame, 'price') takes a column": lambda: WRONG.run(SGD, data=pd.DataFrame({"a": [1]})),
    "no column 'c'. Known: a": lambda: api.run(SGD, data=(pd.DataFrame({"a": [1]}), "c")),
    "the column 'a' of x is no column of numbers": lambda: api.run(SGD, data=(pd.DataFrame({"a": ["u"]}), [1])),
    "the column 'a' of x has 1 missing cells": lambda: api.run(SGD, data=(pd.DataFrame({"a": [1, None]}), [1, 2])),
    "two columns of x have one name": lambda: api.run(SGD, data=(pd.DataFrame([[1, 2]], columns=["a", "a"]), [1])),
    "x has 2 rows and y has 3": lambda: api.run(SGD, data=([1, 2], [1, 2, 3])),
    "x is no array of numbers": lambda: api.run(SGD, data=([object()], [1])),
    "y is no array of numbers": lambda: api.run(SGD, data=([1], np.array([1j]))),
    "x is no array of rows": lambda: api.run(SGD, data=([], [])),
    "neither numbers nor texts": lambda: api.run(SGD, data=([1, 2], ["a", None])),
    "jobs: model of Python stay in this process": lambda: api.sweep(SGD, {"lr": [1]}, model=network, jobs=2),
    "are not finite": lambda: api.run(SGD, model="linear", loss="mse", data=([1, float("nan")], [1.0, 2.0])),
}  # fmt: skip


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_given_is_told(told: str) -> None:
    with pytest.raises(api.SpecError, match=re.escape(told)):
        REFUSED[told]()


def test_a_module_that_does_not_fit_the_data_is_told() -> None:
    x, y = rows()
    with pytest.raises(api.SpecError, match="Integers in y are classes, and numbers are given as floats"):
        api.run(SGD, model=nn.Linear(2, 1), data=(x, np.arange(12)), loss=fourth_power)
    with pytest.raises(api.SpecError, match=re.escape("has shape [3] a row, the data need [1]")):
        api.run(SGD, model=nn.Linear(2, 3), data=(x, y), loss="mse")
    with pytest.raises(api.GdcliError, match="Linear: RuntimeError: mat1 and mat2"):
        api.run(SGD, model=nn.Linear(5, 1), data=(x, y), loss="mse")
