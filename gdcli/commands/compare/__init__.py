"""Comparisons on equal terms: the same data, start values and batch order, a tuning budget, seeds and intervals."""
