"""The gradients of one parameter in all ways, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.check.finite_differences import Slopes
from gdcli.commands.check.report import AUTOGRAD, DIFFERENCES, TOLERANCES, Array, Dtype, ParameterCheck, Row, excess


class Agreement:
    """All pairs of ways for one parameter in one dtype."""

    def __init__(
        self,
        dtype: Dtype,
        name: str,
        shape: tuple[int, ...],
        gradients: Mapping[str, Array],
        slopes: Slopes | None,
        noise: Array,
        tolerances: Mapping[tuple[str, bool], float],
    ) -> None:
        self.dtype, self.name, self.shape, self.slopes, self.tolerances = dtype, name, shape, slopes, tolerances
        self.gradients, self.left_out, self.kinks = dict(gradients), 0, 0
        every = np.arange(prod(shape))
        self.pairs: dict[tuple[str, str], tuple[NDArray[np.int64], Array]] = {}  # entries [E], errors [E]
        for pair in combinations(gradients, 2):
            a, b = (gradients[way] for way in pair)
            self.pairs[pair] = every, _errors(a, b, noise, TOLERANCES[dtype, False])[0]
        if slopes is not None:
            self._against(slopes, noise)

    def _against(self, slopes: Slopes, noise: Array) -> None:
        """Compare each gradient with the differences; what stands at a kink is left out."""
        doubt = slopes.doubt + noise[slopes.entries]
        smooth = ~slopes.at_kink
        self.kinks = int(slopes.at_kink.sum())
        for way, gradient in self.gradients.items():
            values = gradient[slopes.entries]
            errors, unresolved = _errors(values, slopes.values, doubt, TOLERANCES[self.dtype, True])
            self.left_out = max(self.left_out, int((unresolved & smooth).sum()))
            self.pairs[way, DIFFERENCES] = slopes.entries[smooth], errors[smooth]

    def row(self) -> Row:
        """Return the row of the table."""
        errors = {pair: float(e.max()) if len(e) else None for pair, (_, e) in self.pairs.items()}
        count = 0 if self.slopes is None else len(self.slopes.entries)
        return Row(self.dtype, self.name, prod(self.shape), count, errors)

    def failed(self) -> int:
        """Return how many entries are further apart than their tolerance."""
        bad = [entries[errors > self._tolerance(pair)] for pair, (entries, errors) in self.pairs.items()]
        return len(np.unique(np.concatenate(bad))) if bad else 0

    def worst(self) -> ParameterCheck:
        """Return the entry whose error is the largest part of its tolerance."""
        found = [
            self._entry(pair, int(entries[errors.argmax()]), float(errors.max()))
            for pair, (entries, errors) in self.pairs.items()
            if len(entries)
        ]
        nothing = ParameterCheck(self.dtype, self.name, (AUTOGRAD, AUTOGRAD), (0.0, 0.0), 0.0, 1.0, None)
        return max(found, key=lambda entry: excess(entry.error, entry.tolerance), default=nothing)

    def _tolerance(self, pair: tuple[str, str]) -> float:
        return self.tolerances[self.dtype, DIFFERENCES in pair]

    def _entry(self, pair: tuple[str, str], index: int, error: float) -> ParameterCheck:
        place = ",".join(str(k) for k in np.unravel_index(index, self.shape)) if self.shape else ""
        name, size = f"{self.name}[{place}]" if self.shape else self.name, None
        values = [float(self.gradients[way][index]) for way in pair if way != DIFFERENCES]
        if self.slopes is not None and DIFFERENCES in pair:
            at = int(np.searchsorted(self.slopes.entries, index))
            size = float(self.slopes.step_sizes[at])
            values.append(float(self.slopes.values[at]))
        return ParameterCheck(self.dtype, name, pair, (values[0], values[1]), error, self._tolerance(pair), size)


def _errors(a: Array, b: Array, noise: Array, usual: float) -> tuple[Array, NDArray[np.bool_]]:
    """Return the relative errors, and which entries are too small to be told from each other beyond the noise."""
    with np.errstate(all="ignore"):
        larger, apart = np.maximum(np.abs(a), np.abs(b)), np.abs(a - b)
        unresolved = (noise > usual * larger) & (apart <= noise)
        errors = np.where(unresolved | (apart == 0), 0.0, apart / larger)
    return np.where(np.isnan(errors), np.inf, errors), unresolved & (larger > 0)
