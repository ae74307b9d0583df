"""An ingredient added to the tables that explain has no equations for is told, with exit code 2."""

from __future__ import annotations

from typing import Any

import pytest

from gdcli.zoo.activations import ACTIVATIONS, tanh
from gdcli.zoo.losses import LOSSES, sse
from gdcli.zoo.optimizers import OPTIMIZERS, sgd

NEW = {"optimizer": "optimizer=new", "loss": "loss=new", "activation": "model.activation=new"}


@pytest.fixture(autouse=True)
def _new_ingredients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS, "new", sgd)
    monkeypatch.setitem(LOSSES, "new", sse)
    monkeypatch.setitem(ACTIVATIONS, "new", tanh)


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("only", [(), ("--only", "h1,loss,new_w1")])
def test_it_is_told(gdcli: Any, kind: str, only: tuple[str, ...]) -> None:
    answer = gdcli("explain", "backprop_2x2", NEW[kind], *only)
    assert (answer.code, answer.out) == (2, "")
    assert f"the {kind} new is not written out. Explain has " in answer.err
    assert len(answer.err.splitlines()) == 1


def test_all_of_them_at_once(gdcli: Any) -> None:
    answer = gdcli("explain", "backprop_2x2", *NEW.values())
    assert [line.split(" is ")[0].split("the ")[1] for line in answer.err.splitlines()] == [
        f"{kind} new" for kind in NEW
    ]


def test_without_an_update_the_optimizer_does_not_count(gdcli: Any) -> None:
    assert gdcli("explain", "backprop_2x2", NEW["optimizer"], "epochs=0").code == 0


@pytest.mark.parametrize("override", NEW.values())
def test_it_runs_and_is_listed(gdcli: Any, override: str) -> None:
    assert gdcli("run", "backprop_2x2", override, "epochs=2", "--no-plot").code == 0
    assert "new" in gdcli("catalog").out.split()
