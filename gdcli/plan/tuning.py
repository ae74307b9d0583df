"""Learning rates to try for each optimizer, and the seeds: those that tune and those that report are never the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import inf
from typing import Literal

from gdcli.errors import SpecError
from gdcli.spec import grids
from gdcli.spec.schema import MAX_SEED


@dataclass(frozen=True, slots=True)
class Seeds:
    """The seeds of a comparison: ``reporting`` for its table, ``tuning`` to choose learning rates by."""

    reporting: tuple[int, ...]
    tuning: tuple[int, ...]


def seeds(count: int, base_seed: int) -> Seeds:
    """Return ``count`` seeds of each kind.

    Reporting: s, s + 1, ..., s the base seed. Tuning: s + 2^62 + (SHA-256 of s) mod 2^61, and on from there. All modulo
    2^63: fewer than 2^61 seeds of one kind never meet each other nor those of the other kind. A choice made on the
    seeds that are reported would flatter whatever has more settings to choose from.

    >>> seeds(2, 7).reporting
    (7, 8)
    >>> set(seeds(1000, 7).reporting) & set(seeds(1000, 7).tuning)
    set()
    """
    digest = int.from_bytes(hashlib.sha256(f"tuning {base_seed}".encode()).digest())
    first = base_seed + 2**62 + digest % 2**61
    return Seeds(*(tuple((start + k) % (MAX_SEED + 1) for k in range(count)) for start in (base_seed, first)))


def tuning_grid(count: int, low: float, high: float) -> list[float]:
    """Return the learning rates to try: ``geomspace(low, high, count)``. Raises SpecError for what is no such grid.

    >>> tuning_grid(4, 1e-4, 1e-1)
    [0.0001, 0.001, 0.01, 0.1]
    """
    if count < 2:
        raise SpecError(f"--tune takes a number of learning rates from 2 on (got {count})")
    if not 0 < low < inf or not 0 < high < inf:
        raise SpecError(f"--tune-range takes two learning rates above 0 (got {low:g},{high:g})")
    if low >= high:
        raise SpecError(f"--tune-range takes the lower learning rate first (got {low:g},{high:g})")
    return grids.geometric(low, high, count)


def extended(grid: list[float], edge: Literal["low", "high"]) -> list[float]:
    """Return a tuning grid that goes on beyond one edge, for a winner that lies there.

    By half as many points as it has, at least one, in the same ratio; what a float64 cannot hold is left out.

    >>> extended([0.001, 0.01, 0.1], "high"), extended([0.001, 0.01, 0.1, 1.0], "low")
    ([0.001, 0.01, 0.1, 1.0], [1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0])
    """
    more = max(len(grid) // 2, 1)
    beyond = grids.geometric_beyond(grid[0], grid[-1], len(grid), more, below=edge == "low")
    beyond = [lr for lr in beyond if 0 < lr < inf]
    return [*beyond, *grid] if edge == "low" else [*grid, *beyond]
