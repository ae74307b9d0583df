"""What a checkpoint holds of clip, penalty, accumulate and schedules: a loop that gets the state goes on to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gdcli.engine import checkpoint_state
from gdcli.engine import loop as module
from gdcli.engine.loop import Loop
from gdcli.errors import DamagedError
from gdcli.records import Block, State
from tests.engine.plain_torch import built

RNG = np.random.default_rng(1)
SPEC: dict[str, Any] = {
    "data": {"x": RNG.normal(size=(22, 3)).tolist(), "y": RNG.normal(size=(22, 2)).tolist(), "validation": 0.3},
    "model": {"type": "mlp", "layers": [3, 4, 2], "activation": "tanh"},
    "loss": "mse",
    "optimizer": {"name": "adam", "lr": 0.1},
    "epochs": 12,
    "batch": {"size": 4},
}
PLATEAU = {"name": "reduce_on_plateau", "patience": 0, "threshold": 0.1, "factor": 0.5, "cooldown": 1}
CASES: list[dict[str, Any]] = [
    {"scheduler": PLATEAU},
    {"scheduler": {"name": "warmup", "total_iters": 3, "then": PLATEAU}},
    {"scheduler": {"groups": {"linear1.*": PLATEAU, "*.bias": {"name": "one_cycle"}}}},
    {"scheduler": {"name": "one_cycle"}, "clip": {"norm": 0.1}},
    {"scheduler": {"name": "warmup", "then": {"name": "cosine_annealing", "T_max": 5}}, "penalty": {"l1": 0.01}},
    {"batch": {"size": 2, "accumulate": 3}, "clip": {"value": 0.01}, "penalty": {"l2": 0.1}},
]


def stored(state: State) -> State:
    """What a checkpoint file gives back."""
    return replace(state, numbers=json.loads(json.dumps(state.numbers, allow_nan=False)))


@pytest.mark.parametrize("more", CASES)
def test_a_loop_goes_on_from_every_block(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BLOCK_STEPS", 5)

    def blocks(loop: Loop) -> list[Block]:
        return [event for event in loop.events() if isinstance(event, Block)]

    spec = SPEC | more
    whole = Loop(built(spec))
    expected = blocks(whole)
    for stop in range(1, len(expected), 2):
        first = Loop(built(spec))
        events = first.events()
        for _ in range(stop):
            next(events)
        state = stored(checkpoint_state.capture(first))
        second = Loop(built(spec))
        checkpoint_state.fits(second, state)
        checkpoint_state.restore(second, state)
        rest = blocks(second)
        for name in ("loss", "lr", "gradients"):
            ours = [np.asarray(getattr(block, name)) for block in rest]
            theirs = [np.asarray(getattr(block, name)) for block in expected[stop:]]
            assert all(map(np.array_equal, ours, theirs)), name
        assert np.array_equal(second.theta.values.numpy(), whole.theta.values.numpy())


@pytest.mark.parametrize(
    "bad", [None, [], [[0.1, None, 0]], [[0.1, "x", 0, 0]], [[None, 0.1, 0, 0]], [[0.1, 0.1, 0.5, 0]]]
)
def test_a_state_that_no_plateau_has_is_refused(bad: Any) -> None:
    loop = Loop(built(SPEC | {"scheduler": PLATEAU}))
    state = checkpoint_state.capture(loop)
    with pytest.raises(DamagedError, match="learning rates"):
        checkpoint_state.fits(loop, replace(state, numbers={**state.numbers, "schedules": bad}))
    assert loop.schedules.state() == [[0.1, None, 0, 0]]
    checkpoint_state.fits(loop, state)
