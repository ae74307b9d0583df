"""What a sweep or a comparison will run, worked out without torch: axes, rows, learning rates to try, seeds."""

from __future__ import annotations

from gdcli.plan.axes import (
    Axis,
    along,
    axes,
    bounded,
    grid_points,
    key_axes,
    points,
    product_of,
    scalar_names,
    with_each_value,
)
from gdcli.plan.candidates import Seeds, batches, extended, optimizers, rows, seeds, tuning_grid
from gdcli.plan.trials import MADE_AT_ONCE, SpecFactory, Trial, in_folds, with_overrides

__all__ = [
    "MADE_AT_ONCE", "Axis", "Seeds", "SpecFactory", "Trial", "along", "axes", "batches", "bounded", "extended",
    "grid_points", "in_folds", "key_axes", "optimizers", "points", "product_of", "rows", "scalar_names", "seeds",
    "tuning_grid", "with_each_value", "with_overrides",
]  # fmt: skip
