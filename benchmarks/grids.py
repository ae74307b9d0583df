"""The loss over a grid of a parameter's values, without training."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial

import engine
import numpy as np
from pairs import PROCESSOR, Figure, Pairs, Row, seconds
from processes import GDCLI, peak_of
from specs import LINE, loaded

COUNT, TIMED = 1_000_000, 20_000
GRID = f"w=linspace(0,4,{COUNT})"


def grids(repetitions: int, steps: int) -> Iterator[Row]:
    import plain_line

    spec = loaded(LINE)
    axes = engine.axes(spec, GRID)
    every = engine.points(axes)[:: COUNT // TIMED, 0]
    found = engine.grid_losses(spec, axes)[:: COUNT // TIMED]
    np.testing.assert_allclose(found, plain_line.losses(every.tolist()), rtol=1e-12, atol=1e-30)
    what = f"{COUNT:,} values of w, to a Python loop ({TIMED:,} timed, x {COUNT // TIMED})"
    pairs = Pairs(what, 1 / 20, PROCESSOR)
    plain = partial(plain_line.losses, every.tolist())
    for _ in range(8 * repetitions):
        work = partial(engine.grid_losses, spec, axes), plain, plain
        ours, *other = (seconds(each, PROCESSOR) for each in work)
        pairs.add(ours, *(each * (COUNT / TIMED) for each in other))
    yield pairs
    with tempfile.TemporaryDirectory() as folder:
        command = [GDCLI, "sweep", "linear_sweep", "--param", GRID, "--output", folder]
        yield Figure(f"gdcli sweep of {COUNT:,} values of w, peak memory", peak_of(command), 2, "GiB")
