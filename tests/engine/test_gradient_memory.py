"""The memory in which a block's gradients are kept: others come before it is used again, and it is bounded."""

from __future__ import annotations

import gc

import pytest
import torch

from gdcli.engine import gradient_log
from gdcli.engine.gradient_log import GradientLog
from tests.engine.plain_torch import built

ROW = [0.5] * 300


@pytest.mark.parametrize(("width", "at_least"), [(300, 7), (2, 0)])
def test_the_last_blocks_of_large_gradients_lie_apart(
    monkeypatch: pytest.MonkeyPatch, width: int, at_least: int
) -> None:
    spec = {
        "data": {"x": [ROW[:width]] * 2, "y": [ROW[:width]] * 2},
        "model": {"type": "mlp", "layers": [width, width]},
        "loss": "mse",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "epochs": 1,
        "record": {"gradients": "values"},
    }
    problem = built(spec)
    log = GradientLog(problem, "values")
    block = 2 * 4 * log.width  # bytes of two steps, float32
    monkeypatch.setattr(gradient_log, "HELD", 8 * block)
    places = []
    for _ in range(50):
        log.begin(2)
        places.append(log.columns(2).ctypes.data)  # nobody else holds the block
    for k in range(at_least, len(places)):
        assert places[k] not in places[k - at_least : k]
    blocks = [each for each in gc.get_objects() if type(each) is torch.Tensor and each.nbytes == block]
    assert at_least <= len(blocks) <= 9  # eight, and the one that is filled
