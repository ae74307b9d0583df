"""Records to pictures: arrays in, the bytes of a PNG out, the same bytes each time.

Every public function is two steps: a private builder makes the Figure, ``to_png`` draws it once. Matplotlib is imported
inside functions, as its import takes longer than a drawing.
"""

from .losses import Curve, comparison, loss_curve
from .surfaces import paths, surface
from .sweeps import sweep_curve, sweep_runs
from .trails import Trail
from .tuning import Profile, Sensitivity, sensitivity, sweep_profiles

__all__ = [
    "Curve", "Profile", "Sensitivity", "Trail", "comparison", "loss_curve", "paths", "sensitivity", "surface",
    "sweep_curve", "sweep_profiles", "sweep_runs",
]  # fmt: skip
