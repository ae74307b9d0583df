"""The derivatives at watched values, written out, are those that the engine records; each printed line by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gdcli.commands.explain import explain, quantities, render
from gdcli.commands.explain.expression import text
from gdcli.engine.problem import build
from gdcli.spec.watch import heads
from gdcli.zoo.models import Chain
from tests.commands.explain.helpers import bundled_of, evaluated, loaded_of
from tests.commands.explain.test_networks import NETS, net


@pytest.mark.parametrize("engine", ["by_hand", "autograd"])
@pytest.mark.parametrize("number", range(len(NETS)))
def test_every_layer_of_each_net_has_the_engines_gradients(number: int, engine: str) -> None:
    plain = net(number)
    assert isinstance(plain.architecture, Chain)
    names = list(heads(plain.architecture, plain.row_shape[0]))
    loaded = net(number, watch=names, dtype="float64", engine=engine)
    section = next(section for section in explain(loaded).sections if section.title == "Watched values")
    found = [one for group in section.groups for one in group.quantities]
    built = build(loaded)
    rows = next(iter(built.batches.epoch()))
    built.kernel.step(rows.x, rows.y)
    assert built.watched is not None
    expected = built.watched.flat.numpy()
    assert [group.title for group in section.groups] == names
    np.testing.assert_allclose([one.value for one in found], expected, rtol=1e-9, atol=1e-12)
    for one in found:
        assert evaluated(text(one.worked, numbers=True)) == pytest.approx(one.value, rel=1e-12, abs=1e-300)


def test_the_derivative_at_an_input_is_a_quantity_by_name_without_watch() -> None:
    loaded = bundled_of("backprop_2x2")
    first, second = quantities(loaded, ["dx1", "dx2"])
    # w1 dL/dnet_h1 + w3 dL/dnet_h2, of the document's numbers
    at_h1, at_h2 = (one.value for one in quantities(loaded, ["dnet_h1", "dnet_h2"]))
    assert first.value == pytest.approx(0.15 * at_h1 + 0.25 * at_h2, rel=1e-12)
    assert second.value == pytest.approx(0.20 * at_h1 + 0.30 * at_h2, rel=1e-12)


def test_without_watch_no_section_is_added() -> None:
    assert "Watched" not in render(explain(bundled_of("backprop_2x2")))


def test_what_is_detached_has_the_derivative_zero_and_says_why() -> None:
    model = {"type": "objective", "expression": "detach(x)*x**2 + y*detach(x*y)", "start": {"x": 3, "y": 2}}
    spec: dict[str, Any] = {"model": model, "optimizer": {"name": "sgd", "lr": 0.1}}
    loaded = loaded_of(spec)
    values = {one.key: one for one in explain(loaded).quantities()}
    assert values["dx"].value == 2 * 3 * 3  # 3 · 2x
    assert values["dy"].value == 6  # the value of x y
    assert values["dv1/dx"].value == 0
    assert values["dv1/dx"].note == "a constant to the gradient"
    built = build(loaded)
    built.kernel.step(built.batches.x, built.batches.y)
    assert built.theta.gradient[0, built.theta.columns].tolist() == [18.0, 6.0]
