"""Curves of many steps with fewer points that look the same: the least and the largest of each stretch are kept."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MOST_KEPT = 6_000
"""Rows of a table that a page has at most."""


def thinned(values: NDArray[np.float64], most: int = MOST_KEPT) -> NDArray[np.int64]:
    """Return which of the rows [K, C] to keep: of each of equal stretches, where a column is least and largest.

    The first and the last row are kept, and all where there are no more than ``most``; NaN is never an extreme.

    >>> thinned(np.array([[0.0], [9], [1], [2], [-5], [3]]), 4).tolist()
    [0, 1, 4, 5]
    """
    count, columns = values.shape
    if count <= most:
        return np.arange(count)
    stretches = max(1, (most - 2) // max(1, 2 * columns))
    kept = {0, count - 1}
    bounds = np.linspace(0, count, stretches + 1).astype(int)
    low, high = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    for start, end in pairwise(bounds):
        kept.update((start + low[start:end].argmin(axis=0)).tolist())
        kept.update((start + high[start:end].argmax(axis=0)).tolist())
    return np.array(sorted(kept))
