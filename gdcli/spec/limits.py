"""How large a spec may be, by arithmetic alone: work that no machine could do is refused before it starts."""

from __future__ import annotations

MAX_PARAMETERS = 10**9
"""Scalars of one model: 4 GB in float32, and as much again for the gradient and each state of the optimizer."""

MAX_LAYERS = 1_000
"""Layers of a model, as many as a list of torch's may have; the names of its parameters are matched with globs."""

MAX_POINTS = 5 * 10**8
"""Scalars of generated data."""

MAX_STEPS = 10**10
"""Optimizer steps of one run: days at ten microseconds each."""

MAX_RECORD = 10**12
"""Bytes of steps.csv and gradients.csv of one run."""

MAX_GRID = 10**7
"""Points of a sweep over a parameter of the model, evaluated at once."""

MAX_RUNS = 10_000
"""Runs of a sweep over keys, or of a comparison."""

RAISE = "gdcli run --no-limits allows it"
